// Package faultfs is a file system in memory whose every operation that changes something is numbered, and can
// fail, be torn, or be the last before a crash.
//
// A caller counts the operations of a run, or looks at the disk before each of them, and then does the same run
// again with a fault at one of them. One operation happens at a time, so that what a crash leaves is
// taken between two of them. The same run has the same operations as far as the goroutines
// of the program under test come in the same order.
package faultfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrInjected is the error of an operation that was made to fail, unless the fault has one of its own.
var ErrInjected = errors.New("injected fault")

// A Kind is what an operation does.
type Kind string

// The operations that are numbered.
const (
	Create  Kind = "create"
	Open    Kind = "open for writing"
	Write   Kind = "write"
	WriteAt Kind = "write at"
	Sync    Kind = "sync"
	SyncDir Kind = "sync of the folder"
	Close   Kind = "close"
	Rename  Kind = "rename"
	Link    Kind = "link"
	Remove  Kind = "remove"
	Mkdir   Kind = "mkdir"
	Reuse   Kind = "reuse"
	Lock    Kind = "lock"
)

// An Op is one operation, before it is done.
type Op struct {
	N    int // from 1 on
	Kind Kind
	Name string // the path; of a rename, link or reuse the new one
	old  string // the old one

	data   []byte // of a write
	offset int64
	fs     *FS
}

func (o Op) String() string {
	if o.data != nil {
		return fmt.Sprintf("operation %d, %s of %d bytes to %s at %d", o.N, o.Kind, len(o.data), o.Name, o.offset)
	}
	return fmt.Sprintf("operation %d, %s of %s", o.N, o.Kind, o.Name)
}

// Len is how many bytes a write has.
func (o Op) Len() int { return len(o.data) }

// Tear does the first n bytes of the write on an image of the disk. It reports false if the image does not
// have the file.
func (o Op) Tear(image *vfs.MemFS, n int) bool {
	// OpenReadWrite would make one.
	if _, err := image.Stat(o.Name); err != nil {
		return false
	}
	f, err := image.OpenReadWrite(o.Name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return false
	}
	_, err = f.WriteAt(o.data[:n], o.offset)
	return errors.Join(err, f.Sync(), f.Close()) == nil
}

// Tears are the lengths after which a write of n bytes is torn.
func Tears(n int) (lengths []int) {
	for _, at := range []int{1, n / 2, n - 1} {
		if at > 0 && at < n && (len(lengths) == 0 || lengths[len(lengths)-1] != at) {
			lengths = append(lengths, at)
		}
	}
	return lengths
}

// A Fault is what happens to an operation. The zero value lets it be.
type Fault struct {
	Err error // what the caller is told; nil: nothing happens
	// Stored: the operation is done, and fails all the same.
	Stored bool
	// Prefix is how many bytes of a failing write are done.
	Prefix int
	// Last: the process is gone with it.
	Last bool
}

// FS is a vfs.FS on a crashable memory file system.
type FS struct {
	mem *vfs.MemFS

	mu   sync.Mutex
	n    int
	gone bool
	hook func(Op) Fault
	wait func(Op)

	journal journal
}

// New returns a file system without faults over mem, which nobody else may write to. What is in mem counts as synced.
func New(mem *vfs.MemFS) *FS { return &FS{mem: mem, journal: newJournal(mem)} }

// Before has f called before each operation, which waits for it; f says what becomes of the operation, and may
// take images.
func (fs *FS) Before(f func(Op) Fault) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.hook = f
}

// Delay has f called before each operation, while others go on: it may block. The operation has no number yet.
func (fs *FS) Delay(f func(Op)) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.wait = f
}

// Count is how many operations there were.
func (fs *FS) Count() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.n
}

// Kill ends the process: no operation after it is done, and none ever returns.
func (fs *FS) Kill() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.gone = true
}

// Next is the file system of the next process while the machine goes on: what the last one wrote and did not sync is there to be
// read, and for a crash to take away. Nothing that is still done on fs is done. Operations are counted from 1 on again.
func (fs *FS) Next() *FS {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.gone = true
	return &FS{mem: fs.mem, journal: fs.journal}
}

// Image is what a crash now would leave on the disk. The seed decides what is by chance. A function that Before was
// given calls the operation's Image instead.
func (fs *FS) Image(k Keep, seed uint64) *vfs.MemFS {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.image(k, seed)
}

// Image is what a crash before the operation would leave on the disk.
func (o Op) Image(k Keep, seed uint64) *vfs.MemFS { return o.fs.image(k, seed) }

// do numbers an operation and does it, or what its fault says. part, which may be nil, does a part of it.
func (fs *FS) do(o Op, all func() error, part func(n int) error) error {
	fs.mu.Lock()
	wait := fs.wait
	fs.mu.Unlock()
	if wait != nil {
		wait(o)
	}
	err, gone := fs.locked(o, all, part)
	if gone {
		select {} // there is nobody any more to return to
	}
	return err
}

func (fs *FS) locked(o Op, all func() error, part func(n int) error) (err error, gone bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.gone {
		return nil, true
	}
	fs.n++
	o.N, o.fs = fs.n, fs
	var f Fault
	if fs.hook != nil {
		f = fs.hook(o)
	}
	fs.gone = fs.gone || f.Last
	return o.with(f, all, part), f.Last
}

// with does an operation with its fault.
func (o Op) with(f Fault, all func() error, part func(n int) error) error {
	switch {
	case f.Err == nil:
		return all()
	case f.Stored:
		if err := all(); err != nil {
			return err
		}
	case f.Prefix > 0 && part != nil:
		if err := part(f.Prefix); err != nil {
			return err
		}
	}
	return &os.PathError{Op: strings.ReplaceAll(string(o.Kind), " ", "-"), Path: o.Name, Err: f.Err}
}

// Create implements vfs.FS, as do the methods below.
func (fs *FS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.file(Op{Kind: Create, Name: name}, func() (vfs.File, error) { return fs.mem.Create(name, c) })
}

func (fs *FS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return fs.file(Op{Kind: Open, Name: name}, func() (vfs.File, error) { return fs.mem.OpenReadWrite(name, c, o...) })
}

func (fs *FS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.file(Op{Kind: Reuse, Name: name, old: old}, func() (vfs.File, error) { return fs.mem.ReuseForWrite(old, name, c) })
}

// file does an operation that opens a file.
func (fs *FS) file(o Op, open func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	var node *inode
	err := fs.do(o, func() (err error) {
		if f, err = open(); err == nil {
			node = fs.journal.opened(o)
		}
		return err
	}, nil)
	if err != nil {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
		return nil, err
	}
	return &file{File: f, fs: fs, name: o.Name, node: node}, nil
}

func (fs *FS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.mem.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &file{File: f, fs: fs, name: name, dir: true}, nil
}

func (fs *FS) Link(old, name string) error {
	o := Op{Kind: Link, Name: name, old: old}
	return fs.do(o, func() error { return fs.journal.after(o, fs.mem.Link(old, name)) }, nil)
}

func (fs *FS) Rename(old, name string) error {
	o := Op{Kind: Rename, Name: name, old: old}
	return fs.do(o, func() error { return fs.journal.after(o, fs.mem.Rename(old, name)) }, nil)
}

func (fs *FS) Remove(name string) error {
	o := Op{Kind: Remove, Name: name}
	return fs.do(o, func() error { return fs.journal.after(o, fs.mem.Remove(name)) }, nil)
}

func (fs *FS) RemoveAll(name string) error {
	o := Op{Kind: Remove, Name: name}
	return fs.do(o, func() error { return fs.journal.after(o, fs.mem.RemoveAll(name)) }, nil)
}

func (fs *FS) MkdirAll(name string, mode os.FileMode) error {
	return fs.do(Op{Kind: Mkdir, Name: name}, func() error { return fs.mem.MkdirAll(name, mode) }, nil)
}

func (fs *FS) Lock(name string) (c io.Closer, err error) {
	o := Op{Kind: Lock, Name: name}
	err = fs.do(o, func() (err error) { c, err = fs.mem.Lock(name); return fs.journal.after(o, err) }, nil)
	if err != nil && c != nil {
		err = errors.Join(err, c.Close())
		c = nil
	}
	return c, err
}

func (fs *FS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	return fs.mem.Open(name, o...)
}
func (fs *FS) List(dir string) ([]string, error)            { return fs.mem.List(dir) }
func (fs *FS) Stat(name string) (vfs.FileInfo, error)       { return fs.mem.Stat(name) }
func (fs *FS) PathBase(p string) string                     { return fs.mem.PathBase(p) }
func (fs *FS) PathJoin(elem ...string) string               { return fs.mem.PathJoin(elem...) }
func (fs *FS) PathDir(p string) string                      { return fs.mem.PathDir(p) }
func (fs *FS) GetDiskUsage(p string) (vfs.DiskUsage, error) { return fs.mem.GetDiskUsage(p) }
func (fs *FS) Unwrap() vfs.FS                               { return nil }

// A file is open for writing, or a folder.
type file struct {
	vfs.File
	fs   *FS
	name string
	dir  bool
	node *inode // nil for a folder
	at   int64  // where the next Write goes

	closed atomic.Bool
}

func (f *file) Write(b []byte) (n int, err error) {
	part := func(k int) (err error) {
		f.node.write(b[:min(k, len(b))], f.at) // before Write, which may change b
		n, err = f.File.Write(b[:min(k, len(b))])
		return err
	}
	err = f.fs.do(Op{Kind: Write, Name: f.name, data: b, offset: f.at}, func() error { return part(len(b)) }, part)
	f.at += int64(n)
	return n, err
}

func (f *file) WriteAt(b []byte, at int64) (n int, err error) {
	part := func(k int) (err error) {
		f.node.write(b[:min(k, len(b))], at)
		n, err = f.File.WriteAt(b[:min(k, len(b))], at)
		return err
	}
	err = f.fs.do(Op{Kind: WriteAt, Name: f.name, data: b, offset: at}, func() error { return part(len(b)) }, part)
	return n, err
}

func (f *file) Sync() error {
	kind := Sync
	if f.dir {
		kind = SyncDir
	}
	return f.fs.do(Op{Kind: kind, Name: f.name}, func() error {
		f.fs.journal.sync(f.node)
		return f.File.Sync()
	}, nil)
}

func (f *file) SyncData() error { return f.Sync() }

// Close frees what is in memory whatever happens to the operation: an error of close leaves no open file.
func (f *file) Close() error {
	if f.closed.Swap(true) {
		return os.ErrClosed
	}
	if f.dir {
		return f.File.Close()
	}
	err := f.fs.do(Op{Kind: Close, Name: f.name}, func() error { return nil }, nil)
	return errors.Join(err, f.File.Close())
}
