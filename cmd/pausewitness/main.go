// Command pausewitness is a witness: it cosigns the checkpoints of transparency logs that did
// nothing but append.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/config"
	"github.com/pauselog/pauselog/internal/version"
)

func main() { os.Exit(run()) }

// Exit codes.
const (
	exitError = 1 // something failed, or doctor found something wrong
	exitUsage = 2 // the command line or the configuration is wrong
)

// A usageError is one that a look at --help can mend.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errReported is a failure of which everything was said.
var errReported = errors.New("failed")

func run() int {
	// SIGTERM is what a service manager sends, SIGINT what a person does; both drain.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := root().ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintf(os.Stderr, "pausewitness: %v\n", err)
	}
	if usage := (usageError{}); errors.As(err, &usage) {
		return exitUsage
	}
	return exitError
}

func root() *cobra.Command {
	var showVersion bool
	cmd := &cobra.Command{
		Use:   "pausewitness",
		Short: "a witness for transparency logs",
		Long: `pausewitness runs a witness (C2SP tlog-witness): it remembers the last checkpoint of each log that it was
told of, and cosigns the next one only if the log did nothing but append. Who asks for the cosignatures
of several independent witnesses cannot be shown another log than everybody else.

A cosignature says nothing about what is in a log.

Exit codes: 0 all is well; 1 something failed, or doctor found something wrong; 2 the command line
or the configuration is wrong.`,
		Example: `  pausewitness init --data /var/lib/pausewitness/witness --name witness.example/w1
  pausewitness log add --data /var/lib/pausewitness/witness --vkey log.example/pause+0fb1b6e4+AQ...
  pausewitness serve --data /var/lib/pausewitness/witness --listen 127.0.0.1:7180
  pausewitness doctor --data /var/lib/pausewitness/witness`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if showVersion {
				return version.Of("pausewitness").Print(cmd.OutOrStdout())
			}
			return cmd.Help()
		},
	}
	cmd.Flags().BoolVar(&showVersion, "version", false, "print the version, the commit that it was built from, and the compiler")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w: see '%s --help'", err, cmd.CommandPath())}
	})
	cmd.AddCommand(initCommand(), serveCommand(), logCommand(), statusCommand(), doctorCommand(), clockCommand())
	return cmd
}

// configured makes a command take what is not on its command line from PAUSEWITNESS_* in the
// environment, and then from its file if it has one.
func configured(cmd *cobra.Command) *cobra.Command {
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := config.Apply(cmd.Flags(), "PAUSEWITNESS", ""); err != nil {
			return usageError{err}
		}
		return inner(cmd, args)
	}
	return cmd
}

// noArgs is cobra.NoArgs as a usage error.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q: see '%s --help'", args[0], cmd.CommandPath())}
	}
	return nil
}

// need returns a usage error if a flag has no value.
func need(cmd *cobra.Command, flags ...string) error {
	for _, f := range flags {
		if cmd.Flag(f).Value.String() == "" {
			return usageError{fmt.Errorf("--%s is needed: see '%s --help'", f, cmd.CommandPath())}
		}
	}
	return nil
}

func printJSON(cmd *cobra.Command, v any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// group is a command that only has others below it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(commands...)
	for _, c := range commands {
		cmd.Example += c.Example + "\n"
	}
	return cmd
}
