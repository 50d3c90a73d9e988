package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
)

// load makes in memory all that is derived from what is on disk, and checks that it
// agrees with the stored state.
func (s *Store) load() error {
	format, err := s.get([]byte{'f'})
	if err != nil || string(format) != formatName {
		return fmt.Errorf("%w: its format is %q (%v), expected %s", ErrDamaged, format, err, formatName)
	}
	b, err := s.get([]byte{'s'})
	if err != nil {
		return fmt.Errorf("%w: no state: %v", ErrDamaged, err)
	}
	state, err := unmarshalState(b)
	if err != nil {
		return err
	}
	full := state.Size / 256

	// Two halves side by side: the tree from the hash tiles, the path table from the key
	// tiles.
	s.memory = newMemory()
	s.paths = newPaths(state.Size)
	errs := make(chan error, 1)
	go func() { errs <- s.loadTree(full) }()
	pathErr := s.loadPaths(full)
	if err := errors.Join(<-errs, pathErr); err != nil {
		return err
	}
	if err := s.loadTail(state.Size); err != nil {
		return err
	}
	root, err := s.memory.root()
	if err != nil {
		return err
	}
	if root != state.Root {
		return fmt.Errorf("%w: its %d leaves have root %v, its checkpoint says %v", ErrDamaged, state.Size, root, state.Root)
	}
	if err := s.checkEnd(state.Size); err != nil {
		return err
	}
	s.head.Store(&Head{State: state, tail: s.memory.tail})
	return nil
}

// loadTree appends the full tiles, read and hashed some at a time by two goroutines.
func (s *Store) loadTree(full uint64) error {
	const stride = 64
	type chunk struct {
		nodes []*tileNodes
		err   error
	}
	read := func(from uint64) (c chunk) {
		c.err = s.scan('t', from, min(from+stride, full), func(_ uint64, v []byte) error {
			tile, err := tileOf(v)
			if err == nil {
				c.nodes = append(c.nodes, nodesOf(tile))
			}
			return err
		})
		return c
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	pending := make(chan chan chunk, 1) // bounds how far reading runs ahead
	wg.Go(func() {
		defer close(pending)
		for from := uint64(0); from < full; from += stride {
			c := make(chan chunk, 1)
			pending <- c
			wg.Go(func() { c <- read(from) })
		}
	})
	var first error
	for p := range pending {
		c := <-p
		if first == nil {
			first = c.err
		}
		for _, n := range c.nodes {
			if first == nil {
				first = s.memory.appendTile(n)
			}
		}
	}
	return first
}

func tileOf(v []byte) (*[256]tree.Hash, error) {
	if len(v) != 256*tree.HashSize {
		return nil, fmt.Errorf("%w: tile of %d bytes", ErrDamaged, len(v))
	}
	var t [256]tree.Hash
	for i := range t {
		t[i] = tree.Hash(v[i*tree.HashSize:])
	}
	return &t, nil
}

// loadPaths fills the path table from the key tiles. Which entries replace another of
// their path is said by the v keys, so that no entry need be read.
func (s *Store) loadPaths(full uint64) error {
	next, stop, err := s.previous(0)
	if err != nil {
		return err
	}
	defer stop()
	at, prev, ok := next()
	return s.scan('k', 0, full, func(n uint64, v []byte) error {
		if len(v) != 256*8 {
			return fmt.Errorf("%w: key tile of %d bytes", ErrDamaged, len(v))
		}
		for i := range uint64(256) {
			index, hash := n*256+i, binary.BigEndian.Uint64(v[i*8:])
			switch {
			case hash == 0:
			case ok && at == index:
				if !s.paths.replace(hash, prev, index) {
					return fmt.Errorf("%w: entry %d follows entry %d, which is not last for its path", ErrDamaged, index, prev)
				}
				at, prev, ok = next()
			default:
				s.paths.insert(hash, index)
			}
		}
		return nil
	})
}

// previous iterates over the v keys from an index on.
func (s *Store) previous(from uint64) (next func() (index, prev uint64, ok bool), stop func() error, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: numbered(nil, 'v', from), UpperBound: []byte{'v' + 1}})
	if err != nil {
		return nil, nil, err
	}
	started := false
	return func() (uint64, uint64, bool) {
		if !started {
			started = it.First()
		} else {
			it.Next()
		}
		if !it.Valid() || len(it.Key()) != 9 || len(it.Value()) != 8 {
			return 0, 0, false
		}
		return binary.BigEndian.Uint64(it.Key()[1:]), binary.BigEndian.Uint64(it.Value()), true
	}, it.Close, nil
}

// loadTail re-hashes the entries of the last full tile, which must agree with it, and
// appends those after it.
func (s *Store) loadTail(size uint64) error {
	full := size / 256
	if full > 0 {
		v, err := s.get(numbered(nil, 't', full-1))
		if err != nil {
			return fmt.Errorf("%w: tile %d: %v", ErrDamaged, full-1, err)
		}
		tile, err := tileOf(v)
		if err != nil {
			return err
		}
		err = s.scan('e', (full-1)*256, full*256, func(i uint64, v []byte) error {
			if tree.LeafHash(v) != tile[i%256] {
				return fmt.Errorf("%w: entry %d does not have the leaf hash that is in its tile", ErrDamaged, i)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.scan('e', full*256, size, func(i uint64, v []byte) error {
		if err := s.memory.append(tree.LeafHash(v)); err != nil {
			return err
		}
		e, err := entry.Parse(v)
		if err != nil {
			return fmt.Errorf("%w: entry %d: %v", ErrDamaged, i, err)
		}
		s.keys[i%256] = 0
		if e.Kind == entry.Conflict {
			return nil
		}
		hash := pathHash(e.Path)
		s.keys[i%256] = hash
		prev, err := s.get(numbered(nil, 'v', i))
		if errors.Is(err, ErrNotFound) {
			s.paths.insert(hash, i)
			return nil
		}
		if err != nil {
			return err
		}
		if len(prev) != 8 || !s.paths.replace(hash, binary.BigEndian.Uint64(prev), i) {
			return fmt.Errorf("%w: entry %d follows an entry that is not last for its path", ErrDamaged, i)
		}
		return nil
	})
}

// checkEnd refuses entries and tiles beyond the size: no commit of this store leaves any.
func (s *Store) checkEnd(size uint64) error {
	for prefix, from := range map[byte]uint64{'e': size, 't': size / 256, 'k': size / 256, 'v': size} {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: numbered(nil, prefix, from), UpperBound: []byte{prefix + 1}})
		if err != nil {
			return err
		}
		beyond := it.First()
		if err := errors.Join(it.Error(), it.Close()); err != nil {
			return err
		}
		if beyond {
			return fmt.Errorf("%w: it holds data beyond its checkpoint of size %d", ErrDamaged, size)
		}
	}
	return nil
}

// scan calls f with each value of a numbered key from start to end, of which none may
// be missing. The value is f's only during the call.
func (s *Store) scan(prefix byte, start, end uint64, f func(n uint64, v []byte) error) error {
	if start >= end {
		return nil
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: numbered(nil, prefix, start), UpperBound: numbered(nil, prefix, end)})
	if err != nil {
		return err
	}
	n := start
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		if k := it.Key(); len(k) != 9 || binary.BigEndian.Uint64(k[1:]) != n {
			break
		}
		err = f(n, it.Value())
		n++
	}
	if err := errors.Join(err, it.Error(), it.Close()); err != nil {
		return err
	}
	if n != end {
		return fmt.Errorf("%w: %c%d is missing", ErrDamaged, prefix, n)
	}
	return nil
}
