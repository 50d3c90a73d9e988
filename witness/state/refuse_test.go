package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/head"
)

// copyTree copies a folder.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(from))); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A backup is a copy of a state.
func (f folders) backup(t *testing.T) folders {
	t.Helper()
	c := folders{filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "head")}
	copyTree(t, f.dir, c.dir)
	copyFile(t, f.head, c.head)
	return c
}

func (f folders) record(origin string) string { return filepath.Join(f.dir, originHash(origin)+suffix) }

// change opens a state, cosigns one more checkpoint and closes it.
func (f folders) change(t *testing.T, origin string, size uint64) {
	t.Helper()
	s := f.open(t)
	grow(t, s, origin, size, 1000+size)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

const other = "log.example/other"

// A state of 8 changes, with a backup of the moment after each of the last ones.
func aged(t *testing.T) (f folders, backups map[int]folders) {
	t.Helper()
	f = newFolders(t)
	s := f.open(t)
	add(t, s, origin)
	add(t, s, other)
	s.Close()
	backups = map[int]folders{}
	for i, c := range []struct {
		origin string
		size   uint64
	}{{origin, 3}, {other, 8}, {origin, 5}, {origin, 6}, {other, 9}, {origin, 9}} {
		f.change(t, c.origin, c.size)
		backups[i+3] = f.backup(t)
	}
	return f, backups
}

func TestOpenRefuses(t *testing.T) {
	for what, tt := range map[string]struct {
		damage func(t *testing.T, f folders, backups map[int]folders)
		words  []string
	}{
		"the folder is gone": {func(t *testing.T, f folders, _ map[int]folders) { os.RemoveAll(f.dir) },
			[]string{"no such file", "The head file says change 8", "newest copy of the folder", "retire this witness's keys for ever"}},
		"the folder was emptied": {func(t *testing.T, f folders, _ map[int]folders) { os.RemoveAll(f.dir); os.Mkdir(f.dir, 0o700) },
			[]string{"at change 0, with 0 logs", "head file at change 8", "newest copy of the folder"}},
		"the folder was restored": {func(t *testing.T, f folders, b map[int]folders) { copyTree(t, b[5].dir, f.dir) },
			[]string{"at change 5, with 2 logs", "head file at change 8", "an older copy"}},
		"the folder was restored to one change before": {func(t *testing.T, f folders, b map[int]folders) { copyTree(t, b[7].dir, f.dir) },
			[]string{"at change 7", "head file at change 8", "an older copy"}},
		"the newest record was deleted": {func(t *testing.T, f folders, _ map[int]folders) { os.Remove(f.record(origin)) },
			[]string{"at change 7, with 1 logs", "head file at change 8"}},
		"another record was deleted": {func(t *testing.T, f folders, _ map[int]folders) { os.Remove(f.record(other)) },
			[]string{"change 8, with 1 logs", "with other records"}},
		"another record was restored": {func(t *testing.T, f folders, b map[int]folders) { copyFile(t, b[5].record(other), f.record(other)) },
			[]string{"change 8", "with other records"}},
		"the newest record lost its newer slot": {func(t *testing.T, f folders, _ map[int]folders) { spoil(t, f.record(origin), "\"sequence\": 8") },
			[]string{"at change 7", "head file at change 8"}},
		"a record has no valid slot": {func(t *testing.T, f folders, _ map[int]folders) {
			os.WriteFile(f.record(other), make([]byte, 100), 0o600)
		},
			[]string{"no valid slot", "The head file says change 8"}},
		"a record is in another's file": {func(t *testing.T, f folders, _ map[int]folders) { copyFile(t, f.record(origin), f.record(other)) },
			[]string{"the record is of log.example/pause"}},
		"a record that was never added": {func(t *testing.T, f folders, _ map[int]folders) {
			g := newFolders(t)
			s := g.open(t)
			add(t, s, "log.example/stray")
			s.Close()
			copyFile(t, g.record("log.example/stray"), f.record("log.example/stray"))
		}, []string{"change 8, with 3 logs", "with other records"}},
		"the head file is gone": {func(t *testing.T, f folders, _ map[int]folders) { os.Remove(f.head) },
			[]string{"could sign a fork", "at change 8, with 2 logs", "newest copy of the head file", "retire"}},
		"the head file is empty": {func(t *testing.T, f folders, _ map[int]folders) { os.WriteFile(f.head, nil, 0o600) },
			[]string{"no valid head", "at change 8"}},
		"the head file is two changes old": {func(t *testing.T, f folders, b map[int]folders) { copyFile(t, b[6].head, f.head) },
			[]string{"at change 8", "only at change 6", "change 7 or 8"}},
		"the head file is the first one": {func(t *testing.T, f folders, _ map[int]folders) { copyFile(t, newFolders(t).head, f.head) },
			[]string{"at change 8", "only at change 0"}},
		"the head file is another witness's": {func(t *testing.T, f folders, _ map[int]folders) {
			os.Remove(f.head)
			if err := head.Create(f.head, head.Head{Origin: "witness.example/w2", Size: 8, Root: digest(nil)}); err != nil {
				t.Fatal(err)
			}
		}, []string{"witness.example/w2", name}},
		"the head file is of another history, as long": {func(t *testing.T, f folders, b map[int]folders) {
			b[7].change(t, origin, 7)
			copyFile(t, b[7].head, f.head)
		}, []string{"change 8", "with other records"}},
		"the head file is of another history, one change shorter": {func(t *testing.T, f folders, b map[int]folders) {
			b[6].change(t, other, 10)
			copyFile(t, b[6].head, f.head)
		}, []string{"at change 8", "at change 7", "with other records"}},
		"the clock file is from the future": {func(t *testing.T, f folders, _ map[int]folders) {
			os.WriteFile(filepath.Join(f.dir, clockFile), acceptance{5, 9}.marshal(), 0o600)
		}, []string{"mixture"}},
	} {
		t.Run(what, func(t *testing.T) {
			f, backups := aged(t)
			tt.damage(t, f, backups)
			for range 2 { // the first attempt changed nothing
				s, err := Open(f.dir, f.head, name, nil)
				if !errors.Is(err, ErrRefused) {
					t.Fatalf("%+v, %v", s, err)
				}
				for _, w := range tt.words {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("%q is not in: %v", w, err)
					}
				}
			}
		})
	}
}

// spoil changes a byte of a file behind some words.
func spoil(t *testing.T, file, words string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	i := strings.Index(string(b), words)
	if i < 0 {
		t.Fatalf("%q is not in %s", words, file)
	}
	b[i+len(words)] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The one difference between folder and head that is no harm.
func TestHeadOneChangeBehindIsWrittenAgain(t *testing.T) {
	f, backups := aged(t)
	copyFile(t, backups[7].head, f.head)
	s := f.open(t)
	if l := get(t, s, origin); l.Size != 9 || l.Sequence != 8 {
		t.Errorf("%+v", l)
	}
	s.Close()
	copyFile(t, f.head, backups[7].head)
	// The older slot of the record that changed last is needed for that only once.
	spoil(t, f.record(origin), "\"sequence\": 6")
	if l := get(t, f.open(t), origin); l.Size != 9 {
		t.Errorf("%+v", l)
	}
}

// Without the record's older slot nobody can tell that only one change is between the two.
func TestHeadOneChangeBehindAndTheOlderSlotDamaged(t *testing.T) {
	f, backups := aged(t)
	copyFile(t, backups[7].head, f.head)
	spoil(t, f.record(origin), "\"sequence\": 6")
	if s, err := Open(f.dir, f.head, name, nil); !errors.Is(err, ErrRefused) {
		t.Errorf("%+v, %v", s, err)
	}
}

// A crash while a record's file is made leaves it under a temporary name.
func TestTemporaryFilesAreRemoved(t *testing.T) {
	f, _ := aged(t)
	left := filepath.Join(f.dir, "."+originHash(other)+suffix+".123.tmp")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(f.dir); err != nil {
		t.Errorf("Inspect: %v", err)
	}
	f.open(t)
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestInspectFallsBackToTheOtherSlot(t *testing.T) {
	f, _ := aged(t)
	spoil(t, f.record(origin), "\"sequence\": 8")
	logs, err := Inspect(f.dir)
	if err != nil || len(logs) != 2 || logs[1].Origin != origin || logs[1].Size != 6 {
		t.Errorf("%+v, %v", logs, err)
	}
	if _, err := Inspect(filepath.Join(f.dir, "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is gone: %v", err)
	}
}

// Trouble of the system is no reason to look for a backup.
func TestUnreadableFolderIsNoRefusal(t *testing.T) {
	f, _ := aged(t)
	os.Remove(f.record(other))
	if err := os.Mkdir(f.record(other), 0o700); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(f.dir, f.head, name, nil); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("%+v, %v", s, err)
	}
}
