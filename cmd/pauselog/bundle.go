package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pauselog/pauselog/internal/atomicfile"
	cpanmirror "github.com/pauselog/pauselog/internal/mirror"
	"github.com/pauselog/pauselog/internal/trust"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/verify"
)

// A bundler makes a pack: it collects paths (wanted.go), finds their entries in a static proof tree, and writes the proofs in the
// order of the log.
type bundler struct {
	verifier // for its policy and its flags; it verifies no files
	out      string
	all      bool // signatures

	own  bool // the tree is the log's own
	name string
	from *prooftree.Tree
}

func (a *app) bundleCommand() *cobra.Command {
	b := &bundler{verifier: verifier{app: a}}
	var mode string
	cmd := &cobra.Command{
		Use:   "bundle --policy FILE (--snapshot FILE | --tree CPANDIR | PATH...) --out FILE" + proof.PackExtension,
		Short: "put the proofs of a lockfile, a mirror or some paths into one file",
		Long: `bundle writes the proofs of many paths into one file, all at one checkpoint: with it, 'pauselog verify --proofs
FILE --offline', 'pauselog mirror' and 'pauselog exec' verify for years, and nobody is asked.

The paths are those that a cpanfile.snapshot of Carton lists (--snapshot), those of the archives and indexes in
a copy of CPAN (--tree), or those of the command line. No archive is read; of an index, which changes, the entry
that is packed is that of the bytes in the tree, and of a PATH the newest.

The proofs come from a static proof tree, in a folder or at a URL (--proofs), or else from the log's own. The log
does not learn the paths. The tree's checkpoint must meet the policy and continue what was seen before.

What the log knows at that checkpoint of a path's revocation or deletion is packed too, so that it is seen
offline. What comes later is not: make the file anew now and then, and limit its age with 'pauselog verify
--max-age'. That needs a time that somebody signed, a witness's or, with --all-signatures, the log's.

If a path is not logged, it is named, and no file is written; with --mode prefer, it is a warning, and the rest
is packed. The exit code is then 11 if the log itself says so, and 13 if some other tree does not list it, or if
a distribution of the snapshot is not from CPAN. The file is replaced as a whole, or not at all, and is the same
for the same paths at the same checkpoint.

` + exitCodes,
		Example: `  pauselog bundle --policy pause.policy --snapshot cpanfile.snapshot --out cpanfile.tlog-proofs
  pauselog verify --policy pause.policy --snapshot cpanfile.snapshot --proofs cpanfile.tlog-proofs --offline
  pauselog bundle --policy pause.policy --tree /srv/minicpan --proofs https://www.cpan.org/modules/tlog --out minicpan.tlog-proofs
  pauselog bundle --policy pause.policy authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz --out tiny.tlog-proofs`,
		Args: func(cmd *cobra.Command, paths []string) error {
			if b.many() {
				return args(0, 0, "")(cmd, paths)
			}
			return args(1, -1, "--snapshot, --tree or a PATH on CPAN")(cmd, paths)
		},
		RunE: func(cmd *cobra.Command, paths []string) error {
			var err error
			if err := need(cmd, "out"); err != nil {
				return err
			}
			if b.mode, err = verify.ParseMode(mode); err != nil {
				return usagef("--mode: %w", err)
			}
			if err := b.prepare(cmd.Context(), nil); err != nil {
				return err
			}
			defer b.close()
			return b.run(cmd.Context(), paths)
		},
	}
	a.policyFlags(cmd)
	a.caFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&b.snapshot, "snapshot", "", "a cpanfile.snapshot: pack the proofs of what it lists")
	f.StringVar(&b.mirror, "tree", "", "a copy of CPAN: pack the proofs of all of it")
	f.StringVar(&b.proofs, "proofs", "", "a proof tree, in a folder or at an http(s):// URL (default: the log's own, at the URL in the policy)")
	f.StringVar(&b.out, "out", "", "the file to write, as FILE"+proof.PackExtension)
	f.StringVar(&mode, "mode", "require", "what stops: require (a path without a proof) or prefer (what is wrong, not what is missing)")
	f.BoolVar(&b.all, "all-signatures", false, "keep the signatures of ML-DSA keys too, 3 KB each, once for all proofs")
	return cmd
}

func (b *bundler) run(ctx context.Context, paths []string) error {
	wants, problems, err := b.wanted(ctx, paths)
	if err != nil {
		return err
	}
	if err := b.open(ctx); err != nil {
		return err
	}
	indexes, more, err := b.find(ctx, wants)
	if err != nil {
		return err
	}
	problems = append(problems, more...)
	slices.SortStableFunc(problems, func(x, y problem) int { return x.order - y.order })
	worst := verify.Verified
	for _, p := range problems {
		b.app.print(p.name, p.result)
		if p.result.Outcome.Stops(b.mode) {
			worst = verify.Worst(worst, p.result.Outcome)
		}
	}
	if worst == verify.Verified && len(indexes) == 0 {
		if len(problems) == 0 {
			return usagef("there is nothing to bundle")
		}
		worst = problems[0].result.Outcome
	}
	if worst != verify.Verified {
		if !b.app.json {
			fmt.Fprintf(b.app.stderr, "pauselog: %d of %d paths have no proof to pack; %s was not written\n",
				len(problems), len(problems)+len(wants)-len(more), plain(b.out))
		}
		return finish(worst)
	}
	size, err := b.write(ctx, indexes)
	if err != nil {
		return err
	}
	b.done(len(wants)-len(more), len(problems), len(indexes), size)
	return nil
}

func (b *bundler) done(paths, problems, proofs, size int) {
	message := plain(fmt.Sprintf("%s: %d proofs of %d paths at size %d of %s, %d bytes",
		b.out, proofs, paths, b.from.Size, b.from.Origin, size))
	switch {
	case b.app.json:
		b.app.object(map[string]any{"summary": true, "outcome": verify.Verified, "code": 0, "message": message,
			"file": b.out, "proofs": proofs, "paths": paths, "without_proof": problems, "origin": b.from.Origin, "size": b.from.Size, "root": b.from.Root.String(), "bytes": size})
	case b.app.verbose:
		b.app.results("%s\n", message)
	}
}

// open opens the tree, all of whose proofs are at one checkpoint.
func (b *bundler) open(ctx context.Context) error {
	var source prooftree.Source
	b.name = b.proofs
	if info, err := os.Stat(b.proofs); b.proofs != "" && err == nil && info.IsDir() {
		s, err := prooftree.OpenDir(b.proofs)
		if err != nil {
			return usagef("--proofs: %w", err)
		}
		b.closers = append(b.closers, func() { s.Close() })
		source = s
	} else {
		if b.proofs == "" {
			if b.name, b.own = b.app.logTree(b.request.Policy); b.name == "" {
				return usagef("there is no proof tree: name one with --proofs, or give a policy whose log line has an http(s):// URL")
			}
		}
		if source, err = b.openHTTP(b.name, b.proofs == ""); err != nil {
			return usagef("--proofs: %w", err)
		}
	}
	tree, err := prooftree.Open(ctx, source, b.request.Policy)
	if err == nil {
		if state, noMemory := trust.Open(b.app.stateDir); noMemory == nil {
			err = cpanmirror.Remember(ctx, tree, b.request.Policy, state)
		}
	}
	if err != nil {
		return b.unusable(ctx, err)
	}
	if b.all {
		tree = tree.AllSignatures()
	}
	b.from = tree
	return nil
}

// unusable gives an error of the tree its outcome.
func (b *bundler) unusable(ctx context.Context, err error) error {
	named := fmt.Errorf("%s: %w", b.name, err)
	switch o := b.app.outcomeOf(err); {
	case ctx.Err() != nil:
		return ctx.Err()
	case o != verify.Error, errors.Is(err, trust.ErrDamaged):
		return named // it has one
	case errors.Is(err, prooftree.ErrInvalid):
		return outcomeError{verify.InvalidProof, named}
	}
	return outcomeError{verify.Unverifiable, named}
}

// write writes the proofs of these entries, which are in order. What atomicfile.Write does is done
// here with a stream: a pack need not fit into memory.
func (b *bundler) write(ctx context.Context, indexes []uint64) (size int, err error) {
	local := func(err error) error { return outcomeError{verify.Error, err} }
	f, err := os.CreateTemp(filepath.Dir(b.out), "."+filepath.Base(b.out)+atomicfile.Temporary)
	if err != nil {
		return 0, local(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	first, err := b.from.Bundle(ctx, indexes[0])
	if err != nil {
		return 0, b.unusable(ctx, err)
	}
	buffer := bufio.NewWriterSize(f, 1<<20)
	w := proof.NewPackWriter(buffer, first.Checkpoint)
	p := b.app.progressOf("proofs")
	defer p.clear()
	for i, index := range indexes {
		x, err := b.from.Bundle(ctx, index)
		if err != nil {
			return 0, b.unusable(ctx, err)
		}
		if err := w.Add(x); err != nil {
			return 0, local(err)
		}
		p.show(uint64(i+1), uint64(len(indexes)))
	}
	if err := errors.Join(w.Close(), buffer.Flush(), f.Chmod(0o644), f.Sync()); err != nil {
		return 0, local(err)
	}
	if err := os.Rename(f.Name(), b.out); err != nil {
		return 0, local(err)
	}
	if err := atomicfile.SyncDir(filepath.Dir(b.out)); err != nil {
		return 0, local(err)
	}
	return w.Size(), nil
}

// A problem is a path without a proof.
type problem struct {
	order  int // of the path
	name   string
	result *verify.Result
}

// unproven is the result of a path that the tree does not have.
func (b *bundler) unproven(w want, err error) *verify.Result {
	r := &verify.Result{Outcome: verify.Unverifiable, Path: w.path, SHA256: w.sha256, Expected: "an entry in " + b.name,
		Causes: []string{"it was uploaded after the tree's checkpoint", "it was uploaded before the log began, and is not backfilled",
			"the tree is a copy that lags, or is damaged"},
		Next: []string{"try again later, or with another --proofs", "--mode prefer packs the rest"}}
	r.Message, r.Found = plain("there is no proof to be had: "+err.Error()), "none"
	switch {
	case errors.Is(err, entry.ErrUpgrade):
		r.Outcome, r.Message = verify.Upgrade, "it is logged in a format that is newer than this program"
		r.Next = []string{"update this program"}
	case errors.Is(err, prooftree.ErrUnlisted) && b.own:
		r.Outcome = verify.NotLogged
		r.Message = plain(fmt.Sprintf("%s is not logged, says the log, among its first %d entries", w.path, b.from.Size))
	}
	return r
}
