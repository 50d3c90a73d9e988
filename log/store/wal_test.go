package store

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// errDisk is what the disk of these tests says.
var errDisk = errors.New("input/output error")

// A store writes to a WAL until its memtable is full, and then to another. If there is no other to be had, nothing more can be
// stored. Pebble panics at that while its locks are in disorder: the runtime then ends the process over a mutex, and says
// nothing of the disk. So the store says it first (Options.Fatal), before anything is unwound; the commit that needed the WAL has no
// answer, and what was answered before is there at the next start.
func TestAWALThatCannotBeExchangedIsFatal(t *testing.T) {
	const walDir = "log/log"
	isWAL := func(op errorfs.Op) bool { return path.Dir(op.Path) == walDir && path.Ext(op.Path) == ".log" }
	for _, tt := range []struct {
		name string
		old  int                   // how many WALs were used up before
		hits func(errorfs.Op) bool // operations that fail
	}{
		{"no new file", 0, func(op errorfs.Op) bool { return op.Kind == errorfs.OpCreate && isWAL(op) }},
		{"an old file that cannot be used again", 3, func(op errorfs.Op) bool { return op.Kind == errorfs.OpReuseForWrite && isWAL(op) }},
		{"a folder that does not take its name", 0, func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSync && op.Path == walDir }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			create(t, mem)
			var armed atomic.Bool
			disk := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if armed.Load() && tt.hits(op) {
					return errDisk
				}
				return nil
			}))
			fatal := make(chan error)
			// It is never closed, as the store of a process that has ended: a commit is for ever in the middle.
			s, err := Open("log", Options{FS: disk, Fatal: func(err error) {
				fatal <- err
				select {} // as os.Exit does, it never returns
			}})
			if err != nil {
				t.Fatal(err)
			}
			m := &model{last: map[string][]uint64{}}
			for range tt.old {
				commit(t, s, []Item{m.add(t, upload(len(m.entries)))})
				if err := s.db.Flush(); err != nil { // Pebble keeps the WALs of what it has flushed, to write to them again
					t.Fatal(err)
				}
			}
			armed.Store(true)
			durable, err := fillUntilItFails(t, s, m, fatal)
			if err == nil || !strings.Contains(err.Error(), "a new WAL") || !strings.Contains(err.Error(), errDisk.Error()) {
				t.Errorf("Fatal was told %v", err)
			}
			if got := s.Head().Size; got != durable || durable == 0 {
				t.Errorf("the head is at %d, and %d were answered", got, durable)
			}

			// The next start, after the power went too: with nothing that was not synced, and on a disk that works.
			again := openStore(t, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0}))
			defer again.Close()
			size := again.Head().Size
			if size < durable || size > uint64(len(m.entries)) {
				t.Fatalf("after the next start it has %d entries; %d were answered, of %d", size, durable, len(m.entries))
			}
			check(t, again, m, size, []uint64{0, durable / 2, durable - 1})
		})
	}
}

// fillUntilItFails commits until Fatal is called and not returned from; it returns how many entries were answered, and what Fatal
// was told.
func fillUntilItFails(t *testing.T, s *Store, m *model, fatal <-chan error) (durable uint64, err error) {
	t.Helper()
	const most = 100_000 // far beyond what the first memtables take
	for len(m.entries) < most {
		var items []Item
		for range 1000 {
			items = append(items, m.add(t, upload(len(m.entries))))
		}
		b, err := s.Stage(items)
		if err == nil {
			err = b.Seal(b.Size(), fmt.Appendf(nil, "note %d", b.Size()))
		}
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- s.Commit(b) }()
		select {
		case err := <-fatal:
			return durable, err
		case err := <-done:
			if err := errors.Join(err, s.Advance(b)); err != nil {
				t.Fatal(err)
			}
		}
		durable = b.Size()
	}
	t.Fatalf("%d entries were committed, and the WAL was not exchanged", most)
	return 0, nil
}
