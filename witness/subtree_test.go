package witness

import (
	"errors"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/witness/protocol"
)

// subtreeHash is the hash of the entries from start to before end, as a tree of their own.
func (l *log) subtreeHash(start, end uint64) tree.Hash {
	if end-start == 1 {
		return l.leaf(start)
	}
	k := uint64(1)
	for k*2 < end-start {
		k *= 2
	}
	return tree.NodeHash(l.subtreeHash(start, start+k), l.subtreeHash(start+k, end))
}

func (l *log) leaf(i uint64) tree.Hash {
	if int64(i) >= l.fork {
		return tree.LeafHash([]byte("another entry " + itoa(i)))
	}
	return tree.LeafHash([]byte("entry " + itoa(i)))
}

func itoa(i uint64) string { return strings.TrimSuffix(string(protocol.FormatSize(i)), "\n") }

func (l *log) subtree(start, end, size uint64, note []byte) []byte {
	l.t.Helper()
	proof, err := tree.SubtreeProof(start, end, size, func(start, end uint64) (tree.Hash, error) { return l.subtreeHash(start, end), nil })
	if err != nil {
		l.t.Fatal(err)
	}
	return (&protocol.SignSubtree{Start: start, End: end, Hash: l.subtreeHash(start, end), Proof: proof, Note: note}).Marshal()
}

// ours returns the witness's checkpoint with only its line of a key type.
func (w *world) ours(blob int) []byte {
	w.t.Helper()
	n, err := checkpoint.ParseNote(w.stored().Note)
	if err != nil {
		w.t.Fatal(err)
	}
	return n.Keep(func(s checkpoint.Signature) bool { return s.Name == witnessName && len(s.Blob) == blob }).Marshal()
}

const edBlob, mldsaBlob = 72, 2428

func TestSignSubtree(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 13))
	before := w.stored()
	ed, mldsa := w.ours(edBlob), w.ours(mldsaBlob)
	w.cosign(w.log.request(13, 20)) // an older checkpoint is as good
	for _, r := range [][2]uint64{{0, 13}, {0, 8}, {8, 13}, {4, 8}, {12, 13}, {0, 1}, {8, 12}} {
		for _, note := range [][]byte{ed, mldsa} {
			answer, err := w.SignSubtree(t.Context(), w.log.subtree(r[0], r[1], 13, note))
			if err != nil {
				t.Errorf("[%d, %d): %v", r[0], r[1], err)
				continue
			}
			sig, err := protocol.ParseSubtreeSignature(answer)
			if err == nil {
				err = w.signers[0].Verifier().VerifySubtree(origin, r[0], r[1], w.log.subtreeHash(r[0], r[1]), sig)
			}
			if err != nil {
				t.Errorf("[%d, %d): %v", r[0], r[1], err)
			}
		}
	}
	if w.stored().Sequence != before.Sequence+1 {
		t.Error("it wrote")
	}
}

func TestSignSubtreeRefuses(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 13))
	l, ours := w.log, w.ours(edBlob)
	fork := newLog(t, origin, 5)
	good := l.subtree(8, 12, 13, ours)
	unknown := newLog(t, "log.example/unknown", honest)
	// A cosignature that this witness gave another checkpoint, or that another witness gave this one.
	ofOther := checkpoint.Note{Text: fork.checkpoint(13).Text(), Signatures: mustParse(t, ours).Signatures}.Marshal()
	rivals := checkpoint.Note{Text: l.checkpoint(13).Text(), Signatures: []checkpoint.Signature{
		sign(t, key(t, checkpoint.CosignatureV1, witnessName, 99), l.checkpoint(13), 9)}}.Marshal()
	extended := strings.Replace(string(ours), "\n\n", "\nmore\n\n", 1)
	replace := func(old, new string) []byte { return []byte(strings.Replace(string(good), old, new, 1)) }
	bad := func(start, end uint64, note []byte) []byte {
		return (&protocol.SignSubtree{Start: start, End: end, Hash: l.subtreeHash(8, 12), Proof: nil, Note: note}).Marshal()
	}
	for _, tt := range []struct {
		name   string
		body   []byte
		status int
	}{
		{"nothing", nil, 400},
		{"a start with a zero ahead", replace("subtree 8", "subtree 08"), 400},
		{"what is no subtree", replace("subtree 8 12", "subtree 7 12"), 400},
		{"an empty subtree", replace("subtree 8 12", "subtree 8 8"), 400},
		{"no subtree, of an unknown log", bad(7, 12, unknown.note(13)), 400},
		{"no note", replace("\n\n— ", "\n— "), 400},
		{"an unknown log", unknown.subtree(8, 12, 13, unknown.note(13)), 404},
		{"an unknown log with an end behind its size", bad(0, 64, unknown.note(13)), 404},
		{"extension lines", l.subtree(8, 12, 13, []byte(extended)), 400},
		{"the log's signature", l.subtree(8, 12, 13, l.note(13)), 403},
		{"two cosignatures", l.subtree(8, 12, 13, mustParse(t, ours).With(mustParse(t, w.ours(mldsaBlob)).Signatures...).Marshal()), 403},
		{"a bad cosignature", l.subtree(8, 12, 13, flipped(t, ours)), 403},
		{"a cosignature of another checkpoint", fork.subtree(8, 12, 13, ofOther), 403},
		{"another witness's cosignature", l.subtree(8, 12, 13, rivals), 403},
		{"an end behind the size, and another witness's", bad(0, 64, rivals), 403},
		{"an end behind the size", bad(0, 64, ours), 400},
		{"a fork's subtree", fork.subtree(8, 12, 13, ours), 422},
		{"another hash", bad(8, 12, ours), 422},
	} {
		if answer, err := w.SignSubtree(t.Context(), tt.body); answer != nil || status(err) != tt.status {
			t.Errorf("%s: %q, %d %v, want %d", tt.name, answer, status(err), err, tt.status)
		}
	}
	if _, err := w.SignSubtree(t.Context(), good); err != nil {
		t.Error(err)
	}
	if err := w.state.Disable(origin); err != nil {
		t.Fatal(err)
	}
	if _, err := w.SignSubtree(t.Context(), good); status(err) != 404 {
		t.Errorf("a disabled log: %v", err)
	}
	// Without the key it is as if there were no such path.
	w.signers = w.signers[1:]
	w.restart()
	if _, err := w.SignSubtree(t.Context(), nil); status(err) != 404 {
		t.Errorf("without an ML-DSA key: %v", err)
	}
}

func mustParse(t testing.TB, note []byte) checkpoint.Note {
	t.Helper()
	n, err := checkpoint.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

type goneSubtreeSigner struct {
	SubtreeSigner
	sig []byte
	err error
}

func (s goneSubtreeSigner) SignSubtree(string, uint64, uint64, tree.Hash) ([]byte, error) {
	return s.sig, s.err
}

func TestSubtreeSignerFails(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 13))
	body := w.log.subtree(8, 12, 13, w.ours(mldsaBlob))
	good := w.signers[0].(SubtreeSigner)
	for _, s := range []SubtreeSigner{goneSubtreeSigner{good, nil, errors.New("gone")}, goneSubtreeSigner{good, []byte("x"), nil}} {
		w.signers[0] = s
		w.restart()
		if answer, err := w.SignSubtree(t.Context(), body); answer != nil || status(err) != 503 {
			t.Errorf("%q, %v", answer, err)
		}
	}
}
