package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/witnessd"
	"github.com/pauselog/pauselog/witness"
)

// statusOf returns the status of the witness in a folder.
func statusOf(cmd *cobra.Command, data string) (*witnessd.Status, error) {
	if err := need(cmd, "data"); err != nil {
		return nil, err
	}
	f, err := witnessd.Open(data)
	if err != nil {
		return nil, err
	}
	return f.Status(cmd.Context())
}

func statusCommand() *cobra.Command {
	var data string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status --data DIR",
		Short: "show the witness, its keys and its logs",
		Long: `status shows what the witness is and knows. It works while it serves and while it does not. The exit code is
1 if nothing can be cosigned.`,
		Example: `  pausewitness status --data /var/lib/pausewitness/witness`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := statusOf(cmd, data)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd, s)
			} else {
				err = printStatus(cmd.OutOrStdout(), s)
			}
			if err == nil && s.Problem+s.Clock != "" {
				return errReported
			}
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return configured(cmd)
}

func printStatus(w io.Writer, s *witnessd.Status) error {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("witness", "%s, made %s", s.Name, s.Created.Format(time.RFC3339))
	line("running", "%s", map[bool]string{true: "yes", false: "no"}[s.Running])
	line("data", "%s", s.Data)
	line("head", "%s", s.Head)
	for _, k := range s.Keys {
		in := ""
		if k.Agent != "" {
			in = " (in the ssh-agent at " + k.Agent + ")"
		}
		line("key", "%s%s", k.VKey, in)
	}
	line("bastion key", "%s", s.BastionKey)
	switch {
	case s.Clock != "":
		line("clock", "%s", s.Clock)
	case s.Last.IsZero():
		line("clock", "nothing was signed yet")
	default:
		line("clock", "ok, last signed or accepted %s", s.Last.Format(time.RFC3339))
	}
	if s.Problem != "" {
		line("problem", "%s", s.Problem)
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return printLogs(w, s.Logs)
}

func doctorCommand() *cobra.Command {
	var data string
	var stale time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor --data DIR",
		Short: "find what is wrong, and say what to do",
		Long: `doctor looks at the folder, the keys, the head file, the state, the clock, the evidence and the logs, and changes
nothing. It uses no network. The exit code is 0 if nothing is wrong (there may be warnings), otherwise 1.

One thing cannot be seen here: folder and head file both restored to the same older copy. So it ends with the
sizes that were cosigned, to be compared with what the logs say.`,
		Example: `  pausewitness doctor --data /var/lib/pausewitness/witness`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "data"); err != nil {
				return err
			}
			d := witnessd.Doctor(cmd.Context(), data, stale, witness.SystemClock())
			var err error
			if asJSON {
				err = printJSON(cmd, d)
			} else {
				err = printDiagnosis(cmd.OutOrStdout(), d)
			}
			if err == nil && d.Wrong() {
				return errReported
			}
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	cmd.Flags().DurationVar(&stale, "stale", 48*time.Hour, "after what time without a cosignature a log is pointed out")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return configured(cmd)
}

func printDiagnosis(w io.Writer, d *witnessd.Diagnosis) error {
	for _, f := range d.Findings {
		fmt.Fprintf(w, "%-8s %-9s %s\n", f.Severity, f.Check, f.Text)
		if f.Do != "" {
			fmt.Fprintf(w, "%-8s %-9s do: %s\n", "", "", f.Do)
		}
	}
	if d.Status == nil || len(d.Status.Logs) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\nfolder and head file both restored to an older copy cannot be seen here: compare the sizes below with what the logs say\n\n")
	return printLogs(w, d.Status.Logs)
}

func clockCommand() *cobra.Command {
	var data string
	accept := &cobra.Command{
		Use:   "accept --data DIR",
		Short: "say that this machine's clock is right now",
		Long: `accept is for after a clock problem: when the clock was wrong, and what was signed then has a time that is
still to come, the witness cosigns nothing. Look at the clock first; then accept makes the present time the one
before which nothing is signed. It works while the witness serves.`,
		Example: `  pausewitness clock accept --data /var/lib/pausewitness/witness`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "data"); err != nil {
				return err
			}
			f, err := witnessd.Open(data)
			if err != nil {
				return err
			}
			return f.Change(cmd.Context(), []witnessd.Change{{Kind: witnessd.AcceptClock}}, func(_ witnessd.Change, _ witnessd.Outcome, err error) error {
				if err == nil {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "accepted\n")
				}
				return err
			})
		},
	}
	accept.Flags().StringVar(&data, "data", "", "the data folder")
	return group("clock", "accept the clock after a clock problem", configured(accept))
}
