package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/internal/dial"
	"github.com/pauselog/pauselog/internal/trust"
	"github.com/pauselog/pauselog/internal/version"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/verify"
)

// An app is one call of the program: the flags that several commands have, and what they
// are turned into.
type app struct {
	stdout *output
	stderr io.Writer

	json, verbose bool
	policyFile    string
	stateDir      string
	server        string
	dial          dial.Options

	trusted bool // the connection is to the policy's log itself
}

// policyFlags are for commands that check what a log says.
func (a *app) policyFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.policyFile, "policy", "", "the file that says which log's keys and which witnesses to trust")
	cmd.Flags().StringVar(&a.stateDir, "state-dir", "", "the folder that remembers the newest checkpoint seen (default $XDG_STATE_HOME/pauselog)")
}

// serverFlags are for commands that ask a log.
func (a *app) serverFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.server, "server", "", "the log's URL, grpcs://, grpc://, https:// or http:// (default: the one in the policy)")
	a.caFlag(cmd)
}

func (a *app) caFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.dial.CAFile, "ca", "", "PEM file of the authorities to trust for TLS with the log, in place of the system's; for proof trees at other https:// URLs, beside them")
}

// writerFlags are for commands that need an account.
func (a *app) writerFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.dial.TokenFile, "token-file", "", "the file with the token")
	cmd.Flags().StringVar(&a.dial.CertFile, "cert", "", "PEM file of a client certificate, in place of a token")
	cmd.Flags().StringVar(&a.dial.KeyFile, "key", "", "PEM file of its key")
}

// policy reads the policy file.
func (a *app) policy() (*checkpoint.Policy, error) {
	if a.policyFile == "" {
		return nil, usagef("--policy is needed: the file that says which log's keys and which witnesses to trust; its operator publishes it")
	}
	f, err := os.Open(a.policyFile)
	if err != nil {
		return nil, usagef("the policy: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, checkpoint.MaxPolicySize+1))
	if err != nil {
		return nil, usagef("the policy: %w", err)
	}
	p, err := checkpoint.ParsePolicy(b)
	if err != nil {
		return nil, usagef("%s: %w", a.policyFile, err)
	}
	return p, nil
}

// connect prepares a connection to the log; p may be nil. Nothing goes over the network yet.
func (a *app) connect(p *checkpoint.Policy) (*dial.Conn, error) {
	server := a.server
	var named []string // the hosts that the policy names
	if p != nil {
		for _, l := range p.Logs() {
			if l.URL == "" {
				continue
			}
			if server == "" {
				server = l.URL
			}
			if u, err := url.Parse(l.URL); err == nil {
				named = append(named, u.Hostname())
			}
		}
	}
	if server == "" {
		return nil, errNoServer
	}
	a.dial.UserAgent = userAgent()
	a.dial.Warn = func(s string) { a.warn("%s", s) }
	conn, err := dial.Dial(server, a.dial)
	if err != nil {
		if errors.Is(err, dial.ErrURL) {
			return nil, usageError{err}
		}
		return nil, err
	}
	// A mirror may be reached over TLS too, and its word is not the log's. If the policy does
	// not say where the log is, whoever named the server knew.
	a.trusted = conn.Trusted && (conn.Loopback() || len(named) == 0 || slices.Contains(named, conn.URL.Hostname()))
	return conn, nil
}

var errNoServer = usageError{errors.New("there is no server to ask: give --server URL, or a policy whose log line has a URL")}

// reader connects to the policy's log, with everything checked.
func (a *app) reader(p *checkpoint.Policy) (log *client.Log, closeConn func(), err error) {
	memory, err := trust.Open(a.stateDir)
	if err != nil {
		return nil, nil, err
	}
	conn, err := a.connect(p)
	if err != nil {
		return nil, nil, err
	}
	return client.New(conn, p, memory), func() { conn.Close() }, nil
}

// keepEvidence writes a result's evidence to a file: with the trust state, or else where the
// user is, but not nowhere.
func (a *app) keepEvidence(r *verify.Result) {
	if r.Evidence == nil {
		return
	}
	state, err := trust.Open(a.stateDir)
	if err == nil {
		var name string
		if name, err = state.WriteEvidence(r.Evidence); err == nil {
			r.EvidencePath = name
			return
		}
	}
	text := r.Evidence.Marshal()
	name := trust.EvidenceName(text)
	if here := atomicfile.Write(name, text, 0o600); here != nil {
		a.warn("the evidence could not be written: %v; %v. It follows, keep it:", err, here)
		fmt.Fprintf(a.stderr, "%s", text)
		return
	}
	r.EvidencePath = name
}

// need returns a usage error if a flag has no value.
func need(cmd *cobra.Command, flags ...string) error {
	for _, f := range flags {
		if cmd.Flag(f).Value.String() == "" {
			return usagef("--%s is needed: see '%s --help'", f, cmd.CommandPath())
		}
	}
	return nil
}

// args returns a check of how many arguments there are.
func args(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("%s is needed: see '%s --help'", what, cmd.CommandPath())
		case most >= 0 && len(args) > most:
			return usagef("unexpected argument %q: see '%s --help'", args[most], cmd.CommandPath())
		}
		return nil
	}
}

func userAgent() string { return version.UserAgent("pauselog") }

// pause waits, or returns the error of the context's end.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connectAnyPolicy connects for a command that needs a policy only to find the log.
func (a *app) connectAnyPolicy() (*dial.Conn, error) {
	if a.policyFile == "" {
		return a.connect(nil)
	}
	p, err := a.policy()
	if err != nil {
		return nil, err
	}
	return a.connect(p)
}
