package verify

import (
	"errors"
	"fmt"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
)

// The names of the checks, in the order in which they are made.
const (
	checkBundle     = "bundle"     // its text is well formed
	checkCheckpoint = "checkpoint" // the log's, validly signed
	checkInclusion  = "inclusion"  // the entry's bytes are a leaf of the checkpoint's tree
	checkQuorum     = "quorum"     // enough witnesses cosigned the checkpoint
	checkEntry      = "entry"      // it is one that this program can read
	checkHistory    = "history"    // nothing else that the log signed contradicts it
	checkPath       = "path"       // the entry is of the path that was asked for
	checkKind       = "kind"       // and of the kind that makes a file verify
	checkDigest     = "digest"     // and of the bytes at hand
	checkSize       = "size"
	checkRevocation = "revocation" // nothing voids the entry
	checkDeletion   = "deletion"   // what is said of a deletion is proven; decides nothing
	checkAge        = "age"        // the checkpoint is young enough
	checkIndexAge   = "index-age"  // the index is young enough
)

// A claim is a bundle on its way from bytes to a proven entry.
type claim struct {
	text     []byte
	bundle   *proof.Bundle
	opened   *checkpoint.Opened // nil unless the checkpoint is the log's
	included bool               // bundle.Entry is entry bundle.Index of the log, by the log's word
	quorum   error              // why the quorum is not met
	entry    *entry.Entry       // nil unless included and read
	checks   []Check

	// The first step that failed, other than the quorum's, and why.
	failed string
	err    error
}

// examine takes a bundle through all steps up to the entry, over raw bytes as long as
// possible. A quorum that is not met does not end it, because worse may follow, but
// then nothing of it is proven.
func examine(p *checkpoint.Policy, text []byte) *claim {
	c := &claim{text: text}
	var err error
	if c.bundle, err = proof.Parse(text); err != nil {
		return c.fail(checkBundle, err)
	}
	c.pass(checkBundle, "%d bytes, entry %d, %d hashes", len(text), c.bundle.Index, len(c.bundle.Hashes))

	if c.opened, err = p.Open(c.bundle.Checkpoint); err != nil && !errors.Is(err, checkpoint.ErrQuorum) {
		return c.fail(checkCheckpoint, err)
	}
	c.quorum = err
	c.pass(checkCheckpoint, "%s, size %d, root %v", c.opened.Origin, c.opened.Size, c.opened.Root)

	if err = c.bundle.Verify(c.opened.Size, c.opened.Root); err != nil {
		return c.fail(checkInclusion, err)
	}
	c.included = true
	c.pass(checkInclusion, "entry %d of %d", c.bundle.Index, c.opened.Size)

	switch {
	case c.quorum != nil:
		c.checks = append(c.checks, Check{checkQuorum, false, c.quorum.Error()})
	case p.QuorumNone():
		c.pass(checkQuorum, "none needed")
	default:
		c.pass(checkQuorum, "%d cosignatures of known witnesses", len(c.opened.Cosignatures))
	}

	e, err := entry.Parse(c.bundle.Entry)
	if err != nil {
		return c.fail(checkEntry, err)
	}
	c.entry = e
	c.pass(checkEntry, "%s %s", e.Kind, e.Path)
	return c
}

func (c *claim) pass(name, format string, args ...any) {
	c.checks = append(c.checks, Check{name, true, fmt.Sprintf(format, args...)})
}

func (c *claim) fail(name string, err error) *claim {
	c.failed, c.err = name, err
	c.checks = append(c.checks, Check{name, false, err.Error()})
	return c
}

// proven returns nil if the claim's entry is read and proven under the policy.
func (c *claim) proven() error {
	if c.err != nil {
		return c.err
	}
	return c.quorum
}
