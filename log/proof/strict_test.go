package proof

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	formats "github.com/transparency-dev/formats/proof"
	"pgregory.net/rapid"

	"github.com/pauselog/pauselog/log/tree"
)

// Refused texts. both says that transparency-dev/formats v0.1.1 refuses a text
// too; where it does not, this package is the stricter by choice, and the
// subtest's name starts with "stricter".
var refused = []struct {
	name string
	text string
	both bool
}{
	{"nothing", "", true},
	{"only the header", Header, true},
	{"only the header line", Header + "\n", true},
	{"no header", "index 0\n\n" + note, true},
	{"a byte order mark", "\ufeff" + Header + "\nindex 0\n\n" + note, true},
	{"a blank line before the header", "\n" + Header + "\nindex 0\n\n" + note, true},
	{"space after the header", Header + " \nindex 0\n\n" + note, true},
	{"a signed note alone", note, true},

	// PF-5: lines end in LF.
	{"CRLF after the header", Header + "\r\nindex 0\n\n" + note, false},
	{"CRLF after the index", Header + "\nindex 0\r\n\n" + note, false},
	{"CRLF after the extra line", Header + "\nextra YQ==\r\nindex 0\n\n" + note, false},
	{"CRLF after a hash", Header + "\nindex 0\n" + hash + "\r\n\n" + note, false},
	{"CRLF for the blank line", Header + "\nindex 0\n\r\n" + note, false},
	{"CRLF in the checkpoint", Header + "\nindex 0\n\n" + strings.ReplaceAll(note, "\n", "\r\n"), false},
	{"CRLF throughout", strings.ReplaceAll(Header+"\nindex 0\n\n"+note, "\n", "\r\n"), false},

	// PF-5, PR-2, PR-3: one spelling of the index.
	{"index 05", Header + "\nindex 05\n\n" + note, false},
	{"index 005", Header + "\nindex 005\n\n" + note, false},
	{"index 00", Header + "\nindex 00\n\n" + note, false},
	{"index with a plus", Header + "\nindex +5\n\n" + note, true},
	{"index with a minus", Header + "\nindex -5\n\n" + note, true},
	{"index with a space before", Header + "\nindex  5\n\n" + note, true},
	{"index with a space after", Header + "\nindex 5 \n\n" + note, true},
	{"index with a tab", Header + "\nindex\t5\n\n" + note, true},
	{"index with an underscore", Header + "\nindex 1_0\n\n" + note, true},
	{"index in hexadecimal", Header + "\nindex 0x5\n\n" + note, true},
	{"index in digits of another script", Header + "\nindex ٥\n\n" + note, true},
	{"index empty", Header + "\nindex \n\n" + note, true},
	{"index without number", Header + "\nindex\n\n" + note, true},
	{"index of 2^63", Header + "\nindex 9223372036854775808\n\n" + note, false},
	{"index of 2^64", Header + "\nindex 18446744073709551616\n\n" + note, true},
	{"Index", Header + "\nIndex 5\n\n" + note, true},
	{"no index line", Header + "\n" + hash + "\n\n" + note, true},
	{"no index line and no hashes", Header + "\n\n" + note, true},
	{"two index lines", Header + "\nindex 5\nindex 5\n\n" + note, true},

	// PF-3: the extra line, if there is one, carries something and comes first.
	{"extra empty", Header + "\nextra \nindex 0\n\n" + note, false},
	{"extra without space", Header + "\nextra\nindex 0\n\n" + note, true},
	{"extra after index", Header + "\nindex 0\nextra YQ==\n\n" + note, true},
	{"extra twice", Header + "\nextra YQ==\nextra YQ==\nindex 0\n\n" + note, true},
	{"Extra", Header + "\nExtra YQ==\nindex 0\n\n" + note, true},
	{"extra with a second space", Header + "\nextra  YQ==\nindex 0\n\n" + note, true},
	{"extra with a space after", Header + "\nextra YQ== \nindex 0\n\n" + note, true},
	{"extra over 16 KiB", Header + "\nextra " + base64.StdEncoding.EncodeToString(make([]byte, MaxEntry+1)) + "\nindex 0\n\n" + note, false},
	{"extra far over 16 KiB", Header + "\nextra " + base64.StdEncoding.EncodeToString(make([]byte, 2*MaxEntry)) + "\nindex 0\n\n" + note, false},
	{"an unknown line before the index", Header + "\nnote x\nindex 0\n\n" + note, true},
	{"an unknown line after the index", Header + "\nindex 0\nnote x\n\n" + note, true},

	// PR-1: one spelling of bytes in base64.
	{"extra with spare bits set", Header + "\nextra YR==\nindex 0\n\n" + note, false},
	{"extra without padding", Header + "\nextra YQ\nindex 0\n\n" + note, true},
	{"extra with too much padding", Header + "\nextra YWFh=\nindex 0\n\n" + note, true},
	{"extra in the URL alphabet", Header + "\nextra _-8=\nindex 0\n\n" + note, true},
	{"extra with CR inside", Header + "\nextra YW\rFh\nindex 0\n\n" + note, false},
	{"extra with LF inside", Header + "\nextra YW\nFh\nindex 0\n\n" + note, true},
	{"hash with spare bits set", Header + "\nindex 0\n" + hashAlt + "\n\n" + note, false},
	{"hash without padding", Header + "\nindex 0\n" + hash[:43] + "\n\n" + note, true},
	{"hash with CR inside", Header + "\nindex 0\n" + hash[:8] + "\r" + hash[8:] + "\n\n" + note, false},
	{"hash in two lines", Header + "\nindex 0\n" + hash[:20] + "\n" + hash[20:] + "\n\n" + note, true},
	{"hash with a space after", Header + "\nindex 0\n" + hash + " \n\n" + note, true},
	{"hash in hexadecimal", Header + "\nindex 0\n" + strings.Repeat("00", 32) + "\n\n" + note, true},
	{"hash of 31 bytes", Header + "\nindex 0\n" + base64.StdEncoding.EncodeToString(make([]byte, 31)) + "\n\n" + note, true},
	{"hash of 33 bytes", Header + "\nindex 0\n" + base64.StdEncoding.EncodeToString(make([]byte, 33)) + "\n\n" + note, true},

	// PF-5: at most 63 hashes.
	{"64 hashes", Header + "\nindex 0\n" + strings.Repeat(hash+"\n", 64) + "\n" + note, false},
	{"a thousand hashes", Header + "\nindex 0\n" + strings.Repeat(hash+"\n", 1000) + "\n" + note, false},

	// PF-5: the blank line and the checkpoint are there.
	{"no blank line", Header + "\nindex 0\n" + note, true},
	{"no blank line and no checkpoint", Header + "\nindex 0\n", false},
	{"index line without newline", Header + "\nindex 0", false},
	{"hash line without newline", Header + "\nindex 0\n" + hash, false},
	{"no checkpoint", Header + "\nindex 0\n\n", false},
	{"two blank lines", Header + "\nindex 0\n\n\n" + note, false},
	{"a blank line before the hashes", Header + "\nindex 0\n\n" + hash, false},
	{"checkpoint without final newline", Header + "\nindex 0\n\n" + strings.TrimSuffix(note, "\n"), false},
	{"checkpoint with NUL", Header + "\nindex 0\n\na\x00\n", false},
	{"checkpoint with a tab", Header + "\nindex 0\n\na\tb\n", false},
	{"checkpoint with CR inside", Header + "\nindex 0\n\na\rb\n", false},
	{"checkpoint with invalid UTF-8", Header + "\nindex 0\n\na\xff\n", false},
	{"checkpoint with a surrogate", Header + "\nindex 0\n\na\xed\xa0\x80\n", false},
	{"over 256 KiB", Header + "\nindex 0\n\n" + strings.Repeat("a\n", MaxSize/2), false},
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range refused {
		name := tt.name
		if !tt.both {
			name = "stricter than formats/" + name
		}
		t.Run(name, func(t *testing.T) {
			if p, err := Parse([]byte(tt.text)); !errors.Is(err, ErrMalformed) || p != nil {
				t.Errorf("%.100v, %v, want ErrMalformed", p, err)
			}
			var theirs formats.TLogProof
			if err := theirs.Unmarshal([]byte(tt.text)); (err != nil) != tt.both {
				t.Errorf("formats: %v, want an error: %v", err, tt.both)
			}
		})
	}
}

func drawBundle(t *rapid.T) *Bundle {
	p := &Bundle{Index: rapid.Uint64Range(0, tree.MaxSize).Draw(t, "index")}
	if n := rapid.SampledFrom([]int{0, 1, 300, 1024, MaxEntry}).Draw(t, "entry length"); n > 0 {
		p.Entry = bytes.Repeat([]byte{rapid.Byte().Draw(t, "entry byte")}, n)
	}
	for range rapid.SampledFrom([]int{0, 1, 2, 20, 63}).Draw(t, "hashes") {
		p.Hashes = append(p.Hashes, tree.LeafHash(rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "hash of")))
	}
	lines := rapid.SliceOfN(rapid.StringMatching(`[ -~—é]{0,60}`), 0, 20).Draw(t, "checkpoint lines")
	p.Checkpoint = []byte("origin\n")
	for _, line := range lines {
		p.Checkpoint = append(p.Checkpoint, line+"\n"...)
	}
	return p
}

func equal(a, b *Bundle) bool {
	return bytes.Equal(a.Entry, b.Entry) && a.Index == b.Index && slices.Equal(a.Hashes, b.Hashes) && bytes.Equal(a.Checkpoint, b.Checkpoint)
}

func ofFormats(p formats.TLogProof) *Bundle {
	b := &Bundle{Entry: p.ExtraData, Index: p.Index, Checkpoint: p.Checkpoint}
	for _, h := range p.Hashes {
		b.Hashes = append(b.Hashes, h)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawBundle(t)
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(b)
		if err != nil || !equal(got, p) {
			t.Fatalf("%.200q parsed as %.200v, %v", b, got, err)
		}
		if again, err := got.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%.200q written again is %.200q, %v", b, again, err)
		}
	})
}

// What one writes the other reads, and both write the same.
func TestFormatsReadsAndWritesTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawBundle(t)
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var theirs formats.TLogProof
		if err := theirs.Unmarshal(b); err != nil || !equal(ofFormats(theirs), p) {
			t.Fatalf("%.200q read by formats is %.200v, %v", b, theirs, err)
		}
		if again := theirs.Marshal(); !bytes.Equal(again, b) {
			t.Fatalf("%.200q written by formats is %.200q", b, again)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(golden(f))
	for _, s := range []string{
		"\nindex 0\n\n" + note,
		"\nextra YQ==\nindex 1\n" + hash + "\n\n" + note,
		"\nextra YR==\nindex 01\n" + hashAlt + "\n\n" + note,
		"\r\nindex 0\r\n\r\na\r\n",
	} {
		f.Add([]byte(Header + s))
	}
	f.Add([]byte(name + "2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			if p != nil || errors.Is(err, ErrMalformed) == errors.Is(err, ErrVersion) {
				t.Fatalf("%v, %v", p, err)
			}
			return
		}
		if again, err := p.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q written again is %q, %v", b, again, err)
		}
		if p.Entry != nil && len(p.Entry) == 0 || len(p.Entry) > MaxEntry || p.Index > tree.MaxSize || len(p.Hashes) > tree.MaxProof || len(b) > MaxSize {
			t.Fatalf("%q is out of bounds", b)
		}
		// formats limits the length of a line, and we do not.
		var theirs formats.TLogProof
		if len(b) < 64<<10 {
			if err := theirs.Unmarshal(b); err != nil || !equal(ofFormats(theirs), p) {
				t.Fatalf("%q read by formats is %v, %v", b, theirs, err)
			}
		}
	})
}
