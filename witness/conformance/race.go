package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
)

// parallel is how many requests of a race are sent at once.
const parallel = 16

// race posts all of the requests at once and returns their answers.
func (s *session) race(ctx context.Context, requests []*request) ([]answer, error) {
	answers := make([]answer, len(requests))
	errs := make([]error, len(requests))
	bodies := make([]string, len(requests))
	for i, r := range requests {
		bodies[i] = r.bytes()
	}
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range requests {
		wg.Go(func() {
			<-start
			answers[i], errs[i] = s.post(ctx, bodies[i])
		})
	}
	close(start)
	wg.Wait()
	return answers, errors.Join(errs...)
}

// oneWins checks a race of requests of which the witness can answer only one with 200: the others learn the winner's
// size, and so does everybody after.
func (s *session) oneWins(ctx context.Context, requests []*request, sizes []uint64) error {
	answers, err := s.race(ctx, requests)
	if err != nil {
		return err
	}
	winner := -1
	for i, a := range answers {
		if a.status != http.StatusOK {
			continue
		}
		if winner >= 0 {
			return fmt.Errorf("expected one 200, found two: %v to %s and %v to %s",
				answers[winner], excerpt(requests[winner].bytes()), a, excerpt(requests[i].bytes()))
		}
		winner = i
	}
	if winner < 0 {
		return fmt.Errorf("expected one 200, found none: %v", answers)
	}
	sigs, err := s.cosigned(requests[winner], answers[winner])
	if err != nil {
		return err
	}
	for i, a := range answers {
		if i == winner {
			continue
		}
		if err := a.refusal(requests[i].bytes(), sizes[winner], http.StatusConflict); err != nil {
			return err
		}
	}
	return errors.Join(s.storedIs(ctx, sizes[winner]),
		s.shows(ctx, requests[winner], requests[winner].signatures(), sigs))
}

func raceChecks() []Check {
	// forks are requests from the honest size to sizes from first on, each of a history of its own.
	forks := func(s *session, old, first, step uint64) ([]*request, []uint64) {
		var requests []*request
		var sizes []uint64
		for i := range uint64(parallel) {
			h := history{fmt.Sprintf("fork %d", i), old}
			size := first + i*step
			requests = append(requests, s.log.request(h, old, size))
			sizes = append(sizes, size)
		}
		return requests, sizes
	}
	return []Check{
		one("WS-10", Must, "of parallel forks of different sizes one is cosigned", func(ctx context.Context, s *session) error {
			if err := s.advance(ctx, 0, 3); err != nil {
				return err
			}
			requests, sizes := forks(s, 3, 4, 1)
			return s.oneWins(ctx, requests, sizes)
		}),
		one("WS-10", Must, "of parallel forks of one size one is cosigned", func(ctx context.Context, s *session) error {
			if err := s.advance(ctx, 0, 3); err != nil {
				return err
			}
			requests, sizes := forks(s, 3, 8, 0)
			return s.oneWins(ctx, requests, sizes)
		}),
		one("WS-10", Must, "of parallel forks at first contact one is cosigned", func(ctx context.Context, s *session) error {
			requests, sizes := forks(s, 0, 5, 1)
			return s.oneWins(ctx, requests, sizes)
		}),
		one("WS-10", Must, "of parallel requests with one checkpoint one finds its old size", func(ctx context.Context, s *session) error {
			if err := s.advance(ctx, 0, 3); err != nil {
				return err
			}
			var requests []*request
			var sizes []uint64
			for range parallel {
				requests = append(requests, s.log.request(honest, 3, 8))
				sizes = append(sizes, 8)
			}
			return s.oneWins(ctx, requests, sizes)
		}),
		one("WS-11", Must, "parallel refreshes of one checkpoint all succeed", func(ctx context.Context, s *session) error {
			if err := s.advance(ctx, 0, 5); err != nil {
				return err
			}
			var requests []*request
			for range parallel {
				requests = append(requests, s.log.request(honest, 5, 5))
			}
			answers, err := s.race(ctx, requests)
			if err != nil {
				return err
			}
			for i, a := range answers {
				// Their times may come in any order: they were signed at once.
				clear(s.times)
				if _, err := s.cosigned(requests[i], a); err != nil {
					return err
				}
			}
			return nil
		}),
		one("WS-10", Derived, "parallel requests of different logs all succeed", func(ctx context.Context, s *session) error {
			var wg sync.WaitGroup
			errs := make([]error, 8)
			for i := range errs {
				o, err := s.another()
				if err != nil {
					return err
				}
				wg.Go(func() {
					for size := range uint64(5) {
						errs[i] = errors.Join(errs[i], o.advance(ctx, size, size+1))
					}
				})
			}
			wg.Wait()
			return errors.Join(errs...)
		}),
		one("WS-10", Must, "a race of growth and refreshes never loses the growth", func(ctx context.Context, s *session) error {
			size := uint64(3)
			if err := s.advance(ctx, 0, size); err != nil {
				return err
			}
			for range 8 {
				requests := []*request{s.log.request(honest, size, size+1)}
				for range 4 {
					requests = append(requests, s.log.request(honest, size, size))
				}
				answers, err := s.race(ctx, requests)
				if err != nil {
					return err
				}
				if answers[0].status != http.StatusOK {
					return deviation(requests[0].bytes(), "200: a refresh is no change of size", answers[0])
				}
				if err := s.storedIs(ctx, size+1); err != nil {
					return err
				}
				size++
			}
			return nil
		}),
		one("WS-10", Must, "a client that hangs up leaves the old state or the new", func(ctx context.Context, s *session) error {
			size := uint64(3)
			if err := s.advance(ctx, 0, size); err != nil {
				return err
			}
			for range 10 {
				c, err := s.target.dial(ctx, "")
				if err != nil {
					return err
				}
				err = c.write(c.add(s.log.request(honest, size, size+1).bytes()))
				c.Close()
				if err != nil {
					return err
				}
				found, err := s.size(ctx)
				if err != nil {
					return err
				}
				if found != size && found != size+1 {
					return fmt.Errorf("expected size %d or %d, found %d", size, size+1, found)
				}
				// The request may still be under way; whoever comes next learns the size.
				a, err := s.post(ctx, s.log.request(honest, found, size+1).bytes())
				if err != nil {
					return err
				}
				if a.status != http.StatusOK {
					if err := s.storedIs(ctx, size+1); err != nil {
						return err
					}
				}
				size++
			}
			return nil
		}),
	}
}
