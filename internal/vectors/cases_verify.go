package main

import (
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// verifying is each outcome, and the edges of what leads to it.
func (g *generator) verifying() {
	add := func(name, word string, change func(*Vector)) { g.add(name, word, g.good(change)) }

	add("all is well", "verified", nil)
	add("every upload of the same bytes verifies", "verified", func(v *Vector) { v.Bundle = g.proven(iRestored) })
	add("an older checkpoint", "verified", func(v *Vector) {
		v.Bundle = g.bundleAt(iGood, 3, g.lines(g.text(3), signed, g.w...)...)
	})
	add("a log of one entry", "verified", func(v *Vector) {
		v.Path, v.File = otherPath, otherFile
		v.Bundle = g.bundleAt(iOther, 1, g.lines(g.text(1), signed, g.w...)...)
	})
	add("any path, and no path", "verified", func(v *Vector) { v.Path, v.AnyPath = "", true })
	add("any path does nothing next to a path", "invalid-proof", func(v *Vector) { v.Path, v.AnyPath = otherPath, true })
	add("an index", "verified", func(v *Vector) { v.Path, v.File, v.Bundle = indexPath, indexFile, g.proven(iIndex) })
	add("the time is not needed without limits", "verified", func(v *Vector) { v.Now = nil })

	add("no path", "usage", func(v *Vector) { v.Path = "" })
	add("no path and no proof", "usage", func(v *Vector) { v.Path, v.Bundle = "", nil })
	for _, path := range []string{
		"Try-Tiny-0.31.tar.gz", "/" + goodPath, "./" + goodPath, goodPath + "/", "authors/id/E/ET/ETHER", "authors/id/E/ET/ETHER/",
		"authors/id/E/EX/ETHER/Try-Tiny-0.31.tar.gz", "authors/id/X/ET/ETHER/Try-Tiny-0.31.tar.gz", "authors/id/e/et/ether/Try-Tiny-0.31.tar.gz",
		"authors/id/E/ET/ETHER/../ETHER/Try-Tiny-0.31.tar.gz", "authors/id/E/ET/ETHER//Try-Tiny-0.31.tar.gz", "authors/id/E/ET/ETHER/./x.tar.gz",
		"authors/id/E/ET/ETHER/a b.tar.gz", "authors/id/E/ET/ETHER/a\nb.tar.gz", "authors/id/E/ET/ETHER/é.tar.gz", "authors/id/E/ET/ETHER/a\x7f.tar.gz",
		"authors/id/E/ET/ETHERETHERETHER/x.tar.gz", "authors/id/E/E/E/x.tar.gz", "authors/id/1/12/12A/x.tar.gz", "authors/id/E/ET/ET_ER/x.tar.gz",
		"modules/", "modules/by-module/x", "module/02packages.details.txt", "02packages.details.txt.gz", "modules/..",
		"authors/id/E/ET/ETHER/" + strings.Repeat("x", 491), "authors", "authors/id", " " + goodPath, goodPath + "\n",
	} {
		word := "usage"
		if path == "authors/id" {
			word = "invalid-proof" // an index could be named so, and the bundle is of another path
		}
		add(fmt.Sprintf("the path %.80q", path), word, func(v *Vector) { v.Path = path })
	}
	add("the longest path", "unverifiable", func(v *Vector) {
		v.Path, v.Bundle = "authors/id/E/ET/ETHER/"+strings.Repeat("x", 490), nil
	})

	add("a limit and no time", "error", func(v *Vector) { v.Now, v.MaxAge = nil, 3600 })
	add("a limit on indexes and no time", "error", func(v *Vector) { v.Now, v.MaxIndexAge = nil, 3600 })

	add("other bytes", "mismatch", func(v *Vector) { v.File = append([]byte("x"), goodFile[1:]...) })
	add("cut short", "mismatch", func(v *Vector) { v.File = goodFile[:10] })
	add("nothing at all", "mismatch", func(v *Vector) { v.File = nil })
	add("longer", "mismatch", func(v *Vector) { v.File = append(append([]byte{}, goodFile...), "more"...) })
	add("another file's bytes", "mismatch", func(v *Vector) { v.File = otherFile })
	add("any path, and other bytes", "mismatch", func(v *Vector) { v.Path, v.AnyPath, v.File = "", true, otherFile })
	add("an index with other bytes", "mismatch", func(v *Vector) { v.Path, v.File, v.Bundle = indexPath, otherFile, g.proven(iIndex) })

	add("the log says that it is not logged", "not-logged", func(v *Vector) { v.Path, v.Bundle, v.Absence = unloggedOne, nil, "not-logged" })
	add("what is never logged is not", "not-logged", func(v *Vector) {
		v.Path, v.Bundle, v.Absence = "authors/id/E/ET/ETHER/Try-Tiny-0.31.readme", nil, "not-logged"
	})
	add("the log says that it is not published", "pending", func(v *Vector) { v.Bundle, v.Absence = nil, "pending" })
	add("no proof", "unverifiable", func(v *Vector) { v.Bundle = nil })
	add("any path, and no proof", "unverifiable", func(v *Vector) { v.Path, v.AnyPath, v.Bundle = "", true, nil })

	add("the bundle of another path", "invalid-proof", func(v *Vector) { v.Bundle = g.proven(iOther) })
	add("a delete entry proves nothing", "invalid-proof", func(v *Vector) { v.Bundle = g.proven(iDelete) })
	add("a conflict entry proves nothing", "invalid-proof", func(v *Vector) { v.Bundle = g.proven(iConflict) })
	add("a void entry proves nothing", "invalid-proof", func(v *Vector) {
		v.Path, v.File, v.Bundle = voidedPath, voidedFile, g.proven(iVoid)
	})
	add("a delete entry proves nothing for any path", "invalid-proof", func(v *Vector) { v.Path, v.AnyPath, v.Bundle = "", true, g.proven(iDelete) })
	add("an entry of a later version", "upgrade", func(v *Vector) { v.Bundle = g.proven(iVersion2) })
	add("an entry of a later kind", "upgrade", func(v *Vector) { v.Bundle = g.proven(iKind) })

	voided := func(change func(*Vector)) func(*Vector) {
		return func(v *Vector) {
			v.Path, v.File, v.Bundle, v.Revocation = voidedPath, voidedFile, g.proven(iVoided), g.proven(iVoid)
			if change != nil {
				change(v)
			}
		}
	}
	add("voided", "revoked", voided(nil))
	add("voided, and nobody says so", "verified", voided(func(v *Vector) { v.Revocation = nil }))
	add("voided, and no bundle", "revoked", voided(func(v *Vector) { v.Bundle = nil }))
	add("voided, and the log says that it is not logged", "revoked", voided(func(v *Vector) { v.Bundle, v.Absence = nil, "not-logged" }))
	add("voided before it was logged again", "verified", voided(func(v *Vector) { v.Bundle = g.proven(iRelogged) }))
	add("a void of another path", "verified", voided(func(v *Vector) { v.Revocation = g.proven(iVoidOther) }))
	add("a void of other bytes", "mismatch", voided(func(v *Vector) { v.File = otherFile }))
	add("a void that is no void", "verified", voided(func(v *Vector) { v.Revocation = g.proven(iRelogged) }))
	add("a void that is not proven", "verified", voided(func(v *Vector) { v.Revocation = g.bundle(iVoid, g.lines(g.text(iEnd), signed)...) }))
	add("a void that is malformed", "verified", voided(func(v *Vector) { v.Revocation = []byte("no bundle\n") }))
	add("a void of the other upload with another digest", "verified", func(v *Vector) {
		v.Path, v.File, v.Bundle, v.Revocation = otherPath, otherFile, g.proven(iOther), g.proven(iVoidOther)
	})

	add("deleted since", "verified", func(v *Vector) { v.Deletion = g.proven(iDelete) })
	add("deleted before it came back", "verified", func(v *Vector) { v.Bundle, v.Deletion = g.proven(iRestored), g.proven(iDelete) })
	add("a deletion that is malformed", "verified", func(v *Vector) { v.Deletion = []byte{0} })

	g.ages()
	g.histories()
}

func (g *generator) ages() {
	age := now.Unix() - signed.Unix()
	add := func(name, word string, change func(*Vector)) { g.add(name, word, g.good(change)) }
	add("a checkpoint just young enough", "verified", func(v *Vector) { v.MaxAge = age })
	add("a checkpoint a second too old", "stale", func(v *Vector) { v.MaxAge = age - 1 })
	add("a checkpoint of the near future", "verified", func(v *Vector) { v.Now, v.MaxAge = seconds(signed.Unix()-600), 1 })
	add("a checkpoint of the future", "stale", func(v *Vector) { v.Now, v.MaxAge = seconds(signed.Unix()-601), 1 })
	add("a clock before 1970", "stale", func(v *Vector) { v.Now, v.MaxAge = seconds(-1), 3600 })
	add("the log's Ed25519 signature has no time", "stale", func(v *Vector) { v.Policy, v.MaxAge = g.policy(none), 1<<32 })
	text := g.text(iEnd)
	fresh, old := signed.Add(50*time.Minute), signed
	mixed := g.bundle(iGood, g.log1.line(text, 0), g.w[0].line(text, at(fresh)), g.w[1].line(text, at(old)), g.w[2].line(text, at(fresh)))
	for _, c := range []struct{ name, lines, word string }{
		{"one", oneOf3, "verified"}, {"two", twoOf3, "verified"}, {"all", allOf3, "stale"}, {"nested", nestedOf, "verified"},
	} {
		add("one old cosignature of three, quorum "+c.name, c.word, func(v *Vector) {
			v.Policy, v.MaxAge, v.Bundle = g.policy(c.lines), 1800, mixed
		})
	}
	for _, t := range []uint64{1<<63 - 1, 1 << 53, 253402300800, 999_999_999_999_999, 1_000_000_000_000_000} {
		far := g.bundle(iGood, g.log1.line(text, 0), g.w[0].line(text, t), g.w[1].line(text, t))
		add(fmt.Sprintf("cosignatures of the time %d", t), "verified", func(v *Vector) { v.Bundle = far })
		add(fmt.Sprintf("cosignatures of the time %d, with a limit", t), "stale", func(v *Vector) { v.Bundle, v.MaxAge = far, 1<<32 })
	}

	index := func(change func(*Vector)) func(*Vector) {
		return func(v *Vector) {
			v.Path, v.File, v.Bundle = indexPath, indexFile, g.proven(iIndex)
			change(v)
		}
	}
	add("an index just young enough", "verified", index(func(v *Vector) { v.MaxIndexAge = 3600 }))
	add("an index a second too old", "stale", index(func(v *Vector) { v.MaxIndexAge = 3599 }))
	add("an index of the near future", "verified", index(func(v *Vector) { v.Now, v.MaxIndexAge = seconds(logged.Unix()-600), 1 }))
	add("an index of the future", "stale", index(func(v *Vector) { v.Now, v.MaxIndexAge = seconds(logged.Unix()-601), 1 }))
	add("an old index without a limit", "verified", index(func(v *Vector) { v.Now = seconds(logged.Unix() + 30*86400) }))
	add("an index that is too old in two ways", "stale", index(func(v *Vector) { v.MaxAge, v.MaxIndexAge = 1, 1 }))
	add("a limit on indexes is none on archives", "verified", func(v *Vector) { v.MaxIndexAge = 1 })
}

func (g *generator) histories() {
	fork := g.fork()
	add := func(name, word string, change func(*Vector)) { g.add(name, word, g.good(change)) }
	own, forked := noteOf(g.text(iEnd), g.log1.line(g.text(iEnd), 0)), noteOf(fork.text(iEnd), g.log1.line(fork.text(iEnd), 0))
	unsigned := noteOf(fork.text(iEnd), g.w[0].line(fork.text(iEnd), at(signed)))
	damaged := noteOf(fork.text(iEnd), g.log1.line(g.text(iEnd), 0))
	badNeighbour := noteOf(fork.text(iEnd), g.log1.line(fork.text(iEnd), 0), g.w[0].line(g.text(iEnd), at(signed)))
	known := func(notes ...string) []Bytes {
		var k []Bytes
		for _, n := range notes {
			k = append(k, Bytes(n))
		}
		return k
	}
	add("the same checkpoint remembered", "verified", func(v *Vector) { v.Known = known(own) })
	add("a smaller checkpoint remembered", "verified", func(v *Vector) { v.Known = known(noteOf(fork.text(3), g.log1.line(fork.text(3), 0))) })
	add("another root remembered", "misbehaviour", func(v *Vector) { v.Known = known(forked) })
	add("another root remembered, next to a damaged line", "misbehaviour", func(v *Vector) { v.Known = known(badNeighbour) })
	add("another root remembered that the log has not signed", "verified", func(v *Vector) { v.Known = known(unsigned) })
	add("another root remembered under a bad signature", "verified", func(v *Vector) { v.Known = known(damaged) })
	add("nonsense remembered", "verified", func(v *Vector) { v.Known = known("nonsense", "") })
	add("two contradictions remembered, and no bundle", "misbehaviour", func(v *Vector) { v.Bundle, v.Known = nil, known(own, forked) })
	add("two contradictions remembered, and a bad bundle", "misbehaviour", func(v *Vector) { v.Bundle, v.Known = []byte("bad\n"), known(forked, own) })
	add("two entries at one index", "misbehaviour", func(v *Vector) {
		text := fork.text(iEnd - 1)
		v.Deletion = fork.bundleAt(iGood, iEnd-1, g.lines(text, signed, g.w...)...)
	})
	add("a deletion from another tree of the same size", "misbehaviour", func(v *Vector) {
		v.Deletion = fork.bundle(iDelete, g.lines(fork.text(iEnd), signed, g.w...)...)
	})
	add("a deletion from another tree that the log has not signed", "verified", func(v *Vector) {
		v.Deletion = fork.bundle(iDelete, g.w[0].line(fork.text(iEnd), at(signed)))
	})
}

// quorums is every set of witnesses under every policy.
func (g *generator) quorums() {
	text := g.text(iEnd)
	for _, c := range []struct {
		name, lines string
		met         func(set uint) bool
	}{
		{"none", none, func(uint) bool { return true }},
		{"one of three", oneOf3, func(set uint) bool { return set != 0 }},
		{"two of three", twoOf3, func(set uint) bool { return bits.OnesCount(set) >= 2 }},
		{"all three", allOf3, func(set uint) bool { return set == 7 }},
		{"w2 and one of the others", nestedOf, func(set uint) bool { return set&4 != 0 && set&3 != 0 }},
		{"w1 alone", "quorum w1\n", func(set uint) bool { return set&2 != 0 }},
	} {
		for set := range uint(8) {
			var who []key
			for i, k := range g.w {
				if set>>i&1 == 1 {
					who = append(who, k)
				}
			}
			word := "policy"
			if c.met(set) {
				word = "verified"
			}
			g.add(fmt.Sprintf("quorum %s, witnesses %03b", c.name, set), word, g.good(func(v *Vector) {
				v.Policy, v.Bundle = g.policy(c.lines), g.bundle(iGood, g.lines(text, signed, who...)...)
			}))
		}
	}
}

// combinations is what happens when several things are wrong: the first in the order counts.
func (g *generator) combinations() {
	fork := g.fork()
	forked := []Bytes{Bytes(noteOf(fork.text(iEnd), g.log1.line(fork.text(iEnd), 0)))}
	text := g.text(iEnd)
	defects := []struct {
		word  string
		apply func(*Vector)
	}{
		{"usage", func(v *Vector) { v.Path = "" }},
		{"error", func(v *Vector) { v.Now, v.MaxIndexAge = nil, 1 }},
		{"misbehaviour", func(v *Vector) { v.Known = forked }},
		{"invalid-proof", func(v *Vector) {
			b := *v
			v.Bundle = g.bundleWith(iVoided, iEnd, noteOf(text, g.linesOf(b.Bundle)...))
			v.Bundle[len("c2sp.org/tlog-proof@v1\nextra ")+9] ^= 1
		}},
		{"policy", func(v *Vector) { v.Bundle = g.bundle(iVoided, g.lines(text, signed, g.w[0])...) }},
		{"mismatch", func(v *Vector) { v.File = goodFile }},
		{"revoked", func(v *Vector) { v.Revocation = g.proven(iVoid) }},
		{"stale", func(v *Vector) { v.MaxAge = 1 }},
	}
	order := []string{"usage", "error", "misbehaviour", "invalid-proof", "policy", "mismatch", "revoked", "stale"}
	for set := range uint(1) << len(defects) {
		// All pairs and triples, which is where an order can be wrong.
		if n := bits.OnesCount(set); n < 2 || n > 3 {
			continue
		}
		has := func(word string) bool {
			for i, d := range defects {
				if d.word == word {
					return set>>i&1 == 1
				}
			}
			return false
		}
		// Apply the quorum's defect before the proof's, which keeps its lines; without an
		// age there is nothing to be stale, and of other bytes nothing to revoke.
		v := g.good(func(v *Vector) { v.Path, v.File, v.Bundle = voidedPath, voidedFile, g.proven(iVoided) })
		var names []string
		for _, i := range []int{0, 2, 4, 3, 5, 6, 7, 1} {
			if set>>i&1 == 1 {
				defects[i].apply(&v)
			}
		}
		word := ""
		for _, w := range order {
			if has(w) {
				names = append(names, w)
				if word == "" {
					word = w
				}
			}
		}
		g.add("at once: "+strings.Join(names, ", "), word, v)
	}
}

// linesOf returns the signature lines of a bundle.
func (g *generator) linesOf(bundle []byte) []string {
	s := string(bundle)
	lines := strings.SplitAfter(s[strings.LastIndex(s, "\n\n")+2:], "\n")
	return lines[:len(lines)-1]
}

// postQuantum is where the answers of the two verifiers may differ.
func (g *generator) postQuantum() {
	text := g.text(iEnd)
	var b strings.Builder
	fmt.Fprintf(&b, "log %s\nlog %s\n", g.log1.Verifier(), g.logPQ.Verifier())
	for i := range 2 {
		fmt.Fprintf(&b, "witness w%d-ed %s\nwitness w%d-pq %s\ngroup w%d any w%d-ed w%d-pq\n", i, g.w[i].Verifier(), i, g.pq[i].Verifier(), i, i, i)
	}
	logs := b.String()
	both, alone := []byte(logs+"group both all w0 w1\nquorum both\n"), []byte(logs+"quorum none\n")
	t := at(signed)
	ed0, ed1 := g.w[0].line(text, t), g.w[1].line(text, t)
	pq0, pq1 := g.pq[0].line(text, t), g.pq[1].line(text, t)
	ed, pq := g.log1.line(text, 0), g.logPQ.line(text, t)
	add := func(name, goWord, perlWord string, policy []byte, change func(*Vector), lines ...string) {
		g.addBoth(name, goWord, perlWord, g.good(func(v *Vector) {
			v.Policy, v.Bundle = policy, g.bundle(iGood, lines...)
			if change != nil {
				change(v)
			}
		}))
	}
	other := func(v *Vector) { v.File = otherFile }
	limit := func(v *Vector) { v.MaxAge = 7200 }
	short := func(v *Vector) { v.MaxAge = 1 }
	add("both types of all", "verified", "verified", both, nil, ed, pq, ed0, pq0, ed1, pq1)
	add("ML-DSA besides", "verified", "verified", both, nil, ed, ed0, ed1, pq0)
	add("ML-DSA of the log besides", "verified", "verified", both, limit, pq, ed, ed0, ed1)
	add("ML-DSA of a witness in place of Ed25519", "verified", "upgrade", both, nil, ed, ed0, pq1)
	add("ML-DSA of a witness, and other bytes", "mismatch", "upgrade", both, other, ed, ed0, pq1)
	add("ML-DSA of a witness too few", "policy", "policy", both, nil, ed, ed0, pq0)
	add("ML-DSA of the log alone", "verified", "upgrade", both, nil, pq, ed0, ed1)
	add("ML-DSA of the log alone, and no quorum", "policy", "upgrade", both, nil, pq, ed0)
	add("ML-DSA of the log alone, and other bytes", "mismatch", "upgrade", both, other, pq, ed0, ed1)
	add("ML-DSA only", "verified", "upgrade", both, nil, pq, pq0, pq1)
	add("the log's ML-DSA signature says when", "verified", "upgrade", alone, limit, ed, pq)
	add("the log's ML-DSA signature says when, and other bytes", "mismatch", "mismatch", alone, func(v *Vector) { other(v); limit(v) }, ed, pq)
	add("the log's ML-DSA signature is too old", "stale", "stale", alone, short, ed, pq)
	add("the log's ML-DSA signature besides", "verified", "verified", alone, nil, ed, pq)
	add("the cosignature that is young enough is of ML-DSA", "verified", "upgrade", both, limit, ed, ed0, g.w[1].line(text, 1), pq1)
	add("a void that ML-DSA proves", "revoked", "upgrade", both, func(v *Vector) {
		v.Path, v.File = voidedPath, voidedFile
		v.Bundle, v.Revocation = g.bundle(iVoided, ed, ed0, ed1), g.bundle(iVoid, ed, ed0, pq1)
	})
	tampered := g.bundle(iGood, ed, ed0, ed1, pq0)
	changed := strings.Replace(string(tampered), pq0, flipBlob(pq0, 100), 1)
	add("a bad ML-DSA signature", "invalid-proof", "verified", both, func(v *Vector) { v.Bundle = []byte(changed) })
	add("an ML-DSA signature of time 0", "invalid-proof", "invalid-proof", both, nil, ed, ed0, ed1, setBlob(pq0, 0, make([]byte, 8)))
	add("an ML-DSA signature of a time over 2^63-1", "invalid-proof", "invalid-proof", both, nil, ed, ed0, ed1, setBlob(pq0, 0, []byte{0x80}))
	add("an ML-DSA signature a byte too short", "invalid-proof", "invalid-proof", both, nil, ed, ed0, ed1, cutBlob(pq0, 2427))
	add("an ML-DSA signature a byte too long", "invalid-proof", "invalid-proof", both, nil, ed, ed0, ed1, cutBlob(pq0, 2429))
	add("an ML-DSA key that the policy does not list", "verified", "verified", both, nil, ed, ed0, ed1, g.pq[2].line(text, t))
	fork := g.fork()
	forkText := fork.text(iEnd)
	add("another root that only ML-DSA signed", "misbehaviour", "verified", both, func(v *Vector) {
		v.Known = []Bytes{Bytes(noteOf(forkText, g.logPQ.line(forkText, t)))}
	}, ed, ed0, ed1)
}

// changeBlob decodes a signature line, changes what follows the key id, and encodes it again.
func changeBlob(line string, change func([]byte) []byte) string {
	s := must(checkpoint.ParseSignatures([]byte(line)))[0]
	s.Blob = change(append([]byte{}, s.Blob...))
	return s.Line()
}

func flipBlob(line string, at int) string {
	return changeBlob(line, func(b []byte) []byte { b[at] ^= 1; return b })
}

func setBlob(line string, at int, to []byte) string {
	return changeBlob(line, func(b []byte) []byte { copy(b[at:], to); return b })
}

// cutBlob makes the blob that long.
func cutBlob(line string, n int) string {
	return changeBlob(line, func(b []byte) []byte { return append(b, 0)[:n] })
}
