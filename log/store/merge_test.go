package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A log that is started and stopped all its life has few tables nevertheless, and all of its entries.
func TestTheTablesOfManyStartsAreMerged(t *testing.T) {
	fs := vfs.NewMem()
	create(t, fs)
	m := &model{last: map[string][]uint64{}}
	const starts, each = 4 * manySmall, 20
	most := 0
	for range starts {
		s := openStore(t, fs)
		if err := s.mergeSmall(t.Context()); err != nil { // what Open began may be cut short by Close
			t.Fatal(err)
		}
		most = max(most, s.tables(t))
		var items []Item
		for range each {
			items = append(items, m.add(t, upload(len(m.entries))))
		}
		commit(t, s, items)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t, fs)
	defer s.Close()
	size := uint64(starts * each)
	var all []uint64
	for i := range size {
		all = append(all, i)
	}
	check(t, s, m, size, all)
	if found, known, err := s.census(); err != nil || !known || found != [...]uint64{size, size / 256, size / 256} {
		t.Errorf("counted %v, %v, %v", found, known, err)
	}
	// Of each start two tables or three, of c and z, and now and then of the tiles.
	if most > 4*manySmall {
		t.Errorf("%d tables after %d starts", most, starts)
	}
}

// Few small tables are not worth it.
func TestFewSmallTablesStay(t *testing.T) {
	fs := vfs.NewMem()
	create(t, fs)
	m := &model{last: map[string][]uint64{}}
	for range manySmall - 1 {
		s := openStore(t, fs)
		commit(t, s, []Item{m.add(t, upload(len(m.entries)))})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t, fs)
	defer s.Close()
	_, count, err := s.firstSmall()
	if err != nil || count < manySmall/2 || count >= manySmall {
		t.Errorf("%d small tables (%v), want nearly %d", count, err, manySmall)
	}
	if err := s.mergeSmall(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, after, err := s.firstSmall(); err != nil || after != count {
		t.Errorf("%d small tables were merged (%v)", count-after, err)
	}
}

func (s *Store) tables(t *testing.T) (n int) {
	levels, err := s.db.SSTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range levels {
		n += len(level)
	}
	return n
}
