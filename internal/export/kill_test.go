package export

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/pauselog/pauselog/internal/dial"
)

// childEnv has this test binary be an exporter: of the log at PAUSELOG_EXPORT_LOG into this folder.
const childEnv, childLog = "PAUSELOG_EXPORT_DIR", "PAUSELOG_EXPORT_LOG"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir, os.Getenv(childLog)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(dir, url string) error {
	conn, err := dial.Dial(url, dial.Options{})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = Run(context.Background(), Config{Dir: dir, Policy: policy, Conn: conn})
	return err
}

// An exporter that is killed at random moments, while the log grows: the folder is whole after each time, its
// size never gets smaller, and the last run, which nobody kills, brings it to where it belongs.
func TestKilledAtRandom(t *testing.T) {
	const end = 3000
	s := newServer(end, "ETHER")
	url, _ := s.serve(t)
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)) // another day, other moments
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir, childLog+"="+url)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	size, killed := -1, 0
	s.size.Store(0)
	for round := range 30 {
		// Never back, also where an export was killed before it had caught up: a log does not shrink.
		s.size.Add(int64(1 + rnd.IntN(80)))
		cmd := start()
		timer := time.AfterFunc(time.Duration(5+rnd.IntN(150))*time.Millisecond, func() { cmd.Process.Kill() })
		var exit *exec.ExitError
		switch err := cmd.Wait(); {
		case err == nil:
		case errors.As(err, &exit) && exit.ExitCode() == -1:
			killed++
		default:
			t.Fatalf("round %d: %v", round, err)
		}
		timer.Stop()
		now := check(t, dir)
		if now < size {
			t.Fatalf("round %d: from size %d to %d", round, size, now)
		}
		size = now
	}
	s.size.Store(end)
	if err := start().Wait(); err != nil {
		t.Fatal(err)
	}
	if now := check(t, dir); now != end {
		t.Errorf("the folder has size %d", now)
	}
	t.Logf("killed %d times of 30", killed)
	if killed == 0 {
		t.Error("nobody was killed")
	}
}
