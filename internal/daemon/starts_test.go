package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/log/head"
)

// A crash between the two counts of a start leaves the folder's one ahead, however many of
// them follow one another: the log starts. A folder whose count is older does not.
func TestCrashesBetweenTheCountsOfStarts(t *testing.T) {
	f, err := datafolder.Init(filepath.Join(t.TempDir(), "log"), "log.example/pause", "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "head")
	start := func() error {
		r, err := open(f, opening{log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		return r.close()
	}
	copyFile := func(from, to string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for crashes := range 4 {
		copyFile(f.Head, backup)
		if err := start(); err != nil {
			t.Fatalf("after %d crashes: %v", crashes, err)
		}
		copyFile(backup, f.Head) // as if it had crashed before the head was written
	}
	if err := start(); err != nil {
		t.Fatal(err)
	}
	k, err := head.Open(f.Head)
	if err != nil {
		t.Fatal(err)
	}
	starts := k.Head().Starts
	k.Close()
	if b, err := os.ReadFile(startsFile(f)); err != nil || string(b) != fmt.Sprintf("%d\n", starts) {
		t.Errorf("the folder counts %q starts, the head file %d (%v)", b, starts, err)
	}
	for _, wrong := range []string{fmt.Sprintf("%d\n", starts-1), fmt.Sprintf("%d\n", starts+2), "x\n", ""} {
		if err := os.WriteFile(startsFile(f), []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := start(); err == nil {
			t.Errorf("it starts with a count of %q, the head's being %d", wrong, starts)
		}
	}
}
