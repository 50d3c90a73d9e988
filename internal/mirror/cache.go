package mirror

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/pauselog/pauselog/log/entry"
)

// A cache is a folder of files by their digests, of this user alone. What is in it is not trusted: a file is hashed whenever it is
// opened. Any number of the user's processes may use it, and what is in it may be deleted at any time.
type cache struct {
	dir   string
	limit int64 // in bytes

	mu   sync.Mutex
	size int64 // an estimate: other processes may write and delete too
}

// DefaultCache returns pauselog in the user's cache folder ($XDG_CACHE_HOME, or ~/.cache), or "" if
// the environment says of none.
func DefaultCache() string {
	dir, err := os.UserCacheDir()
	if err != nil || !filepath.IsAbs(dir) {
		return ""
	}
	return filepath.Join(dir, "pauselog")
}

func openCache(dir string, limit int64) (*cache, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	c := &cache{dir: dir, limit: limit}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the cache: %w", err)
	}
	for _, name := range []string{dir, filepath.Join(dir, "sha256"), filepath.Join(dir, "partial")} {
		if err := private(name); err != nil {
			return nil, fmt.Errorf("the cache: %w", err)
		}
	}
	f, err := c.create()
	if err != nil {
		return nil, fmt.Errorf("the cache: %w", err)
	}
	f.discard()
	c.tidy()
	return c, nil
}

// private returns an error if others may write into a folder: what was hashed could be changed in place, by the time it is
// served. A folder that is not there is made by us.
func private(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to somebody else (uid %d): name another folder with --cache", dir, owner.Uid)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("others may write into %s: chmod go-w %s, or name another folder with --cache", dir, dir)
	}
	return nil
}

func (c *cache) name(d entry.Digest) string {
	s := d.String()
	return filepath.Join(c.dir, "sha256", s[:2], s)
}

var (
	errNotCached = errors.New("not in the cache")
	errCache     = errors.New("the cache cannot be written")
)

// open returns a file whose bytes were hashed just now, at its start.
func (c *cache) open(d entry.Digest, size uint64) (*os.File, error) {
	f, err := os.OpenFile(c.name(d), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, errNotCached
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, int64(size)+1))
	if err == nil && uint64(n) == size && entry.Digest(h.Sum(nil)) == d {
		if _, err = f.Seek(0, io.SeekStart); err == nil {
			c.used(f.Name())
			return f, nil
		}
	}
	f.Close()
	os.Remove(c.name(d)) // damaged
	return nil, errNotCached
}

// A temporary is a file on its way into the cache, hashed while it is written.
type temporary struct {
	file  *os.File // not embedded: io.Copy would find its ReadFrom and pass by the hash
	cache *cache
	hash  hash.Hash
	size  uint64
	head  []byte // its first bytes, for what tells formats apart
}

func (c *cache) create() (*temporary, error) {
	dir := filepath.Join(c.dir, "partial")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "*.tmp")
	if err != nil {
		return nil, err
	}
	return &temporary{file: f, cache: c, hash: sha256.New()}, nil
}

func (t *temporary) Write(b []byte) (int, error) {
	n, err := t.file.Write(b)
	t.hash.Write(b[:n])
	t.size += uint64(n)
	if room := 1024 - len(t.head); room > 0 {
		t.head = append(t.head, b[:min(n, room)]...)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errCache, err)
	}
	return n, err
}

func (t *temporary) digest() entry.Digest { return entry.Digest(t.hash.Sum(nil)) }

// keep gives the file its name in the cache. It is not synced: what a crash leaves is hashed before it is used.
func (t *temporary) keep() error {
	name := t.cache.name(t.digest())
	err := os.MkdirAll(filepath.Dir(name), 0o700)
	if err == nil {
		err = os.Rename(t.file.Name(), name)
	}
	if err != nil {
		os.Remove(t.file.Name())
	}
	if err := errors.Join(err, t.file.Close()); err != nil {
		return err
	}
	t.cache.grown(int64(t.size))
	return nil
}

// discard removes the file. After keep it does nothing.
func (t *temporary) discard() {
	if t.file.Close() == nil {
		os.Remove(t.file.Name())
	}
}

// all returns the content of a file that is known to be small.
func (t *temporary) all() ([]byte, error) {
	b := make([]byte, t.size)
	_, err := t.file.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return b, err
}
