// Package recovery brings a log's store back when it is behind its head file, has lost entries, or is damaged:
// from backups, from copies of the static tree that mirrors have, and from what is left of the store itself.
//
// # What is believed
//
// The head file, which says which tree the log signed last, and checkpoints that one of the log's own keys signed.
// All else is a claim. Each source's checkpoint is verified; then the roots of its tiles, which must lead to that
// checkpoint's root; then each entry, which must be in the tile that it is claimed for. So it does not matter who gives an
// entry, and a damaged source still gives what is sound in it.
//
// Nothing is ever signed here. A store needs a signed checkpoint of exactly its tree, and so the tree that is
// recovered is one that some source has a checkpoint of.
//
// # What is recovered
//
// The tree that the head file names, or the one that a last commit made of it which had not come to the head
// file. Never less: whatever the head file names was promised to submitters, and to sign another tree of that size would fork
// the log. Never more: a checkpoint of the log's own that is larger shows that the head file is not the newest. A checkpoint
// of the log's own that is of another history stops everything.
//
// # What a crash leaves
//
// The new store is built beside the old one, opened as the log opens it, and compared, before it takes the old one's place
// by one exchange of names. A crash before that leaves the old store and a folder that the next run removes. After it
// the new store is in place, the old one has a name with the date, and at most the count of starts and what scrubs
// noted are still those of the old one; the next run finds a sound store and writes them.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/tree"
)

var (
	// ErrMissing says that the sources do not have all that the log promised. Nothing was changed.
	ErrMissing = errors.New("the log cannot be recovered from these sources")

	// ErrHead says that the head file cannot be the newest, or that there is none where one is needed. Nothing was changed.
	ErrHead = errors.New("the head file does not say how far this log has signed")

	// ErrFork says that a checkpoint with the log's own signature is of another history. Nothing was changed.
	ErrFork = errors.New("a checkpoint that this log's key signed contradicts its tree")
)

// A Config is what to recover, and from where.
type Config struct {
	Folder *datafolder.Folder
	// Head is the head file, which the caller has locked; nil if it is gone or damaged. Without it the newest
	// tree is recovered that a source has, which Witnessed must allow.
	Head *head.Head
	// Witnessed says that the log's witnesses know how far it has signed, and are asked at its next start.
	Witnessed bool
	// Sources are asked in this order, after what is left of the store itself.
	Sources []Source
	// Checkpoints are notes that the operator names: a source may have the entries and no checkpoint of them.
	Checkpoints [][]byte

	Now      func() time.Time                // nil: time.Now
	Progress func(step string, done, of int) // may be nil

	// before, if not nil, is called before each change to the folder: tests stop there.
	before func(step string) error
}

// A Range is entries from Start to before End.
type Range struct {
	Start uint64 `json:"start"`
	End   uint64 `json:"end"`
}

func (r Range) String() string {
	if r.End == r.Start+1 {
		return fmt.Sprintf("entry %d", r.Start)
	}
	return fmt.Sprintf("entries %d to %d", r.Start, r.End-1)
}

// A SourceReport says what a source was found to have.
type SourceReport struct {
	Name string `json:"name"`
	// Size is of its newest checkpoint that the log signed; Proven says that its tiles lead to that checkpoint's root.
	Size   uint64 `json:"size"`
	Proven bool   `json:"proven"`
	// Used are how many of the recovered entries it gave.
	Used uint64 `json:"used"`
	// Error says what is wrong with it. Bad are entries that it should have, and has not as they were signed, as far as they
	// were asked for.
	Error string  `json:"error,omitempty"`
	Bad   []Range `json:"bad,omitempty"`
}

// A Report is what was found and done.
type Report struct {
	Origin   string         `json:"origin"`
	HeadSize uint64         `json:"head_size"`
	HeadRoot string         `json:"head_root,omitempty"`
	Size     uint64         `json:"size"` // of the recovered tree
	Root     string         `json:"root,omitempty"`
	Sources  []SourceReport `json:"sources"`
	// Sound says that the store was as it should be, and nothing was built.
	Sound bool `json:"sound"`
	// Recovered says that the store is a new one. Kept is where the old one is now, if there was one.
	Recovered bool   `json:"recovered"`
	Kept      string `json:"kept,omitempty"`
	// Missing are the entries that no source has, with an ErrMissing.
	Missing []Range `json:"missing,omitempty"`
}

// Recover recovers a log that does not run. The report is there with an error too.
func Recover(ctx context.Context, c Config) (*Report, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Progress == nil {
		c.Progress = func(string, int, int) {}
	}
	if c.before == nil {
		c.before = func(string) error { return nil }
	}
	r := &Report{Origin: c.Folder.Origin}
	w := &work{Config: c, report: r}
	if c.Head != nil {
		r.HeadSize, r.HeadRoot = c.Head.Size, c.Head.Root.String()
		if c.Head.Origin != c.Folder.Origin {
			return r, fmt.Errorf("%w: it is of the log %s, the data folder of %s", ErrHead, c.Head.Origin, c.Folder.Origin)
		}
		if err := checkCounts(c.Folder, *c.Head); err != nil {
			return r, err
		}
	} else if !c.Witnessed {
		return r, fmt.Errorf("%w: it is gone or damaged, and this log has no witnesses who know. Put back the newest copy of %s", ErrHead, c.Folder.Head)
	}
	if err := w.keys(); err != nil {
		return r, err
	}
	if c.Head != nil {
		sound, err := w.sound(ctx)
		if err != nil || sound {
			return r, err
		}
	}
	return r, w.recover(ctx)
}

// work is a recovery on its way.
type work struct {
	Config
	report *Report
	policy *checkpoint.Policy
	own    []*checkpoint.VerifierKey // of Ed25519 type: a store's checkpoint needs one of these
	local  []*copySource             // what is left of the store
	asked  []*asked
	mu     sync.Mutex // guards the reports of sources while bundles are fetched
}

// asked is a source and what is known of it.
type asked struct {
	Source
	report *SourceReport
	signed *signed // nil: it has no checkpoint of this log
	tiles  *tiles  // nil: nothing is known of its tree
}

// signed is a checkpoint that one of the log's own keys signed.
type signed struct {
	checkpoint.Checkpoint
	note []byte // with lines of the log's Ed25519 keys only
	time uint64 // that its ML-DSA line says; 0: none
	// previous is where the commit that made it began, if a store says so; known says whether one does.
	previous uint64
	known    bool
	from     string
}

func (w *work) keys() error {
	var logs []checkpoint.PolicyLog
	add := func(v *checkpoint.VerifierKey) {
		logs = append(logs, checkpoint.PolicyLog{Key: v})
		if v.Algorithm() == checkpoint.Ed25519 {
			w.own = append(w.own, v)
		}
	}
	for _, k := range w.Folder.Signers {
		add(k.Verifier())
	}
	for _, v := range w.Folder.Retired {
		add(v)
	}
	var err error
	w.policy, err = checkpoint.NewPolicy(logs...)
	return err
}

// open verifies a checkpoint.
func (w *work) open(note []byte, from string) (*signed, error) {
	o, err := w.policy.Open(note)
	if err != nil {
		return nil, err
	}
	s := &signed{Checkpoint: o.Checkpoint, from: from}
	for i, k := range o.LogKeys {
		if k.Algorithm() == checkpoint.MLDSA44 {
			s.time = max(s.time, o.LogTimes[i])
		}
	}
	kept := o.Note.Keep(func(sig checkpoint.Signature) bool {
		return slices.ContainsFunc(w.own, func(v *checkpoint.VerifierKey) bool { return v.Matches(sig) })
	})
	if len(kept.Signatures) == 0 {
		return nil, fmt.Errorf("it has no signature by an Ed25519 key of %s", w.Folder.Origin)
	}
	s.note = kept.Marshal()
	return s, nil
}

// recover collects what the sources have, decides on a tree, and builds it.
func (w *work) recover(ctx context.Context) error {
	closeAll, err := w.ask(ctx)
	defer closeAll()
	if err != nil {
		return err
	}
	targets, err := w.targets()
	if err != nil {
		return err
	}
	var missing error
	for _, t := range targets {
		plan, err := w.plan(ctx, t)
		if err == nil {
			err = w.build(ctx, plan)
		}
		if err == nil || !errors.Is(err, ErrMissing) {
			return err
		}
		missing = errors.Join(missing, err)
	}
	return missing
}

// ask takes from each source its checkpoint and the roots of its tiles. An error of a source is in its report.
func (w *work) ask(ctx context.Context) (closeAll func(), err error) {
	w.openLocal()
	closeAll = func() {
		for _, l := range w.local {
			l.Close()
		}
	}
	var sources []Source
	for _, l := range w.local {
		sources = append(sources, l)
	}
	sources = append(sources, w.Sources...)
	// The report's slice must not move any more. Before them are those that could not be opened.
	unopened := len(w.report.Sources)
	w.report.Sources = append(w.report.Sources, make([]SourceReport, len(sources))...)
	for i, s := range sources {
		a := &asked{Source: s, report: &w.report.Sources[unopened+i]}
		a.report.Name = s.String()
		w.asked = append(w.asked, a)
		w.Progress("asking "+s.String(), i, len(sources))
		if err := w.askOne(ctx, a); err != nil {
			a.report.Error = err.Error()
		}
		if ctx.Err() != nil {
			return closeAll, ctx.Err()
		}
	}
	return closeAll, nil
}

func (w *work) askOne(ctx context.Context, a *asked) error {
	note, previous, known, err := a.Checkpoint(ctx)
	if err != nil {
		return err
	}
	s, err := w.open(note, a.String())
	if err != nil {
		return fmt.Errorf("its checkpoint is not this log's: %w", err)
	}
	s.previous, s.known = previous, known
	a.signed, a.report.Size = s, s.Size
	t, err := a.Tiles(ctx, s.Size)
	if t != nil {
		a.tiles = t
	}
	if err != nil {
		return err
	}
	root, err := t.root()
	if err != nil {
		return err
	}
	if c, ok := a.Source.(*copySource); ok && root != s.Root {
		// Its leaf hashes may be what is wrong.
		if again, err := c.Rehash(ctx, s.Size); err == nil {
			if r, err := again.root(); err == nil && r == s.Root {
				a.tiles, root = again, r
			}
		}
	}
	if root != s.Root {
		return fmt.Errorf("its tiles have root %v, its checkpoint of size %d says %v", root, s.Size, s.Root)
	}
	a.report.Proven = true
	return nil
}

// targets are the trees that may be recovered, the best first.
func (w *work) targets() ([]*signed, error) {
	all := map[tree.Hash]*signed{}
	add := func(s *signed) {
		if old := all[s.Root]; old == nil || !old.known && s.known || old.time < s.time && old.known == s.known {
			all[s.Root] = s
		}
	}
	for _, a := range w.asked {
		if a.signed != nil {
			add(a.signed)
		}
	}
	for i, note := range w.Checkpoints {
		s, err := w.open(note, "the checkpoint that was given")
		if err != nil {
			return nil, fmt.Errorf("checkpoint %d of those given: %w", i+1, err)
		}
		add(s)
	}
	var out []*signed
	largest := uint64(0)
	for _, s := range all {
		largest = max(largest, s.Size)
		h := w.Head
		switch {
		case h == nil:
			out = append(out, s)
		case s.Size == h.Size && s.Root != h.Root:
			return nil, fmt.Errorf("%w: size %d has root %v by %s, the head file says %v. Change nothing, and keep both: deploy/KEYS.md says what a stolen key and a second history mean",
				ErrFork, s.Size, s.Root, s.from, h.Root)
		case s.Size == h.Size:
			out = append(out, s)
		case s.Size > h.Size && s.known && s.previous == h.Size:
			// A crash between the store's commit and the head's: the log starts with it.
			out = append(out, s)
		case s.Size > h.Size:
			return nil, fmt.Errorf("%w: it says size %d, and %s has a checkpoint of size %d that this log signed. The head file is an older copy: put back the newest one",
				ErrHead, h.Size, s.from, s.Size)
		}
	}
	slices.SortFunc(out, func(a, b *signed) int { return int(int64(b.Size) - int64(a.Size)) })
	if len(out) > 0 {
		return out, nil
	}
	if w.Head == nil {
		return nil, fmt.Errorf("%w: no source has a checkpoint that this log signed", ErrMissing)
	}
	return nil, w.unsigned(largest)
}

// unsigned says why there is no tree to recover: no source has a checkpoint of the head's size.
func (w *work) unsigned(largest uint64) error {
	h := w.Head
	have := uint64(0)
	for _, a := range w.asked {
		if a.tiles != nil {
			have = max(have, a.tiles.size())
		}
	}
	if h.Size > largest {
		w.report.Missing = append(w.report.Missing, Range{largest, h.Size})
	}
	return fmt.Errorf("%w: the head file says that size %d was signed, and the largest checkpoint of this log that a source has is of size %d: %v are proven by none. "+
		"Find a copy that reaches further: the disk itself, a newer backup, a mirror, an auditor (or give a checkpoint of size %d with --checkpoint, if the entries are there)",
		ErrMissing, h.Size, largest, Range{largest, h.Size}, h.Size)
}

func ranges(rs []Range) string {
	var out []string
	for i, r := range rs {
		if i == 8 {
			out = append(out, fmt.Sprintf("and %d more", len(rs)-i))
			break
		}
		out = append(out, strings.TrimPrefix(r.String(), "entries "))
	}
	return strings.Join(out, ", ")
}
