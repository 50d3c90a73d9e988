package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/internal/trust"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
)

// A crafted log is one whose key the test has, so that it can sign what no honest log would.
type crafted struct {
	origin  string
	key     *checkpoint.SignerKey
	witness *checkpoint.SignerKey
	entries [][]byte
	hashes  hashes
}

type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = h[x]
	}
	return out, nil
}

// What a crafted log holds, in this order.
const (
	cOther = iota
	cGood
	cDelete
	cConflict
	cVersion2
	cKind
	cVoided
	cVoid
	cIndex
	cEnd
)

const (
	craftedOrigin = "log.example/crafted"
	goodPath      = "authors/id/G/GO/GOOD/Good-1.0.tar.gz"
	otherPath     = "authors/id/O/OT/OTHER/Other-1.0.tar.gz"
	voidedPath    = "authors/id/V/VO/VOIDED/Voided-1.0.tar.gz"
	indexPath     = "modules/06perms.txt"
)

var craftedTime = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func signer(alg checkpoint.Algorithm, name string, seed byte) *checkpoint.SignerKey {
	return must(checkpoint.GenerateSigner(alg, name, bytes.NewReader(bytes.Repeat([]byte{seed}, 32))))
}

func uploadOf(path string, file []byte) *entry.Entry {
	return &entry.Entry{Kind: entry.Upload, Path: path, SHA256: sha256.Sum256(file), Size: uint64(len(file)),
		Time: entry.TimeOf(craftedTime), By: "-", Seen: entry.SeenUpload}
}

var (
	goodFile   = tarball("good")
	otherFile  = tarball("other")
	voidedFile = tarball("voided")
	permsFile  = []byte("permissions\n")
)

// newCrafted makes the log. A fork has another first entry, and so other roots for every size.
func newCrafted(origin string, seed byte, fork bool) *crafted {
	c := &crafted{origin: origin, key: signer(checkpoint.Ed25519, origin, seed), witness: signer(checkpoint.CosignatureV1, "witness.example", 9)}
	first := uploadOf(otherPath, otherFile)
	if fork {
		first.By = "OTHER"
	}
	at := entry.TimeOf(craftedTime)
	c.entries = make([][]byte, cEnd)
	for i, e := range map[int]*entry.Entry{
		cOther:    first,
		cGood:     uploadOf(goodPath, goodFile),
		cDelete:   {Kind: entry.Delete, Path: goodPath, SHA256: sha256.Sum256(goodFile), Time: at, By: "-", Seen: entry.SeenUpload},
		cConflict: {Kind: entry.Conflict, Path: goodPath, SHA256: sha256.Sum256(goodFile), Other: sha256.Sum256(otherFile), Time: at},
		cVoided:   uploadOf(voidedPath, voidedFile),
		cVoid:     {Kind: entry.Void, Path: voidedPath, SHA256: sha256.Sum256(voidedFile), Index: cVoided, Time: at},
		cIndex:    {Kind: entry.Index, Path: indexPath, SHA256: sha256.Sum256(permsFile), Size: uint64(len(permsFile)), Time: at},
	} {
		c.entries[i] = must(e.Marshal())
	}
	c.entries[cVersion2] = []byte("pauselog/v2\n" + goodPath + "\n")
	c.entries[cKind] = []byte("pauselog/v1\nkind advisory\npath " + goodPath + "\n")
	for i, e := range c.entries {
		c.hashes = append(c.hashes, must(tlog.StoredHashes(int64(i), e, c.hashes))...)
	}
	return c
}

func (c *crafted) checkpoint(size int) checkpoint.Checkpoint {
	return checkpoint.Checkpoint{Origin: c.origin, Size: uint64(size), Root: tree.Hash(must(tlog.TreeHash(int64(size), c.hashes)))}
}

func (c *crafted) note(size int, keys ...*checkpoint.SignerKey) []byte {
	point := c.checkpoint(size)
	n := checkpoint.Note{Text: point.Text()}
	for _, k := range keys {
		n = n.With(must(k.Sign(point, uint64(craftedTime.Unix()))))
	}
	return n.Marshal()
}

func (c *crafted) inclusion(index, size int) []tree.Hash {
	var out []tree.Hash
	for _, h := range must(tlog.ProveRecord(int64(size), int64(index), c.hashes)) {
		out = append(out, tree.Hash(h))
	}
	return out
}

func (c *crafted) bundle(index int, keys ...*checkpoint.SignerKey) []byte {
	b := &proof.Bundle{Entry: c.entries[index], Index: uint64(index), Hashes: c.inclusion(index, cEnd), Checkpoint: c.note(cEnd, keys...)}
	return must(b.Marshal())
}

// craft writes into a folder: policies, files below cpan/, and proofs below proofs/, good
// and bad ones. fork-state is a state folder that remembers the checkpoint of a fork.
func craft(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	write := func(name string, b []byte) {
		name = filepath.Join(dir, filepath.FromSlash(name))
		ts.Check(os.MkdirAll(filepath.Dir(name), 0o755))
		ts.Check(os.WriteFile(name, b, 0o644))
	}
	c := newCrafted(craftedOrigin, 1, false)
	logLine := fmt.Sprintf("log %s\n", c.key.Verifier())
	witnessed := fmt.Sprintf("%switness w %s\nquorum w\n", logLine, c.witness.Verifier())
	write("policy", []byte(logLine+"quorum none\n"))
	write("policy-witness", []byte(witnessed))
	other := newCrafted("log.example/other", 2, false)
	write("policy-other", fmt.Appendf(nil, "log %s\nquorum none\n", other.key.Verifier()))

	for path, b := range map[string][]byte{goodPath: goodFile, voidedPath: voidedFile, otherPath: otherFile, indexPath: permsFile} {
		write("cpan/"+path, b)
	}
	good := c.bundle(cGood, c.key)
	stranger := signer(checkpoint.Ed25519, craftedOrigin, 7)
	for name, b := range map[string][]byte{
		"good":        good,
		"witnessed":   c.bundle(cGood, c.key, c.witness),
		"other-path":  c.bundle(cOther, c.key),
		"cut":         good[:len(good)/2],
		"empty":       {},
		"reordered":   swapHashes(good),
		"unsigned":    c.bundle(cGood, stranger), // nobody whom the policy knows
		"other-log":   other.bundle(cGood, other.key),
		"foreign":     withCheckpoint(good, newCrafted(craftedOrigin, 3, true)),
		"flipped":     flipSignature(good),
		"delete":      c.bundle(cDelete, c.key),
		"conflict":    c.bundle(cConflict, c.key),
		"v2":          c.bundle(cVersion2, c.key),
		"kind":        c.bundle(cKind, c.key),
		"v2-unproven": swapHashes(c.bundle(cVersion2, c.key)),
		"voided":      c.bundle(cVoided, c.key),
		"index":       c.bundle(cIndex, c.key),
		"later":       []byte(strings.Replace(string(good), "@v1", "@v2", 1)),
	} {
		write("proofs/"+name, b)
	}
	fork := newCrafted(craftedOrigin, 1, true)
	state, err := trust.Open(filepath.Join(dir, "fork-state"))
	ts.Check(err)
	ts.Check(state.Save(craftedOrigin, nil, fork.note(cEnd, fork.key)))
}

func edit(b []byte, change func(*proof.Bundle)) []byte {
	p := must(proof.Parse(b))
	change(p)
	return must(p.Marshal())
}

func swapHashes(b []byte) []byte {
	return edit(b, func(p *proof.Bundle) { p.Hashes[0], p.Hashes[1] = p.Hashes[1], p.Hashes[0] })
}

// withCheckpoint puts another log's checkpoint into a bundle, whatever it proves.
func withCheckpoint(b []byte, c *crafted) []byte {
	return edit(b, func(p *proof.Bundle) { p.Checkpoint = c.note(cEnd, c.key) })
}

func flipSignature(b []byte) []byte {
	return edit(b, func(p *proof.Bundle) {
		n := must(checkpoint.ParseNote(p.Checkpoint))
		n.Signatures = slices.Clone(n.Signatures)
		n.Signatures[0].Blob = bytes.Clone(n.Signatures[0].Blob)
		n.Signatures[0].Blob[20] ^= 1
		p.Checkpoint = n.Marshal()
	})
}
