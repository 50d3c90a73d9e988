package model

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/log/verify"
)

// What is judged in the end, when it is known what the logs hold.

// A forest is the trees of a log's entries.
type forest struct {
	entries [][]byte
	leaves  []tree.Hash
	hashes  hashes
}

type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(h)) {
			return nil, fmt.Errorf("there is no hash %d", x)
		}
		out[i] = h[x]
	}
	return out, nil
}

func newForest(entries [][]byte) (*forest, error) {
	f := &forest{entries: entries}
	for i, e := range entries {
		stored, err := tlog.StoredHashes(int64(i), e, f.hashes)
		if err != nil {
			return nil, err
		}
		f.hashes, f.leaves = append(f.hashes, stored...), append(f.leaves, tree.Hash(tlog.RecordHash(e)))
	}
	return f, nil
}

// has says whether a statement is of one of the forest's trees.
func (f *forest) has(s statement) bool {
	if s.size > uint64(len(f.leaves)) {
		return false
	}
	if s.size == 0 {
		return s.root == tree.Hash(sha256.Sum256(nil))
	}
	root, err := tlog.TreeHash(int64(s.size), f.hashes)
	return err == nil && tree.Hash(root) == s.root
}

// judge holds everything against what the logs have in the end.
func (c *checker) judge(logs map[string]*forest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, f := range logs {
		for file, a := range c.acks[name] {
			if a.index >= uint64(len(f.leaves)) || f.leaves[a.index] != a.leaf {
				c.violateLocked(&c.lost, "%s acknowledged file %d as entry %d of its %d, which is another or not there", name, file, a.index, len(f.leaves))
			}
		}
		for _, s := range c.statements[name] {
			if !f.has(s) {
				c.violateLocked(&c.forks, "%s signed size %d with root %v, which is none of the trees of its %d entries", name, s.size, s.root, len(f.leaves))
			}
		}
	}
	// Each witness by itself, and all that was published, are of one history.
	for name, all := range c.statements {
		if logs[name] == nil {
			c.one(name+" cosigned", all, logs)
		}
	}
	c.one("what was published", c.published, logs)
	c.convict(logs)
}

func (c *checker) one(what string, all []statement, logs map[string]*forest) {
	for _, f := range logs {
		if !slices.ContainsFunc(all, func(s statement) bool { return !f.has(s) }) {
			return
		}
	}
	c.violateLocked(&c.forks, "%s %d trees that are not of one history", what, len(all))
}

// convict makes sure that whoever has two statements of a log that contradict each other can show it to others, and is not
// taken in.
func (c *checker) convict(logs map[string]*forest) {
	for a, notesA := range c.notes {
		for b, notesB := range c.notes {
			if a == b || logs[a] == nil || logs[b] == nil {
				continue
			}
			for size, noteA := range notesA {
				noteB := notesB[size]
				if noteB == nil || size == 0 || logs[b].has(statementOf(noteA)) {
					continue
				}
				if verify.Contradiction(c.policy, noteA, noteB) == nil {
					c.violateLocked(&c.falses, "%s and %s signed two trees of size %d, and their notes convict nobody", a, b, size)
				}
				if err := c.takenIn(logs[b], size, noteA, noteB); err != nil {
					c.violateLocked(&c.falses, "%s signed a second tree of size %d: %w", b, size, err)
				}
				c.convictions++
			}
		}
	}
}

// takenIn shows a client a proof from the second of two logs, whose checkpoint no quorum has cosigned. One that remembers a
// checkpoint of the first has what convicts the log; one that remembers nothing sees that witnesses are missing.
func (c *checker) takenIn(second *forest, size uint64, known, note []byte) error {
	e, err := entry.Parse(second.entries[size-1])
	if err != nil || e.Kind != entry.Upload {
		return err
	}
	b := &proof.Bundle{Entry: second.entries[size-1], Index: size - 1, Checkpoint: note}
	path, err := tlog.ProveRecord(int64(size), int64(size-1), second.hashes)
	if err != nil {
		return err
	}
	for _, h := range path {
		b.Hashes = append(b.Hashes, tree.Hash(h))
	}
	text, err := b.Marshal()
	if err != nil {
		return err
	}
	r := verify.Request{Policy: c.policy, Path: e.Path, SHA256: e.SHA256, Size: e.Size, Bundle: text, Now: time.Now()}
	if v := verify.Verify(r); v.Outcome != verify.PolicyUnmet {
		return fmt.Errorf("a client that knows nothing: expected %v, found %v: %s", verify.PolicyUnmet, v.Outcome, v.Message)
	}
	r.Known = [][]byte{known}
	if v := verify.Verify(r); v.Outcome != verify.Misbehaviour || v.Evidence == nil {
		return fmt.Errorf("a client that knows the other: expected %v with evidence, found %v: %s", verify.Misbehaviour, v.Outcome, v.Message)
	}
	return nil
}

// statementOf is what a note says, without a look at its signatures.
func statementOf(note []byte) statement {
	n, err := checkpoint.ParseNote(note)
	if err != nil {
		return statement{}
	}
	cp, err := checkpoint.ParseText(n.Text)
	if err != nil {
		return statement{}
	}
	return statement{cp.Size, cp.Root}
}
