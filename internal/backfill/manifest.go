package backfill

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/pauselog/pauselog/log/entry"
)

// A manifest lists archives that are not on this machine, a line for each file:
//
//	<sha256> <size> <time> <path>
//
// sha256 is 64 lowercase hex digits, size is in bytes, and time is the file's modification time in whole seconds since 1970,
// both without a sign or leading zeros. The path is relative to the CPAN root and begins with authors/id/; it is the
// rest of the line and may have any bytes but LF and NUL, and no empty, "." or ".." segment. One space stands
// between two fields, each line ends in LF, and the paths strictly increase in the order of their bytes. In a
// tree, this makes one:
//
//	find authors/id -type f -exec sh -c 'for f; do
//	    printf "%s %s\n" "$(sha256sum <"$f" | cut -c1-64)" "$(stat -c "%s %Y %n" "$f")"
//	done' sh {} + | LC_ALL=C sort -t ' ' -k 4

// ErrManifest says that a manifest is not as it must be.
var ErrManifest = errors.New("malformed manifest")

// maxLine is the longest line, with its LF: the fields and the longest path of a file system.
const maxLine = 64 + 1 + 15 + 1 + 12 + 1 + 4096 + 1

// A record is a line.
type record struct {
	path string
	Copy
}

// A manifest is one that is read, line by line.
type manifest struct {
	name string
	file *os.File
	in   *bufio.Reader
	line int
	last string // path
}

func openManifest(name string) (*manifest, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	return &manifest{name: name, file: f, in: bufio.NewReaderSize(f, maxLine)}, nil
}

func (m *manifest) close() { m.file.Close() }

// read returns the next record, or nil after the last. Its errors name the line.
func (m *manifest) read() (*record, error) {
	text, err := m.in.ReadSlice('\n')
	if err == io.EOF && len(text) == 0 {
		return nil, nil
	}
	m.line++
	var r *record
	switch {
	case err == io.EOF:
		err = errors.New("it does not end in a newline: the file may be cut short")
	case errors.Is(err, bufio.ErrBufferFull):
		err = fmt.Errorf("it has over %d bytes", maxLine)
	case err == nil:
		r, err = parseRecord(string(text[:len(text)-1]))
	}
	if err == nil && r.path <= m.last {
		err = fmt.Errorf("%.100q does not come after %.100q: sort the lines by their paths, in the order of the bytes", r.path, m.last)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s, line %d: %w", ErrManifest, m.name, m.line, err)
	}
	m.last, r.Tree = r.path, m.name
	return r, nil
}

func parseRecord(line string) (*record, error) {
	fields := strings.SplitN(line, " ", 4)
	if len(fields) < 4 {
		return nil, fmt.Errorf("expected sha256, size, time and path, found %d fields", len(fields))
	}
	r := &record{path: fields[3]}
	var err error
	if r.SHA256, err = entry.ParseDigest(fields[0]); err != nil {
		return nil, err
	}
	if r.Size, err = parseNumber(fields[1], entry.MaxNumber); err != nil {
		return nil, fmt.Errorf("the size: %w", err)
	}
	at, err := parseNumber(fields[2], 253402300799) // the end of 9999, after which an entry has no time
	if err != nil {
		return nil, fmt.Errorf("the time: %w", err)
	}
	r.time = entry.Time(at)
	rest, ok := strings.CutPrefix(r.path, archives+"/")
	if !ok {
		return nil, fmt.Errorf("the path %.100q does not begin with %s/", r.path, archives)
	}
	if strings.Contains(r.path, "\x00") {
		return nil, fmt.Errorf("the path %.100q has a NUL", r.path)
	}
	for s := range strings.SplitSeq(rest, "/") {
		if s == "" || s == "." || s == ".." {
			return nil, fmt.Errorf("the path %.100q has a segment %q", r.path, s)
		}
	}
	return r, nil
}

// parseNumber reads a number in its one form.
func parseNumber(s string, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > most || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%.40q is no whole number from 0 to %d", s, most)
	}
	return n, nil
}

// checkManifest reads all of a manifest, before anything is done with some of it, and returns its digest.
func checkManifest(name string) (string, error) {
	m, err := openManifest(name)
	if err != nil {
		return "", err
	}
	defer m.close()
	h := sha256.New()
	m.in.Reset(io.TeeReader(m.file, h))
	for {
		r, err := m.read()
		if err != nil {
			return "", err
		}
		if r == nil {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
	}
}
