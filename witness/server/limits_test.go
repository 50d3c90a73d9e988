package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pauselog/pauselog/witness/server"
)

// The tests in this file run on a clock of their own, so that they know to the nanosecond when a
// limit has to be hit; their connections are pipes.

// A bubble is a server with such a clock.
type bubble struct {
	*testing.T
	server *server.Server
	pipes  chan net.Conn
	over   chan struct{} // closed when the test is
}

func inBubble(t *testing.T, c server.Config, test func(b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if c.Cosigner == nil {
			c.Cosigner = &fakeCosigner{}
		}
		c.Log = slog.New(slog.DiscardHandler)
		s, err := server.New(c)
		if err != nil {
			t.Fatal(err)
		}
		b := &bubble{t, s, make(chan net.Conn), make(chan struct{})}
		l := &pipeListener{pipes: b.pipes, closed: make(chan struct{})}
		go s.Serve(l)
		defer s.Close()
		defer close(b.over)
		// Registered first, it runs last: what has to end then ends, and what does not is reported.
		b.Cleanup(func() {
			time.Sleep(time.Minute)
			if n := s.Stats().Panics; n != 0 {
				t.Errorf("%d requests made the server panic", n)
			}
		})
		test(b)
	})
}

type pipeListener struct {
	pipes  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.pipes:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return address("pipe") }

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

type pipe struct {
	net.Conn
	remote address
}

func (p pipe) RemoteAddr() net.Addr { return p.remote }

// A peer is a client's side of a connection.
type peer struct {
	b *bubble
	net.Conn
	r *bufio.Reader
}

// dial connects from an IP address. The connection waits until it is accepted.
func (b *bubble) dial(ip string) *peer {
	ours, theirs := net.Pipe()
	b.Cleanup(func() { ours.Close() })
	go func() {
		select {
		case b.pipes <- pipe{theirs, address(net.JoinHostPort(ip, "7"))}:
		case <-b.over:
		}
	}()
	return &peer{b, ours, bufio.NewReader(ours)}
}

// send sends, as far as the server takes it.
func (p *peer) send(s string) { go io.WriteString(p, s) }

// expect reads an answer with a status, and returns the value of Retry-After.
func (p *peer) expect(status int) string {
	p.b.Helper()
	resp, body := answer(p.b.T, p.r, "POST")
	if resp.StatusCode != status {
		p.b.Errorf("%s %q, want %d", resp.Status, body, status)
	}
	return resp.Header.Get("Retry-After")
}

// ends waits until the server has closed the connection.
func (p *peer) ends() {
	p.b.Helper()
	if b, err := io.ReadAll(p.r); len(b) > 0 || err != nil {
		p.b.Errorf("%q, %v", b, err)
	}
}

// after checks that a time has passed since began.
func (b *bubble) after(began time.Time, want time.Duration) {
	b.Helper()
	if got := time.Since(began); got != want {
		b.Errorf("after %v, want %v", got, want)
	}
}

const stalled = "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\nold"

func TestSlowClients(t *testing.T) {
	drip := func(p *peer, s string) {
		go func() {
			for i := range len(s) {
				if _, err := io.WriteString(p, s[i:i+1]); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
	}
	for name, test := range map[string]func(b *bubble, p *peer, began time.Time){
		"no byte": func(b *bubble, p *peer, began time.Time) {
			p.ends()
			b.after(began, 5*time.Second)
		},
		"half a head": func(b *bubble, p *peer, began time.Time) {
			p.send("POST /add-checkpoint HTTP/1.1\r\nHost:")
			p.ends()
			b.after(began, 5*time.Second)
		},
		"one byte of the head a second": func(b *bubble, p *peer, began time.Time) {
			drip(p, "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\n\r\n")
			p.expect(400)
			b.after(began, 5*time.Second)
		},
		"a body that stalls": func(b *bubble, p *peer, began time.Time) {
			p.send(stalled)
			p.expect(408)
			b.after(began, 10*time.Second)
			p.ends()
		},
		"one byte of the body a second": func(b *bubble, p *peer, began time.Time) {
			p.send("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\n")
			synctest.Wait()
			drip(p, strings.Repeat("x", 100))
			p.expect(408)
			b.after(began, 10*time.Second)
			p.ends()
		},
		"one chunk a second": func(b *bubble, p *peer, began time.Time) {
			p.send("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n")
			synctest.Wait()
			drip(p, strings.Repeat("1\r\nx\r\n", 100))
			p.expect(408)
			b.after(began, 10*time.Second)
			p.ends()
		},
		"a refused body that stalls": func(b *bubble, p *peer, began time.Time) {
			p.send("POST /nothing HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\nold")
			p.expect(404)
			b.after(began, 0)
			p.ends()
		},
		"a body where none belongs": func(b *bubble, p *peer, began time.Time) {
			p.send("GET /" + originHash + "/checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\nold")
			p.expect(200)
			b.after(began, 0)
			p.ends()
		},
		"nothing after an answer": func(b *bubble, p *peer, began time.Time) {
			p.send(post("/add-checkpoint", "x"))
			p.expect(200)
			p.ends()
			b.after(began, 2*time.Minute)
		},
		"half a head after an answer": func(b *bubble, p *peer, began time.Time) {
			p.send(post("/add-checkpoint", "x"))
			p.expect(200)
			time.Sleep(time.Minute)
			p.send("POST")
			p.expect(400)
			b.after(began, time.Minute+5*time.Second)
		},
		"an answer that is not read": func(b *bubble, p *peer, began time.Time) {
			p.send(post("/add-checkpoint", "x"))
			time.Sleep(10*time.Second - time.Millisecond)
			synctest.Wait()
			if n := b.server.Stats().Connections; n != 1 {
				b.Errorf("it was cut off too early")
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
			if n := b.server.Stats().Connections; n != 0 {
				b.Errorf("it was not cut off")
			}
		},
		"a head that is refused, and that is not read": func(b *bubble, p *peer, began time.Time) {
			p.send("nonsense\r\n\r\n")
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if n := b.server.Stats().Connections; n != 0 {
				b.Errorf("it was not cut off")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, server.Config{}, func(b *bubble) {
				test(b, b.dial("127.0.0.1"), time.Now())
				time.Sleep(time.Second) // the server lets an answer arrive before it closes
				synctest.Wait()
				if st := b.server.Stats(); st.Bodies != 0 || st.Connections != 0 {
					t.Errorf("%d bodies and %d connections stay", st.Bodies, st.Connections)
				}
			})
		})
	}
}

// A witness may take its time, for instance for a disk that is slow; the limits are the client's.
func TestTheCosignerMayBeSlow(t *testing.T) {
	c := &fakeCosigner{add: func(ctx context.Context, _ []byte) ([]byte, error) {
		time.Sleep(time.Minute)
		return []byte("signed\n"), ctx.Err()
	}}
	inBubble(t, server.Config{Cosigner: c}, func(b *bubble) {
		began := time.Now()
		p := b.dial("127.0.0.1")
		for n := range 2 {
			p.send(post("/add-checkpoint", "x"))
			p.expect(200)
			b.after(began, time.Duration(n+1)*time.Minute)
		}
	})
}

func TestTheCosignerLearnsThatTheClientIsGone(t *testing.T) {
	gone := false
	c := &fakeCosigner{add: func(ctx context.Context, _ []byte) ([]byte, error) {
		<-ctx.Done()
		gone = true
		return nil, ctx.Err()
	}}
	inBubble(t, server.Config{Cosigner: c}, func(b *bubble) {
		p := b.dial("127.0.0.1")
		p.send(post("/add-checkpoint", "x"))
		synctest.Wait()
		p.Close()
		synctest.Wait()
		if !gone {
			t.Error("its context does not end")
		}
	})
}

func TestRate(t *testing.T) {
	inBubble(t, server.Config{}, func(b *bubble) {
		p := b.dial("192.0.2.7")
		for range 200 {
			p.send(post("/add-checkpoint", "x"))
			p.expect(200)
		}
		// Now every address of this client is refused before its body is read.
		p.send(stalled)
		if retry := p.expect(429); retry != "1" {
			t.Errorf("Retry-After is %q", retry)
		}
		p = b.dial("::ffff:192.0.2.7")
		for _, path := range []string{"/" + originHash + "/checkpoint", "/nothing"} {
			p.send("GET " + path + " HTTP/1.1\r\nHost: w\r\n\r\n")
			p.expect(429)
		}
		for _, other := range []string{"192.0.2.8", "2001:db8::7", "127.0.0.1"} {
			o := b.dial(other)
			o.send(post("/add-checkpoint", "x"))
			o.expect(200)
			o.Close()
		}
		time.Sleep(time.Second)
		for range 50 {
			p.send("GET /nothing HTTP/1.1\r\nHost: w\r\n\r\n")
			p.expect(404)
		}
		p.send("GET /nothing HTTP/1.1\r\nHost: w\r\n\r\n")
		p.expect(429)
	})
}

func TestRateOfIPv6IsByNetwork(t *testing.T) {
	inBubble(t, server.Config{Burst: 3}, func(b *bubble) {
		for n := range 3 {
			p := b.dial(fmt.Sprintf("2001:db8:0:1::%d", n+1))
			p.send(post("/add-checkpoint", "x"))
			p.expect(200)
		}
		p := b.dial("2001:db8:0:1:ffff::")
		p.send(post("/add-checkpoint", "x"))
		p.expect(429)
		p = b.dial("2001:db8:0:2::1")
		p.send(post("/add-checkpoint", "x"))
		p.expect(200)
	})
}

func TestLoopbackHasNoRate(t *testing.T) {
	inBubble(t, server.Config{Burst: 1}, func(b *bubble) {
		for _, ip := range []string{"127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"} {
			p := b.dial(ip)
			for range 5 {
				p.send(post("/add-checkpoint", "x"))
				p.expect(200)
			}
		}
	})
}

// Only so many clients are remembered; the one forgotten is the one idle longest.
func TestRateForgets(t *testing.T) {
	inBubble(t, server.Config{Burst: 1, RateClients: 2}, func(b *bubble) {
		for _, step := range []struct {
			ip     string
			status int
		}{{"192.0.2.1", 200}, {"192.0.2.2", 200}, {"192.0.2.1", 429}, {"192.0.2.3", 200}, {"192.0.2.1", 429}, {"192.0.2.2", 200}} {
			p := b.dial(step.ip)
			p.send(post("/add-checkpoint", "x"))
			p.expect(step.status)
		}
	})
}

// stall sends n requests from different clients whose bodies do not come.
func (b *bubble) stall(n int, ip func(int) string) (peers []*peer) {
	for i := range n {
		p := b.dial(ip(i))
		p.send(stalled)
		peers = append(peers, p)
		synctest.Wait()
	}
	return peers
}

func everywhere(i int) string { return fmt.Sprintf("192.0.2.%d", i) }
