package store

import (
	"math/bits"
	"sync/atomic"

	"github.com/pauselog/pauselog/log/tree"
)

// A readCache is what readers keep of what is on disk, so that proofs of what is often asked for read
// nothing. A value gets in only after it was compared with the tree in memory, and is never
// changed then: damage on disk, or in Pebble's own cache, is found by whoever reads it, and what was
// read before stays right. Readers need no lock.
type readCache struct {
	rows    places[row]  // by the index of the first leaf / 16
	entries places[text] // by index
	proven  marks        // of tiles
	edges   places[edge] // by size
}

// A row is the leaf hashes of a full tile from a multiple of 16 on, which lead to the node of level 4 above
// them, and what lies between.
type row struct {
	// nodes are the 16 of level 0, 8 of level 1, 4 of level 2 and 2 of level 3.
	nodes [30]tree.Hash
}

// A text is an entry that has its leaf hash.
type text string

// defaultCache is how many bytes are kept by a log that had so many entries when it was opened. Other tables in
// memory grow with the log, by about 16 bytes an entry, and this one makes room for them: with a million entries it has
// place for most rows, with more than eleven million for those of 125,000 leaves and for 8,000 entries.
func defaultCache(size uint64) int64 {
	const most, least = 120 << 20, 12 << 20
	return int64(most - min(11*min(size, most), most-least)) // no overflow
}

const (
	rowBytes   = 1024 + 8 // what the allocator takes, and the place
	entryBytes = 512
	// longest is the longest entry that is kept: twice what they mostly have.
	longest = entryBytes - 64
	// sizes are more than readers ask for at a time: the head's, the published one, an older one of some client.
	sizes = 16
)

// newReadCache makes a cache of at most so many bytes: two thirds of them rows, one third entries.
func newReadCache(bytes int64) *readCache {
	return &readCache{
		rows:    newPlaces[row](bytes * 2 / 3 / rowBytes),
		entries: newPlaces[text](bytes / 3 / entryBytes),
		edges:   newPlaces[edge](sizes),
	}
}

// places are a table in which each number has one place, where its value displaces what was there.
type places[T any] []atomic.Pointer[placed[T]]

type placed[T any] struct {
	n     uint64
	value T
}

func newPlaces[T any](count int64) places[T] { return make(places[T], max(1, count)) }

func (p places[T]) at(n uint64) *atomic.Pointer[placed[T]] {
	// Spread, so that numbers at some distance from each other, as those of popular entries may be,
	// do not share few places.
	i, _ := bits.Mul64(n*0x9e3779b97f4a7c15, uint64(len(p)))
	return &p[i]
}

// get returns the value of n, or nil.
func (p places[T]) get(n uint64) *T {
	if v := p.at(n).Load(); v != nil && v.n == n {
		return &v.value
	}
	return nil
}

// put keeps v, which must not change any more.
func (p places[T]) put(n uint64, v *placed[T]) *T {
	v.n = n
	p.at(n).Store(v)
	return &v.value
}

// marks say of numbers, each of which has one place, at which size something was last seen to be so.
type marks [1 << 16]atomic.Uint64

// mark is all of n that its place does not say, and the size; 0 if they do not fit, in a tree of over 2^40 leaves.
func mark(n, size uint64) uint64 {
	const bitsOfN, bitsOfSize = 24, 40
	if n /= uint64(len(marks{})); n>>bitsOfN != 0 || size>>bitsOfSize != 0 {
		return 0
	}
	return n<<bitsOfSize | size
}

func (m *marks) has(n, size uint64) bool {
	v := m[n%uint64(len(m))].Load()
	return v != 0 && v == mark(n, size)
}

func (m *marks) add(n, size uint64) { m[n%uint64(len(m))].Store(mark(n, size)) }
