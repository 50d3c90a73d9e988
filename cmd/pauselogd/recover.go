package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/daemon"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/recovery"
)

func recoverCommand() *cobra.Command {
	var data string
	var from, checkpoints []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "recover --data DIR [--from URL|DIR ...]",
		Short: "bring back a store that is lost, damaged or too old",
		Long: `recover builds the store of a log anew, so that it has exactly what the head file says was signed. It takes entries
from what is left of the store, and from each --from in turn: the URL or folder of a static tree (the log's own, a mirror's, an
export), or the folder of a backup. Each entry is verified against a checkpoint that this log signed, so that it does not matter
who gives it; a source may have gaps and damage.

The old store is kept beside the new one, under a name with the date. If something is missing, nothing is changed, and it says what.
It signs nothing, and there is no way to force it: a log that goes on with less than it signed forks.

The log must not run, and data folder, keys and head file must be there. The exit code is 0 if the store was recovered or was sound,
and 4 if that cannot be done from these sources.`,
		Example: `  pauselogd recover --data /var/lib/pauselog/log --from /mnt/backup/pauselog/20261122T100000Z --from https://mirror.example/tlog`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "data"); err != nil {
				return err
			}
			f, err := datafolder.Open(data)
			if err != nil {
				return err
			}
			p := newProgress()
			c := recovery.Config{Folder: f, Progress: p.show}
			for _, name := range from {
				s, err := recovery.Open(name, "pauselogd recover of "+f.Origin)
				if err != nil {
					return err
				}
				defer s.Close()
				c.Sources = append(c.Sources, s)
			}
			for _, name := range checkpoints {
				b, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				c.Checkpoints = append(c.Checkpoints, b)
			}
			r, err := daemon.Recover(cmd.Context(), c)
			p.clear()
			if r != nil {
				printRecovery(cmd, r, err, asJSON)
			}
			for _, no := range []error{recovery.ErrMissing, recovery.ErrHead, recovery.ErrFork} {
				if errors.Is(err, no) {
					return codedError{fmt.Errorf("%w. Nothing was changed", err), exitMissing}
				}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	cmd.Flags().StringArrayVar(&from, "from", nil, "a static tree's URL or folder, or a backup's folder; may be given several times")
	cmd.Flags().StringArrayVar(&checkpoints, "checkpoint", nil, "a file with a checkpoint that this log signed, if no source has it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return configured(cmd)
}

func printRecovery(cmd *cobra.Command, r *recovery.Report, failed error, asJSON bool) {
	out := cmd.OutOrStdout()
	if asJSON {
		v := struct {
			*recovery.Report
			Error string `json:"error,omitempty"`
		}{Report: r}
		if failed != nil {
			v.Error = failed.Error()
		}
		// That it could not be written is no reason to say less about what was done.
		_ = printJSON(cmd, v)
		return
	}
	switch {
	case r.Sound:
		fmt.Fprintf(out, "the store is sound, with %d entries, and is as it was\n", r.Size)
	case r.Recovered:
		fmt.Fprintf(out, "recovered %d entries, root %s\n", r.Size, r.Root)
		printSources(out, r)
		if r.Kept != "" {
			fmt.Fprintf(out, "the old store is now %s: remove it when the log has run for a while\n", r.Kept)
		}
	default:
		printSources(cmd.ErrOrStderr(), r)
	}
}

func printSources(w io.Writer, r *recovery.Report) {
	for _, s := range r.Sources {
		fmt.Fprintf(w, "  %s: size %d", s.Name, s.Size)
		if s.Proven {
			fmt.Fprint(w, ", proven")
		}
		if s.Used > 0 {
			fmt.Fprintf(w, ", gave %d entries", s.Used)
		}
		if n := len(s.Bad); n > 0 {
			fmt.Fprintf(w, ", does not have %v", s.Bad[0])
			if n > 1 {
				fmt.Fprintf(w, " and %d more ranges", n-1)
			}
		}
		if s.Error != "" {
			fmt.Fprintf(w, ": %s", s.Error)
		}
		fmt.Fprintln(w)
	}
}
