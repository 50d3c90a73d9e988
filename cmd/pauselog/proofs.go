package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	cpanmirror "github.com/pauselog/pauselog/internal/mirror"
	"github.com/pauselog/pauselog/internal/trust"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/verify"
)

// proofTree is what --proofs names, a tree, a pack or one proof, as the first source of proofs. It is opened once, for the
// first file, and all files are verified at its one checkpoint.
type proofTree struct {
	verifier *verifier

	opened      bool
	closeSource func() error
	tree        *prooftree.Tree
	pack        *proof.Pack
	bundle      []byte // --proofs is a file with one proof
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
		s, err := v.app.openTreeAt(v.proofs, false)
		if err != nil {
			return err
		}
		source, t.closeSource = s, s.Close
	case err != nil:
		return err
	case !info.IsDir():
		t.pack, t.bundle, err = readProofs(v.proofs)
		return err
	default:
		s, err := prooftree.OpenDir(v.proofs)
		if err != nil {
			return err
		}
		source, t.closeSource = s, s.Close
	}
	tree, err := prooftree.Open(ctx, source, v.request.Policy)
	if err == nil {
		err = v.remember(ctx, tree)
	}
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
	// Once a log has contradicted itself, no other source makes that good.
	var m *client.Misbehaviour
	if errors.As(err, &m) {
		r := t.verifier.app.misbehaved(m)
		r.Path, r.SHA256, r.Size = q.Path, q.SHA256, q.Size
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

// remember compares a tree with the one that was seen of the log before. If that is damaged, nothing is decided.
func (v *verifier) remember(ctx context.Context, tree *prooftree.Tree) error {
	state, err := trust.Open(v.app.stateDir)
	if err != nil {
		return nil // there is no place where something could be remembered
	}
	return cpanmirror.Remember(ctx, tree, v.request.Policy, &forgiving{Dir: state, warn: v.app.warn})
}

// conclusive reports whether a source that may lag can be believed without asking the next one. That a
// checkpoint is old, or that an index is not one of those that it knows, may be otherwise there.
func conclusive(r *verify.Result) bool {
	switch r.Outcome {
	case verify.InvalidProof, verify.Stale, verify.Unverifiable, verify.PolicyUnmet:
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
		return nil, errors.New("many proofs are searched by path, and none was given")
	}
	p := new(prooftree.Proof)
	if t.pack != nil {
		found := t.pack.For(q.Path, q.SHA256)
		if found == nil {
			return nil, errors.New("the path is not among its proofs")
		}
		*p = prooftree.Proof(*found)
	} else {
		var err error
		if p, err = t.tree.BundleFor(ctx, q.Path, q.SHA256); err != nil {
			return nil, err
		}
	}
	for _, b := range []struct {
		from *proof.Bundle
		to   *[]byte
	}{{p.Bundle, &q.Bundle}, {p.Void, &q.Revocation}, {p.Deletion, &q.Deletion}} {
		if b.from == nil {
			continue
		}
		text, err := b.from.Marshal()
		if err != nil {
			return nil, err
		}
		*b.to = text
	}
	return verify.Verify(q), nil
}

// readProofs reads a file of proofs: a pack, or else the text of one proof, which may be anything. An error has its
// outcome.
func readProofs(name string) (*proof.Pack, []byte, error) {
	pack, bundle, err := readPackOrBundle(name)
	switch {
	case err == nil:
		return pack, bundle, nil
	case errors.Is(err, proof.ErrPackVersion):
		err = outcomeError{verify.Upgrade, fmt.Errorf("%s: %w", name, err)}
	case errors.Is(err, proof.ErrMalformedPack):
		err = outcomeError{verify.InvalidProof, fmt.Errorf("%s: %w", name, err)}
	default:
		err = outcomeError{verify.Error, err}
	}
	return nil, nil, err
}

// readPackOrBundle tells the two apart by how the file begins.
func readPackOrBundle(name string) (*proof.Pack, []byte, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, proof.MaxSize+1))
	if err != nil || !proof.IsPack(head) {
		return nil, head, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	// In one piece of the right size: a pack can be a gigabyte.
	text := bytes.NewBuffer(make([]byte, 0, min(max(info.Size(), int64(len(head))), proof.MaxPackSize)+bytes.MinRead))
	text.Write(head)
	if _, err := text.ReadFrom(io.LimitReader(f, proof.MaxPackSize+1-int64(len(head)))); err != nil {
		return nil, nil, err
	}
	pack, err := proof.ParsePack(text.Bytes())
	return pack, nil, err
}
