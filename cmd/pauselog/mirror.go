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
	"sync"
	"syscall"
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
	cacheSize   int64
	proofs      []string
	private     []string
	metadata    []string
	backpan     string
	maxIndexAge time.Duration
	lookup      bool

	memory  client.Memory // nil: there is no place for one
	log     *client.Log   // with --lookup
	closers []func()
}

func (f *mirrorFlags) add(cmd *cobra.Command) {
	f.app.policyFlags(cmd)
	f.app.serverFlags(cmd)
	s := cmd.Flags()
	s.StringArrayVar(&f.upstreams, "upstream", nil, "a mirror to fetch from, a URL or a folder; again for more, tried in their order")
	s.StringVar(&f.mode, "mode", "require", "what stops: require (all but verified) or prefer (what is wrong, not what is missing)")
	s.StringVar(&f.cache, "cache", "", "the folder for what was fetched; may be deleted at any time (default $XDG_CACHE_HOME/pauselog)")
	s.Int64Var(&f.cacheSize, "cache-size", cpanmirror.DefaultCacheSize, "how many bytes that folder may have; what was used least recently goes")
	s.StringArrayVar(&f.proofs, "proofs", nil, "where proofs are: a .tlog-proof or .tlog-proofs file, or a proof tree, a folder or a URL; again for more")
	s.StringVar(&f.backpan, "backpan", "", "the URL of a BackPAN, for what the upstreams do not have any more")
	s.StringArrayVar(&f.private, "private", nil, "what is not of CPAN, passed on unverified: authors/id/M/MY/MYCORP/ or an index's path, and the mirror that has it, an https:// URL or a folder")
	s.StringArrayVar(&f.metadata, "metadata", nil, "a server like https://cpanmetadb.plackperl.org to ask for older versions: it so learns what you pin")
	s.DurationVar(&f.maxIndexAge, "max-index-age", 0, "how old an index may be, as 26h: an older one is refused (default: any age, with a warning from 26h on)")
	s.BoolVar(&f.lookup, "lookup", false, "ask the log itself for what no other source proves, and for older versions: it so learns what you install")
}

// open makes the mirror; report is told of each decision. Whatever it returns, close is to be called.
func (f *mirrorFlags) open(ctx context.Context, report func(cpanmirror.Record)) (*cpanmirror.Mirror, error) {
	a := f.app
	o := cpanmirror.Options{MaxIndexAge: f.maxIndexAge, Cache: f.cache, CacheSize: f.cacheSize, Report: report, Evidence: a.keepEvidence}
	var err error
	if o.Mode, err = verify.ParseMode(f.mode); err != nil {
		return nil, usagef("--mode: %w", err)
	}
	if f.maxIndexAge < 0 {
		return nil, usagef("--max-index-age cannot be negative")
	}
	if f.cacheSize <= 0 {
		return nil, usagef("--cache-size: expected a number of bytes, found %d", f.cacheSize)
	}
	if o.Private, err = f.privates(); err != nil {
		return nil, usagef("--private: %w", err)
	}
	for _, where := range f.metadata {
		h, err := cpanmirror.OpenMetadata(where, userAgent())
		if err != nil {
			return nil, usagef("--metadata: %w", err)
		}
		o.Histories = append(o.Histories, h)
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
	if f.log != nil {
		o.Histories = append(o.Histories, cpanmirror.LogHistory{Log: f.log})
	}
	if f.backpan != "" {
		if o.BackPAN, err = cpanmirror.OpenUpstream(f.backpan, userAgent()); err != nil {
			return nil, usagef("--backpan: %w", err)
		}
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

// privates sorts the values of --private.
func (f *mirrorFlags) privates() (p cpanmirror.Private, err error) {
	for _, value := range f.private {
		if strings.HasPrefix(value, "authors/") || strings.HasPrefix(value, "modules/") {
			p.Paths = append(p.Paths, value)
			continue
		}
		u, err := cpanmirror.OpenPrivate(value, userAgent())
		if err != nil {
			return p, err
		}
		p.Upstreams = append(p.Upstreams, u)
	}
	return p, p.Check()
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
	f.memory = &forgiving{Dir: memory, warn: f.app.warn}
	known = func() ([][]byte, error) { return memory.Known(p) }
	_, err = known()
	return known, err
}

// forgiving is a trust state for machines on which nothing can be written down, as a container with a home that is
// read-only. What it has remembered it goes by; what cannot be remembered is said once.
type forgiving struct {
	trust.Dir
	warn func(string, ...any)
	once sync.Once
}

// Save implements client.Memory.
func (m *forgiving) Save(origin string, old, note []byte) error {
	err := m.Dir.Save(origin, old, note)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		m.once.Do(func() { m.warn("%v; nothing is remembered of this run", err) })
		return nil
	}
	return err
}

// provers are the sources of proofs, in their order: those that the user named, then trees, which know of voids too. The
// log's own comes first, and learns no more than in which of 256 parts a path lies: an upstream could hide a void by an older tree, or by
// leaving out a line. A proof beside a file stays valid when its entry is voided, so it comes after them; last is what
// tells the log a path.
func (f *mirrorFlags) provers(ctx context.Context, p *checkpoint.Policy, upstreams []cpanmirror.Upstream) ([]cpanmirror.Prover, error) {
	var out []cpanmirror.Prover
	for _, where := range f.proofs {
		named, err := f.prover(ctx, where, p)
		if err != nil {
			return nil, err
		}
		out = append(out, named)
	}
	tree, err := f.logTree(ctx, p)
	if err != nil {
		return nil, err
	}
	if tree != nil {
		out = append(out, tree)
	}
	for _, u := range f.upstreams {
		if tree := f.upstreamTree(ctx, u, p); tree != nil {
			out = append(out, tree)
		}
	}
	for _, u := range upstreams {
		out = append(out, cpanmirror.BesideFiles(u))
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
	f.log, f.closers = log, append(f.closers, closeConn)
	return append(out, cpanmirror.LogProver{Log: log, Trusted: f.app.trusted}), nil
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
		source, err := f.app.openTreeAt(where, false)
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
	pack, b, err := readProofs(where)
	if err != nil {
		return nil, err
	}
	if pack != nil {
		return cpanmirror.FromPack(where, pack), nil
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
		s, err := f.app.openTreeAt(name, false)
		if err != nil {
			f.app.warn("%v", err)
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

// logTree is the log's own copy of the tree, nil if the policy names none.
func (f *mirrorFlags) logTree(ctx context.Context, p *checkpoint.Policy) (cpanmirror.Prover, error) {
	for _, l := range p.Logs() {
		u, err := url.Parse(l.URL)
		if err != nil || l.URL == "" || u.Scheme != "http" && u.Scheme != "https" {
			continue
		}
		source, err := f.app.openTreeAt(strings.TrimRight(l.URL, "/"), true)
		if err != nil {
			return nil, fmt.Errorf("the log's proof tree: %w", err)
		}
		return f.tree(ctx, l.URL, source, p, u.Scheme == "https" || isLoopback(u.Hostname())), nil
	}
	return nil, nil
}

func (a *app) mirrorCommand() *cobra.Command {
	f := &mirrorFlags{app: a}
	var listen string
	cmd := &cobra.Command{
		Use:   "mirror --policy FILE --upstream URL|DIR...",
		Short: "run a CPAN mirror on this machine that serves only what is logged",
		Long: `mirror is a CPAN mirror for cpanm, CPAN.pm, Carton, cpm and minicpan on this machine. What they ask for is
fetched whole from an upstream, verified, and only then served. What does not verify is refused, with
the reason in the status line, on standard error, on the page that the address shows, and in /-/status.json
(which counts the connections of clients too).

When it is ready, it prints one line of JSON with its URL. It runs until it is interrupted.

Proofs are taken from --proofs, from the log's own files, from modules/tlog/ of the upstreams, and from beside the
file on the upstreams. None of that tells the log what is installed. --lookup asks it, if all of that has no proof.

What clients ask cpanmetadb and MetaCPAN is answered too, at /v1.0/package/, /v1.0/history/ and /v1/download_url/,
from the verified index. Versions that are not in it any more are found with --metadata URL or --lookup. Whatever is
named so is verified like all else; but such a source can name an older version, or another logged archive than the one
that you mean.

What is newest is what an index says, and an old one is logged too: whoever shows it hides what was mended since. So
--max-index-age 26h refuses an index whose newest entry in the log is older, and with it all archives, until a younger
one comes. Without a limit, one warning says how old it is, because mirrors lag, and PAUSE has stood still for days. Either way
the mirror's own authors/02STAMP tells whether it says that it lags; that is a hint, which nobody has signed. An index that the
mirror compressed anew is served as this machine compresses its text. authors/01mailrc.txt.gz, the names of authors, is the
exception: nothing is installed by it, so that it warns only, and an empty one takes the place of one that does not verify.

--backpan URL has what authors have deleted from CPAN. It is logged, and verifies with a note.

Distributions of your own are in no log. --private says which they are, and where they come from, both:
  --private authors/id/M/MY/MYCORP/ --private https://darkpan.example
What is below that path is fetched from there and from nowhere else, nobody is asked about it, and it is passed on
unverified. All else is never fetched from there. The index of such a mirror passes with
--private modules/02packages.details.txt.gz; it is then that mirror which says what is the newest of everything.

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
			m, err := f.open(cmd.Context(), func(r cpanmirror.Record) {
				if r.Warning != "" && !a.verbose {
					a.warn("%s: %s", r.Path, r.Warning) // the summary, which has it too, may be weeks away
				}
				a.reportRecord(r)
			})
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
