package recovery

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
)

const origin = "log.example/pause"

var clock = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// A world is a log, and what was promised to its submitters.
type world struct {
	*testing.T
	folder  *datafolder.Folder
	entries [][]byte // all that were acknowledged
	snaps   int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	f, err := datafolder.Init(filepath.Join(t.TempDir(), "log"), origin, "", clock)
	if err != nil {
		t.Fatal(err)
	}
	return &world{T: t, folder: f}
}

func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// running starts the log as pauselogd does, or says why it refuses to start.
func (w *world) running(f func(*store.Store, *sequencer.Sequencer)) error {
	k, err := head.Open(w.folder.Head)
	if err != nil {
		return err
	}
	defer k.Close()
	s, err := store.Open(w.folder.StoreDir(), store.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	q, err := sequencer.Open(sequencer.Config{Origin: origin, Store: s, Head: k, Signers: w.folder.Signers, Retired: w.folder.Retired, Now: func() time.Time { return clock }})
	if err != nil {
		return err
	}
	defer q.Close()
	w.check(os.WriteFile(w.folder.StartsFile(), fmt.Appendf(nil, "%d\n", k.Head().Starts+1), 0o600))
	w.check(k.Begin())
	f(s, q)
	return nil
}

// grow has the log take so many entries: uploads, of some paths again after a delete, index snapshots and conflicts.
func (w *world) grow(n int) {
	w.Helper()
	w.check(w.running(func(s *store.Store, q *sequencer.Sequencer) {
		for to := len(w.entries) + n; len(w.entries) < to; {
			var group []*entry.Entry
			for i := len(w.entries); i < min(len(w.entries)+100, to); i++ {
				group = append(group, w.entry(i))
			}
			results, err := q.Submit(w.Context(), group...)
			w.check(err)
			for _, r := range results {
				if r.Err != nil {
					w.Fatal(r.Err)
				}
				w.entries = append(w.entries, r.Entry)
			}
		}
		if s.Head().Size != uint64(len(w.entries)) {
			w.Fatalf("size %d, %d entries", s.Head().Size, len(w.entries))
		}
	}))
}

func (w *world) entry(i int) *entry.Entry {
	d := entry.Digest(tree.LeafHash(fmt.Append(nil, i)))
	if i%10 == 9 {
		w.snaps++
		return &entry.Entry{Kind: entry.Index, Path: "modules/02packages.details.txt.gz", SHA256: d, Size: uint64(i + 1), Time: entry.TimeOf(clock) - 100000 + entry.Time(w.snaps)}
	}
	return &entry.Entry{Kind: entry.Upload, Path: fmt.Sprintf("authors/id/E/ET/ETHER/Dist-%d.tar.gz", i), SHA256: d, Size: uint64(i), Time: entry.TimeOf(clock), By: "ETHER", Seen: entry.SeenUpload}
}

// sound demands that the log starts, goes on, and has everything that it acknowledged.
func (w *world) sound() {
	w.Helper()
	had := len(w.entries)
	w.grow(3)
	w.check(w.running(func(s *store.Store, _ *sequencer.Sequencer) {
		size := s.Head().Size
		for i, want := range w.entries {
			if got, err := s.Entry(uint64(i), size); err != nil || !bytes.Equal(got, want) {
				w.Fatalf("entry %d of %d: %q, %v, want %q", i, had, got, err, want)
			}
		}
		r, err := s.Scrub(w.Context(), store.ScrubOptions{})
		if err != nil || len(r.Damage) > 0 {
			w.Fatalf("%+v, %v", r, err)
		}
		last, err := s.Last("modules/02packages.details.txt.gz", size)
		if err != nil || w.snaps > 0 && last == nil {
			w.Fatal(last, err)
		}
	}))
}

// headNow is the head file.
func (w *world) headNow() head.Head {
	w.Helper()
	k, err := head.Open(w.folder.Head)
	w.check(err)
	defer k.Close()
	return k.Head()
}

// note is the newest checkpoint in the store.
func (w *world) note() []byte {
	w.Helper()
	c, err := store.OpenCopy(w.folder.StoreDir(), store.Options{})
	w.check(err)
	defer c.Close()
	s, err := c.State()
	w.check(err)
	return s.Note
}

// mirror writes the static tree of the log as it is now, as a mirror has it.
func (w *world) mirror() string {
	w.Helper()
	return w.mirrorOf(w.entries, w.note())
}

func (w *world) mirrorOf(entries [][]byte, note []byte) string {
	w.Helper()
	dir := w.TempDir()
	b := prooftree.NewBuilder()
	for _, e := range entries {
		w.check(b.Add(e))
	}
	files := slices.AppendSeq(b.Full(), b.Partial())
	for _, f := range files {
		w.put(filepath.Join(dir, f.Tile.Path()), f.Data)
	}
	w.put(filepath.Join(dir, "checkpoint"), note)
	return dir
}

func (w *world) put(name string, b []byte) {
	w.Helper()
	w.check(os.MkdirAll(filepath.Dir(name), 0o755))
	w.check(os.WriteFile(name, b, 0o644))
}

// backup copies the store as it is now.
func (w *world) backup() string {
	w.Helper()
	dir := filepath.Join(w.TempDir(), "backup")
	w.check(os.CopyFS(filepath.Join(dir, "db"), os.DirFS(w.folder.StoreDir())))
	return dir
}

// restore lays a backup over the folder.
func (w *world) restore(backup string) {
	w.Helper()
	w.check(os.RemoveAll(w.folder.StoreDir()))
	w.check(os.CopyFS(w.folder.StoreDir(), os.DirFS(filepath.Join(backup, "db"))))
}

// raw changes the store's data as a faulty disk would that has right checksums.
func (w *world) raw(dir string, change func(*pebble.DB) error) {
	w.Helper()
	db, err := pebble.Open(filepath.Join(dir, "log"), &pebble.Options{FormatMajorVersion: pebble.FormatNewest})
	w.check(err)
	w.check(errors.Join(change(db), db.Flush(), db.Close()))
}

func key(prefix byte, n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{prefix}, n) }

// set replaces a value; nil deletes it.
func set(k, v []byte) func(*pebble.DB) error {
	return func(db *pebble.DB) error {
		if v == nil {
			return db.Delete(k, pebble.Sync)
		}
		return db.Set(k, v, pebble.Sync)
	}
}

// flipTables flips a byte in the middle of each table file of a store, as a disk does.
func (w *world) flipTables(dir string) {
	w.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "log", "*.sst"))
	w.check(err)
	if len(names) == 0 {
		w.Fatal("no tables")
	}
	for _, name := range names {
		flip(w.T, name, 3)
	}
}

// flip flips a bit at an n-th of a file.
func flip(t *testing.T, name string, n int) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/n] ^= 0x10
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// recover recovers the log from what is named.
func (w *world) recover(change func(*Config), from ...string) (*Report, error) {
	w.Helper()
	h := w.headNow()
	c := Config{Folder: w.folder, Head: &h, Now: func() time.Time { return clock }}
	for _, name := range from {
		s, err := Open(name, "test")
		w.check(err)
		defer s.Close()
		c.Sources = append(c.Sources, s)
	}
	if change != nil {
		change(&c)
	}
	return Recover(context.Background(), c)
}

// files are the contents of all files in the log's folder and its head.
func (w *world) files() map[string]string {
	w.Helper()
	out := map[string]string{}
	w.check(filepath.WalkDir(filepath.Dir(w.folder.Dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = string(b)
		return err
	}))
	return out
}

// unchanged demands an error, of which the text has all of these, and that nothing was changed.
func (w *world) unchanged(before map[string]string, err, is error, texts ...string) {
	w.Helper()
	if !errors.Is(err, is) {
		w.Errorf("%v, want one that is %v", err, is)
		return
	}
	for _, s := range texts {
		if !strings.Contains(err.Error(), s) {
			w.Errorf("the error does not say %q:\n%v", s, err)
		}
	}
	after := w.files()
	if !maps.Equal(before, after) {
		for name := range after {
			if before[name] != after[name] {
				w.Errorf("%s changed", name)
			}
		}
		for name := range before {
			if _, ok := after[name]; !ok {
				w.Errorf("%s is gone", name)
			}
		}
	}
}

// backupHead keeps the head file, and restoreHead puts it back.
func (w *world) backupHead() []byte {
	w.Helper()
	b, err := os.ReadFile(w.folder.Head)
	w.check(err)
	return b
}

func (w *world) restoreHead(b []byte) {
	w.Helper()
	w.check(os.WriteFile(w.folder.Head, b, 0o600))
}

type sequencerT = sequencer.Sequencer

// forged is a checkpoint with a valid signature by the log's own key.
func (w *world) forged(size uint64, root tree.Hash) []byte {
	w.Helper()
	c := checkpoint.Checkpoint{Origin: origin, Size: size, Root: root}
	s, err := w.folder.Signers[0].Sign(c, 0)
	w.check(err)
	return checkpoint.Note{Text: c.Text()}.With(s).Marshal()
}

// rootOf is the root over entries.
func rootOfEntries(t *testing.T, entries [][]byte) tree.Hash {
	t.Helper()
	b := prooftree.NewBuilder()
	for _, e := range entries {
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	return b.Root()
}
