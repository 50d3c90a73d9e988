package recovery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/transparency-dev/merkle/compact"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tile"
	"github.com/pauselog/pauselog/log/tree"
)

// A Source may have a log's entries. It is not trusted, and may be damaged: its methods return what they can.
type Source interface {
	// String is what the operator knows it by.
	String() string
	// Checkpoint returns the newest signed note that it has. A store also says at which size the commit
	// began that made it.
	Checkpoint(ctx context.Context) (note []byte, previous uint64, known bool, err error)
	// Tiles returns what it says that the tree of its checkpoint is made of. With an error there may still be some.
	Tiles(ctx context.Context, size uint64) (*tiles, error)
	// Leaves returns the leaf hashes of a full tile.
	Leaves(ctx context.Context, n uint64) ([]tree.Hash, error)
	// Entries returns the first width entries of a bundle, nil for one that it does not have. It may be called
	// concurrently. An error says why there are fewer than that.
	Entries(ctx context.Context, n uint64, width int) ([][]byte, error)
	Close() error
}

// Open opens a source by what an operator names it: an http:// or https:// URL or a folder with a static tree
// (C2SP tlog-tiles), or the folder of a backup or of a store. agent says who asks.
func Open(name, agent string) (Source, error) {
	if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
		h, err := prooftree.OpenHTTP(name, agent)
		if err != nil {
			return nil, err
		}
		return &static{source: h, name: name, close: h.Close}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is no folder, and no URL", name)
	}
	for _, dir := range []string{filepath.Join(name, "db"), name} {
		if _, err := os.Stat(filepath.Join(dir, "log")); err == nil {
			c, err := openCopy(name, dir)
			if err != nil {
				return nil, err
			}
			return c, nil
		}
	}
	if _, err := os.Stat(filepath.Join(name, "checkpoint")); err == nil {
		d, err := prooftree.OpenDir(name)
		if err != nil {
			return nil, err
		}
		return &static{source: d, name: name, close: d.Close}, nil
	}
	return nil, fmt.Errorf("%s has neither a store (db/log) nor a static tree (checkpoint, tile/...): %w", name, fs.ErrNotExist)
}

// tiles are the leaves of a tree, as one hash for each full tile and the leaf hashes after them. A tile of which
// nothing is known is a zero hash, as is a leaf.
type tiles struct {
	full []tree.Hash
	tail []tree.Hash
}

func (t *tiles) size() uint64 { return uint64(len(t.full))*tile.Width + uint64(len(t.tail)) }

// factory makes every compact range here: the library joins only those of one factory.
var factory = &compact.RangeFactory{Hash: tree.Hasher{}.HashChildren}

// root is the root of the tree.
func (t *tiles) root() (tree.Hash, error) {
	edge := factory.NewEmptyRange(0)
	for n, h := range t.full {
		if h == (tree.Hash{}) {
			return h, fmt.Errorf("nothing is known of %v", Range{uint64(n) * tile.Width, uint64(n+1) * tile.Width})
		}
		if err := appendTile(edge, uint64(n), h); err != nil {
			return h, err
		}
	}
	for i := range t.tail {
		if t.tail[i] == (tree.Hash{}) {
			return tree.Hash{}, fmt.Errorf("nothing is known of entry %d", edge.End())
		}
		if err := edge.Append(t.tail[i][:], nil); err != nil {
			return tree.Hash{}, err
		}
	}
	return rootOf(edge)
}

func appendTile(edge *compact.Range, n uint64, h tree.Hash) error {
	perfect, err := factory.NewRange(n*tile.Width, (n+1)*tile.Width, [][]byte{h[:]})
	if err != nil {
		return err
	}
	return edge.AppendRange(perfect, nil)
}

func rootOf(edge *compact.Range) (tree.Hash, error) {
	if edge.End() == 0 {
		return tree.EmptyRoot, nil
	}
	h, err := edge.GetRootHash(nil)
	if err != nil {
		return tree.Hash{}, err
	}
	return tree.Hash(h), nil
}

// static is a static tree.
type static struct {
	source prooftree.Source
	name   string
	close  func() error
	size   uint64 // of its checkpoint, once Tiles was called
}

func (s *static) String() string { return s.name }
func (s *static) Close() error   { return s.close() }

func (s *static) Checkpoint(ctx context.Context) ([]byte, uint64, bool, error) {
	note, err := s.source.Get(ctx, "checkpoint", checkpoint.MaxNoteSize)
	return note, 0, false, err
}

// Tiles reads level 1, each hash of which is one of a full tile of level 0, and the partial tile of level 0.
func (s *static) Tiles(ctx context.Context, size uint64) (*tiles, error) {
	s.size = size
	t := new(tiles)
	for n := uint64(0); ; n++ {
		x, ok := tile.At(1, n, size)
		if !ok {
			break
		}
		hashes, err := s.hashes(ctx, x)
		if err != nil {
			return t, err
		}
		t.full = append(t.full, hashes...)
	}
	if size%tile.Width != 0 {
		x, ok := tile.At(0, size/tile.Width, size)
		if !ok {
			return t, fmt.Errorf("a tree of size %d", size)
		}
		var err error
		if t.tail, err = s.hashes(ctx, x); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (s *static) hashes(ctx context.Context, x tile.Tile) ([]tree.Hash, error) {
	b, found, err := s.get(ctx, x)
	if err != nil {
		return nil, err
	}
	hashes, err := tile.Hashes(b, found.Width)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", found, err)
	}
	return hashes[:x.Width], nil
}

func (s *static) Leaves(ctx context.Context, n uint64) ([]tree.Hash, error) {
	return s.hashes(ctx, tile.Tile{Level: 0, N: n, Width: tile.Width})
}

func (s *static) Entries(ctx context.Context, n uint64, width int) ([][]byte, error) {
	// It may end within the bundle: then its last one has a part of it.
	has := min(uint64(width), s.size-min(s.size, n*tile.Width))
	if has == 0 {
		return nil, fmt.Errorf("it ends before entry %d: %w", n*tile.Width, fs.ErrNotExist)
	}
	b, found, err := s.get(ctx, tile.Tile{Level: tile.Bundle, N: n, Width: int(has)})
	if err != nil {
		return nil, err
	}
	entries, err := tile.Entries(b, found.Width)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", found, err)
	}
	out := make([][]byte, width)
	copy(out, entries)
	return out, nil
}

// get reads a tile, or the full one if it stands in the place of a partial one (C2SP tlog-tiles, "Partial Tiles").
func (s *static) get(ctx context.Context, x tile.Tile) ([]byte, tile.Tile, error) {
	b, err := s.source.Get(ctx, x.Path(), int64(x.MaxBytes()))
	if errors.Is(err, fs.ErrNotExist) && x.Width < tile.Width {
		x = x.Full()
		b, err = s.source.Get(ctx, x.Path(), int64(x.MaxBytes()))
	}
	return b, x, err
}

// copySource is a store that is only read.
type copySource struct {
	*store.Copy
	name        string
	entriesOnly bool
}

func openCopy(name, dir string) (*copySource, error) {
	c, err := store.OpenCopy(dir, store.Options{})
	if err != nil {
		return nil, err
	}
	return &copySource{Copy: c, name: name}, nil
}

func (c *copySource) String() string { return c.name }

func (c *copySource) Checkpoint(context.Context) ([]byte, uint64, bool, error) {
	if c.entriesOnly {
		return nil, 0, false, errors.New("it was replaced before; only its entries are used")
	}
	s, err := c.State()
	return s.Note, s.Previous, true, err
}

// Tiles hashes the tiles of a store; where one is damaged, its entries.
func (c *copySource) Tiles(ctx context.Context, size uint64) (*tiles, error) {
	return c.hash(ctx, size, func(n uint64) (tree.Hash, error) {
		leaves, err := c.Tile(n)
		if err != nil {
			return tree.Hash{}, err
		}
		return tile.Root(leaves[:]), nil
	})
}

// Rehash is Tiles from the entries alone.
func (c *copySource) Rehash(ctx context.Context, size uint64) (*tiles, error) {
	return c.hash(ctx, size, func(uint64) (tree.Hash, error) { return tree.Hash{}, errNotAsked })
}

var errNotAsked = errors.New("not asked")

func (c *copySource) hash(ctx context.Context, size uint64, of func(n uint64) (tree.Hash, error)) (*tiles, error) {
	t := &tiles{full: make([]tree.Hash, size/tile.Width)}
	var first error
	note := func(err error) {
		if first == nil && err != nil && err != errNotAsked {
			first = err
		}
	}
	for n := range t.full {
		if ctx.Err() != nil {
			return t, ctx.Err()
		}
		var err error
		if t.full[n], err = of(uint64(n)); err == nil {
			continue
		}
		note(err)
		entries, err := c.Entries(ctx, uint64(n), tile.Width)
		note(err)
		if err == nil {
			t.full[n] = tile.Root(leafHashes(entries))
		}
	}
	if width := int(size % tile.Width); width > 0 {
		entries, err := c.Entries(ctx, size/tile.Width, width)
		note(err)
		t.tail = leafHashes(entries)
	}
	if _, err := t.root(); err != nil {
		return t, errors.Join(err, first)
	}
	return t, nil
}

func (c *copySource) Leaves(_ context.Context, n uint64) ([]tree.Hash, error) {
	t, err := c.Tile(n)
	if err != nil {
		return nil, err
	}
	return t[:], nil
}

func (c *copySource) Entries(_ context.Context, n uint64, width int) ([][]byte, error) {
	start := n * tile.Width
	entries, err := c.Copy.Entries(start, start+uint64(width))
	if err == nil {
		return entries, nil
	}
	out := make([][]byte, width)
	for i := range out {
		if e, err := c.Copy.Entries(start+uint64(i), start+uint64(i)+1); err == nil {
			out[i] = e[0]
		}
	}
	return out, err
}

// leafHashes are the leaf hashes of entries; zero for one that is not there.
func leafHashes(entries [][]byte) []tree.Hash {
	out := make([]tree.Hash, len(entries))
	for i, e := range entries {
		if e != nil {
			out[i] = tree.LeafHash(e)
		}
	}
	return out
}
