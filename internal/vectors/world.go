package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
)

const (
	origin      = "log.example/pause"
	goodPath    = "authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz"
	otherPath   = "authors/id/D/DA/DAGOLDEN/Path-Tiny-0.150.tar.gz"
	voidedPath  = "authors/id/E/ET/ETHER/Moose-2.2207.tar.gz"
	indexPath   = "modules/02packages.details.txt.gz"
	unloggedOne = "authors/id/R/RJ/RJBS/Sub-Install-0.929.tar.gz"
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

// must is for what cannot fail with the fixed values of this program.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A key signs checkpoints, and also what no checkpoint should be.
type key struct {
	*checkpoint.SignerKey
	raw ed25519.PrivateKey
}

func newKey(alg checkpoint.Algorithm, name string, seed byte) key {
	b := bytes.Repeat([]byte{seed}, ed25519.SeedSize)
	return key{must(checkpoint.GenerateSigner(alg, name, bytes.NewReader(b))), ed25519.NewKeyFromSeed(b)}
}

// line signs a text, whatever it is, at a time, whatever it is. ML-DSA signs checkpoints only.
func (k key) line(text string, t uint64) string {
	v := k.Verifier()
	s := checkpoint.Signature{Name: v.Name(), KeyID: v.KeyID()}
	switch v.Algorithm() {
	case checkpoint.Ed25519:
		s.Blob = ed25519.Sign(k.raw, []byte(text))
	case checkpoint.CosignatureV1:
		s.Blob = binary.BigEndian.AppendUint64(nil, t)
		s.Blob = append(s.Blob, ed25519.Sign(k.raw, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", t, text))...)
	case checkpoint.MLDSA44:
		s = must(k.SignDeterministic(must(checkpoint.ParseText(text)), t))
	}
	return s.Line()
}

// A log is entries and their tree.
type log struct {
	entries [][]byte
	hashes  memory
}

type memory []tlog.Hash

func (m memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = m[x]
	}
	return out, nil
}

func newLog(entries ...[]byte) *log {
	l := &log{entries: entries}
	for i, e := range entries {
		l.hashes = append(l.hashes, must(tlog.StoredHashes(int64(i), e, l.hashes))...)
	}
	return l
}

func (l *log) root(size int) tree.Hash { return tree.Hash(must(tlog.TreeHash(int64(size), l.hashes))) }

// text is the log's checkpoint of a size.
func (l *log) text(size int) string {
	return checkpoint.Checkpoint{Origin: origin, Size: uint64(size), Root: l.root(size)}.Text()
}

func (l *log) hashesOf(index, size int) []tree.Hash {
	var hashes []tree.Hash
	for _, h := range must(tlog.ProveRecord(int64(size), int64(index), l.hashes)) {
		hashes = append(hashes, tree.Hash(h))
	}
	return hashes
}

// bundleWith is the text of a bundle with any checkpoint.
func (l *log) bundleWith(index, size int, note string) []byte {
	return bundleText(l.entries[index], fmt.Sprint(index), l.hashesOf(index, size), note)
}

// bundle proves an entry in the whole log.
func (l *log) bundle(index int, lines ...string) []byte {
	return l.bundleAt(index, len(l.entries), lines...)
}

func (l *log) bundleAt(index, size int, lines ...string) []byte {
	return l.bundleWith(index, size, noteOf(l.text(size), lines...))
}

func noteOf(text string, lines ...string) string { return text + "\n" + strings.Join(lines, "") }

// bundleText does not care whether anyone reads the bundle.
func bundleText(entry []byte, index string, hashes []tree.Hash, note string) []byte {
	var b strings.Builder
	b.WriteString(proof.Header + "\n")
	if entry != nil {
		b.WriteString("extra " + base64.StdEncoding.EncodeToString(entry) + "\n")
	}
	b.WriteString("index " + index + "\n")
	for _, h := range hashes {
		b.WriteString(h.String() + "\n")
	}
	return []byte(b.String() + "\n" + note)
}

// What the log holds, in its order.
const (
	iOther     = iota // an upload of another distribution
	iGood             // the upload that most vectors verify
	iIndex            // a snapshot of an index
	iDelete           // the good upload is deleted,
	iRestored         // and comes back
	iConflict         // other bytes are submitted for its path
	iVersion2         // an entry of a later version
	iKind             // and one of a later kind
	iVoided           // an upload
	iVoid             // that is voided
	iRelogged         // and logged again with the same bytes
	iSnapshot2        // a newer snapshot of the index
	iVoidOther        // a void of the other upload, with another digest
	iEnd
)

// A world is a log, its keys and its witnesses.
type world struct {
	*log
	log1, logPQ, stranger key
	w, pq                 []key
}

func digest(file []byte) entry.Digest { return sha256.Sum256(file) }

func upload(path string, file []byte, after time.Duration) []byte {
	return must((&entry.Entry{Kind: entry.Upload, Path: path, SHA256: digest(file), Size: uint64(len(file)),
		Time: entry.TimeOf(logged.Add(after)), By: "ETHER", Seen: entry.SeenUpload}).Marshal())
}

func snapshot(file []byte, after time.Duration) []byte {
	return must((&entry.Entry{Kind: entry.Index, Path: indexPath, SHA256: digest(file), Size: uint64(len(file)),
		Time: entry.TimeOf(logged.Add(after))}).Marshal())
}

func newWorld() *world {
	w := &world{
		log1:     newKey(checkpoint.Ed25519, origin, 1),
		logPQ:    newKey(checkpoint.MLDSA44, origin, 2),
		stranger: newKey(checkpoint.CosignatureV1, "stranger.example", 30),
	}
	for i := range 3 {
		w.w = append(w.w, newKey(checkpoint.CosignatureV1, fmt.Sprintf("w%d.example", i), byte(10+i)))
		w.pq = append(w.pq, newKey(checkpoint.MLDSA44, fmt.Sprintf("w%d.example", i), byte(20+i)))
	}
	entries := make([][]byte, iEnd)
	entries[iOther] = upload(otherPath, otherFile, 0)
	entries[iGood] = upload(goodPath, goodFile, 0)
	entries[iIndex] = snapshot(indexFile, 0)
	entries[iDelete] = must((&entry.Entry{Kind: entry.Delete, Path: goodPath, SHA256: digest(goodFile), Time: entry.TimeOf(logged), By: "-", Seen: entry.SeenFollow}).Marshal())
	entries[iRestored] = upload(goodPath, goodFile, 5*time.Minute)
	entries[iConflict] = must((&entry.Entry{Kind: entry.Conflict, Path: goodPath, SHA256: digest(goodFile), Other: digest(otherFile), Time: entry.TimeOf(logged)}).Marshal())
	entries[iVersion2] = []byte("pauselog/v2\n" + goodPath + "\n")
	entries[iKind] = []byte("pauselog/v1\nkind advisory\npath " + goodPath + "\n")
	entries[iVoided] = upload(voidedPath, voidedFile, 0)
	entries[iVoid] = must((&entry.Entry{Kind: entry.Void, Path: voidedPath, SHA256: digest(voidedFile), Index: iVoided, Time: entry.TimeOf(logged)}).Marshal())
	entries[iRelogged] = upload(voidedPath, voidedFile, 5*time.Minute)
	entries[iSnapshot2] = snapshot(otherFile, time.Minute)
	entries[iVoidOther] = must((&entry.Entry{Kind: entry.Void, Path: otherPath, SHA256: digest(goodFile), Index: iOther, Time: entry.TimeOf(logged)}).Marshal())
	w.log = newLog(entries...)
	return w
}

// fork is the same log with another entry for the good file.
func (w *world) fork() *log {
	entries := slices.Clone(w.entries)
	entries[iGood] = upload(goodPath, otherFile, 0)
	return newLog(entries...)
}

// policy is the log's key, the three witnesses w0, w1 and w2, and these lines.
func (w *world) policy(lines string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "log %s\n", w.log1.Verifier())
	for i, k := range w.w {
		fmt.Fprintf(&b, "witness w%d %s\n", i, k.Verifier())
	}
	return []byte(b.String() + lines)
}

const (
	none     = "quorum none\n"
	oneOf3   = "group one any w0 w1 w2\nquorum one\n"
	twoOf3   = "group two 2 w0 w1 w2\nquorum two\n"
	allOf3   = "group three all w0 w1 w2\nquorum three\n"
	nestedOf = "group either any w0 w1\ngroup both all either w2\nquorum both\n"
)

func at(t time.Time) uint64 { return uint64(t.Unix()) }

// lines are the signatures of the log and these witnesses.
func (w *world) lines(text string, t time.Time, witnesses ...key) []string {
	lines := []string{w.log1.line(text, 0)}
	for _, k := range witnesses {
		lines = append(lines, k.line(text, at(t)))
	}
	return lines
}

// proven is the bundle of an entry in the whole log, cosigned by everyone.
func (w *world) proven(index int) []byte {
	return w.bundle(index, w.lines(w.text(iEnd), signed, w.w...)...)
}
