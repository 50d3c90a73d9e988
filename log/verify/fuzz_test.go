package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/proof"
)

// Whatever bytes are handed over as a bundle: there is one outcome, and it is Verified only
// for the entry that the log has of this path, under a checkpoint that its quorum signed.
func FuzzVerify(f *testing.F) {
	w := newWorld(nil)
	for i := range iEnd {
		f.Add(w.bundle(i))
	}
	good := w.request()
	f.Add(w.bundleBy(iGood, w.log))
	f.Add(w.bundleBy(iGood, w.all()[:3]...))
	f.Add(breakProof(good.Bundle))
	f.Add(fork().bundle(iIndex))
	f.Add(bytes.Replace(good.Bundle, []byte("@v1"), []byte("@v2"), 1))
	good.Known = [][]byte{w.note(iEnd, signed, w.log)}
	good.Revocation = w.bundle(iVoid)
	f.Fuzz(func(t *testing.T, bundle []byte) {
		r := good
		r.Bundle = bundle
		if bundle == nil {
			r.Bundle = []byte{}
		}
		res := Verify(r)
		switch res.Outcome {
		case Verified:
			p, err := proof.Parse(bundle)
			if err != nil {
				t.Fatal(err)
			}
			o, err := r.Policy.Open(p.Checkpoint)
			if err != nil || o.Root != w.root(int(o.Size)) {
				t.Fatalf("verified under %q: %v", p.Checkpoint, err)
			}
			if (p.Index != iGood && p.Index != iRestored) || !bytes.Equal(p.Entry, w.entries[p.Index]) {
				t.Fatalf("verified by entry %d: %q", p.Index, p.Entry)
			}
		case InvalidProof, PolicyUnmet, Upgrade, Misbehaviour:
		default:
			t.Fatalf("%v\n%s", res.Outcome, res.Explain())
		}
		if _, err := json.Marshal(res); err != nil {
			t.Fatal(err)
		}
		res.Explain()

		// The same bytes as a revocation never revoke, since no void of this path exists.
		r.Bundle, r.Revocation = good.Bundle, r.Bundle
		if res := Verify(r); res.Outcome != Verified && res.Outcome != Misbehaviour {
			t.Fatalf("as a revocation: %v\n%s", res.Outcome, res.Explain())
		}
	})
}

// What is read is written again to the same bytes; and what an honest log signed makes
// evidence only together with what a forked one did.
func FuzzParseEvidence(f *testing.F) {
	w, fw := newWorld(nil), fork()
	p := w.policy(twoOf3)
	f.Add(Contradiction(p, w.note(3, signed, w.log), fw.note(3, signed, w.log)).Marshal())
	f.Add(EntryContradiction(p, w.bundle(iGood), fw.bundle(iGood)).Marshal())
	f.Add(PrefixContradiction(p, fw.note(3, signed, w.log), w.note(5, signed, w.log), w.consistency(3, 5)).Marshal())
	honest := &Evidence{kind: Prefix, hashes: w.consistency(3, 5)}
	honest.first.text, honest.second.text, honest.prefix = w.note(3, signed, w.log), w.note(5, signed, w.log), w.root(3)
	f.Add(honest.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEvidence(b)
		if err != nil {
			if e != nil || !errors.Is(err, ErrEvidence) {
				t.Fatalf("%v, %v", e, err)
			}
			return
		}
		if got := e.Marshal(); !bytes.Equal(got, b) {
			t.Fatalf("%q written again is %q", b, got)
		}
		_ = e.String()
		if err := e.Check(p); err != nil {
			if !errors.Is(err, ErrNoContradiction) {
				t.Fatal(err)
			}
			return
		}
		// Signed by the log: then both are trees that the keys here have signed, one of
		// each world.
		of := func(c checkpoint.Checkpoint) (honest, forked bool) {
			return c.Root == w.root(int(c.Size)), c.Root == fw.root(int(c.Size))
		}
		aw, af := of(e.first.checkpoint)
		bw, bf := of(e.second.checkpoint)
		if !(aw && bf) && !(af && bw) {
			t.Fatalf("evidence of %v and %v", e.first.checkpoint, e.second.checkpoint)
		}
	})
}

// One offline verification with a quorum of three Ed25519 cosignatures.
func BenchmarkVerify(b *testing.B) {
	w := newWorld(nil)
	r := w.request()
	r.Policy = w.policy(allOf3)
	r.Known = [][]byte{w.note(5, signed, w.all()...)}
	b.ReportAllocs()
	for b.Loop() {
		if res := Verify(r); res.Outcome != Verified {
			b.Fatal(res.Explain())
		}
	}
}
