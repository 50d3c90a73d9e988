package faultfs

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A journal knows of the files what a journalling file system does: which names there were since the last sync,
// and what of a file's data is synced. A sync of any file or folder makes all names durable that were
// there by then, as the journals of ext4, XFS and Btrfs do; MemFS has each name wait for its folder's sync, by itself.
type journal struct {
	names []map[string]*inode // since the last sync; the last are those of now
}

// An inode is a file's data.
type inode struct{ data, synced []byte }

func newJournal(mem *vfs.MemFS) journal {
	now := map[string]*inode{}
	names, err := Files(mem, "/")
	must(err)
	for _, name := range names {
		b, err := ReadFile(mem, name)
		must(err)
		now[name] = &inode{b, slices.Clone(b)}
	}
	return journal{[]map[string]*inode{now}}
}

// next is a new set of names, to be changed.
func (j *journal) next() map[string]*inode {
	now := maps.Clone(j.names[len(j.names)-1])
	j.names = append(j.names, now)
	return now
}

// opened notes that a file was opened for writing, and maybe made.
func (j *journal) opened(o Op) *inode {
	name := absolute(o.Name)
	now := j.names[len(j.names)-1]
	switch {
	case o.Kind == Reuse:
		now = j.next()
		now[name] = now[absolute(o.old)]
		delete(now, absolute(o.old))
	case o.Kind == Create || now[name] == nil:
		now = j.next()
		now[name] = new(inode)
	}
	return now[name]
}

// after notes a change of names that was done, unless it failed.
func (j *journal) after(o Op, err error) error {
	if err != nil {
		return err
	}
	now, name, old := j.next(), absolute(o.Name), absolute(o.old)
	switch o.Kind {
	case Lock:
		now[name] = new(inode)
	case Link:
		now[name] = now[old]
	case Rename:
		now[name] = now[old]
		delete(now, old)
	case Remove:
		maps.DeleteFunc(now, func(n string, _ *inode) bool { return n == name || strings.HasPrefix(n, name+"/") })
	}
	return nil
}

func absolute(name string) string { return path.Join("/", name) }

// sync notes the sync of a file, or with nil of a folder.
func (j *journal) sync(n *inode) {
	if n != nil {
		n.synced = append(n.synced[:0], n.data...)
	}
	j.names = slices.Clone(j.names[len(j.names)-1:])
}

func (n *inode) write(b []byte, at int64) {
	if grow := int(at) + len(b) - len(n.data); grow > 0 {
		n.data = append(n.data, make([]byte, grow)...)
	}
	copy(n.data[at:], b)
}

// block is how much of a file is written to the disk at once.
const block = 4096

// some writes the files of a possible crash.
func (j *journal) some(to *vfs.MemFS, rnd *rand.Rand) {
	names := j.names[rnd.IntN(len(j.names))]
	done := map[*inode][]byte{} // a file with two names has one content
	for _, name := range slices.Sorted(maps.Keys(names)) {
		n := names[name]
		b, ok := done[n]
		if !ok {
			b = n.some(rnd)
			done[n] = b
		}
		must(errors.Join(to.MkdirAll(path.Dir(name), 0o700), WriteFile(to, name, b)))
	}
	dirs := map[string]bool{"/": true}
	for name := range names {
		for d := path.Dir(name); d != "/"; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	for d := range dirs {
		must(syncDir(to, d))
	}
}

// some is the file's synced content with some of the later blocks.
func (n *inode) some(rnd *rand.Rand) []byte {
	b := slices.Clone(n.synced)
	for at := 0; at < len(n.data); at += block {
		now := n.data[at:min(at+block, len(n.data))]
		if at+len(now) <= len(b) && bytes.Equal(b[at:at+len(now)], now) || rnd.IntN(2) == 0 {
			continue
		}
		if grow := at + len(now) - len(b); grow > 0 {
			b = append(b, make([]byte, grow)...)
		}
		copy(b[at:], now)
	}
	return b
}
