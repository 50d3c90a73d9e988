package prooftree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/proof"
)

// Whatever is done to any one file: a bundle is the right one, or there is an error which says that there is
// none here, and names the file (or those among which it is). What did not verify is not kept, so that all is
// well again when the file is.
func TestEachFileDamaged(t *testing.T) {
	l := mixed()
	good, other := l.files(mEnd, logKey), uploadsBy("HAARG", mEnd).files(mEnd)
	var names []string // of tiles
	for _, name := range slices.Sorted(maps.Keys(good)) {
		if strings.HasPrefix(name, "tile/") {
			names = append(names, name)
		}
	}
	for i, name := range names {
		content := good[name]
		for what, bad := range map[string][]byte{
			"gone":           nil,
			"empty":          {},
			"cut":            content[:len(content)/2],
			"a byte short":   content[:len(content)-1],
			"a byte more":    append(bytes.Clone(content), 0),
			"much larger":    append(bytes.Clone(content), make([]byte, 20<<20)...),
			"its first bit":  flipped(content, 0),
			"its last bit":   flipped(content, -1),
			"a bit between":  flipped(content, len(content)/2),
			"twice":          append(bytes.Clone(content), content...),
			"another file":   good[names[(i+1)%len(names)]],
			"zeros":          make([]byte, len(content)),
			"a page":         []byte("<html>not found</html>"),
			"of another log": other[name],
			"the checkpoint": good["checkpoint"],
		} {
			files := maps.Clone(good)
			if bad == nil {
				delete(files, name)
			} else {
				files[name] = bad
			}
			x := open(t, files)
			failed := 0
			for index := 0; index < mEnd; index += 13 {
				b, err := x.Bundle(t.Context(), uint64(index))
				if err == nil {
					checkBundle(t, l, mEnd, index, b)
					continue
				}
				failed++
				if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), strings.TrimSuffix(name, "/44")) {
					t.Fatalf("%s, %s: entry %d: %v", name, what, index, err)
				}
			}
			if failed == 0 {
				t.Errorf("%s, %s: nobody noticed", name, what)
			}
			files[name] = content
			for index := 0; index < mEnd; index += 13 {
				b, err := x.Bundle(t.Context(), uint64(index))
				if err != nil {
					t.Fatalf("%s was %s, and is well again: %v", name, what, err)
				}
				checkBundle(t, l, mEnd, index, b)
			}
		}
	}
}

func uploadsBy(by string, n int) *logged {
	l := new(logged)
	for i := range n {
		e := upload(i)
		e.By = by
		l.add(textOf(e))
	}
	return l
}

// A shard is believed in nothing. Its lies are seen, or they hide what is there.
func TestLyingShards(t *testing.T) {
	l := mixed()
	shard := ShardOf(path(12))
	name := ShardName(shard)
	for _, tt := range []struct {
		what  string
		lines []Line
		want  error
	}{
		{"nothing", nil, ErrIncomplete},
		{"beyond the tree", []Line{{mEnd, path(12)}, {1 << 62, path(12)}}, ErrIncomplete},
		{"another path's entry", []Line{{5, path(12)}}, ErrInvalid},
		{"another path's entry besides", []Line{{12, path(12)}, {13, path(12)}}, ErrInvalid},
		{"an index file's", []Line{{mEnd - 1, path(12)}}, ErrInvalid},
		{"the void alone", []Line{{mVoided, path(12)}}, ErrInvalid},
		{"a conflict", []Line{{mConflict, path(12)}}, ErrInvalid},
	} {
		files := l.files(mEnd, logKey)
		files[name] = FormatShard(tt.lines)
		p, err := open(t, files).BundleFor(t.Context(), path(12), digest("12"))
		if p != nil || !errors.Is(err, tt.want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %v, want %v", tt.what, p, err, tt.want)
		}
	}
	// A conflict is listed for its own path, and is not to be listed.
	files := l.files(mEnd, logKey)
	other := ShardName(ShardOf(path(13)))
	files[other] = FormatShard(append(must(ParseShard(ShardOf(path(13)), files[other])), Line{mConflict, path(13)}))
	if p, err := open(t, files).BundleFor(t.Context(), path(13), digest("13")); !errors.Is(err, ErrInvalid) {
		t.Errorf("a listed conflict: %v, %v", p, err)
	}
	// What a shard can do: it hides the void, as an older tree would.
	files[name] = FormatShard([]Line{{12, path(12)}})
	if p, err := open(t, files).BundleFor(t.Context(), path(12), digest("12")); err != nil || p.Voided() {
		t.Errorf("%v, %v", p, err)
	}
	for what, text := range map[string][]byte{
		"malformed": []byte("x"), "too large": make([]byte, MaxShard+1), "of another shard": l.shards(mEnd)[shard+1], "html": []byte("<html>\n"),
	} {
		files[name] = text
		x := open(t, files)
		if p, err := x.BundleFor(t.Context(), path(12), digest("12")); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, %v", what, p, err)
		}
		files[name] = l.shards(mEnd)[shard]
		if _, err := x.BundleFor(t.Context(), path(12), digest("12")); err != nil {
			t.Errorf("%s, and well again: %v", what, err)
		}
	}
	delete(files, name)
	if p, err := open(t, files).BundleFor(t.Context(), path(12), digest("12")); !errors.Is(err, ErrIncomplete) || errors.Is(err, ErrUnlisted) || !strings.Contains(err.Error(), name) {
		t.Errorf("gone: %v, %v", p, err)
	}
}

// Another checkpoint lies there from some read on: of a fork, of an older tree, of nobody. The reader keeps to its own.
func TestTheCheckpointIsReplaced(t *testing.T) {
	l := uploads(400)
	fork := uploadsBy("HAARG", 500)
	stranger := signer(checkpoint.Ed25519, origin, 8)
	for what, after := range map[string]memory{
		"a fork":       fork.files(500, logKey),
		"an older one": l.files(200, logKey),
		"a stranger's": fork.files(500, stranger),
		"none":         {},
	} {
		files := l.files(300, logKey)
		x := open(t, files)
		if _, err := x.Bundle(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		clear(files)
		maps.Copy(files, after)
		for _, index := range []int{10, 255, 256, 299} {
			b, err := x.Bundle(t.Context(), uint64(index))
			if err == nil {
				checkBundle(t, l, 300, index, b)
			} else if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrIncomplete) {
				t.Errorf("%s: entry %d: %v", what, index, err)
			}
		}
		if x.Size != 300 || x.Root != l.root(300) {
			t.Errorf("%s: the tree is now %+v", what, x.Checkpoint)
		}
	}
}

// failing is a source that cannot be read.
type failing struct{ err error }

func (f failing) Get(context.Context, string, int64) ([]byte, error) { return nil, f.err }

func TestASourceThatCannotBeRead(t *testing.T) {
	broken := errors.New("the disk is broken")
	if x, err := Open(t.Context(), failing{broken}, policy); x != nil || !errors.Is(err, broken) || errors.Is(err, ErrIncomplete) || errors.Is(err, ErrInvalid) {
		t.Errorf("%v, %v", x, err)
	}
	l := uploads(300)
	x := open(t, l.files(300, logKey))
	x.source = failing{broken}
	if _, err := x.Bundle(t.Context(), 3); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := x.BundleFor(t.Context(), path(3), digest("3")); !errors.Is(err, broken) {
		t.Error(err)
	}
	x.source = failing{fmt.Errorf("nothing there: %w", fs.ErrNotExist)}
	if _, err := x.Bundle(t.Context(), 3); !errors.Is(err, ErrIncomplete) {
		t.Error(err)
	}
}

// Many at a time, from a tree that they share.
func TestConcurrentReaders(t *testing.T) {
	l := mixed()
	x := open(t, l.files(mEnd, logKey))
	done := make(chan error)
	for start := range 8 {
		go func() {
			var err error
			for index := start; index < 300 && err == nil; index += 8 {
				var p *Proof
				if p, err = x.BundleFor(t.Context(), path(index), digest(fmt.Sprint(index))); err == nil {
					var text []byte
					if text, err = p.Bundle.Marshal(); err == nil {
						_, err = proof.Parse(text)
					}
				}
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
