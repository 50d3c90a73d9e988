// Package head keeps a log's second head: a small file, outside of the data folder,
// that says how far the log has signed. A data folder that was restored from a
// backup, or whose store silently lost its tail, is then behind its head, and the log
// refuses to sign a second tree of a size that it has signed before.
//
// The file is one of package slot, with two slots of 4,096 bytes: writing a head is one small
// synchronous write, and a crash before, during or after it leaves the old head, the old
// one, or the new one. A slot is text, so that an operator can read it:
//
//	pauselog-head/v1 17 89 <64 hex digits>
//	origin log.example/pause
//	size 8
//	root XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=
//	starts 3
package head

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pauselog/pauselog/log/slot"
	"github.com/pauselog/pauselog/log/tree"
)

const slotSize = 4096

var layout = slot.Layout{Name: "pauselog-head/v1", Size: slotSize}

// FileSize is the size of a head file in bytes.
const FileSize = 2 * slotSize

var (
	// ErrNoHead says that neither slot is valid: the file is not a head file, or
	// it was damaged. Nothing then says how far the log had signed.
	ErrNoHead = errors.New("no valid head")

	// ErrBackwards says that a head was to be replaced by an older or contradicting one.
	ErrBackwards = errors.New("head would go backwards")
)

// A Head is how far a log has signed.
type Head struct {
	Origin string
	Size   uint64
	Root   tree.Hash
	// Starts counts the starts of the log. The data folder has the same count in a plain file,
	// so that an older copy that is laid over the folder is found even where the store
	// itself takes no notice of the older files.
	Starts uint64
}

// A File is what a head is kept in. Sync must not return before what WriteAt
// wrote is on stable storage.
type File = slot.File

// A Keeper holds a head file open. Its methods must not be called concurrently.
type Keeper struct {
	slots *slot.Keeper
	head  Head
}

// Format writes h to both slots of a new file and syncs it.
func Format(f File, h Head) error {
	b, err := h.marshal()
	if err != nil {
		return err
	}
	if err := layout.Format(f, b); err != nil {
		return fmt.Errorf("making a head: %w", err)
	}
	return nil
}

// Read reads the newest valid slot of a file. The Keeper owns the file from then on,
// unless there is an error.
func Read(f File) (*Keeper, error) {
	k, err := layout.Read(f)
	if err != nil {
		return nil, noHead(err)
	}
	return newKeeper(k)
}

// noHead gives a slot's error this package's name.
func noHead(err error) error {
	if errors.Is(err, slot.ErrNoValue) {
		return fmt.Errorf("%w: %w", ErrNoHead, err)
	}
	return fmt.Errorf("reading head: %w", err)
}

func newKeeper(k *slot.Keeper) (*Keeper, error) {
	h, err := unmarshal(k.Content())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoHead, err)
	}
	// Write never replaces a head by one that goes backwards. Two slots that say otherwise
	// are not what it wrote.
	if b, ok := k.Previous(); ok {
		previous, err := unmarshal(b)
		if err == nil {
			err = previous.before(h)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: the slot before the newest: %w", ErrNoHead, err)
		}
	}
	return &Keeper{slots: k, head: h}, nil
}

// Head returns the newest head that is known to be on stable storage.
func (k *Keeper) Head() Head { return k.head }

// Begin counts one more start, durably, and keeps the rest.
func (k *Keeper) Begin() error {
	h := k.head
	h.Starts++
	return k.put(h)
}

// Write makes h the head, durably; the count of starts stays. After an error other than
// ErrBackwards it is unknown what the file holds, and the caller must stop.
func (k *Keeper) Write(h Head) error {
	h.Starts = k.head.Starts
	if err := k.head.before(h); err != nil {
		return err
	}
	return k.put(h)
}

// before reports whether h can follow a head.
func (old Head) before(h Head) error {
	switch {
	case h.Origin != old.Origin:
		return fmt.Errorf("%w: from origin %s to %s", ErrBackwards, old.Origin, h.Origin)
	case h.Size < old.Size:
		return fmt.Errorf("%w: from size %d to %d", ErrBackwards, old.Size, h.Size)
	case h.Size == old.Size && h.Root != old.Root:
		return fmt.Errorf("%w: size %d from root %v to %v", ErrBackwards, h.Size, old.Root, h.Root)
	case h.Starts < old.Starts:
		return fmt.Errorf("%w: from %d starts to %d", ErrBackwards, old.Starts, h.Starts)
	}
	return nil
}

func (k *Keeper) put(h Head) error {
	b, err := h.marshal()
	if err != nil {
		return err
	}
	if err := k.slots.Put(b); err != nil {
		return fmt.Errorf("head: %w", err)
	}
	k.head = h
	return nil
}

// Close closes the file.
func (k *Keeper) Close() error { return k.slots.Close() }

func (h Head) marshal() ([]byte, error) {
	if h.Origin == "" || strings.ContainsAny(h.Origin, "\n\r") || h.Size > tree.MaxSize {
		return nil, fmt.Errorf("head %+v cannot be written", h)
	}
	return fmt.Appendf(nil, "origin %s\nsize %d\nroot %v\nstarts %d\n", h.Origin, h.Size, h.Root, h.Starts), nil
}

func unmarshal(b []byte) (h Head, err error) {
	lines := strings.Split(string(b), "\n")
	if len(lines) != 5 {
		return h, fmt.Errorf("expected four lines, found %d", len(lines)-1)
	}
	origin, ok1 := strings.CutPrefix(lines[0], "origin ")
	size, ok2 := strings.CutPrefix(lines[1], "size ")
	root, ok3 := strings.CutPrefix(lines[2], "root ")
	starts, ok4 := strings.CutPrefix(lines[3], "starts ")
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return h, errors.New("expected the lines origin, size, root and starts")
	}
	h.Origin = origin
	if h.Size, err = strconv.ParseUint(size, 10, 63); err != nil {
		return h, err
	}
	if h.Starts, err = strconv.ParseUint(starts, 10, 63); err != nil {
		return h, err
	}
	r, err := base64.StdEncoding.DecodeString(root)
	if err != nil || len(r) != tree.HashSize {
		return h, errors.New("the root is not a hash")
	}
	h.Root = tree.Hash(r)
	// One encoding: what would not be written so was not written by us.
	if again, err := h.marshal(); err != nil || string(again) != string(b) {
		return h, errors.New("not as it would be written")
	}
	return h, nil
}
