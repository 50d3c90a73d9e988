package jsonrpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// A Conn is a gRPC connection by way of JSON over HTTP: give it to a generated
// client, such as pauselogv1.NewLogClient, in place of a *grpc.ClientConn. It
// holds no resources beyond those of its http.Client.
//
// Outgoing metadata "authorization" and grpc.PerRPCCredentials become the header
// of that name; other metadata and other call options have no effect. The
// generated interface's rule about streams holds: receive until an error, or
// end the context.
type Conn struct {
	base       *url.URL
	client     *http.Client
	maxMessage int
}

var _ grpc.ClientConnInterface = (*Conn)(nil)

// A ConnOption changes a default of a Conn.
type ConnOption func(*Conn)

// MaxAnswer bounds the bytes of an answer, of each in a stream. The default is
// 16 MiB.
func MaxAnswer(n int) ConnOption { return func(c *Conn) { c.maxMessage = n } }

// NewConn returns a connection to the server at base, whose path comes before
// that of the methods. client may be nil; if it has a Timeout, that is the end
// of streams too. Redirects are never followed: a POST would become a GET, and
// a token would go who knows where.
func NewConn(base *url.URL, client *http.Client, opts ...ConnOption) *Conn {
	if client == nil {
		client = http.DefaultClient
	}
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c := &Conn{base: base, client: &own, maxMessage: 16 << 20}
	for _, o := range opts {
		o(c)
	}
	return c
}

// Invoke implements grpc.ClientConnInterface.
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	body, err := encode(requests, args)
	if err != nil {
		return status.Errorf(codes.Internal, "encode the request: %v", err)
	}
	resp, err := c.post(ctx, method, mediaJSON, mediaJSON, bytes.NewReader(body), opts)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, int64(c.maxMessage)+1))
	if err != nil {
		return transportError(ctx, err)
	}
	if len(answer) > c.maxMessage {
		return c.tooLarge()
	}
	if decode(lenient, answer, reply) != nil {
		return foreign(resp, answer)
	}
	return nil
}

// NewStream implements grpc.ClientConnInterface.
func (c *Conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &clientStream{conn: c, ctx: ctx, cancel: cancel, desc: desc, ready: make(chan struct{})}
	requestType := mediaJSON
	if desc.ClientStreams {
		requestType = mediaNDJSON
	}
	s.start = func(body io.Reader) {
		defer close(s.ready)
		if s.resp, s.err = c.post(ctx, method, requestType, mediaNDJSON, body, opts); s.err == nil {
			s.lines = newLines(s.resp.Body, c.maxMessage)
		}
	}
	if desc.ClientStreams {
		r, w := io.Pipe()
		s.body = w
		context.AfterFunc(ctx, func() { r.Close() }) // frees a blocked SendMsg
		go func() {
			if s.start(r); s.err != nil {
				r.Close() // the same
			}
		}()
	}
	return s, nil
}

// post returns the response if it is a success of the wanted type, and else an
// error with a gRPC status.
func (c *Conn) post(ctx context.Context, method, requestType, wantType string, body io.Reader, opts []grpc.CallOption) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath(method).String(), body)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "%v", err)
	}
	req.Header.Set("Content-Type", requestType)
	req.Header.Set("Accept", wantType)
	req.Header.Set("Accept-Encoding", "identity") // what is compressed comes in gulps, or as a bomb
	if err := authorize(req, opts); err != nil {
		return nil, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, transportError(ctx, err)
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode == http.StatusOK && media == wantType {
		return resp, nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode != http.StatusOK && media == mediaJSON {
		if err, ok := parseError(answer); ok {
			return nil, err
		}
	}
	if err != nil && ctx.Err() != nil {
		return nil, transportError(ctx, err)
	}
	return nil, foreign(resp, answer)
}

// authorize sets the header that stands for the call's credentials.
func authorize(req *http.Request, opts []grpc.CallOption) error {
	md, _ := metadata.FromOutgoingContext(req.Context())
	tokens := slices.Clone(md["authorization"])
	for _, o := range opts {
		o, ok := o.(grpc.PerRPCCredsCallOption)
		if !ok {
			continue
		}
		if o.Creds.RequireTransportSecurity() && req.URL.Scheme != "https" {
			return status.Errorf(codes.Unauthenticated, "the credentials must not be sent over %s", req.URL.Scheme)
		}
		md, err := o.Creds.GetRequestMetadata(req.Context(), req.URL.String())
		if err != nil {
			return status.Errorf(codes.Unauthenticated, "credentials: %v", err)
		}
		if token, ok := md["authorization"]; ok {
			tokens = append(tokens, token)
		}
	}
	if len(tokens) > 0 {
		req.Header["Authorization"] = tokens
	}
	return nil
}

// transportError is for a call that ended without an answer.
func transportError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	case errors.Is(err, context.DeadlineExceeded): // http.Client.Timeout
		return status.Error(codes.DeadlineExceeded, err.Error())
	}
	return status.Error(codes.Unavailable, err.Error())
}

func (c *Conn) tooLarge() error {
	return status.Errorf(codes.ResourceExhausted, "the answer is over %d bytes", c.maxMessage)
}
