package client

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// The table is a map of keys, through all of its sizes, for keys that are alike too.
func TestPastsAreAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, want := newPasts(), map[pathKey]uint64{}
		shift := rapid.SampledFrom([]int{0, 20, 40, 63}).Draw(t, "shift")
		for i := range uint64(rapid.IntRange(0, 4*leastPasts).Draw(t, "adds")) {
			var key pathKey
			binary.LittleEndian.PutUint64(key[:], i/3*7919<<shift)
			binary.LittleEndian.PutUint64(key[8:], i%5)
			x := p.find(key)
			number, known := want[key]
			if known != (x != nil) || known && (x.number != number || x.key != key) {
				t.Fatalf("key %x: %+v, want %d, %v", key, x, number, known)
			}
			if known {
				x.number = i
			} else {
				p.add(past{key: key, number: i})
			}
			want[key] = i
		}
		if p.n != uint64(len(want)) {
			t.Fatalf("%d pasts of %d keys", p.n, len(want))
		}
		for key, number := range want {
			if x := p.find(key); x == nil || x.number != number {
				t.Fatalf("key %x: %+v, want %d", key, x, number)
			}
		}
	})
}
