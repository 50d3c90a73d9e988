package prooftree

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
)

const (
	// Shards is how many there are.
	Shards = 256

	// MaxSnapshots is how many entries of an index file's path are listed: the newest ones.
	MaxSnapshots = 100

	// MaxShard is the largest shard in bytes. It is that of a log of sixty million entries.
	MaxShard = 16 << 20
)

const shardFolder = "paths/"

// A Line is a line of a shard: the entry with this index is said to be of this path.
type Line struct {
	Index uint64
	Path  string
}

// ShardOf returns the number of the shard that a path belongs to.
func ShardOf(path string) byte {
	sum := sha256.Sum256([]byte(path))
	return sum[0]
}

// ShardName returns the name of a shard in the tree: paths/0f.
func ShardName(shard byte) string { return shardFolder + hex.EncodeToString([]byte{shard}) }

// ParseShardName is the inverse of ShardName, and accepts only what that writes.
func ParseShardName(name string) (shard byte, ok bool) {
	digits, ok := strings.CutPrefix(name, shardFolder)
	if !ok || len(digits) != 2 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 8)
	return byte(n), err == nil && ShardName(byte(n)) == name
}

// Listed reports whether the path index lists an entry, as far as its kind decides.
func Listed(e *entry.Entry) bool {
	switch e.Kind {
	case entry.Upload, entry.Delete, entry.Void, entry.Index:
		return true
	}
	return false
}

// AppendLine appends a line to a shard.
func AppendLine[T string | []byte](b []byte, index uint64, path T) []byte {
	b = strconv.AppendUint(b, index, 10)
	b = append(b, ' ')
	b = append(b, path...)
	return append(b, '\n')
}

// compare is the order of lines.
func (l Line) compare(m Line) int {
	return cmp.Or(strings.Compare(l.Path, m.Path), cmp.Compare(l.Index, m.Index))
}

// FormatShard returns the text of a shard. The lines may come in any order and more than
// once; they are sorted in place, and of an index file's path only the newest are written.
func FormatShard(lines []Line) []byte {
	slices.SortFunc(lines, Line.compare)
	lines = slices.Compact(lines)
	var b []byte
	for len(lines) > 0 {
		n := 1
		for n < len(lines) && lines[n].Path == lines[0].Path {
			n++
		}
		group := lines[:n]
		if n > MaxSnapshots && isIndex(group[0].Path) {
			group = group[n-MaxSnapshots:]
		}
		for _, l := range group {
			b = AppendLine(b, l.Index, l.Path)
		}
		lines = lines[n:]
	}
	return b
}

func isIndex(path string) bool {
	kind, err := entry.KindOf(path)
	return err == nil && kind == entry.Index
}

// ParseShard reads a shard, and accepts only what FormatShard writes for paths of this
// shard. Its errors wrap ErrInvalid.
func ParseShard(shard byte, text []byte) ([]Line, error) {
	if len(text) > MaxShard {
		return nil, fmt.Errorf("%w: %s has %d bytes, expected at most %d", ErrInvalid, ShardName(shard), len(text), MaxShard)
	}
	lines := make([]Line, 0, min(len(text)/32, 1<<16))
	rest, snapshots := string(text), 0
	for rest != "" {
		line, after, ok := strings.Cut(rest, "\n")
		bad := func(format string, args ...any) ([]Line, error) {
			return nil, fmt.Errorf("%w: %s, line %d: %s", ErrInvalid, ShardName(shard), len(lines)+1, fmt.Sprintf(format, args...))
		}
		if !ok {
			return bad("it does not end in a newline")
		}
		rest = after
		l, ok := parseLine(line)
		if !ok {
			return bad("expected an index and a path, found %.80q", line)
		}
		index, path := l.Index, l.Path
		if n := len(lines); n > 0 && lines[n-1].Path == path {
			if lines[n-1].compare(l) >= 0 {
				return bad("index %d comes after %d of the same path", index, lines[n-1].Index)
			}
			if snapshots++; snapshots > MaxSnapshots && isIndex(path) {
				return bad("there are over %d entries of %s", MaxSnapshots, path)
			}
		} else {
			snapshots = 1
			if _, err := entry.KindOf(path); err != nil {
				return bad("%v", err)
			}
			if of := ShardOf(path); of != shard {
				return bad("%s belongs into %s", path, ShardName(of))
			}
			if n > 0 && lines[n-1].compare(l) >= 0 {
				return bad("%s comes after %s", path, lines[n-1].Path)
			}
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// parseLine reads a line without its newline, and accepts only what AppendLine writes.
func parseLine(line string) (Line, bool) {
	digits, path, ok := strings.Cut(line, " ")
	index, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil || index >= tree.MaxSize || strconv.FormatUint(index, 10) != digits {
		return Line{}, false
	}
	return Line{Index: index, Path: path}, true
}

// A shard as it was read. Nothing vouches for it: what it points to is verified, and so most of it never needs to be
// looked at.
type shard struct {
	number byte
	text   []byte
}

// ofPath returns the lines of a path.
func (s *shard) ofPath(path string) ([]Line, error) {
	var lines []Line
	end := []byte(" " + path + "\n")
	for at := 0; ; {
		i := bytes.Index(s.text[at:], end)
		if i < 0 {
			break
		}
		start := bytes.LastIndexByte(s.text[:at+i], '\n') + 1
		l, ok := parseLine(string(s.text[start : at+i+len(end)-1]))
		if n := len(lines); !ok || l.Path != path || n > 0 && (start != at || lines[n-1].Index >= l.Index) || n == MaxSnapshots && isIndex(path) {
			return nil, s.check() // it says what is wrong
		}
		lines, at = append(lines, l), at+i+len(end)
	}
	if lines == nil {
		// That something is missing is believed of a shard that is one.
		return nil, s.check()
	}
	return lines, nil
}

// check returns an error if the text is no shard.
func (s *shard) check() error {
	_, err := ParseShard(s.number, s.text)
	return err
}
