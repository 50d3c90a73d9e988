// Package fulldisk is the fault campaign in which a log's disk is full for a while, fails to sync, becomes
// read-only, or is slow.
//
// Whatever happens, nothing is acknowledged or signed that a crash at that moment would lose; the log goes on, or ends with
// the disk's error in what it says; and the next start, on a disk that works again, goes on from there.
package fulldisk

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
	"github.com/pauselog/pauselog/internal/faults/disk/oracle"
	"github.com/pauselog/pauselog/internal/faults/disk/rig"
)

// Campaign makes a log's disk fail for more than one operation.
var Campaign = campaign.Campaign{
	Name:  "full-disk",
	About: "a log's disk full, failing to sync, read-only, or blocked in a sync, from any operation on: nothing told is lost, and it goes on after a restart",
	Run: func(ctx context.Context, o campaign.Options) (campaign.Report, error) {
		return run(ctx, o, honest, shortPoints)
	},
}

func honest(fs vfs.FS) vfs.FS { return fs }

// shortPoints is about how many moments the short form tries.
const shortPoints = 120

// A trouble is what a disk has.
type trouble struct {
	name string
	err  error
	hits func(faultfs.Op) bool
	ops  int // for how many operations; 0: until the restart
}

var troubles = []trouble{
	{"full, until the restart", syscall.ENOSPC, grows, 0},
	{"full for 3 operations", syscall.ENOSPC, grows, 3},
	{"failing to sync, until the restart", syscall.EIO, syncs, 0},
	{"failing one sync", syscall.EIO, syncs, 1},
	{"read-only, until the restart", syscall.EROFS, changes, 0},
}

// grows is what needs space. The slots of the head are overwritten in place.
func grows(o faultfs.Op) bool {
	switch o.Kind {
	case faultfs.Create, faultfs.Mkdir, faultfs.Write:
		return true
	}
	return false
}

func syncs(o faultfs.Op) bool { return o.Kind == faultfs.Sync || o.Kind == faultfs.SyncDir }

func changes(o faultfs.Op) bool { return o.Kind != faultfs.Close }

type world struct {
	*rig.Life
	seed     uint64
	sabotage func(vfs.FS) vfs.FS
	stride   int
}

func (w *world) chosen(phase, op int, what string) bool {
	h := fnv.New64a()
	fmt.Fprint(h, w.seed, phase, op, what)
	return h.Sum64()%uint64(w.stride) == 0
}

func run(ctx context.Context, o campaign.Options, sabotage func(vfs.FS) vfs.FS, points int) (r campaign.Report, err error) {
	life, err := rig.NewLife(o.Seed)
	if err != nil {
		return r, fmt.Errorf("seed %d: %w", o.Seed, err)
	}
	w := &world{life, o.Seed, sabotage, 1}
	total := 0
	for _, n := range w.Ops {
		total += n
	}
	if !o.Long {
		w.stride = max(1, total*len(troubles)/points)
	}
	r.Notes = []string{fmt.Sprintf("%d starts with %d operations, one moment in %d tried", len(w.Phases), total, w.stride)}
	acks, _ := w.All.Until(w.All.Mark())
	r.Acknowledged = uint64(len(acks))
	defer func() {
		if err != nil {
			again := ""
			if o.Long {
				again = " -long"
			}
			err = fmt.Errorf("%w (again: -campaigns full-disk -seed %d%s)", err, o.Seed, again)
		}
	}()
	for p := range w.Phases {
		for op := 1; op <= w.Ops[p]; op++ {
			for _, t := range troubles {
				if ctx.Err() != nil {
					return r, nil
				}
				if !w.chosen(p, op, t.name) {
					continue
				}
				if err := w.suffers(p, op, t, &r); err != nil {
					return r, err
				}
			}
		}
		for _, file := range []string{".log", "/head"} {
			for n := 1; n <= 8; n++ {
				if ctx.Err() != nil || !o.Long && n%3 != int(o.Seed%3) {
					continue
				}
				if err := w.blocks(p, file, n, &r); err != nil {
					return r, err
				}
			}
		}
		o.Progress("start %d of %d done, %d crashes", p+1, len(w.Phases), r.Crashes)
	}
	return r, nil
}

// suffers does a phase with a disk in trouble from an operation on.
func (w *world) suffers(phase, op int, t trouble, r *campaign.Report) error {
	fs := faultfs.New(faultfs.Copy(w.Before[phase]))
	told := w.Told[phase].Clone(w.Told[phase].Mark())
	l := rig.New(told, func(error) { fs.Kill() })
	hits := 0
	fs.Before(func(o faultfs.Op) faultfs.Fault {
		l.Observe()
		if o.N < op || !t.hits(o) || t.ops > 0 && hits >= t.ops {
			return faultfs.Fault{}
		}
		hits++
		// A full disk takes the beginning of a write.
		f := faultfs.Fault{Err: t.err, Prefix: o.Len() / 2}
		if l.Unwinds(o) {
			f.Last = true
			l.Die(fmt.Errorf("in the midst of a start or an end: %w", t.err))
		}
		return f
	})
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
		if t.ops == 0 {
			// The end is as sudden as the trouble is lasting: there is nothing left to say.
			l.Die(t.err)
		}
		end = l.Close()
	}
	fs.Kill()
	l.Observe()
	if hits == 0 {
		return nil
	}
	r.Faults++
	explain := func(err error) error {
		return fmt.Errorf("start %d, disk %s, from operation %d on (the log: %v): %w", phase, t.name, op, end, err)
	}
	if end != nil {
		r.Refused++
		if errors.Is(end, rig.ErrHangs) || !strings.Contains(end.Error(), t.err.Error()) {
			return explain(errors.New("what the log says does not name the cause"))
		}
	}
	for _, k := range faultfs.Keeps {
		if err := w.check(fs.Image(k, w.seed+uint64(op)), phase, told, r, step); err != nil {
			return explain(fmt.Errorf("then a crash with %s: %w", k, err))
		}
	}
	return nil
}

// blocks does a phase in which the n-th sync of a file takes long. Meanwhile a crash must not lose what anybody knows.
func (w *world) blocks(phase int, file string, n int, r *campaign.Report) error {
	fs := faultfs.New(faultfs.Copy(w.Before[phase]))
	told := w.Told[phase].Clone(w.Told[phase].Mark())
	l := rig.New(told, nil)
	p := w.Phases[phase]
	if err := l.Open(w.sabotage(fs), p.Keys); err != nil {
		return err
	}
	asked, free, seen := make(chan struct{}), make(chan struct{}), 0
	fs.Delay(func(o faultfs.Op) {
		if o.Kind == faultfs.Sync && strings.HasSuffix(o.Name, file) && strings.HasPrefix(o.Name, rig.StoreDir+"/log") == (file == ".log") {
			if seen++; seen == n { // one file has one writer
				close(asked)
				<-free
			}
		}
	})
	done := make(chan error, 1)
	at := 0
	go func() {
		for i, s := range p.Steps {
			at = i
			if err := l.Do(s); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	select {
	case err := <-done:
		fs.Delay(nil)
		return errors.Join(err, l.Close()) // fewer syncs than n
	case <-asked:
	}
	r.Faults++
	l.Observe()
	for _, k := range faultfs.Keeps {
		if err := w.check(fs.Image(k, w.seed), phase, told, r); err != nil {
			return fmt.Errorf("start %d, sync %d of %s takes long, then a crash with %s: %w", phase, n, file, k, err)
		}
	}
	close(free)
	if err := errors.Join(<-done, l.Close()); err != nil {
		return fmt.Errorf("start %d, sync %d of %s took long, in step %d: %w", phase, n, file, at, err)
	}
	return w.check(fs.Image(faultfs.All, 0), phase, told, r)
}

// check checks an image and counts what is wrong with it.
func (w *world) check(image *vfs.MemFS, phase int, told *rig.Told, r *campaign.Report, again ...rig.Step) error {
	r.Crashes++
	m := told.Mark()
	told = told.Clone(m)
	err := rig.Check(image, w.Phases[phase].Keys, w.Verifiers, told, again...)
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
