package witness

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// A Clock says what time it is, in two ways.
type Clock interface {
	// Now is the wall clock, which can be set, and be wrong.
	Now() time.Time

	// Elapsed is the time since some moment in the past, the same for the life of the process.
	// Nobody can set it.
	Elapsed() time.Duration
}

// SystemClock returns the system's clock.
func SystemClock() Clock { return systemClock{time.Now()} }

type systemClock struct{ start time.Time }

func (c systemClock) Now() time.Time         { return time.Now() }
func (c systemClock) Elapsed() time.Duration { return time.Since(c.start) } // by the monotonic reading

const (
	// maxBehind is how far the clock may be behind the last time that was signed. Up to that,
	// which is what a correction may do, the last time is signed again.
	maxBehind = 5 * time.Minute

	// maxJump is how far the wall clock may get ahead of the elapsed time. A witness that
	// signs a time in the far future can sign nothing else until then, and its cosignatures
	// look fresh for as long.
	maxJump = 24 * time.Hour
)

// A timekeeper decides which time is signed.
type timekeeper struct {
	clock Clock

	mu      sync.Mutex
	wall    time.Time // when it was made, or the clock was accepted last
	elapsed time.Duration
}

func newTimekeeper(c Clock) *timekeeper {
	return &timekeeper{clock: c, wall: c.Now().Round(0), elapsed: c.Elapsed()}
}

// time returns the time to sign, in seconds since 1970, when floor is the last one that was
// signed or accepted.
func (t *timekeeper) time(floor uint64) (uint64, error) {
	t.mu.Lock()
	// Without its monotonic reading, by which Sub would not see that the clock was set.
	now := t.clock.Now().Round(0)
	ahead := now.Sub(t.wall) - (t.clock.Elapsed() - t.elapsed)
	t.mu.Unlock()
	switch unix := now.Unix(); {
	case ahead > maxJump:
		return 0, fmt.Errorf("the clock went forward: %s is %v more than passed", now.UTC().Format(time.RFC3339), ahead.Round(time.Second))
	case unix < 1:
		return 0, fmt.Errorf("the clock says %s", now.UTC().Format(time.RFC3339))
	case uint64(unix) >= floor:
		return uint64(unix), nil
	case floor-uint64(unix) > uint64(maxBehind/time.Second):
		return 0, fmt.Errorf("the clock went back: %s is %d seconds before the last time that was signed or accepted", now.UTC().Format(time.RFC3339), floor-uint64(unix))
	}
	return floor, nil
}

// ClockProblem returns why nothing is cosigned now, or nil if nothing is wrong with the clock.
func (w *Witness) ClockProblem() error {
	_, err := w.clock.time(w.state.Floor())
	return err
}

// AcceptClock is an operator's word that the clock is right, after a ClockProblem: the present
// time becomes, durably, the one before which nothing is signed, and what was signed before
// does not count.
func (w *Witness) AcceptClock() error {
	t := w.clock
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now().Round(0)
	if now.Unix() < 1 {
		return fmt.Errorf("the clock says %s, which cannot be right", now.UTC().Format(time.RFC3339))
	}
	if err := w.state.AcceptTime(uint64(now.Unix())); err != nil {
		return err
	}
	t.wall, t.elapsed = now, t.clock.Elapsed()
	return nil
}

// clockRefusal is the answer while the clock cannot be relied on.
func clockRefusal(err error) *Refusal {
	return &Refusal{Status: http.StatusServiceUnavailable, Cause: fmt.Errorf("this witness cannot cosign until its operator has looked at its clock: %w", err)}
}
