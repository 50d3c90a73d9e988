package checkpoint

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// MaxSignatures is the largest number of signature lines in a note. C2SP
	// signed-note requires at least 16, and tlog-policy support for 32 witnesses;
	// with two keys each, and a log with eight keys during a rotation, that is 72.
	// golang.org/x/mod/sumdb/note reads up to 100.
	MaxSignatures = 96

	// MaxNoteSize is the largest note in bytes. Sixteen ML-DSA-44 lines are 52
	// kB; C2SP signed-note warns of post-quantum signatures near 5 kB, and
	// sixteen of those, in base64 and with the longest names, are 111 kB.
	MaxNoteSize = 1 << 17
)

// The em dash is U+2014, three bytes in UTF-8 (C2SP signed-note).
const signaturePrefix = "— "

// A Note is a text with signature lines. One that ParseNote returns is well
// formed; nothing about it is verified, and its Text is a stranger's claim
// until Policy.Open says otherwise.
type Note struct {
	// Text ends in a newline; the blank line after it is not part of it.
	Text       string
	Signatures []Signature
}

// A Signature is a signature line.
type Signature struct {
	Name  string // key name
	KeyID uint32
	Blob  []byte // what follows the 4-byte key id; its layout is the key's affair
}

// ParseNote parses a signed note (C2SP signed-note). Marshal returns the same
// bytes. Every error wraps ErrMalformed.
func ParseNote(b []byte) (Note, error) {
	if len(b) > MaxNoteSize {
		return Note{}, fmt.Errorf("%w: note of %d bytes, expected at most %d", ErrMalformed, len(b), MaxNoteSize)
	}
	if err := checkCharacters(b); err != nil {
		return Note{}, err
	}
	// The text may have empty lines of its own: the last one ends it.
	i := bytes.LastIndex(b, []byte("\n\n"))
	if i < 0 {
		return Note{}, fmt.Errorf("%w: expected a blank line between text and signatures, found none", ErrMalformed)
	}
	sigs, err := ParseSignatures(b[i+2:])
	if err != nil {
		return Note{}, err
	}
	return Note{Text: string(b[:i+1]), Signatures: sigs}, nil
}

// ParseSignatures parses one or more signature lines: the end of a note, or a
// witness's answer (C2SP tlog-witness). Every error wraps ErrMalformed.
func ParseSignatures(b []byte) ([]Signature, error) {
	if len(b) > MaxNoteSize {
		return nil, fmt.Errorf("%w: signature lines of %d bytes, expected at most %d", ErrMalformed, len(b), MaxNoteSize)
	}
	if err := checkCharacters(b); err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: expected at least one signature line, found none", ErrMalformed)
	}
	var sigs []Signature
	seen := make(map[keyRef]bool)
	for rest := string(b); rest != ""; {
		line, after, ok := strings.Cut(rest, "\n")
		if !ok {
			return nil, fmt.Errorf("%w: the last signature line does not end in a newline", ErrMalformed)
		}
		rest = after
		if len(sigs) == MaxSignatures {
			return nil, fmt.Errorf("%w: more than %d signature lines", ErrMalformed, MaxSignatures)
		}
		s, err := parseSignature(line)
		if err != nil {
			return nil, err
		}
		// With two lines of one key, which of them counts would depend on the
		// reader (C2SP tlog-checkpoint v1.1.0 forbids them).
		if seen[s.ref()] {
			return nil, fmt.Errorf("%w: two signature lines of key %s+%08x", ErrMalformed, quote(s.Name), s.KeyID)
		}
		seen[s.ref()] = true
		sigs = append(sigs, s)
	}
	return sigs, nil
}

// parseSignature parses a line, given without its newline.
func parseSignature(line string) (Signature, error) {
	rest, ok := strings.CutPrefix(line, signaturePrefix)
	if !ok {
		return Signature{}, fmt.Errorf("%w: expected a signature line that starts with %q, found %s", ErrMalformed, signaturePrefix, quote(line))
	}
	name, encoded, ok := strings.Cut(rest, " ")
	if !ok || !validName(name) {
		return Signature{}, fmt.Errorf("%w: signature line: expected a key name, a space and base64, found %s", ErrMalformed, quote(rest))
	}
	blob, err := decode64(encoded)
	if err != nil {
		return Signature{}, fmt.Errorf("%w: signature of %s: %v", ErrMalformed, quote(name), err)
	}
	if len(blob) < 5 {
		return Signature{}, fmt.Errorf("%w: signature of %s: expected a key id of 4 bytes and a signature, found %d bytes", ErrMalformed, quote(name), len(blob))
	}
	return Signature{Name: name, KeyID: binary.BigEndian.Uint32(blob), Blob: blob[4:]}, nil
}

// checkCharacters is C2SP signed-note's rule for all bytes of a note: UTF-8,
// and no ASCII control character but newline. It is what refuses CRLF.
func checkCharacters(b []byte) error {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return fmt.Errorf("%w: expected UTF-8, found byte 0x%02x at offset %d", ErrMalformed, b[i], i)
		}
		if r < 0x20 && r != '\n' {
			return fmt.Errorf("%w: found control character 0x%02x at offset %d", ErrMalformed, r, i)
		}
		i += n
	}
	return nil
}

// Marshal returns the note's bytes. A Note made by hand is as well formed as
// its parts: a text that ends in a newline and at least one signature.
func (n Note) Marshal() []byte {
	var b bytes.Buffer
	b.WriteString(n.Text)
	b.WriteByte('\n')
	for _, s := range n.Signatures {
		b.WriteString(s.Line())
	}
	return b.Bytes()
}

// Keep returns the note with only those signature lines for which keep is true,
// in their order. Without any left it is not a signed note anymore.
func (n Note) Keep(keep func(Signature) bool) Note {
	kept := Note{Text: n.Text}
	for _, s := range n.Signatures {
		if keep(s) {
			kept.Signatures = append(kept.Signatures, s)
		}
	}
	return kept
}

// With returns the note with these signatures added. One of the same key as a
// line of the note takes that line's place: a key signs a note once.
func (n Note) With(sigs ...Signature) Note {
	added := Note{Text: n.Text, Signatures: append([]Signature(nil), n.Signatures...)}
next:
	for _, s := range sigs {
		for i, old := range added.Signatures {
			if old.ref() == s.ref() {
				added.Signatures[i] = s
				continue next
			}
		}
		added.Signatures = append(added.Signatures, s)
	}
	return added
}

// Line returns the signature line with its newline.
func (s Signature) Line() string {
	b := binary.BigEndian.AppendUint32(nil, s.KeyID)
	return signaturePrefix + s.Name + " " + base64.StdEncoding.EncodeToString(append(b, s.Blob...)) + "\n"
}

// IsEd25519 reports whether the line can be an Ed25519 signature: of type 0x01,
// whose blob is 64 bytes, or 0x04, which has a time of 8 bytes before it. A
// line does not name its type, so an unknown type with a blob of such a length
// is taken for one too; that costs the reader of a bundle 100 bytes and no
// trust, because the key decides what a line proves.
//
// note.Keep(Signature.IsEd25519) is the form that proof bundles carry.
func (s Signature) IsEd25519() bool {
	return len(s.Blob) == Ed25519.blobSize() || len(s.Blob) == CosignatureV1.blobSize()
}

// Key name and key id together say which key a line claims to be of; one alone
// means nothing (C2SP signed-note: names and ids may each coincide).
type keyRef struct {
	name string
	id   uint32
}

func (s Signature) ref() keyRef { return keyRef{s.Name, s.KeyID} }
