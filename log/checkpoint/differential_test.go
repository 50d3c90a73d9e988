package checkpoint

import (
	"errors"
	"testing"

	tdev "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// The packages golang.org/x/mod/sumdb/note and
// github.com/transparency-dev/formats/note implement the same formats on their
// own. What is signed here they accept, and the other way round.

// theirVerifier makes the other implementation's verifier of a key.
func theirVerifier(t testing.TB, k *VerifierKey) note.Verifier {
	t.Helper()
	var v note.Verifier
	var err error
	switch k.Algorithm() {
	case Ed25519:
		v, err = note.NewVerifier(k.String())
	case CosignatureV1:
		v, err = tdev.NewVerifierForCosignatureV1(k.String())
	case MLDSA44:
		v, err = tdev.NewMLDSAVerifier(k.String())
	}
	if err != nil {
		t.Fatalf("%v: %v", k, err)
	}
	if v.Name() != k.Name() || v.KeyHash() != k.KeyID() {
		t.Fatalf("%v: the other implementation computes key id %08x", k, v.KeyHash())
	}
	return v
}

// theirSigner makes the other implementation's signer. The types with a time
// sign with the time of the clock.
func theirSigner(t testing.TB, k *SignerKey) note.Signer {
	t.Helper()
	var s note.Signer
	var err error
	switch k.Verifier().Algorithm() {
	case Ed25519:
		s, err = note.NewSigner(k.Secret())
	case CosignatureV1:
		s, err = tdev.NewSignerForCosignatureV1(k.Secret())
	case MLDSA44:
		s, err = tdev.NewMLDSASigner(k.Secret())
	}
	if err != nil {
		t.Fatalf("%v: %v", k, err)
	}
	return s
}

func fourKeys(t testing.TB) []*SignerKey {
	return []*SignerKey{
		signer(t, Ed25519, goldenOrigin, 1), signer(t, MLDSA44, goldenOrigin, 3),
		signer(t, CosignatureV1, goldenWitness, 2), signer(t, MLDSA44, goldenWitness, 4),
	}
}

func TestOthersAcceptWhatIsSignedHere(t *testing.T) {
	keys := fourKeys(t)
	b := goldenNote(t, keys...).Marshal()
	var known []note.Verifier
	for _, k := range keys {
		known = append(known, theirVerifier(t, k.Verifier()))
	}
	n, err := note.Open(b, note.VerifierList(known...))
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Sigs) != 4 || len(n.UnverifiedSigs) != 0 || n.Text != goldenCheckpoint.Text() {
		t.Errorf("note.Open = %+v", n)
	}
	// It puts the note together again to the same bytes.
	if again, err := note.Sign(n); err != nil || string(again) != string(b) {
		t.Errorf("note.Sign = %s, %v", again, err)
	}
	for _, s := range n.Sigs[1:] {
		if time, err := tdev.CoSigV1Timestamp(s); err != nil || time.Unix() != goldenTime {
			t.Errorf("%s: time %v, %v", s.Name, time, err)
		}
	}
}

func TestWhatOthersSignIsAcceptedHere(t *testing.T) {
	keys := fourKeys(t)
	var signers []note.Signer
	for _, k := range keys {
		signers = append(signers, theirSigner(t, k))
	}
	b, err := note.Sign(&note.Note{Text: goldenCheckpoint.Text()}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	n, err := ParseNote(b)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range n.Signatures {
		time, err := keys[i].Verifier().Verify(n.Text, s)
		if err != nil {
			t.Errorf("%v: %v", keys[i], err)
		}
		if hasTime := keys[i].Verifier().Algorithm() != Ed25519; (time != 0) != hasTime {
			t.Errorf("%v: time %d", keys[i], time)
		}
	}
}

func TestKeysOfOthersAreAcceptedHere(t *testing.T) {
	skey, vkey, err := note.GenerateKey(nil, "ed.example")
	if err != nil {
		t.Fatal(err)
	}
	skeyPQ, vkeyPQ, err := tdev.GenerateMLDSAKey("pq.example")
	if err != nil {
		t.Fatal(err)
	}
	for s, v := range map[string]string{skey: vkey, skeyPQ: vkeyPQ} {
		k, err := ParseSignerKey(s)
		if err != nil || k.Verifier().String() != v || k.Secret() != s {
			t.Errorf("ParseSignerKey: %v, %v; want the key of %s", k, err, v)
		}
		if k, err := ParseVerifierKey(v); err != nil || k.String() != v {
			t.Errorf("ParseVerifierKey(%s) = %v, %v", v, k, err)
		}
	}
}

// Each flipped bit of a line is refused by both sides, and with the same kind
// of answer.
func TestOthersRefuseTheSameSignatures(t *testing.T) {
	for _, k := range fourKeys(t) {
		v, text := theirVerifier(t, k.Verifier()), goldenCheckpoint.Text()
		good := mustSign(t, k, goldenCheckpoint, goldenTime)
		if !v.Verify([]byte(text), good.Blob) {
			t.Fatalf("%v: the other implementation refuses a good signature", k)
		}
		for i := range 72 {
			if i >= len(good.Blob) {
				break
			}
			bad := good
			bad.Blob = append([]byte(nil), good.Blob...)
			bad.Blob[i] ^= 1 << (i % 8)
			_, err := k.Verifier().Verify(text, bad)
			if !errors.Is(err, ErrBadSignature) || v.Verify([]byte(text), bad.Blob) {
				t.Errorf("%v: bit flipped in byte %d: %v here", k, i, err)
			}
		}
	}
}
