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
	{"start", (*bench).starts},
	{"inclusion", (*bench).inclusion},
	{"consistency", (*bench).consistency},
	{"verify", (*bench).verify},
	{"idle", (*bench).idle},
	{"grpc-inclusion", (*bench).grpcInclusion},
	{"memory", (*bench).memory},
	{"grpc-idle", (*bench).grpcIdle},
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

	made   []entry.Entry // what appends are made of
	extra  uint64        // entries made beside those of the logs
	big    *folder       // with n entries, nil until it is needed; then one of local and server
	local  *local        // has it open, or none
	server *server
	lab    *lab // nil until an installer is measured
}

// measure makes all rounds. What it makes on disk it removes.
func measure(ctx context.Context, o options, progress io.Writer) (_ *results, err error) {
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
	b := &bench{options: o, work: work, progress: progress, report: newResults(o, m)}
	defer func() { err = errors.Join(err, b.release(), b.closeLab()) }()
	for b.round = 1; b.round <= o.rounds; b.round++ {
		for _, s := range o.table() {
			if len(o.rows) > 0 && !slices.Contains(o.rows, s.name) {
				continue
			}
			fmt.Fprintf(progress, "round %d of %d: %s\n", b.round, o.rounds, s.name)
			if err := s.run(b, ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, cause(ctx, err))
			}
		}
		if err := b.release(); err != nil {
			return nil, err
		}
	}
	return b.report, nil
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
	if b.n >= 1_000_000 {
		return 3 * time.Second
	}
	return time.Second
}

// atMost is how many times a row does what it measures at most.
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

// paced calls f at most once every 5 ms, count times, and returns how long each took,
// sorted.
func (b *bench) paced(ctx context.Context, row string, count int, f func(i int) error) ([]time.Duration, error) {
	end, err := b.begin(row)
	if err != nil {
		return nil, err
	}
	defer end()
	tick := time.NewTicker(5 * time.Millisecond)
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
