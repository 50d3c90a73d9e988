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
//
// Both tables in memory are made from what each commit wrote: the tree from the nodes of level 4, the paths from
// the key tiles. So they are always of the newest commit, after a crash too; and there is no copy of them beside
// that could be torn, older, or of another store. That is the less to read as well: 10 bytes an entry,
// where the tables themselves have 15. Wrong nodes cannot have the signed root, and are made again
// from the hash tiles. A key tile is as much part of the log's data as an entry.
func (s *Store) load() error {
	format, err := s.get([]byte{'f'})
	if err != nil {
		return fmt.Errorf("%w: its format cannot be read: %v", ErrDamaged, err)
	}
	if string(format) != formatName {
		return fmt.Errorf("%w: its format is %q, expected %q", ErrDamaged, format, formatName)
	}
	b, err := s.get([]byte{'c'})
	if err != nil {
		return fmt.Errorf("%w: no state: %v", ErrDamaged, err)
	}
	state, err := unmarshalState(b)
	if err != nil {
		return err
	}
	if state.Size > maxIndex {
		return fmt.Errorf("%w: a state of size %d", ErrDamaged, state.Size)
	}
	full := state.Size / 256

	// First of all, and alone: what is missing says more than what follows from that.
	if err := s.checkNumbers(state.Size); err != nil {
		return err
	}
	s.memory = newMemory()
	s.paths = newPaths(state.Size)
	pathErr := make(chan error, 1)
	go func() { pathErr <- s.loadPaths(full) }()
	derived, treeErr := s.loadTree(full, s.nodesOnDisk)
	if err := errors.Join(treeErr, <-pathErr); err != nil {
		return err
	}
	last, leaves, err := s.loadTail(state.Size)
	if err != nil {
		return err
	}
	root, err := s.memory.end(leaves)
	if err != nil {
		return err
	}
	if root != state.Root && derived < full {
		s.log.Error("the nodes on disk do not have the signed root, and are made again from the hash tiles", "size", state.Size)
		derived = full
		s.memory = newMemory()
		if _, err := s.loadTree(full, s.nodesOfTiles); err != nil {
			return err
		}
		if root, err = s.memory.end(leaves); err != nil {
			return err
		}
	}
	if root != state.Root {
		return fmt.Errorf("%w: its %d leaves have root %v, its checkpoint says %v", ErrDamaged, state.Size, root, state.Root)
	}
	if full > 0 && nodesOf(last)[8-lowest][0] != s.memory.levels[8-lowest].get(full-1) {
		return fmt.Errorf("%w: the leaf hashes of tile %d are not those of the signed tree", ErrDamaged, full-1)
	}
	if err := s.checkEnd(state.Size); err != nil {
		return err
	}
	if derived > 0 {
		if err := s.writeNodes(full); err != nil {
			s.log.Warn("the nodes cannot be written; the next start makes them again", "error", err)
		}
	}
	s.head.Store(&Head{State: state, tail: s.memory.tail})
	return nil
}

// end appends the leaves after the last full tile, and returns the root.
func (m *memory) end(leaves []tree.Hash) (tree.Hash, error) {
	for _, leaf := range leaves {
		if err := m.append(leaf); err != nil {
			return tree.Hash{}, err
		}
	}
	return m.root()
}

// A nodeReader returns the nodes above the tiles from from to to, and how many of them it had to make from
// the tiles.
type nodeReader func(from, to uint64) (nodes []*tileNodes, derived uint64, err error)

// nodesOnDisk reads the nodes of level 4, or makes them where some are not there or cannot be read.
func (s *Store) nodesOnDisk(from, to uint64) ([]*tileNodes, uint64, error) {
	nodes := make([]*tileNodes, 0, to-from)
	err := s.scan('n', from, to, func(_ uint64, v []byte) error {
		n, err := nodesAbove(v)
		nodes = append(nodes, n)
		return err
	})
	if err != nil {
		return s.nodesOfTiles(from, to)
	}
	return nodes, 0, nil
}

func (s *Store) nodesOfTiles(from, to uint64) ([]*tileNodes, uint64, error) {
	nodes := make([]*tileNodes, 0, to-from)
	err := s.scan('t', from, to, func(_ uint64, v []byte) error {
		tile, err := tileOf(v)
		if err == nil {
			nodes = append(nodes, nodesOf(tile))
		}
		return err
	})
	return nodes, to - from, err
}

// nodesAbove hashes the 16 nodes of level 4, of which the value of an n key is made, up to level 8.
func nodesAbove(v []byte) (*tileNodes, error) {
	if len(v) != 16*tree.HashSize {
		return nil, fmt.Errorf("%w: nodes of %d bytes", ErrDamaged, len(v))
	}
	var n tileNodes
	for i := range n[0] {
		n[0][i] = tree.Hash(v[i*tree.HashSize:])
	}
	for l := 1; l < len(n); l++ {
		for i := range 16 >> l {
			n[l][i] = tree.NodeHash(n[l-1][2*i], n[l-1][2*i+1])
		}
	}
	return &n, nil
}

// loadTree appends the full tiles, read and hashed some at a time by two goroutines. It says how many of them were read
// whole.
func (s *Store) loadTree(full uint64, read nodeReader) (derived uint64, err error) {
	const stride = 256
	type chunk struct {
		nodes   []*tileNodes
		derived uint64
		err     error
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	pending := make(chan chan chunk, 1) // bounds how far reading runs ahead
	wg.Go(func() {
		defer close(pending)
		for from := uint64(0); from < full; from += stride {
			c := make(chan chunk, 1)
			pending <- c
			wg.Go(func() {
				nodes, derived, err := read(from, min(from+stride, full))
				c <- chunk{nodes, derived, err}
			})
		}
	})
	for p := range pending {
		c := <-p
		derived += c.derived
		if err == nil {
			err = c.err
		}
		for _, n := range c.nodes {
			if err == nil {
				err = s.memory.appendTile(n)
			}
		}
	}
	return derived, err
}

// writeNodes puts the nodes of level 4 on disk, which an older program did not, or which were damaged.
func (s *Store) writeNodes(full uint64) error {
	const some = 4096
	for from := uint64(0); from < full; from += some {
		b := s.db.NewBatch()
		for n := from; n < min(from+some, full); n++ {
			if err := s.stageNodes(b, n); err != nil {
				return errors.Join(err, b.Close())
			}
		}
		if err := errors.Join(b.Commit(pebble.NoSync), b.Close()); err != nil {
			return err
		}
	}
	return nil
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

// changes are what some entries do to the path table: the slots of new paths, those of each of its segments by themselves,
// and which paths have another entry since.
type changes struct {
	inserts  [pathSegments][]uint64
	replaces []pathChange
}

func (c *changes) clear() {
	for i := range c.inserts {
		c.inserts[i] = c.inserts[i][:0]
	}
	c.replaces = c.replaces[:0]
}

// loadPaths fills the path table from the key tiles. Which entries replace another of
// their path is said by the v keys, so that no entry need be read. While some tiles are put into the table, the next
// are read. One after the other the segments fit in the processor's cache, where the whole table does not:
// so many tiles are put into each at a time.
func (s *Store) loadPaths(full uint64) error {
	const stride = 2048
	free, read := make(chan *changes, 2), make(chan *changes, 2)
	free <- new(changes)
	free <- new(changes)
	readErr := make(chan error, 1)
	go func() {
		defer close(read)
		readErr <- s.readPaths(full, stride, free, read)
	}()
	var err error
	for c := range read {
		for segment := range c.inserts {
			s.paths.fill(segment, c.inserts[segment])
		}
		// What they replace is of an earlier chunk, of this one's inserts, or of a replacement before.
		for _, change := range c.replaces {
			if !s.paths.apply(change) && err == nil {
				err = notLast(change)
			}
		}
		c.clear()
		free <- c
	}
	return errors.Join(<-readErr, err)
}

func notLast(c pathChange) error {
	return fmt.Errorf("%w: entry %d follows entry %d, which is not last for its path", ErrDamaged, c.index, c.previous-1)
}

// readPaths reads the key tiles, stride of them at a time.
func (s *Store) readPaths(full, stride uint64, free <-chan *changes, read chan<- *changes) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{'v'}, UpperBound: numbered(nil, 'v', full*256)})
	if err != nil {
		return err
	}
	v := previousKeys{it: it}
	v.next()
	for from := uint64(0); from < full && err == nil; from += stride {
		c := <-free
		err = s.scan('k', from, min(from+stride, full), func(n uint64, hashes []byte) error {
			return s.readKeyTile(n, hashes, &v, c)
		})
		read <- c
	}
	// Each v key is of one of these entries, and has had its turn.
	if err == nil && v.ok {
		err = fmt.Errorf("%w: entry %d says what it follows, and is none that can", ErrDamaged, v.index)
	}
	return errors.Join(err, v.close())
}

func (s *Store) readKeyTile(n uint64, hashes []byte, v *previousKeys, c *changes) error {
	if len(hashes) != 256*8 {
		return fmt.Errorf("%w: key tile of %d bytes", ErrDamaged, len(hashes))
	}
	for i := range uint64(256) {
		change := pathChange{hash: binary.BigEndian.Uint64(hashes[i*8:]), index: n*256 + i}
		if change.hash == 0 {
			s.conflicts = append(s.conflicts, change.index)
			continue
		}
		if v.ok && v.index == change.index {
			change.previous = v.previous + 1
			v.next()
			c.replaces = append(c.replaces, change)
			continue
		}
		segment := segmentOf(change.hash)
		c.inserts[segment] = append(c.inserts[segment], slotOf(change.hash, change.index))
	}
	return nil
}

// previousKeys goes through the v keys.
type previousKeys struct {
	it              *pebble.Iterator
	started, ok     bool
	index, previous uint64
	err             error
}

func (p *previousKeys) next() {
	if p.started {
		p.ok = p.it.Next()
	} else {
		p.started, p.ok = true, p.it.First()
	}
	if !p.ok {
		return
	}
	if len(p.it.Key()) != 9 || len(p.it.Value()) != 8 {
		p.ok, p.err = false, fmt.Errorf("%w: %q of %d bytes", ErrDamaged, p.it.Key(), len(p.it.Value()))
		return
	}
	p.index, p.previous = binary.BigEndian.Uint64(p.it.Key()[1:]), binary.BigEndian.Uint64(p.it.Value())
}

// close ends it, and returns why it ended before.
func (p *previousKeys) close() error { return errors.Join(p.err, damaged(p.it.Error()), p.it.Close()) }

// loadTail re-hashes the entries of the last full tile, which must agree with it, puts those after it
// into the path table. It returns that tile, and the leaf hashes after it.
func (s *Store) loadTail(size uint64) (last *[256]tree.Hash, leaves []tree.Hash, err error) {
	full := size / 256
	if full > 0 {
		v, err := s.get(numbered(nil, 't', full-1))
		if err != nil {
			return nil, nil, fmt.Errorf("%w: tile %d: %v", ErrDamaged, full-1, err)
		}
		if last, err = tileOf(v); err != nil {
			return nil, nil, err
		}
		err = s.scan('z', (full-1)*256, full*256, func(i uint64, v []byte) error {
			if tree.LeafHash(v) != last[i%256] {
				return fmt.Errorf("%w: entry %d does not have the leaf hash that is in its tile", ErrDamaged, i)
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	err = s.scan('z', full*256, size, func(i uint64, v []byte) error {
		leaves = append(leaves, tree.LeafHash(v))
		e, err := entry.Parse(v)
		if err != nil {
			return fmt.Errorf("%w: entry %d: %v", ErrDamaged, i, err)
		}
		s.keys[i%256] = 0
		if e.Kind == entry.Conflict {
			s.conflicts = append(s.conflicts, i)
			return nil
		}
		change := pathChange{hash: pathHash(e.Path), index: i}
		s.keys[i%256] = change.hash
		prev, ok, err := s.previousOf(i)
		if err != nil {
			return err
		}
		if ok {
			change.previous = prev + 1
		}
		if !s.paths.apply(change) {
			return notLast(change)
		}
		return nil
	})
	return last, leaves, err
}

// Conflicts calls f with every conflict entry that was there when the store was opened, in order: what the
// sequencer needs to write each pair of digests once.
func (s *Store) Conflicts(f func(index uint64, e *entry.Entry) error) error {
	size := s.Head().Size
	for _, i := range s.conflicts {
		b, err := s.Entry(i, size)
		if err != nil {
			return err
		}
		e, err := entry.Parse(b)
		if err != nil || e.Kind != entry.Conflict {
			return fmt.Errorf("%w: entry %d should be a conflict (%v)", ErrDamaged, i, err)
		}
		if err := f(i, e); err != nil {
			return err
		}
	}
	return nil
}

// checkEnd refuses entries and tiles beyond the size: no commit of this store leaves any.
func (s *Store) checkEnd(size uint64) error {
	for prefix, from := range map[byte]uint64{'z': size, 't': size / 256, 'k': size / 256, 'n': size / 256, 'v': size} {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: numbered(nil, prefix, from), UpperBound: []byte{prefix + 1}})
		if err != nil {
			return err
		}
		beyond := it.First()
		if err := errors.Join(damaged(it.Error()), it.Close()); err != nil {
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
	if err := errors.Join(err, damaged(it.Error()), it.Close()); err != nil {
		return err
	}
	if n != end {
		return fmt.Errorf("%w: %c%d is missing", ErrDamaged, prefix, n)
	}
	return nil
}
