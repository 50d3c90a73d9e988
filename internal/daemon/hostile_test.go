package daemon_test

import (
	"bufio"

	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// heap is what is in use once all garbage is gone.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // a pool keeps its content for one collection
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// raw sends bytes to an address, and reads the answer.
func raw(t testing.TB, address, request string) (*http.Response, string) {
	t.Helper()
	r, body, err := tryRaw(address, request)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	return r, body
}

// rawToo sends what is too much, several times: each is answered with this status, or cut off
// while it is still sending; to be always cut off would not be clear. It returns an answer.
func rawToo(t testing.TB, address, request string, status int) (body string) {
	t.Helper()
	answered := false
	for range 10 {
		r, b, err := tryRaw(address, request)
		switch {
		case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
			continue
		case err != nil:
			t.Fatalf("%.60q: %v", request, err)
		case r.StatusCode != status:
			t.Fatalf("%.60q: %s %.200s, want %d", request, r.Status, b, status)
		}
		if answered, body = true, b; len(request) > 4<<20 {
			break // one is enough of these
		}
	}
	if !answered {
		t.Errorf("%.60q: never answered", request)
	}
	return body
}

func tryRaw(address, request string) (*http.Response, string, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(limit))
	go io.WriteString(conn, request) // the server need not take all of it
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r, string(b), err
}

// rawCodec sends bytes as they are, whatever the server may expect.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (rawCodec) Unmarshal(mem.BufferSlice, any) error { return nil }

var _ encoding.CodecV2 = rawCodec{}

// What hostile clients do, each until it is over. Every one gets a clear answer or is cut off.
var hostile = map[string]func(*testing.T, *server){
	"gRPC messages over 1 MiB": func(t *testing.T, s *server) {
		client := s.client(t)
		big := changed(upload(0), func(u *pb.Submission) { u.Path = strings.Repeat("x", 1<<20) })
		for range 20 {
			_, err := client.Submit(t.Context(), &pb.SubmitRequest{Submission: big})
			if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "larger than max") {
				t.Fatal(err)
			}
			stream, err := client.SubmitStream(t.Context())
			if err == nil {
				stream.Send(&pb.SubmitStreamRequest{Submissions: []*pb.Submission{big}})
				_, err = stream.Recv()
			}
			if status.Code(err) != codes.ResourceExhausted {
				t.Fatal(err)
			}
		}
	},
	"messages that are no protobuf": func(t *testing.T, s *server) {
		conn := s.dial(t, nil, grpc.WithPerRPCCredentials(bearer(secret)), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})))
		for _, m := range []string{"\xff", "\x0a\xff\xff\xff\xff\x0f", strings.Repeat("\x0a", 100_000), "\x0a\x05\x12\x03\xff\xfe\xfd"} {
			for _, method := range []string{pb.Log_Submit_FullMethodName, pb.Log_Lookup_FullMethodName} {
				if err := conn.Invoke(t.Context(), method, []byte(m), nil); status.Code(err) == codes.OK || status.Code(err) == codes.Unavailable {
					t.Errorf("%s of %.20q: %v", method, m, err)
				}
			}
		}
		if err := conn.Invoke(t.Context(), "/pauselog.v1.Log/NoSuch", []byte{}, nil); status.Code(err) != codes.Unimplemented {
			t.Errorf("an unknown method: %v", err)
		}
	},
	"gRPC headers of 8 MiB": func(t *testing.T, s *server) {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x", strings.Repeat("x", 8<<20))
		if _, err := s.client(t).GetCheckpoint(ctx, &pb.GetCheckpointRequest{}); err == nil {
			t.Error("it was taken")
		}
	},
	"HTTP bodies over 1 MiB": func(t *testing.T, s *server) {
		for _, n := range []int{1<<20 + 1, 16 << 20} {
			for _, path := range []string{"Submit", "Lookup", "SubmitStream"} {
				body := strings.Repeat(" ", n)
				// Whether it is announced or comes in pieces, the client sees the answer.
				for _, framing := range []string{fmt.Sprintf("Content-Length: %d\r\n\r\n%s", n, body), fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", n, body)} {
					answer := rawToo(t, s.HTTP, "POST /pauselog.v1.Log/"+path+" HTTP/1.1\r\nHost: log\r\nAuthorization: Bearer "+secret+"\r\n"+framing, 413)
					if !strings.Contains(answer, `"reason":"invalid"`) {
						t.Errorf("%s of %d bytes: %s", path, n, answer)
					}
				}
			}
		}
	},
	"HTTP headers of 8 MiB": func(t *testing.T, s *server) {
		long := strings.Repeat("x", 8<<20)
		for _, request := range []string{"GET /checkpoint HTTP/1.1\r\nHost: log\r\nX: " + long + "\r\n\r\n", "GET /" + long + " HTTP/1.1\r\nHost: log\r\n\r\n"} {
			rawToo(t, s.HTTP, request, 431)
		}
	},
	"JSON that is none": func(t *testing.T, s *server) {
		for _, body := range []string{"", "{", "[]", "null", "7", `"x"`, `{"submission": 7}`, `{"submission": {"kind": 7}}`, `{"sub": {}}`, `{"wait": "WAIT_FOREVER"}`,
			`{} {}`, "{}x", "\xff\xfe", `{"submission": {"path": "\ud800"}}`, strings.Repeat("[", 100_000), strings.Repeat(`{"submission":`, 50_000), `{"submission": {"size": 1e400}}`} {
			r, answer := raw(t, s.HTTP, fmt.Sprintf("POST /pauselog.v1.Log/Submit HTTP/1.1\r\nHost: log\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", secret, len(body), body))
			if r.StatusCode != 400 || !strings.Contains(answer, `"reason":"invalid"`) || len(answer) > 2000 {
				t.Errorf("%.40q: %s %.200s", body, r.Status, answer)
			}
		}
	},
	"absurd requests": func(t *testing.T, s *server) {
		for request, want := range map[string]int{
			"GET /pauselog.v1.Log/../checkpoint HTTP/1.1":                404,
			"GET /pauselog.v1.Log//GetCheckpoint HTTP/1.1":               404,
			"GET /pauselog.v1.Log/GetCheckpoint/ HTTP/1.1":               404,
			"GET /pauselog.v1.Log HTTP/1.1":                              404,
			"GET /pauselog.v1.Other/GetCheckpoint HTTP/1.1":              404,
			"GET //checkpoint HTTP/1.1":                                  404,
			"GET /tile/../checkpoint HTTP/1.1":                           404,
			"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1":                     404,
			"GET /tile/0/%30%30%30 HTTP/1.1":                             404,
			"GET /proof/" + strings.Repeat("../", 1000) + " HTTP/1.1":    404,
			"GET /tile/0/" + strings.Repeat("x000/", 1000) + " HTTP/1.1": 404,
			"GET /checkpoint HTTP/9.9":                                   505,
			"GET /che ckpoint HTTP/1.1":                                  400,
			"GET /%zz HTTP/1.1":                                          400,
			"GET checkpoint HTTP/1.1":                                    400,
			"* * *":                                                      400,
			"CONNECT /checkpoint HTTP/1.1":                               405,
			"OPTIONS * HTTP/1.1":                                         200, // net/http's own
			"PRI * HTTP/2.0":                                             405,
			"DELETE /checkpoint HTTP/1.1":                                405,
			"PUT /pauselog.v1.Log/Submit HTTP/1.1":                       405,
			"GET /pauselog.v1.Log/Submit HTTP/1.1":                       405,
		} {
			r, _ := raw(t, s.HTTP, request+"\r\nHost: log\r\nConnection: close\r\n\r\n")
			if r.StatusCode != want || r.Header.Get("Location") != "" {
				t.Errorf("%.60q: %s, want %d", request, r.Status, want)
			}
		}
	},
	"submissions without a token": func(t *testing.T, s *server) {
		client := pb.NewLogClient(s.dial(t, nil, grpc.WithPerRPCCredentials(bearer("guessed"))))
		big := &pb.SubmitStreamRequest{}
		for n := range 1024 {
			big.Submissions = append(big.Submissions, upload(n))
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					if _, err := client.Submit(context.Background(), &pb.SubmitRequest{Submission: upload(0)}); status.Code(err) != codes.Unauthenticated {
						t.Error(err)
					}
				}
				for range 10 {
					stream, err := client.SubmitStream(context.Background())
					if err == nil {
						for stream.Send(big) == nil {
						}
						_, err = stream.Recv()
					}
					if status.Code(err) != codes.Unauthenticated {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		// Over HTTP the client sends without end, and sees the answer before it is cut off.
		endless := strings.Repeat(strings.ReplaceAll(`{"submissions": []}`, " ", strings.Repeat(" ", 1000))+"\n", 2000)
		answer := rawToo(t, s.HTTP, "POST /pauselog.v1.Log/SubmitStream HTTP/1.1\r\nHost: log\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000000000\r\n\r\n"+endless, 401)
		if !strings.Contains(answer, `"reason":"unauthenticated"`) {
			t.Error(answer)
		}
	},
	"clients that stall": func(t *testing.T, s *server) {
		var conns []net.Conn
		for i := range 200 {
			conn, err := net.Dial("tcp", s.HTTP)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			request := "POST /pauselog.v1.Log/Submit HTTP/1.1\r\nHost: log\r\nContent-Length: 1000000\r\n\r\n{"
			if i%2 == 0 {
				request = "G" // not even the headers
			}
			io.WriteString(conn, request)
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			conn.SetReadDeadline(time.Now().Add(limit))
			// The server ends it: with an answer, without, or by a reset.
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("a client that stalls is kept")
			}
		}
	},
	"clients that do not read": func(t *testing.T, s *server) {
		// They ask for much, as long as the log takes their requests.
		request := []byte(strings.Repeat("GET /pauselog.v1.Log/ListEntries HTTP/1.1\r\nHost: log\r\n\r\n", 1000))
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				conn, err := net.Dial("tcp", s.HTTP)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				conn.(*net.TCPConn).SetReadBuffer(4096)
				conn.SetWriteDeadline(time.Now().Add(limit))
				for err == nil {
					_, err = conn.Write(request)
				}
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("a client that does not read is kept")
				}
			})
		}
		wg.Wait()
	},
	"2,000 idle connections": func(t *testing.T, s *server) {
		for _, address := range []string{s.HTTP, s.GRPC} {
			var conns []net.Conn
			for range 2000 {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				conns = append(conns, conn)
			}
			for _, conn := range conns {
				conn.Close()
			}
		}
	},
}

func changed(u *pb.Submission, change func(*pb.Submission)) *pb.Submission {
	change(u)
	return u
}

// After all of it the log serves as before, and has not grown.
//
// The bound: what a connection or a call holds is given back when it ends, so that what may stay is
// pools and tables that keep their largest size: net/http's and gRPC's buffers (some 10 KiB for
// each of the connections at one time, at most 1,024 on two addresses, of which a collection
// frees most), and Pebble's. That is below 16 MiB; a leak of what is sent here, more
// than 500 MB, or of 16 KiB for each of the 5,000 connections, is far above it.
func TestHostileClients(t *testing.T) {
	const bound = 16 << 20
	c := config(newFolder(t))
	c.Stall = 300 * time.Millisecond
	s := start(t, c)
	client := s.client(t)
	submit(t, client, 0, 600)
	before := heap()
	for name, attack := range hostile {
		t.Run(name, func(t *testing.T) {
			attack(t, s)
			// A normal client is served at once.
			if _, err := client.GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{}); err != nil {
				t.Error(err)
			}
			if status, body := read(t, "http://"+s.HTTP+"/tile/0/000"); status != 200 || len(body) != 256*32 {
				t.Errorf("/tile/0/000: %d with %d bytes", status, len(body))
			}
			if status, body := read(t, "http://"+s.Admin+"/healthz"); status != 200 {
				t.Errorf("/healthz: %d %s", status, body)
			}
		})
	}
	submit(t, client, 600, 601)
	http.DefaultClient.CloseIdleConnections()
	// What was cut off may take a moment to be given back.
	var after uint64
	for began := time.Now(); time.Since(began) < limit; {
		if after = heap(); after <= before+bound {
			break
		}
	}
	t.Logf("heap in use: %d KiB before, %d KiB after", before>>10, after>>10)
	if after > before+bound {
		t.Errorf("the heap grew from %d to %d KiB", before>>10, after>>10)
	}
}

// A stream may be silent for longer than a stalling client, if its request was complete.
func TestAWatchOutlivesTheStallLimit(t *testing.T) {
	c := config(newFolder(t))
	c.Stall = 100 * time.Millisecond
	s := start(t, c)
	client := s.client(t)
	r, err := http.Post("http://"+s.HTTP+"/pauselog.v1.Log/WatchCheckpoints", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	began := time.Now()
	for n := 0; time.Since(began) < 4*c.Stall; n++ {
		if !lines.Scan() || strings.Contains(lines.Text(), "error") {
			t.Fatalf("after %v: %q, %v", time.Since(began), lines.Text(), lines.Err())
		}
		submit(t, client, n, n+1)
	}
}
