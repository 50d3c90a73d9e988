// Package agent brings into the log what happens on PAUSE, from the spool into which PAUSE's hook writes, and from
// the tree itself for what the hook did not see.
//
// PAUSE never waits for the agent, and the agent never gives up on the log. Whatever stops it, at whatever moment, loses
// nothing and logs nothing twice:
//
//   - A spool file is removed only after the log has said that its entry is durable, and after its answer was
//     checked. A crash before the removal submits it once more, and the log answers with the entry that is there.
//   - The removal of an upload's or a deletion's file is durable before the next one of the same path is submitted. Else an upload might be
//     submitted once more behind its deletion, as if the file had come back.
//   - What can never be submitted is set aside, with the reason, in the state folder, and removed from the spool after
//     that is durable. A crash between the two sets it aside once more, under the same name.
//   - How far the reconciliation has come is written down after what it found was logged.
//
// # What is believed
//
// The hook says what PAUSE published; the agent hashes the file itself. If both differ, one of them is wrong, or
// the file was changed in between: nothing is submitted, and somebody has to look. If the file is gone already,
// the hook's digest counts. An index file changes by nature, so its digest is the hook's.
//
// Events of one path are submitted in their order: while one of them has to wait, those after it do too.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pauselog/pauselog/internal/spool"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// A Config is what an agent works with.
type Config struct {
	Spool  *spool.Folder // nil: there is no hook
	Root   string        // the CPAN root on this machine
	Remote *Remote       // the tree if it is elsewhere; then there is no Spool, no Walk, and no Root
	State  string        // a folder of the agent's own, see Lock; is made if it is not there

	Log    pb.LogClient // takes submissions
	Reader Reader       // says what is logged; nil if there are no Changes

	// Export brings the static proof tree up to date, and returns its size; nil: there is none.
	Export func(context.Context) (uint64, error)

	Logger *slog.Logger
	Now    func() time.Time // nil: time.Now

	Changes Changes // what the RECENT files tell; nil: they are not read
	Walk    Walk    // looks at the whole tree, slowly; nil: never
}

// How often things are looked at, and how long is waited.
const (
	poll         = 500 * time.Millisecond
	exportEvery  = 30 * time.Second
	beatEvery    = 5 * time.Second
	firstBackOff = time.Second
	lastBackOff  = time.Minute
	drainAtOnce  = 4096 // spool files
)

// An Agent runs once.
type Agent struct {
	Config
	aside aside

	// Guarded by mu.
	mu     sync.Mutex
	status Status
	late   map[string]bool // spool files whose time the log has refused
	asked  int             // how often a walk was asked for
}

// New returns an agent whose state folder is there and can be written to.
func New(c Config) (*Agent, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Join(c.State, "aside"), 0o750); err != nil {
		return nil, fmt.Errorf("the state folder: %w", err)
	}
	a := &Agent{Config: c, aside: aside{filepath.Join(c.State, "aside")}, late: map[string]bool{}}
	// When the last walk was is kept; it takes hours.
	if before, err := readStatus(c.State); err == nil {
		a.status.Walked, a.status.WalkDue = before.Walked, before.WalkDue
	} else if !errors.Is(err, fs.ErrNotExist) {
		c.Logger.Warn("the last status is lost", "error", err)
	}
	a.status.PID, a.status.Started = os.Getpid(), c.Now().UTC()
	if _, err := a.aside.count(); err != nil {
		return nil, err
	}
	return a, a.beat()
}

// Run works until the context ends, which is no error. What it returns otherwise is a fault of this machine that nothing
// else could be done about.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var tasks sync.WaitGroup
	task := func(every time.Duration, name string, do func(context.Context) error) {
		tasks.Go(func() { a.repeat(ctx, every, name, do) })
	}
	tasks.Go(func() {
		for wait(ctx, beatEvery) {
			if err := a.beat(); err != nil {
				cancel(fmt.Errorf("the state folder: %w", err))
			}
		}
	})
	if a.Spool != nil {
		task(poll, "spool", a.drain)
	}
	if a.Export != nil {
		task(exportEvery, "proofs", a.export)
	}
	if a.Changes != nil {
		task(changesEvery, "recent", a.reconcile)
	}
	if a.Walk != nil {
		task(walkPause, "walk", a.walk)
	}
	tasks.Wait()
	a.edit(func(s *Status) { s.Stopped = a.Now().UTC() })
	err := a.beat()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// repeat does something again and again: soon after it went well, and later and later while it does not.
func (a *Agent) repeat(ctx context.Context, every time.Duration, name string, do func(context.Context) error) {
	delay := firstBackOff
	for {
		err := do(ctx)
		if ctx.Err() != nil {
			return
		}
		next := every
		if err != nil {
			a.failed(name, err)
			next = max(every, delay)
			delay = min(2*delay, lastBackOff)
			next = next/2 + rand.N(next) // so that many do not come at the same moment
		} else {
			a.succeeded(name)
			delay = firstBackOff
		}
		if !wait(ctx, next) {
			return
		}
	}
}

// wait reports whether the time passed before the context ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (a *Agent) export(ctx context.Context) error {
	size, err := a.Export(ctx)
	if err == nil {
		a.edit(func(s *Status) { s.Proofs.Size, s.Proofs.At = size, a.Now().UTC() })
	}
	return err
}
