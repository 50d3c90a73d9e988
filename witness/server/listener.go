package server

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// evictGrace is how long a connection may take for a head, a body or an answer before it may be
// closed for a new one: far longer than it takes to send a few kB, and short for the one that waits.
const evictGrace = time.Second

// connections bounds the connections of a server, in all and for each client. A client that has
// too many loses the new one at once.
//
// When all are taken, one is closed for each that waits: of those in the middle of a head, a body
// or an answer for longer than evictGrace the one that is at it longest, else the one that is idle
// longest. So nobody keeps others out by stalling, not even the one client behind a proxy that can
// have all connections. What is with the cosigner, or complete and waits for it, is not closed: it
// is there for no longer than the cosigner takes.
type connections struct {
	perClient int
	slots     chan struct{}
	refused   atomic.Uint64

	mu       sync.Mutex
	clients  map[client]int
	idle     *list.List // of *connection, the one that is idle longest in front
	engaged  *list.List // of *connection that sends or is answered, the one that is at it longest in front
	waiting  int        // new connections that wait for a slot
	promised int        // of them, those for which one was closed
}

func newConnections(n, perClient int) *connections {
	return &connections{perClient: perClient, slots: make(chan struct{}, n), clients: map[client]int{}, idle: list.New(), engaged: list.New()}
}

// open is how many connections there are now.
func (cs *connections) open() int { return len(cs.slots) }

// listen returns a listener whose connections are counted.
func (cs *connections) listen(l net.Listener) net.Listener {
	return &listener{Listener: l, connections: cs, closed: make(chan struct{})}
}

type listener struct {
	net.Listener
	connections *connections
	once        sync.Once
	closed      chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &connection{Conn: conn, of: l.connections, client: clientOf(conn.RemoteAddr().String())}
		if !c.of.enter(c.client) {
			c.of.refused.Add(1)
			conn.Close()
			continue
		}
		if !c.of.await(l.closed) {
			c.of.exit(c.client)
			conn.Close()
			return nil, net.ErrClosed
		}
		c.of.mu.Lock()
		c.put(c.of.engaged)
		c.of.mu.Unlock()
		return c, nil
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func (cs *connections) enter(c client) bool {
	if !c.limited() {
		return true
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.clients[c] >= cs.perClient {
		return false
	}
	cs.clients[c]++
	return true
}

func (cs *connections) exit(c client) {
	if !c.limited() {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.clients[c]--; cs.clients[c] == 0 {
		delete(cs.clients, c)
	}
}

// await takes a slot, and returns false if closed comes first.
func (cs *connections) await(closed <-chan struct{}) bool {
	select {
	case cs.slots <- struct{}{}:
		return true
	default:
	}
	cs.mu.Lock()
	cs.waiting++
	cs.mu.Unlock()
	defer func() {
		cs.mu.Lock()
		cs.waiting--
		cs.promised = min(cs.promised, cs.waiting)
		cs.mu.Unlock()
	}()
	for {
		cs.mu.Lock()
		again := time.NewTimer(cs.makeRoom())
		cs.mu.Unlock()
		select {
		case cs.slots <- struct{}{}:
			return true
		case <-closed:
			return false
		case <-again.C:
		}
		again.Stop()
	}
}

// makeRoom closes connections for those that wait, and returns when to look again. cs.mu is held.
func (cs *connections) makeRoom() time.Duration {
	for cs.waiting > cs.promised {
		later := evictGrace
		var oldest *connection
		if e := cs.engaged.Front(); e != nil {
			oldest = e.Value.(*connection)
			later = evictGrace - time.Since(oldest.since)
		}
		if later > 0 {
			e := cs.idle.Front()
			if e == nil {
				return later
			}
			oldest = e.Value.(*connection)
		}
		// Its server goroutine notices, and closes it once more, which is when its slot is free:
		// until then it has its buffers.
		oldest.put(nil)
		oldest.evicted = true
		cs.promised++
		oldest.Conn.Close()
	}
	return evictGrace
}

// state is the ConnState of an http.Server.
func (cs *connections) state(conn net.Conn, s http.ConnState) {
	c, ok := conn.(*connection)
	if !ok {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	switch {
	case s == http.StateIdle:
		c.put(cs.idle)
	case s == http.StateActive && c.in == cs.idle:
		// The head is there. A first one counts from the start of the connection.
		c.put(cs.engaged)
	}
	cs.makeRoom()
}

// A connection gives its slot back when its server closes it. Its methods besides net.Conn's may be
// called on nil, which is the connection of a request that came another way.
type connection struct {
	net.Conn
	of     *connections
	client client
	once   sync.Once

	// These are guarded by of.mu.
	in      *list.List // of.idle, of.engaged, or nil: it must not be evicted
	entry   *list.Element
	since   time.Time // when it was put there
	evicted bool
}

type connectionKey struct{}

// withConnection is the ConnContext of an http.Server.
func withConnection(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, c)
}

func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	return c
}

// put moves the connection to the end of a list, or takes it from where it is. One that is evicted
// comes into none any more. c.of.mu is held.
func (c *connection) put(in *list.List) {
	if c.in != nil {
		c.in.Remove(c.entry)
	}
	c.in, c.entry = nil, nil
	if in != nil && !c.evicted {
		c.in, c.entry, c.since = in, in.PushBack(c), time.Now()
	}
}

// keep says that the connection is not to be evicted, until engage. It returns false if it is already.
func (c *connection) keep() bool {
	if c == nil {
		return true
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.put(nil)
	return !c.evicted
}

// engage says that the client is at it again.
func (c *connection) engage() {
	if c == nil {
		return
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.put(c.of.engaged)
}

// isEvicted says whether it was closed for another.
func (c *connection) isEvicted() bool {
	if c == nil {
		return false
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	return c.evicted
}

func (c *connection) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.of.mu.Lock()
		c.put(nil)
		c.of.mu.Unlock()
		c.of.exit(c.client)
		<-c.of.slots
	})
	return err
}

// CloseWrite is what net/http looks for, to end its own side first when the client may still be
// sending: a reset would cost that client the answer. It closes the connection half a second later
// whatever happens, so there is nothing to gain by evicting it.
func (c *connection) CloseWrite() error {
	c.keep()
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
