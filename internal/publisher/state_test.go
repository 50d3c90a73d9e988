package publisher

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/slot"
)

// A cachedDisk has one file, and shows what was written to it whether or not it is on the disk.
type cachedDisk struct {
	slot.Disk         // none: no other method is to be called
	written, stable   []byte
	gone, failsToSync bool
}

var errSync = errors.New("bad disk")

func (d *cachedDisk) Open(name string) (slot.File, error) {
	if d.gone {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return cachedFile{d}, nil
}

// powerFails takes what was not synced.
func (d *cachedDisk) powerFails() { d.written = append([]byte{}, d.stable...) }

type cachedFile struct{ d *cachedDisk }

func (f cachedFile) ReadAt(b []byte, at int64) (int, error) {
	n := copy(b, f.d.written[min(int(at), len(f.d.written)):])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f cachedFile) WriteAt(b []byte, at int64) (int, error) {
	if grow := int(at) + len(b) - len(f.d.written); grow > 0 {
		f.d.written = append(f.d.written, make([]byte, grow)...)
	}
	return copy(f.d.written[at:], b), nil
}

func (f cachedFile) Sync() error {
	if f.d.failsToSync {
		return errSync
	}
	f.d.stable = append([]byte{}, f.d.written...)
	return nil
}

func (f cachedFile) Close() error { return nil }

func newCachedDisk(t *testing.T) *cachedDisk {
	t.Helper()
	d := &cachedDisk{}
	if err := layout.Format(cachedFile{d}, []byte(`{"note":"","policy":"","time":0,"witnesses":null}`)); err != nil {
		t.Fatal(err)
	}
	return d
}

func mustOpenState(t *testing.T, d slot.Disk) *state {
	t.Helper()
	s, err := openState(d, "/published", true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A process whose sync failed has shown nothing. The next one may read what it wrote, and show that: from then on no
// loss of power may take it back.
func TestWhatAStartReadsIsOnTheDisk(t *testing.T) {
	d := newCachedDisk(t)
	s := mustOpenState(t, d)
	if err := s.put(stored{Note: "older"}); err != nil {
		t.Fatal(err)
	}
	d.failsToSync = true
	if err := s.put(stored{Note: "newer"}); !errors.Is(err, errSync) || s.value.Note != "older" {
		t.Fatalf("after a failed sync: %q, %v", s.value.Note, err)
	}
	if _, err := openState(d, "/published", true); !errors.Is(err, errSync) {
		t.Errorf("a start on a disk that syncs nothing: %v", err)
	}
	d.failsToSync = false
	shown := mustOpenState(t, d).value.Note
	d.powerFails()
	if now := mustOpenState(t, d).value.Note; shown != "newer" || now != shown {
		t.Errorf("%q was shown, and %q after the power had failed", shown, now)
	}
}

// Nothing that was published is taken for nothing.
func TestPublishedFileThatCannotBeReadIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		damage    func(*cachedDisk)
		mustExist bool
	}{
		"gone":                            {func(d *cachedDisk) { d.gone = true }, true},
		"empty":                           {func(d *cachedDisk) { d.written = nil }, true},
		"empty, at what may be a first":   {func(d *cachedDisk) { d.written = nil }, false},
		"zeros":                           {func(d *cachedDisk) { clear(d.written) }, false},
		"damaged in both slots":           {func(d *cachedDisk) { d.written[100] ^= 1; d.written[layout.Size+100] ^= 1 }, true},
		"of another kind":                 {func(d *cachedDisk) { copy(d.written, "pauselog-head"); copy(d.written[layout.Size:], "pauselog-head") }, true},
		"cut within the first slot's end": {func(d *cachedDisk) { d.written = d.written[:60] }, true},
	} {
		d := newCachedDisk(t)
		tt.damage(d)
		before := string(d.written)
		_, err := openState(d, "/published", tt.mustExist)
		if !errors.Is(err, sequencer.ErrRefused) || !strings.Contains(err.Error(), "/published") || !strings.Contains(err.Error(), "put back the newest copy") {
			t.Errorf("%s: %v", name, err)
		}
		if string(d.written) != before {
			t.Errorf("%s: it was changed", name)
		}
	}
}

// On the operating system's disk the file is made where there may be none, and one process has it.
func TestPublishedFileIsMadeOnceAndLocked(t *testing.T) {
	name := filepath.Join(t.TempDir(), "published")
	if _, err := openState(nil, name, true); !errors.Is(err, sequencer.ErrRefused) {
		t.Fatalf("without one: %v", err)
	}
	s, err := openState(nil, name, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openState(nil, name, false); !errors.Is(err, slot.ErrLocked) {
		t.Errorf("while it is open: %v", err)
	}
	if err := errors.Join(s.put(stored{Note: "a note"}), s.close()); err != nil {
		t.Fatal(err)
	}
	if s, err = openState(nil, name, false); err != nil || s.value.Note != "a note" {
		t.Fatalf("opened again: %+v, %v", s, err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
