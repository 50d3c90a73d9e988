package slot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var small = Layout{Name: "pauselog-test/v1", Size: 512}

func value1(n int) []byte { return fmt.Appendf(nil, "value %d\n%s", n, strings.Repeat("x", n*7%200)) }

func TestCreateThenOpenReadsBack(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "value")
	if err := small.Create(name, value1(0)); err != nil {
		t.Fatal(err)
	}
	if err := small.Create(name, value1(1)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second Create: %v", err)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || !slices.Equal(names, []string{name}) {
		t.Errorf("the folder holds %v, %v", names, err)
	}
	k, err := small.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(k.Content(), value1(0)) || k.Counter() != 1 {
		t.Errorf("the first value is %q, counter %d", k.Content(), k.Counter())
	}
	if b, ok := k.Previous(); ok {
		t.Errorf("the first value replaced %q", b)
	}
	if _, err := small.Open(name); !errors.Is(err, ErrLocked) {
		t.Errorf("Open while open: %v", err)
	}
	for n := 1; n < 10; n++ {
		if err := k.Put(value1(n)); err != nil {
			t.Fatal(err)
		}
		if b, ok := k.Previous(); !ok || !bytes.Equal(b, value1(n-1)) {
			t.Errorf("value %d replaced %q, %v", n, b, ok)
		}
		if b, err := small.ReadFile(name); err != nil || !bytes.Equal(b, value1(n)) {
			t.Errorf("ReadFile beside the writer: %q, %v", b, err)
		}
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k, err = small.Open(name)
	if err != nil || !bytes.Equal(k.Content(), value1(9)) || k.Counter() != 10 {
		t.Fatalf("Open again: %+v, %v", k, err)
	}
	defer k.Close()
	if info, err := os.Stat(name); err != nil || info.Size() != int64(small.FileSize()) || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
}

func TestFileThatIsGone(t *testing.T) {
	name := filepath.Join(t.TempDir(), "gone")
	if _, err := small.Open(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
	if _, err := small.ReadFile(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadFile: %v", err)
	}
	if err := small.Create(filepath.Join(name, "value"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Create in a folder that is not there: %v", err)
	}
}

// memory is a File.
type memory struct{ b []byte }

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, m.b[min(int(off), len(m.b)):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if grow := int(off) + len(p) - len(m.b); grow > 0 {
		m.b = append(m.b, make([]byte, grow)...)
	}
	return copy(m.b[off:], p), nil
}
func (m *memory) Sync() error  { return nil }
func (m *memory) Close() error { return nil }

// file makes a file of these two slots by hand.
func file(t *testing.T, first, second []byte) *memory {
	t.Helper()
	b := make([]byte, small.FileSize())
	copy(b, first)
	copy(b[small.Size:], second)
	return &memory{b}
}

func slotOf(t testing.TB, counter uint64, content string) []byte {
	t.Helper()
	b, err := small.marshal(counter, []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadRefuses(t *testing.T) {
	good := slotOf(t, 7, "value")
	for name, m := range map[string]*memory{
		"empty":                          {nil},
		"zeros":                          file(t, nil, nil),
		"cut within the value":           {good[:len(good)-1]},
		"two values with one counter":    file(t, good, slotOf(t, 7, "other")),
		"another format":                 file(t, bytes.Replace(good, []byte("test"), []byte("head"), 1), nil),
		"another counter":                file(t, bytes.Replace(good, []byte(" 7 "), []byte(" 8 "), 1), nil),
		"a counter that begins with 0":   file(t, bytes.Replace(good, []byte(" 7 "), []byte(" 07 "), 1), nil),
		"the counter 0":                  file(t, slotOf(t, 0, "value"), nil),
		"a length beyond the slot":       file(t, []byte("pauselog-test/v1 7 9999 "+strings.Repeat("0", 64)+"\n"), nil),
		"a negative length":              file(t, []byte("pauselog-test/v1 7 -1 "+strings.Repeat("0", 64)+"\n"), nil),
		"a checksum in capitals":         file(t, bytes.ToUpper(good), nil),
		"another value":                  file(t, bytes.Replace(good, []byte("value"), []byte("Value"), 1), nil),
		"something after the first line": file(t, bytes.Replace(good, []byte("\n"), []byte(" \n"), 1), nil),
	} {
		if k, err := small.Read(m); !errors.Is(err, ErrNoValue) {
			t.Errorf("%s: %+v, %v", name, k, err)
		}
	}
}

func TestNewerSlotCounts(t *testing.T) {
	for _, tt := range []struct {
		name          string
		first, second []byte
		want          string
		previous      bool
	}{
		{"second is newer", slotOf(t, 4, "old"), slotOf(t, 5, "new"), "new", true},
		{"first is newer", slotOf(t, 6, "new"), slotOf(t, 5, "old"), "new", true},
		{"both are the first value", slotOf(t, 1, "new"), slotOf(t, 1, "new"), "new", false},
		{"a write between them was lost", slotOf(t, 9, "new"), slotOf(t, 6, "old"), "new", false},
		{"the first is torn", slotOf(t, 9, "torn")[:80], slotOf(t, 8, "new"), "new", false},
		{"the second is torn", slotOf(t, 8, "new"), slotOf(t, 9, "torn")[:80], "new", false},
		{"what was longer is left behind the end", append(slotOf(t, 3, "new"), "leftovers"...), slotOf(t, 2, "old"), "new", true},
	} {
		k, err := small.Read(file(t, tt.first, tt.second))
		if err != nil || string(k.Content()) != tt.want {
			t.Errorf("%s: %+v, %v", tt.name, k, err)
			continue
		}
		if b, ok := k.Previous(); ok != tt.previous || ok && string(b) != "old" {
			t.Errorf("%s: it replaced %q, %v", tt.name, b, ok)
		}
		// The next value must not overwrite the only valid one.
		counter := k.Counter()
		torn := &memory{bytes.Clone(k.file.(*memory).b)}
		k.file = torn
		if err := k.Put([]byte("next")); err != nil || k.Counter() != counter+1 {
			t.Fatalf("%s: Put: %v", tt.name, err)
		}
		torn.b[(k.newest)*small.Size] ^= 1
		if k, err := small.Read(torn); err != nil || string(k.Content()) != tt.want {
			t.Errorf("%s: after a torn Put: %+v, %v", tt.name, k, err)
		}
	}
}

// Renew writes what is there already: the value again, and nothing besides, so that a torn one does no harm.
func TestRenewWritesTheSameBytesAndSyncs(t *testing.T) {
	m := &counting{}
	if err := small.Format(m, value1(3)); err != nil {
		t.Fatal(err)
	}
	k, err := small.Read(m)
	if err != nil {
		t.Fatal(err)
	}
	for n := 4; n < 8; n++ {
		if err := k.Put(value1(n)); err != nil {
			t.Fatal(err)
		}
		before, writes, syncs := bytes.Clone(m.b), m.writes, m.syncs
		if err := k.Renew(); err != nil || m.writes != writes+1 || m.syncs != syncs+1 {
			t.Errorf("value %d: %v, after %d writes and %d syncs", n, err, m.writes-writes, m.syncs-syncs)
		}
		if !bytes.Equal(m.b, before) || !bytes.Equal(k.Content(), value1(n)) {
			t.Errorf("value %d: the file is another", n)
		}
		if b, ok := k.Previous(); !ok || !bytes.Equal(b, value1(n-1)) {
			t.Errorf("value %d replaced %q, %v", n, b, ok)
		}
	}
	m.err = errors.New("bad disk")
	if err := k.Renew(); !errors.Is(err, m.err) {
		t.Errorf("of a failed sync: %v", err)
	}
	if err := errors.Join(k.Renew(), k.Put(value1(9))); !errors.Is(err, ErrBroken) {
		t.Errorf("after a failed sync: %v", err)
	}
}

// counting is a File that counts, and whose syncs fail once err is set.
type counting struct {
	memory
	writes, syncs int
	err           error
}

func (c *counting) WriteAt(p []byte, off int64) (int, error) {
	c.writes++
	return c.memory.WriteAt(p, off)
}
func (c *counting) Sync() error { c.syncs++; return c.err }

// Whatever prefix of a write reaches the disk, and whichever byte is wrong, the file says
// the old value or the new one.
func TestTornWrite(t *testing.T) {
	m := &memory{}
	if err := small.Format(m, value1(3)); err != nil {
		t.Fatal(err)
	}
	k, err := small.Read(m)
	if err != nil {
		t.Fatal(err)
	}
	for n := 4; n < 12; n++ {
		before := bytes.Clone(m.b)
		old := bytes.Clone(k.Content())
		if err := k.Put(value1(n)); err != nil {
			t.Fatal(err)
		}
		for i := range m.b {
			torn := bytes.Clone(before)
			copy(torn[:i], m.b[:i])
			flipped := bytes.Clone(m.b)
			flipped[i] ^= 1
			for what, b := range map[string][]byte{"bytes written": torn, "is the wrong byte": flipped} {
				k, err := small.Read(&memory{b})
				if err != nil || !bytes.Equal(k.Content(), old) && !bytes.Equal(k.Content(), value1(n)) {
					t.Fatalf("value %d, %d %s: %+v, %v", n, i, what, k, err)
				}
			}
		}
	}
}

// faulty does to the next write and sync what a test says.
type faulty struct {
	memory
	store int // so many bytes of a failing write are stored
	write error
	sync  error
}

func (f *faulty) WriteAt(p []byte, off int64) (int, error) {
	if f.write != nil {
		f.memory.WriteAt(p[:min(f.store, len(p))], off)
		return min(f.store, len(p)), f.write
	}
	return f.memory.WriteAt(p, off)
}
func (f *faulty) Sync() error { return f.sync }

func TestNothingIsPutAfterAFault(t *testing.T) {
	boom := errors.New("boom")
	for name, fault := range map[string]faulty{
		"write failed":                {write: boom},
		"write torn in its line":      {write: boom, store: 20},
		"write torn in its value":     {write: boom, store: 110},
		"write failed but was stored": {write: boom, store: 512},
		"sync failed but was stored":  {sync: boom},
	} {
		f := &faulty{}
		if err := small.Format(&f.memory, []byte("first")); err != nil {
			t.Fatal(err)
		}
		k, err := small.Read(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Put([]byte("old")); err != nil {
			t.Fatal(err)
		}
		f.write, f.sync, f.store = fault.write, fault.sync, fault.store
		if err := k.Put([]byte("new")); !errors.Is(err, boom) || errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
		f.write, f.sync = nil, nil
		was := bytes.Clone(f.b)
		if err := k.Put([]byte("newer")); !errors.Is(err, ErrBroken) || !errors.Is(err, boom) {
			t.Errorf("%s: another Put: %v", name, err)
		}
		if !bytes.Equal(f.b, was) || string(k.Content()) != "old" || k.Counter() != 2 {
			t.Errorf("%s: then the file changed, or the Keeper says %q", name, k.Content())
		}
		again, err := small.Read(f)
		if err != nil || string(again.Content()) != "old" && string(again.Content()) != "new" {
			t.Errorf("%s: it reads back as %+v, %v", name, again, err)
		}
	}
}

// A short count without an error is against the contract of io.WriterAt; it must not pass for
// a write.
type short struct{ memory }

func (s *short) WriteAt(p []byte, off int64) (int, error) {
	return s.memory.WriteAt(p[:len(p)-1], off)
}

func TestShortWriteIsAFault(t *testing.T) {
	if err := small.Format(&short{}, []byte("value")); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Format: %v", err)
	}
}

func TestTooLargeIsNoFault(t *testing.T) {
	m := &memory{}
	if err := small.Format(m, make([]byte, small.Size)); !errors.Is(err, ErrTooLarge) || m.b != nil {
		t.Errorf("Format: %v", err)
	}
	largest := make([]byte, small.Size-len(small.head(1, 400))-len(" \n")-64)
	if err := small.Format(m, largest); err != nil {
		t.Fatal(err)
	}
	k, err := small.Read(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Put(append(largest, 'x')); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Put: %v", err)
	}
	if err := k.Put(largest); err != nil {
		t.Errorf("a value that fits, after one that did not: %v", err)
	}
}

// A file with a sequence of values behind it, some of them torn, and reopened at will, says
// the last value that was put or the one that was being put.
func TestAnySequenceOfWritesAndCrashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &memory{}
		want := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "first")
		if err := small.Format(m, want); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 20).Draw(t, "opens") {
			k, err := small.Read(m)
			if err != nil || !bytes.Equal(k.Content(), want) {
				t.Fatalf("want %q: %+v, %v", want, k, err)
			}
			for range rapid.IntRange(0, 3).Draw(t, "puts") {
				want = rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value")
				if err := k.Put(want); err != nil {
					t.Fatal(err)
				}
			}
			// A crash within a write: any of its sectors may be there.
			next := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "torn")
			before := bytes.Clone(m.b)
			if err := k.Put(next); err != nil {
				t.Fatal(err)
			}
			for at := 0; at < len(m.b); at += 128 {
				if rapid.Bool().Draw(t, "lost") {
					copy(m.b[at:at+128], before[at:at+128])
				}
			}
			if k, err := small.Read(m); err == nil && bytes.Equal(k.Content(), next) {
				want = next
			}
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add(slotOf(f, 1, "value"), slotOf(f, 2, "other"))
	f.Add([]byte("pauselog-test/v1 1 0 \n"), []byte(nil))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		if len(first) > small.Size || len(second) > small.Size {
			return
		}
		k, err := small.Read(file(t, first, second))
		if err != nil {
			return
		}
		again, err := small.marshal(k.Counter(), k.Content())
		slot := [][]byte{first, second}[k.newest]
		if err != nil || !bytes.HasPrefix(slot, again) {
			t.Errorf("%q was read from %q, and is written as %q, %v", k.Content(), slot, again, err)
		}
	})
}
