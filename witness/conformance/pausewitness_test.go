package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// TestPausewitnessPasses builds this repository's witness, makes a folder, adds the logs, serves, and runs the whole
// suite against it, with SIGKILL for Restart.
func TestPausewitnessPasses(t *testing.T) {
	w := &process{t: t, binary: filepath.Join(t.TempDir(), "pausewitness"), data: filepath.Join(t.TempDir(), "witness"), listen: "127.0.0.1:0"}
	if out, err := exec.Command("go", "build", "-o", w.binary, "github.com/pauselog/pauselog/cmd/pausewitness").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	target := &Target{Restart: func(ctx context.Context) error {
		w.kill()
		return w.start(ctx)
	}}
	for vkey := range strings.Lines(w.run("init", "--data", w.data, "--name", "witness.example/w1")) {
		k, err := checkpoint.ParseVerifierKey(strings.TrimSpace(vkey))
		if err != nil {
			t.Fatal(err)
		}
		target.Witness = append(target.Witness, k)
	}
	var err error
	if target.Logs, err = GenerateLogs(Origins); err != nil {
		t.Fatal(err)
	}
	for _, l := range target.Logs {
		args := []string{"log", "add", "--data", w.data}
		for _, k := range l.Keys {
			args = append(args, "--vkey", k.Verifier().String())
		}
		w.run(args...)
	}
	if err := w.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.kill)
	target.Prefix = "http://" + w.listen
	Run(t.Context(), target, func(c Check, err error) {
		if err != nil {
			t.Errorf("%s %s %s: %v", c.ID, c.Level, c.Name, err)
		}
	})
	if t.Failed() {
		t.Logf("what the witness said:\n%s", w.journal())
	}
}

// A process is a pausewitness and its folder.
type process struct {
	t            *testing.T
	binary, data string
	listen       string // of the first start, and then always
	cmd          *exec.Cmd

	mu  sync.Mutex
	err strings.Builder
}

func (w *process) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err.Write(b)
}

// journal returns the end of what was written to stderr.
func (w *process) journal() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.err.String()
	return s[max(0, len(s)-8<<10):]
}

func (w *process) run(args ...string) string {
	w.t.Helper()
	cmd := exec.Command(w.binary, args...)
	cmd.Stderr = w
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("pausewitness %s: %v\n%s", strings.Join(args, " "), err, w.journal())
	}
	return string(out)
}

// start serves, and returns when the line with the address has come.
func (w *process) start(context.Context) error {
	w.cmd = exec.Command(w.binary, "serve", "--data", w.data, "--listen", w.listen)
	w.cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	w.cmd.Stderr = w
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := w.cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		w.kill()
		return fmt.Errorf("no line from pausewitness serve: %w\n%s", err, w.journal())
	}
	go io.Copy(io.Discard, out)
	var ready struct {
		Listen string `json:"listen"`
	}
	if err := json.Unmarshal([]byte(line), &ready); err != nil || ready.Listen == "" {
		w.kill()
		return errors.Join(fmt.Errorf("expected JSON with listen, found %q", line), err)
	}
	w.listen = ready.Listen
	return nil
}

// kill is SIGKILL. It waits until the process is gone, so that its address and its folder are free.
func (w *process) kill() {
	w.cmd.Process.Kill() // its only error is that the process is gone
	w.cmd.Wait()
}
