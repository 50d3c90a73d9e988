package tile

import (
	"iter"

	"github.com/pauselog/pauselog/log/tree"
)

// width returns how many hashes a tree of the given size has at a tile level:
// only those of complete subtrees, which is why no partial tile is ever hashed
// into the level above.
func width(level int, size uint64) uint64 {
	return size >> (Height * max(level, 0))
}

// At returns the tile with this level and number as a tree of this size has it,
// full or partial, and false if the tree has no hash there: an empty tile does
// not exist. These are the only tiles that a reader may ask for (C2SP
// tlog-tiles: a client fetches no partial tile that a verified checkpoint does
// not imply).
func At(level int, n, size uint64) (Tile, bool) {
	t := Tile{Level: level, N: n, Width: Width}
	if !t.Valid() || size > tree.MaxSize || n >= 1<<(64-Height) || width(level, size) <= n<<Height {
		return Tile{}, false
	}
	t.Width = int(min(Width, width(level, size)-n<<Height))
	return t, true
}

// InTree reports whether a tree of this size has all the leaves that the tile
// covers, so that a log may serve it: every full tile, and every partial one
// that this or an earlier size has. Those of sizes for which there was a
// checkpoint must be served until the full tile exists, and may be after that
// (C2SP tlog-tiles, "Partial Tiles").
func (t Tile) InTree(size uint64) bool {
	_, end, err := t.Range()
	return err == nil && end <= size && size <= tree.MaxSize
}

// All returns the tiles of a tree of this size, the partial one at the end of
// each level included: first the entry bundles, then the hash tiles level by
// level, each from left to right. A size over tree.MaxSize has none.
func All(size uint64) iter.Seq[Tile] { return Added(0, size) }

// Added returns, in the order of All, the tiles that a tree of the new size has
// and a tree of the old size does not: what a log writes when it grows, or a
// mirror fetches. A partial tile that became wider, or full, is a new tile.
func Added(oldSize, newSize uint64) iter.Seq[Tile] {
	return func(yield func(Tile) bool) {
		if newSize > tree.MaxSize {
			return
		}
		for level := Bundle; ; level++ {
			from, to := width(level, oldSize), width(level, newSize)
			if from >= to {
				return // and so it is at every level above
			}
			for n := from >> Height; n<<Height < to; n++ {
				if !yield(Tile{level, n, int(min(Width, to-n<<Height))}) {
					return
				}
			}
		}
	}
}
