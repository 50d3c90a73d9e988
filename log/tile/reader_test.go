package tile

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/pauselog/pauselog/log/tree"
)

// Every inclusion proof of every tree up to 300 leaves is the one that tlog
// makes, and verifies.
func TestInclusionExhaustive(t *testing.T) {
	m := grow(300)
	stored := m.stored(t)
	for size := range uint64(300 + 1) {
		r := m.reader(t, size)
		root, err := r.Root()
		if err != nil {
			t.Fatal(err)
		}
		want, err := tlog.TreeHash(int64(size), stored)
		if err != nil || root != tree.Hash(want) {
			t.Fatalf("root of size %d = %v, tlog says %v, %v", size, root, want, err)
		}
		for index := range size {
			p, err := r.Inclusion(index)
			if err != nil {
				t.Fatal(err)
			}
			if err := tree.VerifyInclusion(index, size, m.levels[0][index], p, root); err != nil {
				t.Fatal(err)
			}
			want, err := tlog.ProveRecord(int64(size), int64(index), stored)
			if err != nil || !slices.Equal(p, convert(want)) {
				t.Fatalf("inclusion of %d in %d = %v, tlog says %v, %v", index, size, p, want, err)
			}
		}
	}
}

func TestConsistencyExhaustive(t *testing.T) {
	m := grow(300)
	stored := m.stored(t)
	roots := make([]tree.Hash, 300+1)
	for size := range uint64(300 + 1) {
		r := m.reader(t, size)
		var err error
		if roots[size], err = r.Root(); err != nil {
			t.Fatal(err)
		}
		for old := range size + 1 {
			p, err := r.Consistency(old)
			if err != nil {
				t.Fatal(err)
			}
			if err := tree.VerifyConsistency(old, size, p, roots[old], roots[size]); err != nil {
				t.Fatal(err)
			}
			if old == 0 {
				continue // which tlog does not prove
			}
			want, err := tlog.ProveTree(int64(size), int64(old), stored)
			if err != nil || !slices.Equal(p, convert(want)) {
				t.Fatalf("consistency of %d and %d = %v, tlog says %v, %v", old, size, p, want, err)
			}
		}
	}
}

// drawSparse draws a tree whose size has at most that many bits, an index and an
// older size in it. Its leaves are ordinary but for those around the three.
func drawSparse(t *rapid.T, bits int) (s *sparse, size, index, old uint64) {
	size = drawUint(t, bits, "size")
	index = drawUint(t, 63, "index") % size
	old = drawUint(t, 63, "old size")%size + 1
	special := []uint64{0, index, index ^ 1, index ^ 256, old - 1, old, size - 1}
	special = append(special, rapid.SliceOfN(rapid.Uint64Range(0, size-1), 0, 20).Draw(t, "special")...)
	return newSparse(special...), size, index, old
}

func TestProofsAtAnySize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, size, index, old := drawSparse(t, 63)
		r := &Reader{Size: size, Fetch: s.fetch}
		root, err := r.Root()
		if err != nil || root != s.root(0, size) {
			t.Fatalf("root of size %d = %v, %v, want %v", size, root, err, s.root(0, size))
		}
		p, err := r.Inclusion(index)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.VerifyInclusion(index, size, s.leaf(index), p, root); err != nil {
			t.Fatal(err)
		}
		p, err = r.Consistency(old)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.VerifyConsistency(old, size, p, s.root(0, old), root); err != nil {
			t.Fatal(err)
		}
	})
}

// tlog numbers all nodes of a tree in one sequence of 63 bits, so the comparison
// ends below the sizes of the test above.
func TestProofsAreThoseOfTlog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, size, index, old := drawSparse(t, 40)
		r := &Reader{Size: size, Fetch: s.fetch}
		p, err := r.Inclusion(index)
		if err != nil {
			t.Fatal(err)
		}
		inclusion, err := tlog.ProveRecord(int64(size), int64(index), s)
		if err != nil || !slices.Equal(p, convert(inclusion)) {
			t.Fatalf("inclusion of %d in %d = %v, tlog says %v, %v", index, size, p, inclusion, err)
		}
		p, err = r.Consistency(old)
		if err != nil {
			t.Fatal(err)
		}
		consistency, err := tlog.ProveTree(int64(size), int64(old), s)
		if err != nil || !slices.Equal(p, convert(consistency)) {
			t.Fatalf("consistency of %d and %d = %v, tlog says %v, %v", old, size, p, consistency, err)
		}
	})
}

func TestNodeAtAnySize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, size, index, _ := drawSparse(t, 63)
		level := rapid.UintRange(0, 62).Filter(func(l uint) bool { return size>>l > 0 }).Draw(t, "level")
		index = min(index>>level, size>>level-1)
		r := &Reader{Size: size, Fetch: s.fetch}
		if got, err := r.Node(level, index); err != nil || got != s.node(level, index) {
			t.Fatalf("node %d at level %d = %v, %v, want %v", index, level, got, err, s.node(level, index))
		}
		if got, err := r.Node(level, size>>level); err == nil {
			t.Fatalf("node %d at level %d, which %d leaves do not complete = %v", size>>level, level, size, got)
		}
	})
}

// logOfTiles gives tlog's own reader the files of a memory: it checks each
// against the root before it uses a hash of it.
type logOfTiles struct {
	t *testing.T
	m *memory
}

func (logOfTiles) Height() int                     { return Height }
func (logOfTiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (l logOfTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, x := range tiles {
		out[i] = l.m.content(l.t, Tile{x.L, uint64(x.N), x.W})
	}
	return out, nil
}

func TestTlogReadsTheTiles(t *testing.T) {
	m := grow(70000)
	for _, size := range []int64{1, 255, 256, 257, 300, 511, 512, 513, 65535, 65536, 65537, 70000} {
		r := m.reader(t, uint64(size))
		root, err := r.Root()
		if err != nil {
			t.Fatal(err)
		}
		theirs := tlog.TileHashReader(tlog.Tree{N: size, Hash: tlog.Hash(root)}, logOfTiles{t, m})
		for _, index := range []int64{0, size / 3, size / 2, size - 1} {
			want, err := tlog.ProveRecord(size, index, theirs)
			if err != nil {
				t.Fatal(err)
			}
			if p, err := r.Inclusion(uint64(index)); err != nil || !slices.Equal(p, convert(want)) {
				t.Errorf("inclusion of %d in %d = %v, %v, tlog says %v", index, size, p, err, want)
			}
		}
	}
}

// One call fetches no tile twice, and few: a proof touches a path and an edge.
func TestFetchesEachTileOnce(t *testing.T) {
	m := grow(70000)
	for _, tt := range []struct {
		what string
		call func(*Reader) error
		most int
	}{
		{"root", func(r *Reader) error { _, err := r.Root(); return err }, 3},
		{"inclusion", func(r *Reader) error { _, err := r.Inclusion(300); return err }, 5},
		{"consistency", func(r *Reader) error { _, err := r.Consistency(65537); return err }, 5},
		{"consistency from 0", func(r *Reader) error { _, err := r.Consistency(0); return err }, 0},
		{"consistency with itself", func(r *Reader) error { _, err := r.Consistency(70000); return err }, 0},
	} {
		r := m.reader(t, 70000)
		fetch, fetched := r.Fetch, map[Tile]bool{}
		r.Fetch = func(x Tile) ([]tree.Hash, error) {
			if fetched[x] {
				t.Errorf("%s: %v fetched twice", tt.what, x)
			}
			fetched[x] = true
			return fetch(x)
		}
		if err := tt.call(r); err != nil || len(fetched) > tt.most {
			t.Errorf("%s: fetched %v, %v, want at most %d tiles", tt.what, fetched, err, tt.most)
		}
	}
}

// A Reader passes wrong hashes on; the caller's verification is what refuses
// them.
func TestWrongTilesDoNotVerify(t *testing.T) {
	const size, index = 300, 290
	m := grow(size)
	r := m.reader(t, size)
	root, err := r.Root()
	if err != nil {
		t.Fatal(err)
	}
	fetch := r.Fetch
	for _, bad := range []Tile{{0, 1, 44}, {1, 0, 1}} {
		r.Fetch = func(x Tile) ([]tree.Hash, error) {
			hashes, err := fetch(x)
			hashes = slices.Clone(hashes)
			if x == bad {
				hashes[0][0] ^= 1
			}
			return hashes, err
		}
		p, err := r.Inclusion(index)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.VerifyInclusion(index, size, m.levels[0][index], p, root); !errors.Is(err, tree.ErrProof) {
			t.Errorf("proof from a wrong %v: %v, want tree.ErrProof", bad, err)
		}
		if got, err := r.Root(); err != nil || got == root {
			t.Errorf("root from a wrong %v = %v, %v", bad, got, err)
		}
	}
}

func TestFetchFails(t *testing.T) {
	gone := errors.New("gone")
	m := grow(300)
	for _, tt := range []struct {
		name  string
		fetch func(Tile) ([]tree.Hash, error)
		want  error
	}{
		{"an error", func(Tile) ([]tree.Hash, error) { return nil, gone }, gone},
		{"nothing", func(Tile) ([]tree.Hash, error) { return nil, nil }, ErrMalformed},
		{"a hash too few", func(x Tile) ([]tree.Hash, error) { return m.hashes(x)[:x.Width-1], nil }, ErrMalformed},
		{"a hash too many", func(x Tile) ([]tree.Hash, error) { return make([]tree.Hash, x.Width+1), nil }, ErrMalformed},
	} {
		r := &Reader{Size: 300, Fetch: tt.fetch}
		_, err1 := r.Inclusion(42)
		_, err2 := r.Consistency(256)
		_, err3 := r.Root()
		_, err4 := r.Node(0, 299)
		for i, err := range []error{err1, err2, err3, err4} {
			if !errors.Is(err, tt.want) {
				t.Errorf("%s: call %d: %v, want %v", tt.name, i, err, tt.want)
			}
		}
	}
}

// What a tree of the size does not have is refused before anything is fetched.
func TestReaderRefuses(t *testing.T) {
	fetch := func(x Tile) ([]tree.Hash, error) {
		t.Errorf("fetched %v", x)
		return nil, nil
	}
	for _, tt := range []struct {
		name string
		call func() error
	}{
		{"leaf of the empty tree", func() error { _, err := (&Reader{0, fetch}).Inclusion(0); return err }},
		{"index of the size", func() error { _, err := (&Reader{8, fetch}).Inclusion(8); return err }},
		{"consistency backwards", func() error { _, err := (&Reader{8, fetch}).Consistency(9); return err }},
		{"node past the edge", func() error { _, err := (&Reader{8, fetch}).Node(2, 2); return err }},
		{"node of an incomplete subtree", func() error { _, err := (&Reader{7, fetch}).Node(3, 0); return err }},
		{"node above the tree", func() error { _, err := (&Reader{8, fetch}).Node(64, 0); return err }},
		{"inclusion at a size of 2^63", func() error { _, err := (&Reader{1 << 63, fetch}).Inclusion(0); return err }},
		{"consistency at a size of 2^63", func() error { _, err := (&Reader{1 << 63, fetch}).Consistency(1); return err }},
		{"consistency at a size of 2^64-1", func() error { _, err := (&Reader{1<<64 - 1, fetch}).Consistency(5); return err }},
		{"consistency with itself at a size of 2^63", func() error { _, err := (&Reader{1 << 63, fetch}).Consistency(1 << 63); return err }},
		{"root at a size of 2^63", func() error { _, err := (&Reader{1 << 63, fetch}).Root(); return err }},
		{"node at a size of 2^63", func() error { _, err := (&Reader{1 << 63, fetch}).Node(0, 0); return err }},
	} {
		if err := tt.call(); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
	if root, err := (&Reader{0, fetch}).Root(); err != nil || root != tree.EmptyRoot {
		t.Errorf("root of the empty tree = %v, %v", root, err)
	}
}
