package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/verify"
)

func (a *app) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit --policy FILE",
		Short: "read the whole log and check everything that a reader can check",
		Long: `audit reads every entry up to the newest checkpoint, hashes them anew, compares the tree with the
checkpoint and with the one that was remembered, and holds each entry against the rules of what may follow
what: one digest for one path, times of an index that increase, and so on.

Exit codes: 0 when all is well. 1 when entries break the rules: each is listed; the log is consistent with
what it signed, so that this convicts nobody of showing two trees. 13 when the log cannot be reached or
stops answering. 14 when too few witnesses signed. 15 when two signed statements contradict each other. 19
when the entries are not those that were signed.`,
		Example: `  pauselog audit --policy pause.policy
  pauselog audit --policy pause.policy --json | jq .entries`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			policy, err := a.policy()
			if err != nil {
				return err
			}
			log, closeConn, err := a.reader(policy)
			if err != nil {
				return err
			}
			defer closeConn()
			p := a.progressOf("entries")
			report, err := log.Audit(cmd.Context(), p.show)
			p.clear()
			if err != nil {
				return err
			}
			return a.printReport(report)
		},
	}
	a.policyFlags(cmd)
	a.serverFlags(cmd)
	return cmd
}

func (a *app) printReport(r *client.Report) error {
	o, message := verify.Verified, fmt.Sprintf("%d entries, as signed, by the rules", r.Entries)
	switch {
	case !r.Seen.QuorumMet:
		o, message = verify.PolicyUnmet, errQuorum(r.Seen).Error()
	case r.Violations > 0:
		o, message = verify.Error, fmt.Sprintf("%d of %d entries break the rules of the log", r.Violations, r.Entries)
	}
	if a.json {
		findings := r.Findings
		if findings == nil {
			findings = []client.Finding{}
		}
		a.object(map[string]any{"outcome": o, "code": o.Code(), "message": message, "origin": r.Seen.Origin, "size": r.Seen.Size,
			"root": r.Seen.Root.String(), "entries": r.Entries, "kinds": r.Kinds, "violations": r.Violations, "findings": findings})
		return finish(o)
	}
	a.results("origin   %s\nsize     %d\nroot     %s\n", r.Seen.Origin, r.Seen.Size, r.Seen.Root)
	for _, kind := range slices.Sorted(maps.Keys(r.Kinds)) {
		a.results("%-8s %d\n", kind, r.Kinds[kind])
	}
	for _, f := range r.Findings {
		fmt.Fprintf(a.stderr, "pauselog: entry %d: %s\n", f.Index, plain(f.Message))
	}
	if more := r.Violations - uint64(len(r.Findings)); more > 0 {
		fmt.Fprintf(a.stderr, "pauselog: and %d more\n", more)
	}
	if o == verify.Verified {
		return nil
	}
	return outcomeError{o, fmt.Errorf("%s", message)}
}
