package prooftree

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/log/verify"
)

// checkBundle compares a bundle with what tlog makes of the entries.
func checkBundle(t *testing.T, l *logged, size, index int, b *proof.Bundle) {
	t.Helper()
	want := must(tlog.ProveRecord(int64(size), int64(index), l))
	if b.Index != uint64(index) || !bytes.Equal(b.Entry, l.entries[index]) ||
		!slices.EqualFunc(b.Hashes, want, func(a tree.Hash, b tlog.Hash) bool { return a == tree.Hash(b) }) {
		t.Fatalf("size %d: the bundle of %d is %+v", size, index, b)
	}
	if _, err := b.Marshal(); err != nil {
		t.Fatal(err)
	}
}

// Every entry of trees of all shapes is proven as an independent implementation proves it, from the tiles of
// this size alone.
func TestBundlesOfAllShapes(t *testing.T) {
	l := uploads(1030)
	for _, size := range []int{1, 2, 3, 255, 256, 257, 300, 511, 512, 513, 767, 1024, 1030} {
		files := l.files(size, logKey)
		x := open(t, files)
		for index := range size {
			b, err := x.Bundle(t.Context(), uint64(index))
			if err != nil {
				t.Fatal(err)
			}
			checkBundle(t, l, size, index, b)
		}
		for _, beyond := range []uint64{uint64(size), uint64(size) + 1, 1 << 40, tree.MaxSize, 1<<64 - 1} {
			if b, err := x.Bundle(t.Context(), beyond); !errors.Is(err, ErrIncomplete) {
				t.Errorf("size %d: entry %d: %v, %v", size, beyond, b, err)
			}
		}
		for old := 1; old <= size; old += 37 {
			hashes, err := x.Consistency(t.Context(), uint64(old))
			if err != nil || tree.VerifyConsistency(uint64(old), uint64(size), hashes, l.root(old), l.root(size)) != nil {
				t.Errorf("consistency of %d and %d: %v", old, size, err)
			}
		}
	}
}

// Three levels of tiles, the highest of one hash, and all below it full.
func TestBundlesOfALargeTree(t *testing.T) {
	l := uploads(65536 + 300)
	for _, size := range []int{65535, 65536, 65537, 65536 + 256, 65536 + 300} {
		files := l.files(size, logKey)
		s := count(files)
		x := open(t, s)
		for _, index := range []int{0, 255, 256, 40000, 65279, 65280, size - 1} {
			b, err := x.Bundle(t.Context(), uint64(index))
			if err != nil {
				t.Fatalf("size %d, entry %d: %v", size, index, err)
			}
			checkBundle(t, l, size, index, b)
		}
		for name, n := range s.gets {
			if n > 1 {
				t.Errorf("size %d: %s was read %d times", size, name, n)
			}
		}
	}
}

func TestAnEmptyTree(t *testing.T) {
	x := open(t, new(logged).files(0, logKey))
	if b, err := x.Bundle(t.Context(), 0); !errors.Is(err, ErrIncomplete) {
		t.Errorf("entry 0: %v, %v", b, err)
	}
	if found, err := x.Find(t.Context(), path(1)); err != nil || len(found) != 0 {
		t.Errorf("found %v, %v", found, err)
	}
	if p, err := x.BundleFor(t.Context(), path(1), digest("1")); !errors.Is(err, ErrIncomplete) {
		t.Errorf("%v, %v", p, err)
	}
}

func TestFind(t *testing.T) {
	l := mixed()
	for _, size := range []int{1, 12, 300, mVoid, mAgain, mEnd - 1, mEnd} {
		x := open(t, l.files(size, logKey))
		for _, p := range []string{path(0), path(10), path(11), path(12), path(13), path(299), path(300), packages, "modules/06perms.txt"} {
			var want []int
			for i, e := range l.parsed[:size] {
				if e != nil && e.Path == p && e.Kind != entry.Conflict {
					want = append(want, i)
				}
			}
			if p == packages && len(want) > MaxSnapshots {
				want = want[len(want)-MaxSnapshots:]
			}
			found, err := x.Find(t.Context(), p)
			if err != nil || len(found) != len(want) {
				t.Errorf("size %d: %s: %v, %v, want %v", size, p, found, err, want)
				continue
			}
			for i, f := range found {
				if f.Index != uint64(want[i]) || f.Leaf != tree.LeafHash(l.entries[want[i]]) || !bytes.Equal(f.Text, l.entries[want[i]]) || f.Entry.Path != p {
					t.Errorf("size %d: %s: %+v, want entry %d", size, p, f, want[i])
				}
			}
		}
	}
	if _, err := open(t, l.files(5, logKey)).Find(t.Context(), "no/path"); err == nil {
		t.Error("what is no path was looked for")
	}
}

// outcome is what package verify makes of a proof.
func outcome(t *testing.T, p *Proof, path string, file entry.Digest, size uint64) *verify.Result {
	t.Helper()
	text := func(b *proof.Bundle) []byte {
		if b == nil {
			return nil
		}
		return must(b.Marshal())
	}
	return verify.Verify(verify.Request{Policy: policy, Path: path, SHA256: file, Size: size, Bundle: text(p.Bundle), Revocation: text(p.Void), Deletion: text(p.Deletion)})
}

func TestBundleFor(t *testing.T) {
	l := mixed()
	for _, tt := range []struct {
		name, path string
		file       entry.Digest
		size       uint64
		at         int // size of the tree
		index      int
		void       int // 0: none
		deletion   int
		want       verify.Outcome
	}{
		{"an upload", path(1), digest("1"), 1, mEnd, 1, 0, 0, verify.Verified},
		{"other bytes", path(1), digest("2"), 1, mEnd, 1, 0, 0, verify.Mismatch},
		{"deleted", path(10), digest("10"), 10, mRestored, 10, 0, mDelete, verify.Verified},
		{"restored", path(10), digest("10"), 10, mEnd, mRestored, 0, 0, verify.Verified},
		{"before its void", path(11), digest("11"), 11, mVoid, 11, 0, 0, verify.Verified},
		{"voided", path(11), digest("11"), 11, mAgain, 11, mVoid, 0, verify.Revoked},
		{"voided and logged again", path(11), digest("again"), 11, mEnd, mAgain, 0, 0, verify.Verified},
		{"what was voided before that", path(11), digest("11"), 11, mEnd, mAgain, 0, 0, verify.Mismatch},
		{"voided last", path(12), digest("12"), 12, mEnd, 12, mVoided, 0, verify.Revoked},
		{"with a conflict", path(13), digest("13"), 13, mEnd, 13, 0, 0, verify.Verified},
		{"the other file of a conflict", path(13), digest("other"), 13, mEnd, 13, 0, 0, verify.Mismatch},
		{"the newest index", packages, digest("packages119"), 7, mEnd, mEnd - 1, 0, 0, verify.Verified},
		{"an older index", packages, digest("packages50"), 7, mEnd, mSnapshots + 50, 0, 0, verify.Verified},
		{"the oldest that is listed", packages, digest("packages20"), 7, mEnd, mSnapshots + 20, 0, 0, verify.Verified},
		{"one that is not listed", packages, digest("packages19"), 7, mEnd, mEnd - 1, 0, 0, verify.Mismatch},
		{"an unknown index", packages, digest("x"), 7, mEnd, mEnd - 1, 0, 0, verify.Mismatch},
	} {
		x := open(t, l.files(tt.at, logKey))
		p, err := x.BundleFor(t.Context(), tt.path, tt.file)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		checkBundle(t, l, tt.at, tt.index, p.Bundle)
		for want, got := range map[int]*proof.Bundle{tt.void: p.Void, tt.deletion: p.Deletion} {
			if want != 0 && got != nil {
				checkBundle(t, l, tt.at, want, got)
			}
		}
		if (p.Void != nil) != (tt.void != 0) || p.Voided() != (tt.void != 0) || (p.Deletion != nil) != (tt.deletion != 0) {
			t.Errorf("%s: void %v, deletion %v", tt.name, p.Void, p.Deletion)
		}
		if r := outcome(t, p, tt.path, tt.file, tt.size); r.Outcome != tt.want {
			t.Errorf("%s: %v, want %v: %s", tt.name, r.Outcome, tt.want, r.Message)
		}
	}
	x := open(t, l.files(mEnd, logKey))
	for _, p := range []string{path(300), "modules/06perms.txt", path(14) + "x"} {
		if got, err := x.BundleFor(t.Context(), p, digest("1")); !errors.Is(err, ErrIncomplete) || !errors.Is(err, ErrUnlisted) || !strings.Contains(err.Error(), p) {
			t.Errorf("%s: %v, %v", p, got, err)
		}
	}
}

// An entry that this program cannot read, and that is listed after the upload, may say anything about it.
func TestNewerEntriesAskForAnUpgrade(t *testing.T) {
	l := mixed()
	files := l.files(mEnd, logKey)
	name := ShardName(ShardOf(path(14)))
	files[name] = FormatShard(append(must(ParseShard(ShardOf(path(14)), files[name])), Line{mNewer, path(14)}))
	x := open(t, files)
	p, err := x.BundleFor(t.Context(), path(14), digest("14"))
	if err != nil {
		t.Fatal(err)
	}
	checkBundle(t, l, mEnd, mNewer, p.Bundle)
	if r := outcome(t, p, path(14), digest("14"), 14); r.Outcome != verify.Upgrade {
		t.Errorf("%v: %s", r.Outcome, r.Message)
	}
	found, err := x.Find(t.Context(), path(14))
	if err != nil || len(found) != 2 || found[1].Entry != nil || found[1].Index != mNewer {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestOpenJudgesTheCheckpoint(t *testing.T) {
	l := uploads(5)
	for _, tt := range []struct {
		name string
		note []byte
		want error
	}{
		{"none", nil, ErrIncomplete},
		{"empty", []byte{}, checkpoint.ErrMalformed},
		{"a page", []byte("<html>log in</html>\n"), checkpoint.ErrMalformed},
		{"too large", bytes.Repeat([]byte("x"), checkpoint.MaxNoteSize+1), ErrInvalid},
		{"nobody known", l.note(5, signer(checkpoint.Ed25519, origin, 9)), checkpoint.ErrUnknownLog},
		{"a flipped signature", flippedSignature(l.note(5, logKey)), checkpoint.ErrBadSignature},
		{"another size", bytes.Replace(l.note(5, logKey), []byte("\n5\n"), []byte("\n4\n"), 1), checkpoint.ErrBadSignature},
	} {
		m := memory{}
		if tt.note != nil {
			m["checkpoint"] = tt.note
		}
		x, err := Open(t.Context(), m, policy)
		if x != nil || !errors.Is(err, tt.want) || tt.want != ErrIncomplete && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, %v, want %v", tt.name, x, err, tt.want)
		}
	}
	x, err := Open(t.Context(), l.files(5, logKey), witnessed)
	if x == nil || !errors.Is(err, checkpoint.ErrQuorum) || errors.Is(err, ErrInvalid) {
		t.Fatalf("without the witness: %v, %v", x, err)
	}
	if b, err := x.Bundle(t.Context(), 3); err != nil { // for the verifier to say what is missing
		t.Errorf("%v, %v", b, err)
	}
	if x, err := Open(t.Context(), l.files(5, logKey, witness), witnessed); err != nil || !x.QuorumMet {
		t.Errorf("with it: %v, %v", x, err)
	}
}

func flippedSignature(note []byte) []byte {
	n := must(checkpoint.ParseNote(note))
	n.Signatures[0].Blob = flipped(n.Signatures[0].Blob, 20)
	return n.Marshal()
}

// flipped returns b with a bit changed, at an offset from the end if it is negative.
func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[(at+len(b))%len(b)] ^= 1
	return b
}

func TestBundlesCarryTheShortSignatures(t *testing.T) {
	l := uploads(5)
	files := l.files(5, logKey, witness, pqKey)
	count := func(x *Tree) int {
		b, err := x.Bundle(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		return len(must(checkpoint.ParseNote(b.Checkpoint)).Signatures)
	}
	x := open(t, files)
	if n := count(x); n != 2 {
		t.Errorf("%d signatures, want 2", n)
	}
	if n := count(x.AllSignatures()); n != 3 {
		t.Errorf("%d of all signatures, want 3", n)
	}
	// A policy of which no key but the long one is left.
	pq := must(checkpoint.NewPolicy(checkpoint.PolicyLog{Key: pqKey.Verifier()}))
	x, err := Open(t.Context(), files, pq)
	if err != nil {
		t.Fatal(err)
	}
	if n := count(x); n != 3 {
		t.Errorf("%d signatures, want all 3", n)
	}
}

// The tree goes on below a reader, which keeps to its checkpoint: partial tiles that are gone are
// taken from the wider ones.
func TestTheSourceGoesOn(t *testing.T) {
	l := uploads(1200)
	for _, tt := range []struct{ from, to int }{
		{10, 11}, {10, 255}, {10, 256}, {255, 256}, {300, 301}, {300, 511}, {300, 512}, {300, 1200}, {257, 600}, {600, 1030},
	} {
		for _, when := range []string{"before anything else", "after the tiles"} {
			files := l.files(tt.from, logKey)
			x := open(t, files)
			if when == "after the tiles" {
				if _, err := x.verifiedEdge(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			// Nothing stays of the smaller tree but what the larger one has too.
			clear(files)
			maps.Copy(files, l.files(tt.to, logKey))
			for _, index := range []int{0, tt.from / 2, tt.from - 1} {
				b, err := x.Bundle(t.Context(), uint64(index))
				if err != nil {
					t.Errorf("from %d to %d, %s: %v", tt.from, tt.to, when, err)
					continue
				}
				checkBundle(t, l, tt.from, index, b)
			}
			// What came since is listed in the shards, and is not in this tree.
			if p, err := x.BundleFor(t.Context(), path(tt.from), digest(fmt.Sprint(tt.from))); !errors.Is(err, ErrIncomplete) {
				t.Errorf("from %d to %d: %v, %v", tt.from, tt.to, p, err)
			}
			if _, err := x.BundleFor(t.Context(), path(1), digest("1")); err != nil {
				t.Error(err)
			}
			if int(x.Size) != tt.from {
				t.Errorf("the tree has size %d now", x.Size)
			}
		}
	}
}

// A reader may ask for no partial tile but those that a verified checkpoint implies (C2SP tlog-tiles).
func TestNoPartialTileIsGuessed(t *testing.T) {
	l := uploads(300)
	files := l.files(290, logKey)
	s := count(files)
	x := open(t, s)
	clear(files)
	maps.Copy(files, l.files(300, logKey))
	delete(files, "tile/0/001.p/44")
	if _, err := x.Bundle(t.Context(), 280); !errors.Is(err, ErrIncomplete) {
		t.Error(err)
	}
	want := []string{"checkpoint", "tile/0/001", "tile/0/001.p/34", "tile/0/001.p/44"}
	if got := s.names(); !slices.Equal(got, want) {
		t.Errorf("asked for %v, want %v", got, want)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	c := cache{limit: 100}
	for i := range 50 {
		c.put(fmt.Sprint(i), i, 30)
		c.get("0") // used again and again, so that it stays
	}
	kept := slices.Sorted(maps.Keys(c.items))
	if !slices.Equal(kept, []string{"0", "48", "49"}) || c.size != 90 || c.order.Len() != 3 {
		t.Errorf("kept %v, %d bytes", kept, c.size)
	}
	c.put("large", 0, 101)
	if _, ok := c.get("large"); ok || c.size != 90 {
		t.Error("what is larger than all of the cache was kept")
	}
	c.put("49", 0, 30)
	if v, _ := c.get("49"); v != 49 || c.size != 90 {
		t.Error("what was kept already counts twice")
	}
}

// A tree that has no room for anything still proves.
func TestNoCache(t *testing.T) {
	l := mixed()
	x := open(t, l.files(mEnd, logKey))
	x.cache.limit = 0
	for _, index := range []int{0, 200, 300, mEnd - 1} {
		b, err := x.Bundle(t.Context(), uint64(index))
		if err != nil {
			t.Fatal(err)
		}
		checkBundle(t, l, mEnd, index, b)
	}
	if len(x.cache.items) != 0 {
		t.Errorf("%d items are kept", len(x.cache.items))
	}
}

var update = flag.Bool("update", false, "rewrite testdata/golden.txt")

// The bytes of a small tree with entries of every kind: whoever changes them changes a format that others read.
func TestGolden(t *testing.T) {
	l := mixed()
	b := NewBuilder()
	for _, e := range l.entries {
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string][]byte{}
	for _, f := range append(b.Full(), slices.Collect(b.Partial())...) {
		files[f.Tile.Path()] = f.Data
	}
	var lines [Shards][]Line
	for i, e := range l.parsed {
		if e != nil && Listed(e) {
			n := ShardOf(e.Path)
			lines[n] = append(lines[n], Line{uint64(i), e.Path})
		}
	}
	for n := range lines {
		files[ShardName(byte(n))] = FormatShard(lines[n])
	}
	var got bytes.Buffer
	fmt.Fprintf(&got, "root %v\n", b.Root())
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&got, "%x %d %s\n", sha256.Sum256(files[name]), len(files[name]), name)
	}
	fmt.Fprintf(&got, "\n%s", files[ShardName(ShardOf(path(10)))])
	if *update {
		if err := os.WriteFile("testdata/golden.txt", got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/golden.txt")
	if err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%v; the tree is now\n%s", err, &got)
	}
	// And they are what tlog and the definition of a shard make of the entries.
	for name, data := range l.files(mEnd) {
		if name != "checkpoint" && !bytes.Equal(files[name], data) {
			t.Errorf("%s has other bytes", name)
		}
	}
}
