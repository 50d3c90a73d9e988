package oracle

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	origin = "log.example/pause"
	dir    = "/store"
)

// A writer makes a log's store by hand, without the log.
type writer struct {
	*testing.T
	signer   note.Signer
	verifier string
	entries  []string
}

func newWriter(t *testing.T, entries ...string) *writer {
	t.Helper()
	secret, verifier, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{T: t, verifier: verifier, entries: entries}
	if w.signer, err = note.NewSigner(secret); err != nil {
		t.Fatal(err)
	}
	return w
}

// sign signs a checkpoint of any content.
func (w *writer) sign(size uint64, root [32]byte) []byte {
	w.Helper()
	text := fmt.Sprintf("%s\n%d\n%s\n", origin, size, base64.StdEncoding.EncodeToString(root[:]))
	b, err := note.Sign(&note.Note{Text: text}, w.signer)
	if err != nil {
		w.Fatal(err)
	}
	return b
}

// hashes are the entries' as tlog stores them.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) (out []tlog.Hash, err error) {
	for _, i := range indexes {
		out = append(out, h[i])
	}
	return out, nil
}

func (w *writer) root(entries []string) [32]byte {
	w.Helper()
	var h hashes
	for i, e := range entries {
		more, err := tlog.StoredHashes(int64(i), []byte(e), h)
		if err != nil {
			w.Fatal(err)
		}
		h = append(h, more...)
	}
	if len(entries) == 0 {
		return sha256.Sum256(nil)
	}
	r, err := tlog.TreeHash(int64(len(entries)), h)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func state(size uint64, root [32]byte, signed []byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, size)
	b = append(append(b, root[:]...), make([]byte, 16)...)
	return append(b, signed...)
}

// store are the keys and values of an honest log.
func (w *writer) store() map[string][]byte {
	w.Helper()
	kv := map[string][]byte{}
	last := map[string]uint64{}
	var tile, keys []byte
	var all hashes
	for i, e := range w.entries {
		n := uint64(i)
		kv[key('z', n)] = []byte(e)
		f := fields([]byte(e))
		prefix := make([]byte, 8)
		if f["kind"] != "conflict" {
			if before, ok := last[f["path"]]; ok {
				kv[key('v', n)] = binary.BigEndian.AppendUint64(nil, before)
			}
			last[f["path"]] = n
			sum := sha256.Sum256([]byte(f["path"]))
			copy(prefix, sum[:])
		}
		leaf := tlog.RecordHash([]byte(e))
		tile, keys = append(tile, leaf[:]...), append(keys, prefix...)
		more, err := tlog.StoredHashesForRecordHash(int64(i), leaf, all)
		if err != nil {
			w.Fatal(err)
		}
		all = append(all, more...)
		if n%256 == 255 {
			kv[key('t', n/256)], kv[key('k', n/256)] = tile, keys
			tile, keys = nil, nil
		}
	}
	size, root := uint64(len(w.entries)), w.root(w.entries)
	kv["c"] = state(size, root, w.sign(size, root))
	return kv
}

// read writes keys and values to a disk, and has the oracle read them.
func (w *writer) read(kv map[string][]byte) (*Log, error) {
	w.Helper()
	mem := vfs.NewCrashableMem()
	db, err := pebble.Open(dir, &pebble.Options{FS: mem, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	if err != nil {
		w.Fatal(err)
	}
	for k, v := range kv {
		if err := db.Set([]byte(k), v, pebble.Sync); err != nil {
			w.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		w.Fatal(err)
	}
	return Read(mem, dir, []string{w.verifier})
}

func entryOf(kind, path string, digest int, more string) string {
	return fmt.Sprintf("pauselog/v1\nkind %s\npath %s\nsha256 %064x\n%s", kind, path, digest, more)
}

func upload(n int) string { return entryOf("upload", fmt.Sprintf("authors/id/%d", n), n, "") }

// some is a history with all that a log may do.
func some() []string {
	all := []string{
		upload(0), upload(1), upload(2),
		entryOf("conflict", "authors/id/1", 1, fmt.Sprintf("other %064x\n", 7)),
		entryOf("delete", "authors/id/2", 2, ""),
		entryOf("upload", "authors/id/2", 2, ""), // restored
		entryOf("void", "authors/id/0", 0, "index 0\n"),
		entryOf("upload", "authors/id/0", 9, ""), // the path is free
		entryOf("index", "modules/a", 3, "time 2026-11-22T10:00:00Z\n"),
		entryOf("index", "modules/a", 4, "time 2026-11-22T10:00:01Z\n"),
	}
	for n := len(all); n < 600; n++ {
		all = append(all, upload(n))
	}
	return all
}

func TestHonestLogsAreRead(t *testing.T) {
	for _, size := range []int{0, 1, 10, 255, 256, 257, 600} {
		w := newWriter(t, some()[:size]...)
		l, err := w.read(w.store())
		if err != nil {
			t.Errorf("of %d entries: %v", size, err)
			continue
		}
		if l.Size != uint64(size) || l.Root != w.root(w.entries) {
			t.Errorf("of %d entries size %d and root %x are read", size, l.Size, l.Root)
		}
	}
}

func TestDamageIsFound(t *testing.T) {
	w := newWriter(t, some()...)
	honest := w.store()
	// A second history, with a signature of its own: all but what is compared with the first is right.
	other := &writer{T: t, signer: w.signer, verifier: w.verifier, entries: append(slices.Clone(w.entries[:599]), upload(7000))}
	fork := other.store()
	stranger := newWriter(t)
	root := w.root(w.entries)
	for name, tt := range map[string]struct {
		change func(map[string][]byte)
		want   error
	}{
		"the first entry is gone":        {func(kv map[string][]byte) { delete(kv, key('z', 0)) }, ErrLost},
		"an entry in the middle is gone": {func(kv map[string][]byte) { delete(kv, key('z', 300)) }, ErrLost},
		"the last entry is gone":         {func(kv map[string][]byte) { delete(kv, key('z', 599)) }, ErrLost},
		"an entry has one bit flipped":   {func(kv map[string][]byte) { kv[key('z', 300)][20] ^= 1 }, ErrFork},
		"two entries have changed places": {func(kv map[string][]byte) {
			kv[key('z', 300)], kv[key('z', 301)] = kv[key('z', 301)], kv[key('z', 300)]
		}, ErrFork},
		"the last entry is of a fork":      {func(kv map[string][]byte) { kv[key('z', 599)] = fork[key('z', 599)] }, ErrFork},
		"the state is of a fork":           {func(kv map[string][]byte) { kv["c"] = fork["c"] }, ErrFork},
		"another root is signed":           {func(kv map[string][]byte) { kv["c"] = state(600, root, w.sign(600, [32]byte{1})) }, ErrFork},
		"another size is signed":           {func(kv map[string][]byte) { kv["c"] = state(600, root, w.sign(599, root)) }, ErrFork},
		"another root is kept and signed":  {func(kv map[string][]byte) { kv["c"] = state(600, [32]byte{1}, w.sign(600, [32]byte{1})) }, ErrFork},
		"a stranger has signed":            {func(kv map[string][]byte) { kv["c"] = state(600, root, stranger.sign(600, root)) }, ErrFork},
		"nobody has signed":                {func(kv map[string][]byte) { kv["c"] = state(600, root, nil) }, ErrFork},
		"there is no state":                {func(kv map[string][]byte) { delete(kv, "c") }, ErrFalse},
		"less is signed than there is":     {func(kv map[string][]byte) { r := w.root(w.entries[:599]); kv["c"] = state(599, r, w.sign(599, r)) }, ErrFalse},
		"more is signed than there is":     {func(kv map[string][]byte) { kv["c"] = state(601, root, w.sign(601, root)) }, ErrLost},
		"a hash in a tile is another":      {func(kv map[string][]byte) { kv[key('t', 1)][40] ^= 1 }, ErrFalse},
		"a tile is gone":                   {func(kv map[string][]byte) { delete(kv, key('t', 0)) }, ErrFalse},
		"there is a tile that is not full": {func(kv map[string][]byte) { kv[key('t', 2)] = make([]byte, 32) }, ErrFalse},
		"a path's prefix is another":       {func(kv map[string][]byte) { kv[key('k', 0)][3] ^= 1 }, ErrFalse},
		"a predecessor is gone":            {func(kv map[string][]byte) { delete(kv, key('v', 5)) }, ErrFalse},
		"a predecessor is another":         {func(kv map[string][]byte) { kv[key('v', 5)][7]++ }, ErrFalse},
		"a predecessor that there is not":  {func(kv map[string][]byte) { kv[key('v', 100)] = make([]byte, 8) }, ErrFalse},
		"wrong nodes are kept":             {func(kv map[string][]byte) { kv[key('n', 0)] = make([]byte, 16*32) }, ErrFalse},
		"there is a key that nobody knows": {func(kv map[string][]byte) { kv["x"] = nil }, ErrFalse},
	} {
		kv := map[string][]byte{}
		for k, v := range maps.All(honest) {
			kv[k] = bytes.Clone(v)
		}
		tt.change(kv)
		if _, err := w.read(kv); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// Entries that no honest log takes after those before them are found, although all hashes and signatures are right.
func TestEntriesAgainstTheRulesAreFound(t *testing.T) {
	before := some()[:10]
	for name, e := range map[string]string{
		"a second digest for a path":              entryOf("upload", "authors/id/1", 8, ""),
		"the same upload again":                   upload(1),
		"another digest after a delete":           entryOf("upload", "authors/id/3", 8, ""),
		"a delete of another digest":              entryOf("delete", "authors/id/1", 8, ""),
		"a delete of what is not logged":          entryOf("delete", "authors/id/100", 1, ""),
		"a void of what is not logged":            entryOf("void", "authors/id/100", 1, "index 1\n"),
		"a conflict with what is not logged":      entryOf("conflict", "authors/id/100", 1, "other 1\n"),
		"a conflict that was said before":         before[3],
		"a conflict with a digest that is not it": entryOf("conflict", "authors/id/1", 5, "other 1\n"),
		"an index that is not newer":              entryOf("index", "modules/a", 5, "time 2026-11-22T10:00:01Z\n"),
		"a kind that nobody knows":                entryOf("rename", "authors/id/1", 1, ""),
	} {
		w := newWriter(t, append(slices.Clone(before), upload(3), entryOf("delete", "authors/id/3", 3, ""), e)...)
		if _, err := w.read(w.store()); !errors.Is(err, ErrFalse) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
