package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/log/tree"
)

// grown returns an open store of n uploads, all of it in files, and its model.
func grown(t testing.TB, n int, o Options) (*Store, *model) {
	t.Helper()
	o.FS = vfs.NewMem()
	create(t, o.FS)
	s, err := Open("log", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	m := &model{last: map[string][]uint64{}}
	var items []Item
	for i := range n {
		items = append(items, m.add(t, upload(i)))
	}
	commit(t, s, items)
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	return s, m
}

// reads is every read there is of what one entry has to do with. Each is called with an index and a size, and
// says what is wrong in an answer that is given nonetheless.
var reads = map[string]func(s *Store, m *model, index, size uint64) (wrong string, err error){
	"Entry": func(s *Store, m *model, index, size uint64) (string, error) {
		b, err := s.Entry(index, size)
		return differ(string(b), string(m.entries[index])), err
	},
	"Entries": func(s *Store, m *model, index, size uint64) (string, error) {
		start := index &^ 255
		end := min(size, start+256)
		entries, err := s.Entries(start, end, size)
		return differ(string(bytes.Join(entries, nil)), string(bytes.Join(m.entries[start:end], nil))), err
	},
	"LeafHashes": func(s *Store, m *model, index, size uint64) (string, error) {
		hashes, err := s.LeafHashes(index/256, size)
		for i := range hashes {
			if hashes[i] != tree.LeafHash(m.entries[index&^255+uint64(i)]) {
				return "a leaf hash", err
			}
		}
		return "", err
	},
	"Node": func(s *Store, m *model, index, size uint64) (string, error) {
		h, err := s.Node(2, index/4, size)
		return differ(h, tree.Hash(m.hashes[tlog.StoredHashIndex(2, int64(index/4))])), err
	},
	"Root": func(s *Store, m *model, index, size uint64) (string, error) {
		h, err := s.Root(index + 1)
		want, _ := tlog.TreeHash(int64(index+1), m)
		return differ(h, tree.Hash(want)), err
	},
	"Inclusion": func(s *Store, m *model, index, size uint64) (string, error) {
		hashes, err := s.Inclusion(index^1, size)
		want, _ := tlog.ProveRecord(int64(size), int64(index^1), m)
		return differHashes(hashes, want), err
	},
	"Proven": func(s *Store, m *model, index, size uint64) (string, error) {
		root, _ := tlog.TreeHash(int64(size), m)
		entry, hashes, err := s.Proven(index, size, tree.Hash(root))
		want, _ := tlog.ProveRecord(int64(size), int64(index), m)
		return differ(entry, string(m.entries[index])) + differHashes(hashes, want), err
	},
	"Consistency": func(s *Store, m *model, index, size uint64) (string, error) {
		hashes, err := s.Consistency(index+1, size)
		want, _ := tlog.ProveTree(int64(size), int64(index+1), m)
		return differHashes(hashes, want), err
	},
	"Last": func(s *Store, m *model, index, size uint64) (string, error) {
		last, err := s.Last(upload(int(index)).Path, size)
		if err != nil {
			return "", err
		}
		if last == nil {
			return "it is not found", nil
		}
		b, _ := last.Entry.Marshal()
		return differ(string(b), string(m.entries[index])), err
	},
}

func differ[T comparable](got, want T) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("got %v, want %v", got, want)
}

func differHashes(got []tree.Hash, want []tlog.Hash) string {
	if slices.EqualFunc(got, want, func(a tree.Hash, b tlog.Hash) bool { return a == tree.Hash(b) }) {
		return ""
	}
	return fmt.Sprintf("got the hashes %v, want %v", got, want)
}

// Whatever becomes of an entry or a tile, on disk or in Pebble's memory, nothing false is read: with an empty
// read cache it is refused, and with a full one it is refused or what was checked before is read. What it has nothing to do
// with is read as ever.
func TestDamageIsNeverRead(t *testing.T) {
	const index, size = 300, 700
	entryKey, tileKey := numbered(nil, 'z', index), numbered(nil, 't', index/256)
	const leaf = (index % 256) * tree.HashSize
	// inMemory changes a value where Pebble's cache holds it, which may drop it at any time for what is on disk.
	inMemory := func(key []byte, at int, sound byte) func(*Store) error {
		return func(s *Store) error {
			v, closer, err := s.db.Get(key)
			if err != nil {
				return err
			}
			v[at] = sound ^ 1
			return closer.Close()
		}
	}
	var inEntry, inTile byte
	{
		s, _ := grown(t, size+20, Options{})
		inEntry, inTile = mustGet(s, entryKey)[20], mustGet(s, tileKey)[leaf]
		s.Close()
	}
	swap := func(a, b []byte) func(*Store) error {
		return func(s *Store) error {
			x, err1 := s.get(a)
			y, err2 := s.get(b)
			return errors.Join(err1, err2, s.db.Set(a, y, nil), s.db.Set(b, x, nil))
		}
	}
	ofEntry := []string{"Entry", "Entries", "Proven", "Last"}
	ofLeaf := []string{"Entry", "Entries", "LeafHashes", "Node", "Root", "Inclusion", "Proven", "Consistency", "Last"}
	for _, tt := range []struct {
		name    string
		damage  func(*Store) error
		refused []string // by a store that has nothing in its cache
	}{
		{"a byte of the entry on disk", func(s *Store) error { return flipByte(s.db, entryKey, 20) }, ofEntry},
		{"its last byte", func(s *Store) error { return flipByte(s.db, entryKey, len(mustGet(s, entryKey))-1) }, ofEntry},
		{"a byte of the entry in Pebble's cache", inMemory(entryKey, 20, inEntry), ofEntry},
		{"the entry is gone", func(s *Store) error { return s.db.Delete(entryKey, nil) }, ofEntry},
		{"the entry is another one", swap(entryKey, numbered(nil, 'z', index+1)), ofEntry},
		{"the entry is empty", func(s *Store) error { return s.db.Set(entryKey, nil, nil) }, ofEntry},
		{"a byte of the leaf hash on disk", func(s *Store) error { return flipByte(s.db, tileKey, leaf) }, ofLeaf},
		{"its last byte", func(s *Store) error { return flipByte(s.db, tileKey, leaf+31) }, ofLeaf},
		{"a byte of the leaf hash in Pebble's cache", inMemory(tileKey, leaf, inTile), ofLeaf},
		{"a byte of the neighbour's leaf hash", func(s *Store) error { return flipByte(s.db, tileKey, leaf+32) }, ofLeaf},
		{"the tile is gone", func(s *Store) error { return s.db.Delete(tileKey, nil) }, ofLeaf},
		{"the tile is another one", swap(tileKey, numbered(nil, 't', 0)), ofLeaf},
		{"the tile is short", func(s *Store) error { return s.db.Set(tileKey, mustGet(s, tileKey)[:255*32], nil) }, ofLeaf},
		{"an entry and its leaf hash agree on something else", func(s *Store) error {
			forged := []byte(strings.Replace(string(mustGet(s, entryKey)), "Dist", "Evil", 1))
			tile, h := mustGet(s, tileKey), tree.LeafHash(forged)
			copy(tile[leaf:], h[:])
			return errors.Join(s.db.Set(entryKey, forged, nil), s.db.Set(tileKey, tile, nil))
		}, ofLeaf},
	} {
		for _, warm := range []bool{false, true} {
			s, m := grown(t, size+20, Options{})
			for name, read := range reads {
				if wrong, err := read(s, m, index, size); wrong != "" || err != nil {
					t.Fatalf("%s of a sound store: %v %s", name, err, wrong)
				}
			}
			if err := tt.damage(s); err != nil {
				t.Fatal(err)
			}
			for name, read := range reads {
				if !warm {
					s.cache = newReadCache(24<<20, size)
				}
				wrong, err := read(s, m, index, size)
				for range 20 {
					if err != nil || wrong != "" || warm || !strings.HasSuffix(tt.name, "in Pebble's cache") || !slices.Contains(tt.refused, name) {
						break
					}
					// It was dropped in between.
					if err := tt.damage(s); err != nil {
						t.Fatal(err)
					}
					s.cache = newReadCache(24<<20, size)
					wrong, err = read(s, m, index, size)
				}
				switch {
				case err == nil && wrong != "":
					t.Errorf("%s, warm %v: %s reads something false: %s", tt.name, warm, name, wrong)
				case err != nil && !errors.Is(err, ErrDamaged):
					t.Errorf("%s, warm %v: %s: %v, want ErrDamaged", tt.name, warm, name, err)
				case err == nil && !warm && slices.Contains(tt.refused, name):
					t.Errorf("%s: %s is not refused", tt.name, name)
				}
				if wrong, err := read(s, m, 600, size); wrong != "" || err != nil {
					t.Errorf("%s, warm %v: %s of another entry: %v %s", tt.name, warm, name, err, wrong)
				}
			}
			s.Close()
		}
	}
}

func mustGet(s *Store, key []byte) []byte {
	v, err := s.get(key)
	if err != nil {
		panic(err)
	}
	return v
}

// A node that changed in memory is in no inclusion proof of a tree for which it was not seen before to lead
// to the root.
func TestInclusionFindsDamageInMemory(t *testing.T) {
	const size = 4000
	s, m := grown(t, size, Options{})
	root := m.root(t, size)
	tried := 0
	for level := range 8 {
		for _, index := range []uint64{0, 1000, 2047, 2048, 3839} {
			node := index>>(lowest+level) ^ 1 // the sibling on the way up
			if (node+1)<<(lowest+level) > size {
				continue
			}
			sound := s.memory.levels[level].get(node)
			damaged := sound
			damaged[3] ^= 4
			s.memory.levels[level].set(node, damaged)
			if _, hashes, err := s.Proven(index, size, root); !errors.Is(err, ErrDamaged) {
				t.Errorf("level %d, proof of %d: %v, %v", lowest+level, index, hashes, err)
			}
			s.memory.levels[level].set(node, sound)
			tried++
		}
	}
	if tried < 20 {
		t.Errorf("%d nodes were damaged", tried)
	}
	for index := range uint64(size) {
		if _, _, err := s.Proven(index, size, root); err != nil {
			t.Fatalf("sound again, proof of %d: %v", index, err)
		}
	}
}

// Proven is bound to the root that its caller knows, not to the store's own.
func TestProvenOfAnotherTree(t *testing.T) {
	s, m := grown(t, 600, Options{})
	for _, size := range []uint64{1, 256, 500, 600} {
		if _, _, err := s.Proven(0, size, m.root(t, size)); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
		if e, hashes, err := s.Proven(0, size, tree.Hash{1}); !errors.Is(err, tree.ErrProof) || e != "" || hashes != nil {
			t.Errorf("size %d, another root: %q, %v, %v, want ErrProof", size, e, hashes, err)
		}
	}
	for _, tt := range []struct{ index, size uint64 }{{600, 600}, {0, 601}, {0, 0}, {5, 5}} {
		if _, _, err := s.Proven(tt.index, tt.size, s.Head().Root); !errors.Is(err, ErrNotFound) {
			t.Errorf("entry %d in a tree of size %d: %v, want ErrNotFound", tt.index, tt.size, err)
		}
	}
}

// Proofs of random entries at random sizes are those of an independent implementation whatever is in the
// cache: nothing, all, or always something else.
func TestProofsWithAnyCache(t *testing.T) {
	for _, cache := range []int64{1, 20_000, 0} {
		s, m := grown(t, 5000, Options{ReadCache: cache})
		rnd := rand.New(rand.NewPCG(7, uint64(cache)))
		for range 3000 {
			size := 5000 - rnd.Uint64N(2)*rnd.Uint64N(4999)
			index := rnd.Uint64N(size)
			for _, name := range []string{"Proven", "Consistency", "Root"} {
				if wrong, err := reads[name](s, m, index, size); wrong != "" || err != nil {
					t.Fatalf("%d bytes of cache: %s(%d, %d): %v %s", cache, name, index, size, err, wrong)
				}
			}
		}
	}
}

// Readers prove at every size that they see while the log grows below them.
func TestProofsWhileTheLogGrows(t *testing.T) {
	s, m := grown(t, 10, Options{ReadCache: 50_000})
	var wg sync.WaitGroup
	done := make(chan struct{})
	for seed := range uint64(3) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 1))
			for {
				h := s.Head()
				index := rnd.Uint64N(h.Size)
				if rnd.IntN(2) == 0 {
					index = h.Size - 1 - rnd.Uint64N(min(h.Size, 40))
				}
				entry, hashes, err := s.Proven(index, h.Size, h.Root)
				if err == nil {
					err = tree.VerifyInclusion(index, h.Size, tree.LeafHash([]byte(entry)), hashes, h.Root)
				}
				if err == nil {
					var root tree.Hash
					if root, err = s.Root(index + 1); err == nil {
						if hashes, err = s.Consistency(index+1, h.Size); err == nil {
							err = tree.VerifyConsistency(index+1, h.Size, hashes, root, h.Root)
						}
					}
				}
				if err != nil {
					t.Errorf("entry %d in the tree of size %d: %v", index, h.Size, err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for n := 10; n < 3000; {
		var items []Item
		for range 1 + n%37 {
			items = append(items, m.add(t, upload(n)))
			n++
		}
		commit(t, s, items)
	}
	close(done)
	wg.Wait()
}

// Two numbers that share a place are never taken for each other, and one size not for another.
func TestMarks(t *testing.T) {
	m := new(marks)
	const same = uint64(len(m))
	for _, tt := range []struct{ n, size uint64 }{{0, 1}, {5, 1 << 39}, {5 + same, 1 << 20}, {5 + same*(1<<24-1), 1<<40 - 1}} {
		m.add(tt.n, tt.size)
		if !m.has(tt.n, tt.size) {
			t.Errorf("%d at %d is not there", tt.n, tt.size)
		}
		for _, other := range []struct{ n, size uint64 }{{tt.n + same, tt.size}, {tt.n + 1, tt.size}, {tt.n, tt.size + 1}, {tt.n, tt.size + 1<<40}, {tt.n + same<<24, tt.size}} {
			if m.has(other.n, other.size) {
				t.Errorf("%d at %d is taken for %d at %d", tt.n, tt.size, other.n, other.size)
			}
		}
	}
	// What does not fit is never marked.
	for _, tt := range []struct{ n, size uint64 }{{same << 24, 5}, {1, 1 << 40}} {
		m.add(tt.n, tt.size)
		if m.has(tt.n, tt.size) {
			t.Errorf("%d at %d is there", tt.n, tt.size)
		}
	}
}
