package sshagent

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
)

var (
	_ interface {
		Verifier() *checkpoint.VerifierKey
		Sign(c checkpoint.Checkpoint, time uint64) (checkpoint.Signature, error)
	} = (*Signer)(nil)

	tip = checkpoint.Checkpoint{Origin: "log.example/pause", Size: 7, Root: tree.LeafHash([]byte("x"))}
)

const now = 1795341600

// An agentProcess serves a socket, as often as it is started.
type agentProcess struct {
	socket string
	stop   func()
}

// start serves the socket with a handler for each connection, until the test's end or stop.
func (p *agentProcess) start(t *testing.T, handle func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				handle(c)
			})
		}
	})
	p.stop = sync.OnceFunc(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	t.Cleanup(p.stop)
}

func serving(a agent.Agent) func(net.Conn) {
	return func(c net.Conn) { agent.ServeAgent(a, c) }
}

func newAgent(t *testing.T, a agent.Agent) *agentProcess {
	t.Helper()
	p := &agentProcess{socket: filepath.Join(t.TempDir(), "agent")}
	p.start(t, serving(a))
	return p
}

// keyringWith is an agent's keys: a new one for each comment.
func keyringWith(t *testing.T, comments ...string) (agent.Agent, []ed25519.PublicKey) {
	t.Helper()
	ring := agent.NewKeyring()
	var public []ed25519.PublicKey
	for _, c := range comments {
		pub, priv, err := ed25519.GenerateKey(nil)
		if err == nil {
			err = ring.Add(agent.AddedKey{PrivateKey: priv, Comment: c})
		}
		if err != nil {
			t.Fatal(err)
		}
		public = append(public, pub)
	}
	return ring, public
}

func vkeyOf(t *testing.T, public ed25519.PublicKey) *checkpoint.VerifierKey {
	t.Helper()
	v, err := Key{Public: public}.Verifier("witness.example/w1")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// verified fails the test unless sig is the key's over tip and now.
func verified(t *testing.T, v *checkpoint.VerifierKey, sig checkpoint.Signature, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.Verify(tip.Text(), sig); err != nil || got != now {
		t.Errorf("the signature: time %d, %v", got, err)
	}
}

func TestSign(t *testing.T) {
	ring, public := keyringWith(t, "other", "witness")
	p := newAgent(t, ring)
	v := vkeyOf(t, public[1])
	s, err := Open(p.socket, v)
	if err != nil {
		t.Fatal(err)
	}
	if s.Verifier() != v {
		t.Errorf("the verifier is %v", s.Verifier())
	}
	sig, err := s.Sign(tip, now)
	verified(t, v, sig, err)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			sig, err := s.Sign(tip, now)
			if err == nil {
				_, err = v.Verify(tip.Text(), sig)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// What no key may sign never gets to the agent.
func TestSignRefusesBeforeItAsks(t *testing.T) {
	ring, public := keyringWith(t, "witness")
	p := newAgent(t, ring)
	s, err := Open(p.socket, vkeyOf(t, public[0]))
	if err != nil {
		t.Fatal(err)
	}
	p.stop()
	for name, f := range map[string]func() (checkpoint.Signature, error){
		"no time": func() (checkpoint.Signature, error) { return s.Sign(tip, 0) },
		"no origin": func() (checkpoint.Signature, error) {
			return s.Sign(checkpoint.Checkpoint{Size: 7, Root: tip.Root}, now)
		},
		"a size over 2^63-1": func() (checkpoint.Signature, error) {
			return s.Sign(checkpoint.Checkpoint{Origin: tip.Origin, Size: 1 << 63, Root: tip.Root}, now)
		},
	} {
		if sig, err := f(); err == nil || !strings.Contains(err.Error(), "refusing to sign") {
			t.Errorf("%s: %+v, %v", name, sig, err)
		}
	}
}

func TestKeyMissing(t *testing.T) {
	ring, public := keyringWith(t, "witness", "other")
	p := newAgent(t, ring)
	stranger, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := Open(p.socket, vkeyOf(t, stranger)); s != nil || !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), "found 2 other") {
		t.Errorf("a key that the agent never had: %v, %v", s, err)
	}

	s, err := Open(p.socket, vkeyOf(t, public[0]))
	if err != nil {
		t.Fatal(err)
	}
	// An agent that is locked says that it has no keys.
	if err := ring.Lock([]byte("passphrase")); err != nil {
		t.Fatal(err)
	}
	if sig, err := s.Sign(tip, now); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), "unlock") {
		t.Errorf("locked: %+v, %v", sig, err)
	}
	if err := ring.Unlock([]byte("passphrase")); err != nil {
		t.Fatal(err)
	}
	sig, err := s.Sign(tip, now)
	verified(t, s.Verifier(), sig, err)

	if err := ring.RemoveAll(); err != nil {
		t.Fatal(err)
	}
	if sig, err := s.Sign(tip, now); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), "ssh-add") {
		t.Errorf("removed: %+v, %v", sig, err)
	}
	if err := s.Check(); !errors.Is(err, ErrNoKey) {
		t.Errorf("Check: %v", err)
	}
}

func TestAgentGoneAndBack(t *testing.T) {
	ring, public := keyringWith(t, "witness")
	p := newAgent(t, ring)
	s, err := Open(p.socket, vkeyOf(t, public[0]))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		p.stop()
		if sig, err := s.Sign(tip, now); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), p.socket) {
			t.Errorf("gone: %+v, %v", sig, err)
		}
		if err := s.Check(); err == nil {
			t.Error("gone: Check finds nothing wrong")
		}
		p.start(t, serving(ring))
		sig, err := s.Sign(tip, now)
		verified(t, s.Verifier(), sig, err)
	}
	p.stop()
	if s, err := Open(p.socket, s.Verifier()); s != nil || err == nil {
		t.Errorf("opened without an agent: %v", s)
	}
	if _, err := List(p.socket); err == nil {
		t.Error("listed without an agent")
	}
	if _, err := List(""); err == nil || !strings.Contains(err.Error(), "SSH_AUTH_SOCK") {
		t.Errorf("no socket: %v", err)
	}
}

func TestHangingAgent(t *testing.T) {
	ring, public := keyringWith(t, "witness")
	for name, hang := range map[string]func(net.Conn){
		"it reads and says nothing": func(c net.Conn) { io.Copy(io.Discard, c) },
		"it stops in the middle": func(c net.Conn) {
			c.Write([]byte{0, 0, 1, 0, 14, 0})
			io.Copy(io.Discard, c)
		},
	} {
		p := &agentProcess{socket: filepath.Join(t.TempDir(), "agent")}
		p.start(t, hang)
		s, err := newSigner(p.socket, vkeyOf(t, public[0]))
		if err != nil {
			t.Fatal(err)
		}
		if s.timeout != Timeout {
			t.Errorf("the default timeout is %v", s.timeout)
		}
		s.timeout = 20 * time.Millisecond
		if sig, err := s.Sign(tip, now); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: Sign: %+v, %v", name, sig, err)
		}
		if err := s.Check(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: Check: %v", name, err)
		}
		if keys, err := list(p.socket, s.timeout); !errors.Is(err, os.ErrDeadlineExceeded) || keys != nil {
			t.Errorf("%s: list: %v, %v", name, keys, err)
		}
		p.stop()
		p.start(t, serving(ring))
		s.timeout = Timeout
		sig, err := s.Sign(tip, now)
		verified(t, s.Verifier(), sig, err)
	}
}

// A liar lists what a keyring has, and signs as it likes.
type liar struct {
	agent.Agent
	sign func(key ssh.PublicKey, data []byte) (*ssh.Signature, error)
}

func (l liar) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) { return l.sign(key, data) }

func TestAgentThatSignsWrongly(t *testing.T) {
	ring, public := keyringWith(t, "witness")
	other, otherPublic := keyringWith(t, "other")
	otherKey, err := ssh.NewPublicKey(otherPublic[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, sign := range map[string]func(ssh.PublicKey, []byte) (*ssh.Signature, error){
		"with another key": func(_ ssh.PublicKey, data []byte) (*ssh.Signature, error) { return other.Sign(otherKey, data) },
		"over something else": func(k ssh.PublicKey, data []byte) (*ssh.Signature, error) {
			return ring.Sign(k, append([]byte("cosignature/v1\n"), data...))
		},
		"a bit flipped": func(k ssh.PublicKey, data []byte) (*ssh.Signature, error) {
			s, err := ring.Sign(k, data)
			s.Blob[17] ^= 4
			return s, err
		},
		"of another type": func(k ssh.PublicKey, data []byte) (*ssh.Signature, error) {
			s, err := ring.Sign(k, data)
			s.Format = "sk-ssh-ed25519@openssh.com"
			return s, err
		},
		"with bytes after it": func(k ssh.PublicKey, data []byte) (*ssh.Signature, error) {
			s, err := ring.Sign(k, data)
			s.Rest = []byte{1}
			return s, err
		},
		"too short": func(k ssh.PublicKey, data []byte) (*ssh.Signature, error) {
			return &ssh.Signature{Format: ssh.KeyAlgoED25519, Blob: make([]byte, 63)}, nil
		},
		"nothing": func(k ssh.PublicKey, data []byte) (*ssh.Signature, error) {
			return &ssh.Signature{Format: ssh.KeyAlgoED25519}, nil
		},
	} {
		p := newAgent(t, liar{ring, sign})
		s, err := Open(p.socket, vkeyOf(t, public[0]))
		if err != nil {
			t.Fatal(err)
		}
		if sig, err := s.Sign(tip, now); !errors.Is(err, checkpoint.ErrBadSignature) || sig.Blob != nil {
			t.Errorf("%s: %+v, %v", name, sig, err)
		}
	}

	// It has the key and does not sign, as when a confirmation is refused.
	p := newAgent(t, liar{ring, func(ssh.PublicKey, []byte) (*ssh.Signature, error) { return nil, errors.New("no") }})
	s, err := Open(p.socket, vkeyOf(t, public[0]))
	if err != nil {
		t.Fatal(err)
	}
	if sig, err := s.Sign(tip, now); err == nil || errors.Is(err, ErrNoKey) {
		t.Errorf("it does not sign: %+v, %v", sig, err)
	}
}

func TestAgentThatTalksNonsense(t *testing.T) {
	_, public := keyringWith(t, "witness")
	for name, answer := range map[string]string{
		"nothing":                "",
		"half a length":          "\x00\x00",
		"a huge length":          "\xff\xff\xff\xff",
		"an empty message":       "\x00\x00\x00\x00",
		"an unknown message":     "\x00\x00\x00\x01\x63",
		"less than it announces": "\x00\x00\x00\x09\x0c\x00",
		"too many keys":          "\x00\x00\x00\x05\x0c\xff\xff\xff\xff",
		"a key that is missing":  "\x00\x00\x00\x05\x0c\x00\x00\x00\x01",
		"a short Ed25519 key": "\x00\x00\x00\x25\x0c\x00\x00\x00\x01" +
			"\x00\x00\x00\x14\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x01x" + "\x00\x00\x00\x04name",
	} {
		p := &agentProcess{socket: filepath.Join(t.TempDir(), "agent")}
		p.start(t, func(c net.Conn) {
			if n, err := c.Read(make([]byte, 1024)); n == 0 || err != nil {
				return
			}
			io.WriteString(c, answer)
		})
		s, err := newSigner(p.socket, vkeyOf(t, public[0]))
		if err != nil {
			t.Fatal(err)
		}
		if sig, err := s.Sign(tip, now); err == nil || sig.Blob != nil {
			t.Errorf("%s: %+v, %v", name, sig, err)
		}
		if keys, err := List(p.socket); err == nil || keys != nil {
			t.Errorf("%s: %v, %v", name, keys, err)
		}
	}
}

func TestListAndChoose(t *testing.T) {
	ring, public := keyringWith(t, "witness", "twice", "twice", "")
	// Keys of other types are no candidates, also if they have the right comment.
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err == nil {
		err = ring.Add(agent.AddedKey{PrivateKey: ec, Comment: "witness"})
	}
	if err != nil {
		t.Fatal(err)
	}
	p := newAgent(t, ring)
	keys, err := List(p.socket)
	if err != nil || len(keys) != 4 {
		t.Fatalf("%v, %v", keys, err)
	}
	for i, k := range keys {
		s, err := ssh.NewPublicKey(public[i])
		if err != nil {
			t.Fatal(err)
		}
		if !k.Public.Equal(public[i]) || k.Fingerprint != ssh.FingerprintSHA256(s) || k.Comment != []string{"witness", "twice", "twice", ""}[i] {
			t.Errorf("key %d: %+v", i, k)
		}
		if got, err := Choose(p.socket, k.Fingerprint); err != nil || !got.Public.Equal(public[i]) {
			t.Errorf("by its fingerprint: %+v, %v", got, err)
		}
		// What init does with a choice.
		v, err := k.Verifier("witness.example/w1")
		if err != nil {
			t.Fatal(err)
		}
		if v.Algorithm() != checkpoint.CosignatureV1 || string(v.Public()) != string(public[i]) {
			t.Errorf("the verifier key is %v", v)
		}
		signer, err := Open(p.socket, v)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := signer.Sign(tip, now)
		verified(t, v, sig, err)
	}
	if got, err := Choose(p.socket, "witness"); err != nil || !got.Public.Equal(public[0]) {
		t.Errorf("by its comment: %+v, %v", got, err)
	}
	if got, err := Choose(p.socket, "twice"); err == nil || errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), "SHA256:") {
		t.Errorf("a comment of two keys: %+v, %v", got, err)
	}
	for _, none := range []string{"SHA256:", "nobody", "WITNESS"} {
		if got, err := Choose(p.socket, none); !errors.Is(err, ErrNoKey) {
			t.Errorf("%q: %+v, %v", none, got, err)
		}
	}
}

func TestOpenRefusesOtherTypesOfKeys(t *testing.T) {
	ring, public := keyringWith(t, "witness")
	p := newAgent(t, ring)
	log, err := checkpoint.NewVerifierKey(checkpoint.Ed25519, "log.example/pause", public[0])
	if err != nil {
		t.Fatal(err)
	}
	mldsa, err := checkpoint.GenerateSigner(checkpoint.MLDSA44, "witness.example/w1", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []*checkpoint.VerifierKey{log, mldsa.Verifier()} {
		if s, err := Open(p.socket, v); s != nil || !errors.Is(err, checkpoint.ErrKey) {
			t.Errorf("%v: %v, %v", v.Algorithm(), s, err)
		}
	}
}
