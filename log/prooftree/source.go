package prooftree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

var (
	// ErrIncomplete says that a source does not have what a proof needs: there is no proof
	// from it.
	ErrIncomplete = errors.New("no proof here")

	// ErrUnlisted says that the path index is there and does not list a path, by the source's word alone. It wraps
	// ErrIncomplete.
	ErrUnlisted = fmt.Errorf("%w: the path is not listed", ErrIncomplete)

	// ErrInvalid says that what a source has is not what the checkpoint implies. Any mirror
	// can flip a bit, so that this too is no proof, and says nothing about the log.
	ErrInvalid = errors.New("the proof tree does not verify")
)

// A Source has the files of a static proof tree. It is not trusted.
//
// Get returns the whole content of the file with this name, a relative path with slashes such as
// "tile/0/000". If there is no such file, the error wraps fs.ErrNotExist: a reader may then ask for
// another one. A file of more than limit bytes is an error that wraps ErrInvalid, and no more
// than about that is read of it. Other errors say that the source cannot be read now. Get ends when the
// context does, and may be called concurrently; the bytes are the caller's.
type Source interface {
	Get(ctx context.Context, name string, limit int64) ([]byte, error)
}

// A Prefetcher is a Source that waits for what it reads, and can begin before it is asked. Prefetch says that a file will soon
// be asked for. It does not wait for the file's content, has no error, and need not do anything.
type Prefetcher interface {
	Prefetch(name string)
}

// A DirSource is a tree in a folder. Nothing outside of the folder is read, wherever a
// symbolic link in it leads.
type DirSource struct {
	path string
	root *os.Root

	mu    sync.Mutex
	ahead map[string]*os.File // which Prefetch opened; nil after Close
}

var (
	_ Source     = (*DirSource)(nil)
	_ Prefetcher = (*DirSource)(nil)
)

// maxAhead bounds the files that are open because they will be asked for.
const maxAhead = 128

// OpenDir opens a folder.
func OpenDir(path string) (*DirSource, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &DirSource{path: path, root: root, ahead: map[string]*os.File{}}, nil
}

// Close releases the folder.
func (d *DirSource) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.ahead {
		f.Close()
	}
	d.ahead = nil
	return d.root.Close()
}

// String returns the folder's path.
func (d *DirSource) String() string { return d.path }

// Get implements Source.
func (d *DirSource) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	f := d.taken(name)
	var err error
	if f == nil {
		f, err = d.open(name)
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("%s: %w", filepath.Join(d.path, name), fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is no regular file", ErrInvalid, filepath.Join(d.path, name))
	}
	return readLimited(f, name, info.Size(), limit)
}

// open opens a file. Without O_NONBLOCK, a FIFO that somebody put there would hold the reader for ever.
func (d *DirSource) open(name string) (*os.File, error) {
	return d.root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// Prefetch implements Prefetcher, where the system reads ahead when it is told to. A goroutine that reads a disk keeps one of
// the processors from the others for as long as it waits, or nearly; with two processors, an audit is 1.6 times as fast when
// nothing waits. The next Get of the name is of the file as it is found now.
func (d *DirSource) Prefetch(name string) {
	if !canReadAhead || !fs.ValidPath(name) {
		return
	}
	f, err := d.open(name)
	if err != nil {
		return // Get will say why
	}
	readAhead(f)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ahead == nil || len(d.ahead) >= maxAhead || d.ahead[name] != nil {
		f.Close()
		return
	}
	d.ahead[name] = f
}

// taken returns the file that Prefetch opened for this name, which is the caller's then, or nil.
func (d *DirSource) taken(name string) *os.File {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.ahead[name]
	delete(d.ahead, name)
	return f
}

// readLimited reads all of r, which is the file with this name and is said to have so many bytes, or -1. It may have others.
func readLimited(r io.Reader, name string, size, limit int64) ([]byte, error) {
	// With a byte more than there are, the end is found without growing.
	b := make([]byte, 0, min(max(size, 511), limit, maxHint)+1)
	for int64(len(b)) <= limit {
		if len(b) == cap(b) {
			b = slices.Grow(b, cap(b))
		}
		n, err := r.Read(b[len(b):min(int64(cap(b)), limit+1)])
		b = b[:len(b)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	if int64(len(b)) > limit {
		return nil, tooLarge(name, limit)
	}
	return b, nil
}

// maxHint bounds what is allocated for bytes that have not come yet.
const maxHint = 1 << 20

func tooLarge(name string, limit int64) error {
	return fmt.Errorf("%w: %s has more than %d bytes", ErrInvalid, name, limit)
}
