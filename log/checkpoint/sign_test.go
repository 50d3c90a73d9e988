package checkpoint

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/tree"
)

var algorithms = []Algorithm{Ed25519, CosignatureV1, MLDSA44}

func TestSignedVerifies(t *testing.T) {
	for _, alg := range algorithms {
		k := signer(t, alg, goldenOrigin, 9)
		for _, time := range []uint64{1, goldenTime, tree.MaxSize} {
			s := mustSign(t, k, goldenCheckpoint, time)
			want := time
			if alg == Ed25519 {
				want = 0
			}
			if got, err := k.Verifier().Verify(goldenCheckpoint.Text(), s); got != want || err != nil {
				t.Errorf("%v: Verify = %d, %v; want %d, nil", alg, got, err, want)
			}
		}
		empty := Checkpoint{Origin: goldenOrigin, Root: tree.EmptyRoot} // WS-19
		if _, err := k.Verifier().Verify(empty.Text(), mustSign(t, k, empty, goldenTime)); err != nil {
			t.Errorf("%v: empty tree: %v", alg, err)
		}
	}
}

// Any change of the statement, of the time or of the signature is noticed.
func TestVerifyRefuses(t *testing.T) {
	other := goldenCheckpoint
	other.Root[31] ^= 1
	grown := goldenCheckpoint
	grown.Size++
	renamed := goldenCheckpoint
	renamed.Origin += "2"
	for _, alg := range algorithms {
		k := signer(t, alg, goldenOrigin, 9)
		good := mustSign(t, k, goldenCheckpoint, goldenTime)
		check := func(what string, want error, text string, s Signature) {
			t.Helper()
			if time, err := k.Verifier().Verify(text, s); !errors.Is(err, want) || time != 0 {
				t.Errorf("%v: %s: Verify = %d, %v; want %v", alg, what, time, err, want)
			}
		}
		with := func(blob []byte) Signature { return Signature{good.Name, good.KeyID, blob} }
		text := goldenCheckpoint.Text()
		check("other root", ErrBadSignature, other.Text(), good)
		check("other size", ErrBadSignature, grown.Text(), good)
		check("other origin", ErrBadSignature, renamed.Text(), good)
		check("blob a byte short", ErrBadSignature, text, with(good.Blob[:len(good.Blob)-1]))     // 71, 2427
		check("blob a byte long", ErrBadSignature, text, with(append(bytes.Clone(good.Blob), 0))) // 73, 2429
		check("no blob", ErrBadSignature, text, with(nil))
		for i := range good.Blob {
			if alg == MLDSA44 && i > 80 && i%100 != 0 {
				continue
			}
			bad := bytes.Clone(good.Blob)
			bad[i] ^= 1 << (i % 8)
			check("bit flipped", ErrBadSignature, text, with(bad))
		}
		check("other name", ErrOtherKey, text, Signature{goldenWitness, good.KeyID, good.Blob})
		check("other id", ErrOtherKey, text, Signature{good.Name, good.KeyID + 1, good.Blob})
		if alg != Ed25519 {
			check("no checkpoint", ErrMalformed, "text\n", good)
			check("extension line", ErrExtension, text+"ext\n", good) // CS-11
		}
		// A signature of one type under the key of another (14.6).
		for _, a := range algorithms {
			if a != alg {
				s := mustSign(t, signer(t, a, goldenOrigin, 9), goldenCheckpoint, goldenTime)
				check("signature of type "+a.String(), ErrBadSignature, text, with(s.Blob))
			}
		}
	}
}

// C2SP tlog-cosignature: times are at most 2^63-1 (CS-3), and a checkpoint's
// cosignature makes the claim that only a time other than zero makes (CS-4,
// CS-5). These signatures are genuine; only their times are out of bounds.
func TestVerifyRefusesTimes(t *testing.T) {
	text := goldenCheckpoint.Text()
	for _, time := range []uint64{0, 1 << 63, math.MaxUint64} {
		stamp := binary.BigEndian.AppendUint64(nil, time)

		k := signer(t, CosignatureV1, goldenWitness, 2)
		s := Signature{goldenWitness, k.Verifier().KeyID(), append(stamp, ed25519.Sign(k.secret().ed25519, cosignatureMessage(time, text))...)}
		if _, err := k.Verifier().Verify(text, s); !errors.Is(err, ErrBadSignature) || !strings.Contains(err.Error(), "time") {
			t.Errorf("0x04, time %d: %v, want ErrBadSignature", time, err)
		}

		k = signer(t, MLDSA44, goldenWitness, 4)
		m, err := SubtreeMessage(goldenWitness, goldenOrigin, 0, 0, 8, goldenCheckpoint.Root)
		if err != nil {
			t.Fatal(err)
		}
		binary.BigEndian.PutUint64(m[13+len(goldenWitness):], time)
		raw, err := k.hedged(m)
		if err != nil {
			t.Fatal(err)
		}
		s = Signature{goldenWitness, k.Verifier().KeyID(), append(stamp, raw...)}
		if _, err := k.Verifier().Verify(text, s); !errors.Is(err, ErrBadSignature) || !strings.Contains(err.Error(), "time") {
			t.Errorf("0x06, time %d: %v, want ErrBadSignature", time, err)
		}

		for _, alg := range []Algorithm{CosignatureV1, MLDSA44} {
			if s, err := signer(t, alg, goldenWitness, 2).Sign(goldenCheckpoint, time); err == nil {
				t.Errorf("%v signed with time %d: %v", alg, time, s)
			}
		}
	}
	// Ed25519 has no time to be out of bounds.
	if _, err := signer(t, Ed25519, goldenOrigin, 1).Sign(goldenCheckpoint, 0); err != nil {
		t.Error(err)
	}
}

// CP-7: a log's Ed25519 line counts only under the origin's name.
func TestEd25519SignsItsOwnOriginOnly(t *testing.T) {
	if _, err := signer(t, Ed25519, "log.example/other", 1).Sign(goldenCheckpoint, 0); !errors.Is(err, ErrOtherKey) {
		t.Errorf("Sign: %v, want ErrOtherKey", err)
	}
}

func TestEd25519IsDeterministicMLDSAIsHedged(t *testing.T) {
	for _, alg := range algorithms {
		k := signer(t, alg, goldenOrigin, 9)
		a, b := mustSign(t, k, goldenCheckpoint, goldenTime), mustSign(t, k, goldenCheckpoint, goldenTime)
		if same := bytes.Equal(a.Blob, b.Blob); same != (alg != MLDSA44) {
			t.Errorf("%v: two signatures are the same: %v", alg, same)
		}
	}
}

func TestSubtreeMessageRefuses(t *testing.T) {
	long := strings.Repeat("n", 256)
	for _, v := range []struct {
		name, cosigner, origin string
		time, start, end       uint64
	}{
		{"cosigner empty (CS-13)", "", "o", 1, 0, 8},
		{"cosigner of 256 bytes (CS-13)", long, "o", 1, 0, 8},
		{"origin empty (CS-13)", "c", "", 1, 0, 8},
		{"origin of 256 bytes (CS-13)", "c", long, 1, 0, 8},
		{"time 2^63 (CS-3)", "c", "o", 1 << 63, 0, 8},
		{"end 2^63 (PR-3)", "c", "o", 0, 0, 1 << 63},
		{"start over end", "c", "o", 0, 8, 7},
		{"time of a subtree that starts later (CS-5)", "c", "o", 1, 4, 8},
	} {
		if m, err := SubtreeMessage(v.cosigner, v.origin, v.time, v.start, v.end, tree.Hash{}); err == nil {
			t.Errorf("%s: %x", v.name, m)
		}
	}
}
