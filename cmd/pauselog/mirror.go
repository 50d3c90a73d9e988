package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	cpanmirror "github.com/pauselog/pauselog/internal/mirror"
	"github.com/pauselog/pauselog/internal/trust"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/verify"
)

// mirrorFlags are those of mirror and exec.
type mirrorFlags struct {
	app *app

	upstreams   []string
	mode        string
	cache       string
	proofs      []string
	backpan     string
	maxIndexAge time.Duration
	lookup      bool

	memory  client.Memory // nil: there is no place for one
	closers []func()
}

func (f *mirrorFlags) add(cmd *cobra.Command) {
	f.app.policyFlags(cmd)
	f.app.serverFlags(cmd)
	s := cmd.Flags()
	s.StringArrayVar(&f.upstreams, "upstream", nil, "a mirror to fetch from, a URL or a folder; again for more, tried in their order")
	s.StringVar(&f.mode, "mode", "require", "what stops: require (all but verified) or prefer (what is wrong, not what is missing)")
	s.StringVar(&f.cache, "cache", "", "the folder for what was fetched; may be deleted at any time (default $XDG_CACHE_HOME/pauselog)")
	s.StringArrayVar(&f.proofs, "proofs", nil, "where proofs are: a .tlog-proof file, or a proof tree, a folder or a URL; again for more")
	s.StringVar(&f.backpan, "backpan", "", "the URL of a BackPAN, for what the upstreams do not have any more")
	s.DurationVar(&f.maxIndexAge, "max-index-age", 0, "how old an index may be, as 30h (default: any age)")
	s.BoolVar(&f.lookup, "lookup", false, "ask the log itself for what no other source proves: it so learns what you install")
}

// open makes the mirror; report is told of each decision. Whatever it returns, close is to be called.
func (f *mirrorFlags) open(ctx context.Context, report func(cpanmirror.Record)) (*cpanmirror.Mirror, error) {
	a := f.app
	o := cpanmirror.Options{MaxIndexAge: f.maxIndexAge, Cache: f.cache, Report: report, Evidence: a.keepEvidence}
	var err error
	if o.Mode, err = verify.ParseMode(f.mode); err != nil {
		return nil, usagef("--mode: %w", err)
	}
	if f.maxIndexAge < 0 {
		return nil, usagef("--max-index-age cannot be negative")
	}
	if o.Policy, err = a.policy(); err != nil {
		return nil, err
	}
	if o.Known, err = f.openMemory(o.Policy); err != nil {
		return nil, err
	}
	if o.Cache == "" {
		o.Cache = usable(cpanmirror.DefaultCache())
	}
	for _, where := range f.upstreams {
		u, err := cpanmirror.OpenUpstream(where, userAgent())
		if err != nil {
			return nil, usageError{err}
		}
		o.Upstreams = append(o.Upstreams, u)
	}
	if o.Provers, err = f.provers(ctx, o.Policy, o.Upstreams); err != nil {
		return nil, err
	}
	if f.backpan != "" {
		u, err := cpanmirror.OpenUpstream(f.backpan, userAgent())
		if err != nil {
			return nil, usagef("--backpan: %w", err)
		}
		o.Upstreams = append(o.Upstreams, u)
	}
	m, err := cpanmirror.New(o)
	if err != nil {
		return nil, err
	}
	f.closers = append(f.closers, func() {
		if err := m.Close(); err != nil {
			a.warn("%v", err)
		}
	})
	return m, nil
}

func (f *mirrorFlags) close() {
	for _, c := range slices.Backward(f.closers) {
		c()
	}
}

// openMemory opens the trust state, and returns what is remembered.
func (f *mirrorFlags) openMemory(p *checkpoint.Policy) (known func() ([][]byte, error), err error) {
	memory, err := trust.Open(f.app.stateDir)
	if errors.Is(err, trust.ErrNoFolder) {
		// A build machine may have no home; what it is shown is then compared with nothing before.
		f.app.warn("%v; nothing is remembered of this run", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f.memory = memory
	known = func() ([][]byte, error) { return memory.Known(p) }
	_, err = known()
	return known, err
}

// provers are the sources of proofs, in their order: those that the user named, then those that learn nothing new, which
// are the upstreams, then the log's own files, and last what tells the log a path.
func (f *mirrorFlags) provers(ctx context.Context, p *checkpoint.Policy, upstreams []cpanmirror.Upstream) ([]cpanmirror.Prover, error) {
	var out []cpanmirror.Prover
	for _, where := range f.proofs {
		named, err := f.prover(ctx, where, p)
		if err != nil {
			return nil, err
		}
		out = append(out, named)
	}
	for i, u := range upstreams {
		out = append(out, cpanmirror.BesideFiles(u))
		if tree := f.upstreamTree(ctx, f.upstreams[i], p); tree != nil {
			out = append(out, tree)
		}
	}
	log, err := f.logProvers(ctx, p)
	return append(out, log...), err
}

// usable returns a folder if it can be written to, and otherwise "", for a temporary one.
func usable(dir string) string {
	if dir == "" || os.MkdirAll(dir, 0o700) != nil {
		return ""
	}
	f, err := os.CreateTemp(dir, ".writable")
	if err != nil {
		return ""
	}
	f.Close()
	os.Remove(f.Name())
	return dir
}

// prover opens a source of proofs that the user named.
func (f *mirrorFlags) prover(ctx context.Context, where string, p *checkpoint.Policy) (cpanmirror.Prover, error) {
	if strings.Contains(where, "://") {
		source, err := prooftree.OpenHTTP(where, userAgent())
		if err != nil {
			return nil, usageError{err}
		}
		return f.tree(ctx, where, source, p, false), nil
	}
	info, err := os.Stat(where)
	if err != nil {
		return nil, usagef("--proofs: %w", err)
	}
	if info.IsDir() {
		source, err := prooftree.OpenDir(where)
		if err != nil {
			return nil, usagef("--proofs: %w", err)
		}
		return f.tree(ctx, where, source, p, false), nil
	}
	b, err := readProof(where)
	if err != nil {
		return nil, usagef("--proofs: %w", err)
	}
	one, err := cpanmirror.OneBundle(where, b)
	if err != nil {
		return nil, usagef("--proofs: %w", err)
	}
	return one, nil
}

// tree opens a proof tree; log says that it is the word of the log itself.
func (f *mirrorFlags) tree(ctx context.Context, name string, source prooftree.Source, p *checkpoint.Policy, log bool) cpanmirror.Prover {
	return cpanmirror.FromTree(ctx, cpanmirror.TreeOptions{Name: name, Source: source, Policy: p, Memory: f.memory, Log: log})
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// upstreamTree returns the proof tree that a mirror of CPAN carries, or nil if it has none.
func (f *mirrorFlags) upstreamTree(ctx context.Context, upstream string, p *checkpoint.Policy) cpanmirror.Prover {
	const below = "modules/tlog"
	var source prooftree.Source
	name := strings.TrimRight(upstream, "/") + "/" + below
	if strings.Contains(upstream, "://") {
		s, err := prooftree.OpenHTTP(name, userAgent())
		if err != nil {
			return nil
		}
		source = s
	} else {
		s, err := prooftree.OpenDir(filepath.Join(upstream, below))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			f.app.warn("%v", err)
			return nil
		}
		source = s
	}
	return f.tree(ctx, name, source, p, false)
}

// logProvers are the log's own copies of the tree, and, if the user wants that, its answers about paths.
func (f *mirrorFlags) logProvers(ctx context.Context, p *checkpoint.Policy) (out []cpanmirror.Prover, err error) {
	for _, l := range p.Logs() {
		if u, err := url.Parse(l.URL); err == nil && l.URL != "" && (u.Scheme == "http" || u.Scheme == "https") {
			source, err := prooftree.OpenHTTP(strings.TrimRight(l.URL, "/"), userAgent())
			if err != nil {
				return nil, fmt.Errorf("the policy: %w", err)
			}
			out = append(out, f.tree(ctx, l.URL, source, p, u.Scheme == "https" || isLoopback(u.Hostname())))
			break
		}
	}
	if !f.lookup {
		return out, nil
	}
	if f.memory == nil {
		return nil, outcomeError{verify.Error, fmt.Errorf("--lookup: %w", trust.ErrNoFolder)}
	}
	log, closeConn, err := f.app.reader(p)
	if err != nil {
		return nil, err
	}
	f.closers = append(f.closers, closeConn)
	return append(out, cpanmirror.LogProver{Log: log, Trusted: f.app.trusted}), nil
}

func (a *app) mirrorCommand() *cobra.Command {
	f := &mirrorFlags{app: a}
	var listen string
	cmd := &cobra.Command{
		Use:   "mirror --policy FILE --upstream URL|DIR...",
		Short: "run a CPAN mirror on this machine that serves only what is logged",
		Long: `mirror is a CPAN mirror for cpanm, CPAN.pm, Carton, cpm and minicpan on this machine. What they ask for is
fetched whole from an upstream, verified, and only then served. What does not verify is refused, with
the reason in the status line, on standard error, on the page that the address shows, and in /-/status.json.

When it is ready, it prints one line of JSON with its URL. It runs until it is interrupted.

Proofs are taken from --proofs, from beside the file and from modules/tlog/ of the upstreams, and from the log's
own files. None of that tells the log what is installed. --lookup asks it, if all of that has no proof.

pauselog exec runs one command with a mirror of its own, and sets up the client. With mirror, that is for
you to do: clients have ways around a mirror, which exec closes or names.`,
		Example: `  pauselog mirror --policy pause.policy --upstream https://www.cpan.org --listen 127.0.0.1:8080
  cpanm --from http://127.0.0.1:8080 Try::Tiny`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(f.upstreams) == 0 {
				return usagef("--upstream is needed: see '%s --help'", cmd.CommandPath())
			}
			l, err := cpanmirror.Listen(listen)
			if err != nil {
				return usagef("--listen: %w", err)
			}
			defer l.Close()
			defer f.close()
			m, err := f.open(cmd.Context(), a.reportRecord)
			if err != nil {
				return err
			}
			a.object(map[string]any{"ready": true, "url": "http://" + l.Addr().String(), "mode": m.Mode.String()})
			err = m.Serve(cmd.Context(), l)
			fmt.Fprintf(a.stderr, "pauselog: %s\n", m.Summary())
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "the address on this machine; port 0 is one that is free")
	return cmd
}

// reportRecord says what was decided, in one line: refusals and warnings always.
func (a *app) reportRecord(r cpanmirror.Record) {
	switch {
	case r.State == cpanmirror.Refused:
		fmt.Fprintf(a.stderr, "pauselog: %s\n", plain(r.String()))
	case r.State == cpanmirror.Passed && r.Outcome != nil:
		a.warn("%s, unverified", r)
	case a.verbose:
		fmt.Fprintf(a.stderr, "pauselog: %s\n", plain(r.String()))
	}
}
