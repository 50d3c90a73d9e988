package daemon_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pauselog/pauselog/internal/daemon"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/frontend"
	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

const (
	origin = "log.example/pause"
	secret = "let-me-in"
	local  = "127.0.0.1:0"
)

// permits lets one secret and one certificate submit everything.
type permits struct{ cert *x509.Certificate }

type everything struct{}

func (everything) Allows(entry.Kind, entry.Seen) error { return nil }

func (permits) Bearer(s string) (frontend.Permission, error) {
	if s == secret {
		return everything{}, nil
	}
	return nil, errors.New("unknown token")
}

func (p permits) Certificate(c *x509.Certificate) (frontend.Permission, error) {
	if p.cert != nil && p.cert.Equal(c) {
		return everything{}, nil
	}
	return nil, errors.New("unknown certificate")
}

// bearer sends the token with each call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}
func (bearer) RequireTransportSecurity() bool { return false }

// newFolder makes a log.
func newFolder(t testing.TB) *datafolder.Folder {
	t.Helper()
	f, err := datafolder.Init(filepath.Join(t.TempDir(), "log"), origin, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// config is what the tests run a log with, unless they say otherwise.
func config(f *datafolder.Folder) daemon.Config {
	return daemon.Config{Folder: f, GRPC: local, HTTP: local, Admin: local, Auth: permits{}, Log: slog.New(slog.DiscardHandler),
		Fatal: func(err error) { panic(err) }}
}

// A server is a log that runs.
type server struct {
	daemon.Addresses
	cancel func()
	ended  chan error
}

// start runs a log, and waits until it serves. It ends with the test, or by stop.
func start(t testing.TB, c daemon.Config) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{cancel: cancel, ended: make(chan error, 1)}
	ready := make(chan daemon.Addresses, 1)
	go func() { s.ended <- daemon.Run(ctx, c, func(a daemon.Addresses) { ready <- a }) }()
	select {
	case s.Addresses = <-ready:
	case err := <-s.ended:
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop(t) })
	return s
}

// stop drains.
func (s *server) stop(t testing.TB) {
	t.Helper()
	s.cancel()
	if err, ok := <-s.ended; ok {
		close(s.ended)
		if err != nil {
			t.Error(err)
		}
	}
}

// dial connects with the token; tlsConfig may be nil.
func (s *server) dial(t testing.TB, tlsConfig *tls.Config, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if tlsConfig != nil {
		creds = credentials.NewTLS(tlsConfig)
	}
	conn, err := grpc.NewClient("passthrough:///"+s.GRPC, append(opts, grpc.WithTransportCredentials(creds))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func (s *server) client(t testing.TB) pb.LogClient {
	t.Helper()
	return pb.NewLogClient(s.dial(t, nil, grpc.WithPerRPCCredentials(bearer(secret))))
}

// upload is the submission of the n-th archive.
func upload(n int) *pb.Submission {
	return &pb.Submission{Kind: "upload", Path: fmt.Sprintf("authors/id/E/ET/ETHER/Dist-%d.tar.gz", n), Sha256: fmt.Sprintf("%064x", n),
		Size: uint64(n), Time: "2020-01-01T00:00:00Z", By: "ETHER", Seen: "backfill"}
}

// submit logs the uploads of the numbers from to before to.
func submit(t testing.TB, c pb.LogClient, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		r, err := c.Submit(t.Context(), &pb.SubmitRequest{Submission: upload(n), Wait: pb.Wait_WAIT_PUBLISHED})
		if err != nil || r.Result.Index != uint64(n) {
			t.Fatalf("upload %d: %v, %v", n, r, err)
		}
	}
}

// read gets a URL whole.
func read(t testing.TB, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// wantRefusal runs what must not start, with all of these in its words.
func wantRefusal(t testing.TB, c daemon.Config, words ...string) {
	t.Helper()
	err := daemon.Run(context.Background(), c, func(daemon.Addresses) { t.Error("it serves") })
	if err == nil {
		t.Fatal("no error")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in: %v", w, err)
		}
	}
}
