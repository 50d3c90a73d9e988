package checkpoint

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/tree"
)

var goldenSubtree = hash("837dbb152e9b079010717e84e865da4ebc0fa198a806d59d31bf15accef22d0e")

// The golden vector of the subtree [4, 7) in the tree of RFC 6962's test data.
func TestVectorSubtreeSignature(t *testing.T) {
	k := signer(t, MLDSA44, goldenWitness, 4)
	s, err := k.SignSubtreeDeterministic(goldenOrigin, 4, 7, goldenSubtree)
	if err != nil {
		t.Fatal(err)
	}
	if len(s) != 2420 || sha256Hex(s) != "caa508fb0a855d5ccb7ca583ceae523b03e5b71f7aaa7fc134a0bd1c2764c850" {
		t.Errorf("signature of %d bytes, sha256 %s", len(s), sha256Hex(s))
	}
	if err := k.Verifier().VerifySubtree(goldenOrigin, 4, 7, goldenSubtree, s); err != nil {
		t.Error(err)
	}
}

func TestSubtreeSignaturesAreHedgedAndVerify(t *testing.T) {
	k := signer(t, MLDSA44, goldenWitness, 4)
	var last []byte
	for range 2 {
		s, err := k.SignSubtree(goldenOrigin, 4, 7, goldenSubtree)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(s, last) {
			t.Error("two signatures are the same bytes")
		}
		if err := k.Verifier().VerifySubtree(goldenOrigin, 4, 7, goldenSubtree, s); err != nil {
			t.Error(err)
		}
		last = s
	}
}

// A signature of the subtree [0, size) makes no claim about the largest tree, and one of a checkpoint
// does: neither can be shown as the other.
func TestWholeTreeAsSubtreeIsNoCheckpoint(t *testing.T) {
	k := signer(t, MLDSA44, goldenWitness, 4)
	v := k.Verifier()
	c := goldenCheckpoint
	s, err := k.SignSubtree(c.Origin, 0, c.Size, c.Root)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.VerifySubtree(c.Origin, 0, c.Size, c.Root, s); err != nil {
		t.Errorf("as a subtree: %v", err)
	}
	line := Signature{Name: v.Name(), KeyID: v.KeyID(), Blob: append(make([]byte, 8), s...)}
	if _, err := v.Verify(c.Text(), line); !errors.Is(err, ErrBadSignature) {
		t.Errorf("as a cosignature with time 0: %v, want ErrBadSignature", err)
	}
	line.Blob[7] = 1
	if _, err := v.Verify(c.Text(), line); !errors.Is(err, ErrBadSignature) {
		t.Errorf("as a cosignature with time 1: %v, want ErrBadSignature", err)
	}
	cosignature := mustSign(t, k, c, goldenTime)
	if err := v.VerifySubtree(c.Origin, 0, c.Size, c.Root, cosignature.Blob[8:]); !errors.Is(err, ErrBadSignature) {
		t.Errorf("a cosignature as a subtree's: %v, want ErrBadSignature", err)
	}
}

func TestVerifySubtreeRefuses(t *testing.T) {
	k := signer(t, MLDSA44, goldenWitness, 4)
	good, err := k.SignSubtree(goldenOrigin, 4, 7, goldenSubtree)
	if err != nil {
		t.Fatal(err)
	}
	flip := slices.Clone(good)
	flip[1000] ^= 4
	for _, tt := range []struct {
		name       string
		key        *VerifierKey
		origin     string
		start, end uint64
		hash       tree.Hash
		sig        []byte
		want       error
		why        string
	}{
		{"bit flipped", k.Verifier(), goldenOrigin, 4, 7, goldenSubtree, flip, ErrBadSignature, "not over this subtree [4, 7)"},
		{"other origin", k.Verifier(), "log.example/other", 4, 7, goldenSubtree, good, ErrBadSignature, "not over this subtree"},
		{"other end", k.Verifier(), goldenOrigin, 4, 6, goldenSubtree, good, ErrBadSignature, "not over this subtree"},
		{"other start", k.Verifier(), goldenOrigin, 0, 7, goldenSubtree, good, ErrBadSignature, "not over this subtree"},
		{"other hash", k.Verifier(), goldenOrigin, 4, 7, tree.EmptyRoot, good, ErrBadSignature, "not over this subtree"},
		{"same key under another name", signer(t, MLDSA44, "witness.example/w2", 4).Verifier(), goldenOrigin, 4, 7, goldenSubtree, good, ErrBadSignature, "not over this subtree"},
		{"too short", k.Verifier(), goldenOrigin, 4, 7, goldenSubtree, good[1:], ErrBadSignature, "expected 2420 bytes for a subtree, found 2419"},
		{"with a time before it", k.Verifier(), goldenOrigin, 4, 7, goldenSubtree, append(make([]byte, 8), good...), ErrBadSignature, "found 2428"},
		{"none", k.Verifier(), goldenOrigin, 4, 7, goldenSubtree, nil, ErrBadSignature, "found 0"},
		{"no subtree", k.Verifier(), goldenOrigin, 2, 5, goldenSubtree, good, ErrBadSignature, "[2, 5) is not a subtree"},
		{"empty", k.Verifier(), goldenOrigin, 4, 4, goldenSubtree, good, ErrBadSignature, "[4, 4) is not a subtree"},
		{"end too large", k.Verifier(), goldenOrigin, 0, 1 << 63, goldenSubtree, good, ErrBadSignature, "2^63-1"},
		{"no origin", k.Verifier(), "", 4, 7, goldenSubtree, good, ErrBadSignature, "empty"},
		{"Ed25519 key", signer(t, CosignatureV1, goldenWitness, 2).Verifier(), goldenOrigin, 4, 7, goldenSubtree, good, ErrOtherKey, "ML-DSA-44 (0x06)"},
		{"Ed25519 log key", signer(t, Ed25519, goldenOrigin, 1).Verifier(), goldenOrigin, 4, 7, goldenSubtree, good, ErrOtherKey, "ML-DSA-44 (0x06)"},
	} {
		err := tt.key.VerifySubtree(tt.origin, tt.start, tt.end, tt.hash, tt.sig)
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: %v, want %v: %s", tt.name, err, tt.want, tt.why)
		}
	}
}

func TestSignSubtreeRefuses(t *testing.T) {
	k := signer(t, MLDSA44, goldenWitness, 4)
	for _, tt := range []struct {
		name       string
		key        *SignerKey
		origin     string
		start, end uint64
		why        string
	}{
		{"empty", k, goldenOrigin, 4, 4, "[4, 4) is not a subtree"},
		{"empty tree", k, goldenOrigin, 0, 0, "[0, 0) is not a subtree"},
		{"not aligned", k, goldenOrigin, 2, 5, "[2, 5) is not a subtree"},
		{"end too large", k, goldenOrigin, 0, 1 << 63, "2^63-1"},
		{"no origin", k, "", 4, 7, "empty"},
		{"origin with a newline", k, "a\nb", 4, 7, "control"},
		{"Ed25519 key", signer(t, CosignatureV1, goldenWitness, 2), goldenOrigin, 4, 7, ErrOtherKey.Error()},
	} {
		s, err := tt.key.SignSubtree(tt.origin, tt.start, tt.end, goldenSubtree)
		if s != nil || err == nil || !strings.HasPrefix(err.Error(), "refusing to sign: ") || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: %d bytes, %v, want %s", tt.name, len(s), err, tt.why)
		}
	}
	if _, err := signer(t, Ed25519, goldenOrigin, 1).SignSubtree(goldenOrigin, 4, 7, goldenSubtree); !errors.Is(err, ErrOtherKey) {
		t.Errorf("Ed25519 key: %v, want ErrOtherKey", err)
	}
}
