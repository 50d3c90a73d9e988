package agent

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/pauselog/pauselog/internal/recent"
	"github.com/pauselog/pauselog/internal/spool"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// An agent is killed at every moment at which it turns to the world outside: before and after each message of the log, each
// look at the RECENT files, each step of the walk, each time that it looks at the clock, and between the note and the removal of
// what it sets aside. What it leaves is copied at each of them, and another agent goes on from each copy.
// However that one began, in the end everything is logged once, and the same was set aside.
func TestKilledAtEveryMoment(t *testing.T) {
	w := newWorld(t)
	w.everything()
	m := &moments{world: w}
	a, err := New(Config{Spool: w.spool, Root: w.root, State: w.state, Log: &watchedLog{w.log, m}, Reader: &watchedReader{w.log, m},
		Changes: &watchedChanges{w.follower(), m}, Walk: m.walk(w.log), Logger: slog.New(watchedRecords{slog.DiscardHandler, m}),
		Now: func() time.Time { m.tryTake("the clock"); return w.now }})
	w.must(err)
	m.agent = a
	w.toTheEnd(a)
	m.agent = nil
	w.expectEverything("not killed", a)
	if len(m.list) < 100 {
		t.Errorf("only %d moments", len(m.list))
	}
	t.Logf("%d moments", len(m.list))
	for i, x := range m.list {
		if t.Failed() {
			return
		}
		w := x.world(w)
		a, err := New(Config{Spool: w.spool, Root: w.root, State: w.state, Log: w.log, Reader: w.log, Changes: w.follower(), Walk: (&moments{world: w}).walk(w.log), Now: func() time.Time { return w.now }})
		w.must(err)
		w.toTheEnd(a)
		w.expectEverything(fmt.Sprintf("killed at moment %d, %s", i, x.what), a)
	}
}

// everything puts into a world one of each thing that an agent deals with.
func (w *world) everything() {
	earlier := func(path, text string) {
		w.log.submit(&pb.Submission{Kind: "upload", Path: path, Sha256: digestOf(text).String(), Size: uint64(len(text)),
			Time: entry.TimeOf(w.now.Add(-time.Hour)).String(), By: "-", Seen: "backfill"})
	}
	upload := func(name string, change ...func(*spool.Event)) {
		w.file(pathOf(name), name)
		w.hook(entry.Upload, pathOf(name), name, change...)
	}
	for _, name := range []string{"A", "B", "C", "D", "E"} {
		upload(name + "-1.tar.gz")
	}
	w.hook(entry.Index, "modules/06perms.txt", "first")
	w.hook(entry.Delete, pathOf("A-1.tar.gz"), "A-1.tar.gz")
	w.must(os.Remove(filepath.Join(w.root, pathOf("A-1.tar.gz"))))
	w.hook(entry.Index, "modules/06perms.txt", "second", func(e *spool.Event) { e.Time++ })
	upload("Old-1.tar.gz", func(e *spool.Event) { e.Time = entry.TimeOf(w.now.Add(-8 * 24 * time.Hour)) })
	upload("Ahead-1.tar.gz", func(e *spool.Event) { e.Time = entry.TimeOf(w.now.Add(time.Hour)) })
	earlier(pathOf("Known-1.tar.gz"), "known")
	w.hook(entry.Delete, pathOf("Known-1.tar.gz"), "-")

	w.file(pathOf("Differs-1.tar.gz"), "other")
	w.hook(entry.Upload, pathOf("Differs-1.tar.gz"), "what was uploaded")
	earlier(pathOf("Conflict-1.tar.gz"), "before")
	upload("Conflict-1.tar.gz")
	w.hook(entry.Delete, pathOf("Never-1.tar.gz"), "never")
	w.must(os.WriteFile(filepath.Join(w.spool.String(), "new", "1800000000.000000-1-1.json"), []byte("{}\n"), 0o644))

	// What only the RECENT files tell. C and D are the hook's, however old: the log was down.
	earlier(pathOf("Gone-1.tar.gz"), "gone")
	earlier(pathOf("Replaced-1.tar.gz"), "before")
	for _, name := range []string{"Missed", "Missed2", "Replaced"} {
		w.file(pathOf(name+"-1.tar.gz"), name)
	}
	w.recent(w.now.Add(-30*time.Minute), "new id/E/EX/EXAMPLE/C-1.tar.gz", "new id/E/EX/EXAMPLE/D-1.tar.gz", "new id/E/EX/EXAMPLE/Missed-1.tar.gz",
		"delete id/E/EX/EXAMPLE/Gone-1.tar.gz", "new id/E/EX/EXAMPLE/Replaced-1.tar.gz", "new id/E/EX/EXAMPLE/Missed2-1.tar.gz")
	// Another writer took over: that is a gap. The last walk was only just now.
	epoch, err := recent.ParseEpoch(fmt.Sprintf("%d.5", w.now.Add(-40*time.Minute).Unix()))
	w.must(err)
	a := w.agent()
	w.must(a.saveProgress(&progress{State: recent.State{Series: map[string]recent.Position{recent.Authors: {Newest: epoch, Dirtymark: epoch, Format: "json"}}}}))
	a.edit(func(s *Status) { s.Walked = w.now })
	w.must(a.beat())
}

func (w *world) expectEverything(when string, a *Agent) {
	w.Helper()
	want := []string{"index 06perms.txt", "index 06perms.txt",
		"upload A-1.tar.gz upload EXAMPLE", "upload B-1.tar.gz upload EXAMPLE", "upload C-1.tar.gz upload EXAMPLE", "upload D-1.tar.gz upload EXAMPLE", "upload E-1.tar.gz upload EXAMPLE",
		"delete A-1.tar.gz upload EXAMPLE", "delete Known-1.tar.gz upload EXAMPLE", "upload Old-1.tar.gz follow EXAMPLE", "upload Ahead-1.tar.gz follow EXAMPLE",
		"upload Missed-1.tar.gz follow -", "upload Missed2-1.tar.gz follow -", "delete Gone-1.tar.gz follow -", "upload Walked-1.tar.gz backfill -",
		"upload Known-1.tar.gz backfill -", "upload Conflict-1.tar.gz backfill -", "upload Gone-1.tar.gz backfill -", "upload Replaced-1.tar.gz backfill -"}
	var got []string
	for _, e := range w.log.entries {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", e.Kind, filepath.Base(e.Path), e.Seen, e.By)))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.Errorf("%s: logged\n%s\nwant\n%s", when, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	asides := map[string]Word{pathOf("Differs-1.tar.gz"): Differs, pathOf("Conflict-1.tar.gz"): Conflict, pathOf("Replaced-1.tar.gz"): Conflict,
		pathOf("Never-1.tar.gz"): Unlogged, "": Malformed}
	list, err := a.aside.list()
	w.must(err)
	if found := w.asides(a); !maps.Equal(found, asides) || len(list) != len(asides) {
		w.Errorf("%s: %d aside: %v", when, len(list), found)
	}
	if n := w.waiting(); n != 0 {
		w.Errorf("%s: %d are left in the spool", when, n)
	}
	p, err := a.loadProgress(w.Context())
	w.must(err)
	if len(p.Pending) != 0 {
		w.Errorf("%s: pending: %v", when, p.Pending)
	}
	if a.status.WalkDue {
		w.Errorf("%s: a walk is still due", when)
	}
}

// toTheEnd does what Run does, one after the other. The spool comes last as well as first: reconcile must leave to it what is its own.
func (w *world) toTheEnd(a *Agent) {
	w.Helper()
	for _, do := range []func(context.Context) error{a.reconcile, a.drain, a.walk, a.drain, a.reconcile, a.drain, a.walk} {
		w.must(do(w.Context()))
	}
}

// recent writes the shortest RECENT file of authors, oldest event first.
func (w *world) recent(from time.Time, events ...string) {
	w.Helper()
	var lines []string
	for i, e := range events {
		what, path, _ := strings.Cut(e, " ")
		lines = append(lines, fmt.Sprintf(`{"epoch":%d.5,"path":%q,"type":%q}`, from.Unix()+int64(i), path, what))
	}
	slices.Reverse(lines)
	text := fmt.Sprintf(`{"meta":{"protocol":1,"interval":"1h","dirtymark":"%d.5"},"recent":[%s]}`, from.Unix()-1, strings.Join(lines, ",\n"))
	w.must(os.WriteFile(filepath.Join(w.root, "authors", "RECENT-1h.json"), []byte(text), 0o644))
}

func (w *world) follower() *recent.Follower {
	w.Helper()
	source, err := recent.OpenDir(w.root)
	w.must(err)
	w.Cleanup(func() { source.Close() })
	f, err := recent.New(source, recent.Options{})
	w.must(err)
	return f
}

// moments are what kills would leave.
type moments struct {
	*world
	agent *Agent

	mu   sync.Mutex
	busy atomic.Bool
	list []*moment
}

type moment struct {
	what         string
	spool, state map[string][]byte
	entries      []*entry.Entry
	last         map[string]*entry.Last
}

// take keeps what is there now, and once more with the status as it is, which is written at any time.
func (m *moments) take(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy.Store(true)
	defer m.busy.Store(false)
	m.copy(what)
	if m.agent != nil {
		m.must(m.agent.beat())
		m.copy(what + ", and the status")
	}
}

// tryTake is for where the agent may hold its lock.
func (m *moments) tryTake(what string) {
	if m.busy.Load() || !m.mu.TryLock() {
		return
	}
	defer m.mu.Unlock()
	m.copy(what)
}

// The agent goes on meanwhile. What is removed from the spool was logged, or set aside, before; what is noted in the state was logged before.
// In this order, a copy never has the consequence without its cause.
func (m *moments) copy(what string) {
	x := &moment{what: what, spool: m.snapshot(m.world.spool.String()), state: m.snapshot(m.state)}
	m.log.mu.Lock()
	x.entries, x.last = slices.Clone(m.log.entries), maps.Clone(m.log.last)
	m.log.mu.Unlock()
	m.list = append(m.list, x)
}

// snapshot keeps a folder in memory.
func (m *moments) snapshot(dir string) map[string][]byte {
	kept := map[string][]byte{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreGone(err)
		}
		b, err := os.ReadFile(name)
		if err == nil {
			rel, relErr := filepath.Rel(dir, name)
			kept[rel], err = b, relErr
		}
		return ignoreGone(err)
	})
	m.must(err)
	return kept
}

func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// world is what another agent finds.
func (x *moment) world(before *world) *world {
	w := newWorld(before.T)
	w.root, w.now = before.root, before.now
	w.log.entries, w.log.last = slices.Clone(x.entries), maps.Clone(x.last)
	for dir, kept := range map[string]map[string][]byte{w.spool.String(): x.spool, w.state: x.state} {
		for name, b := range kept {
			w.must(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			w.must(os.WriteFile(filepath.Join(dir, name), b, 0o644))
		}
	}
	return w
}

// walk finds one file, and is killed before and after it is logged.
func (m *moments) walk(log *memoryLog) Walk {
	return func(context.Context, func(*entry.Entry, *pb.Refusal)) error {
		m.takeIf("the walk begins")
		log.mu.Lock()
		log.submit(&pb.Submission{Kind: "upload", Path: pathOf("Walked-1.tar.gz"), Sha256: digestOf("walked").String(), Size: 6,
			Time: entry.TimeOf(m.now.Add(-time.Hour)).String(), By: "-", Seen: "backfill"})
		log.mu.Unlock()
		m.takeIf("the walk ends")
		return nil
	}
}

func (m *moments) takeIf(what string) {
	if m.agent != nil {
		m.take(what)
	}
}

type watchedLog struct {
	*memoryLog
	m *moments
}

func (l *watchedLog) SubmitStream(ctx context.Context, o ...grpc.CallOption) (pb.Log_SubmitStreamClient, error) {
	l.m.take("a stream begins")
	s, err := l.memoryLog.SubmitStream(ctx, o...)
	return &watchedStream{s, l.m}, err
}

type watchedStream struct {
	pb.Log_SubmitStreamClient
	m *moments
}

func (s *watchedStream) Send(r *pb.SubmitStreamRequest) error {
	s.m.take("before a message is sent")
	return s.Log_SubmitStreamClient.Send(r)
}

func (s *watchedStream) CloseSend() error {
	s.m.take("all is sent")
	return s.Log_SubmitStreamClient.CloseSend()
}

func (s *watchedStream) Recv() (*pb.SubmitStreamResponse, error) {
	s.m.take("before it is logged")
	r, err := s.Log_SubmitStreamClient.Recv()
	s.m.take("it is logged, and nobody knows it")
	return r, err
}

type watchedReader struct {
	*memoryLog
	m *moments
}

func (r *watchedReader) Gather(ctx context.Context, path string, d entry.Digest, trusted bool) (*client.Evidence, error) {
	r.m.take("before a path is looked up")
	e, err := r.memoryLog.Gather(ctx, path, d, trusted)
	r.m.take("a path was looked up")
	return e, err
}

type watchedChanges struct {
	Changes
	m *moments
}

func (c *watchedChanges) Next(ctx context.Context, s recent.State) (recent.Batch, recent.State, error) {
	c.m.take("before the RECENT files are read")
	b, next, err := c.Changes.Next(ctx, s)
	c.m.take("the RECENT files were read")
	return b, next, err
}

// watchedRecords are the agent's messages; it gives one between a note and a removal.
type watchedRecords struct {
	slog.Handler
	m *moments
}

func (h watchedRecords) Enabled(context.Context, slog.Level) bool { return true }
func (h watchedRecords) Handle(_ context.Context, r slog.Record) error {
	h.m.take("it says: " + r.Message)
	return nil
}

func digestOf(text string) entry.Digest { return sha256.Sum256([]byte(text)) }
