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
			var w worker
			for p := range work {
				w.judge(ctx, a.load, p)
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

// A worker judges pieces, one at a time.
type worker struct {
	text []byte // a copy of one that is a string
}

// judge does all of the audit of a piece that needs nothing that stands before it.
func (w *worker) judge(ctx context.Context, load func(context.Context, *piece) error, p *piece) {
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
		w.text = append(w.text[:0], text...)
		p.add(w.text)
	}
	if p.isBundle() {
		p.root = tile.Root(p.leaves)
	}
}

// add hashes and parses an entry of the piece. It keeps nothing of the text.
func (p *piece) add(text []byte) {
	p.leaves = append(p.leaves, tree.LeafHash(text))
	p.judged = append(p.judged, judged{})
	j := &p.judged[len(p.judged)-1]
	e, err := entry.Parse(text)
	switch {
	case errors.Is(err, entry.ErrUpgrade):
		p.kinds[len(kindNames)-1]++
		return
	case err != nil:
		j.err = err
		return
	}
	for i := range kindNames {
		if string(e.Kind) == kindNames[i] {
			p.kinds[i]++
		}
	}
	// Nearly all entries are the first of their path: what the rules say of that can be said here.
	j.entry, j.key = e, keyOf(e.Path)
	j.err = (*entry.Last)(nil).Follows(e)
}
