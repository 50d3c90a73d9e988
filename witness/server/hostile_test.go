package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pauselog/pauselog/witness/server"
)

// heap is what is in use once all garbage is gone.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // a pool keeps its content for one collection
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// endlessly sends 256 MiB after a head, and returns how much the server took, and all of its answer.
func endlessly(t *testing.T, address, head string, piece []byte) (taken int, status int) {
	t.Helper()
	conn := dial(t, address, 1)
	defer conn.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if _, err := io.WriteString(conn, head); err != nil {
			return
		}
		for taken < 256<<20 {
			n, err := conn.Write(piece)
			taken += n
			if err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("it neither takes the body nor cuts it off")
				}
				return
			}
		}
	})
	resp, _ := answer(t, bufio.NewReader(conn), head)
	if !resp.Close {
		t.Error("the connection goes on")
	}
	wg.Wait() // until it is cut off
	return taken, resp.StatusCode
}

// 256 MiB are refused after no more than what fits into the kernel's buffers (some MiB, more than
// which the server does not take), and none of it stays in memory.
func TestHugeBodies(t *testing.T) {
	const bound = 8 << 20
	_, address := start(t, server.Config{})
	before := heap()
	piece := []byte(strings.Repeat("x", 64<<10))
	chunk := fmt.Appendf(nil, "%x\r\n%s\r\n", len(piece), piece)
	for _, path := range []string{"/add-checkpoint", "/sign-subtree", "/nothing"} {
		want := 413
		if path == "/nothing" {
			want = 404
		}
		head := "POST " + path + " HTTP/1.1\r\nHost: w\r\n"
		for name, send := range map[string]struct {
			head  string
			piece []byte
		}{
			"length":         {head + "Content-Length: 268435456\r\n\r\n", piece},
			"chunks":         {head + "Transfer-Encoding: chunked\r\n\r\n", chunk},
			"one chunk":      {head + "Transfer-Encoding: chunked\r\n\r\n10000000\r\n", piece},
			"absurd length":  {head + "Content-Length: 9223372036854775807\r\n\r\n", piece},
			"HTTP/1.0":       {strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1) + "Content-Length: 268435456\r\n\r\n", piece},
			"keep-alive 1.0": {strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1) + "Connection: keep-alive\r\nContent-Length: 268435456\r\n\r\n", piece},
		} {
			taken, status := endlessly(t, address, send.head, send.piece)
			if status != want {
				t.Errorf("%s, %s: %d, want %d", path, name, status, want)
			}
			if taken > 64<<20 {
				t.Errorf("%s, %s: %d bytes were taken", path, name, taken)
			}
		}
	}
	if after := heap(); after > before+bound {
		t.Errorf("the heap grew from %d to %d KiB", before>>10, after>>10)
	}
}

func TestHugeHeads(t *testing.T) {
	_, address := start(t, server.Config{})
	for name, request := range map[string]string{
		"thousands of headers": "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\n" + strings.Repeat("A: b\r\n", 5000) + "\r\n",
		"a long header":        "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nA: " + strings.Repeat("b", 20<<10) + "\r\n\r\n",
		"a long path":          "GET /" + strings.Repeat("b", 20<<10) + " HTTP/1.1\r\nHost: w\r\n\r\n",
	} {
		if resp, _ := raw(t, address, request); resp.StatusCode != 431 || !resp.Close {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
}

// What two servers could read in two ways ends the connection: nothing behind it is taken for a
// request.
func TestSmuggling(t *testing.T) {
	const next = "GET /smuggled HTTP/1.1\r\nHost: w\r\n\r\n"
	const head = "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\n"
	_, address := start(t, server.Config{})
	for _, test := range []struct {
		name, request string
		status        int
	}{
		{"both a length and chunks", head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, 200},
		{"chunks and a length", head + "Transfer-Encoding: chunked\r\nContent-Length: 100\r\n\r\n0\r\n\r\n" + next, 200},
		{"two lengths", head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde" + next, 400},
		{"a list of lengths", head + "Content-Length: 5, 6\r\n\r\nabcde" + next, 400},
		{"a signed length", head + "Content-Length: +5\r\n\r\nabcde" + next, 400},
		{"a negative length", head + "Content-Length: -1\r\n\r\n" + next, 400},
		{"a length in hexadecimal", head + "Content-Length: 0x5\r\n\r\nabcde" + next, 400},
		{"an unknown coding", head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + next, 501},
		{"chunked twice", head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, 501},
		{"a coding in disguise", head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + next, 501},
		{"a space before the colon", head + "Content-Length : 5\r\n\r\nabcde" + next, 400},
		{"a chunk's size is none", head + "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + next, 400},
		{"a huge chunk size", head + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + next, 400},
		{"a chunk longer than said", head + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n" + next, 400},
		{"no host", "POST /add-checkpoint HTTP/1.1\r\nContent-Length: 0\r\n\r\n" + next, 400},
		{"two hosts", head + "Host: v\r\nContent-Length: 0\r\n\r\n" + next, 400},
		{"a body behind a GET", "GET /" + originHash + "/checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := dial(t, address, 1)
			if _, err := io.WriteString(conn, test.request); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(conn)
			resp, body := answer(t, r, test.request)
			if resp.StatusCode != test.status {
				t.Errorf("%s %q, want %d", resp.Status, body, test.status)
			}
			if rest, _ := io.ReadAll(r); strings.Contains(string(rest), "HTTP/1.1") {
				t.Errorf("there is a second answer: %q", rest)
			}
		})
	}
}

func TestPipelining(t *testing.T) {
	_, address := start(t, server.Config{})
	conn := dial(t, address, 1)
	var requests strings.Builder
	for i := range 100 {
		requests.WriteString(post("/add-checkpoint", strings.Repeat("x", i)))
	}
	go io.WriteString(conn, requests.String())
	r := bufio.NewReader(conn)
	for i := range 100 {
		if resp, body := answer(t, r, "POST"); resp.StatusCode != 200 || body != fmt.Sprintf("— witness %d\n", i) {
			t.Fatalf("answer %d: %s %q", i, resp.Status, body)
		}
	}
}

// Stalled clients, more than there are connections and as if behind a proxy, do not keep honest
// ones out, and take little memory.
func TestHonestClientsAmongStalledOnes(t *testing.T) {
	const body = 3000
	// They stay for as long as the test may take, unless they lose their connections.
	s, address := start(t, server.Config{HeaderTime: 10 * limit, BodyTime: 10 * limit})
	before := heap()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range 700 {
		conn := dial(t, address, 1)
		sent := post("/add-checkpoint", strings.Repeat("x", body))
		whole := strings.Index(sent, "\r\n\r\n") + 4
		wg.Go(func() {
			defer conn.Close()
			switch i % 3 {
			case 0: // the head
				io.WriteString(conn, sent[:whole])
			case 1: // all but the last byte
				io.WriteString(conn, sent[:len(sent)-1])
			case 2: // the head and a byte now and then
				io.WriteString(conn, sent[:whole])
				for range body - 1 {
					if _, err := io.WriteString(conn, "x"); err != nil {
						break
					}
					select {
					case <-ctx.Done():
					case <-time.After(500 * time.Millisecond):
					}
				}
			}
			// Until the server has enough, or the test.
			defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })()
			io.Copy(io.Discard, conn)
		})
	}
	for began := time.Now(); s.Stats().Connections < 512; runtime.Gosched() {
		if time.Since(began) > limit {
			t.Fatalf("%d connections", s.Stats().Connections)
		}
	}
	var honest sync.WaitGroup
	for range 64 {
		honest.Go(func() {
			for range 10 {
				// A connection each, so that each has to get its turn.
				if resp, got := raw(t, address, post("/add-checkpoint", strings.Repeat("y", body))); resp.StatusCode != 200 {
					t.Errorf("%s %q", resp.Status, got)
				}
			}
		})
	}
	honest.Wait()
	st := s.Stats()
	if st.Connections > 512 || st.BodyBytes > 16<<20 {
		t.Errorf("%d connections, bodies of %d bytes", st.Connections, st.BodyBytes)
	}
	// The buffers of 512 connections, and those of the clients here.
	if after := heap(); after > before+32<<20 {
		t.Errorf("the heap grew from %d to %d KiB", before>>10, after>>10)
	}
}

func TestNoGoroutineStays(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("used", func(t *testing.T) {
		_, address := start(t, server.Config{})
		for i := range 20 {
			conn := dial(t, address, byte(1+i%3))
			io.WriteString(conn, []string{post("/add-checkpoint", "x"), stalled, "POST", "nonsense\r\n\r\n"}[i%4])
		}
		raw(t, address, post("/add-checkpoint", "x"))
	})
	for began := time.Now(); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Since(began) > limit {
			var stacks [1 << 16]byte
			t.Fatalf("%d goroutines, before %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks[:], true)])
		}
	}
}
