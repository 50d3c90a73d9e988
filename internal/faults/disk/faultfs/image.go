package faultfs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A Keep says how much of what was written and not synced an image of the disk has.
type Keep string

// What can be kept.
const (
	// All is what the end of the process leaves, while the machine goes on.
	All Keep = "everything kept"
	// None is the least that POSIX promises: synced data, below names whose folder was synced.
	None Keep = "nothing unsynced kept"
	// Some is what the machine's end may leave with a journal: names as they were at some moment since the
	// last sync of anything, and of the data that was not synced some blocks.
	Some Keep = "some of the unsynced kept"
)

// Keeps are all of them.
var Keeps = []Keep{All, None, Some}

func (fs *FS) image(k Keep, seed uint64) *vfs.MemFS {
	switch k {
	case None:
		return fs.mem.CrashClone(vfs.CrashCloneCfg{})
	case Some:
		to := emptyCopy(fs.mem)
		fs.journal.some(to, rand.New(rand.NewPCG(seed, 1)))
		return to
	}
	return Copy(fs.mem)
}

// emptyCopy has the same folders, without files.
func emptyCopy(mem *vfs.MemFS) *vfs.MemFS {
	to := vfs.NewCrashableMem()
	must(copyDir(mem, to, "/", false))
	return to
}

// must is for what cannot fail: file systems in memory without faults.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("a file system in memory: %v", err))
	}
}

// Copy returns the same files, all of them synced. A crash clone with all that is unsynced would bring back what
// was removed.
func Copy(mem *vfs.MemFS) *vfs.MemFS {
	to := vfs.NewCrashableMem()
	must(copyDir(mem, to, "/", true))
	return to
}

func copyDir(from, to *vfs.MemFS, dir string, files bool) error {
	names, err := from.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		name = path.Join(dir, name)
		info, err := from.Stat(name)
		if err != nil {
			return err
		}
		if info.IsDir() {
			if err := errors.Join(to.MkdirAll(name, 0o700), copyDir(from, to, name, files)); err != nil {
				return err
			}
			continue
		}
		if !files {
			continue
		}
		b, err := ReadFile(from, name)
		if err != nil {
			return err
		}
		if err := WriteFile(to, name, b); err != nil {
			return err
		}
	}
	return syncDir(to, dir)
}

// ReadFile returns a copy of a file's content.
func ReadFile(mem *vfs.MemFS, name string) ([]byte, error) {
	b, err := mem.UnsafeGetFileDataBuffer(name)
	return append([]byte{}, b...), err
}

// WriteFile makes a file, or replaces it, and syncs its content.
func WriteFile(mem *vfs.MemFS, name string, b []byte) error {
	f, err := mem.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(slices.Clone(b)) // Write may change it
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(fs vfs.FS, name string) error {
	d, err := fs.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Files returns the names of all files below a folder.
func Files(mem *vfs.MemFS, dir string) (names []string, err error) {
	children, err := mem.List(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range children {
		name = path.Join(dir, name)
		info, err := mem.Stat(name)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			names = append(names, name)
			continue
		}
		below, err := Files(mem, name)
		if err != nil {
			return nil, err
		}
		names = append(names, below...)
	}
	return names, nil
}
