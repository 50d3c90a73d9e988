package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/daemon"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/recovery"
)

func backupCommand() *cobra.Command {
	var data, to string
	var keys, unverified, asJSON bool
	cmd := &cobra.Command{
		Use:   "backup --data DIR --to DIR",
		Short: "copy a log while it runs",
		Long: `backup writes a copy of the log into a new folder in --to, with the date as its name, and prints that. The log
goes on meanwhile. What the newest backup there has too is linked and takes no space again; any of them can be removed at any
time. All that was copied is hashed once more, up to the log's own signature, before the folder has its name.

The keys are left out, because they belong in a safe (deploy/KEYS.md), unless --with-keys. The head file is always left out:
a backup that is older than what was signed cannot be used to go on. 'pauselogd recover' needs it together with copies of
what came since.`,
		Example: `  pauselogd backup --data /var/lib/pauselog/log --to /mnt/backup/pauselog`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "data", "to"); err != nil {
				return err
			}
			f, err := datafolder.Open(data)
			if err != nil {
				return err
			}
			p := newProgress()
			r, err := daemon.Backup(cmd.Context(), recovery.Backup{Folder: f, To: to, Keys: keys, Unverified: unverified, Progress: p.show})
			p.clear()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, r)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), r.Path)
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data folder")
	cmd.Flags().StringVar(&to, "to", "", "the folder of all backups, not in the data folder and best not on its disk")
	cmd.Flags().BoolVar(&keys, "with-keys", false, "take the secret keys along")
	cmd.Flags().BoolVar(&unverified, "no-verify", false, "do not hash once more what was copied")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return configured(cmd)
}
