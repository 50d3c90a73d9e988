package store

import (
	"sync/atomic"

	"github.com/transparency-dev/merkle/compact"

	"github.com/pauselog/pauselog/log/tree"
)

// lowest is the lowest level of the tree that is kept in memory. Below it a node
// is made from one level-0 tile: 15 hashes, or one of a row that is in memory. From 4 up, a million leaves cost 4 MB.
const lowest = 4

// memory is the tree from level 4 up, plus the leaf hashes of the last tile. It is
// appended to by one goroutine, ahead of what is durable; readers take nodes that
// lie wholly below a size that they got from the store's head, and these
// never change.
type memory struct {
	levels [64 - lowest]column
	edge   *compact.Range // writer only
	tail   *[256]tree.Hash
}

// ranges makes every compact range here: the library joins only those of one factory.
var ranges = &compact.RangeFactory{Hash: tree.Hasher{}.HashChildren}

func newMemory() *memory {
	return &memory{edge: ranges.NewEmptyRange(0), tail: new([256]tree.Hash)}
}

// size is the number of leaves that the writer has appended.
func (m *memory) size() uint64 { return m.edge.End() }

// append adds a leaf. A tail that it fills is replaced by the next append, so that
// the caller finds it full once.
func (m *memory) append(leaf tree.Hash) error {
	i := m.size() % 256
	if i == 0 && m.size() > 0 {
		m.tail = new([256]tree.Hash)
	}
	m.tail[i] = leaf
	return m.edge.Append(leaf[:], func(id compact.NodeID, hash []byte) {
		if id.Level >= lowest {
			m.levels[id.Level-lowest].set(id.Index, tree.Hash(hash))
		}
	})
}

// appendTile adds a full tile of which the nodes of levels 4 to 8 are known
// already: nodes[0] has the 16 of level 4, nodes[4] the one of level 8. The size must be
// a multiple of 256.
func (m *memory) appendTile(nodes *tileNodes) error {
	n := m.size() / 256
	for l := range nodes {
		for i, h := range nodes[l][:16>>l] {
			m.levels[l].set(n*uint64(16>>l)+uint64(i), h)
		}
	}
	root := nodes[4][0]
	perfect, err := ranges.NewRange(n*256, (n+1)*256, [][]byte{root[:]})
	if err != nil {
		return err
	}
	return m.edge.AppendRange(perfect, func(id compact.NodeID, hash []byte) {
		if id.Level >= lowest {
			m.levels[id.Level-lowest].set(id.Index, tree.Hash(hash))
		}
	})
}

// root is the root of all that was appended.
func (m *memory) root() (tree.Hash, error) {
	if m.size() == 0 {
		return tree.EmptyRoot, nil
	}
	h, err := m.edge.GetRootHash(nil)
	if err != nil {
		return tree.Hash{}, err
	}
	return tree.Hash(h), nil
}

// tileNodes are the nodes of levels 4 to 8 above one full level-0 tile.
type tileNodes [5][16]tree.Hash

func nodesOf(tile *[256]tree.Hash) *tileNodes {
	var n tileNodes
	for i := range 16 {
		n[0][i] = subtree(tile[16*i : 16*i+16])
	}
	for l := 1; l < len(n); l++ {
		for i := range 16 >> l {
			n[l][i] = tree.NodeHash(n[l-1][2*i], n[l-1][2*i+1])
		}
	}
	return &n
}

// subtree is the root over a power of two of hashes, at most 16.
func subtree(hashes []tree.Hash) tree.Hash {
	var row [16]tree.Hash
	n := copy(row[:], hashes)
	for ; n > 1; n /= 2 {
		for i := range n / 2 {
			row[i] = tree.NodeHash(row[2*i], row[2*i+1])
		}
	}
	return row[0]
}

// A column is one level of the tree: an array that grows without moving what it
// holds, so that readers need no lock. One goroutine sets.
type column struct {
	blocks atomic.Pointer[[]*block]
}

const blockSize = 1024

type block [blockSize]tree.Hash

func (c *column) set(i uint64, h tree.Hash) {
	var blocks []*block
	if p := c.blocks.Load(); p != nil {
		blocks = *p
	}
	if i/blockSize >= uint64(len(blocks)) {
		// A reader holds the old slice header; append may write only beyond its
		// length, which the reader does not look at.
		blocks = append(blocks, new(block))
		c.blocks.Store(&blocks)
	}
	blocks[i/blockSize][i%blockSize] = h
}

func (c *column) get(i uint64) tree.Hash {
	return (*c.blocks.Load())[i/blockSize][i%blockSize]
}
