// Package daemon runs one log: it opens the data folder, refuses or starts the sequencer, listens,
// and drains when it is told to end. It is what pauselogd serve is.
package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/fairlisten"
	"github.com/pauselog/pauselog/internal/frontend"
	"github.com/pauselog/pauselog/internal/jsonrpc"
	"github.com/pauselog/pauselog/log/checkpoint"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// Config is what a log is run with.
type Config struct {
	Folder *datafolder.Folder
	// Policy, if not nil, is what readers of this log trust (ChoosePolicy). If it has a quorum, nothing is
	// published that does not meet it.
	Policy *checkpoint.Policy
	// Witnesses is how the policy's witnesses are asked.
	Witnesses Witnesses

	// Addresses to listen on, HOST:PORT; port 0 takes a free one. "" does not listen.
	GRPC, HTTP, Admin string

	// TLS, if not nil, is used for GRPC and HTTP. Without it these must be loopback addresses,
	// unless AllowPlaintext.
	TLS            *tls.Config
	AllowPlaintext bool

	// Stall is how long a client over HTTP may take to send or take the next piece of
	// anything. 0: 30 seconds.
	Stall time.Duration

	// ScrubPeriod is in what time the store is read once and compared with what was signed. 0: never.
	ScrubPeriod time.Duration

	// Open, if not nil, is called once submissions are taken: those of a log with witnesses only when these have
	// said that they saw nothing newer.
	Open func()

	// PublishTime is how long a submission waits to be published. 0: 20 seconds.
	PublishTime time.Duration

	Auth frontend.Authenticator
	Log  *slog.Logger
	// Fatal ends the process: a fault left open what is on disk.
	Fatal func(error)
}

// Witnesses is how witnesses are asked.
type Witnesses struct {
	// Interval is the least time between two requests to a witness, by its URL in the policy. nil: none.
	Interval func(url string) time.Duration
	// Recosign is after what time an unchanged checkpoint is cosigned again. 0: an hour.
	Recosign time.Duration
	// Timeout is for one request. 0: 10 seconds.
	Timeout time.Duration
}

// Addresses are where a running log listens.
type Addresses struct {
	GRPC  string `json:"grpc,omitempty"`
	HTTP  string `json:"http,omitempty"`
	Admin string `json:"admin,omitempty"`
}

const (
	maxConnections = 1024            // on each of the two public addresses
	maxPerClient   = 256             // of them
	silentTime     = 5 * time.Second // after which a connection may be closed for another
	maxStreams     = 128             // on one connection
	maxCalls       = 2048            // in progress, of all connections
	maxMessage     = 1 << 20
	maxCallTime    = time.Minute
	drainTime      = 15 * time.Second
)

// Run runs the log until the context ends, and then drains: what was submitted is
// answered, what is new is told to come back. ready is called once, when it serves.
func Run(ctx context.Context, c Config, ready func(Addresses)) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	reg := prometheus.NewRegistry()
	metrics := frontend.NewMetrics(reg)
	log, err := open(c.Folder, opening{witnessed: witnessed(c.Policy), log: c.Log, fatal: c.Fatal, observe: metrics.Commit})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.close()) }()
	defer limitGarbage()()
	st, seq := log.store, log.sequencer
	service := &frontend.Service{Store: st, Sequencer: seq, PublishTime: c.PublishTime}
	metrics.Watch(reg, service)
	scrub := newScrubbing(c, log, reg)
	if err := scrub.begin(ctx); err != nil {
		return err
	}
	// Before the store is closed, which it reads.
	defer scrub.end()
	guard := &frontend.Guard{Auth: c.Auth, Log: c.Log, Metrics: metrics, MaxCalls: maxCalls, MaxTime: maxCallTime}

	var l listeners
	defer l.closeUnserved()
	if err := l.listen(c); err != nil {
		return err
	}
	reg.MustRegister(connections(l.bounded))
	pub := &publishing{}
	switch {
	case witnessed(c.Policy):
		if pub, err = startPublishing(c, log, reg); err != nil {
			return err
		}
		service.Publisher = pub.publisher
	case c.Policy != nil:
		if err := recordPolicy(c.Folder, c.Policy); err != nil {
			return err
		}
	default:
		if before, err := wasWitnessed(c.Folder); err != nil {
			return err
		} else if before {
			c.Log.Warn("this log had witnesses, and is served without them now: nobody says whether its folder is the newest, and what it publishes nobody has cosigned")
		}
	}
	// Before the store is closed, which the publisher reads.
	defer func() { err = errors.Join(err, pub.stop()) }()
	if !witnessed(c.Policy) && c.Open != nil {
		c.Open()
	}
	checks := health.NewServer()
	grpcServer := newGRPC(c, guard, service, checks)
	httpServer := newHTTP(c, &frontend.Static{Service: service, Log: c.Log, Metrics: metrics},
		jsonrpc.NewHandler(&pb.Log_ServiceDesc, service, jsonrpc.Options{Unary: guard.Unary, Stream: guard.Stream, MaxMessage: maxMessage}))
	inService, drain := context.WithCancel(ctx)
	defer drain()
	vitals := vitals{service, inService}
	vitals.watch(reg)
	adminServer := &http.Server{Handler: adminHandler(vitals, reg), ReadHeaderTimeout: 10 * time.Second}
	controlServer := &http.Server{Handler: controlHandler(c.Folder, log, scrub), ReadHeaderTimeout: 10 * time.Second}

	// The first probe before anyone can ask: a health check must not find an unknown service.
	prober := &prober{vitals: vitals, checks: checks, log: c.Log}
	prober.probe()
	go prober.run(inService)

	failed := make(chan error, 4)
	serve := func(l net.Listener, f func(net.Listener) error) {
		if l == nil {
			return
		}
		go func() {
			if err := f(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		}()
	}
	serve(l.grpc, grpcServer.Serve)
	serve(l.http, httpServer.Serve)
	serve(l.admin, adminServer.Serve)
	serve(l.control, controlServer.Serve)
	l.served = true

	c.Log.Info("serving", "origin", c.Folder.Origin, "size", st.Head().Size, "root", st.Head().State.Root, "grpc", addr(l.grpc), "http", addr(l.http), "admin", addr(l.admin))
	ready(Addresses{GRPC: addr(l.grpc), HTTP: addr(l.http), Admin: addr(l.admin)})
	select {
	case <-ctx.Done():
	case err = <-failed:
	case err = <-pub.failed:
		// The witnesses say that nothing more must be signed.
		seq.Halt(err)
	}

	c.Log.Info("draining", "size", st.Head().Size)
	// Whatever ended it: from here on it is known to drain.
	drain()
	checks.Shutdown()
	// The sequencer first: it answers what waits, tells what is new to come back, and
	// ends the watches; then there is little left for the servers to wait for.
	seq.Close()
	limited, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	pub.finish(limited, seq.Signed().Size)
	pub.end()
	stopped := make(chan struct{})
	go func() { grpcServer.GracefulStop(); close(stopped) }()
	err = errors.Join(err, shutdown(limited, httpServer), shutdown(limited, controlServer), shutdown(limited, adminServer))
	select {
	case <-stopped:
	case <-limited.Done():
		grpcServer.Stop() // a client that does not read
		<-stopped
	}
	c.Log.Info("stopped", "size", st.Head().Size)
	return err
}

// shutdown waits for the requests in progress; after the time it cuts them off.
func shutdown(ctx context.Context, s *http.Server) error {
	if err := s.Shutdown(ctx); err != nil {
		return s.Close()
	}
	return nil
}

func (c *Config) check() error {
	if c.GRPC == "" && c.HTTP == "" {
		return errors.New("a log needs an address: --grpc, --http or both")
	}
	for _, a := range []string{c.GRPC, c.HTTP} {
		if a == "" || c.TLS != nil || c.AllowPlaintext {
			continue
		}
		if loopback, err := isLoopback(a); err != nil {
			return err
		} else if !loopback {
			return fmt.Errorf("%s is not a loopback address, and tokens would cross the network readable: "+
				"give --tls-cert and --tls-key, or --allow-plaintext if something in front does TLS", a)
		}
	}
	if c.Admin != "" {
		if loopback, err := isLoopback(c.Admin); err != nil {
			return err
		} else if !loopback && !c.AllowPlaintext {
			return fmt.Errorf("the admin address %s is not a loopback address: it has profiling and no access control; give --allow-plaintext if only trusted hosts reach it", c.Admin)
		}
	}
	if c.Policy != nil {
		return checkPolicy(c.Folder, c.Policy)
	}
	return nil
}

func isLoopback(address string) (bool, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false, fmt.Errorf("address %q: expected HOST:PORT: %w", address, err)
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback(), nil
}

func newGRPC(c Config, guard *frontend.Guard, service *frontend.Service, checks *health.Server) *grpc.Server {
	opts := []grpc.ServerOption{
		grpc.UnaryInterceptor(guard.Unary),
		grpc.StreamInterceptor(guard.Stream),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.MaxHeaderListSize(16 << 10),
		// Fixed windows: what a peer can make the log hold for it does not grow with its speed.
		grpc.StaticStreamWindowSize(256 << 10),
		grpc.StaticConnWindowSize(1 << 20),
		// Workers whose stacks have grown to what a call needs; streams that last get their own.
		grpc.NumStreamWorkers(maxStreams),
		// A peer that is gone without a word is found within minutes.
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 15 * time.Minute, Time: 2 * time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
	if c.TLS != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(c.TLS)))
	}
	s := grpc.NewServer(opts...)
	pb.RegisterLogServer(s, service)
	grpc_health_v1.RegisterHealthServer(s, checks)
	reflection.Register(s)
	return s
}

// listeners are opened all before the first is served, so that a taken port is an error at once.
type listeners struct {
	grpc, http, admin, control net.Listener
	bounded                    map[string]*fairlisten.Listener // the public ones, by what is spoken there
	served                     bool
}

func (l *listeners) listen(c Config) (err error) {
	l.bounded = make(map[string]*fairlisten.Listener)
	for _, x := range []struct {
		to      *net.Listener
		address string
		public  string
	}{{&l.grpc, c.GRPC, "grpc"}, {&l.http, c.HTTP, "http"}, {&l.admin, c.Admin, ""}} {
		if x.address == "" {
			continue
		}
		if *x.to, err = net.Listen("tcp", x.address); err != nil {
			return err
		}
		if x.public != "" {
			bounded := fairlisten.New(*x.to, fairlisten.Limits{All: maxConnections, PerClient: maxPerClient, Grace: silentTime})
			*x.to, l.bounded[x.public] = bounded, bounded
		}
	}
	if l.http != nil && c.TLS != nil {
		l.http = tls.NewListener(l.http, c.TLS)
	}
	l.control, err = listenControl(c.Folder.Dir)
	return err
}

func (l *listeners) closeUnserved() {
	if l.served {
		return // the servers close them
	}
	for _, x := range []net.Listener{l.grpc, l.http, l.admin, l.control} {
		if x != nil {
			x.Close()
		}
	}
}

func addr(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}
