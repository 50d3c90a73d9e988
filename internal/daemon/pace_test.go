package daemon

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
)

// A scrub comes round in its period, whatever the size of the log, and takes a thirty-second of a core at most.
func TestScrubPace(t *testing.T) {
	const size = 3*scrubChunk + 1000
	dir := filepath.Join(t.TempDir(), "db")
	if err := store.Create(dir, store.Options{}, store.State{Root: tree.EmptyRoot}); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	items := make([]store.Item, size)
	for i := range items {
		e := &entry.Entry{Kind: entry.Index, Path: "modules/02packages.details.txt", Size: 1, Time: entry.Time(i)}
		b, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		items[i] = store.Item{Entry: b, Leaf: tree.LeafHash(b), Path: store.PathOf(e.Path), Last: true, Previous: uint64(i)}
	}
	b, err := st.Stage(items)
	if err := errors.Join(err, b.Seal(1, nil), st.Commit(b), st.Advance(b)); err != nil {
		t.Fatal(err)
	}
	const period = 7 * 24 * time.Hour
	now := time.Unix(1000, 0)
	took := time.Duration(0)
	s := newScrubbing(Config{Folder: &datafolder.Folder{Dir: t.TempDir()}, ScrubPeriod: period, Log: slog.New(slog.DiscardHandler)}, &running{store: st}, prometheus.NewRegistry())
	// Each look at the clock is at the end of what took that long.
	s.now = func() time.Time { now = now.Add(took); return now }
	ended := errors.New("ended")
	var pauses []time.Duration
	var positions []uint64
	s.wait = func(_ context.Context, d time.Duration) error {
		pauses, positions = append(pauses, d), append(positions, s.notes().Position)
		now = now.Add(d)
		if len(pauses) == 5 {
			return ended
		}
		return nil
	}
	began := now
	s.run(t.Context())
	chunk := period * scrubChunk / size
	rest := period - 3*chunk
	for i, want := range []time.Duration{chunk, chunk, chunk, rest, chunk} {
		if d := pauses[i] - want; d > time.Millisecond || d < -time.Millisecond {
			t.Errorf("pause %d is %v, want %v", i, pauses[i], want)
		}
		if want := []uint64{scrubChunk, 2 * scrubChunk, 3 * scrubChunk, 0, scrubChunk}[i]; positions[i] != want {
			t.Errorf("after %d chunks it is at %d, want %d", i+1, positions[i], want)
		}
	}
	if n := s.notes(); len(n.Damage) > 0 || n.Completed.Sub(began).Round(time.Hour) != (3*chunk).Round(time.Hour) {
		t.Errorf("%+v", n)
	}
	// What was noted is taken up.
	again := newScrubbing(s.c, s.log, prometheus.NewRegistry())
	if err := again.load(); err != nil || again.notes().Position != scrubChunk {
		t.Errorf("%+v, %v", again.notes(), err)
	}
	// A period that is too short for the disk: the share of a core counts.
	took, s.c.ScrubPeriod = time.Second, time.Millisecond
	if pause, err := s.step(t.Context()); err != nil || pause < 31*time.Second {
		t.Errorf("after a second's work it rests for %v, %v", pause, err)
	}
}
