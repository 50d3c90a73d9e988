package tile

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pauselog/pauselog/log/tree"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEntries(t *testing.T) {
	long := bytes.Repeat([]byte{'x'}, MaxEntry)
	for _, tt := range []struct {
		name   string
		bundle []byte
		want   []string
	}{
		{"one empty entry", []byte("\x00\x00"), []string{""}},
		{"one entry", []byte("\x00\x01a"), []string{"a"}},
		{"empty ones among others", []byte("\x00\x00\x00\x02ab\x00\x00"), []string{"", "ab", ""}},
		{"the length is big endian", append([]byte("\x01\x00"), long[:256]...), []string{string(long[:256])}},
		{"the longest", append([]byte("\xff\xff"), long...), []string{string(long)}},
		{"a full bundle", make([]byte, 2*Width), make([]string, Width)},
	} {
		got, err := Entries(tt.bundle, len(tt.want))
		if err != nil || len(got) != len(tt.want) {
			t.Errorf("%s: %d entries, %v, want %d", tt.name, len(got), err, len(tt.want))
			continue
		}
		var again []byte
		for i := range got {
			if string(got[i]) != tt.want[i] {
				t.Errorf("%s: entry %d = %.20q, want %.20q", tt.name, i, got[i], tt.want[i])
			}
			if again, err = AppendEntry(again, got[i]); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, tt.bundle) {
			t.Errorf("%s: written again it is another bundle", tt.name)
		}
	}
}

func TestEntriesRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		bundle string
		width  int
	}{
		{"nothing", "", 1},
		{"half a length", "\x00", 1},
		{"no bytes", "\x00\x01", 1},
		{"too few bytes", "\x00\x03ab", 1},
		{"one entry too few", "\x00\x01a", 2},
		{"one entry too many", "\x00\x01a\x00\x01b", 1},
		{"an empty entry too many", "\x00\x01a\x00\x00", 1},
		{"a trailing byte", "\x00\x01a\x00", 1},
		{"half a second length", "\x00\x01a\x00", 2},
		{"width 0", "", 0},
		{"width -1", "", -1},
		{"width 257", string(make([]byte, 2*257)), 257},
	} {
		if got, err := Entries([]byte(tt.bundle), tt.width); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %d entries, %v, want ErrMalformed", tt.name, len(got), err)
		}
	}
}

func TestEntriesCannotGrowIntoEachOther(t *testing.T) {
	bundle := []byte("\x00\x01a\x00\x01b")
	got, err := Entries(bundle, 2)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(got[0], "xxx"...)
	if string(got[1]) != "b" || string(bundle) != "\x00\x01a\x00\x01b" {
		t.Errorf("appending to an entry changed the bundle to %q", bundle)
	}
}

func TestAppendEntryTooLong(t *testing.T) {
	if b, err := AppendEntry(nil, make([]byte, MaxEntry+1)); err == nil {
		t.Errorf("an entry of %d bytes gave a bundle of %d", MaxEntry+1, len(b))
	}
}

func TestHashesRefuses(t *testing.T) {
	for _, tt := range []struct {
		name          string
		length, width int
	}{
		{"empty tile", 0, 0},
		{"empty content", 0, 1},
		{"one byte short", 31, 1},
		{"one byte more", 33, 1},
		{"one hash too few", 32, 2},
		{"one hash too many", 64, 1},
		{"partial content for a full tile", 255 * 32, 256},
		{"full content for a partial tile", 256 * 32, 255},
		{"over 256", 257 * 32, 257},
		{"negative width", 0, -1},
	} {
		if got, err := Hashes(make([]byte, tt.length), tt.width); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %d hashes, %v, want ErrMalformed", tt.name, len(got), err)
		}
	}
}

func TestHashesOfAnyTile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(1, Width).Draw(t, "width")
		data := rapid.SliceOfN(rapid.Byte(), width*tree.HashSize, width*tree.HashSize).Draw(t, "content")
		hashes, err := Hashes(data, width)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(AppendHashes(nil, hashes...), data) {
			t.Fatal("written again it is another tile")
		}
	})
}

func TestMaxBytes(t *testing.T) {
	for _, tt := range []struct {
		tile Tile
		want int
	}{
		{Tile{0, 0, 256}, 8192},
		{Tile{1, 0, 17}, 544},
		{Tile{Bundle, 0, 1}, 65537},
		{Tile{Bundle, 0, 256}, 256 * 65537},
	} {
		if got := tt.tile.MaxBytes(); got != tt.want {
			t.Errorf("%v has at most %d bytes, want %d", tt.tile, got, tt.want)
		}
	}
}

// RFC 6962's reference tree, whose roots are those of its first leaves.
func TestReferenceTree(t *testing.T) {
	roots := []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	m := grow(0)
	for _, entry := range []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"} {
		m.add(unhex(t, entry))
	}
	for size, want := range roots {
		if got := Root(m.levels[0][:size]); hex.EncodeToString(got[:]) != want {
			t.Errorf("root of size %d = %x, want %s", size, got[:], want)
		}
		if got, err := m.reader(t, uint64(size)).Root(); err != nil || hex.EncodeToString(got[:]) != want {
			t.Errorf("root of size %d from tiles = %x, %v, want %s", size, got[:], err, want)
		}
	}
	bundle := m.content(t, Tile{Bundle, 0, 8})
	if want := "00000001000001100002202100023031000440414243000850515253545556570010606162636465666768696a6b6c6d6e6f"; hex.EncodeToString(bundle) != want {
		t.Errorf("tile/entries/000.p/8 = %x, want %s", bundle, want)
	}
	if got, want := sum(m.content(t, Tile{0, 0, 8})), "aea2f1bbb5140fd5f8eacb503fdf54c00c3d860c72588e40233addd416bc8f10"; got != want {
		t.Errorf("sha256 of tile/0/000.p/8 = %s, want %s", got, want)
	}
	checkReferenceProofs(t, m)
}

// testdata/reference-proofs.txt has the inclusion proof of every leaf and
// consistency proofs from smaller sizes.
func checkReferenceProofs(t *testing.T, m *memory) {
	t.Helper()
	lines, err := os.ReadFile("testdata/reference-proofs.txt")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for line := range strings.Lines(string(lines)) {
		what, want, _ := strings.Cut(strings.TrimSpace(line), ": ")
		var n, size uint64
		var p []tree.Hash
		if _, err := fmt.Sscanf(what, "inclusion %d in %d", &n, &size); err == nil {
			p, err = m.reader(t, size).Inclusion(n)
			if err != nil {
				t.Fatal(err)
			}
		} else if _, err := fmt.Sscanf(what, "consistency %d->%d", &n, &size); err == nil {
			p, err = m.reader(t, size).Consistency(n)
			if err != nil {
				t.Fatal(err)
			}
		} else {
			t.Fatalf("line %q: %v", line, err)
		}
		if spaced(p) != want {
			t.Errorf("%s = %s, want %s", what, spaced(p), want)
		}
		checked++
	}
	if checked != 14 {
		t.Errorf("checked %d proofs, want 14", checked)
	}
}

func spaced(p []tree.Hash) string {
	var b []byte
	for _, h := range p {
		b = fmt.Appendf(b, " %x", h[:])
	}
	return string(bytes.TrimSpace(b))
}
