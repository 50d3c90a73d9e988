package model

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/store"
)

// errNoSpace is what a full disk says.
var errNoSpace = errors.New("no space left on device")

// A disk is what a log keeps its store and its head on. A sync takes simulated time, in the middle of which the power may
// fail.
type disk struct {
	vfs.FS // memory's, with slow write-ahead logs
	memory *vfs.MemFS
	random *locked
	full   *atomic.Bool // the disk of the head
	slows  atomic.Bool  // syncs of the write-ahead log take time: not while Pebble opens or closes, with a mutex held
	lies   bool         // sabotage: the write-ahead log is never synced
}

// locked is a source for several goroutines.
type locked struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (l *locked) duration(most time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(l.r.Int64N(int64(most)))
}

func newDisk(m *vfs.MemFS, r *rand.Rand, full *atomic.Bool, lies bool) *disk {
	d := &disk{memory: m, random: &locked{r: r}, full: full, lies: lies}
	d.FS = slowFS{m, d}
	return d
}

// format makes a new log's disk.
func (d *disk) format(s store.State, h head.Head) error {
	if err := store.Create("data", store.Options{FS: d.memory}, s); err != nil {
		return err
	}
	f, err := d.memory.Create("head", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	dir, err := d.memory.OpenDir("")
	if err != nil {
		return err
	}
	return errors.Join(head.Format(headFile{f, d}, h), f.Sync(), f.Close(), dir.Sync(), dir.Close())
}

func (d *disk) openHead() (*head.Keeper, error) {
	f, err := d.memory.OpenReadWrite("head", vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	k, err := head.Read(headFile{f, d})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return k, nil
}

// crash is what a loss of power at this moment leaves: all that was synced, and of the rest each block with this
// chance.
func (d *disk) crash(r *rand.Rand, percent int) *vfs.MemFS {
	return d.memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: r})
}

// syncTime is how long half of a sync takes at most.
const syncTime = 8 * time.Millisecond

// slow syncs with a pause before and after it.
func (d *disk) slow(sync func() error) error {
	time.Sleep(d.random.duration(syncTime))
	err := sync()
	time.Sleep(d.random.duration(syncTime))
	return err
}

type slowFS struct {
	vfs.FS
	disk *disk
}

func (s slowFS) file(name string, f vfs.File, err error) (vfs.File, error) {
	if err == nil && strings.HasSuffix(name, ".log") && strings.Contains(name, "data/log/") {
		return slowFile{f, s.disk}, nil
	}
	return f, err
}

func (s slowFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, c)
	return s.file(name, f, err)
}

func (s slowFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.ReuseForWrite(old, name, c)
	return s.file(name, f, err)
}

type slowFile struct {
	vfs.File
	disk *disk
}

func (f slowFile) sync(sync func() error) error {
	if f.disk.lies {
		return nil
	}
	if !f.disk.slows.Load() {
		return sync()
	}
	return f.disk.slow(sync)
}

func (f slowFile) Sync() error     { return f.sync(f.File.Sync) }
func (f slowFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f slowFile) SyncTo(int64) (bool, error) { return true, f.sync(f.File.SyncData) }

// A headFile is a log's head on its disk.
type headFile struct {
	vfs.File
	disk *disk
}

func (f headFile) WriteAt(b []byte, at int64) (int, error) {
	if f.disk.full.Load() {
		return 0, errNoSpace
	}
	return f.File.WriteAt(b, at)
}

func (f headFile) Sync() error { return f.disk.slow(f.SyncData) }

// entriesOf reads all that a log's disk holds, when nobody has it open.
func entriesOf(m *vfs.MemFS) (entries [][]byte, note []byte, err error) {
	s, err := store.Open("data", store.Options{FS: m})
	if err != nil {
		return nil, nil, err
	}
	h := s.Head()
	for at := uint64(0); at < h.Size; {
		next := min(h.Size, at/256*256+256)
		some, err := s.Entries(at, next, h.Size)
		if err != nil {
			return nil, nil, errors.Join(err, s.Close())
		}
		entries, at = append(entries, some...), next
	}
	return entries, h.Note, s.Close()
}

// copyFolder copies plain files, with those of folders in it.
func copyFolder(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	names, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, n := range names {
		if n.IsDir() {
			err = copyFolder(filepath.Join(from, n.Name()), filepath.Join(to, n.Name()))
		} else {
			err = copyFile(filepath.Join(from, n.Name()), filepath.Join(to, n.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// isRefusal says whether a start was refused in order that nothing is signed twice.
func isRefusal(err error) bool { return errors.Is(err, sequencer.ErrRefused) }
