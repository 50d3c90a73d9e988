package slot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another process has the file open.
var ErrLocked = errors.New("the file is in use by another process")

// Temporary is how the names of files that Create did not finish go on after "." and the
// file's name, as a pattern for filepath.Glob. They may be removed.
const Temporary = ".*.tmp"

// A Disk is where files are. It does as the functions of package os of the same names.
type Disk interface {
	// CreateTemp makes a file that only its owner may read and write. Its Sync makes the file's size durable too.
	CreateTemp(dir, pattern string) (f File, name string, err error)

	// Open opens a file that exists, for reading and writing, without a lock.
	Open(name string) (File, error)

	Link(old, name string) error
	Remove(name string) error

	// SyncDir makes the names in a folder durable.
	SyncDir(dir string) error
}

// OS is the operating system's Disk. What a campaign of injected faults has instead is in memory.
var OS Disk = osDisk{}

type osDisk struct{}

func (osDisk) CreateTemp(dir, pattern string) (File, string, error) {
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return nil, "", err
	}
	// A whole fsync, not fdatasync: the write that follows gives the file its size.
	return f, f.Name(), nil
}

func (osDisk) Open(name string) (File, error) { return OpenFile(name) }
func (osDisk) Link(old, name string) error    { return os.Link(old, name) }
func (osDisk) Remove(name string) error       { return os.Remove(name) }
func (osDisk) SyncDir(dir string) error       { return syncDir(dir) }

// osFile syncs the data of a file whose size never changes, which spares the journal
// a write of its times.
type osFile struct{ *os.File }

func (f osFile) Sync() error { return syncData(f.File) }

// Create makes a new file, readable and writable by its owner only. A file that exists is an
// error that wraps fs.ErrExist. A crash, or another error, leaves the whole file or none; a crash
// may leave a temporary one besides. After Create has returned nil, the file is durable.
func (l Layout) Create(name string, content []byte) error { return l.CreateOn(OS, name, content) }

// CreateOn is Create on a Disk.
func (l Layout) CreateOn(d Disk, name string, content []byte) error {
	// Open would refuse a file whose first value is half written. So it is written under
	// another name: a crash here is not to look like damage.
	f, temporary, err := d.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+Temporary)
	if err != nil {
		return err
	}
	defer d.Remove(temporary)
	if err := errors.Join(l.Format(f, content), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	// Link, unlike rename, never replaces.
	if err := d.Link(temporary, name); err != nil {
		return err
	}
	return d.SyncDir(filepath.Dir(name))
}

// Open locks and reads a file. The lock, which another process's Open finds as ErrLocked, lasts
// until Close or the end of the process. A file that is gone is an error that wraps
// fs.ErrNotExist.
func (l Layout) Open(name string) (*Keeper, error) {
	f, err := OpenFile(name)
	if err != nil {
		return nil, err
	}
	if err := lock(name, f.(osFile)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	k, err := l.Read(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return k, nil
}

// OpenFile opens a file for Read, without a lock: something else must make sure that only one
// process writes.
func OpenFile(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// ReadFile reads a file's newest value, while another process may be writing to it.
func (l Layout) ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// A slot that is being written looks torn, and the other one is read. Only a second write
	// within the time of one read can make both look so.
	for range 5 {
		var k *Keeper
		if k, err = l.Read(f); err == nil {
			return k.content, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", name, err)
}

func lock(name string, f osFile) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EWOULDBLOCK):
		return fmt.Errorf("%s: %w", name, ErrLocked)
	}
	return &fs.PathError{Op: "lock", Path: name, Err: err}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
