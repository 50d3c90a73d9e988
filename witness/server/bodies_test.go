package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pauselog/pauselog/witness/protocol"
	"github.com/pauselog/pauselog/witness/server"
)

// part starts a request of a size with some of its body, so that it takes as much memory.
func (b *bubble) part(ip string, size, sent int) *peer {
	p := b.dial(ip)
	p.send(head(size) + strings.Repeat("x", sent))
	synctest.Wait()
	return p
}

func head(size int) string {
	return fmt.Sprintf("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: %d\r\n\r\n", size)
}

// However many bodies are announced, they take little until they come.
func TestStalledBodiesTakeLittle(t *testing.T) {
	inBubble(t, server.Config{}, func(b *bubble) {
		for range 500 {
			b.part("127.0.0.1", protocol.MaxBody, 1)
		}
		began := time.Now()
		if st := b.server.Stats(); st.Bodies != 500 || st.BodyBytes != 500*4096 {
			t.Errorf("%d bodies have %d bytes", st.Bodies, st.BodyBytes)
		}
		honest := b.dial("127.0.0.1")
		honest.send(post("/add-checkpoint", strings.Repeat("x", 3000)))
		honest.expect(200)
		b.after(began, 0)
		if n := b.server.Stats().Cut; n != 0 {
			t.Errorf("%d were cut off", n)
		}
	})
}

func TestBodiesGrowWithWhatArrives(t *testing.T) {
	inBubble(t, server.Config{MaxBody: 20000}, func(b *bubble) {
		for _, test := range []struct{ size, sent, want int }{
			{0, 0, 0},
			{100, 0, 101},
			{4095, 1, 4096},
			{20000, 0, 4096},
			{20000, 4095, 4096},
			{20000, 4096, 8192},
			{9000, 5000, 8192},
			{9000, 8192, 9001},
			{20000, 16384, 20001},
		} {
			p := b.part("127.0.0.1", test.size, test.sent)
			if st := b.server.Stats(); st.BodyBytes != int64(test.want) {
				t.Errorf("%d of %d bytes take %d, want %d", test.sent, test.size, st.BodyBytes, test.want)
			}
			p.Close()
			synctest.Wait()
			if st := b.server.Stats(); st.Bodies != 0 || st.BodyBytes != 0 {
				t.Errorf("%d bodies and %d bytes stay", st.Bodies, st.BodyBytes)
			}
		}
	})
}

// A body that is refused, for whatever reason, is an answer and nothing else: no panic, and none of
// its bytes stays counted.
func TestRefusedBodiesLeaveNothing(t *testing.T) {
	const chunked = "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, test := range []struct {
		name, request string
		status        int
	}{
		{"announced as too large", head(9001), 413},
		{"too large in chunks", chunked + "2329\r\n" + strings.Repeat("x", 9001) + "\r\n0\r\n\r\n", 413},
		{"no chunk", chunked + "nonsense\r\n", 400},
		{"a longer chunk than announced", chunked + "1\r\nabc\r\n0\r\n\r\n", 400},
		{"not all of it in time", head(9000) + "x", 408},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, server.Config{MaxBody: 9000}, func(b *bubble) {
				p := b.dial("192.0.2.7")
				p.send(test.request)
				p.expect(test.status)
				p.Close()
				synctest.Wait()
				st := b.server.Stats()
				if st.Panics != 0 || st.Bodies != 0 || st.BodyBytes != 0 {
					t.Errorf("%d panics; %d bodies and %d bytes stay", st.Panics, st.Bodies, st.BodyBytes)
				}
			})
		})
	}
}

// When the memory is used up, the body that holds most for longest loses it at once.
func TestStalledBodiesMakeRoom(t *testing.T) {
	inBubble(t, server.Config{MaxBody: 9000, BodyMemory: 30000, BodyMemoryPerClient: 30000}, func(b *bubble) {
		small := b.part(everywhere(1), 9000, 100)
		older := b.part(everywhere(2), 9000, 5000)
		time.Sleep(time.Second)
		younger := b.part(everywhere(3), 9000, 5000)
		time.Sleep(time.Second)
		largest := b.part(everywhere(4), 9000, 8500)
		began := time.Now()
		if st := b.server.Stats(); st.Bodies != 4 || st.BodyBytes != 4096+2*8192+9001 {
			t.Fatalf("%d bodies have %d bytes", st.Bodies, st.BodyBytes)
		}
		time.Sleep(time.Second) // three of 8192, two of 8192, one of 9001, three of 4096
		for i, want := range []*peer{older, younger} {
			for range 2 { // in the room of the first is one for the second
				honest := b.part(everywhere(10+i), 3000, 2999)
				honest.send("x")
				honest.expect(200)
			}
			if i == 0 {
				b.part(everywhere(20), 9000, 8500)
			}
			want.expect(408)
		}
		b.after(began, time.Second)
		if st := b.server.Stats(); st.Cut != 2 {
			t.Errorf("%d were cut off", st.Cut)
		}
		small.send(strings.Repeat("x", 8900))
		small.expect(200)
		largest.send(strings.Repeat("x", 500))
		largest.expect(200)
	})
}

// Who fills the memory and asks for more is himself the one to lose it.
func TestTheBodyThatAsksMayBeTheOneCutOff(t *testing.T) {
	inBubble(t, server.Config{MaxBody: 20000, BodyMemory: 20481, BodyMemoryPerClient: 20481}, func(b *bubble) {
		large := b.part("127.0.0.1", 20000, 5000)
		var small []*peer
		for range 3 {
			small = append(small, b.part("127.0.0.1", 4000, 1))
		}
		time.Sleep(time.Second)
		large.send(strings.Repeat("x", 5000))
		large.expect(408)
		for _, p := range small {
			p.send(strings.Repeat("x", 3999))
			p.expect(200)
		}
	})
}

// The memory of complete bodies is waited for, and no client can take that of others.
func TestMemoryOfCompleteBodies(t *testing.T) {
	c := &fakeCosigner{add: func(ctx context.Context, _ []byte) ([]byte, error) {
		time.Sleep(time.Hour)
		return []byte("signed\n"), ctx.Err()
	}}
	inBubble(t, server.Config{Cosigner: c, MaxBody: 9000, BodyMemory: 40000, BodyMemoryPerClient: 18002}, func(b *bubble) {
		var busy []*peer
		for _, ip := range []string{"192.0.2.7", "192.0.2.7", "192.0.2.8"} {
			busy = append(busy, b.part(ip, 9000, 9000))
		}
		began := time.Now()
		same := b.dial("192.0.2.7")
		same.send(post("/sign-subtree", "x"))
		other := b.dial("192.0.2.9")
		other.send(post("/sign-subtree", "x"))
		other.expect(200)
		b.after(began, 0)
		busy = append(busy, b.part("127.0.0.1", 9000, 9000))
		late := b.dial("127.0.0.1")
		late.send(head(6000) + strings.Repeat("x", 6000))
		if retry := same.expect(503); retry != "1" {
			t.Errorf("Retry-After is %q", retry)
		}
		late.expect(503)
		b.after(began, 2*time.Second)
		if n := b.server.Stats().Cut; n != 0 {
			t.Errorf("%d were cut off", n)
		}
		for _, p := range busy {
			p.expect(200)
		}
		synctest.Wait()
		if st := b.server.Stats(); st.Bodies != 0 || st.BodyBytes != 0 {
			t.Errorf("%d bodies and %d bytes stay", st.Bodies, st.BodyBytes)
		}
	})
}

func TestTurns(t *testing.T) {
	c := &fakeCosigner{add: func(ctx context.Context, _ []byte) ([]byte, error) {
		time.Sleep(time.Hour)
		return []byte("signed\n"), ctx.Err()
	}}
	inBubble(t, server.Config{Cosigner: c}, func(b *bubble) {
		var busy []*peer
		for i := range 64 {
			p := b.dial(everywhere(i))
			p.send(post("/add-checkpoint", "x"))
			busy = append(busy, p)
		}
		synctest.Wait()
		began := time.Now()
		late := b.dial("198.51.100.1")
		late.send(post("/add-checkpoint", "x"))
		if retry := late.expect(503); retry != "1" {
			t.Errorf("Retry-After is %q", retry)
		}
		b.after(began, 2*time.Second)
		// What needs no turn is answered.
		monitor := b.dial("198.51.100.2")
		monitor.send("GET /" + originHash + "/checkpoint HTTP/1.1\r\nHost: w\r\n\r\n")
		monitor.expect(200)
		b.after(began, 2*time.Second)
		for _, p := range busy {
			p.expect(200)
		}
		b.after(began, time.Hour)
	})
}

func TestTurnsAreInOrder(t *testing.T) {
	var order []string
	c := &fakeCosigner{add: func(_ context.Context, body []byte) ([]byte, error) {
		order = append(order, string(body))
		time.Sleep(500 * time.Millisecond)
		return []byte("signed\n"), nil
	}}
	inBubble(t, server.Config{Cosigner: c, Turns: 1}, func(b *bubble) {
		// Their heads come in another order than their ends.
		var peers []*peer
		for range 4 {
			peers = append(peers, b.part("127.0.0.1", 1, 0))
		}
		for _, i := range []int{2, 0, 3, 1} {
			peers[i].send(fmt.Sprint(i))
			synctest.Wait()
		}
		for _, p := range peers {
			p.expect(200)
		}
		if got := strings.Join(order, ""); got != "2031" {
			t.Errorf("the order is %s", got)
		}
	})
}

func TestTurnsOfOneClient(t *testing.T) {
	c := &fakeCosigner{add: func(_ context.Context, body []byte) ([]byte, error) {
		if len(body) > 1 {
			time.Sleep(3 * time.Second)
		}
		return []byte("signed\n"), nil
	}}
	inBubble(t, server.Config{Cosigner: c}, func(b *bubble) {
		for range 8 {
			b.dial("192.0.2.7").send(post("/add-checkpoint", "xx"))
		}
		synctest.Wait()
		began := time.Now()
		other := b.dial("192.0.2.8")
		other.send(post("/add-checkpoint", "x"))
		other.expect(200)
		b.after(began, 0)
		ninth := b.dial("192.0.2.7")
		ninth.send(post("/add-checkpoint", "x"))
		ninth.expect(503)
		b.after(began, 2*time.Second)
		tenth := b.dial("192.0.2.7")
		tenth.send(post("/add-checkpoint", "x"))
		tenth.expect(200)
		b.after(began, 3*time.Second)
	})
}
