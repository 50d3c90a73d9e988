package crashwitness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
	"github.com/pauselog/pauselog/internal/faults/disk/oracle"
	"github.com/pauselog/pauselog/witness"
	"github.com/pauselog/pauselog/witness/state"
)

// FullDisk makes a witness's disk fail for more than one operation.
//
// Whatever happens, the witness cosigns nothing that a crash at that moment would lose, and says what the disk said. It
// may be started again while the trouble lasts. The first start on a disk that works again goes on from there.
var FullDisk = campaign.Campaign{
	Name:  "full-witness",
	About: "a witness's disk full, failing to sync, or read-only, from any operation on, also over a restart: it names the cause, cosigns only what is on the disk, and goes on when there is room",
	Run: func(ctx context.Context, o campaign.Options) (campaign.Report, error) {
		return runTroubles(ctx, o, func(fs vfs.FS) vfs.FS { return fs }, shortMoments)
	},
}

// shortMoments is about how many moments the short form tries.
const shortMoments = 300

// A trouble is what a disk has.
type trouble struct {
	name string
	err  error
	hits func(faultfs.Op) bool
	ops  int // for how many operations; 0: until somebody makes room
}

var troubles = []trouble{
	{"full", syscall.ENOSPC, grows, 0},
	{"full for 2 operations", syscall.ENOSPC, grows, 2},
	{"full, and one that overwrites nothing in place", syscall.ENOSPC, writes, 0},
	{"failing to sync", syscall.EIO, syncs, 0},
	{"failing one sync", syscall.EIO, syncs, 1},
	{"read-only", syscall.EROFS, changes, 0},
}

// grows is what needs space. Records and the head are overwritten in place.
func grows(o faultfs.Op) bool {
	return o.Kind == faultfs.Create || o.Kind == faultfs.Mkdir || o.Len() > 0 && strings.HasSuffix(o.Name, ".tmp")
}

func writes(o faultfs.Op) bool { return grows(o) || o.Len() > 0 }

func syncs(o faultfs.Op) bool { return o.Kind == faultfs.Sync || o.Kind == faultfs.SyncDir }

func changes(o faultfs.Op) bool { return o.Kind != faultfs.Close }

func runTroubles(ctx context.Context, o campaign.Options, sabotage func(vfs.FS) vfs.FS, points int) (r campaign.Report, err error) {
	defer func() {
		if err != nil && o.Long {
			err = fmt.Errorf("%w (again: -campaigns full-witness -seed %d -long)", err, o.Seed)
		} else if err != nil {
			err = fmt.Errorf("%w (again: -campaigns full-witness -seed %d)", err, o.Seed)
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
		w.stride = max(1, total*len(troubles)/points)
	}
	r.Notes = []string{fmt.Sprintf("%d starts with %d operations, one moment in %d tried; acknowledged are cosignatures", len(w.phases), total, w.stride)}
	for p := range w.phases {
		for op := 1; op <= w.ops[p]; op++ {
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
		o.Progress("start %d of %d done, %d crashes", p+1, len(w.phases), r.Crashes)
	}
	return r, nil
}

// suffers does a phase with a disk in trouble from an operation on, starts the witness once more in the same trouble, and
// then on a disk that works again: after it went on meanwhile, and after a crash.
func (w *world) suffers(phase, op int, t trouble, r *campaign.Report) error {
	fs := faultfs.New(faultfs.Copy(w.before[phase]))
	told, c := w.told[phase].clone(), &clock{now: w.clocks[phase].Now()}
	hits := 0
	from := func(op int) func(faultfs.Op) faultfs.Fault {
		return func(o faultfs.Op) faultfs.Fault {
			if o.N < op || !t.hits(o) || t.ops > 0 && hits >= t.ops {
				return faultfs.Fault{}
			}
			hits++
			// A full disk takes the beginning of a write.
			return faultfs.Fault{Err: t.err, Prefix: o.Len() / 2}
		}
	}
	fs.Before(from(op))
	fatal := false
	ends := w.goesThrough(fs, phase, c, told, func(error) { fatal = true })
	if hits == 0 {
		return nil
	}
	r.Faults++
	r.Acknowledged += told.n
	explain := func(err error) error {
		return fmt.Errorf("start %d, disk %s, from operation %d on (the witness: %v): %w", phase, t.name, op, errors.Join(ends...), err)
	}
	if err := w.judge(ends, t, fatal, r); err != nil {
		return explain(err)
	}
	for _, k := range faultfs.Keeps {
		if err := w.count(fs.Image(k, w.seed+uint64(op)), c, told, r); err != nil {
			return explain(fmt.Errorf("then a crash with %s: %w", k, err))
		}
	}
	// Without a crash: whoever runs it starts it again, and again.
	again := fs.Next()
	again.Before(from(1))
	fatal = false
	ends = w.goesThrough(again, phase, c, told, func(error) { fatal = true })
	if err := w.judge(ends, t, fatal, r); err != nil {
		return explain(fmt.Errorf("started again in the same trouble: %w", err))
	}
	if err := w.count(again.Image(faultfs.All, 0), c, told, r); err != nil {
		return explain(fmt.Errorf("started again in the same trouble, and when there was room: %w", err))
	}
	return nil
}

// goesThrough does all of a phase, whatever fails, and returns the errors.
func (w *world) goesThrough(fs vfs.FS, phase int, c *clock, t *told, fatal func(error)) (ends []error) {
	r, err := start(w.sabotage(fs), w.signer, c, t, fatal)
	if err != nil {
		return []error{err}
	}
	for _, s := range w.phases[phase] {
		if err := s(r); err != nil {
			ends = append(ends, err)
		}
	}
	if err := r.state.Close(); err != nil {
		ends = append(ends, err)
	}
	return ends
}

// judge says whether errors are those that a witness in this trouble may have.
func (w *world) judge(ends []error, t trouble, fatal bool, r *campaign.Report) error {
	for _, err := range ends {
		r.Refused++
		refusal := (*witness.Refusal)(nil)
		switch {
		case errors.Is(err, oracle.ErrFork) || errors.Is(err, oracle.ErrFalse):
			return err
		case strings.Contains(err.Error(), t.err.Error()):
		case errors.As(err, &refusal) || errors.Is(err, state.ErrUnknownLog):
			// Of a log that could not be added nothing is cosigned.
		default:
			return fmt.Errorf("an error does not name the cause: %w", err)
		}
		if errors.Is(err, state.ErrBroken) && !fatal {
			return fmt.Errorf("nobody has the process ended: %w", err)
		}
	}
	return nil
}
