package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/log/checkpoint"
)

func keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "list, add and retire the log's keys",
		Long: `A log signs with all of its keys. To change one, add a new key and start the log again; let both sign until
every policy and every witness knows the new one; then retire the old one and start the log again.

All of this works while the log serves, and takes effect at its next start.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(keyListCommand(), keyAddCommand(), keyRetireCommand())
	return cmd
}

func keyListCommand() *cobra.Command {
	var data string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list --data DIR",
		Short: "list the keys, without their secrets",
		Long: `list prints the keys that sign, Ed25519 first, and then the retired ones. The verifier key is what goes into
policies and to witnesses.`,
		Example: `  pauselogd key list --data DIR`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "data"); err != nil {
				return err
			}
			f, err := datafolder.Open(data)
			if err != nil {
				return err
			}
			keys, err := f.Keys()
			if err != nil {
				return err
			}
			if asJSON {
				for _, k := range keys {
					if err := printJSON(cmd, keyJSON(k)); err != nil {
						return err
					}
				}
				return nil
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tTYPE\tSTATE\tADDED\tRETIRED\tVERIFIER KEY")
			for _, k := range keys {
				j := keyJSON(k)
				retired := "-"
				if r, ok := j["retired"]; ok {
					retired = r.(string)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID(), j["type"], j["state"], j["added"], retired, k.Verifier)
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return configured(cmd)
}

func keyAddCommand() *cobra.Command {
	var data, typ string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "add --data DIR --type TYPE",
		Short: "make a key that signs from the next start on",
		Long: `add makes a key and prints its verifier key. The log signs with it, and with all the others, from its next
start on. At most 4 keys of a type sign. Back up the new file in the folder keys.`,
		Example: `  pauselogd key add --data DIR --type ed25519
  pauselogd key add --data DIR --type mldsa44`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "data", "type"); err != nil {
				return err
			}
			var a checkpoint.Algorithm
			switch typ {
			case "ed25519":
				a = checkpoint.Ed25519
			case "mldsa44":
				a = checkpoint.MLDSA44
			default:
				return usageError{fmt.Errorf("--type %q: expected ed25519 or mldsa44", typ)}
			}
			f, err := datafolder.Open(data)
			if err != nil {
				return err
			}
			k, err := f.AddKey(a)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), `%s signs from the next start of the log on, with the keys that sign now. Next:
 1. back up %s
 2. start the log again
 3. put the verifier key beside the old one into every policy, and tell the witnesses
 4. when all of them know it: pauselogd key retire --data %s --id OLD
`, k.ID(), k.File, f.Dir)
			if asJSON {
				return printJSON(cmd, keyJSON(k))
			}
			fmt.Fprintln(cmd.OutOrStdout(), k.Verifier)
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	cmd.Flags().StringVar(&typ, "type", "", "ed25519 or mldsa44")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return configured(cmd)
}

func keyRetireCommand() *cobra.Command {
	var data, id string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "retire --data DIR --id ID",
		Short: "let a key sign no more, from the next start on",
		Long: `retire moves a key's file into the folder keys/retired. A log that runs signs with the key until it is started
again. Nothing is deleted; leave the key in policies beside the new one for as long as proofs that it
signed are to verify.

It refuses to retire the last Ed25519 key, and any key while no other of its type has been through a
start of the log: readers need checkpoints that both have signed.`,
		Example: `  pauselogd key retire --data DIR --id 13830bfb`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "data", "id"); err != nil {
				return err
			}
			f, err := datafolder.Open(data)
			if err != nil {
				return err
			}
			k, err := f.RetireKey(id, time.Now())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, keyJSON(k))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s signs nothing from the next start of the log on; its file is now %s\n", k.ID(), k.File)
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	cmd.Flags().StringVar(&id, "id", "", "the key id, as 'key list' shows it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return configured(cmd)
}

func keyJSON(k datafolder.Key) map[string]any {
	out := map[string]any{"id": k.ID(), "type": "ed25519", "state": "signing", "vkey": k.Verifier.String(), "added": k.Added.UTC().Format(time.RFC3339)}
	if k.Verifier.Algorithm() == checkpoint.MLDSA44 {
		out["type"] = "mldsa44"
	}
	if k.Retired {
		out["state"] = "retired"
		if !k.RetiredAt.IsZero() {
			out["retired"] = k.RetiredAt.Format(time.RFC3339)
		}
	}
	return out
}
