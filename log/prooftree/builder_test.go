package prooftree

import (
	"bytes"
	"slices"
	"testing"

	"github.com/pauselog/pauselog/log/tile"
)

// A builder makes at every size exactly the files that tlog makes, and its root, whether it went on all the
// time or took up where another one ended.
func TestBuilder(t *testing.T) {
	l := uploads(600)
	whole := NewBuilder()
	full := memory{}
	for size := range 601 {
		if size > 0 {
			if err := whole.Add(l.entries[size-1]); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range whole.Full() {
			if f.Tile.Width != tile.Width || full[f.Tile.Path()] != nil {
				t.Fatalf("size %d: %v is full", size, f.Tile)
			}
			full[f.Tile.Path()] = f.Data
		}
		if whole.Size() != uint64(size) || whole.Root() != l.root(size) {
			t.Fatalf("size %d: %d with root %v", size, whole.Size(), whole.Root())
		}
		if size%7 != 0 && size != 256 && size != 512 && size != 600 {
			continue
		}
		files := l.files(size, logKey)
		have := 0
		for _, f := range append(slices.Collect(whole.Partial()), filesOf(full)...) {
			if !bytes.Equal(files[f.Tile.Path()], f.Data) {
				t.Fatalf("size %d: %v has other bytes than tlog's", size, f.Tile)
			}
			have++
		}
		if want := len(files) - 1 - Shards; have != want {
			t.Fatalf("size %d: %d files, want %d", size, have, want)
		}
		resumed, err := open(t, files).Resume(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range l.entries[size:min(600, size+300)] {
			if err := resumed.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		end := min(600, size+300)
		if resumed.Root() != l.root(end) || resumed.Size() != uint64(end) {
			t.Fatalf("from %d to %d: root %v", size, end, resumed.Root())
		}
		want := l.files(end)
		for _, f := range append(slices.Collect(resumed.Partial()), resumed.Full()...) {
			if !bytes.Equal(want[f.Tile.Path()], f.Data) {
				t.Fatalf("from %d to %d: %v has other bytes than tlog's", size, end, f.Tile)
			}
		}
	}
}

func filesOf(m memory) (files []File) {
	for name, b := range m {
		files = append(files, File{must(tile.ParsePath(name)), b})
	}
	return files
}

func TestTheBuilderRefusesWhatNoBundleCarries(t *testing.T) {
	b := NewBuilder()
	if err := b.Add(make([]byte, tile.MaxEntry+1)); err == nil || b.Size() != 0 {
		t.Errorf("%v, size %d", err, b.Size())
	}
}

func TestPartialStops(t *testing.T) {
	b := must(open(t, uploads(300).files(300, logKey)).Resume(t.Context()))
	for range 3 {
		for range b.Partial() {
			break // must not call yield again: the runtime would panic
		}
	}
	if n := len(slices.Collect(b.Partial())); n != 3 {
		t.Errorf("%d partial files", n)
	}
}
