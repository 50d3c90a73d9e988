package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	cpanmirror "github.com/pauselog/pauselog/internal/mirror"
	"github.com/pauselog/pauselog/log/checkpoint"
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

// What knows of voids is asked before what may have been valid once; who learns a path is asked last.
func TestOrderOfProvers(t *testing.T) {
	const log = "http://127.0.0.1:1"
	one, two := t.TempDir(), t.TempDir()
	write(t, filepath.Join(two, "modules", "tlog", "checkpoint"), []byte("none"))
	named := t.TempDir()
	key := must(checkpoint.GenerateSigner(checkpoint.Ed25519, "log.example/pause", rand.Reader))
	policy := must(checkpoint.ParsePolicy(fmt.Appendf(nil, "log %s %s\nquorum none\n", key.Verifier(), log)))
	var stderr bytes.Buffer
	f := &mirrorFlags{app: &app{stderr: &stderr, stateDir: t.TempDir()}, upstreams: []string{one, two}, proofs: []string{named}, lookup: true}
	defer f.close()
	if _, err := f.openMemory(policy); err != nil {
		t.Fatal(err)
	}
	var upstreams []cpanmirror.Upstream
	for _, dir := range f.upstreams {
		upstreams = append(upstreams, must(cpanmirror.OpenUpstream(dir, "")))
	}
	provers, err := f.provers(t.Context(), policy, upstreams)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range provers {
		got = append(got, p.String())
	}
	want := []string{named, log, two + "/modules/tlog", "the proofs beside the files of " + one, "the proofs beside the files of " + two, "the log"}
	if !slices.Equal(got, want) {
		t.Errorf("asked in the order\n%q\nwant\n%q", got, want)
	}
}

// What is wrong with a flag is said before anything is served.
func TestMirrorFlags(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ flags, want string }{
		{"--cache-size 0", "--cache-size: expected a number of bytes, found 0"},
		{"--cache-size -1", "--cache-size: expected a number of bytes"},
		{"--cache-size much", "--cache-size"},
		{"--private authors/id/M/MY/MYCORP/", "no private mirror is named"},
		{"--private " + dir, "no path is named that is private"},
		{"--private authors/id/ --private " + dir, "expected an author's folder"},
		{"--private modules/ --private " + dir, "expected an author's folder"},
		{"--private authors/id/M/MY/MYCORP/ --private http://darkpan.example", "expected https:// or a folder"},
		{"--metadata http://cpanmetadb.plackperl.org", "--metadata: expected a URL like https://cpanmetadb.plackperl.org"},
	} {
		var stdout, stderr bytes.Buffer
		args := append([]string{"mirror", "--policy", "none", "--upstream", dir}, strings.Fields(tt.flags)...)
		if code := run(args, &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("%s: exit code %d, want 2 and %q\n%s", tt.flags, code, tt.want, &stderr)
		}
	}
}
