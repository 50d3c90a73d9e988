package verify

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/proof"
)

// Everything that can be wrong with a request, each alone and in every combination: 2,048
// requests, and the outcome of each is the first that holds, in the order of precedence.
func TestEveryCombinationOfDefects(t *testing.T) {
	w := newWorld(nil)
	forked := fork()
	policy := w.policy(twoOf3)
	const (
		noPath = 1 << iota
		noTime
		forkKnown
		broken
		noQuorum
		later
		otherSize
		void
		old
		absences // and the two bits from here on say which
		end      = absences << 2
	)
	// What is wrong with the proof takes turns among combinations. The last two are only seen
	// in an entry that can be read.
	breaks := []func(index int, note []byte) []byte{
		func(i int, note []byte) []byte { return breakProof(w.bundleAt(i, iEnd, note)) },
		func(i int, note []byte) []byte {
			return edit(w.bundleAt(i, iEnd, note), func(p *proof.Bundle) { p.Index++ })
		},
		func(i int, note []byte) []byte {
			return edit(w.bundleAt(i, iEnd, note), func(p *proof.Bundle) { p.Entry = nil })
		},
		func(_ int, note []byte) []byte { return w.bundleAt(iMalformed, iEnd, note) },
		func(_ int, note []byte) []byte { return w.bundleAt(iVoid, iEnd, note) },
	}
	revocation := w.bundle(iVoid)
	forkNote, ownNote := forked.note(iEnd, signed, w.log), w.note(iEnd, signed, w.log)
	bundles := make(map[[2]int][]byte)

	n := 0
	for d := range end {
		absence := d / absences
		has := func(bits int) bool { return d&bits != 0 }
		r := Request{Policy: policy, Path: voidedPath, SHA256: digest(voidedFile), Size: uint64(len(voidedFile)), Now: now}
		var holds []Outcome
		add := func(o Outcome, yes bool) {
			if yes {
				holds = append(holds, o)
			}
		}
		if has(noPath) {
			r.Path = ""
		}
		add(Usage, has(noPath))
		if has(noTime) {
			r.Now, r.MaxIndexAge = time.Time{}, time.Hour
		}
		add(Error, has(noTime))
		if has(forkKnown) {
			r.Known = [][]byte{ownNote, forkNote}
		}
		add(Misbehaviour, has(forkKnown))
		if has(otherSize) {
			r.Size++
		}
		if has(void) {
			r.Revocation = revocation
		}
		if has(old) {
			r.MaxAge = time.Second
		}
		if absence > 0 {
			// What would be wrong with a bundle is not, without one.
			r.Absence = Absence(absence - 1)
			holds = append(holds, []Outcome{Unverifiable, NotLogged, Pending}[absence-1])
		} else {
			index := iVoided
			if has(later) {
				index = iVersion2
			}
			signers := w.all()
			if has(noQuorum) {
				signers = signers[:2]
			}
			kind := -1
			if has(broken) {
				if kind = n % len(breaks); has(noPath) {
					kind = n % 3
				}
				n++
			}
			key := [2]int{d & (noQuorum | later), kind}
			if bundles[key] == nil {
				note := w.note(iEnd, signed, signers...)
				if kind < 0 {
					bundles[key] = w.bundleAt(index, iEnd, note)
				} else {
					bundles[key] = breaks[kind](index, note)
				}
			}
			r.Bundle = bundles[key]
			add(InvalidProof, has(broken))
			add(PolicyUnmet, has(noQuorum))
			add(Upgrade, has(later))
			add(Mismatch, has(otherSize))
			add(Stale, has(old))
		}
		add(Revoked, has(void))
		add(Verified, true)

		order := Precedence()
		want := slices.MinFunc(holds, func(a, b Outcome) int { return slices.Index(order, a) - slices.Index(order, b) })
		res := Verify(r)
		if res.Outcome != want {
			t.Fatalf("defects %012b: %v of %v, want %v\n%s", d, res.Outcome, holds, want, res.Explain())
		}
		// Evidence is not lost behind a bad flag.
		if (res.Evidence != nil) != has(forkKnown) {
			t.Fatalf("defects %012b: evidence %v", d, res.Evidence)
		}
	}
}

// Limits and quorum aside, the verdict does not depend on what else the policy lists.
func TestSameOutcomeUnderEqualPolicies(t *testing.T) {
	w := newWorld(nil)
	for _, lines := range []string{twoOf3, allOf3, nestedOf, none, "group one any w1\nquorum one\n", "quorum w2\n"} {
		r := w.request()
		r.Policy = w.policy(lines)
		wantOutcome(t, strings.TrimSpace(lines), r, Verified)
		r.Policy = must(checkpoint.ParsePolicy([]byte(r.Policy.String())))
		wantOutcome(t, "again: "+strings.TrimSpace(lines), r, Verified)
	}
}
