package proof

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/tree"
)

const (
	// Zeros in base64, and the same hash as a lenient decoder also reads it:
	// the last digit's two spare bits are set.
	hash    = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	hashAlt = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB="

	// What stands for a checkpoint where its content does not matter.
	note = "log.example/pause\n8\n" + hash + "\n\n— log.example/pause AAAA\n"
)

func golden(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/index-5-of-8.tlog-proof")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The root of RFC 6962's reference tree of 8 leaves, and its leaf 5.
var (
	goldenRoot = tree.Hash(decode("XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg="))
	goldenLeaf = tree.LeafHash([]byte("@ABC"))
)

func decode(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// The vector was made with other implementations. It has no extra line.
func TestGolden(t *testing.T) {
	b := golden(t)
	p, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if p.Index != 5 || len(p.Hashes) != 3 || p.Entry != nil {
		t.Errorf("parsed as %+v", p)
	}
	if want := "log.example/pause\n8\n" + goldenRoot.String() + "\n\n"; !strings.HasPrefix(string(p.Checkpoint), want) {
		t.Errorf("checkpoint = %q, want it to start %q", p.Checkpoint, want)
	}
	if err := p.VerifyLeaf(goldenLeaf, 8, goldenRoot); err != nil {
		t.Error(err)
	}
	if again, err := p.Marshal(); err != nil || !bytes.Equal(again, b) {
		t.Errorf("written again it is %q, %v", again, err)
	}
}

// PF-2: the entry in the extra line is what the proof is then about.
func TestVerifyEntry(t *testing.T) {
	p, err := Parse(golden(t))
	if err != nil {
		t.Fatal(err)
	}
	p.Entry = []byte("@ABC")
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if p, err = Parse(b); err != nil {
		t.Fatal(err)
	}
	if err := p.Verify(8, goldenRoot); err != nil {
		t.Error(err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	other := tree.NodeHash(goldenRoot, goldenRoot)
	for _, tt := range []struct {
		name   string
		change func(*Bundle)
		size   uint64
		root   tree.Hash
	}{
		{"another entry", func(p *Bundle) { p.Entry = []byte("@ABD") }, 8, goldenRoot},
		{"no entry", func(p *Bundle) { p.Entry = nil }, 8, goldenRoot},
		{"another index", func(p *Bundle) { p.Index = 4 }, 8, goldenRoot},
		{"index of the size", func(p *Bundle) { p.Index = 8 }, 8, goldenRoot},                  // PF-5
		{"index far over the size", func(p *Bundle) { p.Index = tree.MaxSize }, 8, goldenRoot}, // PF-5
		{"one hash too few", func(p *Bundle) { p.Hashes = p.Hashes[:2] }, 8, goldenRoot},       // PF-5
		{"one hash too many", func(p *Bundle) { p.Hashes = append(p.Hashes, other) }, 8, goldenRoot},
		{"a changed hash", func(p *Bundle) { p.Hashes[1][31] ^= 1 }, 8, goldenRoot},
		{"the checkpoint of another size", func(*Bundle) {}, 9, goldenRoot},
		{"another checkpoint of the same size", func(*Bundle) {}, 8, other},
		{"the empty tree", func(*Bundle) {}, 0, tree.EmptyRoot},
	} {
		p, err := Parse(golden(t))
		if err != nil {
			t.Fatal(err)
		}
		p.Entry = []byte("@ABC")
		tt.change(p)
		if err := p.Verify(tt.size, tt.root); !errors.Is(err, tree.ErrProof) {
			t.Errorf("%s: %v, want tree.ErrProof", tt.name, err)
		}
	}
}

// An empty entry cannot be carried, and so never verifies as one.
func TestVerifyEmptyEntry(t *testing.T) {
	p := &Bundle{Entry: []byte{}, Checkpoint: []byte(note)}
	root := tree.LeafHash(nil)
	if err := p.Verify(1, root); !errors.Is(err, tree.ErrProof) {
		t.Errorf("verify: %v, want tree.ErrProof", err)
	}
	if err := p.VerifyLeaf(root, 1, root); err != nil {
		t.Errorf("verify its leaf hash: %v", err)
	}
}

func TestParse(t *testing.T) {
	full, err := os.ReadFile("testdata/checkpoint-4-signatures.txt")
	if err != nil {
		t.Fatal(err)
	}
	zero := tree.Hash{}
	entry := bytes.Repeat([]byte("e"), MaxEntry)
	for _, tt := range []struct {
		name, text string
		want       Bundle
	}{
		// PF-7
		{"a tree of one leaf has no hashes", "index 0\n\n" + note, Bundle{Checkpoint: []byte(note)}},
		{"one hash", "index 1\n" + hash + "\n\n" + note, Bundle{Index: 1, Hashes: []tree.Hash{zero}, Checkpoint: []byte(note)}},
		{"63 hashes", "index 1\n" + strings.Repeat(hash+"\n", 63) + "\n" + note,
			Bundle{Index: 1, Hashes: make([]tree.Hash, 63), Checkpoint: []byte(note)}},
		{"the largest index", "index 9223372036854775807\n\n" + note, Bundle{Index: tree.MaxSize, Checkpoint: []byte(note)}},
		{"an entry", "extra YQ==\nindex 0\n\n" + note, Bundle{Entry: []byte("a"), Checkpoint: []byte(note)}},
		{"an entry of zero bytes and newlines", "extra AAoN\nindex 0\n\n" + note, Bundle{Entry: []byte("\x00\n\r"), Checkpoint: []byte(note)}},
		// A later version's entry is to be proven before it is called one.
		{"the largest entry", "extra " + base64.StdEncoding.EncodeToString(entry) + "\nindex 0\n\n" + note,
			Bundle{Entry: entry, Checkpoint: []byte(note)}},
		{"a checkpoint with ML-DSA signatures", "index 0\n\n" + string(full), Bundle{Checkpoint: full}},
		// The first blank line ends the proof; a signed note has another.
		{"a checkpoint with blank lines", "index 0\n\na\n\n\nb\n\n", Bundle{Checkpoint: []byte("a\n\n\nb\n\n")}},
		{"a checkpoint like a bundle", "index 0\n\n" + Header + "\nindex 7\n\nb\n", Bundle{Checkpoint: []byte(Header + "\nindex 7\n\nb\n")}},
		{"a checkpoint of one line", "index 0\n\na\n", Bundle{Checkpoint: []byte("a\n")}},
		// C2SP signed-note forbids what is below U+0020, and U+007F is not.
		{"a checkpoint with DEL", "index 0\n\na\x7f\n", Bundle{Checkpoint: []byte("a\x7f\n")}},
	} {
		text := Header + "\n" + tt.text
		got, err := Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if !reflect.DeepEqual(*got, tt.want) {
			t.Errorf("%s: parsed as %.200v, want %.200v", tt.name, *got, tt.want)
		}
		if again, err := tt.want.Marshal(); err != nil || string(again) != text {
			t.Errorf("%s: written again it is %.200q, %v", tt.name, again, err)
		}
	}
}

func TestLargestBundle(t *testing.T) {
	p := Bundle{
		Entry:  make([]byte, MaxEntry),
		Index:  tree.MaxSize,
		Hashes: make([]tree.Hash, tree.MaxProof),
	}
	p.Checkpoint = []byte("\n")
	if _, err := p.Marshal(); !errors.Is(err, ErrMalformed) {
		t.Errorf("a blank line for a checkpoint: %v, want ErrMalformed", err)
	}
	p.Checkpoint = []byte("a\n")
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 25<<10 {
		t.Errorf("all but the checkpoint takes %d bytes, documented are 25 KiB", len(b))
	}
	room := MaxSize - len(b)
	p.Checkpoint = []byte(strings.Repeat("a", room+1) + "\n")
	if b, err = p.Marshal(); err != nil || len(b) != MaxSize {
		t.Errorf("a bundle of MaxSize has %d bytes, %v", len(b), err)
	}
	p.Checkpoint = []byte(strings.Repeat("a", room+2) + "\n")
	if b, err = p.Marshal(); !errors.Is(err, ErrMalformed) {
		t.Errorf("a bundle over MaxSize has %d bytes, %v", len(b), err)
	}
}

func TestMarshalRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		bundle Bundle
	}{
		{"nothing", Bundle{}},
		{"no checkpoint", Bundle{Entry: []byte("a")}},
		{"empty entry", Bundle{Entry: []byte{}, Checkpoint: []byte(note)}}, // PF-3
		{"entry too long", Bundle{Entry: make([]byte, MaxEntry+1), Checkpoint: []byte(note)}},
		{"entry far too long", Bundle{Entry: make([]byte, MaxSize), Checkpoint: []byte(note)}},
		{"index of 2^63", Bundle{Index: 1 << 63, Checkpoint: []byte(note)}},
		{"64 hashes", Bundle{Hashes: make([]tree.Hash, 64), Checkpoint: []byte(note)}}, // PF-5
		{"checkpoint without final newline", Bundle{Checkpoint: []byte("a\nb")}},
		{"checkpoint with CR", Bundle{Checkpoint: []byte("a\r\n")}},
		{"checkpoint that starts with a blank line", Bundle{Checkpoint: []byte("\na\n")}},
	} {
		if b, err := tt.bundle.Marshal(); !errors.Is(err, ErrMalformed) || b != nil {
			t.Errorf("%s: %.100q, %v, want ErrMalformed", tt.name, b, err)
		}
	}
}

func TestParseKeepsNoMemory(t *testing.T) {
	b := []byte(Header + "\nextra YQ==\nindex 0\n\n" + note)
	p, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if string(p.Entry) != "a" || string(p.Checkpoint) != note {
		t.Errorf("after its text was cleared the bundle is %+v", p)
	}
}

// A later version is no malformed bundle: the user should upgrade.
func TestVersions(t *testing.T) {
	for _, tt := range []struct {
		header string
		want   error
	}{
		{"c2sp.org/tlog-proof@v1", nil},
		{"c2sp.org/tlog-proof@v2", ErrVersion},
		{"c2sp.org/tlog-proof@v10", ErrVersion},
		{"c2sp.org/tlog-proof@v0", ErrMalformed},
		{"c2sp.org/tlog-proof@v01", ErrMalformed},
		{"c2sp.org/tlog-proof@v02", ErrMalformed},
		{"c2sp.org/tlog-proof@v+2", ErrMalformed},
		{"c2sp.org/tlog-proof@v", ErrMalformed},
		{"c2sp.org/tlog-proof@v2 ", ErrMalformed},
		{"c2sp.org/tlog-proof@v2\r", ErrMalformed},
		{"c2sp.org/tlog-proof@v1.1", ErrMalformed},
		{"c2sp.org/tlog-proof@v99999999999999999999", ErrMalformed},
		{"c2sp.org/tlog-proof", ErrMalformed},
		{"c2sp.org/tlog-checkpoint@v2", ErrMalformed},
	} {
		p, err := Parse([]byte(tt.header + "\nindex 0\n\n" + note))
		if !errors.Is(err, tt.want) || (err == nil) != (p != nil) {
			t.Errorf("%q: %v, want %v", tt.header, err, tt.want)
		}
		if errors.Is(err, ErrVersion) && errors.Is(err, ErrMalformed) {
			t.Errorf("%q: both malformed and a later version", tt.header)
		}
	}
	// What a later version has after its header, and how much, is its own.
	if _, err := Parse(fmt.Appendf(nil, "%s2\n%s", name, make([]byte, 2*MaxSize))); !errors.Is(err, ErrVersion) {
		t.Errorf("large bundle of version 2: %v, want ErrVersion", err)
	}
}
