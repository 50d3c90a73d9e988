package mirror

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/log/verify"
)

// A treeProver builds proofs from a static proof tree, all at one checkpoint until a path is not found in it.
type treeProver struct {
	TreeOptions

	mu     sync.Mutex
	tree   *prooftree.Tree // nil: there is none
	detail string          // why there is none
	err    error           // what ends everything: misbehaviour, or a damaged memory
	opened time.Time
}

// TreeOptions say where a static proof tree is, and what it is compared with.
type TreeOptions struct {
	Name   string // for people
	Source prooftree.Source
	Policy *checkpoint.Policy
	Memory client.Memory // nil: nothing is remembered

	// Log says that the source is the policy's log itself, by TLS or on this machine, so that its word
	// counts that a path is not logged.
	Log bool

	Now func() time.Time // nil: time.Now
}

const (
	// reopenAfter is how old a tree must be to look for a newer one because a path is not in it.
	reopenAfter = 5 * time.Second
	// reopenFailed is how long the log is left alone that could not be reached: each try may take its time.
	reopenFailed = time.Minute
	// reopenAnyway is how old it may get: an upload that is voided is in it still.
	reopenAnyway = 5 * time.Minute
	// sourceTime is how long a source may take to open its tree, and how long for a proof: the next one is waiting.
	sourceTime = 15 * time.Second
)

// FromTree returns a Prover over a static proof tree, which is opened now and compared with what is remembered of
// the log. A source that has no tree, or none that verifies, makes a Prover that says why it has no
// proofs: any mirror may lack the tree. It is looked for again after a while.
func FromTree(ctx context.Context, o TreeOptions) Prover {
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &treeProver{TreeOptions: o}
	p.open(ctx)
	return p
}

// open reads the source's checkpoint. The lock is held, or p is not shared yet.
func (p *treeProver) open(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	p.opened, p.tree, p.detail, p.err = p.Now(), nil, "", nil
	tree, err := prooftree.Open(ctx, p.Source, p.Policy)
	if tree == nil {
		p.detail = fmt.Sprintf("%s: %v", p.Name, err)
		return
	}
	if err == nil && p.Memory != nil {
		var misbehaviour *client.Misbehaviour
		switch err := Remember(ctx, tree, p.Policy, p.Memory); {
		case errors.As(err, &misbehaviour), errors.Is(err, errLocal):
			p.err = err
			return
		case err != nil:
			p.detail = fmt.Sprintf("%s: it does not show that it continues the tree that was seen before: %v", p.Name, err)
			return
		}
	}
	p.tree = tree // without a quorum too: then that is the outcome
}

func (p *treeProver) String() string { return p.Name }

// at returns the tree, a newer one if there may be one and it is asked for.
func (p *treeProver) at(ctx context.Context, newer bool) (*prooftree.Tree, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Most mirrors have no tree, and are not asked for one again and again.
	age := p.Now().Sub(p.opened)
	var misbehaviour *client.Misbehaviour
	switch {
	case errors.As(p.err, &misbehaviour): // it stays so
	case age >= reopenAnyway, age >= reopenAfter && newer && p.tree != nil, age >= reopenFailed && p.tree == nil && p.Log:
		p.open(ctx)
	}
	if p.err == nil && p.tree == nil {
		return nil, fmt.Errorf("%w: %s", prooftree.ErrIncomplete, p.detail)
	}
	return p.tree, p.err
}

// Prove implements Prover.
func (p *treeProver) Prove(ctx context.Context, path string, digest entry.Digest) (*client.Evidence, error) {
	found, err := p.find(ctx, path, digest, false)
	// An index of which only others are logged may be newer than the tree.
	if errors.Is(err, prooftree.ErrIncomplete) || err == nil && digest != (entry.Digest{}) && !isOf(found.Bundle, digest) {
		if newer, failed := p.find(ctx, path, digest, true); failed == nil || found == nil {
			found, err = newer, failed
		}
	}
	var misbehaviour *client.Misbehaviour
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &misbehaviour), errors.Is(err, errLocal):
		return nil, err
	case err != nil:
		e := &client.Evidence{Detail: fmt.Sprintf("%s: %v", p.Name, err)}
		if p.Log && errors.Is(err, prooftree.ErrUnlisted) {
			e.Absence = verify.SaidNotLogged
		}
		return e, nil
	}
	e := &client.Evidence{}
	for _, x := range []struct {
		from *proof.Bundle
		to   *[]byte
	}{{found.Bundle, &e.Bundle}, {found.Void, &e.Revocation}, {found.Deletion, &e.Deletion}} {
		if x.from == nil {
			continue
		}
		b, err := x.from.Marshal()
		if err != nil {
			return &client.Evidence{Detail: fmt.Sprintf("%s: %v", p.Name, err)}, nil
		}
		*x.to = b
	}
	return e, nil
}

func isOf(b *proof.Bundle, digest entry.Digest) bool {
	e, err := entry.Parse(b.Entry)
	return err == nil && e.SHA256 == digest
}

var (
	errLocal = errors.New("the trust state")
	errOlder = fmt.Errorf("%w: it is older than the tree that was seen before, and the policy names no witnesses that would rule out a fork", prooftree.ErrIncomplete)
)

func (p *treeProver) find(ctx context.Context, path string, digest entry.Digest, newer bool) (*prooftree.Proof, error) {
	tree, err := p.at(ctx, newer)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	return tree.BundleFor(ctx, path, digest)
}

// Remember compares a tree with the one that is remembered, and remembers the newer one.
func Remember(ctx context.Context, t *prooftree.Tree, policy *checkpoint.Policy, memory client.Memory) error {
	for {
		old, err := memory.Load(t.Origin)
		if err != nil {
			return fmt.Errorf("%w: %w", errLocal, err)
		}
		if old != nil {
			newer, err := continues(ctx, t, policy, old)
			if err != nil || !newer {
				return err
			}
		}
		switch err := memory.Save(t.Origin, old, t.Note); {
		case err == nil:
			return nil
		case !errors.Is(err, client.ErrChanged):
			return fmt.Errorf("%w: %w", errLocal, err)
		}
	}
}

// continues reports whether a tree is newer than the one of a remembered checkpoint, and continues it. A
// tree that is older is no error if witnesses vouch for it: a copy lags, and they cosign no two histories. Without
// them nothing rules out that it is a fork of a smaller size, and the source that has the older tree cannot show the
// contrary: it is errOlder.
func continues(ctx context.Context, t *prooftree.Tree, policy *checkpoint.Policy, old []byte) (bool, error) {
	before, err := policy.Open(old)
	switch {
	case errors.Is(err, checkpoint.ErrUnknownLog):
		return true, nil // a policy with other keys: what was remembered says nothing under it
	case before == nil:
		return false, fmt.Errorf("%w: the remembered checkpoint: %w", errLocal, err)
	}
	if e := verify.Contradiction(policy, old, t.Note); e != nil {
		return false, &client.Misbehaviour{Evidence: e}
	}
	switch {
	case t.Size < before.Size && policy.QuorumNone():
		return false, fmt.Errorf("%w: size %d, and before size %d", errOlder, t.Size, before.Size)
	case t.Size <= before.Size:
		return false, nil
	}
	hashes, err := t.Consistency(ctx, before.Size)
	if err != nil {
		return false, err
	}
	err = tree.VerifyConsistency(before.Size, t.Size, hashes, before.Root, t.Root)
	if err == nil {
		return true, nil
	}
	// The hashes are those of the newer tree, which verified: it is the log that contradicts itself.
	if bits.OnesCount64(before.Size) == 1 {
		// A proof from a power of two leaves out the old root, and evidence has the newer tree's in its place.
		root, missing := t.Prefix(ctx, before.Size)
		if missing != nil {
			return false, missing
		}
		hashes = append([]tree.Hash{root}, hashes...)
	}
	if e := verify.PrefixContradiction(policy, old, t.Note, hashes); e != nil {
		return false, &client.Misbehaviour{Evidence: e}
	}
	return false, fmt.Errorf("%w: %w", prooftree.ErrInvalid, err)
}
