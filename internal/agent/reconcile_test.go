package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/internal/recent"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// script is what the RECENT files tell, call by call.
type script struct {
	batches []recent.Batch
	err     error
	calls   int
}

func (s *script) Start(context.Context) (recent.State, error) { return recent.State{}, nil }

func (s *script) Next(_ context.Context, state recent.State) (recent.Batch, recent.State, error) {
	s.calls++
	if len(s.batches) == 0 {
		return recent.Batch{}, state, s.err
	}
	b := s.batches[0]
	s.batches = s.batches[1:]
	return b, state, s.err
}

// Gather answers from the log in memory.
func (l *memoryLog) Gather(_ context.Context, path string, _ entry.Digest, _ bool) (*client.Evidence, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.last[path]
	if last == nil {
		return &client.Evidence{Absence: verify.SaidNotLogged}, nil
	}
	text := func(e *entry.Entry) []byte {
		b, err := e.Marshal()
		if err != nil {
			return nil
		}
		p := &proof.Bundle{Entry: b, Index: 0, Hashes: []tree.Hash{}, Checkpoint: []byte("log.example\n1\n" + tree.Hash{}.String() + "\n\n— log.example AAAAAAAA\n")}
		out, err := p.Marshal()
		if err != nil {
			panic(err)
		}
		return out
	}
	e := &client.Evidence{}
	if last.Entry.Kind == entry.Delete {
		e.Deletion = text(last.Entry)
	} else {
		e.Bundle = text(last.Entry)
	}
	return e, nil
}

func (w *world) following(hook bool, batches ...recent.Batch) *Agent {
	w.Helper()
	c := Config{Root: w.root, State: w.state, Log: w.log, Reader: w.log, Now: func() time.Time { return w.now }, Changes: &script{batches: batches}}
	if hook {
		c.Spool = w.spool
	}
	a, err := New(c)
	w.must(err)
	return a
}

func (w *world) event(path string, what recent.Type, age time.Duration) recent.Event {
	w.Helper()
	epoch, err := recent.ParseEpoch(fmt.Sprintf("%d.25", w.now.Add(-age).Unix()))
	w.must(err)
	return recent.Event{Epoch: epoch, Path: path, Type: what}
}

func TestWhatTheHookDidNotSeeIsFound(t *testing.T) {
	w := newWorld(t)
	index := "modules/02packages.details.txt.gz"
	for _, name := range []string{"Missed-1.tar.gz", "Hooked-1.tar.gz", "README", "Fresh-1.tar.gz", "Back-1.tar.gz"} {
		w.file(pathOf(name), name)
	}
	w.file(index, "index")
	w.hook(entry.Upload, pathOf("Hooked-1.tar.gz"), "Hooked-1.tar.gz")
	w.hook(entry.Upload, pathOf("Gone-1.tar.gz"), "gone")
	a := w.following(true, recent.Batch{Events: []recent.Event{
		w.event(pathOf("Hooked-1.tar.gz"), recent.TypeNew, 20*time.Minute),
		w.event(pathOf("Missed-1.tar.gz"), recent.TypeNew, 19*time.Minute),
		w.event(pathOf("README"), recent.TypeNew, 18*time.Minute),
		w.event("authors/02STAMP", recent.TypeNew, 17*time.Minute),
		w.event(index, recent.TypeNew, 16*time.Minute),
		w.event(pathOf("Gone-1.tar.gz"), recent.TypeDelete, 15*time.Minute),
		w.event(pathOf("Never-1.tar.gz"), recent.TypeDelete, 14*time.Minute),
		w.event(pathOf("Late-1.tar.gz"), recent.TypeNew, 13*time.Minute), // not on this mirror yet
		w.event(pathOf("Back-1.tar.gz"), recent.TypeDelete, 12*time.Minute),
		w.event(pathOf("Fresh-1.tar.gz"), recent.TypeNew, time.Minute),
	}})
	w.must(a.drain(t.Context()))
	w.must(a.reconcile(t.Context()))
	want := []string{"upload Hooked-1.tar.gz", "upload Gone-1.tar.gz", "upload Missed-1.tar.gz", "index 02packages.details.txt.gz", "delete Gone-1.tar.gz"}
	if got := w.log.logged(); !slices.Equal(got, want) {
		t.Errorf("logged %q, want %q", got, want)
	}
	if e := w.log.entries[0]; e.By != "EXAMPLE" {
		t.Errorf("who entered it is lost: %+v", e)
	}
	if e := w.log.entries[2]; e.Seen != entry.SeenFollow || e.By != "-" || !e.Time.Time().Equal(w.now.Add(-19*time.Minute)) {
		t.Errorf("%+v", e)
	}
	// The hook has ten minutes, whoever restarts meanwhile.
	w.now = w.now.Add(9 * time.Minute)
	a = w.following(true)
	w.must(a.reconcile(t.Context()))
	if got := w.log.logged(); len(got) != len(want)+1 || got[len(want)] != "upload Fresh-1.tar.gz" {
		t.Errorf("later: %q", got)
	}
	if len(w.asides(a)) != 0 {
		t.Errorf("aside: %v", w.asides(a))
	}
}

// Each rewriting of an index is logged, also when nothing changed in it: that is the sign of life of PAUSE. With a hook it is the
// hook's, and not logged twice.
func TestIndexesThatAreFollowed(t *testing.T) {
	const path = "modules/06perms.txt"
	for _, hook := range []bool{false, true} {
		w := newWorld(t)
		w.file(path, "permissions")
		start := w.now
		event := func(minutes int) recent.Batch {
			return recent.Batch{Events: []recent.Event{w.event(path, recent.TypeNew, w.now.Sub(start.Add(time.Duration(minutes)*time.Minute)))}}
		}
		a := w.following(hook, event(0), event(12), event(12), event(5))
		for range 4 {
			if hook {
				w.hook(entry.Index, path, "permissions")
				w.must(a.drain(t.Context()))
			}
			w.now = w.now.Add(12 * time.Minute)
			w.must(a.reconcile(t.Context()))
		}
		want := 2 // at 0 and at 12; what comes again, or is older, says nothing new
		if hook {
			want = 4
		}
		if got := w.log.logged(); len(got) != want {
			t.Errorf("with a hook %v: logged %q, want %d", hook, got, want)
		}
		if hook {
			for _, e := range w.log.entries {
				if at := e.Time.Time().Sub(start); at%(12*time.Minute) != 0 || at >= 48*time.Minute {
					t.Errorf("one is not the hook's: %v", at)
				}
			}
		}
	}
}

func TestReconcilingWhileTheLogFails(t *testing.T) {
	w := newWorld(t)
	var events []recent.Event
	for i := range 600 {
		path := pathOf(fmt.Sprintf("Dist-%d.tar.gz", i))
		w.file(path, path)
		events = append(events, w.event(path, recent.TypeNew, time.Duration(700-i)*time.Second))
	}
	a := w.following(false, recent.Batch{Events: events})
	w.log.fail = func(n int) error { return map[bool]error{true: errors.New("down")}[n == 2] }
	if err := a.reconcile(t.Context()); err == nil {
		t.Error("no error is reported")
	}
	// Whoever goes on needs no more than the state folder.
	w.log.fail = nil
	a = w.following(false)
	w.log.refuse = func(s *pb.Submission) *pb.Refusal {
		return map[bool]*pb.Refusal{true: {Reason: "busy"}}[strings.HasSuffix(s.Path, "-599.tar.gz")]
	}
	if err := a.reconcile(t.Context()); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("a log that is busy: %v", err)
	}
	w.log.refuse = nil
	w.must(a.reconcile(t.Context()))
	got := w.log.logged()
	if len(got) != 600 || got[0] != "upload Dist-0.tar.gz" {
		t.Errorf("%d are logged", len(got))
	}
	p, err := a.loadProgress(t.Context())
	if err != nil || len(p.Pending) != 0 {
		t.Errorf("%d are pending, %v", len(p.Pending), err)
	}
}

func TestAFileThatWasReplacedIsFound(t *testing.T) {
	w := newWorld(t)
	w.file(pathOf("A-1.tar.gz"), "published")
	w.hook(entry.Upload, pathOf("A-1.tar.gz"), "published")
	w.must(w.agent().drain(t.Context()))
	w.file(pathOf("A-1.tar.gz"), "replaced")
	a := w.following(true, recent.Batch{Events: []recent.Event{w.event(pathOf("A-1.tar.gz"), recent.TypeNew, time.Hour)}})
	w.must(a.reconcile(t.Context()))
	if got := w.asides(a); got[pathOf("A-1.tar.gz")] != Conflict {
		t.Errorf("aside: %v", got)
	}
	r, err := Look(w.spool, w.state, w.now, time.Minute)
	w.must(err)
	if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Kind == Evidence }) {
		t.Errorf("problems: %v", r.Problems)
	}
	// Once somebody has looked at it, it is gone; and found again as long as it is so.
	w.must(os.Remove(filepath.Join(w.state, "aside", r.Aside[0].Name)))
	if r, err := Look(w.spool, w.state, w.now, time.Minute); err != nil || len(r.Problems) != 0 {
		t.Errorf("%v, %v", r, err)
	}
}

func TestGapsAreWalked(t *testing.T) {
	w := newWorld(t)
	a := w.following(true, recent.Batch{}, recent.Batch{Gaps: []recent.Gap{{Dir: recent.Authors}}})
	walks, failing := 0, false
	a.Walk = func(_ context.Context, refused func(*entry.Entry, *pb.Refusal)) error {
		if walks++; failing {
			return errors.New("interrupted")
		}
		e := &entry.Entry{Path: pathOf("A-1.tar.gz")}
		refused(e, &pb.Refusal{Reason: "conflict", Message: "other bytes", Metadata: map[string]string{"logged_sha256": "00"}})
		return nil
	}
	step := func(want int) {
		t.Helper()
		w.must(a.walk(t.Context()))
		if walks != want {
			t.Errorf("%d walks, want %d", walks, want)
		}
	}
	step(1) // the first one, at once
	step(1)
	w.must(a.reconcile(t.Context()))
	step(1)
	w.must(a.reconcile(t.Context()))
	step(2) // for the gap
	w.now = w.now.Add(walkEvery)
	failing = true
	if err := a.walk(t.Context()); err == nil {
		t.Error("no error is reported")
	}
	failing = false
	// A restart does not forget that one is due.
	w.must(a.beat())
	b := w.following(true)
	b.Walk = a.Walk
	w.must(b.walk(t.Context()))
	if walks != 4 || b.asideConflicts(t) != 1 {
		t.Errorf("%d walks, %d conflicts", walks, b.asideConflicts(t))
	}
}

func (a *Agent) asideConflicts(t *testing.T) int {
	n, err := a.aside.count()
	if err != nil {
		t.Fatal(err)
	}
	return n[Conflict]
}
