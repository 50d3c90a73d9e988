// Package crashinit is the fault campaign that kills 'pauselogd init' and 'pausewitness init' at each of their writes, and
// makes each of them fail.
//
// The real commands run under ptrace. Before a system call that changes a file they are killed, or the call answers EIO.
// What they leave is a whole log or witness, which starts; or nothing, and init can be run again; or a folder of
// which every command says that its init did not finish and what to do, which then works. No key is half written, and
// who has seen verifier keys printed has the log or witness that they are of. (What a machine's end takes
// of what was not synced is not tried here.)
package crashinit

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/internal/faults/disk/oracle"
)

// Campaign kills the inits.
var Campaign = campaign.Campaign{
	Name:  "crash-init",
	About: "every write of pauselogd init and pausewitness init × process gone, failed: it is whole, or can be made again as it says, and no key is half written",
	Run: func(ctx context.Context, o campaign.Options) (campaign.Report, error) {
		return run(ctx, o, commands, shortPoints)
	},
}

// shortPoints is about how many operations of each command the short form has a fault at.
const shortPoints = 10

// A maker makes a new log or witness.
type maker struct {
	name string
	init func(dir string) []string // the command
	// open opens the folder, and starts what is in it. Its verifier keys are what init printed.
	open func(dir string) (vkeys []string, err error)
	// unfinished and absent are words of the error of a folder whose init did not finish, and of one with nothing in it.
	unfinished, absent string
}

func headOf(dir string) string { return dir + ".head" }

// commands builds the real ones.
func commands(ctx context.Context, dir string) ([]maker, error) {
	bin := filepath.Join(dir, "bin") + string(filepath.Separator)
	if err := os.Mkdir(bin, 0o755); err != nil {
		return nil, err
	}
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("go list -m: %w", err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/pauselogd", "./cmd/pausewitness")
	build.Dir = strings.TrimSpace(string(root))
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return []maker{
		{"pauselogd", func(dir string) []string {
			return []string{bin + "pauselogd", "init", "--data", dir, "--origin", origin}
		}, openLog, "a log whose init did not finish: remove it and its head file, and run init again", "there is no log in"},
		{"pausewitness", func(dir string) []string {
			return []string{bin + "pausewitness", "init", "--data", dir, "--name", name}
		}, openWitness, "a witness whose init did not finish: remove it and its head file, and run init again", "there is no witness in"},
	}, nil
}

func run(ctx context.Context, o campaign.Options, make func(context.Context, string) ([]maker, error), points int) (r campaign.Report, err error) {
	if err := traceable(o.Dir); err != nil {
		r.Notes = append(r.Notes, fmt.Sprintf("NOT RUN: this machine does not let a process be traced: %v", err))
		return r, nil
	}
	makers, err := make(ctx, o.Dir)
	if err != nil {
		if ctx.Err() != nil {
			return r, nil
		}
		return r, err
	}
	for _, m := range makers {
		w := &world{maker: m, dir: o.Dir, seed: o.Seed, stride: 1}
		if err := w.all(ctx, o, points, &r); err != nil && ctx.Err() == nil {
			again := ""
			if o.Long {
				again = " -long"
			}
			return r, fmt.Errorf("%s init: %w (again: -campaigns crash-init -seed %d%s)", m.name, err, o.Seed, again)
		}
	}
	return r, nil
}

// A world is one command, again and again in new folders.
type world struct {
	maker
	dir    string
	seed   uint64
	stride int
	n      int
}

func (w *world) chosen(op int, a action) bool {
	h := fnv.New64a()
	fmt.Fprint(h, w.seed, w.name, op, a)
	return h.Sum64()%uint64(w.stride) == 0
}

func (w *world) all(ctx context.Context, o campaign.Options, points int, r *campaign.Report) error {
	whole, err := w.try(func(call) action { return lets })
	if err != nil {
		return err
	}
	if _, err := w.open(whole.dir); err != nil || !whole.Exited() || whole.ExitStatus() != 0 {
		return fmt.Errorf("without a fault: exit %d, %s: %w", whole.ExitStatus(), whole.stderr, err)
	}
	if !o.Long {
		w.stride = max(1, 2*whole.calls/points)
	}
	r.Notes = append(r.Notes, fmt.Sprintf("%s init has %d operations, one in %d tried", w.name, whole.calls, w.stride))
	for op := 1; op <= whole.calls; op++ {
		for _, a := range []action{kills, fails} {
			if ctx.Err() != nil {
				return nil
			}
			if !w.chosen(op, a) || a == fails && !canFail {
				continue
			}
			if err := w.at(op, a, r); err != nil {
				return err
			}
		}
	}
	o.Progress("%s done, %d crashes", w.name, r.Crashes)
	return nil
}

// at runs the command with a fault at one of its operations.
func (w *world) at(op int, a action, r *campaign.Report) error {
	var hit call
	e, err := w.try(func(c call) action {
		if c.n != op {
			return lets
		}
		hit = c
		return a
	})
	if err != nil {
		return err
	}
	if hit.n == 0 {
		return nil // the order of what the store does at its start may differ
	}
	what := "process gone"
	r.Faults++
	if a == kills {
		r.Crashes++
	} else {
		what = "failed"
	}
	explain := func(err error) error {
		return fmt.Errorf("before %v, %s (exit %d, %.300q): %w", hit, what, e.ExitStatus(), e.stderr, err)
	}
	if a == fails && e.ExitStatus() != 0 {
		r.Refused++
		if !strings.Contains(strings.ToLower(e.stderr), "input/output error") {
			return explain(errors.New("what it says does not name the cause"))
		}
	}
	if err := w.check(e, r); err != nil {
		return explain(err)
	}
	return os.RemoveAll(filepath.Dir(e.dir))
}

// An ending is what a command came to.
type ending struct {
	traced
	dir            string
	stdout, stderr string
}

func (e ending) Exited() bool    { return e.status.Exited() }
func (e ending) ExitStatus() int { return e.status.ExitStatus() }

// try runs the command under a tracer in a new place.
func (w *world) try(visit func(call) action) (e ending, err error) {
	w.n++
	base := filepath.Join(w.dir, fmt.Sprintf("%s-%d", w.name, w.n))
	if err := os.Mkdir(base, 0o700); err != nil {
		return e, err
	}
	e.dir = filepath.Join(base, "data")
	return e, w.runs(&e, []string{base + "/data", base + "/.data"}, visit)
}

// runs runs it where e says.
func (w *world) runs(e *ending, roots []string, visit func(call) action) error {
	base := filepath.Dir(e.dir)
	stdout, err1 := os.Create(filepath.Join(base, "stdout"))
	stderr, err2 := os.Create(filepath.Join(base, "stderr"))
	err := errors.Join(err1, err2)
	if err == nil {
		e.traced, err = trace(w.init(e.dir), base, stdout, stderr, roots, visit)
	}
	if err := errors.Join(err, stdout.Close(), stderr.Close()); err != nil {
		return err
	}
	out, err1 := os.ReadFile(stdout.Name())
	errs, err2 := os.ReadFile(stderr.Name())
	e.stdout, e.stderr = string(out), string(errs)
	return errors.Join(err1, err2)
}

// again runs it once more in the same place, without a fault.
func (w *world) again(e ending) (ending, error) {
	return e, w.runs(&e, nil, nil)
}

// check looks at what the command left, and does what an operator would.
func (w *world) check(e ending, r *campaign.Report) error {
	if err := keysAreWhole(filepath.Join(e.dir, "keys")); err != nil {
		return err
	}
	vkeys, err := w.open(e.dir)
	switch {
	case err == nil:
		if e.stdout != "" && e.stdout != strings.Join(vkeys, "\n")+"\n" {
			return fmt.Errorf("%w: printed were the keys %q, and it has %q", oracle.ErrFalse, e.stdout, vkeys)
		}
		return w.refusesAnother(e, vkeys, r)
	case e.stdout != "" || e.Exited() && e.ExitStatus() == 0:
		return fmt.Errorf("%w: init said %q, and then: %w", oracle.ErrLost, e.stdout, err)
	case strings.Contains(err.Error(), w.unfinished):
		r.Refused++
		// A second init must not make a log of half of the first.
		if second, err := w.again(e); err != nil || second.ExitStatus() == 0 || !strings.Contains(second.stderr, e.dir) {
			return fmt.Errorf("%w: init over what is not finished: exit %d, %.300q, %v", oracle.ErrFalse, second.ExitStatus(), second.stderr, err)
		}
		if err := os.RemoveAll(e.dir); err != nil {
			return err
		}
		if err := os.Remove(headOf(e.dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	case strings.Contains(err.Error(), w.absent):
	default:
		return fmt.Errorf("%w: nobody can tell what to do: %w", oracle.ErrFalse, err)
	}
	second, err := w.again(e)
	if err != nil || second.ExitStatus() != 0 {
		return fmt.Errorf("%w: init cannot be run again: exit %d, %.300q, %v", oracle.ErrFalse, second.ExitStatus(), second.stderr, err)
	}
	vkeys, err = w.open(e.dir)
	if err != nil {
		return fmt.Errorf("%w: what a second init made does not start: %w", oracle.ErrFalse, err)
	}
	return w.refusesAnother(second, vkeys, r)
}

// refusesAnother runs init over what is whole: it changes nothing.
func (w *world) refusesAnother(e ending, vkeys []string, r *campaign.Report) error {
	second, err := w.again(e)
	if err != nil {
		return err
	}
	if second.ExitStatus() == 0 || !strings.Contains(second.stderr, e.dir) || second.stdout != "" {
		return fmt.Errorf("%w: init over what is whole: exit %d, %.300q", oracle.ErrFalse, second.ExitStatus(), second.stderr)
	}
	r.Refused++
	now, err := w.open(e.dir)
	if err != nil || strings.Join(now, "\n") != strings.Join(vkeys, "\n") {
		return fmt.Errorf("%w: after another init the keys %q became %q: %v", oracle.ErrLost, vkeys, now, err)
	}
	return nil
}

// keysAreWhole reads what has a key's name: it is all of a key, and for nobody else's eyes.
func keysAreWhole(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.key"))
	if err != nil {
		return err
	}
	for _, f := range files {
		info, err1 := os.Stat(f)
		b, err2 := os.ReadFile(f)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		text, ok := strings.CutSuffix(string(b), "\n")
		if !ok || !isKey(text) || info.Mode().Perm() != 0o600 {
			return fmt.Errorf("%w: %s is not a whole key: %d bytes, mode %v", oracle.ErrFalse, f, len(b), info.Mode())
		}
	}
	return nil
}
