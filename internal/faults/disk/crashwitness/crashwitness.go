// Package crashwitness is the fault campaign that crashes a witness at each of its writes, and makes each of them fail.
//
// A witness lives through some starts with two logs, each of which has a second history. At an operation of its disk
// the process is gone, or a write is torn, or the operation fails, done or not. The witness that starts
// from what is on the disk then must say of no log less than it said before, must not cosign the second history, and must
// go on with the first. There is no crash after which it may refuse to start.
package crashwitness

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
	"github.com/pauselog/pauselog/internal/faults/disk/oracle"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/witness"
)

// Campaign crashes a witness at its writes.
var Campaign = campaign.Campaign{
	Name:  "crash-witness",
	About: "a witness's every write × failed, failed but stored, torn, process gone; it must start, say no less than before, and cosign no fork",
	Run: func(ctx context.Context, o campaign.Options) (campaign.Report, error) {
		return run(ctx, o, func(fs vfs.FS) vfs.FS { return fs }, shortPoints)
	},
}

// shortPoints is about how many operations of all the short form has a fault at.
const shortPoints = 500

// errStart says that a witness did not start.
var errStart = errors.New("the witness does not start")

// A world is a witness's life without faults, and the disk before each of its starts.
type world struct {
	seed     uint64
	signer   *checkpoint.SignerKey
	logs     []*log
	phases   [][]step
	before   []*vfs.MemFS
	told     []*told
	clocks   []*clock
	ops      []int
	end      *told
	rest     *vfs.MemFS // the disk after the last start
	stride   int
	sabotage func(vfs.FS) vfs.FS
}

// A step is something that happens to a witness.
type step func(*running) error

// asks is a request for the honest history. Where it goes on from is what the witness says.
func asks(l *log, size uint64) step {
	return func(r *running) error {
		r.told.mu.Lock()
		old := r.told.sizes[l.origin]
		r.told.mu.Unlock()
		r.clock.tick()
		_, err := r.ask(l, l.honest, old, size)
		return err
	}
}

// forks is a request for the other one, which must be refused.
func forks(l *log, size uint64) step {
	return func(r *running) error {
		r.told.mu.Lock()
		old := r.told.sizes[l.origin]
		r.told.mu.Unlock()
		_, err := r.ask(l, l.fork, old, size)
		if refusal := (*witness.Refusal)(nil); errors.As(err, &refusal) {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("%w: a fork of %s is cosigned", oracle.ErrFork, l.origin)
		}
		return err
	}
}

// both does steps of different logs at once.
func both(steps ...step) step {
	return func(r *running) error {
		errs := make([]error, len(steps))
		var all sync.WaitGroup
		for i, s := range steps {
			all.Go(func() { errs[i] = s(r) })
		}
		all.Wait()
		return errors.Join(errs...)
	}
}

func adds(l *log) step {
	return func(r *running) error {
		_, err := r.state.Add(l.origin, []*checkpoint.VerifierKey{l.key.Verifier()}, 0, "")
		return err
	}
}

func newWorld(seed uint64, sabotage func(vfs.FS) vfs.FS) (*world, error) {
	w := &world{seed: seed, stride: 1, sabotage: sabotage}
	var err error
	if w.signer, err = checkpoint.GenerateSigner(checkpoint.CosignatureV1, name, nil); err != nil {
		return nil, err
	}
	for _, o := range []string{"log.example/a", "log.example/b"} {
		l, err := newLog(o)
		if err != nil {
			return nil, err
		}
		w.logs = append(w.logs, l)
	}
	a, b := w.logs[0], w.logs[1]
	w.phases = [][]step{
		{adds(a), asks(a, 3), asks(a, 7), adds(b), asks(b, 2), forks(a, 9)},
		{asks(a, 7), asks(a, 20), func(r *running) error { return r.state.AddKey(a.origin, a.second.Verifier()) },
			forks(a, 30), both(asks(a, 40), asks(b, 9)), func(r *running) error { r.clock.tick(); return r.witness.AcceptClock() }},
		{asks(b, 31), func(r *running) error { return r.state.Disable(b.origin) }, asks(a, 64),
			func(r *running) error { return r.state.Enable(b.origin) }, asks(b, 33), forks(b, 35), both(asks(b, 65), asks(a, 100))},
	}
	fs := faultfs.New(vfs.NewCrashableMem())
	if err := create(fs); err != nil {
		return nil, err
	}
	t, c := newTold(), &clock{now: epoch}
	for i, p := range w.phases {
		w.before = append(w.before, fs.Image(faultfs.All, 0))
		w.told = append(w.told, t.clone())
		w.clocks = append(w.clocks, &clock{now: c.Now()})
		n := fs.Count()
		r, err := start(fs, w.signer, c, t, nil)
		if err != nil {
			return nil, fmt.Errorf("start %d without a fault: %w", i, err)
		}
		for j, s := range p {
			if err := s(r); err != nil {
				return nil, fmt.Errorf("start %d, step %d without a fault: %w", i, j, err)
			}
		}
		if err := r.state.Close(); err != nil {
			return nil, err
		}
		w.ops = append(w.ops, fs.Count()-n)
	}
	w.end, w.rest = t, fs.Image(faultfs.All, 0)
	return w, verify(w.rest, w.logs, t)
}

// Rest makes the files of a witness at rest, and of the same before its last start. try starts a witness from
// files, and says why it refused to work; the error is of one that did, and said or did something wrong.
func Rest(seed uint64) (files, older *vfs.MemFS, try func(*vfs.MemFS) (refusal, err error), err error) {
	w, err := newWorld(seed, func(fs vfs.FS) vfs.FS { return fs })
	if err != nil {
		return nil, nil, nil, err
	}
	last := len(w.phases) - 1
	c := &clock{now: epoch.Add(time.Hour)}
	return w.rest, w.before[last], func(mem *vfs.MemFS) (refusal, err error) {
		err = w.check(mem, c, w.end.clone())
		if errors.Is(err, errStart) || errors.Is(err, errNotNow) {
			return err, nil
		}
		return nil, err
	}, nil
}

func (w *world) chosen(phase, op int, kind string) bool {
	h := fnv.New64a()
	fmt.Fprint(h, w.seed, phase, op, kind)
	return h.Sum64()%uint64(w.stride) == 0
}

func run(ctx context.Context, o campaign.Options, sabotage func(vfs.FS) vfs.FS, points int) (r campaign.Report, err error) {
	defer func() {
		if err != nil && o.Long {
			err = fmt.Errorf("%w (again: -campaigns crash-witness -seed %d -long)", err, o.Seed)
		} else if err != nil {
			err = fmt.Errorf("%w (again: -campaigns crash-witness -seed %d)", err, o.Seed)
		}
	}()
	w, err := newWorld(o.Seed, sabotage)
	if err != nil {
		return r, err
	}
	total := 0
	for _, n := range w.ops {
		total += n
	}
	if !o.Long {
		w.stride = max(1, 4*total/points)
	}
	r.Notes = []string{fmt.Sprintf("%d starts with %d operations, one in %d tried; acknowledged are cosignatures", len(w.phases), total, w.stride)}
	for p := range w.phases {
		if err := w.crashes(ctx, p, &r); err != nil {
			return r, err
		}
		for op := 1; op <= w.ops[p] && ctx.Err() == nil; op++ {
			for _, stored := range []bool{false, true} {
				if !w.chosen(p, op, fmt.Sprint("fails", stored)) {
					continue
				}
				if err := w.fails(p, op, stored, &r); err != nil {
					return r, err
				}
			}
		}
		o.Progress("start %d of %d done, %d crashes", p+1, len(w.phases), r.Crashes)
	}
	return r, nil
}

// crashes does a phase once, and before each operation checks what a crash there would leave.
func (w *world) crashes(ctx context.Context, phase int, r *campaign.Report) error {
	fs := faultfs.New(faultfs.Copy(w.before[phase]))
	t, c := w.told[phase].clone(), &clock{now: w.clocks[phase].Now()}
	var first error
	check := func(o faultfs.Op, what string, image *vfs.MemFS) {
		if first != nil || ctx.Err() != nil {
			return
		}
		r.Faults++
		if err := w.count(image, c, t, r); err != nil {
			first = fmt.Errorf("start %d, before %v, %s: %w", phase, o, what, err)
		}
	}
	fs.Before(func(o faultfs.Op) faultfs.Fault {
		if w.chosen(phase, o.N, "gone") {
			for _, k := range faultfs.Keeps {
				check(o, "process gone, "+string(k), o.Image(k, w.seed+uint64(o.N)))
			}
		}
		if o.Len() > 0 && w.chosen(phase, o.N, "torn") {
			for _, k := range []faultfs.Keep{faultfs.All, faultfs.None} {
				for _, n := range faultfs.Tears(o.Len()) {
					if image := o.Image(k, 0); o.Tear(image, n) {
						check(o, fmt.Sprintf("torn after %d bytes, otherwise %s", n, k), image)
					}
				}
			}
		}
		return faultfs.Fault{}
	})
	n, err := w.life(w.sabotage(fs), phase, c, t, nil)
	r.Acknowledged += n
	return errors.Join(first, err)
}

// life does a phase, as far as it goes.
func (w *world) life(fs vfs.FS, phase int, c *clock, t *told, fatal func(error)) (answers uint64, err error) {
	r, err := start(fs, w.signer, c, t, fatal)
	if err != nil {
		return 0, err
	}
	for _, s := range w.phases[phase] {
		if err = s(r); err != nil {
			break
		}
	}
	err = errors.Join(err, r.state.Close())
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n, err
}

// fails does a phase with an operation that fails, and checks what is on the disk then, with a crash on top.
func (w *world) fails(phase, op int, stored bool, r *campaign.Report) error {
	fs := faultfs.New(faultfs.Copy(w.before[phase]))
	t, c := w.told[phase].clone(), &clock{now: w.clocks[phase].Now()}
	var hit faultfs.Op
	fs.Before(func(o faultfs.Op) faultfs.Fault {
		if o.N != op {
			return faultfs.Fault{}
		}
		hit = o
		return faultfs.Fault{Err: faultfs.ErrInjected, Stored: stored}
	})
	n, end := w.life(w.sabotage(fs), phase, c, t, func(error) {})
	r.Acknowledged += n
	if hit.N == 0 {
		return nil
	}
	r.Faults++
	explain := func(err error) error {
		return fmt.Errorf("start %d, %v failed, stored %v (the witness: %v): %w", phase, hit, stored, end, err)
	}
	if end != nil {
		r.Refused++
		if errors.Is(end, oracle.ErrFork) || errors.Is(end, oracle.ErrFalse) || !strings.Contains(end.Error(), faultfs.ErrInjected.Error()) {
			return explain(end)
		}
	}
	for _, k := range faultfs.Keeps {
		if err := w.count(fs.Image(k, w.seed+uint64(op)), c, t, r); err != nil {
			return explain(fmt.Errorf("then a crash with %s: %w", k, err))
		}
	}
	return nil
}

// count checks an image, and counts what is wrong with it.
func (w *world) count(image *vfs.MemFS, c *clock, t *told, r *campaign.Report) error {
	r.Crashes++
	t = t.clone()
	err := w.check(image, c, t)
	r.Acknowledged += t.n
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
