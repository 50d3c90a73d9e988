package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/pauselog/pauselog/internal/artifact"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/verify"
)

// Which proofs a pack is to have, and where they are in the log.

// A want is a path whose proof is wanted.
type want struct {
	order  int
	path   string
	sha256 entry.Digest // of an index file at hand; zero: whatever is newest

	// The text of an index that ends in .gz, for a mirror that compressed it anew.
	text       string
	textSHA256 entry.Digest
}

// wanted collects the paths, each once, and says which there can be no proof of.
func (b *bundler) wanted(ctx context.Context, paths []string) (wants []want, problems []problem, err error) {
	switch {
	case b.snapshot != "":
		dists, err := readSnapshot(b.snapshot)
		if err != nil {
			return nil, nil, err
		}
		for i, d := range dists {
			if p, err := pathOf(d); err == nil {
				wants = append(wants, want{order: i, path: p})
			} else {
				problems = append(problems, problem{i, d.Name, notOfCPAN(b.snapshot, d, err)})
			}
		}
		return wants, problems, nil
	case b.mirror != "":
		tree := &bulk{verifier: &b.verifier}
		if err := tree.openTree(); err != nil {
			return nil, nil, err
		}
		p := b.app.progressOf("files")
		defer p.clear()
		err := listTree(ctx, b.mirror, func(j job) error {
			w := want{order: len(wants) + len(problems), path: j.path}
			switch {
			case j.result != nil:
				problems = append(problems, problem{w.order, j.file, j.result})
				return nil
			case j.unlogged != "":
				return nil
			case slices.Contains(entry.IndexPaths, j.path):
				if err := w.read(j.file); err != nil {
					return err
				}
			}
			wants = append(wants, w)
			p.showCount(uint64(len(wants)))
			return nil
		})
		return wants, problems, err
	}
	slices.Sort(paths)
	for i, p := range slices.Compact(paths) {
		if _, err := entry.KindOf(p); err != nil {
			return nil, nil, usageError{err}
		}
		if ok, why := entry.IsUpload(p); !ok && !slices.Contains(entry.IndexPaths, p) {
			if strings.HasPrefix(p, archives) {
				return nil, nil, usagef("%s: %s", p, why)
			}
			return nil, nil, usagef("%s is not one of the index files that are logged", p)
		}
		wants = append(wants, want{order: i, path: p})
	}
	return wants, nil, nil
}

// read reads an index file.
func (w *want) read(name string) error {
	f, err := artifact.ReadRegular(name)
	if err != nil {
		return outcomeError{verify.Error, err}
	}
	w.sha256 = f.SHA256
	if text, ok := strings.CutSuffix(w.path, ".gz"); ok && slices.Contains(entry.IndexPaths, text) {
		if f, err := inflated(name); err == nil {
			w.text, w.textSHA256 = text, f.SHA256
		}
	}
	return nil
}

// find returns the indexes of all entries that belong into the pack, in order. An error ends the run; a path without a proof
// does not.
func (b *bundler) find(ctx context.Context, wants []want) (indexes []uint64, problems []problem, err error) {
	// By shard, so that each is read once. The entries stand everywhere in the log: their proofs are built later, in its order.
	byShard := slices.Clone(wants)
	slices.SortFunc(byShard, func(x, y want) int {
		return cmp.Or(cmp.Compare(prooftree.ShardOf(x.path), prooftree.ShardOf(y.path)), cmp.Compare(x.path, y.path))
	})
	p := b.app.progressOf("paths")
	defer p.clear()
	var mu sync.Mutex
	var done uint64
	outer := ctx
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, w := range byShard {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			found, err := b.proofOf(ctx, w)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			p.show(done, uint64(len(wants)))
			if err != nil {
				if !errors.Is(err, prooftree.ErrIncomplete) && !errors.Is(err, prooftree.ErrInvalid) && !errors.Is(err, entry.ErrUpgrade) {
					return b.unusable(ctx, err) // the source is gone, and nothing is said of the path
				}
				problems = append(problems, problem{w.order, w.path, b.unproven(w, err)})
				return nil
			}
			if found.Voided() {
				p.clear()
				b.app.warn("%s was revoked by the log's operator (entry %d): that is packed too", w.path, found.Void.Index)
			}
			for _, x := range []*proof.Bundle{found.Bundle, found.Void, found.Deletion} {
				if x != nil {
					indexes = append(indexes, x.Index)
				}
			}
			return nil
		})
	}
	if err := errors.Join(g.Wait(), outer.Err()); err != nil {
		return nil, nil, err
	}
	slices.Sort(indexes)
	return slices.Compact(indexes), problems, nil
}

// proofOf returns what verifies a path. The entry can be read.
func (b *bundler) proofOf(ctx context.Context, w want) (*prooftree.Proof, error) {
	found, err := b.from.BundleFor(ctx, w.path, w.sha256)
	if err == nil {
		err = check(found, w.path, w.sha256)
	}
	if err == nil || w.text == "" {
		return found, err
	}
	text, failed := b.from.BundleFor(ctx, w.text, w.textSHA256)
	if failed == nil {
		failed = check(text, w.text, w.textSHA256)
	}
	switch {
	case failed == nil:
		return text, nil
	case errors.Is(err, prooftree.ErrUnlisted):
		return nil, failed // PAUSE's text is logged and its .gz is not: the text is what to look for
	}
	return nil, err
}

// check looks whether a proof is of a digest, if it need be one.
func check(p *prooftree.Proof, path string, sha256 entry.Digest) error {
	e, err := entry.Parse(p.Bundle.Entry)
	if err != nil {
		return err
	}
	if sha256 != (entry.Digest{}) && e.SHA256 != sha256 {
		return fmt.Errorf("%w: %s is listed with other bytes, the newest of them entry %d", prooftree.ErrIncomplete, path, p.Bundle.Index)
	}
	return nil
}
