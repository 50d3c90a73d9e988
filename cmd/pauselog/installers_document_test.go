package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// installersDocument says what leads round the mirror. Its numbers are those of the ways that are tested.
const installersDocument = "../../deploy/INSTALLERS.md"

// Way 8: what exec installed is bundled, verified where it lies, and installed from there.
func TestCartonBundle(t *testing.T) {
	l := newClientLab(t)
	up := l.upstream(t, nil)
	r := l.newRun(t)
	if code, out := r.install("carton", l.policy, up, base); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	snapshot, cached := filepath.Join(r.dir, "cpanfile.snapshot"), filepath.Join(r.dir, "vendor", "cache", examples, "Example-Base-0.01.tar.gz")
	if code, out := r.exec(l.policy, up, "carton", "bundle"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	install := func(flags ...string) (int, string) {
		t.Helper()
		if err := errors.Join(os.RemoveAll(r.lib), os.RemoveAll(filepath.Join(r.dir, "ran"))); err != nil {
			t.Fatal(err)
		}
		args := slices.Concat([]string{"exec", "--policy", l.policy, "--upstream", up}, flags, []string{"--", "carton", "install", "--cached"})
		cmd := exec.CommandContext(t.Context(), l.program("pauselog"), args...)
		cmd.Dir, cmd.Env = r.dir, r.environ("carton")
		b, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(b)
	}
	if code, out := install(); code != 2 || r.ran() != "" {
		t.Errorf("exit code %d, %q ran\n%s", code, r.ran(), out)
	}
	if code, out := l.run(l.program("pauselog"), "verify", "--policy", l.policy, "--snapshot", snapshot); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, out := install("--allow-direct"); code != 0 || r.ran() != base+"\n" || !strings.Contains(out, "installed unverified") {
		t.Errorf("exit code %d, %q ran\n%s", code, r.ran(), out)
	}
	// Its further hosts are the mirror, also for what the folder lacks.
	if err := os.Remove(cached); err != nil {
		t.Fatal(err)
	}
	if code, out := install("--allow-direct"); code != 0 || r.ran() != base+"\n" || !strings.Contains(out, "1 verified") {
		t.Errorf("exit code %d, %q ran\n%s", code, r.ran(), out)
	}
	write(t, cached, distribution("Example::Swapped"))
	if code, out := l.run(l.program("pauselog"), "verify", "--policy", l.policy, "--snapshot", snapshot); code != 10 {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// The document and these tests have the same numbers.
func TestTheWaysAreInTheDocument(t *testing.T) {
	text, err := os.ReadFile(installersDocument)
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile(`(?m)^\*\*(\d+)\. `).FindAllSubmatch(text, -1) {
		listed = append(listed, string(m[1]))
	}
	var tested []string
	for _, number := range slices.Sorted(maps.Keys(ways)) {
		tested = append(tested, fmt.Sprint(number))
	}
	if !slices.Equal(listed, tested) {
		t.Errorf("the document lists %v, the tests are for %v", listed, tested)
	}
}

// What the document says to do by hand leads to the mirror, and what is not logged is then not installed.
func TestCommandsOfTheDocument(t *testing.T) {
	l := newClientLab(t)
	cmd := exec.Command(l.program("pauselog"), "mirror", "--policy", l.policy, "--upstream", l.upstream(t, nil), "--cache", t.TempDir(), "--state-dir", t.TempDir())
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(os.Interrupt); cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var ready struct{ URL string }
	if err := json.Unmarshal(line, &ready); err != nil {
		t.Fatal(err)
	}
	document := must2(os.ReadFile(installersDocument))
	lines := func(pattern string) string {
		t.Helper()
		m := regexp.MustCompile(`(?m)^    (`+pattern+`.*)$`).FindAllStringSubmatch(document, -1)
		if len(m) == 0 {
			t.Fatalf("the document has no line %q", pattern)
		}
		text := ""
		for _, line := range m {
			text += strings.ReplaceAll(line[1], "http://127.0.0.1:8080", ready.URL) + "\n"
		}
		return text
	}
	for _, tt := range []struct{ client, script, stdin string }{
		{"cpanm", lines(`cpanm --from`), ""},
		{"carton", lines(`PERL_CARTON_MIRROR=`), ""},
		{"minicpan", lines(`minicpan -r`), ""},
		{"cpan", "cpan", lines(`o conf`) + "notest install Try::Tiny\nq\n"},
	} {
		for _, module := range []string{base, unlogged} {
			r := l.newRun(t)
			r.cpanfile([]string{module})
			config := strings.NewReplacer("@HOME@", filepath.Join(r.home, ".cpan"), "@MIRROR@", "http://elsewhere.example", "pushy_https => 0", "pushy_https => 1").Replace(cpanConfig)
			write(t, filepath.Join(r.home, ".cpan", "CPAN", "MyConfig.pm"), []byte(config))
			cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(tt.script, "Try::Tiny", module))
			cmd.Dir, cmd.Env = r.dir, append(r.environ(tt.client), "U="+ready.URL, "PERL_CPANM_OPT=--notest -L "+r.lib)
			cmd.Stdin = strings.NewReader(strings.ReplaceAll(tt.stdin, "Try::Tiny", module))
			out, _ := cmd.CombinedOutput()
			want := map[string]string{base: base + "\n"}[module]
			if tt.client != "minicpan" && r.ran() != want {
				t.Errorf("%s %s: %q ran, want %q\n%s", tt.client, module, r.ran(), want, out)
			}
			for name, there := range map[string]bool{"Base": true, "Unlogged": false} {
				_, err := os.Stat(filepath.Join(r.dir, "minicpan", examples, "Example-"+name+"-0.01.tar.gz"))
				if tt.client == "minicpan" && (err == nil) != there {
					t.Errorf("minicpan: %s is there: %v, want %v\n%s", name, err == nil, there, out)
				}
			}
		}
	}
}
