package verify

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
)

// checkEvidence checks that e is true, says so, and survives being written and read.
func checkEvidence(t *testing.T, name string, p *checkpoint.Policy, e *Evidence, kind EvidenceKind) {
	t.Helper()
	if e == nil {
		t.Errorf("%s: no evidence", name)
		return
	}
	if err := e.Check(p); err != nil || e.Kind() != kind || e.Origin() != origin {
		t.Errorf("%s: %v evidence about %s, %v", name, e.Kind(), e.Origin(), err)
	}
	text := e.Marshal()
	back, err := ParseEvidence(text)
	if err != nil || !bytes.Equal(back.Marshal(), text) || back.Check(p) != nil || back.String() != e.String() {
		t.Errorf("%s: read again it is %v, %v", name, back, err)
	}
	// It convinces nobody who has another log's key, or none.
	other := must(checkpoint.NewPolicy(checkpoint.PolicyLog{Key: key(checkpoint.Ed25519, origin, 77).Verifier()}))
	for _, p := range []*checkpoint.Policy{nil, other} {
		if err := e.Check(p); !errors.Is(err, ErrNoContradiction) {
			t.Errorf("%s: under another policy: %v", name, err)
		}
	}
}

func TestContradiction(t *testing.T) {
	w, f := newWorld(nil), fork()
	p := w.policy(twoOf3)
	a, b := w.note(iEnd, signed, w.log), f.note(iEnd, signed, w.log)
	other := fork()
	other.log = key(checkpoint.Ed25519, "other.example", 1)
	stranger := key(checkpoint.Ed25519, origin, 99)

	for name, notes := range map[string][2][]byte{
		"two roots":                     {a, b},
		"in the other order":            {b, a},
		"by the log's two keys":         {a, f.note(iEnd, signed, w.logPQ)},
		"with cosignatures":             {w.note(iEnd, signed, w.all()...), f.note(iEnd, now, w.all()...)},
		"a damaged witness line":        {a, damageLastLine(f.note(iEnd, now, w.log, w.w[0]))},
		"a damaged second line by it":   {a, damageLastLine(f.note(iEnd, now, w.log, w.logPQ))},
		"a line by an unknown log key":  {a, f.note(iEnd, now, stranger, w.log)},
		"trees of one entry":            {w.note(1, signed, w.log), f.note(1, signed, w.log)},
		"different times of signatures": {w.note(iEnd, now, w.logPQ), f.note(iEnd, signed, w.logPQ)},
	} {
		checkEvidence(t, name, p, Contradiction(p, notes[0], notes[1]), Roots)
	}
	for name, notes := range map[string][2][]byte{
		"the same note":            {a, a},
		"the same tree":            {a, w.note(iEnd, now, w.logPQ)},
		"different sizes":          {a, f.note(iEnd-1, signed, w.log)},
		"two logs":                 {a, other.note(iEnd, signed, other.log)},
		"one unsigned":             {a, f.note(iEnd, signed, w.w...)},
		"one by a stranger":        {a, f.note(iEnd, signed, stranger)},
		"one with a bad signature": {a, damageLastLine(b)},
		"no note":                  {a, nil},
		"bundles":                  {w.bundle(iGood), f.bundle(iGood)},
	} {
		if e := Contradiction(p, notes[0], notes[1]); e != nil {
			t.Errorf("%s: %v", name, e)
		}
		if e := Contradiction(p, notes[1], notes[0]); e != nil {
			t.Errorf("%s, in the other order: %v", name, e)
		}
	}
	// In a policy of two logs, one's key does not speak for the other. Ed25519 keys refuse to
	// sign another origin's checkpoint; ML-DSA keys do sign.
	neighbour := key(checkpoint.MLDSA44, "neighbour.example", 5)
	two := must(checkpoint.ParsePolicy([]byte("log " + neighbour.Verifier().String() + "\n" + w.policy(none).String())))
	if e := Contradiction(two, a, f.note(iEnd, signed, neighbour)); e != nil {
		t.Errorf("signed by the other log of the policy: %v", e)
	}
	checkEvidence(t, "signed by both logs", two, Contradiction(two, a, f.note(iEnd, signed, neighbour, w.log)), Roots)
	nw := newWorld(nil)
	nw.log = neighbour
	if e := Contradiction(two, b, nw.note(iEnd, signed, neighbour)); e != nil {
		t.Errorf("one statement by each log: %v", e)
	}
	if e := Contradiction(nil, a, b); e != nil {
		t.Errorf("without a policy: %v", e)
	}
}

func TestEntryContradiction(t *testing.T) {
	w, f := newWorld(nil), fork()
	p := w.policy(twoOf3)
	good, forged := w.bundle(iGood), f.bundleAt(iGood, 5, f.note(5, signed, w.log))
	checkEvidence(t, "different sizes", p, EntryContradiction(p, good, forged), Entries)
	checkEvidence(t, "the other order", p, EntryContradiction(p, forged, good), Entries)
	checkEvidence(t, "the same size", p, EntryContradiction(p, good, f.bundle(iGood)), Entries)
	for name, bundle := range map[string][]byte{
		"the same bundle":           good,
		"the same entry":            w.bundleAt(iGood, 5, w.note(5, signed, w.log)),
		"the same entry in a fork":  f.bundle(iIndex),
		"another index":             f.bundleAt(iOther, 5, f.note(5, signed, w.log)),
		"a broken proof":            breakProof(forged),
		"no entry":                  edit(forged, func(b *proof.Bundle) { b.Entry = nil }),
		"unsigned":                  damageBundle(forged),
		"another tree's checkpoint": edit(forged, func(b *proof.Bundle) { b.Checkpoint = w.note(5, signed, w.log) }),
		"a note":                    f.note(5, signed, w.log),
	} {
		if e := EntryContradiction(p, good, bundle); e != nil {
			t.Errorf("%s: %v", name, e)
		}
	}
}

// The log forked at its first entry, and remembers only one side. For each pair of
// sizes its honest proof to the newer tree convicts it of the older root that it signed,
// by itself where that proof says which root it has instead.
func TestPrefixContradictionExhaustive(t *testing.T) {
	w, f := newWorld(nil), fork()
	p := w.policy(twoOf3)
	for n := 2; n <= iEnd; n++ {
		newer := w.note(n, signed, w.log)
		for m := 1; m < n; m++ {
			older, hashes := f.note(m, signed, w.log), w.consistency(m, n)
			full := hashes
			if m&(m-1) == 0 {
				if e := PrefixContradiction(p, older, newer, hashes); e != nil {
					t.Errorf("%d, %d: a proof that says nothing of the old root is evidence: %v", m, n, e)
				}
				full = append([]tree.Hash{w.root(m)}, hashes...)
			}
			checkEvidence(t, "prefix", p, PrefixContradiction(p, older, newer, full), Prefix)

			// An honest log is not convicted: by its own proof, or by whatever else is made of it.
			honest := w.note(m, signed, w.log)
			for i := range full {
				bad := slices.Clone(full)
				bad[i][0] ^= 1
				for _, old := range [][]byte{honest, older} {
					if e := PrefixContradiction(p, old, newer, bad); e != nil {
						t.Errorf("%d, %d, hash %d changed: %v", m, n, i, e)
					}
				}
			}
			for name, e := range map[string]*Evidence{
				"honest":             PrefixContradiction(p, honest, newer, full),
				"no hashes":          PrefixContradiction(p, older, newer, nil),
				"a hash too many":    PrefixContradiction(p, older, newer, append(slices.Clone(full), tree.Hash{})),
				"in the wrong order": PrefixContradiction(p, newer, older, full),
				"old one unsigned":   PrefixContradiction(p, f.note(m, signed, w.w...), newer, full),
				"new one unsigned":   PrefixContradiction(p, older, w.note(n, signed, w.w...), full),
				"junk":               PrefixContradiction(p, older, []byte("junk\n"), full),
			} {
				if e != nil {
					t.Errorf("%d, %d, %s: %v", m, n, name, e)
				}
			}
		}
	}
}

// The text is read by people and by other programs: it does not change.
func TestEvidenceText(t *testing.T) {
	w, f := newWorld(nil), fork()
	p := w.policy(none)
	quote := func(b []byte) string {
		return "| " + strings.TrimSuffix(strings.ReplaceAll(string(b), "\n", "\n| "), "| ")
	}
	a, b := w.note(3, signed, w.log), f.note(3, signed, w.log)
	want := "pauselog-evidence/v1\nkind roots\nnote\n" + quote(a) + "note\n" + quote(b)
	if got := string(Contradiction(p, a, b).Marshal()); got != want || !strings.Contains(got, "\n| \n| — log.example/pause ") {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	newer, hashes := w.note(5, signed, w.log), w.consistency(3, 5)
	e := PrefixContradiction(p, b, newer, hashes)
	want = "pauselog-evidence/v1\nkind prefix\nnote\n" + quote(b) + "note\n" + quote(newer) + "prefix " + w.root(3).String() + "\n"
	for _, h := range hashes {
		want += "hash " + h.String() + "\n"
	}
	if got := string(e.Marshal()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got, want := e.String(), "log.example/pause signed root "+f.root(3).String()+" for size 3, and a tree of size 5 whose first 3 entries have root "+w.root(3).String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Two roots of one size are evidence in one form only.
func TestPrefixOfTheSameSize(t *testing.T) {
	w, f := newWorld(nil), fork()
	e := &Evidence{kind: Prefix, prefix: w.root(3)}
	e.first.text, e.second.text = f.note(3, signed, w.log), w.note(3, signed, w.log)
	e, err := ParseEvidence(e.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Check(w.policy(none)); !errors.Is(err, ErrNoContradiction) {
		t.Errorf("Check: %v", err)
	}
}

func TestParseEvidenceRefuses(t *testing.T) {
	w, f := newWorld(nil), fork()
	p := w.policy(none)
	roots := string(Contradiction(p, w.note(3, signed, w.log), f.note(3, signed, w.log)).Marshal())
	prefix := string(PrefixContradiction(p, f.note(3, signed, w.log), w.note(5, signed, w.log), w.consistency(3, 5)).Marshal())
	line := "prefix " + w.root(3).String() + "\n"
	for name, text := range map[string]string{
		"nothing":              "",
		"a later version":      strings.Replace(roots, "/v1", "/v2", 1),
		"CRLF":                 strings.ReplaceAll(roots, "\n", "\r\n"),
		"an unknown kind":      strings.Replace(roots, "kind roots", "kind root", 1),
		"no kind":              strings.Replace(roots, "kind roots\n", "", 1),
		"another kind":         strings.Replace(roots, "kind roots", "kind entries", 1),
		"a kind with more":     strings.Replace(roots, "kind roots", "kind prefix", 1),
		"a kind with less":     strings.Replace(prefix, "kind prefix", "kind roots", 1),
		"one note":             roots[:strings.LastIndex(roots, "note\n")],
		"three notes":          roots + roots[strings.LastIndex(roots, "note\n"):],
		"something after":      roots + "\n",
		"the end is missing":   roots[:len(roots)-1],
		"trimmed empty line":   strings.Replace(roots, "\n| \n", "\n|\n", 1),
		"a line not quoted":    strings.Replace(roots, "\n| 3\n", "\n3\n", 1),
		"no checkpoint":        strings.Replace(roots, "\n| 3\n", "\n| 03\n", 1),
		"an empty note":        "pauselog-evidence/v1\nkind roots\nnote\nnote\n",
		"no prefix":            strings.Replace(prefix, line, "", 1),
		"two prefixes":         strings.Replace(prefix, line, line+line, 1),
		"prefix not base64":    strings.Replace(prefix, line, "prefix "+strings.Repeat("-", 44)+"\n", 1),
		"prefix too short":     strings.Replace(prefix, line, "prefix AAAA\n", 1),
		"prefix not canonical": strings.Replace(prefix, line, "prefix "+strings.Repeat("A", 42)+"B=\n", 1),
		"a space more":         strings.Replace(prefix, "hash ", "hash  ", 1),
		"64 hashes":            prefix + strings.Repeat("hash "+w.root(3).String()+"\n", 64),
		"too long":             roots + strings.Repeat(" ", MaxEvidence),
	} {
		if e, err := ParseEvidence([]byte(text)); e != nil || !errors.Is(err, ErrEvidence) {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
	for n := range prefix {
		e, err := ParseEvidence([]byte(prefix[:n]))
		// Cut between its hashes it is a text, of a proof that proves nothing.
		if err == nil && e.Check(p) == nil {
			t.Errorf("cut at %d it is evidence still", n)
		}
	}
}

// The largest statements that can be had fit into a file.
func TestLargestEvidence(t *testing.T) {
	w, f := newWorld(nil), fork()
	p := w.policy(none)
	large := func(w *world) []byte {
		return editNote(w.bundleBy(iGood, w.log), func(n *checkpoint.Note) {
			for i := range 63 {
				n.Signatures = append(n.Signatures, checkpoint.Signature{Name: strings.Repeat("n", 200), KeyID: uint32(i), Blob: make([]byte, 1300)})
			}
		})
	}
	checkEvidence(t, "large", p, EntryContradiction(p, large(w), large(f)), Entries)
	// What cannot be written down so that others read it is no evidence.
	if e := checked(p, &Evidence{kind: Roots}, append(w.note(3, signed, w.log), make([]byte, checkpoint.MaxNoteSize)...), f.note(3, signed, w.log)); e != nil {
		t.Errorf("an oversized note: %v", e)
	}
}
