package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// restart kills the witness and has it back.
func (s *session) restart(ctx context.Context) error {
	if s.target.Restart == nil {
		return fmt.Errorf("%w: the target cannot be restarted", ErrNotApplicable)
	}
	err := s.target.Restart(ctx)
	// The old process's connections are dead, and a POST on one is not repeated.
	s.target.client().CloseIdleConnections()
	if err != nil {
		return fmt.Errorf("%w: it does not start again: %w", ErrTarget, err)
	}
	return nil
}

// kills is how often a check kills the witness in the middle of a request.
const kills = 6

func restartChecks() []Check {
	return []Check{
		one("WS-10", Must, "after a kill: the size is known, forks are refused, the log goes on", func(ctx context.Context, s *session) error {
			if err := s.advance(ctx, 0, 5); err != nil {
				return err
			}
			if err := s.restart(ctx); err != nil {
				return err
			}
			return errors.Join(
				s.storedIs(ctx, 5),
				s.expect(ctx, s.log.request(history{"fork", 0}, 0, 5).bytes(), 5, 409),
				s.expect(ctx, s.log.request(history{"fork", 0}, 5, 5).bytes(), 5, 422),
				s.expect(ctx, s.log.request(history{"fork", 0}, 5, 8).bytes(), 5, 422),
				s.advance(ctx, 5, 8))
		}),
		one("WS-15", Should, "after a kill: what was shown is shown", func(ctx context.Context, s *session) error {
			r := s.log.request(honest, 0, 5)
			sigs, err := s.cosign(ctx, r)
			if err != nil {
				return err
			}
			if err := s.restart(ctx); err != nil {
				return err
			}
			return s.shows(ctx, r, r.signatures(), sigs)
		}),
		one("WS-19", Derived, "after a kill: a cosigned empty tree is shown, another log is still new", func(ctx context.Context, s *session) error {
			o, err := s.another()
			if err != nil {
				return err
			}
			r := s.log.request(honest, 0, 0)
			sigs, err := s.cosign(ctx, r)
			if err != nil {
				return err
			}
			if err := s.restart(ctx); err != nil {
				return err
			}
			return errors.Join(s.shows(ctx, r, r.signatures(), sigs), o.storedIs(ctx, 0), o.getIs(ctx, o.path(), 404))
		}),
		one("CS-6", Must, "after a kill: an unchanged checkpoint is cosigned at a time not before", func(ctx context.Context, s *session) error {
			if err := s.advance(ctx, 0, 5); err != nil {
				return err
			}
			if err := s.restart(ctx); err != nil {
				return err
			}
			return s.advance(ctx, 5, 5)
		}),
		one("WS-10", Must, "a kill in the middle of growth: no answered size is forgotten", func(ctx context.Context, s *session) error {
			for i := range kills {
				if err := killedInGrowth(ctx, s, time.Duration(i)*3*time.Millisecond); err != nil {
					return err
				}
			}
			return nil
		}),
		one("WS-10", Must, "a kill in the middle of a race of forks: what was cosigned is what is kept", func(ctx context.Context, s *session) error {
			size := uint64(3)
			if err := s.advance(ctx, 0, size); err != nil {
				return err
			}
			return killedInRace(ctx, s, size)
		}),
	}
}

// killedInGrowth grows the honest log one by one until the witness is killed, a moment after the first answer.
func killedInGrowth(ctx context.Context, s *session, moment time.Duration) error {
	if s.target.Restart == nil {
		return s.restart(ctx)
	}
	known, err := s.size(ctx)
	if err != nil {
		return err
	}
	first := make(chan struct{})
	grown := make(chan error, 1)
	killed := make(chan struct{})
	answered, sent := known, known
	go func() {
		var once sync.Once
		defer once.Do(func() { close(first) })
		for {
			select {
			case <-killed:
				grown <- nil
				return
			default:
			}
			sent = answered + 1
			r := s.log.request(honest, answered, sent)
			a, err := s.doOnce(ctx, http.MethodPost, "add-checkpoint", r.bytes())
			if err != nil {
				grown <- nil // killed
				return
			}
			if _, err := s.cosigned(r, a); err != nil {
				grown <- err
				return
			}
			answered = sent
			once.Do(func() { close(first) })
		}
	}()
	<-first
	select {
	case <-ctx.Done():
	case <-time.After(moment):
	}
	err = s.restart(ctx)
	close(killed) // a witness that was back at once may have answered in between
	if err := errors.Join(err, <-grown); err != nil {
		return err
	}
	size, err := s.size(ctx)
	if err != nil {
		return err
	}
	if size != answered && size != sent {
		return fmt.Errorf("expected size %d, or %d that was asked for when the kill came, found %d", answered, sent, size)
	}
	return errors.Join(
		s.expect(ctx, s.log.request(history{"fork", 0}, size, size).bytes(), size, 422),
		s.expect(ctx, s.log.request(history{"fork", 0}, size, size+1).bytes(), size, 422),
		s.advance(ctx, size, size), s.storedIs(ctx, size))
}

// killedInRace sends forks of one size at once, and a kill. One at most is answered 200; if one is, it is the one that
// is kept. If none is, the one that is kept, if any, is found by asking for each: no two may be cosigned.
func killedInRace(ctx context.Context, s *session, old uint64) error {
	if s.target.Restart == nil {
		return s.restart(ctx)
	}
	const size = 8
	var histories []history
	for i := range 4 {
		histories = append(histories, history{fmt.Sprintf("fork %d", i), old})
	}
	statuses := make([]int, len(histories))
	var wg sync.WaitGroup
	for i, h := range histories {
		body := s.log.request(h, old, size).bytes()
		wg.Go(func() {
			if a, err := s.doOnce(ctx, http.MethodPost, "add-checkpoint", body); err == nil {
				statuses[i] = a.status
			}
		})
	}
	err := s.restart(ctx)
	wg.Wait()
	if err != nil {
		return err
	}
	stored, err := s.size(ctx)
	if err != nil {
		return err
	}
	if stored != old && stored != size {
		return fmt.Errorf("expected size %d or %d, found %d", old, size, stored)
	}
	cosigned := 0
	for i, h := range histories {
		// From the old size only the first can be cosigned, from the size only the one that is kept.
		a, err := s.post(ctx, s.log.request(h, stored, size).bytes())
		if err != nil {
			return err
		}
		if a.status == http.StatusOK {
			cosigned++
		}
		if statuses[i] == http.StatusOK && a.status != http.StatusOK {
			return fmt.Errorf("expected fork %d, cosigned before the kill, to be what is kept, found %v", i, a)
		}
		if stored == old {
			stored = size
		}
	}
	if cosigned != 1 {
		return fmt.Errorf("expected one of %d forks to be cosigned, found %d", len(histories), cosigned)
	}
	return nil
}
