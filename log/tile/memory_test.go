package tile

import (
	"fmt"
	"math/bits"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/pauselog/pauselog/log/tree"
)

// A memory is the tree whose entry i is the decimal of i: all of its full and
// partial tiles, kept as one row of hashes per tile level.
type memory struct {
	entries [][]byte
	levels  [][]tree.Hash
}

func grow(size int) *memory {
	m := &memory{levels: [][]tree.Hash{nil}}
	for i := range size {
		m.add(fmt.Appendf(nil, "%d", i))
	}
	return m
}

func (m *memory) add(entry []byte) {
	m.entries = append(m.entries, entry)
	m.levels[0] = append(m.levels[0], tree.LeafHash(entry))
	for l := 0; len(m.levels[l])%Width == 0; l++ {
		if l+1 == len(m.levels) {
			m.levels = append(m.levels, nil)
		}
		full := m.levels[l][len(m.levels[l])-Width:]
		m.levels[l+1] = append(m.levels[l+1], Root(full))
	}
}

func (m *memory) hashes(t Tile) []tree.Hash {
	return m.levels[t.Level][t.N*Width:][:t.Width]
}

// content returns the bytes that a log serves at the tile's path.
func (m *memory) content(t *testing.T, x Tile) []byte {
	t.Helper()
	if x.Level != Bundle {
		return AppendHashes(nil, m.hashes(x)...)
	}
	var b []byte
	var err error
	for _, entry := range m.entries[x.N*Width:][:x.Width] {
		if b, err = AppendEntry(b, entry); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// reader returns a Reader of the tree's first size leaves. Its Fetch fails the
// test when it is asked for a tile that the size does not imply (TT-6).
func (m *memory) reader(t *testing.T, size uint64) *Reader {
	t.Helper()
	return &Reader{Size: size, Fetch: func(x Tile) ([]tree.Hash, error) {
		if implied, ok := At(x.Level, x.N, size); !ok || x != implied || x.Level < 0 {
			t.Errorf("a tree of size %d does not imply %v", size, x)
		}
		return m.hashes(x), nil
	}}
}

// stored is an in-memory tlog.HashReader over the same entries, filled by
// golang.org/x/mod/sumdb/tlog without any code of this package.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = s[x]
	}
	return out, nil
}

func (m *memory) stored(t *testing.T) stored {
	t.Helper()
	var s stored
	for i, entry := range m.entries {
		hashes, err := tlog.StoredHashes(int64(i), entry, s)
		if err != nil {
			t.Fatal(err)
		}
		s = append(s, hashes...)
	}
	return s
}

// A sparse tree has any number of leaves and stores none: all are alike except
// a few, so that the hash of any node takes some dozens of steps. With the few
// put where a proof looks, a hash taken from a wrong place shows.
type sparse struct {
	special []uint64                // sorted
	same    [64]tree.Hash           // same[l] is the hash over 2^l ordinary leaves
	known   map[[2]uint64]tree.Hash // hashes over special leaves
}

func newSparse(special ...uint64) *sparse {
	s := &sparse{special: special, known: make(map[[2]uint64]tree.Hash)}
	slices.Sort(s.special)
	s.same[0] = tree.LeafHash([]byte("ordinary"))
	for l := range 63 {
		s.same[l+1] = tree.NodeHash(s.same[l], s.same[l])
	}
	return s
}

func (s *sparse) leaf(index uint64) tree.Hash { return s.node(0, index) }

func (s *sparse) node(level uint, index uint64) tree.Hash {
	first, _ := slices.BinarySearch(s.special, index<<level)
	if first == len(s.special) || s.special[first]>>level != index {
		return s.same[level]
	}
	if level == 0 {
		return tree.LeafHash(fmt.Appendf(nil, "special %d", index))
	}
	key := [2]uint64{uint64(level), index}
	if _, ok := s.known[key]; !ok {
		s.known[key] = tree.NodeHash(s.node(level-1, 2*index), s.node(level-1, 2*index+1))
	}
	return s.known[key]
}

// root follows RFC 6962's definition of MTH over the leaves [start, end).
func (s *sparse) root(start, end uint64) tree.Hash {
	n := end - start
	if n&(n-1) == 0 {
		level := uint(bits.TrailingZeros64(n))
		return s.node(level, start>>level)
	}
	k := uint64(1) << (bits.Len64(n) - 1)
	return tree.NodeHash(s.root(start, start+k), s.root(start+k, end))
}

func (s *sparse) fetch(t Tile) ([]tree.Hash, error) {
	hashes := make([]tree.Hash, t.Width)
	for i := range hashes {
		hashes[i] = s.node(uint(Height*t.Level), t.N*Width+uint64(i))
	}
	return hashes, nil
}

// ReadHashes implements tlog.HashReader.
func (s *sparse) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		level, n := tlog.SplitStoredHashIndex(x)
		out[i] = tlog.Hash(s.node(uint(level), uint64(n)))
	}
	return out, nil
}

// bitLengths is drawn from for sizes and numbers of every magnitude alike:
// rapid's integers alone are mostly small.
var bitLengths = func() (n []int) {
	for i := range 63 {
		n = append(n, i+1)
	}
	return n
}()

// drawUint draws a number of 1 to longest bits, at least 1.
func drawUint(t *rapid.T, longest int, label string) uint64 {
	top := uint64(1) << (rapid.SampledFrom(bitLengths[:longest]).Draw(t, label+" bits") - 1)
	return top + rapid.Uint64Range(0, top-1).Draw(t, label)
}

func convert[T ~[]tlog.Hash](p T) []tree.Hash {
	out := make([]tree.Hash, len(p))
	for i, h := range p {
		out[i] = tree.Hash(h)
	}
	return out
}
