package rig

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/sequencer"
)

// A Step is what is submitted at one moment: groups from as many submitters at once. Then all wait.
type Step struct {
	Groups [][]*entry.Entry
	// Void, if not empty, is the path of an upload that the operator voids instead.
	Void string
}

// A Phase is one start of the log with what happens until its end.
type Phase struct {
	Keys  Keys
	Steps []Step
}

// Script makes the phases of a log's life: uploads, and the same again, other digests for the same path, deletes
// and restores, snapshots of indexes, voids, full tiles, restarts, and an exchange of keys.
func Script(seed uint64) ([]Phase, error) {
	old, err1 := NewKey()
	fresh, err2 := NewKey()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	both := []*checkpoint.SignerKey{old, fresh}
	keys := []Keys{
		{Signers: both[:1]}, {Signers: both[:1]}, {Signers: both},
		{Signers: both[1:], Retired: []*checkpoint.VerifierKey{old.Verifier()}},
	}
	w := &writer{rnd: rand.New(rand.NewPCG(seed, 2))}
	var phases []Phase
	for i, k := range keys {
		p := Phase{Keys: k}
		p.Steps = append(p.Steps, Step{Groups: [][]*entry.Entry{w.some(1)}})
		p.Steps = append(p.Steps, Step{Groups: [][]*entry.Entry{w.some(2 + w.rnd.IntN(20)), w.some(3)}})
		if i > 0 {
			p.Steps = append(p.Steps, Step{Void: w.uploads[w.rnd.IntN(len(w.uploads))].Path})
		}
		p.Steps = append(p.Steps, Step{Groups: [][]*entry.Entry{w.some(100 + w.rnd.IntN(100))}})
		p.Steps = append(p.Steps, Step{Groups: [][]*entry.Entry{w.some(1), w.some(1), w.some(4)}})
		phases = append(phases, p)
	}
	return phases, nil
}

// A writer makes up submissions.
type writer struct {
	rnd     *rand.Rand
	uploads []*entry.Entry
	n       int
}

func digest(n int) entry.Digest {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

func (w *writer) some(n int) (group []*entry.Entry) {
	for range n {
		group = append(group, w.one())
	}
	return group
}

func (w *writer) one() *entry.Entry {
	w.n++
	if len(w.uploads) < 3 {
		return w.upload()
	}
	was := *w.uploads[w.rnd.IntN(len(w.uploads))]
	switch k := w.rnd.IntN(20); {
	case k < 2: // again
	case k < 4:
		was.SHA256 = digest(-w.n)
	case k < 6:
		was.Kind, was.Size = entry.Delete, 0
	case k < 8:
		e := &entry.Entry{Kind: entry.Index, Path: entry.IndexPaths[w.rnd.IntN(len(entry.IndexPaths))], SHA256: digest(w.n), Size: uint64(w.n),
			Time: entry.TimeOf(Clock.Add(time.Duration(w.n) * time.Second / 10))}
		return e
	default:
		return w.upload()
	}
	return &was
}

func (w *writer) upload() *entry.Entry {
	e := Upload(w.n)
	w.uploads = append(w.uploads, e)
	return e
}

// Upload is an upload of a path that the number decides.
func Upload(n int) *entry.Entry {
	return &entry.Entry{Kind: entry.Upload, Path: fmt.Sprintf("authors/id/E/ET/ETHER/Try-%d.tar.gz", n), SHA256: digest(n),
		Size: uint64(n), Time: entry.TimeOf(Clock), By: "ETHER", Seen: entry.SeenUpload}
}

// A waiting is a group on its way.
type waiting struct {
	entries []*entry.Entry
	pending *sequencer.Pending
}

// patience bounds the wait for an answer. A log that needs longer hangs.
const patience = 2 * time.Minute

// ErrHangs says that nobody was answered.
var ErrHangs = errors.New("the log hangs")

// Do submits a step and waits for its answers.
func (l *Log) Do(s Step) error {
	ctx, cancel := context.WithTimeout(l.Dead, patience)
	defer cancel()
	if s.Void != "" {
		return l.void(ctx, s.Void)
	}
	var all []*waiting
	for _, g := range s.Groups {
		submissions := make([]sequencer.Submission, len(g))
		for i, e := range g {
			submissions[i] = sequencer.Submission{Entry: e, Seen: e.Seen}
		}
		p, err := l.Seq.Enqueue(submissions)
		if err != nil {
			return err
		}
		w := &waiting{g, p}
		all = append(all, w)
		l.mu.Lock()
		l.waiting = append(l.waiting, w)
		l.mu.Unlock()
	}
	var errs []error
	for _, w := range all {
		_, err := w.pending.Wait(ctx)
		errs = append(errs, l.why(ctx, err))
	}
	l.Observe()
	return errors.Join(errs...)
}

// why makes clear what a wait ended for.
func (l *Log) why(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case l.Dead.Err() != nil:
		return context.Cause(l.Dead)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: no answer within %v", ErrHangs, patience)
	}
	return err
}

func (l *Log) void(ctx context.Context, path string) error {
	last, err := l.Store.Last(path, l.Store.Head().Size)
	if err != nil || last == nil || last.Entry.Kind == entry.Void {
		return err
	}
	r, err := l.Seq.Void(ctx, last.Upload)
	if refusal := (*sequencer.Refusal)(nil); errors.As(err, &refusal) {
		return nil
	}
	if err == nil {
		l.told.results([]*entry.Entry{nil}, []sequencer.Result{r})
	}
	l.Observe()
	return l.why(ctx, err)
}

// Observe notes what everybody has been told until now: who is answered knows it, and who reads sees
// what is signed. It may be called at any moment.
func (l *Log) Observe() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.opened {
		return
	}
	rest := l.waiting[:0]
	for _, w := range l.waiting {
		results, done, err := answered(w.pending)
		if !done {
			rest = append(rest, w)
		} else if err == nil {
			l.told.results(w.entries, results)
		}
	}
	l.waiting = rest
	l.told.tree(l.Seq.Signed())
}

// answered says whether a group was answered, without waiting.
func answered(p *sequencer.Pending) (results []sequencer.Result, done bool, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	// With both ready, which one Wait takes is by chance.
	for range 40 {
		if results, err = p.Wait(ctx); !errors.Is(err, context.Canceled) {
			return results, true, err
		}
	}
	return nil, false, nil
}
