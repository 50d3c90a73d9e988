package server_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pauselog/pauselog/witness/server"
)

func TestConnectionsOfOneClient(t *testing.T) {
	inBubble(t, server.Config{}, func(b *bubble) {
		var first *peer
		for i := range 32 {
			p := b.dial("192.0.2.7")
			synctest.Wait()
			if i == 0 {
				first = p
			}
		}
		began := time.Now()
		b.dial("192.0.2.7").ends()
		b.after(began, 0)
		for _, ip := range []string{"192.0.2.8", "127.0.0.1"} {
			p := b.dial(ip)
			p.send(post("/add-checkpoint", "x"))
			p.expect(200)
			p.Close()
		}
		synctest.Wait()
		if st := b.server.Stats(); st.RefusedConnections != 1 || st.Connections != 32 {
			t.Errorf("%d refused, %d open", st.RefusedConnections, st.Connections)
		}
		first.Close()
		synctest.Wait()
		p := b.dial("192.0.2.7")
		p.send(post("/add-checkpoint", "x"))
		p.expect(200)
		b.after(began, 0)
	})
}

func TestIdleConnectionsMakeRoom(t *testing.T) {
	inBubble(t, server.Config{Connections: 10}, func(b *bubble) {
		var peers []*peer
		for i := range 10 {
			p := b.dial(everywhere(i))
			p.send(post("/add-checkpoint", "x"))
			p.expect(200)
			synctest.Wait()
			peers = append(peers, p)
		}
		peers[0].send(post("/add-checkpoint", "x")) // the idle longest is now another
		peers[0].expect(200)
		synctest.Wait()
		began := time.Now()
		p := b.dial("198.51.100.1")
		p.send(post("/add-checkpoint", "x"))
		p.expect(200)
		peers[1].ends()
		b.after(began, 0)
		if n := b.server.Stats().Connections; n != 10 {
			t.Errorf("%d connections", n)
		}
	})
}

// Connections that stall make room after a second, the one at it longest first, wherever they stall.
func TestStalledConnectionsMakeRoom(t *testing.T) {
	for name, sent := range map[string]string{
		"no byte":                       "",
		"half a head":                   "POST /add-checkpoint HTTP/1.1\r\nHost:",
		"a head":                        head(100),
		"a body but its last byte":      head(100) + strings.Repeat("x", 99),
		"a head behind a whole request": post("/add-checkpoint", "x") + head(100),
		"a refused request":             "POST /nothing HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\n",
		"an answer that is not read":    post("/add-checkpoint", "x"),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, server.Config{Connections: 10}, func(b *bubble) {
				began := time.Now()
				for range 10 {
					b.dial("127.0.0.1").send(sent)
					synctest.Wait()
				}
				time.Sleep(100 * time.Millisecond)
				for range 10 { // all that stall go, one after the other
					p := b.dial("127.0.0.1")
					p.send(post("/add-checkpoint", "x"))
					p.expect(200)
					b.after(began, time.Second)
				}
				if n := b.server.Stats().Connections; n != 10 {
					t.Errorf("%d connections", n)
				}
			})
		})
	}
}

// Each of more clients than there are connections is there for a second, at least.
func TestConnectionsHaveAGrace(t *testing.T) {
	inBubble(t, server.Config{Connections: 10}, func(b *bubble) {
		var peers []*peer
		for range 20 {
			p := b.dial("127.0.0.1")
			p.send(head(1))
			synctest.Wait()
			peers = append(peers, p)
		}
		began := time.Now()
		time.Sleep(time.Second - time.Millisecond)
		for _, p := range peers[:5] {
			p.send("x")
			p.expect(200)
		}
		for _, p := range peers[5:10] {
			p.ends()
			b.after(began, time.Second)
		}
		for _, p := range peers[10:] {
			p.send("x")
			p.expect(200)
		}
		b.after(began, time.Second)
		if n := b.server.Stats().Cut; n != 5 {
			t.Errorf("%d were cut off", n)
		}
	})
}

func TestConnectionsWithTheCosignerAreWaitedFor(t *testing.T) {
	c := &fakeCosigner{add: func(ctx context.Context, _ []byte) ([]byte, error) {
		time.Sleep(time.Minute)
		return []byte("signed\n"), ctx.Err()
	}}
	inBubble(t, server.Config{Cosigner: c, Connections: 10}, func(b *bubble) {
		began := time.Now()
		var busy sync.WaitGroup
		for range 10 {
			p := b.dial("127.0.0.1")
			p.send(post("/add-checkpoint", "x"))
			busy.Go(func() { p.expect(200) })
			synctest.Wait()
		}
		late := b.dial("127.0.0.1")
		late.send(post("/sign-subtree", "x"))
		late.expect(200)
		busy.Wait()
		b.after(began, time.Minute)
	})
}

func TestTheEndDoesNotWaitForAnAccept(t *testing.T) {
	inBubble(t, server.Config{Connections: 1}, func(b *bubble) {
		b.stall(1, everywhere)
		waiting := b.dial("198.51.100.1")
		synctest.Wait()
		b.server.Close()
		waiting.ends()
	})
}
