package checkpoint

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha3"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"filippo.io/mldsa"
)

// vkeyOf writes a verifier key with the right key id for any bytes.
func vkeyOf(alg Algorithm, name string, public []byte) string {
	return fmt.Sprintf("%s+%08x+%s", name, keyID(name, alg, public), base64.StdEncoding.EncodeToString(append([]byte{byte(alg)}, public...)))
}

func TestParseVerifierKeyRefuses(t *testing.T) {
	public := mustKey(t, goldenLogKey).Public()
	encoded := goldenLogKey[len(goldenOrigin)+10:]
	for _, v := range []struct{ name, vkey string }{
		{"nothing", ""},
		{"name only", "log.example"},
		{"name and id only", "log.example+13830bfb"},
		{"no key", "log.example/pause+13830bfb+"},
		{"private key", goldenLogSecret},
		{"newline at the end", goldenLogKey + "\n"},
		{"space before", " " + goldenLogKey},

		// SN-4, CS-13
		{"empty name", vkeyOf(Ed25519, "", public)},
		{"name with a space", vkeyOf(Ed25519, "log example", public)},
		{"name with NBSP", vkeyOf(Ed25519, "log\u00a0example", public)},
		{"name of invalid UTF-8", vkeyOf(Ed25519, "log\xff", public)},
		{"name of 256 bytes", vkeyOf(Ed25519, strings.Repeat("n", 256), public)},

		// SN-8: the stated id is the computed one, in 8 lowercase digits.
		{"other id", strings.Replace(goldenLogKey, "13830bfb", "13830bfc", 1)},
		{"id of zeros", strings.Replace(goldenLogKey, "13830bfb", "00000000", 1)},
		{"other id of type 0x04", strings.Replace(goldenWitnessKey, "df1c0a35", "00000000", 1)},
		{"id in capitals", strings.Replace(goldenLogKey, "13830bfb", "13830BFB", 1)},
		{"id of 7 digits", strings.Replace(goldenLogKey, "13830bfb", "1383bfb", 1)},
		{"id of 9 digits", strings.Replace(goldenLogKey, "13830bfb", "013830bfb", 1)},
		{"id of another name", strings.Replace(goldenLogKey, goldenOrigin, "log.example/other", 1)},
		{"id of another type", fmt.Sprintf("%s+13830bfb+%s", goldenOrigin, base64.StdEncoding.EncodeToString(append([]byte{4}, public...)))},

		// PR-1
		{"no padding", vkeyOf(MLDSA44, "w", make([]byte, 1312)) + "="},
		{"pad bits", strings.TrimSuffix(vkeyOf(Ed25519, "w", public[:31]), "=") + "="},
		{"CR in base64", goldenLogKey[:40] + "\r" + goldenLogKey[40:]},
		{"LF in base64", goldenLogKey[:40] + "\n" + goldenLogKey[40:]},
		{"URL base64", strings.ReplaceAll(goldenLogKey, "/V", "_V")},

		// Types and lengths
		{"type only", "log.example/pause+13830bfb+AQ=="},
		{"type 0x00", vkeyOf(0, "w", public)},
		{"type 0x02", vkeyOf(2, "w", public)},
		{"type 0x05", vkeyOf(5, "w", public)},
		{"type 0xff", vkeyOf(255, "w", public)},
		{"0x01 of 31 bytes", vkeyOf(Ed25519, "w", public[:31])},
		{"0x01 of 33 bytes", vkeyOf(Ed25519, "w", append(public, 0))},
		{"0x04 of 33 bytes", vkeyOf(CosignatureV1, "w", append(public, 0))},
		{"0x06 of 32 bytes", vkeyOf(MLDSA44, "w", public)},
		{"0x06 of 1311 bytes", vkeyOf(MLDSA44, "w", bytes.Repeat([]byte{1}, 1311))},
		{"0x06 of 1313 bytes", vkeyOf(MLDSA44, "w", bytes.Repeat([]byte{1}, 1313))},

		// Keys with which anyone can sign, and second encodings
		{"0x06 with t1 = 0", vkeyOf(MLDSA44, "w", append(bytes.Repeat([]byte{7}, 32), make([]byte, 1280)...))},
		{"0x01 of small order", vkeyOf(Ed25519, "w", append([]byte{1}, make([]byte, 31)...))},
		{"0x04 of small order", vkeyOf(CosignatureV1, "w", append([]byte{1}, make([]byte, 31)...))},
		{"0x01 not on the curve", vkeyOf(Ed25519, "w", append([]byte{2}, make([]byte, 31)...))},
	} {
		k, err := ParseVerifierKey(v.vkey)
		if !errors.Is(err, ErrKey) {
			t.Errorf("%s: ParseVerifierKey(%q) = %v, %v; want ErrKey", v.name, v.vkey, k, err)
		}
	}
	if got := vkeyOf(Ed25519, goldenOrigin, public); got != goldenLogKey || !strings.HasSuffix(got, encoded) {
		t.Fatalf("vkeyOf makes %s, want %s", got, goldenLogKey)
	}
}

// All fourteen encodings of the eight points of small order that crypto/ed25519
// decodes. For each, a signature that needs no private key is accepted for one
// message in a few by the raw primitive: with S = 0 it is R = -k·A, and that is
// one of the eight. The keys are refused here before they verify anything.
func TestSmallOrderKeysWouldVerifyForgeries(t *testing.T) {
	var encodings, points [][]byte
	for _, y := range smallOrder {
		for _, sign := range []byte{0, 0x80} {
			b := unhex(y)
			b[31] |= sign
			encodings = append(encodings, b)
		}
	}
	points = encodings
	for _, y := range []string{ // p and p+1 are 0 and 1 again
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		for _, sign := range []byte{0, 0x80} {
			b := unhex(y)
			b[31] |= sign
			encodings = append(encodings, b)
		}
	}
	if len(encodings) != 14 {
		t.Fatalf("%d encodings, want 14", len(encodings))
	}
	forged := func(public []byte) bool {
		for i := range 64 {
			for _, r := range points {
				sig := append(bytes.Clone(r), make([]byte, 32)...)
				if ed25519.Verify(public, fmt.Appendf(nil, "message %d", i), sig) {
					return true
				}
			}
		}
		return false
	}
	for _, public := range encodings {
		if !forged(public) {
			t.Errorf("crypto/ed25519 accepts no forgery under %x: is it of small order?", public)
		}
		for _, alg := range []Algorithm{Ed25519, CosignatureV1} {
			if _, err := ParseVerifierKey(vkeyOf(alg, "w", public)); !errors.Is(err, ErrKey) {
				t.Errorf("type %v: key %x: %v, want ErrKey", alg, public, err)
			}
		}
	}
	if forged(mustKey(t, goldenLogKey).Public()) {
		t.Error("forged a signature of an honest key")
	}
}

// The nineteen y from p to 2^255-1 encode again what 0 to 18 encode; those of
// the latter that are points of the curve, and not of small order, are keys.
func TestNonCanonicalPointIsRefused(t *testing.T) {
	accepted, refused := 0, 0
	for low := range 19 { // y = low, and its second encoding y = p + low
		y := make([]byte, 32)
		y[0] = byte(low)
		if _, err := NewVerifierKey(Ed25519, "w", y); err == nil {
			accepted++
		}
		twin := bytes.Repeat([]byte{0xff}, 32)
		twin[0], twin[31] = byte(0xed+low), 0x7f
		if _, err := NewVerifierKey(Ed25519, "w", twin); err == nil || !strings.Contains(err.Error(), "canonical") {
			t.Errorf("y = p+%d: %v, want an error about its encoding", low, err)
		} else {
			refused++
		}
	}
	if accepted == 0 || refused != 19 {
		t.Errorf("accepted %d small y, refused %d of 19 twins", accepted, refused)
	}
}

// With t1 = 0 the verifier of FIPS 204 (algorithm 8) computes w1 = HighBits(A·z),
// and z = 0 makes it zero, whatever the message: the hash of that is a signature.
func TestZeroMLDSAKeyWouldVerifyForgeries(t *testing.T) {
	public := append(bytes.Repeat([]byte{7}, 32), make([]byte, 1280)...)
	message := []byte("anything")

	tr, mu := make([]byte, 64), make([]byte, 64)
	h := sha3.NewSHAKE256()
	h.Write(public)
	h.Read(tr)
	h.Reset()
	h.Write(tr)
	h.Write([]byte{0, 0}) // pure ML-DSA, empty context
	h.Write(message)
	h.Read(mu)
	sig := make([]byte, mldsa.MLDSA44SignatureSize)
	h.Reset()
	h.Write(mu)
	h.Write(make([]byte, 768)) // w1 = 0, 6 bits for each of 4·256 coefficients
	h.Read(sig[:32])
	// z = 0: each of 4·256 coefficients is 2^17 - 0 in 18 bits, little-endian.
	for i := range 4 * 256 {
		bit := 18*i + 17
		sig[32+bit/8] |= 1 << (bit % 8)
	}

	pk, err := mldsa.NewPublicKey(mldsa.MLDSA44(), public)
	if err != nil {
		t.Fatal(err)
	}
	if err := mldsa.Verify(pk, message, sig, nil); err != nil {
		t.Errorf("the primitive refuses the forgery: %v", err)
	}
	if _, err := NewVerifierKey(MLDSA44, "w", public); !errors.Is(err, ErrKey) {
		t.Errorf("NewVerifierKey: %v, want ErrKey", err)
	}
}

func TestEveryGeneratedKeyRoundTrips(t *testing.T) {
	for _, alg := range []Algorithm{Ed25519, CosignatureV1, MLDSA44} {
		for i := range 50 {
			k, err := GenerateSigner(alg, fmt.Sprintf("name.example/%d", i), nil)
			if err != nil {
				t.Fatal(err)
			}
			v := mustKey(t, k.Verifier().String())
			if v.String() != k.Verifier().String() || v.Algorithm() != alg {
				t.Errorf("verifier key %v parsed as %v", k.Verifier(), v)
			}
			again, err := ParseSignerKey(k.Secret())
			if err != nil || again.Secret() != k.Secret() || again.Verifier().String() != v.String() {
				t.Errorf("signer key of type %v: %v, %v", alg, again, err)
			}
		}
	}
}

func TestPublicIsACopy(t *testing.T) {
	k := mustKey(t, goldenLogKey)
	k.Public()[0] ^= 1
	if k.String() != goldenLogKey {
		t.Error("changing what Public returned changed the key")
	}
}

func TestParseSignerKeyRefuses(t *testing.T) {
	seed := strings.TrimPrefix(goldenLogSecret, "PRIVATE+KEY+log.example/pause+13830bfb+")
	for _, v := range []struct{ name, skey string }{
		{"nothing", ""},
		{"verifier key", goldenLogKey},
		{"newline at the end", goldenLogSecret + "\n"},
		{"other prefix", strings.Replace(goldenLogSecret, "PRIVATE", "private", 1)},
		{"other id", strings.Replace(goldenLogSecret, "13830bfb", "13830bfc", 1)},
		{"id in capitals", strings.Replace(goldenLogSecret, "13830bfb", "13830BFB", 1)},
		{"other name", strings.Replace(goldenLogSecret, "pause", "cause", 1)},
		{"type 0x02", strings.Replace(goldenLogSecret, "+AQE", "+AgE", 1)},
		{"type 0x04 with the id of 0x01", strings.Replace(goldenLogSecret, "+AQE", "+BAE", 1)},
		{"seed of 30 bytes", strings.TrimSuffix(goldenLogSecret, seed[:4])},
		{"seed of 35 bytes", goldenLogSecret + "AQEB"},
		{"no seed", strings.TrimSuffix(goldenLogSecret, seed)},
		{"bad base64", goldenLogSecret[:len(goldenLogSecret)-1] + "!"},
	} {
		k, err := ParseSignerKey(v.skey)
		if !errors.Is(err, ErrKey) {
			t.Errorf("%s: ParseSignerKey = %v, %v; want ErrKey", v.name, k, err)
			continue
		}
		if strings.Contains(err.Error(), "AQEBAQEB") {
			t.Errorf("%s: the error shows the key: %v", v.name, err)
		}
	}
	if _, err := GenerateSigner(Ed25519, "w", bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("generated a key from 31 random bytes")
	}
	if _, err := GenerateSigner(0x02, "w", nil); !errors.Is(err, ErrKey) {
		t.Errorf("generating a key of type 0x02: %v, want ErrKey", err)
	}
	if _, err := GenerateSigner(Ed25519, "a b", nil); !errors.Is(err, ErrKey) {
		t.Errorf("generating a key of a name with a space: %v, want ErrKey", err)
	}
}

func TestSignerKeyNeverPrintsItsSecret(t *testing.T) {
	for _, alg := range []Algorithm{Ed25519, CosignatureV1, MLDSA44} {
		k := signer(t, alg, goldenOrigin, 0xa7)
		type config struct {
			key   *SignerKey
			Key   SignerKey
			value SignerKey
		}
		c := config{k, *k, *k}
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%o"} {
			for _, x := range []any{k, *k, c, &c, []*SignerKey{k}, []SignerKey{*k}, map[string]any{"k": k}} {
				fmt.Fprintf(&out, verb+"\n", x)
			}
		}
		fmt.Fprintln(&out, k, *k, c)
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("msg", "k", k, "v", *k, "c", c, "cp", &c)
		}
		// The seed as base64, in hexadecimal, in decimal, in Go syntax, raw.
		for _, leak := range []string{"p6enp6en", "a7a7", "A7A7", "167 167", "0xa7, 0xa7", "247 247", "\xa7\xa7"} {
			if strings.Contains(out.String(), leak) {
				t.Errorf("type %v: the output has %q", alg, leak)
			}
		}
		if !strings.Contains(out.String(), fmt.Sprintf("%s+%08x", goldenOrigin, k.Verifier().KeyID())) {
			t.Errorf("type %v: the output does not name the key", alg)
		}
		if want := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xa7}, 3)); !strings.Contains(k.Secret(), want) {
			t.Errorf("type %v: Secret has no %s; what does this test look for?", alg, want)
		}
	}
	if got := fmt.Sprint(SignerKey{}); got != "private key (none)" {
		t.Errorf("zero SignerKey prints as %q", got)
	}
}

func TestAlgorithmNames(t *testing.T) {
	for a, want := range map[Algorithm]string{Ed25519: "Ed25519 (0x01)", CosignatureV1: "Ed25519 cosignature (0x04)", MLDSA44: "ML-DSA-44 (0x06)", 0xff: "unknown (0xff)"} {
		if a.String() != want {
			t.Errorf("Algorithm %d = %q, want %q", byte(a), a, want)
		}
	}
	if hex.EncodeToString([]byte{byte(Ed25519), byte(CosignatureV1), byte(MLDSA44)}) != "010406" {
		t.Error("type numbers are not those of C2SP signed-note")
	}
}
