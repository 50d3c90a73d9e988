package model

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pauselog/pauselog/internal/submit"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
	"github.com/pauselog/pauselog/witness/protocol"
)

// A checker is all-seeing: it knows what each node signed and what each client was told, and holds it against
// what must be so. Trees it computes with golang.org/x/mod/sumdb/tlog.
type checker struct {
	policy *checkpoint.Policy
	logKey *checkpoint.VerifierKey
	trace  *trace

	mu sync.Mutex // guards all below
	// equivocates: the log's operator runs two logs with one key. Then the log itself may contradict itself, and nobody else.
	equivocates  bool
	statements   map[string][]statement // by who made them: nodes and witnesses
	published    []statement            // of notes that satisfy the policy
	acks         map[string]map[int]ack // by the log that gave them, then by file
	notes        map[string]map[uint64][]byte
	bundles      uint64
	convictions  uint64
	first        error // the first violation
	lost         uint64
	forks        uint64
	falses       uint64
	acknowledged uint64
}

// A statement is that a tree is this log's.
type statement struct {
	size uint64
	root tree.Hash
}

// An ack is what a submission was answered.
type ack struct {
	index uint64
	leaf  tree.Hash
}

func newChecker(p *checkpoint.Policy, k *checkpoint.VerifierKey, t *trace) *checker {
	return &checker{policy: p, logKey: k, trace: t, statements: map[string][]statement{}, acks: map[string]map[int]ack{}, notes: map[string]map[uint64][]byte{}}
}

// violate takes note of what must not be.
func (c *checker) violate(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violateLocked(nil, format, args...)
}

func (c *checker) violateLocked(count *uint64, format string, args ...any) {
	err := fmt.Errorf(format, args...)
	c.trace.add("VIOLATION: %v", err)
	if count != nil {
		*count++
	}
	if c.first == nil {
		c.first = err
	}
}

func (c *checker) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first
}

func (c *checker) setEquivocates() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.equivocates = true
}

// signed takes a note that a log sends to a witness.
func (c *checker) signed(by string, note []byte) {
	c.mu.Lock()
	known := c.notes[by][statementOf(note).size]
	c.mu.Unlock()
	if bytes.Equal(known, note) {
		return
	}
	o, err := c.policy.Open(note)
	if o == nil {
		c.violate("%s sends a note that it did not sign: %v", by, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state(by, statement{o.Size, o.Root}) {
		if c.notes[by] == nil {
			c.notes[by] = map[uint64][]byte{}
		}
		c.notes[by][o.Size] = bytes.Clone(note)
	}
}

// state takes a statement, and says whether it is new. Two of one size that differ are a fork.
func (c *checker) state(by string, s statement) bool {
	for who, all := range c.statements {
		if who != by && c.equivocates {
			continue // they are compared in the end, with the trees
		}
		for _, other := range all {
			if other.size == s.size && other.root != s.root {
				c.violateLocked(&c.forks, "%s says that the tree of size %d has root %v, and %s that it has %v", by, s.size, s.root, who, other.root)
				return false
			}
		}
	}
	if slices.Contains(c.statements[by], s) {
		return false
	}
	c.statements[by] = append(c.statements[by], s)
	return true
}

// cosigned takes what a witness signed, at the moment when it did.
func (c *checker) cosigned(n *witnessNode, body, lines []byte) {
	r, err := protocol.ParseAddCheckpoint(body)
	if err != nil {
		c.violate("%s cosigned what cannot be parsed: %v", n.name, err)
		return
	}
	note, err1 := checkpoint.ParseNote(r.Note)
	cp, err2 := checkpoint.ParseText(note.Text)
	sigs, err3 := checkpoint.ParseSignatures(lines)
	if err1 != nil || err2 != nil || err3 != nil {
		c.violate("%s cosigned what cannot be parsed: %v, %v, %v", n.name, err1, err2, err3)
		return
	}
	mine := false
	for _, s := range sigs {
		for _, k := range n.keys {
			if k.Verifier().Matches(s) {
				_, err := k.Verifier().Verify(note.Text, s)
				mine = err == nil
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !mine {
		c.violateLocked(&c.falses, "%s answers with a signature that does not verify", n.name)
	}
	// Two trees of one witness are a fork, whatever the log does.
	if last := c.statements[n.name]; len(last) > 0 && !n.rolled.Load() {
		if newest := last[len(last)-1]; cp.Size < newest.size {
			c.violateLocked(&c.forks, "%s cosigned size %d, and then size %d: it went back", n.name, newest.size, cp.Size)
		}
	}
	c.state(n.name, statement{cp.Size, cp.Root})
}

// newestOf is the largest size that somebody stated.
func (c *checker) newestOf(who string) (size uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.statements[who] {
		size = max(size, s.size)
	}
	return size
}

// shown takes a note that readers were shown as published, and says whether they may be.
func (c *checker) shown(by string, note []byte) bool {
	o, err := c.policy.Open(note)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || !o.QuorumMet {
		c.violateLocked(&c.falses, "%s was shown a checkpoint that does not satisfy the policy: %v", by, err)
		return false
	}
	s := statement{o.Size, o.Root}
	for _, p := range c.published {
		if p.size == s.size && p.root != s.root {
			c.violateLocked(&c.forks, "two trees of size %d were published, with roots %v and %v", s.size, p.root, s.root)
			return false
		}
	}
	if !slices.Contains(c.published, s) {
		c.published = append(c.published, s)
	}
	return true
}

// answered takes the answer to a submission.
func (c *checker) answered(log string, file int, e *entry.Entry, r *pb.SubmitResult) bool {
	if err := submit.CheckLogged(e, r); err != nil {
		c.wrong("file %d: %v", file, err)
		return false
	}
	if r.Bundle != "" && !c.bundle(fmt.Sprintf("the submitter of file %d", file), e, r.Index, []byte(r.Bundle)) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.acks[log] == nil {
		c.acks[log] = map[int]ack{}
	}
	a := ack{r.Index, tree.Hash(r.LeafHash)}
	if before, ok := c.acks[log][file]; ok {
		if before != a {
			c.violateLocked(&c.falses, "file %d was acknowledged as entry %d, and then as entry %d", file, before.index, a.index)
			return false
		}
		return true
	}
	c.acks[log][file] = a
	c.acknowledged++
	return true
}

// wrong takes note of a false answer.
func (c *checker) wrong(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violateLocked(&c.falses, format, args...)
}

// bundle verifies what a client was given as an installer would.
func (c *checker) bundle(who string, e *entry.Entry, index uint64, text []byte) bool {
	v := verify.Verify(verify.Request{Policy: c.policy, Path: e.Path, SHA256: e.SHA256, Size: e.Size, Bundle: text, Now: time.Now()})
	if v.Outcome != verify.Verified || v.Index != index {
		c.wrong("%s was given a bundle for entry %d: %v, entry %d: %s", who, index, v.Outcome, v.Index, v.Message)
		return false
	}
	b, err := proof.Parse(text)
	if err != nil || !c.shown(who, b.Checkpoint) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bundles++
	return true
}

// ackOf is what a log said of a file.
func (c *checker) ackOf(log string, file int) (ack, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.acks[log][file]
	return a, ok
}

// largest is the size that a log must have to hold all that it acknowledged.
func (c *checker) largest(log string) (size uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.acks[log] {
		size = max(size, a.index+1)
	}
	return size
}
