package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// What installing through pauselog costs the one who installs: the same with and without it, in turns. Only
// ratios within one run say something, so that each round measures every variant once, and each round another
// one first. One of them is the first one again, as a control: its ratio is what chance alone does, and
// another that is as near to 1 says that there is no difference to be seen, and not that there is none.

// installerSections are measured in place of the log's own, because they need a machine with Perl's clients.
var installerSections = []section{
	{"install", (*bench).installs},
	{"fetch", (*bench).fetches},
	{"judge", (*bench).judges},
	{"plugin", (*bench).plugins},
	{"perl-verify", (*bench).perlVerifies},
}

// clientPackages are the Debian packages of the programs that are driven.
var clientPackages = map[string]string{"cpanm": "cpanminus", "cpan": "perl", "perl": "perl", "make": "make"}

// needs says what is missing of some programs.
func needs(programs ...string) error {
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, fmt.Sprintf("%s (Debian package %s)", p, clientPackages[p]))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("this drives real clients, and there is no %s", strings.Join(missing, ", "))
	}
	return nil
}

// A variant is one way of doing the same.
type variant struct {
	what string
	run  func() (time.Duration, error)
}

// turns runs each variant once, beginning with another one in each round, and adds how long each took and how
// many times as long as the first one of them all.
func (b *bench) turns(section string, variants []variant, unit string, in func(time.Duration) float64) error {
	order := slices.Concat(variants, variants)[(b.round-1)%len(variants):][:len(variants)]
	took := map[string]float64{}
	others := map[string]float64{}
	for _, v := range order {
		d, err := v.run()
		if err != nil {
			return fmt.Errorf("%s: %w", v.what, err)
		}
		took[v.what], others[v.what] = in(d), b.usage.others
	}
	for _, v := range variants {
		b.usage.others = others[v.what]
		b.add(section, v.what, unit, took[v.what])
	}
	base := variants[0].what
	for _, v := range variants[1:] {
		b.usage.others = (others[base] + others[v.what]) / 2
		b.addRatio(section, v.what, base)
	}
	return nil
}

// addRatio adds a row of how many times as long one row took as another. The figure is the ratio of their medians
// over all rounds; the lowest and highest are of one round each, between which that ratio always lies.
func (b *bench) addRatio(section, what, base string) {
	x, y := b.row(section, what), b.row(section, base)
	name := "ratio: " + what
	b.add(section, name, "x", x.Values[len(x.Values)-1]/y.Values[len(y.Values)-1])
	b.row(section, name).Median = x.Median / y.Median
}

// row is one that was added before.
func (b *bench) row(section, what string) *row {
	i := slices.IndexFunc(b.report.Rows, func(x *row) bool { return x.Section == section && x.What == what })
	return b.report.Rows[i]
}

// A clientRun is one run of a program in folders of its own, of which nothing is left.
type clientRun struct {
	dir, home, lib string
	environ        []string
}

func (l *lab) newClient() (*clientRun, error) {
	dir, err := os.MkdirTemp(l.dir, "client-")
	if err != nil {
		return nil, err
	}
	c := &clientRun{dir: dir, home: filepath.Join(dir, "home"), lib: filepath.Join(dir, "lib")}
	temporary := filepath.Join(dir, "tmp")
	c.environ = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.home, "TMPDIR=" + temporary, "LC_ALL=C",
		"PERL_MM_USE_DEFAULT=1", "NONINTERACTIVE_TESTING=1",
		// Else perl would take the dependencies in another order each time.
		"PERL_HASH_SEED=0", "PERL_PERTURB_KEYS=0"}
	return c, errors.Join(os.Mkdir(c.home, 0o777), os.Mkdir(temporary, 0o777))
}

func (c *clientRun) remove() error { return os.RemoveAll(c.dir) }

// timed runs a command, watches what others use meanwhile, and returns what it printed and how long it took.
func (b *bench) timed(ctx context.Context, row string, c *clientRun, command ...string) (time.Duration, string, error) {
	end, err := b.begin(row)
	if err != nil {
		return 0, "", err
	}
	defer end()
	began := time.Now()
	out, err := c.run(ctx, command...)
	return time.Since(began), out, err
}

func (c *clientRun) run(ctx context.Context, command ...string) (string, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Env = c.dir, c.environ
	// All that it started ends with it: after an interrupt nothing may write into the folder that is removed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
	}
	return string(out), nil
}

// installed checks that the module is there: what failed is not worth a figure.
func (c *clientRun) installed(l *lab, out string) error {
	if _, err := os.Stat(filepath.Join(c.lib, "lib", "perl5", l.marker)); err != nil {
		return fmt.Errorf("it ended well and installed nothing: %w\n%s", err, out)
	}
	return nil
}

// allVerified is what the mirror says at its end of a run that was as it should be.
const allVerified = " 0 refused, 0 passed unverified, index verified"

// installs: a module and its dependencies with cpanm, each build included.
func (b *bench) installs(ctx context.Context) error {
	if err := needs("cpanm", "make", "perl"); err != nil {
		return err
	}
	l, err := b.installLab(ctx)
	if err != nil {
		return err
	}
	if err := b.filledCache(ctx); err != nil {
		return err
	}
	// Once without a figure, so that perl and make are in the file system's caches for all.
	if _, err := b.archivesNeeded(ctx); err != nil {
		return err
	}
	return b.turns("install", []variant{
		{"cpanm, plain", func() (time.Duration, error) { return b.cpanm(ctx, l.upstream) }},
		{"cpanm, plain again (control)", func() (time.Duration, error) { return b.cpanm(ctx, l.upstream) }},
		{"cpanm, mirror with an empty cache", func() (time.Duration, error) { return b.cpanmBehind(ctx, l.emptyCache()) }},
		{"cpanm, mirror with a full cache", func() (time.Duration, error) { return b.cpanmBehind(ctx, l.cache) }},
		{"pauselog exec cpanm, its start included", func() (time.Duration, error) { return b.cpanmByExec(ctx) }},
	}, "s", time.Duration.Seconds)
}

// cpanm installs from a mirror.
func (b *bench) cpanm(ctx context.Context, from string) (time.Duration, error) {
	return b.install(ctx, "", func(c *clientRun) []string {
		return []string{"cpanm", "--notest", "-L", c.lib, "--from", from, b.lab.module}
	})
}

// cpanmBehind installs through a verifying mirror, which is ready when the clock starts.
func (b *bench) cpanmBehind(ctx context.Context, cache string) (took time.Duration, err error) {
	m, err := b.startMirror(ctx, cache)
	if err != nil {
		return 0, err
	}
	took, err = b.cpanm(ctx, m.url)
	return took, errors.Join(err, m.stop())
}

// cpanmByExec has pauselog set up everything, as its users do.
func (b *bench) cpanmByExec(ctx context.Context) (time.Duration, error) {
	return b.install(ctx, allVerified, func(c *clientRun) []string {
		command := append([]string{b.lab.pauselog, "exec"}, b.lab.mirrorFlags(b.lab.cache)...)
		return append(command, "--", "cpanm", "--notest", "-L", c.lib, b.lab.module)
	})
}

// install runs a command that installs the module, and says so in its output if that is wanted.
func (b *bench) install(ctx context.Context, says string, command func(*clientRun) []string) (took time.Duration, err error) {
	c, err := b.lab.newClient()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.remove()) }()
	took, out, err := b.timed(ctx, "install", c, command(c)...)
	if err != nil {
		return 0, err
	}
	if !strings.Contains(out, says) {
		return 0, fmt.Errorf("it does not say %q:\n%s", says, out)
	}
	return took, c.installed(b.lab, out)
}
