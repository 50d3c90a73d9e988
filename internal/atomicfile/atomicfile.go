// Package atomicfile writes files whole or not at all.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Temporary is how the names of temporary files go on after "." and the file's name, as a
// pattern for filepath.Glob.
const Temporary = ".*.tmp"

// Write writes a file. A crash leaves the old content, or the new, or a temporary file
// besides; after Write has returned it is the new.
func Write(name string, b []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+Temporary)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	// The mode before the name, so that nobody reads it who must not; the content before the
	// name, so that the name never leads to less.
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(name))
}

// RemoveLeftovers removes the temporary files that crashes left in a folder. Nobody may be writing there. If it cannot, nothing is lost
// but space.
func RemoveLeftovers(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if leftover, _ := filepath.Match(".*"+Temporary, e.Name()); leftover && e.Type().IsRegular() {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
