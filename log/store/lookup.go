package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
)

// The lookup index is a Pebble store of its own, so that its keys, which come in no order, do not
// make the log's own data be compacted again and again. Its keys are
//
//	p<shard><path>0<index> an entry of the path, of the shard that the first byte of its SHA-256 is; the value
//	                       is one byte for a conflict and empty for all others
//	x<what><hash><index>   8 bytes of SHA-256 of another value that the entry with this index has
//	y                      lookupFormat, the size up to which the index is complete, and the root of that tree
//
// Paths are there whole and sorted, so that a shard of the path index is one scan that reads no
// entry. Neighbours share bytes: a path costs about two thirds of its length on disk.
//
// It follows the head, in the background. A crash loses what was not flushed, together with the
// position that says so, and it is made again; an index of another history is recognised by its
// root, and made again from the start. Nothing that the log decides depends on it, and a hit
// is compared with the entry.

// A Lookup is what entries can be found by, besides their index.
type Lookup byte

// The lookups. They follow behind the head, with a durable position of their own:
// nothing that the log decides depends on them.
const (
	ByPath         Lookup = 'p'
	ByAuthor       Lookup = 'a' // the id in the path, or the one that entered it
	ByDistribution Lookup = 'd'
	BySHA256       Lookup = 's' // 64 lowercase hex digits
	ByLeafHash     Lookup = 'l' // 32 bytes
)

// lookup is the state of the goroutine that writes the lookup index.
type lookup struct {
	indexed atomic.Uint64 // entries below are found
	woken   chan struct{} // capacity 1: there may be more to index

	mu   sync.Mutex
	more chan struct{} // closed and replaced when indexed grows
}

func (l *lookup) wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// lookupFormat is the first byte of the position. An index of another format is made anew.
const lookupFormat = 2

// indexBatch bounds the memory of one step, and the delay that it can cause a commit.
const indexBatch = 4096

// openLookup opens the lookup index, makes it anew if it is not this log's, and starts
// following.
func (s *Store) openLookup(dir string, o Options) (err error) {
	s.lookup.woken = make(chan struct{}, 1)
	s.lookup.more = make(chan struct{})
	var at uint64
	if s.second, err = openIndex(dir, o); err == nil {
		if at, err = s.indexPosition(); err != nil {
			err = errors.Join(err, s.second.Close())
		}
	}
	if err != nil {
		s.log.Warn("the lookup index is made anew", "error", err)
		if err := o.fileSystem().RemoveAll(dir); err != nil {
			return err
		}
		if s.second, err = openIndex(dir, o); err != nil {
			return err
		}
		at = 0
	}
	s.lookup.indexed.Store(at)
	s.lookup.wake()
	s.stopped.Go(s.index)
	return nil
}

func openIndex(dir string, o Options) (*pebble.DB, error) {
	if err := wholeManifest(o.fileSystem(), dir); err != nil {
		return nil, err
	}
	po := o.pebble(8 << 20)
	po.DisableWAL = true
	db, err := pebble.Open(dir, po)
	if err != nil {
		return nil, fmt.Errorf("opening lookup index %s: %w", dir, err)
	}
	return db, nil
}

// wholeManifest looks for damage in the file that says which tables there are, of which there may be none. Pebble takes what
// stands before the damage, as if a crash had cut it there: an older state, some of whose tables are gone or have become others, and
// from which a compaction can panic. A crash does leave a cut file now and then; to make the index anew then costs time and no more.
func wholeManifest(fs vfs.FS, dir string) error {
	desc, err := pebble.Peek(dir, fs)
	if errors.Is(err, os.ErrNotExist) || err == nil && !desc.Exists {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := fs.Open(desc.ManifestFilename)
	if err != nil {
		return err
	}
	defer f.Close()
	records := record.NewReader(f, 0)
	for {
		r, err := records.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", desc.ManifestFilename, err)
		}
	}
}

// indexPosition returns the size up to which the index is complete, if it is of this log.
func (s *Store) indexPosition() (uint64, error) {
	v, closer, err := s.second.Get([]byte{'y'})
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	if len(v) != 1+8+tree.HashSize || v[0] != lookupFormat {
		return 0, fmt.Errorf("it is of another format, with a position of %d bytes", len(v))
	}
	at := binary.BigEndian.Uint64(v[1:])
	if root, err := s.Root(at); err != nil || root != tree.Hash(v[9:]) {
		return 0, fmt.Errorf("it is of another history, of size %d (%v)", at, err)
	}
	return at, nil
}

// index follows the head until the store is closed.
func (s *Store) index() {
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.lookup.woken:
		}
		for {
			began, size := time.Now(), s.Head().Size
			from := s.lookup.indexed.Load()
			to := min(size, from+indexBatch)
			if from == to {
				break
			}
			if err := s.indexSome(from, to); err != nil {
				s.log.Error("lookups stop being updated", "from", from, "error", err)
				return
			}
			pause := time.Duration(0)
			if s.Head().Size > size {
				// The log grew during this step. Appending goes first: a twentieth of a core
				// for this. It catches up when the flood is over.
				pause = 19 * time.Since(began)
			}
			rest.Reset(pause)
			select {
			case <-s.stop:
				return
			case <-rest.C:
			}
		}
	}
}

type pathKey struct {
	key      []byte
	conflict bool
}

// A hashKey is a key of any value but a path, as numbers, which are quicker to sort.
type hashKey struct {
	by         Lookup
	sum, index uint64
}

func (k hashKey) compare(l hashKey) int {
	switch {
	case k.by != l.by:
		return cmp.Compare(k.by, l.by)
	case k.sum != l.sum:
		return cmp.Compare(k.sum, l.sum)
	}
	return cmp.Compare(k.index, l.index)
}

func (k hashKey) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, 'x', byte(k.by)), k.sum)
	return binary.BigEndian.AppendUint64(b, k.index)
}

func (s *Store) indexSome(from, to uint64) error {
	const keySize = 1 + 1 + 8 + 8
	keys := make([]hashKey, 0, 4*(to-from))
	paths := make([]pathKey, 0, to-from)
	add := func(by Lookup, value []byte, index uint64) {
		sum := sha256.Sum256(value)
		keys = append(keys, hashKey{by, binary.BigEndian.Uint64(sum[:8]), index})
	}
	err := s.scan('z', from, to, func(i uint64, v []byte) error {
		leaf := tree.LeafHash(v)
		add(ByLeafHash, leaf[:], i)
		e, err := entry.Parse(v)
		if err != nil {
			return fmt.Errorf("%w: entry %d: %v", ErrDamaged, i, err)
		}
		for by, value := range values(e) {
			if by == ByPath {
				paths = append(paths, pathKey{binary.BigEndian.AppendUint64(lookupKey(nil, by, []byte(value)), i), e.Kind == entry.Conflict})
			} else {
				add(by, []byte(value), i)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	// Sorted keys cost the memtable a third of unsorted ones.
	slices.SortFunc(keys, hashKey.compare)
	slices.SortFunc(paths, func(a, b pathKey) int { return bytes.Compare(a.key, b.key) })
	root, err := s.Root(to)
	if err != nil {
		return err
	}
	b := s.second.NewBatchWithSize(len(keys)*(keySize+4) + len(paths)*96)
	defer b.Close()
	for _, p := range paths {
		var value []byte
		if p.conflict {
			value = []byte{'c'}
		}
		if err := b.Set(p.key, value, nil); err != nil {
			return err
		}
	}
	var key [keySize]byte
	for _, k := range keys {
		if err := b.Set(k.append(key[:0]), nil, nil); err != nil {
			return err
		}
	}
	if err := b.Set([]byte{'y'}, append(binary.BigEndian.AppendUint64([]byte{lookupFormat}, to), root[:]...), nil); err != nil {
		return err
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return err
	}
	s.lookup.mu.Lock()
	defer s.lookup.mu.Unlock()
	s.lookup.indexed.Store(to)
	close(s.lookup.more)
	s.lookup.more = make(chan struct{})
	return nil
}

// values yields what an entry is found by.
func values(e *entry.Entry) func(yield func(Lookup, string) bool) {
	return func(yield func(Lookup, string) bool) {
		if !yield(ByPath, e.Path) || !yield(BySHA256, e.SHA256.String()) {
			return
		}
		if e.Kind == entry.Conflict && !yield(BySHA256, e.Other.String()) {
			return
		}
		if e.Kind == entry.Index {
			return
		}
		author := entry.Author(e.Path)
		if !yield(ByAuthor, author) {
			return
		}
		if e.By != "" && e.By != "-" && e.By != author && !yield(ByAuthor, e.By) {
			return
		}
		if d := entry.Distribution(e.Path); d != "" {
			yield(ByDistribution, d)
		}
	}
}

// lookupKey appends what the keys of one value share: of all but a path 10 bytes.
func lookupKey(b []byte, by Lookup, value []byte) []byte {
	sum := sha256.Sum256(value)
	if by == ByPath {
		// No path has a zero byte in it, so that this one ends it and sorts before all that go on.
		return append(append(append(b, 'p', sum[0]), value...), 0)
	}
	return append(append(b, 'x', byte(by)), sum[:8]...)
}

// Indexed is the size up to which lookups are complete.
func (s *Store) Indexed() uint64 { return s.lookup.indexed.Load() }

// WaitIndexed waits until lookups are complete up to size, or the context ends.
func (s *Store) WaitIndexed(ctx context.Context, size uint64) {
	for {
		s.lookup.mu.Lock()
		more := s.lookup.more
		s.lookup.mu.Unlock()
		if s.lookup.indexed.Load() >= size {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			return
		case <-s.stop:
			return
		}
	}
}

// A Found is an entry that a lookup found.
type Found struct {
	Index uint64
	Bytes []byte
	Entry *entry.Entry
}

// Find returns at most limit entries that have the value, from index from on, in order, or
// with newest from the last one back, all below size. It is complete up to Indexed.
func (s *Store) Find(by Lookup, value string, from, size uint64, limit int, newest bool) ([]Found, error) {
	prefix := lookupKey(nil, by, []byte(value))
	it, err := s.second.NewIter(&pebble.IterOptions{
		LowerBound: binary.BigEndian.AppendUint64(bytes.Clone(prefix), from),
		UpperBound: binary.BigEndian.AppendUint64(bytes.Clone(prefix), size),
	})
	if err != nil {
		return nil, err
	}
	first, next := it.First, it.Next
	if newest {
		first, next = it.Last, it.Prev
	}
	var found []Found
	for ok := first(); ok && len(found) < limit && err == nil; ok = next() {
		var f Found
		if f, err = s.found(binary.BigEndian.Uint64(it.Key()[len(prefix):]), size); err != nil {
			break
		}
		// The key may have only a hash of the value.
		if f.has(by, value) {
			found = append(found, f)
		}
	}
	if err := errors.Join(err, it.Error(), it.Close()); err != nil {
		return nil, err
	}
	return found, nil
}

func (s *Store) found(index, size uint64) (f Found, err error) {
	f.Index = index
	if f.Bytes, err = s.Entry(index, size); err != nil {
		return f, err
	}
	if f.Entry, err = entry.Parse(f.Bytes); err != nil {
		return f, fmt.Errorf("%w: entry %d: %v", ErrDamaged, index, err)
	}
	return f, nil
}

func (f Found) has(by Lookup, value string) bool {
	if by == ByLeafHash {
		leaf := tree.LeafHash(f.Bytes)
		return string(leaf[:]) == value
	}
	for b, v := range values(f.Entry) {
		if b == by && v == value {
			return true
		}
	}
	return false
}
