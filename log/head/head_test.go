package head

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/tree"
)

const origin = "log.example/pause"

func at(size uint64) Head {
	return Head{Origin: origin, Size: size, Root: tree.LeafHash([]byte{byte(size)})}
}

func TestCreateThenOpenReadsBack(t *testing.T) {
	name := filepath.Join(t.TempDir(), "head")
	if err := Create(name, at(0)); err != nil {
		t.Fatal(err)
	}
	if err := Create(name, at(0)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second Create: %v", err)
	}
	k, err := Open(name)
	if err != nil || k.Head() != at(0) {
		t.Fatalf("Open: %+v, %v", k, err)
	}
	if _, err := Open(name); !errors.Is(err, ErrLocked) {
		t.Errorf("Open while open: %v", err)
	}
	for size := uint64(1); size < 10; size++ {
		if err := k.Write(at(size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k, err = Open(name)
	if err != nil || k.Head() != at(9) {
		t.Fatalf("Open again: %+v, %v", k, err)
	}
	defer k.Close()
	if info, err := os.Stat(name); err != nil || info.Size() != FileSize || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is gone: %v", err)
	}
	heads := func(all ...Head) []byte {
		var m memory
		k := &Keeper{}
		for i, h := range all {
			b, err := h.marshal()
			if err == nil && i == 0 {
				if err = layout.Format(&m, b); err == nil {
					k.slots, err = layout.Read(&m)
				}
			} else if err == nil {
				err = k.slots.Put(b)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return m.b[:]
	}
	// of is a file with a good checksum over something that is no head.
	of := func(content string) []byte {
		var m memory
		if err := layout.Format(&m, []byte(content)); err != nil {
			t.Fatal(err)
		}
		return m.b[:]
	}
	good, err := at(7).marshal()
	if err != nil {
		t.Fatal(err)
	}
	other := at(7)
	other.Root = tree.EmptyRoot
	foreign := at(8)
	foreign.Origin = "log.example/other"
	restarted := at(7)
	restarted.Starts = 2
	for name, b := range map[string][]byte{
		"empty":                    nil,
		"zeros":                    make([]byte, FileSize),
		"cut short":                heads(at(7))[:100],
		"two roots for one size":   heads(at(7), other),
		"two origins":              heads(at(7), foreign),
		"a size that went back":    heads(at(8), at(7)),
		"starts that went back":    heads(restarted, at(7)),
		"a line too many":          of(string(good) + "\n"),
		"a line too few":           of("origin log.example/pause\nsize 7\n"),
		"a size with a zero ahead": of(strings.Replace(string(good), "size 7", "size 07", 1)),
		"a root that is none":      of("origin log.example/pause\nsize 7\nroot AAAA\nstarts 0\n"),
		"lines in another order":   of("size 7\norigin log.example/pause\n" + strings.SplitN(string(good), "\n", 3)[2]),
	} {
		file := filepath.Join(t.TempDir(), "head")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := Open(file); !errors.Is(err, ErrNoHead) {
			t.Errorf("%s: Open: %+v, %v", name, k, err)
		}
		var m memory
		copy(m.b[:], b)
		if k, err := Read(&m); !errors.Is(err, ErrNoHead) {
			t.Errorf("%s: Read: %+v, %v", name, k, err)
		}
	}
}

// memory is a File whose writes a test can tear.
type memory struct{ b [FileSize]byte }

func (m *memory) ReadAt(p []byte, off int64) (int, error) { return copy(p, m.b[off:]), nil }
func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	return copy(m.b[off:], p), nil
}
func (m *memory) Sync() error  { return nil }
func (m *memory) Close() error { return nil }

// Whatever prefix of a write reaches the disk, and whichever byte is wrong, the file says
// the old head or the new one.
func TestTornWrite(t *testing.T) {
	var m memory
	if err := Format(&m, at(3)); err != nil {
		t.Fatal(err)
	}
	k, err := Read(&m)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Write(at(4)); err != nil {
		t.Fatal(err)
	}
	before := m
	if err := k.Write(at(5)); err != nil {
		t.Fatal(err)
	}
	after := m
	for n := range FileSize {
		torn := before
		copy(torn.b[:n], after.b[:n])
		k, err := Read(&torn)
		if err != nil || (k.Head() != at(4) && k.Head() != at(5)) {
			t.Fatalf("%d bytes written: %+v, %v", n, k, err)
		}
		flipped := after
		flipped.b[n] ^= 1
		k, err = Read(&flipped)
		if err != nil || (k.Head() != at(4) && k.Head() != at(5)) {
			t.Fatalf("byte %d flipped: %+v, %v", n, k, err)
		}
	}
}

func TestWriteNeverGoesBackwards(t *testing.T) {
	var m memory
	if err := Format(&m, at(3)); err != nil {
		t.Fatal(err)
	}
	k, err := Read(&m)
	if err != nil {
		t.Fatal(err)
	}
	other, foreign := at(3), at(4)
	other.Root, foreign.Origin = tree.EmptyRoot, "log.example/other"
	for _, h := range []Head{at(2), other, foreign} {
		if err := k.Write(h); !errors.Is(err, ErrBackwards) {
			t.Errorf("Write(%+v): %v", h, err)
		}
	}
	if err := k.Write(at(3)); err != nil {
		t.Errorf("the same head again: %v", err)
	}
}

type failing struct {
	memory
	write, sync error
}

func (f *failing) WriteAt(p []byte, off int64) (int, error) {
	if f.write != nil {
		return 0, f.write
	}
	return f.memory.WriteAt(p, off)
}
func (f *failing) Sync() error { return f.sync }

func TestWriteReportsEveryFault(t *testing.T) {
	for _, f := range []*failing{{write: io.ErrShortWrite}, {sync: io.ErrClosedPipe}} {
		if err := Format(&f.memory, at(0)); err != nil {
			t.Fatal(err)
		}
		k, err := Read(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Write(at(1)); err == nil || k.Head() != at(0) {
			t.Errorf("%+v: %v, head %+v", f, err, k.Head())
		}
		f.write, f.sync = nil, nil
		if err := k.Write(at(2)); err == nil || k.Head() != at(0) {
			t.Errorf("a write after one of unknown outcome: %v, head %+v", err, k.Head())
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	name := filepath.Join(b.TempDir(), "head")
	if err := Create(name, at(0)); err != nil {
		b.Fatal(err)
	}
	k, err := Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close()
	h := at(0)
	for b.Loop() {
		h.Size++
		if err := k.Write(h); err != nil {
			b.Fatal(err)
		}
	}
}

func TestBeginCountsStarts(t *testing.T) {
	var m memory
	if err := Format(&m, at(3)); err != nil {
		t.Fatal(err)
	}
	for want := uint64(1); want < 5; want++ {
		k, err := Read(&m)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Begin(); err != nil || k.Head().Starts != want {
			t.Fatalf("start %d: %+v, %v", want, k.Head(), err)
		}
		if want%2 == 0 {
			if err := k.Write(at(3 + want)); err != nil {
				t.Fatal(err)
			}
		}
		again, err := Read(&m)
		if err != nil || again.Head() != k.Head() || again.Head().Starts != want {
			t.Fatalf("start %d reads back as %+v, %v", want, again.Head(), err)
		}
	}
}
