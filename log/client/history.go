package client

import (
	"crypto/sha256"
	"fmt"

	"github.com/pauselog/pauselog/log/entry"
)

// judged is an entry as an audit has judged it by itself.
type judged struct {
	entry *entry.Entry // nil if it cannot be read
	key   pathKey
	// err is why it cannot stand: because of what Parse says or, if it is the first entry of its path, of what Follows says.
	err error
}

// A pathKey stands for a path, or for a conflict. Its 16 bytes are of a SHA-256, so that nobody makes two paths with one key
// by less than 2^64 tries, and whoever does has an audit complain of their own two files.
type pathKey [16]byte

func keyOf(parts ...string) pathKey {
	var buf [entry.MaxPath + 1]byte
	b := buf[:0]
	for _, p := range parts {
		b = append(append(b, p...), 0)
	}
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

func newHistory() history {
	return history{paths: newPasts(), conflicts: map[pathKey]bool{}}
}

// stand adds an entry behind those before it, or says which rule it breaks: then it counts for nothing.
func (h *history) stand(index uint64, j *judged) error {
	if j.entry == nil {
		return j.err
	}
	var last *entry.Last
	err := j.err
	known := h.paths.find(j.key)
	if known != nil {
		last = known.last(j.entry.Path)
		err = last.Follows(j.entry)
	}
	if err != nil {
		return err
	}
	e := j.entry
	if e.Kind == entry.Conflict {
		pair := keyOf(e.Path, e.SHA256.String(), e.Other.String())
		again := h.conflicts[pair]
		h.conflicts[pair] = true
		if again {
			return fmt.Errorf("the conflict of %s with %s was logged before", e.Path, e.Other)
		}
		return nil
	}
	next := pastOf(last.Next(e, index))
	next.key = j.key
	if known != nil {
		*known = next
	} else {
		h.paths.add(next)
	}
	return nil
}

func pastOf(l *entry.Last) past {
	p := past{sha256: l.Entry.SHA256, index: l.Index << 3}
	for i, name := range kindNames {
		if string(l.Entry.Kind) == name {
			p.index |= uint64(i)
		}
	}
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
