package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/pauselog/pauselog/log/entry"
)

// In memory an upload is kept in half the bytes that its text has: without the words that all uploads have, the digest
// and the numbers in binary, and of what its path says twice only once. Any other entry is kept as it is. The first
// byte says which:
//
//	0          the text
//	1 to 7     an upload: the digest, the time's 14 digits in 7 bytes, the size as a varint, the id that entered it
//	           with its length before it (unless it is the one in the path), and the path from that id on

const (
	verbatim   = 0
	packedForm = 1 // + the place of `seen` in seenValues, + othersUpload if `by` is not the id in the path

	othersUpload = 4
)

var seenValues = [...]entry.Seen{entry.SeenUpload, entry.SeenFollow, entry.SeenBackfill}

const archives = "authors/id/"

// pack returns what unpack makes this text of.
func pack(text []byte) []byte {
	if p := packUpload(text); p != nil && unpack(p) == string(text) {
		return p
	}
	return append([]byte{verbatim}, text...)
}

// packUpload returns nil for what it has no form for. It may be wrong about the rest, and pack looks at what it did.
func packUpload(text []byte) []byte {
	e, err := entry.Parse(text)
	if err != nil || e.Kind != entry.Upload {
		return nil
	}
	rest, ok := strings.CutPrefix(e.Path, archives)
	if !ok || len(rest) < len("E/ET/ET/x") {
		return nil
	}
	rest = rest[len("E/ET/"):]
	form := byte(packedForm)
	for i, s := range seenValues {
		if e.Seen == s {
			form += byte(i)
		}
	}
	id, _, _ := strings.Cut(rest, "/")
	p := make([]byte, 1, 64+len(rest))
	p = append(p, e.SHA256[:]...)
	p = appendTime(p, e.Time)
	p = binary.AppendUvarint(p, e.Size)
	if e.By != id {
		form += othersUpload
		p = append(p, byte(len(e.By)))
		p = append(p, e.By...)
	}
	p[0] = form
	return append(p, rest...)
}

// unpack returns the text that was packed.
func unpack(p []byte) string {
	form, p := p[0], p[1:]
	if form == verbatim {
		return string(p)
	}
	form -= packedForm
	digest, p := p[:len(entry.Digest{})], p[len(entry.Digest{}):]
	at, p := p[:timeBytes], p[timeBytes:]
	size, n := binary.Uvarint(p)
	p = p[n:]
	var by []byte
	if form >= othersUpload {
		form -= othersUpload
		by, p = p[1:1+p[0]], p[1+p[0]:]
	}
	var text [longestText]byte
	b := append(text[:0], entry.Version+"\nkind upload\npath "+archives...)
	b = append(b, p[0], '/', p[0], p[1], '/')
	b = append(b, p...)
	b = append(b, "\nsha256 "...)
	b = hex.AppendEncode(b, digest)
	b = append(b, "\nsize "...)
	b = strconv.AppendUint(b, size, 10)
	b = append(b, "\ntime "...)
	b = appendTimeText(b, at)
	b = append(b, "\nby "...)
	if by == nil {
		by, _, _ = bytes.Cut(p, []byte("/"))
	}
	b = append(b, by...)
	b = append(b, "\nseen "...)
	b = append(b, seenValues[form]...)
	b = append(b, '\n')
	return string(b)
}

const timeBytes = 7

// appendTime appends two digits in each byte. Time as a number would be two bytes less, and takes as long to write as all
// the rest.
func appendTime(p []byte, at entry.Time) []byte {
	digits := at.Time().Format("20060102150405")
	for i := 0; i+1 < len(digits); i += 2 {
		p = append(p, (digits[i]-'0')<<4|(digits[i+1]-'0'))
	}
	return p
}

func appendTimeText(b, at []byte) []byte {
	b = append(b, '0'+at[0]>>4, '0'+at[0]&15)
	for i, pair := range at[1:] {
		b = append(b, '0'+pair>>4, '0'+pair&15, "--T::Z"[i])
	}
	return b
}
