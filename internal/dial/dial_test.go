package dial

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/jsonrpc"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// server answers with the authorization that it got.
type server struct {
	pb.UnimplementedLogServer
}

func (server) GetCheckpoint(ctx context.Context, _ *pb.GetCheckpointRequest) (*pb.GetCheckpointResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	return &pb.GetCheckpointResponse{Checkpoint: strings.Join(md.Get("authorization"), ", ")}, nil
}

func (server) ListEntries(r *pb.ListEntriesRequest, s grpc.ServerStreamingServer[pb.ListEntriesResponse]) error {
	if err := s.Send(&pb.ListEntriesResponse{Entries: []string{"one"}}); err != nil {
		return err
	}
	return status.Error(codes.Unavailable, "going away")
}

// The log's server of each scheme, and a file with the authority of those with TLS.
func servers(t *testing.T) (urls []string, caFile string) {
	t.Helper()
	api := jsonrpc.NewHandler(&pb.Log_ServiceDesc, server{}, jsonrpc.Options{})
	plain, secure := httptest.NewServer(api), httptest.NewTLSServer(api)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	urls = []string{plain.URL, secure.URL}
	for scheme, opts := range map[string][]grpc.ServerOption{
		"grpc":  nil,
		"grpcs": {grpc.Creds(credentials.NewServerTLSFromCert(&secure.TLS.Certificates[0]))},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := grpc.NewServer(opts...)
		pb.RegisterLogServer(s, server{})
		go s.Serve(l)
		t.Cleanup(s.Stop)
		urls = append(urls, scheme+"://"+l.Addr().String())
	}
	return urls, write(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600)
}

func write(t *testing.T, name string, b []byte, mode os.FileMode) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, b, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

func dialed(t *testing.T, url string, o Options) *Conn {
	t.Helper()
	c, err := Dial(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestEveryScheme(t *testing.T) {
	urls, ca := servers(t)
	token := write(t, "token", []byte("s3cret\n"), 0o600)
	for _, url := range urls {
		o := Options{TokenFile: token, UserAgent: "test/1"}
		if strings.Contains(url, "s://") {
			o.CAFile = ca
		}
		c := dialed(t, url, o)
		r, err := pb.NewLogClient(c).GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{})
		if err != nil || r.Checkpoint != "Bearer s3cret" {
			t.Errorf("%s: %v, %v", url, r, err)
		}
		s, err := pb.NewLogClient(c).ListEntries(t.Context(), &pb.ListEntriesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Errorf("%s: the first message of a stream: %v", url, err)
		}
		if _, err := s.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), url) {
			t.Errorf("%s: the end of a stream: %v", url, err)
		}
		if o.CAFile == "" {
			continue
		}
		// Without the authority, nothing is said to the server.
		_, err = pb.NewLogClient(dialed(t, url, Options{})).GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{})
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s with an unknown certificate: %v", url, err)
		}
	}
}

func TestURLs(t *testing.T) {
	for _, url := range []string{"", "log.example", "log.example:443", "ftp://log.example", "https://", "http://:80", "grpc://log.example", "grpcs://log.example/pause",
		"https://me:secret@log.example", "https://log.example/?a=b", "https://log.example/?", "https://log.example/#a", "https://log.example:port", "https://log .example", "://"} {
		if c, err := Dial(url, Options{}); !errors.Is(err, ErrURL) {
			t.Errorf("%q: %v, %v", url, c, err)
		}
	}
	for url, trusted := range map[string]bool{
		"https://log.example/pause": true, "grpcs://log.example": true, "grpcs://[2001:db8::1]:7150": true,
		"http://log.example": false, "grpc://192.0.2.1:7150": false, "http://localhost.example": false, "http://127.0.0.1.example": false,
		"http://localhost:1": true, "grpc://127.0.0.1:1": true, "grpc://[::1]:1": true, "http://127.1.2.3": true,
	} {
		if c := dialed(t, url, Options{}); c.Trusted != trusted {
			t.Errorf("%s is trusted: %v", url, c.Trusted)
		}
	}
}

func TestTokens(t *testing.T) {
	good := write(t, "token", []byte("s3cret\n"), 0o600)
	for _, url := range []string{"http://log.example", "grpc://192.0.2.1:1"} {
		if _, err := Dial(url, Options{TokenFile: good}); err == nil || !strings.Contains(err.Error(), "refusing to send the token") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", url, err)
		}
	}
	for name, content := range map[string]string{"empty": "", "blank": "\n", "two lines": "a\nb\n", "space": "a b", "control": "a\x00", "large": strings.Repeat("a", maxSecret+1)} {
		if _, err := Dial("https://log.example", Options{TokenFile: write(t, "token", []byte(content), 0o600)}); !errors.Is(err, errNoSecret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Dial("https://log.example", Options{TokenFile: "missing"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	warned := ""
	dialed(t, "https://log.example", Options{TokenFile: good, Warn: func(s string) { warned += s }})
	if warned != "" {
		t.Errorf("warned of a file with mode 600: %s", warned)
	}
	open := write(t, "token", []byte("s3cret"), 0o644)
	dialed(t, "https://log.example", Options{TokenFile: open, Warn: func(s string) { warned += s }})
	if !strings.Contains(warned, "chmod 600 "+open) {
		t.Errorf("a file that everyone can read: %q", warned)
	}
}

func TestCertificates(t *testing.T) {
	for name, o := range map[string]Options{
		"no CA file":     {CAFile: "missing"},
		"no PEM":         {CAFile: write(t, "ca", []byte("x"), 0o600)},
		"no key":         {CertFile: "cert"},
		"no certificate": {KeyFile: "key"},
		"missing both":   {CertFile: "missing", KeyFile: "missing"},
	} {
		if _, err := Dial("https://log.example", o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Dial("http://127.0.0.1", Options{CAFile: "x"}); err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("certificates without TLS: %v", err)
	}
}

// Errors say what was tried, what came back, and what to do.
func TestErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path[:5] {
		case "/away":
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
		case "/end/": // never comes
			w.Header().Set("Content-Type", "application/json")
			for {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
					return
				}
			}
		default:
			io.WriteString(w, "<html>")
		}
	}))
	defer page.Close()
	for _, tt := range []struct {
		url  string
		code codes.Code
		want string
	}{
		{"grpc://" + closed, codes.Unavailable, "grpc://" + closed + " cannot be reached: dial tcp " + closed + ": connect: connection refused: is the URL right"},
		{"http://" + closed, codes.Unavailable, "http://" + closed + " cannot be reached: "},
		{page.URL, codes.Internal, page.URL + " gave no answer that can be read: "},
		{page.URL + "/away", codes.Internal, "a redirect to https://elsewhere.example/"},
		{page.URL + "/end", codes.ResourceExhausted, "is it the URL of a log?"},
		{strings.Replace(page.URL, "http", "grpc", 1), codes.Unavailable, "cannot be reached"},
	} {
		_, err := pb.NewLogClient(dialed(t, tt.url, Options{})).GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{})
		if status.Code(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %v and %q", tt.url, err, tt.code, tt.want)
		}
	}
}

// A server that takes the connection and says nothing must not hang a caller.
func TestSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, scheme := range []string{"http", "grpc"} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := pb.NewLogClient(dialed(t, scheme+"://"+l.Addr().String(), Options{})).GetCheckpoint(ctx, &pb.GetCheckpointRequest{})
		cancel()
		if c := status.Code(err); c != codes.DeadlineExceeded && c != codes.Unavailable {
			t.Errorf("%s: %v", scheme, err)
		}
	}
	// Without a deadline of the caller's, a call has one of its own.
	ctx, cancel := limited(t.Context())
	defer cancel()
	if end, ok := ctx.Deadline(); !ok || time.Until(end) > callTime {
		t.Errorf("deadline %v, %v", end, ok)
	}
}
