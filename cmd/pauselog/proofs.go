package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/verify"
)

// proofTree is what --proofs names, as the first source of proofs. It is opened once, for the
// first file, and all files are verified at its one checkpoint.
type proofTree struct {
	verifier *verifier

	opened      bool
	closeSource func() error
	tree        *prooftree.Tree
	bundle      []byte // --proofs is a file
	err         error  // why there is neither
}

func (t *proofTree) close() {
	if t.closeSource != nil {
		t.closeSource()
	}
}

func (t *proofTree) open(ctx context.Context) error {
	if !t.opened {
		t.opened = true
		t.err = t.openSource(ctx)
	}
	return t.err
}

func (t *proofTree) openSource(ctx context.Context) error {
	v := t.verifier
	var source prooftree.Source
	switch info, err := os.Stat(v.proofs); {
	case strings.Contains(v.proofs, "://"):
		if v.offline {
			return errors.New("it is not on this machine, and --offline allows no connection")
		}
		s, err := prooftree.OpenHTTP(v.proofs, userAgent())
		if err != nil {
			return err
		}
		source, t.closeSource = s, s.Close
	case err != nil:
		return err
	case !info.IsDir():
		t.bundle, err = readProof(v.proofs)
		return err
	default:
		s, err := prooftree.OpenDir(v.proofs)
		if err != nil {
			return err
		}
		source, t.closeSource = s, s.Close
	}
	tree, err := prooftree.Open(ctx, source, v.request.Policy)
	if errors.Is(err, checkpoint.ErrQuorum) {
		err = nil // the verifier says so of each file
	}
	if err != nil {
		return err
	}
	if v.maxAge > 0 {
		tree = tree.AllSignatures() // the log's Ed25519 signature says nothing of when, its ML-DSA one does
	}
	t.tree = tree
	return nil
}

// decide verifies with what the tree has, and with the other sources if that is nothing.
func (t *proofTree) decide(ctx context.Context, file string, q verify.Request) *verify.Result {
	r, err := t.verify(ctx, q)
	if err == nil && conclusive(r) {
		return r
	}
	better := t.verifier.decideWithout(ctx, file, q)
	why := ""
	switch {
	case err != nil:
		why = err.Error()
	case r.Outcome != verify.InvalidProof && !better.Proven && better.Outcome != verify.Misbehaviour:
		return r // nobody else knows better
	case r.Outcome == verify.InvalidProof:
		why = r.Message
	}
	if why != "" {
		better.Notes = append(better.Notes, plain(fmt.Sprintf("%s has no proof of it: %s", t.verifier.proofs, why)))
	}
	return better
}

// conclusive reports whether a source that may lag can be believed without asking the next one. That a
// checkpoint is old, or that an index is not one of those that it knows, may be otherwise there.
func conclusive(r *verify.Result) bool {
	switch r.Outcome {
	case verify.InvalidProof, verify.Stale, verify.Unverifiable:
		return false
	case verify.Mismatch:
		return r.Entry == nil || r.Entry.Kind != entry.Index
	}
	return true
}

// verify decides with what the tree has. An error says why it has nothing.
func (t *proofTree) verify(ctx context.Context, q verify.Request) (*verify.Result, error) {
	if err := t.open(ctx); err != nil {
		return nil, err
	}
	if t.bundle != nil {
		q.Bundle = t.bundle
		return verify.Verify(q), nil
	}
	if q.Path == "" {
		return nil, errors.New("a proof tree is searched by path, and none was given")
	}
	p, err := t.tree.BundleFor(ctx, q.Path, q.SHA256)
	if err != nil {
		return nil, err
	}
	for _, b := range []struct {
		from *proof.Bundle
		to   *[]byte
	}{{p.Bundle, &q.Bundle}, {p.Void, &q.Revocation}, {p.Deletion, &q.Deletion}} {
		if b.from == nil {
			continue
		}
		if *b.to, err = b.from.Marshal(); err != nil {
			return nil, err
		}
	}
	return verify.Verify(q), nil
}
