package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
)

// A scrubber compares some tiles, at the size of a head.
type scrubber struct {
	s      *Store
	head   *Head
	memory bool
	damage []Damage

	// keyTile is the last one that was read for a v key.
	keyTile  []byte
	keyTileN uint64
}

func (c *scrubber) found(what string, start, end uint64, format string, args ...any) {
	c.damage = append(c.damage, Damage{what, start, end, fmt.Sprintf(format, args...)})
}

// columns are what is on disk of some tiles.
type columns struct {
	entries [][]byte
	leaves  [][]byte // 32 bytes for each entry
	keys    [][]byte // 8 bytes for each entry
	prev    map[uint64]uint64
}

// tiles compares the tiles from first to before last.
func (c *scrubber) tiles(first, last uint64) {
	start, end := first*256, min(last*256, c.head.Size)
	full := min(last, c.head.Size/256)
	cols, err := c.read(start, end, first, full)
	if err != nil {
		// One of many is missing, or the disk fails: which is told by reading one by one.
		if last-first > 1 {
			for n := first; n < last; n++ {
				c.tiles(n, n+1)
			}
			return
		}
		c.oneByOne(first, start, end, full)
		return
	}
	for n := first; n < last; n++ {
		i := (n - first) * 256
		width := min(256, end-n*256)
		var leaves, keys []byte
		if n < full {
			leaves, keys = cols.leaves[n-first], cols.keys[n-first]
		}
		c.tile(n, cols.entries[i:i+width], leaves, keys, cols.prev)
	}
}

// read reads entries and tiles. The values are views into one buffer.
func (c *scrubber) read(start, end, first, full uint64) (*columns, error) {
	var cols columns
	var err error
	if cols.entries, err = c.column('z', start, end); err != nil {
		return nil, err
	}
	if cols.leaves, err = c.column('t', first, max(first, full)); err != nil {
		return nil, err
	}
	if cols.keys, err = c.column('k', first, max(first, full)); err != nil {
		return nil, err
	}
	cols.prev, err = c.previous(start, end)
	return &cols, err
}

func (c *scrubber) column(prefix byte, start, end uint64) ([][]byte, error) {
	size := map[byte]uint64{'z': 350, 't': 256 * tree.HashSize, 'k': 256 * 8}[prefix]
	buf := make([]byte, 0, size*(end-start))
	ends := make([]int, 0, end-start)
	err := c.s.scan(prefix, start, end, func(_ uint64, v []byte) error {
		buf = append(buf, v...)
		ends = append(ends, len(buf))
		return nil
	})
	out := make([][]byte, len(ends))
	from := 0
	for i, to := range ends {
		out[i], from = buf[from:to], to
	}
	return out, err
}

// previous reads the v keys of a range of entries.
func (c *scrubber) previous(start, end uint64) (map[uint64]uint64, error) {
	it, err := c.s.db.NewIter(&pebble.IterOptions{LowerBound: numbered(nil, 'v', start), UpperBound: numbered(nil, 'v', end)})
	if err != nil {
		return nil, err
	}
	prev := map[uint64]uint64{}
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Key()) != 9 || len(it.Value()) != 8 {
			err = fmt.Errorf("%w: a v key of %d bytes with a value of %d", ErrDamaged, len(it.Key()), len(it.Value()))
			break
		}
		prev[binary.BigEndian.Uint64(it.Key()[1:])] = binary.BigEndian.Uint64(it.Value())
	}
	return prev, errors.Join(err, it.Error(), it.Close())
}

// tile compares one tile: its entries, and of a full one its leaf hashes and path hashes. Of what is nil nothing is
// compared; it was found to be damaged before.
func (c *scrubber) tile(n uint64, entries [][]byte, leaves, keys []byte, prev map[uint64]uint64) {
	start := n * 256
	end := start + uint64(len(entries))
	hashes := make([]tree.Hash, len(entries))
	for i, e := range entries {
		if e != nil {
			hashes[i] = tree.LeafHash(e)
		}
	}
	want, ok := c.leafHashes(n, hashes, leaves)
	if !ok {
		return // which of them is wrong is not known
	}
	for i, e := range entries {
		index := start + uint64(i)
		if e == nil {
			continue
		}
		if want != nil && hashes[i] != want[i] {
			c.found("entries", index, index+1, "it does not have its leaf hash")
			continue
		}
		conflict, path, err := pathOf(e, want != nil)
		if err != nil {
			c.found("entries", index, index+1, "%v", err)
			continue
		}
		key := uint64(0)
		if !conflict {
			key = pathHash(path)
		}
		if len(keys) == 256*8 && binary.BigEndian.Uint64(keys[i*8:]) != key {
			c.found("keys", index, index+1, "its path hash is %016x, expected %016x", binary.BigEndian.Uint64(keys[i*8:]), key)
		}
		if prev != nil {
			c.path(index, key, path, prev)
		}
	}
	if keys != nil && len(keys) != 256*8 {
		c.found("keys", start, end, "a key tile of %d bytes", len(keys))
	}
}

// pathOf returns an entry's path, and whether it is a conflict. Of one that is known to be what was signed, and so was
// parsed before it was, these two lines are enough.
func pathOf(e []byte, signed bool) (conflict bool, path string, err error) {
	if rest, ok := bytes.CutPrefix(e, []byte("pauselog/v1\nkind ")); ok && signed {
		kind, rest, _ := bytes.Cut(rest, []byte("\npath "))
		if path, _, ok := bytes.Cut(rest, []byte("\n")); ok {
			return string(kind) == string(entry.Conflict), string(path), nil
		}
	}
	parsed, err := entry.Parse(e)
	if err != nil {
		return false, "", err
	}
	return parsed.Kind == entry.Conflict, parsed.Path, nil
}

// leafHashes returns the leaf hashes that the signed tree has, as far as they can be told: those of the tile if they
// lead to the node above it. Else it is nil, and ok says whether the entries lead to that.
func (c *scrubber) leafHashes(n uint64, hashes []tree.Hash, leaves []byte) (want []tree.Hash, ok bool) {
	start := n * 256
	if n == c.head.Size/256 {
		if c.head.tail == nil {
			return nil, true // without memory nothing is known of them
		}
		return c.head.tail[:len(hashes)], true
	}
	var err error
	if leaves != nil {
		var t *[256]tree.Hash
		if t, err = tileOf(leaves); err == nil && (!c.memory || c.leads(n, t)) {
			return t[:], true
		}
		if err == nil {
			err = errors.New("they do not have the hash that the signed tree has")
		}
		c.found("tile", start, start+256, "%v", err)
	}
	if c.memory && !c.leads(n, (*[256]tree.Hash)(hashes)) {
		c.found("entries", start, start+256, "some do not have the hash that the signed tree has; which is not known, because their tile is damaged too")
		return nil, false
	}
	return nil, true
}

// leads reports whether the leaf hashes lead to their node in memory.
func (c *scrubber) leads(n uint64, t *[256]tree.Hash) bool {
	node, err := c.s.Node(8, n, c.head.Size)
	return err == nil && nodesOf(t)[8-lowest][0] == node
}

// path compares what an entry says about its path's history with what is on disk and in the table.
func (c *scrubber) path(index, key uint64, path string, prev map[uint64]uint64) {
	p, has := prev[index]
	switch {
	case has && key == 0:
		c.found("previous", index, index+1, "it is a conflict, and follows entry %d", p)
		return
	case has && p >= index:
		c.found("previous", index, index+1, "it follows entry %d", p)
		return
	case has:
		// A key tile that is wrong is found where it is read.
		if k, err := c.keyOf(p); err == nil && k != key {
			if b, err := c.s.get(numbered(nil, 'z', p)); err == nil {
				if e, err := entry.Parse(b); err == nil && (e.Path != path || e.Kind == entry.Conflict) {
					c.found("previous", index, index+1, "it follows entry %d, which is not of the same path", p)
				}
			}
			return
		}
	}
	if key == 0 || !c.memory || c.s.paths == nil {
		return
	}
	var buf [4]uint64
	same, newest := 0, false
	for _, at := range c.s.paths.find(key, buf[:0]) {
		if at != index {
			// Another path may share the hash. An entry that is damaged says nothing, and is found where it is read.
			b, err := c.s.Entry(at, c.s.Head().Size)
			if err != nil {
				return
			}
			if e, err := entry.Parse(b); err != nil || e.Path != path {
				continue
			}
		}
		same++
		newest = newest || at >= index
	}
	if same != 1 || !newest {
		c.found("paths", index, index+1, "the table in memory has %d entries as the newest of its path", same)
	}
}

// keyOf returns the path hash of an entry.
func (c *scrubber) keyOf(index uint64) (uint64, error) {
	if index/256 == c.head.Size/256 {
		b, err := c.s.get(numbered(nil, 'z', index))
		if err != nil {
			return 0, err
		}
		e, err := entry.Parse(b)
		if err != nil || e.Kind == entry.Conflict {
			return 0, err
		}
		return pathHash(e.Path), nil
	}
	if c.keyTile == nil || c.keyTileN != index/256 {
		v, err := c.s.get(numbered(nil, 'k', index/256))
		if err != nil {
			return 0, err
		}
		if len(v) != 256*8 {
			return 0, fmt.Errorf("%w: key tile of %d bytes", ErrDamaged, len(v))
		}
		c.keyTile, c.keyTileN = v, index/256
	}
	return binary.BigEndian.Uint64(c.keyTile[index%256*8:]), nil
}

// oneByOne compares a tile of which something cannot be read.
func (c *scrubber) oneByOne(n, start, end, full uint64) {
	entries := make([][]byte, 0, end-start)
	for i := start; i < end; i++ {
		b, err := c.s.get(numbered(nil, 'z', i))
		if err != nil {
			c.unread("entries", i, i+1, err)
			b = nil
		}
		entries = append(entries, b)
	}
	var leaves, keys []byte
	if n < full {
		var err error
		if leaves, err = c.s.get(numbered(nil, 't', n)); err != nil {
			c.unread("tile", start, end, err)
		}
		if keys, err = c.s.get(numbered(nil, 'k', n)); err != nil {
			c.unread("keys", start, end, err)
		}
	}
	prev, err := c.previous(start, end)
	if err != nil {
		c.unread("previous", start, end, err)
		prev = nil
	}
	if leaves == nil && n < full && slices.ContainsFunc(entries, func(e []byte) bool { return e == nil }) {
		return // nothing is left to compare with
	}
	c.tile(n, entries, leaves, keys, prev)
}

// unread notes what cannot be read. Neighbours of one block fail together, and are one damage.
func (c *scrubber) unread(what string, start, end uint64, err error) {
	text := err.Error()
	if errors.Is(err, ErrNotFound) {
		text = "missing"
	}
	if i := len(c.damage) - 1; i >= 0 && c.damage[i].What == what && c.damage[i].End == start && c.damage[i].Detail == text {
		c.damage[i].End = end
		return
	}
	c.found(what, start, end, "%s", text)
}
