package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
)

// Each read takes the size of the tree that its caller may see, which is at most the
// head's, and answers as if the log ended there.

// Entry returns the bytes of an entry, which has its leaf hash.
func (s *Store) Entry(index, size uint64) ([]byte, error) {
	if index >= size {
		return nil, fmt.Errorf("entry %d of %d: %w", index, size, ErrNotFound)
	}
	t, err := s.text(index)
	return []byte(t), err
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
	buf := make([]byte, 0, (end-start)*288) // what most bundles have
	ends := make([]int, 0, end-start)
	err = s.scan('z', start, end, func(i uint64, v []byte) error {
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

// LeafHashes returns the leaf hashes of level-0 tile n, as many as there are below size. They are
// compared with the tree.
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
	if nodesOf(tile)[8-lowest][0] != s.memory.levels[8-lowest].get(n) {
		return nil, fmt.Errorf("%w: the leaf hashes of tile %d are not those of the signed tree", ErrDamaged, n)
	}
	return tile[:width], nil
}

// Last returns what the log knows of a path at this size; nil if it was never logged.
// It is exact.
func (s *Store) Last(path string, size uint64) (*entry.Last, error) {
	return s.LastOf(PathOf(path), size)
}

// LastOf is Last of a path that was hashed before.
func (s *Store) LastOf(path Path, size uint64) (*entry.Last, error) {
	var buf [4]uint64
	for _, index := range s.paths.find(path.hash, buf[:0]) {
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
		if e.Path != path.name {
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
