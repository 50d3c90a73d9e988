package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/daemon"
	"github.com/pauselog/pauselog/internal/datafolder"
)

func initCommand() *cobra.Command {
	var data, origin, head string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "init --data DIR --origin NAME",
		Short: "make a new log",
		Long: `init makes the keys and an empty log in a new folder, and prints the log's verifier keys,
one a line, Ed25519 first. They go into the policy of everybody who reads the log.

The origin is the log's name for ever, by custom the URL of its read path without https://. The head
file says how far the log has signed; it lies outside of the folder, so that a restore of the folder
alone is noticed. Back up the keys; never run two copies of a log.`,
		Example: `  pauselogd init --data /var/lib/pauselog/log --origin log.example/pause`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "data", "origin"); err != nil {
				return err
			}
			f, err := datafolder.Init(data, origin, head, time.Now())
			if err != nil {
				return err
			}
			var vkeys []string
			for _, k := range f.Signers {
				vkeys = append(vkeys, k.Verifier().String())
			}
			if asJSON {
				return printJSON(cmd, map[string]any{"origin": f.Origin, "data": f.Dir, "head": f.Head, "vkeys": vkeys})
			}
			for _, v := range vkeys {
				fmt.Fprintln(cmd.OutOrStdout(), v)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder, which must be new or empty")
	cmd.Flags().StringVar(&origin, "origin", "", "the log's name")
	cmd.Flags().StringVar(&head, "head", "", "the head file (default DIR.head)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return configured(cmd)
}

func voidCommand() *cobra.Command {
	var data string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "void --data DIR INDEX",
		Short: "say in the log that an upload entry must not be trusted",
		Long: `void appends an entry which says that the upload entry with this index must not be trusted: files
no longer verify by it, and its path may be logged again. Nothing is removed, and nothing takes a void
back but logging the file again. It must be the newest upload of its path.

It works while the log serves, and is to be had only by who may write to the data folder.`,
		Example: `  pauselogd void --data /var/lib/pauselog/log 1234`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("one INDEX is needed: see '%s --help'", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := need(cmd, "data"); err != nil {
				return err
			}
			index, err := strconv.ParseUint(args[0], 10, 63)
			if err != nil {
				return usageError{fmt.Errorf("index %q is not a number", args[0])}
			}
			f, err := datafolder.Open(data)
			if err != nil {
				return err
			}
			v, err := daemon.Void(cmd.Context(), f, index)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, v)
			}
			word := "voided by"
			if v.Repeated {
				word = "was voided before, by"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "entry %d %s entry %d\n", index, word, v.Index)
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return configured(cmd)
}
