package checkpoint

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"filippo.io/mldsa"
)

// An Algorithm is a signature type of C2SP signed-note: the byte before the
// public key in a verifier key.
type Algorithm byte

const (
	// Ed25519 signs the note's text. Only logs use it.
	Ed25519 Algorithm = 0x01

	// CosignatureV1 is Ed25519 over the text and a time. Only witnesses use it.
	CosignatureV1 Algorithm = 0x04

	// MLDSA44 is ML-DSA-44 (FIPS 204) over the checkpoint's values, a time and
	// the signer's name. Logs and witnesses use it.
	MLDSA44 Algorithm = 0x06
)

// String returns the type's name and number.
func (a Algorithm) String() string {
	switch a {
	case Ed25519:
		return "Ed25519 (0x01)"
	case CosignatureV1:
		return "Ed25519 cosignature (0x04)"
	case MLDSA44:
		return "ML-DSA-44 (0x06)"
	}
	return fmt.Sprintf("unknown (0x%02x)", byte(a))
}

// publicSize is the length of a public key, or 0 for an unknown type.
func (a Algorithm) publicSize() int {
	switch a {
	case Ed25519, CosignatureV1:
		return ed25519.PublicKeySize
	case MLDSA44:
		return mldsa.MLDSA44PublicKeySize
	}
	return 0
}

const timeSize = 8

// blobSize is the length of a signature line's blob.
func (a Algorithm) blobSize() int {
	switch a {
	case Ed25519:
		return ed25519.SignatureSize
	case CosignatureV1:
		return timeSize + ed25519.SignatureSize
	case MLDSA44:
		return timeSize + mldsa.MLDSA44SignatureSize
	}
	return 0
}

// ErrKey says that a verifier key or signer key is not one, or not one to use.
var ErrKey = errors.New("invalid key")

// A VerifierKey is a named public key. The name is part of what it is: the same
// public key under another name or type has another key id and verifies other
// lines.
type VerifierKey struct {
	name   string
	id     uint32
	alg    Algorithm
	public []byte
	mldsa  *mldsa.PublicKey // of MLDSA44 only
}

// NewVerifierKey names a public key. It refuses keys by which anyone can sign.
func NewVerifierKey(alg Algorithm, name string, public []byte) (*VerifierKey, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	size := alg.publicSize()
	if size == 0 {
		return nil, fmt.Errorf("%w: expected type 0x01, 0x04 or 0x06, found 0x%02x", ErrKey, byte(alg))
	}
	if len(public) != size {
		return nil, fmt.Errorf("%w: type %v: expected a public key of %d bytes, found %d", ErrKey, alg, size, len(public))
	}
	k := &VerifierKey{name: name, alg: alg, public: slices.Clone(public)}
	var err error
	if alg == MLDSA44 {
		k.mldsa, err = parseMLDSA(k.public)
	} else {
		err = checkEd25519(k.public)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: type %v: %w", ErrKey, alg, err)
	}
	k.id = keyID(name, alg, k.public)
	return k, nil
}

// keyID is the key id of C2SP signed-note for the types that we use.
func keyID(name string, alg Algorithm, public []byte) uint32 {
	sum := sha256.Sum256(slices.Concat([]byte(name), []byte{'\n', byte(alg)}, public))
	return binary.BigEndian.Uint32(sum[:])
}

// ParseVerifierKey parses a verifier key: name, key id and base64 of type and
// public key, joined by plus signs. String returns the same text. Every error
// wraps ErrKey.
func ParseVerifierKey(vkey string) (*VerifierKey, error) {
	if strings.HasPrefix(vkey, signerPrefix) {
		return nil, fmt.Errorf("%w: expected a verifier key, found a private one", ErrKey)
	}
	name, id, alg, public, err := splitKey(vkey)
	if err != nil {
		return nil, err
	}
	k, err := NewVerifierKey(alg, name, public)
	if err != nil {
		return nil, err
	}
	if err := k.checkID(id); err != nil {
		return nil, err
	}
	return k, nil
}

// splitKey splits name+id+base64(type||key). It may hold a private key, or a damaged one in which
// part of the key stands in the place of the name, so no error repeats any of it.
func splitKey(s string) (name, id string, alg Algorithm, key []byte, err error) {
	parts := strings.SplitN(s, "+", 3) // plus is also a base64 character
	if len(parts) != 3 {
		return "", "", 0, nil, fmt.Errorf("%w: expected a name, a key id and base64 joined by %q, found %d of them", ErrKey, '+', len(parts))
	}
	b, err := decode64(parts[2])
	if err != nil || len(b) == 0 {
		return "", "", 0, nil, fmt.Errorf("%w: expected canonical base64 of a type and a key as its last part", ErrKey)
	}
	return parts[0], parts[1], Algorithm(b[0]), b[1:], nil
}

// checkID compares the stated key id with the computed one: it is all that
// protects a verifier key from a slip of the hand.
func (k *VerifierKey) checkID(stated string) error {
	if want := fmt.Sprintf("%08x", k.id); stated != want {
		return fmt.Errorf("%w: of %s: expected key id %s, found %s", ErrKey, quote(k.name), want, quote(stated))
	}
	return nil
}

// String returns the key in the form that ParseVerifierKey takes.
func (k *VerifierKey) String() string {
	return fmt.Sprintf("%s+%08x+%s", k.name, k.id, base64.StdEncoding.EncodeToString(append([]byte{byte(k.alg)}, k.public...)))
}

// Name returns the key name; of a log's key it is the log's origin.
func (k *VerifierKey) Name() string { return k.name }

// KeyID returns the key id.
func (k *VerifierKey) KeyID() uint32 { return k.id }

// Algorithm returns the signature type.
func (k *VerifierKey) Algorithm() Algorithm { return k.alg }

// Public returns the public key's bytes.
func (k *VerifierKey) Public() []byte { return slices.Clone(k.public) }

// Matches reports whether s claims to be of k: same key name and same key id.
func (k *VerifierKey) Matches(s Signature) bool { return k.ref() == s.ref() }

func (k *VerifierKey) ref() keyRef { return keyRef{k.name, k.id} }

// The curve of Ed25519 is -x² + y² = 1 + d·x²·y² over the integers modulo p
// (RFC 8032 section 5.1).
var (
	edP = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	edD = new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), edP))
)

// smallOrder holds the y coordinates, little-endian, of the eight points whose
// order divides 8, the curve's cofactor: two points of each y, except that 1
// and -1 have one.
var smallOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// checkEd25519 refuses public keys that crypto/ed25519 takes and that nobody
// honest has. With a point of small order anyone can sign: the key's part of
// the verification equation vanishes for at least one message in eight. A y
// that is not below p is a second encoding of another key (RFC 8032 section
// 5.1.3 has such decoding fail), so one key could be listed twice.
func checkEd25519(public []byte) error {
	y := slices.Clone(public)
	y[31] &= 0x7f // the top bit is the sign of x
	if slices.Contains(smallOrder, hex.EncodeToString(y)) {
		return errors.New("public key is a point of small order, with which anyone can sign")
	}
	slices.Reverse(y)
	n := new(big.Int).SetBytes(y)
	if n.Cmp(edP) >= 0 {
		return errors.New("public key is not encoded canonically: its y is not below 2^255-19")
	}
	// x² = (y²-1) / (d·y²+1); a quotient is a square if and only if the
	// product is one.
	yy := n.Mul(n, n)
	u := new(big.Int).Sub(yy, big.NewInt(1))
	v := new(big.Int).Mul(edD, yy)
	v.Add(v, big.NewInt(1))
	if big.Jacobi(u.Mul(u, v).Mod(u, edP), edP) != 1 {
		return errors.New("public key is not a point of the curve")
	}
	return nil
}

// parseMLDSA parses a public key: 32 bytes of seed ρ, then the vector t1
// (FIPS 204 section 7.2); every string of the right length is one. With t1 = 0
// the key's part of the verification equation vanishes and anyone can sign, as
// with a point of small order.
func parseMLDSA(public []byte) (*mldsa.PublicKey, error) {
	if !slices.ContainsFunc(public[32:], func(b byte) bool { return b != 0 }) {
		return nil, errors.New("public key has t1 = 0, with which anyone can sign")
	}
	return mldsa.NewPublicKey(mldsa.MLDSA44(), public)
}
