// Package spool is the folder through which PAUSE's hook tells the agent what was published. The hook writes and never
// waits; the agent reads, submits, and removes what is logged.
//
// A spool has two folders on one file system, as a Maildir has: a writer makes a file in tmp, writes and syncs
// it, and renames it into new; a reader looks into new alone. So a reader never sees half a file, whatever
// moment a writer is killed at, and a writer needs to know nothing about readers.
//
// A file's name says when it was written, and is the order in which files are read:
//
//	SSSSSSSSSS.UUUUUU-PID-COUNT.json      seconds since 1970, microseconds, process, a count within the process
//
// What is in a file, Event says.
package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/pauselog/pauselog/internal/atomicfile"
)

// A Folder is a spool on disk. Any number of writers and one reader may use it at the same time.
type Folder struct{ dir string }

// Open returns the spool in a folder, which has to be there with its two folders: whoever makes them decides who may write.
func Open(dir string) (*Folder, error) {
	f := &Folder{dir}
	for _, name := range []string{f.in("new"), f.in("tmp")} {
		info, err := os.Stat(name)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is no folder", name)
		}
		if err != nil {
			return nil, fmt.Errorf("the spool: %w", err)
		}
	}
	return f, nil
}

func (f *Folder) in(elem ...string) string {
	return filepath.Join(append([]string{f.dir}, elem...)...)
}

// String returns the folder's name.
func (f *Folder) String() string { return f.dir }

var nameForm = regexp.MustCompile(`^([0-9]{10})\.([0-9]{6})-([0-9]{1,10})-([0-9]{1,10})\.json$`)

// Written returns when a file was written, by its name; ok is false for a name that no hook gives.
func Written(name string) (at time.Time, ok bool) {
	m := nameForm.FindStringSubmatch(name)
	if m == nil {
		return time.Time{}, false
	}
	seconds, _ := strconv.ParseInt(m[1], 10, 64) // digits, of a bounded number
	micros, _ := strconv.ParseInt(m[2], 10, 64)
	return time.Unix(seconds, micros*1000), true
}

// A Listing is what lies in a spool.
type Listing struct {
	Names    []string // oldest first, as many as were asked for
	Total    int      // files that a hook wrote
	Oldest   time.Time
	Strays   int // other names, which nobody reads
	Abridged bool
}

// List returns the oldest files, at most limit.
func (f *Folder) List(limit int) (*Listing, error) {
	d, err := os.Open(f.in("new"))
	if err != nil {
		return nil, fmt.Errorf("the spool: %w", err)
	}
	defer d.Close()
	l := &Listing{}
	for {
		// In pieces: after a long outage there may be very many.
		found, err := d.Readdirnames(4096)
		for _, name := range found {
			if _, ok := Written(name); !ok {
				l.Strays++
				continue
			}
			l.Total++
			l.Names = append(l.Names, name)
		}
		if len(l.Names) > 2*limit+8192 {
			l.shorten(limit)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the spool: %w", err)
		}
	}
	l.shorten(limit)
	if len(l.Names) > 0 {
		l.Oldest, _ = Written(l.Names[0])
	}
	return l, nil
}

func (l *Listing) shorten(limit int) {
	slices.Sort(l.Names)
	if len(l.Names) > limit {
		l.Names, l.Abridged = slices.Clip(l.Names[:limit]), true
	}
}

// Read returns an event. The error wraps fs.ErrNotExist, ErrMalformed, or is of the disk.
func (f *Folder) Read(name string) (*Event, error) {
	// No link is followed and no FIFO waited for: whoever may write here may put anything here.
	in, err := os.OpenFile(f.in("new", name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, malformed("it is a symbolic link")
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, malformed("it is no regular file")
	}
	b, err := io.ReadAll(io.LimitReader(in, MaxSize+1))
	if err != nil {
		return nil, err
	}
	return Parse(b)
}

// Remove removes files that are dealt with. It does not sync: until Sync has returned, a power cut may bring them back.
func (f *Folder) Remove(name string) error {
	err := os.Remove(f.in("new", name))
	if errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.ENOTEMPTY) {
		return malformed("%s is a folder", name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Sync makes what was removed stay so.
func (f *Folder) Sync() error {
	if err := atomicfile.SyncDir(f.in("new")); err != nil {
		return fmt.Errorf("the spool: %w", err)
	}
	return nil
}

// Raw returns a file's bytes as they are, at most MaxSize, for whoever sets it aside.
func (f *Folder) Raw(name string) []byte {
	in, err := os.OpenFile(f.in("new", name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, MaxSize))
	if err != nil {
		return nil
	}
	return b
}

// abandoned is how old a file in tmp must be to be the rest of a writer that was killed.
const abandoned = 24 * time.Hour

// Clean removes what killed writers left in tmp, and returns how much that was.
func (f *Folder) Clean(now time.Time) (removed int, err error) {
	list, err := os.ReadDir(f.in("tmp"))
	if err != nil {
		return 0, fmt.Errorf("the spool: %w", err)
	}
	for _, d := range list {
		info, err := d.Info()
		if err != nil || !d.Type().IsRegular() || now.Sub(info.ModTime()) < abandoned {
			continue
		}
		if os.Remove(f.in("tmp", d.Name())) == nil {
			removed++
		}
	}
	return removed, nil
}

// Write puts an event into the spool as the hook does. count tells apart what one process writes at one moment.
func (f *Folder) Write(e *Event, at time.Time, count int) error {
	name := fmt.Sprintf("%010d.%06d-%d-%d.json", at.Unix(), at.Nanosecond()/1000, os.Getpid(), count)
	out, err := os.OpenFile(f.in("tmp", name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	_, err = out.Write(e.Marshal())
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(f.in("tmp", name), f.in("new", name))
	}
	if err != nil {
		os.Remove(f.in("tmp", name))
		return err
	}
	return atomicfile.SyncDir(f.in("new"))
}
