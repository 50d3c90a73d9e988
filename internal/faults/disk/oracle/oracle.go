// Package oracle reads a log's files by itself and says whether they keep what the log has promised. It shares no
// code with the log but Pebble: hashes are those of golang.org/x/mod/sumdb/tlog, signatures are checked by
// golang.org/x/mod/sumdb/note, and entries and head files are taken apart here.
package oracle

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// What can be wrong.
var (
	// ErrLost says that something that was acknowledged is not there.
	ErrLost = errors.New("an acknowledged entry is lost")
	// ErrFork says that two signed trees are not one history, or that the signed tree is not the one on disk.
	ErrFork = errors.New("a fork")
	// ErrUnreadable says that Pebble itself finds damage.
	ErrUnreadable = errors.New("unreadable")
	// ErrFalse says that what is there contradicts itself, the rules of a log, or what was told.
	ErrFalse = errors.New("something false")
)

// An Ack is what a submitter was told: at this index is his entry.
type Ack struct {
	Index uint64
	Entry []byte // as the submitter got it; nil for a conflict

	// Of a conflict he was told the index of the log's own entry about it.
	Path, Other string
}

// A Tree is one that the log has signed, with its signature out of the house.
type Tree struct {
	Size uint64
	Root [32]byte
	Note []byte
}

// A Log is what is on a disk.
type Log struct {
	Size   uint64
	Root   [32]byte
	Note   []byte
	hashes []tlog.Hash // as tlog stores them
	leaves []tlog.Hash
	kv     map[string][]byte
}

// Read reads the store in a folder, without changing it, and checks all that it can be checked for without
// knowing what was told. keys are the log's Ed25519 verifier keys, of which one at least has signed.
func Read(mem *vfs.MemFS, dir string, keys []string) (*Log, error) {
	l := &Log{kv: map[string][]byte{}}
	if err := l.load(mem, dir); err != nil {
		return nil, err
	}
	if err := l.state(keys); err != nil {
		return nil, err
	}
	if err := l.hash(); err != nil {
		return nil, err
	}
	return l, errors.Join(l.rules(), l.nothingElse())
}

func (l *Log) load(mem *vfs.MemFS, dir string) error {
	// What is corrupt is for whoever reads it to hear: without a listener Pebble ends the process.
	listener := &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}}
	db, err := pebble.Open(dir, &pebble.Options{FS: mem, ReadOnly: true, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}, EventListener: listener})
	if err != nil {
		return fmt.Errorf("%w: %w: opening the store: %w", ErrFalse, ErrUnreadable, err)
	}
	it, err := db.NewIter(nil)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(ErrUnreadable, err, it.Close(), db.Close())
		}
		l.kv[string(it.Key())] = bytes.Clone(v)
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return errors.Join(ErrUnreadable, err, db.Close())
	}
	return db.Close()
}

// quiet is a logger of what nobody reads.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// state takes the state apart, and compares it with the checkpoint in it.
func (l *Log) state(keys []string) error {
	s := l.kv["c"]
	if len(s) < 56 {
		return fmt.Errorf("%w: a state of %d bytes", ErrFalse, len(s))
	}
	l.Size = binary.BigEndian.Uint64(s)
	copy(l.Root[:], s[8:])
	l.Note = s[56:]
	if l.Size > math.MaxInt32 {
		return fmt.Errorf("%w: a state of size %d", ErrFalse, l.Size)
	}
	size, root, err := Checkpoint(l.Note, keys)
	if err != nil {
		return fmt.Errorf("%w: the stored checkpoint: %w", ErrFork, err)
	}
	if size != l.Size || root != l.Root {
		return fmt.Errorf("%w: the stored checkpoint is of size %d and root %x, the state of %d and %x", ErrFork, size, root, l.Size, l.Root)
	}
	return nil
}

// Checkpoint verifies a signed checkpoint.
func Checkpoint(signed []byte, keys []string) (size uint64, root [32]byte, err error) {
	var verifiers []note.Verifier
	for _, k := range keys {
		v, err := note.NewVerifier(k)
		if err != nil {
			return 0, root, err
		}
		verifiers = append(verifiers, v)
	}
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return 0, root, err
	}
	var hash string
	lines := strings.SplitN(n.Text, "\n", 4)
	if len(lines) < 4 {
		return 0, root, fmt.Errorf("a checkpoint of %d lines", len(lines))
	}
	if _, err := fmt.Sscanf(lines[1]+" "+lines[2], "%d %s", &size, &hash); err != nil {
		return 0, root, err
	}
	b, err := base64.StdEncoding.DecodeString(hash)
	if err != nil || len(b) != len(root) {
		return 0, root, fmt.Errorf("a root %q", hash)
	}
	return size, [32]byte(b), nil
}

func key(prefix byte, n uint64) string {
	return string(binary.BigEndian.AppendUint64([]byte{prefix}, n))
}

// ReadHashes implements tlog.HashReader.
func (l *Log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		if i >= int64(len(l.hashes)) {
			return nil, fmt.Errorf("there is no hash %d", i)
		}
		out = append(out, l.hashes[i])
	}
	return out, nil
}

// hash hashes the whole log anew.
func (l *Log) hash() error {
	for i := range l.Size {
		e, ok := l.kv[key('z', i)]
		if !ok {
			return fmt.Errorf("%w: of %d entries, number %d is not there", ErrLost, l.Size, i)
		}
		leaf := tlog.RecordHash(e)
		l.leaves = append(l.leaves, leaf)
		more, err := tlog.StoredHashesForRecordHash(int64(i), leaf, l)
		if err != nil {
			return err
		}
		l.hashes = append(l.hashes, more...)
	}
	root, err := l.RootOf(l.Size)
	if err == nil && root != l.Root {
		err = fmt.Errorf("%w: the %d entries have root %x, and %x is signed", ErrFork, l.Size, root, l.Root)
	}
	return err
}

// RootOf is the root of the first size entries.
func (l *Log) RootOf(size uint64) ([32]byte, error) {
	if size > l.Size {
		return [32]byte{}, fmt.Errorf("%w: %d entries were signed, %d are there", ErrFork, size, l.Size)
	}
	if size == 0 {
		return sha256.Sum256(nil), nil
	}
	h, err := tlog.TreeHash(int64(size), l)
	return [32]byte(h), err
}

// Leaf is an entry's leaf hash.
func (l *Log) Leaf(i uint64) [32]byte { return [32]byte(l.leaves[i]) }

// Entry is an entry's bytes.
func (l *Log) Entry(i uint64) []byte { return l.kv[key('z', i)] }

// nothingElse fails for keys that the log has no use for: they would be read sometime.
func (l *Log) nothingElse() error {
	rest := maps.Clone(l.kv)
	delete(rest, "c")
	delete(rest, "f")
	for i := range l.Size {
		delete(rest, key('z', i))
		delete(rest, key('v', i))
	}
	for n := range l.Size / 256 {
		var want []byte
		for _, h := range l.leaves[n*256 : (n+1)*256] {
			want = append(want, h[:]...)
		}
		if !bytes.Equal(l.kv[key('t', n)], want) {
			return fmt.Errorf("%w: tile %d does not have the hashes of its entries", ErrFalse, n)
		}
		delete(rest, key('t', n))
		if err := l.nodes(n); err != nil {
			return err
		}
		delete(rest, key('n', n))
		delete(rest, key('k', n))
	}
	for k := range rest {
		return fmt.Errorf("%w: the store has a key %q beyond its %d entries", ErrFalse, k, l.Size)
	}
	return nil
}

// nodes compares the stored nodes of level 4 above a tile, which may be missing: they can be made again.
func (l *Log) nodes(n uint64) error {
	stored, ok := l.kv[key('n', n)]
	if !ok {
		return nil
	}
	var want []byte
	for i := range int64(16) {
		h := l.hashes[tlog.StoredHashIndex(4, int64(n)*16+i)]
		want = append(want, h[:]...)
	}
	if !bytes.Equal(stored, want) {
		return fmt.Errorf("%w: the nodes above tile %d are not those of its entries", ErrFalse, n)
	}
	return nil
}
