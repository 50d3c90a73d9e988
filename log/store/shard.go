package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/pauselog/pauselog/log/entry"
)

// Listed calls f with each path whose SHA-256 begins with a byte and each of its entries below
// size that is not a conflict, sorted by path and then by index: a shard of the path index. Of an
// index file's path, which may have a hundred thousand, these are the newest ones only. It is
// complete up to Indexed. f must not keep the path.
func (s *Store) Listed(shard byte, size uint64, newest int, f func(path []byte, index uint64)) error {
	upper := []byte{'p', shard + 1}
	if shard == 255 {
		upper = []byte{'p' + 1}
	}
	it, err := s.second.NewIter(&pebble.IterOptions{LowerBound: []byte{'p', shard}, UpperBound: upper})
	if err != nil {
		return err
	}
	l := lister{it: it, size: size, newest: newest, f: f}
	for ok := it.First(); ok && l.err == nil; {
		ok = l.path()
	}
	return errors.Join(l.err, it.Error(), it.Close())
}

// A lister is a Listed on its way.
type lister struct {
	it     *pebble.Iterator
	size   uint64
	newest int
	f      func(path []byte, index uint64)

	prefix  []byte // of the keys of one path
	indexes []uint64
	err     error
}

// path lists the path whose first key the iterator is at, and moves it to the next one's.
func (l *lister) path() bool {
	key := l.it.Key()
	end := len(key) - 9
	if end < 2 || key[end] != 0 {
		l.err = fmt.Errorf("%w: a key %q in the lookup index", ErrDamaged, key)
		return false
	}
	l.prefix = append(l.prefix[:0], key[:end+1]...)
	path := l.prefix[2:end]
	if kind, err := entry.KindOf(string(path)); err == nil && kind == entry.Index {
		return l.snapshots(path)
	}
	ok := true
	for ; ok && bytes.HasPrefix(l.it.Key(), l.prefix); ok = l.it.Next() {
		index := binary.BigEndian.Uint64(l.it.Key()[len(l.prefix):])
		value, err := l.it.ValueAndErr()
		if err != nil {
			l.err = err
			return false
		}
		if index < l.size && len(value) == 0 {
			l.f(path, index)
		}
	}
	return ok
}

// snapshots is path for an index file: from the newest entry back, without a look at the others.
func (l *lister) snapshots(path []byte) bool {
	l.indexes = l.indexes[:0]
	ok := l.it.SeekLT(binary.BigEndian.AppendUint64(bytes.Clone(l.prefix), l.size))
	for ; ok && bytes.HasPrefix(l.it.Key(), l.prefix) && len(l.indexes) < l.newest; ok = l.it.Prev() {
		l.indexes = append(l.indexes, binary.BigEndian.Uint64(l.it.Key()[len(l.prefix):]))
	}
	for i := len(l.indexes) - 1; i >= 0; i-- {
		l.f(path, l.indexes[i])
	}
	// The zero byte after the path, plus one: what is behind all of its keys.
	next := bytes.Clone(l.prefix)
	next[len(next)-1]++
	return l.it.SeekGE(next)
}
