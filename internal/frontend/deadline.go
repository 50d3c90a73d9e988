package frontend

import (
	"context"
	"sync"
	"time"
)

// A deadline is a context that ends at a time, as one of context.WithDeadline does, and costs nothing as long as
// nobody waits for its end: most calls read from memory and are over before they could.
type deadline struct {
	context.Context // the parent
	at              time.Time

	mu    sync.Mutex
	timed context.Context // the parent with the deadline; nil until it is needed
	stop  context.CancelFunc
	over  bool
}

// withDeadline returns the context of a call that may take so long. The call must end it.
func withDeadline(parent context.Context, at time.Time) *deadline {
	if earlier, ok := parent.Deadline(); ok && earlier.Before(at) {
		at = earlier
	}
	return &deadline{Context: parent, at: at}
}

// end cancels the context. It may be called once the call is over.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.stop != nil {
		d.stop()
	}
}

// Deadline implements context.Context.
func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

// Done implements context.Context.
func (d *deadline) Done() <-chan struct{} { return d.real().Done() }

// Err implements context.Context. It asks the same context as Done, so that the two agree.
func (d *deadline) Err() error { return d.real().Err() }

func (d *deadline) real() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.stop = context.WithDeadline(d.Context, d.at)
		if d.over {
			d.stop()
		}
	}
	return d.timed
}
