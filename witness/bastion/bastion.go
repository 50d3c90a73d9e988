// Package bastion lets a witness that nobody can connect to be reached through a bastion (C2SP
// https-bastion v1). The witness dials the bastion and proves its key, and then the roles turn: it
// serves HTTP/2 on the connection that it made, and the bastion passes to it what clients send to
//
//	https://<bastion>/<KeyHash of the key>/<path>    as a request for /<path>
//
// A bastion can drop requests and answers, see them and change them. None of this matters to a witness's
// safety: what it signs it has verified, and who asked for it verifies what comes back.
package bastion

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// protocol is what both sides name in the TLS handshake (ALPN).
const protocol = "bastion/0"

// dialTime is how long a connection and its handshake may take.
const dialTime = 15 * time.Second

// Config says which bastion to serve through, and what. A time that is 0 stands for the default
// in brackets.
type Config struct {
	// Address is the bastion's "host:port". Its certificate must be valid for the host.
	Address string

	// Key is what the bastion knows this backend by. It should not be the witness's own: a
	// bastion lets whoever has it receive the witness's requests, which is less than to sign.
	Key ed25519.PrivateKey

	// Handler answers the requests. It has to bound what it reads, and how long; the number of
	// requests at a time, their heads and what is buffered of their bodies are bounded here. A
	// request's RemoteAddr is the client's address, with port 0, if the bastion gives exactly
	// one that can be a client's, or else the bastion's own.
	Handler http.Handler

	// RootCAs are trusted for the bastion's certificate. Nil for the system's.
	RootCAs *x509.CertPool

	// Log is told when the bastion is reached and lost. Nil for slog.Default.
	Log *slog.Logger

	Wait    time.Duration // after a first failure; it doubles with each that follows [1 s]
	MaxWait time.Duration // at most; a connection that lasted so long ends the doubling [1 min]
	Drain   time.Duration // how long requests may take to be answered when the context ends [5 s]
}

// KeyHash returns the name of a backend in a bastion's URLs: the SHA-256 of its Ed25519 public
// key in lowercase hexadecimal.
func KeyHash(pub ed25519.PublicKey) string {
	sum := sha256.Sum256(pub)
	return hex.EncodeToString(sum[:])
}

// Serve keeps a connection to the bastion and answers what comes through it, until ctx ends; it
// then returns ctx's error. Any other error is one of the configuration, and comes at once: a
// bastion that cannot be reached or refuses is tried again.
func Serve(ctx context.Context, c Config) error {
	b, err := newBackend(c)
	if err != nil {
		return err
	}
	return b.serve(ctx)
}

type backend struct {
	Config
	tls  *tls.Config
	dial func(context.Context) (net.Conn, error)
}

func newBackend(c Config) (*backend, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&c.Wait, time.Second}, {&c.MaxWait, time.Minute}, {&c.Drain, 5 * time.Second}} {
		if *d.v == 0 {
			*d.v = d.d
		}
		if *d.v < 0 {
			return nil, fmt.Errorf("expected a time above 0, found %v", *d.v)
		}
	}
	if c.Handler == nil {
		return nil, errors.New("a bastion's backend needs a handler")
	}
	if len(c.Key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("expected an Ed25519 key of %d bytes, found %d", ed25519.PrivateKeySize, len(c.Key))
	}
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil {
		return nil, fmt.Errorf("expected a bastion's host and port: %w", err)
	}
	if host == "" || port == "" {
		return nil, fmt.Errorf("expected a bastion's host and port, found %q", c.Address)
	}
	cert, err := certificate(c.Key)
	if err != nil {
		return nil, fmt.Errorf("the certificate for the bastion: %w", err)
	}
	b := &backend{Config: c, tls: &tls.Config{
		// C2SP https-bastion: TLS 1.3, in which a client's certificate is not readable on the way.
		MinVersion:   tls.VersionTLS13,
		ServerName:   host,
		RootCAs:      c.RootCAs,
		NextProtos:   []string{protocol},
		Certificates: []tls.Certificate{cert},
	}}
	b.dial = func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", c.Address)
	}
	return b, nil
}

// certificate makes the self-signed certificate in which a bastion finds the key. A bastion looks
// at nothing else in it, so it is valid for as long as a certificate can be (RFC 5280, 4.1.2.5),
// and a clock that is wrong changes nothing.
func certificate(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func (b *backend) serve(ctx context.Context) error {
	var wait time.Duration
	for ctx.Err() == nil {
		began := time.Now()
		err := b.session(ctx)
		if ctx.Err() != nil {
			break
		}
		wait = nextWait(wait, time.Since(began), b.Wait, b.MaxWait)
		// Many backends lose a bastion at the same moment: they should not all come back at one.
		pause := wait/2 + rand.N(wait/2+1)
		b.Log.Warn("not connected to the bastion", "bastion", b.Address, "error", err, "retry", pause.Round(time.Millisecond))
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return ctx.Err()
}

// nextWait returns the wait after one of last, when the connection between them lasted so long.
func nextWait(last, lasted, first, most time.Duration) time.Duration {
	if last == 0 || lasted >= most {
		return min(first, most)
	}
	return min(2*last, most)
}

// session makes one connection and serves it until it ends, and says why it did.
func (b *backend) session(ctx context.Context) error {
	conn, err := b.connect(ctx)
	if err != nil {
		return err
	}
	b.Log.Info("connected to the bastion", "bastion", b.Address, "key_hash", KeyHash(b.Key.Public().(ed25519.PublicKey)))
	return b.serveConn(ctx, conn)
}

// connect returns a connection on which both sides know each other. (That the bastion knows our
// key it says only by not closing: in TLS 1.3 a client's handshake ends first.)
func (b *backend) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	raw, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, b.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	// A server that knows no ALPN at all lets any client pass.
	if p := conn.ConnectionState().NegotiatedProtocol; p != protocol {
		conn.Close()
		return nil, fmt.Errorf("expected a server that speaks %s, found one that speaks %q", protocol, p)
	}
	return conn, nil
}
