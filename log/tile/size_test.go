package tile

import (
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/pauselog/pauselog/log/tree"
)

// ofTlog returns what golang.org/x/mod/sumdb/tlog says a log adds, as tiles of
// ours: it lists hash tiles only, and bundles go with level 0.
func ofTlog(oldSize, newSize uint64) []Tile {
	var bundles, tiles []Tile
	for _, x := range tlog.NewTiles(Height, int64(oldSize), int64(newSize)) {
		tiles = append(tiles, Tile{x.L, uint64(x.N), x.W})
		if x.L == 0 {
			bundles = append(bundles, Tile{Bundle, uint64(x.N), x.W})
		}
	}
	return append(bundles, tiles...)
}

// The examples of C2SP tlog-tiles, "Partial Tiles". TT-4.
func TestAllOfTheSpecificationsSizes(t *testing.T) {
	for _, tt := range []struct {
		size  uint64
		count int // of hash tiles
		edge  []string
	}{
		{0, 0, nil},
		{1, 1, []string{"tile/0/000.p/1"}},
		{255, 1, []string{"tile/0/000.p/255"}},
		{256, 2, []string{"tile/0/000", "tile/1/000.p/1"}},
		{257, 3, []string{"tile/0/001.p/1", "tile/1/000.p/1"}},
		{300, 3, []string{"tile/0/001.p/44", "tile/1/000.p/1"}},
		{65536, 256 + 1 + 1, []string{"tile/0/255", "tile/1/000", "tile/2/000.p/1"}},
		{70000, 274 + 2 + 1, []string{"tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"}},
	} {
		count := 0
		last := map[int]Tile{}
		for x := range All(tt.size) {
			last[x.Level] = x
			if x.Level != Bundle {
				count++
			}
		}
		if count != tt.count {
			t.Errorf("size %d has %d tiles, want %d", tt.size, count, tt.count)
		}
		var edge []string
		for l := 0; l < len(last)-1; l++ {
			edge = append(edge, last[l].Path())
		}
		if !slices.Equal(edge, tt.edge) {
			t.Errorf("size %d ends in %v, want %v", tt.size, edge, tt.edge)
		}
	}
}

func TestAddedExhaustive(t *testing.T) {
	for newSize := range uint64(600) {
		for oldSize := range newSize + 1 {
			got, want := slices.Collect(Added(oldSize, newSize)), ofTlog(oldSize, newSize)
			if !slices.Equal(got, want) {
				t.Fatalf("added from %d to %d: %v, tlog says %v", oldSize, newSize, got, want)
			}
		}
	}
}

func TestAddedAtAnySize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		newSize := drawUint(t, 40, "new size")
		oldSize := newSize - min(newSize, drawUint(t, 20, "added"))
		got, want := slices.Collect(Added(oldSize, newSize)), ofTlog(oldSize, newSize)
		if !slices.Equal(got, want) {
			t.Fatalf("added from %d to %d: %v, tlog says %v", oldSize, newSize, got, want)
		}
		for _, x := range got {
			if x.InTree(oldSize) || !x.InTree(newSize) {
				t.Fatalf("added from %d to %d: %v", oldSize, newSize, x)
			}
		}
	})
}

func TestAddedStops(t *testing.T) {
	for range Added(1000, 70000) {
		break // must not call yield again: the runtime would panic
	}
	for _, sizes := range [][2]uint64{{5, 5}, {300, 256}, {0, 0}, {0, tree.MaxSize + 1}} {
		for x := range Added(sizes[0], sizes[1]) {
			t.Fatalf("added from %d to %d: %v", sizes[0], sizes[1], x)
		}
	}
}

// A tree has exactly the tiles that it or a smaller tree lists. TT-5.
func TestInTreeExhaustive(t *testing.T) {
	listed := map[Tile]bool{}
	for size := range uint64(600) {
		for x := range All(size) {
			listed[x] = true
		}
		for level := Bundle; level <= 2; level++ {
			for n := range uint64(4) {
				for w := 1; w <= Width; w++ {
					x := Tile{level, n, w}
					if x.InTree(size) != listed[x] {
						t.Fatalf("%v in a tree of size %d: %v", x, size, x.InTree(size))
					}
				}
			}
		}
	}
}

func TestAtExhaustive(t *testing.T) {
	for size := range uint64(600) {
		listed := map[[2]uint64]Tile{}
		for x := range All(size) {
			listed[[2]uint64{uint64(x.Level), x.N}] = x
		}
		for level := Bundle; level <= MaxLevel; level++ {
			for n := range uint64(4) {
				want, wantOK := listed[[2]uint64{uint64(level), n}]
				if got, ok := At(level, n, size); got != want || ok != wantOK {
					t.Fatalf("level %d number %d of size %d = %v, %v, want %v, %v", level, n, size, got, ok, want, wantOK)
				}
			}
		}
	}
}

func TestAtTheLargestSize(t *testing.T) {
	const size = tree.MaxSize
	for _, tt := range []struct {
		level int
		n     uint64
		width int // 0 if there is none
	}{
		{Bundle, 1<<55 - 1, 255},
		{0, 1<<55 - 2, 256},
		{0, 1<<55 - 1, 255},
		{0, 1 << 55, 0},
		{0, 1 << 56, 0}, // times 256 is 2^64
		{0, tree.MaxSize, 0},
		{0, tree.MaxSize + 1, 0},
		{1, 1<<47 - 1, 255},
		{7, 0, 127},
		{7, 1, 0},
		{8, 0, 0},
		{MaxLevel, 0, 0},
		{MaxLevel + 1, 0, 0},
		{-2, 0, 0},
	} {
		got, ok := At(tt.level, tt.n, size)
		if ok != (tt.width > 0) || got.Width != tt.width {
			t.Errorf("level %d number %d = %v, %v, want width %d", tt.level, tt.n, got, ok, tt.width)
		}
		if ok && !got.InTree(size) {
			t.Errorf("%v is not in the tree that has it", got)
		}
	}
	if got, ok := At(0, 0, size+1); ok {
		t.Errorf("a tree of 2^63 leaves has %v", got)
	}
	if (Tile{0, 0, 1}).InTree(size + 1) {
		t.Error("a tree of 2^63 leaves has a tile")
	}
}

// The tile that holds a node is the one that tlog names, and only as wide as
// the tree.
func TestLocateAtAnySize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := drawUint(t, 40, "size")
		level := rapid.UintRange(0, 40).Filter(func(l uint) bool { return size>>l > 0 }).Draw(t, "level")
		index := drawUint(t, 63, "index") % (size >> level)
		got, first, n, err := locate(level, index, size)
		if err != nil {
			t.Fatal(err)
		}
		want := tlog.TileForIndex(Height, tlog.StoredHashIndex(int(level), int64(index)))
		if got.Level != want.L || got.N != uint64(want.N) || first+n != want.W || first+n > got.Width {
			t.Fatalf("node %d at level %d: hashes %d to %d of %v, tlog says the end of %v", index, level, first, first+n, got, want)
		}
		if implied, ok := At(got.Level, got.N, size); !ok || implied != got {
			t.Fatalf("a tree of size %d has %v, not %v", size, implied, got)
		}
	})
}
