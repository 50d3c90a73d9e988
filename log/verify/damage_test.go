package verify

import (
	"bytes"
	"slices"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
)

// Wherever a bundle is cut, it is a bad proof and not a missing one. Between the
// signature lines it is a bundle with fewer of them: that verifies as long as they make the
// quorum, and then it is the policy that is not met.
func TestCutBundle(t *testing.T) {
	w := newWorld(nil)
	r := w.request()
	whole := r.Bundle
	lines := map[int]Outcome{}
	at := bytes.Index(whole, []byte("\n\n— ")) + 2
	for i := range 3 {
		at += bytes.IndexByte(whole[at:], '\n') + 1
		lines[at] = []Outcome{PolicyUnmet, PolicyUnmet, Verified}[i]
	}
	for n := range whole {
		r.Bundle = whole[:n]
		want, ok := lines[n]
		if !ok {
			want = InvalidProof
		}
		wantOutcome(t, "cut at "+string(whole[max(0, n-10):n]), r, want)
	}
}

// Any two lines swapped make a bundle that proves nothing, but for the signature
// lines, which have no order.
func TestLinesReordered(t *testing.T) {
	w := newWorld(nil)
	r := w.request()
	whole := bytes.SplitAfter(r.Bundle, []byte("\n"))
	whole = whole[:len(whole)-1]
	isSignature := func(b []byte) bool { return bytes.HasPrefix(b, []byte("— ")) }
	for i := range whole {
		for j := range i {
			swapped := slices.Clone(whole)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			r.Bundle = bytes.Join(swapped, nil)
			want := InvalidProof
			if bytes.Equal(whole[i], whole[j]) || (isSignature(whole[i]) && isSignature(whole[j])) {
				want = Verified
			}
			wantOutcome(t, "swapped", r, want)
		}
	}
}

// Every single bit of every signature counts, of the witnesses that the quorum could do
// without too.
func TestEveryBitOfEverySignature(t *testing.T) {
	w := newWorld(nil)
	r := w.request()
	good := must(proof.Parse(r.Bundle))
	note := must(checkpoint.ParseNote(good.Checkpoint))
	if len(note.Signatures) != 4 {
		t.Fatalf("%d signatures", len(note.Signatures))
	}
	for i := range note.Signatures {
		blob := note.Signatures[i].Blob
		for bit := range 8 * len(blob) {
			blob[bit/8] ^= 1 << (bit % 8)
			good.Checkpoint = note.Marshal()
			r.Bundle = must(good.Marshal())
			wantOutcome(t, note.Signatures[i].Name, r, InvalidProof)
			blob[bit/8] ^= 1 << (bit % 8)
		}
		// A key id that is nobody's makes the line nobody's.
		want := []Outcome{InvalidProof, PolicyUnmet, PolicyUnmet, PolicyUnmet}[i]
		strict := r
		strict.Policy = w.policy(allOf3)
		for bit := range 32 {
			note.Signatures[i].KeyID ^= 1 << bit
			good.Checkpoint = note.Marshal()
			strict.Bundle = must(good.Marshal())
			wantOutcome(t, note.Signatures[i].Name+" with another key id", strict, want)
			note.Signatures[i].KeyID ^= 1 << bit
		}
	}
}

// Every bit of entry, index and hashes counts.
func TestEveryBitOfTheProof(t *testing.T) {
	w := newWorld(nil)
	r := w.request()
	flip := func(change func(p *proof.Bundle)) {
		t.Helper()
		bad := r
		bad.Bundle = edit(r.Bundle, change)
		wantOutcome(t, "flipped", bad, InvalidProof)
	}
	good := must(proof.Parse(r.Bundle))
	for bit := range 8 * len(good.Entry) {
		flip(func(p *proof.Bundle) { p.Entry[bit/8] ^= 1 << (bit % 8) })
	}
	for bit := range 8 * tree.HashSize * len(good.Hashes) {
		flip(func(p *proof.Bundle) { p.Hashes[bit/8/tree.HashSize][bit/8%tree.HashSize] ^= 1 << (bit % 8) })
	}
	for bit := range 63 {
		flip(func(p *proof.Bundle) { p.Index ^= 1 << bit })
	}
	for i := range iEnd {
		if i != iGood {
			flip(func(p *proof.Bundle) { p.Index = uint64(i) })
		}
	}
}
