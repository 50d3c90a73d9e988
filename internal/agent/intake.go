package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/pauselog/pauselog/internal/artifact"
	"github.com/pauselog/pauselog/internal/spool"
	"github.com/pauselog/pauselog/internal/submit"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// lateAfter is how old an event may be to be submitted as one that is happening: the log takes those of the last
// seven days, and a queue that is that long takes its time.
const lateAfter = 6 * 24 * time.Hour

// A round is one pass over the spool, with what produce and settle share.
type round struct {
	*Agent
	sent map[string]bool // paths of uploads and deletions; produce's
	cut  bool            // produce ended early: the next is of a path that was sent; its until the stream has ended

	mu      sync.Mutex
	kept    map[string]bool // paths of which something has to wait, and so what comes after it
	err     error           // the first reason why something has to wait
	removed int             // spool files that were dealt with
}

func (r *round) keep(path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept[path] = true
	if r.err == nil {
		r.err = err
	}
}

func (r *round) waits(path string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept[path]
}

// drain submits what is in the spool, and returns why something is left.
func (a *Agent) drain(ctx context.Context) error {
	for {
		l, err := a.Spool.List(drainAtOnce)
		if err != nil {
			return err
		}
		if l.Total == 0 {
			_, err := a.Spool.Clean(a.Now())
			return err
		}
		r := &round{Agent: a, sent: map[string]bool{}, kept: map[string]bool{}}
		err = submit.Stream(ctx, a.Log, pb.Wait_WAIT_SEQUENCED, func(ctx context.Context, send func([]submit.Item) error) error {
			return r.produce(ctx, l.Names, send)
		}, r.settle)
		if r.removed > 0 {
			// Before any later event of the same paths is submitted: see produce.
			err = errors.Join(err, a.Spool.Sync())
		}
		if err != nil {
			return err
		}
		if more := r.cut || l.Abridged; !more || r.removed == 0 {
			return r.err
		}
	}
}

// produce reads the spool, and sends what can be submitted in groups.
//
// It ends before the second upload or deletion of one path. If an upload and its deletion were both logged, and both were still
// in the spool after a crash, the upload would be submitted behind its deletion, and the log would take it for a file that
// came back. So the first is removed for good before the second is sent.
func (r *round) produce(ctx context.Context, names []string, send func([]submit.Item) error) error {
	var group []submit.Item
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		x, err := r.prepare(ctx, name)
		if err != nil {
			return err
		}
		if r.cut {
			break
		}
		if x == nil {
			continue
		}
		if x.Entry.Kind != entry.Index {
			r.sent[x.Entry.Path] = true
		}
		if group = append(group, *x); len(group) == submit.Window {
			if err := send(group); err != nil {
				return err
			}
			group = nil
		}
	}
	if len(group) == 0 {
		return nil
	}
	return send(group)
}

// prepare makes a submission of a spool file. nil says that there is none: it was set aside, or has to wait. The error is
// one of this machine.
func (r *round) prepare(ctx context.Context, name string) (*submit.Item, error) {
	e, err := r.Spool.Read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, spool.ErrMalformed):
		return nil, r.setAside(name, Aside{Word: Malformed, Message: err.Error()})
	case err != nil:
		r.keep("", fmt.Errorf("the spool: %w", err))
		return nil, nil
	case r.waits(e.Path):
		return nil, nil
	case r.sent[e.Path]:
		r.cut = true
		return nil, nil
	}
	x := &submit.Item{Seen: entry.SeenUpload, Tag: name,
		Entry: entry.Entry{Kind: e.Kind, Path: e.Path, SHA256: e.Digest, Size: e.Size, Time: e.Time}}
	if r.Now().Sub(e.Time.Time()) > lateAfter || r.isLate(name) {
		x.Seen = entry.SeenFollow
	}
	if e.Kind != entry.Index {
		x.Entry.By, x.Entry.Seen = "-", x.Seen
		if e.By != "" {
			x.Entry.By = e.By
		}
	}
	if e.Kind == entry.Upload {
		if ok, err := r.read(name, e, &x.Entry); !ok {
			return nil, err
		}
	} else if !e.Read {
		if ok, err := r.unread(ctx, name, e, &x.Entry); !ok {
			return nil, err
		}
	}
	if e.Kind == entry.Delete {
		x.Entry.Size = 0
	}
	if err := x.Entry.Validate(); err != nil {
		return nil, r.setAside(name, Aside{Word: Malformed, Path: e.Path, Message: err.Error()})
	}
	return x, nil
}

func (a *Agent) isLate(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.late[name]
}

// read looks at the file of an upload, and reports whether it can be submitted.
func (r *round) read(name string, e *spool.Event, x *entry.Entry) (bool, error) {
	f, err := r.file(e.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && e.Read:
		return true, nil // deleted since; that it was published is logged all the same
	case errors.Is(err, fs.ErrNotExist):
		return false, r.setAside(name, Aside{Word: Unread, Path: e.Path, Message: "the hook could not read it, and it is gone"})
	case errors.Is(err, artifact.ErrNotRegular), errors.Is(err, artifact.ErrOutside):
		return false, r.setAside(name, Aside{Word: Refused, Path: e.Path, Message: err.Error()})
	case err != nil:
		r.keep(e.Path, fmt.Errorf("%s: %w", e.Path, err))
		return false, nil
	}
	if e.Read && (f.SHA256 != e.Digest || f.Size != e.Size) {
		return false, r.setAside(name, Aside{Word: Differs, Path: e.Path, Expected: e.Digest.String(), Found: f.SHA256.String(),
			Message: fmt.Sprintf("PAUSE's hook saw sha256 %s, %d bytes, and the file now has sha256 %s, %d bytes: nothing was submitted. "+
				"Find out which of them the author uploaded, and what changed it", e.Digest, e.Size, f.SHA256, f.Size)})
	}
	x.SHA256, x.Size = f.SHA256, f.Size
	return true, nil
}

// file reads a file below the CPAN root, if it is one of PAUSE's own and not reached by a link.
func (a *Agent) file(path string) (artifact.File, error) {
	name := filepath.Join(a.Root, filepath.FromSlash(path))
	// The digest is of the path that is logged, so that no link may lead to another author's file.
	if _, err := artifact.Path(a.Root, name); err != nil {
		return artifact.File{}, err
	}
	return artifact.ReadRegular(name)
}

// unread deals with a deletion or an index of which the hook knows no digest, and reports whether it can be submitted.
func (r *round) unread(ctx context.Context, name string, e *spool.Event, x *entry.Entry) (bool, error) {
	if e.Kind == entry.Index {
		// It is written again soon, and until then the RECENT files tell of it.
		r.Logger.Warn("the hook could not read an index", "path", e.Path, "file", name)
		return false, r.remove(name)
	}
	if r.Reader == nil {
		return false, r.setAside(name, Aside{Word: Unread, Path: e.Path, Message: "the hook could not read the file that was deleted"})
	}
	last, err := r.logged(ctx, e.Path, entry.Digest{})
	switch {
	case err != nil:
		r.keep(e.Path, err)
		return false, nil
	case last == nil || last.Kind != entry.Upload && last.Kind != entry.Delete: // a deletion may be this one, if its answer was lost
		return false, r.setAside(name, Aside{Word: Unlogged, Path: e.Path, Message: "it was deleted, and no upload of it is published"})
	}
	x.SHA256 = last.SHA256
	return true, nil
}

// setAside takes a file out of the spool. Its note is durable before it is removed. If that fails, because the disk is full
// for one, the file stays, and only what is of the same path waits for it: the error is always nil.
func (r *round) setAside(name string, x Aside) error {
	x.At, x.Spooled = r.Now().UTC(), string(r.Spool.Raw(name))
	err := r.aside.keep(name, x)
	if err != nil {
		r.keep(x.Path, fmt.Errorf("the state folder: %w", err))
		return nil
	}
	if x.Word.Alarms() {
		r.Logger.Error("set aside: somebody has to look at it", "word", x.Word, "path", x.Path, "why", x.Message, "file", name)
	} else {
		r.Logger.Info("set aside", "word", x.Word, "path", x.Path, "why", x.Message, "file", name)
	}
	if err := r.remove(name); err != nil {
		r.keep(x.Path, fmt.Errorf("the spool: %w", err))
	}
	return nil
}

// remove removes a file that is dealt with.
func (r *round) remove(name string) error {
	err := r.Spool.Remove(name)
	if err == nil {
		r.mu.Lock()
		r.removed++
		r.mu.Unlock()
	}
	return err
}

// settle deals with the log's answers to a group. An error ends the round; what was not settled stays in the spool.
func (r *round) settle(group []submit.Item, results []*pb.SubmitResult) error {
	for i := range group {
		if err := r.settleOne(&group[i], results[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *round) settleOne(x *submit.Item, result *pb.SubmitResult) error {
	name := x.Tag.(string)
	if result.Refusal != nil {
		return r.refused(name, x, result.Refusal)
	}
	if err := submit.CheckLogged(&x.Entry, result); err != nil {
		return err
	}
	if err := r.remove(name); err != nil {
		return err
	}
	r.edit(func(*Status) { delete(r.late, name) })
	r.count(result)
	return nil
}

// count counts what is logged.
func (a *Agent) count(result *pb.SubmitResult) {
	a.edit(func(s *Status) {
		if result.Repeated {
			s.Repeated++
		} else {
			s.Logged++
		}
		s.LastAt = a.Now().UTC()
	})
}

// A refusedError is a refusal that may be none the next time.
type refusedError struct{ reason, message string }

func (e *refusedError) Error() string {
	return fmt.Sprintf("the log refuses: %s: %s", e.reason, e.message)
}

// refused deals with a submission that the log did not take.
func (r *round) refused(name string, x *submit.Item, why *pb.Refusal) error {
	e := &x.Entry
	// After something had to wait, a refusal may be its consequence: that of a deletion whose upload is not logged yet.
	if r.waits(e.Path) {
		return nil
	}
	note := Aside{Path: e.Path, Found: e.SHA256.String(), Message: why.Message}
	switch why.Reason {
	case "conflict":
		note.Word, note.Expected = Conflict, why.Metadata["logged_sha256"]
	case "not-logged", "voided":
		if e.Kind != entry.Delete {
			return fmt.Errorf("%w: %s for an %s", client.ErrAnswer, why.Reason, e.Kind)
		}
		note.Word = Unlogged
	case "time":
		if x.Seen == entry.SeenUpload {
			// Too old, or too far ahead of the log's clock, to be news. As something that was followed it may have any time.
			r.mu.Lock()
			r.kept[e.Path] = true
			r.mu.Unlock()
			r.edit(func(*Status) { r.late[name] = true })
			return nil
		}
		if e.Kind == entry.Index {
			r.Logger.Info("an index came too late to say anything: a newer one is logged", "path", e.Path, "time", e.Time, "file", name)
			return r.remove(name)
		}
		note.Word = Refused
	case "invalid", "not-upload":
		note.Word = Refused
	default:
		err := &refusedError{why.Reason, why.Message}
		r.keep(e.Path, err)
		return err
	}
	return r.setAside(name, note)
}
