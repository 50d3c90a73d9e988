package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pauselog/pauselog/internal/frontend"
)

const (
	// stallTime is how long a client may take to send or take the next piece of anything.
	stallTime = 30 * time.Second
	// idleStreamTime is the same for the next line of a stream, which may be far away.
	idleStreamTime = 10 * time.Minute
)

func newHTTP(c Config, static, api http.Handler) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/pauselog.v1.Log/", api)
	return &http.Server{
		Handler: patience(func(w http.ResponseWriter, r *http.Request) {
			// Not the mux for the static reads: it would redirect paths that are not clean,
			// and these are not there.
			if len(r.URL.Path) > 13 && r.URL.Path[:13] == "/pauselog.v1." {
				mux.ServeHTTP(w, r)
				return
			}
			static.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// patience gives each read of a request's body and each write of an answer its own time
// limit, so that streams may last but a client that stalls is cut off.
func patience(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		limit := stallTime
		if r.Header.Get("Content-Type") == "application/x-ndjson" {
			limit = idleStreamTime
		}
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &patientBody{r.Body, rc, limit}
		}
		next(&patientWriter{w, rc}, r)
	})
}

type patientBody struct {
	io.ReadCloser
	rc    *http.ResponseController
	limit time.Duration
}

func (b *patientBody) Read(p []byte) (int, error) {
	// An error means that the connection knows no deadlines; its server's own limits hold.
	_ = b.rc.SetReadDeadline(time.Now().Add(b.limit))
	return b.ReadCloser.Read(p)
}

type patientWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (w *patientWriter) Write(p []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(time.Now().Add(stallTime))
	return w.ResponseWriter.Write(p)
}

// Unwrap is how http.ResponseController finds the writer below.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// adminHandler serves what operators look at: metrics, health, readiness and profiles. Health
// is whether the log works at all; readiness whether it takes submissions: not while it drains.
func adminHandler(running context.Context, reg *prometheus.Registry, s *frontend.Service) http.Handler {
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	check := func(f func() error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			if err := f(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			fmt.Fprintln(w, "ok")
		}
	}
	mux.Handle("GET /healthz", check(s.Probe))
	mux.Handle("GET /readyz", check(func() error {
		if running.Err() != nil {
			return errors.New("draining")
		}
		return s.Probe()
	}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
