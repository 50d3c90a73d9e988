package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"testing"

	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/slot"
)

// A disk is a folder and a head file in memory, with what a page cache does: what was
// written is read back at once, and is lost with the power until it was synced.
type disk struct {
	files map[string]*file
	head  *file
	steps int // operations that could fail since the faults were set
	fault fault
	gone  bool // the process: nothing is done for it any more
}

// A fault happens at a step: a write, a sync, the creation of a file.
type fault struct {
	at   int // the step, from 1 on; 0 for never
	kind kind
}

type kind string

const (
	failed       kind = "failed"
	failedStored kind = "failed but stored"
	torn         kind = "torn"
	processGone  kind = "process gone before"
	goneAfter    kind = "process gone after"
)

var kinds = []kind{failed, failedStored, torn, processGone, goneAfter}

var errFault = errors.New("injected fault")

// step counts an operation and says what it does: how much of it is stored, and its error.
func (d *disk) step() (share float64, err error) {
	if d.gone {
		return 0, errFault
	}
	d.steps++
	if d.steps != d.fault.at {
		return 1, nil
	}
	switch d.fault.kind {
	case failed:
		return 0, errFault
	case failedStored:
		return 1, errFault
	case torn:
		return 0.5, errFault
	case processGone:
		d.gone = true
		return 0, errFault
	}
	d.gone = true
	return 1, errFault
}

// powerLost makes the disk what a loss of power leaves of it, and otherwise what the end of
// the process does.
func (d *disk) restart(powerLost bool) {
	d.gone, d.fault, d.steps = false, fault{}, 0
	for _, f := range append(slices.Collect(maps.Values(d.files)), d.head) {
		if powerLost {
			f.cache = slices.Clone(f.stored)
			f.dirty = nil
		}
	}
}

type file struct {
	d             *disk
	cache, stored []byte
	dirty         []span
}

type span struct{ from, to int }

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, f.cache[min(int(off), len(f.cache)):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	share, err := f.d.step()
	n := int(share * float64(len(p)))
	if need := int(off) + n - len(f.cache); need > 0 {
		f.cache = append(f.cache, make([]byte, need)...)
	}
	copy(f.cache[off:], p[:n])
	f.dirty = append(f.dirty, span{int(off), int(off) + n})
	return n, err
}

// Sync stores what was written. One that fails may have stored some of it, and does not try
// the rest again: that is how Linux does it.
func (f *file) Sync() error {
	share, err := f.d.step()
	for _, s := range f.dirty {
		if need := s.to - len(f.stored); need > 0 {
			f.stored = append(f.stored, make([]byte, need)...)
		}
		to := s.from + int(share*float64(s.to-s.from))
		copy(f.stored[s.from:to], f.cache[s.from:to])
	}
	if !f.d.gone {
		f.dirty = nil
	}
	return err
}

func (f *file) Close() error { return nil }

func (d *disk) list() ([]string, error) {
	return slices.Collect(maps.Keys(d.files)), nil
}

func (d *disk) create(name string, content []byte) error {
	if _, ok := d.files[name]; ok {
		return fs.ErrExist
	}
	share, err := d.step()
	if share == 1 {
		d.put(name, content)
	}
	return err
}

func (d *disk) put(name string, content []byte) {
	f := &file{d: &disk{}}
	if err := layout.Format(f, content); err != nil {
		panic(err)
	}
	f.d = d
	d.files[name] = f
}

func (d *disk) open(name string) (slot.File, error) {
	f, ok := d.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return f, nil
}

func (d *disk) read(name string) ([]byte, error) {
	f, ok := d.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(f.cache), nil
}

func (d *disk) write(name string, content []byte) error {
	share, err := d.step()
	if share == 1 {
		d.files[name] = &file{d: d, cache: slices.Clone(content), stored: slices.Clone(content)}
	}
	return err
}

const name = "witness.example/w1"

// newDisk is the disk of a new witness.
func newDisk(t testing.TB) *disk {
	t.Helper()
	d := &disk{files: map[string]*file{}}
	d.head = &file{d: d}
	if err := head.Format(d.head, head.Head{Origin: name, Root: digest(nil)}); err != nil {
		t.Fatal(err)
	}
	d.steps = 0
	return d
}

// clone is a copy of the disk, as a backup makes it of a witness that was stopped.
func (d *disk) clone() *disk {
	c := &disk{files: map[string]*file{}}
	for name, f := range d.files {
		c.files[name] = f.clone(c)
	}
	c.head = d.head.clone(c)
	return c
}

func (f *file) clone(d *disk) *file {
	return &file{d: d, cache: slices.Clone(f.cache), stored: slices.Clone(f.stored), dirty: slices.Clone(f.dirty)}
}

// start opens the state on a disk.
func (d *disk) start(fatal func(error)) (*State, error) {
	k, err := head.Read(d.head)
	if err != nil {
		return nil, fmt.Errorf("the head: %w", err)
	}
	return open(d, k, name, fatal)
}

func (d *disk) mustStart(t testing.TB) *State {
	t.Helper()
	s, err := d.start(func(err error) { t.Errorf("fatal: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}
