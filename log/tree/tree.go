// Package tree is the Merkle tree of RFC 6962 as this log uses it: how an
// entry becomes a leaf, how two nodes become one, and what proves that a leaf
// or an older tree is part of a tree. It holds no tree itself.
//
// The hash of a leaf is SHA-256(0x00 || entry), that of an inner node
// SHA-256(0x01 || left || right), and the empty tree's root is SHA-256 of
// nothing (RFC 6962 section 2.1). Hashes have a fixed-size type, and neither hashing nor
// verifying allocates memory.
package tree

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// HashSize is the length of a Hash in bytes.
const HashSize = sha256.Size

// MaxProof is the largest number of hashes in an inclusion or consistency
// proof: C2SP tlog-witness and tlog-proof allow trees of fewer than 2^63 leaves.
const MaxProof = 63

// MaxSize is the largest tree size and the bound of every index: 2^63-1, so
// that readers that count in signed 64-bit integers agree.
const MaxSize = 1<<63 - 1

// A Hash is a leaf hash, a node hash or a root.
type Hash [HashSize]byte

// EmptyRoot is the root of the tree of size 0.
var EmptyRoot = Hash(sha256.Sum256(nil))

// ErrProof says that a proof does not prove its statement.
var ErrProof = errors.New("proof does not verify")

// String returns the hash in the padded base64 that checkpoints and proofs use.
func (h Hash) String() string { return base64.StdEncoding.EncodeToString(h[:]) }

// LeafHash returns the leaf hash of an entry's bytes.
func LeafHash(entry []byte) Hash { return leafHash(entry) }

// LeafHashString is LeafHash for an entry in a string.
func LeafHashString(entry string) Hash { return leafHash(entry) }

func leafHash[T string | []byte](entry T) Hash {
	// Entries of this log are at most 1,024 bytes; a buffer on the stack
	// avoids an allocation for each. Anything longer is somebody else's.
	var buf [1 + 1024]byte
	if len(entry) < len(buf) {
		n := copy(buf[1:], entry)
		return sha256.Sum256(buf[:1+n])
	}
	h := sha256.New()
	h.Write(buf[:1])
	h.Write([]byte(entry))
	return Hash(h.Sum(nil))
}

// NodeHash returns the hash of the node whose children hash to left and right.
func NodeHash(left, right Hash) Hash {
	var buf [1 + 2*HashSize]byte
	buf[0] = 1
	copy(buf[1:], left[:])
	copy(buf[1+HashSize:], right[:])
	return sha256.Sum256(buf[:])
}

// Hasher is this tree's hashing in the form that
// github.com/transparency-dev/merkle takes (merkle.LogHasher).
type Hasher struct{}

// EmptyRoot implements merkle.LogHasher.
func (Hasher) EmptyRoot() []byte { return bytes.Clone(EmptyRoot[:]) }

// HashLeaf implements merkle.LogHasher.
func (Hasher) HashLeaf(leaf []byte) []byte { h := LeafHash(leaf); return h[:] }

// HashChildren implements merkle.LogHasher.
func (Hasher) HashChildren(l, r []byte) []byte { h := NodeHash(Hash(l), Hash(r)); return h[:] }

// Size implements merkle.LogHasher.
func (Hasher) Size() int { return HashSize }

// Hash returns the hash function below the tree.
func (Hasher) Hash() crypto.Hash { return crypto.SHA256 }

// VerifyInclusion checks that leaf is the hash of the leaf with this index in
// the tree of this size and root (RFC 6962 section 2.1.1). The proof must have
// exactly as many hashes as the path has. Every failure wraps ErrProof.
func VerifyInclusion(index, size uint64, leaf Hash, hashes []Hash, root Hash) error {
	if size > MaxSize {
		return fmt.Errorf("%w: tree size %d is over 2^63-1", ErrProof, size)
	}
	if index >= size {
		return fmt.Errorf("%w: index %d is not below the tree size %d", ErrProof, index, size)
	}
	// RFC 9162 section 2.1.3.2. A log verifies each proof before it answers, so this must not
	// allocate; the tests hold it against other implementations.
	r := leaf
	fn, sn := index, size-1
	for _, p := range hashes {
		if sn == 0 {
			return fmt.Errorf("%w: inclusion of index %d in tree of size %d: a proof of %d hashes is too long", ErrProof, index, size, len(hashes))
		}
		if fn&1 == 1 || fn == sn {
			r = NodeHash(p, r)
			// The levels without a sibling at the right edge.
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			r = NodeHash(r, p)
		}
		fn, sn = fn>>1, sn>>1
	}
	if sn != 0 {
		return fmt.Errorf("%w: inclusion of index %d in tree of size %d: a proof of %d hashes is too short", ErrProof, index, size, len(hashes))
	}
	if r != root {
		return fmt.Errorf("%w: inclusion of index %d in tree of size %d: it leads to root %v, expected %v", ErrProof, index, size, r, root)
	}
	return nil
}

// VerifyConsistency checks that the tree of size1 and root1 is a prefix of the
// tree of size2 and root2 (RFC 6962 section 2.1.2). From the empty tree, and
// between equal sizes, the only proof is the empty one, and the roots must be
// those of the sizes. Every failure wraps ErrProof.
func VerifyConsistency(size1, size2 uint64, hashes []Hash, root1, root2 Hash) error {
	switch {
	case size2 > MaxSize:
		return fmt.Errorf("%w: tree size %d is over 2^63-1", ErrProof, size2)
	case size1 > size2:
		return fmt.Errorf("%w: the older tree has size %d, the newer only %d", ErrProof, size1, size2)
	case size1 == 0:
		if root1 != EmptyRoot {
			return fmt.Errorf("%w: tree of size 0 with root %v", ErrProof, root1)
		}
		if size2 == 0 && root2 != EmptyRoot {
			return fmt.Errorf("%w: tree of size 0 with root %v", ErrProof, root2)
		}
		if len(hashes) != 0 {
			return fmt.Errorf("%w: consistency from size 0 needs no hashes, found %d", ErrProof, len(hashes))
		}
		return nil
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: consistency of sizes %d and %d: %s", ErrProof, size1, size2, fmt.Sprintf(format, args...))
	}
	calculated1, calculated2 := root1, root1
	if rest := hashes; size1 == size2 {
		if len(hashes) != 0 {
			return fail("equal sizes need no hashes, found %d", len(hashes))
		}
	} else {
		// Where the old tree is one perfect subtree, its root is the seed.
		seed := root1
		if size1&(size1-1) != 0 {
			if len(hashes) == 0 {
				return fail("a proof of 0 hashes is too short")
			}
			seed, rest = hashes[0], hashes[1:]
		}
		var ok bool
		if calculated1, calculated2, ok = consistencyRoots(size1, size2, seed, rest); !ok {
			return fail("a proof of %d hashes is too short or too long", len(hashes))
		}
	}
	switch {
	case calculated1 != root1:
		return fail("it leads to the old root %v, expected %v", calculated1, root1)
	case calculated2 != root2:
		return fail("it leads to root %v, expected %v", calculated2, root2)
	}
	return nil
}
