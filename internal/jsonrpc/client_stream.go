package jsonrpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// A clientStream is the grpc.ClientStream of one call. It begins when its first
// request is sent, as the body of a POST, and a client stream's goes on
// through a pipe; a goroutine waits for the answer to begin.
type clientStream struct {
	conn   *Conn
	ctx    context.Context
	cancel context.CancelFunc
	desc   *grpc.StreamDesc
	start  func(body io.Reader)
	body   *io.PipeWriter // nil: one request only

	ready chan struct{} // closed once the next three are set
	resp  *http.Response
	lines *lines
	err   error

	end error // what RecvMsg has ended with
}

func (s *clientStream) Context() context.Context { return s.ctx }
func (s *clientStream) Trailer() metadata.MD     { return nil }

// Header waits for the answer to begin. There never is a header.
func (s *clientStream) Header() (metadata.MD, error) {
	select {
	case <-s.ready:
	case <-s.ctx.Done():
		select {
		case <-s.ready: // what is known is said, rather than that it is over
		default:
			return nil, status.FromContextError(s.ctx.Err()).Err()
		}
	}
	return nil, s.err
}

// SendMsg implements grpc.ClientStream: io.EOF says that RecvMsg knows more.
func (s *clientStream) SendMsg(m any) error {
	line, err := encode(requests, m)
	if err != nil {
		return status.Errorf(codes.Internal, "encode the request: %v", err)
	}
	if s.body == nil {
		go s.start(bytes.NewReader(line))
		return nil
	}
	if s.ctx.Err() != nil { // the pipe is closed soon, if not yet
		return io.EOF
	}
	if _, err := s.body.Write(line); err != nil {
		return io.EOF
	}
	return nil
}

// CloseSend implements grpc.ClientStream.
func (s *clientStream) CloseSend() error {
	if s.body == nil {
		return nil
	}
	return s.body.Close()
}

// RecvMsg implements grpc.ClientStream: io.EOF is the end of a call that
// succeeded.
func (s *clientStream) RecvMsg(m any) error {
	if s.end != nil {
		return s.end
	}
	err := s.receive(m)
	if err == nil && s.desc.ServerStreams {
		return nil
	}
	if err == nil {
		// The only answer counts if the call then succeeds.
		if _, err = s.line(); err == nil {
			err = status.Error(codes.Internal, "more than one answer to a client stream")
		}
	} else if err == io.EOF && !s.desc.ServerStreams {
		err = status.Error(codes.Internal, "no answer to a client stream")
	}
	s.finish(err)
	if err == io.EOF && !s.desc.ServerStreams {
		return nil
	}
	return err
}

func (s *clientStream) receive(m any) error {
	line, err := s.line()
	if err != nil {
		return err
	}
	if decode(lenient, line, m) != nil {
		return foreign(s.resp, line)
	}
	return nil
}

// line returns the next message's line, io.EOF, or an error with a status.
func (s *clientStream) line() ([]byte, error) {
	if _, err := s.Header(); err != nil {
		return nil, err
	}
	if err := s.ctx.Err(); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	line, err := s.lines.next()
	switch {
	case err == nil:
		if bytes.Contains(line, []byte(`"error"`)) { // spares all others being parsed twice
			if err, ok := parseError(line); ok {
				return nil, err
			}
		}
		return line, nil
	case errors.Is(err, errLineTooLong):
		return nil, s.conn.tooLarge()
	case err == io.EOF && len(line) == 0:
		return nil, io.EOF
	case err == io.EOF:
		return nil, status.Error(codes.Unavailable, "the answer was cut off")
	}
	return nil, transportError(s.ctx, err)
}

// finish lets go of the request, should the server not have read all of it, and
// of the response.
func (s *clientStream) finish(err error) {
	s.end = err
	s.cancel()
	select {
	case <-s.ready:
		if s.resp != nil {
			s.resp.Body.Close()
		}
	default: // the ended context ends it
	}
}
