// Package witnessd runs one witness: it lays out the data folder, serves, and answers its operator.
// It is what pausewitness is.
//
// The data folder:
//
//	witness.json   what this witness is: its name, and where its head file is
//	keys/          its keys: ed25519.key, or ed25519.agent if that key is in an ssh-agent; mldsa44.key; bastion.key
//	state/         what it has seen (package witness/state)
//	evidence/      what logs did wrong (package witness)
//	control        a socket for the operator's commands, while the witness runs
//
// The head file lies outside of the folder, by default beside it, so that no restore of
// the folder takes it along.
//
// The package and what it imports stay small: no store, no gRPC, no client library for metrics.
package witnessd

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/pauselog/pauselog/internal/controlsocket"
	"github.com/pauselog/pauselog/witness"
	"github.com/pauselog/pauselog/witness/bastion"
	"github.com/pauselog/pauselog/witness/server"
	"github.com/pauselog/pauselog/witness/state"
)

// Config is what a witness is run with.
type Config struct {
	Folder *Folder

	// Listen is HOST:PORT for logs and monitors; port 0 takes a free one. "" does not listen: then
	// there is a Bastion. There is no TLS: that is for a proxy in front of it.
	Listen string

	// Bastion is HOST:PORT of a bastion to serve through; "" is none.
	Bastion string
	// BastionKey is what it knows the witness by; nil is the folder's.
	BastionKey ed25519.PrivateKey
	// BastionRoots are trusted for the bastion's certificate; nil are the system's.
	BastionRoots *x509.CertPool

	// Admin is HOST:PORT for metrics and health, which has no access control: it must be a
	// loopback address, unless AllowRemoteAdmin. Pprof adds profiles.
	Admin            string
	AllowRemoteAdmin bool
	Pprof            bool

	// Limits are those of the server. Its Cosigner and Log are set here.
	Limits server.Config

	Clock witness.Clock // nil: the system's
	Log   *slog.Logger  // nil: none

	// Fatal ends the process: a failed write left open what is on disk. nil: Run returns the error.
	Fatal func(error)
}

// Addresses are where a running witness is reached.
type Addresses struct {
	Listen string `json:"listen,omitempty"`
	// URL is the submission prefix at Listen, as it stands in a policy if nothing is in front of the witness.
	URL   string `json:"url,omitempty"`
	Admin string `json:"admin,omitempty"`
	// Bastion is the witness's URL at its bastion.
	Bastion string `json:"bastion,omitempty"`
	// Logs is how many logs it knows.
	Logs int `json:"logs"`
}

// A ConfigError says that a Config cannot be run with.
type ConfigError struct{ error }

func (e ConfigError) Unwrap() error { return e.error }

// drainTime is how long requests may take to be answered when the witness ends.
const drainTime = 10 * time.Second

// Run runs the witness until the context ends, and then drains: what was asked is answered. ready
// is called once, when it serves. An error that wraps state.ErrRefused says that the state is not,
// or may not be, the newest.
func Run(ctx context.Context, c Config, ready func(Addresses)) (err error) {
	if err := c.complete(); err != nil {
		return ConfigError{err}
	}
	failed := make(chan error, 5)
	st, err := c.Folder.openWhenFree(ctx, func(err error) {
		if c.Fatal != nil {
			c.Fatal(err)
		}
		failed <- err
	})
	if err != nil {
		return err
	}
	// After the last request.
	defer func() { err = errors.Join(err, st.Close()) }()
	r, err := start(c, st)
	if err != nil {
		return err
	}
	var l listeners
	defer l.closeUnserved()
	if err := l.listen(c); err != nil {
		return err
	}

	adminServer := &http.Server{Handler: r.adminHandler(), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	controlServer := &http.Server{Handler: controlHandler(changes{st, r.witness.AcceptClock}, r.status), ReadHeaderTimeout: 10 * time.Second}
	serve := func(l net.Listener, f func(net.Listener) error) {
		if l == nil {
			return
		}
		go func() {
			if err := f(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		}()
	}
	serve(l.public, r.server.Serve)
	serve(l.admin, adminServer.Serve)
	serve(l.control, controlServer.Serve)
	l.served = true
	stopBastion := r.serveBastion(failed)

	a := Addresses{Listen: addr(l.public), Admin: addr(l.admin), Bastion: c.bastionURL(), Logs: len(st.Logs())}
	if a.Listen != "" {
		a.URL = "http://" + a.Listen + c.Limits.Prefix
	}
	c.Log.Info("serving", "name", c.Folder.Name, "logs", a.Logs, "listen", a.Listen, "admin", a.Admin, "bastion", a.Bastion)
	if problem := r.witness.ClockProblem(); problem != nil {
		c.Log.Error("nothing is cosigned until the clock is put right or accepted", "error", problem)
	}
	ready(a)
	select {
	case <-ctx.Done():
	case err = <-failed:
	}

	c.Log.Info("draining")
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	stopBastion()
	for _, s := range []interface {
		Shutdown(context.Context) error
		Close() error
	}{r.server, controlServer, adminServer} {
		if s.Shutdown(drain) != nil {
			s.Close() // a client that does not read
		}
	}
	c.Log.Info("stopped")
	return err
}

// complete checks a configuration and fills in what is left to it.
func (c *Config) complete() error {
	if c.Listen == "" && c.Bastion == "" {
		return errors.New("a witness needs an address: --listen, --bastion or both")
	}
	if c.Bastion != "" {
		if host, port, err := net.SplitHostPort(c.Bastion); err != nil || host == "" || port == "" {
			return fmt.Errorf("bastion %q: expected HOST:PORT", c.Bastion)
		}
	}
	if c.Admin != "" && !c.AllowRemoteAdmin {
		loopback, err := isLoopback(c.Admin)
		if err != nil {
			return err
		}
		if !loopback {
			return fmt.Errorf("the admin address %s is not a loopback address, and it has no access control: give --allow-remote-admin if only trusted hosts reach it", c.Admin)
		}
	}
	if c.Pprof && c.Admin == "" {
		return errors.New("--pprof needs --admin, where the profiles are")
	}
	if c.BastionKey == nil {
		c.BastionKey = c.Folder.BastionKey()
	}
	if c.Clock == nil {
		c.Clock = witness.SystemClock()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
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

// bastionURL is where logs reach the witness through its bastion: a submission prefix.
func (c *Config) bastionURL() string {
	if c.Bastion == "" {
		return ""
	}
	return "https://" + c.Bastion + "/" + keyHash(c.BastionKey) + c.Limits.Prefix
}

func keyHash(k ed25519.PrivateKey) string { return bastion.KeyHash(k.Public().(ed25519.PublicKey)) }

// A running is a witness that was started.
type running struct {
	Config
	state   *state.State
	witness *witness.Witness
	server  *server.Server
	started time.Time
}

func start(c Config, st *state.State) (*running, error) {
	signers, err := c.Folder.keys.signers()
	if err != nil {
		return nil, err
	}
	r := &running{Config: c, state: st, started: c.Clock.Now()}
	r.witness, err = witness.New(witness.Config{State: st, Signers: signers, EvidenceDir: c.Folder.evidenceDir(), Clock: c.Clock, Log: c.Log})
	if err != nil {
		return nil, err
	}
	limits := c.Limits
	limits.Cosigner, limits.Log = r.witness, c.Log
	if r.server, err = server.New(limits); err != nil {
		return nil, ConfigError{err}
	}
	return r, nil
}

// serveBastion serves through the bastion, if there is one, until stop is called, which returns when
// everything is answered.
func (r *running) serveBastion(failed chan<- error) (stop func()) {
	if r.Bastion == "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := bastion.Serve(ctx, bastion.Config{Address: r.Bastion, Key: r.BastionKey, Handler: r.server.Handler(), RootCAs: r.BastionRoots, Log: r.Log})
		if ctx.Err() == nil {
			failed <- err
		}
	}()
	return func() { cancel(); <-done }
}

// healthy returns why the witness cosigns nothing, or nil.
func (r *running) healthy() error {
	return errors.Join(r.state.Err(), r.witness.ClockProblem())
}

// listeners are opened all before the first is served, so that a taken port is an error at once.
type listeners struct {
	public, admin, control net.Listener
	served                 bool
}

func (l *listeners) listen(c Config) (err error) {
	for _, x := range []struct {
		to      *net.Listener
		address string
	}{{&l.public, c.Listen}, {&l.admin, c.Admin}} {
		if x.address == "" {
			continue
		}
		if *x.to, err = net.Listen("tcp", x.address); err != nil {
			return err
		}
	}
	l.control, err = controlsocket.Listen(c.Folder.Dir)
	return err
}

func (l *listeners) closeUnserved() {
	if l.served {
		return // the servers close them
	}
	for _, x := range []net.Listener{l.public, l.admin, l.control} {
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
