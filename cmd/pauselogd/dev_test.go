package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What dev prints can be pasted into a shell, and every command does what its comment says.
func TestDevCommandsWork(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	// Beside each other, as an installation has them: dev then names the other's path.
	for _, name := range []string{"pauselogd", "pauselog"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, name), "../"+name).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	// The last two commands show that none of our tools is needed; a machine with Go alone may
	// have no curl.
	wants := []string{"Hello-World-0.01.tar.gz logged", "mismatch", "expected: sha256", "upload   1", "  witness  w"}
	_, noCurl := exec.LookPath("curl")
	if noCurl == nil {
		wants = append(wants, "pauselog.example/dev\n1\n", `"published_size":"1"`)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, round := range []string{"a new log", "the same log again"} {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, "pauselogd"), "dev", "--data", filepath.Join(dir, "with a space"))
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The commands end with the line that says how to end it.
		script := "set -e\n"
		r := bufio.NewReader(stderr)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("dev ended: %v\n%s", err, script)
			}
			if strings.HasPrefix(line, "Ctrl-C") {
				break
			}
			if strings.HasPrefix(line, "A log and its three witnesses are running") {
				continue
			}
			if strings.Contains(line, "verify") && strings.Contains(line, "changed") {
				line = strings.TrimSuffix(line, "\n") + " || test $? = 10\n"
			}
			if strings.HasPrefix(line, "curl") && noCurl != nil {
				continue
			}
			script += line
		}
		go io.Copy(io.Discard, r)
		shell := exec.CommandContext(ctx, "sh", "-c", script)
		shell.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(dir, "state"))
		out, err := shell.CombinedOutput()
		for _, want := range wants {
			if round != "a new log" {
				want = strings.Replace(want, "logged", "repeated", 1)
			}
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: it does not print %q", round, want)
			}
		}
		if err != nil {
			t.Errorf("%s: %v", round, err)
		}
		if t.Failed() {
			t.Fatalf("%s\n---\n%s", script, out)
		}
		cmd.Process.Signal(syscall.SIGINT)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: Ctrl-C: %v", round, err)
		}
	}
}
