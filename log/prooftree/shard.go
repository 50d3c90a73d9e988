package prooftree

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sort"
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
		digits, path, ok := strings.Cut(line, " ")
		index, err := strconv.ParseUint(digits, 10, 64)
		if !ok || err != nil || index >= tree.MaxSize || strconv.FormatUint(index, 10) != digits {
			return bad("expected an index and a path, found %.80q", line)
		}
		l := Line{Index: index, Path: path}
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

// ofPath returns the lines of a path in a parsed shard.
func ofPath(lines []Line, path string) []Line {
	from := sort.Search(len(lines), func(i int) bool { return lines[i].Path >= path })
	to := from
	for to < len(lines) && lines[to].Path == path {
		to++
	}
	return lines[from:to]
}
