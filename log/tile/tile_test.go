package tile

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/pauselog/pauselog/log/tree"
)

func TestPath(t *testing.T) {
	for _, tt := range []struct {
		tile Tile
		path string
	}{
		{Tile{0, 0, 256}, "tile/0/000"},
		{Tile{0, 7, 256}, "tile/0/007"},
		{Tile{0, 67, 256}, "tile/0/067"},
		{Tile{0, 999, 256}, "tile/0/999"},
		{Tile{0, 1000, 256}, "tile/0/x001/000"},
		{Tile{0, 1000000, 256}, "tile/0/x001/x000/000"},
		{Tile{0, 1234067, 256}, "tile/0/x001/x234/067"},
		{Tile{Bundle, 1234067, 7}, "tile/entries/x001/x234/067.p/7"},
		{Tile{Bundle, 0, 256}, "tile/entries/000"},
		{Tile{0, 273, 112}, "tile/0/273.p/112"},
		{Tile{1, 1, 17}, "tile/1/001.p/17"},
		{Tile{2, 0, 1}, "tile/2/000.p/1"},
		{Tile{7, 0, 127}, "tile/7/000.p/127"},
		{Tile{0, 0, 255}, "tile/0/000.p/255"},
		// The grammar goes to level 63, though no tree does.
		{Tile{63, 5, 256}, "tile/63/005"},
		{Tile{Bundle, tree.MaxSize, 255}, "tile/entries/x009/x223/x372/x036/x854/x775/807.p/255"},
	} {
		if got := tt.tile.Path(); got != tt.path {
			t.Errorf("path of %#v = %s, want %s", tt.tile, got, tt.path)
		}
		if got, err := ParsePath(tt.path); err != nil || got != tt.tile {
			t.Errorf("ParsePath(%q) = %#v, %v, want %#v", tt.path, got, err, tt.tile)
		}
	}
}

// TT-14: whatever is not the one spelling of a tile is no tile.
func TestParsePathRefuses(t *testing.T) {
	for _, tt := range []struct{ name, path string }{
		{"empty", ""},
		{"leading slash", "/tile/0/000"},
		{"doubled slash", "tile//0/000"},
		{"no level", "tile/000"},
		{"no number", "tile/0"},
		{"empty number", "tile/0/"},
		{"other tree", "tiles/0/000"},
		{"upper case", "TILE/0/000"},
		{"the checkpoint", "checkpoint"},
		{"level with a leading zero", "tile/00/000"},
		{"level with a sign", "tile/+1/000"},
		{"negative level", "tile/-1/000"},
		{"level over 63", "tile/64/000"},
		{"level over 255", "tile/256/000"},
		{"level in hexadecimal", "tile/0x1/000"},
		{"the height as in Go's checksum database", "tile/8/0/000"},
		{"CT's name for entries", "tile/data/000"},
		{"number of one digit", "tile/0/0"},
		{"number of two digits", "tile/0/00"},
		{"number of four digits", "tile/0/0000"},
		{"number not minimal", "tile/0/x000/001"},
		{"number not minimal, twice", "tile/0/x000/x000/001"},
		{"ungrouped number", "tile/0/1000"},
		{"group without x", "tile/0/001/000"},
		{"last group with x", "tile/0/x001/x000"},
		{"only group with x", "tile/0/x001"},
		{"x twice", "tile/0/xx001/000"},
		{"short group", "tile/0/x01/000"},
		{"upper case x", "tile/0/X001/000"},
		{"empty group", "tile/0/x001//000"},
		{"number over 2^63-1", "tile/0/x009/x223/x372/x036/x854/x775/808"},
		{"number over 2^64-1", "tile/0/x018/x446/x744/x073/x709/x551/616"},
		{"letters for a number", "tile/0/abc"},
		{"digits of another script", "tile/0/٠٠٠"},
		{"width 0", "tile/0/000.p/0"},
		{"width 256", "tile/0/000.p/256"},
		{"width 257", "tile/0/000.p/257"},
		{"width with a leading zero", "tile/0/000.p/01"},
		{"width with a sign", "tile/0/000.p/+1"},
		{"no width", "tile/0/000.p/"},
		{"width without slash", "tile/0/000.p1"},
		{"only the suffix", "tile/0/.p/1"},
		{"two widths", "tile/0/000.p/1.p/1"},
		{"slash after the width", "tile/entries/000.p/44/"},
		{"slash after the number", "tile/entries/000/"},
		{"parent segment", "tile/0/../0/000"},
		{"parent segment at the end", "tile/0/000/.."},
		{"current segment", "tile/./0/000"},
		{"space before", " tile/0/000"},
		{"space after", "tile/0/000 "},
		{"newline after", "tile/0/000\n"},
		{"NUL", "tile/0/000\x00"},
		{"query", "tile/0/000?"},
		{"percent-encoded", "tile/0/%30%30%30"},
		{"too long", "tile/0/" + strings.Repeat("x001/", 1000) + "000"},
	} {
		if got, err := ParsePath(tt.path); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: ParsePath(%.80q) = %v, %v, want ErrMalformed", tt.name, tt.path, got, err)
		}
	}
}

// What cannot be named has a path that nobody accepts.
func TestInvalidTile(t *testing.T) {
	for _, x := range []Tile{
		{}, {0, 0, 257}, {0, 0, -1}, {64, 0, 1}, {-2, 0, 1}, {0, tree.MaxSize + 1, 1},
	} {
		if x.Valid() {
			t.Errorf("%#v is valid", x)
		}
		if got, err := ParsePath(x.Path()); err == nil {
			t.Errorf("ParsePath(%q) = %v", x.Path(), got)
		}
		if _, _, err := x.Range(); !errors.Is(err, ErrMalformed) {
			t.Errorf("range of %#v: %v, want ErrMalformed", x, err)
		}
		if x.InTree(tree.MaxSize) {
			t.Errorf("%#v is in a tree", x)
		}
	}
}

func TestRange(t *testing.T) {
	const top = 1 << 56 // leaves below one hash of level 7
	for _, tt := range []struct {
		tile       Tile
		start, end uint64
		ok         bool
	}{
		{Tile{0, 0, 256}, 0, 256, true},
		{Tile{0, 273, 112}, 69888, 70000, true},
		{Tile{Bundle, 273, 112}, 69888, 70000, true},
		{Tile{1, 0, 256}, 0, 65536, true},
		{Tile{1, 1, 17}, 65536, 69888, true},
		{Tile{2, 0, 1}, 0, 65536, true},
		{Tile{7, 0, 127}, 0, 127 * top, true},
		{Tile{0, 1<<55 - 1, 255}, 1<<63 - 256, 1<<63 - 1, true},
		{Tile{6, 127, 255}, 127 * top, 127*top + 255<<48, true},

		// Beyond leaf 2^63-1, by one or by far.
		{Tile{0, 1<<55 - 1, 256}, 0, 0, false},
		{Tile{0, 1 << 55, 1}, 0, 0, false},
		{Tile{0, tree.MaxSize, 1}, 0, 0, false},
		{Tile{6, 127, 256}, 0, 0, false},
		{Tile{7, 0, 128}, 0, 0, false},
		{Tile{7, 0, 256}, 0, 0, false},
		{Tile{7, 1, 1}, 0, 0, false},
		{Tile{8, 0, 1}, 0, 0, false},
		{Tile{63, 0, 1}, 0, 0, false},
		{Tile{63, tree.MaxSize, 256}, 0, 0, false},
	} {
		start, end, err := tt.tile.Range()
		if start != tt.start || end != tt.end || (err == nil) != tt.ok {
			t.Errorf("range of %v = [%d, %d), %v, want [%d, %d), ok %v", tt.tile, start, end, err, tt.start, tt.end, tt.ok)
		}
	}
}

// drawTile draws any tile that a path can name.
func drawTile(t *rapid.T) Tile {
	return Tile{
		Level: rapid.SampledFrom(append(bitLengths, 0, Bundle)).Draw(t, "level"),
		N:     drawUint(t, 63, "n") - 1,
		Width: rapid.IntRange(1, Width).Draw(t, "width"),
	}
}

// tlog's tiles have the height in their path, and call entries data.
func tlogPath(x Tile) string {
	p := tlog.Tile{H: Height, L: x.Level, N: int64(x.N), W: x.Width}.Path()
	p = strings.Replace(p, "tile/8/data/", "tile/entries/", 1)
	return strings.Replace(p, "tile/8/", "tile/", 1)
}

func TestPathOfAnyTile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := drawTile(t)
		if got, want := x.Path(), tlogPath(x); got != want {
			t.Fatalf("path of %#v = %s, tlog says %s", x, got, want)
		}
		if got, err := ParsePath(x.Path()); err != nil || got != x {
			t.Fatalf("ParsePath(%q) = %#v, %v, want %#v", x.Path(), got, err, x)
		}
		if len(x.Path()) > maxPath {
			t.Fatalf("path %s has %d bytes", x, len(x.Path()))
		}
	})
}

// One byte changed, added or taken away gives another tile or none, never the
// same.
func TestOnePathPerTile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := drawTile(t)
		p := x.Path()
		i := rapid.IntRange(0, len(p)-1).Draw(t, "position")
		c := string(rapid.SampledFrom([]byte("0123456789x/.p+- ")).Draw(t, "byte"))
		for _, q := range []string{p[:i] + c + p[i:], p[:i] + c + p[i+1:], p[:i] + p[i+1:]} {
			if got, err := ParsePath(q); err == nil && (q != p) == (got == x) {
				t.Fatalf("ParsePath(%q) = %v", q, got)
			}
		}
	})
}

func TestFull(t *testing.T) {
	if got, want := (Tile{1, 3, 17}).Full(), (Tile{1, 3, 256}); got != want {
		t.Errorf("full tile = %v, want %v", got, want)
	}
}
