// Package head keeps a log's second head: a small file, outside of the data folder,
// that says how far the log has signed. A data folder that was restored from a
// backup, or whose store silently lost its tail, is then behind its head, and the log
// refuses to sign a second tree of a size that it has signed before.
//
// The file has two slots of 4,096 bytes, preallocated when the log is made. A
// new head overwrites the older slot in place and is synced; no other metadata
// changes, so that one write costs one small synchronous write. A crash
//
//   - before the write leaves the two slots as they were;
//   - during it leaves the older slot torn, its checksum wrong, and the newer intact: the
//     file still says the previous head;
//   - after it leaves the new head.
//
// A slot is text, so that an operator can read it:
//
//	pauselog-head/v1
//	origin log.example/pause
//	size 8
//	root XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=
//	starts 3
//	sha256 <64 hex digits: the digest of the lines above>
//
// filled up with line feeds.
package head

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/pauselog/pauselog/log/tree"
)

const (
	version  = "pauselog-head/v1"
	slotSize = 4096
	// FileSize is the size of a head file in bytes.
	FileSize = 2 * slotSize
)

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
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
}

// A Keeper holds a head file open. Its methods must not be called concurrently.
type Keeper struct {
	file   File
	head   Head
	oldest int // the slot to overwrite next
}

// Format writes h to both slots of a new file and syncs it.
func Format(f File, h Head) error {
	slot, err := h.marshal()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(append(bytes.Clone(slot), slot...), 0); err != nil {
		return fmt.Errorf("writing head: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("syncing head: %w", err)
	}
	return nil
}

// Read reads the newest valid slot of a file. The Keeper owns the file from then on,
// unless there is an error.
func Read(f File) (*Keeper, error) {
	b := make([]byte, FileSize)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading head: %w", err)
	}
	first, err1 := unmarshal(b[:slotSize])
	second, err2 := unmarshal(b[slotSize:])
	switch {
	case err1 != nil && err2 != nil:
		return nil, fmt.Errorf("%w: first slot: %v; second slot: %v", ErrNoHead, err1, err2)
	case err1 != nil:
		return &Keeper{file: f, head: second, oldest: 0}, nil
	case err2 != nil:
		return &Keeper{file: f, head: first, oldest: 1}, nil
	case first.Origin != second.Origin:
		return nil, fmt.Errorf("%w: one slot is of %s, the other of %s", ErrNoHead, first.Origin, second.Origin)
	case first.Size == second.Size && first.Root != second.Root:
		return nil, fmt.Errorf("%w: two roots for size %d: %v and %v", ErrNoHead, first.Size, first.Root, second.Root)
	case first.Size > second.Size, first.Size == second.Size && first.Starts > second.Starts:
		return &Keeper{file: f, head: first, oldest: 1}, nil
	}
	return &Keeper{file: f, head: second, oldest: 0}, nil
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
	switch {
	case h.Origin != k.head.Origin:
		return fmt.Errorf("%w: from origin %s to %s", ErrBackwards, k.head.Origin, h.Origin)
	case h.Size < k.head.Size:
		return fmt.Errorf("%w: from size %d to %d", ErrBackwards, k.head.Size, h.Size)
	case h.Size == k.head.Size && h.Root != k.head.Root:
		return fmt.Errorf("%w: size %d from root %v to %v", ErrBackwards, h.Size, k.head.Root, h.Root)
	}
	return k.put(h)
}

func (k *Keeper) put(h Head) error {
	slot, err := h.marshal()
	if err != nil {
		return err
	}
	if _, err := k.file.WriteAt(slot, int64(k.oldest)*slotSize); err != nil {
		return fmt.Errorf("writing head: %w", err)
	}
	if err := k.file.Sync(); err != nil {
		return fmt.Errorf("syncing head: %w", err)
	}
	k.head, k.oldest = h, 1-k.oldest
	return nil
}

// Close closes the file.
func (k *Keeper) Close() error { return k.file.Close() }

func (h Head) marshal() ([]byte, error) {
	if h.Origin == "" || strings.ContainsAny(h.Origin, "\n\r") || h.Size > tree.MaxSize {
		return nil, fmt.Errorf("head %+v cannot be written", h)
	}
	b := make([]byte, 0, slotSize)
	b = fmt.Appendf(b, "%s\norigin %s\nsize %d\nroot %v\nstarts %d\n", version, h.Origin, h.Size, h.Root, h.Starts)
	sum := sha256.Sum256(b)
	b = fmt.Appendf(b, "sha256 %x\n", sum)
	if len(b) > slotSize {
		return nil, fmt.Errorf("origin of %d bytes does not fit a head", len(h.Origin))
	}
	return append(b, bytes.Repeat([]byte{'\n'}, slotSize-len(b))...), nil
}

func unmarshal(slot []byte) (h Head, err error) {
	text := strings.TrimRight(string(slot), "\n")
	body, sum, ok := strings.Cut(text, "sha256 ")
	if want := sha256.Sum256([]byte(body)); !ok || sum != hex.EncodeToString(want[:]) {
		return h, errors.New("wrong checksum")
	}
	lines := strings.Split(body, "\n")
	if len(lines) != 6 || lines[0] != version {
		return h, fmt.Errorf("not a %s", version)
	}
	origin, ok1 := strings.CutPrefix(lines[1], "origin ")
	size, ok2 := strings.CutPrefix(lines[2], "size ")
	root, ok3 := strings.CutPrefix(lines[3], "root ")
	starts, ok4 := strings.CutPrefix(lines[4], "starts ")
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return h, errors.New("lines are missing")
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
	if again, err := h.marshal(); err != nil || !bytes.Equal(again, slot) {
		return h, errors.New("not as it would be written")
	}
	return h, nil
}
