// Package artifact looks at local files as what a log holds entries of: a path below the
// CPAN root, a digest and a size.
package artifact

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pauselog/pauselog/log/entry"
)

var (
	// ErrNotRegular is a file that is never logged, whatever its name: a symbolic link, a
	// folder, a device.
	ErrNotRegular = errors.New("not a regular file")

	// ErrOutside is a file that is not below the root.
	ErrOutside = errors.New("not below the root")
)

// A File is what was read of a file, all of it from one descriptor.
type File struct {
	SHA256  entry.Digest
	Size    uint64
	ModTime time.Time
}

// Read reads a file to be verified. Symbolic links are followed: what counts is the bytes.
func Read(name string) (File, error) { return read(name, 0) }

// ReadRegular reads a file to be submitted, which must be a regular file itself and must not
// change while it is read.
func ReadRegular(name string) (File, error) {
	f, err := read(name, syscall.O_NOFOLLOW|syscall.O_NONBLOCK) // a FIFO must not block
	if errors.Is(err, syscall.ELOOP) {
		return File{}, fmt.Errorf("%w: it is a symbolic link", ErrNotRegular)
	}
	return f, err
}

func read(name string, flags int) (File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|flags, 0)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	if before.IsDir() {
		return File{}, fmt.Errorf("%w: it is a folder", ErrNotRegular)
	}
	if flags != 0 && !before.Mode().IsRegular() {
		return File{}, fmt.Errorf("%w: it is %s", ErrNotRegular, before.Mode().Type())
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return File{}, err
	}
	after, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	if before.Mode().IsRegular() && (n != after.Size() || before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime())) {
		return File{}, fmt.Errorf("%s changed while it was read: try again when it is complete", name)
	}
	return File{SHA256: entry.Digest(h.Sum(nil)), Size: uint64(n), ModTime: after.ModTime()}, nil
}

// Path returns a file's path relative to the CPAN root, with slashes. A symbolic link on the way
// from the root to the file is refused: the file would then have two paths, and
// whoever made the link could have one author's file pass as another's.
func Path(root, name string) (string, error) {
	realRoot, err := real(root)
	if err != nil {
		return "", fmt.Errorf("the root: %w", err)
	}
	// The last name is taken as it is: a link there is for ReadRegular to refuse, and below.
	realDir, err := real(filepath.Dir(name))
	if err != nil {
		return "", err
	}
	base := filepath.Base(filepath.Clean(name))
	info, err := os.Lstat(filepath.Join(realDir, base))
	if err != nil {
		return "", err
	}
	if info.Mode().Type() == fs.ModeSymlink {
		return "", fmt.Errorf("%w: %s is a symbolic link", ErrNotRegular, name)
	}
	path, ok := below(realRoot, filepath.Join(realDir, base))
	if !ok {
		return "", fmt.Errorf("%w: %s is not in %s", ErrOutside, name, root)
	}
	// As the caller wrote both; they may have reached the root on two ways, which is no matter.
	absRoot, errRoot := filepath.Abs(root)
	absName, errName := filepath.Abs(name)
	if err := errors.Join(errRoot, errName); err != nil {
		return "", err
	}
	if asked, ok := below(absRoot, absName); ok && asked != path {
		return "", fmt.Errorf("%w: by symbolic links, %s is %s", ErrOutside, asked, path)
	}
	return path, nil
}

func real(name string) (string, error) {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(name)
}

func below(root, name string) (string, bool) {
	rel, err := filepath.Rel(root, name)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", false
	}
	return filepath.ToSlash(rel), true
}
