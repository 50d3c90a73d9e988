package main

import (
	"context"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/artifact"
	cpanmirror "github.com/pauselog/pauselog/internal/mirror"
	"github.com/pauselog/pauselog/internal/trust"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/verify"
)

func (a *app) verifyCommand() *cobra.Command {
	v := &verifier{app: a}
	var mode string
	cmd := &cobra.Command{
		Use:   "verify --policy FILE (--snapshot FILE | --tree CPANDIR | (--root CPANDIR | --path PATH | --any-path) FILE...)",
		Short: "check that files are what was logged: some, those of a lockfile, or a whole mirror",
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

--offline opens no connection, and reads no proof tree at a URL. The newest checkpoint that was seen of the log
is compared with the proof's in any case, if it is remembered on this machine.

With --proofs FILE.tlog-proofs, the proofs are those of 'pauselog bundle': many, at one checkpoint, in one file that
verifies offline for years.

--snapshot verifies what a cpanfile.snapshot of Carton lists, in vendor/cache beside it, or else in local/cache,
or where --dir says. A distribution that is missing there has the outcome unverifiable, as has one that is not
from CPAN (from a repository or a URL), because no log vouches for it: both are named, and stop unless --mode is
prefer. Archives there that the snapshot does not list are not looked at, and noted.

--tree verifies a mirror of CPAN, minicpan or full: all archives below authors/id, and the indexes. Symbolic
links are not followed, and have the outcome unverifiable. Files that are never logged (documents, CHECKSUMS and
what PAUSE extracts) are counted; if one of them is an archive by its content, which clients unpack whatever its
name, it is refused as a mismatch. An index that the mirror compressed anew counts as its text. That there is no
modules/02packages.details.txt.gz, by which clients find everything, is noted ("lacking" with --json), and is unverifiable
with --max-index-age.

These two look for proofs in --proofs, beside each file, and then, unless --offline, in the log's own static
tree. So the log does not learn the paths; --lookup asks it for them, if nothing else has a proof. What is
fetched of a tree is kept in the temporary folder while the program runs. --max-age goes by the times that
witnesses signed. At the end, if anything is wrong, or with -v, they print how many files had which outcome, and
the worst. With --json that is the last object.

The exit code is that of the worst file. --mode prefer is for the time in which not everything is logged and not
every mirror has proofs: what is missing or old is a warning then. It is no protection against an
attacker, who needs only to withhold the proof.

` + exitCodes,
		Example: `  pauselog verify --policy pause.policy --root /srv/cpan --offline /srv/cpan/authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz
  pauselog verify --policy pause.policy --path authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz Try-Tiny-0.31.tar.gz
  pauselog verify --policy pause.policy --root /srv/cpan --proofs /srv/cpan/modules/tlog --offline /srv/cpan/authors/id/E/ET/ETHER/*.gz
  pauselog verify --policy pause.policy --path modules/02packages.details.txt.gz --max-index-age 30h 02packages.details.txt.gz
  pauselog verify --policy pause.policy --any-path --explain download.tar.gz
  pauselog verify --policy pause.policy --snapshot cpanfile.snapshot --proofs cpanfile.tlog-proofs --offline
  pauselog verify --policy pause.policy --tree /srv/cpan --proofs /srv/cpan/modules/tlog -v`,
		Args: func(cmd *cobra.Command, files []string) error {
			if v.many() {
				return args(0, 0, "")(cmd, files)
			}
			return args(1, -1, "a FILE")(cmd, files)
		},
		RunE: func(cmd *cobra.Command, files []string) error {
			var err error
			if v.mode, err = verify.ParseMode(mode); err != nil {
				return usagef("--mode: %w", err)
			}
			if err := v.prepare(cmd.Context(), files); err != nil {
				return err
			}
			defer v.close()
			if v.many() {
				return v.verifyMany(cmd.Context())
			}
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
	f.StringVar(&v.proofs, "proofs", "", "a proof tree, in a folder or at an http(s):// URL, or a file with one proof or many: where to look first")
	f.StringVar(&v.snapshot, "snapshot", "", "a cpanfile.snapshot: verify what it lists")
	f.StringVar(&v.dir, "dir", "", "with --snapshot, where the files are, as DIR/authors/id/... (default: vendor/cache or local/cache beside it)")
	f.StringVar(&v.mirror, "tree", "", "a copy of CPAN: verify all of it")
	f.BoolVar(&v.lookup, "lookup", false, "with --snapshot or --tree, ask the log itself for what no other source proves: it so learns the paths")
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
	snapshot, dir, mirror     string // many files
	lookup                    bool
	anyPath, offline          bool
	explain                   bool
	mode                      verify.Mode
	maxAge, maxIndexAge, wait time.Duration

	request verify.Request // what is the same for all files
	tree    proofTree
	online  online

	mu      sync.Mutex
	closers []func()
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
	case v.snapshot != "" && v.mirror != "":
		return usagef("--snapshot and --tree exclude each other")
	// Not --root and --lookup, which a configuration file may have for other calls.
	case v.many() && (v.path != "" || v.anyPath || v.proof != "" || v.wait != 0):
		return usagef("--path, --any-path, --proof and --wait are for FILEs, and not for --snapshot or --tree")
	case v.dir != "" && v.snapshot == "":
		return usagef("--dir is where the files of a --snapshot are")
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

// many reports whether it is for the program to find the files.
func (v *verifier) many() bool { return v.snapshot != "" || v.mirror != "" }

func (v *verifier) verifyMany(ctx context.Context) error {
	b := &bulk{verifier: v}
	list := b.listTree
	if v.snapshot != "" {
		var err error
		if list, err = b.openSnapshot(); err != nil {
			return err
		}
	} else {
		if err := b.openTree(); err != nil {
			return err
		}
		b.tally.lacking = []string{}
	}
	if err := b.openSources(); err != nil {
		return err
	}
	return b.run(ctx, list)
}

func (v *verifier) close() {
	v.tree.close()
	v.online.close()
	for _, c := range v.closers {
		c()
	}
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
	v.explainAge(r)
	v.app.keepEvidence(r)
	return r
}

// age is a note of how old an index is; an old one has one already.
func (v *verifier) age(r *verify.Result) []string {
	if r.Entry == nil || r.Entry.Kind != entry.Index || oldIndex(v.request, r) {
		return nil
	}
	return []string{"this index is " + cpanmirror.Age(v.request.Now.Sub(r.Entry.Time.Time())) + " old"}
}

// explainAge adds what the copy of CPAN says of its own age to what is said of an old index in it.
func (v *verifier) explainAge(r *verify.Result) {
	if v.root == "" || r.Outcome != verify.Stale && !(r.Outcome == verify.Verified && oldIndex(v.request, r)) || r.Entry == nil || r.Entry.Kind != entry.Index {
		return
	}
	f, err := openRegular(filepath.Join(v.root, "authors", "02STAMP"))
	if err != nil {
		return
	}
	defer f.Close()
	// One that cannot be read says nothing, as none does: it is a hint.
	b, _ := io.ReadAll(io.LimitReader(f, 1024))
	stamp, err := cpanmirror.ParseStamp(b)
	if err != nil {
		return
	}
	switch said, lags := cpanmirror.ExplainAge("authors/02STAMP of this copy", stamp, v.request.Now, v.request.Now.Sub(r.Entry.Time.Time())); {
	case lags:
		r.Notes = append(r.Notes, said)
	case said != "":
		r.Notes = append(r.Notes, said+": compare with another mirror")
	}
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
		a.notes(file, v.age(r))
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
