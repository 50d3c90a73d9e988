package store

import (
	"context"
	"errors"
)

const (
	// fullTable is less than the entries of a full memtable take in a table.
	fullTable = 4 << 20
	// manySmall is how many starts leave behind what is worth merging.
	manySmall = 32
)

// mergeSmall merges the tables that ends and starts of the log have left. What is in memory then goes into small tables, one of each
// kind, whether they are worth it or not; and as no table overlaps another but those of the state, nothing else would ever merge them.
// Over decades a start would have to open thousands. A table that a full memtable became, and all before the first small
// one, stays as it is. It goes on while the log is used, and a crash leaves the tables as they were, or merged.
func (s *Store) mergeSmall(ctx context.Context) error {
	from, found, err := s.firstSmall()
	if err != nil || found < manySmall {
		return err
	}
	for prefix, n := range map[byte]uint64{'k': from / 256, 'n': from / 256, 't': from / 256, 'v': from, 'z': from} {
		err = errors.Join(err, s.db.Compact(ctx, numbered(nil, prefix, n), []byte{prefix + 1}, false))
	}
	return err
}

// firstSmall returns the first entry in a small table, and how many such tables there are. Those that were merged
// before are no longer in the level of the new ones.
func (s *Store) firstSmall() (first uint64, count int, err error) {
	levels, err := s.db.SSTables()
	if err != nil {
		return 0, 0, err
	}
	for _, table := range levels[0] {
		n, ok := numberOf('z', table.Smallest.UserKey)
		if !ok || table.Size >= fullTable {
			continue
		}
		if count++; count == 1 || n < first {
			first = n
		}
	}
	return first, count, nil
}

// merge is mergeSmall in the background, until the store is closed.
func (s *Store) merge() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := s.mergeSmall(ctx); err != nil && ctx.Err() == nil {
		s.log.Warn("small tables were not merged; the next start tries again", "error", err)
	}
}
