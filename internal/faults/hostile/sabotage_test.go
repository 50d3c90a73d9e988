package hostile

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Servers that lack one defence each. An attack that does not notice is none.

func serve(t *testing.T, h http.HandlerFunc) *target {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return &target{name: "sabotaged", http: s.Listener.Addr().String(), token: "secret", post: submitPath, get: "/checkpoint", pid: os.Getpid(), memory: 1 << 40, canary: "canary"}
}

func found(t *testing.T, err error, what string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), what) {
		t.Errorf("found %v, expected %q", err, what)
	}
}

func TestALogWithoutTokensIsFound(t *testing.T) {
	for name, lets := range map[string]func(*http.Request) bool{
		"everybody":                 func(*http.Request) bool { return true },
		"a token in the query":      func(r *http.Request) bool { return strings.Contains(r.URL.RawQuery, "secret") },
		"the first of two headers":  func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer secret" },
		"a cookie":                  func(r *http.Request) bool { return r.Header.Get("Cookie") != "" },
		"another method's name":     func(r *http.Request) bool { return r.Header.Get("X-HTTP-Method-Override") == "POST" },
		"a proxy's word":            func(r *http.Request) bool { return r.Header.Get("X-Forwarded-User") != "" },
		"a second path":             func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/submit") },
		"another content type":      func(r *http.Request) bool { return r.Header.Get("Content-Type") == "application/proto" },
		"any scheme":                func(r *http.Request) bool { return strings.HasSuffix(r.Header.Get("Authorization"), " secret") },
		"the beginning of a secret": func(r *http.Request) bool { return strings.HasPrefix(r.Header.Get("Authorization"), "Bearer secret") },
	} {
		x := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if !lets(r) {
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
		if err := bypassHTTP(t.Context(), x, new(score), "{}"); err == nil {
			t.Errorf("a log that lets in %s is not found", name)
		}
	}
}

func TestFilesOutOfTheTreeAreFound(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree", "authors", "id")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("canary"), 0o644); err != nil {
		t.Fatal(err)
	}
	x := serve(t, func(w http.ResponseWriter, r *http.Request) {
		// Decoded once more than net/http does.
		path, err := url.PathUnescape(r.URL.Path)
		if err != nil {
			path = r.URL.Path
		}
		body, err := os.ReadFile(filepath.Join(dir, "tree", path))
		if err != nil {
			w.WriteHeader(http.StatusNotFound)
		}
		w.Write(body)
	})
	found(t, escapes(t.Context(), x, scale{}, new(score)), "status 200")
}

func TestARedirectOutOfTheTreeIsFound(t *testing.T) {
	mux := http.NewServeMux() // it sends clients on to the path that it thinks they mean
	mux.HandleFunc("/{$}", func(http.ResponseWriter, *http.Request) {})
	found(t, escapes(t.Context(), serve(t, mux.ServeHTTP), scale{}, new(score)), "sent on to")
}

func TestBodiesThatAreTakenAreFound(t *testing.T) {
	var mu sync.Mutex
	var kept [][]byte
	x := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		kept = append(kept, body)
		mu.Unlock()
		w.WriteHeader(http.StatusRequestEntityTooLarge) // it says so, and has it all
	})
	before, err := measure(x)
	if err != nil || before.peak == 0 || before.files == 0 {
		t.Fatal(before, err)
	}
	found(t, hugeBodies(t.Context(), x, scale{body: 32 << 20}, new(score)), "were taken")
	x.memory = before.peak + 48<<20
	_, err = settled(t.Context(), x, before, time.Second)
	found(t, err, "MiB resident, expected at most")
}

func TestFilesThatAreLeftOpenAreFound(t *testing.T) {
	x := serve(t, func(http.ResponseWriter, *http.Request) {})
	before, err := measure(x)
	if err != nil {
		t.Fatal(err)
	}
	for range slack + 1 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	_, err = settled(t.Context(), x, before, 300*time.Millisecond)
	found(t, err, "after the last attack")
}

func TestAServerWithoutTimeLimitsIsFound(t *testing.T) {
	x := serve(t, func(http.ResponseWriter, *http.Request) {})
	x.head = 10 * time.Millisecond
	found(t, stall(t.Context(), x, scale{}, new(score)), "are kept")
}

// listen answers on connections as a function does.
func listen(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				f(conn)
			}()
		}
	}()
	return l.Addr().String()
}

func TestAServerThatTakesWhatIsBehindForARequestIsFound(t *testing.T) {
	x := serve(t, func(http.ResponseWriter, *http.Request) {})
	x.http = listen(t, func(conn net.Conn) {
		buf := make([]byte, 4096)
		n, _ := conn.Read(buf)
		for range strings.Count(string(buf[:n]), " HTTP/1.1\r\n") {
			fmt.Fprint(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		}
	})
	found(t, smuggle(t.Context(), x, scale{}, new(score)), "answers")
}

func TestAServerThatTakesEveryFrameIsFound(t *testing.T) {
	x := &target{patience: 500 * time.Millisecond, grpc: listen(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })}
	for _, f := range floodings {
		err := flood(t.Context(), x, f, 50, new(score))
		if f.mustEnd {
			found(t, err, "still open")
		} else if err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
	}
}

func TestHugeHeadsThatAreTakenAreFound(t *testing.T) {
	x := serve(t, func(http.ResponseWriter, *http.Request) {})
	x.http = listen(t, func(conn net.Conn) {
		go io.Copy(io.Discard, conn)
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	found(t, hugeHeads(t.Context(), x, scale{}, new(score)), "expected 431")
}

func TestAWellBehavedClientThatIsNotServedIsFound(t *testing.T) {
	x := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	x.grpc = listen(t, func(net.Conn) {})
	s := &site{log: x, witness: x, mirror: x, targets: []*target{x}}
	n := newNeighbour(s, new(score))
	n.done.Wait() // each of its loops ends with what it finds
	found(t, n.check(), "503")
	found(t, n.check(), "submit")
	if err := n.close(); err != nil {
		t.Error(err)
	}
	// Of a newcomer alone it is expected while all connections are taken.
	if n.score.served.Load() != 0 {
		t.Error("something was served")
	}
}

func TestAnAnswerIsReadWholeAndTheEndOfTheConnectionIsNone(t *testing.T) {
	address := listen(t, func(conn net.Conn) {
		conn.Read(make([]byte, 1024))
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\nHTTP/1.1 2")
	})
	answers, err := exchange(context.Background(), address, "GET / HTTP/1.1\r\n\r\n")
	if err != nil || len(answers) != 2 || answers[0].status != 200 || answers[0].body != "ok" || answers[1].status != 404 {
		t.Errorf("%v, %v", answers, err)
	}
}

func TestIdleConnectionsThatKeepNewcomersOutAreFound(t *testing.T) {
	slots := make(chan struct{}, 5)
	full := listen(t, func(conn net.Conn) {
		slots <- struct{}{}
		defer func() { <-slots }()
		conn.Read(make([]byte, 1024))
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		io.Copy(io.Discard, conn)
	})
	err := keep(t.Context(), full, "GET / HTTP/1.1\r\n\r\n", 10, 100*time.Millisecond, new(score))
	found(t, err, "5 idle connections of one client keep a newcomer out")
}

func TestPanicsAreFound(t *testing.T) {
	for name, journal := range map[string]string{
		"that the server caught":  `time=now level=ERROR msg="a request" kind=other panic="nil pointer" stack="..."`,
		"that net/http caught":    "2020/01/01 00:00:00 http: panic serving 127.0.0.1:7: nil pointer\ngoroutine 1",
		"that nobody caught":      "serving\npanic: nil pointer\n\ngoroutine 1 [running]:\n",
		"of which there are two":  "level=ERROR panic=this\nlevel=ERROR panic=that\n",
		"that end in a long tale": "panic: " + strings.Repeat("x", 10_000),
	} {
		err := panicked("time=now level=INFO msg=serving\n" + journal)
		if found(t, err, "the first: "); err != nil && len(err.Error()) > 5000 {
			t.Errorf("%s: %d bytes", name, len(err.Error()))
		}
	}
	if err := panicked("time=now level=ERROR msg=\"health changed\" error=\"no panic\"\n"); err != nil {
		t.Error(err)
	}
}
