package store

import (
	"math/bits"
	"sync/atomic"

	"github.com/pauselog/pauselog/log/tree"
)

// A readCache is what readers keep of what is on disk, so that proofs of what is often asked for read
// nothing; of a log of up to about a million entries, in the end nothing at all. A value gets in only
// after it was compared with the tree in memory, and is never changed then: damage on disk, or in
// Pebble's own cache, is found by whoever reads it, and what was read before stays right.
//
// Rows and entries have no pointers in them, so that the garbage collector has no more to do when there are more of them.
type readCache struct {
	rows    *rows  // by the index of the first leaf / 16
	entries *texts // by index
	proven  marks  // of tiles
	edges   places[edge]

	// room is how many uploads fit. Other entries take twice as much, and are few.
	room uint64
}

const (
	// packedBytes is what an entry takes, with all that belongs to it, where names are rather long.
	packedBytes = 139
	// sizes are more than readers ask for at a time: the head's, the published one, an older one of some client.
	sizes = 16
)

// defaultCache is how many bytes are kept by a log that had so many entries when it was opened. Other tables in
// memory grow with the log, by about 16 bytes an entry, and this one makes room for them: with a million entries it has
// place for all, with more than ten million for the rows of 200,000 leaves and for 30,000 entries.
func defaultCache(size uint64) int64 {
	const most, least = 200 << 20, 12 << 20
	return int64(most - min(20*min(size, most), most-least)) // no overflow
}

// newReadCache makes a cache of at most so many bytes, for a log of so many entries. A row serves sixteen
// entries and takes no more than five of them: rows come first, but a third is for the entries that are asked for most.
func newReadCache(bytes int64, size uint64) *readCache {
	bytes, size = max(0, bytes), min(size, 1<<40) // no overflow
	ofRows := min(bytes*2/3, max(bytes/5, int64(size/16/rowsOfBlock+1)*rowsOfBlock*rowBytes))
	ofEntries := bytes - ofRows
	return &readCache{
		rows:    newRows(ofRows),
		entries: newTexts(ofEntries, min(ofEntries, int64(size)*packedBytes)),
		edges:   newPlaces[edge](sizes),
		room:    uint64(ofEntries / packedBytes),
	}
}

// places are a table in which each number has one place, where its value displaces what was there. Readers need no
// lock.
type places[T any] []atomic.Pointer[placed[T]]

type placed[T any] struct {
	n     uint64
	value T
}

func newPlaces[T any](count int64) places[T] { return make(places[T], max(1, count)) }

func (p places[T]) at(n uint64) *atomic.Pointer[placed[T]] {
	// Spread, so that numbers at some distance from each other, as sizes may be, do not share few places.
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

// A row is the leaf hashes of a full tile from a multiple of 16 on, which lead to the node of level 4 above
// them, and some of what lies between. The rest is a hash or two away.
type row struct {
	leaves [16]tree.Hash
	level2 [4]tree.Hash
}

// rowOf returns the row of 16 leaf hashes, and the node of level 4 to which they lead.
func rowOf(leaves *[16]tree.Hash) (r row, top tree.Hash) {
	r.leaves = *leaves
	for i := range r.level2 {
		r.level2[i] = subtree(leaves[4*i : 4*i+4])
	}
	return r, subtree(r.level2[:])
}

// node returns a node of a level below 4, the index counting from the row's first.
func (r *row) node(level uint, index uint64) tree.Hash {
	switch level {
	case 0:
		return r.leaves[index]
	case 1:
		return tree.NodeHash(r.leaves[2*index], r.leaves[2*index+1])
	case 2:
		return r.level2[index]
	}
	return tree.NodeHash(r.level2[2*index], r.level2[2*index+1])
}
