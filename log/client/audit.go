package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/transparency-dev/merkle/compact"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// stallTime is how long an audit waits for the next entries: a damaged server must not hang it.
const stallTime = time.Minute

// maxFindings bounds what a report lists; all are counted.
const maxFindings = 100

// A Report is what an audit found.
type Report struct {
	Seen    *Seen // the checkpoint that was audited
	Entries uint64
	Kinds   map[string]uint64 // entries by kind; those of a newer format under "unknown"
	// Findings are violations of the log's rules; Violations counts those beyond maxFindings too.
	Findings   []Finding
	Violations uint64
}

// A Finding is a violation of a rule by an entry.
type Finding struct {
	Index   uint64 `json:"index"`
	Message string `json:"message"`
}

// Audit reads the whole log up to its newest checkpoint, re-hashes everything, and holds
// each entry against the rules of what may follow what. progress may be nil. The
// error says why the audit could not be finished, or wraps ErrAnswer if the entries are not
// those of the checkpoint; violations of rules are in the report.
func (l *Log) Audit(ctx context.Context, progress func(done, size uint64)) (*Report, error) {
	remembered, err := l.remembered()
	if err != nil {
		return nil, err
	}
	seen, err := l.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	a := &audit{
		report: &Report{Seen: seen, Kinds: map[string]uint64{}},
		edge:   (&compact.RangeFactory{Hash: tree.Hasher{}.HashChildren}).NewEmptyRange(0),
		paths:  map[pathKey]past{}, conflicts: map[pathKey]bool{},
		remembered: remembered,
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := l.api.ListEntries(ctx, &pb.ListEntriesRequest{End: seen.Size})
	if seen.Size == 0 {
		return a.report, a.finish()
	}
	if err != nil {
		return a.report, err
	}
	stall := time.AfterFunc(stallTime, func() {
		cancel(fmt.Errorf("%w: no entries for %v after entry %d", ErrAnswer, stallTime, a.edge.End()))
	})
	defer stall.Stop()
	for a.edge.End() < seen.Size {
		r, err := stream.Recv()
		if cause := context.Cause(ctx); cause != nil {
			return a.report, cause
		}
		if errors.Is(err, io.EOF) {
			return a.report, fmt.Errorf("%w: the entries end after %d, the checkpoint has %d", ErrAnswer, a.edge.End(), seen.Size)
		}
		if err != nil {
			return a.report, err
		}
		stall.Reset(stallTime)
		if r.Start != a.edge.End() || uint64(len(r.Entries)) > seen.Size-r.Start || len(r.Entries) == 0 {
			return a.report, fmt.Errorf("%w: %d entries from %d on, expected some from %d on", ErrAnswer, len(r.Entries), r.Start, a.edge.End())
		}
		for _, b := range r.Entries {
			if err := a.add([]byte(b)); err != nil {
				return a.report, err
			}
		}
		if progress != nil {
			progress(a.edge.End(), seen.Size)
		}
	}
	return a.report, a.finish()
}

// remembered returns the size and root that were remembered before the audit.
func (l *Log) remembered() (map[uint64]tree.Hash, error) {
	out := map[uint64]tree.Hash{}
	if l.memory == nil {
		return out, nil
	}
	for _, p := range l.policy.Logs() {
		note, err := l.memory.Load(p.Key.Name())
		if err != nil {
			return nil, err
		}
		if note == nil {
			continue
		}
		if o, _ := l.policy.Open(note); o != nil {
			out[o.Size] = o.Root
		}
	}
	return out, nil
}

// An audit is one on its way.
type audit struct {
	report     *Report
	edge       *compact.Range
	remembered map[uint64]tree.Hash
	// What is known of each path, in 100 bytes: whole entries would take four times that.
	paths     map[pathKey]past
	conflicts map[pathKey]bool
}

type pathKey [16]byte

func keyOf(parts ...string) pathKey {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return pathKey(h.Sum(nil))
}

// past is an entry.Last without the strings.
type past struct {
	sha256        entry.Digest
	kind          byte // its first letter
	time          entry.Time
	index, upload uint64
	voided        uint64
}

var kindOf = map[byte]entry.Kind{'u': entry.Upload, 'i': entry.Index, 'd': entry.Delete, 'v': entry.Void}

func (p past) last(path string) *entry.Last {
	return &entry.Last{Index: p.index, Upload: p.upload,
		Entry: &entry.Entry{Kind: kindOf[p.kind], Path: path, SHA256: p.sha256, Time: p.time, Index: p.voided}}
}

func (a *audit) add(b []byte) error {
	index := a.edge.End()
	leaf := tree.LeafHash(b)
	if err := a.edge.Append(leaf[:], nil); err != nil {
		return err
	}
	if want, ok := a.remembered[a.edge.End()]; ok {
		if got, err := a.root(); err != nil || got != want {
			return fmt.Errorf("%w: its first %d entries have root %v, the remembered checkpoint says %v", ErrAnswer, a.edge.End(), got, want)
		}
	}
	e, err := entry.Parse(b)
	if errors.Is(err, entry.ErrUpgrade) {
		a.report.Kinds["unknown"]++
		return nil
	}
	if err != nil {
		a.violation(index, err)
		return nil
	}
	a.report.Kinds[string(e.Kind)]++
	key := keyOf(e.Path)
	var last *entry.Last
	if p, ok := a.paths[key]; ok {
		last = p.last(e.Path)
	}
	if err := last.Follows(e); err != nil {
		a.violation(index, err)
		return nil
	}
	if e.Kind == entry.Conflict {
		pair := keyOf(e.Path, e.SHA256.String(), e.Other.String())
		if a.conflicts[pair] {
			a.violation(index, fmt.Errorf("the conflict of %s with %s was logged before", e.Path, e.Other))
		}
		a.conflicts[pair] = true
		return nil
	}
	next := last.Next(e, index)
	a.paths[key] = past{sha256: e.SHA256, kind: e.Kind[0], time: e.Time, index: next.Index, upload: next.Upload, voided: e.Index}
	return nil
}

func (a *audit) violation(index uint64, err error) {
	a.report.Violations++
	if len(a.report.Findings) < maxFindings {
		a.report.Findings = append(a.report.Findings, Finding{index, err.Error()})
	}
}

func (a *audit) root() (tree.Hash, error) {
	if a.edge.End() == 0 {
		return tree.EmptyRoot, nil
	}
	h, err := a.edge.GetRootHash(nil)
	if err != nil {
		return tree.Hash{}, err
	}
	return tree.Hash(h), nil
}

// finish compares what was read with the checkpoint.
func (a *audit) finish() error {
	a.report.Entries = a.edge.End()
	root, err := a.root()
	if err != nil {
		return err
	}
	if seen := a.report.Seen; root != seen.Root {
		return fmt.Errorf("%w: the %d entries have root %v, the checkpoint says %v", ErrAnswer, a.edge.End(), root, seen.Root)
	}
	return nil
}
