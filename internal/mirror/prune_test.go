package mirror

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/verify"
)

// age says that a file was used last a while ago.
func age(t *testing.T, name string, ago time.Duration) {
	t.Helper()
	then := time.Now().Add(-ago)
	if err := os.Chtimes(name, then, then); err != nil {
		t.Fatal(err)
	}
}

func there(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// keep puts a file into a cache, and returns its name there.
func keep(t *testing.T, c *cache, b []byte) string {
	t.Helper()
	f, err := c.create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.keep(); err != nil {
		t.Fatal(err)
	}
	return c.name(digest(b))
}

func TestCacheIsPruned(t *testing.T) {
	c := must(openCache(t.TempDir(), 1000))
	var files [][]byte
	var names []string
	for i := range 4 {
		files = append(files, bytes.Repeat([]byte{byte(i)}, 300))
	}
	for i, b := range files[:3] {
		names = append(names, keep(t, c, b))
		age(t, names[i], time.Hour-time.Duration(i)*time.Minute)
	}
	// The oldest is read again, and is so the newest; and it is being read when another comes.
	f, err := c.open(digest(files[0]), 300)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	names = append(names, keep(t, c, files[3]))
	for i, want := range []bool{true, false, true, true} {
		if there(names[i]) != want {
			t.Errorf("file %d is there: %v, want %v", i, !want, want)
		}
	}
	// What is being read does not mind.
	age(t, names[0], 2*time.Hour)
	for i := range 4 {
		keep(t, c, bytes.Repeat([]byte{byte(10 + i)}, 300))
	}
	if there(names[0]) {
		t.Error("the oldest is there still")
	}
	if b, err := io.ReadAll(f); err != nil || !bytes.Equal(b, files[0]) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// What was used just now stays: somebody may be about to read it.
func TestPruningLeavesWhatIsInUse(t *testing.T) {
	c := must(openCache(t.TempDir(), 1))
	for i := range 3 {
		name := keep(t, c, []byte{byte(i), 0})
		defer func() {
			if !there(name) {
				t.Errorf("%s is gone", name)
			}
		}()
	}
}

func TestCacheIsTidiedAtStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[a-b]") // a name that is no pattern
	c := must(openCache(dir, 1000))
	old, used := keep(t, c, bytes.Repeat([]byte("a"), 900)), keep(t, c, bytes.Repeat([]byte("b"), 900))
	for name, ago := range map[string]time.Duration{old: 3 * time.Hour, used: 2 * time.Hour} {
		age(t, name, ago)
	}
	abandoned, arriving := filepath.Join(dir, "partial", "1.tmp"), filepath.Join(dir, "partial", "2.tmp")
	foreign, other := filepath.Join(dir, "sha256", "ab", "notes"), filepath.Join(dir, "notes")
	for _, name := range []string{abandoned, arriving, foreign, other} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, make([]byte, 5000), 0o600); err != nil {
			t.Fatal(err)
		}
		age(t, name, 25*time.Hour)
	}
	age(t, arriving, 23*time.Hour)
	must(openCache(dir, 1000))
	for name, want := range map[string]bool{old: false, used: true, abandoned: false, arriving: true, foreign: true, other: true} {
		if there(name) != want {
			t.Errorf("%s is there: %v, want %v", name, !want, want)
		}
	}
}

// A mirror whose cache is too small for anything serves all the same.
func TestSmallCache(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.CacheSize = 1 })
	for range 2 {
		for path, b := range map[string][]byte{goodPath: goodFile, otherPath: otherFile, indexPath: indexFile} {
			w.wantServed(path, b)
			age(t, w.mirror.cache.name(digest(b)), time.Hour)
		}
	}
}

// Records are dropped when there are too many, those of what passed first, and stay counted.
func TestRecordsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.mirror.most = 10
	w.wantServed(indexPath, indexFile)
	w.wantRefused(voidedPath, "403 Not In Transparency Log: revoked")
	for i := range 40 {
		w.mirror.record(&object{path: fmt.Sprintf("%d-1.tar.gz", i), class: archive, state: Verified})
	}
	s := w.mirror.Summary()
	if len(w.mirror.order) > 10 || len(w.mirror.objects) != len(w.mirror.order) || s.Verified != 40 || s.Refused != 1 || s.Worst != verify.Revoked || s.Index != "verified" {
		t.Errorf("%d paths, %d decisions, %s, %v", len(w.mirror.order), len(w.mirror.objects), s, s.Worst)
	}
	if r := w.mirror.Records(); r[0].Path != indexPath || r[1].Path != voidedPath {
		t.Errorf("the first of the record: %v", r[:2])
	}
	for i := range 40 {
		w.mirror.record(&object{path: fmt.Sprintf("%d-2.tar.gz", i), class: archive, state: Refused, unsure: true})
	}
	if s = w.mirror.Summary(); len(w.mirror.order) > 10 || s.Verified != 40 || s.Refused != 41 || s.Worst != verify.Revoked || s.Index != "verified" {
		t.Errorf("%d paths, %s, %v", len(w.mirror.order), s, s.Worst)
	}
}

// A mirror that closes answers with an error, and not with an empty file.
func TestClosingIsNoEmptyFile(t *testing.T) {
	w := newWorld(t)
	if err := w.mirror.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{goodPath, indexPath, "v1.0/package/Try::Tiny"} {
		w.wantRefused(path, "503 Cannot Verify: the mirror closes")
	}
}
