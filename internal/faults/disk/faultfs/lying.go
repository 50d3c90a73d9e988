package faultfs

import "github.com/cockroachdb/pebble/v2/vfs"

// Lying is a file system that says of some files that it syncs them, and does not: what a program does that answers
// before it syncs. A campaign must find it.
type Lying struct {
	vfs.FS
	Lies func(name string) bool
}

type lyingFile struct{ vfs.File }

func (lyingFile) Sync() error     { return nil }
func (lyingFile) SyncData() error { return nil }

func (fs Lying) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err == nil && fs.Lies(name) {
		return lyingFile{f}, nil
	}
	return f, err
}

// Create implements vfs.FS, as do the methods below.
func (fs Lying) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return fs.wrap(name, f, err)
}

func (fs Lying) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(old, name, c)
	return fs.wrap(name, f, err)
}

func (fs Lying) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name, c, o...)
	return fs.wrap(name, f, err)
}
