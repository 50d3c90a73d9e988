package sequencer

import (
	"fmt"
	"time"

	"github.com/pauselog/pauselog/log/head"
)

// Steps 3 to 6 of the write path, by the committing goroutine: a batch becomes durable, and
// those who wait for it are answered.

// commit is the committing goroutine: it makes batches durable and answers.
func (s *Sequencer) commit() {
	defer close(s.stopped)
	for c := range s.commits {
		// The committing goroutine alone decides on the token: if the staging one took it, a
		// quick sync could be over before that, and nobody would put it back.
		select {
		case <-s.idle:
		default:
		}
		for _, step := range s.steps {
			if s.Err() != nil {
				break
			}
			if err := step(s, c); err != nil {
				s.fail(err)
			}
			s.release() // after the first step, the store's sync
		}
		s.release()
		if err := s.Err(); err != nil {
			for _, g := range c.groups {
				g.fail(fmt.Errorf("%w: %w", ErrStopped, err))
			}
		}
	}
}

func (s *Sequencer) commitStore(c *commit) error {
	if c.batch == nil {
		return nil
	}
	began := time.Now()
	err := s.c.Store.Commit(c.batch)
	c.StoreTime = time.Since(began)
	return err
}

func (s *Sequencer) writeHead(c *commit) error {
	if c.batch == nil {
		return nil
	}
	began := time.Now()
	err := s.c.Head.Write(head.Head{Origin: s.c.Origin, Size: c.batch.Size(), Root: c.batch.Root()})
	c.HeadTime = time.Since(began)
	return err
}

func (s *Sequencer) advance(c *commit) error {
	if c.batch == nil {
		return nil
	}
	if err := s.c.Store.Advance(c.batch); err != nil {
		return err
	}
	s.advanced.Store(c.batch.Size())
	s.setSigned(s.c.Store.Head())
	return nil
}

func (s *Sequencer) answer(c *commit) error {
	for _, g := range c.groups {
		close(g.done)
	}
	c.AllTime = time.Since(c.began)
	if s.c.Observe != nil {
		s.c.Observe(c.Commit)
	}
	return nil
}

// fail ends a group whose answer is not known, if it was not answered before.
func (p *Pending) fail(err error) {
	select {
	case <-p.done:
	default:
		p.err = err
		close(p.done)
	}
}

// Halt stops the sequencer for good, because somebody else found that nothing more must be
// signed. What waits is answered with ErrStopped; a batch between two steps stays there, as after a crash.
func (s *Sequencer) Halt(why error) { s.fault.CompareAndSwap(nil, &why) }

// fail stops the sequencer for good.
func (s *Sequencer) fail(err error) {
	if !s.fault.CompareAndSwap(nil, &err) {
		return
	}
	s.c.Log.Error("the log stops: what is on disk is not known", "error", err)
	if s.c.Fatal == nil {
		panic(err)
	}
	s.c.Fatal(err)
}
