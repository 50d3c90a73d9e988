package store

import (
	"fmt"
	"math/bits"

	"github.com/pauselog/pauselog/log/tree"
)

// A proof is made of nodes of the tree in memory and, below level 4, of rows of leaf hashes that were compared
// with it. What is in memory was hashed up to the signed root when the store was opened, or by the writer
// since. On top of that each part of a proof of inclusion was seen, in the tree of its size, to lead to the root.

// Proven returns an entry with the proof that it is in the tree of this size and root. Both are verified: the
// entry has its leaf hash, and the proof leads from that to the root. If the tree has another root the error wraps
// tree.ErrProof.
func (s *Store) Proven(index, size uint64, root tree.Hash) (entry string, hashes []tree.Hash, err error) {
	if hashes, err = s.Inclusion(index, size); err != nil {
		return "", nil, err
	}
	if r, err := s.Root(size); err != nil {
		return "", nil, err
	} else if r != root {
		return "", nil, fmt.Errorf("%w: inclusion of index %d in tree of size %d: it leads to root %v, expected %v", tree.ErrProof, index, size, r, root)
	}
	entry, err = s.text(index)
	return entry, hashes, err
}

// Inclusion returns the proof that the leaf with this index is in the tree of this size. It is
// verified.
func (s *Store) Inclusion(index, size uint64) ([]tree.Hash, error) {
	if index >= size || size > s.Head().Size {
		return nil, fmt.Errorf("inclusion of %d in a tree of size %d: %w", index, size, ErrNotFound)
	}
	e, err := s.edge(size)
	if err != nil {
		return nil, err
	}
	hashes := make([]tree.Hash, 0, bits.Len64(size-1))
	if index|255 < size {
		// Its levels below 4 come from a row that leads to its node; the rest is the tile's to prove.
		var r row
		if err := s.row(index/16, &r); err != nil {
			return nil, err
		}
		for level := range uint(lowest) {
			hashes = append(hashes, r.node(level, index%16>>level^1))
		}
		if hashes, err = s.path(hashes, lowest, index>>lowest, e); err != nil {
			return nil, err
		}
		return hashes, s.provenTile(index/256, e, hashes)
	}
	if hashes, err = s.path(hashes, 0, index, e); err != nil {
		return nil, err
	}
	leaf, err := s.node(0, index)
	if err != nil {
		return nil, err
	}
	if err := tree.VerifyInclusion(index, size, leaf, hashes, e.root); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	return hashes, nil
}

// provenTile verifies, once for each size, what the inclusion proofs of a full tile's 256 leaves have from
// level 4 on: the nodes in memory from there to level 8 are each other's hashes, and that of level 8 leads to the
// root by the hashes of one such proof, which are the same for all.
func (s *Store) provenTile(n uint64, e *edge, hashes []tree.Hash) error {
	if s.cache.proven.has(n, e.size) {
		return nil
	}
	const top = 8 - lowest
	levels := &s.memory.levels
	for l := range top {
		for i := range uint64(16 >> l / 2) {
			i += n << (top - 1 - l)
			if tree.NodeHash(levels[l].get(2*i), levels[l].get(2*i+1)) != levels[l+1].get(i) {
				return fmt.Errorf("%w: in memory, node %d of level %d is not the hash of its children", ErrDamaged, i, l+1+lowest)
			}
		}
	}
	// Tiles are the leaves of a tree of a 256th of the size.
	if err := tree.VerifyInclusion(n, (e.size+255)/256, levels[top].get(n), hashes[8:], e.root); err != nil {
		return fmt.Errorf("%w: tile %d: %v", ErrDamaged, n, err)
	}
	s.cache.proven.add(n, e.size)
	return nil
}

// Consistency returns the proof that the tree of the old size is a prefix of that of the new one. The caller
// verifies it before it goes anywhere.
func (s *Store) Consistency(oldSize, newSize uint64) ([]tree.Hash, error) {
	if oldSize > newSize || newSize > s.Head().Size {
		return nil, fmt.Errorf("consistency of sizes %d and %d: %w", oldSize, newSize, ErrNotFound)
	}
	if oldSize == 0 || oldSize == newSize {
		return nil, nil
	}
	e, err := s.edge(newSize)
	if err != nil {
		return nil, err
	}
	// It starts at the last perfect subtree of the old tree, and leaves that out where it is
	// the whole tree.
	level := uint(bits.TrailingZeros64(oldSize))
	last := oldSize>>level - 1
	hashes := make([]tree.Hash, 0, 1+bits.Len64(newSize-1))
	if last != 0 {
		h, err := s.node(level, last)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, h)
	}
	return s.path(hashes, level, last, e)
}

// path appends the hashes that lead from a node, which must be one of a perfect subtree, to the root.
func (s *Store) path(hashes []tree.Hash, level uint, index uint64, e *edge) ([]tree.Hash, error) {
	for ; ; level, index = level+1, index>>1 {
		last := (e.size - 1) >> level
		sibling := index ^ 1
		switch {
		case last == 0:
			return hashes, nil
		case sibling > last:
			// The right edge goes up without a sibling here.
		case sibling == last && e.size&(1<<level-1) != 0:
			hashes = append(hashes, e.ragged[level])
		default:
			h, err := s.node(level, sibling)
			if err != nil {
				return nil, err
			}
			hashes = append(hashes, h)
		}
	}
}

// An edge is the right edge of the tree of one size.
type edge struct {
	size uint64
	root tree.Hash
	// ragged has, of each level l, the hash of the leaves from the last multiple of 2^l below the size
	// on, where these are fewer than 2^l: the node there that is no perfect subtree.
	ragged []tree.Hash
}

// edge returns the right edge of a tree that is no larger than the head's, and not empty.
func (s *Store) edge(size uint64) (*edge, error) {
	if e := s.cache.edges.get(size); e != nil {
		return e, nil
	}
	v := &placed[edge]{value: edge{size: size, ragged: make([]tree.Hash, bits.Len64(size))}}
	e := &v.value
	some := false
	for level := range uint(len(e.ragged)) {
		e.ragged[level] = e.root
		if size>>level&1 == 0 {
			continue
		}
		h, err := s.node(level, size>>level-1)
		if err != nil {
			return nil, err
		}
		if some {
			h = tree.NodeHash(h, e.root)
		}
		e.root, some = h, true
	}
	if head := s.Head(); size == head.Size && e.root != head.Root {
		return nil, fmt.Errorf("%w: the tree in memory has root %v, the checkpoint of size %d says %v", ErrDamaged, e.root, size, head.Root)
	}
	return s.cache.edges.put(size, v), nil
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
	e, err := s.edge(size)
	if err != nil {
		return tree.Hash{}, err
	}
	return e.root, nil
}

// Node returns the hash of a perfect subtree: of 2^level leaves from index·2^level on,
// which must lie below size.
func (s *Store) Node(level uint, index, size uint64) (tree.Hash, error) {
	if level > 62 || index >= size>>level {
		return tree.Hash{}, fmt.Errorf("node %d of level %d in a tree of size %d: %w", index, level, size, ErrNotFound)
	}
	return s.node(level, index)
}

func (s *Store) node(level uint, index uint64) (tree.Hash, error) {
	if level >= lowest {
		return s.memory.levels[level-lowest].get(index), nil
	}
	first := index << level
	if head := s.Head(); first/256 == head.Size/256 {
		// The leaves beyond the head may be being written; none of them is asked for.
		return subtree(head.tail[first%256 : first%256+1<<level]), nil
	}
	var r row
	if err := s.row(first/16, &r); err != nil {
		return tree.Hash{}, err
	}
	return r.node(level, index%(16>>level)), nil
}

// row puts a row of a full tile where it is wanted.
func (s *Store) row(n uint64, where *row) error {
	if s.cache.rows.get(n, where) {
		return nil
	}
	var key [9]byte
	v, closer, err := s.db.Get(numbered(key[:0], 't', n/16))
	if err != nil {
		return fmt.Errorf("%w: tile %d: %v", ErrDamaged, n/16, err)
	}
	defer closer.Close()
	if len(v) != 256*tree.HashSize {
		return fmt.Errorf("%w: tile %d of %d bytes", ErrDamaged, n/16, len(v))
	}
	var leaves [16]tree.Hash
	for i := range leaves {
		leaves[i] = tree.Hash(v[(int(n%16)*16+i)*tree.HashSize:])
	}
	r, top := rowOf(&leaves)
	if top != s.memory.levels[0].get(n) {
		return fmt.Errorf("%w: the leaf hashes from %d on are not those of the signed tree", ErrDamaged, n*16)
	}
	s.cache.rows.put(n, &r)
	*where = r
	return nil
}

// text returns an entry that has its leaf hash.
func (s *Store) text(index uint64) (string, error) {
	if t := s.cache.entries.get(index); t != "" {
		return t, nil
	}
	if t := s.textOfRow(index); t != "" {
		return t, nil
	}
	leaf, err := s.node(0, index)
	if err != nil {
		return "", err
	}
	var key [9]byte
	v, closer, err := s.db.Get(numbered(key[:0], 'z', index))
	if err != nil {
		return "", fmt.Errorf("%w: entry %d: %v", ErrDamaged, index, err)
	}
	defer closer.Close()
	if tree.LeafHash(v) != leaf {
		return "", fmt.Errorf("%w: entry %d does not have its leaf hash", ErrDamaged, index)
	}
	s.cache.entries.put(index, v)
	return string(v), nil
}

// textOfRow reads the entries of a row, which lie side by side, and keeps all that have their leaf hash, if three quarters
// of the log can be kept: it is then read from the disk about once, and in larger pieces. It returns one of them, or
// "": who asks for that one reads it by itself, and is told what is wrong.
func (s *Store) textOfRow(index uint64) (text string) {
	size := s.Head().Size
	if size > s.cache.room/3*4 || index/256 >= size/256 { // what comes after the last full tile may be being written
		return ""
	}
	var r row
	if s.row(index/16, &r) != nil {
		return ""
	}
	first := index &^ 15
	_ = s.scan('z', first, first+16, func(i uint64, v []byte) error {
		if tree.LeafHash(v) == r.leaves[i%16] {
			s.cache.entries.put(i, v)
			if i == index {
				text = string(v)
			}
		}
		return nil
	})
	return text
}
