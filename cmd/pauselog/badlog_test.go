package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// A log that is not there, answers nothing or answers nonsense: monitoring says so, the agent neither gives up nor spins, and as soon
// as the log is as it should be, everything is logged.
func TestAgentWithABadLog(t *testing.T) {
	t.Parallel()
	s := newSite(t, 0)
	s.startLog()
	serve := func(h http.HandlerFunc) func(net.Listener) {
		return func(l net.Listener) { (&http.Server{Handler: h, ReadHeaderTimeout: time.Minute}).Serve(l) }
	}
	page := serve(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>it works</html>") })
	cases := []struct {
		name, scheme string
		fault        func(net.Listener) // nil: nobody listens
		says         string             // besides that something waits for too long
	}{
		{"nobody listens, gRPC", "grpc", nil, "connection refused"},
		{"nobody listens, HTTP", "http", nil, "connection refused"},
		{"silence, gRPC", "grpc", eachConn(func(net.Conn) {}), ""},
		{"silence, HTTP", "http", eachConn(func(net.Conn) {}), ""},
		{"resets, gRPC", "grpc", eachConn(reset), "cannot be reached"},
		{"resets, HTTP", "http", eachConn(reset), "cannot be reached"},
		{"a web page, gRPC", "grpc", page, "cannot be reached"},
		{"a web page, HTTP", "http", page, "no answer that can be read"},
		{"error 500", "http", serve(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "a fault", 500) }), "500"},
		{"it never answers, HTTP", "http", serve(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), ""},
		{"it never answers, gRPC", "grpc", nonsense(func(s grpc.ServerStream, _ *pb.SubmitStreamRequest) error {
			<-s.Context().Done()
			return s.Context().Err()
		}), ""},
		{"errors", "grpc", nonsense(func(grpc.ServerStream, *pb.SubmitStreamRequest) error { return status.Error(codes.Internal, "a fault") }), "a fault"},
		{"too few results", "grpc", nonsense(func(s grpc.ServerStream, _ *pb.SubmitStreamRequest) error {
			return s.SendMsg(&pb.SubmitStreamResponse{})
		}), "0 results for 1 submissions"},
		{"results of something else", "grpc", nonsense(func(s grpc.ServerStream, r *pb.SubmitStreamRequest) error {
			x := r.Submissions[0]
			text := strings.Join([]string{"pauselog/v1", "kind upload", "path " + x.Path + ".gz", "sha256 " + x.Sha256, "size 1", "time " + x.Time, "by -", "seen upload", ""}, "\n")
			return s.SendMsg(&pb.SubmitStreamResponse{Results: []*pb.SubmitResult{{Entry: text, LeafHash: make([]byte, 32)}}})
		}), "does not verify"},
	}

	type patient struct {
		*site
		front *front
		file  string
	}
	var patients []patient
	for i, tt := range cases {
		p := patient{site: s.beside(t), front: newFront(t, tt.fault), file: string(rune('A'+i)) + "-1.tar.gz"}
		p.server = tt.scheme + "://" + p.front.address
		p.front.target = map[string]string{"grpc": s.grpc, "http": s.http}[tt.scheme]
		p.startAgent("--walk-rate", "0")
		p.publish(p.file, tt.name)
		patients = append(patients, p)
	}
	for i, p := range patients {
		p.awaitStatus(cases[i].name, "2s", 13, "behind: 1 in the spool", cases[i].says)
	}
	for i, p := range patients {
		if n := p.front.accepted.Load(); n > 60 {
			t.Errorf("%s: %d connections within seconds", cases[i].name, n)
		}
		p.front.mend()
	}
	for i, p := range patients {
		p.drained()
		p.awaitStatus(cases[i].name+", mended", "2s", 0)
		p.agent.stop(t)
		// It lived for two seconds at least in which there was nothing to be done.
		if used := p.agent.cmd.ProcessState.UserTime() + p.agent.cmd.ProcessState.SystemTime(); used > 1500*time.Millisecond {
			t.Errorf("%s: %v of CPU time", cases[i].name, used)
		}
	}
	s.awaitLogged(len(cases))
}

// beside returns another machine with a hook and an agent, for the same log.
func (s *site) beside(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	n := &site{t: t, dir: dir, root: filepath.Join(dir, "cpan"), backpan: filepath.Join(dir, "backpan"), spoolDir: filepath.Join(dir, "spool"), state: filepath.Join(dir, "agent"), home: filepath.Join(dir, "home"), policy: s.policy, token: s.token, grpc: s.grpc, http: s.http}
	if err := os.MkdirAll(filepath.Join(n.root, examples), 0o755); err != nil {
		t.Fatal(err)
	}
	n.openSpool()
	return n
}

// A front is an address behind which there is something bad, until it is mended: then the real log is behind it.
type front struct {
	t        *testing.T
	address  string
	target   string
	accepted atomic.Int64

	mu     sync.Mutex
	mended bool
	l      net.Listener
	conns  []net.Conn
	bad    chan net.Conn
}

func newFront(t *testing.T, fault func(net.Listener)) *front {
	t.Helper()
	f := &front{t: t, address: freeAddress(t), bad: make(chan net.Conn)}
	t.Cleanup(f.close)
	if fault != nil {
		f.listen()
		go fault(f)
	}
	return f
}

func (f *front) listen() {
	f.t.Helper()
	l, err := net.Listen("tcp", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.l = l
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.accepted.Add(1)
			f.mu.Lock()
			f.conns = append(f.conns, c)
			mended := f.mended
			f.mu.Unlock()
			if mended {
				go f.relay(c)
			} else {
				f.bad <- c
			}
		}
	}()
}

func (f *front) relay(c net.Conn) {
	defer c.Close()
	out, err := net.Dial("tcp", f.target)
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		io.Copy(out, c)
		out.Close()
	}()
	io.Copy(c, out)
}

// mend ends the bad connections; new ones are good.
func (f *front) mend() {
	f.t.Helper()
	f.mu.Lock()
	f.mended = true
	for _, c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	if f.l == nil {
		f.listen()
	}
}

func (f *front) close() {
	if f.l != nil {
		f.l.Close()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.Close()
	}
}

// Accept, Close and Addr are for the server of the fault.
func (f *front) Accept() (net.Conn, error) {
	select {
	case c := <-f.bad:
		return c, nil
	case <-f.t.Context().Done():
		return nil, net.ErrClosed
	}
}
func (f *front) Close() error   { return nil }
func (f *front) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func eachConn(do func(net.Conn)) func(net.Listener) {
	return func(l net.Listener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			do(c)
		}
	}
}

func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

// nonsense is a gRPC server that answers streams of submissions as it likes.
func nonsense(answer func(grpc.ServerStream, *pb.SubmitStreamRequest) error) func(net.Listener) {
	return func(l net.Listener) {
		s := grpc.NewServer()
		pb.RegisterLogServer(s, &nonsenseLog{answer: answer})
		s.Serve(l)
	}
}

type nonsenseLog struct {
	pb.UnimplementedLogServer
	answer func(grpc.ServerStream, *pb.SubmitStreamRequest) error
}

func (n *nonsenseLog) SubmitStream(s pb.Log_SubmitStreamServer) error {
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = n.answer(s, r)
		}
		if err != nil {
			return err
		}
	}
}

func (n *nonsenseLog) GetCheckpoint(ctx context.Context, _ *pb.GetCheckpointRequest) (*pb.GetCheckpointResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
