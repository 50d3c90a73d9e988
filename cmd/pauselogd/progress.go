package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// A progress is a line on a terminal that says how far a command is; elsewhere it is nothing. It may be used
// concurrently.
type progress struct {
	mu      sync.Mutex
	w       *os.File // nil: no terminal
	step    string
	started time.Time
	shown   time.Time
}

func newProgress() *progress {
	p := &progress{started: time.Now()}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		p.w = os.Stderr
	}
	return p
}

func (p *progress) show(step string, done, of int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.w == nil || now.Sub(p.started) < 500*time.Millisecond {
		return
	}
	if step != p.step {
		p.step, p.started = step, now
	} else if now.Sub(p.shown) < 100*time.Millisecond {
		return
	}
	p.shown = now
	rate := ""
	if s := now.Sub(p.started).Seconds(); s > 1 {
		rate = fmt.Sprintf(", %.0f/s", float64(done)/s)
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s: %d of %d%s", step, done, of, rate)
}

// clear removes the line, for what is printed next.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil && !p.shown.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
