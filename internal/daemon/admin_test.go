package daemon

import (
	"context"
	"errors"
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

// Health is a probe of the log itself, and fails when its disk does.
func TestHealthFails(t *testing.T) {
	const origin = "log.example/pause"
	key, err := checkpoint.GenerateSigner(checkpoint.Ed25519, origin, nil)
	if err != nil {
		t.Fatal(err)
	}
	signers := []*checkpoint.SignerKey{key}
	fs, file := vfs.NewMem(), new(failingHead)
	state, h, err := sequencer.Init(origin, signers, time.Now())
	if err := errors.Join(err, store.Create("data", store.Options{FS: fs}, state), head.Format(file, h)); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open("data", store.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	k, err := head.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	seq, err := sequencer.Open(sequencer.Config{Origin: origin, Store: st, Head: k, Signers: signers, Fatal: func(err error) { stopped <- err }})
	if err != nil {
		t.Fatal(err)
	}
	defer seq.Close()

	service := &frontend.Service{Store: st, Sequencer: seq}
	reg := prometheus.NewRegistry()
	frontend.NewMetrics(reg).Watch(reg, service)
	running, drain := context.WithCancel(t.Context())
	defer drain()
	admin := adminHandler(running, reg, service)
	checks := health.NewServer()
	log := slog.New(slog.DiscardHandler)
	var was error
	wantHealth := func(status int, healthy string, serving grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if got, body := ask(admin, "/healthz"); got != status {
			t.Errorf("/healthz: %d %s", got, body)
		}
		if _, body := ask(admin, "/metrics"); !strings.Contains(body, "\npauselog_healthy "+healthy+"\n") {
			t.Errorf("pauselog_healthy is not %s", healthy)
		}
		was = probe(service, checks, log, was)
		for _, name := range []string{"", "pauselog.v1.Log"} {
			if r, err := checks.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: name}); err != nil || r.Status != serving {
				t.Errorf("the gRPC health of %q: %v, %v", name, r, err)
			}
		}
	}
	submit := func(n string) error {
		_, err := seq.Submit(t.Context(), &entry.Entry{Kind: entry.Upload, Path: "authors/id/E/ET/ETHER/" + n + ".tar.gz", Time: entry.TimeOf(time.Now()), By: "-", Seen: entry.SeenUpload})
		return err
	}
	if err := submit("A"); err != nil {
		t.Fatal(err)
	}
	wantHealth(200, "1", grpc_health_v1.HealthCheckResponse_SERVING)
	if got, _ := ask(admin, "/readyz"); got != 200 {
		t.Errorf("/readyz: %d", got)
	}

	file.broken.Store(true)
	if err := submit("B"); !errors.Is(err, sequencer.ErrStopped) {
		t.Fatal(err)
	}
	<-stopped
	wantHealth(503, "0", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	if got, body := ask(admin, "/readyz"); got != 503 || !strings.Contains(body, "input/output error") {
		t.Errorf("/readyz: %d %s", got, body)
	}
	drain()
	if got, body := ask(admin, "/readyz"); got != 503 || body != "draining\n" {
		t.Errorf("/readyz while draining: %d %s", got, body)
	}
}

func ask(h http.Handler, path string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	b, _ := io.ReadAll(w.Body)
	return w.Code, string(b)
}
