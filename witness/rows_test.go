package witness

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
)

// rawSign makes an Ed25519 line over any text.
func rawSign(t testing.TB, seed byte, v *checkpoint.VerifierKey, text string) checkpoint.Signature {
	t.Helper()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))
	return checkpoint.Signature{Name: v.Name(), KeyID: v.KeyID(), Blob: ed25519.Sign(private, []byte(text))}
}

// flipped is a note whose last signature has one bit wrong.
func flipped(t testing.TB, note []byte) []byte {
	t.Helper()
	n, err := checkpoint.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	n.Signatures[len(n.Signatures)-1].Blob[20] ^= 1
	return n.Marshal()
}

// added is a note with one more line.
func added(t testing.TB, note []byte, s checkpoint.Signature) []byte {
	t.Helper()
	n, err := checkpoint.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	return n.With(s).Marshal()
}

// The rows of the specification in their order, each by itself and together with later ones:
// the earlier row wins. The witness has cosigned size 8.
func TestRows(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 8))
	l := w.log
	fork := newLog(t, origin, 5)
	unknown := newLog(t, "log.example/unknown", honest)
	stranger := key(t, checkpoint.Ed25519, origin, 99) // the log's name, another key
	disabled := newLog(t, "log.example/disabled", honest)
	w.add(disabled)
	if err := w.state.Disable(disabled.origin); err != nil {
		t.Fatal(err)
	}
	garbage := []tree.Hash{{1}, {2}, {3}, {4}}
	root := func(size uint64) string { return l.root(size).String() }
	other := tree.LeafHash([]byte("x")).String()
	text := func(size, root string) string { return origin + "\n" + size + "\n" + root + "\n" }
	noSignature := strings.Replace(string(l.note(9)), "\n\n", "\n", 1)
	unknownText := func(rest string) []byte {
		text := unknown.origin + "\n" + rest
		return checkpoint.Note{Text: text, Signatures: []checkpoint.Signature{rawSign(t, 7, unknown.ed.Verifier(), text)}}.Marshal()
	}

	for _, tt := range []struct {
		name   string
		body   []byte
		status int
		size   uint64 // of 409
	}{
		// Row 1.
		{"nothing", nil, 400, 0},
		{"no old line", l.note(9), 400, 0},
		{"an old size with a zero ahead", bytes.Replace(l.request(8, 9), []byte("old 8"), []byte("old 08"), 1), 400, 0},
		{"an old size with a plus", bytes.Replace(l.request(8, 9), []byte("old 8"), []byte("old +8"), 1), 400, 0},
		{"an old size of 2^63", bytes.Replace(l.request(8, 9), []byte("old 8"), []byte("old 9223372036854775808"), 1), 400, 0},
		{"64 hashes", body(8, make([]tree.Hash, 64), l.note(9)), 400, 0},
		{"a hash that is none", bytes.Replace(l.request(8, 9), []byte("old 8\n"), []byte("old 8\nAAAA\n"), 1), 400, 0},
		{"a note without signatures", []byte("old 8\n\n" + noSignature), 400, 0},
		{"a note with a line twice", slices.Concat(l.request(8, 9), l.note(9)[bytes.LastIndex(l.note(9), []byte("\n\n"))+2:]), 400, 0},
		{"a note with CR", bytes.ReplaceAll(l.request(8, 9), []byte("\n"), []byte("\r\n")), 400, 0},
		{"malformed, of an unknown log", []byte("old 08\n\n" + string(unknown.note(9))), 400, 0},
		{"a malformed note of an unknown log", []byte("old 0\n\n" + unknown.origin + "\n9\n"), 400, 0},

		// Row 2.
		{"an unknown log", unknown.request(0, 9), 404, 0},
		{"an unknown log with a bad signature", body(0, nil, flipped(t, unknown.note(9))), 404, 0},
		{"an unknown log with a malformed size", body(0, nil, unknownText("x\n"+other+"\n")), 404, 0},
		{"an unknown log with an origin alone", body(0, nil, unknownText("")), 404, 0},
		{"an unknown log with extension lines", body(0, nil, unknownText("9\n"+other+"\nmore\n")), 404, 0},
		{"an unknown log with an old size too large", body(99, nil, unknown.note(9)), 404, 0},
		{"an unknown log signed by a known one", body(8, nil, added(t, unknown.note(9), rawSign(t, 7, l.ed.Verifier(), unknown.checkpoint(9).Text()))), 404, 0},
		{"a disabled log", disabled.request(0, 9), 404, 0},
		{"a disabled log with a bad signature", body(0, nil, flipped(t, disabled.note(9))), 404, 0},
		{"an empty origin", body(0, nil, checkpoint.Note{Text: "\n9\n" + other + "\n", Signatures: []checkpoint.Signature{{Name: "x", Blob: []byte("y")}}}.Marshal()), 404, 0},

		// Row 3.
		{"no signature of a key that is known", body(8, l.proof(8, 9), l.note(9, stranger)), 403, 0},
		{"a witness's cosignature only", body(8, l.proof(8, 9), checkpoint.Note{Text: l.checkpoint(9).Text(),
			Signatures: []checkpoint.Signature{sign(t, key(t, checkpoint.CosignatureV1, witnessName, 1), l.checkpoint(9), 9)}}.Marshal()), 403, 0},
		{"a bad signature", body(8, l.proof(8, 9), flipped(t, l.note(9))), 403, 0},
		{"a bad ML-DSA signature", body(8, l.proof(8, 9), flipped(t, l.note(9, l.mldsa))), 403, 0},
		{"a good signature and a bad one", body(8, l.proof(8, 9), flipped(t, l.note(9, l.ed, l.mldsa))), 403, 0},
		{"a bad signature and a good one", body(8, l.proof(8, 9), added(t, flipped(t, l.note(9, l.ed)), sign(t, l.mldsa, l.checkpoint(9), 9))), 403, 0},
		{"another size than was signed", body(8, l.proof(8, 10), bytes.Replace(l.note(9), []byte("\n9\n"), []byte("\n10\n"), 1)), 403, 0},
		{"a signature of the wrong length", body(8, l.proof(8, 9), checkpoint.Note{Text: l.checkpoint(9).Text(),
			Signatures: []checkpoint.Signature{{Name: origin, KeyID: l.ed.Verifier().KeyID(), Blob: []byte("short")}}}.Marshal()), 403, 0},
		{"a bad signature of a malformed text", body(8, nil, flipped(t, l.signed(text("08", root(8))))), 403, 0},
		{"a bad signature and an old size too large", body(99, nil, flipped(t, l.note(9))), 403, 0},
		{"a bad signature and a wrong old size", body(3, nil, flipped(t, l.note(9))), 403, 0},
		{"a bad signature of another root of size 0", body(0, nil, flipped(t, l.signed(text("0", other)))), 403, 0},
		{"a malformed text that only an ML-DSA line is below", body(8, nil, checkpoint.Note{Text: text("08", root(8)),
			Signatures: []checkpoint.Signature{sign(t, l.mldsa, l.checkpoint(8), 9)}}.Marshal()), 403, 0},

		// Row 4.
		{"a size with a zero ahead", body(8, nil, l.signed(text("08", root(8)))), 400, 0},
		{"a size over 2^63-1", body(8, nil, l.signed(text("9223372036854775808", root(8)))), 400, 0},
		{"a root of 31 bytes", body(8, nil, l.signed(text("8", base64.StdEncoding.EncodeToString(make([]byte, 31))))), 400, 0},
		{"a root in another base64", body(8, nil, l.signed(text("8", root(8)[:42]+nextLetter(root(8)[42])+"="))), 400, 0},
		{"an origin alone", body(8, nil, l.signed(origin+"\n")), 400, 0},
		{"extension lines", body(8, l.proof(8, 9), l.signed(text("9", root(9))+"more\n")), 400, 0},
		{"extension lines below an ML-DSA signature", body(8, l.proof(8, 9), checkpoint.Note{Text: text("9", root(9)) + "more\n",
			Signatures: []checkpoint.Signature{sign(t, l.mldsa, l.checkpoint(9), 9)}}.Marshal()), 400, 0},
		{"extension lines and an old size too large", body(99, nil, l.signed(text("9", root(9))+"more\n")), 400, 0},
		{"extension lines of size 0 with another root", body(0, nil, l.signed(text("0", other)+"more\n")), 400, 0},
		{"a malformed text with a wrong old size", body(3, nil, l.signed(text("x", root(8)))), 400, 0},
		{"a malformed text with a good line and one that nobody can verify", body(8, nil, added(t, l.signed(text("08", root(8))),
			sign(t, l.mldsa, l.checkpoint(8), 9))), 400, 0},

		// Row 5.
		{"an old size over the checkpoint's", l.request(9, 8), 400, 0},
		{"the same, and a fork", body(9, nil, fork.note(8)), 400, 0},
		{"an old size over the checkpoint's, which is the stored one", body(8, nil, l.note(7)), 400, 0},
		{"the same over a size 0 with another root", body(8, nil, l.signed(text("0", other))), 400, 0},

		// Row 6.
		{"size 0 with another root", body(0, nil, l.signed(text("0", other))), 422, 0},
		{"size 0 with another root and a proof", body(0, garbage, l.signed(text("0", other))), 422, 0},

		// Row 7.
		{"an old size behind", l.request(7, 9), 409, 8},
		{"an old size ahead", l.request(9, 12), 409, 8},
		{"from the beginning", l.request(0, 9), 409, 8},
		{"size 0", l.request(0, 0), 409, 8},
		{"a wrong old size and a proof from 0", body(0, garbage, l.note(9)), 409, 8},
		{"a wrong old size and another root", body(0, nil, fork.note(8)), 409, 8},
		{"a wrong old size and a bad proof", body(7, garbage, l.note(9)), 409, 8},

		// Row 9.
		{"another root of the stored size", body(8, nil, fork.note(8)), 422, 0},
		{"another root of the stored size, with a proof", body(8, garbage, fork.note(8)), 422, 0},

		// Row 10.
		{"a fork of a larger size", fork.request(8, 12), 422, 0},
		{"no proof", body(8, nil, l.note(12)), 422, 0},
		{"a proof that is too long", body(8, append(l.proof(8, 12), tree.Hash{}), l.note(12)), 422, 0},
		{"a proof of other sizes", body(8, l.proof(7, 12), l.note(12)), 422, 0},
		{"a proof with a bit wrong", body(8, func() []tree.Hash { p := l.proof(8, 12); p[0][0] ^= 1; return p }(), l.note(12)), 422, 0},
		{"equal sizes and a proof", body(8, garbage, l.note(8)), 422, 0},
	} {
		before := w.stored()
		answer, err := w.post(tt.body)
		if answer != nil || status(err) != tt.status {
			t.Errorf("%s: %d %v, want %d; answer %q", tt.name, status(err), err, tt.status, answer)
			continue
		}
		if r := (*Refusal)(nil); errors.As(err, &r) && (r.Size != tt.size || r.Retry != 0) {
			t.Errorf("%s: size %d and retry %v, want size %d", tt.name, r.Size, r.Retry, tt.size)
		}
		if after := w.stored(); after.Sequence != before.Sequence {
			t.Errorf("%s: it is recorded as %+v", tt.name, after)
		}
	}
	// Row 11: after all that, the honest log goes on.
	w.cosign(l.request(8, 12))
}

// nextLetter changes the spare bits in the last letter of 32 bytes of base64.
func nextLetter(c byte) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	return letters[strings.IndexByte(letters, c)+1:][:1]
}

// Row 7, and rows 8 and 6, of a log that was never cosigned.
func TestRowsOfANewLog(t *testing.T) {
	w := newWorld(t)
	l := w.log
	for _, tt := range []struct {
		name   string
		body   []byte
		status int
	}{
		{"an old size over 0", l.request(3, 9), 409},
		{"an old size over 0, the checkpoint's", body(9, nil, l.note(9)), 409},
		{"a proof from size 0", body(0, []tree.Hash{{1}}, l.note(9)), 422},
		{"a proof from size 0 to size 0", body(0, []tree.Hash{{1}}, l.note(0)), 422},
		{"size 0 with another root", body(0, nil, l.signed(origin+"\n0\n"+l.root(3).String()+"\n")), 422},
	} {
		if answer, err := w.post(tt.body); answer != nil || status(err) != tt.status {
			t.Errorf("%s: %d %v, want %d", tt.name, status(err), err, tt.status)
		} else if r := err.(*Refusal); r.Size != 0 {
			t.Errorf("%s: size %d", tt.name, r.Size)
		}
	}
	if _, ok := w.Checkpoint(l.hash()); ok || w.stored().Time != 0 {
		t.Error("it has a checkpoint")
	}
	// WS-19: an empty tree is cosigned like any other, and is where the first entries begin.
	verifyAnswer(t, w.signers, l.checkpoint(0), w.cosign(l.request(0, 0)))
	w.clock.pass(1e9)
	verifyAnswer(t, w.signers, l.checkpoint(5), w.cosign(l.request(0, 5)))
}

// All rows together, for a note with each number of signatures that the specification names.
func TestManySignatures(t *testing.T) {
	w := newWorld(t)
	n, err := checkpoint.ParseNote(w.log.note(8, w.log.ed, w.log.mldsa))
	if err != nil {
		t.Fatal(err)
	}
	for i := range byte(14) { // SN-7: 16 lines at least
		n.Signatures = append(n.Signatures, sign(t, key(t, checkpoint.MLDSA44, fmt.Sprintf("other.example/%d", i), i+20), w.log.checkpoint(8), 9))
	}
	verifyAnswer(t, w.signers, w.log.checkpoint(8), w.cosign(body(0, nil, n.Marshal())))
	stored, err := checkpoint.ParseNote(w.stored().Note)
	if err != nil || len(stored.Signatures) != 4 {
		t.Errorf("%d lines are stored, %v", len(stored.Signatures), err)
	}
}
