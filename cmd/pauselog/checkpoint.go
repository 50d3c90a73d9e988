package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/verify"
)

func (a *app) checkpointCommand() *cobra.Command {
	var maxAge time.Duration
	cmd := &cobra.Command{
		Use:   "checkpoint --policy FILE",
		Short: "fetch the newest checkpoint, check it, and print it",
		Long: `checkpoint fetches the log's newest checkpoint with all of its signatures, checks it under the policy, has
the log prove that it continues the one that was seen before, remembers it, and prints it.

What was seen before is kept in --state-dir. A log that shows another tree than before is convicted by
its own signatures: exit code 15, and the evidence in a file. One that shows an older tree, and cannot prove
that the newer one continues it, has lost entries or is a copy that lags: exit code 13.`,
		Example: `  pauselog checkpoint --policy pause.policy
  pauselog checkpoint --policy pause.policy --max-age 1h > /dev/null || echo the log stands still`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if maxAge < 0 {
				return usagef("--max-age cannot be negative")
			}
			policy, err := a.policy()
			if err != nil {
				return err
			}
			log, closeConn, err := a.reader(policy)
			if err != nil {
				return err
			}
			defer closeConn()
			seen, err := log.Checkpoint(cmd.Context())
			if err != nil {
				return err
			}
			if !seen.QuorumMet {
				return errQuorum(seen)
			}
			if maxAge > 0 && !seen.Fresh(policy, uint64(max(0, time.Now().Unix())), uint64(maxAge/time.Second)) {
				return outcomeError{verify.Stale, fmt.Errorf("the newest checkpoint, of size %d, is not known to be at most %v old: the log stands still, or somebody holds newer ones back, or this machine's clock is wrong", seen.Size, maxAge)}
			}
			if a.json {
				a.object(map[string]any{"outcome": verify.Verified, "code": 0, "origin": seen.Origin, "size": seen.Size,
					"root": seen.Root.String(), "quorum": true, "checkpoint": string(seen.Note)})
				return nil
			}
			a.results("%s", seen.Note)
			return nil
		},
	}
	a.policyFlags(cmd)
	a.serverFlags(cmd)
	cmd.Flags().DurationVar(&maxAge, "max-age", 0, "how old the checkpoint may be (default: any age)")
	return cmd
}

// errQuorum is for a checkpoint that is the log's, and that too few witnesses cosigned.
func errQuorum(s *client.Seen) error {
	return fmt.Errorf("%w: the checkpoint of %s, size %d, has %d cosignatures that the policy knows: try again later, or compare the policy with the one that the log's operator publishes",
		checkpoint.ErrQuorum, s.Origin, s.Size, len(s.Cosignatures))
}
