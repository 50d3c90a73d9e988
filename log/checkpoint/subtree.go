package checkpoint

import (
	"fmt"

	"filippo.io/mldsa"

	"github.com/pauselog/pauselog/log/tree"
)

// SignSubtree signs the statement that in the tree of the log named origin, the leaves from
// start to before end have this hash as a subtree. It returns the bare ML-DSA-44 signature,
// 2,420 bytes: a subtree's cosignature has no name, key id or time around it (C2SP
// tlog-cosignature v1.1.0).
//
// The time that is signed is 0, which claims nothing about larger trees: so [0, size) is a
// subtree like any other, and its signature is no checkpoint's. Whoever calls SignSubtree has
// verified that the subtree is part of a tree that this key has cosigned.
//
// Only an MLDSA44 key can sign subtrees; another's error wraps ErrOtherKey. What is no subtree
// (tree.ValidSubtree) and what no log can be named is refused.
//
// Like Sign, it is hedged: two signatures of the same are not the same bytes.
func (k *SignerKey) SignSubtree(origin string, start, end uint64, hash tree.Hash) ([]byte, error) {
	return k.signSubtree(origin, start, end, hash, k.hedged)
}

// SignSubtreeDeterministic is SignSubtree with FIPS 204's deterministic variant of ML-DSA, for
// test vectors. See SignDeterministic.
func (k *SignerKey) SignSubtreeDeterministic(origin string, start, end uint64, hash tree.Hash) ([]byte, error) {
	return k.signSubtree(origin, start, end, hash, k.deterministic)
}

func (k *SignerKey) signSubtree(origin string, start, end uint64, hash tree.Hash, sign func([]byte) ([]byte, error)) ([]byte, error) {
	m, err := k.verifier.subtreeMessage(origin, start, end, hash)
	if err != nil {
		return nil, fmt.Errorf("refusing to sign: %w", err)
	}
	s, err := sign(m)
	if err != nil {
		return nil, fmt.Errorf("signing with %s+%08x: %w", k.verifier.name, k.verifier.id, err)
	}
	return s, nil
}

// VerifySubtree checks a bare signature as SignSubtree makes it. Its error wraps ErrOtherKey
// if k is no MLDSA44 key, and ErrBadSignature if the signature is not k's over this subtree, as no
// signature is over what is no subtree.
func (k *VerifierKey) VerifySubtree(origin string, start, end uint64, hash tree.Hash, signature []byte) error {
	if err := k.signsSubtrees(); err != nil {
		return err
	}
	m, err := k.subtreeMessage(origin, start, end, hash)
	if err != nil {
		return fmt.Errorf("%w of %s+%08x: %w", ErrBadSignature, k.name, k.id, err)
	}
	if len(signature) != mldsa.MLDSA44SignatureSize {
		return fmt.Errorf("%w of %s+%08x: expected %d bytes for a subtree, found %d",
			ErrBadSignature, k.name, k.id, mldsa.MLDSA44SignatureSize, len(signature))
	}
	if mldsa.Verify(k.mldsa, m, signature, nil) != nil {
		return fmt.Errorf("%w of %s+%08x: it is not over this subtree [%d, %d) of %s", ErrBadSignature, k.name, k.id, start, end, quote(origin))
	}
	return nil
}

// subtreeMessage returns what k signs of a subtree.
func (k *VerifierKey) subtreeMessage(origin string, start, end uint64, hash tree.Hash) ([]byte, error) {
	if err := k.signsSubtrees(); err != nil {
		return nil, err
	}
	if !tree.ValidSubtree(start, end) {
		return nil, fmt.Errorf("[%d, %d) is not a subtree", start, end)
	}
	return SubtreeMessage(k.name, origin, 0, start, end, hash)
}

// signsSubtrees refuses the types whose message has no room for a start.
func (k *VerifierKey) signsSubtrees() error {
	if k.alg != MLDSA44 {
		return fmt.Errorf("%w: subtrees are signed with type %v, %s+%08x is of type %v", ErrOtherKey, MLDSA44, k.name, k.id, k.alg)
	}
	return nil
}
