package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pauselog/pauselog/internal/mirror/installer"
	"github.com/pauselog/pauselog/log/prooftree"
)

// perlDistribution is the Perl verifier and the CPAN shell's plugin, below the source.
const perlDistribution = "deploy/perl/CPAN-TLog"

func (l *lab) perlLib() string {
	return filepath.Join(l.source, filepath.FromSlash(perlDistribution), "lib")
}

// plugins: the same distributions with the CPAN shell, with and without the plugin, each build included.
func (b *bench) plugins(ctx context.Context) error {
	if err := needs("cpan", "cpanm", "make", "perl"); err != nil {
		return err
	}
	l, err := b.installLab(ctx)
	if err != nil {
		return err
	}
	if err := l.writeProofs(ctx); err != nil {
		return err
	}
	paths, err := b.archivesNeeded(ctx)
	if err != nil {
		return err
	}
	plugin := "CPAN::Plugin::TLog=policy," + l.policyFile + ",proofs," + l.proven
	return b.turns("plugin", []variant{
		{"cpan, plain", func() (time.Duration, error) { return b.shell(ctx, "", paths) }},
		{"cpan, plain again (control)", func() (time.Duration, error) { return b.shell(ctx, "", paths) }},
		{"cpan with the plugin", func() (time.Duration, error) { return b.shell(ctx, plugin, paths) }},
	}, "s", time.Duration.Seconds)
}

// shell installs distributions, named by their paths: a module that perl already has would not be installed again.
func (b *bench) shell(ctx context.Context, plugin string, paths []string) (took time.Duration, err error) {
	l := b.lab
	c, err := l.newClient()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.remove()) }()
	settings := "$CPAN::Config = {\n"
	if plugin != "" {
		// verbose says what was verified, so that a plugin that does nothing is noticed.
		settings += "    plugin_list => ['" + plugin + ",verbose,1'],\n"
	}
	name := filepath.Join(c.home, ".cpan", "CPAN", "MyConfig.pm")
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return 0, err
	}
	if err := os.WriteFile(name, []byte(settings+"};\n1;\n"), 0o666); err != nil {
		return 0, err
	}
	command := []string{"cpan", "-T", "-i"}
	for _, p := range paths {
		command = append(command, strings.TrimPrefix(p, "authors/id/"))
	}
	private := filepath.Join(c.dir, "private")
	if err := os.Mkdir(private, 0o777); err != nil {
		return 0, err
	}
	plan, err := installer.Prepare(installer.Request{Command: command, Environ: c.environ, Dir: c.dir, Mirror: l.upstream, Private: private})
	if err != nil {
		return 0, err
	}
	c.environ = append(plan.Environ, "PERL5LIB="+l.perlLib(), "PERL_MM_OPT=INSTALL_BASE="+c.lib, "XDG_STATE_HOME="+filepath.Join(c.home, "state"))
	took, out, err := b.timed(ctx, "plugin", c, plan.Command...)
	if err != nil {
		return 0, err
	}
	if plugin != "" {
		for _, p := range paths {
			if !slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool { return strings.HasPrefix(line, p+" is logged as entry ") }) {
				return 0, fmt.Errorf("the plugin does not say that %s is logged:\n%s", p, out)
			}
		}
	}
	return took, c.installed(l, out)
}

// writeProofs makes a copy of the archives with the proof of each beside it.
func (l *lab) writeProofs(ctx context.Context) error {
	if l.proven != "" {
		return nil
	}
	source, err := prooftree.OpenDir(l.proofs)
	if err != nil {
		return err
	}
	defer source.Close()
	tree, err := prooftree.Open(ctx, source, l.policy)
	if err != nil {
		return err
	}
	dir := filepath.Join(l.dir, "proven")
	for _, f := range l.archives() {
		p, err := tree.BundleFor(ctx, f.path, f.file.SHA256)
		if err != nil {
			return err
		}
		bundle, err := p.Bundle.Marshal()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(filepath.Join(l.cpan, filepath.FromSlash(f.path)))
		if err != nil {
			return err
		}
		name := filepath.Join(dir, filepath.FromSlash(f.path))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return err
		}
		if err := errors.Join(os.WriteFile(name, content, 0o666), os.WriteFile(name+".tlog-proof", bundle, 0o666)); err != nil {
			return err
		}
	}
	l.proven = dir
	return nil
}

// perlVerifies: pauselog-verify as a process, of one file, and of all of them.
func (b *bench) perlVerifies(ctx context.Context) error {
	const section, runs = "perl-verify", 5
	if err := needs("perl"); err != nil {
		return err
	}
	l, err := b.installLab(ctx)
	if err != nil {
		return err
	}
	if err := l.writeProofs(ctx); err != nil {
		return err
	}
	c, err := l.newClient()
	if err != nil {
		return err
	}
	defer c.remove()
	way, err := c.run(ctx, "perl", "-I"+l.perlLib(), "-MCPAN::TLog::Ed25519", "-e", "print CPAN::TLog::Ed25519::implementation()")
	if err != nil {
		return err
	}
	var files []string
	for _, f := range l.archives() {
		files = append(files, filepath.Join(l.proven, filepath.FromSlash(f.path)))
	}
	program := filepath.Join(l.source, filepath.FromSlash(perlDistribution), "bin", "pauselog-verify")
	verify := func(files []string) (time.Duration, error) {
		command := append([]string{"perl", "-I" + l.perlLib(), program, "--policy", l.policyFile, "--root", l.proven}, files...)
		began := time.Now()
		_, err := c.run(ctx, command...)
		return time.Since(began), err
	}
	end, err := b.begin(section)
	if err != nil {
		return err
	}
	defer end()
	// In turns, since it is their difference that counts.
	var one, all []time.Duration
	for range runs {
		first, err1 := verify(files[:1])
		every, err2 := verify(files)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		one, all = append(one, first), append(all, every)
	}
	end()
	b.add(section, fmt.Sprintf("pauselog-verify of one file (%s)", way), "ms", milliseconds(middle(one)))
	b.add(section, fmt.Sprintf("each further file (%s)", way), "ms", milliseconds(middle(all)-middle(one))/float64(len(files)-1))
	return nil
}
