package store

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
)

// history is a store of n entries, with an older path in every eleventh and a conflict in every hundredth, in
// commits of the sizes that it is given, in turn. After each commit between is called.
func history(t testing.TB, fs vfs.FS, n int, sizes []int, between func(s *Store, commits int)) *model {
	t.Helper()
	create(t, fs)
	s := openStore(t, fs)
	m := &model{last: map[string][]uint64{}}
	for at, commits := 0, 0; at < n; commits++ {
		var items []Item
		for range min(sizes[commits%len(sizes)], n-at) {
			e := upload(at)
			switch {
			case at%100 == 99:
				e.Kind, e.Size, e.By, e.Seen, e.Other = entry.Conflict, 0, "", "", entry.Digest{1}
			case at%11 == 10:
				e = upload(at - 10)
				e.Kind, e.Size = entry.Delete, 0
			}
			items = append(items, m.add(t, e))
			at++
		}
		commit(t, s, items)
		if between != nil {
			between(s, commits)
		}
	}
	s.WaitIndexed(t.Context(), uint64(n))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

func cloneFS(t testing.TB, from *vfs.MemFS) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewMem()
	if ok, err := vfs.Clone(from, fs, "log", "log"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	return fs
}

// withoutKeys writes the log's data anew, in one table, without some of its keys: as if they had never been flushed.
func withoutKeys(t *testing.T, base *vfs.MemFS, gone func(prefix byte, key []byte) bool) *vfs.MemFS {
	t.Helper()
	from, err := open("log/log", Options{FS: cloneFS(t, base)}, false)
	if err != nil {
		t.Fatal(err)
	}
	fs := vfs.NewMem()
	if err := fs.MkdirAll("log", 0o755); err != nil {
		t.Fatal(err)
	}
	to, err := open("log/log", Options{FS: fs}, true)
	if err != nil {
		t.Fatal(err)
	}
	it, err := from.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		if !gone(it.Key()[0], it.Key()) {
			err = errors.Join(err, to.Set(it.Key(), it.Value(), pebble.NoSync))
		}
	}
	if err := errors.Join(err, it.Error(), it.Close(), to.Flush(), to.Close(), from.Close()); err != nil {
		t.Fatal(err)
	}
	return fs
}

// Whatever is missing, wherever in the log, is noticed at start, and the error says what it is.
func TestOpenSaysWhatIsMissing(t *testing.T) {
	base := vfs.NewMem()
	history(t, base, 1800, []int{40, 1, 300}, nil)
	number := func(n uint64) []byte { return numbered(nil, 'x', n)[1:] }
	for _, tt := range []struct {
		name   string
		prefix byte
		from   uint64
		to     uint64
		want   Missing
		text   string
	}{
		{"the first entry", 'z', 0, 0, Missing{"entry", 0, 0, 1, 1800}, "entry 0 is missing"},
		{"one in the middle", 'z', 700, 700, Missing{"entry", 700, 700, 1, 1800}, "entry 700 is missing"},
		{"many in the middle", 'z', 300, 899, Missing{"entry", 300, 899, 600, 1800}, "entry 300 to 899 are missing (of 1800 there must be, 600 are not there)"},
		{"the last one", 'z', 1799, 1799, Missing{"entry", 1799, 1799, 1, 1800}, "entry 1799 is missing"},
		{"a hash tile in the middle", 't', 3, 3, Missing{"hash tile", 3, 3, 1, 7}, "hash tile 3 is missing (of 7 there must be, 1 are not there); of entries 768 to 1023"},
		{"the last key tiles", 'k', 5, 6, Missing{"key tile", 5, 6, 2, 7}, "of entries 1280 to 1791"},
	} {
		in := func(prefix byte, key []byte) bool {
			return prefix == tt.prefix && bytes.Compare(key[1:], number(tt.from)) >= 0 && bytes.Compare(key[1:], number(tt.to)) <= 0
		}
		deleted := cloneFS(t, base)
		db, err := open("log/log", Options{FS: deleted}, false)
		if err != nil {
			t.Fatal(err)
		}
		for n := tt.from; n <= tt.to; n++ {
			err = errors.Join(err, db.Delete(numbered(nil, tt.prefix, n), nil))
		}
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		for how, fs := range map[string]vfs.FS{"never there": withoutKeys(t, base, in), "deleted": deleted} {
			s, err := Open("log", Options{FS: fs})
			if err == nil {
				s.Close()
			}
			var m *Missing
			if !errors.As(err, &m) || !errors.Is(err, ErrDamaged) || *m != tt.want {
				t.Errorf("%s, %s: %v (%+v)", tt.name, how, err, m)
				continue
			}
			if text := err.Error(); !strings.Contains(text, tt.text) || !strings.Contains(text, "pauselogd recover") {
				t.Errorf("%s, %s: %q does not say %q", tt.name, how, text, tt.text)
			}
		}
	}
	// What was written anew without a loss has other tables, and opens.
	if err := openStore(t, withoutKeys(t, base, func(byte, []byte) bool { return false })).Close(); err != nil {
		t.Error(err)
	}
}

// The census counts without looking: it is right after commits, flushes, compactions and a crash.
func TestTheCensusIsExact(t *testing.T) {
	fs := vfs.NewCrashableMem()
	var image *vfs.MemFS
	history(t, fs, 2000, []int{7, 90, 1}, func(s *Store, commits int) {
		switch {
		case commits == 30:
			if err := s.db.Compact(t.Context(), []byte{0}, []byte{255}, false); err != nil {
				t.Fatal(err)
			}
		case commits%8 == 7:
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
		case commits == 58:
			image = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
		}
	})
	for name, fs := range map[string]vfs.FS{"closed": fs, "crashed": image} {
		s := openStore(t, fs)
		n := s.Head().Size
		found, known, err := s.census()
		if err != nil || !known || found != [...]uint64{n, n / 256, n / 256} {
			t.Errorf("%s, of size %d: %v, %v, %v", name, n, found, known, err)
		}
		s.Close()
	}
}

// changeFile flips a bit of a file, or cuts it.
func changeFile(t *testing.T, fs vfs.FS, name string, change func([]byte) []byte) {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	g, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = g.Write(change(b)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.Sync(), g.Close()); err != nil {
		t.Fatal(err)
	}
}

// A byte that is wrong in any of Pebble's files makes Open fail, or loses nothing below the head that it then has, or
// is found by whoever reads it. Whether the head is the newest is for the second head to say.
func TestNothingIsLostBelowTheHead(t *testing.T) {
	crashable := vfs.NewCrashableMem()
	var image *vfs.MemFS
	m := history(t, crashable, 1500, []int{3, 40, 1, 120, 9}, func(s *Store, commits int) {
		// Some in tables, some in a WAL.
		if commits == 12 || commits == 25 {
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if commits == 38 {
			image = crashable.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
		}
	})
	names, err := image.List("log/log")
	if err != nil {
		t.Fatal(err)
	}
	rnd, whole := rand.New(rand.NewPCG(21, 22)), imageSize(t, image)
	trials := 12
	if testing.Short() {
		trials = 4
	}
	refused, behind, found := 0, 0, 0
	for _, name := range names {
		name := "log/log/" + name
		info, err := image.Stat(name)
		if err != nil || info.IsDir() || info.Size() == 0 {
			continue
		}
		for range trials {
			fs := cloneFS(t, image)
			at, bit := rnd.Int64N(info.Size()), byte(1)<<rnd.IntN(8)
			changeFile(t, fs, name, func(b []byte) []byte { b[at] ^= bit; return b })
			s, err := Open("log", Options{FS: fs, Fatal: func(error) {}})
			if err != nil {
				refused++
				continue
			}
			size := s.Head().Size
			if size < whole {
				behind++
			}
			if s.Head().State.Root != m.root(t, size) {
				t.Fatalf("%s, byte %d: another root at size %d", name, at, size)
			}
			// Pebble looks long for the one wrong bit in a block: one read of a damaged tile is enough.
			damaged := map[uint64]bool{}
			for i := uint64(0); i < size; i++ {
				b, err := s.Entry(i, size)
				if errors.Is(err, ErrDamaged) {
					found++
					damaged[i/256] = true
					i |= 255
				} else if err != nil || !bytes.Equal(b, m.entries[i]) {
					t.Fatalf("%s, byte %d: entry %d of %d is %q, %v", name, at, i, size, b, err)
				}
			}
			for path, indexes := range m.last {
				for len(indexes) > 0 && indexes[len(indexes)-1] >= size {
					indexes = indexes[:len(indexes)-1]
				}
				if len(indexes) > 0 && damaged[indexes[len(indexes)-1]/256] {
					continue
				}
				last, err := s.Last(path, size)
				if errors.Is(err, ErrDamaged) {
					found++
				} else if err != nil || (last != nil) != (len(indexes) > 0) || (last != nil && last.Index != indexes[len(indexes)-1]) {
					t.Fatalf("%s, byte %d: %s is %+v, %v, want %v", name, at, path, last, err, indexes)
				}
			}
			s.Close()
		}
	}
	if refused == 0 || behind == 0 || found == 0 {
		t.Errorf("of all damage %d were refused, %d left an older head, %d were found by reading", refused, behind, found)
	}
}

func imageSize(t *testing.T, image *vfs.MemFS) uint64 {
	s := openStore(t, cloneFS(t, image))
	defer s.Close()
	return s.Head().Size
}

// A file that is gone or cut is damage, and not a store that was never made.
func TestAFileThatIsGoneIsDamage(t *testing.T) {
	base := vfs.NewMem()
	history(t, base, 600, []int{100}, nil)
	names, err := base.List("log/log")
	if err != nil {
		t.Fatal(err)
	}
	tables := 0
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		tables++
		for what, change := range map[string]func(vfs.FS) error{
			"gone": func(fs vfs.FS) error { return fs.Remove("log/log/" + name) },
			"cut": func(fs vfs.FS) error {
				changeFile(t, fs, "log/log/"+name, func(b []byte) []byte { return b[:len(b)/2] })
				return nil
			},
		} {
			fs := cloneFS(t, base)
			if err := change(fs); err != nil {
				t.Fatal(err)
			}
			s, err := Open("log", Options{FS: fs})
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), "no store") {
				t.Errorf("%s %s: %v", name, what, err)
			}
		}
	}
	if tables == 0 {
		t.Error("there are no tables")
	}
}

// The nodes are a help and no authority: without them, or with wrong ones, the same tree is made from the
// tiles, and they are put right. Wrong tiles under right nodes are found when they are read.
func TestNodesAreDerived(t *testing.T) {
	base := vfs.NewMem()
	m := history(t, base, 1800, []int{500}, nil)
	size := uint64(1800)
	for name, damage := range map[string]func(*pebble.DB) error{
		"all gone":        func(db *pebble.DB) error { return db.DeleteRange([]byte{'n'}, []byte{'o'}, nil) },
		"one gone":        func(db *pebble.DB) error { return db.Delete(numbered(nil, 'n', 3), nil) },
		"one wrong":       func(db *pebble.DB) error { return flipByte(db, numbered(nil, 'n', 2), 100) },
		"the last wrong":  func(db *pebble.DB) error { return flipByte(db, numbered(nil, 'n', 6), 511) },
		"one cut":         func(db *pebble.DB) error { return db.Set(numbered(nil, 'n', 0), make([]byte, 32), nil) },
		"of another tile": func(db *pebble.DB) error { return copyKey(db, numbered(nil, 'n', 1), numbered(nil, 'n', 4)) },
	} {
		fs := cloneFS(t, base)
		db, err := open("log/log", Options{FS: fs}, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(damage(db), db.Close()); err != nil {
			t.Fatal(err)
		}
		for round := range 2 {
			var said bytes.Buffer
			s, err := Open("log", Options{FS: fs, Log: slog.New(slog.NewTextHandler(&said, nil))})
			if err != nil {
				t.Fatalf("%s, round %d: %v", name, round, err)
			}
			check(t, s, m, size, []uint64{0, 700, 1535, 1536, 1799})
			for n := range size / 256 {
				v, err := s.get(numbered(nil, 'n', n))
				if err != nil {
					t.Fatalf("%s: nodes %d: %v", name, n, err)
				}
				if above, err := nodesAbove(v); err != nil || above[4][0] != s.memory.levels[4].get(n) {
					t.Errorf("%s: nodes %d were not put right: %v", name, n, err)
				}
			}
			if round == 1 && said.Len() > 0 {
				t.Errorf("%s: the second start says %s", name, &said)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func copyKey(db *pebble.DB, from, to []byte) error {
	v, closer, err := db.Get(from)
	if err != nil {
		return err
	}
	defer closer.Close()
	return db.Set(to, bytes.Clone(v), nil)
}

// A hash tile that says something else than the signed tree is refused by whoever reads it.
func TestAWrongTileIsNotServed(t *testing.T) {
	base := vfs.NewMem()
	history(t, base, 1800, []int{500}, nil)
	for name, damage := range map[string]func(*pebble.DB) error{
		"a hash":    func(db *pebble.DB) error { return flipByte(db, numbered(nil, 't', 2), 40) },
		"cut short": func(db *pebble.DB) error { return db.Set(numbered(nil, 't', 2), make([]byte, 100), nil) },
	} {
		fs := cloneFS(t, base)
		db, err := open("log/log", Options{FS: fs}, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(damage(db), db.Close()); err != nil {
			t.Fatal(err)
		}
		s := openStore(t, fs)
		if got, err := s.LeafHashes(2, 1800); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if got, err := s.Inclusion(2*256+1, 1800); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if got, err := s.Root(2*256 + 5); !errors.Is(err, ErrDamaged) && got != tree.EmptyRoot {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		s.Close()
	}
}
