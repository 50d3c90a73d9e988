package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/pauselog/pauselog/internal/backfill"
	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// Walk looks at every file of the tree, and calls refused for what the log does not take: a file that is not what was
// logged, for one. It returns when it has seen all, and goes on where it was if it is called again after an error.
type Walk func(ctx context.Context, refused func(*entry.Entry, *pb.Refusal)) error

// Trees returns the walk of package backfill over a tree.
func Trees(c backfill.Config) Walk {
	return func(ctx context.Context, refused func(*entry.Entry, *pb.Refusal)) error {
		c.Each = func(o backfill.Outcome) error {
			if o.Word == backfill.Conflict || o.Word == backfill.Refused {
				why := &pb.Refusal{Reason: o.Reason, Metadata: map[string]string{"logged_sha256": o.Logged}}
				if o.Err != nil {
					why.Message = o.Err.Error()
				}
				refused(&entry.Entry{Path: o.Path, SHA256: o.SHA256, Size: o.Size}, why)
			}
			return nil
		}
		_, err := backfill.Run(ctx, c)
		return err
	}
}

const (
	walkEvery = 7 * 24 * time.Hour
	walkPause = time.Minute // between looks at whether one is due
)

// walkSoon asks for a walk. Whoever forgets why, as reconcile does, calls beat before it.
func (a *Agent) walkSoon() { a.edit(func(s *Status) { s.WalkDue, a.asked = true, a.asked+1 }) }

// walk walks over the tree if it is time to. Until a walk has come to its end it is due, whatever ends the agent.
func (a *Agent) walk(ctx context.Context) error {
	a.mu.Lock()
	due := a.status.WalkDue || a.Now().Sub(a.status.Walked) >= walkEvery
	asked := a.asked
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
		return err
	}
	// What was found to be missing meanwhile may be where this walk had been already.
	a.edit(func(s *Status) { s.Walked, s.WalkDue = a.Now().UTC(), a.asked != asked })
	if err := a.beat(); err != nil {
		return fmt.Errorf("the state folder: %w", err)
	}
	return nil
}
