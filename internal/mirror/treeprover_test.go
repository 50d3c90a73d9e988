package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/verify"
)

// files are a proof tree in memory.
type files map[string][]byte

func (f files) Get(_ context.Context, name string, _ int64) ([]byte, error) {
	if b, ok := f[name]; ok {
		return b, nil
	}
	return nil, fs.ErrNotExist
}

// treeOf makes the proof tree of entries.
func treeOf(t *testing.T, entries ...*entry.Entry) files {
	t.Helper()
	f, b, k := files{}, prooftree.NewBuilder(), key(1, checkpoint.Ed25519, origin)
	shards := map[byte][]prooftree.Line{}
	for i, e := range entries {
		if err := b.Add(must(e.Marshal())); err != nil {
			t.Fatal(err)
		}
		s := prooftree.ShardOf(e.Path)
		shards[s] = append(shards[s], prooftree.Line{Index: uint64(i), Path: e.Path})
	}
	for x := range b.Partial() {
		f[x.Tile.Path()] = x.Data
	}
	for s := range 256 {
		f[prooftree.ShardName(byte(s))] = prooftree.FormatShard(shards[byte(s)])
	}
	c := checkpoint.Checkpoint{Origin: origin, Size: b.Size(), Root: b.Root()}
	f["checkpoint"] = checkpoint.Note{Text: c.Text()}.With(must(k.Sign(c, uint64(logged.Unix())))).Marshal()
	return f
}

// remembered is a client.Memory of one log.
type remembered struct{ note []byte }

func (r *remembered) Load(string) ([]byte, error) { return r.note, nil }

func (r *remembered) Save(_ string, old, note []byte) error {
	if !bytes.Equal(old, r.note) {
		return client.ErrChanged
	}
	r.note = note
	return nil
}

func treeOptions(source prooftree.Source) TreeOptions {
	k := key(1, checkpoint.Ed25519, origin)
	return TreeOptions{Name: "tree", Source: source, Policy: must(checkpoint.ParsePolicy(fmt.Appendf(nil, "log %s\nquorum none\n", k.Verifier())))}
}

// uploads are n uploads of author ETHER, from the first on.
func uploads(n int, salt string) (out []*entry.Entry) {
	for i := range n {
		out = append(out, upload(fmt.Sprintf("authors/id/E/ET/ETHER/Dist%d-1.tar.gz", i), fmt.Append(nil, salt, i)))
	}
	return out
}

func TestTreeProves(t *testing.T) {
	void := &entry.Entry{Kind: entry.Void, Path: voidedPath, SHA256: digest(voided), Index: 1, Time: entry.TimeOf(logged)}
	source := treeOf(t, upload(goodPath, goodFile), upload(voidedPath, voided), void, snapshot(textPath, []byte(indexText)))
	for _, log := range []bool{false, true} {
		o := treeOptions(source)
		o.Log = log
		p := FromTree(t.Context(), o)
		w := newWorld(t, func(o *Options) { o.Provers = []Prover{p} })
		w.wantServed(indexPath, indexFile) // by its text
		w.wantServed(goodPath, goodFile)
		w.wantRefused(voidedPath, "403 Not In Transparency Log: revoked")
		// Only the log's own word says that something is not logged.
		want := "503 Cannot Verify: no proof to be had"
		if log {
			want = "403 Not In Transparency Log: not logged"
		}
		w.wantRefused(absentPath, want)
	}
}

func TestTreeThatIsNotThere(t *testing.T) {
	for name, source := range map[string]files{"nothing": {}, "not a checkpoint": {"checkpoint": []byte("x")}} {
		o := treeOptions(source)
		o.Log = true
		e, err := FromTree(t.Context(), o).Prove(t.Context(), goodPath, entry.Digest{})
		if err != nil || e.Bundle != nil || e.Absence != verify.Unreachable || e.Detail == "" {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

// Every tree is compared with what was seen before. One that is older cannot be, and proves nothing where there are no
// witnesses to vouch for it.
func TestTreeAgainstMemory(t *testing.T) {
	const path = "authors/id/E/ET/ETHER/Dist0-1.tar.gz"
	for _, tt := range []struct {
		name          string
		before, after []*entry.Entry
		misbehaviour  bool
		saved         bool
	}{
		{"the same", uploads(3, ""), uploads(3, ""), false, false},
		{"grown", uploads(3, ""), uploads(7, ""), false, true},
		{"grown from a power of two", uploads(4, ""), uploads(7, ""), false, true},
		{"older", uploads(7, ""), uploads(3, ""), false, false},
		{"another tree of the same size", uploads(3, ""), uploads(3, "x"), true, false},
		{"a larger one of another history", uploads(3, ""), uploads(7, "x"), true, false},
		{"the same from a power of two", uploads(4, ""), uploads(7, "x"), true, false},
	} {
		before := treeOf(t, tt.before...)
		memory := &remembered{before["checkpoint"]}
		o := treeOptions(treeOf(t, tt.after...))
		o.Memory = memory
		e, err := FromTree(t.Context(), o).Prove(t.Context(), path, entry.Digest{})
		var m *client.Misbehaviour
		if errors.As(err, &m) != tt.misbehaviour || tt.misbehaviour && m.Evidence == nil {
			t.Errorf("%s: %v, want misbehaviour: %v", tt.name, err, tt.misbehaviour)
		}
		older := len(tt.after) < len(tt.before)
		if !tt.misbehaviour && (e == nil || (e.Bundle == nil) != older || older && !strings.Contains(e.Detail, "older than the tree that was seen before")) {
			t.Errorf("%s: %+v", tt.name, e)
		}
		if saved := !bytes.Equal(memory.note, before["checkpoint"]); saved != tt.saved {
			t.Errorf("%s: remembered: %v, want %v", tt.name, saved, tt.saved)
		}
	}
}

// An older tree that witnesses have cosigned is a copy that lags.
func TestOlderTreeWithWitnesses(t *testing.T) {
	const path = "authors/id/E/ET/ETHER/Dist0-1.tar.gz"
	witness := key(9, checkpoint.CosignatureV1, "witness.example")
	cosigned := func(n int) files {
		f := treeOf(t, uploads(n, "")...)
		note := must(checkpoint.ParseNote(f["checkpoint"]))
		c := must(checkpoint.ParseText(note.Text))
		f["checkpoint"] = note.With(must(witness.Sign(c, uint64(logged.Unix())))).Marshal()
		return f
	}
	memory := &remembered{cosigned(7)["checkpoint"]}
	newest := memory.note
	o := treeOptions(cosigned(3))
	o.Policy = must(checkpoint.ParsePolicy(fmt.Appendf(nil, "log %s\nwitness w %s\nquorum w\n", key(1, checkpoint.Ed25519, origin).Verifier(), witness.Verifier())))
	o.Memory = memory
	e, err := FromTree(t.Context(), o).Prove(t.Context(), path, entry.Digest{})
	if err != nil || e.Bundle == nil || !bytes.Equal(memory.note, newest) {
		t.Errorf("%+v, %v, remembered %q", e, err, memory.note)
	}
}

// A tree that cannot show that it continues the one before proves nothing, and is not remembered.
func TestTreeWithoutItsTiles(t *testing.T) {
	memory := &remembered{treeOf(t, uploads(3, "")...)["checkpoint"]}
	before := memory.note
	source := treeOf(t, uploads(7, "")...)
	for name := range source {
		if bytes.HasPrefix([]byte(name), []byte("tile/0/")) {
			delete(source, name)
		}
	}
	o := treeOptions(source)
	o.Memory = memory
	e, err := FromTree(t.Context(), o).Prove(t.Context(), "authors/id/E/ET/ETHER/Dist0-1.tar.gz", entry.Digest{})
	if err != nil || e.Bundle != nil || !bytes.Equal(memory.note, before) {
		t.Errorf("%+v, %v, remembered %q", e, err, memory.note)
	}
}

// What is not in the tree may be in a newer one, which is looked for, but not for every request.
func TestTreeIsOpenedAgain(t *testing.T) {
	now := logged
	source := treeOf(t, uploads(3, "")...)
	o := treeOptions(source)
	o.Now = func() time.Time { return now }
	p := FromTree(t.Context(), o)
	for name, b := range treeOf(t, append(uploads(3, ""), upload(goodPath, goodFile))...) {
		source[name] = b
	}
	for _, step := range []struct {
		after time.Duration
		found bool
	}{{0, false}, {reopenAfter - 1, false}, {reopenAfter, true}} {
		now = logged.Add(step.after)
		e, err := p.Prove(t.Context(), goodPath, entry.Digest{})
		if err != nil || (e.Bundle != nil) != step.found {
			t.Errorf("after %v: %+v, %v, want a proof: %v", step.after, e, err, step.found)
		}
	}
}

func TestLocalFailureEndsEverything(t *testing.T) {
	o := treeOptions(treeOf(t, uploads(3, "")...))
	o.Memory = brokenMemory{}
	if _, err := FromTree(t.Context(), o).Prove(t.Context(), goodPath, entry.Digest{}); !errors.Is(err, errDamaged) {
		t.Errorf("%v, want the memory's error", err)
	}
}

var errDamaged = errors.New("damaged")

type brokenMemory struct{}

func (brokenMemory) Load(string) ([]byte, error)       { return nil, errDamaged }
func (brokenMemory) Save(string, []byte, []byte) error { return errDamaged }

// A source that accepts and says nothing costs a while, and no more; the file is proved from the next one.
func TestASourceThatStalls(t *testing.T) {
	for name, stalls := range map[string]string{"when it is opened": "checkpoint", "at a proof": "tile/"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := treeOptions(stalling{treeOf(t, upload(goodPath, goodFile)), stalls})
				began := time.Now()
				e, err := FromTree(t.Context(), o).Prove(t.Context(), goodPath, entry.Digest{})
				if err != nil || e.Bundle != nil || !strings.Contains(e.Detail, "deadline") {
					t.Errorf("%+v, %v", e, err)
				}
				if took := time.Since(began); took > 3*sourceTime {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

type stalling struct {
	files
	prefix string
}

func (s stalling) Get(ctx context.Context, name string, most int64) ([]byte, error) {
	if strings.HasPrefix(name, s.prefix) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.files.Get(ctx, name, most)
}
