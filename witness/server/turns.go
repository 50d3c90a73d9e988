package server

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errNoTurn says that the cosigner was busy with other requests for as long as one waits.
var errNoTurn = errors.New("too many requests at the same time")

// turns bounds how many requests are with the cosigner, in all and for each client. Others wait, in
// the order in which they were complete. Only a complete request takes a turn, so how long it has it
// is the cosigner's matter, and no client's.
type turns struct {
	wait      time.Duration
	perClient int
	all       chan struct{} // those that wait to send are served in order

	mu      sync.Mutex
	clients map[client]*clientTurns
}

type clientTurns struct {
	taken chan struct{}
	users int // requests that have or want a turn; guarded by turns.mu
}

func newTurns(n, perClient int, wait time.Duration) *turns {
	return &turns{wait: wait, perClient: perClient, all: make(chan struct{}, n), clients: map[client]*clientTurns{}}
}

// take waits for a turn. The error is errNoTurn, or ctx's. If there is none, giveBack must be called.
func (t *turns) take(ctx context.Context, c client) (giveBack func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.wait, errNoTurn)
	defer cancel()
	leave := func() {}
	if c.limited() {
		own := t.join(c)
		if err := send(ctx, own.taken); err != nil {
			t.leave(c, own)
			return nil, err
		}
		leave = func() {
			<-own.taken
			t.leave(c, own)
		}
	}
	if err := send(ctx, t.all); err != nil {
		leave()
		return nil, err
	}
	return func() {
		<-t.all
		leave()
	}, nil
}

func send(ctx context.Context, to chan<- struct{}) error {
	select {
	case to <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *turns) join(c client) *clientTurns {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := t.clients[c]
	if own == nil {
		own = &clientTurns{taken: make(chan struct{}, t.perClient)}
		t.clients[c] = own
	}
	own.users++
	return own
}

// leave forgets a client that has no request left, so that there are never more of them than
// there are requests.
func (t *turns) leave(c client, own *clientTurns) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own.users--; own.users == 0 {
		delete(t.clients, c)
	}
}
