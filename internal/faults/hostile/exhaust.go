package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// hugeHeads sends heads that are larger than any limit.
func hugeHeads(ctx context.Context, t *target, _ scale, s *score) error {
	long := strings.Repeat("x", 2<<20)
	for name, r := range map[string]string{
		"a field of 2 MiB":  request("GET", t.get, "X: "+long),
		"a path of 2 MiB":   request("GET", "/"+long),
		"200,000 fields":    request("GET", t.get, strings.TrimSuffix(strings.Repeat("X: y\r\n", 200_000), "\r\n")),
		"a method of 2 MiB": request(long, "/"),
	} {
		a, err := ask(ctx, t, s, r)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if a.status != 431 && a.status != 414 && a.status != 400 {
			return fmt.Errorf("%s: status %d, expected 431, 414 or 400", name, a.status)
		}
	}
	return nil
}

// hugeBodies sends what no limit allows, announced and in pieces, at the same time: a server that takes it has it in memory.
func hugeBodies(ctx context.Context, t *target, size scale, s *score) error {
	const clients = 4
	var wg sync.WaitGroup
	errs := make(chan error, clients)
	for i := range clients {
		wg.Go(func() {
			framing := fmt.Sprintf("Content-Length: %d", size.body)
			if i%2 == 1 {
				framing = "Transfer-Encoding: chunked"
			}
			sent, code, err := pour(ctx, t, framing, size.body)
			s.inputs.Add(1)
			switch {
			case err != nil:
				errs <- fmt.Errorf("%s: %w", framing, err)
			case code != 0 && (code < 400 || code >= 500):
				errs <- fmt.Errorf("%s: status %d, expected one of 4xx", framing, code)
			case sent >= size.body:
				errs <- fmt.Errorf("%s: all %d bytes were taken", framing, sent)
			default:
				s.refused.Add(1)
			}
		})
	}
	wg.Wait()
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

// pour posts a body until the server has had enough of it, and returns how much was sent and the status of the answer, 0 if the
// client was cut off before it saw one.
func pour(ctx context.Context, t *target, framing string, n int64) (sent int64, status int, err error) {
	conn, err := connect(ctx, t.http)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		return 0, 0, err
	}
	head := request("POST", t.post, "Content-Type: application/json", "Authorization: Bearer "+t.token, framing)
	if t.token == "" {
		head = request("POST", t.post, framing)
	}
	answered := make(chan int, 1)
	go func() {
		defer close(answered)
		// "HTTP/1.1 413 ..."
		line := make([]byte, 12)
		if _, err := io.ReadFull(conn, line); err == nil {
			var code int
			if _, err := fmt.Sscanf(string(line), "HTTP/1.1 %d", &code); err == nil {
				answered <- code
			}
		}
	}()
	if _, err := io.WriteString(conn, head); err != nil {
		return 0, 0, err
	}
	piece := bytes.Repeat([]byte(" "), 64<<10)
	if strings.HasPrefix(framing, "Transfer") {
		piece = []byte(fmt.Sprintf("%x\r\n%s\r\n", len(piece), piece))
	}
	for sent < n {
		m, err := conn.Write(piece)
		sent += int64(m)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return sent, 0, fmt.Errorf("neither answered nor cut off after %d bytes and %v", sent, 2*patience)
		}
		if err != nil {
			break
		}
	}
	if sent >= n && strings.HasPrefix(framing, "Transfer") {
		_, _ = io.WriteString(conn, "0\r\n\r\n") // the end, for one that took it all
	}
	return sent, <-answered, nil
}

// cancelled gives calls up at every moment of theirs.
func cancelled(ctx context.Context, t *target, size scale, s *score) error {
	calls := size.frames / 40
	if t.grpc != "" {
		conn, err := dial(t)
		if err != nil {
			return err
		}
		defer conn.Close()
		client := pb.NewLogClient(conn)
		for i := range calls {
			s.inputs.Add(1)
			short, cancel := context.WithTimeout(ctx, time.Duration(i%50)*20*time.Microsecond)
			_, err := client.Lookup(short, &pb.LookupRequest{By: &pb.LookupRequest_Author{Author: "GOOD"}, PageSize: 1000})
			stream, err2 := client.ListEntries(short, &pb.ListEntriesRequest{})
			if err2 == nil {
				_, err2 = stream.Recv()
			}
			cancel()
			for _, err := range []error{err, err2} {
				if c := status.Code(err); c != codes.OK && c != codes.DeadlineExceeded && c != codes.Canceled && !errors.Is(err, io.EOF) {
					return err
				}
			}
		}
	}
	for i := range calls / 4 {
		s.inputs.Add(1)
		conn, err := connect(ctx, t.http)
		if err != nil {
			return err
		}
		whole := toHost(request("GET", t.get), t)
		_, _ = io.WriteString(conn, whole[:i%(len(whole)+1)]) // what comes of it is not awaited
		if tcp, ok := conn.(*net.TCPConn); ok && i%3 == 1 {
			_ = tcp.SetLinger(0) // a reset
		}
		if tcp, ok := conn.(*net.TCPConn); ok && i%3 == 2 {
			_ = tcp.CloseWrite() // half of it only
			_ = tcp.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, tcp); errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("a connection that ended its half is kept for %v", patience)
			}
		}
		_ = conn.Close()
	}
	return nil
}

// deaf asks for much and reads nothing of it, while the server takes requests.
func deaf(ctx context.Context, t *target, _ scale, s *score) error {
	requests := []byte(strings.Repeat("GET "+t.get+" HTTP/1.1\r\nHost: "+t.http+"\r\n\r\n", 200))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			conn, err := connect(ctx, t.http)
			if err != nil {
				return // others are there already
			}
			defer conn.Close()
			_ = conn.(*net.TCPConn).SetReadBuffer(4096)
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			for err == nil && ctx.Err() == nil {
				s.inputs.Add(200)
				_, err = conn.Write(requests)
			}
		})
	}
	wg.Wait()
	return nil
}

// stall opens connections on which too little comes: nothing, half of a head, a head in drops. Each is ended by the server.
func stall(ctx context.Context, t *target, _ scale, s *score) error {
	const each = 100
	limit := 3*t.head + time.Second
	var wg sync.WaitGroup
	var kept atomic.Int64
	var failed atomic.Value
	for i := range 3 * each {
		wg.Go(func() {
			s.inputs.Add(1)
			conn, err := connect(ctx, t.http)
			if err != nil {
				failed.Store(err)
				return
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			_ = conn.SetDeadline(time.Now().Add(limit))
			switch i % 3 {
			case 1:
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: log.example\r\nX: ")
			case 2:
				go drip(conn)
			}
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				kept.Add(1)
				return
			}
			s.refused.Add(1)
		})
	}
	wg.Wait()
	if err, ok := failed.Load().(error); ok && ctx.Err() == nil {
		return err
	}
	if n := kept.Load(); n > 0 && ctx.Err() == nil {
		return fmt.Errorf("%d of %d clients that send too little are kept for %v, expected an end after %v", n, 3*each, limit, t.head)
	}
	return nil
}

// drip sends a head, a byte at a time, until the connection ends.
func drip(conn net.Conn) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := io.WriteString(conn, "G"); err != nil {
			return
		}
	}
}

// newcomerTime is how long a newcomer may wait when one client has all connections that it can get: longer than any server leaves
// a silent one alone when others wait, and shorter than a time-out of what was idle for long.
const newcomerTime = 10 * time.Second

// kept opens connections, does on each what makes it a good one, a request or the beginning of HTTP/2, and then nothing. Newcomers
// are served meanwhile, and when all are gone.
func kept(ctx context.Context, t *target, _ scale, s *score) error {
	const many = 1100 // more than any of the servers takes
	var wg sync.WaitGroup
	var http, grpc error
	wg.Go(func() {
		http = keep(ctx, t.http, toHost("GET "+t.get+" HTTP/1.1\r\nHost: "+anyHost+"\r\n\r\n", t), many, newcomerTime, s)
	})
	if t.grpc != "" {
		wg.Go(func() {
			grpc = keep(ctx, t.grpc, http2.ClientPreface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00", many, newcomerTime, s)
		})
	}
	wg.Wait()
	if err := errors.Join(http, grpc); err != nil {
		return err
	}
	_, err := ask(ctx, t, s, request("GET", t.get))
	return err
}

// keep opens that many connections, of which those over the limit are newcomers themselves. Each is answered in time.
func keep(ctx context.Context, address, hello string, many int, within time.Duration, s *score) error {
	for i := range many {
		s.inputs.Add(1)
		conn, err := connect(ctx, address)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(within))
		if _, err = io.WriteString(conn, hello); err == nil {
			_, err = conn.Read(make([]byte, 512))
		}
		if err != nil {
			return fmt.Errorf("%s: %d idle connections of one client keep a newcomer out for %v: %w", address, i, within, err)
		}
	}
	return nil
}

// connections opens as many as it can to each of the addresses, keeps them for a moment, and gives them up. Then
// a newcomer is served.
func connections(ctx context.Context, t *target, size scale, s *score) error {
	for _, address := range []string{t.http, t.grpc} {
		if address == "" {
			continue
		}
		if err := crowd(ctx, address, size.connections, s); err != nil {
			return err
		}
	}
	a, err := ask(ctx, t, s, request("GET", t.get))
	if err != nil {
		return fmt.Errorf("after all connections have ended: %w", err)
	}
	if a.status != 200 && a.status != 404 {
		return fmt.Errorf("after all connections have ended: status %d: %.200q", a.status, a.body)
	}
	return nil
}

// crowd opens connections; those that the server's backlog does not take are tried for a short while only.
func crowd(ctx context.Context, address string, n int, s *score) error {
	var mu sync.Mutex
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	dialer := net.Dialer{Timeout: 300 * time.Millisecond}
	var wg sync.WaitGroup
	var fatal atomic.Value
	for range 500 {
		wg.Go(func() {
			for range n / 500 {
				s.inputs.Add(1)
				conn, err := dialer.DialContext(ctx, "tcp", address)
				if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
					return // the backlog is full
				}
				if err != nil {
					fatal.Store(err)
					return
				}
				mu.Lock()
				open = append(open, conn)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err, ok := fatal.Load().(error); ok && ctx.Err() == nil {
		return err
	}
	return nil
}
