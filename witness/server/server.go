// Package server is the HTTP face of a witness: C2SP tlog-witness over HTTP/1.1, and over whatever
// else brings requests to its Handler, such as the HTTP/2 of a bastion.
//
//	POST <prefix>/add-checkpoint              cosigns a checkpoint
//	POST <prefix>/sign-subtree                signs a subtree of a cosigned tree
//	GET  <prefix>/<origin hash>/checkpoint    the checkpoint that was cosigned last for a log
//
// It speaks no TLS: that is for a reverse proxy on the same machine, or a bastion.
//
// A witness has to answer a few logs, soon, while anybody may connect to it. So before anything of
// a request is believed, all that it can take is bounded: connections, the memory of bodies, turns
// with the cosigner and requests per second, each for a client as well; the time for a head, a
// body and an answer; and what is read of a body that is refused, which is nothing. And who takes
// his time loses his connection, or the memory of his body, to those who wait for one. A limit per
// client is not one per log: what somebody else sends for a log cannot use up what that log may send. Clients on a
// loopback address have no limits of their own, since a reverse proxy stands there for
// all of its clients and has to limit them.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"time"

	"github.com/pauselog/pauselog/witness/protocol"
)

// A Cosigner is the witness behind a server. Its methods may be called at the same time.
type Cosigner interface {
	// AddCheckpoint takes the body of an add-checkpoint request and returns signature lines, each
	// with its newline. What it signed is durable before it returns.
	//
	// An error that is a *witness.Refusal is for the client, and says with which status. Any other
	// means that the witness itself is in trouble: the client gets a 500 without its text.
	// The context ends when the client is gone; body is not kept.
	AddCheckpoint(ctx context.Context, body []byte) (lines []byte, err error)

	// SignSubtree does the same with the body of a sign-subtree request, and returns the body of
	// the answer.
	SignSubtree(ctx context.Context, body []byte) (answer []byte, err error)

	// Checkpoint returns the note that was cosigned last for the log with this origin hash (64
	// lowercase hexadecimal digits) with the signatures that were verified or made, and whether
	// there is one.
	Checkpoint(originHash string) (note []byte, ok bool)
}

// maxHeader bounds the head of a request in bytes. (net/http lets 4 KiB more pass.)
const maxHeader = 8 << 10

// Config configures a Server. A number or a time that is 0 stands for the default in brackets.
type Config struct {
	Cosigner Cosigner

	// Prefix is put before the paths: empty, or like "/witness", of letters, digits and "-._~/",
	// without a slash at its end.
	Prefix string

	// Log is told of internal errors and, at debug level only, of each request with its client's
	// address. Nil for slog.Default.
	Log *slog.Logger

	MaxBody int64 // bytes of a request's body [protocol.MaxBody]

	Rate        float64 // requests per second for each client [50]
	Burst       int     // requests that a client may make at once [200]
	RateClients int     // clients whose rate is remembered; of more, the longest idle is forgotten [4096]

	// Each body takes at least 4 KiB from the start, unless it announces less: all should have far
	// more than that for each connection.
	BodyMemory          int64 // bytes of all bodies in memory [16 MiB]
	BodyMemoryPerClient int64 // the same for each client [4 MiB]

	Turns          int           // requests that are with the cosigner at the same time [64]
	TurnsPerClient int           // the same for each client [8]
	Wait           time.Duration // how long another waits for its turn, or for the memory of complete bodies, before it gets a 503 [2 s]

	Connections          int // [512]
	ConnectionsPerClient int // [32]

	HeaderTime time.Duration // for a client to send all of a head [5 s]
	BodyTime   time.Duration // for a client to send all of a body [10 s]
	WriteTime  time.Duration // for a client to take all of an answer [10 s]
	IdleTime   time.Duration // between two requests on a connection [2 min]
}

func (c *Config) complete() {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	orDefault(&c.MaxBody, int64(protocol.MaxBody))
	orDefault(&c.Rate, 50)
	orDefault(&c.Burst, 200)
	orDefault(&c.RateClients, 4096)
	orDefault(&c.BodyMemory, int64(16<<20))
	orDefault(&c.BodyMemoryPerClient, int64(4<<20))
	orDefault(&c.Turns, 64)
	orDefault(&c.TurnsPerClient, 8)
	orDefault(&c.Wait, 2*time.Second)
	orDefault(&c.Connections, 512)
	orDefault(&c.ConnectionsPerClient, 32)
	orDefault(&c.HeaderTime, 5*time.Second)
	orDefault(&c.BodyTime, 10*time.Second)
	orDefault(&c.WriteTime, 10*time.Second)
	orDefault(&c.IdleTime, 2*time.Minute)
}

func orDefault[T int | int64 | float64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

var prefixForm = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*$`)

// A Server serves a witness.
type Server struct {
	config      Config
	http        *http.Server
	rates       *rates
	memory      *memory
	turns       *turns
	connections *connections
	counters    counters
}

// New returns a server that does not serve yet. An error is one of the configuration.
func New(c Config) (*Server, error) {
	c.complete()
	if c.Cosigner == nil {
		return nil, errors.New("a witness's server needs a cosigner")
	}
	if !prefixForm.MatchString(c.Prefix) {
		return nil, fmt.Errorf("expected a prefix like /witness, found %q", c.Prefix)
	}
	for _, n := range []int64{c.MaxBody, int64(c.Burst), int64(c.RateClients), c.BodyMemory, c.BodyMemoryPerClient,
		int64(c.Turns), int64(c.TurnsPerClient), int64(c.Wait), int64(c.Connections), int64(c.ConnectionsPerClient),
		int64(c.HeaderTime), int64(c.BodyTime), int64(c.WriteTime), int64(c.IdleTime)} {
		if n < 0 {
			return nil, fmt.Errorf("expected limits above 0, found %d", n)
		}
	}
	if least := min(c.BodyMemory, c.BodyMemoryPerClient); least <= c.MaxBody {
		return nil, fmt.Errorf("expected memory for more than a body of %d bytes, found %d", c.MaxBody, least)
	}
	if !(c.Rate > 0) {
		return nil, fmt.Errorf("expected a rate above 0, found %v", c.Rate)
	}
	s := &Server{
		config:      c,
		rates:       newRates(c.Rate, c.Burst, c.RateClients),
		memory:      newMemory(c.BodyMemory, c.BodyMemoryPerClient, c.Wait),
		turns:       newTurns(c.Turns, c.TurnsPerClient, c.Wait),
		connections: newConnections(c.Connections, c.ConnectionsPerClient),
	}
	var http1 http.Protocols
	http1.SetHTTP1(true)
	s.http = &http.Server{
		Handler:           s.Handler(),
		Protocols:         &http1,
		ReadHeaderTimeout: c.HeaderTime,
		IdleTimeout:       c.IdleTime,
		// What net/http writes by itself: refusals of heads, and 100 Continue. The handler gives
		// its answers a time of their own, since this one begins with the end of the head.
		WriteTimeout:                 c.WriteTime,
		MaxHeaderBytes:               maxHeader,
		ConnState:                    s.connections.state,
		ConnContext:                  withConnection,
		DisableGeneralOptionsHandler: true,
		// It names clients' addresses.
		ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Serve takes connections from l until Shutdown or Close, after which it returns
// http.ErrServerClosed. It closes l.
func (s *Server) Serve(l net.Listener) error { return s.http.Serve(s.connections.listen(l)) }

// Shutdown ends Serve, lets requests be answered, and returns when they are or ctx ends.
func (s *Server) Shutdown(ctx context.Context) error { return s.http.Shutdown(ctx) }

// Close ends Serve and all connections at once.
func (s *Server) Close() error { return s.http.Close() }
