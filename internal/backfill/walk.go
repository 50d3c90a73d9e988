package backfill

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// archives is the folder below which authors' directories lie.
const archives = "authors/id"

// trees are those that are walked together.
type trees struct {
	roots    []string // absolute
	manifest string   // a file; "": none
	digest   string   // of the manifest
}

// key names these trees and a log: a journal is about one key.
func (t *trees) key(c Config) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q", c.LogID, c.Seen, t.roots, t.digest)
	return hex.EncodeToString(h.Sum(nil))
}

// A found is what the walk comes to: a path that at least one tree has.
type found struct {
	path    string // of a folder that could not be read, with a slash at its end
	roots   []int  // those with a regular file there, ascending
	listed  *Copy  // what the manifest says; nil: nothing
	special error  // some root has there what is no regular file
	err     error  // why it cannot be known what is there
}

// walk hands over what is behind a path, in the order of the bytes of the paths. That order is the one of a walk
// which goes down into the folder x where the name "x/" stands among its neighbours: a.b is before a/b.
func (t *trees) walk(ctx context.Context, after string, yield func(*found) error) error {
	m := &merger{yield: yield}
	if t.manifest != "" {
		var err error
		if m.list, err = openManifest(t.manifest); err != nil {
			return err
		}
		defer m.list.close()
		if err := m.next(); err != nil {
			return err
		}
		for m.record != nil && m.record.path <= after {
			if err := m.next(); err != nil {
				return err
			}
		}
	}
	all := make([]int, len(t.roots))
	for i := range all {
		all[i] = i
	}
	w := &walker{roots: t.roots, after: after, yield: m.walked}
	if err := w.folder(ctx, archives, all); err != nil {
		return err
	}
	return m.upTo("", true)
}

type walker struct {
	roots []string
	after string
	yield func(*found) error
}

// A child is a name in a folder of one root. Of a folder it ends in a slash.
type child struct {
	name string
	root int
	mode fs.FileMode
}

func (w *walker) folder(ctx context.Context, dir string, roots []int) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	children, err := w.list(dir, roots)
	if err != nil {
		// If one root's names are not known, no file of the others can be compared: all of it is left.
		return w.yield(&found{path: dir + "/", err: err})
	}
	for len(children) > 0 {
		n := 1
		for n < len(children) && children[n].name == children[0].name {
			n++
		}
		same := children[:n]
		children = children[n:]
		path := dir + "/" + same[0].name
		if bare, ok := strings.CutSuffix(path, "/"); ok {
			if w.after >= path && !strings.HasPrefix(w.after, path) {
				continue // all in it is before
			}
			at := make([]int, n)
			for i, c := range same {
				at[i] = c.root
			}
			if err := w.folder(ctx, bare, at); err != nil {
				return err
			}
			continue
		}
		if path <= w.after {
			continue
		}
		f := &found{path: path}
		for _, c := range same {
			if c.mode == 0 {
				f.roots = append(f.roots, c.root)
			} else {
				f.special = fmt.Errorf("%s is %s", filepath.Join(w.roots[c.root], path), nameOf(c.mode))
			}
		}
		if err := w.yield(f); err != nil {
			return err
		}
	}
	return nil
}

// list returns the names in a folder of all roots that have it, sorted by name and root.
func (w *walker) list(dir string, roots []int) ([]child, error) {
	var out []child
	for _, root := range roots {
		entries, err := readDir(filepath.Join(w.roots[root], dir))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
			continue // it was there a moment ago: somebody is at work in this root
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			c := child{name: e.Name(), root: root, mode: e.Type()}
			if e.IsDir() {
				c.name += "/"
			}
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b child) int { return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(a.root, b.root)) })
	return out, nil
}

func readDir(name string) ([]fs.DirEntry, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

func nameOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "no regular file"
}

// A merger puts a manifest's records among what was walked to.
type merger struct {
	list   *manifest // nil: there is none
	record *record   // the next; nil: there is no more
	unread string    // the last folder that could not be read, with its slash
	yield  func(*found) error
}

func (m *merger) next() (err error) {
	m.record, err = m.list.read()
	return err
}

// upTo hands over the records before a path, or all of them.
func (m *merger) upTo(path string, all bool) error {
	for m.record != nil && (all || m.record.path < path) {
		f := &found{path: m.record.path, listed: &m.record.Copy}
		if m.unread != "" && strings.HasPrefix(f.path, m.unread) {
			f.listed, f.err = nil, fmt.Errorf("it cannot be compared: the folder %s could not be read", m.unread)
		}
		if err := m.yield(f); err != nil {
			return err
		}
		if err := m.next(); err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) walked(f *found) error {
	if err := m.upTo(f.path, false); err != nil {
		return err
	}
	if f.err != nil {
		m.unread = f.path
	}
	if m.record != nil && m.record.path == f.path {
		f.listed = &m.record.Copy
		if err := m.next(); err != nil {
			return err
		}
	}
	return m.yield(f)
}
