package sequencer

import (
	"fmt"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
)

// Steps 1 and 2 of the write path, by the staging goroutine: what waits becomes a batch.

// stage is the staging goroutine: it turns what waits into batches.
func (s *Sequencer) stage() {
	defer close(s.commits)
	for first := range s.queue {
		c := &commit{groups: []*Pending{first}, began: time.Now()}
		n := s.gather(c)
		if s.Err() == nil {
			if err := s.assemble(c); err != nil {
				s.fail(fmt.Errorf("staging: %w", err))
			}
		}
		s.queued.Add(-int64(n))
		s.commits <- c
	}
}

// gather adds to a commit what waits, and returns the number of its submissions. There is no
// timer: when nothing is being synced it takes what is there. While the batch before is, it goes on
// gathering, since a small batch could only wait, and the next would be as small; a large one
// is worth assembling meanwhile.
func (s *Sequencer) gather(c *commit) int {
	n := max(1, len(c.groups[0].entries))
	add := func(p *Pending, ok bool) bool {
		if ok {
			c.groups = append(c.groups, p)
			n += max(1, len(p.entries))
		}
		return ok
	}
	for n < maxBatch {
		select {
		case p, ok := <-s.queue:
			if !add(p, ok) {
				return n
			}
			continue
		default:
		}
		if n >= eager {
			return n
		}
		select {
		case p, ok := <-s.queue:
			if !add(p, ok) {
				return n
			}
		case <-s.idle:
			s.release()
			return n
		}
	}
	return n
}

// release says that no batch is being synced.
func (s *Sequencer) release() {
	select {
	case s.idle <- struct{}{}:
	default:
	}
}

// assemble decides on the submissions of a commit, and stages and signs its batch.
func (s *Sequencer) assemble(c *commit) error {
	for len(s.inFlight) > 0 && s.inFlight[0].size <= s.advanced.Load() {
		s.inFlight = s.inFlight[1:]
	}
	most := 0
	for _, g := range c.groups {
		most += len(g.entries)
	}
	f := flight{last: make(map[string]*entry.Last, most)}
	s.inFlight = append(s.inFlight, f)
	items := make([]store.Item, 0, most)
	now := s.c.Now()
	for _, g := range c.groups {
		for i := range g.entries {
			if g.entries[i].bytes == nil {
				c.Refused++
				continue
			}
			item, ok, err := s.decide(c, &g.entries[i], &g.results[i], s.c.Store.Next()+uint64(len(items)), now)
			if err != nil {
				return err
			}
			if ok {
				items = append(items, item)
			}
		}
	}
	if len(items) == 0 {
		s.inFlight = s.inFlight[:len(s.inFlight)-1]
		return nil
	}
	c.Entries = len(items)
	b, err := s.c.Store.Stage(items)
	if err != nil {
		return err
	}
	// A cosignature's time must not go back with the clock.
	s.time = max(s.time, uint64(max(1, now.Unix())))
	c.note, err = s.sign(checkpoint.Checkpoint{Origin: s.c.Origin, Size: b.Size(), Root: b.Root()})
	if err != nil {
		return err
	}
	if err := b.Seal(s.time, c.note); err != nil {
		return err
	}
	s.inFlight[len(s.inFlight)-1].size = b.Size()
	c.batch, c.Size = b, b.Size()
	return nil
}

// decide fills in one result, and returns what is appended for it at index, if anything is.
func (s *Sequencer) decide(c *commit, p *prepared, r *Result, index uint64, now time.Time) (item store.Item, ok bool, err error) {
	last, err := s.last(p.path)
	if err != nil {
		return item, false, err
	}
	verdict, why := last.Decide(p.entry, p.seen, now)
	switch verdict {
	case entry.Appended:
		*r = Result{Index: index, Leaf: p.leaf, Entry: p.bytes}
		item = store.Item{Entry: p.bytes, Leaf: p.leaf, Path: p.path, Last: true}
		if last != nil {
			item.Previous = last.Index + 1
		}
		s.inFlight[len(s.inFlight)-1].last[p.entry.Path] = last.Next(p.entry, index)
		return item, true, nil
	case entry.Repeated:
		c.Repeated++
		b, err := last.Entry.Marshal()
		if err != nil {
			return item, false, err
		}
		*r = Result{Index: last.Index, Leaf: tree.LeafHash(b), Entry: b, Repeated: true}
		return item, false, nil
	case entry.Conflicted:
		c.Refused++
		k := pairOf(p.entry.Path, last.Entry.SHA256, p.entry.SHA256)
		at, known := s.conflicts[k]
		if !known {
			at = index
			s.conflicts[k] = at
		}
		r.Err = &Refusal{Cause: why, Logged: last, Conflict: at}
		if known {
			return item, false, nil
		}
		c.Conflicts++
		e := &entry.Entry{Kind: entry.Conflict, Path: p.entry.Path, SHA256: last.Entry.SHA256, Other: p.entry.SHA256, Time: entry.TimeOf(now)}
		b, err := e.Marshal()
		if err != nil {
			return item, false, err
		}
		return store.Item{Entry: b, Leaf: tree.LeafHash(b), Path: p.path}, true, nil
	}
	c.Refused++
	r.Err = &Refusal{Cause: why, Logged: last}
	return item, false, nil
}

// last is what the log will know of a path once all that is staged is durable.
func (s *Sequencer) last(path store.Path) (*entry.Last, error) {
	for i := len(s.inFlight) - 1; i >= 0; i-- {
		if l, ok := s.inFlight[i].last[path.String()]; ok {
			return l, nil
		}
	}
	return s.c.Store.LastOf(path, s.c.Store.Head().Size)
}
