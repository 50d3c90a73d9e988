package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// sampled is how many entries of each caller are looked at afterwards.
const sampled = 1

// append: many callers, each of which waits until its entry is durable; then the checkpoint over all.
func (s *session) append(ctx context.Context) (map[string]float64, error) {
	entries, err := s.entries()
	if err != nil {
		return nil, err
	}
	l, err := s.create(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.ready(""); err != nil {
		return nil, err
	}
	began := time.Now()
	var at atomic.Int64
	done, sample, err := s.call(func() []byte {
		if i := at.Add(1) - 1; i < int64(len(entries)) && time.Since(began) < s.Limit {
			return entries[i]
		}
		return nil
	}, func(e []byte) (uint64, error) {
		i, err := l.add(ctx, e)
		if err == nil && i.IsDup {
			err = fmt.Errorf("entry %d was there before", i.Index)
		}
		return i.Index, err
	})
	integrated := time.Since(began)
	if err != nil {
		return nil, err
	}
	if _, err := l.published(ctx, uint64(done)); err != nil {
		return nil, err
	}
	published := time.Since(began)
	figures := map[string]float64{"entries": float64(done), "integrated": float64(done) / integrated.Seconds(), "published": float64(done) / published.Seconds()}
	return figures, l.check(ctx, uint64(done), sample)
}

// call has the callers add what next returns until it returns nothing, and returns how many were answered, and
// the first of each caller.
func (s *session) call(next func() []byte, add func([]byte) (uint64, error)) (done int64, sample []answered, err error) {
	var (
		wg     sync.WaitGroup
		total  atomic.Int64
		failed atomic.Pointer[error]
		mu     sync.Mutex
	)
	for range s.Callers {
		wg.Go(func() {
			n := 0
			for ; failed.Load() == nil; n++ {
				e := next()
				if e == nil {
					break
				}
				i, err := add(e)
				if err != nil {
					failed.CompareAndSwap(nil, &err)
					break
				}
				if n < sampled {
					mu.Lock()
					sample = append(sample, answered{e, i})
					mu.Unlock()
				}
			}
			total.Add(int64(n))
		})
	}
	wg.Wait()
	if e := failed.Load(); e != nil {
		return 0, nil, *e
	}
	return total.Load(), sample[:min(len(sample), 100)], nil
}

// idle: one caller, who waits until its entry is in a signed checkpoint, and then for the pause.
func (s *session) idle(ctx context.Context) (map[string]float64, error) {
	entries, err := s.entries()
	if err != nil {
		return nil, err
	}
	l, err := s.create(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.ready(""); err != nil {
		return nil, err
	}
	var integrated, published []time.Duration
	var sample []answered
	for n, e := range entries {
		began := time.Now()
		i, err := l.add(ctx, e)
		if err != nil {
			return nil, err
		}
		durable := time.Since(began)
		if _, err := l.published(ctx, i.Index+1); err != nil {
			return nil, err
		}
		if took := time.Since(began); n > 0 { // the first finds folders that are not there yet
			integrated, published = append(integrated, durable), append(published, took)
		}
		sample = append(sample, answered{e, i.Index})
		time.Sleep(s.Pause)
	}
	figures := map[string]float64{"integrated": median(integrated), "published": median(published),
		"published-max": milliseconds(slices.Max(published))}
	return figures, l.check(ctx, uint64(len(entries)), sample)
}

// median is in milliseconds.
func median(took []time.Duration) float64 {
	slices.Sort(took)
	return milliseconds(took[len(took)/2])
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// fill makes the log that is read. Its entries are read as they are needed.
func (s *session) fill(ctx context.Context) (map[string]float64, error) {
	l, err := s.create(ctx)
	if err != nil {
		return nil, err
	}
	var (
		mu   sync.Mutex
		left = s.Entries
		bad  error
	)
	began := time.Now()
	done, sample, err := s.call(func() []byte {
		mu.Lock()
		defer mu.Unlock()
		if left == 0 || bad != nil {
			return nil
		}
		left--
		var e []byte
		e, bad = s.next()
		return e
	}, func(e []byte) (uint64, error) {
		i, err := l.add(ctx, e)
		return i.Index, err
	})
	if err != nil {
		return nil, err
	}
	if bad != nil {
		return nil, bad
	}
	rate := float64(done) / time.Since(began).Seconds()
	if err := l.check(ctx, uint64(done), sample); err != nil {
		return nil, err
	}
	// Whoever reads the log next finds nobody writing.
	if err := l.shutdown(ctx); err != nil {
		return nil, err
	}
	return map[string]float64{"entries": float64(done), "integrated": rate}, s.ready("")
}
