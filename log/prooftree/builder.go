package prooftree

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/pauselog/pauselog/log/tile"
	"github.com/pauselog/pauselog/log/tree"
)

// A Builder makes the tiles and entry bundles of a tree from its entries, in their order.
// It keeps what is partial; what became full it hands out once.
type Builder struct {
	size   uint64
	bundle [][]byte      // the entries since the last full bundle
	levels [][]tree.Hash // by tile level, the hashes since the last full tile
	full   []File
}

// A File is a file of a proof tree.
type File struct {
	Tile tile.Tile
	Data []byte
}

// NewBuilder returns a builder for an empty tree.
func NewBuilder() *Builder { return new(Builder) }

// Resume returns a builder that goes on where a tree ends.
func (t *Tree) Resume(ctx context.Context) (*Builder, error) {
	b := &Builder{size: t.Size}
	edge, err := t.verifiedEdge(ctx)
	if err != nil {
		return nil, err
	}
	for level := 0; t.Size>>(tile.Height*level) > 0; level++ {
		b.levels = append(b.levels, append([]tree.Hash(nil), edge[level]...))
	}
	if t.Size%tile.Width > 0 {
		entries, err := t.Entries(ctx, t.Size/tile.Width)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			b.bundle = append(b.bundle, bytes.Clone(e))
		}
	}
	return b, nil
}

// Size is the number of entries so far.
func (b *Builder) Size() uint64 { return b.size }

// Root is the root of the tree so far.
func (b *Builder) Root() tree.Hash {
	root, has := tree.EmptyRoot, false
	for _, hashes := range b.levels {
		if len(hashes) > 0 {
			root, has = joined(hashes, root, has), true
		}
	}
	return root
}

// Add adds an entry. The builder keeps it.
func (b *Builder) Add(entry []byte) error {
	if len(entry) > tile.MaxEntry {
		return fmt.Errorf("%w: an entry of %d bytes", ErrInvalid, len(entry))
	}
	if b.size == tree.MaxSize {
		return fmt.Errorf("%w: over 2^63-1 entries", ErrInvalid)
	}
	b.bundle = append(b.bundle, entry)
	h := tree.LeafHash(entry)
	for level := 0; ; level++ {
		if level == len(b.levels) {
			b.levels = append(b.levels, nil)
		}
		b.levels[level] = append(b.levels[level], h)
		if len(b.levels[level]) < tile.Width {
			break
		}
		n := b.size >> (tile.Height * (level + 1))
		if level == 0 {
			b.full = append(b.full, File{tile.Tile{Level: tile.Bundle, N: n, Width: tile.Width}, asBundle(b.bundle)})
			b.bundle = nil
		}
		b.full = append(b.full, File{tile.Tile{Level: level, N: n, Width: tile.Width}, tile.AppendHashes(nil, b.levels[level]...)})
		h = tile.Root(b.levels[level])
		b.levels[level] = nil
	}
	b.size++
	return nil
}

func asBundle(entries [][]byte) []byte {
	var b []byte
	for _, e := range entries {
		var err error
		if b, err = tile.AppendEntry(b, e); err != nil {
			panic(err) // Add has checked its length
		}
	}
	return b
}

// Full returns the files that became full since it was called last. They never change.
func (b *Builder) Full() []File {
	full := b.full
	b.full = nil
	return full
}

// Partial returns the partial files at the right edge of the tree so far.
func (b *Builder) Partial() iter.Seq[File] {
	return func(yield func(File) bool) {
		if len(b.bundle) > 0 && !yield(File{tile.Tile{Level: tile.Bundle, N: b.size / tile.Width, Width: len(b.bundle)}, asBundle(b.bundle)}) {
			return
		}
		for level, hashes := range b.levels {
			x := tile.Tile{Level: level, N: b.size >> (tile.Height * (level + 1)), Width: len(hashes)}
			if len(hashes) > 0 && !yield(File{x, tile.AppendHashes(nil, hashes...)}) {
				return
			}
		}
	}
}
