package recovery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tile"
	"github.com/pauselog/pauselog/log/tree"
)

const (
	// building is the folder beside the store in which the new one is built.
	building = ".recovering"
	// stamp is how the names of stores that were replaced end.
	stamp = ".20060102T150405Z"
	// window is how many bundles are fetched ahead: a mirror may be far away.
	window = 16
	// batch is how many entries are committed at a time.
	batch = 32 * tile.Width
)

// build builds the store of a plan, and puts it in the old one's place.
func (w *work) build(ctx context.Context, p *plan) error {
	dir := w.Folder.StoreDir() + building
	if err := w.before("build"); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	w.report.Size, w.report.Root = p.Size, p.Root.String()
	for _, a := range w.asked {
		a.report.Used = 0
	}
	if err := w.fill(ctx, p, dir); err != nil {
		if w.before("abandon") == nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		return err
	}
	if err := w.compare(dir, p); err != nil {
		return fmt.Errorf("the new store %s: %w", dir, err)
	}
	return w.swap(dir)
}

// fill makes the store.
func (w *work) fill(ctx context.Context, p *plan, dir string) (err error) {
	time := p.time
	if time == 0 {
		// It is the newest tree now.
		time = uint64(max(1, w.Now().Unix()))
	}
	state := store.State{Root: tree.EmptyRoot, Time: time, Note: p.note}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := store.Create(dir, store.Options{}, state); err != nil {
		return err
	}
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	f := filler{w: w, p: p, store: s, time: time, marks: w.marks(p)}
	if err := f.mark(0); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var fetching sync.WaitGroup
	defer fetching.Wait() // before anything is closed that they read
	defer cancel()
	for got := range w.bundles(ctx, &fetching, p) {
		b := <-got
		if b.err != nil {
			return b.err
		}
		f.missing = append(f.missing, b.missing...)
		if len(f.missing) > 0 {
			continue // what else is missing is worth knowing
		}
		if err := f.add(b.bundle); err != nil {
			return err
		}
		w.Progress("entries", int(min((b.n+1)*tile.Width, p.Size)), int(p.Size))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(f.missing) > 0 {
		return w.missingError(p, merged(f.missing))
	}
	return f.commit()
}

func merged(rs []Range) (out []Range) {
	for _, r := range rs {
		out = join(out, r)
	}
	return out
}

type fetched struct {
	*bundle
	err error
}

// bundles fetches all bundles of a plan, some at a time, in order.
func (w *work) bundles(ctx context.Context, fetching *sync.WaitGroup, p *plan) <-chan chan fetched {
	out := make(chan chan fetched, window)
	count := (p.Size + tile.Width - 1) / tile.Width
	fetching.Go(func() {
		defer close(out)
		for n := range count {
			c := make(chan fetched, 1)
			select {
			case out <- c:
			case <-ctx.Done():
				return
			}
			fetching.Go(func() {
				b, err := w.fetch(ctx, p, n)
				c <- fetched{b, err}
			})
		}
	})
	return out
}

// marks are the checkpoints that must be of the tree's history, by their size.
func (w *work) marks(p *plan) map[uint64][]mark {
	out := map[uint64][]mark{}
	for _, a := range w.asked {
		if a.signed != nil && a.signed.Size <= p.Size {
			out[a.signed.Size] = append(out[a.signed.Size], mark{a.signed.Root, a.String()})
		}
	}
	if w.Head != nil {
		out[w.Head.Size] = append(out[w.Head.Size], mark{w.Head.Root, "the head file"})
	}
	return out
}

type mark struct {
	root tree.Hash
	from string
}

// A filler appends bundles to a store.
type filler struct {
	w     *work
	p     *plan
	store *store.Store
	time  uint64
	marks map[uint64][]mark

	items   []store.Item
	last    map[string]uint64 // of the items: a path's newest index
	size    uint64
	missing []Range
}

func (f *filler) add(b *bundle) error {
	for i, text := range b.entries {
		e, err := entry.Parse(text)
		if err != nil {
			return fmt.Errorf("entry %d, as it was signed: %w", f.size, err)
		}
		it := store.Item{Entry: text, Leaf: b.leaves[i], Path: store.PathOf(e.Path), Last: e.Kind != entry.Conflict}
		if it.Last {
			if it.Previous, err = f.previous(e.Path); err != nil {
				return err
			}
			f.last[e.Path] = f.size
		}
		f.items = append(f.items, it)
		f.size++
		b.from[i].report.Used++
		_, marked := f.marks[f.size]
		if marked || len(f.items) >= batch {
			if f.size == f.p.Size {
				return nil // commit does it
			}
			if err := f.flush(nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// previous returns the index + 1 of the newest entry of a path, or 0.
func (f *filler) previous(path string) (uint64, error) {
	if f.last == nil {
		f.last = map[string]uint64{}
	}
	if i, ok := f.last[path]; ok {
		return i + 1, nil
	}
	l, err := f.store.Last(path, f.store.Head().Size)
	if err != nil || l == nil {
		return 0, err
	}
	return l.Index + 1, nil
}

// flush commits what was added. Only the last commit has a checkpoint: there is none of the sizes in between, and no
// log starts with such a store.
func (f *filler) flush(note []byte) error {
	b, err := f.store.Stage(f.items)
	if err != nil {
		return err
	}
	if err := errors.Join(b.Seal(f.time, note), f.store.Commit(b)); err != nil {
		return err
	}
	if err := f.store.Advance(b); err != nil {
		return err
	}
	f.items, f.last = f.items[:0], nil
	return f.mark(b.Size())
}

// mark compares the tree with the checkpoints of its size.
func (f *filler) mark(size uint64) error {
	root, err := f.store.Root(size)
	if err != nil {
		return err
	}
	for _, m := range f.marks[size] {
		if m.root != root {
			return fmt.Errorf("%w: the first %d entries have root %v, and %s says %v. Change nothing, and keep both: deploy/KEYS.md says what a stolen key and a second history mean",
				ErrFork, size, root, m.from, m.root)
		}
	}
	return nil
}

// commit commits the last batch, with the checkpoint.
func (f *filler) commit() error {
	if len(f.items) > 0 {
		if err := f.flush(f.p.note); err != nil {
			return err
		}
	}
	if h := f.store.Head(); h.Size != f.p.Size || h.Root != f.p.Root {
		return fmt.Errorf("it has size %d and root %v, expected %d and %v", h.Size, h.Root, f.p.Size, f.p.Root)
	}
	return nil
}

// compare opens the new store as the log will, and compares it once more with the checkpoint and the head.
func (w *work) compare(dir string, p *plan) (err error) {
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return w.fits(s.Head().State, s.Root)
}

// fits reports why a log would not start with a store of this state.
func (w *work) fits(state store.State, rootOf func(uint64) (tree.Hash, error)) error {
	signed, err := w.open(state.Note, "the store")
	if err != nil {
		return fmt.Errorf("its checkpoint: %w", err)
	}
	if signed.Checkpoint != (checkpoint.Checkpoint{Origin: w.Folder.Origin, Size: state.Size, Root: state.Root}) {
		return fmt.Errorf("its checkpoint is of size %d and root %v, its tree of size %d and root %v", signed.Size, signed.Root, state.Size, state.Root)
	}
	h := w.Head
	if h == nil {
		return nil
	}
	if state.Size < h.Size || state.Size > h.Size && state.Previous != h.Size {
		return fmt.Errorf("it has %d entries, the last commit of them from %d on, and the head file says %d", state.Size, state.Previous, h.Size)
	}
	if root, err := rootOf(h.Size); err != nil || root != h.Root {
		return fmt.Errorf("its first %d entries have root %v, the head file says %v (%v)", h.Size, root, h.Root, err)
	}
	return nil
}

// sound reports whether the store is all right as it is; what lies outside of it is then put right.
func (w *work) sound(ctx context.Context) (bool, error) {
	c, err := store.OpenCopy(w.Folder.StoreDir(), store.Options{})
	if err != nil {
		return false, nil // it is found again by recover, which reports it
	}
	defer c.Close()
	_, state, err := c.Verify(ctx, store.ScrubOptions{Progress: func(done, size uint64) { w.Progress("verifying the store", int(done), int(size)) }})
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil || w.fits(state, c.Root) != nil {
		return false, nil
	}
	w.report.Sound, w.report.Size, w.report.Root = true, state.Size, state.Root.String()
	return true, w.finish()
}

// openLocal opens what is left of the store: the one in place, and those that earlier recoveries replaced.
func (w *work) openLocal() {
	dirs, err := filepath.Glob(w.Folder.StoreDir() + ".[0-9]*")
	if err != nil {
		dirs = nil
	}
	slices.Sort(dirs)
	slices.Reverse(dirs)
	for i, dir := range append([]string{w.Folder.StoreDir()}, dirs...) {
		c, err := openCopy(dir, dir)
		switch {
		case err == nil:
			// Of a store that was replaced the entries are of use. What it signed last may be a commit that was lost
			// with it, and did not leave this machine.
			c.entriesOnly = i > 0 && len(w.local) > 0
			w.local = append(w.local, c)
		case !errors.Is(err, fs.ErrNotExist):
			w.report.Sources = append(w.report.Sources, SourceReport{Name: dir, Error: err.Error()})
		}
	}
}
