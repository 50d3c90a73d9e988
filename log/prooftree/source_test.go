package prooftree

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// folder writes files into a folder.
func (m memory) folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range m {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openDir(t *testing.T, dir string) *DirSource {
	t.Helper()
	s, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// readAll proves every 17th entry by a source.
func readAll(t *testing.T, s Source, l *logged) {
	t.Helper()
	x := open(t, s)
	for index := 0; index < mEnd; index += 17 {
		b, err := x.Bundle(t.Context(), uint64(index))
		if err != nil {
			t.Fatal(err)
		}
		checkBundle(t, l, mEnd, index, b)
	}
	if _, err := x.BundleFor(t.Context(), path(12), digest("12")); err != nil {
		t.Error(err)
	}
}

func TestFromAFolder(t *testing.T) {
	l := mixed()
	readAll(t, openDir(t, l.files(mEnd, logKey).folder(t)), l)
	if s, err := OpenDir(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, %v", s, err)
	}
}

func TestDirSource(t *testing.T) {
	above := t.TempDir()
	dir := filepath.Join(above, "tree")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "sub"), 0o755),
		os.WriteFile(filepath.Join(above, "secret"), []byte("secret"), 0o644),
		os.WriteFile(filepath.Join(dir, "file"), []byte("12345"), 0o644),
		os.Symlink("../secret", filepath.Join(dir, "out")),
		os.Symlink(filepath.Join(above, "secret"), filepath.Join(dir, "absolute")),
		os.Symlink("..", filepath.Join(dir, "up")),
		os.Symlink("file", filepath.Join(dir, "inside")),
		os.Symlink("nothing", filepath.Join(dir, "dangling")),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s := openDir(t, dir)
	for _, name := range []string{"file", "inside"} {
		if b, err := s.Get(t.Context(), name, 5); err != nil || string(b) != "12345" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	for name, want := range map[string]error{
		"none": fs.ErrNotExist, "sub/none": fs.ErrNotExist, "file/none": fs.ErrNotExist, "dangling": fs.ErrNotExist,
		"sub": ErrInvalid, "fifo": ErrInvalid, // which nobody writes to: the reader must not wait
		"../secret": fs.ErrInvalid, "/secret": fs.ErrInvalid, "": fs.ErrInvalid, "sub/../file": fs.ErrInvalid, "file/": fs.ErrInvalid,
	} {
		if b, err := s.Get(t.Context(), name, 100); b != nil || !errors.Is(err, want) {
			t.Errorf("%q: %q, %v, want %v", name, b, err, want)
		}
	}
	for _, name := range []string{"out", "absolute", "up/secret"} {
		if b, err := s.Get(t.Context(), name, 100); err == nil {
			t.Errorf("%s leads out of the folder: %q", name, b)
		}
	}
	if b, err := s.Get(t.Context(), "file", 4); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "file") {
		t.Errorf("over the limit: %q, %v", b, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if b, err := s.Get(ended, "file", 5); !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", b, err)
	}
}

// What is asked for ahead is what is got, once; nothing else changes, whatever is asked for.
func TestPrefetch(t *testing.T) {
	if !canReadAhead {
		t.Skip("this system is not told what will be read")
	}
	dir := t.TempDir()
	write := func(name, text string) {
		// A new file in the place of the old one, as every writer of a tree does it.
		if err := errors.Join(os.WriteFile(filepath.Join(dir, "new"), []byte(text), 0o644), os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
	}
	write("file", "12345")
	if err := errors.Join(os.Symlink("/etc/passwd", filepath.Join(dir, "out")), syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644), os.Mkdir(filepath.Join(dir, "sub"), 0o755)); err != nil {
		t.Fatal(err)
	}
	s := openDir(t, dir)
	for range 2 {
		for _, name := range []string{"file", "none", "out", "fifo", "sub", "../file", "/", ""} {
			s.Prefetch(name)
		}
	}
	write("file", "newer")
	for _, want := range []string{"12345", "newer"} {
		if b, err := s.Get(t.Context(), "file", 5); err != nil || string(b) != want {
			t.Errorf("%q, %v, want %q", b, err, want)
		}
	}
	for name, want := range map[string]error{"none": fs.ErrNotExist, "fifo": ErrInvalid, "sub": ErrInvalid, "../file": fs.ErrInvalid} {
		if b, err := s.Get(t.Context(), name, 100); b != nil || !errors.Is(err, want) {
			t.Errorf("%q: %q, %v, want %v", name, b, err, want)
		}
	}
	if b, err := s.Get(t.Context(), "out", 100); err == nil {
		t.Errorf("out of the folder: %q", b)
	}
	s.Prefetch("file")
	if b, err := s.Get(t.Context(), "file", 4); !errors.Is(err, ErrInvalid) {
		t.Errorf("over the limit: %q, %v", b, err)
	}
	// No more files are open than it says, and none after the end.
	for i := range 2 * maxAhead {
		name := fmt.Sprint(i)
		write(name, name)
		s.Prefetch(name)
	}
	if len(s.ahead) != maxAhead {
		t.Errorf("%d files are open, want %d", len(s.ahead), maxAhead)
	}
	for i := range 2 * maxAhead {
		if b, err := s.Get(t.Context(), fmt.Sprint(i), 5); err != nil || string(b) != fmt.Sprint(i) {
			t.Errorf("%d: %q, %v", i, b, err)
		}
	}
	s.Prefetch("file")
	f := s.ahead["file"]
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a file is open after the end: %v", err)
	}
	s.Prefetch("file")
}

func openHTTP(t *testing.T, base string) *HTTPSource {
	t.Helper()
	s, err := OpenHTTP(base, "pauselog/test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestFromAServer(t *testing.T) {
	l := mixed()
	var conns atomic.Int64
	files := http.StripPrefix("/CPAN/modules/tlog", http.FileServer(http.Dir(l.files(mEnd, logKey).folder(t))))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != "pauselog/test" || r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("asked with %v", r.Header)
		}
		files.ServeHTTP(w, r)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	for _, base := range []string{"/CPAN/modules/tlog", "/CPAN/modules/tlog/"} {
		conns.Store(0)
		readAll(t, openHTTP(t, server.URL+base), l)
		if n := conns.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	}
}

func TestHTTPSource(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("12345")) }))
	defer elsewhere.Close()
	away := must(url.Parse(elsewhere.URL))
	away.Host = "localhost:" + away.Port() // another name than the server's 127.0.0.1
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/file":
			w.Write([]byte("12345"))
		case "/endless":
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(zipped("12345"))
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(zipped(strings.Repeat("x", 10<<20)))
		case "/br":
			w.Header().Set("Content-Encoding", "br")
			w.Write([]byte("12345"))
		case "/moved":
			http.Redirect(w, r, "/file", http.StatusMovedPermanently)
		case "/away":
			http.Redirect(w, r, away.String(), http.StatusFound)
		case "/around":
			http.Redirect(w, r, "/around", http.StatusFound)
		case "/gone":
			w.WriteHeader(http.StatusGone)
		case "/fault":
			w.WriteHeader(http.StatusInternalServerError)
		case "/cut":
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("12345"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	s := openHTTP(t, server.URL)
	for _, name := range []string{"file", "gzip", "moved"} {
		if b, err := s.Get(t.Context(), name, 5); err != nil || string(b) != "12345" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	for name, want := range map[string]error{"none": fs.ErrNotExist, "gone": fs.ErrNotExist, "endless": ErrInvalid, "bomb": ErrInvalid, "../file": fs.ErrInvalid} {
		if b, err := s.Get(t.Context(), name, 100); b != nil || !errors.Is(err, want) {
			t.Errorf("%s: %.20q, %v, want %v", name, b, err, want)
		}
	}
	if b, err := s.Get(t.Context(), "file", 4); !errors.Is(err, ErrInvalid) {
		t.Errorf("over the limit: %q, %v", b, err)
	}
	// Not that there is no such file, which would have a reader look for another one.
	for name, words := range map[string]string{"br": "encoding", "away": "another host", "around": "redirects", "fault": "500", "cut": "EOF"} {
		if b, err := s.Get(t.Context(), name, 100); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	server.Close()
	if b, err := s.Get(t.Context(), "file", 5); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nobody there: %q, %v", b, err)
	}
}

func zipped(s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(s))
	if err := errors.Join(err, z.Close()); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestRedirectsNeverLoseTLS(t *testing.T) {
	to := func(u string) *http.Request { return must(http.NewRequest(http.MethodGet, u, nil)) }
	for _, tt := range []struct {
		from, to string
		ok       bool
	}{
		{"http://a.example/x", "http://a.example/y", true},
		{"http://a.example/x", "https://A.example/x", true},
		{"https://a.example/x", "https://a.example:8443/x", true},
		{"https://a.example/x", "http://a.example/x", false},
		{"https://a.example/x", "https://b.example/x", false},
		{"https://a.example/x", "https://a.example.b.example/x", false},
		{"http://a.example/x", "ftp://a.example/x", false},
	} {
		if err := sameHost(to(tt.to), []*http.Request{to(tt.from)}); (err == nil) != tt.ok {
			t.Errorf("from %s to %s: %v", tt.from, tt.to, err)
		}
	}
}

func TestOpenHTTPRefuses(t *testing.T) {
	for _, base := range []string{"", "mirror.example/tlog", "ftp://mirror.example/", "file:///tmp", "http://", "https://user@mirror.example/", "https://mirror.example/?x=y", "https://mirror.example/#x", "http://[::1"} {
		if s, err := OpenHTTP(base, ""); err == nil {
			t.Errorf("%q: %v", base, s)
		}
	}
}
