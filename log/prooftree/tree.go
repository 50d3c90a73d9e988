package prooftree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"strings"
	"sync"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tile"
	"github.com/pauselog/pauselog/log/tree"
)

// checkpointName is the checkpoint's name in the tree.
const checkpointName = "checkpoint"

// cacheBytes bounds what a Tree keeps in memory: a run over all of CPAN reads each shard once.
const cacheBytes = 64 << 20

// A Tree is a static proof tree at one checkpoint. All that it returns was verified against
// that checkpoint's root, however the source changes meanwhile. Its methods may be called
// concurrently.
type Tree struct {
	*checkpoint.Opened        // of the checkpoint
	Note               []byte // the checkpoint, with all signature lines

	source Source
	policy *checkpoint.Policy
	short  []byte // the checkpoint as bundles have it
	*verified
}

// verified is what was read and found to be the tree's.
type verified struct {
	cache cache

	mu   sync.Mutex
	edge map[int][]tree.Hash // by level; nil until it is needed
}

// Open reads the source's checkpoint and verifies it under the policy. Its errors wrap those of
// checkpoint.Policy.Open, with ErrInvalid unless it is ErrQuorum: then, and only then, the
// tree is returned with the error. ErrIncomplete says that there is no checkpoint.
func Open(ctx context.Context, source Source, policy *checkpoint.Policy) (*Tree, error) {
	note, err := source.Get(ctx, checkpointName, checkpoint.MaxNoteSize)
	if err != nil {
		return nil, missing(checkpointName, err)
	}
	opened, err := policy.Open(note)
	if opened == nil {
		return nil, fmt.Errorf("%w: its checkpoint: %w", ErrInvalid, err)
	}
	t := &Tree{Opened: opened, Note: note, source: source, policy: policy, short: note, verified: &verified{cache: cache{limit: cacheBytes}}}
	// Bundles carry the Ed25519 lines alone, if these are enough.
	short := opened.Note.Keep(checkpoint.Signature.IsEd25519)
	if len(short.Signatures) > 0 {
		if o, _ := policy.Open(short.Marshal()); o != nil && o.QuorumMet == opened.QuorumMet {
			t.short = short.Marshal()
		}
	}
	return t, err
}

// missing tells a file that is not there from a source that cannot be read.
func missing(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: there is no %s", ErrIncomplete, name)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// AllSignatures returns a tree like t whose bundles have all signature lines, those of ML-DSA
// (3 KB each) too.
func (t *Tree) AllSignatures() *Tree {
	all := *t
	all.short = t.Note
	return &all
}

// Bundle returns an entry with its inclusion proof. An index that the checkpoint's tree does not have
// wraps ErrIncomplete.
func (t *Tree) Bundle(ctx context.Context, index uint64) (*proof.Bundle, error) {
	entry, err := t.Entry(ctx, index)
	if err != nil {
		return nil, err
	}
	hashes, err := t.reader(ctx).Inclusion(index)
	if err != nil {
		return nil, err
	}
	b := &proof.Bundle{Entry: entry, Index: index, Hashes: hashes, Checkpoint: t.short}
	if err := b.Verify(t.Size, t.Root); err != nil {
		return nil, fmt.Errorf("%w: entry %d: %w", ErrInvalid, index, err)
	}
	return b, nil
}

// Consistency returns the proof that the tree of an older size is a prefix of this one.
func (t *Tree) Consistency(ctx context.Context, oldSize uint64) ([]tree.Hash, error) {
	return t.reader(ctx).Consistency(oldSize)
}

// Prefix returns the root of the tree of an older size, which must be a power of two: the proof from such a tree does
// not contain it.
func (t *Tree) Prefix(ctx context.Context, oldSize uint64) (tree.Hash, error) {
	if bits.OnesCount64(oldSize) != 1 || oldSize > t.Size {
		return tree.Hash{}, fmt.Errorf("size %d is no power of two up to %d", oldSize, t.Size)
	}
	return t.reader(ctx).Node(uint(bits.TrailingZeros64(oldSize)), 0)
}

// Entry returns the bytes of an entry.
func (t *Tree) Entry(ctx context.Context, index uint64) ([]byte, error) {
	if index >= t.Size {
		return nil, fmt.Errorf("%w: there is no entry %d in the tree of size %d", ErrIncomplete, index, t.Size)
	}
	entries, err := t.Entries(ctx, index/tile.Width)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(entries[index%tile.Width]), nil
}

// Entries returns the entries of a bundle of the checkpoint's tree, each compared with its leaf hash. They are
// shared: the caller must not change them.
func (t *Tree) Entries(ctx context.Context, n uint64) ([][]byte, error) {
	x, ok := tile.At(tile.Bundle, n, t.Size)
	if !ok {
		return nil, fmt.Errorf("%w: there is no entry bundle %d in the tree of size %d", ErrIncomplete, n, t.Size)
	}
	if v, ok := t.cache.get(x.Path()); ok {
		return v.([][]byte), nil
	}
	leaves, err := t.tile(ctx, 0, n)
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	size := 0
	err = t.fetch(ctx, x, func(found tile.Tile, b []byte) error {
		size = len(b)
		all, err := tile.Entries(b, found.Width)
		if err != nil {
			return fmt.Errorf("%w: %v: %w", ErrInvalid, found, err)
		}
		entries = all[:x.Width]
		for i, e := range entries {
			if tree.LeafHash(e) != leaves[i] {
				return fmt.Errorf("%w: %v: entry %d is not the one of the tree", ErrInvalid, found, n*tile.Width+uint64(i))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.cache.put(x.Path(), entries, size+24*len(entries))
	return entries, nil
}

func (t *Tree) reader(ctx context.Context) *tile.Reader {
	return &tile.Reader{Size: t.Size, Fetch: func(x tile.Tile) ([]tree.Hash, error) { return t.tile(ctx, x.Level, x.N) }}
}

// tile returns the verified hashes of a tile that the tree has. A full tile's hash stands in
// the tile above it, which is verified first; the partial tiles together make the root.
func (t *Tree) tile(ctx context.Context, level int, n uint64) ([]tree.Hash, error) {
	x, ok := tile.At(level, n, t.Size)
	if !ok {
		return nil, fmt.Errorf("%w: there is no %v in the tree of size %d", ErrIncomplete, x, t.Size)
	}
	if x.Width < tile.Width {
		edge, err := t.verifiedEdge(ctx)
		return edge[level], err
	}
	if v, ok := t.cache.get(x.Path()); ok {
		return v.([]tree.Hash), nil
	}
	above, err := t.tile(ctx, level+1, n/tile.Width)
	if err != nil {
		return nil, err
	}
	hashes, err := t.hashes(ctx, x)
	if err != nil {
		return nil, err
	}
	if tile.Root(hashes) != above[n%tile.Width] {
		return nil, fmt.Errorf("%w: %v does not have the hash that the level above it has", ErrInvalid, x)
	}
	t.cache.put(x.Path(), hashes, len(hashes)*tree.HashSize)
	return hashes, nil
}

// verifiedEdge returns the partial tiles at the right edge of the tree, by their level.
func (t *Tree) verifiedEdge(ctx context.Context) (map[int][]tree.Hash, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.edge != nil {
		return t.edge, nil
	}
	edge := map[int][]tree.Hash{}
	var names []string
	root := tree.EmptyRoot
	for level := 0; t.Size>>(tile.Height*level) > 0; level++ {
		width := t.Size >> (tile.Height * level)
		if width%tile.Width == 0 {
			continue // all of this level hangs below full tiles
		}
		x, ok := tile.At(level, width/tile.Width, t.Size)
		if !ok {
			return nil, fmt.Errorf("%w: a tree of size %d", ErrInvalid, t.Size)
		}
		hashes, err := t.hashes(ctx, x)
		if err != nil {
			return nil, err
		}
		edge[level], names = hashes, append(names, x.Path())
		root = joined(hashes, root, len(names) > 1)
	}
	if root != t.Root {
		return nil, fmt.Errorf("%w: the right edge of the tree, %s, does not have the checkpoint's root", ErrInvalid, strings.Join(names, " and "))
	}
	t.edge = edge
	return edge, nil
}

// joined is the root of a partial tile and of what lies below and to the right of it. That
// covers fewer leaves than one hash of the tile and stands where its next hash would, and so
// the tree over both (RFC 6962, section 2.1) is the one over the hashes with it as the last.
func joined(hashes []tree.Hash, right tree.Hash, hasRight bool) tree.Hash {
	if !hasRight {
		return tile.Root(hashes)
	}
	all := make([]tree.Hash, 0, len(hashes)+1)
	return tile.Root(append(append(all, hashes...), right))
}

// hashes fetches a hash tile. Nothing is verified.
func (t *Tree) hashes(ctx context.Context, x tile.Tile) (hashes []tree.Hash, err error) {
	err = t.fetch(ctx, x, func(found tile.Tile, b []byte) error {
		all, err := tile.Hashes(b, found.Width)
		if err != nil {
			return fmt.Errorf("%w: %v: %w", ErrInvalid, found, err)
		}
		hashes = all[:x.Width]
		return nil
	})
	return hashes, err
}

// fetch reads a tile or a bundle, or a wider one in its place, and hands over which it is.
func (t *Tree) fetch(ctx context.Context, x tile.Tile, use func(found tile.Tile, b []byte) error) error {
	b, err := t.source.Get(ctx, x.Path(), int64(x.MaxBytes()))
	if err == nil {
		return use(x, b)
	}
	if !errors.Is(err, fs.ErrNotExist) || x.Width == tile.Width {
		return missing(x.Path(), err)
	}
	// The source has gone on. A partial tile may be removed once there is a full one (C2SP
	// tlog-tiles, "Partial Tiles"), and a folder keeps only those of its newest checkpoints. A
	// wider one begins with the same hashes.
	wider := []tile.Tile{x.Full()}
	if now, err := Open(ctx, t.source, t.policy); now != nil && now.Origin == t.Origin {
		if y, ok := tile.At(x.Level, x.N, now.Size); ok && y.Width > x.Width && y.Width < tile.Width {
			wider = []tile.Tile{y, x.Full()}
		}
	} else if now == nil && ctx.Err() != nil {
		return err
	}
	for _, y := range wider {
		b, err := t.source.Get(ctx, y.Path(), int64(y.MaxBytes()))
		if err == nil {
			return use(y, b)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return missing(y.Path(), err)
		}
	}
	return missing(x.Path(), fs.ErrNotExist)
}
