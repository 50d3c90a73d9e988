package trust

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const temporary = ".*.tmp"

// WriteFile writes a file whole or not at all: a crash leaves the old content, or the new,
// or a temporary file besides, and after WriteFile has returned it is the new.
func WriteFile(name string, b []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+temporary)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// removeLeftovers removes what crashes left in a locked folder. If it cannot, nothing is lost
// but space.
func removeLeftovers(dir string) {
	names, err := filepath.Glob(filepath.Join(dir, ".checkpoint"+temporary))
	if err != nil {
		return
	}
	for _, name := range names {
		os.Remove(name)
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lock waits for the lock of a file, which is made and stays: to remove it would let two
// processes lock two files of one name.
func lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
		}
	}
}
