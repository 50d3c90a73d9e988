// Package dial connects to a log by its URL, over gRPC (grpc://, grpcs://) or over HTTP
// (http://, https://), so that nobody above needs to know which.
package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/pauselog/pauselog/internal/jsonrpc"
)

const (
	connectTime = 10 * time.Second
	// callTime is how long a call with one answer may take, unless the caller set a limit.
	callTime = time.Minute
	// maxAnswer bounds an answer, and each one of a stream: 256 entries of the largest size,
	// and all that stands around them.
	maxAnswer = 16 << 20
)

// ErrURL says that a server's URL is not one.
var ErrURL = errors.New("not the URL of a log")

// Options are how to connect.
type Options struct {
	TokenFile         string // holds the secret that is sent along
	CAFile            string // authorities to trust in place of the system's
	CertFile, KeyFile string // this client's certificate
	UserAgent         string
	Warn              func(string) // told what is not right but not in the way; may be nil
}

// A Conn is a connection to a log. Its errors name the server.
type Conn struct {
	URL *url.URL
	// Trusted says that nobody on the way can change what is sent: by TLS, or because there
	// is no way, to this machine.
	Trusted bool

	inner  grpc.ClientConnInterface
	close  func() error
	secret string
}

// Dial prepares a connection. It does nothing on the network: that waits for the first call.
func Dial(server string, o Options) (*Conn, error) {
	u, err := parse(server)
	if err != nil {
		return nil, err
	}
	secure := u.Scheme == "grpcs" || u.Scheme == "https"
	c := &Conn{URL: u, Trusted: secure || isLoopback(u.Hostname())}
	if o.TokenFile != "" {
		if !c.Trusted {
			return nil, fmt.Errorf("refusing to send the token of %s to %s, where everyone on the way could read it: use %s:// with a host that has TLS", o.TokenFile, u, u.Scheme+"s")
		}
		if c.secret, err = readSecret(o.TokenFile, o.Warn); err != nil {
			return nil, err
		}
	}
	config, err := tlsConfig(o, secure)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		c.dialHTTP(config, o)
		return c, nil
	}
	return c, c.dialGRPC(config, o)
}

func (c *Conn) dialHTTP(config *tls.Config, o Options) {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: connectTime, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    connectTime,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        time.Minute,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	c.inner = jsonrpc.NewConn(c.URL, &http.Client{Transport: named{t, o.UserAgent}}, jsonrpc.MaxAnswer(maxAnswer))
	c.close = func() error { t.CloseIdleConnections(); return nil }
}

func (c *Conn) dialGRPC(config *tls.Config, o Options) error {
	creds := insecure.NewCredentials()
	if config != nil {
		creds = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient("dns:///"+c.URL.Host,
		grpc.WithTransportCredentials(creds),
		grpc.WithUserAgent(o.UserAgent),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTime}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
		grpc.WithDisableServiceConfig(), // it would come from DNS, from whoever answers that
	)
	if err != nil {
		return err
	}
	c.inner, c.close = conn, conn.Close
	return nil
}

// named adds the user agent.
type named struct {
	http.RoundTripper
	agent string
}

func (n named) RoundTrip(r *http.Request) (*http.Response, error) {
	if n.agent != "" {
		r = r.Clone(r.Context())
		r.Header.Set("User-Agent", n.agent)
	}
	return n.RoundTripper.RoundTrip(r)
}

// Loopback reports whether the server is on this machine.
func (c *Conn) Loopback() bool { return isLoopback(c.URL.Hostname()) }

// Close ends the connection.
func (c *Conn) Close() error { return c.close() }

var defaultPorts = map[string]string{"http": "80", "https": "443", "grpcs": "443"}

func parse(server string) (*url.URL, error) {
	fail := func(format string, args ...any) (*url.URL, error) {
		return nil, fmt.Errorf("%w: %.200q: %s", ErrURL, server, fmt.Sprintf(format, args...))
	}
	u, err := url.Parse(server)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return fail("%v: expected one like https://log.example/pause or grpcs://log.example:443", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "grpc" && u.Scheme != "grpcs":
		return fail("expected it to begin with https://, http://, grpcs:// or grpc://")
	case u.Hostname() == "":
		return fail("there is no host in it")
	case u.User != nil:
		return fail("it has a user or password in it: give a token with --token-file")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fail("it has a query or a fragment")
	case strings.HasPrefix(u.Scheme, "grpc") && strings.Trim(u.Path, "/") != "":
		return fail("gRPC knows no path, found %q: is it the URL of the HTTP address?", u.Path)
	}
	if u.Port() == "" {
		port := defaultPorts[u.Scheme]
		if port == "" {
			return fail("there is no port in it, and grpc:// has no usual one")
		}
		if u.Scheme == "grpcs" {
			u.Host = net.JoinHostPort(u.Hostname(), port)
		}
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// limited gives a call with one answer its time.
func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callTime)
}
