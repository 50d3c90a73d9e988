// Package crashlog is the fault campaign that crashes a whole log at each of its writes, and makes each of them fail.
//
// A log lives through a script of some starts on a file system whose operations are numbered. At an operation the
// process is gone, and what of the unsynced data is on the disk then is all, nothing, or some; or the operation is a
// write of which only a part is done; or it fails, done or not. What is on the disk then is started by the real
// code, checked, made to go on, and read again by an independent verifier. A log must start from all of these: there is no
// crash after which it may refuse.
package crashlog

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"runtime"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
	"github.com/pauselog/pauselog/internal/faults/disk/oracle"
	"github.com/pauselog/pauselog/internal/faults/disk/rig"
)

// Campaign crashes a log at its writes.
var Campaign = campaign.Campaign{
	Name:  "crash-log",
	About: "a log's every write × failed, failed but stored, torn, process gone; it must start, have all that it told, and go on (the order of Pebble's own writes may differ from run to run)",
	Run: func(ctx context.Context, o campaign.Options) (campaign.Report, error) {
		return run(ctx, o, honest, shortPoints)
	},
}

// A sabotage is what stands between a log and its disk. The tests show that the campaign finds what it does.
type sabotage func(vfs.FS) vfs.FS

func honest(fs vfs.FS) vfs.FS { return fs }

// shortPoints is about how many operations of all the short form has a fault at.
const shortPoints = 150

// A world is a log's life, of which some operations are chosen.
type world struct {
	*rig.Life
	seed     uint64
	sabotage sabotage
	stride   int // of the points of each kind, one in so many is tried
}

// A kind is what happens at an operation.
type kind string

const (
	gone   kind = "process gone"
	torn   kind = "torn"
	failed kind = "failed"
	stored kind = "failed but stored"
)

// chosen decides whether a fault is one of those that are tried.
func (w *world) chosen(phase, op int, k kind) bool {
	if w.stride <= 1 {
		return true
	}
	h := fnv.New64a()
	fmt.Fprint(h, w.seed, phase, op, k)
	return h.Sum64()%uint64(w.stride) == 0
}

// A result is what a job came to.
type result struct {
	report campaign.Report
	err    error
}

func run(ctx context.Context, o campaign.Options, s sabotage, points int) (campaign.Report, error) {
	life, err := rig.NewLife(o.Seed)
	if err != nil {
		return campaign.Report{}, fmt.Errorf("seed %d: %w", o.Seed, err)
	}
	w := &world{life, o.Seed, s, 1}
	total := 0
	for _, n := range w.Ops {
		total += n
	}
	if !o.Long {
		w.stride = max(1, 4*total/points)
	}
	acks, _ := w.All.Until(w.All.Mark())
	r := campaign.Report{Acknowledged: uint64(len(acks))}
	o.Progress("a life of %d starts, %d operations, %d entries acknowledged", len(w.Phases), total, len(acks))

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var jobs []func(context.Context) (campaign.Report, error)
	for p := range w.Phases {
		jobs = append(jobs, func(ctx context.Context) (campaign.Report, error) { return w.crashes(ctx, p) })
		for op := 1; op <= w.Ops[p]; op++ {
			for _, k := range []kind{failed, stored} {
				if w.chosen(p, op, k) {
					jobs = append(jobs, func(context.Context) (campaign.Report, error) { return w.fails(p, op, k) })
				}
			}
		}
	}
	queue, results := make(chan func(context.Context) (campaign.Report, error)), make(chan result)
	var workers sync.WaitGroup
	for range min(4, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for job := range queue {
				if ctx.Err() != nil {
					continue
				}
				report, err := job(ctx)
				results <- result{report, err}
			}
		})
	}
	go func() {
		for _, j := range jobs {
			queue <- j
		}
		close(queue)
		workers.Wait()
		close(results)
	}()
	var first error
	done := 0
	for x := range results {
		r.Add(x.report)
		if first == nil && x.err != nil {
			first = x.err
			stop()
		}
		if done++; done%200 == 0 {
			o.Progress("%d of %d runs, %d crashes", done, len(jobs), r.Crashes)
		}
	}
	r.Notes = append(r.Notes, fmt.Sprintf("%d starts with %d operations, one in %d tried", len(w.Phases), total, w.stride))
	if first != nil {
		again := ""
		if o.Long {
			again = " -long"
		}
		return r, fmt.Errorf("%w (again: -campaigns crash-log -seed %d%s)", first, o.Seed, again)
	}
	return r, nil
}

// crashes runs a phase once, and before each operation checks what a crash there would leave.
func (w *world) crashes(ctx context.Context, phase int) (r campaign.Report, err error) {
	fs := faultfs.New(faultfs.Copy(w.Before[phase]))
	told := w.Told[phase].Clone(w.Told[phase].Mark())
	l := rig.New(told, nil)
	p := w.Phases[phase]
	var step rig.Step // on its way
	var first error
	check := func(o faultfs.Op, what string, image *vfs.MemFS) {
		if first != nil || ctx.Err() != nil {
			return
		}
		r.Crashes++
		if err := w.check(image, phase, told.Clone(told.Mark()), &r, step); err != nil {
			first = fmt.Errorf("start %d, before %v, %s: %w", phase, o, what, err)
		}
	}
	var mu sync.Mutex // the operations come one at a time; the steps do not
	fs.Before(func(o faultfs.Op) faultfs.Fault {
		mu.Lock()
		defer mu.Unlock()
		l.Observe()
		if w.chosen(phase, o.N, gone) {
			for _, k := range faultfs.Keeps {
				r.Faults++
				check(o, "process gone, "+string(k), o.Image(k, w.seed+uint64(o.N)))
			}
		}
		if o.Len() > 0 && w.chosen(phase, o.N, torn) {
			for _, k := range []faultfs.Keep{faultfs.All, faultfs.None} {
				for _, n := range faultfs.Tears(o.Len()) {
					image := o.Image(k, 0)
					if o.Tear(image, n) {
						r.Faults++
						check(o, fmt.Sprintf("torn after %d bytes, otherwise %s", n, k), image)
					}
				}
			}
		}
		return faultfs.Fault{}
	})
	if err := l.Open(w.sabotage(fs), p.Keys); err != nil {
		return r, errors.Join(first, fmt.Errorf("start %d without a fault: %w", phase, err))
	}
	for _, s := range p.Steps {
		mu.Lock()
		step = s
		mu.Unlock()
		if err := l.Do(s); err != nil {
			return r, errors.Join(first, fmt.Errorf("start %d without a fault: %w", phase, err))
		}
	}
	return r, errors.Join(first, l.Close())
}

// fails runs a phase with an operation that fails. The log may go on, or stop; what is on the disk then is checked
// with a crash on top.
func (w *world) fails(phase, op int, k kind) (r campaign.Report, err error) {
	fs := faultfs.New(faultfs.Copy(w.Before[phase]))
	told := w.Told[phase].Clone(w.Told[phase].Mark())
	var l *rig.Log
	var hit faultfs.Op
	fs.Before(func(o faultfs.Op) faultfs.Fault {
		l.Observe()
		if o.N != op {
			return faultfs.Fault{}
		}
		hit = o
		f := faultfs.Fault{Err: faultfs.ErrInjected, Stored: k == stored}
		if l.Unwinds(o) {
			f.Last = true
			l.Die(fmt.Errorf("%w in the midst of a start or an end", faultfs.ErrInjected))
		}
		return f
	})
	l = rig.New(told, func(error) { fs.Kill() })
	p := w.Phases[phase]
	var step rig.Step
	end := l.Open(w.sabotage(fs), p.Keys)
	for _, s := range p.Steps {
		if end != nil {
			break
		}
		step = s
		end = l.Do(s)
	}
	if end == nil {
		step = rig.Step{}
	}
	if closed := l.Close(); end == nil {
		end = closed
	}
	fs.Kill()
	l.Observe()
	if hit.N == 0 {
		return r, nil // this time there were fewer operations
	}
	r.Faults++
	if end != nil {
		r.Refused++
	}
	explain := func(err error) error {
		return fmt.Errorf("start %d, %v %s (the log: %v): %w", phase, hit, k, end, err)
	}
	// Pebble gives some of its errors as text only.
	if end != nil && !strings.Contains(end.Error(), faultfs.ErrInjected.Error()) {
		return r, explain(errors.New("what the log says does not name the cause"))
	}
	fs.Before(nil)
	for _, keep := range faultfs.Keeps {
		r.Crashes++
		if err := w.check(fs.Image(keep, w.seed+uint64(op)), phase, told.Clone(told.Mark()), &r, step); err != nil {
			return r, explain(fmt.Errorf("then a crash with %s: %w", keep, err))
		}
	}
	return r, nil
}

// check checks an image and counts what is wrong with it.
func (w *world) check(image *vfs.MemFS, phase int, told *rig.Told, r *campaign.Report, step rig.Step) error {
	m := told.Mark()
	err := rig.Check(image, w.Phases[phase].Keys, w.Verifiers, told, step)
	r.Acknowledged += uint64(told.Mark().Acks() - m.Acks())
	switch {
	case errors.Is(err, oracle.ErrLost):
		r.Lost++
	case errors.Is(err, oracle.ErrFork):
		r.Forks++
	case errors.Is(err, oracle.ErrFalse):
		r.False++
	}
	return err
}
