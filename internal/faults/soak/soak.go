// Package soak runs the real programs under a mixed load for a long time, while they are stopped, killed and
// started again in turn, and looks for what only time shows: a leak, a slowing down, an entry that is
// gone.
//
//	go run ./internal/faults -campaigns soak                     some seconds
//	go run ./internal/faults -campaigns soak -long               an hour
//	PAUSELOG_SOAK_RATE=20 go run ./internal/faults -campaigns soak -for 10m
//
// A log and three witnesses, of which two must cosign, are child processes with folders of their own.
// Submitters (one by one, over gRPC and HTTP, in streams, and again what is logged), readers of proofs,
// lookups and static files, watchers and audits verify all that they are answered. In the second quarter of the time
// the log is started again and again; in the others it lives long enough for a trend.
package soak

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pauselog/pauselog/internal/faults/campaign"
)

// Campaign is the soak.
var Campaign = campaign.Campaign{
	Name: "soak",
	About: "mixed load on the real programs with rolling restarts (PAUSELOG_SOAK_RATE submissions a second, 100 by default): " +
		"nothing acknowledged is lost, no leak of goroutines, files or memory; latencies are noted (timing differs each time)",
	Run: run,
}

// rateVariable sets how many entries are submitted a second; all other load is in proportion.
const rateVariable = "PAUSELOG_SOAK_RATE"

const (
	short       = 13 * time.Second
	long        = time.Hour
	defaultRate = 100.0
	settleTime  = time.Minute // for the last entries to be published
)

func run(ctx context.Context, o campaign.Options) (campaign.Report, error) {
	rate, err := rateOf(os.Getenv(rateVariable))
	if err != nil {
		return campaign.Report{}, err
	}
	s, err := newSite(ctx, o.Dir)
	if err != nil {
		return campaign.Report{}, ended(ctx, err)
	}
	defer s.end()
	return soak(ctx, s, o, rate)
}

func rateOf(text string) (float64, error) {
	if text == "" {
		return defaultRate, nil
	}
	r, err := strconv.ParseFloat(text, 64)
	if err != nil || !(r > 0) || r > 1e6 {
		return 0, fmt.Errorf("%s: expected submissions a second, found %q", rateVariable, text)
	}
	return r, nil
}

// ended makes the end of the caller's time no error.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func durationOf(o campaign.Options) time.Duration {
	switch {
	case o.For > 0:
		return o.For
	case o.Long:
		return long
	}
	return short
}

// soak loads a site for a time, and judges what came of it.
func soak(ctx context.Context, s *site, o campaign.Options, rate float64) (r campaign.Report, err error) {
	d := durationOf(o)
	for _, p := range s.servers() {
		if err := p.start(ctx); err != nil {
			return r, ended(ctx, err)
		}
	}
	l, err := newLoad(s, o.Seed, rate, d)
	if err != nil {
		return r, err
	}
	defer l.close()
	loading, stop := context.WithTimeout(ctx, d)
	defer stop()
	m := newMeter(s, d)
	measured := make(chan struct{})
	go func() { defer close(measured); m.run(loading) }()
	l.start(loading)

	terms, kills, restartErr := restart(loading, s, d, o)
	if restartErr != nil {
		stop()
	}
	l.wait()
	<-measured
	r.Faults, r.Crashes, r.Acknowledged = terms, kills, uint64(len(l.acked()))
	r.False, r.Forks = l.falses.Load(), l.forks.Load()
	if restartErr != nil {
		return r, restartErr
	}

	// What is left to judge takes a moment, also when the caller's time is over.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	c, err := count(last, s, l.acked())
	r.Lost = c.lost
	r.Notes = append(r.Notes, fmt.Sprintf("%v at %g submissions a second: log and witnesses stopped %d times, killed %d times; %d entries, %d in the ledger",
		d, rate, terms, kills, c.entries, len(l.acked())))
	r.Notes = append(r.Notes, l.notes()...)
	r.Notes = append(r.Notes, m.notes()...)
	err = errors.Join(l.firstFinding(), err, m.leaks(c.entries), r.Err())
	for _, p := range s.servers() {
		err = errors.Join(err, p.stop())
	}
	if err != nil {
		err = fmt.Errorf("seed %d: %w; the figures until then: %q", o.Seed, err, r.Notes)
	}
	return r, err
}

// restart stops and kills the servers in turn until the context ends, and starts them again. A server that ended
// by itself is an error.
func restart(ctx context.Context, s *site, d time.Duration, o campaign.Options) (terms, kills uint64, err error) {
	began := time.Now()
	for i, e := range schedule(d) {
		select {
		case <-time.After(time.Until(began.Add(e.at))):
		case <-ctx.Done():
			return terms, kills, nil
		}
		p := s.log
		if e.witness >= 0 {
			p = s.witnesses[e.witness]
		}
		if e.kill {
			kills++
			err = p.kill()
		} else {
			terms++
			err = p.stop()
		}
		if err == nil {
			err = p.start(ctx)
		}
		if err != nil {
			return terms, kills, ended(ctx, err)
		}
		o.Progress("%v: restart %d, of %s", time.Since(began).Round(time.Second), i+1, p.name)
	}
	<-ctx.Done()
	return terms, kills, nil
}

// An event is one restart.
type event struct {
	at      time.Duration
	witness int // -1: the log
	kill    bool
}

// minPause is the least time between two restarts.
const minPause = 500 * time.Millisecond

// schedule is when what is restarted: a witness each 24th of the time, in turn; the log at each quarter, and in the second
// quarter twelve times more. Every other one is a kill.
func schedule(d time.Duration) (all []event) {
	const steps = 96
	witness, logs := 0, 0
	for i := 1; i < steps; i++ {
		e := event{at: d * time.Duration(i) / steps}
		quarter := i%24 == 0
		if n := len(all); n > 0 && e.at-all[n-1].at < minPause && !quarter {
			continue
		}
		switch {
		case quarter, i > 24 && i < 48 && i%2 == 0:
			e.witness, e.kill = -1, logs%2 == 1
			logs++
		case i%4 == 3, d/steps < minPause && i%4 != 0:
			e.witness, e.kill = witness%3, witness%2 == 1
			witness++
		default:
			continue
		}
		all = append(all, e)
	}
	return all
}

func in(dir, name string) string { return filepath.Join(dir, name) }
