package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/export"
	"github.com/pauselog/pauselog/internal/trust"
	"github.com/pauselog/pauselog/log/verify"
)

func (a *app) exportCommand() *cobra.Command {
	c := export.Config{}
	cmd := &cobra.Command{
		Use:   "export --policy FILE --dir DIR",
		Short: "write the static proof tree of a log into a folder, or bring it up to date",
		Long: `export writes the files from which anybody builds any proof, without asking the log and without telling
anyone what they install: the checkpoint, the tree and the entries (C2SP tlog-tiles), and the path index. The
folder can be served by any web server, copied by rsync, and carried to where there is no network. On a copy of
CPAN it is modules/tlog.

The first export reads the whole log, and later ones what is new. All of it is checked against the
newest checkpoint, under the policy, before it is written; the checkpoint comes last. So whatever interrupts an
export, the folder is a whole tree for the checkpoint that is in it, and the next export goes on. The checkpoint never
goes back, and must continue the one in the folder and the one that was seen before.

What lies in the folder is not read again, apart from what changes. --full reads the whole log and mends what
differs.

export says nothing when all is well. Exit codes: 0 when the folder is up to date. 1 when it cannot be written,
is damaged, or another export is at work in it. 13 when the log cannot be reached or shows an
older tree than the folder has. 14 when too few witnesses signed. 15 when two signed statements contradict each other. 19
when the entries are not those that were signed.`,
		Example: `  pauselog export --policy pause.policy --dir /srv/cpan/modules/tlog
  pauselog export --policy pause.policy --dir tlog --server https://log.example -v
  pauselog verify --policy pause.policy --proofs tlog --offline --root /srv/cpan /srv/cpan/authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "dir"); err != nil {
				return err
			}
			return a.export(cmd.Context(), c)
		},
	}
	a.policyFlags(cmd)
	a.serverFlags(cmd)
	cmd.Flags().StringVar(&c.Dir, "dir", "", "the folder; it is made if it is not there")
	cmd.Flags().BoolVar(&c.Full, "full", false, "read the whole log, and mend what differs in the folder")
	return cmd
}

func (a *app) export(ctx context.Context, c export.Config) (err error) {
	if c.Policy, err = a.policy(); err != nil {
		return err
	}
	if c.Memory, err = trust.Open(a.stateDir); err != nil {
		return err
	}
	conn, err := a.connect(c.Policy)
	if err != nil {
		return err
	}
	defer conn.Close()
	p := a.progressOf("entries")
	c.Conn, c.Progress = conn, p.show
	r, err := export.Run(ctx, c)
	p.clear()
	if errors.Is(err, export.ErrDamaged) || errors.Is(err, export.ErrBusy) {
		return outcomeError{verify.Error, err}
	}
	if err != nil {
		return err
	}
	if r.Unlisted > 0 {
		a.warn("the path index lacks %d entries that this program cannot read: update it and export with --full", r.Unlisted)
	}
	message := fmt.Sprintf("%s: %d entries of %s, %d more than before; %d files written, %d removed", c.Dir, r.Size, r.Origin, r.Size-r.Before, r.Written, r.Removed)
	switch {
	case a.json:
		a.object(map[string]any{"outcome": verify.Verified, "code": 0, "message": plain(message), "origin": r.Origin, "size": r.Size,
			"root": r.Root.String(), "before": r.Before, "written": r.Written, "removed": r.Removed, "unlisted": r.Unlisted})
	case a.verbose:
		a.results("%s\n", plain(message))
	}
	return nil
}
