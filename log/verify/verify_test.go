package verify

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
)

// rows is the whole way from input to outcome: each row changes a request in which
// everything is in order.
var rows = []struct {
	name   string
	change func(w *world, r *Request)
	want   Outcome
}{
	{"all good, two of three witnesses", func(w *world, r *Request) {}, Verified},
	{"exactly two", func(w *world, r *Request) { r.Bundle = w.bundleBy(iGood, w.log, w.w[0], w.w[2]) }, Verified},
	{"quorum none", func(w *world, r *Request) { r.Policy, r.Bundle = w.policy(none), w.bundleBy(iGood, w.log) }, Verified},
	{"nested groups", func(w *world, r *Request) {
		r.Policy, r.Bundle = w.policy(nestedOf), w.bundleBy(iGood, w.log, w.w[1], w.w[2])
	}, Verified},
	{"signed by the log's other key", func(w *world, r *Request) { r.Bundle = w.bundleBy(iGood, w.logPQ, w.w[0], w.w[1]) }, Verified},
	{"any path", func(w *world, r *Request) { r.Path, r.AnyPath = "", true }, Verified},
	{"an index", forIndex, Verified},
	{"restored after a deletion", func(w *world, r *Request) { r.Bundle, r.Deletion = w.bundle(iRestored), w.bundle(iDelete) }, Verified},
	{"deleted", func(w *world, r *Request) { r.Deletion = w.bundle(iDelete) }, Verified},
	{"remembered, the same tree", func(w *world, r *Request) { r.Known = [][]byte{w.note(iEnd, signed, w.log), w.note(3, signed, w.log)} }, Verified},

	{"no policy", func(w *world, r *Request) { r.Policy = nil }, Error},
	{"a limit on age and no time", func(w *world, r *Request) { r.MaxAge, r.Now = time.Hour, time.Time{} }, Error},

	{"no path", func(w *world, r *Request) { r.Path = "" }, Usage},
	{"no path and no bundle", func(w *world, r *Request) { r.Path, r.Bundle = "", nil }, Usage},
	{"no path and no policy", func(w *world, r *Request) { r.Path, r.Policy = "", nil }, Usage},
	{"a path from the root", func(w *world, r *Request) { r.Path = "/" + goodPath }, Usage},
	{"a path with dots", func(w *world, r *Request) { r.Path = "authors/id/E/ET/ETHER/../ETHER/Try-Tiny-0.31.tar.gz" }, Usage},
	{"a bare name", func(w *world, r *Request) { r.Path = "Try-Tiny-0.31.tar.gz" }, Usage},

	{"one byte flipped", func(w *world, r *Request) {
		file := slices.Clone(goodFile)
		file[5] ^= 1
		r.SHA256 = digest(file)
	}, Mismatch},
	{"cut short", func(w *world, r *Request) { r.SHA256, r.Size = digest(goodFile[:9]), 9 }, Mismatch},
	{"longer", func(w *world, r *Request) { r.SHA256, r.Size = digest(append(goodFile, 0)), r.Size+1 }, Mismatch},
	{"another size alone", func(w *world, r *Request) { r.Size++ }, Mismatch},
	{"another distribution's archive under this name", func(w *world, r *Request) { r.SHA256, r.Size = digest(otherFile), uint64(len(otherFile)) }, Mismatch},
	{"another index", func(w *world, r *Request) { forIndex(w, r); r.SHA256 = digest(otherFile) }, Mismatch},
	{"other bytes, any path", func(w *world, r *Request) { r.Path, r.AnyPath, r.SHA256 = "", true, digest(otherFile) }, Mismatch},

	{"never logged", func(w *world, r *Request) { r.Bundle, r.Absence = nil, SaidNotLogged }, NotLogged},
	{"a document, never logged", func(w *world, r *Request) {
		r.Bundle, r.Absence, r.Path = nil, SaidNotLogged, "authors/id/E/ET/ETHER/CHECKSUMS"
	}, NotLogged},
	{"pending", func(w *world, r *Request) { r.Bundle, r.Absence = nil, SaidPending }, Pending},
	{"unreachable", func(w *world, r *Request) { r.Bundle, r.AbsenceDetail = nil, "no route to host" }, Unverifiable},
	{"unreachable, any path", func(w *world, r *Request) { r.Bundle, r.Path, r.AnyPath = nil, "", true }, Unverifiable},
	{"an absence that is none", func(w *world, r *Request) { r.Bundle, r.Absence = nil, 9 }, Unverifiable},

	{"one of two witnesses", func(w *world, r *Request) { r.Bundle = w.bundleBy(iGood, w.log, w.w[0]) }, PolicyUnmet},
	{"no witness", func(w *world, r *Request) { r.Bundle = w.bundleBy(iGood, w.log) }, PolicyUnmet},
	{"nested groups, the wrong two", func(w *world, r *Request) {
		r.Policy, r.Bundle = w.policy(nestedOf), w.bundleBy(iGood, w.log, w.w[0], w.w[1])
	}, PolicyUnmet},
	{"no witness, any path", func(w *world, r *Request) { r.Bundle, r.Path, r.AnyPath = w.bundleBy(iGood, w.log), "", true }, PolicyUnmet},
	{"no witness, and a later version", func(w *world, r *Request) { r.Bundle = w.bundleBy(iVersion2, w.log) }, PolicyUnmet},
	{"no witness, and other bytes", func(w *world, r *Request) { r.Bundle, r.Size = w.bundleBy(iGood, w.log), 1 }, PolicyUnmet},

	{"another tree is remembered", func(w *world, r *Request) { r.Known = [][]byte{fork().note(iEnd, signed, w.log)} }, Misbehaviour},
	{"another tree is remembered, no witness", func(w *world, r *Request) {
		r.Known, r.Bundle = [][]byte{fork().note(iEnd, signed, w.log)}, w.bundleBy(iGood, w.log)
	}, Misbehaviour},
	{"another tree is remembered, the proof is broken", func(w *world, r *Request) {
		r.Known, r.Bundle = [][]byte{fork().note(iEnd, signed, w.log)}, breakProof(r.Bundle)
	}, Misbehaviour},
	{"another tree is remembered among many, with a damaged witness line", func(w *world, r *Request) {
		r.Known = [][]byte{nil, []byte("junk"), w.note(5, signed, w.log), damageLastLine(fork().note(iEnd, signed, w.log, w.w[0]))}
	}, Misbehaviour},
	{"two trees are remembered, no bundle", func(w *world, r *Request) {
		r.Bundle, r.Known = nil, [][]byte{w.note(7, signed, w.log), fork().note(7, signed, w.logPQ)}
	}, Misbehaviour},
	{"the revocation is of another tree", func(w *world, r *Request) { r.Revocation = fork().bundle(iVoid) }, Misbehaviour},
	{"the revocation stands where the upload is", func(w *world, r *Request) {
		r.Revocation = fork().bundleAt(iGood, iEnd-1, fork().note(iEnd-1, signed, w.all()...))
	}, Misbehaviour},

	{"an empty bundle", func(w *world, r *Request) { r.Bundle = []byte{} }, InvalidProof},
	{"a bundle of a later version", func(w *world, r *Request) { r.Bundle = bytes.Replace(r.Bundle, []byte("@v1"), []byte("@v2"), 1) }, InvalidProof},
	{"an error page", func(w *world, r *Request) { r.Bundle = []byte("<!DOCTYPE html>\n<html>\n") }, InvalidProof},
	{"without the entry", func(w *world, r *Request) { r.Bundle = edit(r.Bundle, func(p *proof.Bundle) { p.Entry = nil }) }, InvalidProof},
	{"of another path", func(w *world, r *Request) { r.Bundle = w.bundle(iOther) }, InvalidProof},
	{"of a path that is a prefix", func(w *world, r *Request) { r.Bundle = w.bundle(iShort) }, InvalidProof},
	{"of another path, and no witness", func(w *world, r *Request) { r.Bundle = w.bundleBy(iOther, w.log) }, InvalidProof},
	{"with another checkpoint", func(w *world, r *Request) {
		r.Bundle = edit(r.Bundle, func(p *proof.Bundle) { p.Checkpoint = w.note(iEnd-1, signed, w.all()...) })
	}, InvalidProof},
	{"with another log's checkpoint", func(w *world, r *Request) {
		other := newWorld(nil)
		other.log = key(checkpoint.Ed25519, "other.example/log", 1)
		r.Bundle = other.bundleAt(iGood, iEnd, other.note(iEnd, signed, append(w.w, other.log)...))
	}, InvalidProof},
	{"of a log with this name and another key", func(w *world, r *Request) {
		r.Bundle = w.bundleBy(iGood, append(w.w, key(checkpoint.Ed25519, origin, 99))...)
	}, InvalidProof},
	{"not signed by the log", func(w *world, r *Request) { r.Bundle = w.bundleBy(iGood, w.w...) }, InvalidProof},
	{"without signatures", func(w *world, r *Request) {
		r.Bundle = edit(r.Bundle, func(p *proof.Bundle) {
			p.Checkpoint = checkpoint.Note{Text: must(checkpoint.ParseNote(p.Checkpoint)).Text}.Marshal()
		})
	}, InvalidProof},
	{"another policy's log", func(w *world, r *Request) {
		r.Policy = must(checkpoint.NewPolicy(checkpoint.PolicyLog{Key: key(checkpoint.Ed25519, "third.example", 7).Verifier()}))
	}, InvalidProof},
	{"a policy without logs", func(w *world, r *Request) { r.Policy = must(checkpoint.ParsePolicy([]byte(none))) }, InvalidProof},
	{"broken proof", func(w *world, r *Request) { r.Bundle = breakProof(r.Bundle) }, InvalidProof},
	{"broken proof, and no witness", func(w *world, r *Request) { r.Bundle = breakProof(w.bundleBy(iGood, w.log)) }, InvalidProof},
	{"broken proof of a later version", func(w *world, r *Request) { r.Bundle = breakProof(w.bundle(iVersion2)) }, InvalidProof},
	{"broken proof of a later kind", func(w *world, r *Request) { r.Bundle = breakProof(w.bundle(iKind)) }, InvalidProof},
	{"a later version that was never logged", func(w *world, r *Request) {
		r.Bundle = edit(r.Bundle, func(p *proof.Bundle) { p.Entry = []byte("pauselog/v3\nanything\n") })
	}, InvalidProof},
	{"a malformed entry, logged", func(w *world, r *Request) { r.Bundle = w.bundle(iMalformed) }, InvalidProof},
	{"a malformed entry, and no witness", func(w *world, r *Request) { r.Bundle = w.bundleBy(iMalformed, w.log) }, InvalidProof},
	{"a delete entry", func(w *world, r *Request) { r.Bundle = w.bundle(iDelete) }, InvalidProof},
	{"a conflict entry", func(w *world, r *Request) { r.Bundle = w.bundle(iConflict) }, InvalidProof},
	{"a conflict entry, for the bytes that were refused", func(w *world, r *Request) {
		r.Bundle, r.SHA256, r.Size = w.bundle(iConflict), digest(otherFile), uint64(len(otherFile))
	}, InvalidProof},
	{"a void entry", func(w *world, r *Request) { forVoided(w, r); r.Bundle = w.bundle(iVoid) }, InvalidProof},
	{"a void entry, any path", func(w *world, r *Request) { r.Bundle, r.Path, r.AnyPath = w.bundle(iVoid), "", true }, InvalidProof},
	{"an upload for an index", func(w *world, r *Request) { r.Path = indexPath }, InvalidProof},
	{"an index for an upload", func(w *world, r *Request) { r.Bundle = w.bundle(iIndex) }, InvalidProof},
	{"an unsigned fork is no statement", func(w *world, r *Request) {
		r.Bundle, r.Known = damageBundle(fork().bundle(iGood)), [][]byte{w.note(iEnd, signed, w.log)}
	}, InvalidProof},

	{"a later version", func(w *world, r *Request) { r.Bundle = w.bundle(iVersion2) }, Upgrade},
	{"a later kind", func(w *world, r *Request) { r.Bundle = w.bundle(iKind) }, Upgrade},
	{"a later kind, and old", func(w *world, r *Request) { r.Bundle, r.MaxAge = w.bundle(iKind), time.Second }, Upgrade},

	{"voided", func(w *world, r *Request) { forVoided(w, r); r.Revocation = w.bundle(iVoid) }, Revoked},
	{"voided, no other proof to be had", func(w *world, r *Request) {
		forVoided(w, r)
		r.Bundle, r.Absence, r.Revocation = nil, SaidNotLogged, w.bundle(iVoid)
	}, Revoked},
	{"voided, and old", func(w *world, r *Request) { forVoided(w, r); r.Revocation, r.MaxAge = w.bundle(iVoid), time.Second }, Revoked},
	{"voided, but not told", func(w *world, r *Request) { forVoided(w, r) }, Verified},
	{"voided, and logged again", func(w *world, r *Request) {
		forVoided(w, r)
		r.Bundle, r.Revocation = w.bundle(iRelogged), w.bundle(iVoid)
	}, Verified},
	{"voided by a proof that is broken", func(w *world, r *Request) { forVoided(w, r); r.Revocation = breakProof(w.bundle(iVoid)) }, Verified},
	{"voided without witnesses", func(w *world, r *Request) { forVoided(w, r); r.Revocation = w.bundleBy(iVoid, w.log) }, Verified},
	{"voided by another log", func(w *world, r *Request) {
		forVoided(w, r)
		other := newWorld(nil)
		other.log = key(checkpoint.Ed25519, "other.example/log", 7)
		r.Policy = must(checkpoint.ParsePolicy([]byte("log " + other.log.Verifier().String() + "\n" + w.policy(twoOf3).String())))
		r.Revocation = other.bundle(iVoid)
	}, Verified},
	{"the void of another path", func(w *world, r *Request) { r.Revocation = w.bundle(iVoid) }, Verified},
	{"the void of another path with the same bytes", func(w *world, r *Request) {
		w2 := newWorld(func(e [][]byte) { e[iGood] = must(upload(goodPath, voidedFile).Marshal()) })
		r.SHA256, r.Size = digest(voidedFile), uint64(len(voidedFile))
		r.Bundle, r.Revocation = w2.bundle(iGood), w2.bundle(iVoid)
	}, Verified},
	{"the upload itself as a revocation", func(w *world, r *Request) { r.Revocation = r.Bundle }, Verified},
	{"junk as a revocation", func(w *world, r *Request) { r.Revocation = []byte{} }, Verified},
	{"a deletion as a revocation", func(w *world, r *Request) { r.Revocation = w.bundle(iDelete) }, Verified},
	{"the void of other bytes", func(w *world, r *Request) {
		forVoided(w, r)
		v := *must(entry.Parse(w.entries[iVoid]))
		v.SHA256 = digest(otherFile)
		w2 := newWorld(func(e [][]byte) { e[iVoid] = must(v.Marshal()) })
		r.Bundle, r.Revocation = w2.bundle(iVoided), w2.bundle(iVoid)
	}, Verified},
	{"a later upload of the same bytes is named by the void", func(w *world, r *Request) {
		forVoided(w, r)
		v := *must(entry.Parse(w.entries[iVoid]))
		v.Index = iVersion2
		w2 := newWorld(func(e [][]byte) { e[iVoid], e[iGood] = must(v.Marshal()), e[iVoided] })
		r.Bundle, r.Revocation = w2.bundle(iGood), w2.bundle(iVoid)
	}, Revoked},

	{"a checkpoint just young enough", func(w *world, r *Request) { r.MaxAge, r.Now = time.Hour, signed.Add(time.Hour) }, Verified},
	{"a checkpoint a second too old", func(w *world, r *Request) { r.MaxAge, r.Now = time.Hour, signed.Add(time.Hour+time.Second) }, Stale},
	{"a checkpoint 10 minutes ahead", func(w *world, r *Request) { r.MaxAge, r.Now = time.Hour, signed.Add(-10*time.Minute) }, Verified},
	{"a checkpoint further ahead", func(w *world, r *Request) { r.MaxAge, r.Now = time.Hour, signed.Add(-10*time.Minute-time.Second) }, Stale},
	{"a clock before 1970", func(w *world, r *Request) { r.MaxAge, r.Now = time.Hour, time.Unix(-1, 0) }, Stale},
	{"two old signatures and one young", func(w *world, r *Request) {
		note := must(checkpoint.ParseNote(w.note(iEnd, signed, w.log, w.w[0], w.w[1])))
		young := must(checkpoint.ParseNote(w.note(iEnd, now, w.log, w.w[2])))
		r.Bundle = w.bundleAt(iGood, iEnd, note.With(young.Signatures...).Marshal())
		r.MaxAge = time.Minute
	}, Stale},
	{"quorum none, the log's time young", func(w *world, r *Request) {
		r.Policy, r.Bundle, r.MaxAge = w.policy(none), w.bundleBy(iGood, w.log, w.logPQ), time.Hour
	}, Verified},
	{"quorum none, and no time", func(w *world, r *Request) {
		r.Policy, r.Bundle, r.MaxAge = w.policy(none), w.bundleBy(iGood, w.log), time.Hour
	}, Stale},
	{"an index just young enough", func(w *world, r *Request) {
		forIndex(w, r)
		r.MaxIndexAge, r.Now = time.Hour, logged.Add(time.Hour+time.Millisecond)
	}, Verified},
	{"an index a second too old", func(w *world, r *Request) {
		forIndex(w, r)
		r.MaxIndexAge, r.Now = time.Hour, logged.Add(time.Hour+time.Second)
	}, Stale},
	{"an index 10 minutes ahead", func(w *world, r *Request) {
		forIndex(w, r)
		r.MaxIndexAge, r.Now = time.Hour, logged.Add(-10*time.Minute)
	}, Verified},
	{"an index further ahead", func(w *world, r *Request) {
		forIndex(w, r)
		r.MaxIndexAge, r.Now = time.Hour, logged.Add(-10*time.Minute-time.Second)
	}, Stale},
	{"an index under an old checkpoint", func(w *world, r *Request) { forIndex(w, r); r.MaxAge, r.Now = time.Hour, logged.Add(48*time.Hour) }, Stale},
	{"an old index without a limit", func(w *world, r *Request) { forIndex(w, r); r.Now = logged.Add(48 * time.Hour) }, Verified},
	{"an archive does not age as an index does", func(w *world, r *Request) { r.MaxIndexAge, r.Now = time.Hour, logged.Add(48*time.Hour) }, Verified},
	{"old, and other bytes", func(w *world, r *Request) { r.MaxAge, r.Size = time.Second, 1 }, Mismatch},
}

// fork is the same log with another last entry, and one more in the middle changed.
func fork() *world {
	return newWorld(func(e [][]byte) {
		e[iOther] = must(upload(otherPath, []byte("not the bytes that the log showed to others")).Marshal())
		e[iGood] = must((&entry.Entry{Kind: entry.Void, Path: goodPath, SHA256: digest(goodFile), Time: entry.TimeOf(logged)}).Marshal())
	})
}

func forIndex(w *world, r *Request) {
	r.Path, r.SHA256, r.Size, r.Bundle = indexPath, digest(indexFile), uint64(len(indexFile)), w.bundle(iIndex)
}

func forVoided(w *world, r *Request) {
	r.Path, r.SHA256, r.Size, r.Bundle = voidedPath, digest(voidedFile), uint64(len(voidedFile)), w.bundle(iVoided)
}

func breakProof(b []byte) []byte {
	return edit(b, func(p *proof.Bundle) { p.Hashes[0][7] ^= 1 })
}

// damageLastLine flips a bit of a note's last signature.
func damageLastLine(note []byte) []byte {
	n := must(checkpoint.ParseNote(note))
	blob := n.Signatures[len(n.Signatures)-1].Blob
	blob[len(blob)-1] ^= 1
	return n.Marshal()
}

func damageBundle(b []byte) []byte {
	return editNote(b, func(n *checkpoint.Note) { n.Signatures[0].Blob[3] ^= 1 })
}

func TestVerify(t *testing.T) {
	w := newWorld(nil)
	covered := make(map[Outcome]bool)
	for _, row := range rows {
		r := w.request()
		row.change(w, &r)
		res := wantOutcome(t, row.name, r, row.want)
		covered[res.Outcome] = true
		checkResult(t, row.name, r, res)
	}
	for _, o := range Precedence() {
		if !covered[o] {
			t.Errorf("no row for %v", o)
		}
	}
}

// checkResult checks what holds for every result.
func checkResult(t *testing.T, name string, r Request, res *Result) {
	t.Helper()
	if (res.Evidence != nil) != (res.Outcome == Misbehaviour) {
		t.Errorf("%s: evidence %v with %v", name, res.Evidence, res.Outcome)
	}
	if res.Evidence != nil {
		if err := res.Evidence.Check(r.Policy); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if res.Outcome == Verified && (res.Entry == nil || !res.Proven || res.Entry.SHA256 != r.SHA256 || res.Entry.Size != r.Size || res.Path != res.Entry.Path) {
		t.Errorf("%s: verified with %+v", name, res)
	}
	if res.Proven && (res.Checkpoint == nil || !res.Checkpoint.QuorumMet) {
		t.Errorf("%s: proven without a quorum", name)
	}
	if res.Entry != nil && !res.Proven {
		t.Errorf("%s: an entry that is not proven: %+v", name, res.Entry)
	}
	for _, c := range res.Checks {
		if c.Name == "" || c.Detail == "" || strings.Contains(c.Detail, "\n") {
			t.Errorf("%s: check %+v", name, c)
		}
		// A failed check without consequence is one of what was handed over in vain.
		if !c.OK && res.Outcome == Verified && c.Name != checkRevocation && c.Name != checkDeletion {
			t.Errorf("%s: verified, and %s failed: %s", name, c.Name, c.Detail)
		}
	}
}

// The path of a bare file is printed, if the bundle proves one, and only then.
func TestPathIsNamedOnlyIfProven(t *testing.T) {
	w := newWorld(nil)
	for _, v := range []struct {
		name   string
		bundle []byte
		want   string
	}{
		{"proven", w.bundle(iGood), goodPath},
		{"no witness", w.bundleBy(iGood, w.log), ""},
		{"broken", breakProof(w.bundle(iGood)), ""},
		{"unsigned", damageBundle(w.bundle(iGood)), ""},
		{"a deletion", w.bundle(iDelete), ""},
		{"nothing", nil, ""},
	} {
		r := w.request()
		r.Path, r.Bundle = "", v.bundle
		res := wantOutcome(t, v.name, r, Usage)
		if res.Path != v.want || strings.Contains(res.Message, goodPath) != (v.want != "") {
			t.Errorf("%s: path %q, %s", v.name, res.Path, res.Message)
		}
	}
}
