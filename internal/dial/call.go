package dial

import (
	"context"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

var _ grpc.ClientConnInterface = (*Conn)(nil)

// Invoke implements grpc.ClientConnInterface.
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	limited, cancel := limited(ctx)
	defer cancel()
	return c.explain(ctx, c.inner.Invoke(c.authorized(limited), method, args, reply, opts...))
}

// NewStream implements grpc.ClientConnInterface. A stream has no limit on its time: the caller ends its context.
func (c *Conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := c.inner.NewStream(c.authorized(ctx), desc, method, opts...)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	return &stream{s, c, ctx}, nil
}

type stream struct {
	grpc.ClientStream
	conn *Conn
	ctx  context.Context // the caller's: gRPC ends its own with the stream
}

func (s *stream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil || err == io.EOF {
		return err
	}
	return s.conn.explain(s.ctx, err)
}

func (c *Conn) authorized(ctx context.Context) context.Context {
	if c.secret == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.secret)
}

// explain adds to an error of the connection what was tried and what to do. An error that the
// log itself answered is left alone, and so is one of the caller's own context.
func (c *Conn) explain(ctx context.Context, err error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok || len(st.Details()) > 0 || ctx.Err() != nil {
		return err
	}
	switch st.Code() {
	case codes.Unavailable:
		return status.Errorf(codes.Unavailable, "%s cannot be reached: %s: is the URL right, does the log run, and is the network up?", c.URL, cause(st.Message()))
	case codes.DeadlineExceeded:
		return status.Errorf(codes.DeadlineExceeded, "%s did not answer within %v: try again later", c.URL, callTime)
	case codes.Unimplemented:
		return status.Errorf(codes.Unimplemented, "%s does not know this call: is it a log, and of this version? (%s)", c.URL, st.Message())
	case codes.Internal, codes.Unknown, codes.ResourceExhausted:
		return status.Errorf(st.Code(), "%s gave no answer that can be read: %s: is it the URL of a log?", c.URL, st.Message())
	}
	return err
}

// cause strips what gRPC says around the reason of a failed connection.
func cause(message string) string {
	message = strings.TrimPrefix(message, `connection error: desc = "`)
	message = strings.TrimPrefix(message, "transport: Error while dialing: ")
	return strings.TrimSuffix(message, `"`)
}
