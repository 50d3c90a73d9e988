package tile

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

func FuzzParsePath(f *testing.F) {
	for _, p := range []string{
		"tile/0/000", "tile/0/000.p/1", "tile/63/x001/x234/067.p/255", "tile/entries/273.p/112",
		"tile/entries/x009/x223/x372/x036/x854/x775/807", "tile/00/000", "tile/0/x000/001", "tile/0/000.p/256", "tile/64/000", "tile/0/../000",
	} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		x, err := ParsePath(path)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || x != (Tile{}) {
				t.Fatalf("ParsePath(%q) = %v, %v", path, x, err)
			}
			return
		}
		if !x.Valid() || x.Path() != path {
			t.Fatalf("ParsePath(%q) = %#v, whose path is %s", path, x, x.Path())
		}
		if tlogPath(x) != path {
			t.Fatalf("ParsePath(%q) = %#v, tlog writes %s", path, x, tlogPath(x))
		}
		start, end, err := x.Range()
		if err == nil && (start >= end || !x.InTree(end) || x.InTree(end-1)) {
			t.Fatalf("%v covers [%d, %d)", x, start, end)
		}
		// Every hash tile of ours is also one of tlog's.
		if _, err := tlog.ParseTilePath("tile/8/" + path[len("tile/"):]); err != nil && x.Level != Bundle {
			t.Fatalf("tlog refuses %s: %v", path, err)
		}
	})
}

func FuzzEntries(f *testing.F) {
	f.Add([]byte("\x00\x00"), 1)
	f.Add([]byte("\x00\x01a\x00\x02bc"), 2)
	f.Add([]byte("\x00\x01a\x00\x02b"), 2)
	f.Add([]byte("\xff\xff"), 1)
	f.Add(make([]byte, 2*Width), Width)
	f.Fuzz(func(t *testing.T, bundle []byte, width int) {
		entries, err := Entries(bundle, width)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || entries != nil {
				t.Fatalf("%d entries, %v", len(entries), err)
			}
			return
		}
		if len(entries) != width {
			t.Fatalf("%d entries, want %d", len(entries), width)
		}
		var again []byte
		for _, entry := range entries {
			if again, err = AppendEntry(again, entry); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, bundle) {
			t.Fatalf("%x written again is %x", bundle, again)
		}
		if len(bundle) > (Tile{Bundle, 0, width}).MaxBytes() {
			t.Fatalf("bundle of width %d has %d bytes", width, len(bundle))
		}
		// Only one width reads a bundle, empty entries included.
		for _, other := range []int{width - 1, width + 1} {
			if _, err := Entries(bundle, other); err == nil {
				t.Fatalf("bundle of width %d also has width %d", width, other)
			}
		}
	})
}
