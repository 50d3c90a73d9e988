package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// A backfill that is killed, interrupted and killed again, with the real programs: each one goes on behind what the
// journal of the one before names, and nothing before that is submitted again.
func TestBackfillThatIsKilled(t *testing.T) {
	m := newMirror(t)
	const files = 12_000
	root := filepath.Join(m.dir, "whole")
	var paths []string
	for i := range files {
		paths = append(paths, fmt.Sprintf("authors/id/E/EX/EXAMPLE%c/Dist-%05d.tar.gz", 'A'+i*26/files, i))
		writeFile(t, filepath.Join(root, paths[i]), []byte(paths[i]))
	}
	conn, err := (&app{server: m.grpc}).connect(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	log := pb.NewLogClient(conn)

	state := filepath.Join(m.dir, "journal")
	args := []string{m.program("pauselog"), "backfill", "--policy", m.policy, "--server", m.grpc, "--token-file", m.token, "--root", root, "--state", state, "--json"}
	done := 0 // as the journal says
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGKILL} {
		// Slowly enough to be caught: all files would take ten seconds.
		cmd := exec.CommandContext(ctx, args[0], append(args[1:], "--rate", strconv.Itoa(files*(4096+50)/10))...)
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(m.dir, "state"), "XDG_CONFIG_HOME="+m.dir)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		watched, stop := context.WithCancel(ctx)
		stream, err := log.WatchCheckpoints(watched, &pb.WatchCheckpointsRequest{})
		for err == nil && journaled(t, state, paths) <= done { // whenever something was logged, until the journal has moved
			_, err = stream.Recv()
		}
		stop()
		if err != nil {
			t.Fatalf("the journal does not come: %v\n%s", err, &out)
		}
		cmd.Process.Signal(signal)
		if err := cmd.Wait(); err == nil {
			t.Fatalf("it was at its end before it was stopped\n%s", &out)
		}
		if signal == syscall.SIGINT && (cmd.ProcessState.ExitCode() != 1 || !strings.Contains(out.String(), `"message":"interrupted"`)) {
			t.Errorf("interrupted: exit code %d\n%s", cmd.ProcessState.ExitCode(), &out)
		}
		done = journaled(t, state, paths)
		if size := sizeOf(t, log); size < uint64(done) {
			t.Fatalf("%d are logged, and the journal says %d", size, done)
		}
	}
	code, out := m.run(args...)
	var s struct {
		After  string
		Counts map[string]int
	}
	if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v\n%s", code, err, out)
	}
	if s.After != paths[done-1] || s.Counts["logged"]+s.Counts["known"] != files-done {
		t.Errorf("the journal had %d, and what followed was %s", done, out)
	}
	if size := sizeOf(t, log); size != files {
		t.Errorf("there are %d entries, want %d", size, files)
	}
	if left := journaled(t, state, paths); left != 0 {
		t.Errorf("the journal of a walk that came to its end says %d", left)
	}
}

// journaled returns how many paths a journal says are done.
func journaled(t *testing.T, state string, paths []string) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(state, "backfill-*"))
	if err != nil || len(names) > 1 {
		t.Fatal(names, err)
	}
	if len(names) == 0 {
		return 0
	}
	text := must(os.ReadFile(names[0]))
	_, quoted, _ := strings.Cut(string(text), "\nafter ")
	last, err := strconv.Unquote(strings.TrimSpace(quoted))
	at := slices.Index(paths, last)
	if err != nil || at < 0 {
		t.Fatalf("the journal is %q", text)
	}
	return at + 1
}

func sizeOf(t *testing.T, log pb.LogClient) uint64 {
	t.Helper()
	r, err := log.GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{})
	if err != nil {
		t.Fatal(err)
	}
	note := must(checkpoint.ParseNote([]byte(r.Checkpoint)))
	return must(checkpoint.ParseText(note.Text)).Size
}

func TestBytesOf(t *testing.T) {
	for n, want := range map[float64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 45_678: "45.7 kB", 999_999: "1 MB", 4.02e10: "40.2 GB", 1.2345e15: "1234 TB"} {
		if got := bytesOf(n); got != want {
			t.Errorf("%g bytes are %q, want %q", n, got, want)
		}
	}
}
