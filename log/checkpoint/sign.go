package checkpoint

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"filippo.io/mldsa"

	"github.com/pauselog/pauselog/log/tree"
)

// ErrBadSignature says that a line of a known key, by name and key id, does not
// verify. C2SP signed-note has the whole note refused then: the bytes changed
// after they were signed, or the key's owner does not follow the format.
var ErrBadSignature = errors.New("bad signature")

// ErrOtherKey says that a key was asked about what is another key's: a line with
// another name or key id, or, of a log's Ed25519 key, another log's checkpoint.
var ErrOtherKey = errors.New("another key is needed")

// Verify checks a signature line over a note's text and returns the line's time
// in seconds since 1970, or 0 for Ed25519 (0x01), which carries none.
//
// The two types with a time sign checkpoints only: text that is none is refused
// with the errors of ParseText. Their time must be between 1 and 2^63-1 (C2SP
// tlog-cosignature). Zero is refused because it withdraws the claim that makes
// a cosignature worth counting, "the largest tree that I have seen": a witness
// may sign an old tree that way. Whether a time is too old or in the future is
// for the caller, who has a clock; see Opened.Fresh.
func (k *VerifierKey) Verify(text string, sig Signature) (timestamp uint64, err error) {
	if !k.Matches(sig) {
		return 0, fmt.Errorf("%w: expected %s+%08x, found %s+%08x", ErrOtherKey, k.name, k.id, quote(sig.Name), sig.KeyID)
	}
	var c Checkpoint
	if k.alg != Ed25519 {
		if c, err = ParseText(text); err != nil {
			return 0, err
		}
	}
	return k.verify(text, c, sig)
}

// verify is Verify for a line of k over a text that was parsed into c. For
// Ed25519, c is not looked at.
func (k *VerifierKey) verify(text string, c Checkpoint, sig Signature) (uint64, error) {
	fail := func(format string, args ...any) (uint64, error) {
		return 0, fmt.Errorf("%w of %s+%08x: %s", ErrBadSignature, k.name, k.id, fmt.Sprintf(format, args...))
	}
	if len(sig.Blob) != k.alg.blobSize() {
		return fail("expected %d bytes for type %v, found %d", k.alg.blobSize(), k.alg, len(sig.Blob))
	}
	if k.alg == Ed25519 {
		if !ed25519.Verify(k.public, []byte(text), sig.Blob) {
			return fail("it is not over this text")
		}
		return 0, nil
	}
	t, blob := binary.BigEndian.Uint64(sig.Blob), sig.Blob[timeSize:]
	if err := checkTime(t); err != nil {
		return fail("%v", err)
	}
	if k.alg == CosignatureV1 {
		if !ed25519.Verify(k.public, cosignatureMessage(t, text), blob) {
			return fail("it is not over this checkpoint and time %d", t)
		}
		return t, nil
	}
	m, err := SubtreeMessage(k.name, c.Origin, t, 0, c.Size, c.Root)
	if err != nil {
		return fail("%v", err)
	}
	if mldsa.Verify(k.mldsa, m, blob, nil) != nil {
		return fail("it is not over this checkpoint and time %d", t)
	}
	return t, nil
}

func checkTime(t uint64) error {
	if t == 0 || t > tree.MaxSize {
		return fmt.Errorf("expected a time between 1 and 2^63-1, found %d", t)
	}
	return nil
}

// cosignatureMessage is what type 0x04 signs.
func cosignatureMessage(t uint64, text string) []byte {
	return []byte("cosignature/v1\ntime " + strconv.FormatUint(t, 10) + "\n" + text)
}

// SubtreeMessage returns what type 0x06 signs: cosigner's statement that in the
// tree of the log named origin, the subtree of the entries from start to before
// end has this hash. For a checkpoint, start is 0, end the size and hash the
// root. A time other than zero adds the claim that no larger tree was seen,
// which only a tree from the first entry on can make (C2SP tlog-cosignature).
// Whether start and end bound a subtree at all is for the caller.
func SubtreeMessage(cosigner, origin string, timestamp, start, end uint64, hash tree.Hash) ([]byte, error) {
	if err := ValidOrigin(origin); err != nil {
		return nil, err
	}
	if err := checkName(cosigner); err != nil {
		return nil, fmt.Errorf("cosigner: %w", err)
	}
	switch {
	case timestamp > tree.MaxSize:
		return nil, fmt.Errorf("time %d is over 2^63-1", timestamp)
	case end > tree.MaxSize || start > end:
		return nil, fmt.Errorf("expected start <= end <= 2^63-1, found start %d, end %d", start, end)
	case start != 0 && timestamp != 0:
		return nil, fmt.Errorf("expected time 0 for a subtree that starts at %d, found %d", start, timestamp)
	}
	// FIPS 204's empty context says nothing of the purpose; this label does,
	// and its LF NUL keeps it apart from every text message.
	m := []byte("subtree/v1\n\x00")
	m = append(append(m, byte(len(cosigner))), cosigner...)
	m = binary.BigEndian.AppendUint64(m, timestamp)
	m = append(append(m, byte(len(origin))), origin...)
	m = binary.BigEndian.AppendUint64(m, start)
	m = binary.BigEndian.AppendUint64(m, end)
	return append(m, hash[:]...), nil
}

const (
	signerPrefix = "PRIVATE+KEY+"
	seedSize     = 32 // RFC 8032 and FIPS 204 agree
)

// A SignerKey is a named private key. Printed in any way it shows its name and
// key id only; Secret returns the key.
type SignerKey struct {
	verifier *VerifierKey
	// A function, because fmt and other printers do not ask the methods of what
	// is in an unexported field; they may follow a pointer, but have no way into
	// a function.
	secret func() *secret
}

type secret struct {
	seed    []byte
	ed25519 ed25519.PrivateKey // of Ed25519 and CosignatureV1
	mldsa   *mldsa.PrivateKey  // of MLDSA44
}

// GenerateSigner makes a key from 32 bytes of random, which nil makes
// crypto/rand's.
func GenerateSigner(alg Algorithm, name string, random io.Reader) (*SignerKey, error) {
	if random == nil {
		random = rand.Reader
	}
	seed := make([]byte, seedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, fmt.Errorf("generating a key: %w", err)
	}
	return newSigner(alg, name, seed)
}

func newSigner(alg Algorithm, name string, seed []byte) (*SignerKey, error) {
	if len(seed) != seedSize {
		return nil, fmt.Errorf("%w: expected a private key of %d bytes, found %d", ErrKey, seedSize, len(seed))
	}
	s := &secret{seed: seed}
	var public []byte
	switch alg {
	case Ed25519, CosignatureV1:
		s.ed25519 = ed25519.NewKeyFromSeed(seed)
		public = s.ed25519[seedSize:] // crypto/ed25519: seed, then public key
	case MLDSA44:
		var err error
		if s.mldsa, err = mldsa.NewPrivateKey(mldsa.MLDSA44(), seed); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKey, err)
		}
		public = s.mldsa.PublicKey().Bytes()
	}
	v, err := NewVerifierKey(alg, name, public)
	if err != nil {
		return nil, err
	}
	return &SignerKey{verifier: v, secret: func() *secret { return s }}, nil
}

// ParseSignerKey parses what Secret returns: PRIVATE+KEY+name+id+base64 of type
// and seed. That is the form of golang.org/x/mod/sumdb/note for Ed25519 and, by
// convention, of the other types. A newline at the end of a key file is for the
// caller to remove. Every error wraps ErrKey and none repeats the key.
func ParseSignerKey(skey string) (*SignerKey, error) {
	rest, ok := strings.CutPrefix(skey, signerPrefix)
	if !ok {
		return nil, fmt.Errorf("%w: expected a private key, which starts with %q", ErrKey, signerPrefix)
	}
	name, id, alg, seed, err := splitKey(rest)
	if err != nil {
		return nil, err
	}
	k, err := newSigner(alg, name, seed)
	if err != nil {
		return nil, err
	}
	if err := k.verifier.checkID(id); err != nil {
		return nil, err
	}
	return k, nil
}

// Verifier returns the public key.
func (k *SignerKey) Verifier() *VerifierKey { return k.verifier }

// Secret returns the private key as text, for the file that holds it.
func (k *SignerKey) Secret() string {
	v := k.verifier
	return fmt.Sprintf("%s%s+%08x+%s", signerPrefix, v.name, v.id,
		base64.StdEncoding.EncodeToString(append([]byte{byte(v.alg)}, k.secret().seed...)))
}

// String returns the key's name and key id, never the key.
func (k SignerKey) String() string {
	if k.verifier == nil {
		return "private key (none)"
	}
	return fmt.Sprintf("private key %s+%08x (not shown)", k.verifier.name, k.verifier.id)
}

// Format implements fmt.Formatter for every verb, %#v among them.
func (k SignerKey) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// LogValue implements slog.LogValuer.
func (k SignerKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Sign signs a checkpoint. timeUnix is in seconds since 1970, from 1 to 2^63-1;
// Ed25519 (0x01) has no place for it and ignores it.
//
// A time is a claim: this is the largest tree of that log that the signer knew
// of then (C2SP tlog-cosignature). Whoever calls Sign has made sure that it is,
// and that it contradicts no checkpoint that was ever signed.
//
// An Ed25519 key signs only checkpoints whose origin is its name.
//
// ML-DSA signatures are hedged, as FIPS 204 section 3.4 recommends, so two
// signatures of the same are not the same bytes. Ed25519's are.
func (k *SignerKey) Sign(c Checkpoint, timeUnix uint64) (Signature, error) {
	return k.sign(c, timeUnix, k.hedged)
}

// SignDeterministic is Sign with FIPS 204's deterministic variant of ML-DSA: the
// same bytes every time, for test vectors. It gives up the protection against
// faults and side channels that hedging adds.
func (k *SignerKey) SignDeterministic(c Checkpoint, timeUnix uint64) (Signature, error) {
	return k.sign(c, timeUnix, k.deterministic)
}

func (k *SignerKey) hedged(m []byte) ([]byte, error) { return k.secret().mldsa.Sign(nil, m, nil) }

func (k *SignerKey) deterministic(m []byte) ([]byte, error) {
	return k.secret().mldsa.SignDeterministic(m, nil)
}

func (k *SignerKey) sign(c Checkpoint, t uint64, signMLDSA func([]byte) ([]byte, error)) (Signature, error) {
	v := k.verifier
	sig := Signature{Name: v.name, KeyID: v.id}
	if err := c.check(); err != nil {
		return Signature{}, fmt.Errorf("refusing to sign: %w", err)
	}
	if v.alg == Ed25519 {
		// A line under another name counts for nobody (C2SP tlog-policy).
		if v.name != c.Origin {
			return Signature{}, fmt.Errorf("refusing to sign: %w: expected a checkpoint of %s, found one of %s", ErrOtherKey, quote(v.name), quote(c.Origin))
		}
		sig.Blob = ed25519.Sign(k.secret().ed25519, []byte(c.Text()))
		return sig, nil
	}
	if err := checkTime(t); err != nil {
		return Signature{}, fmt.Errorf("refusing to sign: %w", err)
	}
	sig.Blob = binary.BigEndian.AppendUint64(nil, t)
	if v.alg == CosignatureV1 {
		sig.Blob = append(sig.Blob, ed25519.Sign(k.secret().ed25519, cosignatureMessage(t, c.Text()))...)
		return sig, nil
	}
	m, err := SubtreeMessage(v.name, c.Origin, t, 0, c.Size, c.Root)
	if err != nil {
		return Signature{}, fmt.Errorf("refusing to sign: %w", err)
	}
	raw, err := signMLDSA(m)
	if err != nil {
		return Signature{}, fmt.Errorf("signing with %s+%08x: %w", v.name, v.id, err)
	}
	sig.Blob = append(sig.Blob, raw...)
	return sig, nil
}
