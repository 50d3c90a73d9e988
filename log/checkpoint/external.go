package checkpoint

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
)

// For keys that this process does not have: in an ssh-agent, a hardware token, a signing
// service. Such a signer gets a message and returns a raw signature.

// CosignatureV1Message returns what an Ed25519 cosigning key (type 0x04) signs for a
// checkpoint: "cosignature/v1", a line with the time, and the checkpoint (C2SP
// tlog-cosignature). It refuses what SignerKey.Sign refuses, and time means what it means
// there: in seconds since 1970, from 1 to 2^63-1, and a claim.
func CosignatureV1Message(c Checkpoint, time uint64) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("refusing to sign: %w", err)
	}
	if err := checkTime(time); err != nil {
		return nil, fmt.Errorf("refusing to sign: %w", err)
	}
	return cosignatureMessage(time, c.Text()), nil
}

// NewCosignatureV1 makes the signature line of an Ed25519 cosigning key from the raw
// signature, 64 bytes, of CosignatureV1Message for the same checkpoint and time. A signature
// that is not k's over them is an ErrBadSignature: whoever made it holds another key, or is
// not to be trusted.
func NewCosignatureV1(k *VerifierKey, c Checkpoint, time uint64, raw []byte) (Signature, error) {
	if k.alg != CosignatureV1 {
		return Signature{}, fmt.Errorf("%w: expected a key of type %v, found %v", ErrKey, CosignatureV1, k.alg)
	}
	message, err := CosignatureV1Message(c, time)
	if err != nil {
		return Signature{}, err
	}
	if len(raw) != ed25519.SignatureSize || !ed25519.Verify(k.public, message, raw) {
		return Signature{}, fmt.Errorf("%w of %s+%08x: it is not over this checkpoint and time %d", ErrBadSignature, k.name, k.id, time)
	}
	return Signature{Name: k.name, KeyID: k.id, Blob: append(binary.BigEndian.AppendUint64(nil, time), raw...)}, nil
}
