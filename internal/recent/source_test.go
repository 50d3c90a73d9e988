package recent

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const small = `{"meta":{"protocol":1,"interval":"1h"},"recent":[{"epoch":5,"path":"a","type":"new"}]}`

func TestDirSourceStaysInItsFolder(t *testing.T) {
	outside := t.TempDir()
	dir := t.TempDir()
	for name, text := range map[string]string{outside + "/secret": small, dir + "/RECENT-1h.json": small, dir + "/authors": "no folder"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.Symlink(outside+"/secret", dir+"/RECENT-6h.json"), os.Symlink("RECENT-1h.json", dir+"/RECENT-1d.json"),
		syscall.Mkfifo(dir+"/RECENT-1W.json", 0o600), os.Mkdir(dir+"/RECENT-1M.json", 0o700))
	if err != nil {
		t.Fatal(err)
	}
	source, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	read := func(name string) (string, error) {
		body, err := source.Open(t.Context(), name)
		if err != nil {
			return "", err
		}
		defer body.Close()
		b, err := io.ReadAll(body)
		return string(b), err
	}
	for _, name := range []string{"RECENT-1h.json", "RECENT-1d.json"} { // a link inside is fine
		if text, err := read(name); err != nil || text != small {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	for _, name := range []string{"RECENT-6h.json", "RECENT-1W.json", "RECENT-1M.json", "../" + filepath.Base(outside) + "/secret", "/etc/passwd", ""} {
		if text, err := read(name); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %q, %v", name, text, err)
		}
	}
	for _, name := range []string{"RECENT-Z.json", "authors/RECENT-1h.json"} {
		if text, err := read(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %q, %v", name, text, err)
		}
	}
	for _, name := range []string{"RECENT-6h.json", "RECENT-1d.json", "RECENT-1W.json", "RECENT-1M.json"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	b, _ := next(t, follow(t, source, Root), State{})
	if said(b) != "new a" {
		t.Errorf("%+v", b)
	}
}

func TestOpenHTTPRefusesOtherURLs(t *testing.T) {
	for _, u := range []string{"", "cpan.org", "ftp://cpan.org", "https://", "https://me:secret@cpan.org", "https://cpan.org/?x", "https://cpan.org/#x", "http://[", "file:///x"} {
		if s, err := OpenHTTP(u, ""); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, %v", u, s, err)
		}
	}
}

// web serves one file, below /CPAN/.
func web(t *testing.T, h http.HandlerFunc) *HTTPSource {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	source, err := OpenHTTP(s.URL+"/CPAN", "test/1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	return source
}

func TestPollsAreConditional(t *testing.T) {
	modified := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	date := modified.Add(time.Minute)
	content := small
	var asked, unchanged int
	tag := ""
	source := web(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/CPAN/RECENT-1h.json" {
			http.NotFound(w, r)
			return
		}
		if r.Header.Get("User-Agent") != "test/1" || r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("the request has %v", r.Header)
		}
		asked++
		w.Header().Set("Date", date.Format(http.TimeFormat))
		if tag != "" {
			w.Header().Set("ETag", tag)
		}
		if r.Header.Get("If-None-Match") == tag && tag != "" || tag == "" && r.Header.Get("If-Modified-Since") == modified.Format(http.TimeFormat) {
			unchanged++
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Last-Modified", modified.Format(http.TimeFormat))
		io.WriteString(w, content)
	})
	f := follow(t, source, Root)
	b, state := next(t, f, State{})
	if said(b) != "new a" {
		t.Fatalf("%+v", b)
	}
	b, state = next(t, f, state)
	if said(b) != "" || asked != 2 || unchanged != 1 {
		t.Errorf("%+v: %d requests, %d unchanged", b, asked, unchanged)
	}
	// The same content from memory means the same to one who knows less.
	if b, _ = next(t, f, State{}); said(b) != "new a" || unchanged != 2 {
		t.Errorf("%+v: %d requests, %d unchanged", b, asked, unchanged)
	}
	modified = date.Add(-time.Second) // this second is not over: the file may change again in it
	content = jsonFile("1h", `{"epoch":6,"path":"b","type":"new"},{"epoch":5,"path":"a","type":"new"}`)
	if b, state = next(t, f, state); said(b) != "new b" {
		t.Errorf("%+v", b)
	}
	content = jsonFile("1h", `{"epoch":7,"path":"c","type":"new"},{"epoch":5,"path":"a","type":"new"}`)
	if b, state = next(t, f, state); said(b) != "new c" || unchanged != 2 {
		t.Errorf("written twice in a second: %+v: %d unchanged", b, unchanged)
	}
	tag, date = `"v1"`, date.Add(time.Hour)
	next(t, f, state)
	next(t, f, state)
	if unchanged != 3 {
		t.Errorf("by its tag: %d unchanged", unchanged)
	}
	tag = `"v2"`
	content = jsonFile("1h", `{"epoch":8,"path":"d","type":"new"},{"epoch":5,"path":"a","type":"new"}`)
	if b, _ = next(t, f, state); said(b) != "new d" {
		t.Errorf("another tag: %+v", b)
	}
}

// An answer that did not come whole is asked for again in full.
func TestBrokenAnswersAreNotKept(t *testing.T) {
	broken := true
	source := web(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/CPAN/RECENT-1h.json" {
			http.NotFound(w, r)
			return
		}
		if r.Header.Get("If-None-Match") != "" {
			t.Error("a broken answer was kept")
		}
		w.Header().Set("ETag", `"v1"`)
		if broken {
			w.Header().Set("Content-Length", fmt.Sprint(len(small)))
			io.WriteString(w, small[:20])
			return
		}
		io.WriteString(w, small)
	})
	f := follow(t, source, Root)
	if _, _, err := f.Next(t.Context(), State{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a body that was cut: %v", err)
	}
	broken = false
	if b, _ := next(t, f, State{}); said(b) != "new a" {
		t.Errorf("%+v", b)
	}
}

func TestAnswersThatAreRefused(t *testing.T) {
	hijack := func(w http.ResponseWriter, text string) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, text)
	}
	for name, tt := range map[string]struct {
		h     http.HandlerFunc
		want  string
		exist bool
	}{
		"a redirect without end": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "redirects", false},
		"another host": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://other.invalid/x", http.StatusFound)
		}, "another host", false},
		"an error":  {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "x", http.StatusInternalServerError) }, "500", false},
		"a part":    {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusPartialContent) }, "206", false},
		"unchanged": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) }, "not asked", false},
		"5 GB, as announced": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5000000000")
		}, "5000000000", false},
		"an unknown encoding": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			io.WriteString(w, small)
		}, "not asked", false},
		"no gzip": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, small)
		}, "gzip", false},
		"no length": {func(w http.ResponseWriter, r *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+small)
		}, "length", false},
		"half a chunk": {func(w http.ResponseWriter, r *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nabc")
		}, "EOF", false},
		"no such file": {http.NotFound, "not exist", true},
		"gone":         {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusGone) }, "not exist", true},
		"a page for it": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			io.WriteString(w, "<p>")
		}, "not exist", true},
	} {
		source := web(t, tt.h)
		file, err := readFile(t.Context(), source, "RECENT-1h.json")
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, fs.ErrNotExist) != tt.exist {
			t.Errorf("%s: %+v, %v, expected %q", name, file, err, tt.want)
		}
	}
}

func TestRedirectsOnTheSameHostAreFollowed(t *testing.T) {
	source := web(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/CPAN/elsewhere/") {
			http.Redirect(w, r, "/CPAN/elsewhere/"+filepath.Base(r.URL.Path), http.StatusMovedPermanently)
			return
		}
		io.WriteString(w, small)
	})
	if f, err := readFile(t.Context(), source, "RECENT-1h.json"); err != nil || len(f.Events) != 1 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestGzipThatWasNotAskedForIsUndone(t *testing.T) {
	source := web(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, small)
		z.Close()
	})
	if f, err := readFile(t.Context(), source, "RECENT-1h.json"); err != nil || len(f.Events) != 1 {
		t.Errorf("%+v, %v", f, err)
	}
}

// endlessly writes until the reader has enough, and at most 5 GB.
func endlessly(w io.Writer) (n int64) {
	block := make([]byte, 1<<20)
	for n < 5<<30 {
		m, err := w.Write(block)
		n += int64(m)
		if err != nil {
			break
		}
	}
	return n
}

func TestABodyWithoutEndIsNotReadOn(t *testing.T) {
	for _, encoding := range []string{"", "gzip"} {
		sent := make(chan int64, 1)
		source := web(t, func(w http.ResponseWriter, r *http.Request) {
			if encoding == "" {
				sent <- endlessly(w)
				return
			}
			w.Header().Set("Content-Encoding", encoding)
			z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
			if err != nil {
				t.Error(err)
			}
			sent <- endlessly(z)
		})
		f, err := readFile(t.Context(), source, "RECENT-1h.json")
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %+v, %v", encoding, f, err)
		}
		if n := <-sent; n > 1<<30 {
			t.Errorf("%q: %d bytes were sent", encoding, n)
		}
	}
}
