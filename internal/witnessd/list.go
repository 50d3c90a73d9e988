package witnessd

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/witness/state"
)

// A list of logs (C2SP tlog-list) is how a network of witnesses makes logs known to all of them:
//
//	logs/v0
//
//	vkey log.example/pause+0fb1b6e4+AQ...
//	qpd 86400
//	contact https://log.example/contact
//
//	vkey other.example+32a4dd18+AU...
//	origin other.example/2026
//	qpd 24
//	contact sysadmin (at) other.example

const (
	// MaxList is the largest list in bytes.
	MaxList = 16 << 20

	// maxListLine is the longest line in bytes; an ML-DSA-44 vkey with the longest name has 2,030.
	maxListLine = 4 << 10

	// MaxQPD is the largest number of requests a day that a list may announce.
	MaxQPD = 1<<31 - 1

	listHeader = "logs/v0"
)

var (
	// ErrList says that bytes are no list of logs.
	ErrList = errors.New("not a list of logs")

	// ErrKeyType says that a log's key is of a type that witnesses here cannot verify.
	ErrKeyType = errors.New("the key is of a type that is not supported")
)

// A ListedLog is a log of a list.
type ListedLog struct {
	Origin  string
	Key     *checkpoint.VerifierKey // nil if Err is not
	QPD     uint64                  // requests a day, from 1 to MaxQPD
	Contact string
	Line    int   // of its vkey in the list
	Err     error // wraps ErrKeyType: the log is to be skipped, and the rest of the list is well
}

// ParseList parses a list of logs. Every error wraps ErrList and names the line. Lines may be
// indented, blank or comments, as the specification has it; everything else has one form. A key of a
// type that this program does not know is no error of the list: a newer log must not keep others
// from being added.
func ParseList(b []byte) ([]ListedLog, error) {
	if len(b) > MaxList {
		return nil, fmt.Errorf("%w: expected at most %d bytes, found %d", ErrList, MaxList, len(b))
	}
	if len(b) == 0 || b[len(b)-1] != '\n' {
		// One that was cut short could end within a name.
		return nil, fmt.Errorf("%w: expected a newline at its end", ErrList)
	}
	p := listParser{origins: make(map[string]int)}
	number := 0
	for line := range bytes.Lines(b) {
		number++
		if err := p.line(number, strings.Trim(string(line[:len(line)-1]), " \t")); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrList, number, err)
		}
	}
	if !p.header || p.next != "" {
		return nil, fmt.Errorf("%w: expected a line %q at its end, found nothing more", ErrList, p.expected())
	}
	return p.logs, nil
}

// listParser is what was read so far.
type listParser struct {
	header  bool
	logs    []ListedLog
	origins map[string]int // the line of each origin
	next    string         // the word that the last log lacks; "" if it is whole
	origin  bool           // an origin line may come
}

func (p *listParser) expected() string {
	switch {
	case !p.header:
		return listHeader
	case p.next == "":
		return "vkey"
	}
	return p.next
}

func (p *listParser) line(number int, line string) error {
	switch {
	case len(line) > maxListLine:
		return fmt.Errorf("expected at most %d bytes, found %d", maxListLine, len(line))
	case !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }):
		return fmt.Errorf("expected text without control characters, found %.100q", line)
	case line == "" || line[0] == '#':
		return nil
	case !p.header:
		if line != listHeader {
			return fmt.Errorf("expected %q, found %.100q", listHeader, line)
		}
		p.header = true
		return nil
	}
	word, value, _ := strings.Cut(line, " ")
	if value == "" || (word != p.expected() && (word != "origin" || !p.origin)) {
		return fmt.Errorf("expected %q and its value, found %.100q", p.expected(), line)
	}
	return p.value(number, word, value)
}

func (p *listParser) value(number int, word, value string) error {
	if word == "vkey" {
		if len(p.logs) == state.MaxLogs {
			return fmt.Errorf("expected at most %d logs", state.MaxLogs)
		}
		l, err := listedKey(value)
		l.Line = number
		p.logs, p.next, p.origin = append(p.logs, l), "qpd", true
		return err
	}
	l := &p.logs[len(p.logs)-1]
	switch word {
	case "origin":
		if err := checkpoint.ValidOrigin(value); err != nil {
			return err
		}
		l.Origin, p.origin = value, false
	case "qpd":
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != value {
			return fmt.Errorf("expected a number from 1 to %d, found %.40q", MaxQPD, value)
		}
		// The origin is known now.
		if other, ok := p.origins[l.Origin]; ok {
			return fmt.Errorf("the origin %q is that of the log in line %d", l.Origin, other)
		}
		p.origins[l.Origin] = l.Line
		l.QPD, p.next, p.origin = n, "contact", false
	case "contact":
		// It is for people, and is shown on terminals.
		value = strings.Trim(strings.ReplaceAll(value, "\t", " "), " ")
		if len(value) > state.MaxContact {
			return fmt.Errorf("expected a contact of at most %d bytes, found %d", state.MaxContact, len(value))
		}
		l.Contact, p.next = value, ""
	}
	return nil
}

// listedKey parses a vkey. One that is well formed and of an unknown type is no error.
func listedKey(vkey string) (ListedLog, error) {
	k, err := checkpoint.ParseVerifierKey(vkey)
	if err != nil {
		name, alg, ok := unknownType(vkey)
		if !ok {
			return ListedLog{}, err
		}
		return ListedLog{Origin: name, Err: fmt.Errorf("%w: 0x%02x", ErrKeyType, alg)}, nil
	}
	l := ListedLog{Origin: k.Name(), Key: k}
	if a := k.Algorithm(); a != checkpoint.Ed25519 && a != checkpoint.MLDSA44 {
		l.Key, l.Err = nil, fmt.Errorf("%w: expected a log's key, found one of type %v", ErrKeyType, a)
	}
	return l, nil
}

// unknownType returns the name and the type of a vkey of a type that package checkpoint does not
// know (C2SP signed-note).
func unknownType(vkey string) (name string, alg byte, ok bool) {
	name, rest, ok1 := strings.Cut(vkey, "+")
	id, key, ok2 := strings.Cut(rest, "+")
	b, err1 := hex.DecodeString(id)
	raw, err2 := base64.StdEncoding.Strict().DecodeString(key)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || len(b) != 4 || hex.EncodeToString(b) != id || len(raw) < 2 || checkpoint.ValidOrigin(name) != nil {
		return "", 0, false
	}
	switch a := checkpoint.Algorithm(raw[0]); a {
	case checkpoint.Ed25519, checkpoint.CosignatureV1, checkpoint.MLDSA44:
		return "", 0, false
	}
	return name, raw[0], true
}
