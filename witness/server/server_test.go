package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pauselog/pauselog/witness"
	"github.com/pauselog/pauselog/witness/protocol"
	"github.com/pauselog/pauselog/witness/server"
)

// limit is far longer than anything here takes.
const limit = 30 * time.Second

var originHash = strings.Repeat("0123456789abcdef", 4)

// A fakeCosigner answers as its functions say; by default it cosigns anything.
type fakeCosigner struct {
	add  func(context.Context, []byte) ([]byte, error)
	sign func(context.Context, []byte) ([]byte, error)
}

func (f *fakeCosigner) AddCheckpoint(ctx context.Context, body []byte) ([]byte, error) {
	if f.add != nil {
		return f.add(ctx, body)
	}
	return fmt.Appendf(nil, "— witness %d\n", len(body)), nil
}

func (f *fakeCosigner) SignSubtree(ctx context.Context, body []byte) ([]byte, error) {
	if f.sign != nil {
		return f.sign(ctx, body)
	}
	return fmt.Appendf(nil, "subtree %d\n", len(body)), nil
}

func (f *fakeCosigner) Checkpoint(hash string) ([]byte, bool) {
	return []byte("log.example\n1\n"), hash == originHash
}

// refuseWith makes a cosigner that gives every request this error.
func refuseWith(err error) *fakeCosigner {
	f := func(context.Context, []byte) ([]byte, error) { return nil, err }
	return &fakeCosigner{f, f}
}

// start serves on 127.0.0.1 and returns the address. Clients on 127.0.0.1 have no limits of their
// own; to the server those on 127.0.0.N are on 192.0.2.N (see asOutside).
func start(t testing.TB, c server.Config) (s *server.Server, address string) {
	t.Helper()
	if c.Cosigner == nil {
		c.Cosigner = &fakeCosigner{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(asOutside{l}) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, l.Addr().String()
}

// asOutside makes clients on 127.0.0.2 and so on look as if they were elsewhere.
type asOutside struct{ net.Listener }

func (l asOutside) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	remote := *c.RemoteAddr().(*net.TCPAddr)
	if ip := remote.IP.To4(); ip[3] != 1 {
		remote.IP = net.IPv4(192, 0, 2, ip[3])
	}
	return outside{c.(*net.TCPConn), &remote}, nil
}

type outside struct {
	*net.TCPConn
	remote net.Addr
}

func (c outside) RemoteAddr() net.Addr { return c.remote }

// dial connects from 127.0.0.n.
func dial(t testing.TB, address string, n byte) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, n)}}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(limit))
	return conn
}

// raw sends bytes on a connection of its own and reads one answer. The server need not read all of
// them.
func raw(t testing.TB, address, request string) (*http.Response, string) {
	t.Helper()
	conn := dial(t, address, 1)
	defer conn.Close()
	go io.WriteString(conn, request)
	return answer(t, bufio.NewReader(conn), request)
}

// answer reads one answer to a request that begins as given.
func answer(t testing.TB, r *bufio.Reader, request string) (*http.Response, string) {
	t.Helper()
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	return resp, string(body)
}

func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: w\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

func TestAnswers(t *testing.T) {
	sentence := errors.New("the consistency proof fails")
	for _, test := range []struct {
		name        string
		err         error // nil: it signs
		status      int
		contentType string
		body        string
		retry       string
	}{
		{"signed", nil, 200, "text/plain; charset=utf-8", "", ""},
		{"malformed", &witness.Refusal{Status: 400, Cause: sentence}, 400, "text/plain; charset=utf-8", "the consistency proof fails\n", ""},
		{"no known key signed", &witness.Refusal{Status: 403, Cause: sentence}, 403, "text/plain; charset=utf-8", "the consistency proof fails\n", ""},
		{"unknown origin", &witness.Refusal{Status: 404, Cause: sentence}, 404, "text/plain; charset=utf-8", "the consistency proof fails\n", ""},
		{"another size", &witness.Refusal{Status: 409, Size: 17, Cause: sentence}, 409, "text/x.tlog.size", "17\n", ""},
		{"never seen", &witness.Refusal{Status: 409, Cause: sentence}, 409, "text/x.tlog.size", "0\n", ""},
		{"the proof fails", &witness.Refusal{Status: 422, Cause: sentence}, 422, "text/plain; charset=utf-8", "the consistency proof fails\n", ""},
		{"too often", &witness.Refusal{Status: 429, Cause: sentence, Retry: 1500 * time.Millisecond}, 429, "text/plain; charset=utf-8", "the consistency proof fails\n", "2"},
		{"not now", &witness.Refusal{Status: 503, Cause: sentence, Retry: time.Nanosecond}, 503, "text/plain; charset=utf-8", "the consistency proof fails\n", "1"},
		{"a minute", &witness.Refusal{Status: 503, Cause: sentence, Retry: time.Minute}, 503, "text/plain; charset=utf-8", "the consistency proof fails\n", "60"},
		{"a refusal within an error", fmt.Errorf("add: %w", &witness.Refusal{Status: 422, Cause: sentence}), 422, "text/plain; charset=utf-8", "the consistency proof fails\n", ""},
		{"a cause of several lines", &witness.Refusal{Status: 400, Cause: errors.New("a\r\nb\x1b[1m\xff\u202ec")}, 400, "text/plain; charset=utf-8", "a??b?[1m??c\n", ""},
		{"a cause that is long", &witness.Refusal{Status: 400, Cause: errors.New(strings.Repeat("x", 5000))}, 400, "text/plain; charset=utf-8", strings.Repeat("x", 1000) + "\n", ""},
		{"no cause", &witness.Refusal{Status: 400}, 400, "text/plain; charset=utf-8", "refused\n", ""},
		{"a status that is none", &witness.Refusal{Status: 200, Cause: sentence}, 500, "text/plain; charset=utf-8", trouble, ""},
		{"trouble", errors.New("disk full: /var/lib"), 500, "text/plain; charset=utf-8", trouble, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &fakeCosigner{}
			if test.err != nil {
				c = refuseWith(test.err)
			}
			_, address := start(t, server.Config{Cosigner: c, Prefix: "/w"})
			for path, signed := range map[string]string{"/w/add-checkpoint": "— witness 3\n", "/w/sign-subtree": "subtree 3\n"} {
				want := test.body
				if test.err == nil {
					want = signed
				}
				// Twice on one connection: it is kept.
				conn := dial(t, address, 1)
				r := bufio.NewReader(conn)
				for range 2 {
					io.WriteString(conn, post(path, "abc"))
					resp, body := answer(t, r, "POST")
					if resp.StatusCode != test.status || body != want {
						t.Errorf("%s: %d %q, want %d %q", path, resp.StatusCode, body, test.status, want)
					}
					for name, want := range map[string]string{"Content-Type": test.contentType, "Retry-After": test.retry, "Cache-Control": "no-store",
						"X-Content-Type-Options": "nosniff", "Connection": ""} {
						if got := resp.Header.Get(name); got != want {
							t.Errorf("%s: %s is %q, want %q", path, name, got, want)
						}
					}
				}
			}
		})
	}
}

const trouble = "the witness is in trouble; its operator can find the cause in its log\n"

func TestMonitoring(t *testing.T) {
	_, address := start(t, server.Config{})
	for _, method := range []string{"GET", "HEAD"} {
		resp, body := raw(t, address, method+" /"+originHash+"/checkpoint HTTP/1.1\r\nHost: w\r\n\r\n")
		want := "log.example\n1\n"
		if method == "HEAD" {
			want = ""
		}
		if resp.StatusCode != 200 || body != want || resp.ContentLength != 14 {
			t.Errorf("%s: %s %q", method, resp.Status, body)
		}
		for name, want := range map[string]string{"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-cache",
			"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff"} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", method, name, got, want)
			}
		}
	}
	resp, body := raw(t, address, "GET /"+strings.Repeat("0", 64)+"/checkpoint HTTP/1.1\r\nHost: w\r\n\r\n")
	if resp.StatusCode != 404 || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a log that was never cosigned: %s %q %v", resp.Status, body, resp.Header)
	}
}

func TestPathsAndMethods(t *testing.T) {
	_, address := start(t, server.Config{Prefix: "/w"})
	checkpoint := "/w/" + originHash + "/checkpoint"
	for _, test := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"POST", "/w/add-checkpoint", 200, ""},
		{"POST", "/w/sign-subtree", 200, ""},
		{"POST", "http://w/w/add-checkpoint", 200, ""},
		{"GET", checkpoint, 200, ""},

		{"GET", "/w/add-checkpoint", 405, "POST"},
		{"HEAD", "/w/add-checkpoint", 405, "POST"},
		{"PUT", "/w/add-checkpoint", 405, "POST"},
		{"post", "/w/add-checkpoint", 405, "POST"},
		{"GET", "/w/sign-subtree", 405, "POST"},
		{"OPTIONS", "/w/sign-subtree", 405, "POST"},
		{"POST", checkpoint, 405, "GET, HEAD"},
		{"DELETE", checkpoint, 405, "GET, HEAD"},
		{"CONNECT", "/w/add-checkpoint", 405, "POST"},

		{"POST", "/add-checkpoint", 404, ""},
		{"POST", "/w/add-checkpoint/", 404, ""},
		{"POST", "/w//add-checkpoint", 404, ""},
		{"POST", "//w/add-checkpoint", 404, ""},
		{"POST", "/w/./add-checkpoint", 404, ""},
		{"POST", "/x/../w/add-checkpoint", 404, ""},
		{"POST", "/w/Add-Checkpoint", 404, ""},
		{"POST", "/W/add-checkpoint", 404, ""},
		{"POST", "/w/%61dd-checkpoint", 404, ""},
		{"POST", "/w%2fadd-checkpoint", 404, ""},
		{"POST", "/w/add-checkpoint%00", 404, ""},
		{"POST", "/w/add-checkpointx", 404, ""},
		{"POST", "/wadd-checkpoint", 404, ""},
		{"GET", "/", 404, ""},
		{"GET", "/w", 404, ""},
		{"GET", "/w/", 404, ""},
		{"GET", "/w/checkpoint", 404, ""},
		{"GET", "/w/" + originHash, 404, ""},
		{"GET", "/w/" + originHash + "/", 404, ""},
		{"GET", checkpoint + "/", 404, ""},
		{"GET", "/w/" + originHash + "//checkpoint", 404, ""},
		{"GET", "/w/" + strings.ToUpper(originHash) + "/checkpoint", 404, ""},
		{"GET", "/w/" + originHash[1:] + "/checkpoint", 404, ""},
		{"GET", "/w/" + originHash + "0/checkpoint", 404, ""},
		{"GET", "/w/" + originHash[1:] + "g/checkpoint", 404, ""},
		{"OPTIONS", "*", 404, ""},
		{"CONNECT", "w:443", 404, ""},
	} {
		resp, body := raw(t, address, test.method+" "+test.path+" HTTP/1.1\r\nHost: w\r\nContent-Length: 0\r\n\r\n")
		if resp.StatusCode != test.status || resp.Header.Get("Allow") != test.allow || resp.Header.Get("Location") != "" {
			t.Errorf("%s %s: %s %q %v, want %d", test.method, test.path, resp.Status, body, resp.Header, test.status)
		}
	}
}

func TestContentEncoding(t *testing.T) {
	_, address := start(t, server.Config{})
	for header, want := range map[string]int{
		"": 200, "Content-Encoding: identity\r\n": 200, "Content-Encoding: Identity\r\n": 200, "Content-Encoding:\r\n": 200,
		"Content-Encoding: gzip\r\n": 415, "Content-Encoding: identity, gzip\r\n": 415, "Content-Encoding: identity\r\nContent-Encoding: br\r\n": 415,
	} {
		resp, body := raw(t, address, "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\n"+header+"Content-Length: 3\r\n\r\nabc")
		if resp.StatusCode != want || (want == 415) != resp.Close {
			t.Errorf("%q: %s, close %v, %q", header, resp.Status, resp.Close, body)
		}
	}
}

func TestBodySizes(t *testing.T) {
	_, address := start(t, server.Config{MaxBody: 5000})
	for size, want := range map[int]int{0: 200, 1: 200, 4095: 200, 4096: 200, 4097: 200, 5000: 200, 5001: 413, 5002: 413, 10000: 413} {
		body := strings.Repeat("x", size)
		for name, request := range map[string]string{
			"length":        post("/add-checkpoint", body),
			"one chunk":     "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(body, 100000),
			"many chunks":   "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(body, 7),
			"with trailers": "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n" + strings.TrimSuffix(chunks(body, 999), "\r\n") + "X: y\r\n\r\n",
		} {
			resp, got := raw(t, address, request)
			if resp.StatusCode != want || want == 200 && got != fmt.Sprintf("— witness %d\n", size) {
				t.Errorf("%d bytes, %s: %s %q, want %d", size, name, resp.Status, got, want)
			}
			if wantClose := want != 200 || name != "length"; resp.Close != wantClose {
				t.Errorf("%d bytes, %s: close %v", size, name, resp.Close)
			}
		}
	}
}

func chunks(body string, size int) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(size, len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n\r\n"
}

// A client that asks first is told to go on only if it will be listened to.
func TestExpectContinue(t *testing.T) {
	_, address := start(t, server.Config{})
	for _, test := range []struct {
		request string
		want    []int
	}{
		{"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 3\r\n", []int{100, 200}},
		{"POST /add-checkpoint HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", []int{100, 200}},
		{"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 268435456\r\n", []int{413}},
		{"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 3\r\nContent-Encoding: gzip\r\n", []int{415}},
		{"POST /nothing HTTP/1.1\r\nContent-Length: 3\r\n", []int{404}},
		{"PUT /add-checkpoint HTTP/1.1\r\nContent-Length: 3\r\n", []int{405}},
	} {
		conn := dial(t, address, 1)
		io.WriteString(conn, test.request+"Host: w\r\nExpect: 100-continue\r\n\r\n")
		r := bufio.NewReader(conn)
		var got []int
		for {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("%q: %v", test.request, err)
			}
			got = append(got, resp.StatusCode)
			if resp.StatusCode != 100 {
				break
			}
			if strings.Contains(test.request, "chunked") {
				io.WriteString(conn, chunks("abc", 3))
			} else {
				io.WriteString(conn, "abc")
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%q: %v, want %v", test.request, got, test.want)
		}
		conn.Close()
	}
}

// The operator is told what happened, the client nothing; who asked is told at no level that
// is on by default.
func TestLog(t *testing.T) {
	var log syncBuilder
	cosigner := refuseWith(errors.New("disk full"))
	cosigner.sign = func(context.Context, []byte) ([]byte, error) { panic("broken invariant") }
	s, address := start(t, server.Config{Cosigner: cosigner, Log: slog.New(slog.NewTextHandler(&log, nil))})
	conn := dial(t, address, 1)
	r := bufio.NewReader(conn)
	for _, path := range []string{"/add-checkpoint", "/sign-subtree", "/add-checkpoint"} {
		io.WriteString(conn, post(path, "x"))
		if resp, body := answer(t, r, "POST"); resp.StatusCode != 500 || body != trouble {
			t.Errorf("%s: %s %q", path, resp.Status, body)
		}
	}
	raw(t, address, "GET /nothing HTTP/1.1\r\nHost: w\r\n\r\n")
	raw(t, address, "nonsense\r\n\r\n")
	got := log.String()
	for _, want := range []string{"disk full", "broken invariant", "TestLog"} { // the last is in the stack
		if !strings.Contains(got, want) {
			t.Errorf("the log does not say %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "127.0.0.1") {
		t.Errorf("the log names a client:\n%s", got)
	}
	if n := s.Stats().Panics; n != 1 {
		t.Errorf("%d panics are counted", n)
	}
}

type syncBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuilder) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuilder) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestStats(t *testing.T) {
	s, address := start(t, server.Config{})
	// On one connection a request is counted before the next is taken.
	conn := dial(t, address, 1)
	r := bufio.NewReader(conn)
	for range 3 {
		io.WriteString(conn, post("/add-checkpoint", "x"))
		answer(t, r, "POST")
	}
	for _, request := range []string{"GET /add-checkpoint", "HEAD /" + originHash + "/checkpoint", "GET /nothing", "GET /else"} {
		io.WriteString(conn, request+" HTTP/1.1\r\nHost: w\r\n\r\n")
		answer(t, r, request)
	}
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n")
	io.Copy(io.Discard, r) // until it is over
	st := s.Stats()
	want := "[{add-checkpoint 200 3} {add-checkpoint 405 1} {checkpoint 200 1} {other 404 3}]"
	if got := fmt.Sprint(st.Requests); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, l := range st.Latency {
		last := uint64(0)
		for _, n := range l.Buckets {
			if n < last || n > l.Count {
				t.Errorf("%s: the buckets %v of %d are not cumulative", l.Kind, l.Buckets, l.Count)
			}
			last = n
		}
	}
	if len(st.Latency) != 3 || st.Latency[0].Kind != server.AddCheckpoint || st.Latency[0].Count != 4 || st.Latency[0].Sum <= 0 {
		t.Errorf("latency %v", st.Latency)
	}
	if st.Bodies != 0 || st.BodyBytes != 0 || st.Panics != 0 || st.Cut != 0 || st.RefusedConnections != 0 {
		t.Errorf("%+v", st)
	}
}

func TestConfig(t *testing.T) {
	for name, change := range map[string]func(*server.Config){
		"no cosigner":              func(c *server.Config) { c.Cosigner = nil },
		"a prefix without a slash": func(c *server.Config) { c.Prefix = "w" },
		"a slash at its end":       func(c *server.Config) { c.Prefix = "/w/" },
		"only a slash":             func(c *server.Config) { c.Prefix = "/" },
		"an escape":                func(c *server.Config) { c.Prefix = "/%77" },
		"a negative limit":         func(c *server.Config) { c.Turns = -1 },
		"no memory for a body":     func(c *server.Config) { c.BodyMemory = int64(protocol.MaxBody) },
		"none for a client's":      func(c *server.Config) { c.BodyMemoryPerClient = 1000 },
		"a negative time":          func(c *server.Config) { c.BodyTime = -1 },
		"a negative rate":          func(c *server.Config) { c.Rate = -1 },
	} {
		c := server.Config{Cosigner: &fakeCosigner{}}
		if _, err := server.New(c); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if _, err := server.New(c); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}

// Over HTTP/2, as it comes through a bastion, one request that is refused does not end the others'
// connection.
func TestHTTP2(t *testing.T) {
	s, err := server.New(server.Config{Cosigner: &fakeCosigner{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var h2 http.Protocols
	h2.SetUnencryptedHTTP2(true)
	hs := &http.Server{Handler: s.Handler(), Protocols: &h2}
	go hs.Serve(l)
	defer hs.Close()
	dials := 0
	tr := &http.Transport{Protocols: &h2, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials++
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	defer tr.CloseIdleConnections()
	for range 20 {
		for size, want := range map[int64]int{10: 200, 1 << 20: 413, -1: 413, -2: 415} {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			body := io.Reader(io.LimitReader(endless{}, size))
			if size < 0 {
				body = endless{}
			}
			r, _ := http.NewRequestWithContext(ctx, "POST", "http://"+l.Addr().String()+"/add-checkpoint", body)
			r.ContentLength = max(size, -1)
			if size == -2 {
				r.Header.Set("Content-Encoding", "gzip")
			}
			resp, err := tr.RoundTrip(r)
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Error(err)
			}
			resp.Body.Close()
			cancel()
			if resp.StatusCode != want || resp.ProtoMajor != 2 {
				t.Errorf("%d bytes: %s %s, want %d", size, resp.Proto, resp.Status, want)
			}
		}
	}
	if dials != 1 {
		t.Errorf("it took %d connections", dials)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
