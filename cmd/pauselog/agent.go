package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"github.com/pauselog/pauselog/internal/agent"
	"github.com/pauselog/pauselog/internal/backfill"
	"github.com/pauselog/pauselog/internal/dial"
	"github.com/pauselog/pauselog/internal/export"
	"github.com/pauselog/pauselog/internal/recent"
	"github.com/pauselog/pauselog/internal/spool"
	"github.com/pauselog/pauselog/internal/trust"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// agentFlags are those of agent.
type agentFlags struct {
	spool, root, state, proofRoot string
	follow                        bool
	level, admin                  string
	walkRate                      int
}

func (a *app) agentCommand() *cobra.Command {
	f := &agentFlags{}
	cmd := &cobra.Command{
		Use:   "agent --policy FILE --token-file FILE --root CPANDIR (--spool DIR | --follow)",
		Short: "log what PAUSE publishes, as it does",
		Long: `agent runs beside PAUSE. It takes what PAUSE's hook writes into the spool, hashes the files itself, and submits them, in
order. PAUSE never waits for it, and it never gives up on the log: what cannot be submitted now stays in the
spool, and what never can is set aside, with the reason. To kill it at any moment loses nothing and logs nothing twice.

It needs an account of its own that may read the tree below --root, and read and write the spool; below
authors/id it writes nothing.

Also with a spool it follows PAUSE's RECENT files, and walks over the whole tree, slowly, for what the hook could not
write and for files that are not what they were. --follow does without a hook.

With --proof-root it keeps a static proof tree up to date (see pauselog export --help), that mirrors can carry.

pauselog spool status says how things are, with an exit code for monitoring.`,
		Example: `  pauselog agent --policy pause.policy --token-file token --root /data/pause/pub/PAUSE --spool /var/spool/pauselog
  pauselog agent --policy pause.policy --token-file token --root /srv/cpan --follow --proof-root /srv/cpan/modules/tlog`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "root", "token-file"); err != nil {
				return err
			}
			if f.spool == "" && !f.follow {
				return usagef("--spool is needed, or --follow if PAUSE has no hook")
			}
			return a.agent(cmd.Context(), f)
		},
	}
	a.policyFlags(cmd)
	a.serverFlags(cmd)
	a.writerFlags(cmd)
	s := cmd.Flags()
	s.StringVar(&f.spool, "spool", "", "the spool into which PAUSE's hook writes")
	s.StringVar(&f.root, "root", "", "the CPAN root: the folder that has authors and modules in it; with --follow also the URL of a mirror")
	s.StringVar(&f.state, "state", "", "the agent's own folder (default agent in $XDG_STATE_HOME/pauselog)")
	s.StringVar(&f.proofRoot, "proof-root", "", "a folder for the static proof tree, to be kept up to date")
	s.BoolVar(&f.follow, "follow", false, "there is no hook: what the RECENT files say is logged at once")
	s.IntVar(&f.walkRate, "walk-rate", 4<<20, "bytes a second that the walk over the tree reads at most; 0: it does not walk")
	s.StringVar(&f.admin, "admin", "", "HOST:PORT on this machine for metrics (/metrics) and health (/healthz)")
	s.StringVar(&f.level, "log-level", "info", "what to log to standard error: debug, info, warn or error")
	return cmd
}

func (a *app) agent(ctx context.Context, f *agentFlags) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return usagef("--log-level: expected debug, info, warn or error, found %.40q", f.level)
	}
	if f.walkRate < 0 {
		return usagef("--walk-rate cannot be negative")
	}
	c := agent.Config{Root: f.root, State: agentState(f.state), Logger: slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))}
	policy, err := a.policy()
	if err != nil {
		return err
	}
	remote := strings.Contains(f.root, "://")
	if info, err := os.Stat(filepath.Join(f.root, "authors", "id")); !remote && (err != nil || !info.IsDir()) {
		return usagef("--root: there is no folder authors/id in %s", f.root)
	}
	if remote && (f.spool != "" || !f.follow) {
		return usagef("--root: a mirror at a URL can only be followed: --follow, and no --spool")
	}
	if f.proofRoot != "" && within(filepath.Join(f.root, "authors", "id"), f.proofRoot) {
		return usagef("--proof-root: nothing is written below authors/id")
	}
	if f.spool != "" {
		if c.Spool, err = spool.Open(f.spool); err != nil {
			return usageError{err}
		}
	}
	memory, err := trust.Open(a.stateDir)
	if err != nil {
		return err
	}
	conn, err := a.connect(policy)
	if err != nil {
		return err
	}
	defer conn.Close()
	c.Log, c.Reader = pb.NewLogClient(conn), client.New(conn, policy, memory)
	if f.proofRoot != "" {
		c.Export = exporter(f.proofRoot, policy, conn, memory)
	}
	var source recent.Source
	if remote {
		c.Root = ""
		if c.Remote, err = agent.OpenRemote(f.root, userAgent()); err == nil {
			source, err = recent.OpenHTTP(f.root, userAgent())
		}
	} else {
		var dir *recent.DirSource
		if dir, err = recent.OpenDir(f.root); err == nil {
			defer dir.Close()
			source = dir
		}
	}
	if err != nil {
		return usagef("--root: %w", err)
	}
	changes, err := recent.New(source, recent.Options{})
	if err != nil {
		return err
	}
	switch _, err := changes.Start(ctx); {
	case !errors.Is(err, fs.ErrNotExist):
		c.Changes = changes // also if they cannot be read just now
	case f.follow:
		return usagef("--follow: there are no RECENT files in %s", f.root)
	default:
		a.warn("there are no RECENT files in %s: what the hook misses is found by the walk alone", f.root)
	}
	// What is younger is for the hook to say, which knows who entered it.
	minAge := time.Hour
	if f.follow {
		minAge = 0
	}
	if f.walkRate > 0 && !remote {
		c.Walk = agent.Trees(backfill.Config{Roots: []string{f.root}, Log: c.Log, LogID: logID(policy), Seen: entry.SeenBackfill, Jobs: 1,
			MinAge:  minAge,
			Limiter: rate.NewLimiter(rate.Limit(f.walkRate), max(f.walkRate, 1<<20)), State: filepath.Join(c.State, "walk")})
	}
	release, err := agent.Lock(c.State)
	if err != nil {
		return err
	}
	defer release()
	run, err := agent.New(c)
	if err != nil {
		return err
	}
	if f.admin == "" {
		return run.Run(ctx)
	}
	return a.withAdmin(ctx, f.admin, run)
}

// within reports whether a name is in a folder, or the folder itself.
func within(dir, name string) bool {
	dir, err1 := filepath.Abs(dir)
	name, err2 := filepath.Abs(name)
	rel, err3 := filepath.Rel(dir, name)
	return errors.Join(err1, err2, err3) == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// logID names the policy's logs for the journal of a walk: another log has not seen what this one has.
func logID(p *checkpoint.Policy) string {
	var b strings.Builder
	for _, l := range p.Logs() {
		fmt.Fprintf(&b, "%s\n", l.Key)
	}
	return b.String()
}

// withAdmin runs an agent, and serves what monitoring asks for.
func (a *app) withAdmin(ctx context.Context, address string, run *agent.Agent) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil || !isLoopback(host) {
		return usagef("--admin: expected an address of this machine, as 127.0.0.1:9150, found %.100q", address)
	}
	registry := prometheus.NewRegistry()
	if err := run.Register(registry); err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return usagef("--admin: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			cancel(err)
		}
	}()
	err = run.Run(ctx)
	return errors.Join(err, server.Close())
}

func exporter(dir string, policy *checkpoint.Policy, conn *dial.Conn, memory client.Memory) func(context.Context) (uint64, error) {
	return func(ctx context.Context) (uint64, error) {
		r, err := export.Run(ctx, export.Config{Dir: dir, Policy: policy, Conn: conn, Memory: memory})
		if err != nil {
			return 0, err
		}
		return r.Size, nil
	}
}
