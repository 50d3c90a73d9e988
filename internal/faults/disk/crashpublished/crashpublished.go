// Package crashpublished is the fault campaign that crashes a log with witnesses at each write of the file that says
// what is published, and makes each of them fail.
//
// A log with three witnesses, of which two are needed, lives through some starts; in the last a witness loses its state.
// At an operation on the plain files of its data folder the process is gone, or a write is torn, or the operation fails,
// done or not; some of the crashes are at operations of the store. The log that starts from what is on the disk then shows
// its readers nothing older than they saw before, counts no witness that it had set aside, and goes on. A file of what is
// published that is gone or damaged is refused: it is never taken for an empty one.
package crashpublished

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
	"github.com/pauselog/pauselog/internal/faults/disk/oracle"
	"github.com/pauselog/pauselog/internal/faults/disk/rig"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/sequencer"
)

// Campaign crashes a log at the writes of what is published.
var Campaign = campaign.Campaign{
	Name:  "crash-published",
	About: "every write of what a log with witnesses has published × failed, failed but stored, torn, process gone: what readers see never goes back, and a damaged file is refused",
	Run: func(ctx context.Context, o campaign.Options) (campaign.Report, error) {
		return run(ctx, o, honest, shortPoints)
	},
}

// A sabotage is what stands between a log and its disk. The tests show that the campaign finds what it does.
type sabotage func(vfs.FS) vfs.FS

func honest(fs vfs.FS) vfs.FS { return fs }

// shortPoints is about how many operations of all the short form has a fault at.
const shortPoints = 100

// elsewhere is of how many operations on other files the short form has a crash at one.
const elsewhere = 40

// quorum is how many of the three witnesses it takes.
const quorum = 2

// slotSize is the size of a slot of the published file.
const slotSize = 512 << 10

// errStart says that a log did not start.
var errStart = errors.New("the log does not start")

// A step is something that happens to a log.
type step func(*process) error

// A world is a log's life without faults, and the disk before each of its starts.
type world struct {
	seed      uint64
	keys      rig.Keys
	verifiers []string
	policy    *checkpoint.Policy
	evidence  string
	sabotage  sabotage
	stride    int
	long      bool

	phases [][]step
	before []*vfs.MemFS
	told   []*told
	ops    []int // of all files, in each phase
	mine   []int // of those on the folder's plain files
	end    *told
	rest   *vfs.MemFS // the disk after the last start
}

func newWorld(o campaign.Options, s sabotage) (*world, error) {
	w := &world{seed: o.Seed, evidence: filepath.Join(o.Dir, "evidence"), sabotage: s, stride: 1, long: o.Long}
	k, err := rig.NewKey()
	if err != nil {
		return nil, err
	}
	w.keys = rig.Keys{Signers: []*checkpoint.SignerKey{k}}
	w.verifiers = []string{k.Verifier().String()}
	t := &told{log: new(rig.Told)}
	text := fmt.Sprintf("log %v\n", k.Verifier())
	for n := range 3 {
		c, err := newCosigner(n, w.verifiers)
		if err != nil {
			return nil, err
		}
		t.witnesses = append(t.witnesses, c)
		text += fmt.Sprintf("witness w%d %v %s\n", n, c.key.Verifier(), c.url())
	}
	if w.policy, err = checkpoint.ParsePolicy(fmt.Appendf([]byte(text), "group g %d w0 w1 w2\nquorum g\n", quorum)); err != nil {
		return nil, err
	}
	n := 0
	uploads := func(many int) step {
		first := n
		n += many
		return func(p *process) error {
			var all []*entry.Entry
			for i := range many {
				all = append(all, rig.Upload(first+i))
			}
			return p.submits(all...)
		}
	}
	w.phases = [][]step{
		{uploads(1), uploads(3)},
		{uploads(2), uploads(20)},
		{uploads(1), func(p *process) error { return p.forgets(1, rig.Upload(1000)) }, uploads(4)},
	}
	fs := faultfs.New(vfs.NewCrashableMem())
	if err := rig.Create(fs, w.keys); err != nil {
		return nil, err
	}
	for i := range w.phases {
		w.before = append(w.before, fs.Image(faultfs.All, 0))
		w.told = append(w.told, t.clone())
		all, mine := 0, 0
		fs.Before(func(o faultfs.Op) faultfs.Fault {
			all++
			if ofFolder(o) {
				mine++
			}
			return faultfs.Fault{}
		})
		if err := w.live(w.newProcess(t), fs, i); err != nil {
			return nil, fmt.Errorf("start %d without a fault: %w", i, err)
		}
		w.ops, w.mine = append(w.ops, all), append(w.mine, mine)
	}
	w.end, w.rest = t, fs.Image(faultfs.All, 0)
	return w, w.verify(w.rest, t)
}

// live does a phase, as far as it goes.
func (w *world) live(p *process, fs vfs.FS, phase int) error {
	err := p.open(fs)
	if err == nil {
		p.run()
		err = p.opened()
	}
	for _, s := range w.phases[phase] {
		if err != nil {
			break
		}
		err = s(p)
	}
	return errors.Join(err, p.end())
}

func (w *world) chosen(phase, op int, kind string, stride int) bool {
	h := fnv.New64a()
	fmt.Fprint(h, w.seed, phase, op, kind)
	return h.Sum64()%uint64(stride) == 0
}

func run(ctx context.Context, o campaign.Options, s sabotage, points int) (r campaign.Report, err error) {
	defer func() {
		if err != nil && o.Long {
			err = fmt.Errorf("%w (again: -campaigns crash-published -seed %d -long)", err, o.Seed)
		} else if err != nil {
			err = fmt.Errorf("%w (again: -campaigns crash-published -seed %d)", err, o.Seed)
		}
	}()
	w, err := newWorld(o, s)
	if err != nil {
		return r, err
	}
	all, mine := 0, 0
	for p := range w.phases {
		all, mine = all+w.ops[p], mine+w.mine[p]
	}
	if !o.Long {
		w.stride = max(1, 4*mine/points)
	}
	acks, _ := w.end.log.Until(w.end.log.Mark())
	r.Acknowledged = uint64(len(acks))
	r.Notes = []string{fmt.Sprintf("%d starts with %d operations, %d of them on the folder's plain files, of which one in %d tried", len(w.phases), all, mine, w.stride)}
	if err := w.damages(&r); err != nil {
		return r, err
	}
	for p := range w.phases {
		if err := w.crashes(ctx, p, &r); err != nil {
			return r, err
		}
		for op := 1; op <= w.mine[p] && ctx.Err() == nil; op++ {
			for _, stored := range []bool{false, true} {
				if !w.chosen(p, op, fmt.Sprint("fails", stored), w.stride) {
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
	t := w.told[phase].clone()
	p := w.newProcess(t)
	var first error
	check := func(o faultfs.Op, what string, image *vfs.MemFS) {
		if first != nil || ctx.Err() != nil {
			return
		}
		r.Faults++
		if err := w.count(image, t, r); err != nil {
			first = fmt.Errorf("start %d, before %v, %s: %w", phase, o, what, err)
		}
	}
	mine := 0
	fs.Before(func(o faultfs.Op) faultfs.Fault {
		if err := p.observe(); err != nil && first == nil {
			first = fmt.Errorf("start %d, before %v: %w", phase, o, err)
		}
		n, stride := o.N, elsewhere
		if w.long {
			stride = 4
		}
		if ofFolder(o) {
			mine++
			n, stride = mine, w.stride
		}
		if w.chosen(phase, n, "gone", stride) {
			for _, k := range faultfs.Keeps {
				check(o, "process gone, "+string(k), o.Image(k, w.seed+uint64(o.N)))
			}
		}
		if ofFolder(o) && o.Len() > 0 && w.chosen(phase, n, "torn", stride) {
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
	err := w.live(p, w.sabotage(fs), phase)
	return errors.Join(first, err)
}

// fails does a phase with an operation that fails, and checks what is on the disk then: with a crash on top, and with a
// crash after one start more.
func (w *world) fails(phase, op int, stored bool, r *campaign.Report) error {
	fs := faultfs.New(faultfs.Copy(w.before[phase]))
	t := w.told[phase].clone()
	p := w.newProcess(t)
	var hit faultfs.Op
	mine := 0
	fs.Before(func(o faultfs.Op) faultfs.Fault {
		if ofFolder(o) {
			mine++
		}
		if !ofFolder(o) || mine != op || hit.N != 0 {
			return faultfs.Fault{}
		}
		hit = o
		return faultfs.Fault{Err: faultfs.ErrInjected, Stored: stored}
	})
	end := w.live(p, w.sabotage(fs), phase)
	if hit.N == 0 {
		return nil
	}
	r.Faults++
	explain := func(err error) error {
		return fmt.Errorf("start %d, %v failed, stored %v (the log: %v): %w", phase, hit, stored, end, err)
	}
	if end != nil {
		r.Refused++
		if errors.Is(end, oracle.ErrFork) || errors.Is(end, oracle.ErrFalse) || !strings.Contains(end.Error(), faultfs.ErrInjected.Error()) {
			return explain(end)
		}
	}
	for _, k := range faultfs.Keeps {
		if err := w.count(fs.Image(k, w.seed+uint64(op)), t, r); err != nil {
			return explain(fmt.Errorf("then a crash with %s: %w", k, err))
		}
	}
	if err := w.startsAgain(fs.Next(), t, r); err != nil {
		return explain(err)
	}
	return nil
}

// startsAgain starts the next process on a machine that goes on, whose disk failed: it may read what is in memory alone.
// Once it has shown that to readers, a crash must not take it back.
func (w *world) startsAgain(fs *faultfs.FS, t *told, r *campaign.Report) error {
	t = t.clone()
	p := w.newProcess(t)
	err := p.open(w.sabotage(fs))
	image := fs.Image(faultfs.None, 0)
	if err = errors.Join(err, p.end()); err != nil {
		return fmt.Errorf("%w after the process alone ended: %w", errStart, err)
	}
	if err := w.count(image, t, r); err != nil {
		return fmt.Errorf("then a start, and a crash with %s: %w", faultfs.None, err)
	}
	return nil
}

// damages takes the published file away, cuts it and destroys both of its slots: no log starts with it.
func (w *world) damages(r *campaign.Report) error {
	b, err := faultfs.ReadFile(w.rest, file)
	if err != nil {
		return err
	}
	both := append([]byte{}, b...)
	both[40] ^= 1
	both[slotSize+40] ^= 1
	for what, content := range map[string][]byte{"gone": nil, "empty": {}, "cut": b[:100], "zeros": make([]byte, len(b)), "damaged in both slots": both} {
		image := faultfs.Copy(w.rest)
		if content == nil {
			err = image.Remove(file)
		} else {
			err = faultfs.WriteFile(image, file, content)
		}
		if err != nil {
			return err
		}
		r.Faults++
		p := w.newProcess(w.end.clone())
		err := p.open(w.sabotage(faultfs.New(image)))
		if end := p.end(); end != nil {
			return fmt.Errorf("the published file is %s: %w", what, end)
		}
		if !errors.Is(err, sequencer.ErrRefused) || !strings.Contains(err.Error(), file) {
			return fmt.Errorf("%w: the published file is %s, and the log starts: %v", oracle.ErrFalse, what, err)
		}
		r.Refused++
	}
	return nil
}

// count checks an image, and counts what is wrong with it.
func (w *world) count(image *vfs.MemFS, t *told, r *campaign.Report) error {
	r.Crashes++
	t = t.clone()
	m := t.log.Mark()
	err := w.check(image, t)
	r.Acknowledged += uint64(t.log.Mark().Acks() - m.Acks())
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

// check starts the log that a crash left, compares what it shows with what was shown, and has it go on.
func (w *world) check(mem *vfs.MemFS, t *told) error {
	p := w.newProcess(t)
	err := p.open(w.sabotage(faultfs.New(mem)))
	if err != nil && !errors.Is(err, oracle.ErrFork) && !errors.Is(err, oracle.ErrFalse) {
		return errors.Join(fmt.Errorf("%w: %w", errStart, err), p.end())
	}
	if err == nil {
		p.run()
		err = p.opened()
	}
	if err == nil {
		err = p.submits(rig.Upload(fresh + int(p.log.Seq.Signed().Size)))
	}
	if aside := t.aside; err == nil && aside != "" && p.asideOf(aside) == "" {
		err = fmt.Errorf("%w: %s, which has lost its state and was set aside, counts again", oracle.ErrFalse, aside)
	}
	if err := errors.Join(err, p.end()); err != nil {
		return err
	}
	return w.verify(mem, t)
}

// fresh is the number of an upload that no phase has.
const fresh = 1_000_000_000

// verify reads the files of a log that ended well, without it: the published file has what readers saw last.
func (w *world) verify(mem *vfs.MemFS, t *told) error {
	if err := rig.Verify(mem, w.verifiers, t.log); err != nil {
		return err
	}
	disk, err := oracle.Read(mem, rig.StoreDir+"/log", w.verifiers)
	if err != nil {
		return err
	}
	b, err := faultfs.ReadFile(mem, file)
	if err != nil {
		return err
	}
	content, _, err := oracle.Slot(b, slotSize)
	if err != nil {
		return fmt.Errorf("%w: the published file: %w", oracle.ErrFalse, err)
	}
	var v struct{ Note string }
	if err := json.Unmarshal(content, &v); err != nil {
		return fmt.Errorf("%w: the published file: %w", oracle.ErrFalse, err)
	}
	size, root, err := oracle.Checkpoint([]byte(v.Note), w.verifiers)
	if err != nil || size != t.shown.Size || root != t.shown.Root {
		return fmt.Errorf("%w: the published file says size %d, and size %d was published: %v", oracle.ErrLost, size, t.shown.Size, err)
	}
	if has, err := disk.RootOf(size); err != nil || has != root {
		return fmt.Errorf("%w: of size %d root %x was published, and the store has %x: %v", oracle.ErrFork, size, root, has, err)
	}
	return t.sound(size, root, []byte(v.Note), w.verifiers)
}
