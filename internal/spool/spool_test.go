package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/entry"
)

const line = `{"spool":1,"kind":"upload","path":"authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz","sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":43478,"time":"2026-11-22T10:00:00Z","by":"ETHER"}` + "\n"

func TestParse(t *testing.T) {
	e, err := Parse([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if e.Kind != entry.Upload || e.Path != "authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz" || !e.Read || e.Size != 43478 || e.By != "ETHER" || e.Time.String() != "2026-11-22T10:00:00Z" ||
		!strings.HasPrefix(e.Digest.String(), "e3b0c442") {
		t.Errorf("%+v", e)
	}
	if got := string(e.Marshal()); got != line {
		t.Errorf("written again: %s", got)
	}
	for _, change := range [][2]string{
		{`"by":"ETHER"`, `"by":null`},
		{`"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":43478`, `"sha256":null,"size":null`},
		{`"kind":"upload"`, `"kind":"delete"`},
		{`"kind":"upload","path":"authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz"`, `"kind":"index","path":"modules/02packages.details.txt.gz"`},
		{`{"spool":1,"kind":"upload",`, `{"kind":"upload", "spool":1,`},
		{`authors/id/E`, `authors\/id\/E`},
	} {
		b := strings.Replace(line, change[0], change[1], 1)
		if b == line {
			t.Fatalf("%q changes nothing", change)
		}
		e, err := Parse([]byte(b))
		if err != nil {
			t.Errorf("%s: %v", change[1], err)
			continue
		}
		if again, err := Parse(e.Marshal()); err != nil || *again != *e {
			t.Errorf("%s: written and read again: %+v, %v", change[1], again, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, change := range map[string][2]string{
		"no end of line":        {"}\n", "}"},
		"two lines":             {"{", "{\n"},
		"two objects":           {"}\n", "}{}\n"},
		"no object":             {line, "[]\n"},
		"nothing":               {line, ""},
		"another version":       {`"spool":1`, `"spool":2`},
		"a version in words":    {`"spool":1`, `"spool":"1"`},
		"a version of 1.0":      {`"spool":1`, `"spool":1.0`},
		"an unknown name":       {`"spool":1`, `"spool":1,"more":1`},
		"a name twice":          {`"spool":1`, `"spool":1,"by":null`},
		"a name in capitals":    {`"by"`, `"By"`},
		"a missing name":        {`,"by":"ETHER"`, ``},
		"a nested value":        {`"ETHER"`, `["ETHER"]`},
		"by in small letters":   {`"ETHER"}`, `"ether"}`},
		"by as a number":        {`"ETHER"}`, `7}`},
		"an unknown kind":       {`"kind":"upload"`, `"kind":"conflict"`},
		"an upload of an index": {`authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz`, `modules/06perms.txt`},
		"a document":            {`Try-Tiny-0.31.tar.gz`, `README`},
		"a path out of bounds":  {`authors/id/E/ET/ETHER`, `authors/id/../ETHER`},
		"a control character":   {`Try-Tiny`, `Try\u0000Tiny`},
		"half a digest":         {`e3b0c442`, ``},
		"a digest in capitals":  {`e3b0c442`, `E3B0C442`},
		"a size in words":       {`43478`, `"43478"`},
		"a size below zero":     {`43478`, `-1`},
		"a size of 1e3":         {`43478`, `1e3`},
		"a size without digest": {`"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`, `null`},
		"a time elsewhere":      {`10:00:00Z`, `10:00:00+01:00`},
		"no date":               {`2026-11-22`, `2026-13-22`},
		"too large":             {`{`, `{` + strings.Repeat(" ", MaxSize)},
	} {
		b := strings.Replace(line, change[0], change[1], 1)
		if e, err := Parse([]byte(b)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(line))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error %v", err)
			}
			return
		}
		again, err := Parse(e.Marshal())
		if err != nil || *again != *e {
			t.Fatalf("%q: %+v, written and read again: %+v, %v", b, e, again, err)
		}
	})
}

func newFolder(t *testing.T) *Folder {
	t.Helper()
	dir := t.TempDir()
	if _, err := Open(dir); err == nil {
		t.Error("a folder without new and tmp is taken for a spool")
	}
	for _, name := range []string{"new", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func event(t *testing.T, n int) *Event {
	t.Helper()
	e, err := Parse([]byte(strings.Replace(line, "0.31", fmt.Sprint(n), 1)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestFolderIsReadInTheOrderOfWriting(t *testing.T) {
	f := newFolder(t)
	start := time.Unix(1_800_000_000, 0)
	const n = 300
	for i := range n {
		// The clock may stand still: then the count decides, within one process.
		if err := f.Write(event(t, i), start.Add(time.Duration(i/10)*time.Microsecond), i); err != nil {
			t.Fatal(err)
		}
	}
	l, err := f.List(n)
	if err != nil || l.Total != n || len(l.Names) != n || l.Abridged || l.Strays != 0 || !l.Oldest.Equal(start) {
		t.Fatalf("%+v, %v", l, err)
	}
	if !slices.IsSorted(l.Names) {
		t.Error("the names are not in order")
	}
	seen := map[string]bool{}
	for _, name := range l.Names {
		e, err := f.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		seen[e.Path] = true
		if err := f.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != n {
		t.Errorf("%d events were read, want %d", len(seen), n)
	}
	if l, err := f.List(1); err != nil || l.Total != 0 || !l.Oldest.IsZero() {
		t.Errorf("afterwards: %+v, %v", l, err)
	}
}

func TestListIsBounded(t *testing.T) {
	f := newFolder(t)
	for i := range 50 {
		name := fmt.Sprintf("%010d.000000-1-%d.json", 1_800_000_000-i, i)
		if err := os.WriteFile(filepath.Join(f.dir, "new", name), []byte(line), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l, err := f.List(7)
	if err != nil || len(l.Names) != 7 || l.Total != 50 || !l.Abridged || l.Oldest.Unix() != 1_800_000_000-49 {
		t.Errorf("%+v, %v", l, err)
	}
}

// Whoever may write into the spool may put anything there. Nothing of it is followed or waited for.
func TestWhatIsNoSpoolFile(t *testing.T) {
	f := newFolder(t)
	good := "1800000000.000000-1-"
	in := func(name string) string { return filepath.Join(f.dir, "new", name) }
	for _, err := range []error{
		os.WriteFile(in(".hidden"), []byte(line), 0o644),
		os.WriteFile(in("README"), nil, 0o644),
		os.WriteFile(in(good+"1.json.swp"), nil, 0o644),
		os.Symlink("/etc/passwd", in(good+"2.json")),
		syscall.Mkfifo(in(good+"3.json"), 0o644),
		os.Mkdir(in(good+"4.json"), 0o755),
		os.WriteFile(in(good+"5.json"), bytes.Repeat([]byte("x"), 1<<20), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := f.List(100)
	if err != nil || l.Strays != 3 || l.Total != 4 {
		t.Fatalf("%+v, %v", l, err)
	}
	for _, name := range l.Names {
		if e, err := f.Read(name); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
		if b := f.Raw(name); len(b) > MaxSize {
			t.Errorf("%s: %d bytes are kept", name, len(b))
		}
		if err := f.Remove(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.Read(good + "9.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := f.Remove(good + "9.json"); err != nil {
		t.Errorf("removing a file that is not there: %v", err)
	}
}

func TestCleanRemovesWhatKilledWritersLeft(t *testing.T) {
	f := newFolder(t)
	now := time.Now()
	for name, age := range map[string]time.Duration{"old": 25 * time.Hour, "young": time.Hour} {
		path := filepath.Join(f.dir, "tmp", name)
		if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := f.Clean(now); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := os.Stat(filepath.Join(f.dir, "tmp", "young")); err != nil {
		t.Error(err)
	}
}
