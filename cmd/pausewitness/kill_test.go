package main

import (
	"errors"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pauselog/pauselog/internal/witnessd/testlog"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/witness/client"
)

// The real program is killed again and again while a log asks for cosignatures. Each start accepts
// what the last process left; the witness never knows less than it answered, and at most the one
// checkpoint more that it was asked for.
func TestKill9(t *testing.T) {
	rounds := 50
	if testing.Short() {
		rounds = 5
	}
	data := filepath.Join(t.TempDir(), "witness")
	out, err := exec.Command("pausewitness", "init", "--data", data, "--name", "witness.example/w1").Output()
	if err != nil {
		t.Fatal(err)
	}
	var keys []*checkpoint.VerifierKey
	for line := range strings.Lines(string(out)) {
		k, err := checkpoint.ParseVerifierKey(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	l := testlog.New(t, "log.example/pause", 1)
	if out, err := exec.Command("pausewitness", "log", "add", "--data", data, "--vkey", l.VKeys()[0], "--vkey", l.VKeys()[1]).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}

	rnd := rand.New(rand.NewPCG(1, 2))
	answered, asked := uint64(0), uint64(0)
	more := 0 // kills after which the witness knew what it had not answered
	for round := range rounds {
		s, err := start("", "--data", data, "--listen", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("round %d: after %d was answered and %d asked for: %v", round, answered, asked, err)
		}
		w, err := client.New(s.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		// What it knows, by asking with a size that it cannot know.
		var known *client.SizeError
		if err := l.Ask(t.Context(), t, w, nil, asked+1, asked+1); !errors.As(err, &known) {
			t.Fatalf("round %d: %v", round, err)
		}
		if known.Size != answered && known.Size != asked {
			t.Fatalf("round %d: the witness knows %d, after %d was answered and %d asked for", round, known.Size, answered, asked)
		}
		if known.Size != answered {
			more++
		}
		answered = known.Size

		// Killed by another goroutine, somewhere within a request.
		kill := make(chan int)
		killed := make(chan int, 1)
		go func() {
			for range <-kill {
				// So many times around, which is time enough for a request to get further.
			}
			killed <- s.end(syscall.SIGKILL)
		}()
		after := rnd.IntN(5)
		for n := 0; ; n++ {
			if n == after {
				kill <- rnd.IntN(3_000_000)
			}
			asked = answered + 1 + rnd.Uint64N(3)
			if err := l.Ask(t.Context(), t, w, keys, answered, asked); err != nil {
				if n < after {
					t.Fatalf("round %d: before the kill: %v\n%s", round, err, s.stderr)
				}
				break
			}
			answered = asked
		}
		if code := <-killed; code != -1 {
			t.Fatalf("round %d: exit code %d\n%s", round, code, s.stderr)
		}
	}

	s, err := start("", "--data", data, "--listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kills, %d answered, %d times one more was known", rounds, answered, more)
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Errorf("SIGTERM: exit code %d\n%s", code, s.stderr)
	}
	if out, err := exec.Command("pausewitness", "doctor", "--data", data).CombinedOutput(); err != nil {
		t.Errorf("doctor: %v\n%s", err, out)
	}
}
