package state

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/log/slot"
)

// files is the folder as the State uses it. Tests put faults in it.
type files interface {
	// list returns the names of all files that are not temporary.
	list() ([]string, error)

	// create makes a record's file, durably: the whole of it or nothing. It replaces none.
	create(name string, content []byte) error

	// open opens a record's file.
	open(name string) (slot.File, error)

	// read returns a small file, and an error that wraps fs.ErrNotExist if there is none.
	read(name string) ([]byte, error)

	// write replaces a small file, durably: the whole of it or nothing.
	write(name string, content []byte) error
}

// A Disk is what a State is kept on. It does as the functions of package os of the same names.
type Disk interface {
	slot.Disk
	ReadDir(name string) ([]string, error) // the names, in any order
	ReadFile(name string) ([]byte, error)

	// WriteFile replaces a file, durably: the whole of it or nothing.
	WriteFile(name string, content []byte) error
}

// osDisk is the operating system's Disk.
type osDisk struct{ slot.Disk }

func (osDisk) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (osDisk) ReadFile(name string) ([]byte, error) { return os.ReadFile(name) }

func (osDisk) WriteFile(name string, content []byte) error {
	return atomicfile.Write(name, content, 0o600)
}

// folder is files on a Disk.
type folder struct {
	disk Disk
	dir  string
}

// onOS is a folder of the operating system's.
func onOS(dir string) folder { return folder{osDisk{slot.OS}, dir} }

func (d folder) list() ([]string, error) {
	names, err := d.disk.ReadDir(d.dir)
	return slices.DeleteFunc(names, temporary), err
}

// temporary reports whether a name is what a crash left of a file that was being made.
func temporary(name string) bool {
	return strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".tmp")
}

func (d folder) create(name string, content []byte) error {
	return layout.CreateOn(d.disk, filepath.Join(d.dir, name), content)
}

func (d folder) open(name string) (slot.File, error) { return d.disk.Open(filepath.Join(d.dir, name)) }

func (d folder) read(name string) ([]byte, error) {
	return d.disk.ReadFile(filepath.Join(d.dir, name))
}

func (d folder) write(name string, content []byte) error {
	return d.disk.WriteFile(filepath.Join(d.dir, name), content)
}

// removeTemporary removes what crashes left behind. The head's lock is held.
func (d folder) removeTemporary() error {
	names, err := d.disk.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if temporary(name) {
			if err := d.disk.Remove(filepath.Join(d.dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
