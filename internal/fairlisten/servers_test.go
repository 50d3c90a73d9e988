package fairlisten_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/pauselog/pauselog/internal/fairlisten"
)

// The tests in this file are of real servers and real connections.

// limit is far longer than anything here takes.
const limit = time.Minute

// few is so short a grace that a test need not wait for it, and longer than it takes to say something on a connection.
var few = fairlisten.Limits{All: 8, PerClient: 2, Grace: 300 * time.Millisecond}

// listen listens on a port of this machine, where clients have no limits of their own.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return fairlisten.New(l, few)
}

// occupy takes all connections, says on each what makes it a good one, awaits something, and says no more.
func occupy(t *testing.T, dial func() (net.Conn, error), hello string) (idle []net.Conn) {
	t.Helper()
	for range few.All {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(limit))
		if _, err := io.WriteString(c, hello); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1024)); err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
	}
	return idle
}

// oneEnds waits until one of the connections has made room.
func oneEnds(t *testing.T, idle []net.Conn) {
	t.Helper()
	ended := make(chan error, len(idle))
	for _, c := range idle {
		go func() {
			_, err := io.Copy(io.Discard, c)
			ended <- err
		}()
	}
	if err := <-ended; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("all idle connections are still there")
	}
}

func TestHTTP(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){"plain": (*httptest.Server).Start, "TLS": (*httptest.Server).StartTLS} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "served") }))
			s.Listener.Close()
			s.Listener = listen(t)
			start(s)
			defer s.Close()
			address := s.Listener.Addr().String()
			dial := func() (net.Conn, error) { return net.Dial("tcp", address) }
			if s.TLS != nil {
				dial = func() (net.Conn, error) { return tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) }
			}
			idle := occupy(t, dial, "GET / HTTP/1.1\r\nHost: log.example\r\n\r\n")
			client := s.Client()
			client.Timeout = limit
			r, err := client.Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			if body, err := io.ReadAll(r.Body); string(body) != "served" || err != nil {
				t.Errorf("%q, %v", body, err)
			}
			oneEnds(t, idle)
		})
	}
}

func TestGRPC(t *testing.T) {
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	l := listen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	// RFC 9113, 3.4: the preface of a client, and a frame of settings, which is empty.
	idle := occupy(t, func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil || r.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", r, err)
	}
	oneEnds(t, idle)
}

// A server can end its own side first, and read on.
func TestCloseWrite(t *testing.T) {
	l := listen(t)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if err := server.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(client); len(rest) > 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	if _, err := io.WriteString(client, "still sending"); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if got, err := io.ReadAll(server); string(got) != "still sending" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestFilesAreSentWhole(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 50_000)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) }))
	s.Listener.Close()
	s.Listener = listen(t)
	s.Start()
	defer s.Close()
	for _, part := range []struct{ from, to int }{{0, len(content)}, {0, 1}, {7, 7 + 64<<10}, {3, 3 + 128<<10}, {5, 200_001}, {499_999, 500_000}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", part.from, part.to-1))
		r, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(r.Body); !bytes.Equal(body, content[part.from:part.to]) || err != nil {
			t.Errorf("%d to %d: %d bytes, %v", part.from, part.to, len(body), err)
		}
		r.Body.Close()
	}
}

// What is no file, has an end of its own, or breaks, is sent as io.Copy would.
func TestReadFrom(t *testing.T) {
	broken := errors.New("broken")
	long := strings.Repeat("x", 200_000)
	for name, test := range map[string]struct {
		from io.Reader
		want string
		err  error
	}{
		"nothing":          {strings.NewReader(""), "", nil},
		"some":             {strings.NewReader(long), long, nil},
		"a part":           {io.LimitReader(strings.NewReader(long), 70_000), long[:70_000], nil},
		"less than wanted": {io.LimitReader(strings.NewReader(long[:9]), 70_000), long[:9], nil},
		"a broken reader":  {io.MultiReader(strings.NewReader(long), brokenReader{broken}), long, broken},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			defer l.Close()
			client, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			received := make(chan string, 1)
			go func() {
				all, _ := io.ReadAll(client) // what is lacking shows
				received <- string(all)
			}()
			n, err := server.(io.ReaderFrom).ReadFrom(test.from)
			server.Close()
			if got := <-received; n != int64(len(test.want)) || !errors.Is(err, test.err) || got != test.want {
				t.Errorf("sent %d, received %d bytes, expected %d; %v", n, len(got), len(test.want), err)
			}
		})
	}
}

type brokenReader struct{ error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.error }
