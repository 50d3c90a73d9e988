package tree

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

// rootsOf returns SubtreeProof's node function for these leaves, by the definition.
func rootsOf(leaves []Hash) func(start, end uint64) (Hash, error) {
	return func(start, end uint64) (Hash, error) { return root(leaves[start:end]), nil }
}

// rootsOnce is rootsOf that calculates each root once.
func rootsOnce(leaves []Hash) func(start, end uint64) (Hash, error) {
	known := map[[2]uint64]Hash{}
	return func(start, end uint64) (Hash, error) {
		k := [2]uint64{start, end}
		if _, ok := known[k]; !ok {
			known[k] = root(leaves[start:end])
		}
		return known[k], nil
	}
}

func mustProve(t *testing.T, start, end, size uint64, node func(start, end uint64) (Hash, error)) []Hash {
	t.Helper()
	p, err := SubtreeProof(start, end, size, node)
	if err != nil {
		t.Fatalf("SubtreeProof(%d, %d, %d): %v", start, end, size, err)
	}
	return p
}

func TestValidSubtree(t *testing.T) {
	const half = uint64(1) << 63
	for _, tt := range []struct {
		start, end uint64
		want       bool
	}{
		{0, 1, true}, {0, 7, true}, {5, 6, true}, {4, 6, true}, {4, 7, true}, {4, 8, true}, {8, 13, true}, {8, 11, true},
		{2, 5, false}, {4, 9, false}, {1, 3, false}, {6, 9, false},
		{0, 0, false}, {4, 4, false}, {5, 4, false}, {^uint64(0), 0, false},
		// Lengths whose power of two is 2^63, or does not fit into 64 bits.
		{0, half, true}, {half, ^uint64(0), true}, {1, half, false}, {half - 1, half + half/2 + 1, false},
		{0, half + 1, true}, {0, ^uint64(0), true}, {1, half + 2, false}, {half / 2, ^uint64(0), false},
		{^uint64(0) - 1, ^uint64(0), true},
	} {
		if got := ValidSubtree(tt.start, tt.end); got != tt.want {
			t.Errorf("ValidSubtree(%d, %d) = %v, want %v", tt.start, tt.end, got, tt.want)
		}
	}
}

// The accumulated test vectors of draft-ietf-plants-merkle-tree-certs: the SHA-256 of every
// subtree's hash, every inclusion proof and every subtree's consistency proof in the trees of up
// to 130 leaves, of which leaf i is the byte i. From draft 06 on they include the empty runs
// [i, i), whose hash is that of the empty tree and whose proof is empty. None is a subtree here, so
// their lines are written without asking.
func TestVectorsOfTheDraft(t *testing.T) {
	const n = 130
	leaves := make([]Hash, n)
	for i := range leaves {
		leaves[i] = LeafHash([]byte{byte(i)})
	}
	node := rootsOnce(leaves)
	subtrees, inclusion, consistency := sha256.New(), sha256.New(), sha256.New()
	list := func(hashes []Hash) string {
		var b strings.Builder
		for _, h := range hashes {
			b.WriteString(" " + hex.EncodeToString(h[:]))
		}
		return b.String() + "\n"
	}
	for size := range uint64(n + 1) {
		whole, _ := node(0, size)
		for end := range size + 1 {
			for start := range end {
				if !ValidSubtree(start, end) {
					continue
				}
				hash, _ := node(start, end)
				if end == size {
					fmt.Fprintf(subtrees, "[%d, %d) %x\n", start, end, hash[:])
				}
				p := mustProve(t, start, end, size, node)
				fmt.Fprintf(consistency, "[%d, %d) %d%s", start, end, size, list(p))
				if err := VerifySubtree(start, end, size, hash, p, whole); err != nil {
					t.Fatal(err)
				}
			}
			if end == size {
				fmt.Fprintf(subtrees, "[%d, %d) %x\n", end, end, EmptyRoot[:])
			}
			fmt.Fprintf(consistency, "[%d, %d) %d\n", end, end, size)
		}
	}
	// Inclusion of leaf i in the subtree [s, e) is inclusion of leaf i-s in a tree of e-s leaves.
	for end := range uint64(n + 1) {
		for start := range end {
			if !ValidSubtree(start, end) {
				continue
			}
			for i := start; i < end; i++ {
				p := mustProve(t, i-start, i-start+1, end-start, func(s, e uint64) (Hash, error) { return node(start+s, start+e) })
				fmt.Fprintf(inclusion, "%d [%d, %d)%s", i, start, end, list(p))
			}
		}
	}
	for _, v := range []struct {
		what string
		got  []byte
		want string
	}{
		{"subtrees", subtrees.Sum(nil), "b82806ad4265bb151c1119c0f4db437bb4d1a1f887b3a7fba1cd4ebf552e3e81"},
		{"inclusion proofs", inclusion.Sum(nil), "ac2a8f989e44d99e399db448050ff5f19757df53cfb716aa81015d3955d8163f"},
		{"consistency proofs", consistency.Sum(nil), "10fa99b37bf9bf9ffa26b412fbd98bd75363256d0b75d61bc4538b9c9c5a0a74"},
	} {
		if hex.EncodeToString(v.got) != v.want {
			t.Errorf("%s: %x, want %s", v.what, v.got, v.want)
		}
	}
}

// Leaves 4 to 6 in the tree of RFC 6962's test data.
func TestVectorSubtreeOfTheReferenceTree(t *testing.T) {
	var leaves []Hash
	for _, l := range reference.leaves {
		b, err := hex.DecodeString(l)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, LeafHash(b))
	}
	const want = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f" +
		"46f6ffadd3d06a09ff3c5860d2755c8b9819db7df44251788c7d8e3180de8eb1" +
		"0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a" +
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
	p := mustProve(t, 4, 7, 8, rootsOf(leaves))
	var got string
	for _, h := range p {
		got += hex.EncodeToString(h[:])
	}
	if got != want {
		t.Errorf("proof = %s, want %s", got, want)
	}
	hash := root(leaves[4:7])
	if hex.EncodeToString(hash[:]) != "837dbb152e9b079010717e84e865da4ebc0fa198a806d59d31bf15accef22d0e" {
		t.Errorf("subtree hash = %x", hash[:])
	}
	if err := VerifySubtree(4, 7, 8, hash, p, root(leaves)); err != nil {
		t.Error(err)
	}
}

// With start 0 the proof is RFC 6962's consistency proof, and with one leaf its inclusion
// proof, as golang.org/x/mod/sumdb/tlog makes them.
func TestSubtreeProofsAreThoseOfRFC6962(t *testing.T) {
	stored, leaves := grow(t, 65)
	node := rootsOnce(leaves)
	for size := uint64(1); size <= 65; size++ {
		for i := range size {
			p, err := tlog.ProveTree(int64(size), int64(i+1), stored)
			if err != nil {
				t.Fatal(err)
			}
			if got := mustProve(t, 0, i+1, size, node); !slices.Equal(got, convert(p)) {
				t.Fatalf("consistency of sizes %d and %d: %v, tlog says %v", i+1, size, got, convert(p))
			}
			r, err := tlog.ProveRecord(int64(size), int64(i), stored)
			if err != nil {
				t.Fatal(err)
			}
			if got := mustProve(t, i, i+1, size, node); !slices.Equal(got, convert(r)) {
				t.Fatalf("inclusion of %d in %d: %v, tlog says %v", i, size, got, convert(r))
			}
		}
	}
}

// Every subtree of every tree of up to 33 leaves has a proof that verifies, and does not
// with one bit flipped, a hash dropped anywhere or added anywhere, another
// hash, another root, or for another subtree or size.
func TestVerifySubtreeExhaustive(t *testing.T) {
	_, leaves := grow(t, 34)
	node := rootsOnce(leaves)
	const n = 33
	for size := uint64(1); size <= n; size++ {
		whole, _ := node(0, size)
		for end := uint64(1); end <= size; end++ {
			for start := range end {
				if !ValidSubtree(start, end) {
					continue
				}
				hash, _ := node(start, end)
				good := mustProve(t, start, end, size, node)
				check := func(what string, want bool, start, end, size uint64, hash Hash, p []Hash, whole Hash) {
					t.Helper()
					err := VerifySubtree(start, end, size, hash, p, whole)
					if (err == nil) != want || (err != nil && !errors.Is(err, ErrProof)) {
						t.Fatalf("[%d, %d) of %d, %s: %v", start, end, size, what, err)
					}
					if ref := verifyByDefinition(start, end, size, hash, p, whole); ref != want {
						t.Fatalf("[%d, %d) of %d, %s: the definition says %v", start, end, size, what, ref)
					}
				}
				check("as made", true, start, end, size, hash, good, whole)
				for j := range good {
					bad := slices.Clone(good)
					bad[j][(j+int(start))%HashSize] ^= 1 << ((j + int(end)) % 8)
					check("bit flipped", false, start, end, size, hash, bad, whole)
					check("hash dropped", false, start, end, size, hash, slices.Delete(slices.Clone(good), j, j+1), whole)
				}
				for j := range len(good) + 1 {
					check("hash added", false, start, end, size, hash, slices.Insert(slices.Clone(good), j, hash), whole)
				}
				check("other hash", false, start, end, size, NodeHash(hash, hash), good, whole)
				check("other root", false, start, end, size, hash, good, NodeHash(whole, whole))
				for other := range end {
					if other != start && ValidSubtree(other, end) {
						check("other start", false, other, end, size, hash, good, whole)
					}
				}
				for other := start + 1; other <= size; other++ {
					if other != end && ValidSubtree(start, other) {
						check("other end", false, start, other, size, hash, good, whole)
					}
				}
			}
		}
	}
}

// verifyByDefinition is VerifySubtree written down from the recursive definition of the proof:
// it takes the hashes from the end, as the recursion goes down from the root.
func verifyByDefinition(start, end, size uint64, hash Hash, hashes []Hash, whole Hash) bool {
	if !ValidSubtree(start, end) || end > size || size > MaxSize {
		return false
	}
	ok := true
	last := func() Hash {
		if len(hashes) == 0 {
			ok = false
			return Hash{}
		}
		h := hashes[len(hashes)-1]
		hashes = hashes[:len(hashes)-1]
		return h
	}
	// down returns the root of n leaves, and that of those from start to end.
	var down func(start, end, n uint64, known bool) (sub, whole Hash)
	down = func(start, end, n uint64, known bool) (Hash, Hash) {
		if start == 0 && end == n {
			if known {
				return hash, hash
			}
			h := last()
			return h, h
		}
		k := uint64(1) << (bits.Len64(n-1) - 1)
		h := last()
		switch {
		case end <= k:
			sub, r := down(start, end, k, known)
			return sub, NodeHash(r, h)
		case start >= k:
			sub, r := down(start-k, end-k, n-k, known)
			return sub, NodeHash(h, r)
		default:
			sub, r := down(0, end-k, n-k, false)
			return NodeHash(h, sub), NodeHash(h, r)
		}
	}
	sub, r := down(start, end, size, true)
	return ok && len(hashes) == 0 && sub == hash && r == whole
}

// Subtrees of trees of any size, in which all leaves are the same: so the root of a run of leaves
// depends on its length alone, and trees of 2^63-1 leaves can be tested.
func TestSubtreesOfLargeTrees(t *testing.T) {
	known := map[uint64]Hash{1: LeafHash([]byte("same"))}
	var rootOf func(n uint64) Hash
	rootOf = func(n uint64) Hash {
		if h, ok := known[n]; ok {
			return h
		}
		k := uint64(1) << (bits.Len64(n-1) - 1)
		known[n] = NodeHash(rootOf(k), rootOf(n-k))
		return known[n]
	}
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Uint64Range(1, MaxSize>>rapid.IntRange(0, 62).Draw(t, "shift")).Draw(t, "size")
		length := rapid.Uint64Range(1, size>>rapid.IntRange(0, bits.Len64(size)-1).Draw(t, "short")).Draw(t, "length")
		level := bits.Len64(length - 1)
		start := rapid.Uint64Range(0, (size-length)>>level).Draw(t, "block") << level
		end := start + length
		if !ValidSubtree(start, end) {
			t.Fatalf("[%d, %d) is not valid", start, end)
		}
		p, err := SubtreeProof(start, end, size, func(s, e uint64) (Hash, error) {
			if !ValidSubtree(s, e) || e > size || (e < size && (e-s)&(e-s-1) != 0) {
				t.Fatalf("asked for the node [%d, %d)", s, e)
			}
			return rootOf(e - s), nil
		})
		if err != nil {
			if size <= 1<<62 || !errors.Is(err, ErrProof) {
				t.Fatal(err)
			}
			return
		}
		if err := VerifySubtree(start, end, size, rootOf(length), p, rootOf(size)); err != nil {
			t.Fatal(err)
		}
		if len(p) == 0 {
			return
		}
		p[rapid.IntRange(0, len(p)-1).Draw(t, "hash")][0] ^= 1
		if err := VerifySubtree(start, end, size, rootOf(length), p, rootOf(size)); !errors.Is(err, ErrProof) {
			t.Fatalf("bit flipped: %v", err)
		}
	})
}

func TestSubtreesThatHaveNoProof(t *testing.T) {
	for _, tt := range []struct {
		name             string
		start, end, size uint64
		why              string
	}{
		{"empty", 4, 4, 8, "not a subtree"},
		{"empty tree", 0, 0, 0, "not a subtree"},
		{"backwards", 5, 4, 8, "not a subtree"},
		{"not aligned", 2, 5, 8, "not a subtree"},
		{"beyond the tree", 4, 8, 7, "beyond the tree size 7"},
		{"tree too large", 0, 1, 1 << 63, "over 2^63-1"},
		{"longest that wraps", 0, ^uint64(0), ^uint64(0), "over 2^63-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := VerifySubtree(tt.start, tt.end, tt.size, EmptyRoot, nil, EmptyRoot)
			if !errors.Is(err, ErrProof) || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("VerifySubtree: %v, want %q", err, tt.why)
			}
			_, err = SubtreeProof(tt.start, tt.end, tt.size, func(s, e uint64) (Hash, error) {
				t.Errorf("asked for the node [%d, %d)", s, e)
				return Hash{}, nil
			})
			if !errors.Is(err, ErrProof) || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("SubtreeProof: %v, want %q", err, tt.why)
			}
		})
	}
}

func TestSubtreeProofOfAtMost63Hashes(t *testing.T) {
	node := func(s, e uint64) (Hash, error) { return Hash{}, nil }
	if p, err := SubtreeProof(0, 3, 1<<62, node); len(p) != MaxProof || err != nil {
		t.Errorf("of 2^62 leaves: %d hashes, %v; want %d", len(p), err, MaxProof)
	}
	if _, err := SubtreeProof(0, 3, MaxSize, node); !errors.Is(err, ErrProof) {
		t.Errorf("of 2^63-1 leaves: %v, want ErrProof", err)
	}
	err := VerifySubtree(0, 3, MaxSize, Hash{}, make([]Hash, MaxProof+1), Hash{})
	if !errors.Is(err, ErrProof) || !strings.Contains(err.Error(), "expected at most 63 hashes, found 64") {
		t.Errorf("64 hashes: %v", err)
	}
}

func TestSubtreeProofReturnsTheErrorOfNode(t *testing.T) {
	broken := errors.New("disk on fire")
	p, err := SubtreeProof(4, 7, 8, func(s, e uint64) (Hash, error) { return Hash{}, broken })
	if p != nil || err != broken {
		t.Errorf("SubtreeProof = %v, %v; want the error of node", p, err)
	}
}

func TestVerifySubtreeSaysWhatWasFound(t *testing.T) {
	_, leaves := grow(t, 8)
	p := mustProve(t, 4, 7, 8, rootsOf(leaves))
	hash, whole := root(leaves[4:7]), root(leaves)
	const prefix = "proof does not verify: subtree [4, 7) of the tree of size 8: "
	for _, tt := range []struct {
		name        string
		hash, whole Hash
		p           []Hash
		want        string
	}{
		{"other hash", EmptyRoot, whole, p, "it leads to the subtree's hash " + hash.String() + ", expected " + EmptyRoot.String()},
		{"other root", hash, EmptyRoot, p, "it leads to root " + whole.String() + ", expected " + EmptyRoot.String()},
		{"no hashes", hash, whole, nil, "a proof of 0 hashes is too short"},
		{"too short", hash, whole, p[:3], "a proof of 3 hashes is too short"},
		{"too long", hash, whole, append(slices.Clone(p), hash), "a proof of 5 hashes is too long"},
	} {
		if err := VerifySubtree(4, 7, 8, tt.hash, tt.p, tt.whole); err == nil || err.Error() != prefix+tt.want {
			t.Errorf("%s: %v, want %s%s", tt.name, err, prefix, tt.want)
		}
	}
}

// On any input, VerifySubtree agrees with the recursive definition and, where they
// are about the same, with VerifyConsistency and VerifyInclusion.
func FuzzVerifySubtree(f *testing.F) {
	leaves := make([]Hash, 20)
	for i := range leaves {
		leaves[i] = LeafHash([]byte{byte(i)})
	}
	for _, r := range [][3]uint64{{0, 1, 1}, {0, 3, 8}, {0, 8, 20}, {4, 7, 8}, {5, 6, 20}, {16, 20, 20}, {16, 19, 20}, {8, 13, 14}} {
		p, err := SubtreeProof(r[0], r[1], r[2], rootsOf(leaves))
		if err != nil {
			f.Fatal(err)
		}
		data := binary.BigEndian.AppendUint64(nil, r[0])
		data = binary.BigEndian.AppendUint64(data, r[1])
		data = binary.BigEndian.AppendUint64(data, r[2])
		for _, h := range append([]Hash{root(leaves[r[0]:r[1]]), root(leaves[:r[2]])}, p...) {
			data = append(data, h[:]...)
		}
		f.Add(data)
	}
	f.Add(slices.Repeat([]byte{0xff}, 24+64*HashSize))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 24 {
			return
		}
		start, end, size := binary.BigEndian.Uint64(data), binary.BigEndian.Uint64(data[8:]), binary.BigEndian.Uint64(data[16:])
		var all []Hash
		for c := range slices.Chunk(data[24:], HashSize) {
			var h Hash
			copy(h[:], c)
			all = append(all, h)
		}
		if len(all) < 2 || len(all) > 2+MaxProof {
			return
		}
		hash, whole, p := all[0], all[1], all[2:]
		err := VerifySubtree(start, end, size, hash, p, whole)
		if err != nil && !errors.Is(err, ErrProof) {
			t.Fatalf("%v is not ErrProof", err)
		}
		if want := verifyByDefinition(start, end, size, hash, p, whole); (err == nil) != want {
			t.Fatalf("[%d, %d) of %d: %v, the definition says %v", start, end, size, err, want)
		}
		if !ValidSubtree(start, end) {
			return
		}
		if start == 0 {
			if other := VerifyConsistency(end, size, p, hash, whole); (err == nil) != (other == nil) {
				t.Fatalf("[0, %d) of %d: %v, VerifyConsistency says %v", end, size, err, other)
			}
		}
		if end == start+1 {
			if other := VerifyInclusion(start, size, hash, p, whole); (err == nil) != (other == nil) {
				t.Fatalf("[%d, %d) of %d: %v, VerifyInclusion says %v", start, end, size, err, other)
			}
		}
	})
}
