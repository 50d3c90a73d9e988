package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/pauselog/pauselog/internal/submit"
	"github.com/pauselog/pauselog/log/entry"
)

// MaxSize is the largest file of a spool, in bytes.
const MaxSize = 4096

// ErrMalformed says that a file of the spool is none that a hook has written.
var ErrMalformed = errors.New("malformed spool file")

// An Event is what a hook saw happen to a file of PAUSE.
type Event struct {
	Kind entry.Kind // Upload, Index or Delete
	Path string     // relative to the CPAN root
	Read bool       // the hook could read the file: SHA256 and Size are of what it read
	entry.Digest
	Size uint64
	Time entry.Time
	By   string // a PAUSE id, or "" if it is not known
}

// The content of a file: one JSON object in one line, with these names and no others, each once:
//
//	{"spool":1,"kind":"upload","path":"authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz","sha256":"...","size":43478,
//	 "time":"2026-11-22T10:00:00Z","by":"ETHER"}
//
// sha256 and size are null if the file could not be read, by is null if it is not known.
var names = []string{"spool", "kind", "path", "sha256", "size", "time", "by"}

// Parse reads the content of a file. What it returns can be submitted, once its file has been looked at. Its errors wrap
// ErrMalformed.
func Parse(b []byte) (*Event, error) {
	if len(b) > MaxSize {
		return nil, malformed("%d bytes, at most %d are allowed", len(b), MaxSize)
	}
	fields, err := object(b)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if _, ok := fields[n]; !ok {
			return nil, malformed("there is no %q", n)
		}
	}
	if fields["spool"] != json.Number("1") {
		return nil, malformed("spool: expected 1, found %v", fields["spool"])
	}
	e := &Event{}
	kind, _ := fields["kind"].(string)
	e.Path, _ = fields["path"].(string)
	if err := e.setKind(kind); err != nil {
		return nil, err
	}
	if err := e.setFile(fields["sha256"], fields["size"]); err != nil {
		return nil, err
	}
	at, _ := fields["time"].(string)
	if e.Time, err = entry.ParseTime(at); err != nil {
		return nil, malformed("time: %v", err)
	}
	switch by := fields["by"].(type) {
	case nil:
	case string:
		if !entry.IsPAUSEID(by) {
			return nil, malformed("by: %.40q is no PAUSE id", by)
		}
		e.By = by
	default:
		return nil, malformed("by: expected a text or null")
	}
	return e, nil
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrMalformed, fmt.Errorf(format, args...))
}

// setKind checks that what is logged of the path is of the kind.
func (e *Event) setKind(word string) error {
	kind, err := submit.Classify(e.Path)
	if err != nil {
		return malformed("path %.600q: %v", e.Path, err)
	}
	if word == string(entry.Delete) && kind == entry.Upload {
		kind = entry.Delete
	}
	if word != string(kind) {
		return malformed("kind %.20q of %s", word, e.Path)
	}
	e.Kind = kind
	return nil
}

func (e *Event) setFile(digest, size any) error {
	if digest == nil && size == nil {
		return nil
	}
	s, ok1 := digest.(string)
	n, ok2 := size.(json.Number)
	if !ok1 || !ok2 {
		return malformed("expected sha256 and size, or null for both")
	}
	var err error
	if e.Digest, err = entry.ParseDigest(s); err != nil {
		return malformed("sha256: %v", err)
	}
	if e.Size, err = entry.ParseNumber(string(n)); err != nil {
		return malformed("size: %v", err)
	}
	e.Read = true
	return nil
}

// object reads one flat object. encoding/json alone would take the last of two fields of one name, and names in
// other letters.
func object(b []byte) (map[string]any, error) {
	if !bytes.HasSuffix(b, []byte("\n")) || bytes.Count(b, []byte("\n")) != 1 {
		return nil, malformed("expected one line")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, malformed("expected an object")
	}
	fields := map[string]any{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, malformed("%v", err)
		}
		value, err := d.Token()
		if err != nil {
			return nil, malformed("%v", err)
		}
		key, ok := name.(string)
		if _, twice := fields[key]; !ok || twice || !known(key) {
			return nil, malformed("unexpected %.40q", name)
		}
		if _, nested := value.(json.Delim); nested {
			return nil, malformed("%s: expected one value", key)
		}
		fields[key] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, malformed("%v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, malformed("there is more behind the object")
	}
	return fields, nil
}

func known(name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// Marshal returns the event as a hook writes it.
func (e *Event) Marshal() []byte {
	null := func(ok bool, s string) string {
		if ok {
			return s
		}
		return "null"
	}
	// Paths and ids have nothing in them that JSON has to escape but the quote and the backslash, which %q escapes alike.
	return fmt.Appendf(nil, "{\"spool\":1,\"kind\":%q,\"path\":%q,\"sha256\":%s,\"size\":%s,\"time\":%q,\"by\":%s}\n", string(e.Kind), e.Path,
		null(e.Read, strconv.Quote(e.Digest.String())), null(e.Read, strconv.FormatUint(e.Size, 10)), e.Time.String(), null(e.By != "", strconv.Quote(e.By)))
}
