package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/tree"
)

// The project's golden vectors. The keys are test keys: their seeds are 32
// times the same byte.
const (
	goldenOrigin  = "log.example/pause"
	goldenWitness = "witness.example/w1"
	goldenTime    = 1767225600 // 2026-01-01T00:00:00Z

	goldenLogKey     = "log.example/pause+13830bfb+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
	goldenLogSecret  = "PRIVATE+KEY+log.example/pause+13830bfb+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
	goldenWitnessKey = "witness.example/w1+df1c0a35+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU"

	goldenPolicy = "log " + goldenLogKey + "\nwitness w1 " + goldenWitnessKey + "\nquorum w1\n"
)

// The tree of RFC 6962's test data at size 8.
var goldenCheckpoint = Checkpoint{Origin: goldenOrigin, Size: 8, Root: hash("5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328")}

func hash(s string) tree.Hash { return tree.Hash(unhex(s)) }

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func sha256Hex(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// signer returns the key whose seed is 32 times seed.
func signer(t testing.TB, alg Algorithm, name string, seed byte) *SignerKey {
	t.Helper()
	k, err := GenerateSigner(alg, name, bytes.NewReader(bytes.Repeat([]byte{seed}, seedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func readVector(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustSign(t testing.TB, k *SignerKey, c Checkpoint, time uint64) Signature {
	t.Helper()
	s, err := k.Sign(c, time)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustPolicy(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustKey(t testing.TB, vkey string) *VerifierKey {
	t.Helper()
	k, err := ParseVerifierKey(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The example of C2SP signed-note.
func TestVectorSignedNoteExample(t *testing.T) {
	k := mustKey(t, "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
	text := "This is an example message.\n"
	n, err := ParseNote([]byte(text + "\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"))
	if err != nil {
		t.Fatal(err)
	}
	if n.Text != text || len(n.Signatures) != 1 {
		t.Fatalf("ParseNote = %+v", n)
	}
	if time, err := k.Verify(n.Text, n.Signatures[0]); time != 0 || err != nil {
		t.Errorf("Verify = %d, %v; want 0, nil", time, err)
	}
}

// The Ed25519 checkpoint of C2SP issue 99.
func TestVectorIssue99(t *testing.T) {
	const origin = "sigsum.org/v1/tree/e796172b92befd62d9dc67e41c2f5bc9d3100a3023b20b1ca40288dd1c679e69"
	k, err := GenerateSigner(Ed25519, origin, bytes.NewReader(append([]byte{0x11}, make([]byte, 31)...)))
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(k.Verifier().Public()); got != "66e0b858e462a609e66fe71370c816d8846ff103d5499a22a7fec37fdbc424a7" {
		t.Errorf("public key = %s", got)
	}
	c, err := ParseText(origin + "\n10\nHA5HAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
	if err != nil {
		t.Fatal(err)
	}
	want := "— " + origin + " gJ2ho0n8F8olcerUF1FFdv235A/5as/coWrpLrtE7ovMeP5whgwouYExowG/lTznxu6OUGjjt5yJQ6bXtTcf718MqAQ=\n"
	if got := mustSign(t, k, c, 0).Line(); got != want {
		t.Errorf("line = %s, want %s", got, want)
	}
}

// Keys, signatures and both notes of the golden vectors, byte for byte; the
// ML-DSA signatures are FIPS 204's deterministic ones.
func TestVectorGolden(t *testing.T) {
	lines := strings.Split(string(readVector(t, "checkpoint-full-4sigs.txt")), "\n")[4:]
	vkeys := strings.Fields(string(readVector(t, "vkeys.txt")))
	for i, v := range []struct {
		alg             Algorithm
		name            string
		seed            byte
		id              uint32
		publicSHA256    string
		signatureSHA256 string // ML-DSA only
	}{
		{Ed25519, goldenOrigin, 1, 0x13830bfb, sha256Hex(unhex("8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c")), ""},
		{MLDSA44, goldenOrigin, 3, 0x18ab548b, "df5b5f45decfb203862a372b2fe7047bdbfdd7c54b39e8bff3f4b5442795f54b", "2d6c2bad5f71b83177cffa29fc24e3c7c96d5879faa0150f832d526ebf37a27d"},
		{CosignatureV1, goldenWitness, 2, 0xdf1c0a35, sha256Hex(unhex("8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394")), ""},
		{MLDSA44, goldenWitness, 4, 0xe332815c, "d7e152ccde2ca935ab4a86b70dcf9f0a3a898bbe4892f99b19a4e850f7c716dd", "a7796ef56825bc7377a175ed6195ccbdd62498ced2198a68c2b4b4c6165114bb"},
	} {
		k := signer(t, v.alg, v.name, v.seed)
		vk := k.Verifier()
		if vk.KeyID() != v.id || sha256Hex(vk.Public()) != v.publicSHA256 || vk.Algorithm() != v.alg || vk.Name() != v.name {
			t.Errorf("key %d = %v", i, vk)
		}
		if vk.String() != vkeys[i] {
			t.Errorf("verifier key = %s, want %s", vk, vkeys[i])
		}
		s, err := k.SignDeterministic(goldenCheckpoint, goldenTime)
		if err != nil {
			t.Fatal(err)
		}
		if s.Line() != lines[i]+"\n" {
			t.Errorf("line %d = %s, want %s", i, s.Line(), lines[i])
		}
		if v.signatureSHA256 != "" && sha256Hex(s.Blob[8:]) != v.signatureSHA256 {
			t.Errorf("line %d: sha256 of the signature = %s, want %s", i, sha256Hex(s.Blob[8:]), v.signatureSHA256)
		}
		wantTime := uint64(goldenTime)
		if v.alg == Ed25519 {
			wantTime = 0
		}
		if got, err := mustKey(t, vkeys[i]).Verify(goldenCheckpoint.Text(), s); got != wantTime || err != nil {
			t.Errorf("line %d: Verify = %d, %v; want %d, nil", i, got, err, wantTime)
		}
	}
	if k := signer(t, Ed25519, goldenOrigin, 1); k.Secret() != goldenLogSecret || k.Verifier().String() != goldenLogKey {
		t.Errorf("secret = %s, want %s", k.Secret(), goldenLogSecret)
	}
	if got := len(vkeys[1]); got != 1779 {
		t.Errorf("ML-DSA verifier key has %d characters, want 1779", got)
	}
	full := readVector(t, "checkpoint-full-4sigs.txt")
	if got := sha256Hex(full); got != "b5da0b3dfb48fc2fb648d99080ce260cfe0c2b816eb2200fd156e23d85236761" {
		t.Errorf("sha256 of the full note = %s", got)
	}
}

// What ML-DSA signs, offset by offset in C2SP tlog-cosignature.
func TestVectorSubtreeMessage(t *testing.T) {
	for _, v := range []struct {
		what, cosigner   string
		time, start, end uint64
		hash, want       string
	}{
		{"checkpoint, log", goldenOrigin, goldenTime, 0, 8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
			"737562747265652f76310a00116c6f672e6578616d706c652f7061757365000000006955b900116c6f672e6578616d706c652f7061757365000000000000000000000000000000085dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
		{"checkpoint, witness", goldenWitness, goldenTime, 0, 8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
			"737562747265652f76310a00127769746e6573732e6578616d706c652f7731000000006955b900116c6f672e6578616d706c652f7061757365000000000000000000000000000000085dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
		{"subtree [4,7), witness", goldenWitness, 0, 4, 7, "837dbb152e9b079010717e84e865da4ebc0fa198a806d59d31bf15accef22d0e",
			"737562747265652f76310a00127769746e6573732e6578616d706c652f77310000000000000000116c6f672e6578616d706c652f706175736500000000000000040000000000000007837dbb152e9b079010717e84e865da4ebc0fa198a806d59d31bf15accef22d0e"},
	} {
		m, err := SubtreeMessage(v.cosigner, goldenOrigin, v.time, v.start, v.end, hash(v.hash))
		if err != nil || hex.EncodeToString(m) != v.want {
			t.Errorf("%s: %x, %v; want %s", v.what, m, err, v.want)
		}
		if v.start != 0 {
			s, err := signer(t, MLDSA44, v.cosigner, 4).deterministic(m)
			if err != nil || sha256Hex(s) != "caa508fb0a855d5ccb7ca583ceae523b03e5b71f7aaa7fc134a0bd1c2764c850" {
				t.Errorf("%s: sha256 of the signature = %s, %v", v.what, sha256Hex(s), err)
			}
		}
	}
}

func TestVectorNotesOpen(t *testing.T) {
	p := mustPolicy(t, goldenPolicy)
	for _, name := range []string{"checkpoint-small.txt", "checkpoint-full-4sigs.txt"} {
		o, err := p.Open(readVector(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if o.Checkpoint != goldenCheckpoint || !o.QuorumMet || len(o.LogKeys) != 1 || o.LogKeys[0].String() != goldenLogKey ||
			len(o.Cosignatures) != 1 || o.Cosignatures[0].Witness != "w1" || o.Cosignatures[0].Time != goldenTime {
			t.Errorf("%s: Open = %+v", name, o)
		}
	}
	// With the ML-DSA keys in the policy, all four lines verify.
	v := strings.Fields(string(readVector(t, "vkeys.txt")))
	p = mustPolicy(t, fmt.Sprintf("log %s\nlog %s\nwitness e %s\nwitness m %s\ngroup w1 all e m\nquorum w1\n", v[0], v[1], v[2], v[3]))
	o, err := p.Open(readVector(t, "checkpoint-full-4sigs.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if len(o.LogKeys) != 2 || o.LogTimes[0] != 0 || o.LogTimes[1] != goldenTime || len(o.Cosignatures) != 2 {
		t.Errorf("Open = %+v", o)
	}
}
