package model

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pauselog/pauselog/internal/publisher"
)

// The driver: each step does one thing to the world, chosen by the seed. Between steps nothing is on its way but what waits
// for simulated time, so that a step finds the same world again.

// An act is something that may be done.
type act struct {
	weight int
	name   string
	do     func() error
}

func (w *world) acts() []act {
	return []act{
		{8, "crash the log", w.crashLog},
		{3, "stop the log", w.stopLog},
		{6, "crash a witness", w.crashWitness},
		{3, "crash an agent", w.crashAgent},
		{6, "cut off witnesses", w.cutWitnesses},
		{4, "jump a clock", w.jumpClock},
		{3, "fill the disk of the head", w.fillDisk},
		{5, "back up", w.backUp},
		{4, "restore an older log", w.restoreLog},
		{3, "restore an older witness", w.restoreWitness},
		{8, "repeat a request to a witness", w.repeat},
		{1, "equivocate", w.equivocate},
		{6, "wait", func() error { return nil }},
	}
}

func (w *world) step(number int) error {
	w.random = source(w.seed, "step ", number)
	acts := w.acts()
	total := 0
	for _, a := range acts {
		total += a.weight
	}
	n := w.random.IntN(total)
	w.heal()
	if err := w.supervise(); err != nil {
		return err
	}
	// Those before drew more or less, as the world was.
	w.random = source(w.seed, "act ", number)
	for _, a := range acts {
		if n -= a.weight; n < 0 {
			w.trace.add("%s", a.name)
			return a.do()
		}
	}
	return nil
}

// supervise does what a service manager and an operator do: what ended is started again.
func (w *world) supervise() error {
	for _, n := range w.witnesses {
		if n.life.Load() == nil && (w.random.IntN(2) == 0 || w.networkCalm()) {
			if err := n.start(); err != nil {
				return fmt.Errorf("%s does not start: %w", n.name, err)
			}
			w.trace.add("%s starts", n.name)
		}
	}
	return errors.Join(w.superviseLog(w.log), w.superviseLog(w.second))
}

func (w *world) networkCalm() bool {
	w.network.mu.Lock()
	defer w.network.mu.Unlock()
	return w.network.calm
}

func (w *world) superviseLog(n *logNode) error {
	if n == nil || n.stopped {
		return nil
	}
	if l := n.life.Load(); l != nil {
		err := l.failure()
		if err == nil {
			return nil
		}
		w.trace.add("%s has ended by itself: %v", n.name, err)
		switch {
		case errors.Is(err, errNoSpace):
		case errors.Is(err, publisher.ErrAccused) && w.second != nil:
			w.report.Refused++
			n.stopped = true
		default:
			return fmt.Errorf("%s ended by itself: %w", n.name, err)
		}
		return n.end(w.random, 100, false)
	}
	if w.random.IntN(2) == 0 && !w.networkCalm() {
		return nil
	}
	err := n.start(starting{memory: n.memory, folder: n.folder})
	switch {
	case err == nil:
		w.trace.add("%s starts with size %d", n.name, n.life.Load().seq.Signed().Size)
		return nil
	case errors.Is(err, errNoSpace), w.second != nil && (isRefusal(err) || errors.Is(err, publisher.ErrAccused)):
		w.trace.add("%s does not start: %v", n.name, err)
		if !errors.Is(err, errNoSpace) {
			w.report.Refused++
			n.stopped = true
		}
		return nil
	}
	return fmt.Errorf("%s does not start: %w", n.name, err)
}

func (w *world) crashLog() error {
	n := w.someLog()
	if n.life.Load() == nil {
		return nil
	}
	w.report.Crashes++
	percent := []int{0, 0, 50, 100}[w.random.IntN(4)]
	w.trace.add("%s crashes at size %d, of what was not synced %d %% stay", n.name, n.life.Load().seq.Signed().Size, percent)
	return n.end(w.random, percent, false)
}

func (w *world) someLog() *logNode {
	if w.second != nil && w.random.IntN(2) == 0 {
		return w.second
	}
	return w.log
}

func (w *world) stopLog() error {
	l := w.log.life.Load()
	if l == nil || l.failure() != nil {
		return nil
	}
	w.report.Faults++
	return w.log.end(w.random, 100, true)
}

func (w *world) crashWitness() error {
	n := w.witnesses[w.random.IntN(3)]
	if n.life.Load() == nil {
		return nil
	}
	w.report.Crashes++
	w.trace.add("%s crashes", n.name)
	return n.end()
}

func (w *world) crashAgent() error {
	a := w.agents[w.random.IntN(len(w.agents))]
	w.report.Crashes++
	a.crash()
	a.start()
	return nil
}

// cutWitnesses cuts one or two off for some steps.
func (w *world) cutWitnesses() error {
	for range 1 + w.random.IntN(2) {
		link := w.someLog().name + " to " + w.witnesses[w.random.IntN(3)].name
		w.network.setCut(link, true)
		w.cuts[link] = 1 + w.random.IntN(8)
		w.report.Faults++
		w.trace.add("cut: %s", link)
	}
	return nil
}

// heal brings back what is over.
func (w *world) heal() {
	for link, left := range w.cuts {
		if left > 1 {
			w.cuts[link]--
			continue
		}
		delete(w.cuts, link)
		w.network.setCut(link, false)
	}
	if w.log.full.Load() && w.random.IntN(3) == 0 {
		w.log.full.Store(false)
		w.trace.add("the disk has room again")
	}
}

// jumpClock sets a clock wrong, or right again.
func (w *world) jumpClock() error {
	w.report.Faults++
	jumps := []time.Duration{time.Second, -time.Second, 2 * time.Minute, -2 * time.Minute, time.Hour, -time.Hour, 240 * time.Hour, -240 * time.Hour}
	jump := jumps[w.random.IntN(len(jumps))]
	if w.random.IntN(2) == 0 {
		if w.log.clock.Load() != 0 {
			jump = 0
		}
		w.log.clock.Store(int64(jump))
		w.trace.add("the clock of the log is off by %v", jump)
		return nil
	}
	n := w.witnesses[w.random.IntN(3)]
	if n.clock.Load() != 0 {
		w.trace.add("the clock of %s is set right", n.name)
		return w.correctClock(n)
	}
	n.clock.Store(int64(jump))
	w.trace.add("the clock of %s is off by %v", n.name, jump)
	return nil
}

// correctClock sets a witness's clock right, and accepts it, as its operator does.
func (w *world) correctClock(n *witnessNode) error {
	n.clock.Store(0)
	l := n.life.Load()
	if l == nil {
		if err := n.start(); err != nil {
			return err
		}
		l = n.life.Load()
	}
	if l.witness.ClockProblem() == nil {
		return nil
	}
	return l.witness.AcceptClock()
}

func (w *world) fillDisk() error {
	w.report.Faults++
	w.log.full.Store(true)
	return nil
}

// repeat sends a witness a request that was overheard, as anybody can.
func (w *world) repeat() error {
	w.mu.Lock()
	if len(w.heard) == 0 {
		w.mu.Unlock()
		return nil
	}
	body := w.heard[w.random.IntN(len(w.heard))]
	w.mu.Unlock()
	w.report.Inputs++
	n := w.witnesses[w.random.IntN(3)]
	l := n.life.Load()
	if l == nil {
		return nil
	}
	// What it answers is no matter; what it signs, the checker sees.
	_, _ = (observed{l.witness, n}).AddCheckpoint(context.Background(), body)
	return nil
}

// equivocate is what an operator does who runs a copy of the log beside it, with the same keys. From now on there are two logs
// with clients of their own.
func (w *world) equivocate() error {
	l := w.log.life.Load()
	if w.second != nil || w.rolledBack || l == nil || l.failure() != nil || w.log.full.Load() || w.sabotage != (sabotage{}) && !w.sabotage.forgetful {
		return nil
	}
	w.check.setEquivocates()
	w.report.Faults++
	w.second = &logNode{name: "second log", world: w}
	b, err := w.log.backup(w.random, 10_000)
	if err != nil {
		return err
	}
	w.trace.add("a second log starts, from size %d", b.size)
	if err := w.second.start(starting{memory: b.memory, folder: b.folder}); err != nil {
		return err
	}
	a := &agent{world: w, name: "agent of the second log", log: w.second}
	for f := range 20 {
		a.todo = append(a.todo, w.files+f)
	}
	a.start()
	w.agents = append(w.agents, a)
	return nil
}
