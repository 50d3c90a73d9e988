// Package slot keeps one small value in a file so that a crash leaves the old value or the new
// one, and nothing else: how far a log has signed, what a witness has seen of a log.
//
// The file has two slots of a fixed size, both written when the file is made. A new value
// overwrites the older slot in place, only as many bytes as it has, and is synced; no
// metadata of the file changes, so that one write costs one small synchronous write. A crash
//
//   - before the write leaves the two slots as they were;
//   - during it leaves the older slot torn, its checksum wrong, and the newer one intact: the
//     file still says the old value;
//   - after it leaves the new value, and in the other slot the old one.
//
// A slot is a line and then the value:
//
//	pauselog-head/v1 17 98 <64 hex digits>
//	<98 bytes>
//
// with the format's name, a counter that grows by one with each write and says which slot is
// newer, the value's length in bytes, and the SHA-256 digest of the line before it ("name
// counter length", with a line feed) and the value. What a longer value left behind the end
// means nothing.
//
// # Limits
//
// After a write or a sync that failed it is unknown what the disk holds, and the Keeper takes
// no further value. A process that starts after a failed sync may read from the page cache
// what never reached the disk, and lose it with the power. Whoever must not be fooled by that
// compares the value with another file, as the log and the witness do with their head files.
package slot

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

var (
	// ErrNoValue says that a file has no valid slot, or two that cannot both be true: it is not
	// of this layout, or it was damaged.
	ErrNoValue = errors.New("no valid slot")

	// ErrTooLarge says that a value does not fit a slot. Nothing was written.
	ErrTooLarge = errors.New("value does not fit its slot")

	// ErrBroken says that an earlier write failed, and that it is unknown what the file holds.
	ErrBroken = errors.New("an earlier write failed")
)

// A Layout is what the files of one kind look like.
type Layout struct {
	// Name is the format's name and version, the first word of each slot. It has no space and
	// no line feed.
	Name string

	// Size is the size of a slot in bytes; the file is twice as large. A slot should be whole
	// blocks of the disk, so that a torn write cannot reach into the other one.
	Size int
}

// FileSize is the size of a file of this layout in bytes.
func (l Layout) FileSize() int { return 2 * l.Size }

// A File is what a value is kept in. Sync must not return before what WriteAt wrote is on
// stable storage.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
}

// A Keeper holds a file open. Its methods must not be called concurrently.
type Keeper struct {
	file    File
	layout  Layout
	content []byte
	counter uint64
	newest  int // the slot that has content
	broken  error
}

// Format writes the first value to both slots of a new file, with the counter 1, and syncs it.
func (l Layout) Format(f File, content []byte) error {
	slot, err := l.marshal(1, content)
	if err != nil {
		return err
	}
	// Both in full, so that the file has its size and its blocks from now on.
	b := bytes.Repeat([]byte{'\n'}, l.FileSize())
	copy(b, slot)
	copy(b[l.Size:], slot)
	return write(f, b, 0)
}

// write writes and syncs.
func write(f File, b []byte, at int64) error {
	n, err := f.WriteAt(b, at)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("syncing: %w", err)
	}
	return nil
}

// Read reads the newer valid slot of a file. The Keeper owns the file from then on, unless
// there is an error.
func (l Layout) Read(f File) (*Keeper, error) {
	first, err1 := l.read(f, 0)
	second, err2 := l.read(f, 1)
	newest := 0
	switch {
	case err1 != nil && err2 != nil:
		return nil, fmt.Errorf("%w: first slot: %w; second slot: %w", ErrNoValue, err1, err2)
	case err1 != nil:
		newest = 1
	case err2 != nil:
	case first.counter == second.counter && !bytes.Equal(first.content, second.content):
		return nil, fmt.Errorf("%w: two values with the counter %d", ErrNoValue, first.counter)
	case second.counter > first.counter:
		newest = 1
	}
	v := first
	if newest == 1 {
		v = second
	}
	return &Keeper{file: f, layout: l, content: v.content, counter: v.counter, newest: newest}, nil
}

// Content returns the newest value that is known to be on stable storage. The caller must not
// change it.
func (k *Keeper) Content() []byte { return k.content }

// Counter returns how many values were written to the file, the first one included.
func (k *Keeper) Counter() uint64 { return k.counter }

// Previous returns the value that Content replaced, read from the other slot. There is none
// when Content is the file's first, and when a write that did not end tore that slot.
func (k *Keeper) Previous() ([]byte, bool) {
	v, err := k.layout.read(k.file, 1-k.newest)
	if err != nil || v.counter+1 != k.counter {
		return nil, false
	}
	return v.content, true
}

// Put makes content the value, durably. After an error other than ErrTooLarge it is unknown
// what the file holds: the Keeper refuses everything from then on with ErrBroken, and
// Content is still the old value.
func (k *Keeper) Put(content []byte) error {
	if k.broken != nil {
		return fmt.Errorf("%w: %w", ErrBroken, k.broken)
	}
	slot, err := k.layout.marshal(k.counter+1, content)
	if err != nil {
		return err
	}
	if err := write(k.file, slot, int64((1-k.newest)*k.layout.Size)); err != nil {
		k.broken = err
		return err
	}
	k.content, k.counter, k.newest = bytes.Clone(content), k.counter+1, 1-k.newest
	return nil
}

// Renew writes the newest value once more, to the place where it is, and syncs it. A process that reads a file after
// another's failed sync may have read what is only in the page cache; once Renew has returned nil, Content is on stable
// storage. What a torn write leaves of the same bytes is the same value, or the old one. Errors are as of Put.
func (k *Keeper) Renew() error {
	if k.broken != nil {
		return fmt.Errorf("%w: %w", ErrBroken, k.broken)
	}
	slot, err := k.layout.marshal(k.counter, k.content)
	if err != nil {
		return err
	}
	if err := write(k.file, slot, int64(k.newest*k.layout.Size)); err != nil {
		k.broken = err
		return err
	}
	return nil
}

// Close closes the file.
func (k *Keeper) Close() error { return k.file.Close() }

// A value is what a valid slot holds.
type value struct {
	counter uint64
	content []byte
}

// head is the part of a slot's first line that the checksum covers.
func (l Layout) head(counter uint64, length int) string {
	return l.Name + " " + strconv.FormatUint(counter, 10) + " " + strconv.Itoa(length)
}

func checksum(head string, content []byte) string {
	h := sha256.New()
	io.WriteString(h, head+"\n")
	h.Write(content)
	return fmt.Sprintf("%x", h.Sum(nil))
}

func (l Layout) marshal(counter uint64, content []byte) ([]byte, error) {
	head := l.head(counter, len(content))
	b := append([]byte(head+" "+checksum(head, content)+"\n"), content...)
	if len(b) > l.Size {
		return nil, fmt.Errorf("%w: %d bytes with the slot's first line, expected at most %d", ErrTooLarge, len(b), l.Size)
	}
	return b, nil
}

func (l Layout) read(f File, slot int) (value, error) {
	b := make([]byte, l.Size)
	n, err := f.ReadAt(b, int64(slot*l.Size))
	if err != nil && err != io.EOF {
		return value{}, fmt.Errorf("reading: %w", err)
	}
	line, rest, _ := bytes.Cut(b[:n], []byte("\n"))
	fields := strings.Split(string(line), " ")
	if len(fields) != 4 || fields[0] != l.Name {
		return value{}, fmt.Errorf("not a %s", l.Name)
	}
	counter, err1 := strconv.ParseUint(fields[1], 10, 63)
	length, err2 := strconv.Atoi(fields[2])
	if err1 != nil || err2 != nil || counter == 0 || length < 0 || length > len(rest) {
		return value{}, fmt.Errorf("not a %s: counter %.20q and length %.20q", l.Name, fields[1], fields[2])
	}
	// The line as it is written from the two numbers: there is one encoding.
	content := bytes.Clone(rest[:length])
	head := l.head(counter, length)
	if string(line) != head+" "+checksum(head, content) {
		return value{}, errors.New("wrong checksum")
	}
	return value{counter, content}, nil
}
