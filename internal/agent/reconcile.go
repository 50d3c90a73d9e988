package agent

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pauselog/pauselog/internal/artifact"
	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/internal/recent"
	"github.com/pauselog/pauselog/internal/submit"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// Changes tells what happened on the tree: a recent.Follower.
type Changes interface {
	Start(context.Context) (recent.State, error)
	Next(context.Context, recent.State) (recent.Batch, recent.State, error)
}

// A Reader says what is logged of a path: a client.Log.
type Reader interface {
	Gather(ctx context.Context, path string, digest entry.Digest, trusted bool) (*client.Evidence, error)
}

const (
	changesEvery = time.Minute

	// grace is how long the hook has for an event before it is taken from the RECENT files: only the hook knows who
	// entered it.
	grace = 10 * time.Minute
)

// A progress is how far the RECENT files were dealt with: what was read of them, and what of that is still to be done. Both
// are one file, so that no crash can part them.
type progress struct {
	State   recent.State     `json:"state"`
	Pending map[string]event `json:"pending"` // the newest event of each path
}

type event struct {
	Epoch recent.Epoch `json:"epoch"`
	Type  recent.Type  `json:"type"`
}

func (e event) time() entry.Time {
	whole, _, _ := strings.Cut(e.Epoch.String(), ".")
	n, _ := strconv.ParseInt(whole, 10, 64) // digits, of a bounded number
	return entry.Time(n)
}

func (a *Agent) progressFile() string { return filepath.Join(a.State, "recent.json") }

func (a *Agent) loadProgress(ctx context.Context) (*progress, error) {
	b, err := os.ReadFile(a.progressFile())
	if errors.Is(err, fs.ErrNotExist) {
		// From now on. What was there before is the walk's, which is under way.
		p := &progress{Pending: map[string]event{}}
		if p.State, err = a.Changes.Start(ctx); err != nil {
			return nil, err
		}
		return p, a.saveProgress(p)
	}
	if err != nil {
		return nil, err
	}
	p := &progress{}
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("%s: %w: remove it, and the next walk finds what is not logged", a.progressFile(), err)
	}
	if p.Pending == nil {
		p.Pending = map[string]event{}
	}
	return p, nil
}

func (a *Agent) saveProgress(p *progress) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return atomicfile.Write(a.progressFile(), append(b, '\n'), 0o640)
}

// reconcile submits what the RECENT files tell and the log does not have.
func (a *Agent) reconcile(ctx context.Context) error {
	p, err := a.loadProgress(ctx)
	if err != nil {
		return fmt.Errorf("the RECENT files: %w", err)
	}
	// One series may fail while others do not: then what they say is dealt with first.
	batch, next, failed := a.Changes.Next(ctx, p.State)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	changed := len(batch.Gaps) > 0
	for _, e := range batch.Events {
		if _, err := submit.Classify(e.Path); err == nil && e.Epoch.Compare(p.Pending[e.Path].Epoch) > 0 {
			p.Pending[e.Path] = event{e.Epoch, e.Type}
			changed = true
		}
	}
	if len(batch.Gaps) > 0 {
		a.Logger.Info("the RECENT files do not reach back far enough: the tree is walked", "gaps", len(batch.Gaps))
		a.walkSoon()
		// The gap is forgotten with the progress below.
		if err := a.beat(); err != nil {
			return fmt.Errorf("the state folder: %w", err)
		}
	}
	p.State = next
	if changed {
		if err := a.saveProgress(p); err != nil {
			return err
		}
	}
	if err := a.settlePending(ctx, p); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("the RECENT files: %w", failed)
	}
	oldest := a.Now()
	for _, e := range p.Pending {
		if at := e.time().Time(); at.Before(oldest) {
			oldest = at
		}
	}
	a.edit(func(s *Status) { s.Reconciled = oldest.UTC() })
	// Also when nothing was to be done: to read on from here, and not from the last event long ago.
	return a.saveProgress(p)
}

// settlePending deals with the events that are old enough, in their order.
func (a *Agent) settlePending(ctx context.Context, p *progress) error {
	var ripe []string
	for path, e := range p.Pending {
		if a.Spool == nil || a.Now().Sub(e.time().Time()) >= grace {
			ripe = append(ripe, path)
		}
	}
	ripe, err := a.unhooked(ripe)
	if err != nil {
		return err
	}
	if len(ripe) == 0 {
		return nil
	}
	slices.SortFunc(ripe, func(x, y string) int {
		if c := p.Pending[x].Epoch.Compare(p.Pending[y].Epoch); c != 0 {
			return c
		}
		return strings.Compare(x, y)
	})
	var kept error // the first reason why something has to wait
	for group := range slices.Chunk(ripe, submit.Window) {
		err := submit.Stream(ctx, a.Log, pb.Wait_WAIT_SEQUENCED, func(ctx context.Context, send func([]submit.Item) error) error {
			return send(a.followed(ctx, group, p))
		}, func(items []submit.Item, results []*pb.SubmitResult) error {
			for i := range items {
				err := a.settleFollowed(&items[i], results[i])
				if errors.Is(err, errLater) {
					continue
				}
				if err != nil {
					kept = cmpError(kept, err)
					continue
				}
				delete(p.Pending, items[i].Entry.Path)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := a.saveProgress(p); err != nil {
			return err
		}
	}
	return kept
}

// unhooked returns the paths of which the spool has no event. While the log is down the hook's events wait for longer than
// grace, and they are still the ones that know who entered a file.
func (a *Agent) unhooked(paths []string) ([]string, error) {
	if a.Spool == nil || len(paths) == 0 {
		return paths, nil
	}
	l, err := a.Spool.List(drainAtOnce)
	if err != nil {
		return nil, err
	}
	if l.Abridged {
		return nil, nil // the spool comes first
	}
	hooked := map[string]bool{}
	for _, name := range l.Names {
		if e, err := a.Spool.Read(name); err == nil {
			hooked[e.Path] = true
		}
	}
	return slices.DeleteFunc(paths, func(path string) bool { return hooked[path] }), nil
}

func cmpError(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

var (
	// errNothing says that an event has nothing to be logged.
	errNothing = errors.New("nothing to be logged")

	// errLater says that a mirror may not have the file yet.
	errLater = errors.New("not there yet")
)

// mirrorLag is for how long a mirror is asked for a file that its RECENT files tell of.
const mirrorLag = 24 * time.Hour

// followed makes submissions of events.
func (a *Agent) followed(ctx context.Context, paths []string, p *progress) []submit.Item {
	items := make([]submit.Item, len(paths))
	for i, path := range paths {
		e := p.Pending[path]
		x := &items[i]
		x.Seen = entry.SeenFollow
		x.Entry = entry.Entry{Path: path, Time: e.time()}
		x.Err = a.follow(ctx, &x.Entry, e.Type)
	}
	return items
}

// follow completes the entry of an event: by the file, and by what is logged.
func (a *Agent) follow(ctx context.Context, x *entry.Entry, what recent.Type) error {
	kind, err := submit.Classify(x.Path)
	if err != nil {
		return errNothing
	}
	read := func() (artifact.File, error) { return a.file(x.Path) }
	if a.Remote != nil {
		read = func() (artifact.File, error) { return a.Remote.Read(ctx, x.Path) }
	}
	f, err := read()
	switch {
	case errors.Is(err, fs.ErrNotExist) && what == recent.TypeDelete && kind == entry.Upload:
		return a.followDelete(ctx, x)
	case errors.Is(err, fs.ErrNotExist) && a.Remote != nil && a.Now().Sub(x.Time.Time()) < mirrorLag:
		return errLater // nobody walks over a mirror
	case errors.Is(err, fs.ErrNotExist):
		return errNothing // deleted since, which is another event; or not here yet, which the walk finds
	case errors.Is(err, artifact.ErrNotRegular), errors.Is(err, artifact.ErrOutside):
		return errNothing
	case err != nil:
		return err
	case what == recent.TypeDelete:
		return errNothing // it is there again
	}
	x.Kind, x.SHA256, x.Size = kind, f.SHA256, f.Size
	if kind == entry.Upload {
		x.By, x.Seen = "-", entry.SeenFollow
		return nil
	}
	last, err := a.logged(ctx, x.Path, entry.Digest{})
	if err != nil {
		return err
	}
	// The hook was here at about the same time, and saw the same.
	if last != nil && a.Spool != nil && last.SHA256 == x.SHA256 && last.Time.Time().After(x.Time.Time().Add(-grace)) {
		return errNothing
	}
	if last != nil && x.Time <= last.Time {
		return errNothing
	}
	return nil
}

// followDelete makes an entry of a deletion, if there is an upload that it deletes.
func (a *Agent) followDelete(ctx context.Context, x *entry.Entry) error {
	last, err := a.logged(ctx, x.Path, entry.Digest{})
	if err != nil {
		return err
	}
	if last == nil || last.Kind != entry.Upload {
		return errNothing
	}
	x.Kind, x.SHA256, x.By, x.Seen = entry.Delete, last.SHA256, "-", entry.SeenFollow
	return nil
}

// logged returns the newest entry of a path that is published; nil if there is none, or if it was voided. It only
// decides whether something is worth to be submitted, which the log then judges itself.
func (a *Agent) logged(ctx context.Context, path string, digest entry.Digest) (*entry.Entry, error) {
	found, err := a.Reader.Gather(ctx, path, digest, true)
	if err != nil {
		return nil, err
	}
	if found.Revocation != nil || found.Absence == verify.SaidNotLogged {
		return nil, nil
	}
	text := found.Bundle
	if found.Deletion != nil {
		text = found.Deletion
	}
	if text == nil {
		return nil, fmt.Errorf("what is logged of %s cannot be found out: %s", path, found.Detail)
	}
	b, err := proof.Parse(text)
	if err != nil {
		return nil, err
	}
	return entry.Parse(b.Entry)
}

// settleFollowed deals with the log's answer. An error says that the event has to wait.
func (a *Agent) settleFollowed(x *submit.Item, result *pb.SubmitResult) error {
	switch {
	case errors.Is(x.Err, errNothing):
		return nil
	case x.Err != nil:
		return x.Err
	case result.Refusal == nil:
		if err := submit.CheckLogged(&x.Entry, result); err != nil {
			return err
		}
		a.count(result)
		return nil
	}
	return a.refusedFile(&x.Entry, result.Refusal)
}

// refusedFile deals with a file that was found on the tree, and that the log does not take. An error says that it may take it
// later.
func (a *Agent) refusedFile(e *entry.Entry, why *pb.Refusal) error {
	note := Aside{Path: e.Path, Found: e.SHA256.String(), Message: why.Message, At: a.Now().UTC()}
	switch why.Reason {
	case "conflict":
		note.Word, note.Expected = Conflict, why.Metadata["logged_sha256"]
	case "not-logged", "voided", "time":
		return nil // a deletion of nothing, or an index that came too late
	case "invalid", "not-upload":
		note.Word = Refused
	default:
		return &refusedError{why.Reason, why.Message}
	}
	sum := sha256.Sum256([]byte(e.Path + "\n" + note.Found))
	a.Logger.Error("found on the tree: somebody has to look at it", "word", note.Word, "path", note.Path, "why", note.Message)
	if err := a.aside.keep(fmt.Sprintf("found-%x.json", sum[:8]), note); err != nil {
		return fmt.Errorf("the state folder: %w", err)
	}
	return nil
}
