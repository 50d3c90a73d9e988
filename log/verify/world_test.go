package verify

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
)

// What the tests' log holds, in its order.
const (
	iOther     = iota // an upload of another distribution
	iGood             // the upload that most tests verify
	iIndex            // a snapshot of an index
	iDelete           // the good upload is deleted,
	iRestored         // and comes back
	iConflict         // other bytes are submitted for its path
	iVersion2         // an entry of a later version
	iKind             // and one of a later kind
	iMalformed        // what no version could have written
	iVoided           // an upload
	iVoid             // that is voided
	iRelogged         // and logged again with the same bytes
	iShort            // an upload whose path is a prefix of the good one's
	iSnapshot2        // a newer snapshot of the index
	iEnd
)

const (
	origin     = "log.example/pause"
	goodPath   = "authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz"
	otherPath  = "authors/id/D/DA/DAGOLDEN/Path-Tiny-0.150.tar.gz"
	voidedPath = "authors/id/E/ET/ETHER/Moose-2.2207.tar.gz"
	indexPath  = "modules/02packages.details.txt.gz"
)

var (
	goodFile   = []byte("the bytes of Try-Tiny-0.31.tar.gz")
	otherFile  = []byte("the bytes of Path-Tiny-0.150.tar.gz")
	voidedFile = []byte("the bytes of Moose-2.2207.tar.gz")
	indexFile  = []byte("the bytes of 02packages.details.txt.gz")

	// When the entries are from, when the checkpoints were signed, and now.
	logged = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	signed = logged.Add(time.Minute)
	now    = logged.Add(time.Hour)
)

// A world is a log, its keys and its witnesses. Keys and signatures are the same in
// every run, but for those of ML-DSA.
type world struct {
	log, logPQ *checkpoint.SignerKey
	w          []*checkpoint.SignerKey
	entries    [][]byte
	hashes     memory
}

type memory []tlog.Hash

func (m memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = m[x]
	}
	return out, nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func key(alg checkpoint.Algorithm, name string, seed byte) *checkpoint.SignerKey {
	return must(checkpoint.GenerateSigner(alg, name, bytes.NewReader(bytes.Repeat([]byte{seed}, 32))))
}

func digest(file []byte) entry.Digest { return sha256.Sum256(file) }

func upload(path string, file []byte) *entry.Entry {
	return &entry.Entry{Kind: entry.Upload, Path: path, SHA256: digest(file), Size: uint64(len(file)), Time: entry.TimeOf(logged), By: "ETHER", Seen: entry.SeenUpload}
}

// newWorld returns the log with all entries; change may put others in their place.
func newWorld(change func(entries [][]byte)) *world {
	w := &world{log: key(checkpoint.Ed25519, origin, 1), logPQ: key(checkpoint.MLDSA44, origin, 2)}
	for i := range 3 {
		w.w = append(w.w, key(checkpoint.CosignatureV1, fmt.Sprintf("w%d.example", i), byte(10+i)))
	}
	restored := upload(goodPath, goodFile)
	restored.Time += 300
	relogged := upload(voidedPath, voidedFile)
	relogged.Time += 300
	w.entries = make([][]byte, iEnd)
	for i, e := range map[int]*entry.Entry{
		iOther:     upload(otherPath, otherFile),
		iGood:      upload(goodPath, goodFile),
		iIndex:     {Kind: entry.Index, Path: indexPath, SHA256: digest(indexFile), Size: uint64(len(indexFile)), Time: entry.TimeOf(logged)},
		iDelete:    {Kind: entry.Delete, Path: goodPath, SHA256: digest(goodFile), Time: entry.TimeOf(logged), By: "ETHER", Seen: entry.SeenUpload},
		iRestored:  restored,
		iConflict:  {Kind: entry.Conflict, Path: goodPath, SHA256: digest(goodFile), Other: digest(otherFile), Time: entry.TimeOf(logged)},
		iVoided:    upload(voidedPath, voidedFile),
		iVoid:      {Kind: entry.Void, Path: voidedPath, SHA256: digest(voidedFile), Index: iVoided, Time: entry.TimeOf(logged)},
		iRelogged:  relogged,
		iShort:     upload(strings.TrimSuffix(goodPath, ".gz"), goodFile),
		iSnapshot2: {Kind: entry.Index, Path: indexPath, SHA256: digest(otherFile), Size: uint64(len(otherFile)), Time: entry.TimeOf(logged) + 60},
	} {
		w.entries[i] = must(e.Marshal())
	}
	w.entries[iVersion2] = []byte("pauselog/v2\n" + goodPath + "\n")
	w.entries[iKind] = []byte("pauselog/v1\nkind advisory\npath " + goodPath + "\n")
	w.entries[iMalformed] = append(slices.Clone(w.entries[iGood]), "more\n"...)
	if change != nil {
		change(w.entries)
	}
	for i, e := range w.entries {
		w.hashes = append(w.hashes, must(tlog.StoredHashes(int64(i), e, w.hashes))...)
	}
	return w
}

func (w *world) root(size int) tree.Hash {
	return tree.Hash(must(tlog.TreeHash(int64(size), w.hashes)))
}

// note signs the log's checkpoint of this size.
func (w *world) note(size int, at time.Time, keys ...*checkpoint.SignerKey) []byte {
	c := checkpoint.Checkpoint{Origin: w.log.Verifier().Name(), Size: uint64(size), Root: w.root(size)}
	n := checkpoint.Note{Text: c.Text()}
	for _, k := range keys {
		n = n.With(must(k.Sign(c, uint64(at.Unix()))))
	}
	return n.Marshal()
}

// bundleAt proves an entry in the tree of this size, under any note.
func (w *world) bundleAt(index, size int, note []byte) []byte {
	b := &proof.Bundle{Entry: w.entries[index], Index: uint64(index), Checkpoint: note}
	for _, h := range must(tlog.ProveRecord(int64(size), int64(index), w.hashes)) {
		b.Hashes = append(b.Hashes, tree.Hash(h))
	}
	return must(b.Marshal())
}

// all is the log and all of its witnesses.
func (w *world) all() []*checkpoint.SignerKey {
	return append([]*checkpoint.SignerKey{w.log}, w.w...)
}

// bundle proves an entry in the whole log, cosigned by everyone.
func (w *world) bundle(index int) []byte {
	return w.bundleAt(index, iEnd, w.note(iEnd, signed, w.all()...))
}

// bundleBy is bundle with these signatures only.
func (w *world) bundleBy(index int, keys ...*checkpoint.SignerKey) []byte {
	return w.bundleAt(index, iEnd, w.note(iEnd, signed, keys...))
}

func (w *world) consistency(size1, size2 int) []tree.Hash {
	var hashes []tree.Hash
	for _, h := range must(tlog.ProveTree(int64(size2), int64(size1), w.hashes)) {
		hashes = append(hashes, tree.Hash(h))
	}
	return hashes
}

// policy is the log's two keys, the three witnesses w0, w1 and w2, and these lines.
func (w *world) policy(lines string) *checkpoint.Policy {
	var b strings.Builder
	fmt.Fprintf(&b, "log %s\nlog %s\n", w.log.Verifier(), w.logPQ.Verifier())
	for i, k := range w.w {
		fmt.Fprintf(&b, "witness w%d %s\n", i, k.Verifier())
	}
	return must(checkpoint.ParsePolicy([]byte(b.String() + lines)))
}

const (
	none     = "quorum none\n"
	twoOf3   = "group two 2 w0 w1 w2\nquorum two\n"
	allOf3   = "group three all w0 w1 w2\nquorum three\n"
	nestedOf = "group either any w0 w1\ngroup both all either w2\nquorum both\n"
)

// request asks about the good upload, with everything in order.
func (w *world) request() Request {
	return Request{Policy: w.policy(twoOf3), Path: goodPath, SHA256: digest(goodFile), Size: uint64(len(goodFile)), Bundle: w.bundle(iGood), Now: now}
}

// edit changes a bundle in its parts.
func edit(b []byte, change func(*proof.Bundle)) []byte {
	p := must(proof.Parse(b))
	change(p)
	return must(p.Marshal())
}

// editNote changes a bundle's note in its parts.
func editNote(b []byte, change func(*checkpoint.Note)) []byte {
	return edit(b, func(p *proof.Bundle) {
		n := must(checkpoint.ParseNote(p.Checkpoint))
		change(&n)
		p.Checkpoint = n.Marshal()
	})
}

func wantOutcome(t *testing.T, name string, r Request, want Outcome) *Result {
	t.Helper()
	got := Verify(r)
	if got.Outcome != want {
		t.Errorf("%s: %v, want %v\n%s", name, got.Outcome, want, got.Explain())
	}
	return got
}
