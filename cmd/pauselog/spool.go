package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/agent"
	"github.com/pauselog/pauselog/internal/spool"
	"github.com/pauselog/pauselog/log/verify"
)

func (a *app) spoolCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "spool",
		Short: "see how PAUSE's agent is, and what waits for it",
		Args:  args(0, 0, ""),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.configured(a.spoolStatusCommand()))
	return cmd
}

func (a *app) spoolStatusCommand() *cobra.Command {
	var dir, state string
	var maxAge time.Duration
	cmd := &cobra.Command{
		Use:   "status [--spool DIR] [--state DIR]",
		Short: "say whether everything that was published is logged, for people and for monitoring",
		Long: `status looks into the spool and the agent's state folder. It says nothing and ends with 0 if all is well: an agent is
running, nothing waits for longer than --max-age, and nothing was set aside that somebody has to look at. -v
and --json always say how things are.

What was set aside lies in the folder aside of --state, a file each, with the reason. Whoever has dealt with it removes the
file.

Exit codes: 10 when a file is not what PAUSE's hook saw, or not what was logged before under its name. 13 when something
waits for too long, which is so when the log cannot be reached. 1 when no agent is running, or something else was set aside.`,
		Example: `  pauselog spool status --spool /var/spool/pauselog --state /var/lib/pauselog/agent
  pauselog spool status --json --max-age 10m`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if maxAge < 0 {
				return usagef("--max-age cannot be negative")
			}
			var s *spool.Folder
			if dir != "" {
				var err error
				if s, err = spool.Open(dir); err != nil {
					return err
				}
			}
			r, err := agent.Look(s, agentState(state), time.Now(), maxAge)
			if err != nil {
				return err
			}
			a.showSpool(r)
			return finish(spoolOutcome(r))
		},
	}
	cmd.Flags().StringVar(&dir, "spool", "", "the spool into which PAUSE's hook writes; none if there is no hook")
	cmd.Flags().StringVar(&state, "state", "", "the agent's own folder (default agent in $XDG_STATE_HOME/pauselog)")
	cmd.Flags().DurationVar(&maxAge, "max-age", time.Minute, "how long something may wait")
	return cmd
}

// agentState returns the folder of --state, or its default.
func agentState(dir string) string {
	if dir != "" {
		return dir
	}
	base := os.Getenv("XDG_STATE_HOME")
	if home, err := os.UserHomeDir(); !filepath.IsAbs(base) && err == nil {
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "pauselog", "agent")
}

// spoolOutcome is the exit code: what may be an attack first, then what holds up the log.
func spoolOutcome(r *agent.Report) verify.Outcome {
	found := map[agent.ProblemKind]bool{}
	for _, p := range r.Problems {
		found[p.Kind] = true
	}
	switch {
	case found[agent.Evidence]:
		return verify.Mismatch
	case found[agent.Behind], found[agent.Failing]:
		return verify.Unverifiable
	case len(found) > 0:
		return verify.Error
	}
	return verify.Verified
}

func (a *app) showSpool(r *agent.Report) {
	if a.json {
		o := spoolOutcome(r)
		fields := map[string]any{"outcome": o, "code": o.Code(), "waiting": r.Waiting, "strays": r.Strays, "aside": r.Aside, "agent": r.Agent, "problems": r.Problems, "oldest": nil}
		if r.Waiting > 0 {
			fields["oldest"] = r.Oldest.UTC().Format(time.RFC3339)
		}
		a.object(fields)
		return
	}
	for _, p := range r.Problems {
		fmt.Fprintf(a.stderr, "pauselog: %s: %s\n", p.Kind, plain(p.Message))
	}
	for _, x := range r.Aside {
		if x.Word.Alarms() || a.verbose {
			fmt.Fprintf(a.stderr, "  %s %s: %s (%s)\n", x.Word, plain(x.Path), plain(x.Message), plain(x.Name))
		}
	}
	if !a.verbose {
		return
	}
	a.results("waiting     %d\n", r.Waiting)
	if r.Waiting > 0 {
		a.results("oldest      %s\n", r.Oldest.UTC().Format(time.RFC3339))
	}
	a.results("set aside   %d\n", len(r.Aside))
	if s := r.Agent; s != nil {
		a.results("running     process %d, since %s, last seen %s\n", s.PID, s.Started.Format(time.RFC3339), s.Beat.Format(time.RFC3339))
		a.results("logged      %d new, %d that were logged before\n", s.Logged, s.Repeated)
		if s.Proofs.Size > 0 {
			a.results("proofs      of %d entries, at %s\n", s.Proofs.Size, s.Proofs.At.Format(time.RFC3339))
		}
		if !s.Reconciled.IsZero() {
			a.results("reconciled  %s\n", s.Reconciled.Format(time.RFC3339))
		}
		if !s.Walked.IsZero() {
			a.results("walked      %s\n", s.Walked.Format(time.RFC3339))
		}
	}
}
