package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/tile"
)

// A folder is a tree's, locked.
type folder struct {
	path   string
	lock   *os.File
	source *prooftree.DirSource

	written atomic.Int64
	removed int

	// before, if not nil, is called before each change: tests stop there.
	before func(name string) error
}

// openFolder makes a folder if need be, and locks it. The lock is on the folder itself, so that
// there is no file in it that is not the tree's, and goes with the process.
func openFolder(path string) (*folder, error) {
	if err := makeFolder(path); err != nil {
		return nil, err
	}
	lock, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrBusy, path)
		}
		return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	source, err := prooftree.OpenDir(path)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &folder{path: path, lock: lock, source: source}, nil
}

func (f *folder) close() {
	f.source.Close()
	f.lock.Close()
}

// makeFolder makes a folder and those above it, readable for everyone, and durable.
func makeFolder(path string) error {
	if info, err := os.Stat(path); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
		}
		return nil
	}
	above := filepath.Dir(path)
	if above != path {
		if err := makeFolder(above); err != nil {
			return err
		}
	}
	err := os.Mkdir(path, 0o755)
	if errors.Is(err, fs.ErrExist) { // several files of a new folder are written at a time
		return nil
	}
	if err != nil {
		return err
	}
	// The umask is for private files. These are public.
	if err := os.Chmod(path, 0o755); err != nil {
		return err
	}
	return atomicfile.SyncDir(above)
}

// tree returns the tree that is in the folder, or nil if there is none yet.
func (f *folder) tree(ctx context.Context, policy *checkpoint.Policy) (*prooftree.Tree, error) {
	t, err := prooftree.Open(ctx, f.source, policy)
	switch {
	case t != nil:
		return t, nil // the quorum may have been another when it was written
	case errors.Is(err, prooftree.ErrIncomplete):
		return nil, nil
	}
	return nil, fmt.Errorf("%w: %s: %w: is it the proof tree of the policy's log? If so, put a copy of its checkpoint back; to export anew, choose an empty folder", ErrDamaged, f.path, err)
}

func (f *folder) read(name string, limit int64) ([]byte, error) {
	return f.source.Get(context.Background(), name, limit)
}

// write replaces a file, unless it is as it should be.
func (f *folder) write(name string, b []byte) error {
	if f.before != nil {
		if err := f.before(name); err != nil {
			return err
		}
	}
	path := filepath.Join(f.path, filepath.FromSlash(name))
	if now, err := f.read(name, int64(len(b))); err == nil && bytes.Equal(now, b) {
		// It need not be durable: the run that wrote it may have been killed in between.
		return errors.Join(syncFile(path), atomicfile.SyncDir(filepath.Dir(path)))
	}
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return err
	}
	f.written.Add(1)
	return atomicfile.Write(path, b, 0o644)
}

func syncFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// clean removes the partial tiles of other sizes than these, and what crashes left. Without
// growth nothing is removed: the size before is then not known.
func (f *folder) clean(size, before uint64) error {
	return filepath.WalkDir(f.path, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(f.path, path)
		if err != nil || d.IsDir() {
			return err
		}
		name = filepath.ToSlash(name)
		x, parseErr := tile.ParsePath(name)
		partial := parseErr == nil && x.Width < tile.Width
		leftover, _ := filepath.Match(".*.*.tmp", filepath.Base(name))
		switch {
		case leftover && f.mine(name):
		case partial && size > before && !implied(x, size) && !implied(x, before):
		default:
			return nil
		}
		if f.before != nil {
			if err := f.before("remove " + name); err != nil {
				return err
			}
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if partial {
			f.removed++
			// The folder of a tile's partial ones; it stays while there are others in it.
			os.Remove(filepath.Dir(path))
		}
		return nil
	})
}

// mine reports whether a temporary file is beside files of the tree: a folder may hold other
// things too.
func (f *folder) mine(name string) bool {
	dir, base, _ := cutLast(name)
	return dir == "" && strings.HasPrefix(base, ".checkpoint.") || dir == "paths" || strings.HasPrefix(dir, "tile/")
}

func cutLast(name string) (dir, base string, ok bool) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}

// implied reports whether a tree of this size has exactly this tile.
func implied(x tile.Tile, size uint64) bool {
	y, ok := tile.At(x.Level, x.N, size)
	return ok && y == x
}
