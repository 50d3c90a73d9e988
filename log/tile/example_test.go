package tile_test

import (
	"fmt"

	"github.com/pauselog/pauselog/log/tile"
	"github.com/pauselog/pauselog/log/tree"
)

// A client that knows the size and root of a verified checkpoint, and can fetch
// files below the log's URL, proves the inclusion of an entry on its own.
func ExampleReader() {
	// The log: 300 entries, and what it serves at two paths.
	var leaves []tree.Hash
	for i := range 300 {
		leaves = append(leaves, tree.LeafHash(fmt.Appendf(nil, "entry %d", i)))
	}
	files := map[string][]byte{
		"tile/0/000":      tile.AppendHashes(nil, leaves[:256]...),
		"tile/0/001.p/44": tile.AppendHashes(nil, leaves[256:]...),
		"tile/1/000.p/1":  tile.AppendHashes(nil, tile.Root(leaves[:256])),
	}

	// From a checkpoint whose signatures were verified.
	size, root := uint64(300), tile.Root(leaves)

	r := tile.Reader{Size: size, Fetch: func(t tile.Tile) ([]tree.Hash, error) {
		fmt.Println("fetching", t)
		return tile.Hashes(files[t.Path()], t.Width)
	}}
	proof, err := r.Inclusion(299)
	if err != nil {
		fmt.Println(err)
		return
	}
	// Nothing above was trusted; this is what counts.
	err = tree.VerifyInclusion(299, size, tree.LeafHash([]byte("entry 299")), proof, root)
	fmt.Println(len(proof), "hashes, error:", err)
	// Output:
	// fetching tile/0/001.p/44
	// fetching tile/1/000.p/1
	// 5 hashes, error: <nil>
}

func ExampleAll() {
	for t := range tile.All(300) {
		fmt.Println(t)
	}
	// Output:
	// tile/entries/000
	// tile/entries/001.p/44
	// tile/0/000
	// tile/0/001.p/44
	// tile/1/000.p/1
}

func ExampleParsePath() {
	t, err := tile.ParsePath("tile/entries/x001/x234/067.p/7")
	fmt.Println(t.Level == tile.Bundle, t.N, t.Width, err)
	_, err = tile.ParsePath("tile/0/x000/001")
	fmt.Println(err)
	// Output:
	// true 1234067 7 <nil>
	// malformed tile: "tile/0/x000/001" is not the canonical path of a tile
}
