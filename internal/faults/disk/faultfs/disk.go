package faultfs

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/log/slot"
)

// A Disk is a vfs.FS as a witness's state wants it.
type Disk struct {
	vfs.FS
	made atomic.Int64
}

// CreateTemp implements slot.Disk, as do the methods below; some are those of state.Disk.
func (d *Disk) CreateTemp(dir, pattern string) (slot.File, string, error) {
	name := path.Join(dir, strings.Replace(pattern, "*", fmt.Sprint(d.made.Add(1)), 1))
	f, err := d.FS.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, "", err
	}
	return f, name, nil
}

// Open does not make a file.
func (d *Disk) Open(name string) (slot.File, error) {
	if _, err := d.Stat(name); err != nil {
		return nil, err
	}
	f, err := d.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d *Disk) SyncDir(name string) error { return syncDir(d.FS, name) }

func (d *Disk) ReadDir(name string) ([]string, error) { return d.List(name) }

func (d *Disk) ReadFile(name string) ([]byte, error) {
	f, err := d.FS.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return nil, err
	}
	b := make([]byte, info.Size())
	_, err = f.ReadAt(b, 0)
	return b, err
}

// WriteFile writes a file under another name, and then gives it its own.
func (d *Disk) WriteFile(name string, content []byte) error {
	f, temporary, err := d.CreateTemp(path.Dir(name), "."+path.Base(name)+slot.Temporary)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, d.Remove(temporary))
	}
	if err := d.Rename(temporary, name); err != nil {
		return err
	}
	return d.SyncDir(path.Dir(name))
}
