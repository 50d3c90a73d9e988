package agent

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/spool"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

func TestWhatTheHookSawIsLoggedInOrder(t *testing.T) {
	w := newWorld(t)
	a := w.agent()
	for i := range 600 { // more than one message
		name := fmt.Sprintf("Dist-%d.tar.gz", i)
		w.file(pathOf(name), name)
		w.hook(entry.Upload, pathOf(name), name)
	}
	w.hook(entry.Index, "modules/02packages.details.txt.gz", "first")
	w.hook(entry.Delete, pathOf("Dist-7.tar.gz"), "Dist-7.tar.gz")
	w.must(os.Remove(filepath.Join(w.root, pathOf("Dist-7.tar.gz"))))
	w.hook(entry.Index, "modules/02packages.details.txt.gz", "second", func(e *spool.Event) { e.Time++ })
	w.must(a.drain(t.Context()))
	got := w.log.logged()
	if len(got) != 603 || got[0] != "upload Dist-0.tar.gz" || got[599] != "upload Dist-599.tar.gz" ||
		!slices.Equal(got[600:], []string{"index 02packages.details.txt.gz", "delete Dist-7.tar.gz", "index 02packages.details.txt.gz"}) {
		t.Errorf("logged %d: %q", len(got), got[max(0, len(got)-4):])
	}
	if w.waiting() != 0 || len(w.asides(a)) != 0 || a.status.Logged != 603 {
		t.Errorf("%d are left, %v aside, %d counted", w.waiting(), w.asides(a), a.status.Logged)
	}
	if e := w.log.entries[0]; e.By != "EXAMPLE" || e.Seen != entry.SeenUpload {
		t.Errorf("%+v", e)
	}
}

func TestWhatCannotBeLogged(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(w *world)
		path    string
		word    Word // "": it is logged
	}{
		"the file is another one than the hook saw": {func(w *world) {
			w.file(pathOf("A-1.tar.gz"), "other")
			w.hook(entry.Upload, pathOf("A-1.tar.gz"), "what was uploaded")
		}, pathOf("A-1.tar.gz"), Differs},
		"the file is gone": {func(w *world) { w.hook(entry.Upload, pathOf("A-1.tar.gz"), "it was there") }, pathOf("A-1.tar.gz"), ""},
		"the file is gone, and the hook could not read it": {func(w *world) { w.hook(entry.Upload, pathOf("A-1.tar.gz"), "-") }, pathOf("A-1.tar.gz"), Unread},
		"the hook could not read it, and it is there": {func(w *world) {
			w.file(pathOf("A-1.tar.gz"), "there")
			w.hook(entry.Upload, pathOf("A-1.tar.gz"), "-")
		}, pathOf("A-1.tar.gz"), ""},
		"a symbolic link": {func(w *world) {
			w.file(pathOf("B-1.tar.gz"), "b")
			w.must(os.Symlink("B-1.tar.gz", filepath.Join(w.root, pathOf("A-1.tar.gz"))))
			w.hook(entry.Upload, pathOf("A-1.tar.gz"), "b")
		}, pathOf("A-1.tar.gz"), Refused},
		"a folder that is a link to another author's": {func(w *world) {
			w.file("authors/id/O/OT/OTHER/A-1.tar.gz", "a")
			w.must(os.MkdirAll(filepath.Join(w.root, "authors/id/E/EX"), 0o755))
			w.must(os.Symlink("../../O/OT/OTHER", filepath.Join(w.root, "authors/id/E/EX/EXAMPLE")))
			w.hook(entry.Upload, pathOf("A-1.tar.gz"), "a")
		}, pathOf("A-1.tar.gz"), Refused},
		"a FIFO": {func(w *world) {
			w.file(pathOf("B-1.tar.gz"), "b")
			w.must(syscall.Mkfifo(filepath.Join(w.root, pathOf("A-1.tar.gz")), 0o644))
			w.hook(entry.Upload, pathOf("A-1.tar.gz"), "a")
		}, pathOf("A-1.tar.gz"), Refused},
		"the name was used before": {func(w *world) {
			w.file(pathOf("A-1.tar.gz"), "first")
			w.hook(entry.Upload, pathOf("A-1.tar.gz"), "first")
			w.must(w.agent().drain(w.Context()))
			w.file(pathOf("A-1.tar.gz"), "second")
			w.hook(entry.Upload, pathOf("A-1.tar.gz"), "second")
		}, pathOf("A-1.tar.gz"), Conflict},
		"a deletion of what was never logged":                     {func(w *world) { w.hook(entry.Delete, pathOf("A-1.tar.gz"), "a") }, pathOf("A-1.tar.gz"), Unlogged},
		"a deletion of what could not be read, and is not logged": {func(w *world) { w.hook(entry.Delete, pathOf("A-1.tar.gz"), "-") }, pathOf("A-1.tar.gz"), Unlogged},
		"a deletion of what could not be read, and is logged": {func(w *world) {
			w.hook(entry.Upload, pathOf("A-1.tar.gz"), "a")
			w.must(w.agent().drain(w.Context()))
			w.hook(entry.Delete, pathOf("A-1.tar.gz"), "-")
		}, "deleted", ""},
		"an index that could not be read": {func(w *world) { w.hook(entry.Index, "modules/06perms.txt", "-") }, "none", ""},
		"an index that came after a newer one": {func(w *world) {
			w.hook(entry.Index, "modules/06perms.txt", "new")
			w.hook(entry.Index, "modules/06perms.txt", "old", func(e *spool.Event) { e.Time -= 60 })
		}, "modules/06perms.txt", ""},
		"nothing that a hook writes": {func(w *world) {
			w.must(os.WriteFile(filepath.Join(w.spool.String(), "new", "1800000000.000000-1-1.json"), []byte("{}\n"), 0o644))
		}, "", Malformed},
		"the log does not want it": {func(w *world) {
			w.log.refuse = func(*pb.Submission) *pb.Refusal { return &pb.Refusal{Reason: "not-upload", Message: "a rule"} }
			w.hook(entry.Upload, pathOf("A-1.tar.gz"), "a")
		}, pathOf("A-1.tar.gz"), Refused},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tt.prepare(w)
			a := w.agent()
			for range 3 { // what comes too late is submitted once more
				w.must(a.drain(t.Context()))
			}
			word, ok := w.asides(a)[tt.path]
			if word != tt.word || ok != (tt.word != "") {
				t.Errorf("set aside as %q, want %q: %v", word, tt.word, w.asides(a))
			}
			if w.waiting() != 0 {
				t.Errorf("%d are left in the spool", w.waiting())
			}
			want := map[string]int{"deleted": 2, "none": 0}
			if n, ok := want[tt.path]; tt.word == "" && len(w.log.logged()) != n && (ok || len(w.log.logged()) != 1) {
				t.Errorf("logged: %q", w.log.logged())
			}
			report, err := Look(w.spool, w.state, w.now, time.Minute)
			if err != nil || (len(report.Problems) > 0) != (tt.word != "" && tt.word.Alarms()) {
				t.Errorf("problems %v, %v", report.Problems, err)
			}
		})
	}
}

// A log that is down, busy, wrong or slow costs nothing but time, and is not asked again at once.
func TestNothingIsLostWhileTheLogFails(t *testing.T) {
	for name, fault := range map[string]func(w *world){
		"unreachable": func(w *world) { w.log.fail = func(int) error { return status.Error(codes.Unavailable, "down") } },
		"its answers get lost": func(w *world) {
			w.log.fail = func(n int) error { return map[bool]error{true: errors.New("lost")}[n%2 == 1] }
		},
		"busy":                      refusing("busy"),
		"closing":                   refusing("closing"),
		"has just started":          refusing("held"),
		"has a fault":               refusing("internal"),
		"no longer knows the token": refusing("unauthenticated"),
		"a word of a later version": refusing("because"),
		"says that it logged something else": func(w *world) {
			w.log.lie = func(r *pb.SubmitResult) { r.Entry = strings.Replace(r.Entry, "EXAMPLE", "EXAMPLF", 2) }
		},
		"gives another leaf hash": func(w *world) { w.log.lie = func(r *pb.SubmitResult) { r.LeafHash[0] ^= 1 } },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.agent()
			for i := range 300 {
				w.file(pathOf(fmt.Sprintf("A-%d.tar.gz", i)), "a")
				w.hook(entry.Upload, pathOf(fmt.Sprintf("A-%d.tar.gz", i)), "a")
			}
			w.hook(entry.Delete, pathOf("A-299.tar.gz"), "a") // must not be judged before its upload
			fault(w)
			if err := a.drain(t.Context()); err == nil {
				t.Error("no error is reported")
			}
			if w.waiting() == 0 || len(w.asides(a)) > 0 {
				t.Errorf("%d wait, aside: %v", w.waiting(), w.asides(a))
			}
			report, err := Look(w.spool, w.state, w.now.Add(2*time.Minute), time.Minute)
			w.must(err)
			if !slices.ContainsFunc(report.Problems, func(p Problem) bool { return p.Kind == Behind }) {
				t.Errorf("two minutes later, the problems are %v", report.Problems)
			}
			w.log.fail, w.log.refuse, w.log.lie = nil, nil, nil
			w.must(a.drain(t.Context()))
			if got := w.log.logged(); len(got) != 301 || w.waiting() != 0 || len(w.asides(a)) > 0 {
				t.Errorf("in the end %d are logged, %d wait, aside: %v", len(got), w.waiting(), w.asides(a))
			}
		})
	}
}

func refusing(reason string) func(w *world) {
	return func(w *world) {
		w.log.refuse = func(s *pb.Submission) *pb.Refusal {
			if strings.Contains(s.Path, "299") && s.Kind == "upload" {
				return &pb.Refusal{Reason: reason, Message: "not now"}
			}
			return nil
		}
	}
}

// A hook's event that waited for more than a week, or of a clock that runs ahead, is no news, and is logged all the same.
func TestEventsOfAnotherTime(t *testing.T) {
	for name, age := range map[string]time.Duration{"eight days ago": 8 * 24 * time.Hour, "in an hour": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.agent()
			w.file(pathOf("A-1.tar.gz"), "a")
			w.hook(entry.Upload, pathOf("A-1.tar.gz"), "a", func(e *spool.Event) { e.Time = entry.TimeOf(w.now.Add(-age)) })
			for range 2 {
				w.must(a.drain(t.Context()))
			}
			if got := w.log.entries; len(got) != 1 || got[0].Seen != entry.SeenFollow || got[0].By != "EXAMPLE" || w.waiting() != 0 {
				t.Errorf("%+v, %d wait", got, w.waiting())
			}
		})
	}
}

// Between the note and the removal an agent may be killed: then both are there, and the next one does the same again.
func TestKilledBetweenSettingAsideAndRemoving(t *testing.T) {
	w := newWorld(t)
	w.file(pathOf("A-1.tar.gz"), "other")
	w.hook(entry.Upload, pathOf("A-1.tar.gz"), "a")
	l, err := w.spool.List(1)
	w.must(err)
	a := w.agent()
	w.must(a.aside.keep(l.Names[0], Aside{Word: Differs, Path: pathOf("A-1.tar.gz"), Message: "before", At: w.now}))
	w.must(w.agent().drain(t.Context()))
	list, err := a.aside.list()
	w.must(err)
	if len(list) != 1 || list[0].Message == "before" || w.waiting() != 0 || !strings.Contains(list[0].Spooled, `"spool":1`) {
		t.Errorf("%+v, %d wait", list, w.waiting())
	}
}

func TestLook(t *testing.T) {
	kinds := func(r *Report) map[ProblemKind]bool {
		out := map[ProblemKind]bool{}
		for _, p := range r.Problems {
			out[p.Kind] = true
		}
		return out
	}
	w := newWorld(t)
	look := func(after time.Duration) map[ProblemKind]bool {
		r, err := Look(w.spool, w.state, w.now.Add(after), time.Minute)
		w.must(err)
		return kinds(r)
	}
	if got := look(0); !maps.Equal(got, map[ProblemKind]bool{NotRunning: true}) {
		t.Errorf("before the first start: %v", got)
	}
	a := w.agent()
	if got := look(time.Second); len(got) != 0 {
		t.Errorf("running: %v", got)
	}
	if got := look(2 * time.Minute); !maps.Equal(got, map[ProblemKind]bool{NotRunning: true}) {
		t.Errorf("without a sign of life: %v", got)
	}
	a.failed("proofs", client.ErrAnswer)
	w.now = w.now.Add(2 * time.Minute)
	a.failed("proofs", client.ErrAnswer)
	w.must(a.beat())
	if got := look(0); !maps.Equal(got, map[ProblemKind]bool{Failing: true}) {
		t.Errorf("proofs that are not written: %v", got)
	}
	a.succeeded("proofs")
	a.edit(func(s *Status) { s.Stopped = w.now })
	w.must(a.beat())
	if got := look(0); !maps.Equal(got, map[ProblemKind]bool{NotRunning: true}) {
		t.Errorf("stopped: %v", got)
	}
}

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	a := w.agent()
	w.file(pathOf("A-1.tar.gz"), "a")
	w.file(pathOf("B-1.tar.gz"), "other")
	w.hook(entry.Upload, pathOf("A-1.tar.gz"), "a")
	w.hook(entry.Upload, pathOf("B-1.tar.gz"), "b")
	w.must(a.drain(t.Context()))
	w.hook(entry.Upload, pathOf("C-1.tar.gz"), "c")
	a.failed("spool", errors.New("down"))
	w.now = w.now.Add(90 * time.Second)
	w.must(a.beat())
	registry := prometheus.NewPedanticRegistry()
	w.must(a.Register(registry))
	families, err := registry.Gather()
	w.must(err)
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{"pauselog_agent_spool_files": 1, "pauselog_agent_spool_oldest_seconds": 90, "pauselog_agent_set_aside differs": 1,
		"pauselog_agent_set_aside conflict": 0, "pauselog_agent_logged_total false": 1, "pauselog_agent_failing_seconds spool": 90,
		"pauselog_agent_problems behind": 1, "pauselog_agent_problems mismatch": 1, "pauselog_agent_problems not-running": 0} {
		if v, ok := got[name]; !ok || math.Abs(v-want) > 0.001 {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
}
