package main

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"
)

const (
	coldProofs = 2000 // the first ones after nothing was in memory
	warmProofs = 2000 // that are not counted
)

// A made log is one that is only read.
type made struct {
	files      client.FileFetcher
	checkpoint *log.Checkpoint
	random     *rand.Rand
}

func (s *session) open(ctx context.Context) (*made, error) {
	vkey, err := os.ReadFile(s.Dir + ".vkey")
	if err != nil {
		return nil, err
	}
	v, err := note.NewVerifier(string(vkey))
	if err != nil {
		return nil, err
	}
	m := &made{files: client.FileFetcher{Root: s.Dir}, random: rand.New(rand.NewPCG(1, s.Seed))}
	raw, err := m.files.ReadCheckpoint(ctx)
	if err != nil {
		return nil, err
	}
	m.checkpoint, _, _, err = log.ParseCheckpoint(raw, v.Name(), v)
	return m, err
}

// A builder makes proofs of one kind for one goroutine, which is all that a ProofBuilder is for.
type builder struct {
	*client.ProofBuilder
	numbers []uint64
}

func (m *made) builder(ctx context.Context) (*builder, error) {
	p, err := client.NewProofBuilder(ctx, m.checkpoint.Size, m.files.ReadTile)
	b := &builder{ProofBuilder: p, numbers: make([]uint64, 1<<16)}
	for i := range b.numbers {
		b.numbers[i] = m.random.Uint64N(m.checkpoint.Size)
	}
	return b, err
}

func (b *builder) included(ctx context.Context, i int) error {
	_, err := b.InclusionProof(ctx, b.numbers[i%len(b.numbers)])
	return err
}

// sizes are two random ones, the smaller first.
func (b *builder) sizes(i int) (uint64, uint64) {
	x, y := b.numbers[i%len(b.numbers)]+1, b.numbers[(i*7+1)%len(b.numbers)]+1
	return min(x, y), max(x, y)
}

func (b *builder) consistent(ctx context.Context, i int) error {
	smaller, larger := b.sizes(i)
	_, err := b.ConsistencyProof(ctx, smaller, larger)
	return err
}

// inclusion: proofs of random entries; the first ones after the files were put out of memory, and then by one and
// by two goroutines.
func (s *session) inclusion(ctx context.Context) (map[string]float64, error) {
	m, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := evict(s.Dir); err != nil {
		return nil, err
	}
	if err := s.ready(""); err != nil {
		return nil, err
	}
	b, err := m.builder(ctx)
	if err != nil {
		return nil, err
	}
	began, n := time.Now(), 0
	for ; n < coldProofs && (n == 0 || time.Since(began) < s.Limit); n++ {
		if err := b.included(ctx, n); err != nil {
			return nil, err
		}
	}
	figures := map[string]float64{"cold": float64(n) / time.Since(began).Seconds()}
	for _, workers := range []int{1, 2} {
		name := fmt.Sprintf("warm-%d", workers)
		if figures[name], err = s.warm(ctx, m, workers, (*builder).included); err != nil {
			return nil, err
		}
	}
	return figures, m.checkInclusion(ctx, b)
}

// consistency: proofs between random sizes, warm.
func (s *session) consistency(ctx context.Context) (map[string]float64, error) {
	m, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.ready(""); err != nil {
		return nil, err
	}
	rate, err := s.warm(ctx, m, 1, (*builder).consistent)
	if err != nil {
		return nil, err
	}
	return map[string]float64{"warm-1": rate}, m.checkConsistency(ctx)
}

// warm is the rate of proofs by some goroutines, each with a builder of its own that has made some before.
func (s *session) warm(ctx context.Context, m *made, workers int, f func(*builder, context.Context, int) error) (float64, error) {
	var builders []*builder
	for range workers {
		b, err := m.builder(ctx)
		if err != nil {
			return 0, err
		}
		for i := range warmProofs {
			if err := f(b, ctx, len(b.numbers)-1-i); err != nil {
				return 0, err
			}
		}
		builders = append(builders, b)
	}
	var wg sync.WaitGroup
	done, failed := make([]int, workers), make([]error, workers)
	began := time.Now()
	for w, b := range builders {
		wg.Go(func() {
			for time.Since(began) < s.Limit && failed[w] == nil {
				failed[w] = f(b, ctx, done[w])
				done[w]++
			}
		})
	}
	wg.Wait()
	took, total := time.Since(began).Seconds(), 0
	for w := range workers {
		if failed[w] != nil {
			return 0, failed[w]
		}
		total += done[w]
	}
	return float64(total) / took, nil
}

// sampleProofs is how many of the proofs are verified afterwards.
const sampleProofs = 20

func (m *made) checkInclusion(ctx context.Context, b *builder) error {
	c := m.checkpoint
	for _, index := range b.numbers[:sampleProofs] {
		bundle, err := client.GetEntryBundle(ctx, m.files.ReadEntryBundle, index/256, c.Size)
		if err != nil {
			return err
		}
		hashes, err := b.InclusionProof(ctx, index)
		if err != nil {
			return err
		}
		leaf := rfc6962.DefaultHasher.HashLeaf(bundle.Entries[index%256])
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, c.Size, leaf, hashes, c.Hash); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
	}
	return nil
}

// checkConsistency verifies proofs from random sizes, whose roots are made from tiles, to the checkpoint.
func (m *made) checkConsistency(ctx context.Context) error {
	b, err := m.builder(ctx)
	if err != nil {
		return err
	}
	c := m.checkpoint
	for _, x := range b.numbers[:sampleProofs] {
		size := x + 1
		root, err := m.root(ctx, size)
		if err != nil {
			return err
		}
		hashes, err := b.ConsistencyProof(ctx, size, c.Size)
		if err != nil {
			return err
		}
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, size, c.Size, hashes, root, c.Hash); err != nil {
			return fmt.Errorf("from %d to %d: %w", size, c.Size, err)
		}
	}
	return nil
}

// root is that of the first entries.
func (m *made) root(ctx context.Context, size uint64) ([]byte, error) {
	// The partial tiles of that size are gone: those of the checkpoint hold their nodes too.
	nodes, err := client.FetchRangeNodes(ctx, size, func(ctx context.Context, level, index uint64, _ uint8) ([]byte, error) {
		return m.files.ReadTile(ctx, level, index, layout.PartialTileSize(level, index, m.checkpoint.Size))
	})
	if err != nil {
		return nil, err
	}
	root := nodes[len(nodes)-1]
	for i := len(nodes) - 2; i >= 0; i-- {
		root = rfc6962.DefaultHasher.HashChildren(nodes[i], root)
	}
	return root, nil
}

// evict puts what the files of a folder hold out of memory, as far as the operating system does so when it is asked.
func evict(dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}
