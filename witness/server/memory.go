package server

import (
	"container/list"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

var (
	// errNoMemory says that for as long as one waits, the bodies in memory were all complete ones.
	errNoMemory = errors.New("too many bodies at the same time")

	// errCut says that a body was cut off.
	errCut = errors.New("the body took too long while others waited")
)

// memory bounds the bytes that the bodies of requests take, in all and for each client. It does not
// bound how many bodies there are: one that is announced and does not come takes next to nothing.
//
// A body asks for bytes step by step, as it arrives. If there are none left, bodies are cut off
// until there are: first the one with the largest product of the bytes that it holds and the time
// that it is on its way. So who fills the memory is the first to lose it, and a body that fits
// into a few packets is the last, whatever others do: the product of an honest one is some kB
// times the time of a round trip, and thousands of others would all have to stay below that. What
// is complete is never cut off. It holds bytes only until the cosigner has answered.
type memory struct {
	wait      time.Duration // for bytes that only complete bodies can give back
	perClient int64

	mu      sync.Mutex
	all     share
	clients map[client]*share
	coming  *list.List // of *body that is not complete, the oldest in front
	waiting *list.List // of *body that waits for bytes, in order
}

// A share of the memory is that of a client, or all of it. Its numbers are of bytes.
type share struct {
	max     int64
	used    int64
	leaving int64 // of those used, the ones of bodies that are cut off and did not yet give them back
	demand  int64 // of bodies that wait and for which there is room, or soon will be; for settle
	spent   bool  // nothing of it can be cut off any more; for settle
	bodies  int   // bodies that have this share, with bytes or without
}

func newMemory(size, perClient int64, wait time.Duration) *memory {
	return &memory{wait: wait, perClient: perClient, all: share{max: size}, clients: map[client]*share{}, coming: list.New(), waiting: list.New()}
}

// A body is one request's. Its methods are for that request's goroutine.
type body struct {
	of     *memory
	client client
	shares []*share // the client's, if it has one, and all
	since  time.Time
	cutOff func()

	// These are guarded by of.mu.
	held    int64
	wanted  int64
	coming  *list.Element // in of.coming, or nil
	waiting *list.Element // in of.waiting, or nil
	cut     bool
	woken   chan error // has the end of the waiting
}

// enter says that a body is on its way. Another request's goroutine may call cutOff at any time until
// complete or release returns, but only once; it ends the reading, and must not block.
func (m *memory) enter(c client, cutOff func()) *body {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := &body{of: m, client: c, since: time.Now(), cutOff: cutOff}
	if c.limited() {
		own := m.clients[c]
		if own == nil {
			own = &share{max: m.perClient}
			m.clients[c] = own
		}
		b.shares = append(b.shares, own)
	}
	b.shares = append(b.shares, &m.all)
	for _, s := range b.shares {
		s.bodies++
	}
	b.coming = m.coming.PushBack(b)
	return b
}

// grow asks for n more bytes. The error is errCut, errNoMemory, or ctx's.
func (b *body) grow(ctx context.Context, n int64) error {
	m := b.of
	m.mu.Lock()
	if b.cut {
		m.mu.Unlock()
		return errCut
	}
	b.wanted, b.woken = n, make(chan error, 1)
	b.waiting = m.waiting.PushBack(b)
	m.settle()
	m.mu.Unlock()

	select {
	case err := <-b.woken:
		return err
	default:
	}
	ctx, cancel := context.WithTimeoutCause(ctx, m.wait, errNoMemory)
	defer cancel()
	select {
	case err := <-b.woken:
		return err
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.waiting == nil {
		return <-b.woken
	}
	b.wake(nil)
	m.settle()
	return context.Cause(ctx)
}

// complete says that all of the body is there. It returns false if it was cut off before.
func (b *body) complete() bool {
	b.of.mu.Lock()
	defer b.of.mu.Unlock()
	b.stay()
	return !b.cut
}

// release gives back all bytes: the body must be garbage. It may be called again.
func (b *body) release() {
	m := b.of
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.shares == nil {
		return
	}
	b.stay()
	for _, s := range b.shares {
		s.used -= b.held
		if b.cut {
			s.leaving -= b.held
		}
		s.bodies--
	}
	if b.client.limited() && b.shares[0].bodies == 0 {
		delete(m.clients, b.client)
	}
	b.shares = nil
	m.settle()
}

// stats returns how many bodies there are, and the bytes that they hold.
func (m *memory) stats() (bodies int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all.bodies, m.all.used
}

// What follows needs of.mu.

// stay ends that the body may be cut off.
func (b *body) stay() {
	if b.coming != nil {
		b.of.coming.Remove(b.coming)
		b.coming = nil
	}
}

// wake ends the waiting of a body.
func (b *body) wake(err error) {
	b.of.waiting.Remove(b.waiting)
	b.waiting = nil
	b.woken <- err
}

// settle gives bytes to those that wait, in order, and cuts off bodies for those that get none. One
// that waits for more than can be had, or for others of its own client, does not hold up the rest.
func (m *memory) settle() {
	if m.waiting.Len() == 0 {
		return
	}
	// Cutting off may end the waiting of any, hence not the list itself.
	var waiting []*body
	for e := m.waiting.Front(); e != nil; e = e.Next() {
		b := e.Value.(*body)
		waiting = append(waiting, b)
		for _, s := range b.shares {
			s.demand, s.spent = 0, false
		}
	}
	for _, b := range waiting {
		if !m.makeRoom(b) {
			continue
		}
		now := true
		for _, s := range b.shares {
			now = now && s.used+s.demand+b.wanted <= s.max
		}
		if now {
			b.held += b.wanted
			for _, s := range b.shares {
				s.used += b.wanted
			}
			b.wake(nil)
			continue
		}
		for _, s := range b.shares {
			s.demand += b.wanted
		}
	}
}

// makeRoom cuts off others until b gets its bytes, now or when those have given theirs back. It
// returns false if there are not enough that may be cut off, or b is one of them.
func (m *memory) makeRoom(b *body) bool {
	for _, s := range b.shares {
		for b.waiting != nil && s.used-s.leaving+s.demand+b.wanted > s.max {
			if s.spent {
				return false
			}
			s.spent = !m.cutWorst(s)
		}
	}
	return b.waiting != nil
}

// cutWorst cuts off one body of a share.
func (m *memory) cutWorst(s *share) bool {
	var worst *body
	var most float64
	now := time.Now()
	for e := m.coming.Front(); e != nil; e = e.Next() {
		b := e.Value.(*body)
		if b.held == 0 || !slices.Contains(b.shares, s) {
			continue
		}
		product := float64(b.held) * now.Sub(b.since).Seconds()
		if worst == nil || product > most || product == most && b.held > worst.held {
			worst, most = b, product
		}
	}
	if worst == nil {
		return false
	}
	worst.stay()
	worst.cut = true
	for _, s := range worst.shares {
		s.leaving += worst.held
	}
	if worst.waiting != nil {
		worst.wake(errCut)
	}
	worst.cutOff()
	return true
}
