package checkpoint

import (
	"errors"
	"strings"
	"testing"

	tdevlog "github.com/transparency-dev/formats/log"
	tdev "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// What ParseNote accepts is written again to the same bytes, and x/mod takes it
// apart in the same way.
func FuzzParseNote(f *testing.F) {
	f.Add(readVector(f, "checkpoint-small.txt"))
	f.Add(readVector(f, "checkpoint-full-4sigs.txt"))
	f.Add([]byte("a\n\nb\n\n— n AAAAAXNpZ25hdHVyZQ==\n— m AAAAAXNpZ25hdHVyZQ==\n"))
	f.Add([]byte("text\n\n— a AAAAAXNpZ25hdHVyZR==\n"))
	f.Add([]byte("\n\n\n— \u00e9 AAAAAXNp\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseNote(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v is not ErrMalformed", err)
			}
			return
		}
		if got := n.Marshal(); string(got) != string(b) {
			t.Fatalf("Marshal = %q, want %q", got, b)
		}
		var theirs *note.UnverifiedNoteError
		if _, err := note.Open(b, nil); !errors.As(err, &theirs) {
			t.Fatalf("x/mod refuses %q: %v", b, err)
		}
		if theirs.Note.Text != n.Text || len(theirs.Note.UnverifiedSigs) != len(n.Signatures) {
			t.Fatalf("x/mod: %+v, here: %+v", theirs.Note, n)
		}
		for i, s := range theirs.Note.UnverifiedSigs {
			if s.Name != n.Signatures[i].Name || s.Hash != n.Signatures[i].KeyID || !strings.HasSuffix(n.Signatures[i].Line(), " "+s.Base64+"\n") {
				t.Fatalf("line %d: x/mod: %+v, here: %+v", i, s, n.Signatures[i])
			}
		}
	})
}

// What ParseText accepts is written again to the same text, means the same to
// the formats library, and can be signed.
func FuzzParseText(f *testing.F) {
	f.Add(goldenCheckpoint.Text())
	f.Add("o\n0\n" + emptyRoot + "\n")
	f.Add("o\n008\n" + someRoot + "\n")
	f.Add("o\n9223372036854775807\n" + someRoot + "\n")
	f.Add("o\n8\n" + someRoot + "\next\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseText(text)
		if err != nil {
			if errors.Is(err, ErrMalformed) == errors.Is(err, ErrExtension) {
				t.Fatalf("%v is neither or both of ErrMalformed and ErrExtension", err)
			}
			return
		}
		if c.Text() != text {
			t.Fatalf("Text = %q, want %q", c.Text(), text)
		}
		var theirs tdevlog.Checkpoint
		rest, err := theirs.Unmarshal([]byte(text))
		if err != nil || len(rest) != 0 || theirs.Origin != c.Origin || theirs.Size != c.Size || string(theirs.Hash) != string(c.Root[:]) {
			t.Fatalf("formats: %+v, %q, %v; here: %+v", theirs, rest, err, c)
		}
		if _, err := SubtreeMessage("cosigner", c.Origin, 1, 0, c.Size, c.Root); err != nil {
			t.Fatalf("an accepted checkpoint has no message to sign: %v", err)
		}
	})
}

// What ParseVerifierKey accepts is written again to the same text, and the
// other implementations take it with the same name and key id.
func FuzzParseVerifierKey(f *testing.F) {
	for _, vkey := range strings.Fields(string(readVector(f, "vkeys.txt"))) {
		f.Add(vkey)
	}
	f.Add(goldenLogSecret)
	f.Add(strings.Replace(goldenLogKey, "13830bfb", "13830BFB", 1))
	f.Add(vkeyOf(Ed25519, "w", append([]byte{1}, make([]byte, 31)...)))
	f.Fuzz(func(t *testing.T, vkey string) {
		k, err := ParseVerifierKey(vkey)
		if err != nil {
			if !errors.Is(err, ErrKey) {
				t.Fatalf("%v is not ErrKey", err)
			}
			return
		}
		if k.String() != vkey {
			t.Fatalf("String = %q, want %q", k, vkey)
		}
		theirVerifier(t, k)
		if k.Algorithm() == Ed25519 {
			if _, err := tdev.NewVerifier(vkey); err != nil {
				t.Fatalf("formats refuses %q: %v", vkey, err)
			}
		}
	})
}

// What ParsePolicy accepts is, written and parsed again, the same; everyone's
// signature meets the quorum and nobody's only if there is none.
func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(goldenPolicy))
	f.Add([]byte("# comment\n\tquorum  none \n"))
	f.Add([]byte("witness a " + goldenWitnessKey + " https://w.example/\ngroup b any a\ngroup c all b\nquorum c\n"))
	f.Add([]byte("witness a " + goldenWitnessKey + "\ngroup b 01 a\nquorum b\n"))
	f.Add([]byte("log " + goldenLogKey + "\r\nquorum none\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePolicy(b)
		if err != nil {
			if !errors.Is(err, ErrPolicy) {
				t.Fatalf("%v is not ErrPolicy", err)
			}
			return
		}
		again, err := ParsePolicy([]byte(p.String()))
		if err != nil || again.String() != p.String() {
			t.Fatalf("%q parsed again: %v, %v", p, again, err)
		}
		if !p.Satisfied(func(string) bool { return true }) {
			t.Fatalf("%q: not satisfied by everyone", p)
		}
		if p.Satisfied(func(string) bool { return false }) != p.QuorumNone() {
			t.Fatalf("%q: satisfied by nobody", p)
		}
	})
}

// Whatever bytes open under the golden policy, they say what was signed.
func FuzzOpen(f *testing.F) {
	small := readVector(f, "checkpoint-small.txt")
	f.Add(small)
	f.Add(readVector(f, "checkpoint-full-4sigs.txt"))
	f.Add([]byte(strings.Replace(string(small), "\n8\n", "\n9\n", 1)))
	p := mustPolicy(f, goldenPolicy)
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := p.Open(b)
		if (o != nil) != (err == nil || errors.Is(err, ErrQuorum)) {
			t.Fatalf("Opened = %+v next to %v", o, err)
		}
		if o == nil {
			return
		}
		if o.Checkpoint != goldenCheckpoint || o.QuorumMet != (err == nil) {
			t.Fatalf("opened %+v, %v", o, err)
		}
		for _, c := range o.Cosignatures {
			if c.Time != goldenTime {
				t.Fatalf("cosignature %+v", c)
			}
		}
	})
}
