package jsonrpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// serveStream answers a streaming call.
func (h *handler) serveStream(ctx context.Context, w http.ResponseWriter, r *http.Request, m *method) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &serverStream{ctx: ctx, cancel: cancel, w: w, control: http.NewResponseController(w)}
	if m.stream.ClientStreams {
		in := h.startReading(s, r)
		defer in.stop(s, w)
		s.receive = in.receive
	} else {
		read := false
		s.receive = func(req any) error {
			if read {
				return io.EOF
			}
			read = true
			return h.receive(w, r, req)
		}
	}
	var err error
	if h.Stream == nil {
		err = m.stream.Handler(h.impl, s)
	} else {
		info := &grpc.StreamServerInfo{FullMethod: m.name, IsClientStream: m.stream.ClientStreams, IsServerStream: m.stream.ServerStreams}
		err = h.Stream(h.impl, s, info, m.stream.Handler)
	}
	s.end(err)
}

// A serverStream is the grpc.ServerStream of one call. As in gRPC, one goroutine
// may send while another receives, and neither call outlives the handler: what
// a goroutine that it left behind still tries, fails.
type serverStream struct {
	ctx     context.Context
	cancel  context.CancelFunc
	control *http.ResponseController
	receive func(any) error

	mu      sync.Mutex // guards what follows
	w       http.ResponseWriter
	started bool // the status line is out: an error can only be a line
}

func (s *serverStream) Context() context.Context     { return s.ctx }
func (s *serverStream) SetHeader(metadata.MD) error  { return nil } // see transport
func (s *serverStream) SendHeader(metadata.MD) error { return nil }
func (s *serverStream) SetTrailer(metadata.MD)       {}
func (s *serverStream) RecvMsg(m any) error          { return s.receive(m) }

// SendMsg writes one line and flushes it: somebody may be waiting for it.
func (s *serverStream) SendMsg(m any) error {
	line, err := encode(answers, m)
	if err != nil {
		return status.Errorf(codes.Internal, "encode the answer: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	s.start()
	if _, err = s.w.Write(line); err == nil {
		err = s.control.Flush()
	}
	if err != nil {
		s.cancel()
		return gone("write the answer", err)
	}
	return nil
}

// start writes the status line of a success. s.mu is held.
func (s *serverStream) start() {
	if !s.started {
		s.started = true
		s.w.Header().Set("Content-Type", mediaNDJSON)
		s.w.WriteHeader(http.StatusOK)
	}
}

// end writes what the handler's return means. From then on w is net/http's, and
// the ended context keeps SendMsg away from it.
func (s *serverStream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel()
	switch {
	case err == nil:
		s.start()
	case s.started:
		s.w.Write(errorLine(statusOf(err)))
	default:
		writeError(s.w, err)
		return
	}
	s.control.Flush()
}

// gone is the error for a client that has left.
func gone(doing string, err error) error {
	return status.Errorf(codes.Canceled, "%s: %v", doing, err)
}

// incoming is the request lines of a client stream. A goroutine reads them, one
// ahead of the handler, for two reasons. Over HTTP/1.1 nothing but a pending
// read notices that a client is gone, and a handler that waits for something
// else must have its context ended. And a handler may return while one of its
// goroutines is still receiving, whereas the request's body must not be
// read after ServeHTTP.
type incoming struct {
	ctx   context.Context
	lines chan []byte
	err   error // why lines was closed; to be read after that
	large error
}

func (h *handler) startReading(s *serverStream, r *http.Request) *incoming {
	if r.ProtoMajor == 1 {
		// Without full duplex, net/http reads the whole request before it writes
		// an answer. It cannot fail on net/http's own writers; on others, such
		// as a test's recorder, answers may come late.
		s.control.EnableFullDuplex()
		// The rest of an unfinished request would be taken for the next one.
		s.w.Header().Set("Connection", "close")
	}
	in := &incoming{ctx: s.ctx, lines: make(chan []byte), large: h.tooLarge()}
	go in.read(newLines(r.Body, h.MaxMessage), s.cancel)
	return in
}

func (in *incoming) read(body *lines, cancel context.CancelFunc) {
	defer close(in.lines)
	for {
		line, err := body.next()
		// The last line may lack its line feed: curl -d sends none.
		if (err == nil || err == io.EOF) && len(bytes.TrimSpace(line)) > 0 {
			select {
			case in.lines <- line:
			case <-in.ctx.Done():
				in.err = status.FromContextError(in.ctx.Err()).Err()
				return
			}
		}
		switch {
		case err == nil:
		case err == io.EOF:
			in.err = io.EOF
			return
		case errors.Is(err, errLineTooLong):
			in.err = in.large
			return
		default:
			in.err = gone("read the request", err)
			cancel()
			return
		}
	}
}

func (in *incoming) receive(req any) error {
	select {
	case line, ok := <-in.lines:
		if !ok {
			return in.err
		}
		return malformed(decode(strict, line, req))
	case <-in.ctx.Done():
		return status.FromContextError(in.ctx.Err()).Err()
	}
}

// stop ends the reading goroutine, whatever the client does.
func (in *incoming) stop(s *serverStream, w http.ResponseWriter) {
	s.cancel()
	if s.control.SetReadDeadline(time.Unix(1, 0)) != nil {
		return // not net/http's writer: the body's owner must end the read
	}
	unfinished := false
	for range in.lines {
		unfinished = true
	}
	if unfinished || in.err != io.EOF {
		// A client that is still sending would get a reset, and may lose the
		// answer to it. A body over a limit is net/http's only case in which it
		// ends its own side first and gives the client time to read.
		http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 1))
	}
}
