package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pauselog/pauselog/internal/export"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
)

// Rows that are compared.
const (
	rowCold  = "cold: the first 2,000, 1 goroutine"
	rowAudit = "of a tree in a folder"
)

// inclusion: proofs of random entries, in this process.
func (b *bench) inclusion(ctx context.Context) error {
	if err := b.coldInclusion(ctx); err != nil {
		return err
	}
	l, err := b.bigLocal(ctx)
	if err != nil {
		return err
	}
	h := l.store.Head()
	random := b.random(h.Size)
	alone := func(i int) error {
		_, err := l.store.Inclusion(random[i%len(random)], h.Size)
		return err
	}
	verified := func(i int) error { return served(l.store, random[i%len(random)], h) }
	if _, err := repeat(ctx, 2, b.atMost(20_000), b.limit(), verified); err != nil {
		return err
	}
	for _, x := range []struct {
		what, name string
		workers    int
		f          func(int) error
	}{
		{"proof alone, 1 goroutine", "alone-1", 1, alone},
		{"proof alone, 2 goroutines", "alone-2", 2, alone},
		{"with entry, verified, 1 goroutine", "verified-1", 1, verified},
		{"with entry, verified, 2 goroutines", "verified-2", 2, verified},
	} {
		perSecond, err := b.rate(ctx, "inclusion/"+x.name, x.workers, b.atMost(1_000_000), x.f)
		if err != nil {
			return err
		}
		b.add("inclusion", x.what, "/s", perSecond)
	}
	if b.program == "" {
		return nil
	}
	return b.peerProofs(ctx, "inclusion", [][2]string{{rowCold, "cold"}, {"warm, 1 goroutine", "warm-1"}, {"warm, 2 goroutines", "warm-2"}})
}

// coldInclusion: the first proofs after the log was opened with none of its files in memory. What opening reads is not
// counted; the section start has it.
func (b *bench) coldInclusion(ctx context.Context) error {
	f, err := b.bigFolder(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(b.release(), evict(f.Dir)); err != nil {
		return err
	}
	if b.local, err = openLocal(f.Folder); err != nil {
		return err
	}
	h := b.local.store.Head()
	random := b.random(h.Size)
	perSecond, err := b.rate(ctx, "inclusion/cold", 1, 2000, func(i int) error {
		_, err := b.local.store.Inclusion(random[i], h.Size)
		return err
	})
	if err != nil {
		return err
	}
	b.add("inclusion", rowCold, "/s", perSecond)
	return errors.Join(warm(f.Dir), b.local.settle(ctx))
}

// served is what internal/frontend does for a call.
func served(s *store.Store, index uint64, h *store.Head) error {
	_, _, err := s.Proven(index, h.Size, h.State.Root)
	return err
}

// random are numbers below size, made beforehand.
func (b *bench) random(size uint64) []uint64 {
	r := rand.New(rand.NewPCG(1, uint64(b.round)))
	out := make([]uint64, 1<<17)
	for i := range out {
		out[i] = r.Uint64N(size)
	}
	return out
}

// consistency: proofs between random sizes, in this process.
func (b *bench) consistency(ctx context.Context) error {
	l, err := b.bigLocal(ctx)
	if err != nil {
		return err
	}
	random := b.random(l.store.Head().Size)
	sizes := func(i int) (uint64, uint64) {
		x, y := random[i%len(random)]+1, random[(i*7+1)%len(random)]+1
		return min(x, y), max(x, y)
	}
	alone := func(i int) error {
		_, err := l.store.Consistency(sizes(i))
		return err
	}
	verified := func(i int) error {
		x, y := sizes(i)
		hashes, err := l.store.Consistency(x, y)
		if err != nil {
			return err
		}
		old, err1 := l.store.Root(x)
		root, err2 := l.store.Root(y)
		return errors.Join(err1, err2, tree.VerifyConsistency(x, y, hashes, old, root))
	}
	if _, err := repeat(ctx, 2, b.atMost(20_000), b.limit(), verified); err != nil {
		return err
	}
	for _, x := range []struct {
		what, name string
		f          func(int) error
	}{{"proof alone, 1 goroutine", "alone", alone}, {"with both roots, verified, 1 goroutine", "verified", verified}} {
		perSecond, err := b.rate(ctx, "consistency/"+x.name, 1, b.atMost(1_000_000), x.f)
		if err != nil {
			return err
		}
		b.add("consistency", x.what, "/s", perSecond)
	}
	if b.program == "" {
		return nil
	}
	return b.peerProofs(ctx, "consistency", [][2]string{{"warm, 1 goroutine", "warm-1"}})
}

// grpcInclusion: the same by unary calls, without a token as readers are, against a handler that does nothing. They take
// turns, because the machine is not the same one from second to second.
func (b *bench) grpcInclusion(ctx context.Context) error {
	s, err := b.bigServer(ctx)
	if err != nil {
		return err
	}
	// A server that has run for long keeps what it has read, which may be everything; and it reads neighbours together.
	const together = 16
	_, err = repeat(ctx, 64, b.n/together, 20*b.limit(), func(i int) error {
		_, err := s.reads.GetInclusionProof(ctx, byIndex(uint64(i*together)))
		return err
	})
	if err != nil {
		return err
	}
	random := b.random(uint64(b.n))
	const turns = 4
	at := 0 // in each turn others are asked for
	call := map[string]func(int) error{
		"proofs": func(i int) error {
			_, err := s.reads.GetInclusionProof(ctx, byIndex(random[(at+i)%len(random)]))
			return err
		},
		"empty": func(i int) error {
			_, err := s.nothing.GetInclusionProof(ctx, byIndex(random[(at+i)%len(random)]))
			return err
		},
	}
	total := map[string]float64{}
	end, err := b.begin("grpc-inclusion")
	if err != nil {
		return err
	}
	defer end()
	for turn := range turns + 1 {
		at = turn * len(random) / (turns + 1)
		for _, which := range []string{"proofs", "empty"} {
			perSecond, err := repeat(ctx, 64, b.atMost(100_000), b.limit()*2/turns, call[which])
			if err != nil {
				return err
			}
			if turn > 0 { // the first is to get warm
				total[which] += perSecond
			}
		}
	}
	end()
	b.add("grpc-inclusion", "unary by index, 64 at a time", "/s", total["proofs"]/turns)
	b.add("grpc-inclusion", "a handler that does nothing, same reply", "/s", total["empty"]/turns)
	b.add("grpc-inclusion", "ratio", "%", 100*total["proofs"]/total["empty"])
	return nil
}

// audit: the whole log, none of whose files is in memory at the start. Once through a server that has just started
// reads them, where log/client asks for everything and hashes it, on the same cores; and once from a
// folder that has what the server serves as files.
func (b *bench) audit(ctx context.Context) error {
	f, err := b.bigFolder(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(b.release(), evict(f.Dir)); err != nil {
		return err
	}
	s, err := b.bigServer(ctx)
	if err != nil {
		return err
	}
	policy, err := b.big.Policy("")
	if err != nil {
		return err
	}
	err = b.auditRow("through a server", func() (*client.Report, error) {
		return client.New(s.log, policy, nil).Audit(ctx, nil)
	})
	if err != nil {
		return err
	}
	dir := f.Dir + "-tree"
	if _, err := export.Run(ctx, export.Config{Dir: dir, Policy: policy, Conn: s.log}); err != nil {
		return err
	}
	if err := evict(dir); err != nil {
		return err
	}
	defer warm(f.Dir) // what was not fetched costs the next round's rows time, and no more
	return b.auditRow(rowAudit, func() (*client.Report, error) {
		source, err := prooftree.OpenDir(dir)
		if err != nil {
			return nil, err
		}
		defer source.Close()
		t, err := prooftree.Open(ctx, source, policy)
		if err != nil {
			return nil, err
		}
		return client.AuditTree(ctx, t, source, nil)
	})
}

func (b *bench) auditRow(what string, audit func() (*client.Report, error)) error {
	end, err := b.begin("audit")
	if err != nil {
		return err
	}
	began := time.Now()
	r, err := audit()
	took := time.Since(began)
	end()
	if err != nil {
		return err
	}
	if r.Violations > 0 || r.Entries < uint64(b.n) {
		return fmt.Errorf("%d entries, violations: %v", r.Entries, r.Findings)
	}
	b.add("audit", what, "/s", float64(r.Entries)/took.Seconds())
	return nil
}
