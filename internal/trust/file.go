package trust

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pauselog/pauselog/internal/atomicfile"
)

// removeLeftovers removes what crashes left in a locked folder. If it cannot, nothing is lost
// but space.
func removeLeftovers(dir string) {
	names, err := filepath.Glob(filepath.Join(dir, ".checkpoint"+atomicfile.Temporary))
	if err != nil {
		return
	}
	for _, name := range names {
		os.Remove(name)
	}
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
