package pausehook

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hook is the module's folder, as seen from this package.
const hook = "../../deploy/perl/PAUSE-TLog"

// The module's own tests. They need what every Debian with the package perl has.
func TestHookPassesItsOwnTests(t *testing.T) {
	readHook(t)
	out, err := perl(t, "prove", nil, "-l", "t")
	if err != nil {
		t.Errorf("prove -l t in %s: %v\n%s", hook, err, last(out, 8000))
	}
}

// readHook reads all files of the module: Go repeats a test only if a file that the test itself has read is
// another one by now.
func readHook(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(hook, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			_, err = os.ReadFile(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// perl runs a Perl program in the module's folder, without what in the environment changes how such programs run,
// and returns all that it printed.
func perl(t *testing.T, program string, stdin []byte, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%v: the hook for PAUSE cannot be tested; install Perl with its core modules (on Debian: apt-get install perl)", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = hook
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = []string{"LC_ALL=C"}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "PERL") && !strings.HasPrefix(name, "PAUSE_") && !strings.HasPrefix(name, "LC_") && name != "HARNESS_OPTIONS" {
			cmd.Env = append(cmd.Env, v)
		}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func last(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}
