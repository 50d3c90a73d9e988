package jsonrpc

import (
	"context"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pauselogv1 "github.com/pauselog/pauselog/proto/pauselog/v1"
)

type receiver[T any] interface{ Recv() (*T, error) }

// all receives until the end.
func all[T any](stream receiver[T], err error) ([]proto.Message, error) {
	var messages []proto.Message
	for err == nil {
		var m *T
		if m, err = stream.Recv(); err == nil {
			messages = append(messages, any(m).(proto.Message))
		}
	}
	if err == io.EOF {
		err = nil
	}
	return messages, err
}

func one(m proto.Message, err error) ([]proto.Message, error) {
	if err != nil {
		return nil, err
	}
	return []proto.Message{m}, nil
}

func submission(path string) *pauselogv1.Submission {
	return &pauselogv1.Submission{Path: path, Size: 1 << 63}
}

// bulk sends all before it receives.
func bulk(ctx context.Context, c pauselogv1.LogClient, paths ...string) ([]proto.Message, error) {
	stream, err := c.SubmitStream(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		if err := stream.Send(&pauselogv1.SubmitStreamRequest{Submissions: []*pauselogv1.Submission{submission(p)}}); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	return all(stream, nil)
}

// calls are made over each transport; what is wanted is what gRPC gives.
var calls = []struct {
	name string
	code codes.Code
	call func(context.Context, pauselogv1.LogClient) ([]proto.Message, error)
}{
	{"unary, zero index", codes.OK, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.GetEntry(ctx, &pauselogv1.GetEntryRequest{}))
	}},
	{"metadata", codes.OK, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.GetCheckpoint(withToken(ctx), &pauselogv1.GetCheckpointRequest{AllSignatures: true}))
	}},
	{"call credentials", codes.OK, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.GetCheckpoint(ctx, &pauselogv1.GetCheckpointRequest{}, grpc.PerRPCCredentials(token("Bearer t"))))
	}},
	{"oneof: index", codes.OK, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.GetInclusionProof(ctx, &pauselogv1.GetInclusionProofRequest{Entry: &pauselogv1.GetInclusionProofRequest_Index{}, TreeSize: 1<<64 - 1}))
	}},
	{"oneof: bytes", codes.OK, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.GetInclusionProof(ctx, &pauselogv1.GetInclusionProofRequest{Entry: &pauselogv1.GetInclusionProofRequest_LeafHash{LeafHash: []byte{0, 0xff}}}))
	}},
	{"oneof: nothing", codes.OK, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.GetInclusionProof(ctx, &pauselogv1.GetInclusionProofRequest{}))
	}},
	{"message and enum", codes.OK, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.Submit(withToken(ctx), &pauselogv1.SubmitRequest{Submission: submission("a/b"), Wait: pauselogv1.Wait_WAIT_PUBLISHED}))
	}},
	{"interceptor", codes.Unauthenticated, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.Submit(ctx, &pauselogv1.SubmitRequest{}))
	}},
	{"error with metadata", codes.AlreadyExists, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.Submit(withToken(ctx), &pauselogv1.SubmitRequest{Submission: submission("conflict")}))
	}},
	{"error to try again", codes.ResourceExhausted, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.Submit(withToken(ctx), &pauselogv1.SubmitRequest{Submission: submission("busy")}))
	}},
	{"not found", codes.NotFound, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.GetEntry(ctx, &pauselogv1.GetEntryRequest{Index: 10}))
	}},
	{"error without status", codes.Unknown, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.GetEntry(ctx, &pauselogv1.GetEntryRequest{Index: 1001}))
	}},
	{"context error", codes.DeadlineExceeded, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.GetEntry(ctx, &pauselogv1.GetEntryRequest{Index: 1002}))
	}},
	{"error without detail", codes.PermissionDenied, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.GetEntry(ctx, &pauselogv1.GetEntryRequest{Index: 1003}))
	}},
	{"wrapped error", codes.NotFound, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.GetEntry(ctx, &pauselogv1.GetEntryRequest{Index: 1004}))
	}},
	{"not implemented", codes.Unimplemented, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return one(c.Lookup(ctx, &pauselogv1.LookupRequest{}))
	}},
	{"server stream", codes.OK, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return all(c.ListEntries(ctx, &pauselogv1.ListEntriesRequest{Start: 2, End: 7}))
	}},
	{"server stream without messages", codes.OK, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return all(c.ListEntries(ctx, &pauselogv1.ListEntriesRequest{}))
	}},
	{"server stream, error first", codes.NotFound, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return all(c.ListEntries(ctx, &pauselogv1.ListEntriesRequest{Start: 10, End: 20}))
	}},
	{"server stream, error later", codes.NotFound, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return all(c.ListEntries(ctx, &pauselogv1.ListEntriesRequest{Start: 8, End: 20}))
	}},
	{"bidi", codes.OK, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return bulk(withToken(ctx), c, "a", "b", "c")
	}},
	{"bidi without messages", codes.OK, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return bulk(withToken(ctx), c)
	}},
	{"bidi, error first", codes.Unavailable, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return bulk(withToken(ctx), c, "closing")
	}},
	{"bidi, error later", codes.Unavailable, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return bulk(withToken(ctx), c, "a", "b", "closing", "c")
	}},
	{"bidi, interceptor", codes.Unauthenticated, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		return bulk(ctx, c, "a", "b")
	}},
	{"ended context", codes.Canceled, func(ctx context.Context, c pauselogv1.LogClient) ([]proto.Message, error) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return one(c.GetEntry(ctx, &pauselogv1.GetEntryRequest{}))
	}},
}

// token is call credentials.
type token string

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": string(t)}, nil
}
func (token) RequireTransportSecurity() bool { return false }

func TestSameAsGRPC(t *testing.T) {
	reference := pauselogv1.NewLogClient(overGRPC(t, &fakeLog{}))
	for name, http2 := range map[string]bool{"http1": false, "http2": true} {
		client := pauselogv1.NewLogClient(overHTTP(t, newHandler(&fakeLog{}), http2))
		for _, tt := range calls {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				want, wantErr := tt.call(t.Context(), reference)
				got, gotErr := tt.call(t.Context(), client)
				if status.Code(wantErr) != tt.code {
					t.Fatalf("gRPC: %v, want %v", wantErr, tt.code)
				}
				g, w := status.Convert(gotErr), status.Convert(wantErr)
				if g.Code() != w.Code() || g.Message() != w.Message() || !proto.Equal(errorInfo(g), errorInfo(w)) {
					t.Errorf("error %v\ngRPC: %v", g.Proto(), w.Proto())
				}
				if len(got) != len(want) {
					t.Fatalf("%d messages, gRPC has %d", len(got), len(want))
				}
				for i := range want {
					if !proto.Equal(got[i], want[i]) {
						t.Errorf("message %d: %v\ngRPC: %v", i, got[i], want[i])
					}
				}
			})
		}
	}
}

// A client that waits for each answer before it sends on gets each.
func TestAnswersComeBetweenRequests(t *testing.T) {
	overEach(t, &fakeLog{}, func(t *testing.T, c pauselogv1.LogClient) {
		stream, err := c.SubmitStream(withToken(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		for n := range uint64(5) {
			if err := stream.Send(&pauselogv1.SubmitStreamRequest{Submissions: []*pauselogv1.Submission{submission("a")}}); err != nil {
				t.Fatal(err)
			}
			resp, err := stream.Recv()
			if err != nil || resp.Results[0].Index != n {
				t.Fatalf("answer %d: %v, %v", n, resp, err)
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the end stays the end
			if _, err := stream.Recv(); err != io.EOF {
				t.Fatalf("after the last request: %v, want EOF", err)
			}
		}
	})
}

// A client that leaves ends the handler's context, also when the handler is
// neither sending nor receiving.
func TestCancelEndsTheHandler(t *testing.T) {
	ended := make(chan error)
	fake := &fakeLog{
		submitStream: func(s grpc.BidiStreamingServer[pauselogv1.SubmitStreamRequest, pauselogv1.SubmitStreamResponse]) error {
			if _, err := s.Recv(); err != nil {
				return err
			}
			if err := s.Send(&pauselogv1.SubmitStreamResponse{}); err != nil {
				return err
			}
			<-s.Context().Done()
			ended <- s.Context().Err()
			return s.Context().Err()
		},
		watch: func(s grpc.ServerStreamingServer[pauselogv1.WatchCheckpointsResponse]) error {
			if err := s.Send(&pauselogv1.WatchCheckpointsResponse{Checkpoint: "1"}); err != nil {
				return err
			}
			<-s.Context().Done()
			ended <- s.Context().Err()
			return s.Context().Err()
		},
	}
	overEach(t, fake, func(t *testing.T, c pauselogv1.LogClient) {
		ctx, cancel := context.WithCancel(withToken(t.Context()))
		watch, err := c.WatchCheckpoints(ctx, &pauselogv1.WatchCheckpointsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := watch.Recv(); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-ended; err != context.Canceled {
			t.Errorf("handler's context: %v", err)
		}
		if _, err := watch.Recv(); status.Code(err) != codes.Canceled {
			t.Errorf("client: %v", err)
		}

		ctx, cancel = context.WithCancel(withToken(t.Context()))
		submit, err := c.SubmitStream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := submit.Send(&pauselogv1.SubmitStreamRequest{}); err != nil {
			t.Fatal(err)
		}
		if _, err := submit.Recv(); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-ended; err != context.Canceled {
			t.Errorf("handler's context: %v", err)
		}
		if _, err := submit.Recv(); status.Code(err) != codes.Canceled {
			t.Errorf("client: %v", err)
		}
	})
}

// A handler may return while the client is sending and one of the handler's own
// goroutines receiving: the client gets the error, the goroutine ends.
func TestHandlerReturnsEarly(t *testing.T) {
	left := make(chan error, 1)
	fake := &fakeLog{submitStream: func(s grpc.BidiStreamingServer[pauselogv1.SubmitStreamRequest, pauselogv1.SubmitStreamResponse]) error {
		first := make(chan struct{})
		go func() {
			for n := 0; ; n++ {
				if _, err := s.Recv(); err != nil {
					left <- err
					return
				}
				if n == 0 {
					close(first)
				}
			}
		}()
		<-first
		return fail(codes.Unavailable, "closing", "shutting down", nil)
	}}
	overEach(t, fake, func(t *testing.T, c pauselogv1.LogClient) {
		for _, keepSending := range []bool{false, true} {
			stream, err := c.SubmitStream(withToken(t.Context()))
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				err = stream.Send(&pauselogv1.SubmitStreamRequest{Submissions: []*pauselogv1.Submission{submission("a")}})
				if !keepSending {
					break
				}
			}
			if err != nil && err != io.EOF {
				t.Errorf("Send: %v", err)
			}
			if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || errorInfo(status.Convert(err)).GetReason() != "closing" {
				t.Errorf("keepSending=%v: Recv: %v, want closing", keepSending, err)
			}
			if err := <-left; err == nil || err == io.EOF {
				t.Errorf("the receiving goroutine ended with %v", err)
			}
		}
	})
}

// summing is a service with a client stream, which the log's has not.
type summing struct {
	testpb.UnimplementedTestServiceServer
}

func (summing) StreamingInputCall(s grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error {
	sum := int32(0)
	for {
		req, err := s.Recv()
		switch {
		case err == io.EOF:
			return s.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: sum})
		case err != nil:
			return err
		case len(req.Payload.Body) == 0:
			s.SendAndClose(&testpb.StreamingInputCallResponse{}) // an answer that does not count
			return status.Error(codes.InvalidArgument, "empty payload")
		}
		sum += int32(len(req.Payload.Body))
	}
}

func TestClientStream(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		conn := overHTTP(t, NewHandler(&testpb.TestService_ServiceDesc, summing{}, Options{}), http2)
		send := func(bodies ...string) (int32, error) {
			stream, err := testpb.NewTestServiceClient(conn).StreamingInputCall(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range bodies {
				if err := stream.Send(&testpb.StreamingInputCallRequest{Payload: &testpb.Payload{Body: []byte(b)}}); err != nil {
					t.Fatal(err)
				}
			}
			resp, err := stream.CloseAndRecv()
			return resp.GetAggregatedPayloadSize(), err
		}
		if sum, err := send("a", "bc", "def"); sum != 6 || err != nil {
			t.Errorf("sum %d, %v, want 6", sum, err)
		}
		if _, err := send("a", ""); status.Code(err) != codes.InvalidArgument {
			t.Errorf("error %v, want the handler's", err)
		}
	}
}
