package daemon

import (
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// stallTime is how long a client may take to send or take the next piece of anything.
	stallTime = 30 * time.Second
	// headerTime is the same for all of a request's headers.
	headerTime = 10 * time.Second
	// idleStreamTime is the same for the next line of a stream, which may be far away.
	idleStreamTime = 10 * time.Minute
)

func newHTTP(c Config, static, api http.Handler) *http.Server {
	stall := c.Stall
	if stall == 0 {
		stall = stallTime
	}
	return &http.Server{
		Handler: patience(stall, func(w http.ResponseWriter, r *http.Request) {
			// No mux: it would redirect paths that are not clean, and these are not there.
			if strings.HasPrefix(r.URL.Path, "/pauselog.v1.") {
				api.ServeHTTP(w, r)
				return
			}
			static.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: min(headerTime, stall),
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// patience gives each read of a request's body and each write of an answer its own time
// limit, so that streams may last but a client that stalls is cut off.
func patience(stall time.Duration, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pw := &patientWriter{ResponseWriter: w, rc: http.NewResponseController(w), stall: stall}
		if r.Body == nil || r.Body == http.NoBody {
			next(pw, r)
			return
		}
		body := &patientBody{ReadCloser: r.Body, w: pw, limit: stall}
		if r.Header.Get("Content-Type") == "application/x-ndjson" {
			body.limit = max(stall, idleStreamTime)
		}
		r.Body = body
		next(pw, r)
		if !body.ended.Load() {
			// The client may still be sending, and to close on it could cost it the answer. A
			// body over a limit is net/http's only case in which it ends its own side first;
			// it looks for its own writer below this one.
			http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 1))
		}
	})
}

type patientBody struct {
	io.ReadCloser
	w     *patientWriter
	limit time.Duration
	ended atomic.Bool // it was read to its end
}

func (b *patientBody) Read(p []byte) (int, error) {
	if err := b.w.extend(b.limit); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.ended.Store(true)
	}
	return n, err
}

type patientWriter struct {
	http.ResponseWriter
	rc    *http.ResponseController
	stall time.Duration

	mu  sync.Mutex
	own bool // the handler set a deadline of its own for reading: it wants to end it
}

// extend gives the next read of the body its time.
func (w *patientWriter) extend(limit time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.own {
		return os.ErrDeadlineExceeded
	}
	// An error means that the connection knows no deadlines; its server's own limits hold.
	_ = w.rc.SetReadDeadline(time.Now().Add(limit))
	return nil
}

// SetReadDeadline is found by http.ResponseController. After it no read is given more time.
func (w *patientWriter) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.own = true
	return w.rc.SetReadDeadline(t)
}

func (w *patientWriter) Write(p []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(time.Now().Add(w.stall))
	return w.ResponseWriter.Write(p)
}

// Unwrap is how http.ResponseController finds the writer below.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// adminHandler serves what operators look at: metrics, whether what is served is right, whether submissions are taken, and
// profiles.
func adminHandler(v vitals, reg *prometheus.Registry) http.Handler {
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
	mux.Handle("GET /healthz", check(v.reads))
	mux.Handle("GET /readyz", check(v.submissions))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
