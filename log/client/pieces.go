package client

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tile"
	"github.com/pauselog/pauselog/log/tree"
)

// An audit is done in pieces: one goroutine says what the next piece is, many hash and parse pieces, in any order, and
// one joins them, in their order. What depends on entries before it is left to the last, and is little.

const (
	// maxWorkers bounds the goroutines that hash and parse: the one that joins keeps up with no more.
	maxWorkers = 8
	// ahead is how many pieces there are for each of them. A piece is at most one answer of a server or one bundle
	// (16 MB, of this log's entries 256 KB), so that memory is bounded whatever a source sends.
	ahead = 2
)

// A piece is a run of entries.
type piece struct {
	start uint64
	texts []string // its entries, if they were read already

	// What all that stand for themselves say, whatever is before them.
	leaves []tree.Hash
	root   tree.Hash // over the leaves, if they are those of a full bundle
	judged []judged
	kinds  [len(kindNames)]uint64

	err    error
	judges chan struct{} // receives when the piece is judged
}

// kindNames are the kinds as a report counts them.
var kindNames = [...]string{string(entry.Upload), string(entry.Index), string(entry.Delete), string(entry.Conflict), string(entry.Void), "unknown"}

// kindOf is the place of a known kind in kindNames.
func kindOf(k entry.Kind) int {
	switch k {
	case entry.Upload:
		return 0
	case entry.Index:
		return 1
	case entry.Delete:
		return 2
	case entry.Conflict:
		return 3
	}
	return 4
}

// isBundle reports whether a piece is a full bundle.
func (p *piece) isBundle() bool { return p.start%tile.Width == 0 && len(p.leaves) == tile.Width }

// run takes pieces from next until that says that there are no more, or one has an error, and joins all.
// next is called on one goroutine. What it does may wait, and must end with the context, which run ends when it returns.
func (a *audit) run(ctx context.Context, cancel context.CancelCauseFunc, next func(*piece) (more bool)) error {
	workers := runtime.GOMAXPROCS(0)
	if a.load != nil {
		workers *= 4 // they wait for the disk or the network too
	}
	workers = min(workers, maxWorkers)
	window := workers * ahead
	// Each of the pieces is in at most one place at a time, so that nobody waits to send.
	free, work, queue := make(chan *piece, window), make(chan *piece, window), make(chan *piece, window)
	for range window {
		free <- &piece{judges: make(chan struct{}, 1)}
	}
	var running sync.WaitGroup
	defer running.Wait() // nothing reads, or calls what the caller gave, after the audit
	defer cancel(nil)
	running.Go(func() {
		defer close(queue)
		defer close(work)
		for more := true; more; {
			select {
			case <-ctx.Done():
				return
			case p := <-free:
				p.reset()
				more = next(p)
				queue <- p
				work <- p
			}
		}
	})
	for range workers {
		running.Go(func() {
			for p := range work {
				p.judge(ctx, a.load)
				p.judges <- struct{}{}
			}
		})
	}
	for p := range queue {
		<-p.judges
		if err := a.join(p); err != nil {
			return err
		}
		free <- p
	}
	return context.Cause(ctx)
}

func (p *piece) reset() {
	*p = piece{leaves: p.leaves[:0], judged: p.judged[:0], judges: p.judges}
}

// judge does all of the audit of a piece that needs nothing that stands before it.
func (p *piece) judge(ctx context.Context, load func(context.Context, *piece) error) {
	if p.err == nil {
		p.err = context.Cause(ctx)
	}
	if p.err == nil && load != nil {
		p.err = load(ctx, p)
	}
	if p.err != nil {
		return
	}
	for _, text := range p.texts {
		p.add(text)
	}
	if p.isBundle() {
		p.root = tile.Root(p.leaves)
	}
}

// add hashes and parses an entry of the piece.
func (p *piece) add(text string) {
	p.leaves = append(p.leaves, tree.LeafHashString(text))
	p.judged = append(p.judged, judged{})
	j := &p.judged[len(p.judged)-1]
	if err := entry.ParseInto(&j.entry, text); err != nil {
		if errors.Is(err, entry.ErrUpgrade) {
			p.kinds[len(kindNames)-1]++
		} else {
			j.err = err
		}
		return
	}
	p.kinds[kindOf(j.entry.Kind)]++
	// Nearly all entries are the first of their path: what the rules say of that can be said here.
	j.read, j.key = true, keyOf(j.entry.Path)
	j.err = (*entry.Last)(nil).FollowsParsed(&j.entry)
}
