package main

import (
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pauselog/pauselog/internal/artifact"
	cpanmirror "github.com/pauselog/pauselog/internal/mirror"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/verify"
)

const (
	// maxIndexText is the largest text of an index that is compressed anew, in bytes.
	maxIndexText = 256 << 20

	// How much of a file that is never logged is looked at: its beginning, and its end, where a zip has its directory.
	headOfDocument = 1 << 20
	tailOfDocument = 66 << 10
)

// openTree looks whether there is a copy of CPAN.
func (b *bulk) openTree() error {
	b.dir = b.mirror
	info, err := os.Lstat(filepath.Join(b.dir, "authors", "id"))
	if err == nil && !info.IsDir() {
		err = errors.New("it is no folder")
	}
	if err != nil {
		return usagef("--tree: expected a copy of CPAN, with a folder %s: %w", filepath.Join(b.dir, "authors", "id"), err)
	}
	return nil
}

func (b *bulk) listTree(ctx context.Context, yield func(job) error) error {
	some := false
	if err := b.lookForIndex(yield); err != nil {
		return err
	}
	err := listTree(ctx, b.dir, func(j job) error {
		some = true
		return yield(j)
	})
	if err == nil && !some {
		// That all of nothing verifies is not what somebody wants to know.
		return usagef("--tree: there is no file in %s", filepath.Join(b.dir, "authors", "id"))
	}
	return err
}

// packagesIndex is what every client of a mirror asks for first.
const packagesIndex = "modules/02packages.details.txt.gz"

// lookForIndex says if the tree lacks the index of packages. Missing is not bad: a tree may be part of a mirror. But who keeps the index
// from a mirror keeps the news from its clients; so who has said how old an index may be is not told that all is well.
func (b *bulk) lookForIndex(yield func(job) error) error {
	name := filepath.Join(b.dir, filepath.FromSlash(packagesIndex))
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return nil // listTree has the error, if there is one
	}
	if b.maxIndexAge == 0 {
		b.tally.lack(packagesIndex)
		return nil
	}
	return yield(job{file: name, path: packagesIndex, missing: true, result: &verify.Result{Outcome: verify.Unverifiable, Path: packagesIndex,
		Message:  "it is missing: --max-index-age says how old it may be, and there is nothing to verify",
		Expected: "an index at " + plain(name), Found: "none",
		Causes: []string{"the tree is not a whole mirror", "the copy was not finished, or the index was removed: clients of this mirror find no distribution by its module"},
		Next:   []string{"mirror it again, or leave --max-index-age out for a tree that is to have no index"}}})
}

// listTree hands over the indexes and all that lies below authors/id of a copy of CPAN.
func listTree(ctx context.Context, dir string, yield func(job) error) error {
	for _, p := range entry.IndexPaths {
		name := filepath.Join(dir, filepath.FromSlash(p))
		info, err := os.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		j := job{file: name, path: p}
		if err != nil {
			j.result = failed(verify.Request{Path: p}, err)
		} else if !info.Mode().IsRegular() {
			j.result = irregular(j, info.Mode())
		}
		if err := yield(j); err != nil {
			return err
		}
	}
	return filepath.WalkDir(filepath.Join(dir, "authors", "id"), func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		rel, relErr := filepath.Rel(dir, name)
		p := filepath.ToSlash(rel)
		j := job{file: name, path: p}
		upload, why := entry.IsUpload(p)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // a mirror that is at work removes files
		case err != nil || relErr != nil:
			j.result = failed(verify.Request{Path: p}, errors.Join(err, relErr))
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			j.result = irregular(j, d.Type())
		case strings.HasSuffix(name, proof.Extension):
			return nil
		case !upload:
			j.unlogged = why
		}
		return yield(j)
	})
}

// irregular is the result of what could lead a client to any bytes.
func irregular(j job, mode fs.FileMode) *verify.Result {
	what := "no regular file"
	if mode&fs.ModeSymlink != 0 {
		what = "a symbolic link"
	}
	return &verify.Result{Outcome: verify.Unverifiable, Path: j.path,
		Message:  fmt.Sprintf("it is %s, which is not followed: nothing was verified", what),
		Expected: "a regular file: PAUSE publishes nothing else", Found: what,
		Causes: []string{"the mirror was put together by hand, or saves space with links"},
		Next:   []string{"put the file itself there, or name what it leads to with --path"}}
}

// disguised looks at a file of a name that is never logged. Clients unpack what they are told to,
// whatever it is called.
func disguised(q verify.Request, j job) *verify.Result {
	name := path.Base(j.path)
	for _, end := range []string{"~", ".tmp", ".part"} {
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, end) {
			return nil // what a copy at work leaves; no client asks for it
		}
	}
	format, err := archiveIn(j.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return failed(q, err)
	case format == "":
		return nil
	}
	r := &verify.Result{Outcome: verify.Mismatch, Path: j.path,
		Message:  "an archive under the name of a document is refused",
		Expected: "no archive: " + j.unlogged, Found: "a " + format + " file",
		Causes: []string{"an author uploaded an archive under an odd name", "somebody put an archive where nobody verifies one"},
		Next:   []string{"remove it, or compare it with another mirror's"}}
	if entry.CheckArchivePath(j.path) != nil {
		r.Outcome, r.Message = verify.Unverifiable, "an archive of this name cannot be logged"
	}
	if f, err := artifact.ReadRegular(j.file); err == nil {
		r.SHA256, r.Size = f.SHA256, f.Size
	}
	return r
}

// archiveIn returns what kind of archive a file is, or "". A document may be compressed, and is then judged by its text.
func archiveIn(name string) (string, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, headOfDocument))
	if err != nil {
		return "", err
	}
	format := cpanmirror.ArchiveFormat(head)
	lower := strings.ToLower(name)
	var text io.Reader
	switch {
	case format == "gzip" && strings.HasSuffix(lower, ".gz"):
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return "", err
		}
		if text, err = gzip.NewReader(f); err != nil {
			return format, nil
		}
	case format == "bzip2" && strings.HasSuffix(lower, ".bz2"):
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return "", err
		}
		text = bzip2.NewReader(f)
	}
	if text != nil {
		// One that is damaged is a damaged document; what there is of it is looked at.
		inner, _ := io.ReadAll(io.LimitReader(text, headOfDocument))
		return cpanmirror.ArchiveFormat(inner), nil
	}
	if format != "" || len(head) < headOfDocument {
		return format, nil
	}
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	tail := make([]byte, min(info.Size(), tailOfDocument))
	if _, err := f.ReadAt(tail, info.Size()-int64(len(tail))); err != nil && err != io.EOF {
		return "", err
	}
	if cpanmirror.ArchiveFormat(tail) == "zip" {
		return "zip", nil
	}
	return "", nil
}

// inflated reads the text in a gzip file of one member, with nothing behind it.
func inflated(name string) (artifact.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return artifact.File{}, err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	z, err := gzip.NewReader(in)
	if err != nil {
		return artifact.File{}, err
	}
	z.Multistream(false)
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(z, maxIndexText+1))
	if err != nil {
		return artifact.File{}, err
	}
	if n > maxIndexText {
		return artifact.File{}, fmt.Errorf("the text in %s has over %d bytes", name, maxIndexText)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return artifact.File{}, fmt.Errorf("there is more behind the text in %s", name)
	}
	return artifact.File{SHA256: entry.Digest(h.Sum(nil)), Size: uint64(n)}, nil
}
