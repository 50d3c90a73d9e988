package head

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another process has the head file open.
var ErrLocked = errors.New("the head is in use by another process")

// osFile syncs the data of a file whose size never changes, which spares the journal
// a write of its times.
type osFile struct{ *os.File }

func (f osFile) Sync() error { return unix.Fdatasync(int(f.Fd())) }

// Create makes a new head file that says h, readable and writable by its owner
// only. A file that exists is an error that wraps fs.ErrExist.
func Create(name string, h Head) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	// fsync once, not fdatasync: this is the write that gives the file its size.
	err = errors.Join(Format(f, h), f.Close())
	if err == nil {
		err = syncDir(filepath.Dir(name))
	}
	if err != nil {
		os.Remove(name)
	}
	return err
}

// Open locks and reads a head file. The lock, which another process's Open finds as
// ErrLocked, lasts until Close or the end of the process. A file that is gone is
// an error that wraps fs.ErrNotExist.
func Open(name string) (*Keeper, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", name, ErrLocked)
		}
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	k, err := Read(osFile{f})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return k, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
