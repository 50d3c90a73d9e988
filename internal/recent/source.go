package recent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A Source has the RECENT files of a tree. It is not trusted.
//
// Open returns the content of a file, whose path is from the root of the tree. If there is no such
// file, the error wraps fs.ErrNotExist. A body that is cut short must end with an error and not with io.EOF.
// The reader stops at MaxFile.
type Source interface {
	Open(ctx context.Context, path string) (io.ReadCloser, error)
}

// A DirSource is a tree in a folder. Nothing outside of the folder is read, wherever a symbolic
// link in it leads.
type DirSource struct {
	path string
	root *os.Root
}

var _ Source = (*DirSource)(nil)

// OpenDir opens a folder.
func OpenDir(path string) (*DirSource, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &DirSource{path, root}, nil
}

// Close releases the folder.
func (d *DirSource) Close() error { return d.root.Close() }

// String returns the folder's path.
func (d *DirSource) String() string { return d.path }

// Open implements Source.
func (d *DirSource) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !fs.ValidPath(path) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrInvalid}
	}
	// Without O_NONBLOCK, a FIFO that somebody put there would hold the reader for ever.
	f, err := d.root.OpenFile(filepath.FromSlash(path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("%s: %w", filepath.Join(d.path, path), fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", filepath.Join(d.path, path))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readFile reads and parses one file.
func readFile(ctx context.Context, s Source, name string) (*File, error) {
	body, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var text strings.Builder
	if _, err := io.Copy(&text, io.LimitReader(body, MaxFile+1)); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return parse(name, text.String())
}
