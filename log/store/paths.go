package store

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// pathHash is the 64 bits of a path that the path table knows. 0 stands for "not in
// the table" in the key tiles, so no path hashes to it.
func pathHash(path string) uint64 {
	sum := sha256.Sum256([]byte(path))
	return max(1, binary.BigEndian.Uint64(sum[:8]))
}

// paths is an exact table, in memory, from each path to the index of its newest entry
// that is not a conflict: about 13 bytes a path. It gives candidates, and the caller
// compares the path with the entry's, so that a hash that two paths share costs a read
// and decides nothing. One goroutine writes; readers need no lock.
//
// It is an array of buckets of 16 slots. A slot is empty (0), or holds 24 bits of the
// hash and an index + 1 of 40 bits. What does not fit its bucket (about two
// slots in a hundred, when the table is fullest) is in overflow. The bits in a slot
// and the number of its bucket are enough to double the table without reading a path
// again: while there are no more than 2^24 times the smallest number of buckets, that is.
type paths struct {
	table atomic.Pointer[pathTable]
	count int // writer only
}

const (
	slots      = 16
	minBits    = 10 // the smallest table has 2^10 buckets
	tagBits    = 24
	indexBits  = 64 - tagBits
	indexMask  = 1<<indexBits - 1
	fullBucket = 10 // the mean number of used slots at which the table doubles
)

type pathTable struct {
	bits    uint
	buckets []atomic.Uint64 // 2^bits × slots

	mu       sync.RWMutex
	overflow map[uint64][]uint64 // hash to indexes
}

func newPaths(expected uint64) *paths {
	bits := uint(minBits)
	for expected > fullBucket<<bits {
		bits++
	}
	p := new(paths)
	p.table.Store(newTable(bits))
	return p
}

func newTable(bits uint) *pathTable {
	return &pathTable{bits: bits, buckets: make([]atomic.Uint64, slots<<bits), overflow: map[uint64][]uint64{}}
}

func (t *pathTable) bucket(hash uint64) []atomic.Uint64 {
	b := hash & (1<<t.bits - 1)
	return t.buckets[b*slots : (b+1)*slots]
}

func tagOf(hash uint64) uint64 { return hash >> minBits << (64 - tagBits) }

// find appends to found the indexes at which the path with this hash may be.
func (p *paths) find(hash uint64, found []uint64) []uint64 {
	t := p.table.Load()
	bucket := t.bucket(hash)
	for i := range bucket {
		v := bucket[i].Load()
		if v == 0 {
			return found // slots fill from the left and are never emptied
		}
		if v&^indexMask == tagOf(hash) {
			found = append(found, v&indexMask-1)
		}
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return append(found, t.overflow[hash]...)
}

// insert adds a path that is not in the table.
func (p *paths) insert(hash, index uint64) {
	t := p.table.Load()
	if p.count >= fullBucket<<t.bits && t.bits < minBits+tagBits {
		t = t.double()
		p.table.Store(t)
	}
	p.count++
	t.insert(hash, index)
}

// replace moves a path from the entry old to the entry index.
func (p *paths) replace(hash, old, index uint64) bool {
	t := p.table.Load()
	bucket := t.bucket(hash)
	for i := range bucket {
		if bucket[i].Load() == tagOf(hash)|(old+1) {
			bucket[i].Store(tagOf(hash) | (index + 1))
			return true
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, x := range t.overflow[hash] {
		if x == old {
			t.overflow[hash][i] = index
			return true
		}
	}
	return false
}

func (t *pathTable) insert(hash, index uint64) {
	bucket := t.bucket(hash)
	for i := range bucket {
		if bucket[i].Load() == 0 {
			bucket[i].Store(tagOf(hash) | (index + 1))
			return
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.overflow[hash] = append(t.overflow[hash], index)
}

// double returns a table of twice as many buckets with the same paths. Readers keep
// the old one, which holds all that was durable until now.
func (t *pathTable) double() *pathTable {
	next := newTable(t.bits + 1)
	for b := range uint64(1) << t.bits {
		for i := range uint64(slots) {
			v := t.buckets[b*slots+i].Load()
			if v == 0 {
				break
			}
			// The low bits of the hash are the bucket's number, those from minBits
			// on are in the slot.
			hash := b | (v >> indexBits << minBits)
			next.insert(hash, v&indexMask-1)
		}
	}
	for hash, indexes := range t.overflow {
		for _, x := range indexes {
			next.insert(hash, x)
		}
	}
	return next
}
