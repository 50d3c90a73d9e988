package frontend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// Guard is what every call passes, over gRPC and over HTTP alike: it bounds the calls in
// progress and their time, knows the caller, keeps a panic in one call from ending the
// log, and counts.
type Guard struct {
	Auth    Authenticator
	Log     *slog.Logger
	Metrics *Metrics

	// MaxCalls bounds the calls in progress; more are told to come back.
	MaxCalls int64
	// MaxTime bounds a call that is no stream.
	MaxTime time.Duration

	calls atomic.Int64
}

// Unary implements grpc.UnaryServerInterceptor.
func (g *Guard) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	err = g.call(ctx, info.FullMethod, func(ctx context.Context) error {
		limited := withDeadline(ctx, time.Now().Add(g.MaxTime))
		defer limited.end()
		resp, err = handler(limited, req)
		return err
	})
	return resp, err
}

// Stream implements grpc.StreamServerInterceptor.
func (g *Guard) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return g.call(stream.Context(), info.FullMethod, func(ctx context.Context) error {
		return handler(srv, contextStream{stream, ctx})
	})
}

// contextStream is a stream with another context.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s contextStream) Context() context.Context { return s.ctx }

func (g *Guard) call(ctx context.Context, method string, f func(context.Context) error) (err error) {
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
		g.done(ctx, method, time.Since(began), err)
	}()
	if g.calls.Add(1) > g.MaxCalls {
		g.calls.Add(-1)
		return failure(Busy, "too many calls are in progress", "retry_after_ms", retryAfterMS)
	}
	defer g.calls.Add(-1)
	if needsToken[method] {
		ctx = withCaller(ctx, g.Auth)
		if _, err := permission(ctx); err != nil {
			return err
		}
	}
	return f(ctx)
}

// panicked is the error of a call that panicked with p.
func panicked(p any) error { return &fault{fmt.Errorf("panic: %v\n%s", p, debug.Stack())} }

func (g *Guard) done(ctx context.Context, method string, took time.Duration, err error) {
	g.Metrics.call(method, status.Code(err), took)
	var f *fault
	if errors.As(err, &f) {
		g.Log.Error("a call failed", "method", method, "error", f.error)
		return
	}
	if !g.Log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	from := ""
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		from = p.Addr.String()
	}
	g.Log.Debug("call", "method", method, "code", status.Code(err).String(), "took", took, "from", from)
}
