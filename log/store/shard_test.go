package store

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/log/entry"
)

type listed struct {
	path  string
	index uint64
}

func (s *Store) listed(t *testing.T, shard byte, size uint64, newest int) (out []listed) {
	t.Helper()
	if err := s.Listed(shard, size, newest, func(path []byte, index uint64) {
		out = append(out, listed{string(path), index})
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// Every shard at every kind of size is what its definition says, and an index file's many entries do not get in
// the way of the paths behind it.
func TestListed(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	fs := vfs.NewMem()
	create(t, fs)
	s := openStore(t, fs)
	defer func() { s.Close() }()
	m := &model{last: map[string][]uint64{}}
	var entries []*entry.Entry
	var items []Item
	for n := range 3000 {
		e := upload(rnd.IntN(1500))
		switch n % 5 {
		case 0:
			e = &entry.Entry{Kind: entry.Index, Path: entry.IndexPaths[rnd.IntN(len(entry.IndexPaths))], SHA256: e.SHA256, Time: entry.Time(n)}
		case 1:
			e.Kind, e.Size = entry.Delete, 0
		case 2:
			e.Kind, e.Size, e.By, e.Seen, e.Other = entry.Conflict, 0, "", "", entry.Digest{1}
		case 3:
			e.Kind, e.Size, e.By, e.Seen, e.Index = entry.Void, 0, "", "", 7
		}
		entries = append(entries, e)
		items = append(items, m.add(t, e))
	}
	commit(t, s, items)
	s.WaitIndexed(t.Context(), 3000)

	const newest = 40
	for _, size := range []uint64{0, 1, 2, 255, 1000, 2999, 3000} {
		want := map[byte][]listed{}
		snapshots := map[string]int{}
		for i := int(size) - 1; i >= 0; i-- {
			e := entries[i]
			if snapshots[e.Path]++; e.Kind == entry.Conflict || e.Kind == entry.Index && snapshots[e.Path] > newest {
				continue
			}
			shard := sha256.Sum256([]byte(e.Path))[0]
			want[shard] = append(want[shard], listed{e.Path, uint64(i)})
		}
		for shard := range 256 {
			w := want[byte(shard)]
			slices.SortFunc(w, func(a, b listed) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.index, b.index)) })
			if got := s.listed(t, byte(shard), size, newest); !slices.Equal(got, w) {
				t.Errorf("shard %02x at size %d: %v, want %v", shard, size, got, w)
			}
		}
	}
}

func TestListedFindsDamage(t *testing.T) {
	fs := vfs.NewMem()
	create(t, fs)
	s := openStore(t, fs)
	defer s.Close()
	if err := s.second.Set([]byte("p\x07no end"), nil, pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	for shard, bad := range map[byte]bool{6: false, 7: true, 8: false, 255: false} {
		if err := s.Listed(shard, 1, 1, func(path []byte, _ uint64) { t.Errorf("it lists %q", path) }); (err != nil) != bad {
			t.Errorf("shard %d: %v", shard, err)
		}
	}
}

// What the paths cost on disk is about what the package says: no more than their bytes.
func TestTheSizeOfTheLookupIndex(t *testing.T) {
	fs := vfs.NewMem()
	create(t, fs)
	s := openStore(t, fs)
	defer s.Close()
	m := &model{last: map[string][]uint64{}}
	const n = 20000
	bytes := 0
	var items []Item
	for i := range n {
		e := upload(i)
		e.Path = fmt.Sprintf("authors/id/%c/%c%c/%c%cAUTHOR/Dist%d-Name-%d.%02d.tar.gz", 'A'+i%26, 'A'+i%26, 'A'+i/26%26, 'A'+i%26, 'A'+i/26%26, i/40, i%9, i%100)
		bytes += len(e.Path)
		items = append(items, m.add(t, e))
	}
	commit(t, s, items)
	s.WaitIndexed(t.Context(), n)
	if err := s.second.Flush(); err != nil {
		t.Fatal(err)
	}
	paths, err := s.second.EstimateDiskUsage([]byte{'p'}, []byte{'q'})
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.second.EstimateDiskUsage([]byte{0}, []byte{255})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes for %d bytes of paths; %d with all lookups", paths, bytes, all)
	if paths == 0 || paths > uint64(bytes) {
		t.Errorf("%d bytes on disk for %d bytes of paths", paths, bytes)
	}
}
