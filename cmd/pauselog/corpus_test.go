package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The main job, with the real programs on real distributions: a whole mirror is logged
// and then verified without a network; what was changed is refused; to submit again changes
// nothing. The mirror is that of PAUSELOG_CORPUS, or a small one made here.
func TestMirror(t *testing.T) {
	m := newMirror(t)
	archives := m.archives()
	if len(archives) < 3 {
		t.Fatalf("the mirror has %d archives", len(archives))
	}
	files := make([]string, len(archives))
	for i, a := range archives {
		files[i] = filepath.Join(m.root, a)
	}

	logged := m.submit(m.grpc, files...)
	if len(logged) != len(files) {
		t.Fatalf("%d of %d archives were logged", len(logged), len(files))
	}
	for _, line := range logged {
		if !strings.HasSuffix(line, " logged") {
			t.Errorf("submit printed %q", line)
		}
	}

	// Offline in the strict sense: in a network namespace that has no interface.
	verify := func(args ...string) (int, string) {
		t.Helper()
		args = append([]string{m.program("pauselog"), "verify", "--policy", m.policy, "--offline"}, args...)
		return m.run(append(m.alone, args...)...)
	}
	if code, out := verify(append([]string{"--root", m.root}, files...)...); code != 0 || out != "" {
		t.Errorf("verifying all: exit code %d\n%s", code, out)
	}

	flipped := filepath.Join(t.TempDir(), "flipped.tar.gz")
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(flipped, b, 0o644); err != nil {
		t.Fatal(err)
	}
	proof := files[0] + ".tlog-proof"
	for _, tt := range []struct {
		name string
		file string
		path string
		code int
	}{
		{"the file", files[0], archives[0], 0},
		{"one byte changed", flipped, archives[0], 10},
		{"another distribution under this name", files[1], archives[0], 10},
		{"the proof of another path", files[0], archives[1], 19},
	} {
		code, out := verify("--path", tt.path, "--proof", proof, tt.file)
		if code != tt.code {
			t.Errorf("%s: exit code %d, want %d\n%s", tt.name, code, tt.code, out)
		}
	}

	// Again, by the other transport: the same indexes, and proofs that verify.
	again := m.submit(m.http, files...)
	for i := range logged {
		if i >= len(again) || again[i] != strings.TrimSuffix(logged[i], " logged")+" repeated" {
			t.Fatalf("submitted again: %q, before %q", again, logged)
		}
	}
	if code, out := verify(append([]string{"--root", m.root}, files...)...); code != 0 {
		t.Errorf("verifying all again: exit code %d\n%s", code, out)
	}

	// Other bytes for a path that is logged: refused, with the digest that is logged, and one
	// conflict entry however often it is tried.
	for range 2 {
		code, out := m.run(m.program("pauselog"), "submit", "--server", m.grpc, "--token-file", m.token, "--path", archives[0], flipped)
		if code != 10 || !strings.Contains(out, m.digest(files[0])) {
			t.Errorf("other bytes: exit code %d\n%s", code, out)
		}
	}
	code, out := m.run(m.program("pauselog"), "lookup", "--policy", m.policy, "--path", archives[0])
	if code != 0 || strings.Count(out, "conflict") != 1 || strings.Count(out, "upload") < 1 {
		t.Errorf("lookup: exit code %d\n%s", code, out)
	}
	code, out = m.run(m.program("pauselog"), "audit", "--policy", m.policy, "--json")
	var report struct {
		Size  json.Number
		Kinds map[string]json.Number
	}
	if err := json.Unmarshal([]byte(out), &report); code != 0 || err != nil || report.Kinds["conflict"] != "1" ||
		report.Kinds["upload"] != json.Number(fmt.Sprint(len(files))) {
		t.Errorf("audit: exit code %d, %v\n%s", code, err, out)
	}
	t.Logf("%d archives; without a network by: %v", len(files), m.alone)
}

// A mirror is a CPAN mirror on disk, and a log that the real pauselogd serves.
type mirror struct {
	t             *testing.T
	dir, root     string
	grpc, http    string
	token, policy string
	alone         []string // the command before a command that gives it no network
}

func newMirror(t *testing.T) *mirror {
	t.Helper()
	m := &mirror{t: t, dir: t.TempDir()}
	m.root, m.token, m.policy = filepath.Join(m.dir, "cpan"), filepath.Join(m.dir, "token"), filepath.Join(m.dir, "policy")
	if corpus := os.Getenv("PAUSELOG_CORPUS"); corpus != "" {
		if err := os.CopyFS(m.root, os.DirFS(corpus)); err != nil {
			t.Fatal(err)
		}
	} else {
		for i := range 5 {
			name := filepath.Join(m.root, fmt.Sprintf("authors/id/E/EX/EXAMPLE/Dist%d-0.01.tar.gz", i))
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, tarball(fmt.Sprint("distribution ", i)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, unshare := range [][]string{{"unshare", "-n"}, {"unshare", "-rn"}} {
		if exec.Command(unshare[0], append(unshare[1:], "true")...).Run() == nil {
			m.alone = unshare
			break
		}
	}
	m.serve()
	return m
}

// serve starts pauselogd; it ends with the test.
func (m *mirror) serve() {
	m.t.Helper()
	data := filepath.Join(m.dir, "log")
	_, vkeys := m.run(m.program("pauselogd"), "init", "--data", data, "--origin", "log.example/pause")
	_, secret := m.run(m.program("pauselogd"), "token", "create", "--data", data, "--name", "test")
	if err := os.WriteFile(m.token, []byte(secret), 0o600); err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command(m.program("pauselogd"), "serve", "--data", data, "--no-witnesses", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level", "warn")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			m.t.Errorf("pauselogd: %v", err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		m.t.Fatal(err)
	}
	var ready struct{ GRPC, HTTP string }
	if err := json.Unmarshal(line, &ready); err != nil {
		m.t.Fatal(err)
	}
	m.grpc, m.http = "grpc://"+ready.GRPC, "http://"+ready.HTTP
	policy := ""
	for vkey := range strings.Lines(vkeys) {
		policy += "log " + strings.TrimSuffix(vkey, "\n") + " " + m.http + "\n"
	}
	if err := os.WriteFile(m.policy, []byte(policy+"quorum none\n"), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mirror) program(name string) string { return filepath.Join(programs, name) }

// run returns the exit code and everything that was printed.
func (m *mirror) run(args ...string) (int, string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(m.dir, "state"), "XDG_CONFIG_HOME="+m.dir)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// archives are the paths of the archives in the mirror, in order.
func (m *mirror) archives() (paths []string) {
	m.t.Helper()
	err := filepath.WalkDir(filepath.Join(m.root, "authors", "id"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, ".tar.gz") {
			rel, relErr := filepath.Rel(m.root, name)
			paths, err = append(paths, filepath.ToSlash(rel)), relErr
		}
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	slices.Sort(paths)
	return paths
}

// submit submits files with their proofs written, and returns what was printed, sorted by file.
func (m *mirror) submit(server string, files ...string) []string {
	m.t.Helper()
	code, out := m.run(append([]string{m.program("pauselog"), "submit", "--server", server, "--token-file", m.token,
		"--policy", m.policy, "--root", m.root, "--write-proofs"}, files...)...)
	if code != 0 {
		m.t.Fatalf("submit: exit code %d\n%s", code, out)
	}
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n")
}

func (m *mirror) digest(file string) string {
	m.t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		m.t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}
