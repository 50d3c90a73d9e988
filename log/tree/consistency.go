package tree

import (
	"fmt"
	"math/bits"
)

// ConsistencyRoots returns the two roots that a consistency proof binds together: the
// root of the tree of size2 that the hashes lead to, and the root of that tree's first
// size1 leaves. It is the calculation of RFC 9162 section 2.1.4.2 without its comparisons,
// for one who holds a proof that leads to the right new root but not to the old root that
// was signed, and wants to know which old root it leads to instead: that is evidence.
//
// The calculation starts at a seed, the largest complete subtree on the old tree's right
// edge. When size1 is a power of two, that subtree is the whole old tree and proofs leave
// it out. hashes must start with it nonetheless: ConsistencyRoots takes a proof as it
// is when size1 is no power of two, and otherwise the old root and then the proof. So a
// proof alone from such a size reveals no other old root; the tiles of the tree do,
// since that root is one of its nodes.
//
// It wants 0 < size1 < size2 and exactly as many hashes as these sizes need. Every error
// wraps ErrProof.
func ConsistencyRoots(size1, size2 uint64, hashes []Hash) (root1, root2 Hash, err error) {
	if size1 == 0 || size1 >= size2 || size2 > MaxSize {
		return Hash{}, Hash{}, fmt.Errorf("%w: no old root follows from a proof between sizes %d and %d", ErrProof, size1, size2)
	}
	if len(hashes) > 0 {
		if root1, root2, ok := consistencyRoots(size1, size2, hashes[0], hashes[1:]); ok {
			return root1, root2, nil
		}
	}
	return Hash{}, Hash{}, fmt.Errorf("%w: %d hashes do not fit a proof between sizes %d and %d", ErrProof, len(hashes), size1, size2)
}

// consistencyRoots is ConsistencyRoots of sizes that were checked, with the seed apart. It is not ok if there are
// more or fewer hashes than these sizes need.
func consistencyRoots(size1, size2 uint64, seed Hash, hashes []Hash) (root1, root2 Hash, ok bool) {
	// fn and sn are the nodes that hold the last leaf of the old and of the new tree, at the
	// level that has been reached. The subtree of the seed begins at the first level on which
	// the old tree's node is a left child.
	fn, sn := size1-1, size2-1
	level := bits.TrailingZeros64(^fn)
	fn, sn = fn>>level, sn>>level

	root1, root2 = seed, seed
	for _, h := range hashes {
		if sn == 0 {
			return root1, root2, false
		}
		if fn&1 == 1 || fn == sn {
			// A left sibling: below both roots.
			root1, root2 = NodeHash(h, root1), NodeHash(h, root2)
			// Where both edges are left children without a sibling, no hash is needed.
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			// A right sibling: leaves that only the new tree has.
			root2 = NodeHash(root2, h)
		}
		fn, sn = fn>>1, sn>>1
	}
	return root1, root2, sn == 0
}
