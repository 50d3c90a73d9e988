package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/internal/recent"
	"github.com/pauselog/pauselog/internal/spool"
	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

func TestOneAgentForAState(t *testing.T) {
	state := filepath.Join(t.TempDir(), "new", "state")
	release, err := Lock(state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(state); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), state) {
		t.Errorf("a second lock: %v", err)
	}
	// What it leaves when it is killed in the middle of a write is removed by the next, and not by one that gets no lock.
	left := filepath.Join(state, ".status.json.1234.tmp")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(state); !errors.Is(err, ErrRunning) {
		t.Errorf("a second lock: %v", err)
	}
	if _, err := os.Stat(left); err != nil {
		t.Errorf("removed by another: %v", err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if _, err := Lock(state); err != nil {
		t.Errorf("after the first: %v", err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed agent left: %v", err)
	}
}

// An upload and its deletion that were both logged, and of which the agent did not learn, must not look like a file that came
// back.
func TestAnUploadAndItsDeletionWithoutAnAnswer(t *testing.T) {
	for _, digest := range []string{"a", "-"} {
		w := newWorld(t)
		w.file(pathOf("A-1.tar.gz"), "a")
		w.hook(entry.Upload, pathOf("A-1.tar.gz"), "a")
		w.hook(entry.Delete, pathOf("A-1.tar.gz"), digest)
		w.file(pathOf("B-1.tar.gz"), "b")
		w.hook(entry.Upload, pathOf("B-1.tar.gz"), "b")
		lost := 0
		w.log.fail = func(n int) error {
			if lost < 4 {
				lost++
				return errors.New("the answer is lost")
			}
			return nil
		}
		for lost < 4 {
			if err := w.agent().drain(t.Context()); err == nil && lost < 4 {
				t.Fatal("no error is reported")
			}
		}
		a := w.agent()
		w.must(a.drain(t.Context()))
		if got := w.log.logged(); !slices.Equal(got, []string{"upload A-1.tar.gz", "delete A-1.tar.gz", "upload B-1.tar.gz"}) {
			t.Errorf("logged %q", got)
		}
		if len(w.asides(a)) != 0 {
			t.Errorf("aside: %v", w.asides(a))
		}
	}
}

// What cannot be set aside, because the disk is full or a folder lies in its place, holds up nothing else.
func TestWhatCannotBeSetAsideHoldsUpNothing(t *testing.T) {
	for name, hinder := range map[string]func(w *world, a *Agent) (file, undo string){
		"no note can be written": func(w *world, a *Agent) (string, string) {
			w.must(os.Rename(a.aside.dir, a.aside.dir+".away"))
			return "1000000000.000000-1-1.json", a.aside.dir
		},
		"a folder that is not empty": func(w *world, _ *Agent) (string, string) {
			w.must(os.MkdirAll(filepath.Join(w.spool.String(), "new", "1000000000.000000-1-1.json", "x"), 0o755))
			return "", filepath.Join(w.spool.String(), "new", "1000000000.000000-1-1.json", "x")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.agent()
			file, undo := hinder(w, a)
			if file != "" {
				w.must(os.WriteFile(filepath.Join(w.spool.String(), "new", file), []byte("nonsense"), 0o644))
			}
			w.file(pathOf("A-1.tar.gz"), "other")
			w.hook(entry.Upload, pathOf("A-1.tar.gz"), "a")
			w.file(pathOf("B-1.tar.gz"), "b")
			w.hook(entry.Upload, pathOf("B-1.tar.gz"), "b")
			if err := a.drain(t.Context()); err == nil || w.waiting() == 0 {
				t.Errorf("error %v, %d wait", err, w.waiting())
			}
			if got := w.log.logged(); !slices.Equal(got, []string{"upload B-1.tar.gz"}) {
				t.Errorf("logged %q", got)
			}
			if file == "" {
				w.must(os.Remove(undo))
			} else {
				w.must(os.Rename(undo+".away", undo))
			}
			w.must(a.drain(t.Context()))
			if got := w.asides(a); w.waiting() != 0 || len(got) != 2 || got[""] != Malformed || got[pathOf("A-1.tar.gz")] != Differs {
				t.Errorf("afterwards %d wait, aside: %v", w.waiting(), got)
			}
		})
	}
}

// While the log is down for longer than grace, the RECENT files tell of what the spool has: it stays the hook's, which
// knows who entered it.
func TestTheHooksEventsAreNotTakenFromTheRecentFiles(t *testing.T) {
	w := newWorld(t)
	index := "modules/06perms.txt"
	w.file(pathOf("A-1.tar.gz"), "a")
	w.file(pathOf("B-1.tar.gz"), "b")
	w.file(index, "index")
	at := func(e *spool.Event) { e.Time = entry.TimeOf(w.now.Add(-time.Hour)) }
	w.hook(entry.Upload, pathOf("A-1.tar.gz"), "a", at)
	w.hook(entry.Index, index, "index", at)
	a := w.following(true, recent.Batch{Events: []recent.Event{
		w.event(pathOf("A-1.tar.gz"), recent.TypeNew, time.Hour),
		w.event(pathOf("B-1.tar.gz"), recent.TypeNew, time.Hour),
		w.event(index, recent.TypeNew, 59*time.Minute),
	}})
	w.must(a.reconcile(t.Context()))
	if got := w.log.logged(); !slices.Equal(got, []string{"upload B-1.tar.gz"}) {
		t.Errorf("before the spool: %q", got)
	}
	w.must(a.drain(t.Context()))
	w.must(a.reconcile(t.Context()))
	if got := w.log.logged(); !slices.Equal(got, []string{"upload B-1.tar.gz", "upload A-1.tar.gz", "index 06perms.txt"}) || w.log.entries[1].By != "EXAMPLE" {
		t.Errorf("logged %q, by %s", got, w.log.entries[1].By)
	}
}

// A walk is due until it has come to its end, and a gap is not forgotten, whatever ends the agent.
func TestAWalkThatIsDueStaysDue(t *testing.T) {
	w := newWorld(t)
	a := w.following(true, recent.Batch{Gaps: []recent.Gap{{Dir: recent.Authors}}})
	a.edit(func(s *Status) { s.Walked = w.now })
	w.must(a.beat())
	due := func() bool {
		s, err := readStatus(w.state)
		w.must(err)
		return s.WalkDue
	}
	w.must(a.reconcile(t.Context()))
	if !due() {
		t.Error("the gap is forgotten by a kill")
	}
	b := w.following(true)
	b.Walk = func(context.Context, func(*entry.Entry, *pb.Refusal)) error {
		w.must(b.beat()) // as it is every five seconds
		if !due() {
			t.Error("a kill in the middle of the walk forgets it")
		}
		return errors.New("interrupted")
	}
	if err := b.walk(t.Context()); err == nil || !due() {
		t.Errorf("interrupted: %v, due: %v", err, due())
	}
	// Another gap in the middle: what the walk has behind it needs another one.
	gaps := 1
	b.Walk = func(context.Context, func(*entry.Entry, *pb.Refusal)) error {
		if gaps > 0 {
			b.walkSoon()
		}
		gaps--
		return nil
	}
	for _, want := range []bool{true, false} {
		w.must(b.walk(t.Context()))
		if due() != want {
			t.Errorf("a walk is due: %v, want %v", due(), want)
		}
	}
}
