package fairlisten_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pauselog/pauselog/internal/fairlisten"
)

// The tests in this file run on a clock of their own, so that they know to the nanosecond when a connection has to end;
// their connections are pipes.

const grace = 5 * time.Second

// A site is a listener and a server that echoes what it reads.
type site struct {
	*testing.T
	*fairlisten.Listener
	dialled chan net.Conn
	done    sync.WaitGroup

	handle func(net.Conn) // what the server does before it closes a connection
	count  atomic.Int64   // connections that the server has
	most   atomic.Int64
}

func inBubble(t *testing.T, limits fairlisten.Limits, test func(s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &site{T: t, dialled: make(chan net.Conn), handle: echo}
		s.Listener = fairlisten.New(&pipes{dialled: s.dialled, closed: make(chan struct{})}, limits)
		s.done.Go(s.serve)
		t.Cleanup(s.done.Wait)
		t.Cleanup(func() { s.Close() })
		test(s)
	})
}

func (s *site) serve() {
	for {
		c, err := s.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.Error(err)
			}
			return
		}
		now := s.count.Add(1)
		for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); most = s.most.Load() {
		}
		s.done.Go(func() {
			s.handle(c)
			s.count.Add(-1)
			c.Close()
			c.Close() // as some servers do; it must not give another's slot back
		})
	}
}

func echo(c net.Conn) { io.Copy(c, c) }

// pipes is a listener whose connections are pipes.
type pipes struct {
	dialled chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.dialled:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return at("pipe") }

type at string

func (a at) Network() string { return "tcp" }
func (a at) String() string  { return string(a) }

type pipe struct {
	net.Conn
	remote at
}

func (p pipe) RemoteAddr() net.Addr { return p.remote }

// dial connects from an IP address, or waits like a newcomer does who is in the system's queue.
func (s *site) dial(ip string) net.Conn {
	s.Helper()
	ours, theirs := net.Pipe()
	s.Cleanup(func() { ours.Close() })
	go func() {
		select {
		case s.dialled <- pipe{theirs, at(net.JoinHostPort(ip, "7"))}:
		case <-s.Context().Done():
		}
	}()
	synctest.Wait()
	return ours
}

func nth(i int) string { return fmt.Sprintf("192.0.2.%d", i) }

// say sends and awaits the echo.
func (s *site) say(c net.Conn) {
	s.Helper()
	if err := talk(c); err != nil {
		s.Error(err)
	}
}

func talk(c net.Conn) error {
	if _, err := io.WriteString(c, "x"); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

// ended says whether the server has ended a connection that has nothing to read.
func (s *site) ended(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(1))
	defer c.SetReadDeadline(time.Time{})
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

func (s *site) after(began time.Time, want time.Duration) {
	s.Helper()
	if got := time.Since(began).Truncate(time.Millisecond); got != want {
		s.Errorf("after %v, want %v", got, want)
	}
}

func TestClients(t *testing.T) {
	for _, test := range []struct {
		name, first, second string
		same                bool // both count as one client
	}{
		{"an IPv4 address", "192.0.2.1", "192.0.2.1", true},
		{"the next IPv4 address", "192.0.2.1", "192.0.2.2", false},
		{"IPv4 in IPv6", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"one IPv6 network", "2001:db8::1", "2001:db8::ffff:0:0:1", true},
		{"the next IPv6 network", "2001:db8::1", "2001:db8:0:1::1", false},
		{"a link", "fe80::1%eth0", "fe80::2%eth1", true},
		{"loopback", "127.0.0.1", "127.0.0.1", false},
		{"loopback over IPv6", "::1", "::1", false},
		{"loopback in IPv6", "::ffff:127.0.0.1", "::ffff:127.0.0.1", false},
		{"no IP address", "@", "@", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, fairlisten.Limits{All: 9, PerClient: 2, Grace: grace}, func(s *site) {
				began := time.Now()
				first := s.dial(test.first)
				s.dial(test.first)
				if third := s.dial(test.second); s.ended(third) != test.same {
					s.Errorf("it ended: %v", !test.same)
				} else if !test.same {
					s.say(third)
				}
				first.Close()
				synctest.Wait()
				s.say(s.dial(test.second)) // its turn again
				s.after(began, 0)
			})
		})
	}
}

// What an operator is told: each thing that a limit did is counted once, and what ended is not open any more.
func TestStats(t *testing.T) {
	inBubble(t, fairlisten.Limits{All: 3, PerClient: 2, Grace: grace}, func(s *site) {
		want := func(when string, want fairlisten.Stats) {
			t.Helper()
			synctest.Wait()
			want.Limit = 3
			if got := s.Stats(); got != want {
				t.Errorf("%s: %+v, expected %+v", when, got, want)
			}
		}
		want("at the beginning", fairlisten.Stats{})
		first := s.dial(nth(1))
		time.Sleep(time.Second) // of all that were silent equally long, any may go
		s.dial(nth(1))
		want("two of one client", fairlisten.Stats{Open: 2, Accepted: 2})
		if !s.ended(s.dial(nth(1))) {
			t.Error("the third of one client stays")
		}
		want("a third of it", fairlisten.Stats{Open: 2, Accepted: 2, Refused: 1})
		s.dial(nth(2))
		want("all are taken", fairlisten.Stats{Open: 3, Accepted: 3, Refused: 1})
		newcomer := s.dial(nth(3))
		want("a newcomer waits", fairlisten.Stats{Open: 3, Accepted: 3, Refused: 1})
		time.Sleep(grace)
		want("and has room", fairlisten.Stats{Open: 3, Accepted: 4, Refused: 1, Evicted: 1})
		if !s.ended(first) {
			t.Error("the one that was silent longest stays")
		}
		newcomer.Close()
		want("and is gone", fairlisten.Stats{Open: 2, Accepted: 4, Refused: 1, Evicted: 1})
		s.Close()
		want("after the end", fairlisten.Stats{Open: 2, Accepted: 4, Refused: 1, Evicted: 1})
	})
}

func TestNoLimitPerClient(t *testing.T) {
	inBubble(t, fairlisten.Limits{All: 9, Grace: grace}, func(s *site) {
		for range 9 {
			s.say(s.dial("192.0.2.1"))
		}
	})
}

func TestTheLongestSilentMakesRoom(t *testing.T) {
	inBubble(t, fairlisten.Limits{All: 4, PerClient: 4, Grace: grace}, func(s *site) {
		var old []net.Conn
		for i := range 4 {
			old = append(old, s.dial(nth(i)))
			time.Sleep(time.Second)
		}
		s.say(old[0]) // 1 is silent longest now, for three seconds
		began := time.Now()
		s.say(s.dial(nth(10)))
		s.after(began, 2*time.Second)
		s.say(s.dial(nth(11)))
		s.after(began, 3*time.Second)
		for i, want := range []bool{false, true, true, false} {
			if s.ended(old[i]) != want {
				s.Errorf("%d ended: %v, want %v", i, !want, want)
			}
		}
		if n := s.most.Load(); n != 4 {
			s.Errorf("%d connections", n)
		}
	})
}

func TestANewcomerIsServedAtOnce(t *testing.T) {
	inBubble(t, fairlisten.Limits{All: 2, Grace: grace}, func(s *site) {
		for i := range 2 {
			s.dial(nth(i))
		}
		time.Sleep(time.Hour)
		for i := range 2 {
			began := time.Now()
			s.say(s.dial(nth(10 + i)))
			s.after(began, 0)
		}
	})
}

// Connections on which something is said do not make room, however long a newcomer waits: for it one has to end.
func TestWhoSpeaksStays(t *testing.T) {
	inBubble(t, fairlisten.Limits{All: 3, Grace: grace}, func(s *site) {
		var old []net.Conn
		for i := range 3 {
			c := s.dial(nth(i))
			old = append(old, c)
			s.done.Go(func() {
				for talk(c) == nil {
					time.Sleep(grace - time.Millisecond)
				}
			})
		}
		began := time.Now()
		newcomer := s.dial(nth(10))
		time.Sleep(time.Minute)
		old[1].Close()
		s.say(newcomer)
		s.after(began, time.Minute)
		for _, i := range []int{0, 2} {
			if err := talk(old[i]); err != nil {
				s.Error(i, err)
			}
			old[i].Close()
		}
	})
}

// A large answer that a client takes slowly is not silence.
func TestWhoReadsSlowlyStays(t *testing.T) {
	inBubble(t, fairlisten.Limits{All: 1, Grace: grace}, func(s *site) {
		const size = 1 << 20
		s.handle = func(c net.Conn) {
			if n, err := c.Write(make([]byte, size)); n != size || err != nil {
				s.Errorf("%d bytes, then %v", n, err)
			}
		}
		reader, newcomer := s.dial(nth(1)), s.dial(nth(2))
		for _, c := range []net.Conn{reader, newcomer} {
			var n int
			var err error
			for buffer := make([]byte, 16<<10); err == nil; time.Sleep(time.Second) {
				var m int
				m, err = io.ReadFull(c, buffer)
				n += m
			}
			if n != size || !errors.Is(err, io.EOF) {
				s.Errorf("%d bytes, then %v", n, err)
			}
		}
	})
}

// The slot of a connection is free when its server lets go of it. If one does not, another is closed.
func TestServersThatAreHeldUp(t *testing.T) {
	inBubble(t, fairlisten.Limits{All: 3, Grace: grace}, func(s *site) {
		hold := make(chan struct{})
		s.handle = func(c net.Conn) { echo(c); <-hold }
		var old []net.Conn
		for i := range 3 {
			old = append(old, s.dial(nth(i)))
			time.Sleep(time.Millisecond)
		}
		began := time.Now()
		newcomer := s.dial(nth(10))
		gone := func() (n int) {
			synctest.Wait()
			for _, c := range old {
				if s.ended(c) {
					n++
				}
			}
			return n
		}
		for i := range 3 {
			time.Sleep(grace)
			if n := gone(); n != i+1 {
				s.Errorf("after %v: %d are closed, want %d", time.Since(began), n, i+1)
			}
		}
		time.Sleep(time.Minute)
		if n := s.count.Load(); n != 3 {
			s.Errorf("%d connections", n)
		}
		began = time.Now()
		close(hold)
		s.say(newcomer)
		s.after(began, 0)
	})
}

func TestCloseEndsAWaitingAccept(t *testing.T) {
	inBubble(t, fairlisten.Limits{All: 1, PerClient: 1, Grace: grace}, func(s *site) {
		old := s.dial(nth(1))
		newcomer := s.dial(nth(2))
		began := time.Now()
		if err := s.Close(); err != nil {
			s.Error(err)
		}
		synctest.Wait()
		if !s.ended(newcomer) {
			s.Error("the newcomer waits on")
		}
		s.say(old)
		s.after(began, 0)
	})
}

func TestManyAtOnce(t *testing.T) {
	inBubble(t, fairlisten.Limits{All: 10, PerClient: 7, Grace: time.Second}, func(s *site) {
		s.done.Go(s.serve)
		s.done.Go(s.serve) // several may wait in Accept
		var served atomic.Int64
		var clients sync.WaitGroup
		for i := range 100 {
			clients.Go(func() {
				for try := range 20 {
					ours, theirs := net.Pipe()
					s.dialled <- pipe{theirs, at(net.JoinHostPort(nth(i%20), "7"))}
					if talk(ours) == nil {
						served.Add(1)
					}
					if (i+try)%3 == 0 {
						// Until it is closed for another, or is the last.
						ours.SetReadDeadline(time.Now().Add(time.Minute))
						io.Copy(io.Discard, ours)
					}
					ours.Close()
				}
			})
		}
		clients.Wait()
		if n := s.most.Load(); n > 10 {
			s.Errorf("%d connections, want at most 10", n)
		}
		if n := served.Load(); n < 1000 {
			s.Errorf("%d were served", n)
		}
		// Nothing stays counted.
		synctest.Wait()
		began := time.Now()
		for i := range 10 {
			s.say(s.dial(nth(i / 6)))
		}
		s.after(began, 0)
	})
}

func TestLimitsWithoutRoom(t *testing.T) {
	defer func() {
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "at least one") {
			t.Errorf("%v", v)
		}
	}()
	fairlisten.New(&pipes{}, fairlisten.Limits{})
}
