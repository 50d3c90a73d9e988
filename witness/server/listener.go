package server

import (
	"container/list"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// connections bounds the connections of a server, in all and for each client. A client that has
// too many loses the new one at once. When all are taken, the one that is idle longest makes
// room; if none is idle, new ones wait, which takes no longer than a request may.
type connections struct {
	perClient int
	slots     chan struct{}
	refused   atomic.Uint64

	mu      sync.Mutex
	clients map[client]int
	idle    *list.List // of *connection, the one that is idle longest in front
	wanted  bool       // a new connection waits for a slot
}

func newConnections(n, perClient int) *connections {
	return &connections{perClient: perClient, slots: make(chan struct{}, n), clients: map[client]int{}, idle: list.New()}
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
	cs.want(true)
	defer cs.want(false)
	select {
	case cs.slots <- struct{}{}:
		return true
	case <-closed:
		return false
	}
}

func (cs *connections) want(wanted bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.wanted = wanted
	if front := cs.idle.Front(); wanted && front != nil {
		cs.evict(front.Value.(*connection))
	}
}

// evict closes an idle connection; cs.mu is held. Its server goroutine notices, and closes it
// once more, which is when its slot is free: until then it has its buffers.
func (cs *connections) evict(c *connection) {
	cs.idle.Remove(c.idle)
	c.idle = nil
	cs.wanted = false // one is enough
	c.Conn.Close()
}

// state is the ConnState of an http.Server.
func (cs *connections) state(conn net.Conn, s http.ConnState) {
	c, ok := conn.(*connection)
	if !ok {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.idle != nil {
		cs.idle.Remove(c.idle)
		c.idle = nil
	}
	if s != http.StateIdle {
		return
	}
	c.idle = cs.idle.PushBack(c)
	if cs.wanted {
		cs.evict(cs.idle.Front().Value.(*connection))
	}
}

// A connection gives its slot back when its server closes it.
type connection struct {
	net.Conn
	of     *connections
	client client
	idle   *list.Element // in of.idle, or nil; guarded by of.mu
	once   sync.Once
}

func (c *connection) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.of.exit(c.client)
		<-c.of.slots
	})
	return err
}

// CloseWrite is what net/http looks for, to end its own side first when the client may still be
// sending: a reset would cost that client the answer.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
