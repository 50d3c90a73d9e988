package server

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Buckets are the upper bounds of a Latency's buckets. Requests that took longer are only in its
// Count.
var Buckets = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Stats are a server's counters since it was made. What net/http itself refuses, such as a head
// that is too large, is not counted.
type Stats struct {
	Requests []Requests // sorted by kind and status
	Latency  []Latency  // sorted by kind

	Connections        int    // open now, without those that came through a bastion
	RefusedConnections uint64 // closed at once, because their client had too many
	Bodies             int    // requests whose body is on its way, or with the cosigner, now
	BodyBytes          int64  // memory of those bodies, in bytes
	Cut                uint64 // requests that lost their memory or their connection before all of them was there, because others waited
	Panics             uint64
}

// Requests counts the requests that were answered.
type Requests struct {
	Kind   Kind
	Status int // an HTTP status code
	Count  uint64
}

// A Latency tells how long requests of a kind took, from the end of the head to the end of the
// answer: it includes the time that the client took to send the body.
type Latency struct {
	Kind    Kind
	Count   uint64
	Sum     time.Duration
	Buckets [len(Buckets)]uint64 // how many took at most Buckets[i]: each includes those before it
}

// A Kind is what a request was for, by its path.
type Kind string

const (
	AddCheckpoint Kind = "add-checkpoint"
	SignSubtree   Kind = "sign-subtree"
	Checkpoint    Kind = "checkpoint"
	Other         Kind = "other" // any path that is not there
)

type counters struct {
	mu       sync.Mutex
	requests map[Requests]uint64 // the key's Count is 0
	latency  map[Kind]*Latency
	panics   uint64
	cut      uint64
}

func (c *counters) answered(k Kind, status int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests == nil {
		c.requests, c.latency = map[Requests]uint64{}, map[Kind]*Latency{}
	}
	c.requests[Requests{Kind: k, Status: status}]++
	l := c.latency[k]
	if l == nil {
		l = &Latency{Kind: k}
		c.latency[k] = l
	}
	l.Count++
	l.Sum += took
	for i, bound := range Buckets {
		if took <= bound {
			l.Buckets[i]++
		}
	}
}

func (c *counters) add(n *uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*n++
}

// Stats returns the counters as they are now.
func (s *Server) Stats() Stats {
	st := Stats{Connections: s.connections.open(), RefusedConnections: s.connections.refused.Load()}
	st.Bodies, st.BodyBytes = s.memory.stats()
	c := &s.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	st.Cut, st.Panics = c.cut, c.panics
	for r, n := range c.requests {
		r.Count = n
		st.Requests = append(st.Requests, r)
	}
	for _, l := range c.latency {
		st.Latency = append(st.Latency, *l)
	}
	slices.SortFunc(st.Requests, func(a, b Requests) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Status, b.Status))
	})
	slices.SortFunc(st.Latency, func(a, b Latency) int { return cmp.Compare(a.Kind, b.Kind) })
	return st
}
