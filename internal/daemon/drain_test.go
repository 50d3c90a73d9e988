package daemon_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/frontend"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// With submissions on their way from all sides the log is told to end. Each is answered: with its entry,
// or with the word that the log is closing; and what the log then holds is exactly
// what was answered.
func TestDrainAnswersWhatWasSubmitted(t *testing.T) {
	f := newFolder(t)
	s := start(t, config(f))
	const callers = 8
	var mu sync.Mutex
	logged := map[uint64]string{} // what was acknowledged: index to path
	acknowledge := func(r *pb.SubmitResult, path string) {
		mu.Lock()
		defer mu.Unlock()
		if was, ok := logged[r.Index]; ok {
			t.Errorf("index %d was given to %s and %s", r.Index, was, path)
		}
		logged[r.Index] = path
	}
	started := make(chan struct{}, 2*callers)
	var wg sync.WaitGroup
	for caller := range callers {
		client := s.client(t)
		wg.Go(func() { // one at a time
			for n := caller * 1_000_000; ; n++ {
				r, err := client.Submit(context.Background(), &pb.SubmitRequest{Submission: upload(n)})
				if err != nil {
					// Closing, or the connection was refused; but never a call that was cut off.
					if status.Code(err) != codes.Unavailable {
						t.Errorf("a submission ended with %v", err)
					}
					return
				}
				acknowledge(r.Result, upload(n).Path)
				if n == caller*1_000_000+5 {
					started <- struct{}{}
				}
			}
		})
		stream, err := client.SubmitStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		go func() { // and ahead, without end
			for n := caller*1_000_000 + 500_000; stream.Send(&pb.SubmitStreamRequest{Submissions: []*pb.Submission{upload(n)}}) == nil; n++ {
			}
		}()
		wg.Go(func() {
			for n := caller*1_000_000 + 500_000; ; n++ {
				m, err := stream.Recv()
				if err != nil {
					if reason, _, _ := frontend.Reason(err); reason != frontend.Closing {
						t.Errorf("the stream ended with %v", err)
					}
					return
				}
				acknowledge(m.Results[0], upload(n).Path)
				if n == caller*1_000_000+500_005 {
					started <- struct{}{}
				}
			}
		})
	}
	for range 2 * callers {
		<-started
	}
	s.stop(t)
	wg.Wait()

	client := start(t, config(f)).client(t)
	stream, err := client.ListEntries(t.Context(), &pb.ListEntriesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var at uint64
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range m.Entries {
			if want := "\npath " + logged[at] + "\n"; !strings.Contains(string(e), want) {
				t.Fatalf("entry %d is %q, acknowledged was %q", at, e, logged[at])
			}
			at++
		}
	}
	if int(at) != len(logged) {
		t.Errorf("%d entries are logged, %d were acknowledged", at, len(logged))
	}
}

// halfRequest has sent all of a POST but the last byte of its body: the drain waits for it.
type halfRequest struct {
	conn net.Conn
	last string
}

func sendHalf(t *testing.T, address, body string) *halfRequest {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	// The server asks for the body when the call has begun.
	fmt.Fprintf(conn, "POST /pauselog.v1.Log/Submit HTTP/1.1\r\nHost: log\r\nAuthorization: Bearer %s\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", secret, len(body))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := io.WriteString(conn, body[:len(body)-1]); err != nil {
		t.Fatal(err)
	}
	return &halfRequest{conn, body[len(body)-1:]}
}

// finish sends the rest, and returns the answer.
func (h *halfRequest) finish(t *testing.T) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(h.conn, h.last); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(h.conn)
	for {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 0 {
			return r, string(b)
		}
	}
}

// While it drains the log says so to whoever asks, ends what only waits, and takes nothing new.
func TestDrainIsSeen(t *testing.T) {
	s := start(t, config(newFolder(t)))
	client := s.client(t)
	submit(t, client, 0, 1)
	conn := s.dial(t, nil)
	healthCtx, endHealth := context.WithCancel(t.Context())
	healthWatch, err := grpc_health_v1.NewHealthClient(conn).Watch(healthCtx, &grpc_health_v1.HealthCheckRequest{Service: "pauselog.v1.Log"})
	if err != nil {
		t.Fatal(err)
	}
	wantStatus := func(want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if m, err := healthWatch.Recv(); err != nil || m.Status != want {
			t.Errorf("health: %v, %v, want %v", m, err, want)
		}
	}
	wantStatus(grpc_health_v1.HealthCheckResponse_SERVING)
	checkpoints, err := client.WatchCheckpoints(t.Context(), &pb.WatchCheckpointsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoints.Recv(); err != nil {
		t.Fatal(err)
	}
	overHTTP, err := http.Get("http://" + s.HTTP + "/pauselog.v1.Log/WatchCheckpoints")
	if err != nil {
		t.Fatal(err)
	}
	defer overHTTP.Body.Close()
	lines := bufio.NewScanner(overHTTP.Body)
	if !lines.Scan() || !strings.Contains(lines.Text(), "checkpoint") {
		t.Fatalf("%q, %v", lines.Text(), lines.Err())
	}
	idle, err := client.SubmitStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := idle.Send(&pb.SubmitStreamRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.Recv(); err != nil {
		t.Fatal(err)
	}
	half := sendHalf(t, s.HTTP, submission(t, 1))

	s.cancel()
	// First it is known not to serve.
	wantStatus(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	endHealth()
	if status, body := read(t, "http://"+s.Admin+"/readyz"); status != 503 || body != "draining\n" {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if status, body := read(t, "http://"+s.Admin+"/healthz"); status != 200 {
		t.Errorf("/healthz: %d %s", status, body)
	}
	// What waits for something that will not come ends, with the word for it.
	for name, receive := range map[string]func() error{
		"WatchCheckpoints": func() error { _, err := checkpoints.Recv(); return err },
		"SubmitStream":     func() error { _, err := idle.Recv(); return err },
	} {
		if reason, _, _ := frontend.Reason(receive()); reason != frontend.Closing {
			t.Errorf("%s ended with %q", name, reason)
		}
	}
	if !lines.Scan() || !strings.Contains(lines.Text(), `"reason":"closing"`) || lines.Scan() {
		t.Errorf("over HTTP the last line is %q, %v", lines.Text(), lines.Err())
	}
	// And who was in the middle of a request is told to come back.
	r, body := half.finish(t)
	if r.StatusCode != 503 || r.Header.Get("Retry-After") != "2" || !strings.Contains(body, `"reason":"closing"`) {
		t.Errorf("%s, Retry-After %q: %s", r.Status, r.Header.Get("Retry-After"), body)
	}
	s.stop(t)
	if _, err := net.Dial("tcp", s.HTTP); err == nil {
		t.Error("the address is still served")
	}
}
