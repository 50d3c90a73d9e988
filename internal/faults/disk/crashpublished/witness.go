package crashpublished

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/internal/faults/disk/oracle"
	"github.com/pauselog/pauselog/internal/faults/disk/rig"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/witness/client"
	"github.com/pauselog/pauselog/witness/protocol"
)

// A cosigner is an honest witness on another machine: no crash of the log's takes from it what it has cosigned.
type cosigner struct {
	key       *checkpoint.SignerKey
	verifiers []string // of the log

	mu   sync.Mutex
	size uint64
	root [32]byte
	note []byte // that it cosigned last
}

func newCosigner(n int, verifiers []string) (*cosigner, error) {
	k, err := checkpoint.GenerateSigner(checkpoint.CosignatureV1, fmt.Sprintf("w%d.example/witness", n), nil)
	return &cosigner{key: k, verifiers: verifiers}, err
}

func (c *cosigner) name() string { return c.key.Verifier().Name() }
func (c *cosigner) url() string  { return "https://" + c.name() }

func (c *cosigner) clone() *cosigner {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &cosigner{key: c.key, verifiers: c.verifiers, size: c.size, root: c.root, note: c.note}
}

// forgets makes it a witness that has lost its state.
func (c *cosigner) forgets() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size, c.root, c.note = 0, [32]byte{}, nil
}

// AddCheckpoint cosigns what goes on from what it cosigned last (C2SP tlog-witness).
func (c *cosigner) AddCheckpoint(_ context.Context, r *protocol.AddCheckpoint) ([]checkpoint.Signature, error) {
	size, root, err := oracle.Checkpoint(r.Note, c.verifiers)
	if err != nil {
		return nil, client.ErrForbidden
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Old != c.size {
		return nil, &client.SizeError{Size: c.size}
	}
	var proof tlog.TreeProof
	for _, h := range r.Proof {
		proof = append(proof, tlog.Hash(h))
	}
	switch {
	case size < c.size, size == c.size && c.size > 0 && root != c.root:
		return nil, client.ErrUnprocessable
	case size > c.size && c.size > 0:
		if err := tlog.CheckTree(proof, int64(size), root, int64(c.size), c.root); err != nil {
			return nil, client.ErrUnprocessable
		}
	}
	s, err := c.key.Sign(checkpoint.Checkpoint{Origin: rig.Origin, Size: size, Root: root}, uint64(rig.Clock.Unix()))
	if err != nil {
		return nil, err
	}
	c.size, c.root, c.note = size, root, r.Note
	return []checkpoint.Signature{s}, nil
}

// Checkpoint is the note that it cosigned last.
func (c *cosigner) Checkpoint(context.Context, string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.note == nil {
		return nil, client.ErrUnknownLog
	}
	return c.note, nil
}

// cosigned counts the witnesses whose cosignature (C2SP tlog-cosignature) is in a note, and verifies each.
func cosigned(note []byte, witnesses []*cosigner) (by int, err error) {
	text, lines, ok := bytes.Cut(note, []byte("\n\n"))
	if !ok {
		return 0, errors.New("a note without signatures")
	}
	text = note[:len(text)+1] // with its last line feed
	for line := range strings.Lines(string(lines)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return 0, fmt.Errorf("not a signature line: %q", line)
		}
		for _, w := range witnesses {
			if fields[1] != w.name() {
				continue
			}
			k := w.key.Verifier()
			b, err := base64.StdEncoding.DecodeString(fields[2])
			if err != nil || len(b) != 4+8+ed25519.SignatureSize || binary.BigEndian.Uint32(b) != k.KeyID() {
				return 0, fmt.Errorf("not a cosignature: %q", line)
			}
			if !ed25519.Verify(k.Public(), fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(b[4:]), text), b[12:]) {
				return 0, fmt.Errorf("a cosignature that does not verify: %q", line)
			}
			by++
		}
	}
	return by, nil
}
