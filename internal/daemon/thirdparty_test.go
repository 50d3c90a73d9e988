package daemon_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A thirdParty reads a log as anybody could who has its key and its URL: with Go's own packages for
// signed notes and transparency logs. But for the start of the server, nothing in this file
// is from this project.
type thirdParty struct {
	t        *testing.T
	url      string
	origin   string
	verifier note.Verifier

	tree    tlog.Tree // of the newest verified checkpoint
	saved   map[tlog.Tile][]byte
	fetched map[string]int
}

func (p *thirdParty) get(path string) []byte {
	p.t.Helper()
	p.fetched[path]++
	r, err := http.Get(p.url + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 {
		p.t.Fatalf("GET %s: %s, %v", path, r.Status, err)
	}
	return b
}

// checkpoint fetches and verifies the newest checkpoint.
func (p *thirdParty) checkpoint() tlog.Tree {
	p.t.Helper()
	n, err := note.Open(p.get("/checkpoint"), note.VerifierList(p.verifier))
	if err != nil {
		p.t.Fatal(err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != p.origin || lines[3] != "" {
		p.t.Fatalf("the checkpoint is %q", n.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	hash, err := tlog.ParseHash(lines[2])
	if err != nil {
		p.t.Fatal(err)
	}
	return tlog.Tree{N: size, Hash: hash}
}

// path is where C2SP tlog-tiles has what tlog names in its own way.
func path(prefix string, n int64, width int) string {
	digits := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		digits = fmt.Sprintf("x%03d/%s", n%1000, digits)
	}
	if width < 256 {
		digits += fmt.Sprintf(".p/%d", width)
	}
	return "/tile/" + prefix + "/" + digits
}

// implied fails the test if a tree of the verified size does not have this.
func (p *thirdParty) implied(level int, n int64, width int) {
	p.t.Helper()
	if leaves := (n*256 + int64(width)) << (8 * level); leaves > p.tree.N {
		p.t.Fatalf("level %d, tile %d, width %d is beyond the verified size %d", level, n, width, p.tree.N)
	}
}

// Height implements tlog.TileReader.
func (p *thirdParty) Height() int { return 8 }

// ReadTiles implements tlog.TileReader.
func (p *thirdParty) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		b, ok := p.saved[t]
		if !ok {
			p.implied(t.L, t.N, t.W)
			b = p.get(path(strconv.Itoa(t.L), t.N, t.W))
		}
		all = append(all, b)
	}
	return all, nil
}

// SaveTiles implements tlog.TileReader: they are the signed tree's.
func (p *thirdParty) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i, t := range tiles {
		p.saved[t] = data[i]
	}
}

// entries fetches all entries of the tree.
func (p *thirdParty) entries() (all [][]byte) {
	p.t.Helper()
	for n := int64(0); n*256 < p.tree.N; n++ {
		width := int(min(256, p.tree.N-n*256))
		p.implied(0, n, width)
		b := p.get(path("entries", n, width))
		for range width {
			size := int(binary.BigEndian.Uint16(b))
			all = append(all, b[2:2+size])
			b = b[2+size:]
		}
		if len(b) != 0 {
			p.t.Fatalf("%d bytes after bundle %d of width %d", len(b), n, width)
		}
	}
	return all
}

// follow goes on to the newest checkpoint, and checks everything: that the old tree is its
// prefix, and each of its entries against the signed root.
func (p *thirdParty) follow() [][]byte {
	p.t.Helper()
	old := p.tree
	p.tree = p.checkpoint()
	hashes := tlog.TileHashReader(p.tree, p)
	if root, err := tlog.TreeHash(p.tree.N, hashes); err != nil || root != p.tree.Hash {
		p.t.Fatalf("the tiles of size %d have root %v, signed was %v: %v", p.tree.N, root, p.tree.Hash, err)
	}
	if old.N > 0 {
		proof, err := tlog.ProveTree(p.tree.N, old.N, hashes)
		if err == nil {
			err = tlog.CheckTree(proof, p.tree.N, p.tree.Hash, old.N, old.Hash)
		}
		if err != nil {
			p.t.Fatalf("from size %d to %d: %v", old.N, p.tree.N, err)
		}
	}
	entries := p.entries()
	// Every entry is its leaf, which the reader has checked to be the signed tree's.
	var leaves []int64
	for i := range entries {
		leaves = append(leaves, tlog.StoredHashIndex(0, int64(i)))
	}
	got, err := hashes.ReadHashes(leaves)
	if err != nil {
		p.t.Fatal(err)
	}
	for i, e := range entries {
		if tlog.RecordHash(e) != got[i] {
			p.t.Fatalf("size %d: entry %d is not its leaf: %q", p.tree.N, i, e)
		}
	}
	// And, for those that are new, by a proof as it would be handed on.
	for i := old.N; i < p.tree.N; i++ {
		proof, err := tlog.ProveRecord(p.tree.N, i, hashes)
		if err == nil {
			err = tlog.CheckRecord(proof, p.tree.N, p.tree.Hash, i, tlog.RecordHash(entries[i]))
		}
		if err != nil {
			p.t.Fatalf("entry %d in %d: %v", i, p.tree.N, err)
		}
	}
	return entries
}

// log submits a file as PAUSE would, over HTTP.
func (p *thirdParty) log(n int64) {
	p.t.Helper()
	body := fmt.Sprintf(`{"submission": {"kind": "upload", "path": "authors/id/E/ET/ETHER/Dist-%d.tar.gz", "sha256": "%064x", "size": "%d",
		"time": "2020-01-01T00:00:00Z", "by": "ETHER", "seen": "backfill"}, "wait": "WAIT_PUBLISHED"}`, n, n, n)
	q, err := http.NewRequest(http.MethodPost, p.url+"/pauselog.v1.Log/Submit", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Authorization", "Bearer "+secret)
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	if b, err := io.ReadAll(r.Body); err != nil || r.StatusCode != 200 {
		p.t.Fatalf("%s: %s, %v", r.Status, b, err)
	}
}

func TestAThirdPartyFollowsTheLog(t *testing.T) {
	f := newFolder(t)
	s := start(t, config(f))
	verifier, err := note.NewVerifier(f.Signers[0].Verifier().String())
	if err != nil {
		t.Fatal(err)
	}
	p := &thirdParty{t: t, url: "http://" + s.HTTP, origin: origin, verifier: verifier, saved: map[tlog.Tile][]byte{}, fetched: map[string]int{}}
	n := int64(0)
	var before [][]byte
	for _, size := range []int64{1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 64, 65, 100, 128, 200, 254, 255, 256, 257, 258, 300, 383, 500, 511, 512, 513, 600, 767, 768, 769, 900, 999, 1000} {
		for ; n < size; n++ {
			p.log(n)
		}
		entries := p.follow()
		if p.tree.N != size || int64(len(entries)) != size {
			t.Fatalf("size %d with %d entries, want %d", p.tree.N, len(entries), size)
		}
		for i, e := range before {
			if !bytes.Equal(e, entries[i]) {
				t.Fatalf("size %d: entry %d has changed", size, i)
			}
		}
		for i := len(before); i < len(entries); i++ {
			if want := fmt.Sprintf("path authors/id/E/ET/ETHER/Dist-%d.tar.gz\n", i); !strings.Contains(string(entries[i]), want) {
				t.Fatalf("entry %d is %q", i, entries[i])
			}
		}
		before = entries
	}
	// A tile never changes, so that nobody fetches one twice.
	for path, times := range p.fetched {
		if times > 1 && path != "/checkpoint" && !strings.HasPrefix(path, "/tile/entries/") {
			t.Errorf("%s was fetched %d times", path, times)
		}
	}
}
