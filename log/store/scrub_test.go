package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
)

// scrubbed makes a store with n entries, of which each tenth is of one path, and each seventeenth a conflict.
func scrubbed(t testing.TB, fs vfs.FS, n int) (*Store, *model) {
	t.Helper()
	create(t, fs)
	s := openStore(t, fs)
	m := &model{last: map[string][]uint64{}}
	var items []Item
	for i := range n {
		e := upload(i)
		switch {
		case i%10 == 9:
			e = &entry.Entry{Kind: entry.Index, Path: "modules/02packages.details.txt.gz", SHA256: e.SHA256, Size: 1, Time: entry.Time(i)}
		case i%17 == 16:
			e = &entry.Entry{Kind: entry.Conflict, Path: e.Path, SHA256: e.SHA256, Other: upload(i + 1).SHA256}
		}
		items = append(items, m.add(t, e))
		if len(items) == 200 || i == n-1 {
			commit(t, s, items)
			items = nil
		}
	}
	return s, m
}

// be is a key of the store.
func be(prefix byte, n uint64) []byte { return numbered(nil, prefix, n) }

// Whatever is changed in the store's data is found, and it is said where; and what is not changed is not accused.
func TestScrubFindsWhatIsDamaged(t *testing.T) {
	const size = 1500 // five full tiles, and 220 entries
	other := func(t *testing.T) []byte {
		b, err := upload(4000).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		key   []byte
		value func(t *testing.T) []byte // nil: it is deleted
		want  string                    // the beginnings of what is found
	}{
		"nothing":                              {nil, nil, ""},
		"another entry":                        {be('z', 300), other, "entries of entry 300: it does not have its leaf hash"},
		"the first entry":                      {be('z', 0), other, "entries of entry 0: it does not have its leaf hash"},
		"a missing entry":                      {be('z', 700), nil, "entries of entry 700: missing"},
		"another entry after the last tile":    {be('z', 1499), other, "entries of entry 1499: it does not have its leaf hash"},
		"a missing entry after the last tile":  {be('z', 1300), nil, "entries of entry 1300: missing"},
		"another tile":                         {be('t', 2), func(*testing.T) []byte { return make([]byte, 256*32) }, "tile of entries 512 to 767: they do not have the hash"},
		"a short tile":                         {be('t', 2), func(*testing.T) []byte { return make([]byte, 32) }, "tile of entries 512 to 767: the store is damaged: tile of 32 bytes"},
		"a missing tile":                       {be('t', 0), nil, "tile of entries 0 to 255: missing"},
		"a short key tile":                     {be('k', 4), func(*testing.T) []byte { return make([]byte, 8) }, "keys of entries 1024 to 1279: a key tile of 8 bytes"},
		"a missing key tile":                   {be('k', 4), nil, "keys of entries 1024 to 1279: missing"},
		"an entry that follows none":           {be('v', 509), nil, ""}, // in memory it is right; the next start finds it
		"an entry that follows another path's": {be('v', 509), func(*testing.T) []byte { return be('x', 1)[1:] }, "previous of entry 509: it follows entry 1, which is not of the same path"},
		"an entry that follows a later one":    {be('v', 509), func(*testing.T) []byte { return be('x', 600)[1:] }, "previous of entry 509: it follows entry 600"},
		"a conflict that follows an entry":     {be('v', 16), func(*testing.T) []byte { return be('x', 1)[1:] }, "previous of entry 16: it is a conflict"},
		"a v key that is none":                 {be('v', 509), func(*testing.T) []byte { return []byte("x") }, "previous of entries 256 to 511: the store is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := scrubbed(t, vfs.NewMem(), size)
			defer s.Close()
			switch {
			case c.value != nil:
				if err := s.db.Set(c.key, c.value(t), pebble.Sync); err != nil {
					t.Fatal(err)
				}
			case c.key != nil:
				if err := s.db.Delete(c.key, pebble.Sync); err != nil {
					t.Fatal(err)
				}
			}
			r, err := s.Scrub(t.Context(), ScrubOptions{})
			if err != nil || r.Entries != size {
				t.Fatalf("%+v, %v", r, err)
			}
			var found []string
			for _, d := range r.Damage {
				found = append(found, d.String())
			}
			if len(found) > 1 || c.want == "" && len(found) > 0 || c.want != "" && (len(found) == 0 || !strings.HasPrefix(found[0], c.want)) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}

// A key tile with wrong path hashes is found entry by entry.
func TestScrubComparesPathHashes(t *testing.T) {
	s, _ := scrubbed(t, vfs.NewMem(), 600)
	defer s.Close()
	v, err := s.get(be('k', 1))
	if err != nil {
		t.Fatal(err)
	}
	v[8*7] ^= 1
	if err := s.db.Set(be('k', 1), v, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	r, err := s.Scrub(t.Context(), ScrubOptions{})
	if err != nil || len(r.Damage) == 0 || r.Damage[0].What != "keys" || r.Damage[0].Start != 256+7 || r.Damage[0].End != 256+8 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Entries and leaf hashes that fit each other and not the signed tree are not taken for right.
func TestScrubComparesWithTheSignedTree(t *testing.T) {
	s, m := scrubbed(t, vfs.NewMem(), 600)
	defer s.Close()
	b, err := upload(4000).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.get(be('t', 0))
	if err != nil {
		t.Fatal(err)
	}
	leaf := tree.LeafHash(b)
	copy(v[32*5:], leaf[:])
	if err := errors.Join(s.db.Set(be('t', 0), v, pebble.Sync), s.db.Set(be('z', 5), b, pebble.Sync)); err != nil {
		t.Fatal(err)
	}
	r, err := s.Scrub(t.Context(), ScrubOptions{})
	if err != nil || len(r.Damage) != 2 || r.Damage[0].What != "tile" || r.Damage[1].What != "entries" || r.Damage[1].End != 256 {
		t.Errorf("%+v, %v (%d entries)", r, err, len(m.entries))
	}
}

// A part is scrubbed tile by tile, and only that.
func TestScrubOfAPart(t *testing.T) {
	s, _ := scrubbed(t, vfs.NewMem(), 1500)
	defer s.Close()
	for _, i := range []uint64{100, 600, 1400} {
		if err := s.db.Delete(be('z', i), pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		start, end uint64
		damaged    []uint64
		entries    uint64
	}{{0, 1, []uint64{100}, 256}, {256, 512, nil, 256}, {300, 601, []uint64{600}, 512}, {1279, 0, []uint64{1400}, 476}, {1280, 5000, []uint64{1400}, 220}, {2000, 0, nil, 0}} {
		r, err := s.Scrub(t.Context(), ScrubOptions{Start: c.start, End: c.end, Workers: 2})
		var damaged []uint64
		if err == nil {
			for _, d := range r.Damage {
				damaged = append(damaged, d.Start)
			}
		}
		if err != nil || !slices.Equal(damaged, c.damaged) || r.Entries != c.entries {
			t.Errorf("from %d to %d: %+v, %v", c.start, c.end, r, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Scrub(ctx, ScrubOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A snapshot of a store that is written to is, at any time, a whole store.
func TestSnapshotsWhileAppending(t *testing.T) {
	dir := t.TempDir()
	if err := Create(filepath.Join(dir, "db"), Options{}, State{Root: tree.EmptyRoot, Note: []byte("empty")}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(filepath.Join(dir, "db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := &model{last: map[string][]uint64{}}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; {
			select {
			case <-stop:
				return
			default:
			}
			var items []Item
			for range 50 {
				items = append(items, m.add(t, upload(i)))
				i++
			}
			commit(t, s, items)
		}
	}()
	var last uint64
	for i := range 8 {
		to := filepath.Join(dir, fmt.Sprint("snapshot", i))
		before := s.Head().Size
		if err := s.Snapshot(to); err != nil {
			t.Fatal(err)
		}
		if err := s.Snapshot(to); !errors.Is(err, os.ErrExist) {
			t.Errorf("over another: %v", err)
		}
		c, err := OpenCopy(to, Options{})
		if err != nil {
			t.Fatal(err)
		}
		r, state, err := c.Verify(t.Context(), ScrubOptions{})
		if err != nil || state.Size < before || state.Size%50 != 0 || r.Entries != state.Size {
			t.Errorf("%+v, %+v, %v; the head was at %d", r, state, err, before)
		}
		last = state.Size
		if r, err := s.Scrub(t.Context(), ScrubOptions{}); err != nil || len(r.Damage) > 0 {
			t.Errorf("a scrub while appending: %+v, %v", r, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-stopped
	c, err := OpenCopy(filepath.Join(dir, "snapshot7"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if root, err := c.Root(last); err != nil || root != m.root(t, last) {
		t.Errorf("%v, %v", root, err)
	}
	entries, err := c.Entries(0, last)
	if err != nil || !slices.EqualFunc(entries, m.entries[:last], bytes.Equal) {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

// Reading a copy changes nothing in its folder, not even after a crash whose WAL is to be replayed.
func TestACopyIsNotChanged(t *testing.T) {
	dir := t.TempDir()
	if err := Create(dir, Options{}, State{Root: tree.EmptyRoot, Note: []byte("empty")}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := &model{last: map[string][]uint64{}}
	commit(t, s, []Item{m.add(t, upload(1)), m.add(t, upload(2))})
	crashed := filepath.Join(t.TempDir(), "crashed")
	if err := os.CopyFS(crashed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	list := func() (out []string) {
		entries, err := os.ReadDir(filepath.Join(crashed, "log"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			b, err := os.ReadFile(filepath.Join(crashed, "log", e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, e.Name()+" "+tree.LeafHash(b).String())
		}
		return out
	}
	before := list()
	c, err := OpenCopy(crashed, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, state, err := c.Verify(t.Context(), ScrubOptions{})
	if err := errors.Join(err, c.Close()); err != nil || state.Size != 2 {
		t.Errorf("size %d, %v", state.Size, err)
	}
	if after := list(); !slices.Equal(before, after) {
		t.Errorf("before %q\nafter %q", before, after)
	}
	if _, err := OpenCopy(filepath.Join(dir, "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// Verify says of a copy whose tree is not the signed one what disagrees, as far as that can be told.
func TestVerifyOfADamagedCopy(t *testing.T) {
	for name, c := range map[string]struct {
		key   []byte
		value []byte
		found string
	}{
		"another tile":      {be('t', 1), make([]byte, 256*32), "entries of entry 256"},
		"a missing tile":    {be('t', 1), nil, "tile of entries 256 to 511: missing"},
		"a missing entry":   {be('z', 3), nil, "entries of entry 3: missing"},
		"a missing v key":   {be('v', 509), nil, ""},
		"a wrong entry":     {be('z', 3), []byte("x"), "entries of entry 3: "},
		"a wrong key tile":  {be('k', 1), make([]byte, 256*8), "keys of entry 256"},
		"no state":          {[]byte{'c'}, nil, ""},
		"an entry too many": {be('z', 700), []byte("x"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			s, _ := scrubbed(t, fs, 600)
			var err error
			if c.value == nil {
				err = s.db.Delete(c.key, pebble.Sync)
			} else {
				err = s.db.Set(c.key, c.value, pebble.Sync)
			}
			if err := errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
			o, err := OpenCopy("log", Options{FS: fs})
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()
			r, _, err := o.Verify(t.Context(), ScrubOptions{})
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%v", err)
			}
			if c.found != "" && (len(r.Damage) == 0 || !strings.HasPrefix(r.Damage[0].String(), c.found)) {
				t.Errorf("found %v, want %q", r.Damage, c.found)
			}
		})
	}
}
