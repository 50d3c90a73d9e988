package agent

import (
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pauselog/pauselog/internal/recent"
)

func TestRemote(t *testing.T) {
	body := []byte("the bytes of a distribution")
	handlers := map[string]http.HandlerFunc{
		"/cpan/good":   func(w http.ResponseWriter, _ *http.Request) { w.Write(body) },
		"/cpan/moved":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/cpan/good", http.StatusFound) },
		"/cpan/round":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/cpan/round", http.StatusFound) },
		"/cpan/broken": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"/cpan/short":  func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "100"); w.Write(body) },
		"/cpan/page":   func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>log in</html>") },
		"/cpan/packed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(body)
			z.Close()
		},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := handlers[r.URL.Path]; h != nil {
			h(w, r)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(s.Close)
	m, err := OpenRemote(s.URL+"/cpan", "test")
	if err != nil {
		t.Fatal(err)
	}
	for path, ok := range map[string]bool{"good": true, "moved": true, "round": false, "broken": false, "short": false, "page": false, "packed": false, "none": false} {
		f, err := m.Read(t.Context(), path)
		if (err == nil) != ok || ok && (f.SHA256 != sha256.Sum256(body) || f.Size != uint64(len(body))) {
			t.Errorf("%s: %+v, %v", path, f, err)
		}
		if errors.Is(err, fs.ErrNotExist) != (path == "none") {
			t.Errorf("%s: that it is missing: %v", path, err)
		}
	}
	for _, base := range []string{"ftp://www.cpan.org", "https://", "https://www.cpan.org/?x", "/srv/cpan"} {
		if _, err := OpenRemote(base, "test"); err == nil {
			t.Errorf("%s is taken for a mirror", base)
		}
	}
}

// A mirror is followed without a copy of it.
func TestFollowingAMirror(t *testing.T) {
	w := newWorld(t)
	s := httptest.NewServer(http.FileServer(http.Dir(w.root)))
	t.Cleanup(s.Close)
	remote, err := OpenRemote(s.URL, "test")
	w.must(err)
	w.file(pathOf("A-1.tar.gz"), "a")
	a, err := New(Config{Remote: remote, State: w.state, Log: w.log, Reader: w.log, Now: func() time.Time { return w.now },
		Changes: &script{batches: []recent.Batch{{Events: []recent.Event{
			w.event(pathOf("A-1.tar.gz"), recent.TypeNew, time.Minute), w.event(pathOf("Late-1.tar.gz"), recent.TypeNew, time.Minute),
			w.event(pathOf("Never-1.tar.gz"), recent.TypeNew, time.Minute)}}}}})
	w.must(err)
	w.must(a.reconcile(t.Context()))
	if got := w.log.logged(); fmt.Sprint(got) != "[upload A-1.tar.gz]" {
		t.Errorf("logged %q", got)
	}
	// The file comes after what tells of it, or never.
	w.file(pathOf("Late-1.tar.gz"), "late")
	w.must(a.reconcile(t.Context()))
	if got := w.log.logged(); fmt.Sprint(got) != "[upload A-1.tar.gz upload Late-1.tar.gz]" {
		t.Errorf("later: %q", got)
	}
	w.now = w.now.Add(2 * mirrorLag)
	w.must(a.reconcile(t.Context()))
	if p, err := a.loadProgress(t.Context()); err != nil || len(p.Pending) != 0 {
		t.Errorf("pending for ever: %v, %v", p, err)
	}
}
