package recovery

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// Whatever is damaged in the store and in its sources, a recovery either brings back exactly what was signed, or
// changes nothing.
func TestRandomDamage(t *testing.T) {
	w := newWorld(t)
	w.grow(700)
	w.grow(80)
	backup := w.backup()
	w.grow(300)
	mirror := w.mirror()
	w.grow(9)
	late := w.mirror()
	pristine := w.backup()
	head := w.backupHead()
	starts, err := os.ReadFile(w.folder.StartsFile())
	w.check(err)
	entries, snaps := w.entries, w.snaps

	recovered := 0
	for seed := range uint64(25) {
		random := rand.New(rand.NewPCG(seed, 1))
		ok := t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w.T, w.entries, w.snaps = t, entries[:len(entries):len(entries)], snaps
			w.check(os.RemoveAll(w.folder.StoreDir()))
			w.restore(pristine)
			w.restoreHead(head)
			w.check(os.WriteFile(w.folder.StartsFile(), starts, 0o600))
			old, err := filepath.Glob(w.folder.StoreDir() + ".*")
			w.check(err)
			for _, name := range old {
				w.check(os.RemoveAll(name))
			}
			var from []string
			for i, source := range []string{backup, mirror, late} {
				copied := filepath.Join(t.TempDir(), fmt.Sprint(i))
				w.check(os.CopyFS(copied, os.DirFS(source)))
				if random.IntN(4) > 0 {
					harm(t, random, copied)
				}
				if random.IntN(4) > 0 {
					from = append(from, copied)
				}
			}
			random.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
			switch random.IntN(3) {
			case 0:
				harm(t, random, w.folder.StoreDir())
			case 1:
				w.raw(w.folder.StoreDir(), func(db *pebble.DB) error {
					var errs error
					for range 1 + random.IntN(4) {
						k := key("etkv"[random.IntN(4)], random.Uint64N(1100))
						if random.IntN(2) == 0 {
							errs = errors.Join(errs, db.Delete(k, pebble.Sync))
						} else if _, c, err := db.Get(k); err == nil {
							errs = errors.Join(errs, c.Close(), db.Set(k, []byte("something else"), pebble.Sync))
						}
					}
					return errs
				})
			}
			before := w.files()
			r, err := w.recoverFrom(from)
			if err != nil {
				if !errors.Is(err, ErrMissing) && !errors.Is(err, ErrFork) && !errors.Is(err, ErrHead) {
					t.Errorf("%v", err)
				}
				w.unchanged(before, err, err)
				return
			}
			if r.Size != uint64(len(entries)) {
				t.Errorf("%+v", r)
			}
			recovered++
			w.sound()
		})
		if !ok {
			break
		}
	}
	w.T = t
	if recovered < 10 {
		t.Errorf("only %d of 25 were recovered", recovered)
	}
}

// recoverFrom is recover with what can be opened of the sources.
func (w *world) recoverFrom(names []string) (*Report, error) {
	w.Helper()
	var usable []string
	for _, name := range names {
		s, err := Open(name, "test")
		if err != nil {
			continue
		}
		w.check(s.Close())
		usable = append(usable, name)
	}
	return w.recover(nil, usable...)
}

// harm damages some of a folder's files.
func harm(t *testing.T, random *rand.Rand, dir string) {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, "LOCK") {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 1 + random.IntN(3) {
		name := names[random.IntN(len(names))]
		b, err := os.ReadFile(name)
		if err != nil {
			continue // removed just now
		}
		switch n := random.IntN(4); {
		case n == 0:
			err = os.Remove(name)
		case n == 1:
			err = os.Truncate(name, int64(random.IntN(len(b)+1)))
		case len(b) > 0:
			b[random.IntN(len(b))] ^= 1 << random.IntN(8)
			err = os.WriteFile(name, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
