// Package fairlisten bounds the connections of a server such that nobody keeps others out by having many and
// saying nothing on them. It sits right above the network, below TLS, and knows nothing of what is spoken.
package fairlisten

import (
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Limits are of the connections that one listener has open at the same time.
type Limits struct {
	// All is how many there are, at least 1.
	All int

	// PerClient is how many of them one client may have: an IPv4 address, or the /64 of an IPv6 address, since
	// that is what one subscriber has. 0: as many as there are.
	//
	// It is not for loopback addresses, where only this machine can be: a reverse proxy or a tunnel there stands
	// for many. The same goes for what is no IP address, such as a Unix socket.
	PerClient int

	// Grace is how long a connection may be silent, that is have no byte read or written, and not be closed
	// for a newcomer.
	Grace time.Duration
}

// look is the least time between two looks at all connections for one that may be closed. It bounds what a client can
// make the server do that breaks each silence just before its end.
const look = 50 * time.Millisecond

// New returns a listener that accepts from l within the limits. l must not be used by others. It panics if there can be
// no connection.
//
// A client that has too many connections loses its new one at once. When all are taken, a newcomer waits in Accept, and
// the connection that has been silent longest is closed for it, once that is for Grace. So a connection may end at any
// moment in which it is silent, as the network may end it too; those that speak do not make room for anybody.
//
// A connection is counted until its server closes it, whatever ended it: until then it has its goroutine and
// buffers.
func New(l net.Listener, limits Limits) *Listener {
	if limits.All < 1 {
		panic("fairlisten: expected room for at least one connection")
	}
	return &Listener{
		Listener: l,
		limits:   limits,
		began:    time.Now(),
		closed:   make(chan struct{}),
		slots:    make(chan struct{}, limits.All),
		clients:  make(map[netip.Prefix]int),
		open:     make(map[*conn]struct{}),
	}
}

// A Listener accepts connections within limits.
type Listener struct {
	net.Listener
	limits Limits
	began  time.Time // what conn.heard counts from

	accepted, refused, evicted atomic.Uint64

	once   sync.Once
	closed chan struct{}
	slots  chan struct{} // has one element for each connection that is counted

	mu      sync.Mutex
	clients map[netip.Prefix]int // those with connections, also if they wait
	open    map[*conn]struct{}   // what may be closed for a newcomer
}

// Stats are how much the limits have had to do. All but Open and Limit only grow.
type Stats struct {
	Open     int    `json:"open"`     // connections that are counted now: at most Limit
	Limit    int    `json:"limit"`    // Limits.All
	Accepted uint64 `json:"accepted"` // connections that were handed to the server
	Refused  uint64 `json:"refused"`  // closed at once, since their client had too many
	Evicted  uint64 `json:"evicted"`  // closed for a newcomer, since they were silent longest
}

// Stats may be called at any time, also after Close. Its figures are each right, and not of one moment.
func (l *Listener) Stats() Stats {
	return Stats{Open: len(l.slots), Limit: l.limits.All, Accepted: l.accepted.Load(), Refused: l.refused.Load(), Evicted: l.evicted.Load()}
}

// Accept returns the next connection that may stay. What ends the wait for one is Close, or l's error.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: raw, of: l, client: clientOf(raw.RemoteAddr())}
		if !l.enter(c.client) {
			l.refused.Add(1)
			raw.Close() // nobody is there to be told
			continue
		}
		if !l.await() {
			l.exit(c.client)
			raw.Close()
			return nil, net.ErrClosed
		}
		c.sound()
		l.mu.Lock()
		l.open[c] = struct{}{}
		l.mu.Unlock()
		l.accepted.Add(1)
		return c, nil
	}
}

// Close ends the listener, and an Accept that waits. Connections stay as they are.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// clientOf returns the client at an address, or the zero prefix if it has no limit of its own.
func clientOf(a net.Addr) netip.Prefix {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.IsLoopback() {
		return netip.Prefix{}
	}
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(ip, bits).Masked()
}

// enter counts a connection of a client, unless it has too many.
func (l *Listener) enter(client netip.Prefix) bool {
	if !client.IsValid() || l.limits.PerClient == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clients[client] >= l.limits.PerClient {
		return false
	}
	l.clients[client]++
	return true
}

func (l *Listener) exit(client netip.Prefix) {
	if !client.IsValid() || l.limits.PerClient == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clients[client]--; l.clients[client] == 0 {
		delete(l.clients, client)
	}
}

// await takes a slot, and returns false if Close comes first.
func (l *Listener) await() bool {
	select {
	case l.slots <- struct{}{}:
		return true
	default:
	}
	for {
		again := time.NewTimer(max(l.makeRoom(), look))
		select {
		case l.slots <- struct{}{}:
			again.Stop()
			return true
		case <-l.closed:
			again.Stop()
			return false
		case <-again.C:
		}
	}
}

// makeRoom closes the connection that has been silent longest, if it may, and returns when to look again. That is after
// Grace if one was closed, for the case that its server is held up and does not let go of it.
func (l *Listener) makeRoom() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var silent *conn
	var since time.Duration
	for c := range l.open {
		if heard := time.Duration(c.heard.Load()); silent == nil || heard < since {
			silent, since = c, heard
		}
	}
	if silent == nil {
		return l.limits.Grace // all are closed, and not yet given back
	}
	if left := since + l.limits.Grace - time.Since(l.began); left > 0 {
		return left
	}
	// Its server finds it ended, and closes it once more.
	delete(l.open, silent)
	l.evicted.Add(1)
	silent.Conn.Close()
	return l.limits.Grace
}

// piece is how many bytes are written between two notes that the connection is not silent: a client that takes a
// large answer slowly is not.
const piece = 64 << 10

// A conn gives its slot back when its server closes it.
type conn struct {
	net.Conn
	of     *Listener
	client netip.Prefix
	once   sync.Once
	heard  atomic.Int64 // when it was not silent, as nanoseconds since of.began

	writing sync.Mutex // a Write is one, in however many pieces
}

// sound notes that the connection is not silent now.
func (c *conn) sound() { c.heard.Store(int64(time.Since(c.of.began))) }

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.sound()
	}
	return n, err
}

func (c *conn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	for {
		next := p[n:min(len(p), n+piece)]
		m, err := c.Conn.Write(next)
		n += m
		if m > 0 {
			c.sound()
		}
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// ReadFrom is what net/http looks for, to have the system send a file.
func (c *conn) ReadFrom(r io.Reader) (n int64, err error) {
	direct, ok := c.Conn.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	// net.TCPConn looks for the file behind one io.LimitedReader, not two.
	all, ok := r.(*io.LimitedReader)
	if !ok {
		all = &io.LimitedReader{R: r, N: math.MaxInt64}
	}
	for all.N > 0 {
		next := io.LimitedReader{R: all.R, N: min(all.N, piece)}
		want := next.N
		m, err := direct.ReadFrom(&next)
		n += m
		all.N -= want - next.N
		if m > 0 {
			c.sound()
		}
		if err != nil || m < want {
			return n, err
		}
	}
	return n, nil
}

func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.of.mu.Lock()
		delete(c.of.open, c)
		c.of.mu.Unlock()
		c.of.exit(c.client)
		<-c.of.slots
	})
	return err
}

// CloseWrite is what net/http looks for, to end its own side first when the client may still be sending: a reset would
// cost that client the answer.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
