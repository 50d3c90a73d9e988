package client

import (
	"crypto/sha256"
	"fmt"

	"github.com/pauselog/pauselog/log/entry"
)

// judged is an entry as an audit has judged it by itself.
type judged struct {
	entry entry.Entry
	read  bool // whether it is an entry that can be read
	key   pathKey
	// err is why it cannot stand: because of what Parse says or, if it is the first entry of its path, of what Follows says.
	err error
}

// A pathKey stands for a path, or for a conflict. Its 16 bytes are of a SHA-256, so that nobody makes two paths with one key
// by less than 2^64 tries, and whoever does has an audit complain of their own two files.
type pathKey [16]byte

// keyOf returns the key of an entry's path. An archive's path without what its author's id says once more is nearly always a
// single block of SHA-256, and is no other path: it begins with a capital, and that of an index file does not.
func keyOf(path string) pathKey {
	if entry.Author(path) != "" {
		path = path[len("authors/id/E/ET/"):]
	}
	var buf [entry.MaxPath]byte
	h := sha256.Sum256(buf[:copy(buf[:], path)])
	return pathKey(h[:])
}

// keyOfConflict returns the key of a conflict's path and pair of digests.
func keyOfConflict(e *entry.Entry) pathKey {
	b := append(make([]byte, 0, entry.MaxPath+2*len(e.SHA256)), e.SHA256[:]...)
	b = append(append(b, e.Other[:]...), e.Path...)
	h := sha256.Sum256(b)
	return pathKey(h[:])
}

// A history is what is known of each path.
type history struct {
	paths     pasts
	conflicts map[pathKey]bool
}

// A past is an entry.Last in 48 bytes, without the strings, and with one number in place of those of which each kind
// of entry has another; and the key of its path.
type past struct {
	key    pathKey
	sha256 entry.Digest
	index  uint64 // of the entry, shifted by three, and its kind's place in kindNames
	// number is, of an index entry, its time; of a delete, the index of the upload; of a void, the index that it voids.
	number uint64
}

func newHistory(entries uint64) history {
	return history{paths: newPasts(entries), conflicts: map[pathKey]bool{}}
}

// stand adds an entry behind those before it, or says which rule it breaks: then it counts for nothing.
func (h *history) stand(index uint64, j *judged) error {
	if !j.read {
		return j.err
	}
	e := &j.entry
	var last *entry.Last
	err := j.err
	known := h.paths.find(j.key)
	if known != nil {
		last = known.last(e.Path)
		err = last.FollowsParsed(e)
	}
	if err != nil {
		return err
	}
	if e.Kind == entry.Conflict {
		pair := keyOfConflict(e)
		again := h.conflicts[pair]
		h.conflicts[pair] = true
		if again {
			return fmt.Errorf("the conflict of %s with %s was logged before", e.Path, e.Other)
		}
		return nil
	}
	if known != nil {
		*known = pastOf(last.Next(e, index))
		known.key = j.key
		return nil
	}
	next := pastOf(&entry.Last{Entry: e, Index: index, Upload: index})
	next.key = j.key
	h.paths.add(next)
	return nil
}

func pastOf(l *entry.Last) past {
	p := past{sha256: l.Entry.SHA256, index: l.Index<<3 | uint64(kindOf(l.Entry.Kind))}
	switch l.Entry.Kind {
	case entry.Index:
		p.number = uint64(l.Entry.Time)
	case entry.Delete:
		p.number = l.Upload
	case entry.Void:
		p.number = l.Entry.Index
	}
	return p
}

// last is the entry.Last, as far as the rules look at it.
func (p past) last(path string) *entry.Last {
	e := &entry.Entry{Kind: entry.Kind(kindNames[p.index&7]), Path: path, SHA256: p.sha256}
	l := &entry.Last{Entry: e, Index: p.index >> 3, Upload: p.index >> 3}
	switch e.Kind {
	case entry.Index:
		e.Time = entry.Time(p.number)
	case entry.Delete:
		l.Upload = p.number
	case entry.Void:
		e.Index = p.number
	}
	return l
}
