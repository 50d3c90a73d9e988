package tile

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/pauselog/pauselog/log/tree"
)

// MaxEntry is the longest entry that a bundle can carry: its length is written
// in 16 bits. This log's own entries are far shorter.
const MaxEntry = 1<<16 - 1

// MaxBytes returns the largest number of bytes that the tile's content can
// have: what a reader should limit a download to. For a hash tile it is the
// only length that Hashes accepts.
func (t Tile) MaxBytes() int {
	if t.Level == Bundle {
		return t.Width * (2 + MaxEntry)
	}
	return t.Width * tree.HashSize
}

// AppendEntry appends one entry to a bundle: its length in two bytes, big
// endian, and its bytes (C2SP tlog-tiles, "Log entries"). An entry may be
// empty.
func AppendEntry(bundle, entry []byte) ([]byte, error) {
	if len(entry) > MaxEntry {
		return nil, fmt.Errorf("a bundle carries entries of at most %d bytes, found %d", MaxEntry, len(entry))
	}
	bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(entry)))
	return append(bundle, entry...), nil
}

// Entries returns the entries of a bundle of this width. A bundle has neither a
// count nor an end mark, so it must hold exactly as many as its name says and
// not a byte more. The entries share the bundle's memory. Errors wrap
// ErrMalformed.
func Entries(bundle []byte, width int) ([][]byte, error) {
	if width < 1 || width > Width {
		return nil, fmt.Errorf("%w: a bundle has 1 to %d entries, not %d", ErrMalformed, Width, width)
	}
	entries := make([][]byte, 0, width)
	rest := bundle
	for len(entries) < width {
		if len(rest) < 2 {
			return nil, fmt.Errorf("%w: expected a bundle of %d entries, it ends within or after entry %d", ErrMalformed, width, len(entries))
		}
		n := int(binary.BigEndian.Uint16(rest))
		rest = rest[2:]
		if len(rest) < n {
			return nil, fmt.Errorf("%w: entry %d of the bundle should have %d bytes, found %d", ErrMalformed, len(entries), n, len(rest))
		}
		entries = append(entries, rest[:n:n])
		rest = rest[n:]
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%w: %d bytes after the last of %d entries", ErrMalformed, len(rest), width)
	}
	return entries, nil
}

// AppendHashes appends hashes to the content of a hash tile.
func AppendHashes(data []byte, hashes ...tree.Hash) []byte {
	data = slices.Grow(data, len(hashes)*tree.HashSize)
	for i := range hashes {
		data = append(data, hashes[i][:]...)
	}
	return data
}

// Hashes returns the hashes of a hash tile of this width: its content is theirs,
// end to end, and nothing else. Errors wrap ErrMalformed.
func Hashes(data []byte, width int) ([]tree.Hash, error) {
	if width < 1 || width > Width {
		return nil, fmt.Errorf("%w: a tile has 1 to %d hashes, not %d", ErrMalformed, Width, width)
	}
	if len(data) != width*tree.HashSize {
		return nil, fmt.Errorf("%w: a tile of %d hashes has %d bytes, found %d", ErrMalformed, width, width*tree.HashSize, len(data))
	}
	hashes := make([]tree.Hash, width)
	for i := range hashes {
		hashes[i] = tree.Hash(data[i*tree.HashSize:])
	}
	return hashes, nil
}

// Root returns the Merkle tree hash over hashes, as MTH of RFC 6962 section 2.1
// is over the leaves that they stand for. That of a full tile is its hash in the
// level above; that of all level 0 hashes is the root of the tree.
func Root(hashes []tree.Hash) tree.Hash {
	switch len(hashes) {
	case 0:
		return tree.EmptyRoot
	case 1:
		return hashes[0]
	}
	k := 1 // the largest power of two below the number of hashes
	for k*2 < len(hashes) {
		k *= 2
	}
	return tree.NodeHash(Root(hashes[:k]), Root(hashes[k:]))
}
