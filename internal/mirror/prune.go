package mirror

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// DefaultCacheSize is how large a cache may grow, in bytes, if nothing else is said.
const DefaultCacheSize = 2 << 30

const (
	// abandonedAfter is how old a file on its way into the cache must be to be what a crash left: a fetch ends
	// long before.
	abandonedAfter = 24 * time.Hour
	// stillInUse is how long a file stays after its last use, whatever the cache's size: between a decision about
	// a file and its reading, nothing holds it. What is being read is not harmed by its deletion.
	stillInUse = time.Minute
)

// A cached file's modification time is when it was last used: many file systems keep no time of reading.
func (c *cache) used(name string) {
	now := time.Now()
	os.Chtimes(name, now, now) // if that fails, it goes earlier than it might
}

// grown counts a file that was added, and makes room.
func (c *cache) grown(size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size += size; c.size > c.limit {
		c.prune(time.Now())
	}
}

// tidy removes what crashes have left, and what is too much.
func (c *cache) tidy() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	left, _ := fs.Glob(os.DirFS(c.dir), "partial/*.tmp")
	for _, name := range left {
		name = filepath.Join(c.dir, name)
		if info, err := os.Lstat(name); err == nil && now.Sub(info.ModTime()) > abandonedAfter {
			os.Remove(name)
		}
	}
	c.prune(now)
}

// prune counts the cache's files anew and removes those that were used least recently, down to nine tenths of the
// limit, so that not every file that comes needs a look at all others. What it cannot read or remove
// is no error: a cache that is too large still works. The lock is held.
func (c *cache) prune(now time.Time) {
	type file struct {
		name string
		size int64
		used time.Time
	}
	var files []file
	c.size = 0
	// Only names that are ours: whoever names another folder as the cache by mistake loses nothing.
	names, _ := fs.Glob(os.DirFS(c.dir), "sha256/[0-9a-f][0-9a-f]/*")
	for _, name := range names {
		name = filepath.Join(c.dir, name)
		info, err := os.Lstat(name)
		if err == nil && info.Mode().IsRegular() && len(filepath.Base(name)) == 64 {
			files = append(files, file{name, info.Size(), info.ModTime()})
			c.size += info.Size()
		}
	}
	if c.size <= c.limit {
		return
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.name, b.name)) })
	for _, f := range files {
		if c.size <= c.limit/10*9 || now.Sub(f.used) < stillInUse {
			return
		}
		if os.Remove(f.name) == nil {
			c.size -= f.size
		}
	}
}
