package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/artifact"
	"github.com/pauselog/pauselog/internal/trust"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/verify"
)

func (a *app) verifyCommand() *cobra.Command {
	v := &verifier{app: a}
	var mode string
	cmd := &cobra.Command{
		Use:   "verify --policy FILE (--root CPANDIR | --path PATH | --any-path) FILE...",
		Short: "check that files are what was logged",
		Long: `verify checks that each file is, byte for byte, what the log has under the file's path on CPAN. It says
nothing if it is so.

What the path should be is for you to say: --root takes it from where the file lies below a copy of CPAN,
--path names it. To take it from the proof would let every logged file pass for every other; --any-path
does that, for who wants to know what a file is. Without any of these, the path that the proof
proves is printed, and the exit code is 2.

The proof is the one that --proof names. Without that, it is taken from --proofs, a static proof tree in a
folder or at a URL, or a file with a proof; or else from FILE.tlog-proof beside the file; or else, unless
--offline, the log is asked. What proves nothing, or not that path, is as good as none: the next
source is tried. One that verifies is enough, and the log is then not asked: neither does it learn what
you install, nor say that the entry was voided since; --max-age limits how old such a proof may be, and the log
is asked if it is older. A proof that --proof names is the only one that is looked at.

A proof tree is what 'pauselog export' writes, and what mirrors have in modules/tlog. Whoever keeps it does not
learn which of thousands of files you verify, and can say nothing false; it can be old, or lack what it should have.

--offline opens no connection, and reads no proof tree at a URL. The newest checkpoint that was seen of the log is compared with the proof's in
any case, if it is remembered on this machine.

The exit code is that of the worst file. --mode prefer is for the time in which not everything is logged and not
every mirror has proofs: what is missing or old is a warning then. It is no protection against an
attacker, who needs only to withhold the proof.

` + exitCodes,
		Example: `  pauselog verify --policy pause.policy --root /srv/cpan --offline /srv/cpan/authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz
  pauselog verify --policy pause.policy --path authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz Try-Tiny-0.31.tar.gz
  pauselog verify --policy pause.policy --root /srv/cpan --proofs /srv/cpan/modules/tlog --offline /srv/cpan/authors/id/E/ET/ETHER/*.gz
  pauselog verify --policy pause.policy --path modules/02packages.details.txt.gz --max-index-age 30h 02packages.details.txt.gz
  pauselog verify --policy pause.policy --any-path --explain download.tar.gz`,
		Args: args(1, -1, "a FILE"),
		RunE: func(cmd *cobra.Command, files []string) error {
			var err error
			if v.mode, err = verify.ParseMode(mode); err != nil {
				return usagef("--mode: %w", err)
			}
			if err := v.prepare(cmd.Context(), files); err != nil {
				return err
			}
			defer v.close()
			worst := verify.Verified
			for _, file := range files {
				r := v.verify(cmd.Context(), file)
				if err := cmd.Context().Err(); err != nil {
					return err
				}
				v.show(file, r)
				if r.Outcome.Stops(v.mode) {
					worst = verify.Worst(worst, r.Outcome)
				}
			}
			return finish(worst)
		},
	}
	a.policyFlags(cmd)
	a.serverFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&v.root, "root", "", "a copy of CPAN in which the files lie: their paths are taken from there")
	f.StringVar(&v.path, "path", "", "the path on CPAN that the one FILE should be")
	f.BoolVar(&v.anyPath, "any-path", false, "accept every path that a proof proves")
	f.StringVar(&v.proof, "proof", "", "the proof of the one FILE (default: --proofs, then FILE.tlog-proof, then the log)")
	f.StringVar(&v.proofs, "proofs", "", "a proof tree, in a folder or at an http(s):// URL, or a file with a proof: where to look first")
	f.BoolVar(&v.offline, "offline", false, "open no connection")
	f.StringVar(&mode, "mode", "require", "what stops: require (all but verified) or prefer (what is wrong, not what is missing)")
	f.DurationVar(&v.maxAge, "max-age", 0, "how old the proof's checkpoint may be, as 720h (default: any age)")
	f.DurationVar(&v.maxIndexAge, "max-index-age", 0, "how old an index may be (default: any age, with a warning from 26h on)")
	f.DurationVar(&v.wait, "wait", 0, "how long to wait for what is logged and not published yet")
	f.BoolVar(&v.explain, "explain", false, "print every check")
	return cmd
}

// A verifier decides about the files of one command line.
type verifier struct {
	app *app

	root, path, proof, proofs string
	anyPath, offline          bool
	explain                   bool
	mode                      verify.Mode
	maxAge, maxIndexAge, wait time.Duration

	request verify.Request // what is the same for all files
	tree    proofTree
	online  online
}

// prepare reads all that is needed before the first file.
func (v *verifier) prepare(ctx context.Context, files []string) error {
	switch {
	case v.root != "" && v.path != "", v.root != "" && v.anyPath, v.path != "" && v.anyPath:
		return usagef("--root, --path and --any-path exclude each other")
	case len(files) > 1 && v.path != "":
		return usagef("--path is for one FILE, found %d: use --root for many", len(files))
	case len(files) > 1 && v.proof != "":
		return usagef("--proof is for one FILE, found %d", len(files))
	case v.maxAge < 0 || v.maxIndexAge < 0 || v.wait < 0:
		return usagef("a limit on age and a time to wait cannot be negative")
	}
	policy, err := v.app.policy()
	if err != nil {
		return err
	}
	v.request = verify.Request{Policy: policy, AnyPath: v.anyPath, Now: time.Now(), MaxAge: v.maxAge, MaxIndexAge: v.maxIndexAge}
	v.online.app, v.online.policy = v.app, policy
	v.tree.verifier = v
	// What was seen before is looked at offline too, and there need be none.
	if memory, err := trust.Open(v.app.stateDir); err == nil {
		if v.request.Known, err = memory.Known(policy); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) close() {
	v.tree.close()
	v.online.close()
}

// verify decides about one file.
func (v *verifier) verify(ctx context.Context, file string) *verify.Result {
	q := v.request
	q.Path = v.path
	f, err := artifact.Read(file)
	if err != nil {
		return failed(q, err)
	}
	q.SHA256, q.Size = f.SHA256, f.Size
	if v.root != "" {
		if q.Path, err = artifact.Path(v.root, file); err != nil {
			return failed(q, err)
		}
	}
	r := v.decide(ctx, file, q)
	v.app.keepEvidence(r)
	return r
}

// failed is for what keeps a file from being looked at.
func failed(q verify.Request, err error) *verify.Result {
	return &verify.Result{Outcome: verify.Error, Path: q.Path, SHA256: q.SHA256, Size: q.Size, Message: plain(err.Error())}
}

// show prints what came out.
func (v *verifier) show(file string, r *verify.Result) {
	a := v.app
	switch {
	case a.json:
		a.print(file, r)
		return
	case r.Outcome != verify.Verified:
		a.print(file, r)
	case a.verbose:
		a.results("verified %s\n", r.Path)
		a.notes(file, r.Notes)
	case oldIndex(v.request, r):
		a.notes(file, r.Notes)
	}
	if r.Outcome == verify.Usage && r.Proven && r.Path != "" {
		a.results("%s\n", r.Path)
	}
	if v.explain {
		a.results("%s", r.Explain())
	}
}

// oldIndex reports whether an index is so old that it is worth a warning though no limit
// is set: an index that is held back hides newer releases.
func oldIndex(q verify.Request, r *verify.Result) bool {
	return r.Entry != nil && r.Entry.Kind == entry.Index && q.MaxIndexAge == 0 && q.Now.Sub(r.Entry.Time.Time()) > verify.MaxIndexAgeNoted
}
