package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/witnessd"
	"github.com/pauselog/pauselog/witness/state"
)

func logCommand() *cobra.Command {
	cmd := group("log", "add, list, disable and enable logs", logAddCommand(), logListCommand(), logRetireKeyCommand(), logDisableCommand(), logEnableCommand())
	cmd.Long = `The logs that the witness cosigns for. All of this works while it serves, with effect at once.

A log is never removed: to add it again from nothing would be to forget what was signed.`
	return cmd
}

func logAddCommand() *cobra.Command {
	var data, origin, list, contact string
	var vkeys []string
	var qpd uint32
	var addKey, asJSON bool
	cmd := &cobra.Command{
		Use:   "add --data DIR (--vkey VKEY... | --list FILE)",
		Short: "add a log, or all new ones of a list",
		Long: `add makes a log known by its verifier keys, any one of which suffices for a checkpoint. The origin is the
keys' name unless --origin says otherwise. A log that is known with these keys stays as it is.

A known log that lacks one of the keys is refused, as anybody can make up a key: --add-key adds it, which
is for when the log's operator has announced it. No key is ever removed by it: see 'log retire-key'.

A list is in the form of C2SP tlog-list (logs/v0). What is new in it is added; nothing is ever changed or
removed by it. A log whose key is another than the known ones, or of a type that is not supported, is
reported and skipped, and the exit code is 1.`,
		Example: `  pausewitness log add --data DIR --vkey log.example/pause+0fb1b6e4+AQ... --vkey log.example/pause+8ec8e6f1+Bg...
  pausewitness log add --data DIR --vkey log.example/pause+77aa31bc+AQ... --add-key
  pausewitness log add --data DIR --list logs.txt`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "data"); err != nil {
				return err
			}
			if (list == "") == (len(vkeys) == 0) {
				return usageError{errors.New("one of --vkey VKEY and --list FILE is needed: see 'pausewitness log add --help'")}
			}
			if addKey && (qpd != 0 || contact != "") {
				return usageError{errors.New("--qpd and --contact do not go with --add-key")}
			}
			a := &adding{cmd: cmd, asJSON: asJSON}
			var changes []witnessd.Change
			var err error
			if list != "" {
				if addKey || origin != "" || qpd != 0 || contact != "" {
					return usageError{errors.New("--add-key, --origin, --qpd and --contact do not go with --list")}
				}
				changes, err = a.list(list)
			} else {
				var ch witnessd.Change
				if ch, err = witnessd.NewLog(origin, vkeys...); err != nil {
					return usageError{err}
				}
				ch.QPD, ch.Contact = uint64(qpd), contact
				if addKey {
					ch = witnessd.Change{Kind: witnessd.AddKeys, Origin: ch.Origin, Keys: ch.Keys}
				}
				changes = []witnessd.Change{ch}
			}
			if err != nil {
				return err
			}
			f, err := witnessd.Open(data)
			if err != nil {
				return err
			}
			if err := f.Change(cmd.Context(), changes, a.tell); err != nil {
				return err
			}
			if a.skipped > 0 {
				return fmt.Errorf("%d of %d logs were skipped", a.skipped, len(changes)+a.unsupported)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	cmd.Flags().StringArrayVar(&vkeys, "vkey", nil, "verifier key of the log; may be repeated")
	cmd.Flags().StringVar(&origin, "origin", "", "the log's origin, if it is not the keys' name")
	cmd.Flags().BoolVar(&addKey, "add-key", false, "add the keys to a log that is known")
	cmd.Flags().Uint32Var(&qpd, "qpd", 0, "how many requests a day the log announced")
	cmd.Flags().StringVar(&contact, "contact", "", "how to reach the log's operator")
	cmd.Flags().StringVar(&list, "list", "", "file with a list of logs, - for standard input")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return configured(cmd)
}

// adding reports what becomes of logs that are to be added.
type adding struct {
	cmd         *cobra.Command
	asJSON      bool
	fromList    bool
	skipped     int // reported and skipped
	unsupported int // those of them whose key is of an unknown type
}

// list reads a list of logs.
func (a *adding) list(name string) (changes []witnessd.Change, err error) {
	a.fromList = true
	in := a.cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, witnessd.MaxList+1))
	if err != nil {
		return nil, err
	}
	logs, err := witnessd.ParseList(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, l := range logs {
		ch, err := l.Change()
		if err != nil {
			a.unsupported++
			if err := a.skip(l.Origin, "unsupported", fmt.Errorf("line %d: %s: %w", l.Line, l.Origin, err)); err != nil {
				return nil, err
			}
			continue
		}
		changes = append(changes, ch)
	}
	return changes, nil
}

// tell reports an outcome. It returns an error if nothing more is to be done.
func (a *adding) tell(ch witnessd.Change, o witnessd.Outcome, err error) error {
	switch {
	case o == witnessd.OtherKeys && a.fromList:
		return a.skip(ch.Origin, string(o), err)
	case errors.Is(err, state.ErrOtherKeys):
		return fmt.Errorf("%w: --add-key adds it, if the log's operator has announced it", err)
	case err != nil:
		return fmt.Errorf("%s: %w", ch.Origin, err)
	}
	return a.print(ch.Origin, string(o), map[witnessd.Outcome]string{
		witnessd.Added: "added", witnessd.KeysAdded: "keys added", witnessd.Unchanged: "known already"}[o], "")
}

func (a *adding) skip(origin, outcome string, cause error) error {
	a.skipped++
	fmt.Fprintf(a.cmd.ErrOrStderr(), "pausewitness: skipped: %v\n", cause)
	if !a.asJSON {
		return nil
	}
	return a.print(origin, outcome, "", cause.Error())
}

func (a *adding) print(origin, outcome, words, problem string) error {
	if a.asJSON {
		return printJSON(a.cmd, struct {
			Origin  string `json:"origin"`
			Outcome string `json:"outcome"`
			Error   string `json:"error,omitempty"`
		}{origin, outcome, problem})
	}
	_, err := fmt.Fprintf(a.cmd.OutOrStdout(), "%s: %s\n", origin, words)
	return err
}

func logListCommand() *cobra.Command {
	var data string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list --data DIR",
		Short:   "list the logs",
		Example: `  pausewitness log list --data DIR`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := statusOf(cmd, data)
			if err != nil {
				return err
			}
			if s.Problem != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "pausewitness: %s\n", s.Problem)
				err = errReported
			}
			if !asJSON {
				return errors.Join(printLogs(cmd.OutOrStdout(), s.Logs), err)
			}
			for _, l := range s.Logs {
				if err := printJSON(cmd, l); err != nil {
					return err
				}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return configured(cmd)
}

// printLogs prints a table of logs.
func printLogs(out io.Writer, logs []witnessd.LogStatus) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "SIZE\tCOSIGNED\tSTATE\tEVIDENCE\tORIGIN")
	for _, l := range logs {
		state, cosigned := "enabled", "never"
		if l.Disabled {
			state = "disabled"
		}
		if !l.Cosigned.IsZero() {
			cosigned = l.Cosigned.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\n", l.Size, cosigned, state, l.Contradictions, l.Origin)
	}
	return w.Flush()
}

func logRetireKeyCommand() *cobra.Command {
	var data, origin, key string
	cmd := &cobra.Command{
		Use:   "retire-key --data DIR --origin ORIGIN --key NAME+ID",
		Short: "trust a key of a log no more",
		Long: `retire-key is for a key of a log that was stolen, or that the log has replaced: what it alone signs is not
cosigned any more. It cannot be taken back, and no list brings the key back. Add the log's new key first
('log add --add-key'); the last key of a log cannot be retired.

A verifier key begins with the name and the id: log.example/pause+0fb1b6e4+AQ... is named log.example/pause+0fb1b6e4.`,
		Example: `  pausewitness log retire-key --data DIR --origin log.example/pause --key log.example/pause+0fb1b6e4`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "data", "origin", "key"); err != nil {
				return err
			}
			return change(cmd, data, witnessd.Change{Kind: witnessd.RetireKeys, Origin: origin, Keys: []string{key}},
				key+": retired", key+": was retired already")
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	cmd.Flags().StringVar(&origin, "origin", "", "the log's origin")
	cmd.Flags().StringVar(&key, "key", "", "the key's name and id")
	return configured(cmd)
}

// change makes one change, and says so, or that nothing was left to do.
func change(cmd *cobra.Command, data string, ch witnessd.Change, done, already string) error {
	f, err := witnessd.Open(data)
	if err != nil {
		return err
	}
	return f.Change(cmd.Context(), []witnessd.Change{ch}, func(_ witnessd.Change, o witnessd.Outcome, err error) error {
		words := done
		if o == witnessd.Unchanged {
			words = already
		}
		if err == nil {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), words)
		}
		return err
	})
}

func logDisableCommand() *cobra.Command {
	return switchCommand(witnessd.DisableLog, "disable", "cosign nothing more for a log",
		`disable makes the witness answer a log as if it did not know it. What was cosigned stays known, and is
what the log has to go on from when it is enabled again.`)
}

func logEnableCommand() *cobra.Command {
	return switchCommand(witnessd.EnableLog, "enable", "cosign for a log again", `enable takes disable back.`)
}

func switchCommand(kind witnessd.ChangeKind, use, short, long string) *cobra.Command {
	var data, origin string
	cmd := &cobra.Command{
		Use:     use + " --data DIR --origin ORIGIN",
		Short:   short,
		Long:    long,
		Example: "  pausewitness log " + use + " --data DIR --origin log.example/pause",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "data", "origin"); err != nil {
				return err
			}
			return change(cmd, data, witnessd.Change{Kind: kind, Origin: origin}, origin+": "+use+"d", origin+": was "+use+"d already")
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	cmd.Flags().StringVar(&origin, "origin", "", "the log's origin")
	return configured(cmd)
}
