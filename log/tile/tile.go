// Package tile is the arithmetic of C2SP tlog-tiles: how the tree of a log is
// cut into files that never change, what those files are called and hold, and
// how a reader computes every proof from them.
//
// A hash tile is 256 consecutive hashes of one level of the tree, 8 levels of
// which (log2 256) lie between a tile level and the next. Hash i of the tile
// with level L and number N is the Merkle tree hash of the 256^L leaves from
// (256·N + i)·256^L on: a leaf hash at level 0, and at each level above the
// root of a whole tile of the level below. An entry bundle is the 256 entries
// whose leaf hashes are the level 0 tile of the same number.
//
// At the right edge of the tree a tile has fewer hashes: it is partial, with a
// width of 1 to 255, and its width is part of its name. A partial tile is never
// hashed into the level above, so what a name stands for never changes. A tree
// of 70,000 leaves has
//
//	level 0: 273 full tiles and one of width 112    (70,000 = 273·256 + 112)
//	level 1: 1 full tile and one of width 17        (273 = 1·256 + 17)
//	level 2: one of width 1
//
// and its newest leaf hash is the last of tile/0/273.p/112.
//
// Nothing here reads a disk or a socket, and nothing authenticates: a tile is
// to be believed when what is computed from it meets a signed root (see
// Reader).
package tile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pauselog/pauselog/log/tree"
)

const (
	// Height is the number of tree levels from one tile level to the next.
	Height = 8

	// Width is the number of hashes in a full tile, and of entries in a full
	// bundle.
	Width = 1 << Height

	// MaxLevel is the highest level that a path can name. Trees of up to
	// 2^63-1 leaves have none above 7.
	MaxLevel = 63

	// Bundle is the Level of an entry bundle. Its number, width and range of
	// leaves are those of the level 0 tile beside it.
	Bundle = -1
)

// maxPath is more than the longest path: tile/entries/, six groups of x and
// three digits, a seventh, and .p/255.
const maxPath = 64

// ErrMalformed says that a path is not in its one canonical form, or that the
// content of a tile or a bundle is not what its name promises.
var ErrMalformed = errors.New("malformed tile")

// A Tile is the name of a hash tile or an entry bundle. Tiles are comparable.
type Tile struct {
	Level int    // 0 to MaxLevel, or Bundle
	N     uint64 // position within the level, counted in tiles
	Width int    // number of hashes or entries: 1 to 255 if partial, else 256
}

// Valid reports whether a path can name this tile. Whether a tree has it is
// what InTree says.
func (t Tile) Valid() bool {
	return t.Level >= Bundle && t.Level <= MaxLevel && t.N <= tree.MaxSize && t.Width >= 1 && t.Width <= Width
}

// Path returns the tile's path below the log's URL prefix, without a leading
// slash: tile/1/x001/234.p/7, tile/entries/067. The number is written in groups
// of three digits, each but the last with an x before it. ParsePath refuses the
// path of a tile that is not valid.
func (t Tile) Path() string {
	b := make([]byte, 0, maxPath)
	b = append(b, "tile/"...)
	if t.Level == Bundle {
		b = append(b, "entries/"...)
	} else {
		b = strconv.AppendInt(b, int64(t.Level), 10)
		b = append(b, '/')
	}
	digits := strconv.FormatUint(t.N, 10)
	digits = "00"[:(3-len(digits)%3)%3] + digits
	for ; len(digits) > 3; digits = digits[3:] {
		b = append(b, 'x')
		b = append(b, digits[:3]...)
		b = append(b, '/')
	}
	b = append(b, digits...)
	if t.Width != Width {
		b = append(b, ".p/"...)
		b = strconv.AppendInt(b, int64(t.Width), 10)
	}
	return string(b)
}

// String returns the tile's path.
func (t Tile) String() string { return t.Path() }

// ParsePath is the inverse of Path. It accepts only what Path writes, without
// leading zeros, empty groups or anything before or after, so that one tile has
// one URL (C2SP tlog-tiles, "Merkle Tree"). A server answers the rest with 404.
// Its errors wrap ErrMalformed.
func ParsePath(path string) (Tile, error) {
	if len(path) > maxPath {
		return Tile{}, fmt.Errorf("%w: a path has at most %d bytes, found %d", ErrMalformed, maxPath, len(path))
	}
	t, ok := parsePath(path)
	// The parse is generous about zeros; writing the tile again is the check
	// that there is one spelling.
	if !ok || !t.Valid() || t.Path() != path {
		return Tile{}, fmt.Errorf("%w: %q is not the canonical path of a tile", ErrMalformed, path)
	}
	return t, nil
}

func parsePath(path string) (Tile, bool) {
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok {
		return Tile{}, false
	}
	t := Tile{Level: Bundle, Width: Width}
	level, rest, _ := strings.Cut(rest, "/")
	if level != "entries" {
		n, err := strconv.ParseUint(level, 10, 8)
		if err != nil {
			return Tile{}, false
		}
		t.Level = int(n)
	}
	rest, width, partial := strings.Cut(rest, ".p/")
	if partial {
		n, err := strconv.ParseUint(width, 10, 8)
		if err != nil {
			return Tile{}, false
		}
		t.Width = int(n)
	}
	digits := strings.ReplaceAll(strings.ReplaceAll(rest, "/", ""), "x", "")
	n, err := strconv.ParseUint(digits, 10, 64)
	t.N = n
	return t, err == nil
}

// Range returns the leaves that the tile covers, from start up to but not
// including end: a tree has the tile once its size has reached end. For a full
// tile these are the start index and the end index of C2SP tlog-tiles,
// "Pruning". A tile that reaches beyond the 2^63-1 leaves that a tree can have
// is an error.
func (t Tile) Range() (start, end uint64, err error) {
	if !t.Valid() {
		return 0, 0, fmt.Errorf("%w: level %d, number %d, width %d", ErrMalformed, t.Level, t.N, t.Width)
	}
	shift := Height * max(t.Level, 0)
	// In units of 256^Level leaves. N·256 + Width cannot wrap below the first
	// bound, nor the shift below the second.
	if t.N > tree.MaxSize>>Height {
		return 0, 0, fmt.Errorf("tile %v reaches beyond leaf 2^63-1", t)
	}
	first := t.N << Height
	last := first + uint64(t.Width)
	if last > uint64(tree.MaxSize)>>shift {
		return 0, 0, fmt.Errorf("tile %v reaches beyond leaf 2^63-1", t)
	}
	return first << shift, last << shift, nil
}

// Full returns the full tile in the same place. While the tree does not have it
// yet it names nothing; once it has, it may be all that is left of a partial
// one (C2SP tlog-tiles, "Partial Tiles"), whose hashes are its first.
func (t Tile) Full() Tile {
	t.Width = Width
	return t
}
