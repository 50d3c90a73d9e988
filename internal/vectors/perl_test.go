package main

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The Perl distribution's own tests, among them that it gives each vector the answer that
// it must have. They need what every Debian with the package perl has: perl-base alone lacks
// Test::More, JSON::PP and CPAN.
func TestPerlGivesTheAnswers(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	prove, err := exec.LookPath("prove")
	if err != nil {
		t.Fatalf("%v: the Perl verifier cannot be tested; install Perl with its core modules (on Debian: apt-get install perl)", err)
	}
	// Go repeats a test only if a file that the test itself has read is another one by now.
	dir := filepath.Join(root, filepath.Dir(filepath.Dir(output)))
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			_, err = os.ReadFile(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	tests := "t"
	if testing.Short() {
		tests = "t/vectors.t"
	}
	cmd := exec.CommandContext(ctx, prove, "-l", tests)
	cmd.Dir = dir
	cmd.Env = perlEnvironment()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("prove -l %s in %s: %v\n%s", tests, dir, err, last(string(out), 8000))
	}
}

// perlEnvironment is the environment without what changes how Perl programs run.
func perlEnvironment() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "PERL") && !strings.HasPrefix(name, "CPAN_TLOG_") && name != "EXTENDED_TESTING" && name != "HARNESS_OPTIONS" {
			env = append(env, v)
		}
	}
	return env
}

func last(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}
