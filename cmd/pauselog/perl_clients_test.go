package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// perlDistribution is where the Perl verifier is.
func perlDistribution(t *testing.T) string {
	t.Helper()
	return must(filepath.Abs(filepath.Join("..", "..", "deploy", "perl", "CPAN-TLog")))
}

// cpan has a CPAN shell with the plugin install a module, straight from a mirror. It returns what it says.
func (r *clientRun) cpan(plugin, upstream, module string) string {
	r.t.Helper()
	config := strings.NewReplacer("@HOME@", filepath.Join(r.home, ".cpan"), "@MIRROR@", "file://"+upstream).Replace(cpanConfig)
	config = strings.Replace(config, "urllist", "plugin_list => ['CPAN::Plugin::TLog="+plugin+"'], urllist", 1)
	write(r.t, filepath.Join(r.home, ".cpan", "CPAN", "MyConfig.pm"), []byte(config))
	cmd := exec.CommandContext(r.t.Context(), "cpan", "-T", "-i", module)
	lib := filepath.Join(perlDistribution(r.t), "lib")
	cmd.Dir, cmd.Env = r.dir, append(r.environ("cpan"), "PERL5LIB="+filepath.Join(r.lib, "lib", "perl5")+":"+lib)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return string(out)
}

// The plugin against a real log and real mirrors. What is not verified never runs.
func TestThePlugin(t *testing.T) {
	l := newClientLab(t)
	bare := l.upstream(t, nil)
	swapped := l.upstream(t, func(dir string) {
		write(t, filepath.Join(dir, examples, "Example-Base-0.01.tar.gz"), distribution("Example::Swapped"))
	})
	withTree := l.upstream(t, nil)
	if code, out := l.run(l.program("pauselog"), "export", "--policy", l.policy, "--state-dir", t.TempDir(), "--dir", filepath.Join(withTree, "modules", "tlog")); code != 0 {
		t.Fatalf("export: exit code %d\n%s", code, out)
	}
	for _, tt := range []struct {
		name, plugin, upstream, module string
		reason                         string // "": it is installed
	}{
		{"the log's own files", "policy," + l.policy, bare, "Example::Top", ""},
		{"the tree of the mirror", "policy," + l.offline, withTree, "Example::Top", ""},
		{"a tree that is named", "policy," + l.offline + ",proofs," + filepath.Join(withTree, "modules", "tlog"), bare, "Example::Top", ""},
		{"the log itself", "policy," + l.offline + ",log," + l.http + ",lookup,1", bare, "Example::Top", ""},
		{"swapped", "policy," + l.policy, swapped, "Example::Base", "mismatch: "},
		{"never logged, says the log", "policy," + l.policy, bare, "Example::Unlogged", "not-logged: "},
		{"never logged, says the mirror", "policy," + l.offline, withTree, "Example::Unlogged", "unverifiable: "},
		{"the proof of another path", "policy," + l.offline, bare, "Example::Borrowed", "unverifiable: "},
		{"no proof", "policy," + l.offline, bare, "Example::Base", "unverifiable: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := l.newRun(t)
			out := r.cpan(tt.plugin, tt.upstream, tt.module)
			switch {
			case tt.reason == "" && (!r.installed("Example/Top.pm") || !r.installed("Example/Base.pm")):
				t.Errorf("it was not installed, and %q ran\n%s", r.ran(), out)
			case tt.reason != "" && (r.ran() != "" || !strings.Contains(out, tt.reason)):
				t.Errorf("%q ran, want %q\n%s", r.ran(), tt.reason, out)
			}
		})
	}
}

// pauselog-verify and pauselog verify end in the same outcomes, from the same places, and remember in the same folder.
func TestThePerlCommand(t *testing.T) {
	l := newClientLab(t)
	up := l.upstream(t, nil)
	tree := filepath.Join(t.TempDir(), "tlog")
	state := t.TempDir()
	if code, out := l.run(l.program("pauselog"), "export", "--policy", l.policy, "--state-dir", state, "--dir", tree); code != 0 {
		t.Fatalf("export: exit code %d\n%s", code, out)
	}
	perl := func(args ...string) (int, string) {
		dist := perlDistribution(t)
		return l.run(append([]string{"perl", "-I" + filepath.Join(dist, "lib"), filepath.Join(dist, "bin", "pauselog-verify"), "--state-dir", state}, args...)...)
	}
	file := func(name string) string { return filepath.Join(up, examples, "Example-"+name+"-0.01.tar.gz") }
	swapped := filepath.Join(t.TempDir(), "Example-Base-0.01.tar.gz")
	write(t, swapped, distribution("Example::Swapped"))
	for _, tt := range []struct {
		name string
		args []string
		code int
	}{
		{"the log's own files", []string{"--policy", l.policy, "--root", up, file("Base")}, 0},
		{"a tree", []string{"--policy", l.offline, "--proofs", tree, "--root", up, file("Base"), file("Top")}, 0},
		{"an index", []string{"--policy", l.offline, "--proofs", tree, "--root", up, filepath.Join(up, "modules", "02packages.details.txt")}, 0},
		{"other bytes", []string{"--policy", l.offline, "--proofs", tree, "--path", examples + "Example-Base-0.01.tar.gz", swapped}, 10},
		{"not logged", []string{"--policy", l.policy, "--root", up, file("Unlogged")}, 11},
		{"not in the tree", []string{"--policy", l.offline, "--proofs", tree, "--root", up, file("Unlogged")}, 13},
		{"the log itself", []string{"--policy", l.policy, "--lookup", "--root", up, file("Base")}, 0},
		{"offline", []string{"--policy", l.policy, "--offline", "--root", up, file("Base")}, 13},
	} {
		if code, out := perl(tt.args...); code != tt.code {
			t.Errorf("%s: exit code %d, want %d\n%s", tt.name, code, tt.code, out)
		}
	}
	// What Perl remembered, Go reads, and the other way round.
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	if code, out := perl("--policy", l.policy, "--root", up, file("Base")); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, out := l.run(l.program("pauselog"), "checkpoint", "--policy", l.policy, "--state-dir", state); code != 0 {
		t.Errorf("pauselog cannot go on from what pauselog-verify remembered: exit code %d\n%s", code, out)
	}
}
