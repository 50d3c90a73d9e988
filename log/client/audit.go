package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/transparency-dev/merkle/compact"

	"github.com/pauselog/pauselog/log/tile"
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
//
// It uses all processors. Of the entries some thousand are held at a time, and of each path about 100 bytes until the end.
func (l *Log) Audit(ctx context.Context, progress func(done, size uint64)) (*Report, error) {
	remembered, err := l.remembered()
	if err != nil {
		return nil, err
	}
	seen, err := l.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	a := newAudit(seen, progress)
	a.remembered = remembered
	if seen.Size > 0 {
		if err := l.auditStream(ctx, a); err != nil {
			return a.report, err
		}
	}
	return a.report, a.finish()
}

// auditStream audits what the server lists.
func (l *Log) auditStream(ctx context.Context, a *audit) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	size := a.report.Seen.Size
	stream, err := l.api.ListEntries(ctx, &pb.ListEntriesRequest{End: size})
	if err != nil {
		return err
	}
	at := uint64(0)
	receive := func() (*pb.ListEntriesResponse, error) {
		stall := time.AfterFunc(stallTime, func() {
			cancel(fmt.Errorf("%w: no entries for %v after entry %d", ErrAnswer, stallTime, at))
		})
		defer stall.Stop()
		r, err := stream.Recv()
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: the entries end after %d, the checkpoint has %d", ErrAnswer, at, size)
		}
		if err == nil && (r.Start != at || uint64(len(r.Entries)) > size-r.Start || len(r.Entries) == 0) {
			err = fmt.Errorf("%w: %d entries from %d on, expected some from %d on", ErrAnswer, len(r.Entries), r.Start, at)
		}
		return r, err
	}
	return a.run(ctx, cancel, func(p *piece) (more bool) {
		r, err := receive()
		if err != nil {
			p.err = err
			return false
		}
		p.start, p.texts = at, r.Entries
		at += uint64(len(r.Entries))
		return at < size
	})
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

// An audit is one on its way. Its fields are those of the goroutine that joins the pieces.
type audit struct {
	report     *Report
	wrong      error // what it wraps that the entries are not those of the checkpoint
	edge       *compact.Range
	remembered map[uint64]tree.Hash
	history    history
	progress   func(done, size uint64)

	load func(context.Context, *piece) error // reads a piece's entries and adds them, on any goroutine; nil if it has them
	full func(root tree.Hash) error          // is told the root of each full bundle, in order; may be nil
}

// ranges makes every compact range here: the library joins only those of one factory.
var ranges = &compact.RangeFactory{Hash: tree.Hasher{}.HashChildren}

func newAudit(seen *Seen, progress func(done, size uint64)) *audit {
	return &audit{
		report: &Report{Seen: seen, Kinds: map[string]uint64{}}, wrong: ErrAnswer,
		edge: ranges.NewEmptyRange(0), history: newHistory(seen.Size), progress: progress,
	}
}

// join adds the next piece.
func (a *audit) join(p *piece) error {
	if p.err != nil {
		return p.err
	}
	if err := a.grow(p); err != nil {
		return err
	}
	for i, n := range p.kinds {
		if n > 0 {
			a.report.Kinds[kindNames[i]] += n
		}
	}
	a.history.paths.expect(p.judged)
	for i := range p.judged {
		index := p.start + uint64(i)
		if err := a.history.stand(index, &p.judged[i]); err != nil {
			a.violation(index, err)
		}
	}
	if a.progress != nil {
		a.progress(a.edge.End(), a.report.Seen.Size)
	}
	return nil
}

// grow adds a piece's leaves to the tree. The range keeps the hashes that it is given, and the piece is used again.
func (a *audit) grow(p *piece) error {
	if p.isBundle() && !a.remembersWithin(p) {
		root := p.root
		perfect, err := ranges.NewRange(p.start, p.start+tile.Width, [][]byte{root[:]})
		if err != nil {
			return err
		}
		if err := a.edge.AppendRange(perfect, nil); err != nil {
			return err
		}
	} else {
		for _, leaf := range p.leaves {
			if err := a.edge.Append(leaf[:], nil); err != nil {
				return err
			}
			if want, ok := a.remembered[a.edge.End()]; ok {
				if got, err := a.root(); err != nil || got != want {
					return fmt.Errorf("%w: its first %d entries have root %v, the remembered checkpoint says %v", a.wrong, a.edge.End(), got, want)
				}
			}
		}
	}
	if a.full != nil && p.isBundle() {
		return a.full(p.root)
	}
	return nil
}

func (a *audit) remembersWithin(p *piece) bool {
	for size := range a.remembered {
		if size > p.start && size <= p.start+uint64(len(p.leaves)) {
			return true
		}
	}
	return false
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
		return fmt.Errorf("%w: the %d entries have root %v, the checkpoint says %v", a.wrong, a.edge.End(), root, seen.Root)
	}
	return nil
}
