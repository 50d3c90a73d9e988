package entry

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Version is the first line of every entry of this format.
const Version = "pauselog/v1"

// Bounds of an entry, in bytes.
const (
	MaxSize        = 1024      // an entry of this version
	MaxUnknownSize = 16 * 1024 // an entry of a version or kind that is not known here
	MaxPath        = 512       // a path
)

// MaxNumber bounds sizes and indexes: 15 decimal digits.
const (
	MaxNumber = 999_999_999_999_999
	maxDigits = 15
)

var (
	// ErrMalformed says that the bytes are no entry of any version.
	ErrMalformed = errors.New("malformed entry")

	// ErrUpgrade says that the entry is of a version or kind that this program
	// does not know: it is too old to judge it.
	ErrUpgrade = errors.New("entry of a newer format")
)

// A Kind is what an entry records.
type Kind string

// The kinds of this version.
const (
	Upload   Kind = "upload"
	Index    Kind = "index"
	Delete   Kind = "delete"
	Conflict Kind = "conflict"
	Void     Kind = "void"
)

// Seen is how an upload or delete came to the submitter's notice.
type Seen string

// The values of Seen.
const (
	SeenUpload   Seen = "upload"   // by PAUSE's own hook
	SeenFollow   Seen = "follow"   // through the RECENT files
	SeenBackfill Seen = "backfill" // found later
)

// Known reports whether s is one of the three values.
func (s Seen) Known() bool { return s == SeenUpload || s == SeenFollow || s == SeenBackfill }

// A Digest is a SHA-256 of a file's bytes.
type Digest [32]byte

// String returns the digest as an entry writes it: 64 lowercase hex digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest reads 64 lowercase hex digits.
func ParseDigest(s string) (d Digest, err error) {
	if !d.decode(s) {
		return Digest{}, fmt.Errorf("sha256 %q is not 64 lowercase hex digits", clip(s))
	}
	return d, nil
}

// decode reads 64 lowercase hex digits. If s is anything else, d is garbage.
func (d *Digest) decode(s string) bool {
	if len(s) != 2*len(d) {
		return false
	}
	var all byte
	for i := range d {
		high, low := hexValue[s[2*i]], hexValue[s[2*i+1]]
		d[i] = high<<4 | low
		all |= high | low
	}
	return all < 16
}

// hexValue has the values of lowercase hex digits, and 0xff for all other bytes.
var hexValue = func() (v [256]byte) {
	for i := range v {
		v[i] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		v[c] = byte(i)
	}
	return v
}()

// An Entry is one record. Which fields have a meaning depends on Kind; the
// others are zero.
type Entry struct {
	Kind   Kind
	Path   string // relative to the CPAN root
	SHA256 Digest // of the file; of a delete, conflict or void: the logged one
	Size   uint64 // upload, index: bytes
	Time   Time   // what the submitter says; of conflict and void: the log's clock
	By     string // upload, delete: a PAUSE id, or "-"
	Seen   Seen   // upload, delete
	Other  Digest // conflict: what was submitted
	Index  uint64 // void: of the entry that must not be trusted
}

// Validate checks everything that the format demands of an entry's values.
// Its errors wrap ErrMalformed.
func (e *Entry) Validate() error {
	if err := e.validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

func (e *Entry) validate() error {
	checkPath := CheckArchivePath
	switch e.Kind {
	case Index:
		checkPath = CheckIndexPath
	case Upload, Delete, Conflict, Void:
	default:
		return fmt.Errorf("kind %q is none of upload, index, delete, conflict, void", clip(string(e.Kind)))
	}
	if err := checkPath(e.Path); err != nil {
		return err
	}
	if e.Time < 0 || e.Time > maxTime {
		return fmt.Errorf("time %d is not between 1970 and 9999", e.Time)
	}
	hasSize := e.Kind == Upload || e.Kind == Index
	if e.Size > MaxNumber || (!hasSize && e.Size != 0) {
		return fmt.Errorf("size %d: expected at most 15 digits, and none for a %s", e.Size, e.Kind)
	}
	if e.Index > MaxNumber || (e.Kind != Void && e.Index != 0) {
		return fmt.Errorf("index %d: expected at most 15 digits, and only in a void", e.Index)
	}
	if e.Kind == Upload || e.Kind == Delete {
		if e.By != "-" && !IsPAUSEID(e.By) {
			return fmt.Errorf("by %q is neither a PAUSE id nor -", clip(e.By))
		}
		if !e.Seen.Known() {
			return fmt.Errorf("seen %q is none of upload, follow, backfill", clip(string(e.Seen)))
		}
	} else if e.By != "" || e.Seen != "" {
		return fmt.Errorf("a %s entry has no by or seen", e.Kind)
	}
	if e.Kind == Conflict {
		if e.Other == e.SHA256 {
			return errors.New("a conflict needs two digests that differ")
		}
	} else if e.Other != (Digest{}) {
		return fmt.Errorf("a %s entry has no other", e.Kind)
	}
	return nil
}

// Marshal returns the entry's bytes, or an error if it is not valid.
func (e *Entry) Marshal() ([]byte, error) { return e.Append(make([]byte, 0, 256+len(e.Path))) }

// Append appends the entry's bytes to b, or returns an error if it is not valid.
func (e *Entry) Append(b []byte) ([]byte, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	return e.append(b), nil
}

// append writes an entry that is known to be valid.
func (e *Entry) append(b []byte) []byte {
	b = append(b, Version+"\nkind "...)
	b = append(b, e.Kind...)
	b = append(b, "\npath "...)
	b = append(b, e.Path...)
	b = append(b, "\nsha256 "...)
	b = hex.AppendEncode(b, e.SHA256[:])
	switch e.Kind {
	case Upload, Index:
		b = append(b, "\nsize "...)
		b = strconv.AppendUint(b, e.Size, 10)
	case Conflict:
		b = append(b, "\nother "...)
		b = hex.AppendEncode(b, e.Other[:])
	case Void:
		b = append(b, "\nindex "...)
		b = strconv.AppendUint(b, e.Index, 10)
	}
	b = append(b, "\ntime "...)
	b = e.Time.Time().AppendFormat(b, timeLayout)
	if e.Kind == Upload || e.Kind == Delete {
		b = append(b, "\nby "...)
		b = append(b, e.By...)
		b = append(b, "\nseen "...)
		b = append(b, e.Seen...)
	}
	return append(b, '\n')
}

// Parse reads an entry's bytes. Its errors wrap ErrMalformed or ErrUpgrade.
// Whatever it accepts, Marshal writes again byte for byte.
func Parse(b []byte) (*Entry, error) {
	if len(b) <= MaxSize {
		e := new(Entry)
		if e.scan(string(b)) {
			return e, nil
		}
	}
	return parseLines(b)
}

// parseLines is Parse line by line: what it says of bytes that are no entry is what a person reads.
func parseLines(b []byte) (*Entry, error) {
	rest, err := newer(b)
	if err != nil {
		return nil, err
	}
	e, err := parse(rest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return e, e.Validate()
}

// newer tells entries of an unknown version or kind from malformed ones, and
// returns what follows the kind line of the others, that line included.
func newer(b []byte) ([]byte, error) {
	if len(b) > MaxUnknownSize {
		return nil, fmt.Errorf("%w: %d bytes, expected at most %d", ErrMalformed, len(b), MaxUnknownSize)
	}
	first, rest, ok := bytes.Cut(b, []byte{'\n'})
	if !ok {
		return nil, fmt.Errorf("%w: no line feed", ErrMalformed)
	}
	if string(first) != Version {
		n, isOurs := strings.CutPrefix(string(first), "pauselog/v")
		if isOurs && isNumber(n) && n != "0" {
			return nil, fmt.Errorf("%w: its first line is %q, this program knows %q", ErrUpgrade, clip(string(first)), Version)
		}
		return nil, fmt.Errorf("%w: first line %q, expected %q", ErrMalformed, clip(string(first)), Version)
	}
	line, _, ok := bytes.Cut(rest, []byte{'\n'})
	kind, isKind := strings.CutPrefix(string(line), "kind ")
	if !ok || !isKind || !isWord(kind) {
		return nil, fmt.Errorf("%w: second line %q, expected a kind", ErrMalformed, clip(string(line)))
	}
	switch Kind(kind) {
	case Upload, Index, Delete, Conflict, Void:
	default:
		return nil, fmt.Errorf("%w: kind %q is not known to this program", ErrUpgrade, kind)
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, expected at most %d", ErrMalformed, len(b), MaxSize)
	}
	return rest, nil
}

func parse(rest []byte) (*Entry, error) {
	p := parser{rest: string(rest)}
	e := &Entry{Kind: Kind(p.line("kind")), Path: p.line("path"), SHA256: p.digest("sha256")}
	switch e.Kind {
	case Upload, Index:
		e.Size = p.number("size")
	case Conflict:
		e.Other = p.digest("other")
	case Void:
		e.Index = p.number("index")
	}
	e.Time = p.time()
	if e.Kind == Upload || e.Kind == Delete {
		e.By, e.Seen = p.line("by"), Seen(p.line("seen"))
	}
	if p.err == nil && p.rest != "" {
		return nil, fmt.Errorf("%d bytes after the last line of a %s entry", len(p.rest), e.Kind)
	}
	return e, p.err
}

// A parser takes lines off rest until the first error.
type parser struct {
	rest string
	err  error
}

func (p *parser) line(name string) string {
	if p.err != nil {
		return ""
	}
	line, rest, ok := strings.Cut(p.rest, "\n")
	value, named := strings.CutPrefix(line, name+" ")
	if !ok || !named {
		p.err = fmt.Errorf("expected a line %q, found %q", name, clip(line))
		return ""
	}
	p.rest = rest
	return value
}

func (p *parser) digest(name string) (d Digest) {
	s := p.line(name)
	if p.err == nil {
		d, p.err = ParseDigest(s)
	}
	return d
}

func (p *parser) time() (t Time) {
	s := p.line("time")
	if p.err == nil {
		t, p.err = ParseTime(s)
	}
	return t
}

func (p *parser) number(name string) (n uint64) {
	s := p.line(name)
	if p.err == nil {
		if n, p.err = ParseNumber(s); p.err != nil {
			p.err = fmt.Errorf("%s: %w", name, p.err)
		}
	}
	return n
}

// ParseNumber reads a decimal of at most 15 digits without leading zeros.
func ParseNumber(s string) (uint64, error) {
	if !isNumber(s) {
		return 0, fmt.Errorf("%q is not a decimal number of at most 15 digits", clip(s))
	}
	return strconv.ParseUint(s, 10, 64)
}

func isNumber(s string) bool {
	if s == "" || len(s) > maxDigits || (s[0] == '0' && len(s) > 1) {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}

// isWord is the grammar of kinds, of this version and later ones.
func isWord(s string) bool {
	if s == "" || len(s) > 32 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// clip shortens hostile input for an error text.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
