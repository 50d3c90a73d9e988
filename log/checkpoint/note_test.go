package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// line returns a signature line of any name, key id and blob.
func line(name string, id uint32, blob string) string {
	return Signature{Name: name, KeyID: id, Blob: []byte(blob)}.Line()
}

func TestParseNoteAccepts(t *testing.T) {
	var many strings.Builder
	for i := range MaxSignatures {
		many.WriteString(line("w.example", uint32(i), "signature"))
	}
	for _, v := range []struct {
		name, note string
		text       string
		lines      int
	}{
		{"one line", "text\n\n" + line("a", 1, "s"), "text\n", 1},
		{"empty lines in the text: the last one splits", "a\n\nb\n\n" + line("a", 1, "s"), "a\n\nb\n", 1}, // SN-3
		{"two empty lines", "a\n\n\n" + line("a", 1, "s"), "a\n\n", 1},
		{"text that looks like a signature", line("a", 1, "s") + "\n" + line("a", 1, "s"), line("a", 1, "s"), 1},
		{"DEL in the text", "te\x7fxt\n\n" + line("a", 1, "s"), "te\x7fxt\n", 1}, // SN-2
		{"same name, other id", "text\n\n" + line("a", 1, "s") + line("a", 2, "s"), "text\n", 2},
		{"other name, same id", "text\n\n" + line("a", 1, "s") + line("b", 1, "s"), "text\n", 2},
		{"as many lines as allowed", "text\n\n" + many.String(), "text\n", MaxSignatures}, // SN-7
	} {
		n, err := ParseNote([]byte(v.note))
		if err != nil || n.Text != v.text || len(n.Signatures) != v.lines {
			t.Errorf("%s: %+v, %v", v.name, n, err)
			continue
		}
		if got := string(n.Marshal()); got != v.note {
			t.Errorf("%s: Marshal = %q, want %q", v.name, got, v.note)
		}
		if s, err := ParseSignatures([]byte(v.note[len(v.text)+1:])); err != nil || !reflect.DeepEqual(s, n.Signatures) {
			t.Errorf("%s: ParseSignatures = %v, %v", v.name, s, err)
		}
	}
}

func TestParseNoteRefuses(t *testing.T) {
	ok := line("a", 1, "signature")
	const (
		encoded = "AAAAAXNpZ25hdHVyZQ==" // of 00000001 and "signature"
		padBits = "AAAAAXNpZ25hdHVyZR==" // the same bytes to a lenient decoder
	)
	var many strings.Builder
	for i := range MaxSignatures + 1 {
		many.WriteString(line("w.example", uint32(i), "signature"))
	}
	for _, v := range []struct{ name, note string }{
		{"nothing", ""},
		{"no blank line", "text\n" + ok},
		{"no text", "\n" + ok},
		{"no signatures", "text\n\n"},
		{"no newline at the end", "text\n\n" + strings.TrimSuffix(ok, "\n")},
		{"blank line at the end", "text\n\n" + ok + "\n"},
		{"line after the signatures", "text\n\n" + ok + "more\n"},

		// SN-2, PR-5
		{"CRLF", strings.ReplaceAll("text\n\n"+ok, "\n", "\r\n")},
		{"CR in the text", "te\rxt\n\n" + ok},
		{"NUL in the text", "te\x00xt\n\n" + ok},
		{"tab in the text", "te\txt\n\n" + ok},
		{"invalid UTF-8 in the text", "te\xffxt\n\n" + ok},
		{"surrogate in the text", "te\xed\xa0\x80xt\n\n" + ok},
		{"invalid UTF-8 in a name", "text\n\n" + line("a\xff", 1, "s")},

		// SN-4 and the line's form
		{"hyphen instead of the dash", "text\n\n" + strings.Replace(ok, "—", "-", 1)},
		{"no space after the dash", "text\n\n" + strings.Replace(ok, "— ", "—", 1)},
		{"no name", "text\n\n" + line("", 1, "s")},
		{"name with a plus", "text\n\n" + line("a+b", 1, "s")},
		{"name with a Unicode space", "text\n\n" + line("a\u00a0b", 1, "s")},
		{"two spaces before the base64", "text\n\n— a  " + encoded + "\n"},
		{"space after the base64", "text\n\n— a " + encoded + " \n"},
		{"no base64", "text\n\n— a\n"},
		{"empty base64", "text\n\n— a \n"},
		{"key id only", "text\n\n" + line("a", 1, "")},
		{"three bytes", "text\n\n— a AAAA\n"},

		// PR-1, C2SP#348
		{"pad bits not zero", "text\n\n— a " + padBits + "\n"},
		{"padding missing", "text\n\n— a " + strings.TrimRight(encoded, "=") + "\n"},
		{"CR inside base64", "text\n\n— a " + encoded[:8] + "\r" + encoded[8:] + "\n"},
		{"LF inside base64", "text\n\n— a " + encoded[:8] + "\n" + encoded[8:] + "\n"},
		{"URL alphabet", "text\n\n— a AAAAAf__\n"},

		{"same name and id twice", "text\n\n" + line("a", 1, "one") + line("b", 1, "x") + line("a", 1, "two")}, // SN-11
		{"the same line twice", "text\n\n" + ok + ok},                                                          // SN-11
		{"more lines than allowed", "text\n\n" + many.String()},                                                // SN-7
		{"larger than allowed", strings.Repeat("x", MaxNoteSize) + "\n\n" + ok},
	} {
		n, err := ParseNote([]byte(v.note))
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: ParseNote = %+v, %v; want ErrMalformed", v.name, n, err)
		}
	}
	for _, v := range []struct{ name, lines string }{
		{"nothing", ""},
		{"blank line first", "\n" + ok},
		{"control character", strings.Replace(ok, "a", "a\x01", 1)},
		{"larger than allowed", line("a", 1, strings.Repeat("x", MaxNoteSize))},
	} {
		if s, err := ParseSignatures([]byte(v.lines)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: ParseSignatures = %v, %v; want ErrMalformed", v.name, s, err)
		}
	}
}

// The vector of C2SP#348 as a signature: x/mod decodes both, this package one.
func TestOneBase64PerSignature(t *testing.T) {
	good := "text\n\n— a AAAAAXNpZ25hdHVyZQ==\n"
	bad := strings.Replace(good, "ZQ==", "ZR==", 1)
	for _, s := range []string{good, bad} {
		var unverified *note.UnverifiedNoteError
		if _, err := note.Open([]byte(s), nil); !errors.As(err, &unverified) {
			t.Errorf("x/mod does not take %q apart: %v", s, err)
		}
	}
	if _, err := ParseNote([]byte(good)); err != nil {
		t.Error(err)
	}
	if _, err := ParseNote([]byte(bad)); !errors.Is(err, ErrMalformed) {
		t.Errorf("non-canonical base64: %v, want ErrMalformed", err)
	}
}

// SN-7: at least 16 signatures, and post-quantum ones at that.
func TestSixteenMLDSASignatures(t *testing.T) {
	n := Note{Text: goldenCheckpoint.Text()}
	policy := "log " + goldenLogKey + "\n"
	group := "group all-of-them all"
	for i := range 16 {
		// Names as long as they get.
		k := signer(t, MLDSA44, fmt.Sprintf("%0255d", i), byte(i))
		n = n.With(mustSign(t, k, goldenCheckpoint, goldenTime))
		policy += fmt.Sprintf("witness w%d %s\n", i, k.Verifier())
		group += fmt.Sprintf(" w%d", i)
	}
	n = n.With(mustSign(t, signer(t, Ed25519, goldenOrigin, 1), goldenCheckpoint, 0))
	o, err := mustPolicy(t, policy+group+"\nquorum all-of-them\n").Open(n.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Cosignatures) != 16 || !o.QuorumMet {
		t.Errorf("%d cosignatures, quorum met: %v", len(o.Cosignatures), o.QuorumMet)
	}
}

// MaxNoteSize's comment: sixteen signatures of 5 kB with the longest names.
func TestSixteenLargerSignatures(t *testing.T) {
	n := Note{Text: goldenCheckpoint.Text()}
	for i := range 16 {
		n = n.With(Signature{Name: strings.Repeat("n", MaxOrigin), KeyID: uint32(i), Blob: make([]byte, 5000)})
	}
	b := n.Marshal()
	got, err := ParseNote(b)
	if err != nil || len(got.Signatures) != 16 {
		t.Errorf("note of %d bytes: %d signatures, %v", len(b), len(got.Signatures), err)
	}
}

func TestKeepEd25519Lines(t *testing.T) {
	full, err := ParseNote(readVector(t, "checkpoint-full-4sigs.txt"))
	if err != nil {
		t.Fatal(err)
	}
	small := readVector(t, "checkpoint-small.txt")
	if got := full.Keep(Signature.IsEd25519).Marshal(); !bytes.Equal(got, small) {
		t.Errorf("Keep = %s, want %s", got, small)
	}
	if len(full.Signatures) != 4 {
		t.Errorf("Keep changed its note: %d signatures left", len(full.Signatures))
	}
	for size, want := range map[int]bool{63: false, 64: true, 65: false, 71: false, 72: true, 73: false, 2428: false} {
		if got := (Signature{Blob: make([]byte, size)}).IsEd25519(); got != want {
			t.Errorf("IsEd25519 of a blob of %d bytes = %v, want %v", size, got, want)
		}
	}
}

func TestWithReplacesTheSameKeysLine(t *testing.T) {
	a1 := Signature{"a", 1, []byte("1")}
	a2 := Signature{"a", 2, []byte("1")}
	newer := Signature{"a", 1, []byte("2")}
	n := Note{Text: "text\n"}.With(a1, a2)
	if got, want := n.With(newer).Signatures, []Signature{newer, a2}; !reflect.DeepEqual(got, want) {
		t.Errorf("With = %v, want %v", got, want)
	}
	if want := []Signature{a1, a2}; !reflect.DeepEqual(n.Signatures, want) {
		t.Errorf("With changed its note to %v", n.Signatures)
	}
}
