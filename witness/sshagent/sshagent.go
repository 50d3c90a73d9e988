// Package sshagent cosigns with an Ed25519 key that lives in an ssh-agent: the witness's
// process never has the key, and a key can be in hardware that the agent knows.
//
//	key, err := sshagent.Choose(socket, "SHA256:...")
//	vkey, err := key.Verifier("witness.example/w1")
//	signer, err := sshagent.Open(socket, vkey)
//	sig, err := signer.Sign(c, uint64(time.Now().Unix()))
//
// What is signed is the message of a C2SP tlog-cosignature of type 0x04, which no part of SSH
// ever signs: those messages start with a binary length or with "SSHSIG". Even so a witness
// should have a key of its own, because whoever may use the agent may sign with all that it has.
//
// The key must be a plain ssh-ed25519 key. FIDO keys (sk-ssh-ed25519) sign something else, and
// keys that ask for a confirmation (ssh-add -c) or are bound to hosts (ssh-add -h) do not sign in
// time, or at all.
//
// The agent is not trusted: every signature is verified before it is returned.
package sshagent

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// Timeout is how long an agent may take for one answer.
const Timeout = 5 * time.Second

// ErrNoKey says that the agent answers but does not have the key: it was never added, was
// removed, or the agent is locked.
var ErrNoKey = errors.New("the ssh-agent does not have the key")

// A Key is an Ed25519 key that an agent has.
type Key struct {
	Public      ed25519.PublicKey
	Fingerprint string // as ssh-add -l shows it: SHA256:...
	Comment     string // any bytes: quote it before it is shown
}

// Verifier names the key as a cosigning key of type 0x04.
func (k Key) Verifier(name string) (*checkpoint.VerifierKey, error) {
	return checkpoint.NewVerifierKey(checkpoint.CosignatureV1, name, k.Public)
}

// List returns the Ed25519 keys of the agent at a unix socket, in the agent's order. It leaves
// keys of other types out.
func List(socket string) ([]Key, error) { return list(socket, Timeout) }

func list(socket string, timeout time.Duration) (keys []Key, err error) {
	err = withAgent(socket, timeout, func(a agent.Agent) error {
		keys, err = ed25519Keys(a)
		return err
	})
	if err != nil {
		return nil, err
	}
	return keys, nil
}

// Choose returns the one Ed25519 key of the agent that has this fingerprint or this comment. None
// is an ErrNoKey.
func Choose(socket, wanted string) (Key, error) {
	keys, err := List(socket)
	if err != nil {
		return Key{}, err
	}
	var found []Key
	for _, k := range keys {
		if k.Fingerprint == wanted || k.Comment == wanted {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Key{}, fmt.Errorf("%w: expected one of its %d Ed25519 keys with the fingerprint or comment %q, found none", ErrNoKey, len(keys), wanted)
	}
	return Key{}, fmt.Errorf("%d keys of the ssh-agent have the comment %q: name one by its fingerprint, for example %s", len(found), wanted, found[0].Fingerprint)
}

// A Signer cosigns with one key of an agent. Its methods may be called concurrently. Each call
// makes a connection of its own, so that an agent which was restarted is simply there again.
type Signer struct {
	socket  string
	vkey    *checkpoint.VerifierKey
	key     ssh.PublicKey
	timeout time.Duration
}

// Open returns a signer for a key of type 0x04 in the agent at a unix socket. It fails if the
// agent does not answer, or with ErrNoKey; a signature is not asked for.
func Open(socket string, vkey *checkpoint.VerifierKey) (*Signer, error) {
	s, err := newSigner(socket, vkey)
	if err != nil {
		return nil, err
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	return s, nil
}

func newSigner(socket string, vkey *checkpoint.VerifierKey) (*Signer, error) {
	if vkey.Algorithm() != checkpoint.CosignatureV1 {
		return nil, fmt.Errorf("%w: an ssh-agent signs for keys of type %v, found %v", checkpoint.ErrKey, checkpoint.CosignatureV1, vkey.Algorithm())
	}
	key, err := ssh.NewPublicKey(ed25519.PublicKey(vkey.Public()))
	if err != nil {
		return nil, err
	}
	return &Signer{socket: socket, vkey: vkey, key: key, timeout: Timeout}, nil
}

// Verifier returns the public key.
func (s *Signer) Verifier() *checkpoint.VerifierKey { return s.vkey }

// Check asks the agent whether it has the key now.
func (s *Signer) Check() error {
	return withAgent(s.socket, s.timeout, s.check)
}

func (s *Signer) check(a agent.Agent) error {
	keys, err := ed25519Keys(a)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(keys, func(k Key) bool { return string(k.Public) == string(s.vkey.Public()) }) {
		return nil
	}
	return fmt.Errorf("%w: expected %s of %s+%08x, found %d other Ed25519 keys: add it with ssh-add, or unlock the agent",
		ErrNoKey, ssh.FingerprintSHA256(s.key), s.vkey.Name(), s.vkey.KeyID(), len(keys))
}

// Sign cosigns a checkpoint. time is in seconds since 1970 and the claim that
// checkpoint.SignerKey.Sign describes. An agent without the key is an ErrNoKey, one that signs
// wrongly a checkpoint.ErrBadSignature, one that takes too long an os.ErrDeadlineExceeded; after
// each of them another call may succeed.
func (s *Signer) Sign(c checkpoint.Checkpoint, time uint64) (sig checkpoint.Signature, err error) {
	message, err := checkpoint.CosignatureV1Message(c, time)
	if err != nil {
		return checkpoint.Signature{}, err
	}
	err = withAgent(s.socket, s.timeout, func(a agent.Agent) error {
		raw, err := a.Sign(s.key, message)
		if err != nil {
			// The protocol has one word for all that can be wrong.
			if missing := s.check(a); errors.Is(missing, ErrNoKey) {
				return missing
			}
			return err
		}
		if raw.Format != ssh.KeyAlgoED25519 || len(raw.Rest) > 0 {
			return fmt.Errorf("%w: expected one of type %s, found %q and %d more bytes", checkpoint.ErrBadSignature, ssh.KeyAlgoED25519, raw.Format, len(raw.Rest))
		}
		sig, err = checkpoint.NewCosignatureV1(s.vkey, c, time, raw.Blob)
		return err
	})
	if err != nil {
		return checkpoint.Signature{}, err
	}
	return sig, nil
}

// ed25519Keys are the plain Ed25519 keys of an agent.
func ed25519Keys(a agent.Agent) (keys []Key, err error) {
	all, err := a.List()
	if err != nil {
		return nil, err
	}
	for _, k := range all {
		if k.Format != ssh.KeyAlgoED25519 {
			continue
		}
		parsed, err := ssh.ParsePublicKey(k.Blob)
		if err != nil {
			return nil, fmt.Errorf("the key %q of the agent: %w", k.Comment, err)
		}
		public, ok := parsed.(ssh.CryptoPublicKey).CryptoPublicKey().(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("the key %q of the agent: expected a key of type %s, found %q", k.Comment, ssh.KeyAlgoED25519, parsed.Type())
		}
		keys = append(keys, Key{Public: public, Fingerprint: ssh.FingerprintSHA256(parsed), Comment: k.Comment})
	}
	return keys, nil
}

// withAgent calls f with a connection to the agent that lasts no longer than timeout.
func withAgent(socket string, timeout time.Duration, f func(agent.Agent) error) error {
	if socket == "" {
		return errors.New("there is no ssh-agent: expected the path of its socket, as in SSH_AUTH_SOCK")
	}
	deadline := time.Now().Add(timeout)
	conn, err := (&net.Dialer{Deadline: deadline}).Dial("unix", socket)
	if err != nil {
		return fmt.Errorf("no ssh-agent answers: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	c := &causes{rw: conn}
	if err := f(agent.NewClient(c)); err != nil {
		if c.err != nil {
			err = fmt.Errorf("no whole answer: %w", c.err)
		}
		return fmt.Errorf("ssh-agent at %s: %w", socket, err)
	}
	return nil
}

// causes remembers why a connection failed, of which the agent's client keeps the text only. It
// is no io.Closer, so that the client sends one request at a time and starts no goroutine.
type causes struct {
	rw  io.ReadWriter
	err error
}

func (c *causes) Read(b []byte) (int, error) {
	n, err := c.rw.Read(b)
	if err != nil {
		c.err = err
	}
	return n, err
}

func (c *causes) Write(b []byte) (int, error) {
	n, err := c.rw.Write(b)
	if err != nil {
		c.err = err
	}
	return n, err
}
