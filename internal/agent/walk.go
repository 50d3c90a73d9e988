package agent

import (
	"context"
	"time"

	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// Walk looks at every file of the tree, and calls refused for what the log does not take: a file that is not what was
// logged, for one. It returns when it has seen all, and goes on where it was if it is called again after an error.
type Walk func(ctx context.Context, refused func(*entry.Entry, *pb.Refusal)) error

const (
	walkEvery = 7 * 24 * time.Hour
	walkPause = time.Minute // between looks at whether one is due
)

func (a *Agent) walkSoon() { a.edit(func(s *Status) { s.WalkDue = true }) }

// walk walks over the tree if it is time to.
func (a *Agent) walk(ctx context.Context) error {
	a.mu.Lock()
	due := a.status.WalkDue || a.Now().Sub(a.status.Walked) >= walkEvery
	a.status.WalkDue = false // what is found to be missing from now on needs another one
	a.mu.Unlock()
	if !due {
		return nil
	}
	err := a.Walk(ctx, func(e *entry.Entry, why *pb.Refusal) {
		// Those that the log may take later are met again by the next walk.
		if err := a.refusedFile(e, why); err != nil {
			a.Logger.Warn("not logged by this walk", "path", e.Path, "why", err)
		}
	})
	if err != nil {
		a.walkSoon()
		return err
	}
	a.edit(func(s *Status) { s.Walked = a.Now().UTC() })
	return nil
}
