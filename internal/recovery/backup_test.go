package recovery

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/store"
)

// save backs the world's log up, which does not run.
func (w *world) save(to string, change func(*Backup)) (*BackupReport, error) {
	w.Helper()
	b := Backup{Folder: w.folder, Store: w.folder.StoreDir(), To: to}
	if change != nil {
		change(&b)
	}
	return b.Write(w.Context())
}

// listing are the paths of all files below a folder.
func listing(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			out = append(out, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBackupHasWhatALogNeeds(t *testing.T) {
	w := newWorld(t)
	w.grow(600)
	w.put(filepath.Join(w.folder.Dir, "policy"), []byte("a policy"))
	w.put(filepath.Join(w.folder.Dir, "evidence", "witness-1.txt"), []byte("what it said"))
	w.put(filepath.Join(w.folder.Dir, "override"), []byte("for one start"))
	to := filepath.Join(w.TempDir(), "some", "backups")
	r, err := w.save(to, func(b *Backup) { b.Now = func() time.Time { return clock } })
	if err != nil {
		t.Fatal(err)
	}
	if r.Path != filepath.Join(to, "20261122T100000Z") || r.Size != 600 || !r.Verified || r.Keys || r.Linked != 0 || r.Files == 0 || r.Bytes == 0 {
		t.Errorf("%+v", r)
	}
	var names []string
	for _, name := range listing(t, r.Path) {
		if !strings.HasPrefix(name, "db/log/") {
			names = append(names, name)
		}
	}
	if want := []string{"backup.json", "checkpoint", "evidence/witness-1.txt", "log.json", "policy", "starts"}; !slices.Equal(names, want) {
		t.Errorf("it has %v, want %v", names, want)
	}
	b, err := os.ReadFile(filepath.Join(r.Path, "backup.json"))
	var m manifestFile
	if err != nil || json.Unmarshal(b, &m) != nil || m.Size != 600 || m.Origin != origin || m.Root != r.Root || len(m.Files) != r.Files {
		t.Errorf("%s, %v", b, err)
	}
	if info, err := os.Stat(filepath.Join(r.Path, "log.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if r, err := w.save(to, func(b *Backup) { b.Keys = true }); err != nil || !slices.Contains(listing(t, r.Path), "keys/ed25519.key") {
		t.Errorf("with keys: %+v, %v", r, err)
	}
	// The same moment again.
	if r, err := w.save(to, func(b *Backup) { b.Now = func() time.Time { return clock } }); err != nil || r.Path != filepath.Join(to, "20261122T100000Z-2") {
		t.Errorf("%+v, %v", r, err)
	}
}

// What a backup before has is not written again, and each can be removed.
func TestBackupsShareWhatIsTheSame(t *testing.T) {
	w := newWorld(t)
	w.grow(2000)
	w.grow(1) // opening writes a table
	to := w.TempDir()
	first, err := w.save(to, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.save(to, func(b *Backup) { b.Now = func() time.Time { return time.Now().Add(time.Hour) } })
	if err != nil || second.Linked < second.Bytes/2 || second.Size != 2001 || second.Bytes != first.Bytes {
		t.Fatalf("%+v, %v", second, err)
	}
	w.check(os.RemoveAll(first.Path))
	w.check(os.RemoveAll(w.folder.StoreDir()))
	if r, err := w.recover(nil, second.Path); err != nil || !r.Recovered {
		t.Fatalf("%+v, %v", r, err)
	}
	w.sound()
}

// A backup before that has become damaged is not taken over.
func TestBackupAfterADamagedOne(t *testing.T) {
	w := newWorld(t)
	w.grow(2000)
	w.grow(1)
	to := w.TempDir()
	first, err := w.save(to, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.flipTables(filepath.Join(first.Path, "db"))
	second, err := w.save(to, func(b *Backup) { b.Now = func() time.Time { return time.Now().Add(time.Hour) } })
	if err != nil || second.Linked != 0 || !second.Verified {
		t.Fatalf("%+v, %v", second, err)
	}
	c, err := store.OpenCopy(filepath.Join(second.Path, "db"), store.Options{})
	w.check(err)
	defer c.Close()
	if _, s, err := c.Verify(t.Context(), store.ScrubOptions{}); err != nil || s.Size != 2001 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestBackupsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(w *world, b *Backup)
		want    string
	}{
		"of a damaged store": {func(w *world, b *Backup) { w.raw(w.folder.StoreDir(), set(key('z', 5), nil)) }, "the copy is not sound, and was removed"},
		"of another log's store": {func(w *world, b *Backup) {
			other := newWorld(w.T)
			other.grow(10)
			b.Store = other.folder.StoreDir()
		}, "the copy is not sound"},
		"of no store":          {func(w *world, b *Backup) { b.Store = w.TempDir() }, "no such file"},
		"in the data folder":   {func(w *world, b *Backup) { b.To = filepath.Join(w.folder.Dir, "backups") }, "is in the data folder"},
		"over the data folder": {func(w *world, b *Backup) { b.To = w.folder.Dir }, "is in the data folder"},
		"beside another backup": {func(w *world, b *Backup) {
			unlock, err := lockFolder(b.To)
			w.check(err)
			w.Cleanup(unlock)
		}, ErrBusy.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.grow(600)
			to := w.TempDir()
			r, err := w.save(to, func(b *Backup) { c.prepare(w, b) })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v, want %q", r, err, c.want)
			}
			if left := listing(t, to); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// What a backup that was killed left is removed, and never taken for one.
func TestBackupAfterAKilledOne(t *testing.T) {
	w := newWorld(t)
	w.grow(300)
	to := w.TempDir()
	w.put(filepath.Join(to, ".partial-20260101T000000Z", "db", "log", "000004.sst"), []byte("x"))
	r, err := w.save(to, nil)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(to)
	if err != nil || len(entries) != 1 || entries[0].Name() != filepath.Base(r.Path) {
		t.Errorf("%v, %v", entries, err)
	}
	// A damaged entry passes only where nobody looks.
	w.raw(w.folder.StoreDir(), set(key('z', 5), nil))
	if r, err := w.save(to, func(b *Backup) { b.Unverified = true }); err != nil || r.Verified {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := w.save(to, nil); !errors.Is(err, store.ErrDamaged) {
		t.Error(err)
	}
}
