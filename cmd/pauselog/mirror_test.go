package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The mirror as its own process: ready in one line, files from it, and an end that is told to it.
func TestMirrorCommand(t *testing.T) {
	l := newMirror(t)
	archives := l.archives()
	files := []string{filepath.Join(l.root, archives[0])}
	l.submit(l.http, files...)
	cmd := exec.Command(l.program("pauselog"), "mirror", "--policy", l.policy, "--upstream", l.root, "--cache", filepath.Join(l.dir, "cache"), "--state-dir", filepath.Join(l.dir, "seen"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var ready struct {
		Ready bool
		URL   string
	}
	if err := json.Unmarshal(line, &ready); err != nil || !ready.Ready || !strings.HasPrefix(ready.URL, "http://127.0.0.1:") {
		t.Errorf("%s: %v", line, err)
	}
	for path, want := range map[string]string{archives[0]: "200 OK", archives[1]: "403 Not In Transparency Log: not logged", "authors/id/N/NO/NONE/None-1.tar.gz": "404 Not Found"} {
		r, err := http.Get(ready.URL + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.Status != want {
			t.Errorf("%s: %s, %v, want %s", path, r.Status, err, want)
		}
		if file := must(os.ReadFile(files[0])); path == archives[0] && !bytes.Equal(body, file) {
			t.Errorf("%s: %d bytes, want %d", path, len(body), len(file))
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &stderr)
	}
	for _, want := range []string{"refused " + archives[1] + ": not-logged", "1 verified, 1 refused, 0 passed unverified, index not asked for"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("standard error does not say %q:\n%s", want, &stderr)
		}
	}
	// What was seen of the log is remembered, for the next run to compare.
	seen := must(filepath.Glob(filepath.Join(l.dir, "seen", "*", "checkpoint")))
	if len(seen) != 1 {
		t.Errorf("remembered: %q", seen)
	}
}
