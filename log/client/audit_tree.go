package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/tile"
	"github.com/pauselog/pauselog/log/tree"
)

// AuditTree is Audit for a static tree of the log, in a folder or at a URL: for what the log itself serves, what an
// export has written, or any copy of either. The files are those of C2SP tlog-tiles below one place:
//
//	checkpoint             the signed checkpoint
//	tile/entries/<N>       the entry bundles
//	tile/<L>/<N>           the hash tiles
//	tile/....p/<W>         the partial ones at the right edge
//
// Every entry is audited as Audit does it, and every hash tile is compared with the entries. The path index (paths/) is not
// read: nothing rests on it.
//
// The caller has opened the tree, by which its checkpoint was verified, and has compared it with what is remembered of
// the log. The error wraps prooftree.ErrInvalid if a file is not what the checkpoint implies, and prooftree.ErrIncomplete if one
// is missing.
func AuditTree(ctx context.Context, t *prooftree.Tree, source prooftree.Source, progress func(done, size uint64)) (*Report, error) {
	a := newAudit(&Seen{t.Opened, t.Note}, progress)
	f := &files{tree: t, source: source}
	a.wrong = prooftree.ErrInvalid
	a.load = f.load
	a.full = func(root tree.Hash) error { return f.add(ctx, 1, root) }
	if t.Size > 0 {
		at := uint64(0)
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		err := a.run(ctx, cancel, func(p *piece) (more bool) {
			p.start = at
			f.prefetch(at / tile.Width)
			at += min(tile.Width, t.Size-at)
			return at < t.Size
		})
		if err != nil {
			return a.report, err
		}
	}
	if err := f.finish(ctx); err != nil {
		return a.report, err
	}
	return a.report, a.finish()
}

// files are those of a tree that is audited.
type files struct {
	tree   *prooftree.Tree
	source prooftree.Source
	// By tile level, the hashes since its last full tile. Level 0 is compared where it is hashed.
	levels [][]tree.Hash
	counts []uint64 // of full tiles

	// told is up to which bundle the source knows that it will be asked.
	told uint64
}

// far is how many bundles ahead of what is read the source is told, each with its tile of hashes: some 2 MiB.
const far = 32

// prefetch tells the source that from this bundle on some will be asked for.
func (f *files) prefetch(n uint64) {
	source, ok := f.source.(prooftree.Prefetcher)
	if !ok {
		return
	}
	for ; f.told < n+far; f.told++ {
		x, ok := tile.At(tile.Bundle, f.told, f.tree.Size)
		if !ok {
			return
		}
		source.Prefetch(x.Path())
		x.Level = 0
		source.Prefetch(x.Path())
	}
}

// load reads a piece's bundle, and compares the tile of its leaves with it.
func (f *files) load(ctx context.Context, p *piece) error {
	n := p.start / tile.Width
	x, ok := tile.At(tile.Bundle, n, f.tree.Size)
	if !ok {
		return fmt.Errorf("%w: there is no bundle %d in the tree of size %d", prooftree.ErrInvalid, n, f.tree.Size)
	}
	b, found, err := f.get(ctx, x)
	if err != nil {
		return err
	}
	all, err := tile.Entries(b, found.Width)
	if err != nil {
		return fmt.Errorf("%w: %v: %w", prooftree.ErrInvalid, found, err)
	}
	// What is read of an entry is parts of a string: one copy of the bundle serves for all.
	texts := string(b)
	for _, text := range all[:x.Width] {
		texts = texts[2:] // the length
		p.add(texts[:len(text)])
		texts = texts[len(text):]
	}
	x.Level = 0
	return f.compare(ctx, x, p.leaves)
}

// add adds the hash of a full tile of the level below.
func (f *files) add(ctx context.Context, level int, h tree.Hash) error {
	for len(f.levels) <= level {
		f.levels, f.counts = append(f.levels, nil), append(f.counts, 0)
	}
	f.levels[level] = append(f.levels[level], h)
	if len(f.levels[level]) < tile.Width {
		return nil
	}
	hashes := f.levels[level]
	f.levels[level] = nil
	x := tile.Tile{Level: level, N: f.counts[level], Width: tile.Width}
	f.counts[level]++
	if err := f.compare(ctx, x, hashes); err != nil {
		return err
	}
	return f.add(ctx, level+1, tile.Root(hashes))
}

// finish compares the partial tiles.
func (f *files) finish(ctx context.Context) error {
	for level, hashes := range f.levels {
		if len(hashes) == 0 {
			continue
		}
		if err := f.compare(ctx, tile.Tile{Level: level, N: f.counts[level], Width: len(hashes)}, hashes); err != nil {
			return err
		}
	}
	return nil
}

// compare compares a hash tile with what the entries make it.
func (f *files) compare(ctx context.Context, x tile.Tile, want []tree.Hash) error {
	b, found, err := f.get(ctx, x)
	if err != nil {
		return err
	}
	hashes, err := tile.Hashes(b, found.Width)
	if err != nil {
		return fmt.Errorf("%w: %v: %w", prooftree.ErrInvalid, found, err)
	}
	for i := range want {
		if hashes[i] == want[i] {
			continue
		}
		// One of the two is not what was signed. A reader comes down from the root and can tell which.
		if x.Level == 0 {
			if _, err := f.tree.Entries(ctx, x.N); err != nil {
				return err
			}
		}
		return fmt.Errorf("%w: %v does not have the hashes of the entries below it", prooftree.ErrInvalid, found)
	}
	return nil
}

// get reads a tile, or the full one in the place of a partial one, which may be removed then (C2SP tlog-tiles, "Partial
// Tiles").
func (f *files) get(ctx context.Context, x tile.Tile) ([]byte, tile.Tile, error) {
	b, err := f.source.Get(ctx, x.Path(), int64(x.MaxBytes()))
	if errors.Is(err, fs.ErrNotExist) && x.Width < tile.Width {
		if b, full := f.source.Get(ctx, x.Full().Path(), int64(x.Full().MaxBytes())); full == nil {
			return b, x.Full(), nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: there is no %v", prooftree.ErrIncomplete, x)
	} else if err != nil {
		err = fmt.Errorf("%v: %w", x, err)
	}
	return b, x, err
}
