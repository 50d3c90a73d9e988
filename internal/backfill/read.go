package backfill

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/pauselog/pauselog/internal/artifact"
	"github.com/pauselog/pauselog/internal/submit"
	"github.com/pauselog/pauselog/log/entry"
)

const (
	// ahead is how many files are read before their turn: while one worker is busy with a large file, the others go on.
	ahead = 1024
	// gather is how long a group waits for more files.
	gather = time.Second
	// costOfFile is what a file costs of the rate besides its bytes: about one block, for finding it.
	costOfFile = 4096
)

// A handed is a file on its way from the walk to the log.
type handed struct {
	found *found
	done  chan struct{} // closed when item is set
	item  submit.Item   // its Tag is an *Outcome
}

// read starts the walk and those who read the files. stop ends them, and waits for their end.
func (r *run) read(ctx context.Context) (f *feed, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	queue, work := make(chan *handed, ahead), make(chan *handed)
	f = &feed{queue: queue}
	var all sync.WaitGroup
	all.Go(func() {
		defer close(queue)
		defer close(work)
		f.err = r.trees.walk(ctx, r.journal.after, func(x *found) error {
			h := &handed{found: x, done: make(chan struct{})}
			// The order is that of the queue. Who takes from it waits for done.
			for _, to := range []chan *handed{queue, work} {
				select {
				case to <- h:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			return nil
		})
	})
	for range r.Jobs {
		all.Go(func() {
			for h := range work {
				o := &Outcome{Path: h.found.path}
				h.item.Seen, h.item.Tag = r.Seen, o
				o.Word, o.Err = r.look(ctx, h.found, o, &h.item.Entry)
				h.item.Err = o.Err
				if ctx.Err() != nil {
					return // that it could not be read any more says nothing of the file
				}
				close(h.done)
			}
		})
	}
	return f, func() { cancel(); all.Wait() }
}

// errDone is why nothing is submitted of what needs no other reason.
var errDone = errors.New("nothing is submitted")

// look reads all copies of a file. If they can be submitted, it fills in the entry and returns no error.
func (r *run) look(ctx context.Context, f *found, o *Outcome, e *entry.Entry) (Word, error) {
	switch {
	case f.err != nil:
		return Unreadable, f.err
	case len(f.roots) == 0 && f.listed == nil:
		return Special, f.special
	}
	o.special = f.special
	if _, err := submit.Classify(f.path); errors.Is(err, submit.ErrNever) {
		return Never, err
	} else if err != nil {
		return Unloggable, err
	}
	var copies []Copy
	for _, root := range f.roots {
		c, err := r.readCopy(ctx, r.trees.roots[root], f.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // a mirror that is at work removes files
		case errors.Is(err, artifact.ErrNotRegular):
			o.special = err // since it was listed
			continue
		case err != nil:
			return Unreadable, err
		}
		o.read += c.Size
		copies = append(copies, c)
	}
	if f.listed != nil {
		copies = append(copies, *f.listed)
	}
	if len(copies) == 0 {
		return Gone, fmt.Errorf("it was removed: %w", fs.ErrNotExist)
	}
	first := copies[0]
	for _, c := range copies[1:] {
		if c.SHA256 != first.SHA256 || c.Size != first.Size {
			o.Copies = copies
			return Disagreeing, fmt.Errorf("%s has %d bytes with sha256 %s, and %s has %d bytes with sha256 %s: nothing says which are right",
				first.Tree, first.Size, first.SHA256, c.Tree, c.Size, c.SHA256)
		}
	}
	// A time that is yet to come says nothing of when the file was changed.
	if age := time.Since(first.time.Time()); age >= 0 && age < r.MinAge {
		return Young, errDone
	}
	o.SHA256, o.Size, o.Time = first.SHA256, first.Size, first.time
	w, withdrawn := r.withdrawn[f.path]
	onCPAN := len(f.roots) > 0 && f.roots[0] == 0
	if withdrawn && w.digest == first.SHA256 && (w.kind == entry.Void || !onCPAN) {
		if w.kind == entry.Void {
			return Voided, errors.New("the log's operator voided it: if it is to be logged again, submit it by hand")
		}
		return Deleted, errDone
	}
	*e = entry.Entry{Kind: entry.Upload, Path: f.path, SHA256: o.SHA256, Size: o.Size, Time: o.Time, By: "-", Seen: r.Seen}
	if err := e.Validate(); err != nil {
		return Unloggable, err // a time before 1970
	}
	return Loggable, nil
}

func (r *run) readCopy(ctx context.Context, root, path string) (Copy, error) {
	name := filepath.Join(root, filepath.FromSlash(path))
	if r.Limiter != nil {
		info, err := os.Lstat(name)
		if err != nil {
			return Copy{}, err
		}
		if err := pay(ctx, r.Limiter, info.Size()+costOfFile); err != nil {
			return Copy{}, err
		}
	}
	f, err := artifact.ReadRegular(name)
	if err != nil {
		return Copy{}, err
	}
	return Copy{Tree: root, SHA256: f.SHA256, Size: f.Size, time: entry.TimeOf(f.ModTime)}, nil
}

// pay waits until so many bytes may be read. A file that is larger than the limiter's burst is paid for in pieces and then
// read at once: what is kept is the rate over some time.
func pay(ctx context.Context, l *rate.Limiter, n int64) error {
	for n > 0 {
		piece := n
		if l.Limit() != rate.Inf {
			piece = min(n, int64(l.Burst()))
		}
		if err := l.WaitN(ctx, int(piece)); err != nil {
			<-ctx.Done() // if it has a deadline, the limiter knows already that it will not be met
			return err
		}
		n -= piece
	}
	return nil
}

// A feed hands on what was read, in the order of the walk and in groups.
type feed struct {
	queue <-chan *handed
	head  *handed       // taken from the queue; perhaps it is still being read
	group []submit.Item // not handed on yet; kept when a stream fails
	over  bool          // there is no more in the queue
	err   error         // why the walk ended early; may be read when over
}

// more puts the next file into the group. false says that there was none until the limit, or that there is no more.
func (f *feed) more(ctx context.Context, limit <-chan time.Time) (bool, error) {
	if f.over {
		return false, nil
	}
	if f.head == nil {
		select {
		case h, ok := <-f.queue:
			if !ok {
				f.over = true
				return false, nil
			}
			f.head = h
		case <-limit:
			return false, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	select {
	case <-f.head.done:
	case <-limit:
		return false, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	f.group = append(f.group, f.head.item)
	f.head = nil
	return true, nil
}

// take returns the next group. It has at most submit.Window items, and comes at the latest so long after its first; none says
// that there is no more, or that nothing came until the limit.
func (f *feed) take(ctx context.Context, limit <-chan time.Time) ([]submit.Item, error) {
	if len(f.group) == 0 {
		if ok, err := f.more(ctx, limit); !ok {
			return nil, err
		}
	}
	t := time.NewTimer(gather)
	defer t.Stop()
	for len(f.group) < submit.Window {
		ok, err := f.more(ctx, t.C)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
	}
	g := f.group
	f.group = nil
	return g, nil
}

// ready waits for a file, and reports whether there is one.
func (f *feed) ready(ctx context.Context) (bool, error) {
	if len(f.group) > 0 {
		return true, nil
	}
	return f.more(ctx, nil)
}
