package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
)

// Each read takes the size of the tree that its caller may see, which is at most the
// head's, and answers as if the log ended there.

// Entry returns the bytes of an entry.
func (s *Store) Entry(index, size uint64) ([]byte, error) {
	if index >= size {
		return nil, fmt.Errorf("entry %d of %d: %w", index, size, ErrNotFound)
	}
	b, err := s.get(numbered(nil, 'e', index))
	if err != nil {
		return nil, fmt.Errorf("%w: entry %d: %v", ErrDamaged, index, err)
	}
	return b, nil
}

// Entries returns the entries from start to end, which must be of one level-0 tile
// (end-1 and start have the same quotient by 256). Each was compared with its
// leaf hash.
func (s *Store) Entries(start, end, size uint64) ([][]byte, error) {
	if start >= end || end > size || (end-1)/256 != start/256 {
		return nil, fmt.Errorf("entries %d to %d of %d: %w", start, end, size, ErrNotFound)
	}
	leaves, err := s.LeafHashes(start/256, size)
	if err != nil {
		return nil, err
	}
	// One buffer for all: they are read and dropped together.
	var buf []byte
	ends := make([]int, 0, end-start)
	err = s.scan('e', start, end, func(i uint64, v []byte) error {
		if tree.LeafHash(v) != leaves[i%256] {
			return fmt.Errorf("%w: entry %d does not have its leaf hash", ErrDamaged, i)
		}
		buf = append(buf, v...)
		ends = append(ends, len(buf))
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(ends))
	from := 0
	for i, to := range ends {
		out[i], from = buf[from:to:to], to
	}
	return out, nil
}

// LeafHashes returns the leaf hashes of level-0 tile n, as many as there are below size.
func (s *Store) LeafHashes(n, size uint64) ([]tree.Hash, error) {
	if n*256 >= size {
		return nil, fmt.Errorf("tile %d of a tree of size %d: %w", n, size, ErrNotFound)
	}
	width := min(256, size-n*256)
	head := s.Head()
	if n == head.Size/256 {
		return append([]tree.Hash(nil), head.tail[:width]...), nil
	}
	v, err := s.get(numbered(nil, 't', n))
	if err != nil {
		return nil, fmt.Errorf("%w: tile %d: %v", ErrDamaged, n, err)
	}
	tile, err := tileOf(v)
	if err != nil {
		return nil, fmt.Errorf("tile %d: %w", n, err)
	}
	return tile[:width], nil
}

// Node returns the hash of a perfect subtree: of 2^level leaves from index·2^level on,
// which must lie below size.
func (s *Store) Node(level uint, index, size uint64) (tree.Hash, error) {
	if level > 62 || index >= size>>level {
		return tree.Hash{}, fmt.Errorf("node %d of level %d in a tree of size %d: %w", index, level, size, ErrNotFound)
	}
	if level >= lowest {
		return s.memory.levels[level-lowest].get(index), nil
	}
	r := reader{store: s}
	return r.node(compact.NodeID{Level: level, Index: index})
}

// A reader takes nodes for one proof: those below level 4 lie in one or two tiles,
// each of which it fetches once. No copy is made of more than the 16 leaves around.
type reader struct {
	store *Store
	group uint64 // of 16 leaves, + 1; 0: none
	row   [16]tree.Hash
}

func (r *reader) node(id compact.NodeID) (tree.Hash, error) {
	if id.Level >= lowest {
		return r.store.memory.levels[id.Level-lowest].get(id.Index), nil
	}
	first := id.Index << id.Level
	if err := r.load(first / 16); err != nil {
		return tree.Hash{}, err
	}
	return subtree(r.row[first%16 : first%16+1<<id.Level]), nil
}

func (r *reader) load(group uint64) error {
	if r.group == group+1 {
		return nil
	}
	n, at := group/16, group%16*16
	head := r.store.Head()
	if n == head.Size/256 {
		// The leaves beyond the head may be being written; none of them is asked for.
		copy(r.row[:min(16, head.Size%256-min(at, head.Size%256))], head.tail[at:])
		r.group = group + 1
		return nil
	}
	var key [9]byte
	v, closer, err := r.store.db.Get(numbered(key[:0], 't', n))
	if err != nil {
		return fmt.Errorf("%w: tile %d: %v", ErrDamaged, n, err)
	}
	defer closer.Close()
	if len(v) != 256*tree.HashSize {
		return fmt.Errorf("%w: tile %d of %d bytes", ErrDamaged, n, len(v))
	}
	for i := range r.row {
		r.row[i] = tree.Hash(v[(int(at)+i)*tree.HashSize:])
	}
	r.group = group + 1
	return nil
}

// Root returns the root of the tree of a size that is at most the head's.
func (s *Store) Root(size uint64) (tree.Hash, error) {
	if head := s.Head(); size > head.Size {
		return tree.Hash{}, fmt.Errorf("tree of size %d: %w", size, ErrNotFound)
	} else if size == head.Size {
		return head.State.Root, nil
	}
	if size == 0 {
		return tree.EmptyRoot, nil
	}
	r := reader{store: s}
	ids := compact.RangeNodes(0, size, nil)
	var root tree.Hash
	for i := len(ids) - 1; i >= 0; i-- {
		h, err := r.node(ids[i])
		if err != nil {
			return tree.Hash{}, err
		}
		if i == len(ids)-1 {
			root = h
		} else {
			root = tree.NodeHash(h, root)
		}
	}
	return root, nil
}

// Inclusion returns the proof that the leaf with this index is in the tree of this
// size. The caller verifies it before it goes anywhere.
func (s *Store) Inclusion(index, size uint64) ([]tree.Hash, error) {
	if index >= size || size > s.Head().Size {
		return nil, fmt.Errorf("inclusion of %d in a tree of size %d: %w", index, size, ErrNotFound)
	}
	nodes, err := proof.Inclusion(index, size)
	if err != nil {
		return nil, err
	}
	return s.prove(nodes)
}

// Consistency returns the proof that the tree of the old size is a prefix of that of
// the new one. The caller verifies it before it goes anywhere.
func (s *Store) Consistency(oldSize, newSize uint64) ([]tree.Hash, error) {
	if oldSize > newSize || newSize > s.Head().Size {
		return nil, fmt.Errorf("consistency of sizes %d and %d: %w", oldSize, newSize, ErrNotFound)
	}
	if oldSize == 0 {
		return nil, nil
	}
	nodes, err := proof.Consistency(oldSize, newSize)
	if err != nil {
		return nil, err
	}
	return s.prove(nodes)
}

func (s *Store) prove(nodes proof.Nodes) ([]tree.Hash, error) {
	r := reader{store: s}
	hashes := make([]tree.Hash, len(nodes.IDs))
	for i, id := range nodes.IDs {
		var err error
		if hashes[i], err = r.node(id); err != nil {
			return nil, err
		}
	}
	// The nodes that the library wants rehashed are the perfect subtrees of one
	// that is not perfect, right to left.
	_, begin, end := nodes.Ephem()
	if begin == end {
		return hashes, nil
	}
	h := hashes[begin]
	for _, left := range hashes[begin+1 : end] {
		h = tree.NodeHash(left, h)
	}
	return append(append(hashes[:begin:begin], h), hashes[end:]...), nil
}

// Last returns what the log knows of a path at this size; nil if it was never logged.
// It is exact.
func (s *Store) Last(path string, size uint64) (*entry.Last, error) {
	var buf [4]uint64
	for _, index := range s.paths.find(pathHash(path), buf[:0]) {
		for index >= size {
			prev, ok, err := s.previousOf(index)
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			index = prev
		}
		if index >= size {
			continue
		}
		b, err := s.Entry(index, size)
		if err != nil {
			return nil, err
		}
		e, err := entry.Parse(b)
		if err != nil {
			return nil, fmt.Errorf("%w: entry %d: %v", ErrDamaged, index, err)
		}
		if e.Path != path {
			continue
		}
		last := &entry.Last{Entry: e, Index: index, Upload: index}
		if e.Kind == entry.Delete {
			var ok bool
			if last.Upload, ok, err = s.previousOf(index); err != nil || !ok {
				return nil, fmt.Errorf("%w: entry %d deletes nothing (%v)", ErrDamaged, index, err)
			}
		}
		return last, nil
	}
	return nil, nil
}

// previousOf returns the index of the entry that was last for the same path before
// the one at index.
func (s *Store) previousOf(index uint64) (prev uint64, ok bool, err error) {
	v, err := s.get(numbered(nil, 'v', index))
	if errors.Is(err, ErrNotFound) {
		return 0, false, nil
	}
	if err == nil && len(v) != 8 {
		err = fmt.Errorf("%w: v%d of %d bytes", ErrDamaged, index, len(v))
	}
	if err != nil {
		return 0, false, err
	}
	return binary.BigEndian.Uint64(v), true, nil
}

// Conflicts calls f with every conflict entry, in order: what the sequencer needs to
// write each pair of digests once.
func (s *Store) Conflicts(f func(index uint64, e *entry.Entry) error) error {
	head := s.Head()
	each := func(i uint64) error {
		b, err := s.Entry(i, head.Size)
		if err != nil {
			return err
		}
		e, err := entry.Parse(b)
		if err != nil || e.Kind != entry.Conflict {
			return fmt.Errorf("%w: entry %d should be a conflict (%v)", ErrDamaged, i, err)
		}
		return f(i, e)
	}
	err := s.scan('k', 0, head.Size/256, func(n uint64, v []byte) error {
		for i := range uint64(len(v) / 8) {
			if binary.BigEndian.Uint64(v[i*8:]) == 0 {
				if err := each(n*256 + i); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for i := head.Size &^ 255; i < head.Size && err == nil; i++ {
		if s.keys[i%256] == 0 {
			err = each(i)
		}
	}
	return err
}
