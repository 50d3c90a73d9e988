package jsonrpc

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	pauselogv1 "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// exchanges are what goes over the wire: an answer's status, some headers and
// all of its body, or, after "...", a part of it.
var exchanges = []struct {
	name    string
	request string // verb, method and query
	headers string
	body    string
	status  int
	want    string // headers, then the body
}{
	{name: "success", request: "POST GetEntry", headers: "Content-Type: application/json", body: `{"index": 0}`, status: 200,
		want: "Content-Type: application/json\nCache-Control: no-store\nContent-Length: 34\n\n" + `{"index":"0","entry":"entry 0\n"}` + "\n"},
	{name: "error", request: "POST GetEntry", body: `{"index": "12"}`, status: 404,
		want: "Content-Type: application/json\nCache-Control: no-store\n\n" +
			`{"error":{"code":"NOT_FOUND","reason":"not-logged","message":"no entry 12","metadata":{"size":"10"}}}` + "\n"},
	{name: "names, default values and no escapes", request: "POST Submit", headers: "Authorization: Bearer t",
		body: `{"submission":{"path":"p","size":7},"wait":"WAIT_PUBLISHED"}`, status: 200,
		want: "\n" + `{"result":{"index":"7","leaf_hash":"","entry":"p <&>` + "\u2028" + `\n","repeated":true,"bundle":""}}` + "\n"},
	{name: "error without detail", request: "GET GetEntry?index=1003", status: 403,
		want: "\n" + `{"error":{"code":"PERMISSION_DENIED","message":"no detail"}}` + "\n"},
	{name: "error without status", request: "GET GetEntry?index=1001", status: 500,
		want: "\n" + `{"error":{"code":"UNKNOWN","message":"not a status"}}` + "\n"},
	{name: "deadline", request: "GET GetEntry?index=1002", status: 504, want: "\n...DEADLINE_EXCEEDED"},
	{name: "no token", request: "POST Submit", body: `{}`, status: 401,
		want: "WWW-Authenticate: Bearer\n\n" + `{"error":{"code":"UNAUTHENTICATED","reason":"unauthenticated","message":"no token"}}` + "\n"},
	{name: "conflict", request: "POST Submit", headers: "Authorization: Bearer t", body: `{"submission":{"path":"conflict"}}`, status: 409, want: "\n...ALREADY_EXISTS"},
	{name: "busy", request: "POST Submit", headers: "Authorization: Bearer t", body: `{"submission":{"path":"busy"}}`, status: 429, want: "Retry-After: 2\n\n...RESOURCE_EXHAUSTED"},
	{name: "closing", request: "POST Submit", headers: "Authorization: Bearer t", body: `{"submission":{"path":"closing"}}`, status: 503, want: "Retry-After: 1\n\n...UNAVAILABLE"},
	{name: "unencodable", request: "POST Submit", headers: "Authorization: Bearer t", body: `{"submission":{"path":"unencodable"}}`, status: 500, want: "\n...encode the answer: "},
	{name: "not implemented", request: "GET Lookup?author=ETHER", status: 501, want: "\n...UNIMPLEMENTED"},

	{name: "query", request: "GET GetEntry?index=3", status: 200, want: "Content-Type: application/json\n\n" + `{"index":"3","entry":"entry 3\n"}` + "\n"},
	{name: "head", request: "HEAD GetEntry?index=3", status: 200, want: "Content-Length: 34\n\n"},
	{name: "head of an error", request: "HEAD GetEntry?index=12", status: 404, want: "\n"},
	{name: "query with nothing", request: "GET GetEntry", status: 200, want: "\n...entry 0\\n"},
	{name: "unknown parameter", request: "GET GetEntry?indx=3", status: 400,
		want: "Cache-Control: no-store\n\n" + `{"error":{"code":"INVALID_ARGUMENT","reason":"invalid","message":"unknown parameter \"indx\""}}` + "\n"},
	{name: "not a number", request: "GET GetEntry?index=x", status: 400, want: "\n..." + `"message":"invalid value for uint64 field index: \"x\""`},
	{name: "two of a oneof", request: "GET GetInclusionProof?index=3&path=a", status: 400, want: "\n...oneof pauselog.v1.GetInclusionProofRequest.entry is already set"},
	{name: "request in the wrong place", request: "POST GetEntry?index=3", body: "{}", status: 400, want: "\n...in the body, not in the query"},

	{name: "malformed", request: "POST GetEntry", body: `{"index":`, status: 400, want: "\n..." + `"reason":"invalid"`},
	{name: "empty", request: "POST GetEntry", status: 400, want: "\n...the body is empty"},
	{name: "unknown field", request: "POST GetEntry", body: `{"indx":3}`, status: 400, want: "\n..." + `(line 1:2): unknown field \"indx\"`},
	{name: "field twice", request: "POST GetEntry", body: `{"index":3,"index":4}`, status: 400, want: "\n..." + `duplicate field \"index\"`},
	{name: "trailing object", request: "POST GetEntry", body: `{"index":3}{"index":4}`, status: 400, want: "\n...unexpected token {"},
	{name: "trailing garbage", request: "POST GetEntry", body: `{"index":3} x`, status: 400, want: "\n...INVALID_ARGUMENT"},
	{name: "largest", request: "POST GetEntry", body: `{"index":3}` + strings.Repeat(" ", 4096-11), status: 200, want: "\n...entry 3\\n"},
	{name: "too large", request: "POST GetEntry", body: `{"index":3}` + strings.Repeat(" ", 4096-10), status: 413,
		want: "\n" + `{"error":{"code":"RESOURCE_EXHAUSTED","reason":"invalid","message":"the request is over 4096 bytes"}}` + "\n"},

	{name: "a form", request: "POST GetEntry", headers: "Content-Type: application/x-www-form-urlencoded", body: `{"index":3}`, status: 415, want: "\n...send application/json"},
	{name: "charset", request: "POST GetEntry", headers: "Content-Type: application/json; charset=utf-8", body: `{"index":3}`, status: 200, want: "\n...entry 3\\n"},
	{name: "lines to a unary method", request: "POST GetEntry", headers: "Content-Type: application/x-ndjson", body: `{"index":3}`, status: 415, want: "\n...send application/json"},
	{name: "compressed", request: "POST GetEntry", headers: "Content-Encoding: gzip", body: "\x1f\x8b", status: 415, want: "\n...send the body as it is"},
	{name: "wrong verb", request: "PUT GetEntry", body: `{}`, status: 405, want: "Allow: POST, GET, HEAD\nCache-Control: no-store\n\n...PUT is not for"},
	{name: "get with side effects", request: "GET Submit", status: 405, want: "Allow: POST\n\n...use POST"},
	{name: "head of a stream", request: "HEAD ListEntries", status: 405, want: "Allow: POST, GET\n\n"},
	{name: "get of a client stream", request: "GET SubmitStream", status: 405, want: "Allow: POST\n\n...use POST"},
	{name: "unknown method", request: "POST Nothing", body: `{}`, status: 404,
		want: "\n" + `{"error":{"code":"UNIMPLEMENTED","reason":"invalid","message":"no method \"/pauselog.v1.Log/Nothing\""}}` + "\n"},

	{name: "server stream", request: "GET ListEntries?start=8&end=10", status: 200, want: "Content-Type: application/x-ndjson\nCache-Control: no-store\n\n" +
		`{"start":"8","entries":["entry 8\n"]}` + "\n" + `{"start":"9","entries":["entry 9\n"]}` + "\n"},
	{name: "server stream by post", request: "POST ListEntries", body: `{"start":9,"end":10}`, status: 200, want: "\n" +
		`{"start":"9","entries":["entry 9\n"]}` + "\n"},
	{name: "server stream without lines", request: "GET ListEntries", status: 200, want: "Content-Type: application/x-ndjson\n\n"},
	{name: "server stream, error later", request: "GET ListEntries?start=9&end=20", status: 200, want: "\n" +
		`{"start":"9","entries":["entry 9\n"]}` + "\n" +
		`{"error":{"code":"NOT_FOUND","reason":"not-logged","message":"no entry 10","metadata":{"size":"10"}}}` + "\n"},
	{name: "server stream, error first", request: "GET ListEntries?start=10&end=20", status: 404, want: "Content-Type: application/json\n\n...NOT_FOUND"},
	{name: "server stream, bad query", request: "GET ListEntries?begin=1", status: 400, want: "\n...unknown parameter"},
	{name: "server stream, too large", request: "POST ListEntries", body: strings.Repeat(" ", 4097), status: 413, want: "\n...over 4096 bytes"},

	{name: "bidi", request: "POST SubmitStream", headers: "Authorization: Bearer t\nContent-Type: application/x-ndjson",
		body: `{"submissions":[{"path":"a"}]}` + "\r\n\n" + `{}`, status: 200, want: "Content-Type: application/x-ndjson\n\n" +
			`{"results":[{"index":"0","leaf_hash":"","entry":"a","repeated":false,"bundle":""}]}` + "\n" + `{"results":[]}` + "\n"},
	{name: "bidi, malformed first", request: "POST SubmitStream", headers: "Authorization: Bearer t", body: "{\n}\n", status: 400, want: "Content-Type: application/json\n\n..." + `"reason":"invalid"`},
	{name: "bidi, malformed later", request: "POST SubmitStream", headers: "Authorization: Bearer t", body: "{}\n{}{}\n", status: 200, want: "\n" +
		`{"results":[]}` + "\n..." + `{"error":{"code":"INVALID_ARGUMENT","reason":"invalid",`},
	{name: "bidi, largest line", request: "POST SubmitStream", headers: "Authorization: Bearer t", body: "{}" + strings.Repeat(" ", 4094) + "\n{}", status: 200, want: "\n" +
		`{"results":[]}` + "\n" + `{"results":[]}` + "\n"},
	{name: "bidi, too large a line", request: "POST SubmitStream", headers: "Authorization: Bearer t", body: "{}" + strings.Repeat(" ", 4095) + "\n", status: 413, want: "\n...over 4096 bytes"},
	{name: "bidi as a form", request: "POST SubmitStream", headers: "Content-Type: text/plain", body: "{}", status: 415, want: "\n...send application/x-ndjson"},
}

func TestExchanges(t *testing.T) {
	server := httptest.NewServer(newHandler(&fakeLog{}))
	defer server.Close()
	for _, tt := range exchanges {
		t.Run(tt.name, func(t *testing.T) {
			verb, method, _ := strings.Cut(tt.request, " ")
			req, err := http.NewRequestWithContext(t.Context(), verb, server.URL+"/pauselog.v1.Log/"+method, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(tt.headers) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				req.Header.Set(name, value)
			}
			resp, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
			headers, want, _ := strings.Cut("X-Content-Type-Options: nosniff\n"+tt.want, "\n\n")
			for line := range strings.Lines(headers) {
				if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && resp.Header.Get(name) != value {
					t.Errorf("%s: %q, want %q", name, resp.Header.Get(name), value)
				}
			}
			start, part, partial := strings.Cut(want, "...")
			if partial && (!strings.HasPrefix(string(body), start) || !strings.Contains(string(body), part)) {
				t.Errorf("body %s\nlacks %s%s", body, start, part)
			}
			if !partial && string(body) != want {
				t.Errorf("body %q\nwant %q", body, want)
			}
		})
	}
}

// Interceptors see a caller's certificate and address as gRPC shows them.
func TestPeer(t *testing.T) {
	seen := make(chan *peer.Peer, 1)
	server := httptest.NewUnstartedServer(NewHandler(&pauselogv1.Log_ServiceDesc, &fakeLog{}, Options{
		Unary: func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			p, _ := peer.FromContext(ctx)
			seen <- p
			return next(ctx, req)
		},
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	server.Client().Transport.(*http.Transport).TLSClientConfig.Certificates = server.TLS.Certificates
	client := pauselogv1.NewLogClient(NewConn(mustParse(t, server.URL), server.Client()))
	if _, err := client.GetEntry(t.Context(), &pauselogv1.GetEntryRequest{}); err != nil {
		t.Fatal(err)
	}
	p := <-seen
	if info, ok := p.AuthInfo.(credentials.TLSInfo); !ok || len(info.State.PeerCertificates) != 1 {
		t.Errorf("auth info %T %v, want the client's certificate", p.AuthInfo, p.AuthInfo)
	}
	if !strings.HasPrefix(p.Addr.String(), "127.0.0.1:") || p.LocalAddr.String() != server.Listener.Addr().String() {
		t.Errorf("addresses %v, %v", p.Addr, p.LocalAddr)
	}
}

// What is no connection of net/http's has an address all the same.
func TestPeerOfAnotherKind(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/pauselog.v1.Log/GetEntry", nil)
	r.RemoteAddr = "@"
	if p, _ := peer.FromContext(callContext(r, "")); p.Addr.String() != "@" || p.AuthInfo != nil {
		t.Errorf("peer %v", p)
	}
}

// When ServeHTTP has returned, nothing of it reads the request or writes the
// answer, though the client's side is open and the handler left goroutines.
func TestNothingGoesOnAfterTheHandler(t *testing.T) {
	streams := make(chan grpc.ServerStream, 1)
	inner := newHandler(&fakeLog{submitStream: func(s grpc.BidiStreamingServer[pauselogv1.SubmitStreamRequest, pauselogv1.SubmitStreamResponse]) error {
		streams <- s
		return nil
	}})
	returned := make(chan struct{})
	outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := &watched{ReadCloser: r.Body}
		r.Body = body
		inner.ServeHTTP(w, r)
		if body.reading.Load() {
			t.Error("the request is still being read")
		}
		s := <-streams
		if err := s.SendMsg(new(pauselogv1.SubmitStreamResponse)); status.Code(err) != codes.Canceled {
			t.Errorf("SendMsg: %v, want canceled", err)
		}
		if err := s.RecvMsg(new(pauselogv1.SubmitStreamRequest)); status.Code(err) != codes.Canceled {
			t.Errorf("RecvMsg: %v, want canceled", err)
		}
		returned <- struct{}{}
	})
	for _, http2 := range []bool{false, true} {
		stream, err := pauselogv1.NewLogClient(overHTTP(t, outer, http2)).SubmitStream(withToken(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		<-returned
		if got, err := all(stream, nil); len(got) != 0 || err != nil {
			t.Errorf("http2=%v: %v, %v", http2, got, err)
		}
	}
}

// watched says whether somebody is reading.
type watched struct {
	io.ReadCloser
	reading atomic.Bool
}

func (b *watched) Read(p []byte) (int, error) {
	b.reading.Store(true)
	defer b.reading.Store(false)
	return b.ReadCloser.Read(p)
}

// A body that breaks off ends the context of a handler that does not receive.
func TestBrokenBodyEndsTheContext(t *testing.T) {
	h := newHandler(&fakeLog{submitStream: func(s grpc.BidiStreamingServer[pauselogv1.SubmitStreamRequest, pauselogv1.SubmitStreamResponse]) error {
		<-s.Context().Done()
		_, err := s.Recv()
		return err
	}})
	r := httptest.NewRequest(http.MethodPost, pauselogv1.Log_SubmitStream_FullMethodName, iotest.ErrReader(io.ErrUnexpectedEOF))
	r.Header.Set("Authorization", "Bearer good")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 499 {
		t.Errorf("status %d, want 499", w.Code)
	}
}

func TestStreamInterceptorInfo(t *testing.T) {
	var got []grpc.StreamServerInfo
	h := NewHandler(&pauselogv1.Log_ServiceDesc, &fakeLog{}, Options{
		Stream: func(impl any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			got = append(got, *info)
			return next(impl, s)
		},
	})
	for _, method := range []string{pauselogv1.Log_ListEntries_FullMethodName, pauselogv1.Log_SubmitStream_FullMethodName} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, method, strings.NewReader("{}")))
	}
	want := []grpc.StreamServerInfo{
		{FullMethod: pauselogv1.Log_ListEntries_FullMethodName, IsServerStream: true},
		{FullMethod: pauselogv1.Log_SubmitStream_FullMethodName, IsServerStream: true, IsClientStream: true},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("infos %+v\nwant  %+v", got, want)
	}
}

func TestNewHandlerPanicsOnAMisfit(t *testing.T) {
	unlinked := pauselogv1.Log_ServiceDesc
	unlinked.ServiceName = "pauselog.v1.Nothing"
	misnamed := pauselogv1.Log_ServiceDesc
	misnamed.Methods = []grpc.MethodDesc{{MethodName: "Nothing"}}
	for name, build := range map[string]func(){
		"implementation": func() { NewHandler(&pauselogv1.Log_ServiceDesc, struct{}{}, Options{}) },
		"service":        func() { NewHandler(&unlinked, &fakeLog{}, Options{}) },
		"method":         func() { NewHandler(&misnamed, &fakeLog{}, Options{}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			build()
		}()
	}
}
