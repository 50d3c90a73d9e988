package jsonrpc

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pauselogv1 "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// What is between a client and the log may answer in its place. The error says
// what came, and is never about JSON's syntax.
func TestStrangeAnswers(t *testing.T) {
	const page = "<html><h1>Log in to the hotel's network</h1>"
	for _, tt := range []struct {
		name    string
		status  int
		media   string
		body    string
		code    codes.Code
		message []string
	}{
		{"page", 200, "text/html", page, codes.Internal, []string{"200 OK", `"text/html"`, "Log in to the hotel's network"}},
		{"page called JSON", 200, "application/json", page, codes.Internal, []string{"200 OK", "Log in"}},
		{"page called lines", 200, "application/x-ndjson", page + "\n", codes.Internal, []string{"200 OK", "Log in"}},
		{"bad gateway", 502, "text/html", page, codes.Unavailable, []string{"502 Bad Gateway", "Log in"}},
		{"not found", 404, "text/plain", "404 page not found", codes.Internal, []string{"404 Not Found", "404 page not found"}},
		{"rate limit", 429, "", "", codes.Unavailable, []string{"429 Too Many Requests", `content type ""`}},
		{"another API's error", 403, "application/json", `{"error":"forbidden"}`, codes.Internal, []string{"403 Forbidden", "forbidden"}},
		{"error without error", 500, "application/json", `{}`, codes.Unavailable, []string{"500 Internal Server Error"}},
		{"error that is none", 500, "application/json", `{"error":{"code":"OK","message":"m"}}`, codes.Unavailable, []string{"500 Internal Server Error"}},
		{"error of a newer server", 418, "application/json", `{"error":{"code":"TEAPOT","message":"short and stout"}}`, codes.Unknown, []string{"short and stout"}},
		{"redirect", 307, "", "", codes.Internal, []string{"307 Temporary Redirect", "a redirect to /elsewhere"}},
		{"too large", 200, "application/json", `{"entry":"` + strings.Repeat("A", 1000) + `"}`, codes.ResourceExhausted, []string{"over 100 bytes"}},
		{"too large a line", 200, "application/x-ndjson", `{"entry":"` + strings.Repeat("A", 1000) + `"}`, codes.ResourceExhausted, []string{"over 100 bytes"}},
		{"half a line", 200, "application/x-ndjson", `{"start":"1`, codes.Unavailable, []string{"cut off"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := pauselogv1.NewLogClient(overHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					t.Error("followed a redirect")
				}
				w.Header()["Content-Type"] = []string{tt.media}
				w.Header().Set("Location", "/elsewhere")
				if tt.status != http.StatusTemporaryRedirect {
					w.Header().Del("Location")
				}
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			}), false, MaxAnswer(100)))
			check := func(kind string, err error) {
				if status.Code(err) != tt.code {
					t.Errorf("%s: %v, want %v", kind, err, tt.code)
				}
				for _, m := range tt.message {
					if !strings.Contains(err.Error(), m) {
						t.Errorf("%s: %v, lacks %q", kind, err, m)
					}
				}
			}
			if tt.media != "application/x-ndjson" {
				_, err := client.GetEntry(t.Context(), &pauselogv1.GetEntryRequest{})
				check("unary", err)
			}
			if tt.status != 200 || tt.media != "application/json" {
				_, err := all(client.ListEntries(t.Context(), &pauselogv1.ListEntriesRequest{}))
				check("stream", err)
				_, err = bulk(t.Context(), client, "a")
				check("bidi", err)
			}
		})
	}
}

// An answer of a newer server may have more fields than this client knows.
func TestUnknownFieldsInAnswers(t *testing.T) {
	client := pauselogv1.NewLogClient(overHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaJSON)
		io.WriteString(w, `{"index":"1","error":"of measurement","cosigned_by":["w1"]}`)
	}), false))
	if resp, err := client.GetEntry(t.Context(), &pauselogv1.GetEntryRequest{}); err != nil || resp.Index != 1 {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestRequestOnTheWire(t *testing.T) {
	client := pauselogv1.NewLogClient(NewConn(mustParse(t, "http://log.example/prefix/"), &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if got, want := r.Method+" "+r.URL.String()+" "+string(body), `POST http://log.example/prefix/pauselog.v1.Log/GetEntry {}`+"\n"; got != want {
			t.Errorf("request %q, want %q", got, want)
		}
		for name, want := range map[string]string{"Content-Type": mediaJSON, "Accept": mediaJSON, "Accept-Encoding": "identity", "Authorization": "Bearer good"} {
			if got := strings.Join(r.Header[name], "|"); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		return nil, io.ErrUnexpectedEOF
	})}))
	_, err := client.GetEntry(withToken(t.Context()), &pauselogv1.GetEntryRequest{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("error %v, want unavailable", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// secret is call credentials that must not be sent in the clear.
type secret struct{ token }

func (secret) RequireTransportSecurity() bool { return true }

// The stream's sender must not wait for a request that is never made.
func TestSecretsNeedTLS(t *testing.T) {
	client := pauselogv1.NewLogClient(overHTTP(t, newHandler(&fakeLog{}), false))
	stream, err := client.SubmitStream(t.Context(), grpc.PerRPCCredentials(secret{"Bearer good"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pauselogv1.SubmitStreamRequest{}); err != io.EOF {
		t.Errorf("Send: %v, want EOF", err)
	}
	for range 2 {
		if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
			t.Errorf("Recv: %v, want unauthenticated", err)
		}
	}
}

// A handler that dies in the middle is not the end of a stream.
func TestServerDiesInTheMiddle(t *testing.T) {
	fake := &fakeLog{watch: func(s grpc.ServerStreamingServer[pauselogv1.WatchCheckpointsResponse]) error {
		if err := s.Send(&pauselogv1.WatchCheckpointsResponse{}); err != nil {
			return err
		}
		panic(http.ErrAbortHandler) // the one panic that net/http does not log
	}}
	for _, http2 := range []bool{false, true} {
		client := pauselogv1.NewLogClient(overHTTP(t, newHandler(fake), http2))
		got, err := all(client.WatchCheckpoints(t.Context(), &pauselogv1.WatchCheckpointsRequest{}))
		if len(got) != 1 || status.Code(err) != codes.Unavailable {
			t.Errorf("http2=%v: %d messages, %v; want 1, unavailable", http2, len(got), err)
		}
	}
}

// However a stream ends, the request's body and the response's are closed, so
// that net/http's goroutines end.
func TestNothingStaysOpen(t *testing.T) {
	fake := &fakeLog{
		watch: func(s grpc.ServerStreamingServer[pauselogv1.WatchCheckpointsResponse]) error {
			err := s.Send(&pauselogv1.WatchCheckpointsResponse{})
			<-s.Context().Done()
			return err
		},
		submitStream: func(s grpc.BidiStreamingServer[pauselogv1.SubmitStreamRequest, pauselogv1.SubmitStreamResponse]) error {
			return s.Send(&pauselogv1.SubmitStreamResponse{}) // ends while the client's side is open
		},
	}
	for _, http2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(newHandler(fake))
		server.EnableHTTP2 = http2
		server.StartTLS()
		defer server.Close()
		var open sync.WaitGroup
		track := func(r *http.Request) (*http.Response, error) {
			open.Add(1)
			r.Body = &tracked{ReadCloser: r.Body, closed: open.Done}
			resp, err := server.Client().Transport.RoundTrip(r)
			if err == nil {
				open.Add(1)
				resp.Body = &tracked{ReadCloser: resp.Body, closed: open.Done}
			}
			return resp, err
		}
		client := pauselogv1.NewLogClient(NewConn(mustParse(t, server.URL), &http.Client{Transport: roundTripper(track)}))

		if _, err := client.GetEntry(t.Context(), &pauselogv1.GetEntryRequest{Index: 12}); status.Code(err) != codes.NotFound {
			t.Error(err)
		}
		if _, err := bulk(t.Context(), client, "a"); status.Code(err) != codes.Unauthenticated {
			t.Error(err)
		}
		stream, err := client.SubmitStream(withToken(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := all(stream, nil); len(got) != 1 || err != nil {
			t.Errorf("%d messages, %v", len(got), err)
		}
		if err := stream.Send(&pauselogv1.SubmitStreamRequest{}); err != io.EOF {
			t.Errorf("Send after the end: %v, want EOF", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		watch, err := client.WatchCheckpoints(ctx, &pauselogv1.WatchCheckpointsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := watch.Recv(); err != nil {
			t.Error(err)
		}
		cancel()
		if _, err := watch.Recv(); status.Code(err) != codes.Canceled {
			t.Error(err)
		}
		open.Wait() // or the test's own time limit says what is still open
	}
}

type tracked struct {
	io.ReadCloser
	once   sync.Once
	closed func()
}

func (b *tracked) Close() error {
	b.once.Do(b.closed)
	return b.ReadCloser.Close()
}
