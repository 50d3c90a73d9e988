package server

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A client is what limits are counted for: an IPv4 address, or the /64 of an IPv6 address, since
// that is what one subscriber has. The zero client has no limits of its own.
//
// It is the zero client for a loopback address, where only this machine can be: a reverse proxy
// there stands for all of its clients, and has to limit them. The same goes for whatever is no IP
// address, such as a Unix socket.
type client struct{ prefix netip.Prefix }

// clientOf returns the client of an address as http.Request.RemoteAddr and net.Addr give it.
func clientOf(remote string) client {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return client{}
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return client{}
	}
	a = a.Unmap().WithZone("")
	if a.IsLoopback() {
		return client{}
	}
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return client{}
	}
	return client{p}
}

func (c client) limited() bool { return c.prefix.IsValid() }

// rates are the token buckets of the clients that were seen last.
type rates struct {
	limit rate.Limit
	burst int
	max   int // buckets to remember

	mu      sync.Mutex
	buckets map[client]*list.Element
	recent  *list.List // of *bucket, the client seen last in front
}

type bucket struct {
	client client
	*rate.Limiter
}

func newRates(perSecond float64, burst, clients int) *rates {
	return &rates{limit: rate.Limit(perSecond), burst: burst, max: clients, buckets: map[client]*list.Element{}, recent: list.New()}
}

// allow charges c for a request, and says whether it may make it. To forget the client that was
// idle longest gives it a full bucket again. That is what it would have after burst/limit seconds
// anyway, and who has more addresses than there are buckets is not held by a limit per address.
func (r *rates) allow(c client) bool {
	if !c.limited() {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.buckets[c]
	if e == nil {
		if r.recent.Len() >= r.max {
			delete(r.buckets, r.recent.Remove(r.recent.Back()).(*bucket).client)
		}
		e = r.recent.PushFront(&bucket{c, rate.NewLimiter(r.limit, r.burst)})
		r.buckets[c] = e
	}
	r.recent.MoveToFront(e)
	return e.Value.(*bucket).AllowN(time.Now(), 1)
}
