package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// The witness stays small: it has nothing of the log's store and services, and no client library
// for metrics.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 100 {
		t.Errorf("go list names %d packages only", len(deps))
	}
	for _, d := range deps {
		for _, banned := range []string{
			"github.com/pauselog/pauselog/log/store", "github.com/pauselog/pauselog/log/sequencer", "github.com/pauselog/pauselog/log/client",
			"github.com/pauselog/pauselog/proto", "github.com/pauselog/pauselog/internal/daemon", "github.com/pauselog/pauselog/internal/datafolder",
			"google.golang.org/", "github.com/cockroachdb/", "github.com/prometheus/", "testing",
		} {
			if d == banned || strings.HasPrefix(d, strings.TrimSuffix(banned, "/")+"/") {
				t.Errorf("the witness depends on %s", d)
			}
		}
	}
}

// Every setting of serve is explained to operators, and in the form of the file.
func TestSettingsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../deploy/WITNESS.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	serveCommand().Flags().VisitAll(func(f *pflag.Flag) {
		n++
		if f.Name != "config" && !strings.Contains(string(doc), "\n| `"+f.Name+"` |") {
			t.Errorf("%s is not in deploy/WITNESS.md", f.Name)
		}
	})
	if n < 10 {
		t.Errorf("serve has %d flags", n)
	}
}

// The example file is one that serve takes, as far as the folder that is not there.
func TestExampleFile(t *testing.T) {
	out, err := exec.Command("pausewitness", "serve", "--config", "../../deploy/pausewitness.toml").CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != exitError || !strings.Contains(string(out), "/var/lib/pausewitness/witness") {
		t.Errorf("%v: %s", err, out)
	}
}
