// Package hostile attacks a real log, a real witness and a real verifying mirror as hostile clients do: with floods,
// stalls, bombs, tricks with paths and framing, and without a token. While it does, well-behaved clients are
// served, and afterwards the servers are as they were.
package hostile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pauselog/pauselog/internal/faults/campaign"
)

// Campaign runs every attack, one after the other. What is random in them comes from the seed; how they
// interleave with the servers is up to the machine.
var Campaign = campaign.Campaign{
	Name:  "hostile",
	About: "hostile clients against log, witness and mirror: others are served, memory is bounded, errors are clear, nothing is left behind",
	Run:   run,
}

// A target is a server that is attacked.
type target struct {
	name        string
	http, admin string // HOST:PORT
	grpc        string // HOST:PORT, or "" if it does not speak it
	token       string // that a submission needs; "" if it takes none
	post        string // a path that takes bodies, or ""
	get         string // a path that everybody may read

	pid    int
	memory uint64        // bytes that the process may have had resident at its peak
	head   time.Duration // how long it may leave a connection that sends nothing open
	canary string        // what is in files that must never be served

	patience time.Duration // how long to wait for it to end an HTTP/2 connection; 0: patience
}

// A score counts what was done to the targets. It may be used by many.
type score struct {
	inputs, refused atomic.Uint64
	served, late    atomic.Uint64 // calls of well-behaved clients; those newcomers that had to wait
}

// An attack is done to each of the targets that it fits, and returns what is wrong with the answers.
type attack struct {
	name string
	fits func(*target) bool
	run  func(context.Context, *target, scale, *score) error
	// crowded: it takes all connections, so that a newcomer may have to wait for its own.
	crowded bool
	// slow: it waits more than it does, and is done to all targets while the others are at work.
	slow bool
}

// A scale is how much of everything is done.
type scale struct {
	seed        uint64
	connections int
	body        int64 // bytes of the largest body
	frames      int
}

func all(*target) bool         { return true }
func takesPOST(t *target) bool { return t.post != "" }
func speaksRPC(t *target) bool { return t.grpc != "" }

// attacks are all there are; those that find an answer wrong come before those that exhaust.
var attacks = []attack{
	{name: "submissions without a right to", fits: speaksRPC, run: bypass},
	{name: "numbers", fits: speaksRPC, run: numbers},
	{name: "static paths", fits: speaksRPC, run: staticPaths},
	{name: "paths out of the tree", fits: all, run: escapes},
	{name: "framing", fits: all, run: smuggle},
	{name: "messages that are none", fits: speaksRPC, run: malformed},
	{name: "decompression bombs", fits: speaksRPC, run: bombs},
	{name: "HTTP/2 floods", fits: speaksRPC, run: floods},
	{name: "huge heads", fits: all, run: hugeHeads},
	{name: "huge bodies", fits: takesPOST, run: hugeBodies},
	{name: "calls that are given up", fits: all, run: cancelled},
	{name: "clients that do not read", fits: all, run: deaf},
	{name: "clients that stall", fits: all, run: stall, slow: true},
	{name: "connections that are kept", fits: all, run: kept, crowded: true},
	{name: "connections", fits: all, run: connections, crowded: true},
}

func run(ctx context.Context, o campaign.Options) (r campaign.Report, err error) {
	site, err := open(ctx, o.Dir)
	if err != nil && ctx.Err() != nil {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, site.close()) }()
	size := scale{seed: o.Seed, connections: 6000, body: 64 << 20, frames: 20_000}
	if o.Long {
		size.connections, size.body, size.frames = 10_000, 256<<20, 500_000
	}
	until := func() bool { return ctx.Err() == nil }
	if o.Long && o.For > 0 {
		end := time.Now().Add(o.For)
		until = func() bool { return ctx.Err() == nil && time.Now().Before(end) }
	}
	for round := 0; until(); round++ {
		if err := site.attack(ctx, size, &r, o.Progress); err != nil {
			return r, err
		}
		if o.For == 0 {
			break
		}
		size.seed++
	}
	return r, r.Err()
}

// do attacks one target.
func (a *attack) do(ctx context.Context, t *target, size scale, total *score, progress func(string, ...any)) error {
	began := time.Now()
	if err := a.run(ctx, t, size, total); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s, seed %d: %s: %w", t.name, size.seed, a.name, err)
	}
	progress("%s: %s: %v", t.name, a.name, time.Since(began).Round(time.Millisecond))
	return nil
}

// attack does everything once to everything, and then looks at what is left.
func (s *site) attack(ctx context.Context, size scale, r *campaign.Report, progress func(string, ...any)) error {
	before := make(map[*target]usage)
	for _, t := range s.targets {
		u, err := measure(t)
		if err != nil {
			return err
		}
		before[t] = u
	}
	var total score
	defer func() {
		r.Inputs += total.inputs.Load()
		r.Refused += total.refused.Load()
	}()
	n := newNeighbour(s, &total)
	defer func() {
		n.stop()
		_ = n.close() // there is nothing to lose
	}()
	var slow sync.WaitGroup
	defer slow.Wait()
	failed := make(chan error, len(attacks)*len(s.targets))
	for _, a := range attacks {
		if !a.slow {
			continue
		}
		for _, t := range s.targets {
			slow.Go(func() { failed <- a.do(ctx, t, size, &total, progress) })
		}
	}
	for _, a := range attacks {
		if a.crowded {
			slow.Wait() // they have a right to their connections
		}
		n.expect(a.crowded)
		for _, t := range s.targets {
			if a.slow || !a.fits(t) {
				continue
			}
			if err := a.do(ctx, t, size, &total, progress); err != nil {
				return err
			}
			if err := n.check(); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s, seed %d: %s: a well-behaved client was not served: %w", t.name, size.seed, a.name, err)
			}
		}
	}
	slow.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	n.stop()
	r.Acknowledged += n.acknowledged
	lost, err := n.lost(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if r.Lost += lost; err != nil || lost > 0 {
		return errors.Join(err, r.Err())
	}
	r.Notes = append(r.Notes, n.note(&total))
	for _, t := range s.targets {
		u, err := settled(ctx, t, before[t], settleTime)
		if err != nil {
			return err
		}
		r.Notes = append(r.Notes, fmt.Sprintf("%s: at most %d MiB resident, %d files and sockets before and %d after", t.name, u.peak>>20, before[t].files, u.files))
	}
	return nil
}
