package tree

import (
	"errors"
	"math/bits"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// seeded is a proof as ConsistencyRoots takes it.
func seeded(size1 int, root1 Hash, proof []Hash) []Hash {
	if bits.OnesCount(uint(size1)) == 1 {
		return append([]Hash{root1}, proof...)
	}
	return proof
}

// The proofs that golang.org/x/mod/sumdb/tlog makes between all sizes up to 65 lead
// to the two roots of these sizes. With a bit of one hash changed they lead to others, and
// never to the new tree's; with a hash more or less they lead nowhere.
func TestConsistencyRootsExhaustive(t *testing.T) {
	stored, leaves := grow(t, 65)
	roots := make([]Hash, len(leaves)+1)
	for n := range roots {
		roots[n] = root(leaves[:n])
	}
	for size2 := 2; size2 <= len(leaves); size2++ {
		for size1 := 1; size1 < size2; size1++ {
			p, err := tlog.ProveTree(int64(size2), int64(size1), stored)
			if err != nil {
				t.Fatal(err)
			}
			good := seeded(size1, roots[size1], convert(p))
			n1, n2 := uint64(size1), uint64(size2)
			r1, r2, err := ConsistencyRoots(n1, n2, good)
			if err != nil || r1 != roots[size1] || r2 != roots[size2] {
				t.Fatalf("sizes %d and %d: %v, %v, %v; want %v, %v", size1, size2, r1, r2, err, roots[size1], roots[size2])
			}
			for i := range good {
				bad := append([]Hash(nil), good...)
				bad[i][i%HashSize] ^= 1 << (i % 8)
				r1, r2, err := ConsistencyRoots(n1, n2, bad)
				if err != nil || r2 == roots[size2] {
					t.Fatalf("sizes %d and %d, hash %d changed: %v, %v, %v", size1, size2, i, r1, r2, err)
				}
				// Whatever the roots are, the proof binds them together and no others.
				proof := bad[len(good)-len(p):]
				if err := VerifyConsistency(n1, n2, proof, r1, r2); err != nil {
					t.Fatalf("sizes %d and %d, hash %d changed: %v", size1, size2, i, err)
				}
				if err := VerifyConsistency(n1, n2, proof, r1, roots[size2]); err == nil {
					t.Fatalf("sizes %d and %d, hash %d changed: verifies with the tree's root", size1, size2, i)
				}
			}
			for _, bad := range [][]Hash{nil, good[:len(good)-1], good[1:], append(good[:len(good):len(good)], Hash{})} {
				if r1, r2, err := ConsistencyRoots(n1, n2, bad); !errors.Is(err, ErrProof) || r1 != (Hash{}) || r2 != (Hash{}) {
					t.Fatalf("sizes %d and %d with %d hashes instead of %d: %v, %v, %v", size1, size2, len(bad), len(good), r1, r2, err)
				}
			}
		}
	}
}

// An old root that was signed and is not the tree's: the honest proof to the new
// root names the old root that the tree really had.
func TestConsistencyRootsNamesTheOldRoot(t *testing.T) {
	stored, leaves := grow(t, 13)
	p, err := tlog.ProveTree(13, 7, stored)
	if err != nil {
		t.Fatal(err)
	}
	signed := NodeHash(leaves[0], leaves[1])
	if err := VerifyConsistency(7, 13, convert(p), signed, root(leaves)); !errors.Is(err, ErrProof) {
		t.Fatalf("the signed root verifies: %v", err)
	}
	r1, r2, err := ConsistencyRoots(7, 13, convert(p))
	if err != nil || r1 != root(leaves[:7]) || r2 != root(leaves) {
		t.Errorf("found %v, %v, %v", r1, r2, err)
	}
}

func TestConsistencyRootsEdges(t *testing.T) {
	_, leaves := grow(t, 2)
	for _, tt := range []struct {
		name         string
		size1, size2 uint64
		hashes       []Hash
	}{
		{"from empty", 0, 2, nil},
		{"from empty with hashes", 0, 2, leaves},
		{"same size", 2, 2, leaves[:1]},
		{"backwards", 2, 1, leaves},
		{"too large", 1, 1 << 63, leaves},
		{"far too few", 1, MaxSize, leaves},
		{"far too many", 1, 2, make([]Hash, 1000)},
	} {
		if _, _, err := ConsistencyRoots(tt.size1, tt.size2, tt.hashes); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v, want ErrProof", tt.name, err)
		}
	}
	// The longest proof of all: from one leaf to 2^63-1.
	long := make([]Hash, 1+MaxProof)
	if _, _, err := ConsistencyRoots(1, MaxSize, long); err != nil {
		t.Errorf("from 1 to 2^63-1: %v", err)
	}
	if _, _, err := ConsistencyRoots(1, MaxSize, long[1:]); !errors.Is(err, ErrProof) {
		t.Errorf("from 1 to 2^63-1 with a hash too few: %v", err)
	}
}
