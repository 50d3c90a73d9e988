package tile

import (
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"

	"github.com/pauselog/pauselog/log/tree"
)

// A Reader computes nodes, proofs and the root of the tree of one size from its
// tiles alone. It asks for the hash tiles that this size implies and for no
// others, and within one call for none twice; keeping them from call to call is
// up to Fetch.
//
// A Reader trusts nothing and vouches for nothing: from wrong tiles it computes
// wrong proofs. The size comes from a verified checkpoint, and a result counts
// only once it meets that checkpoint's root: by tree.VerifyInclusion,
// tree.VerifyConsistency, or comparing Root.
type Reader struct {
	// Size is the number of leaves in the tree.
	Size uint64

	// Fetch returns the hashes of a hash tile, exactly Width of them. If a
	// partial tile is gone it may fetch Full instead and return the first
	// Width of its hashes. The Reader does not change what it returns.
	Fetch func(Tile) ([]tree.Hash, error)
}

// Inclusion returns the inclusion proof of the leaf with this index (RFC 6962
// section 2.1.1).
func (r *Reader) Inclusion(index uint64) ([]tree.Hash, error) {
	if index >= r.Size {
		return nil, fmt.Errorf("index %d is not below the tree size %d", index, r.Size)
	}
	nodes, err := proof.Inclusion(index, r.Size)
	if err != nil {
		return nil, err
	}
	return r.prove(nodes)
}

// Consistency returns the proof that the tree of the old size is a prefix of
// this one (RFC 6962 section 2.1.2). From size 0, and from this size, it is
// empty.
func (r *Reader) Consistency(oldSize uint64) ([]tree.Hash, error) {
	if oldSize > r.Size {
		return nil, fmt.Errorf("the older tree has size %d, this one only %d", oldSize, r.Size)
	}
	nodes, err := proof.Consistency(oldSize, r.Size)
	if err != nil {
		return nil, err
	}
	return r.prove(nodes)
}

// Root returns the root of the tree.
func (r *Reader) Root() (tree.Hash, error) {
	// The perfect subtrees that the tree consists of, from left to right and
	// so from high to low: the root hangs them together from the right.
	hashes, err := r.hashes(compact.RangeNodes(0, r.Size, nil))
	if err != nil {
		return tree.Hash{}, err
	}
	if len(hashes) == 0 {
		return tree.EmptyRoot, nil
	}
	root := hashes[len(hashes)-1]
	for i := len(hashes) - 2; i >= 0; i-- {
		root = tree.NodeHash(hashes[i], root)
	}
	return root, nil
}

// Node returns the hash of the perfect subtree over the leaves from
// index·2^level up to (index+1)·2^level, all of which the tree must have.
func (r *Reader) Node(level uint, index uint64) (tree.Hash, error) {
	hashes, err := r.hashes([]compact.NodeID{{Level: level, Index: index}})
	if err != nil {
		return tree.Hash{}, err
	}
	return hashes[0], nil
}

// prove turns the nodes that a proof is made of into the proof. All but one of
// its hashes are of perfect subtrees, which tiles hold; the one that covers the
// ragged right edge of the tree is hashed together from several.
func (r *Reader) prove(nodes proof.Nodes) ([]tree.Hash, error) {
	hashes, err := r.hashes(nodes.IDs)
	if err != nil {
		return nil, err
	}
	slices := make([][]byte, len(hashes))
	for i := range hashes {
		slices[i] = hashes[i][:]
	}
	slices, err = nodes.Rehash(slices, tree.Hasher{}.HashChildren)
	if err != nil {
		return nil, err
	}
	p := make([]tree.Hash, len(slices))
	for i := range slices {
		p[i] = tree.Hash(slices[i])
	}
	return p, nil
}

func (r *Reader) hashes(ids []compact.NodeID) ([]tree.Hash, error) {
	if r.Size > tree.MaxSize {
		return nil, fmt.Errorf("tree size %d is over 2^63-1", r.Size)
	}
	fetched := make(map[Tile][]tree.Hash)
	hashes := make([]tree.Hash, len(ids))
	for i, id := range ids {
		t, first, n, err := locate(id.Level, id.Index, r.Size)
		if err != nil {
			return nil, err
		}
		content, ok := fetched[t]
		if !ok {
			content, err = r.Fetch(t)
			if err != nil {
				return nil, fmt.Errorf("fetching %v: %w", t, err)
			}
			if len(content) != t.Width {
				return nil, fmt.Errorf("%w: %v should have %d hashes, found %d", ErrMalformed, t, t.Width, len(content))
			}
			fetched[t] = content
		}
		hashes[i] = Root(content[first : first+n])
	}
	return hashes, nil
}

// locate returns the tile that holds a node of a tree of this size and the
// hashes of the tile below that node: n of them, a power of two, from the given
// first one on. Of the tile levels at or below the node it takes the highest,
// so n is at most 128.
func locate(level uint, index, size uint64) (t Tile, first, n int, err error) {
	if level < 63 && index < size>>level {
		up := level % Height
		i := index << up // position of the first hash in its tile level; below size
		if t, ok := At(int(level/Height), i/Width, size); ok {
			return t, int(i % Width), 1 << up, nil
		}
	}
	return Tile{}, 0, 0, fmt.Errorf("node %d at level %d is not complete in a tree of size %d", index, level, size)
}
