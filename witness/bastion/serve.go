package bastion

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxStreams bounds the requests that are answered at the same time.
	maxStreams = 64

	// maxHeader bounds a request's head in bytes.
	maxHeader = 8 << 10

	// A body fits into streamBuffer but for the last bytes of the very largest; in all, no more
	// than connBuffer is held of bodies that nobody has read yet.
	streamBuffer = 128 << 10
	connBuffer   = 1 << 20

	// A connection through which nothing comes for silence is asked whether it lives, and
	// given up if no answer comes for silence, or if for so long nothing can be written to it.
	// Without this, one that a firewall forgot would stay until the next request was lost.
	silence = 15 * time.Second
)

// serveConn serves HTTP/2 on conn until it ends, or ctx does and what was asked is answered.
func (b *backend) serveConn(ctx context.Context, conn net.Conn) error {
	l := &single{conn: make(chan net.Conn, 1), addr: conn.LocalAddr(), closed: make(chan struct{})}
	done, end := context.WithCancel(context.WithoutCancel(ctx)) // of the connection
	defer end()
	served := &backendConn{Conn: conn, ended: end}
	l.conn <- served

	// The handshake has agreed on HTTP/2: it comes with prior knowledge, as on a connection
	// without TLS (RFC 9113, 3.3), which is how net/http serves it under another ALPN name.
	var http2 http.Protocols
	http2.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler:           clientAddress(b.Handler),
		Protocols:         &http2,
		ReadHeaderTimeout: dialTime, // for the bastion's first bytes
		MaxHeaderBytes:    maxHeader,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerStream:     streamBuffer,
			MaxReceiveBufferPerConnection: connBuffer,
			SendPingTimeout:               silence,
			PingTimeout:                   silence,
			WriteByteTimeout:              silence,
		},
		ErrorLog:                     slog.NewLogLogger(b.Log.Handler(), slog.LevelDebug),
		DisableGeneralOptionsHandler: true,
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-done.Done():
		case <-ctx.Done():
		}
		// The requests' own contexts do not end with ctx: what is being persisted and signed is
		// worth an answer.
		drain, cancel := context.WithTimeout(done, b.Drain)
		defer cancel()
		server.Shutdown(drain)
		server.Close()
	})
	server.Serve(l) // it always ends by the goroutine above, after which l has no connection
	wg.Wait()
	conn.Close() // if ctx ended before l was asked
	return served.err()
}

// clientAddress makes the client's address a request's RemoteAddr. A bastion drops what its
// clients say of themselves in this header and writes one address of its own (C2SP https-bastion).
// If it says anything else, all that is known is the bastion.
func clientAddress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const header = "X-Forwarded-For"
		said := r.Header.Values(header)
		clone := *r
		clone.Header = r.Header.Clone()
		clone.Header.Del(header)
		if len(said) == 1 {
			a, err := netip.ParseAddr(said[0])
			// A loopback address would be one of the bastion's machine, and here stands for no limits.
			if a = a.Unmap(); err == nil && a.Zone() == "" && !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast() {
				clone.RemoteAddr = netip.AddrPortFrom(a, 0).String()
			}
		}
		next.ServeHTTP(w, &clone)
	})
}

// single is a listener for one connection: Accept returns it, and then waits to be closed.
type single struct {
	conn   chan net.Conn
	addr   net.Addr
	once   sync.Once
	closed chan struct{}
}

func (l *single) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *single) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *single) Addr() net.Addr { return l.addr }

// backendConn tells when and why a connection ended. It hides that there is TLS, since net/http
// would go by its ALPN name.
type backendConn struct {
	net.Conn
	ended func()

	mu    sync.Mutex
	cause error // the first failure to read
}

func (c *backendConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.cause == nil {
			c.cause = err
		}
	}
	return n, err
}

func (c *backendConn) Close() error {
	err := c.Conn.Close()
	c.ended()
	return err
}

func (c *backendConn) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil || errors.Is(c.cause, io.EOF) || errors.Is(c.cause, net.ErrClosed) {
		return errors.New("the connection was closed")
	}
	return c.cause
}
