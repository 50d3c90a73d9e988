package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"golang.org/x/mod/sumdb/tlog"
)

// reference is the tree of RFC 6962's test data: eight leaves, and the root at
// every size.
var reference = struct{ leaves, roots []string }{
	leaves: []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"},
	roots: []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	},
}

// root is a direct transcription of RFC 6962's definition of MTH.
func root(leaves []Hash) Hash {
	switch len(leaves) {
	case 0:
		return EmptyRoot
	case 1:
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	return NodeHash(root(leaves[:k]), root(leaves[k:]))
}

func TestReferenceTree(t *testing.T) {
	var leaves []Hash
	for n := 0; ; n++ {
		if got := root(leaves); hex.EncodeToString(got[:]) != reference.roots[n] {
			t.Errorf("root of size %d = %x, want %s", n, got[:], reference.roots[n])
		}
		if n == len(reference.leaves) {
			break
		}
		data, err := hex.DecodeString(reference.leaves[n])
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, LeafHash(data))
	}
}

func TestLeafHashOfAnyLength(t *testing.T) {
	for _, n := range []int{0, 1, 1023, 1024, 1025, 70000} {
		entry := bytes.Repeat([]byte{'x'}, n)
		if got, want := LeafHash(entry), Hash(sha256.Sum256(append([]byte{0}, entry...))); got != want {
			t.Errorf("LeafHash of %d bytes = %v, want %v", n, got, want)
		}
		if got, want := LeafHash(entry), Hash(tlog.RecordHash(entry)); got != want {
			t.Errorf("LeafHash of %d bytes = %v, tlog says %v", n, got, want)
		}
		if got, want := LeafHashString(string(entry)), LeafHash(entry); got != want {
			t.Errorf("LeafHashString of %d bytes = %v, want %v", n, got, want)
		}
	}
}

// hashes is an in-memory tlog.HashReader: the independent implementation that
// makes the proofs verified here.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = h[x]
	}
	return out, nil
}

func byteSlices(hashes []Hash) [][]byte {
	s := make([][]byte, len(hashes))
	for i := range hashes {
		s[i] = hashes[i][:]
	}
	return s
}

func grow(t *testing.T, n int) (hashes, []Hash) {
	t.Helper()
	var stored hashes
	leaves := make([]Hash, n)
	for i := range n {
		data := fmt.Appendf(nil, "%d", i)
		hs, err := tlog.StoredHashes(int64(i), data, stored)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hs...)
		leaves[i] = LeafHash(data)
	}
	return stored, leaves
}

func convert[T ~[]tlog.Hash](p T) []Hash {
	out := make([]Hash, len(p))
	for i, h := range p {
		out[i] = Hash(h)
	}
	return out
}

// Every inclusion proof of every tree up to 65 leaves, made by
// golang.org/x/mod/sumdb/tlog, verifies; with one bit flipped anywhere, a hash
// too many or too few, or another index, it does not.
func TestVerifyInclusionExhaustive(t *testing.T) {
	stored, leaves := grow(t, 65)
	for size := 1; size <= len(leaves); size++ {
		r := root(leaves[:size])
		for index := range size {
			p, err := tlog.ProveRecord(int64(size), int64(index), stored)
			if err != nil {
				t.Fatal(err)
			}
			good := convert(p)
			check := func(what string, want bool, index uint64, leaf Hash, p []Hash, r Hash) {
				t.Helper()
				err := VerifyInclusion(index, uint64(size), leaf, p, r)
				other := proof.VerifyInclusion(Hasher{}, index, uint64(size), leaf[:], byteSlices(p), r[:])
				if (err == nil) != (other == nil) {
					t.Fatalf("size %d index %d, %s: %v, transparency-dev/merkle says %v", size, index, what, err, other)
				}
				if (err == nil) != want || (err != nil && !errors.Is(err, ErrProof)) {
					t.Fatalf("size %d index %d, %s: %v", size, index, what, err)
				}
			}
			i := uint64(index)
			check("as made", true, i, leaves[index], good, r)
			for j := range good {
				bad := append([]Hash(nil), good...)
				bad[j][j%HashSize] ^= 1 << (j % 8)
				check("bit flipped", false, i, leaves[index], bad, r)
			}
			check("hash too many", false, i, leaves[index], append(append([]Hash(nil), good...), r), r)
			if len(good) > 0 {
				check("hash too few", false, i, leaves[index], good[:len(good)-1], r)
			}
			check("other leaf", false, i, NodeHash(r, r), good, r)
			check("other root", false, i, leaves[index], good, NodeHash(r, r))
			check("index of the size", false, uint64(size), leaves[index], good, r)
			if size > 1 {
				check("other index", false, (i+1)%uint64(size), leaves[index], good, r)
			}
		}
	}
}

func TestVerifyConsistencyExhaustive(t *testing.T) {
	stored, leaves := grow(t, 65)
	roots := make([]Hash, len(leaves)+1)
	for n := range roots {
		roots[n] = root(leaves[:n])
	}
	for size2 := 1; size2 <= len(leaves); size2++ {
		for size1 := 1; size1 <= size2; size1++ {
			p, err := tlog.ProveTree(int64(size2), int64(size1), stored)
			if err != nil {
				t.Fatal(err)
			}
			good := convert(p)
			check := func(what string, want bool, p []Hash, r1, r2 Hash) {
				t.Helper()
				err := VerifyConsistency(uint64(size1), uint64(size2), p, r1, r2)
				other := proof.VerifyConsistency(Hasher{}, uint64(size1), uint64(size2), byteSlices(p), r1[:], r2[:])
				if (err == nil) != (other == nil) {
					t.Fatalf("sizes %d and %d, %s: %v, transparency-dev/merkle says %v", size1, size2, what, err, other)
				}
				if (err == nil) != want || (err != nil && !errors.Is(err, ErrProof)) {
					t.Fatalf("sizes %d and %d, %s: %v", size1, size2, what, err)
				}
			}
			check("as made", true, good, roots[size1], roots[size2])
			for j := range good {
				bad := append([]Hash(nil), good...)
				bad[j][j%HashSize] ^= 1 << (j % 8)
				check("bit flipped", false, bad, roots[size1], roots[size2])
			}
			check("hash too many", false, append(append([]Hash(nil), good...), roots[1]), roots[size1], roots[size2])
			if len(good) > 0 {
				check("hash too few at the end", false, good[:len(good)-1], roots[size1], roots[size2])
				check("hash too few at the start", false, good[1:], roots[size1], roots[size2])
			}
			check("other old root", false, good, roots[size1-1], roots[size2])
			check("other new root", false, good, roots[size1], roots[size2-1])
		}
	}
}

func TestVerifyConsistencyEdges(t *testing.T) {
	_, leaves := grow(t, 3)
	r := root(leaves)
	for _, tt := range []struct {
		name         string
		size1, size2 uint64
		proof        []Hash
		root1, root2 Hash
		ok           bool
	}{
		{"from empty", 0, 3, nil, EmptyRoot, r, true},
		{"from empty to empty", 0, 0, nil, EmptyRoot, EmptyRoot, true},
		{"from empty with a wrong old root", 0, 3, nil, r, r, false},
		{"empty to empty with a wrong new root", 0, 0, nil, EmptyRoot, r, false},
		{"from empty with a proof", 0, 3, []Hash{r}, EmptyRoot, r, false},
		{"same size", 3, 3, nil, r, r, true},
		{"same size with a proof", 3, 3, []Hash{r}, r, r, false},
		{"same size, other root", 3, 3, nil, r, EmptyRoot, false},
		{"backwards", 3, 2, nil, r, r, false},
		{"too large", 3, 1 << 63, nil, r, r, false},
	} {
		err := VerifyConsistency(tt.size1, tt.size2, tt.proof, tt.root1, tt.root2)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func BenchmarkLeafHash300(b *testing.B) {
	entry := bytes.Repeat([]byte{'x'}, 300)
	b.ReportAllocs()
	for b.Loop() {
		LeafHash(entry)
	}
}

// A log verifies what it serves, so neither verification may cost an allocation.
func TestVerifyingDoesNotAllocate(t *testing.T) {
	stored, leaves := grow(t, 61)
	inclusion, err1 := tlog.ProveRecord(61, 17, stored)
	consistency, err2 := tlog.ProveTree(61, 23, stored)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	p1, p2, root1, root2 := convert(inclusion), convert(consistency), root(leaves[:23]), root(leaves)
	if n := testing.AllocsPerRun(100, func() {
		if err := errors.Join(VerifyInclusion(17, 61, leaves[17], p1, root2), VerifyConsistency(23, 61, p2, root1, root2)); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNodeHash(b *testing.B) {
	var h Hash
	b.ReportAllocs()
	for b.Loop() {
		h = NodeHash(h, h)
	}
}

func TestErrorsAreOneLineInTheFormOfCheckpoints(t *testing.T) {
	stored, leaves := grow(t, 5)
	p, err := tlog.ProveRecord(5, 2, stored)
	if err != nil {
		t.Fatal(err)
	}
	err = VerifyInclusion(2, 5, leaves[2], convert(p), EmptyRoot)
	want := "proof does not verify: inclusion of index 2 in tree of size 5: it leads to root " + root(leaves).String() + ", expected " + EmptyRoot.String()
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
