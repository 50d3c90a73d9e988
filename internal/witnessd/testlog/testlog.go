// Package testlog is a log for tests of the witness: its entries are numbers, and it asks for
// cosignatures as a log does.
package testlog

import (
	"bytes"
	"context"
	"fmt"
	"math/bits"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/witness/client"
	"github.com/pauselog/pauselog/witness/protocol"
)

// A Log is a log with an Ed25519 and an ML-DSA-44 key. Its entry i is the decimal number i and its
// Branch: logs of one name and seed with other branches are forks of one another.
type Log struct {
	Name   string
	Keys   []*checkpoint.SignerKey
	Branch string
}

// New makes a log whose keys come from a seed of one repeated byte.
func New(tb testing.TB, name string, seed byte) *Log {
	tb.Helper()
	l := &Log{Name: name}
	for _, a := range []checkpoint.Algorithm{checkpoint.Ed25519, checkpoint.MLDSA44} {
		k, err := checkpoint.GenerateSigner(a, name, bytes.NewReader(bytes.Repeat([]byte{seed}, 32)))
		if err != nil {
			tb.Fatal(err)
		}
		l.Keys = append(l.Keys, k)
	}
	return l
}

// VKeys are the log's verifier keys, Ed25519 first.
func (l *Log) VKeys() (vkeys []string) {
	for _, k := range l.Keys {
		vkeys = append(vkeys, k.Verifier().String())
	}
	return vkeys
}

func (l *Log) node(start, end uint64) (tree.Hash, error) {
	if end == start {
		return tree.EmptyRoot, nil
	}
	if end-start == 1 {
		return tree.LeafHash(fmt.Appendf(nil, "%d%s", start, l.Branch)), nil
	}
	middle := start + 1<<(bits.Len64(end-start-1)-1)
	left, _ := l.node(start, middle)
	right, _ := l.node(middle, end)
	return tree.NodeHash(left, right), nil
}

// Checkpoint is the log's checkpoint of a size.
func (l *Log) Checkpoint(size uint64) checkpoint.Checkpoint {
	root, _ := l.node(0, size)
	return checkpoint.Checkpoint{Origin: l.Name, Size: size, Root: root}
}

// Request asks for a cosignature of a size, after old was cosigned last.
func (l *Log) Request(tb testing.TB, old, size uint64) *protocol.AddCheckpoint {
	tb.Helper()
	c := l.Checkpoint(size)
	note := checkpoint.Note{Text: c.Text()}
	for _, k := range l.Keys {
		s, err := k.Sign(c, 1)
		if err != nil {
			tb.Fatal(err)
		}
		note = note.With(s)
	}
	r := &protocol.AddCheckpoint{Old: old, Note: note.Marshal()}
	if 0 < old && old < size {
		var err error
		// The proof for a subtree from 0 on is that of consistency.
		if r.Proof, err = tree.SubtreeProof(0, old, size, l.node); err != nil {
			tb.Fatal(err)
		}
	}
	return r
}

// Ask asks a witness at a URL to cosign a size, and verifies its answer: a line of each of these
// keys. The error is that of client.AddCheckpoint.
func (l *Log) Ask(ctx context.Context, tb testing.TB, w *client.Client, keys []*checkpoint.VerifierKey, old, size uint64) error {
	tb.Helper()
	sigs, err := w.AddCheckpoint(ctx, l.Request(tb, old, size))
	if err != nil {
		return err
	}
	if len(sigs) != len(keys) {
		tb.Errorf("expected %d cosignatures, found %d", len(keys), len(sigs))
	}
	for _, k := range keys {
		found := false
		for _, s := range sigs {
			if k.Matches(s) {
				found = true
				if _, err := k.Verify(l.Checkpoint(size).Text(), s); err != nil {
					tb.Errorf("%s of size %d: %v", k.Name(), size, err)
				}
			}
		}
		if !found {
			tb.Errorf("no cosignature of size %d by %s+%08x", size, k.Name(), k.KeyID())
		}
	}
	return nil
}
