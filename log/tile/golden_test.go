package tile

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/pauselog/pauselog/log/tree"
)

// Vectors made with other implementations: the tree whose entry i is the
// decimal of i, its roots and files at several sizes.
var golden = []struct {
	size  uint64
	root  string
	files []goldenFile
}{
	{1, "db3426e878068d28d269b6c87172322ce5372b65756d0789001d34835f601c03", nil},
	{255, "32f85bcaa87d7bcd05728f09e9aeba350ba6a2f733830087f0597682848be5cb", nil},
	{256, "828515d033c19d8c901f37eccb8aed919667703486f8d2fff1cf7040321c5db1", []goldenFile{
		{"tile/0/000", 8192, "b9704a8bfbee2c61185ceb38904a49f3f703c81e194b5b2ccdc254c2bdaaa62b"},
		{"tile/entries/000", 1170, "94693d5c6d6a0355ec07bac8214516c1ce6a5100b0588f226fd95f26571157d7"},
	}},
	{257, "1eda049a4351d86f76252bd7ec0b7746ad75b7fa0316ad5f541dbda458a312c4", nil},
	{300, "84e13ec1e037155ae619757599b2cd21ada5a565e0fd9b3139c0c3c6c1b8ada9", []goldenFile{
		{"tile/0/000", 8192, "b9704a8bfbee2c61185ceb38904a49f3f703c81e194b5b2ccdc254c2bdaaa62b"},
		{"tile/0/001.p/44", 1408, "03c8b91297109114834f4ea4b4043313b3abf15301439b30371d874810427409"},
		{"tile/1/000.p/1", 32, "d8543884b063e422f6de2e558c6b11eb5e1a20528ccfe23cf27ceeb764b93a6e"},
		{"tile/entries/000", 1170, "94693d5c6d6a0355ec07bac8214516c1ce6a5100b0588f226fd95f26571157d7"},
		{"tile/entries/001.p/44", 220, "3cbb13f44fb536e609ae550455937cf3adf59ef8c05c5c507d879310ee98f2f9"},
	}},
	{65536, "f025d06ed804859fd274a1bdacadd6e48ea87634aa91e1edb20143f9498cd02b", nil},
	{70000, "1a4cdfcb66374a0c0dcbef49acbd4976d13ee864fb3cb241fc943cad04f02f7e", []goldenFile{
		{"tile/0/000", 8192, "b9704a8bfbee2c61185ceb38904a49f3f703c81e194b5b2ccdc254c2bdaaa62b"},
		{"tile/0/272", 8192, "c2f1c18b351a6cde9fbab7bd56276cb209b7dabaf10512b6fc863db3ef9a76b2"},
		{"tile/0/273.p/112", 3584, "4d21244557c976993a9a89bf928a46b5a876585228df279878239fd84489e5a5"},
		{"tile/1/000", 8192, "ea7b038bc73489c89c31a27ac355aaca65a4ed73f0dd7484e68deb29d30f10a2"},
		{"tile/1/001.p/17", 544, "adfaca2731630fe7944a4b98a0f98ef3e98685eafda09e6f81070218fb759ce4"},
		{"tile/2/000.p/1", 32, "f0113c8bad855b49f9a5dd661d50012cd94f19aae87a45eb8334666835e3caea"},
		{"tile/entries/000", 1170, "94693d5c6d6a0355ec07bac8214516c1ce6a5100b0588f226fd95f26571157d7"},
		{"tile/entries/273.p/112", 784, "36c3ec44895d1b8098dbe8523078d6750bf09e0f12cd64671ebfe165b7647405"},
	}},
}

type goldenFile struct {
	path   string
	length int
	sha256 string
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func TestGoldenTiles(t *testing.T) {
	m := grow(70000)
	for _, g := range golden {
		root, err := m.reader(t, g.size).Root()
		if err != nil || hex.EncodeToString(root[:]) != g.root {
			t.Errorf("root of size %d = %x, %v, want %s", g.size, root[:], err, g.root)
		}
		if got := Root(m.levels[0][:g.size]); got != root {
			t.Errorf("root of size %d from its leaves = %x, want %s", g.size, got[:], g.root)
		}
		for _, f := range g.files {
			x, err := ParsePath(f.path)
			if err != nil {
				t.Fatal(err)
			}
			if implied, ok := At(x.Level, x.N, g.size); !ok || implied != x {
				t.Errorf("size %d has %v, want %v", g.size, implied, x)
			}
			b := m.content(t, x)
			if len(b) != f.length || sum(b) != f.sha256 {
				t.Errorf("%v has %d bytes with sha256 %s, want %d with %s", x, len(b), sum(b), f.length, f.sha256)
			}
			m.checkContent(t, x, b)
		}
	}
	for _, tt := range []struct {
		what   string
		proof  func() ([]tree.Hash, error)
		length int
		sha256 string // of the hashes end to end
	}{
		{"inclusion of 42 in 300", func() ([]tree.Hash, error) { return m.reader(t, 300).Inclusion(42) },
			9, "e49639b34e673bcde305dae99b6fa26de67a96ff49d19e7ce5275155f548b58f"},
		{"consistency of 256 and 300", func() ([]tree.Hash, error) { return m.reader(t, 300).Consistency(256) },
			1, "a6a682ed2584ae8b12d4aa84dbd10e68c3dc3f2b8ec9e26ec81c50c6b46797d0"},
		{"inclusion of 42 in 70000", func() ([]tree.Hash, error) { return m.reader(t, 70000).Inclusion(42) },
			17, "b3151d9be4c4d0bca1779b3e6c82ce7a1b5367fbd90cac2b895c77d1039173a4"},
		{"consistency of 256 and 70000", func() ([]tree.Hash, error) { return m.reader(t, 70000).Consistency(256) },
			9, "7ba523d54a784f421a1d5af22742ebafb01bedf4c5b4375b6eef8a49090e9116"},
	} {
		p, err := tt.proof()
		if err != nil || len(p) != tt.length || sum(AppendHashes(nil, p...)) != tt.sha256 {
			t.Errorf("%s: %d hashes with sha256 %s, %v, want %d with %s", tt.what, len(p), sum(AppendHashes(nil, p...)), err, tt.length, tt.sha256)
		}
	}
}

// checkContent parses what a log serves: the entries of a bundle hash to the
// level 0 tile beside it (C2SP tlog-tiles, "Log entries"), and a hash tile holds
// the hashes that went in.
func (m *memory) checkContent(t *testing.T, x Tile, b []byte) {
	t.Helper()
	if len(b) > x.MaxBytes() {
		t.Errorf("%v has %d bytes, at most %d allowed", x, len(b), x.MaxBytes())
	}
	if x.Level == Bundle {
		entries, err := Entries(b, x.Width)
		if err != nil {
			t.Fatal(err)
		}
		leaves := m.hashes(Tile{0, x.N, x.Width})
		for i, entry := range entries {
			if tree.LeafHash(entry) != leaves[i] {
				t.Errorf("entry %d of %v does not hash to its leaf", i, x)
			}
		}
		return
	}
	hashes, err := Hashes(b, x.Width)
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range m.hashes(x) {
		if hashes[i] != h {
			t.Errorf("hash %d of %v = %v, want %v", i, x, hashes[i], h)
		}
	}
}
