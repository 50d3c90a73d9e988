package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/verify"
)

// A treeWorld is a proof tree in a folder, of a log that has everything that a path can be through.
type treeWorld struct {
	dir, policyFile string
	policy          *checkpoint.Policy
	tree            *prooftree.Tree
	paths           []string
}

func newTreeWorld(t *testing.T) *treeWorld {
	t.Helper()
	w := &treeWorld{dir: filepath.Join(t.TempDir(), "tlog"), policyFile: filepath.Join(t.TempDir(), "policy")}
	var entries []*entry.Entry
	pathOf := func(i int) string { return fmt.Sprintf("authors/id/E/ET/ETHER/Dist-%d.tar.gz", i) }
	add := func(kind entry.Kind, i int, content string, index uint64) {
		e := uploadOf(pathOf(i), []byte(content))
		e.Kind = kind
		switch kind {
		case entry.Void:
			e.Size, e.By, e.Seen, e.Index = 0, "", "", index
		case entry.Delete:
			e.Size = 0
		}
		entries = append(entries, e)
	}
	for i := range 300 {
		add(entry.Upload, i, fmt.Sprint(i), 0)
		w.paths = append(w.paths, pathOf(i))
	}
	add(entry.Delete, 10, "10", 0)
	add(entry.Upload, 10, "10", 0)
	add(entry.Void, 11, "11", 11)
	add(entry.Upload, 11, "again", 0)
	add(entry.Void, 12, "12", 12)
	add(entry.Delete, 13, "13", 0)
	add(entry.Delete, 14, "14", 0)
	add(entry.Upload, 14, "14", 0)
	add(entry.Void, 14, "14", uint64(len(entries)-1))
	for i := range 5 {
		e := uploadOf(indexPath, fmt.Appendf(nil, "permissions %d\n", i))
		e.Kind, e.By, e.Seen, e.Time = entry.Index, "", "", e.Time+entry.Time(i)
		entries = append(entries, e)
	}
	w.paths = append(w.paths, indexPath)
	b, shards := prooftree.NewBuilder(), map[byte][]prooftree.Line{}
	write := func(name string, text []byte) {
		name = filepath.Join(w.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, text, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for i, e := range entries {
		if err := b.Add(must(e.Marshal())); err != nil {
			t.Fatal(err)
		}
		s := prooftree.ShardOf(e.Path)
		shards[s] = append(shards[s], prooftree.Line{Index: uint64(i), Path: e.Path})
	}
	for f := range b.Partial() {
		write(f.Tile.Path(), f.Data)
	}
	for _, f := range b.Full() {
		write(f.Tile.Path(), f.Data)
	}
	for s := range prooftree.Shards {
		write(prooftree.ShardName(byte(s)), prooftree.FormatShard(shards[byte(s)]))
	}
	key := signer(checkpoint.Ed25519, craftedOrigin, 1)
	c := checkpoint.Checkpoint{Origin: craftedOrigin, Size: b.Size(), Root: b.Root()}
	write("checkpoint", checkpoint.Note{Text: c.Text()}.With(must(key.Sign(c, uint64(craftedTime.Unix())))).Marshal())
	text := fmt.Sprintf("log %s\nquorum none\n", key.Verifier())
	w.policy = must(checkpoint.ParsePolicy([]byte(text)))
	if err := os.WriteFile(w.policyFile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	source := must(prooftree.OpenDir(w.dir))
	t.Cleanup(func() { source.Close() })
	w.tree = must(prooftree.Open(t.Context(), source, w.policy))
	return w
}

// Whatever paths are packed, the pack proves of them what the tree does, to the byte, and nothing else.
func TestAnySubsetOfATreePacks(t *testing.T) {
	w := newTreeWorld(t)
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	out := filepath.Join(t.TempDir(), "p"+proof.PackExtension)
	rapid.Check(t, func(t *rapid.T) {
		// The ones with a history more often than chance would have it.
		one := rapid.OneOf(rapid.SampledFrom(w.paths), rapid.SampledFrom(w.paths[10:15]), rapid.Just(indexPath))
		paths := rapid.SliceOfNDistinct(one, 1, 30, rapid.ID).Draw(t, "paths")
		code := run(append([]string{"bundle", "--policy", w.policyFile, "--proofs", w.dir, "--out", out}, paths...), io.Discard, io.Discard)
		if code != 0 {
			t.Fatalf("exit code %d", code)
		}
		pack, err := proof.ParsePack(must(os.ReadFile(out)))
		if err != nil {
			t.Fatal(err)
		}
		proofs := 0
		for _, path := range w.paths {
			found := pack.For(path, entry.Digest{})
			if !slices.Contains(paths, path) {
				if found != nil {
					t.Fatalf("there is a proof of %s, which was not asked for", path)
				}
				continue
			}
			if found == nil {
				t.Fatalf("there is no proof of %s", path)
			}
			want := must(w.tree.BundleFor(t.Context(), path, entry.Digest{}))
			q := verify.Request{Policy: w.policy, Path: path}
			for _, x := range []struct {
				what      string
				got, want *proof.Bundle
				to        *[]byte
			}{{"bundle", found.Bundle, want.Bundle, &q.Bundle}, {"void", found.Void, want.Void, &q.Revocation}, {"deletion", found.Deletion, want.Deletion, &q.Deletion}} {
				if x.want == nil || x.got == nil {
					if x.got != x.want {
						t.Fatalf("the %s of %s is %v, want %v", x.what, path, x.got, x.want)
					}
					continue
				}
				proofs++
				if *x.to = must(x.got.Marshal()); !bytes.Equal(*x.to, must(x.want.Marshal())) {
					t.Fatalf("the %s of %s is %+v, want %+v", x.what, path, x.got, x.want)
				}
			}
			q.SHA256, q.Size = claimed(q.Bundle)
			wanted := verify.Verified
			if want.Voided() {
				wanted = verify.Revoked
			}
			if r := verify.Verify(q); r.Outcome != wanted {
				t.Fatalf("%s: %v, want %v", path, r.Outcome, wanted)
			}
		}
		if pack.Len() != proofs {
			t.Fatalf("%d proofs, want %d", pack.Len(), proofs)
		}
	})
}

// A source that goes away in the middle leaves no file, and what was there.
func TestBundleThatFails(t *testing.T) {
	w := newTreeWorld(t)
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	out := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(out, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	// The tile of the first 256 entries: the paths are found, and their proofs cannot be built.
	if err := os.WriteFile(filepath.Join(w.dir, "tile/0/000"), make([]byte, 8192), 0o644); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	code := run([]string{"bundle", "--policy", w.policyFile, "--proofs", w.dir, "--out", out, w.paths[0]}, io.Discard, &stderr)
	if code != verify.Unverifiable.Code() || string(must(os.ReadFile(out))) != "before" {
		t.Errorf("exit code %d\n%s", code, &stderr)
	}
	if files := must(os.ReadDir(filepath.Dir(out))); len(files) != 1 {
		t.Errorf("the folder has %v", files)
	}
}

// A tree of a log that contradicts what was seen before convicts the log.
func TestBundleOfAnotherHistory(t *testing.T) {
	w := newTreeWorld(t)
	state := t.TempDir()
	t.Setenv("XDG_STATE_HOME", state)
	out := filepath.Join(t.TempDir(), "p")
	args := []string{"bundle", "--policy", w.policyFile, "--proofs", w.dir, "--out", out, w.paths[0]}
	if code := run(args, io.Discard, io.Discard); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	key := signer(checkpoint.Ed25519, craftedOrigin, 1)
	c := checkpoint.Checkpoint{Origin: craftedOrigin, Size: w.tree.Size}
	other := checkpoint.Note{Text: c.Text()}.With(must(key.Sign(c, 0))).Marshal()
	names := must(filepath.Glob(filepath.Join(state, "pauselog", "*", "checkpoint")))
	if len(names) != 1 {
		t.Fatalf("remembered in %v", names)
	}
	if err := os.WriteFile(names[0], other, 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	if code := run(args, io.Discard, &stderr); code != verify.Misbehaviour.Code() {
		t.Errorf("exit code %d, want 15\n%s", code, &stderr)
	}
}

// What was fetched of a tree is not fetched again, and what changes is.
func TestFetchedOnce(t *testing.T) {
	from := counted{"checkpoint": []byte("one"), "paths/00": []byte("old"), "tile/0/000": []byte("tile"), "tile/0/001.p/7": []byte("part")}
	s := &fetchedOnce{Source: from, dir: t.TempDir()}
	get := func(name, want string, fetched bool) {
		t.Helper()
		before := len(from["asked"])
		b, err := s.Get(t.Context(), name, 100)
		if err != nil || string(b) != want || (len(from["asked"]) > before) != fetched {
			t.Errorf("%s is %q, %v; fetched %v, want %q and %v", name, b, err, len(from["asked"]) > before, want, fetched)
		}
	}
	get("checkpoint", "one", true)
	for _, fetched := range []bool{true, false} {
		get("tile/0/000", "tile", fetched)
		get("paths/00", "old", fetched)
	}
	get("tile/0/001.p/7", "part", true)
	get("tile/0/001.p/7", "part", true)
	from["paths/00"] = []byte("new")
	get("paths/00", "old", false)
	get("checkpoint", "one", true)
	get("paths/00", "old", false)
	from["checkpoint"] = []byte("two")
	get("checkpoint", "two", true)
	get("paths/00", "new", true)
	get("tile/0/000", "tile", false)
	if _, err := s.Get(t.Context(), "tile/0/000", 2); err == nil {
		t.Error("a limit does not count for what was kept")
	}
}

// counted is a source that remembers under "asked" how often it was asked.
type counted map[string][]byte

func (c counted) Get(_ context.Context, name string, limit int64) ([]byte, error) {
	c["asked"] = append(c["asked"], '.')
	if b, ok := c[name]; ok && int64(len(b)) <= limit {
		return b, nil
	}
	return nil, os.ErrNotExist
}
