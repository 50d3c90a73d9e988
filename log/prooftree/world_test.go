package prooftree

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
)

const origin = "log.example/pause"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func signer(a checkpoint.Algorithm, name string, seed byte) *checkpoint.SignerKey {
	return must(checkpoint.GenerateSigner(a, name, bytes.NewReader(bytes.Repeat([]byte{seed}, 32))))
}

var (
	logKey  = signer(checkpoint.Ed25519, origin, 1)
	witness = signer(checkpoint.CosignatureV1, "witness.example", 2)
	pqKey   = signer(checkpoint.MLDSA44, origin, 3)
	policy  = must(checkpoint.NewPolicy(checkpoint.PolicyLog{Key: logKey.Verifier()}))
	// witnessed also wants the witness.
	witnessed = must(checkpoint.ParsePolicy(fmt.Appendf(nil, "log %s\nwitness w %s\nquorum w\n", logKey.Verifier(), witness.Verifier())))
)

// A logged is a log as golang.org/x/mod/sumdb/tlog has it: the independent judge.
type logged struct {
	entries [][]byte
	parsed  []*entry.Entry // nil if of a newer format
	hashes  []tlog.Hash
}

func (l *logged) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = l.hashes[x]
	}
	return out, nil
}

func (l *logged) add(text []byte) {
	e, err := entry.Parse(text)
	if err != nil {
		e = nil
	}
	hs := must(tlog.StoredHashes(int64(len(l.entries)), text, l))
	l.entries, l.parsed, l.hashes = append(l.entries, text), append(l.parsed, e), append(l.hashes, hs...)
}

func (l *logged) root(size int) tree.Hash {
	if size == 0 {
		return tree.EmptyRoot
	}
	return tree.Hash(must(tlog.TreeHash(int64(size), l)))
}

func (l *logged) note(size int, keys ...*checkpoint.SignerKey) []byte {
	c := checkpoint.Checkpoint{Origin: origin, Size: uint64(size), Root: l.root(size)}
	n := checkpoint.Note{Text: c.Text()}
	for _, k := range keys {
		n = n.With(must(k.Sign(c, 1_800_000_000)))
	}
	return n.Marshal()
}

// shards are the shards by their definition.
func (l *logged) shards(size int) (shards [256][]byte) {
	var lines []Line
	count := map[string]int{}
	for i := size - 1; i >= 0; i-- {
		e := l.parsed[i]
		if e == nil || e.Kind == entry.Conflict {
			continue
		}
		if count[e.Path]++; e.Kind == entry.Index && count[e.Path] > 100 {
			continue
		}
		lines = append(lines, Line{uint64(i), e.Path})
	}
	slices.SortFunc(lines, func(a, b Line) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Index, b.Index)) })
	for _, x := range lines {
		n := sha256.Sum256([]byte(x.Path))[0]
		shards[n] = fmt.Appendf(shards[n], "%d %s\n", x.Index, x.Path)
	}
	return shards
}

// files are all files of the proof tree at a size.
func (l *logged) files(size int, keys ...*checkpoint.SignerKey) memory {
	m := memory{"checkpoint": l.note(size, keys...)}
	for n, text := range l.shards(size) {
		m[fmt.Sprintf("paths/%02x", n)] = text
	}
	for _, x := range tlog.NewTiles(8, 0, int64(size)) {
		name := strings.TrimPrefix(x.Path(), "tile/8/")
		m["tile/"+name] = must(tlog.ReadTileData(x, l))
		if x.L == 0 {
			var b []byte
			for _, e := range l.entries[x.N*256:][:x.W] {
				b = append(binary.BigEndian.AppendUint16(b, uint16(len(e))), e...)
			}
			m["tile/entries/"+strings.TrimPrefix(name, "0/")] = b
		}
	}
	return m
}

// memory is a Source.
type memory map[string][]byte

func (m memory) Get(_ context.Context, name string, limit int64) ([]byte, error) {
	b, ok := m[name]
	switch {
	case !ok:
		return nil, &fs.PathError{Op: "get", Path: name, Err: fs.ErrNotExist}
	case int64(len(b)) > limit:
		return nil, tooLarge(name, limit)
	}
	return bytes.Clone(b), nil
}

// counting counts what is asked for.
type counting struct {
	Source
	mu   sync.Mutex
	gets map[string]int
}

func count(s Source) *counting { return &counting{Source: s, gets: map[string]int{}} }

func (c *counting) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	c.mu.Lock()
	c.gets[name]++
	c.mu.Unlock()
	return c.Source.Get(ctx, name, limit)
}

func (c *counting) names() []string { return slices.Sorted(maps.Keys(c.gets)) }

func path(n int) string { return fmt.Sprintf("authors/id/E/ET/ETHER/Dist-%d-1.00.tar.gz", n) }

func digest(s string) entry.Digest { return sha256.Sum256([]byte(s)) }

func upload(n int) *entry.Entry {
	return &entry.Entry{Kind: entry.Upload, Path: path(n), SHA256: digest(fmt.Sprint(n)), Size: uint64(n), Time: entry.Time(n), By: "ETHER", Seen: entry.SeenUpload}
}

const packages = "modules/02packages.details.txt.gz"

func snapshot(n int) *entry.Entry {
	return &entry.Entry{Kind: entry.Index, Path: packages, SHA256: digest(fmt.Sprint("packages", n)), Size: 7, Time: entry.Time(n)}
}

func textOf(e *entry.Entry) []byte { return must(e.Marshal()) }

// uploads is a log of n archives.
func uploads(n int) *logged {
	l := new(logged)
	for i := range n {
		l.add(textOf(upload(i)))
	}
	return l
}

// What mixed holds besides 300 uploads, from here on.
const (
	mDelete    = 300 + iota // of 10
	mRestored               // 10 again
	mVoid                   // of 11
	mAgain                  // 11 with other bytes
	mVoided                 // of 12
	mConflict               // of 13
	mNewer                  // of a later version, said to be of 14
	mSnapshots              // 120 of them
	mEnd       = mSnapshots + 120
)

func mixed() *logged {
	l := uploads(300)
	deletion, void, voided, conflict, again := upload(10), upload(11), upload(12), upload(13), upload(11)
	deletion.Kind, deletion.Size = entry.Delete, 0
	for i, v := range map[uint64]*entry.Entry{11: void, 12: voided} {
		v.Kind, v.Size, v.By, v.Seen, v.Index = entry.Void, 0, "", "", i
	}
	again.SHA256 = digest("again")
	conflict.Kind, conflict.Size, conflict.By, conflict.Seen, conflict.Other = entry.Conflict, 0, "", "", digest("other")
	for _, e := range []*entry.Entry{deletion, upload(10), void, again, voided, conflict} {
		l.add(textOf(e))
	}
	l.add([]byte("pauselog/v2\nsomething of " + path(14) + "\n"))
	for n := range 120 {
		l.add(textOf(snapshot(n)))
	}
	return l
}

func open(t testing.TB, s Source) *Tree {
	t.Helper()
	x, err := Open(t.Context(), s, policy)
	if err != nil {
		t.Fatal(err)
	}
	return x
}
