package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	cpanmirror "github.com/pauselog/pauselog/internal/mirror"
	"github.com/pauselog/pauselog/internal/mirror/installer"
	"github.com/pauselog/pauselog/log/verify"
)

// defaultUpstream is where exec fetches from if nothing else is said.
const defaultUpstream = "https://www.cpan.org"

// An exited error ends the program with a client's exit code.
type exited struct{ code int }

func (e exited) Error() string { return fmt.Sprintf("exit code %d", e.code) }

func (a *app) execCommand() *cobra.Command {
	f := &mirrorFlags{app: a}
	var direct bool
	cmd := &cobra.Command{
		Use:   "exec --policy FILE [--upstream URL|DIR...] -- COMMAND...",
		Short: "run cpanm, cpan, carton, cpm or minicpan so that it installs only what is logged",
		Long: `exec runs one command with a verifying mirror of its own (see pauselog mirror --help), and sets up the client
so that it asks this mirror and nothing else: its mirrors, and every cache from which it would take a file
without asking, are replaced for this run. Where and how something is built and installed is left alone.

What would go round the mirror is refused: mirrors, URLs, git and archives named on the command line, in a list on standard
input, in a cpanfile or a cpm.yml; and sudo, env -i and the like, which take the environment away. --allow-direct
lets it pass, unverified. What a distribution downloads by itself while it is built cannot be seen.

A command that is no client, as make or sh, is set up by its environment: the clients that it starts install through the
mirror, and what it fetches elsewhere by http_proxy and https_proxy is turned away.

A pinned version that is not in the index any more (cpanm Foo@1.0, requires 'Foo', '== 1.0') is found with --metadata
or --lookup: then cpanm, Carton and cpm ask this mirror for versions too. It is their proxy for that, and
refuses what they, or what they build, ask for elsewhere.

At the end one line says what was verified. The exit code is the command's, but if something was refused it is that of
the refusal (see pauselog verify --help), also where the client alone would have ended with 0.`,
		Example: `  pauselog exec --policy pause.policy -- cpanm -L local --installdeps .
  pauselog exec --policy pause.policy --upstream /srv/cpan -- carton install
  pauselog exec --policy pause.policy -- cpan Try::Tiny
  pauselog exec --policy pause.policy --metadata https://cpanmetadb.plackperl.org \
    --backpan https://backpan.perl.org -- cpanm Try::Tiny@0.20`,
		Args: args(1, -1, "a COMMAND, after --,"),
		RunE: func(cmd *cobra.Command, command []string) error {
			if len(f.upstreams) == 0 {
				f.upstreams = []string{defaultUpstream}
			}
			return a.exec(cmd.Context(), f, command, direct)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&direct, "allow-direct", false, "let pass, unverified, what goes round the mirror")
	// The command's flags are its own, also without --.
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func (a *app) exec(ctx context.Context, f *mirrorFlags, command []string, direct bool) error {
	private, err := os.MkdirTemp("", "pauselog-exec")
	if err != nil {
		return err
	}
	keep := false
	defer func() {
		if !keep {
			os.RemoveAll(private)
		}
	}()
	l, err := cpanmirror.Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	plan, err := installer.Prepare(installer.Request{Command: command, Environ: os.Environ(), Mirror: "http://" + l.Addr().String(), Private: private,
		Versions: len(f.metadata) > 0 || f.lookup, AllowDirect: direct, Stdin: os.Stdin, Terminal: term.IsTerminal(int(os.Stdin.Fd()))})
	var bypass *installer.Bypass
	if errors.As(err, &bypass) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	for _, w := range plan.Warnings {
		a.warn("%s", w)
	}
	defer f.close()
	m, err := f.open(ctx, a.reportRecord)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- m.Serve(serving, l) }()

	code, err := runClient(ctx, plan)
	stop()
	err = errors.Join(err, <-served)
	s := m.Summary()
	if a.json {
		a.object(map[string]any{"outcome": s.Worst, "code": s.Worst.Code(), "verified": s.Verified, "refused": s.Refused, "passed_unverified": s.Unverified,
			"private": s.Private, "index": s.Index, "client_exit": code, "message": s.String(), "files": m.Records()})
	} else {
		fmt.Fprintf(a.stderr, "pauselog: %s\n", s)
	}
	if code != 0 && err == nil {
		// The client names logs in there.
		keep = true
		fmt.Fprintf(a.stderr, "pauselog: the command ended with exit code %d; its logs are in %s\n", code, private)
	}
	switch {
	case err != nil:
		return err
	case s.Worst != verify.Verified:
		return finished{s.Worst}
	case code != 0:
		return exited{code}
	}
	return nil
}

// runClient runs the command and returns its exit code. What interrupts this program is for the client, too.
func runClient(ctx context.Context, plan *installer.Plan) (int, error) {
	path, err := exec.LookPath(plan.Command[0])
	if err != nil {
		return 0, usagef("%w", err)
	}
	// A terminal sends SIGINT to both; it is the client that says how it ends.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	cmd := exec.CommandContext(ctx, path, plan.Command[1:]...)
	cmd.Args[0] = plan.Command[0]
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = plan.Environ, os.Stdin, os.Stdout, os.Stderr
	if plan.Stdin != nil {
		cmd.Stdin = plan.Stdin
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", plan.Command[0], err)
	}
	return 0, nil
}
