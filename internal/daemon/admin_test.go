package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/pauselog/pauselog/internal/frontend"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
)

// failingHead is a head file on a disk that may stop taking writes.
type failingHead struct {
	b      [head.FileSize]byte
	broken atomic.Bool
}

func (f *failingHead) ReadAt(p []byte, off int64) (int, error)  { return copy(p, f.b[off:]), nil }
func (f *failingHead) WriteAt(p []byte, off int64) (int, error) { return copy(f.b[off:], p), nil }
func (f *failingHead) Close() error                             { return nil }
func (f *failingHead) Sync() error {
	if f.broken.Load() {
		return errors.New("input/output error")
	}
	return nil
}

// A smallLog is a log without witnesses and without servers, and what is asked about its health.
type smallLog struct {
	*frontend.Service
	head    *failingHead
	stopped chan error // what Fatal was told
	admin   http.Handler
	prober  *prober
	drain   context.CancelFunc
}

func newSmallLog(t *testing.T, held bool) *smallLog {
	t.Helper()
	const origin = "log.example/pause"
	key, err := checkpoint.GenerateSigner(checkpoint.Ed25519, origin, nil)
	if err != nil {
		t.Fatal(err)
	}
	signers := []*checkpoint.SignerKey{key}
	l := &smallLog{head: new(failingHead), stopped: make(chan error, 1)}
	fs := vfs.NewMem()
	state, h, err := sequencer.Init(origin, signers, time.Now())
	if err := errors.Join(err, store.Create("data", store.Options{FS: fs}, state), head.Format(l.head, h)); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open("data", store.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	k, err := head.Read(l.head)
	if err != nil {
		t.Fatal(err)
	}
	seq, err := sequencer.Open(sequencer.Config{Origin: origin, Store: st, Head: k, Signers: signers, Held: held, Fatal: func(err error) { l.stopped <- err }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(seq.Close)
	l.Service = &frontend.Service{Store: st, Sequencer: seq}
	reg := prometheus.NewRegistry()
	frontend.NewMetrics(reg).Watch(reg, l.Service)
	inService, drain := context.WithCancel(t.Context())
	t.Cleanup(drain)
	l.drain = drain
	v := vitals{l.Service, inService}
	v.watch(reg)
	l.admin = adminHandler(v, reg)
	l.prober = &prober{vitals: v, checks: health.NewServer(), log: slog.New(slog.DiscardHandler)}
	return l
}

func (l *smallLog) submit(t *testing.T, name string) error {
	_, err := l.Sequencer.Submit(t.Context(), &entry.Entry{Kind: entry.Upload, Path: "authors/id/E/ET/ETHER/" + name + ".tar.gz", Time: entry.TimeOf(time.Now()), By: "-", Seen: entry.SeenUpload})
	return err
}

// Each state of a log, and what the three ways of asking say of it. This is the table of deploy/OPERATING.md.
func TestHealthInEachState(t *testing.T) {
	const yes, no = grpc_health_v1.HealthCheckResponse_SERVING, grpc_health_v1.HealthCheckResponse_NOT_SERVING
	sound := newSmallLog(t, false)
	other := newSmallLog(t, false) // a store that is not what was published
	if err := errors.Join(sound.submit(t, "A"), other.submit(t, "B")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		state   string
		log     func() *smallLog
		healthz string // how the answer begins
		readyz  string
		reading grpc_health_v1.HealthCheckResponse_ServingStatus
		submits grpc_health_v1.HealthCheckResponse_ServingStatus
	}{
		{"serving", func() *smallLog { return sound }, "ok", "ok", yes, yes},
		{"nothing logged yet", func() *smallLog { return newSmallLog(t, false) }, "ok", "ok", yes, yes},
		{"held", func() *smallLog { return newSmallLog(t, true) }, "ok", "held: ", yes, no},
		{"no longer held", func() *smallLog {
			l := newSmallLog(t, true)
			l.prober.probe()
			l.Sequencer.TakeSubmissions()
			return l
		}, "ok", "ok", yes, yes},
		{"halted by damage that a scrub found", func() *smallLog {
			l := newSmallLog(t, false)
			if err := l.submit(t, "A"); err != nil {
				t.Fatal(err)
			}
			l.prober.probe()
			l.Sequencer.Halt(fmt.Errorf("%w: entry 5", store.ErrDamaged))
			return l
		}, "ok", "halted: " + store.ErrDamaged.Error() + ": entry 5", yes, no},
		{"halted by a disk, and about to end", func() *smallLog {
			l := newSmallLog(t, false)
			l.head.broken.Store(true)
			if err := l.submit(t, "A"); !errors.Is(err, sequencer.ErrStopped) {
				t.Fatal(err)
			}
			<-l.stopped
			return l
		}, "ok", "halted: ", yes, no},
		{"what it serves is not what it published", func() *smallLog {
			l := newSmallLog(t, false)
			if err := l.submit(t, "A"); err != nil {
				t.Fatal(err)
			}
			l.prober.probe()
			l.Service.Store = other.Store
			return l
		}, tree.ErrProof.Error(), "unhealthy: " + tree.ErrProof.Error(), no, no},
		{"draining", func() *smallLog {
			l := newSmallLog(t, false)
			l.prober.probe()
			l.drain()
			l.prober.checks.Shutdown()
			return l
		}, "ok", "draining\n", no, no},
		{"halted, and then draining", func() *smallLog {
			l := newSmallLog(t, false)
			l.Sequencer.Halt(store.ErrDamaged)
			l.prober.probe()
			l.drain()
			l.prober.checks.Shutdown()
			return l
		}, "ok", "draining\n", no, no},
	} {
		t.Run(tt.state, func(t *testing.T) {
			l := tt.log()
			l.prober.probe()
			gauges := map[bool]string{true: "1", false: "0"}
			for _, x := range []struct{ path, begins, gauge string }{{"/healthz", tt.healthz, "pauselog_healthy"}, {"/readyz", tt.readyz, "pauselog_ready"}} {
				want := 503
				if x.begins == "ok" {
					want = 200
				}
				if code, body := ask(l.admin, x.path); code != want || !strings.HasPrefix(body, x.begins) {
					t.Errorf("%s: %d %q, expected %d %q", x.path, code, body, want, x.begins)
				}
				if _, body := ask(l.admin, "/metrics"); !strings.Contains(body, "\n"+x.gauge+" "+gauges[want == 200]+"\n") {
					t.Errorf("%s is not %s", x.gauge, gauges[want == 200])
				}
			}
			for name, want := range map[string]grpc_health_v1.HealthCheckResponse_ServingStatus{"": tt.reading, "pauselog.v1.Log": tt.reading, "pauselog.v1.Log.Submit": tt.submits} {
				if r, err := l.prober.checks.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: name}); err != nil || r.Status != want {
					t.Errorf("the gRPC health of %q: %v, %v; expected %v", name, r, err, want)
				}
			}
		})
	}
}

// The journal says when something changes, and nothing while it stays as it is.
func TestTheJournalTellsOfEachChangeOnce(t *testing.T) {
	var said bytes.Buffer
	l := newSmallLog(t, true)
	l.prober.log = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	for range 2 {
		l.prober.probe()
	}
	l.Sequencer.TakeSubmissions()
	for range 2 {
		l.prober.probe()
	}
	want := `level=WARN msg="no submissions are taken" why="held: asking the witnesses whether they have seen something newer: no submissions yet"
level=INFO msg="submissions are taken"
`
	if said.String() != want {
		t.Errorf("%s, expected\n%s", &said, want)
	}
}

func ask(h http.Handler, path string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	b, _ := io.ReadAll(w.Body)
	return w.Code, string(b)
}
