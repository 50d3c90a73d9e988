// Command pauselogd is the log: the sequencer, the gRPC frontend and the HTTP read path, in
// one process with one data folder.
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
	exitError   = 1 // something failed
	exitUsage   = 2 // the command line or the configuration is wrong
	exitDamaged = 3 // scrub: the store is damaged
	exitMissing = 4 // recover: the sources do not have what the log promised, or contradict it
)

// A codedError is one with an exit code of its own. Without a cause it was reported already.
type codedError struct {
	error
	code int
}

func (e codedError) Unwrap() error { return e.error }

// A usageError is one that a look at --help can mend.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func run() int {
	// SIGTERM is what a service manager sends, SIGINT what a person does; both drain.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cmd := root()
	if err := cmd.ExecuteContext(ctx); err != nil {
		var usage usageError
		if errors.As(err, &usage) {
			fmt.Fprintf(os.Stderr, "pauselogd: %v\n", err)
			return exitUsage
		}
		var coded codedError
		if errors.As(err, &coded) {
			if coded.error != nil {
				fmt.Fprintf(os.Stderr, "pauselogd: %v\n", coded.error)
			}
			return coded.code
		}
		fmt.Fprintf(os.Stderr, "pauselogd: %v\n", err)
		return exitError
	}
	return 0
}

func root() *cobra.Command {
	var showVersion bool
	cmd := &cobra.Command{
		Use:   "pauselogd",
		Short: "an artifact transparency log for PAUSE",
		Long: `pauselogd runs an artifact transparency log for PAUSE: a public, append-only list of
the digest of everything that was uploaded, of which nobody can be shown a private version.

It says that a file was logged, and that the log is the same for everyone. It does not say that
a file is harmless.`,
		Example: `  pauselogd dev
  pauselogd init --data /var/lib/pauselog/log --origin log.example/pause
  pauselogd serve --data /var/lib/pauselog/log --no-witnesses --grpc 127.0.0.1:7150 --http 127.0.0.1:7151`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if showVersion {
				return version.Of("pauselogd").Print(cmd.OutOrStdout())
			}
			return cmd.Help()
		},
	}
	cmd.Flags().BoolVar(&showVersion, "version", false, "print the version, the commit that it was built from, and the compiler")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w: see '%s --help'", err, cmd.CommandPath())}
	})
	cmd.AddCommand(initCommand(), serveCommand(), tokenCommand(), keyCommand(), voidCommand(), backupCommand(), scrubCommand(), recoverCommand(), devCommand())
	return cmd
}

// withFile gives a command a TOML file. Only what runs for long has one: its keys are the
// command's flags, and other commands have others.
func withFile(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().String(config.FileFlag, "", "TOML file with values for flags, by their names")
	return configured(cmd)
}

// configured makes a command take what is not on its command line from PAUSELOGD_* in the
// environment, and then from its file.
func configured(cmd *cobra.Command) *cobra.Command {
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := config.Apply(cmd.Flags(), "PAUSELOGD", ""); err != nil {
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
