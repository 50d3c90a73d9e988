package main

import (
	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/verify"
)

func (a *app) proofCommand() *cobra.Command {
	var digest string
	var all bool
	cmd := &cobra.Command{
		Use:   "proof --policy FILE PATH",
		Short: "fetch the proof of a path, check it, and print it",
		Long: `proof fetches the proof bundle of a path on CPAN, checks it under the policy and against the newest
checkpoint that was seen before, and prints it: the text of a FILE.tlog-proof, with which the file verifies
without a connection.

Of an archive it is the proof of its upload. Of an index, which changes, it is that of its newest entry, or
of the one that --sha256 names.

The exit codes are those of verify; only a proof that verifies is printed.`,
		Example: `  pauselog proof --policy pause.policy authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz > Try-Tiny-0.31.tar.gz.tlog-proof
  pauselog proof --policy pause.policy --sha256 "$(sha256sum < 06perms.txt | cut -c1-64)" modules/06perms.txt`,
		Args: args(1, 1, "a PATH on CPAN"),
		RunE: func(cmd *cobra.Command, paths []string) error {
			policy, err := a.policy()
			if err != nil {
				return err
			}
			q := verify.Request{Policy: policy, Path: paths[0]}
			if _, err := entry.KindOf(q.Path); err != nil {
				return usageError{err}
			}
			if digest != "" {
				if q.SHA256, err = entry.ParseDigest(digest); err != nil {
					return usageError{err}
				}
			}
			log, closeConn, err := a.reader(policy)
			if err != nil {
				return err
			}
			defer closeConn()
			if all {
				log = log.AllSignatures()
			}
			e, err := log.Gather(cmd.Context(), q.Path, q.SHA256, a.trusted)
			if err != nil {
				return err
			}
			q.Bundle, q.Revocation, q.Absence, q.AbsenceDetail = e.Bundle, e.Revocation, e.Absence, e.Detail
			if digest == "" {
				q.SHA256, q.Size = claimed(e.Bundle)
			} else if d, size := claimed(e.Bundle); d == q.SHA256 {
				q.Size = size
			}
			r := verify.Verify(q)
			a.keepEvidence(r)
			if r.Outcome != verify.Verified {
				a.print(q.Path, r)
				return finish(r.Outcome)
			}
			if a.json {
				a.printJSON("", r, map[string]any{"bundle": string(e.Bundle)})
				return nil
			}
			a.results("%s", e.Bundle)
			return nil
		},
	}
	a.policyFlags(cmd)
	a.serverFlags(cmd)
	cmd.Flags().StringVar(&digest, "sha256", "", "the digest of the file that the proof is to be of")
	cmd.Flags().BoolVar(&all, "all-signatures", false, "keep the signatures of ML-DSA keys too, 3 KB each")
	return cmd
}

// claimed returns the digest and size of a bundle's entry, for a caller who has no file and
// asks what the log says of it.
func claimed(bundle []byte) (entry.Digest, uint64) {
	// What does not parse has no digest, and verify.Verify says what is wrong with it.
	b, err := proof.Parse(bundle)
	if err != nil {
		return entry.Digest{}, 0
	}
	e, err := entry.Parse(b.Entry)
	if err != nil {
		return entry.Digest{}, 0
	}
	return e.SHA256, e.Size
}
