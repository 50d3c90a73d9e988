// Command pauselog is for everybody who uses a log and does not run it: it submits files,
// verifies them, and reads and audits the log.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pauselog/pauselog/internal/config"
	"github.com/pauselog/pauselog/internal/version"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	a := &app{stdout: &output{w: stdout}, stderr: stderr}
	cmd := a.root()
	cmd.SetArgs(args)
	cmd.SetOut(a.stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	// A command line that does not parse is answered in the form that it asks for.
	a.json = a.json || slices.Contains(args, "--json")
	return a.conclude(ctx, err)
}

const exitCodes = `Exit codes, the same words in --json:
   0  verified       all good
   1  error          a local failure          2  usage          wrong flags, or a file without its path
  10  mismatch       logged with other bytes
  11  not-logged     the log itself says so  12  pending        logged, and not published yet
  13  unverifiable   no proof to be had      14  policy         too few witnesses signed
  15  misbehaviour   the log contradicts itself; the evidence is in a file
  16  stale          older than a limit      17  upgrade        this program is too old
  18  revoked        the entry was voided    19  invalid-proof  a proof that proves nothing`

func (a *app) root() *cobra.Command {
	var showVersion bool
	cmd := &cobra.Command{
		Use:   "pauselog",
		Short: "use the artifact transparency log of PAUSE",
		Long: `pauselog submits files to an artifact transparency log for PAUSE, verifies downloads against it, and
reads and audits it. It believes nothing that it cannot check under your policy, the file that lists the
log's keys and the witnesses that you trust.

That a file is logged says that everyone is shown the same file. It does not say that the file is
harmless.

Results go to standard output, everything else to standard error. With --json, standard output
has one object a line, of successes and failures alike.

What is not on the command line is taken from PAUSELOG_* in the environment (--policy is
PAUSELOG_POLICY), and then from a TOML file of flags: --config, or else config.toml in
$XDG_CONFIG_HOME/pauselog, or else /etc/pauselog/config.toml. What a call asks about, such as --path,
comes from the command line alone.

` + exitCodes,
		Example: `  pauselog verify --policy pause.policy --root /srv/cpan /srv/cpan/authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz
  pauselog verify --policy pause.policy --snapshot cpanfile.snapshot
  pauselog lookup --policy pause.policy --dist Try::Tiny
  pauselog audit --policy pause.policy`,
		Args: cobra.ArbitraryArgs,

		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		SilenceErrors:              true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if showVersion && len(args) == 0 {
				return a.showVersion()
			}
			if len(args) == 0 {
				return cmd.Help()
			}
			if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
				return usagef("unknown command %q: did you mean %s?", args[0], s[0])
			}
			return usagef("unknown command %q: see 'pauselog --help'", args[0])
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w: see '%s --help'", err, cmd.CommandPath())
	})
	cmd.Flags().BoolVar(&showVersion, "version", false, "print the version, the commit that it was built from, and the compiler")
	cmd.PersistentFlags().BoolVar(&a.json, "json", false, "print one JSON object a line, on failure too")
	cmd.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "say more")
	cmd.PersistentFlags().String(config.FileFlag, "", "TOML file with values for flags, by their names")
	for _, sub := range []*cobra.Command{a.verifyCommand(), a.bundleCommand(), a.proofCommand(), a.lookupCommand(), a.checkpointCommand(),
		a.auditCommand(), a.exportCommand(), a.submitCommand(), a.deleteCommand(),
		a.mirrorCommand(), a.execCommand(), a.evidenceCommand(),
		a.agentCommand(), a.spoolCommand(), a.backfillCommand()} {
		cmd.AddCommand(a.configured(sub))
	}
	return cmd
}

func (a *app) showVersion() error {
	i := version.Of("pauselog")
	if a.json {
		a.object(i)
		return nil
	}
	return i.Print(a.stdout)
}

// askedFor are the flags that say what one call is about. To inherit such a thing from a
// file would be to verify another question than the one that was asked.
var askedFor = []string{"path", "any-path", "proof", "snapshot", "tree", "out", "sha256", "author", "dist", "time", "wait", "delete", "full", "vkey", "manifest", "dry-run"}

// configured gives a command its flags' values from the environment and the file. One file
// serves all commands, so a key may be a flag of any of them.
func (a *app) configured(cmd *cobra.Command) *cobra.Command {
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		all := pflag.NewFlagSet(cmd.Name(), pflag.ContinueOnError)
		add := func(f *pflag.Flag) {
			// The folder of an export is a setting. That of a verification is what the call is about.
			asked := slices.Contains(askedFor, f.Name) || f.Name == "dir" && f == cmd.Flag("dir") && cmd.Name() == "verify"
			// To several commands it is one folder; to backfill it is a list.
			asked = asked || f.Name == "root" && f == cmd.Flag("root") && cmd.Name() == "backfill"
			if all.Lookup(f.Name) == nil && !asked {
				all.AddFlag(f)
			}
		}
		cmd.Flags().VisitAll(add) // this command's first: these are the ones that count
		for _, other := range cmd.Root().Commands() {
			other.Flags().VisitAll(add)
		}
		if _, err := config.Apply(all, "PAUSELOG", defaultConfig()); err != nil {
			return usageError{err}
		}
		return inner(cmd, args)
	}
	return cmd
}

// defaultConfig returns the configuration file that is read if none is named.
func defaultConfig() string {
	folder := os.Getenv("XDG_CONFIG_HOME")
	if home, err := os.UserHomeDir(); !filepath.IsAbs(folder) && err == nil {
		folder = filepath.Join(home, ".config")
	}
	if filepath.IsAbs(folder) {
		name := filepath.Join(folder, "pauselog", "config.toml")
		if _, err := os.Stat(name); err == nil {
			return name
		}
	}
	return "/etc/pauselog/config.toml"
}
