package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	cpanmirror "github.com/pauselog/pauselog/internal/mirror"
	"github.com/pauselog/pauselog/internal/trust"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/verify"
)

func (a *app) auditCommand() *cobra.Command {
	where := ""
	cmd := &cobra.Command{
		Use:   "audit --policy FILE [--tree DIR|URL]",
		Short: "read the whole log and check everything that a reader can check",
		Long: `audit reads every entry up to the newest checkpoint, hashes them anew, compares the tree with the
checkpoint and with the one that was remembered, and holds each entry against the rules of what may follow
what: one digest for one path, times of an index that increase, and so on.

It asks the log or, with --tree, reads a copy of it: the static files that 'pauselog export' writes into a folder, which
any mirror may have below modules/tlog, and which the log itself serves below its URL. Of a copy every hash tile is
compared with the entries too; its path index is not read, and nothing rests on it. No server is needed for a folder, and
nothing is sent.

Exit codes: 0 when all is well. 1 when entries break the rules: each is listed; the log is consistent with
what it signed, so that this convicts nobody of showing two trees. 13 when the log cannot be reached or
stops answering, or files of the copy are missing, or it is older than what was seen before and no witnesses vouch for it.
14 when too few witnesses signed. 15 when two signed statements contradict each other. 19
when the entries are not those that were signed, or another file of the copy is not what they make it: the first is named.`,
		Example: `  pauselog audit --policy pause.policy
  pauselog audit --policy pause.policy --json | jq .entries
  pauselog audit --policy pause.policy --tree /srv/cpan/modules/tlog
  pauselog audit --policy pause.policy --tree https://mirror.example/CPAN/modules/tlog`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			policy, err := a.policy()
			if err != nil {
				return err
			}
			audit := a.auditLog
			if cmd.Flag("tree").Changed {
				if cmd.Flag("server").Changed {
					return usagef("--tree says what is audited, so that --server has no meaning")
				}
				audit = func(ctx context.Context, policy *checkpoint.Policy, p *progress) (*client.Report, error) {
					return a.auditTree(ctx, policy, where, p)
				}
			}
			p := a.progressOf("entries")
			report, err := audit(cmd.Context(), policy, p)
			p.clear()
			if err != nil {
				return err
			}
			return a.printReport(report)
		},
	}
	a.policyFlags(cmd)
	a.serverFlags(cmd)
	cmd.Flags().StringVar(&where, "tree", "", "audit the static tree in this folder or below this URL, in place of asking the log")
	return cmd
}

// auditLog audits by asking the log.
func (a *app) auditLog(ctx context.Context, policy *checkpoint.Policy, p *progress) (*client.Report, error) {
	log, closeConn, err := a.reader(policy)
	if err != nil {
		return nil, err
	}
	defer closeConn()
	return log.Audit(ctx, p.show)
}

// auditTree audits a static tree.
func (a *app) auditTree(ctx context.Context, policy *checkpoint.Policy, where string, p *progress) (*client.Report, error) {
	source, closeSource, err := a.openAudited(where)
	if err != nil {
		return nil, usagef("--tree: %w", err)
	}
	defer closeSource()
	memory, err := trust.Open(a.stateDir)
	if err != nil {
		return nil, err
	}
	t, err := prooftree.Open(ctx, source, policy)
	if err == nil {
		// It says whether the whole tree continues the one that was seen before, and convicts the log if not.
		err = cpanmirror.Remember(ctx, t, policy, memory)
	} else if t != nil {
		err = nil // too few witnesses signed: that is the outcome, and nothing is remembered
	}
	var r *client.Report
	if err == nil {
		r, err = client.AuditTree(ctx, t, source, p.show)
	}
	switch {
	case errors.Is(err, prooftree.ErrInvalid):
		return r, outcomeError{verify.InvalidProof, fmt.Errorf("%s: %w", where, err)}
	case errors.Is(err, prooftree.ErrIncomplete):
		return r, outcomeError{verify.Unverifiable, fmt.Errorf("%s: %w", where, err)}
	}
	var network *url.Error
	if errors.As(err, &network) {
		return r, outcomeError{verify.Unverifiable, err}
	}
	return r, err
}

// openAudited opens the static tree that a user names by a folder or a URL.
func (a *app) openAudited(where string) (source prooftree.Source, closeSource func() error, err error) {
	if strings.Contains(where, "://") {
		s, err := a.openTreeAt(where, false)
		if err != nil {
			return nil, nil, err
		}
		return s, s.Close, nil
	}
	s, err := prooftree.OpenDir(where)
	if err != nil {
		return nil, nil, err
	}
	return s, s.Close, nil
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
