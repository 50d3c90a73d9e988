package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pauselog/pauselog/internal/mirror"
	"github.com/pauselog/pauselog/internal/trust"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/verify"
)

// judges: what the mirror does for an archive between its last byte and its verdict, in this process: find the entry,
// make the proof, remember, verify. And, apart from it, the hashing, which depends on the size alone.
func (b *bench) judges(ctx context.Context) error {
	const section, calls = "judge", 1000
	l, err := b.installLab(ctx)
	if err != nil {
		return err
	}
	source, err := prooftree.OpenDir(l.proofs)
	if err != nil {
		return err
	}
	defer source.Close()
	memory, err := trust.Open(l.state)
	if err != nil {
		return err
	}
	prover := mirror.FromTree(ctx, mirror.TreeOptions{Name: l.proofs, Source: source, Policy: l.policy, Memory: memory})
	files := l.archives()
	judge := func(f logged) error {
		e, err := prover.Prove(ctx, f.path, entry.Digest{})
		if err != nil {
			return err
		}
		known, err := memory.Known(l.policy)
		if err != nil {
			return err
		}
		r := verify.Verify(verify.Request{Policy: l.policy, Path: f.path, SHA256: f.file.SHA256, Size: f.file.Size, Bundle: e.Bundle,
			Revocation: e.Revocation, Deletion: e.Deletion, Absence: e.Absence, AbsenceDetail: e.Detail, Known: known, Now: time.Now()})
		if r.Outcome != verify.Verified {
			return fmt.Errorf("%s: %v: %s", f.path, r.Outcome, r.Message)
		}
		return nil
	}
	// The first time, the tree's files are read for each archive; after that they are in memory, verified.
	first, err := b.each(ctx, "judge/first", len(files), func(i int) error { return judge(files[i]) })
	if err != nil {
		return err
	}
	b.add(section, "an archive, for the first time", "ms", milliseconds(quantile(first, 0.5)))
	warm, err := b.each(ctx, "judge/warm", max(calls, len(files)), func(i int) error { return judge(files[i%len(files)]) })
	if err != nil {
		return err
	}
	b.add(section, "an archive, tree in memory", "ms", milliseconds(quantile(warm, 0.5)))
	b.add(section, "an archive, tree in memory, 99th percentile", "ms", milliseconds(quantile(warm, 0.99)))
	return b.hashes(ctx, section)
}

// each calls f with 0, 1, ... count-1 and returns how long each call took, sorted.
func (b *bench) each(ctx context.Context, row string, count int, f func(i int) error) ([]time.Duration, error) {
	end, err := b.begin(row)
	if err != nil {
		return nil, err
	}
	defer end()
	took := make([]time.Duration, 0, count)
	for i := range count {
		began := time.Now()
		if err := f(i); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	slices.Sort(took)
	return took, nil
}

// hashes: SHA-256 of the archives, from memory.
func (b *bench) hashes(ctx context.Context, section string) error {
	var all []byte
	for _, f := range b.lab.archives() {
		content, err := os.ReadFile(filepath.Join(b.lab.cpan, filepath.FromSlash(f.path)))
		if err != nil {
			return err
		}
		all = append(all, content...)
	}
	perSecond, err := b.rate(ctx, "judge/hash", 1, 200, func(int) error {
		sha256.Sum256(all)
		return nil
	})
	if err != nil {
		return err
	}
	b.add(section, "SHA-256 of archives, one core", "MB/s", perSecond*float64(len(all))/1e6)
	b.add(section, "SHA-256 of an archive of mean size", "ms", 1e3/perSecond/float64(len(b.lab.archives())))
	return nil
}
