package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
)

// model is the log as a list, judged by golang.org/x/mod/sumdb/tlog.
type model struct {
	entries [][]byte
	hashes  []tlog.Hash
	last    map[string][]uint64 // the indexes of a path's entries that are not conflicts
}

func (m *model) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = m.hashes[x]
	}
	return out, nil
}

func (m *model) root(t testing.TB, n uint64) tree.Hash {
	h, err := tlog.TreeHash(int64(n), m)
	if err != nil {
		t.Fatal(err)
	}
	return tree.Hash(h)
}

func (m *model) add(t testing.TB, e *entry.Entry) Item {
	t.Helper()
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	index := uint64(len(m.entries))
	hs, err := tlog.StoredHashes(int64(index), b, m)
	if err != nil {
		t.Fatal(err)
	}
	m.entries, m.hashes = append(m.entries, b), append(m.hashes, hs...)
	it := Item{Entry: b, Leaf: tree.LeafHash(b), Path: PathOf(e.Path), Last: e.Kind != entry.Conflict}
	if it.Last {
		if old := m.last[e.Path]; len(old) > 0 {
			it.Previous = old[len(old)-1] + 1
		}
		m.last[e.Path] = append(m.last[e.Path], index)
	}
	return it
}

func upload(n int) *entry.Entry {
	return &entry.Entry{Kind: entry.Upload, Path: fmt.Sprintf("authors/id/E/ET/ETHER/Dist%d-0.%d.tar.gz", n%7, n), Size: uint64(n),
		SHA256: entry.Digest(tree.LeafHash(fmt.Append(nil, n))), By: "-", Seen: entry.SeenUpload}
}

func create(t testing.TB, fs vfs.FS) {
	t.Helper()
	if err := Create("log", Options{FS: fs}, State{Root: tree.EmptyRoot, Note: []byte("empty")}); err != nil {
		t.Fatal(err)
	}
}

func openStore(t testing.TB, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open("log", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func commit(t testing.TB, s *Store, items []Item) {
	t.Helper()
	b, err := s.Stage(items)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Seal(b.Size(), fmt.Appendf(nil, "note %d", b.Size())), s.Commit(b), s.Advance(b)); err != nil {
		t.Fatal(err)
	}
}

// check compares everything that can be read at a size with the model.
func check(t *testing.T, s *Store, m *model, size uint64, indexes []uint64) {
	t.Helper()
	root := m.root(t, size)
	if got, err := s.Root(size); err != nil || got != root {
		t.Fatalf("Root(%d) = %v, %v, want %v", size, got, err, root)
	}
	for _, i := range indexes {
		if b, err := s.Entry(i, size); err != nil || !bytes.Equal(b, m.entries[i]) {
			t.Fatalf("Entry(%d) = %q, %v", i, b, err)
		}
		p, err := s.Inclusion(i, size)
		if err != nil {
			t.Fatal(err)
		}
		want, err := tlog.ProveRecord(int64(size), int64(i), m)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(p, want, func(a tree.Hash, b tlog.Hash) bool { return a == tree.Hash(b) }) {
			t.Fatalf("Inclusion(%d, %d) = %v, want %v", i, size, p, want)
		}
		if i == 0 {
			continue
		}
		p, err = s.Consistency(i, size)
		if err != nil {
			t.Fatal(err)
		}
		wantTree, err := tlog.ProveTree(int64(size), int64(i), m)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(p, wantTree, func(a tree.Hash, b tlog.Hash) bool { return a == tree.Hash(b) }) {
			t.Fatalf("Consistency(%d, %d) = %v, want %v", i, size, p, wantTree)
		}
	}
}

func all(n uint64) (out []uint64) {
	for i := range n {
		out = append(out, i)
	}
	return out
}

// Every proof at every size up to 530 (two full tiles and more) is that of an
// independent implementation, both for the growing store and after it is opened again.
func TestProofsExhaustive(t *testing.T) {
	fs := vfs.NewMem()
	create(t, fs)
	s := openStore(t, fs)
	m := &model{last: map[string][]uint64{}}
	for n := range 530 {
		commit(t, s, []Item{m.add(t, upload(n))})
		size := uint64(n + 1)
		indexes := []uint64{0, size / 2, size - 1}
		if n%53 == 0 || n > 520 {
			indexes = all(size)
		}
		check(t, s, m, size, indexes)
	}
	for round := range 2 {
		for _, size := range []uint64{1, 15, 16, 17, 255, 256, 257, 511, 512, 513, 530} {
			check(t, s, m, size, all(size))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s = openStore(t, fs); round == 0 {
			if h := s.Head(); h.Size != 530 || h.State.Root != m.root(t, 530) || string(h.Note) != "note 530" || h.Time != 530 {
				t.Errorf("the state after a reopen is %+v", h.State)
			}
		}
	}
	s.Close()
}

// Batches of random sizes, reopened now and then: proofs, entries, tiles and the last entry of
// each path, at the newest and at older sizes, are those of the model.
func TestRandomHistory(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	fs := vfs.NewMem()
	create(t, fs)
	s := openStore(t, fs)
	m := &model{last: map[string][]uint64{}}
	paths := 0
	for range 60 {
		var items []Item
		for range 1 + rnd.IntN(700) {
			e := upload(paths)
			switch rnd.IntN(4) {
			case 0: // another entry for a known path
				if paths > 0 {
					e = upload(rnd.IntN(paths))
					if p := m.last[e.Path]; len(p)%2 == 1 {
						e.Kind, e.Size = entry.Delete, 0
					}
				}
			case 1:
				e.Kind, e.Size, e.By, e.Seen, e.Other = entry.Conflict, 0, "", "", entry.Digest{1}
				paths++
			default:
				paths++
			}
			items = append(items, m.add(t, e))
		}
		commit(t, s, items)
		if rnd.IntN(4) == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, fs)
		}
		size := s.Head().Size
		check(t, s, m, size, []uint64{0, rnd.Uint64N(size), rnd.Uint64N(size), size - 1})
		check(t, s, m, 1+rnd.Uint64N(size), []uint64{0})

		clip := 1 + rnd.Uint64N(size)
		for n := range 20 {
			path := upload(rnd.IntN(paths + 1)).Path
			if n == 0 {
				path += "x" // never logged
			}
			var want *uint64
			for _, i := range m.last[path] {
				if i < clip {
					want = &i
				}
			}
			got, err := s.Last(path, clip)
			if err != nil || (got == nil) != (want == nil) || (got != nil && got.Index != *want) {
				t.Fatalf("Last(%q, %d) = %+v, %v, want %v", path, clip, got, err, want)
			}
			if got != nil && got.Entry.Kind == entry.Delete && !slices.Contains(m.last[path], got.Upload) {
				t.Fatalf("Last(%q, %d).Upload = %d", path, clip, got.Upload)
			}
		}
		tile := rnd.Uint64N(size) / 256
		got, err := s.Entries(tile*256, min(size, tile*256+256), size)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if !bytes.Equal(got[i], m.entries[tile*256+uint64(i)]) {
				t.Fatalf("entry %d is %q", tile*256+uint64(i), got[i])
			}
		}
	}
	conflicts := 0
	s.Close()
	s = openStore(t, fs)
	if err := s.Conflicts(func(i uint64, e *entry.Entry) error {
		conflicts++
		if b, _ := e.Marshal(); !bytes.Equal(b, m.entries[i]) {
			return fmt.Errorf("conflict %d is %q", i, b)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := len(m.entries) - countLast(m); conflicts != want || want == 0 {
		t.Errorf("%d conflicts, want %d", conflicts, want)
	}
	s.Close()
}

func countLast(m *model) (n int) {
	for _, p := range m.last {
		n += len(p)
	}
	return n
}

func TestReadsAreClippedToTheSizeGiven(t *testing.T) {
	fs := vfs.NewMem()
	create(t, fs)
	s := openStore(t, fs)
	defer s.Close()
	m := &model{last: map[string][]uint64{}}
	for n := range 300 {
		commit(t, s, []Item{m.add(t, upload(n))})
	}
	for name, err := range map[string]error{
		"an entry":           second(s.Entry(10, 10)),
		"entries":            second(s.Entries(0, 11, 10)),
		"entries of 2 tiles": second(s.Entries(255, 257, 300)),
		"leaf hashes":        second(s.LeafHashes(1, 256)),
		"a node":             second(s.Node(4, 0, 15)),
		"an inclusion":       second(s.Inclusion(10, 10)),
		"beyond the head":    second(s.Inclusion(10, 301)),
		"a consistency":      second(s.Consistency(10, 301)),
		"backwards":          second(s.Consistency(11, 10)),
		"a root":             second(s.Root(301)),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s beyond the size: %v", name, err)
		}
	}
	if h, err := s.LeafHashes(0, 10); err != nil || len(h) != 10 {
		t.Errorf("LeafHashes(0, 10) = %d hashes, %v", len(h), err)
	}
	if last, err := s.Last(upload(10).Path, 10); err != nil || last != nil {
		t.Errorf("Last at size 10 knows entry 10: %+v, %v", last, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestLookups(t *testing.T) {
	fs := vfs.NewMem()
	create(t, fs)
	s := openStore(t, fs)
	m := &model{last: map[string][]uint64{}}
	admin := upload(1)
	admin.By = "ANDK"
	index := &entry.Entry{Kind: entry.Index, Path: "modules/06perms.txt", SHA256: upload(2).SHA256}
	gone := upload(0)
	gone.Kind, gone.Size = entry.Delete, 0
	commit(t, s, []Item{m.add(t, upload(0)), m.add(t, admin), m.add(t, index), m.add(t, gone)})
	for round := range 2 {
		s.WaitIndexed(t.Context(), 4)
		if s.Indexed() != 4 {
			t.Fatalf("indexed %d", s.Indexed())
		}
		leaf := tree.LeafHash(m.entries[2])
		for _, tt := range []struct {
			by    Lookup
			value string
			want  string
		}{
			{ByPath, upload(0).Path, "[0 3]"},
			{ByPath, "modules/06perms.txt", "[2]"},
			{ByPath, "modules/06perms", "[]"},
			{ByAuthor, "ETHER", "[0 1 3]"},
			{ByAuthor, "ANDK", "[1]"},
			{ByDistribution, "Dist1", "[1]"},
			{ByDistribution, "Dist0", "[0 3]"},
			{BySHA256, upload(2).SHA256.String(), "[2]"},
			{ByLeafHash, string(leaf[:]), "[2]"},
		} {
			indexes := func(found []Found, err error) string {
				if err != nil {
					t.Fatal(err)
				}
				var out []uint64
				for _, f := range found {
					out = append(out, f.Index)
				}
				return fmt.Sprint(out)
			}
			if got := indexes(s.Find(tt.by, tt.value, 0, 4, 10, false)); got != tt.want {
				t.Errorf("round %d: Find(%c, %q) = %s, want %s", round, tt.by, tt.value, got, tt.want)
			}
			if tt.by == ByAuthor && tt.value == "ETHER" {
				for got, want := range map[string]string{
					indexes(s.Find(tt.by, tt.value, 1, 4, 10, false)): "[1 3]",
					indexes(s.Find(tt.by, tt.value, 0, 3, 10, false)): "[0 1]",
					indexes(s.Find(tt.by, tt.value, 0, 4, 1, false)):  "[0]",
					indexes(s.Find(tt.by, tt.value, 0, 4, 1, true)):   "[3]",
				} {
					if got != want {
						t.Errorf("found %s, want %s", got, want)
					}
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, fs)
	}
	s.Close()
}

// Damage of each kind of record, made through Pebble itself so that no checksum of Pebble's
// notices, is found when the store is opened.
func TestOpenFindsDamage(t *testing.T) {
	base := vfs.NewMem()
	create(t, base)
	s := openStore(t, base)
	m := &model{last: map[string][]uint64{}}
	var items []Item
	for n := range 600 {
		items = append(items, m.add(t, upload(n)))
	}
	again := upload(3)
	again.Kind, again.Size = entry.Delete, 0
	items = append(items, m.add(t, again))
	commit(t, s, items)
	s.WaitIndexed(t.Context(), 601)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	flip := func(prefix byte, n uint64) func(*pebble.DB) error {
		return func(db *pebble.DB) error {
			k := numbered(nil, prefix, n)
			v, closer, err := db.Get(k)
			if err != nil {
				return err
			}
			v = bytes.Clone(v)
			closer.Close()
			v[len(v)/2] ^= 1
			return db.Set(k, v, nil)
		}
	}
	remove := func(prefix byte, n uint64) func(*pebble.DB) error {
		return func(db *pebble.DB) error { return db.Delete(numbered(nil, prefix, n), nil) }
	}
	for name, damage := range map[string]func(*pebble.DB) error{
		"the last tile's hash":           flip('t', 1),
		"a tile missing":                 remove('t', 1),
		"an entry of the last full tile": flip('z', 300),
		"an entry missing there":         remove('z', 511),
		"an entry after the last tile":   flip('z', 599),
		"the last entry missing":         remove('z', 600),
		"an entry beyond the size":       func(db *pebble.DB) error { return db.Set(numbered(nil, 'z', 601), []byte("x"), nil) },
		"a tile beyond the size":         func(db *pebble.DB) error { return db.Set(numbered(nil, 't', 2), []byte("x"), nil) },
		"a key tile missing":             remove('k', 0),
		"a key tile's hash that is used": func(db *pebble.DB) error { return flipByte(db, numbered(nil, 'k', 0), 3*8+7) },
		"the state's root":               func(db *pebble.DB) error { return flipByte(db, []byte{'c'}, 20) },
		"the state gone":                 func(db *pebble.DB) error { return db.Delete([]byte{'c'}, nil) },
		"the state of an older commit":   func(db *pebble.DB) error { return db.Set([]byte{'c'}, (&State{Root: tree.EmptyRoot}).marshal(), nil) },
		"another format":                 func(db *pebble.DB) error { return db.Set([]byte{'f'}, []byte("pauselog-store/v9"), nil) },
		"a previous entry that was not":  func(db *pebble.DB) error { return db.Set(numbered(nil, 'v', 600), numbered(nil, 'x', 4)[1:], nil) },
		"a previous entry of a new path": func(db *pebble.DB) error { return db.Set(numbered(nil, 'v', 9), numbered(nil, 'x', 4)[1:], nil) },
		"the last tile cut short":        func(db *pebble.DB) error { return db.Set(numbered(nil, 't', 1), make([]byte, 100), nil) },
		"a key tile that is cut short":   func(db *pebble.DB) error { return db.Set(numbered(nil, 'k', 0), make([]byte, 100), nil) },
		"a state that is cut short":      func(db *pebble.DB) error { return db.Set([]byte{'c'}, make([]byte, 10), nil) },
		"a previous that is no index":    func(db *pebble.DB) error { return db.Set(numbered(nil, 'v', 600), []byte("x"), nil) },
	} {
		fs := vfs.NewMem()
		if ok, err := vfs.Clone(base, fs, "log", "log"); !ok || err != nil {
			t.Fatal(ok, err)
		}
		db, err := open("log/log", Options{FS: fs}, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(damage(db), db.Close()); err != nil {
			t.Fatal(name, err)
		}
		s, err := Open("log", Options{FS: fs})
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The base itself is sound.
	if err := openStore(t, base).Close(); err != nil {
		t.Error(err)
	}
}

func flipByte(db *pebble.DB, key []byte, at int) error {
	v, closer, err := db.Get(key)
	if err != nil {
		return err
	}
	v = bytes.Clone(v)
	closer.Close()
	v[at] ^= 1
	return db.Set(key, v, nil)
}

func TestCreateAndOpenAreDeliberate(t *testing.T) {
	fs := vfs.NewMem()
	if s, err := Open("log", Options{FS: fs}); err == nil || !strings.Contains(err.Error(), "no store") {
		t.Errorf("Open without Create: %v, %v", s, err)
	}
	create(t, fs)
	if err := Create("log", Options{FS: fs}, State{}); err == nil {
		t.Error("Create over a store")
	}
	s := openStore(t, fs)
	if s2, err := Open("log", Options{FS: fs}); err == nil {
		s2.Close()
		t.Error("a second Open while it is open")
	}
	s.Close()
}

func setPosition(db *pebble.DB, size uint64, root tree.Hash) error {
	return db.Set([]byte{'y'}, append(append([]byte{lookupFormat}, numbered(nil, 'y', size)[1:]...), root[:]...), pebble.NoSync)
}

// An index that is lost, damaged or of another history is made again.
func TestTheLookupIndexIsMadeAgain(t *testing.T) {
	base := vfs.NewMem()
	create(t, base)
	s := openStore(t, base)
	m := &model{last: map[string][]uint64{}}
	for n := range 20 {
		commit(t, s, []Item{m.add(t, upload(n))})
	}
	s.WaitIndexed(t.Context(), 20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(vfs.FS, *pebble.DB) error{
		"nothing":        func(vfs.FS, *pebble.DB) error { return nil },
		"the index gone": func(fs vfs.FS, db *pebble.DB) error { return fs.RemoveAll("log/lookup") },
		"its files damaged": func(fs vfs.FS, _ *pebble.DB) error {
			names, err := fs.List("log/lookup")
			for _, n := range names {
				f, createErr := fs.Create(fs.PathJoin("log/lookup", n), vfs.WriteCategoryUnspecified)
				if createErr == nil {
					_, createErr = f.Write([]byte("damage"))
				}
				err = errors.Join(err, createErr, f.Close())
			}
			return err
		},
		"of another history":   func(_ vfs.FS, db *pebble.DB) error { return setPosition(db, 20, tree.EmptyRoot) },
		"ahead of the entries": func(_ vfs.FS, db *pebble.DB) error { return setPosition(db, 21, m.root(t, 20)) },
		"behind":               func(_ vfs.FS, db *pebble.DB) error { return setPosition(db, 7, m.root(t, 7)) },
		"of the format before": func(_ vfs.FS, db *pebble.DB) error {
			root := m.root(t, 20)
			// It had no paths in its keys, and a position without the format.
			return errors.Join(db.DeleteRange([]byte{'p'}, []byte{'q'}, pebble.NoSync),
				db.Set([]byte{'y'}, append(numbered(nil, 'y', 20)[1:], root[:]...), pebble.NoSync))
		},
		"of a later format": func(_ vfs.FS, db *pebble.DB) error {
			root := m.root(t, 20)
			return db.Set([]byte{'y'}, append(append([]byte{lookupFormat + 1}, numbered(nil, 'y', 20)[1:]...), root[:]...), pebble.NoSync)
		},
		"not a position": func(_ vfs.FS, db *pebble.DB) error { return db.Set([]byte{'y'}, []byte("x"), pebble.NoSync) },
	} {
		fs := vfs.NewMem()
		if ok, err := vfs.Clone(base, fs, "log", "log"); !ok || err != nil {
			t.Fatal(ok, err)
		}
		db, err := openIndex("log/lookup", Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		if name == "its files damaged" {
			err = errors.Join(db.Close(), change(fs, nil))
		} else if name == "the index gone" {
			err = errors.Join(db.Close(), change(fs, nil))
		} else {
			err = errors.Join(change(fs, db), db.Flush(), db.Close())
		}
		if err != nil {
			t.Fatal(name, err)
		}
		s := openStore(t, fs)
		s.WaitIndexed(t.Context(), 20)
		for n := range 20 {
			if found, err := s.Find(ByPath, upload(n).Path, 0, 20, 10, false); err != nil || len(found) != 1 || found[0].Index != uint64(n) {
				t.Errorf("%s: path of entry %d: %v, %v", name, n, found, err)
			}
		}
		s.Close()
	}
}

// Whatever byte of the file that lists the index's tables is damaged, the index is made again: Pebble would take an
// older list, and tables that are no longer what it says.
func TestADamagedManifestOfTheIndex(t *testing.T) {
	base := vfs.NewMem()
	create(t, base)
	s := openStore(t, base)
	m := &model{last: map[string][]uint64{}}
	for n := range 12 {
		commit(t, s, []Item{m.add(t, upload(n))})
		s.WaitIndexed(t.Context(), uint64(n+1))
		if err := s.second.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := wholeManifest(base, "log/lookup"); err != nil {
		t.Fatalf("whole: %v", err)
	}
	if err := wholeManifest(base, "log/none"); err != nil {
		t.Errorf("none: %v", err)
	}
	desc, err := pebble.Peek("log/lookup", base)
	if err != nil {
		t.Fatal(err)
	}
	f, err := base.Open(desc.ManifestFilename)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	whole, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	damaged := func(t *testing.T, b []byte) vfs.FS {
		fs := vfs.NewMem()
		if ok, err := vfs.Clone(base, fs, "log", "log"); !ok || err != nil {
			t.Fatal(ok, err)
		}
		f, err := fs.Create(desc.ManifestFilename, vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = f.Write(b)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		return fs
	}
	for at := range whole {
		b := slices.Clone(whole)
		b[at] ^= 1 << (at % 8)
		if wholeManifest(damaged(t, b), "log/lookup") == nil {
			t.Errorf("byte %d of %d: not noticed", at, len(whole))
		}
	}
	for name, b := range map[string][]byte{"cut": whole[:len(whole)-3], "longer": append(slices.Clone(whole), make([]byte, 50)...), "a bit": append(append(slices.Clone(whole[:300]), whole[300]^4), whole[301:]...)} {
		s := openStore(t, damaged(t, b))
		s.WaitIndexed(t.Context(), 12)
		for n := range 12 {
			if found, err := s.Find(ByPath, upload(n).Path, 0, 12, 10, false); err != nil || len(found) != 1 || found[0].Index != uint64(n) {
				t.Errorf("%s: path of entry %d: %v, %v", name, n, found, err)
			}
		}
		s.Close()
	}
}

// A store of random paths and its table agree, with a table that is small at first and grows, and
// in which some places are crowded.
func TestPathTable(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	p := newPaths(0)
	hashes := map[uint64]uint64{} // index to hash
	const n = 100_000
	for i := range uint64(n) {
		h := max(1, rnd.Uint64())
		if i%1000 < 30 {
			h = h&^(1<<40-1) | 7 // crowd some places, one of them at the end of its segment
			if i%2 == 0 {
				h |= 1<<36 - 1
			}
		}
		p.insert(h, i)
		hashes[i] = h
		if i%5 == 4 { // move an older one
			old := rnd.Uint64N(i)
			if h, ok := hashes[old]; ok {
				moved := n + i
				if !p.replace(h, old, moved) {
					t.Fatalf("path of entry %d is not there", old)
				}
				delete(hashes, old)
				hashes[moved] = h
			}
		}
	}
	slots := 0
	for i := range p.segments {
		slots += len(*p.segments[i].Load())
	}
	if most := n * 2; slots > most {
		t.Errorf("%d slots for %d paths, expected at most %d", slots, n, most)
	}
	for i, h := range hashes {
		if !slices.Contains(p.find(h, nil), i) {
			t.Fatalf("entry %d is not found", i)
		}
	}
	candidates := 0
	for range n {
		candidates += len(p.find(rnd.Uint64(), nil))
	}
	if candidates > 20 {
		t.Errorf("%d candidates for %d paths that are not there", candidates, n)
	}
	if p.replace(12345, 1<<35, 1) {
		t.Error("replaced a path that is not there")
	}
}

// Whoever reads the table while it grows finds every path that was in it before.
func TestPathTableIsReadWhileItGrows(t *testing.T) {
	p := newPaths(0)
	hash := func(i uint64) uint64 { return pathHash(fmt.Sprint(i)) }
	const n = 20_000
	var known atomic.Uint64
	var readers sync.WaitGroup
	for seed := range uint64(2) {
		readers.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 5))
			for known.Load() < n {
				if most := known.Load(); most > 0 {
					if i := rnd.Uint64N(most); !slices.Contains(p.find(hash(i), nil), i) {
						t.Errorf("entry %d of %d is not found", i, most)
						return
					}
				}
			}
		})
	}
	for i := range uint64(n) {
		p.insert(hash(i), i)
		known.Store(i + 1)
	}
	readers.Wait()
}

func BenchmarkInclusion(b *testing.B) {
	s := filled(b, 1<<20)
	rnd := rand.New(rand.NewPCG(5, 6))
	size := s.Head().Size
	b.ReportAllocs()
	for b.Loop() {
		i := rnd.Uint64N(size)
		if _, err := s.Inclusion(i, size); err != nil {
			b.Fatal(err)
		}
	}
}

// filled returns a store of n leaves on disk.
func filled(b *testing.B, n int) *Store {
	dir := b.TempDir() + "/log"
	if err := Create(dir, Options{}, State{Root: tree.EmptyRoot}); err != nil {
		b.Fatal(err)
	}
	s, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	var items []Item
	began := time.Now()
	for i := range n {
		e, err := upload(i).Marshal()
		if err != nil {
			b.Fatal(err)
		}
		items = append(items, Item{Entry: e, Leaf: tree.LeafHash(e), Path: PathOf(upload(i).Path), Last: true})
		if len(items) == 4096 {
			commit(b, s, items)
			items = items[:0]
		}
	}
	b.Logf("%d leaves in %v", n, time.Since(began))
	b.Cleanup(func() { s.Close() })
	return s
}

func BenchmarkOpen(b *testing.B) {
	s := filled(b, 1<<20)
	dir := b.TempDir() + "/copy"
	if err := s.db.Checkpoint(dir); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// Each kind of keys has tables of its own, and those of two flushes never overlap but for the state's: so no compaction of what
// must be written again takes along what need not.
func TestTablesOfTwoFlushesDoNotOverlap(t *testing.T) {
	fs := vfs.NewMem()
	create(t, fs)
	s := openStore(t, fs)
	defer s.Close()
	m := &model{last: map[string][]uint64{}}
	for range 6 {
		var items []Item
		for range 600 {
			items = append(items, m.add(t, upload(len(m.entries))))
		}
		commit(t, s, items)
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	levels, err := s.db.SSTables()
	if err != nil {
		t.Fatal(err)
	}
	tables := map[byte][]pebble.SSTableInfo{}
	for _, level := range levels {
		for _, table := range level {
			first, last := table.Smallest.UserKey, table.Largest.UserKey
			if first[0] != last[0] {
				t.Errorf("a table from %q to %q", first, last)
			}
			for _, other := range tables[first[0]] {
				if first[0] != 'c' && bytes.Compare(first, other.Largest.UserKey) <= 0 && bytes.Compare(other.Smallest.UserKey, last) <= 0 {
					t.Errorf("tables from %q to %q and from %q to %q", first, last, other.Smallest.UserKey, other.Largest.UserKey)
				}
			}
			tables[first[0]] = append(tables[first[0]], table)
		}
	}
	for _, kind := range "cfkntz" {
		if len(tables[byte(kind)]) == 0 {
			t.Errorf("no table of %q", kind)
		}
	}
}
