package server

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// errNoPlace says that too many requests had a body in memory for as long as one waited.
var errNoPlace = errors.New("too many requests at the same time")

// places bounds how many requests have a body in memory, in all and for each client. A request
// asks for a place when all of its head has arrived, and gives it back when it is answered.
//
// A client that announces a body and does not send it holds a place for nothing. So that this does
// not keep honest ones out, a request that waits for a place may take the one whose body is
// on its way longest, if that is half of the time that the request itself may wait: the
// body of an honest request fits into a few packets.
type places struct {
	wait      time.Duration
	perClient int
	all       chan struct{}

	mu      sync.Mutex
	clients map[client]*clientPlaces
	reading *list.List // of *place whose body is on its way, the oldest in front
}

type clientPlaces struct {
	taken chan struct{}
	users int // requests that have or want a place; guarded by places.mu
}

func newPlaces(n, perClient int, wait time.Duration) *places {
	return &places{wait: wait, perClient: perClient, all: make(chan struct{}, n), clients: map[client]*clientPlaces{}, reading: list.New()}
}

// A place is one request's. Its methods are for that request's goroutine.
type place struct {
	of     *places
	client client
	own    *clientPlaces // nil for a client without limits
	entry  *list.Element // in of.reading; nil when it is not read. Guarded by of.mu, as are the next
	since  time.Time
	cut    func()
}

// take waits for a place. The error is errNoPlace, or ctx's.
func (p *places) take(ctx context.Context, c client) (*place, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.wait, errNoPlace)
	defer cancel()
	l := &place{of: p, client: c, own: p.join(c)}
	if l.own != nil {
		select {
		case l.own.taken <- struct{}{}:
		case <-ctx.Done():
			p.leave(c, l.own)
			return nil, context.Cause(ctx)
		}
	}
	if err := p.takeAny(ctx); err != nil {
		l.leaveClient()
		return nil, err
	}
	return l, nil
}

// takeAny waits for a place among all clients'. Each request cuts off one other at most.
func (p *places) takeAny(ctx context.Context) error {
	select {
	case p.all <- struct{}{}:
		return nil
	default:
	}
	for mayCut := true; ; {
		var next <-chan time.Time
		if mayCut {
			done, later := p.cutOldest()
			if mayCut = !done; mayCut {
				next = time.After(later)
			}
		}
		select {
		case p.all <- struct{}{}:
			return nil
		case <-next:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// cutOldest ends the reading of the body that is on its way longest, if that is long enough. If
// not, later is when to look again.
func (p *places) cutOldest() (done bool, later time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	grace := p.wait / 2
	e := p.reading.Front()
	if e == nil {
		return false, grace // all are being answered
	}
	l := e.Value.(*place)
	if age := time.Since(l.since); age < grace {
		return false, grace - age
	}
	p.reading.Remove(e)
	l.entry = nil
	l.cut()
	return true, 0
}

// read says that the body is on its way. Another request's goroutine may call cut at any time
// until ended returns, but only once; cut must not block.
func (l *place) read(cut func()) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	l.since, l.cut = time.Now(), cut
	l.entry = l.of.reading.PushBack(l)
}

// ended says that no more of the body is read. It returns false if cut was called.
func (l *place) ended() bool {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if l.entry == nil {
		return false
	}
	l.of.reading.Remove(l.entry)
	l.entry = nil
	return true
}

// giveBack makes room for another request. The body must be garbage.
func (l *place) giveBack() {
	l.ended() // it may be a panic that got here
	<-l.of.all
	l.leaveClient()
}

func (l *place) leaveClient() {
	if l.own != nil {
		<-l.own.taken
		l.of.leave(l.client, l.own)
	}
}

// taken is how many places are taken now.
func (p *places) taken() int { return len(p.all) }

func (p *places) join(c client) *clientPlaces {
	if !c.limited() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.clients[c]
	if own == nil {
		own = &clientPlaces{taken: make(chan struct{}, p.perClient)}
		p.clients[c] = own
	}
	own.users++
	return own
}

// leave forgets a client that has no request left, so that there are never more of them than
// there are connections.
func (p *places) leave(c client, own *clientPlaces) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if own.users--; own.users == 0 {
		delete(p.clients, c)
	}
}
