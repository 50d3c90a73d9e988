package client

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"

	"github.com/pauselog/pauselog/log/entry"
)

// The table is a map of keys, through all of its sizes, for keys that are alike too.
func TestPastsAreAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, want := newPasts(rapid.SampledFrom([]uint64{0, 1, 1000, 4 * leastPasts}).Draw(t, "expected")), map[pathKey]uint64{}
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

// A key is of a whole path: what it leaves out is said once more by what it has.
func TestKeysAreOfOnePath(t *testing.T) {
	keys := map[pathKey]string{}
	for _, p := range []string{
		"authors/id/E/ET/ETHER/x.tar.gz", "authors/id/E/ET/ETHE/x.tar.gz", "authors/id/E/ET/ETHER/ETHER/x.tar.gz", "authors/id/E/ET/ET/HER/x.tar.gz",
		"authors/id/E/EX/EXTER/x.tar.gz", "authors/id/X/ET/ETHER/x.tar.gz", "authors/x.tar.gz", "modules/x.tar.gz", "authors/ETHER", "modules/ETHER",
		"authors/id", "authors/id/E/ET/ETHER/authors", "modules/authors", "authors/modules",
	} {
		key := keyOf(p)
		if other, ok := keys[key]; ok || key != keyOf(p) {
			t.Errorf("%s has the key of %q, and then %x", p, other, keyOf(p))
		}
		keys[key] = p
	}
	a, b := &entry.Entry{Path: path(0), SHA256: digest("a"), Other: digest("b")}, &entry.Entry{Path: path(0), SHA256: digest("b"), Other: digest("a")}
	other := *a
	other.Path = path(1)
	if keyOfConflict(a) == keyOfConflict(b) || keyOfConflict(a) == keyOfConflict(&other) || keyOfConflict(a) == keyOf(a.Path) {
		t.Error("two conflicts have one key")
	}
	if same := *a; keyOfConflict(a) != keyOfConflict(&same) {
		t.Error("a conflict has two keys")
	}
}
