package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/internal/witnessd/testlog"
)

// After a failed write nobody knows what is on disk: the real program ends at once, and the next start
// compares.
func TestFailedWriteEndsTheProgram(t *testing.T) {
	data := filepath.Join(t.TempDir(), "witness")
	if out, err := exec.Command("pausewitness", "init", "--data", data, "--name", "witness.example/w1").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s, err := start("", "--data", data, "--listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.kill()
	// The record of a new log cannot be made in a folder that is gone.
	state := filepath.Join(data, "state")
	if err := os.Rename(state, state+".away"); err != nil {
		t.Fatal(err)
	}
	vkey := testlog.New(t, "log.example/pause", 1).VKeys()[0]
	if out, err := exec.Command("pausewitness", "log", "add", "--data", data, "--vkey", vkey).CombinedOutput(); err == nil {
		t.Errorf("a log was added: %s", out)
	}
	s.cmd.Wait()
	if code := s.cmd.ProcessState.ExitCode(); code != exitError || !strings.Contains(s.stderr.String(), "the witness ends now") {
		t.Errorf("exit code %d\n%s", code, s.stderr)
	}
	if err := os.Rename(state+".away", state); err != nil {
		t.Fatal(err)
	}
	again, err := start("", "--data", data, "--listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	again.kill()
}
