package proof

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
)

const tiny = "authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// entryOf returns an entry of a path, for a file of this content.
func entryOf(kind entry.Kind, path, content string) []byte {
	e := entry.Entry{Kind: kind, Path: path, SHA256: sha256.Sum256([]byte(content)), Time: 1_800_000_000}
	switch kind {
	case entry.Upload:
		e.Size, e.By, e.Seen = uint64(len(content)), "ETHER", entry.SeenUpload
	case entry.Delete:
		e.By, e.Seen = "ETHER", entry.SeenUpload
	case entry.Index:
		e.Size = uint64(len(content))
	}
	return must(e.Marshal())
}

// section returns the text of a proof in a pack.
func section(index uint64, text []byte, hashes int) string {
	return fmt.Sprintf("extra %s\nindex %d\n%s\n", base64.StdEncoding.EncodeToString(text), index, strings.Repeat(hash+"\n", hashes))
}

// packOf returns the text of a pack with these entries at the indexes 0, 2, 4 and so on.
func packOf(entries ...[]byte) []byte {
	s := PackHeader + "\n"
	for i, e := range entries {
		s += section(uint64(2*i), e, i%4)
	}
	return []byte(s + "checkpoint\n" + note)
}

// What is between the lines of a pack is a bundle, to the byte.
func TestPackIsOfBundles(t *testing.T) {
	entries := [][]byte{entryOf(entry.Upload, tiny, "a"), []byte("e"), entryOf(entry.Delete, tiny, "a"), entryOf(entry.Index, "modules/06perms.txt", "b")}
	text := packOf(entries...)
	p, err := ParsePack(text)
	if err != nil {
		t.Fatal(err)
	}
	if p.Len() != len(entries) || string(p.Checkpoint()) != note {
		t.Errorf("%d proofs and the checkpoint %q", p.Len(), p.Checkpoint())
	}
	for i, e := range entries {
		b := p.Bundle(i)
		if !bytes.Equal(b.Entry, e) || b.Index != uint64(2*i) || len(b.Hashes) != i%4 {
			t.Errorf("bundle %d is %+v", i, b)
		}
		got, err := b.Marshal()
		if want := Header + "\n" + section(uint64(2*i), e, i%4) + note; err != nil || string(got) != want {
			t.Errorf("bundle %d is %q, %v, want %q", i, got, err, want)
		}
	}
	if again, err := p.Marshal(); err != nil || !bytes.Equal(again, text) {
		t.Errorf("written again it is %q, %v", again, err)
	}
}

// The checkpoint goes to the end of the text, whatever is in it.
func TestPackWithBlankLinesInTheCheckpoint(t *testing.T) {
	text := PackHeader + "\n" + section(7, []byte("e"), 1) + "checkpoint\na\n\nextra YQ==\nindex 9\n\ncheckpoint\nb\n"
	p, err := ParsePack([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if want := "a\n\nextra YQ==\nindex 9\n\ncheckpoint\nb\n"; p.Len() != 1 || string(p.Checkpoint()) != want {
		t.Errorf("%d proofs and the checkpoint %q", p.Len(), p.Checkpoint())
	}
}

func TestIsPack(t *testing.T) {
	for text, want := range map[string]bool{
		string(packOf([]byte("e"))): true,
		"pauselog-proofs/v2\n":      true,
		"pauselog-proofs/v1":        true,
		string(golden(t)):           false,
		"":                          false,
		"pauselog-proofs":           false,
	} {
		if got := IsPack([]byte(text)); got != want {
			t.Errorf("IsPack(%.40q) = %v", text, got)
		}
	}
}

func TestParsePackRefuses(t *testing.T) {
	one := section(5, []byte("e"), 1)
	end := "checkpoint\n" + note
	pack := func(s string) string { return PackHeader + "\n" + s + end }
	for _, tt := range []struct {
		name, text, want string
	}{
		{"nothing", "", "line 1"},
		{"only the header", PackHeader, "line 1"},
		{"only the header line", PackHeader + "\n", "line 2"},
		{"a bundle", string(golden(t)), "line 1"},
		{"another case", strings.ToUpper(PackHeader) + "\n" + one + end, "line 1"},
		{"a byte order mark", "\ufeff" + pack(one), "line 1"},
		{"version 0", "pauselog-proofs/v0\n" + one + end, "line 1"},
		{"version 01", "pauselog-proofs/v01\n" + one + end, "line 1"},
		{"CRLF after the header", PackHeader + "\r\n" + one + end, "line 1"},
		{"CRLF throughout", strings.ReplaceAll(pack(one), "\n", "\r\n"), "line 1"},
		{"CRLF after the extra line", pack(strings.Replace(one, "\n", "\r\n", 1)), "line 2"},
		{"no proof", pack(""), "line 2: it has no proof"},
		{"a blank line first", pack("\n" + one), "line 2"},
		{"two blank lines between", pack(one + "\n" + section(6, []byte("e"), 0)), "line 6"},
		{"no extra line", pack("index 5\n\n"), "line 2"},
		{"an empty extra line", pack("extra \nindex 5\n\n"), "line 2"},
		{"extra that is not base64", pack("extra Y*==\nindex 5\n\n"), "line 2"},
		{"extra with spare bits set", pack("extra YR==\nindex 5\n\n"), "line 2"},
		{"extra without padding", pack("extra YQ\nindex 5\n\n"), "line 2"},
		{"extra with CR inside", pack("extra YW\rFh\nindex 5\n\n"), "line 2"},
		{"extra with four CR inside", pack("extra YWFh\r\r\r\r\nindex 5\n\n"), "line 2"},
		{"extra of one byte too many", pack(section(5, make([]byte, MaxEntry+1), 0)), "line 2"},
		{"extra far too long", pack(section(5, make([]byte, 2*MaxEntry), 0)), "line 2"},
		{"no index line", pack("extra YQ==\n\n"), "line 3"},
		{"index 05", pack("extra YQ==\nindex 05\n\n"), "line 3"},
		{"index of 2^63", pack("extra YQ==\nindex 9223372036854775808\n\n"), "line 3"},
		{"a hash with spare bits set", pack("extra YQ==\nindex 5\n" + hashAlt + "\n\n"), "line 4"},
		{"a hash of 31 bytes", pack("extra YQ==\nindex 5\n" + base64.StdEncoding.EncodeToString(make([]byte, 31)) + "\n\n"), "line 4"},
		{"a hash of 33 bytes", pack("extra YQ==\nindex 5\n" + base64.StdEncoding.EncodeToString(make([]byte, 33)) + "\n\n"), "line 4"},
		{"64 hashes", pack(section(5, []byte("e"), 64)), "line 67"},
		{"the same index twice", pack(one + one), "line 9: the proof of entry 5 comes after that of entry 5"},
		{"indexes that fall", pack(section(6, []byte("e"), 0) + one), "line 8"},
		{"no blank line before the checkpoint", pack(strings.TrimSuffix(one, "\n")), "line 5"},
		{"no checkpoint line", PackHeader + "\n" + one + note, "line 6"},
		{"a checkpoint line with a space", PackHeader + "\n" + one + "checkpoint \n" + note, "line 6"},
		{"no checkpoint", PackHeader + "\n" + one + "checkpoint\n", "line 7"},
		{"a blank line before the checkpoint's origin", PackHeader + "\n" + one + "checkpoint\n\n" + note, "line 7"},
		{"no newline at the end", strings.TrimSuffix(pack(one), "\n"), "line 7"},
		{"a control character in the checkpoint", PackHeader + "\n" + one + "checkpoint\na\tb\n", "line 7"},
		{"cut in a proof", PackHeader + "\n" + one[:len(one)-3], "line 4"},
		{"cut after a proof", PackHeader + "\n" + one, "line 6"},
		{"a proof and a checkpoint larger than a bundle", PackHeader + "\n" + one + "checkpoint\n" + strings.Repeat("a\n", MaxSize/2), "line 6"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := ParsePack([]byte(tt.text))
			if !errors.Is(err, ErrMalformedPack) || p != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want ErrMalformedPack with %q", err, tt.want)
			}
		})
	}
}

// A later version is not called damaged, however long its lines are.
func TestParsePackOfALaterVersion(t *testing.T) {
	for _, text := range []string{"pauselog-proofs/v2\n", "pauselog-proofs/v10\nwhatever\n" + strings.Repeat("x", 4096)} {
		if _, err := ParsePack([]byte(text)); !errors.Is(err, ErrPackVersion) || errors.Is(err, ErrMalformedPack) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// The largest proofs and the largest checkpoint that a bundle may have, a pack has too.
func TestPackBounds(t *testing.T) {
	s := section(1<<63-1, bytes.Repeat([]byte("e"), MaxEntry), tree.MaxProof)
	room := MaxSize - len(Header) - 1 - len(s)
	text := []byte(PackHeader + "\n" + s + "checkpoint\n" + strings.Repeat("a", room-1) + "\n")
	p, err := ParsePack(text)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := p.Marshal(); err != nil || !bytes.Equal(again, text) {
		t.Errorf("written again it has %d bytes, %v", len(again), err)
	}
}

func TestPackWriterRefuses(t *testing.T) {
	good := func(index uint64) *Bundle { return &Bundle{Entry: []byte("e"), Index: index, Checkpoint: []byte(note)} }
	for _, tt := range []struct {
		name   string
		change func(b *Bundle)
	}{
		{"no entry", func(b *Bundle) { b.Entry = nil }},
		{"the index of the one before", func(b *Bundle) { b.Index = 5 }},
		{"a lower index", func(b *Bundle) { b.Index = 4 }},
		{"another checkpoint", func(b *Bundle) { b.Checkpoint = []byte("other\n") }},
		{"64 hashes", func(b *Bundle) { b.Hashes = make([]tree.Hash, 64) }},
		{"an entry that is too large", func(b *Bundle) { b.Entry = make([]byte, MaxEntry+1) }},
	} {
		w := NewPackWriter(io.Discard, []byte(note))
		if err := w.Add(good(5)); err != nil {
			t.Fatal(err)
		}
		b := good(6)
		tt.change(b)
		if err := w.Add(b); !errors.Is(err, ErrMalformedPack) {
			t.Errorf("%s: %v, want ErrMalformedPack", tt.name, err)
		}
	}
	if err := NewPackWriter(io.Discard, []byte(note)).Close(); !errors.Is(err, ErrMalformedPack) {
		t.Errorf("without a proof: %v", err)
	}
	w := NewPackWriter(full{}, []byte(note))
	if err := w.Add(good(5)); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a full disk: %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestPackFor(t *testing.T) {
	const moose, perms = "authors/id/E/ET/ETHER/Moose-2.2207.tar.gz", "modules/06perms.txt"
	later := []byte("pauselog/v2\nsomething of " + moose + "\n")
	a, b := entry.Digest(sha256.Sum256([]byte("a"))), entry.Digest(sha256.Sum256([]byte("b")))
	for _, tt := range []struct {
		name                   string
		path                   string
		digest                 entry.Digest
		entries                [][]byte
		bundle, void, deletion int // the numbers of the entries, -1 for none
	}{
		{"an upload", tiny, a, [][]byte{entryOf(entry.Upload, moose, "a"), entryOf(entry.Upload, tiny, "a")}, 1, -1, -1},
		{"an upload of other bytes", tiny, b, [][]byte{entryOf(entry.Upload, tiny, "a")}, 0, -1, -1},
		{"a void", tiny, a, [][]byte{entryOf(entry.Upload, tiny, "a"), entryOf(entry.Void, tiny, "a")}, 0, 1, -1},
		{"an upload after the void", tiny, b, [][]byte{entryOf(entry.Upload, tiny, "a"), entryOf(entry.Void, tiny, "a"), entryOf(entry.Upload, tiny, "b")}, 2, -1, -1},
		{"a void alone", tiny, a, [][]byte{entryOf(entry.Upload, moose, "a"), entryOf(entry.Void, tiny, "a")}, -1, 1, -1},
		{"a deletion", tiny, a, [][]byte{entryOf(entry.Upload, tiny, "a"), entryOf(entry.Delete, tiny, "a")}, 0, -1, 1},
		{"a deletion, a restoration, and a deletion", tiny, a, [][]byte{entryOf(entry.Upload, tiny, "a"), entryOf(entry.Delete, tiny, "a"),
			entryOf(entry.Upload, tiny, "a"), entryOf(entry.Delete, tiny, "a")}, 2, -1, 3},
		{"an index by its digest", perms, a, [][]byte{entryOf(entry.Index, perms, "a"), entryOf(entry.Index, perms, "b")}, 0, -1, -1},
		{"the newest index", perms, entry.Digest{}, [][]byte{entryOf(entry.Index, perms, "a"), entryOf(entry.Index, perms, "b")}, 1, -1, -1},
		{"a later format beside it", moose, a, [][]byte{entryOf(entry.Upload, moose, "a"), later}, 0, -1, -1},
		{"a conflict is nothing", tiny, a, [][]byte{entryOf(entry.Conflict, tiny, "a")}, -1, -1, -1},
		{"an empty path", "", a, [][]byte{entryOf(entry.Upload, moose, "a"), later}, -1, -1, -1},
	} {
		p, err := ParsePack(packOf(tt.entries...))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		found := p.For(tt.path, tt.digest)
		if found == nil {
			found = &Packed{}
		}
		for what, x := range map[string]struct {
			want int
			got  *Bundle
		}{"bundle": {tt.bundle, found.Bundle}, "void": {tt.void, found.Void}, "deletion": {tt.deletion, found.Deletion}} {
			got := -1
			if x.got != nil {
				got = int(x.got.Index / 2)
			}
			if got != x.want {
				t.Errorf("%s: the %s is entry %d, want %d", tt.name, what, got, x.want)
			}
		}
	}
}

// Whatever was written is read, and is found by its path.
func TestPackRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var bundles []*Bundle
		paths := map[string][]int{}
		index := uint64(0)
		for i := range rapid.IntRange(1, 40).Draw(t, "proofs") {
			index += uint64(rapid.IntRange(1, 1000).Draw(t, "step"))
			b := &Bundle{Index: index, Checkpoint: []byte(note)}
			if rapid.Bool().Draw(t, "readable") {
				path := fmt.Sprintf("authors/id/E/ET/ETHER/D-%d.tar.gz", rapid.IntRange(0, 9).Draw(t, "path"))
				kind := rapid.SampledFrom([]entry.Kind{entry.Upload, entry.Delete, entry.Void}).Draw(t, "kind")
				b.Entry, paths[path] = entryOf(kind, path, "x"), append(paths[path], i)
			} else {
				b.Entry = rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "entry")
			}
			for range rapid.IntRange(0, tree.MaxProof).Draw(t, "hashes") {
				b.Hashes = append(b.Hashes, tree.Hash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash")))
			}
			bundles = append(bundles, b)
		}
		var buf bytes.Buffer
		w := NewPackWriter(&buf, []byte(note))
		for _, b := range bundles {
			if err := w.Add(b); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil || w.Size() != buf.Len() || w.Len() != len(bundles) {
			t.Fatalf("%v, %d bytes of %d", err, w.Size(), buf.Len())
		}
		p, err := ParsePack(buf.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range bundles {
			if got := p.Bundle(i); !bytes.Equal(must(got.Marshal()), must(want.Marshal())) {
				t.Fatalf("bundle %d is %+v, want %+v", i, got, want)
			}
		}
		for path, want := range paths {
			if got := p.Find(path); !slices.Equal(got, want) {
				t.Fatalf("Find(%s) = %v, want %v", path, got, want)
			}
		}
		if got := p.Find("authors/id/E/ET/ETHER/none"); got != nil {
			t.Fatalf("found %v", got)
		}
	})
}

func FuzzParsePack(f *testing.F) {
	f.Add(packOf([]byte("e")))
	f.Add(packOf(entryOf(entry.Upload, tiny, "a"), entryOf(entry.Void, tiny, "a"), entryOf(entry.Index, "modules/06perms.txt", "b"), []byte("pauselog/v2\n")))
	f.Add([]byte("pauselog-proofs/v2\n"))
	f.Add([]byte(PackHeader + "\n" + section(5, []byte("e"), 64) + "checkpoint\n" + note))
	f.Add([]byte(PackHeader + "\nextra YR==\nindex 05\n\ncheckpoint\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePack(text)
		if err != nil {
			if p != nil || !errors.Is(err, ErrMalformedPack) && !errors.Is(err, ErrPackVersion) {
				t.Errorf("%v with %v", p, err)
			}
			return
		}
		again, err := p.Marshal()
		if err != nil || !bytes.Equal(again, text) {
			t.Fatalf("%q was read, and is written as %q, %v", text, again, err)
		}
		for i := range p.Len() {
			b := p.Bundle(i)
			if i > 0 && b.Index <= p.Bundle(i-1).Index {
				t.Errorf("the index %d follows %d", b.Index, p.Bundle(i-1).Index)
			}
			e, err := entry.Parse(b.Entry)
			if err != nil {
				continue
			}
			if !slices.Contains(p.Find(e.Path), i) || p.For(e.Path, e.SHA256) == nil && e.Kind != entry.Conflict {
				t.Errorf("the entry of %s is not found", e.Path)
			}
		}
	})
}
