package store

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// Readers compare what they read with the tree in memory, so that damage on disk is never served. A scrub
// does the same for what nobody reads, before the copies elsewhere are gone: it reads all of the log's data, and
// compares
//
//   - each tile with the node above it in the tree in memory, which was hashed up to the signed root;
//   - each entry with its leaf hash in the tile;
//   - each path hash in the key tiles with the path of its entry;
//   - each v key with the key tile of the entry that it names, which is an older one of the same path;
//   - the table of paths in memory with all of that: each path is in it once, with its newest entry or
//     a later one.
//
// What Pebble or the system still has in memory is not read from the disk again; of a log that is larger than that
// it is most of it.

// A Damage is something on disk that is not what was signed.
type Damage struct {
	// What is "entries", "tile" (leaf hashes), "keys" (path hashes), "previous" (v keys) or "paths" (the table in
	// memory). All but entries can be made again from the entries.
	What string `json:"what"`
	// Start and End are the entries that it is about.
	Start  uint64 `json:"start"`
	End    uint64 `json:"end"`
	Detail string `json:"detail"`
}

func (d Damage) String() string {
	if d.End == d.Start+1 {
		return fmt.Sprintf("%s of entry %d: %s", d.What, d.Start, d.Detail)
	}
	return fmt.Sprintf("%s of entries %d to %d: %s", d.What, d.Start, d.End-1, d.Detail)
}

// ScrubOptions are how a store is scrubbed.
type ScrubOptions struct {
	// Start is the entry to begin at; that of the tile that it is in.
	Start uint64
	// End is the entry to stop before; 0: the size that the store has when it begins.
	End uint64
	// Workers is how many read at a time. 0: one for each CPU.
	Workers int
	// Progress is told how many entries are done, of how many. It may be nil.
	Progress func(done, size uint64)
}

// A ScrubReport is what a scrub found.
type ScrubReport struct {
	Entries uint64   `json:"entries"` // that were read
	Damage  []Damage `json:"damage"`  // at most maxDamage, by entry
	// Omitted counts damage that is not listed.
	Omitted uint64 `json:"omitted,omitempty"`
}

const (
	maxDamage = 100
	// scrubStride is how many tiles are read at a time: 4,096 entries, about 5 ms.
	scrubStride = 16
)

// Scrub compares the store's data with the signed tree. It may be called while the store is used. An error is the
// context's; what is damaged, or cannot be read, is in the report.
func (s *Store) Scrub(ctx context.Context, o ScrubOptions) (*ScrubReport, error) {
	return s.scrub(ctx, o, true)
}

// scrub is Scrub. Without memory there is no tree and no table of paths to compare with.
func (s *Store) scrub(ctx context.Context, o ScrubOptions, memory bool) (*ScrubReport, error) {
	head := s.Head()
	end := head.Size
	if o.End != 0 {
		end = min(end, o.End)
	}
	from, tiles := o.Start/256, (end+255)/256
	workers := o.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var (
		mu     sync.Mutex
		report ScrubReport
		wg     sync.WaitGroup
		next   = from
	)
	take := func() (first, last uint64, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		first, last = next, min(next+scrubStride, tiles)
		next = last
		return first, last, first < last && ctx.Err() == nil
	}
	for range workers {
		wg.Go(func() {
			for {
				first, last, ok := take()
				if !ok {
					return
				}
				sc := scrubber{s: s, head: head, memory: memory}
				sc.tiles(first, last)
				mu.Lock()
				report.Damage = append(report.Damage, sc.damage...)
				report.Entries += min(last*256, head.Size) - first*256
				if o.Progress != nil {
					o.Progress(report.Entries, head.Size-min(from*256, head.Size))
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.SortStableFunc(report.Damage, func(a, b Damage) int { return int(int64(a.Start) - int64(b.Start)) })
	if n := len(report.Damage); n > maxDamage {
		report.Damage, report.Omitted = report.Damage[:maxDamage], uint64(n-maxDamage)
	}
	return &report, ctx.Err()
}
