package frontend

import (
	"context"
	"crypto/x509"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// An Authenticator knows who may submit. Its methods are called for each request, at
// the same time, and must notice a revocation at once; their errors are shown to
// the client and must not tell anything about a token that it did not send.
type Authenticator interface {
	// Bearer returns what the holder of a bearer token may do.
	Bearer(secret string) (Permission, error)
	// Certificate returns what the holder of a client certificate may do. The certificate was
	// verified against the configured authorities.
	Certificate(*x509.Certificate) (Permission, error)
}

// A Permission is what a submitter may do.
type Permission interface {
	// Allows returns an error with a sentence for the client if it may not submit that.
	Allows(entry.Kind, entry.Seen) error
}

// needsToken are the calls that change something. All others are for everybody.
var needsToken = map[string]bool{
	pb.Log_Submit_FullMethodName:       true,
	pb.Log_SubmitStream_FullMethodName: true,
}

// A caller can be asked again what it may do.
type caller struct {
	auth   Authenticator
	secret string
	cert   *x509.Certificate
}

type callerKey struct{}

// withCaller notes who makes a call.
func withCaller(ctx context.Context, auth Authenticator) context.Context {
	c := &caller{auth: auth}
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.VerifiedChains) > 0 {
			c.cert = info.State.PeerCertificates[0]
		}
	}
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		if v := md.Get("authorization"); len(v) == 1 {
			scheme, secret, _ := strings.Cut(v[0], " ")
			if strings.EqualFold(scheme, "bearer") {
				c.secret = secret
			}
		}
	}
	return context.WithValue(ctx, callerKey{}, c)
}

// permission asks what the caller of a request may do now.
func permission(ctx context.Context) (may Permission, err error) {
	c, _ := ctx.Value(callerKey{}).(*caller)
	switch {
	case c == nil || c.auth == nil:
		return nil, failure(Unauthenticated, "this log takes no submissions")
	case c.secret != "":
		may, err = c.auth.Bearer(c.secret)
	case c.cert != nil:
		may, err = c.auth.Certificate(c.cert)
	default:
		return nil, failure(Unauthenticated, "submitting needs a token: send it in the header Authorization: Bearer ...")
	}
	if err != nil {
		return nil, failure(Unauthenticated, err.Error())
	}
	return may, nil
}
