package jsonrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Options of a handler. The zero value works.
type Options struct {
	// The interceptors of the gRPC server, so that both transports authenticate,
	// limit and log alike. Recovering from panics is theirs too: a panic that
	// gets past them ends as net/http ends it. nil: none.
	Unary  grpc.UnaryServerInterceptor
	Stream grpc.StreamServerInterceptor

	// MaxMessage bounds the bytes of a request, of each in a stream. 0: 1 MiB.
	MaxMessage int
}

// NewHandler serves impl, the implementation of the service that desc describes,
// at /<service>/<Method>. It panics, as grpc.Server.RegisterService ends the
// program, when the two don't fit or the service's .proto is not linked in.
func NewHandler(desc *grpc.ServiceDesc, impl any, opts Options) http.Handler {
	if opts.MaxMessage == 0 {
		opts.MaxMessage = 1 << 20
	}
	if want := reflect.TypeOf(desc.HandlerType).Elem(); !reflect.TypeOf(impl).Implements(want) {
		panic(fmt.Sprintf("jsonrpc: %T does not implement %v", impl, want))
	}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(desc.ServiceName))
	if err != nil {
		panic(fmt.Sprintf("jsonrpc: service %s: %v", desc.ServiceName, err))
	}
	service := d.(protoreflect.ServiceDescriptor)
	h := &handler{Options: opts, impl: impl, methods: make(map[string]*method)}
	for _, m := range desc.Methods {
		h.add(service, &method{name: m.MethodName, unary: m.Handler})
	}
	for _, s := range desc.Streams {
		h.add(service, &method{name: s.StreamName, stream: &s})
	}
	return h
}

type handler struct {
	Options
	impl    any
	methods map[string]*method // by their path
}

// A method is unary or a stream.
type method struct {
	name   string // as gRPC has it: /service/Method
	unary  grpc.MethodHandler
	stream *grpc.StreamDesc
	verbs  []string
}

// clientStreams says that there are many requests, so that the body is lines.
func (m *method) clientStreams() bool { return m.stream != nil && m.stream.ClientStreams }

func (h *handler) add(service protoreflect.ServiceDescriptor, m *method) {
	md := service.Methods().ByName(protoreflect.Name(m.name))
	if md == nil {
		panic(fmt.Sprintf("jsonrpc: %s has no method %s", service.FullName(), m.name))
	}
	m.name = fmt.Sprintf("/%s/%s", service.FullName(), m.name)
	m.verbs = []string{http.MethodPost}
	options, _ := md.Options().(*descriptorpb.MethodOptions)
	if options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS && !m.clientStreams() {
		m.verbs = append(m.verbs, http.MethodGet)
		if m.stream == nil { // the HEAD of a stream might never end
			m.verbs = append(m.verbs, http.MethodHead)
		}
	}
	if m.stream != nil && md.Output().Fields().ByJSONName("error") != nil {
		panic(fmt.Sprintf("jsonrpc: %s: a message with a field \"error\" looks like a stream's end", m.name))
	}
	h.methods[m.name] = m
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	m := h.methods[r.URL.Path]
	if m == nil {
		writeError(w, refuse(http.StatusNotFound, codes.Unimplemented, "no method %q", r.URL.Path))
		return
	}
	if !slices.Contains(m.verbs, r.Method) {
		w.Header().Set("Allow", strings.Join(m.verbs, ", "))
		writeError(w, refuse(http.StatusMethodNotAllowed, codes.Unimplemented,
			"%s is not for %s; use %s", r.Method, m.name, strings.Join(m.verbs, ", ")))
		return
	}
	if err := m.acceptable(r); err != nil {
		writeError(w, err)
		return
	}
	ctx := callContext(r, m.name)
	if m.stream != nil {
		h.serveStream(ctx, w, r, m)
		return
	}
	receive := func(req any) error { return h.receive(w, r, req) }
	answer, err := m.unary(h.impl, ctx, receive, h.Unary)
	if err != nil {
		writeError(w, err)
		return
	}
	body, err := encode(answers, answer)
	if err != nil {
		writeError(w, status.Errorf(codes.Internal, "encode the answer: %v", err))
		return
	}
	w.Header().Set("Content-Type", mediaJSON)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) // an error here is the client's leaving
}

// acceptable refuses what receive would misunderstand.
func (m *method) acceptable(r *http.Request) error {
	if r.Method != http.MethodPost {
		return nil
	}
	if r.URL.RawQuery != "" {
		return refuse(http.StatusBadRequest, codes.InvalidArgument, "a POST has its request in the body, not in the query")
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return refuse(http.StatusUnsupportedMediaType, codes.InvalidArgument, "content encoding %q; send the body as it is", e)
	}
	header := r.Header.Get("Content-Type")
	if header == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(header)
	if err == nil && (media == mediaJSON || media == mediaNDJSON && m.clientStreams()) {
		return nil
	}
	want := mediaJSON
	if m.clientStreams() {
		want = mediaNDJSON
	}
	return refuse(http.StatusUnsupportedMediaType, codes.InvalidArgument, "content type %q; send %s", header, want)
}

// receive reads a call's only request: a POST's body, or else the query.
func (h *handler) receive(w http.ResponseWriter, r *http.Request, req any) error {
	if r.Method != http.MethodPost {
		return malformed(decodeQuery(r.URL.RawQuery, req))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(h.MaxMessage)))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return h.tooLarge()
	}
	if err != nil {
		return gone("read the request", err)
	}
	return malformed(decode(strict, body, req))
}

func malformed(err error) error {
	if err == nil {
		return nil
	}
	return refuse(http.StatusBadRequest, codes.InvalidArgument, "%v", err)
}

func (h *handler) tooLarge() error {
	return refuse(http.StatusRequestEntityTooLarge, codes.ResourceExhausted, "the request is over %d bytes", h.MaxMessage)
}

// callContext returns the request's context with what gRPC would have put into
// it: the peer, the metadata and the method's name.
func callContext(r *http.Request, name string) context.Context {
	ctx := r.Context()
	p := &peer.Peer{Addr: &net.UnixAddr{Name: r.RemoteAddr, Net: "unix"}}
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		p.Addr = net.TCPAddrFromAddrPort(addr)
	}
	if r.TLS != nil {
		p.AuthInfo = credentials.TLSInfo{
			State:          *r.TLS,
			CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		}
	}
	if local, ok := ctx.Value(http.LocalAddrContextKey).(net.Addr); ok {
		p.LocalAddr = local
	}
	md := metadata.MD{}
	if tokens := r.Header.Values("Authorization"); len(tokens) > 0 {
		md["authorization"] = tokens
	}
	ctx = peer.NewContext(ctx, p)
	ctx = metadata.NewIncomingContext(ctx, md)
	return grpc.NewContextWithServerTransportStream(ctx, transport(name))
}

// transport is for grpc.Method and grpc.SetHeader, which want a stream in the
// context. Headers and trailers are dropped: a caller must not fail over them.
type transport string

func (t transport) Method() string             { return string(t) }
func (transport) SetHeader(metadata.MD) error  { return nil }
func (transport) SendHeader(metadata.MD) error { return nil }
func (transport) SetTrailer(metadata.MD) error { return nil }
