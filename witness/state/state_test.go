package state

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/tree"
)

const origin = "log.example/pause"

// key makes the key of a name from a seed.
func key(t testing.TB, alg checkpoint.Algorithm, name string, seed byte) *checkpoint.SignerKey {
	t.Helper()
	k, err := checkpoint.GenerateSigner(alg, name, bytes.NewReader(bytes.Repeat([]byte{seed}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func verifiers(keys ...*checkpoint.SignerKey) (v []*checkpoint.VerifierKey) {
	for _, k := range keys {
		v = append(v, k.Verifier())
	}
	return v
}

// rootOf is a root for a size, of one history.
func rootOf(history byte, size uint64) tree.Hash {
	if size == 0 {
		return tree.EmptyRoot
	}
	return tree.LeafHash(fmt.Appendf(nil, "%d %d", history, size))
}

// cosigned is a checkpoint with a witness's line below it. The State does not verify it.
func cosigned(t testing.TB, origin string, size uint64, root tree.Hash, time uint64) Cosigned {
	t.Helper()
	c := checkpoint.Checkpoint{Origin: origin, Size: size, Root: root}
	sig, err := key(t, checkpoint.CosignatureV1, name, 1).Sign(c, time)
	if err != nil {
		t.Fatal(err)
	}
	return Cosigned{Size: size, Root: root, Time: time, Note: checkpoint.Note{Text: c.Text(), Signatures: []checkpoint.Signature{sig}}.Marshal()}
}

func logKeys(t testing.TB, origin string) []*checkpoint.VerifierKey {
	return verifiers(key(t, checkpoint.Ed25519, origin, 7))
}

func add(t testing.TB, s *State, origin string) {
	t.Helper()
	if ok, err := s.Add(origin, logKeys(t, origin), 0, ""); err != nil || !ok {
		t.Fatalf("adding %s: %v, %v", origin, ok, err)
	}
}

func get(t testing.TB, s *State, origin string) Log {
	t.Helper()
	l, ok := s.Log(originHash(origin))
	if !ok {
		t.Fatalf("%s is not known", origin)
	}
	return l
}

// grow cosigns a larger checkpoint.
func grow(t testing.TB, s *State, origin string, size, time uint64) {
	t.Helper()
	l := get(t, s, origin)
	if err := s.Update(origin, l.Size, l.Root, cosigned(t, origin, size, rootOf(1, size), time)); err != nil {
		t.Fatal(err)
	}
}

// folders is where a state is on a real disk.
type folders struct{ dir, head string }

func newFolders(t testing.TB) folders {
	t.Helper()
	f := folders{filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "head")}
	if err := Init(f.dir, f.head, name); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f folders) open(t testing.TB) *State {
	t.Helper()
	s, err := Open(f.dir, f.head, name, func(err error) { t.Errorf("fatal: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestWhatWasCosignedIsThereAfterARestart(t *testing.T) {
	f := newFolders(t)
	s := f.open(t)
	add(t, s, origin)
	add(t, s, "log.example/other")
	if ok, err := s.Add("log.example/third", logKeys(t, "log.example/third"), 24, "ops@log.example <&>"); err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	grow(t, s, origin, 5, 1000)
	grow(t, s, origin, 5, 1001)
	grow(t, s, "log.example/other", 0, 1002)
	grow(t, s, origin, 9, 1003)
	if err := s.Disable("log.example/other"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(f.dir, f.head, name, nil); !errors.Is(err, head.ErrLocked) {
		t.Errorf("a second Open: %v", err)
	}
	want := fmt.Sprintf("%+v", describe(s.Logs()))
	if inspected, err := Inspect(f.dir); err != nil || fmt.Sprintf("%+v", describe(inspected)) != want {
		t.Errorf("Inspect beside it: %+v, %v", describe(inspected), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.AddKey(origin, key(t, checkpoint.Ed25519, origin, 9).Verifier()); !errors.Is(err, ErrClosed) {
		t.Errorf("a change after Close: %v", err)
	}
	s = f.open(t)
	if got := fmt.Sprintf("%+v", describe(s.Logs())); got != want {
		t.Errorf("after the restart\n%s\nwant\n%s", got, want)
	}
	l := get(t, s, origin)
	if l.Size != 9 || l.Root != rootOf(1, 9) || l.Time != 1003 || s.Floor() != 1003 || s.Name() != name {
		t.Errorf("%+v, floor %d", l, s.Floor())
	}
	if third := get(t, s, "log.example/third"); third.QPD != 24 || third.Contact != "ops@log.example <&>" || third.Time != 0 {
		t.Errorf("%+v", third)
	}
}

// describe makes logs comparable.
func describe(logs []Log) (out []string) {
	for _, l := range logs {
		b, err := l.marshal()
		out = append(out, fmt.Sprintf("%s %v", b, err))
	}
	return out
}

func TestInitIsDeliberate(t *testing.T) {
	f := newFolders(t)
	other := filepath.Join(t.TempDir(), "other")
	for what, err := range map[string]error{
		"over another head":                 Init(other, f.head, name),
		"a head within the folder":          Init(other, filepath.Join(other, "head"), name),
		"a name that no key can have":       Init(other, other+".head", "a witness"),
		"in a folder with a witness in it":  func() error { s := f.open(t); add(t, s, origin); s.Close(); return Init(f.dir, other+".head", name) }(),
		"where there is no parent":          Init(filepath.Join(other, "a", "b"), other+".head", name),
		"in a folder that is a file's name": Init(f.head, other+".head", name),
	} {
		if err == nil {
			t.Errorf("Init %s succeeds", what)
		}
	}
	if err := Init(other, filepath.Join(f.head, "head"), name); err == nil || strings.Contains(err.Error(), "exists") {
		t.Errorf("a head file below a file: %v", err)
	}
	if _, err := os.Stat(other + ".head"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused Init left a head file: %v", err)
	}
}

func TestAddNeverReplaces(t *testing.T) {
	s := newDisk(t).mustStart(t)
	add(t, s, origin)
	grow(t, s, origin, 3, 1000)
	before := get(t, s, origin)

	if ok, err := s.Add(origin, logKeys(t, origin), 99, "other"); ok || err != nil {
		t.Errorf("the same again: %v, %v", ok, err)
	}
	second := key(t, checkpoint.MLDSA44, origin, 8).Verifier()
	if ok, err := s.Add(origin, append(logKeys(t, origin), second), 0, ""); ok || !errors.Is(err, ErrOtherKeys) {
		t.Errorf("with another key: %v, %v", ok, err)
	}
	if got := get(t, s, origin); got.Sequence != before.Sequence || got.QPD != 0 {
		t.Errorf("it changed to %+v", got)
	}
	for range 2 { // the second time it is known
		if err := s.AddKey(origin, second); err != nil {
			t.Fatal(err)
		}
	}
	got := get(t, s, origin)
	if len(got.Keys) != 2 || got.Sequence != before.Sequence+1 || got.Size != 3 || got.Time != 1000 {
		t.Errorf("after AddKey: %+v", got)
	}
	if ok, err := s.Add(origin, logKeys(t, origin), 0, ""); ok || err != nil {
		t.Errorf("with one of its keys: %v, %v", ok, err)
	}
	if err := s.AddKey("log.example/unknown", second); !errors.Is(err, ErrUnknownLog) {
		t.Errorf("a key for an unknown log: %v", err)
	}
}

func TestAddRefusesWhatCannotBeALog(t *testing.T) {
	s := newDisk(t).mustStart(t)
	k := logKeys(t, origin)
	var nine []*checkpoint.VerifierKey
	for i := range byte(9) {
		nine = append(nine, key(t, checkpoint.Ed25519, origin, i+1).Verifier())
	}
	for what, err := range map[string]error{
		"no origin":          second(s.Add("", k, 0, "")),
		"a space in it":      second(s.Add("log example", k, 0, "")),
		"an endless origin":  second(s.Add(strings.Repeat("x", 256), k, 0, "")),
		"no key":             second(s.Add(origin, nil, 0, "")),
		"nine keys":          second(s.Add(origin, nine, 0, "")),
		"one key twice":      second(s.Add(origin, append(k, k...), 0, "")),
		"a witness's key":    second(s.Add(origin, verifiers(key(t, checkpoint.CosignatureV1, origin, 1)), 0, "")),
		"a contact of lines": second(s.Add(origin, k, 0, "a\nb")),
		"an endless contact": second(s.Add(origin, k, 0, strings.Repeat("x", MaxContact+1))),
	} {
		if err == nil || errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(s.Logs()) != 0 || s.Err() != nil {
		t.Errorf("logs %v, %v", s.Logs(), s.Err())
	}
	add(t, s, origin)
}

func second(_ bool, err error) error { return err }

func TestDisabledLogKeepsWhatItHas(t *testing.T) {
	d := newDisk(t)
	s := d.mustStart(t)
	add(t, s, origin)
	grow(t, s, origin, 3, 1000)
	for range 2 {
		if err := s.Disable(origin); err != nil {
			t.Fatal(err)
		}
	}
	l := get(t, s, origin)
	if !l.Disabled || l.Size != 3 || l.Sequence != 3 {
		t.Errorf("%+v", l)
	}
	if err := s.Update(origin, 3, l.Root, cosigned(t, origin, 4, rootOf(1, 4), 1001)); !errors.Is(err, ErrDisabled) {
		t.Errorf("cosigning for it: %v", err)
	}
	if ok, err := s.Add(origin, l.Keys, 0, ""); ok || err != nil || !get(t, s, origin).Disabled {
		t.Errorf("adding it enabled it: %v, %v", ok, err)
	}
	s = d.mustStart(t)
	if err := s.Enable(origin); err != nil {
		t.Fatal(err)
	}
	grow(t, s, origin, 4, 1001)
}

func TestUpdateRefuses(t *testing.T) {
	s := newDisk(t).mustStart(t)
	add(t, s, origin)
	grow(t, s, origin, 5, 1000)
	root := rootOf(1, 5)
	for _, tt := range []struct {
		name     string
		size     uint64
		root     tree.Hash
		next     Cosigned
		conflict bool
	}{
		{"an expected size that is behind", 4, root, cosigned(t, origin, 6, rootOf(1, 6), 1001), true},
		{"an expected size that is ahead", 6, root, cosigned(t, origin, 6, rootOf(1, 6), 1001), true},
		{"another expected root", 5, rootOf(2, 5), cosigned(t, origin, 6, rootOf(1, 6), 1001), true},
		{"a smaller size", 5, root, cosigned(t, origin, 4, rootOf(1, 4), 1001), false},
		{"another root of its size", 5, root, cosigned(t, origin, 5, rootOf(2, 5), 1001), false},
		{"an earlier time", 5, root, cosigned(t, origin, 6, rootOf(1, 6), 999), false},
		{"no time", 5, root, Cosigned{Size: 6, Root: rootOf(1, 6)}, false},
		{"a note of another checkpoint", 5, root, func() Cosigned {
			c := cosigned(t, origin, 6, rootOf(1, 6), 1001)
			c.Size = 7
			return c
		}(), false},
		{"a note of another log", 5, root, cosigned(t, "log.example/other", 6, rootOf(1, 6), 1001), false},
		{"no note", 5, root, Cosigned{Size: 6, Root: rootOf(1, 6), Time: 1001}, false},
	} {
		err := s.Update(origin, tt.size, tt.root, tt.next)
		if err == nil || errors.Is(err, ErrConflict) != tt.conflict || errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if l := get(t, s, origin); l.Size != 5 || l.Root != root || l.Time != 1000 || s.Err() != nil {
		t.Errorf("it is %+v now, %v", l, s.Err())
	}
	if err := s.Update("log.example/unknown", 0, tree.EmptyRoot, cosigned(t, "log.example/unknown", 1, rootOf(1, 1), 1001)); !errors.Is(err, ErrUnknownLog) {
		t.Errorf("an unknown log: %v", err)
	}
	grow(t, s, origin, 6, 1001)
}

// Of many updates at once that all expect the same, one wins.
func TestUpdateIsACompareAndSwap(t *testing.T) {
	s := newFolders(t).open(t)
	add(t, s, origin)
	for round := uint64(0); round < 3; round++ {
		l := get(t, s, origin)
		var wg sync.WaitGroup
		won := make(chan byte, 8)
		for i := range byte(8) {
			next := cosigned(t, origin, l.Size+1, rootOf(i+1, l.Size+1), 1000+round)
			wg.Go(func() {
				switch err := s.Update(origin, l.Size, l.Root, next); {
				case err == nil:
					won <- i + 1
				case !errors.Is(err, ErrConflict):
					t.Errorf("%v", err)
				}
			})
		}
		wg.Wait()
		close(won)
		winner, ok := <-won
		if _, two := <-won; !ok || two || get(t, s, origin).Root != rootOf(winner, l.Size+1) {
			t.Fatalf("round %d: winner %v, another %v", round, ok, two)
		}
	}
}

func TestLargestRecordFits(t *testing.T) {
	f := newFolders(t)
	s := f.open(t)
	long := strings.Repeat("x", 255)
	var signers []*checkpoint.SignerKey
	for i := range byte(MaxKeys) {
		signers = append(signers, key(t, checkpoint.MLDSA44, long, i+1))
	}
	if ok, err := s.Add(long, verifiers(signers...), 1<<31, strings.Repeat("y", MaxContact)); !ok || err != nil {
		t.Fatal(err)
	}
	c := checkpoint.Checkpoint{Origin: long, Size: tree.MaxSize, Root: rootOf(1, 1)}
	note := checkpoint.Note{Text: c.Text()}
	for _, k := range append(signers, key(t, checkpoint.CosignatureV1, strings.Repeat("w", 255), 1), key(t, checkpoint.MLDSA44, strings.Repeat("w", 255), 1)) {
		sig, err := k.Sign(c, tree.MaxSize)
		if err != nil {
			t.Fatal(err)
		}
		note.Signatures = append(note.Signatures, sig)
	}
	next := Cosigned{Size: c.Size, Root: c.Root, Time: tree.MaxSize, Note: note.Marshal()}
	if err := s.Update(long, 0, tree.EmptyRoot, next); err != nil {
		t.Fatal(err)
	}
	// Something larger is refused before it is written.
	for i := range byte(20) {
		sig, _ := key(t, checkpoint.MLDSA44, strings.Repeat("z", 250)+fmt.Sprint(i), i).Sign(c, 1)
		note.Signatures = append(note.Signatures, sig)
	}
	large := next
	large.Note = note.Marshal()
	if err := s.Update(long, c.Size, c.Root, large); err == nil || errors.Is(err, ErrBroken) {
		t.Errorf("a record that is too large: %v", err)
	}
	if err := s.Update(long, c.Size, c.Root, next); err != nil {
		t.Errorf("and then: %v", err)
	}
	s.Close()
	if l := get(t, f.open(t), long); !bytes.Equal(l.Note, next.Note) {
		t.Error("the note changed")
	}
}

func TestAcceptedTimeReplacesWhatWasSignedBefore(t *testing.T) {
	f := newFolders(t)
	s := f.open(t)
	add(t, s, origin)
	add(t, s, "log.example/other")
	if s.Floor() != 0 {
		t.Errorf("the floor of a new witness is %d", s.Floor())
	}
	grow(t, s, origin, 5, 9000) // the clock was ahead
	if err := s.AcceptTime(500); err != nil || s.Floor() != 500 {
		t.Fatalf("floor %d, %v", s.Floor(), err)
	}
	if err := s.Update(origin, 5, rootOf(1, 5), cosigned(t, origin, 6, rootOf(1, 6), 499)); err == nil {
		t.Error("a time before the accepted one is signed")
	}
	// A change that is no cosignature does not bring the old time back.
	if err := s.AddKey(origin, key(t, checkpoint.Ed25519, origin, 9).Verifier()); err != nil || s.Floor() != 500 {
		t.Errorf("floor %d, %v", s.Floor(), err)
	}
	s.Close()
	s = f.open(t)
	if s.Floor() != 500 {
		t.Errorf("after a restart the floor is %d", s.Floor())
	}
	grow(t, s, origin, 6, 600)
	s.Close()
	s = f.open(t)
	if s.Floor() != 600 {
		t.Errorf("after a cosignature the floor is %d", s.Floor())
	}
	s.Close()
	for _, bad := range []string{"", "time 5\n", "time 05\nsequence 1\n", "time 5\nsequence 1\n\n", "time 500\nsequence 99\n"} {
		if err := os.WriteFile(filepath.Join(f.dir, clockFile), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(f.dir, f.head, name, nil); !errors.Is(err, ErrRefused) {
			t.Errorf("clock file %q: %v, %v", bad, s, err)
		}
	}
}

func TestRecordHasOneEncoding(t *testing.T) {
	s := newDisk(t).mustStart(t)
	add(t, s, origin)
	grow(t, s, origin, 5, 1000)
	l := get(t, s, origin)
	good, err := l.marshal()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := unmarshal(good); err != nil || back.Hash() != l.Hash() {
		t.Fatalf("%+v, %v", back, err)
	}
	replace := func(old, new string) []byte {
		b := bytes.Replace(good, []byte(old), []byte(new), 1)
		if bytes.Equal(b, good) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"empty":                       nil,
		"cut":                         good[:len(good)-2],
		"more behind it":              append(bytes.Clone(good), '\n'),
		"another field":               replace(`"size"`, `"more": 1, "size"`),
		"a field twice":               replace(`"size": 5`, `"size": 5, "size": 5`),
		"a field in capitals":         replace(`"size"`, `"Size"`),
		"an escape":                   replace("pause", `\u0070ause`),
		"another size than its note":  replace(`"size": 5`, `"size": 6`),
		"a size below 0":              replace(`"size": 5`, `"size": -5`),
		"a root that is none":         replace(l.Root.String(), "AAAA"),
		"another origin than its key": replace(`"origin": "log`, `"origin": "xog`),
		"no keys":                     replace(l.Keys[0].String(), ""),
		"a time without a note":       replace(`"time": 1000`, `"time": 0`),
		"sequence 0":                  replace(`"sequence": 2`, `"sequence": 0`),
		"signed after its sequence":   replace(`"signed": 2`, `"signed": 3`),
	} {
		if l, err := unmarshal(b); err == nil {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

func FuzzRecord(f *testing.F) {
	s := newDisk(f).mustStart(f)
	add(f, s, origin)
	for _, size := range []uint64{0, 5} {
		b, err := get(f, s, origin).marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		grow(f, s, origin, size, 1000)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := unmarshal(b)
		if err != nil {
			return
		}
		if again, err := l.marshal(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q is written again as %q, %v", b, again, err)
		}
	})
}

// The digest is over the pairs of origin hash and the record's SHA-256, in order of the hash.
func TestHeadIsOverAllRecords(t *testing.T) {
	d := newDisk(t)
	s := d.mustStart(t)
	origins := []string{"log.example/a", "log.example/b", "log.example/c", "log.example/d"}
	rand.Shuffle(len(origins), func(i, j int) { origins[i], origins[j] = origins[j], origins[i] })
	for i, o := range origins {
		add(t, s, o)
		grow(t, s, o, uint64(i), 1000)
	}
	byHash := map[string]string{}
	for _, o := range origins {
		byHash[originHash(o)] = o
	}
	h := sha256.New()
	for _, hash := range slices.Sorted(maps.Keys(byHash)) {
		record, err := get(t, s, byHash[hash]).marshal()
		if err != nil {
			t.Fatal(err)
		}
		origin, sum := sha256.Sum256([]byte(byHash[hash])), sha256.Sum256(record)
		h.Write(origin[:])
		h.Write(sum[:])
	}
	k, err := head.Read(d.head)
	if err != nil {
		t.Fatal(err)
	}
	if got := k.Head(); got.Origin != name || got.Size != 8 || got.Root != tree.Hash(h.Sum(nil)) {
		t.Errorf("the head says %+v", got)
	}
}
