package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/verify"
)

func (a *app) evidenceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evidence",
		Short: "check what somebody says that a log did wrong",
		Long: `evidence is about files in which two statements of a log, each with its valid signature, contradict each other. Every
command that meets such a thing writes one, and ends with exit code 15.`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.configured(a.evidenceVerifyCommand()))
	return cmd
}

func (a *app) evidenceVerifyCommand() *cobra.Command {
	var vkeys []string
	cmd := &cobra.Command{
		Use:   "verify (--policy FILE | --vkey KEY) FILE...",
		Short: "check that evidence proves what it says, offline",
		Long: `verify checks evidence on any machine, offline, and without trust in whoever handed it over: that both statements are
signed by the log, and that they contradict each other. If so, it says in one sentence what the log did, and ends
with 0: the evidence is good, which is bad news about the log. Nobody without the log's key can make such a
file against it.

All it takes is the log's public key: that of a policy, or the line of one that its operator published (--vkey). No
quorum of witnesses is needed: what the log signed, it must answer for. A file of - is standard input.

Exit code 19 says that a file proves nothing: it is malformed, or signed by another key, or both statements can
be true.`,
		Example: `  pauselog evidence verify --policy pause.policy log.example-7c0e.evidence
  pauselog evidence verify --vkey 'log.example/pause+13830bfb+AYqI...' received.evidence`,
		Args: args(1, -1, "a FILE"),
		RunE: func(cmd *cobra.Command, files []string) error {
			policy, err := a.evidencePolicy(vkeys)
			if err != nil {
				return err
			}
			worst := verify.Verified
			for _, file := range files {
				worst = verify.Worst(worst, a.verifyEvidence(policy, file))
			}
			return finish(worst)
		},
	}
	cmd.Flags().StringVar(&a.policyFile, "policy", "", "the file that has the log's keys")
	cmd.Flags().StringArrayVar(&vkeys, "vkey", nil, "the log's public key, in place of a policy; again for more")
	return cmd
}

// evidencePolicy returns the logs' keys, as a policy.
func (a *app) evidencePolicy(vkeys []string) (*checkpoint.Policy, error) {
	if len(vkeys) == 0 {
		return a.policy()
	}
	var b strings.Builder
	for _, v := range vkeys {
		if _, err := checkpoint.ParseVerifierKey(v); err != nil {
			return nil, usagef("--vkey: %w", err)
		}
		fmt.Fprintf(&b, "log %s\n", v)
	}
	p, err := checkpoint.ParsePolicy([]byte(b.String() + "quorum none\n"))
	if err != nil {
		return nil, usagef("--vkey: %w", err)
	}
	return p, nil
}

func (a *app) verifyEvidence(p *checkpoint.Policy, file string) verify.Outcome {
	e, err := readEvidence(file)
	if err == nil {
		err = e.Check(p)
	}
	switch {
	case err == nil:
		if a.json {
			a.object(map[string]any{"file": file, "outcome": verify.Verified, "code": 0, "message": plain(e.String()), "origin": e.Origin(), "kind": e.Kind()})
		} else {
			a.results("%s\n", plain(e.String()))
		}
		return verify.Verified
	case errors.Is(err, verify.ErrEvidence), errors.Is(err, verify.ErrNoContradiction):
		err = outcomeError{verify.InvalidProof, err}
	}
	outcome := a.outcomeOf(err)
	if a.json {
		a.object(map[string]any{"file": file, "outcome": outcome, "code": outcome.Code(), "message": plain(err.Error())})
	} else {
		fmt.Fprintf(a.stderr, "%s: %s: %s\n", plain(file), outcome, plain(err.Error()))
	}
	return outcome
}

func readEvidence(file string) (*verify.Evidence, error) {
	in := io.Reader(os.Stdin)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, verify.MaxEvidence+1))
	if err != nil {
		return nil, err
	}
	return verify.ParseEvidence(b)
}
