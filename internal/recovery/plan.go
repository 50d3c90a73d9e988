package recovery

import (
	"context"
	"fmt"

	"github.com/pauselog/pauselog/log/tile"
	"github.com/pauselog/pauselog/log/tree"
)

// A plan is a tree to build: what its tiles are is proven by its checkpoint.
type plan struct {
	*signed
	tiles *tiles
}

// plan finds the tiles that lead to a checkpoint's root: those of one source, or those that a smaller checkpoint proves,
// together with what others say of the rest.
func (w *work) plan(ctx context.Context, t *signed) (*plan, error) {
	var bases []*asked // proven, and no larger than the target
	for _, a := range w.asked {
		switch {
		case !a.report.Proven:
		case a.signed.Root == t.Root:
			return &plan{t, a.tiles}, nil
		case a.signed.Size <= t.Size:
			bases = append(bases, a)
		}
	}
	base := new(tiles)
	for _, a := range bases {
		if a.tiles.size() > base.size() {
			base = a.tiles
		}
	}
	var best error
	for _, b := range []*tiles{base, {}} {
		for _, first := range append([]*asked{nil}, w.asked...) {
			got := w.extend(ctx, b, first, t.Size)
			root, err := got.root()
			if err == nil && root == t.Root {
				return &plan{t, got}, nil
			}
			if best == nil {
				if err == nil {
					err = fmt.Errorf("what the sources say of the rest leads to another root than %v", t.Root)
				}
				best = err
			}
		}
		if b.size() == 0 {
			break
		}
	}
	w.report.Missing = append(w.report.Missing, Range{base.size(), t.Size})
	return nil, fmt.Errorf("%w: there is a checkpoint of size %d (from %s), and of its tree only the first %d entries are proven by a smaller checkpoint: %w",
		ErrMissing, t.Size, t.from, base.size(), best)
}

// extend makes tiles of a size from a base, then what the first source says, then what all others say.
func (w *work) extend(ctx context.Context, base *tiles, first *asked, size uint64) *tiles {
	order := make([]*asked, 0, len(w.asked)+1)
	if first != nil {
		order = append(order, first)
	}
	order = append(order, w.asked...)
	t := &tiles{full: make([]tree.Hash, size/tile.Width), tail: make([]tree.Hash, size%tile.Width)}
	copied := copy(t.full, base.full)
	for n := copied; n < len(t.full); n++ {
		for _, a := range order {
			if a.tiles != nil && n < len(a.tiles.full) && t.full[n] == (tree.Hash{}) {
				t.full[n] = a.tiles.full[n]
			}
		}
		if t.full[n] == (tree.Hash{}) {
			// Several may have a part of it.
			if leaves := w.leaves(ctx, base, order, uint64(n), tile.Width); leaves != nil {
				t.full[n] = tile.Root(leaves)
			}
		}
	}
	if len(t.tail) > 0 {
		if leaves := w.leaves(ctx, base, order, uint64(len(t.full)), len(t.tail)); leaves != nil {
			copy(t.tail, leaves)
		}
	}
	return t
}

// leaves makes the leaf hashes of one tile from what a base proves of it and what sources have of it; nil if some are not
// to be had.
func (w *work) leaves(ctx context.Context, base *tiles, order []*asked, n uint64, width int) []tree.Hash {
	out := make([]tree.Hash, width)
	known := 0
	take := func(hashes []tree.Hash) {
		for i, h := range hashes {
			if i < width && out[i] == (tree.Hash{}) && h != (tree.Hash{}) {
				out[i] = h
				known++
			}
		}
	}
	for _, t := range append([]*tiles{base}, tilesOf(order)...) {
		if uint64(len(t.full)) == n {
			take(t.tail)
		}
	}
	for _, a := range order {
		if known == width {
			return out
		}
		entries, _ := a.Entries(ctx, n, width)
		take(leafHashes(entries))
	}
	if known < width {
		return nil
	}
	return out
}

func tilesOf(order []*asked) (out []*tiles) {
	for _, a := range order {
		if a.tiles != nil {
			out = append(out, a.tiles)
		}
	}
	return out
}

// A bundle is the entries of one tile, each of which has the leaf hash that the plan's tree has.
type bundle struct {
	n       uint64
	entries [][]byte
	leaves  []tree.Hash
	from    []*asked // of each entry
	missing []Range
}

// fetch gets a bundle from the sources, in their order. What none has is in missing. An error is the context's.
func (w *work) fetch(ctx context.Context, p *plan, n uint64) (*bundle, error) {
	width, full := len(p.tiles.tail), n < uint64(len(p.tiles.full))
	if full {
		width = tile.Width
	}
	b := &bundle{n: n, from: make([]*asked, width)}
	var parts [][][]byte
	for _, a := range w.asked {
		entries, err := a.Entries(ctx, n, width)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if entries == nil {
			entries = make([][]byte, width)
		}
		leaves := leafHashes(entries)
		if err == nil && (full && tile.Root(leaves) == p.tiles.full[n] || !full && equal(leaves, p.tiles.tail)) {
			b.entries, b.leaves = entries, leaves
			for i := range b.from {
				b.from[i] = a
			}
			w.reportBad(parts, n, leaves)
			return b, nil
		}
		parts = append(parts, entries)
	}
	b.leaves = p.tiles.tail
	if full {
		b.leaves = w.provenLeaves(ctx, p, n, parts)
	}
	start := n * tile.Width
	if b.leaves == nil {
		b.missing = append(b.missing, Range{start, start + uint64(width)})
		return b, nil
	}
	b.entries = make([][]byte, width)
	for i := range width {
		for j, a := range w.asked {
			if e := parts[j][i]; e != nil && tree.LeafHash(e) == b.leaves[i] {
				b.entries[i], b.from[i] = e, a
				break
			}
		}
		if b.entries[i] == nil {
			b.missing = join(b.missing, Range{start + uint64(i), start + uint64(i) + 1})
		}
	}
	w.reportBad(parts, n, b.leaves)
	return b, nil
}

// provenLeaves returns the leaf hashes of a full tile that lead to its hash: a source's, or those of entries of
// several sources.
func (w *work) provenLeaves(ctx context.Context, p *plan, n uint64, parts [][][]byte) []tree.Hash {
	for _, a := range w.asked {
		if leaves, err := a.Leaves(ctx, n); err == nil && len(leaves) == tile.Width && tile.Root(leaves) == p.tiles.full[n] {
			return leaves
		}
	}
	// Without a tile, a mixture is tried that takes from one source first.
	for first := range parts {
		out := make([]tree.Hash, tile.Width)
		for _, j := range append([]int{first}, others(len(parts), first)...) {
			for i, e := range parts[j] {
				if out[i] == (tree.Hash{}) && e != nil {
					out[i] = tree.LeafHash(e)
				}
			}
		}
		if tile.Root(out) == p.tiles.full[n] {
			return out
		}
	}
	return nil
}

func others(n, but int) (out []int) {
	for i := range n {
		if i != but {
			out = append(out, i)
		}
	}
	return out
}

// reportBad notes what a source does not have, or not as it was signed, of what it says that it has.
func (w *work) reportBad(parts [][][]byte, n uint64, leaves []tree.Hash) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for j, entries := range parts {
		a := w.asked[j]
		for i, e := range entries {
			index := n*tile.Width + uint64(i)
			if a.signed != nil && index >= a.signed.Size || e != nil && tree.LeafHash(e) == leaves[i] {
				continue
			}
			a.report.Bad = join(a.report.Bad, Range{index, index + 1})
		}
	}
}

// join adds a range to those before it.
func join(rs []Range, r Range) []Range {
	if i := len(rs) - 1; i >= 0 && rs[i].End == r.Start {
		rs[i].End = r.End
		return rs
	}
	return append(rs, r)
}

func equal(a, b []tree.Hash) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// missingError says what no source has.
func (w *work) missingError(p *plan, missing []Range) error {
	w.report.Missing = missing
	n := uint64(0)
	for _, r := range missing {
		n += r.End - r.Start
	}
	return fmt.Errorf("%w: of the tree of size %d no source has %d entries as they were signed: %s", ErrMissing, p.Size, n, ranges(missing))
}
