package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/slot"
	"github.com/pauselog/pauselog/log/tree"
)

const (
	// MaxKeys is the largest number of verifier keys of a log: two types, and a few that overlap
	// during rotations.
	MaxKeys = 8

	// MaxRetired is the largest number of keys of a log that were retired.
	MaxRetired = 64

	// MaxContact is the longest contact in bytes.
	MaxContact = 512

	// slotSize holds a record with eight ML-DSA-44 keys (14 kB) and a note with a signature of
	// each of them and of the witness's own (36 kB).
	slotSize = 1 << 16
)

var layout = slot.Layout{Name: "pausewitness-log/v1", Size: slotSize}

// A Log is what a witness knows of a log at one moment. It does not change, and what its
// fields lead to must not be changed.
type Log struct {
	// Sequence is the number of the change that made the record what it is.
	Sequence uint64

	Origin string

	// Keys are the log's keys, of type Ed25519 (0x01) or ML-DSA-44 (0x06); any one of them
	// suffices. Their names are mostly, and need not be, the origin.
	Keys []*checkpoint.VerifierKey

	// Retired are keys, as name+key id, that an operator took out of Keys for ever.
	Retired []string

	// Disabled says that nothing is cosigned for this log until it is enabled again.
	Disabled bool

	// QPD is how many requests a day the log announced, and Contact whom to tell about it; 0
	// and empty if nobody said.
	QPD     uint64
	Contact string

	Cosigned

	// signed is the sequence of the last cosignature; 0 if there is none.
	signed uint64
}

// Cosigned is what a witness cosigned last for a log.
type Cosigned struct {
	// Size and Root are 0 and the empty tree's if Time is 0.
	Size uint64
	Root tree.Hash

	// Time is the cosignatures' time in seconds since 1970; 0 if nothing was ever cosigned.
	Time uint64

	// Note is the checkpoint with the log's signatures that were verified, and the witness's
	// cosignatures; empty if nothing was ever cosigned.
	Note []byte
}

// Hash returns the log's origin hash: the lower-case hexadecimal SHA-256 of its origin, its
// name in URLs (C2SP tlog-witness) and in the folder.
func (l Log) Hash() string { return originHash(l.Origin) }

func originHash(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

// A record is a Log as its file has it. Its fields are in the order of the file.
type record struct {
	Sequence uint64   `json:"sequence"`
	Origin   string   `json:"origin"`
	Keys     []string `json:"keys"`
	Retired  []string `json:"retired,omitempty"`
	Disabled bool     `json:"disabled"`
	QPD      uint64   `json:"qpd,omitempty"`
	Contact  string   `json:"contact,omitempty"`
	Size     uint64   `json:"size"`
	Root     string   `json:"root"`
	Time     uint64   `json:"time"`
	Signed   uint64   `json:"signed"`
	Note     string   `json:"note"`
}

// marshal returns the log's record. A log that unmarshal would refuse is an error.
func (l Log) marshal() ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	r := record{l.Sequence, l.Origin, nil, l.Retired, l.Disabled, l.QPD, l.Contact, l.Size, l.Root.String(), l.Time, l.signed, string(l.Note)}
	for _, k := range l.Keys {
		r.Keys = append(r.Keys, k.String())
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // an operator may want to read the file
	e.SetIndent("", "\t")
	if err := e.Encode(r); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// unmarshal reads a record, which written again gives the same bytes.
func unmarshal(b []byte) (*Log, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	root, err := base64.StdEncoding.DecodeString(r.Root)
	if err != nil || len(root) != tree.HashSize {
		return nil, fmt.Errorf("the root %.60q is not a hash", r.Root)
	}
	l := &Log{Sequence: r.Sequence, Origin: r.Origin, Retired: r.Retired, Disabled: r.Disabled, QPD: r.QPD, Contact: r.Contact, signed: r.Signed,
		Cosigned: Cosigned{Size: r.Size, Root: tree.Hash(root), Time: r.Time, Note: []byte(r.Note)}}
	if r.Note == "" {
		l.Note = nil
	}
	for _, text := range r.Keys {
		k, err := checkpoint.ParseVerifierKey(text)
		if err != nil {
			return nil, err
		}
		l.Keys = append(l.Keys, k)
	}
	// The decoder takes fields in any case and order, twice, and more of them.
	if again, err := l.marshal(); err != nil || !bytes.Equal(again, b) {
		return nil, errors.Join(errors.New("not as it would be written"), err)
	}
	return l, nil
}

// check reports what cannot be a record.
func (l Log) check() error {
	if err := checkpoint.ValidOrigin(l.Origin); err != nil {
		return err
	}
	if err := checkKeys(l.Keys); err != nil {
		return err
	}
	if err := l.checkRetired(); err != nil {
		return err
	}
	if len(l.Contact) > MaxContact || !utf8.ValidString(l.Contact) || strings.ContainsFunc(l.Contact, unicode.IsControl) {
		return fmt.Errorf("expected a contact of one line of at most %d bytes, found %.80q", MaxContact, l.Contact)
	}
	switch {
	case l.Sequence == 0 || l.signed > l.Sequence:
		return fmt.Errorf("sequence %d, cosigned at %d", l.Sequence, l.signed)
	case l.Size > tree.MaxSize || l.Time > tree.MaxSize:
		return fmt.Errorf("size %d or time %d is over 2^63-1", l.Size, l.Time)
	case (l.Time == 0) != (l.signed == 0) || (l.Time == 0) != (len(l.Note) == 0):
		return errors.New("time, note and the sequence of the cosignature do not go together")
	case l.Size == 0 && l.Root != tree.EmptyRoot:
		return fmt.Errorf("size 0 with root %v", l.Root)
	case l.Time == 0 && l.Size != 0:
		return fmt.Errorf("size %d, and nothing was ever cosigned", l.Size)
	case l.Time == 0:
		return nil
	}
	// The note is given to readers and may become evidence: it must say what the record says.
	n, err := checkpoint.ParseNote(l.Note)
	if err != nil {
		return err
	}
	if c := (checkpoint.Checkpoint{Origin: l.Origin, Size: l.Size, Root: l.Root}); n.Text != c.Text() {
		return fmt.Errorf("the note is of %.100q, expected %.100q", n.Text, c.Text())
	}
	return nil
}

// checkRetired reports why a log cannot have these retired keys.
func (l Log) checkRetired() error {
	if len(l.Retired) > MaxRetired {
		return fmt.Errorf("expected at most %d retired keys, found %d", MaxRetired, len(l.Retired))
	}
	for i, ref := range l.Retired {
		if len(ref) > checkpoint.MaxOrigin+9 || !utf8.ValidString(ref) || strings.ContainsFunc(ref, unicode.IsControl) {
			return fmt.Errorf("expected a key's name and id, found %.80q", ref)
		}
		if slices.Contains(l.Retired[:i], ref) {
			return fmt.Errorf("the key %s is retired twice", ref)
		}
	}
	for _, k := range l.Keys {
		if slices.Contains(l.Retired, Ref(k)) {
			return fmt.Errorf("the key %s is retired, and one that counts", Ref(k))
		}
	}
	return nil
}

// Ref names a key in a line: its name, a plus sign and the eight hexadecimal digits of its id.
func Ref(k *checkpoint.VerifierKey) string { return fmt.Sprintf("%s+%08x", k.Name(), k.KeyID()) }

// checkKeys reports why a log cannot have these keys.
func checkKeys(keys []*checkpoint.VerifierKey) error {
	if len(keys) == 0 || len(keys) > MaxKeys {
		return fmt.Errorf("expected 1 to %d keys, found %d", MaxKeys, len(keys))
	}
	for i, k := range keys {
		if a := k.Algorithm(); a != checkpoint.Ed25519 && a != checkpoint.MLDSA44 {
			return fmt.Errorf("expected a log key of type %v or %v, found %v", checkpoint.Ed25519, checkpoint.MLDSA44, a)
		}
		// A line names its key by these two: with two such keys it would be open whose it is.
		if slices.ContainsFunc(keys[:i], func(o *checkpoint.VerifierKey) bool { return o.Name() == k.Name() && o.KeyID() == k.KeyID() }) {
			return fmt.Errorf("two keys have the name %s and the key id %08x", k.Name(), k.KeyID())
		}
	}
	return nil
}

// follows reports why l cannot come after the record old. It is asked before a record is
// written, and of what a start finds written: no mistake above this package lets a size or a
// key be lost.
func (l Log) follows(old Log) error {
	switch {
	case l.Origin != old.Origin:
		return fmt.Errorf("origin %s would become %s", old.Origin, l.Origin)
	case l.Sequence <= old.Sequence || l.signed < old.signed:
		return fmt.Errorf("sequence %d would become %d", old.Sequence, l.Sequence)
	case l.Size < old.Size:
		return fmt.Errorf("size %d would become %d", old.Size, l.Size)
	case l.Size == old.Size && l.Root != old.Root:
		return fmt.Errorf("root %v of size %d would become %v", old.Root, l.Size, l.Root)
	case l.Time == 0 && old.Time != 0:
		return errors.New("a cosignature would be forgotten")
	}
	for _, k := range old.Keys {
		if !hasKey(l.Keys, k) && !slices.Contains(l.Retired, Ref(k)) {
			return fmt.Errorf("key %s would be removed", Ref(k))
		}
	}
	if len(l.Retired) < len(old.Retired) || !slices.Equal(l.Retired[:len(old.Retired)], old.Retired) {
		return errors.New("a retired key would be forgotten")
	}
	return nil
}

// fits reports whether the record can be written. slot's error says it too, but after a
// change has begun.
func fits(b []byte) error {
	if limit := slotSize - 256; len(b) > limit {
		return fmt.Errorf("%w: a record of %d bytes, expected at most %d", slot.ErrTooLarge, len(b), limit)
	}
	return nil
}
