package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/daemon"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/store"
)

func scrubCommand() *cobra.Command {
	var data string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "scrub --data DIR",
		Short: "compare all of a log's store with what was signed",
		Long: `scrub reads the whole store of a log that does not run, as fast as it can, re-hashes it up to the log's own
signature and the head file, and says what is damaged. It changes nothing; 'pauselogd recover' mends.

A log that runs does the same slowly by itself (serve --scrub-period); of such a log it prints what that has found so far.

The exit code is 0 if all is sound and 3 if something is damaged.`,
		Example: `  pauselogd scrub --data /var/lib/pauselog/log`,
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
			r, err := daemon.Scrub(cmd.Context(), f, func(done, size uint64) { p.show("entries", int(done), int(size)) })
			p.clear()
			if errors.Is(err, head.ErrLocked) {
				return scrubRunning(cmd, f, asJSON)
			}
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd, r)
			} else {
				out := cmd.OutOrStdout()
				if r.Sound() {
					_, err = fmt.Fprintf(out, "%d entries are as they were signed\n", r.Size)
				} else {
					printDamage(out, r.Damage, r.Omitted)
				}
				if r.Error != "" && len(r.Damage) == 0 {
					_, err = fmt.Fprintln(out, r.Error)
				}
			}
			if err == nil && !r.Sound() {
				err = codedError{errors.New("the store is damaged: 'pauselogd recover' brings it back, from backups and mirrors"), exitDamaged}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return configured(cmd)
}

func printDamage(w io.Writer, damage []store.Damage, omitted uint64) {
	for _, d := range damage {
		fmt.Fprintln(w, d)
	}
	if omitted > 0 {
		fmt.Fprintf(w, "and %d more\n", omitted)
	}
}

// scrubRunning prints what a log that runs knows of its store.
func scrubRunning(cmd *cobra.Command, f *datafolder.Folder, asJSON bool) error {
	s, err := daemon.ScrubStatusOf(cmd.Context(), f)
	if err != nil {
		return err
	}
	switch {
	case asJSON:
		err = printJSON(cmd, s)
	case len(s.Damage) > 0:
		printDamage(cmd.OutOrStdout(), s.Damage, 0)
	default:
		completed := s.Completed
		if completed == "" {
			completed = "not yet"
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "the log is running; its own scrub is at entry %d of %d and has found no damage (last completed: %s)\n", s.Position, s.Size, completed)
	}
	if err == nil && len(s.Damage) > 0 {
		err = codedError{errors.New("the store is damaged: stop the log and run 'pauselogd recover'"), exitDamaged}
	}
	return err
}
