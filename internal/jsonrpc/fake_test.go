package jsonrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	pauselogv1 "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// fakeLog answers without a log behind it. It has ten entries.
type fakeLog struct {
	pauselogv1.UnimplementedLogServer
	submitStream func(grpc.BidiStreamingServer[pauselogv1.SubmitStreamRequest, pauselogv1.SubmitStreamResponse]) error
	watch        func(grpc.ServerStreamingServer[pauselogv1.WatchCheckpointsResponse]) error
}

// fail is an error as the log has them.
func fail(c codes.Code, reason, message string, metadata map[string]string) error {
	st, err := status.New(c, message).WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: Domain, Metadata: metadata})
	if err != nil {
		panic(err)
	}
	return st.Err()
}

func notLogged(index uint64) error {
	return fail(codes.NotFound, "not-logged", fmt.Sprintf("no entry %d", index), map[string]string{"size": "10"})
}

func (*fakeLog) Submit(_ context.Context, req *pauselogv1.SubmitRequest) (*pauselogv1.SubmitResponse, error) {
	switch req.GetSubmission().GetPath() {
	case "conflict":
		return nil, fail(codes.AlreadyExists, "conflict", "logged with another digest", map[string]string{"logged_sha256": "00", "logged_index": "7"})
	case "busy":
		return nil, fail(codes.ResourceExhausted, "busy", "too much at once", map[string]string{"retry_after_ms": "1200"})
	case "closing":
		return nil, fail(codes.Unavailable, "closing", "shutting down", map[string]string{"retry_after_ms": "1"})
	case "unencodable":
		return &pauselogv1.SubmitResponse{Result: &pauselogv1.SubmitResult{Bundle: "\xff"}}, nil
	}
	return &pauselogv1.SubmitResponse{Result: &pauselogv1.SubmitResult{
		Index: req.Submission.GetSize(), Entry: req.Submission.GetPath() + " <&>\u2028\n", Repeated: req.Wait == pauselogv1.Wait_WAIT_PUBLISHED,
	}}, nil
}

// GetCheckpoint shows what the caller's metadata says.
func (*fakeLog) GetCheckpoint(ctx context.Context, req *pauselogv1.GetCheckpointRequest) (*pauselogv1.GetCheckpointResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	method, _ := grpc.Method(ctx)
	return &pauselogv1.GetCheckpointResponse{Checkpoint: fmt.Sprintf("%s %v %q", method, req.AllSignatures, md["authorization"])}, nil
}

// GetInclusionProof shows what it was asked for.
func (*fakeLog) GetInclusionProof(_ context.Context, req *pauselogv1.GetInclusionProofRequest) (*pauselogv1.GetInclusionProofResponse, error) {
	return &pauselogv1.GetInclusionProofResponse{
		Index: req.GetIndex(), TreeSize: req.TreeSize, Hashes: [][]byte{req.GetLeafHash(), {0xfb, 0xff}},
		Entry: req.GetPath(), Checkpoint: fmt.Sprintf("%T %s", req.Entry, req.GetSha256()),
	}, nil
}

func (*fakeLog) GetEntry(ctx context.Context, req *pauselogv1.GetEntryRequest) (*pauselogv1.GetEntryResponse, error) {
	switch req.Index {
	case 1001:
		return nil, errors.New("not a status")
	case 1002:
		return nil, context.DeadlineExceeded
	case 1003:
		return nil, status.Error(codes.PermissionDenied, "no detail")
	case 1004:
		return nil, fmt.Errorf("wrapped: %w", notLogged(req.Index))
	}
	if req.Index >= 10 {
		return nil, notLogged(req.Index)
	}
	return &pauselogv1.GetEntryResponse{Index: req.Index, Entry: fmt.Sprintf("entry %d\n", req.Index)}, nil
}

// ListEntries sends one entry at a time, and fails where they end.
func (*fakeLog) ListEntries(req *pauselogv1.ListEntriesRequest, stream grpc.ServerStreamingServer[pauselogv1.ListEntriesResponse]) error {
	for i := req.Start; i < req.End; i++ {
		if i >= 10 {
			return notLogged(i)
		}
		if err := stream.Send(&pauselogv1.ListEntriesResponse{Start: i, Entries: []string{fmt.Sprintf("entry %d\n", i)}}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeLog) WatchCheckpoints(_ *pauselogv1.WatchCheckpointsRequest, stream grpc.ServerStreamingServer[pauselogv1.WatchCheckpointsResponse]) error {
	return f.watch(stream)
}

func (f *fakeLog) SubmitStream(stream grpc.BidiStreamingServer[pauselogv1.SubmitStreamRequest, pauselogv1.SubmitStreamResponse]) error {
	if f.submitStream != nil {
		return f.submitStream(stream)
	}
	for n := uint64(0); ; n++ {
		req, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		resp := new(pauselogv1.SubmitStreamResponse)
		for _, s := range req.Submissions {
			if s.Path == "closing" {
				return fail(codes.Unavailable, "closing", "shutting down", nil)
			}
			resp.Results = append(resp.Results, &pauselogv1.SubmitResult{Index: n, Entry: s.Path})
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}

// interceptors want a token, of everything but reads.
func unaryAuth(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if md, _ := metadata.FromIncomingContext(ctx); info.FullMethod == pauselogv1.Log_Submit_FullMethodName && len(md["authorization"]) == 0 {
		return nil, fail(codes.Unauthenticated, "unauthenticated", "no token", nil)
	}
	return next(ctx, req)
}

func streamAuth(impl any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if md, _ := metadata.FromIncomingContext(stream.Context()); info.IsClientStream && len(md["authorization"]) == 0 {
		return fail(codes.Unauthenticated, "unauthenticated", "no token", nil)
	}
	return next(impl, stream)
}

func newHandler(impl pauselogv1.LogServer) http.Handler {
	return NewHandler(&pauselogv1.Log_ServiceDesc, impl, Options{Unary: unaryAuth, Stream: streamAuth, MaxMessage: 4096})
}

// overHTTP serves the handler and connects to it.
func overHTTP(t *testing.T, h http.Handler, http2 bool, opts ...ConnOption) *Conn {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	if http2 {
		server.EnableHTTP2 = true
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return NewConn(mustParse(t, server.URL), server.Client(), opts...)
}

func mustParse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// overGRPC is what the others are compared to.
func overGRPC(t *testing.T, impl pauselogv1.LogServer) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer(grpc.UnaryInterceptor(unaryAuth), grpc.StreamInterceptor(streamAuth))
	pauselogv1.RegisterLogServer(server, impl)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:bufconn",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// overEach runs a test over gRPC and over both versions of HTTP.
func overEach(t *testing.T, impl pauselogv1.LogServer, test func(*testing.T, pauselogv1.LogClient)) {
	t.Run("grpc", func(t *testing.T) { test(t, pauselogv1.NewLogClient(overGRPC(t, impl))) })
	t.Run("http1", func(t *testing.T) { test(t, pauselogv1.NewLogClient(overHTTP(t, newHandler(impl), false))) })
	t.Run("http2", func(t *testing.T) { test(t, pauselogv1.NewLogClient(overHTTP(t, newHandler(impl), true))) })
}

func withToken(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer good")
}
