package tree

import (
	"fmt"
	"math/bits"
	"slices"
)

// A subtree of a tree is the run of its leaves from start to before end, written
// [start, end), hashed as if it were a tree of its own. Only some runs are subtrees: those
// that start at a multiple of the least power of two that is at least their length. Then all
// of their inner nodes, but those on their right edge, are nodes of the whole tree too.
// Leaves 0 to 10 below make [4, 8), [8, 11) or [0, 11) subtrees, but not [2, 5).
//
//	[0, 8)          [8, 11)
//	[0, 4) [4, 8)   [8, 10) 10
//
// The definitions are those of draft-ietf-plants-merkle-tree-certs section 4, of which a
// tree's proofs of RFC 6962 are the two extremes: [0, end) is consistency, and
// [index, index+1) inclusion.

// ValidSubtree reports whether [start, end) is a subtree of the trees with at least end
// leaves. An empty run is none here: later texts of the draft let it be one, but a statement
// about no leaves says nothing and would only be one more thing to sign.
func ValidSubtree(start, end uint64) bool {
	if start >= end {
		return false
	}
	// The length, rounded up to a power of two, less one. Over 2^63 the power does not fit into
	// 64 bits; the shift then gives 0 and the mask all ones, and only start 0 is left, as it
	// should be.
	mask := uint64(1)<<bits.Len64(end-start-1) - 1
	return start&mask == 0
}

// checkSubtree reports what cannot have a proof.
func checkSubtree(start, end, size uint64) error {
	switch {
	case size > MaxSize:
		return fmt.Errorf("%w: tree size %d is over 2^63-1", ErrProof, size)
	case !ValidSubtree(start, end):
		return fmt.Errorf("%w: [%d, %d) is not a subtree", ErrProof, start, end)
	case end > size:
		return fmt.Errorf("%w: the subtree [%d, %d) reaches beyond the tree size %d", ErrProof, start, end, size)
	}
	return nil
}

// VerifySubtree checks that the leaves from start to before end of the tree of this size and
// root have this hash. The proof must have exactly as many hashes as this takes, and no more
// than MaxProof. Every failure wraps ErrProof.
//
// With start 0 it is VerifyConsistency from a size over 0, and with end = start+1
// VerifyInclusion.
func VerifySubtree(start, end, size uint64, hash Hash, hashes []Hash, root Hash) error {
	if err := checkSubtree(start, end, size); err != nil {
		return err
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: subtree [%d, %d) of the tree of size %d: %s", ErrProof, start, end, size, fmt.Sprintf(format, args...))
	}
	if len(hashes) > MaxProof {
		return fail("expected at most %d hashes, found %d", MaxProof, len(hashes))
	}
	// Section 4 of the draft gives the steps. fn, sn and tn are the nodes that hold the subtree's first and
	// last leaf and the tree's last leaf, at the level that has been reached. The calculation
	// starts at the largest complete subtree on the subtree's right edge, or, when both
	// right edges are the same, at the whole subtree.
	fn, sn, tn := start, end-1, size-1
	if sn == tn {
		for fn != sn {
			fn, sn, tn = fn>>1, sn>>1, tn>>1
		}
	} else {
		for fn != sn && sn&1 == 1 {
			fn, sn, tn = fn>>1, sn>>1, tn>>1
		}
	}
	// fr grows into the subtree's hash, sr into the root. If the start is the whole subtree,
	// its hash is known and the proof leaves it out.
	fr, sr, rest := hash, hash, hashes
	if fn != sn {
		if len(hashes) == 0 {
			return fail("a proof of 0 hashes is too short")
		}
		fr, sr, rest = hashes[0], hashes[0], hashes[1:]
	}
	for _, h := range rest {
		if tn == 0 {
			return fail("a proof of %d hashes is too long", len(hashes))
		}
		if sn&1 == 1 || sn == tn {
			// A left sibling: below the root, and below the subtree while that reaches further left.
			if fn < sn {
				fr = NodeHash(h, fr)
			}
			sr = NodeHash(h, sr)
			// The levels on which the right edge has no sibling. sn is not 0 here.
			for sn&1 == 0 {
				fn, sn, tn = fn>>1, sn>>1, tn>>1
			}
		} else {
			// A right sibling: leaves behind the subtree.
			sr = NodeHash(sr, h)
		}
		fn, sn, tn = fn>>1, sn>>1, tn>>1
	}
	switch {
	case tn != 0:
		return fail("a proof of %d hashes is too short", len(hashes))
	case fr != hash:
		return fail("it leads to the subtree's hash %v, expected %v", fr, hash)
	case sr != root:
		return fail("it leads to root %v, expected %v", sr, root)
	}
	return nil
}

// SubtreeProof returns the proof that VerifySubtree takes. node returns the root of the
// leaves from start to before end, seen as a tree of their own; it is asked for each hash of
// the proof once and for nothing else. All that it is asked for are subtrees; those that end
// before the size are complete, of a power of two of leaves.
//
// A proof that would need more than MaxProof hashes, which takes a tree of over 2^62 leaves,
// or what is no subtree of the tree, is an error that wraps ErrProof. Errors of node are
// returned as they are.
func SubtreeProof(start, end, size uint64, node func(start, end uint64) (Hash, error)) ([]Hash, error) {
	if err := checkSubtree(start, end, size); err != nil {
		return nil, err
	}
	// Down from the root to the subtree, and then along its right edge to the largest part of
	// it that is a node of the tree. Each step leaves a sibling behind, which goes into the
	// proof: the one left last is its first hash.
	type run struct{ start, end uint64 }
	var siblings []run
	at := run{0, size}
	want := run{start, end}
	for at != want {
		mid := at.start + 1<<(bits.Len64(at.end-at.start-1)-1)
		left, right := run{at.start, mid}, run{mid, at.end}
		if want.end <= mid {
			siblings, at = append(siblings, right), left
			continue
		}
		siblings, at = append(siblings, left), right
		// The subtree starts at left.start and reaches beyond it: what is left to be found is
		// the part of it below right.
		want.start = max(want.start, mid)
	}
	if want.start != start {
		// Nobody knows the hash of a part of the subtree.
		siblings = append(siblings, want)
	}
	if len(siblings) > MaxProof {
		return nil, fmt.Errorf("%w: subtree [%d, %d) of the tree of size %d: expected at most %d hashes, found %d",
			ErrProof, start, end, size, MaxProof, len(siblings))
	}
	hashes := make([]Hash, 0, len(siblings))
	for _, s := range slices.Backward(siblings) {
		h, err := node(s.start, s.end)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, h)
	}
	return hashes, nil
}
