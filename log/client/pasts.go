package client

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// pasts are the pasts of many paths. A log has nearly as many paths as entries, and an audit asks for each, so that this
// is an array and a table of places in it: one look at memory finds nearly every path that is new, where a map of
// 64 bytes each has three and moves them.
type pasts struct {
	// blocks are not moved when there are more.
	blocks []*[pastsBlock]past
	n      uint64 // of pasts

	// slots are an open table with linear probing, at most three quarters full. A slot is 0, or has 24 bits of the key
	// above the number of its past, from 1 on. Its length is a power of two.
	slots []uint64
	// seed makes where a key goes a secret, so that nobody writes a log that is slow to audit.
	seed uint64
	read uint64 // what expect has read: nobody needs it, and so it must be kept
}

const (
	pastsBlock  = 1024
	numberBits  = 40 // of a slot: 10^12 paths are 64 TB
	numberMask  = 1<<numberBits - 1
	leastPasts  = 1024    // slots of an empty table
	mostPasts   = 1 << 22 // of one that is made for as many paths as a checkpoint says: 32 MB
	fullNumbers = 3       // of four slots
)

// newPasts returns an empty table. It holds any number; for about so many it need not grow.
func newPasts(expected uint64) pasts {
	slots := uint64(leastPasts)
	for slots < mostPasts && slots/4*fullNumbers < expected {
		slots *= 2
	}
	return pasts{slots: make([]uint64, slots), seed: rand.Uint64() | 1}
}

// find returns a path's past, or nil. It may be changed in its place, but for its key.
func (p *pasts) find(key pathKey) *past {
	tag := tagOf(key)
	for i := p.home(key); p.slots[i] != 0; i = (i + 1) % uint64(len(p.slots)) {
		if slot := p.slots[i]; slot&^numberMask == tag {
			if x := p.at(slot&numberMask - 1); x.key == key {
				return x
			}
		}
	}
	return nil
}

// expect reads the slots where the searches for many keys begin. It does not wait for one to read the next, as searches with
// the rules between them do, and when they come, memory has brought them near.
func (p *pasts) expect(entries []judged) {
	var sum uint64
	for i := range entries {
		sum += p.slots[p.home(entries[i].key)]
	}
	p.read = sum
}

// add adds the past of a path that has none.
func (p *pasts) add(x past) {
	if (p.n+1)*4 > uint64(len(p.slots))*fullNumbers {
		p.slots = make([]uint64, 2*len(p.slots))
		for n := range p.n {
			p.place(p.at(n).key, n)
		}
	}
	if p.n%pastsBlock == 0 {
		p.blocks = append(p.blocks, new([pastsBlock]past))
	}
	*p.at(p.n) = x
	p.place(x.key, p.n)
	p.n++
}

func (p *pasts) at(n uint64) *past { return &p.blocks[n/pastsBlock][n%pastsBlock] }

func (p *pasts) place(key pathKey, n uint64) {
	i := p.home(key)
	for p.slots[i] != 0 {
		i = (i + 1) % uint64(len(p.slots))
	}
	p.slots[i] = tagOf(key) | n + 1
}

// home is the slot where the search for a key begins.
func (p *pasts) home(key pathKey) uint64 {
	return binary.LittleEndian.Uint64(key[:]) * p.seed >> (65 - bits.Len(uint(len(p.slots))))
}

func tagOf(key pathKey) uint64 { return binary.LittleEndian.Uint64(key[8:]) &^ numberMask }
