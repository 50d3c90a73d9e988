package store

import (
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
)

// pathHash is the 64 bits of a path that the key tiles have. 0 stands there for "not in
// the table", so no path hashes to it.
func pathHash(path string) uint64 {
	sum := sha256.Sum256([]byte(path))
	return max(1, binary.BigEndian.Uint64(sum[:8]))
}

// A Path is an entry's path with its hash, so that the one writer need not compute what its callers can.
type Path struct {
	name string
	hash uint64
}

// PathOf hashes a path.
func PathOf(name string) Path { return Path{name, pathHash(name)} }

// String returns the path.
func (p Path) String() string { return p.name }

// paths is an exact table, in memory, from each path to the index of its newest entry
// that is not a conflict: 10 to 12.5 bytes a path. It gives candidates, and the caller
// compares the path with the entry's, so that a hash that two paths share costs a read
// and decides nothing. One goroutine writes; readers need no lock.
//
// The low bits of the hash choose a segment. A segment is an array with open addressing: a slot is
// empty (0), or holds 28 more bits of the hash and an index + 1 of 36 bits. So of two paths 36
// bits are told apart, and a slot alone says where it belongs in an array of any length: a segment
// grows by a quarter without a path being read again, and since each grows by
// itself, neither an append nor the memory's peak has to bear more than one at a time.
type paths struct {
	segments [pathSegments]atomic.Pointer[pathSegment]
	counts   [pathSegments]int // writer only
}

const (
	pathSegments = 256
	smallest     = 16 // slots of the smallest segment

	tagBits   = 28
	indexBits = 64 - tagBits
	indexMask = 1<<indexBits - 1

	// maxIndex bounds a log: 68 thousand million entries.
	maxIndex = indexMask - 1
)

// A pathSegment is sorted by where its slots belong, but for those that were displaced to the right by
// others. Slots are never emptied, so that an empty one ends a search. Once readers may have it, slots are
// loaded and stored atomically.
type pathSegment []uint64

// newPaths makes a table with room for so many paths.
func newPaths(expected uint64) *paths {
	p := new(paths)
	for i := range p.segments {
		s := make(pathSegment, max(smallest, expected/pathSegments*4/3))
		p.segments[i].Store(&s)
	}
	return p
}

func segmentOf(hash uint64) int { return int(hash % pathSegments) }

// slotOf is the slot of an entry with this path hash.
func slotOf(hash, index uint64) uint64 { return tagOf(hash)<<indexBits | (index + 1) }

func tagOf(hash uint64) uint64 { return hash / pathSegments & (1<<tagBits - 1) }

// home is the slot from which on a tag is searched.
func (s pathSegment) home(tag uint64) int { return int(tag * uint64(len(s)) >> tagBits) }

func (s pathSegment) after(i int) int {
	if i++; i == len(s) {
		return 0
	}
	return i
}

// find appends to found the indexes at which the path with this hash may be.
func (p *paths) find(hash uint64, found []uint64) []uint64 {
	s, tag := *p.segments[segmentOf(hash)].Load(), tagOf(hash)
	for i := s.home(tag); ; i = s.after(i) {
		v := atomic.LoadUint64(&s[i])
		if v == 0 {
			return found
		}
		if v>>indexBits == tag {
			found = append(found, v&indexMask-1)
		}
	}
}

// insert adds a path that is not in the table.
func (p *paths) insert(hash, index uint64) {
	n := segmentOf(hash)
	s := *p.segments[n].Load()
	if p.counts[n]++; fuller(p.counts[n], s) {
		// Readers keep the old one, which holds all that was durable until now.
		s = s.grown()
		p.segments[n].Store(&s)
	}
	v := slotOf(hash, index)
	i := s.home(v >> indexBits)
	for s[i] != 0 { // nobody else stores
		i = s.after(i)
	}
	atomic.StoreUint64(&s[i], v)
}

// fill is insert of many slots of one segment while nobody reads. Several segments may be filled at a time.
func (p *paths) fill(segment int, slots []uint64) {
	s := *p.segments[segment].Load()
	p.counts[segment] += len(slots)
	for fuller(p.counts[segment], s) {
		s = s.grown()
	}
	for _, v := range slots {
		s.place(v)
	}
	p.segments[segment].Store(&s)
}

// fuller says whether so many paths are too many for a segment: four fifths of its slots.
func fuller(count int, s pathSegment) bool { return count*5 > len(s)*4 }

// place puts a slot into a segment that nobody reads yet.
func (s pathSegment) place(v uint64) {
	i := s.home(v >> indexBits)
	for s[i] != 0 {
		if i++; i == len(s) {
			i = 0
		}
	}
	s[i] = v
}

func (s pathSegment) grown() pathSegment {
	next := make(pathSegment, len(s)+len(s)/4)
	for _, v := range s {
		if v != 0 {
			next.place(v)
		}
	}
	return next
}

// replace moves a path from the entry old to the entry index.
func (p *paths) replace(hash, old, index uint64) bool {
	s, was := *p.segments[segmentOf(hash)].Load(), slotOf(hash, old)
	for i := s.home(was >> indexBits); ; i = s.after(i) {
		switch s[i] {
		case 0:
			return false
		case was:
			atomic.StoreUint64(&s[i], slotOf(hash, index))
			return true
		}
	}
}

// apply inserts or replaces what a change says.
func (p *paths) apply(c pathChange) bool {
	if c.previous == 0 {
		p.insert(c.hash, c.index)
		return true
	}
	return p.replace(c.hash, c.previous-1, c.index)
}
