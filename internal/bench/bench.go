package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pauselog/pauselog/log/entry"
)

// A section measures some rows that belong together.
type section struct {
	name string
	run  func(*bench, context.Context) error
}

// sections are in an order in which the log of n entries changes hands once a round: first
// this process has it open, then a server.
var sections = []section{
	{"append", (*bench).appends},
	{"grpc-append", (*bench).grpcAppends},
	{"http-append", (*bench).httpAppends},
	{"start", (*bench).starts},
	{"inclusion", (*bench).inclusion},
	{"consistency", (*bench).consistency},
	{"verify", (*bench).verify},
	{"idle", (*bench).idle},
	{"grpc-inclusion", (*bench).grpcInclusion},
	{"memory", (*bench).memory},
	{"grpc-idle", (*bench).grpcIdle},
	{"published", (*bench).published},
	{"audit", (*bench).audit},
	{"disk", (*bench).disk},
	{"micro", (*bench).micro},
}

func names() []string { return namesOf(sections) }

func namesOf(sections []section) (out []string) {
	for _, s := range sections {
		out = append(out, s.name)
	}
	return out
}

// table is what is measured: the log, or what installing through it costs.
func (o options) table() []section {
	if o.installers {
		return installerSections
	}
	return sections
}

// A bench is one run of this program.
type bench struct {
	options
	work     string // the folder for all logs
	round    int
	report   *results
	progress io.Writer
	usage    usage

	made    []entry.Entry // what appends are made of
	extra   uint64        // entries made beside those of the logs
	big     *folder       // with n entries, nil until it is needed; then one of local and server
	local   *local        // has it open, or none
	server  *server
	peerBig string // the folder of Tessera's log of n entries; none until it is needed
	lab     *lab   // nil until an installer is measured
}

// measure makes all rounds. What it makes on disk it removes. With several sizes each round is of all of them, because
// two that lie minutes apart say little about each other.
func measure(ctx context.Context, o options, progress io.Writer) (runs []*results, err error) {
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o777); err != nil {
			return nil, err
		}
	}
	work, err := os.MkdirTemp(o.dir, "pauselog-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	m, err := thisMachine(work)
	if err != nil {
		return nil, err
	}
	if o.tessera && !o.installers && o.program == "" {
		if o.program, err = buildPeer(ctx, work, progress); err != nil {
			return nil, cause(ctx, err)
		}
	}
	sizes := o.sizes
	if len(sizes) == 0 {
		sizes = []int{o.n}
	}
	var benches []*bench
	defer func() {
		for _, b := range benches {
			err = errors.Join(err, b.release(), b.closeLab())
		}
	}()
	for _, o.n = range sizes {
		b := &bench{options: o, work: filepath.Join(work, fmt.Sprint(o.n)), progress: progress, report: newResults(o, m)}
		if err := os.Mkdir(b.work, 0o777); err != nil {
			return nil, err
		}
		benches, runs = append(benches, b), append(runs, b.report)
	}
	for round := 1; round <= o.rounds; round++ {
		for _, b := range benches {
			b.round = round
			if err := b.sections(ctx); err != nil {
				return nil, err
			}
		}
	}
	return runs, nil
}

// sections makes one round.
func (b *bench) sections(ctx context.Context) error {
	for _, s := range b.table() {
		if len(b.rows) > 0 && !slices.Contains(b.rows, s.name) {
			continue
		}
		fmt.Fprintf(b.progress, "round %d of %d: %s, %s entries\n", b.round, b.rounds, s.name, grouped(b.n))
		if err := s.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, cause(ctx, err))
		}
	}
	b.made = nil // some hundred megabytes
	return b.release()
}

// cause says what ended a section: after an interrupt, that and not what followed from it.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

// limit is how long one row takes at most.
func (b *bench) limit() time.Duration {
	switch {
	case b.n < 10_000:
		return time.Second / 5
	case b.n < 100_000:
		return time.Second / 2
	}
	return time.Second // rather more rounds than long ones: the machine changes from minute to minute
}

// atMost is how many times a row does what it measures at most, which depends on the log's size so that a small run is
// a short one.
func (b *bench) atMost(count int) int { return min(count, 10*b.n) }

// begin starts to watch what others use and, if it is asked for, a CPU profile.
func (b *bench) begin(row string) (end func(), err error) {
	runtime.GC() // what the row before left is not this one's
	stop := func() {}
	if b.profile != "" {
		name := fmt.Sprintf("%s.%d.pprof", filepath.Base(row), b.round)
		if dir := filepath.Dir(row); dir != "." {
			name = dir + "-" + name
		}
		f, err := os.Create(filepath.Join(b.profile, name))
		if err != nil {
			return nil, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		stop = func() { pprof.StopCPUProfile(); f.Close() }
	}
	b.usage.start()
	return sync.OnceFunc(func() { b.usage.stop(); stop() }), nil
}

// rate calls f with 0, 1, ... from some goroutines, until count calls were made or
// the time is over, and returns the calls per second.
func (b *bench) rate(ctx context.Context, row string, workers, count int, f func(i int) error) (float64, error) {
	end, err := b.begin(row)
	if err != nil {
		return 0, err
	}
	defer end()
	return repeat(ctx, workers, count, b.limit(), f)
}

func repeat(ctx context.Context, workers, count int, limit time.Duration, f func(i int) error) (float64, error) {
	var (
		wg         sync.WaitGroup
		next, done atomic.Int64
		over       atomic.Bool
		failed     = make(chan error, workers)
	)
	defer context.AfterFunc(ctx, func() { over.Store(true) })()
	defer time.AfterFunc(limit, func() { over.Store(true) }).Stop()
	began := time.Now()
	for range workers {
		wg.Go(func() {
			for !over.Load() {
				i := next.Add(1) - 1
				if i >= int64(count) {
					return
				}
				if err := f(int(i)); err != nil {
					over.Store(true)
					failed <- err
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	select {
	case err := <-failed:
		return 0, err
	default:
	}
	return float64(done.Load()) / took.Seconds(), ctx.Err()
}

// paced calls f at most once in each interval, count times, and returns how long each took,
// sorted.
func (b *bench) paced(ctx context.Context, row string, pace time.Duration, count int, f func(i int) error) ([]time.Duration, error) {
	end, err := b.begin(row)
	if err != nil {
		return nil, err
	}
	defer end()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	took := make([]time.Duration, 0, count)
	for i := range count {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		began := time.Now()
		if err := f(i); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took, nil
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
