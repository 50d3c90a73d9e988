package state

import (
	"io/fs"
	"os"
	"path/filepath"
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

// folder is files on disk.
type folder string

func (d folder) list() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !temporary(e) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// temporary reports whether an entry is what a crash left of a file that was being made.
func temporary(e fs.DirEntry) bool {
	return strings.HasPrefix(e.Name(), ".") && strings.HasSuffix(e.Name(), ".tmp")
}

func (d folder) create(name string, content []byte) error {
	return layout.Create(filepath.Join(string(d), name), content)
}

func (d folder) open(name string) (slot.File, error) {
	return slot.OpenFile(filepath.Join(string(d), name))
}

func (d folder) read(name string) ([]byte, error) { return os.ReadFile(filepath.Join(string(d), name)) }

func (d folder) write(name string, content []byte) error {
	return atomicfile.Write(filepath.Join(string(d), name), content, 0o600)
}

// removeTemporary removes what crashes left behind. The head's lock is held.
func (d folder) removeTemporary() error {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if temporary(e) {
			if err := os.Remove(filepath.Join(string(d), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
