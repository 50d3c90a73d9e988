package sequencer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
)

func newKey(t *testing.T, a checkpoint.Algorithm, name string) *checkpoint.SignerKey {
	t.Helper()
	k, err := checkpoint.GenerateSigner(a, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// trusting is a policy of these log keys and no witnesses.
func trusting(t *testing.T, keys ...*checkpoint.SignerKey) *checkpoint.Policy {
	t.Helper()
	var logs []checkpoint.PolicyLog
	for _, k := range keys {
		logs = append(logs, checkpoint.PolicyLog{Key: k.Verifier()})
	}
	p, err := checkpoint.NewPolicy(logs...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// createWith makes an empty log of these keys.
func createWith(t *testing.T, fs vfs.FS, keys ...*checkpoint.SignerKey) {
	t.Helper()
	state, h, err := Init(origin, keys, clock)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Create("data", store.Options{FS: fs}, state); err != nil {
		t.Fatal(err)
	}
	writeHead(t, fs, h)
}

// openWith opens a log with these keys.
func openWith(t *testing.T, fs vfs.FS, keys []*checkpoint.SignerKey, retired ...*checkpoint.VerifierKey) (*testLog, error) {
	t.Helper()
	l := &testLog{fatal: make(chan error, 1)}
	var err error
	if l.store, err = store.Open("data", store.Options{FS: fs}); err != nil {
		t.Fatal(err)
	}
	f, err := fs.OpenReadWrite("head", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if l.head, err = head.Read(headFile{f}); err != nil {
		t.Fatal(err)
	}
	l.Sequencer, err = Open(Config{Origin: origin, Store: l.store, Head: l.head, Signers: keys, Retired: retired,
		Now: func() time.Time { return clock }, Fatal: func(err error) { l.fatal <- err }})
	if err != nil {
		return nil, errors.Join(err, l.head.Close(), l.store.Close())
	}
	return l, nil
}

func mustOpenWith(t *testing.T, fs vfs.FS, keys []*checkpoint.SignerKey, retired ...*checkpoint.VerifierKey) *testLog {
	t.Helper()
	l, err := openWith(t, fs, keys, retired...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// bundle is the proof of an entry, with the signature lines that bundles carry.
func (l *testLog) bundle(t *testing.T, index uint64) []byte {
	t.Helper()
	p := l.Published()
	e, err := l.store.Entry(index, p.Size)
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := l.store.Inclusion(index, p.Size)
	if err != nil {
		t.Fatal(err)
	}
	b, err := (&proof.Bundle{Entry: e, Index: index, Hashes: hashes, Checkpoint: p.Note}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// proves says whether somebody with this policy, and nothing else, accepts a bundle.
func proves(b []byte, p *checkpoint.Policy) error {
	bundle, err := proof.Parse(b)
	if err != nil {
		return err
	}
	o, err := p.Open(bundle.Checkpoint)
	if err != nil {
		return err
	}
	return bundle.Verify(o.Size, o.Root)
}

// signedBy are the key ids of the lines of the newest checkpoint, with those of ML-DSA.
func (l *testLog) signedBy(t *testing.T) string {
	t.Helper()
	b, err := l.Published().All()
	if err != nil {
		t.Fatal(err)
	}
	n, err := checkpoint.ParseNote(b)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range n.Signatures {
		ids = append(ids, fmt.Sprintf("%08x", s.KeyID))
	}
	return strings.Join(ids, " ")
}

func ids(keys ...*checkpoint.SignerKey) string {
	var out []string
	for _, k := range keys {
		out = append(out, fmt.Sprintf("%08x", k.Verifier().KeyID()))
	}
	return strings.Join(out, " ")
}

// A log changes both of its keys, with an overlap in which the old and the new ones sign. No
// reader is ever without a key that it knows, and what was proven before stays proven.
func TestKeyRotation(t *testing.T) {
	a, ma := newKey(t, checkpoint.Ed25519, origin), newKey(t, checkpoint.MLDSA44, origin)
	b, mb := newKey(t, checkpoint.Ed25519, origin), newKey(t, checkpoint.MLDSA44, origin)
	fs := vfs.NewMem()
	createWith(t, fs, a, ma)
	onlyA, onlyB, both := trusting(t, a, ma), trusting(t, b, mb), trusting(t, a, b, ma, mb)
	onlyMA, onlyMB := trusting(t, ma), trusting(t, mb)
	accepts := func(when string, l *testLog, want map[*checkpoint.Policy]bool) {
		t.Helper()
		all, err := l.Published().All()
		if err != nil {
			t.Fatal(err)
		}
		for p, ok := range want {
			o, err := p.Open(all)
			if ok && (err != nil || o.Size != l.Published().Size || o.Root != l.Published().Root) {
				t.Errorf("%s: not accepted: %v, by\n%s", when, err, p)
			}
			if !ok && !errors.Is(err, checkpoint.ErrUnknownLog) {
				t.Errorf("%s: expected an unknown log, found %v, by\n%s", when, err, p)
			}
		}
	}

	l := mustOpenWith(t, fs, []*checkpoint.SignerKey{a, ma})
	submit(t, l, upload(0, 0))
	first := l.bundle(t, 0)
	if got := l.signedBy(t); got != ids(a, ma) {
		t.Errorf("before the rotation: signed by %s", got)
	}
	old := l.Published()
	l.close(t)

	// The new keys come: at once, and also for the tree that was the newest before.
	l = mustOpenWith(t, fs, []*checkpoint.SignerKey{a, b, ma, mb})
	for _, when := range []string{"added", "added, and an entry later"} {
		if got := l.signedBy(t); got != ids(a, b, ma, mb) {
			t.Errorf("%s: signed by %s", when, got)
		}
		accepts(when, l, map[*checkpoint.Policy]bool{onlyA: true, onlyB: true, both: true, onlyMA: true, onlyMB: true})
		submit(t, l, upload(1, 1))
	}
	overlap := l.bundle(t, 1)
	l.close(t)

	// The old ones go.
	l = mustOpenWith(t, fs, []*checkpoint.SignerKey{b, mb}, a.Verifier(), ma.Verifier())
	for _, when := range []string{"retired", "retired, and an entry later"} {
		if got := l.signedBy(t); got != ids(b, mb) {
			t.Errorf("%s: signed by %s", when, got)
		}
		accepts(when, l, map[*checkpoint.Policy]bool{onlyA: false, onlyB: true, both: true, onlyMA: false, onlyMB: true})
		submit(t, l, upload(2, 2))
	}
	last := l.bundle(t, 2)
	consistency, err := l.store.Consistency(old.Size, l.Published().Size)
	if err == nil {
		err = tree.VerifyConsistency(old.Size, l.Published().Size, consistency, old.Root, l.Published().Root)
	}
	if err != nil {
		t.Errorf("the tree of the new keys does not continue that of the old ones: %v", err)
	}
	if h := l.head.Head(); h.Size != l.Published().Size || h.Root != l.Published().Root {
		t.Errorf("the head is %+v", h)
	}
	l.close(t)

	for _, tt := range []struct {
		name   string
		bundle []byte
		policy *checkpoint.Policy
		ok     bool
	}{
		{"from before, by an old policy", first, onlyA, true},
		{"from before, by one with both keys", first, both, true},
		{"from before, by one that gave the old key up", first, onlyB, false},
		{"from the overlap, by an old policy", overlap, onlyA, true},
		{"from the overlap, by one with both keys", overlap, both, true},
		{"from the overlap, by a new policy", overlap, onlyB, true},
		{"from after, by an old policy", last, onlyA, false},
		{"from after, by one with both keys", last, both, true},
		{"from after, by a new policy", last, onlyB, true},
	} {
		if err := proves(tt.bundle, tt.policy); (err == nil) != tt.ok {
			t.Errorf("a bundle %s: %v, want accepted: %v", tt.name, err, tt.ok)
		}
	}
}

// Old and new keys change places between two starts, with no commit by both: the newest
// checkpoint on disk is a retired key's alone.
func TestRetiredKeySignedTheNewestCheckpoint(t *testing.T) {
	a, b, stranger := newKey(t, checkpoint.Ed25519, origin), newKey(t, checkpoint.Ed25519, origin), newKey(t, checkpoint.Ed25519, origin)
	fs := vfs.NewMem()
	createWith(t, fs, a)
	l := mustOpenWith(t, fs, []*checkpoint.SignerKey{a})
	submit(t, l, upload(0, 0))
	stored := l.store.Head().Note
	if !bytes.Equal(l.Published().Note, stored) {
		t.Error("unchanged keys: what is published is not what is stored")
	}
	l.close(t)

	foreign := newKey(t, checkpoint.Ed25519, "log.example/other").Verifier()
	for name, retired := range map[string][]*checkpoint.VerifierKey{
		"no retired key":         nil,
		"another retired key":    {stranger.Verifier()},
		"another log's key":      {foreign},
		"an ML-DSA key of a log": {newKey(t, checkpoint.MLDSA44, origin).Verifier()},
	} {
		if _, err := openWith(t, fs, []*checkpoint.SignerKey{b}, retired...); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "no signature by a key of "+origin) {
			t.Errorf("%s: %v", name, err)
		}
	}

	l = mustOpenWith(t, fs, []*checkpoint.SignerKey{b}, stranger.Verifier(), a.Verifier())
	if got := l.signedBy(t); got != ids(b) {
		t.Errorf("signed by %s", got)
	}
	if p := l.Published(); p.Size != 1 || p.Root != l.store.Head().State.Root || p.Time != l.store.Head().Time {
		t.Errorf("another checkpoint than the one in the store: %+v", p)
	}
	if !bytes.Equal(l.store.Head().Note, stored) {
		t.Error("the start changed the store")
	}
	l.close(t)
	// As often as it likes, and back again.
	l = mustOpenWith(t, fs, []*checkpoint.SignerKey{a, b})
	if got := l.signedBy(t); got != ids(a, b) {
		t.Errorf("signed by %s", got)
	}
	submit(t, l, upload(1, 1))
	l.close(t)
}

// A retired key opens no way around the comparison with the head.
func TestRetiredKeysKeepTheHeadsRules(t *testing.T) {
	a, b := newKey(t, checkpoint.Ed25519, origin), newKey(t, checkpoint.Ed25519, origin)
	fs := vfs.NewMem()
	createWith(t, fs, a)
	l := mustOpenWith(t, fs, []*checkpoint.SignerKey{a})
	submit(t, l, upload(0, 0))
	l.close(t)
	for name, c := range map[string]struct {
		head head.Head
		want string
	}{
		"a head that is ahead":      {head.Head{Origin: origin, Size: 2, Root: tree.LeafHash(nil)}, "but 2 were signed"},
		"a head of another history": {head.Head{Origin: origin, Size: 1, Root: tree.LeafHash(nil)}, "two different histories"},
		"a head of another log":     {head.Head{Origin: "log.example/other", Size: 1, Root: tree.LeafHash(nil)}, "the head file is of the log"},
	} {
		writeHead(t, fs, c.head)
		if _, err := openWith(t, fs, []*checkpoint.SignerKey{b}, a.Verifier()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCurrentNote(t *testing.T) {
	a, b, c := newKey(t, checkpoint.Ed25519, origin), newKey(t, checkpoint.Ed25519, origin), newKey(t, checkpoint.Ed25519, origin)
	witness := newKey(t, checkpoint.CosignatureV1, "witness.example/w")
	cp := checkpoint.Checkpoint{Origin: origin, Size: 7, Root: tree.LeafHash([]byte("x"))}
	note := func(c checkpoint.Checkpoint, keys ...*checkpoint.SignerKey) []byte {
		n := checkpoint.Note{Text: c.Text()}
		for _, k := range keys {
			sig, err := k.Sign(c, 1)
			if err != nil {
				t.Fatal(err)
			}
			n = n.With(sig)
		}
		return n.Marshal()
	}
	damaged := func(keys ...*checkpoint.SignerKey) []byte {
		n, err := checkpoint.ParseNote(note(cp, keys...))
		if err != nil {
			t.Fatal(err)
		}
		n.Signatures[0].Blob[5] ^= 1
		return n.Marshal()
	}
	for _, tt := range []struct {
		name string
		note []byte
		keys []*checkpoint.SignerKey
		want []byte // nil: an error
	}{
		{"the same keys", note(cp, a, b), []*checkpoint.SignerKey{a, b}, note(cp, a, b)},
		{"in another order", note(cp, b, a), []*checkpoint.SignerKey{a, b}, note(cp, a, b)},
		{"one more", note(cp, a), []*checkpoint.SignerKey{a, b}, note(cp, a, b)},
		{"one less", note(cp, a, b), []*checkpoint.SignerKey{b}, note(cp, b)},
		{"all others", note(cp, a, b), []*checkpoint.SignerKey{c}, note(cp, c)},
		{"lines of others go", note(cp, a, witness), []*checkpoint.SignerKey{a}, note(cp, a)},
		{"a wrong line of a key that stays", damaged(a, b), []*checkpoint.SignerKey{a, b}, nil},
		{"a wrong line of a key that goes", damaged(a, b), []*checkpoint.SignerKey{b}, note(cp, b)},
		{"a note of another tree", note(checkpoint.Checkpoint{Origin: origin, Size: 8, Root: cp.Root}, a), []*checkpoint.SignerKey{a}, nil},
		{"no note", []byte("x"), []*checkpoint.SignerKey{a}, nil},
	} {
		s := Sequencer{c: Config{Origin: origin, Signers: tt.keys}}
		if err := s.takeKeys(); err != nil {
			t.Fatal(err)
		}
		got, err := s.currentNote(tt.note, cp)
		if (err == nil) != (tt.want != nil) || !bytes.Equal(got, tt.want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", tt.name, err, got, tt.want)
		}
	}
}

// A line that the log's other keys, current or retired, do not stand by is damage, even if one
// line is right.
func TestOwnCheckpointRefuses(t *testing.T) {
	a, b := newKey(t, checkpoint.Ed25519, origin), newKey(t, checkpoint.Ed25519, origin)
	s := Sequencer{c: Config{Origin: origin, Signers: []*checkpoint.SignerKey{b}}}
	if err := s.takeKeys(); err != nil {
		t.Fatal(err)
	}
	s.c.Retired = []*checkpoint.VerifierKey{a.Verifier()}
	good := checkpoint.Checkpoint{Origin: origin, Size: 7, Root: tree.LeafHash([]byte("x"))}
	sigA, errA := a.Sign(good, 0)
	sigB, errB := b.Sign(good, 0)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	wrongA := sigA
	wrongA.Blob = binary.BigEndian.AppendUint64(nil, 1)
	wrongA.Blob = append(wrongA.Blob, sigA.Blob[8:]...)
	note := func(sigs ...checkpoint.Signature) []byte {
		return checkpoint.Note{Text: good.Text(), Signatures: sigs}.Marshal()
	}
	for name, n := range map[string][]byte{"both": note(sigA, sigB), "the current key": note(sigB), "the retired key": note(sigA)} {
		if c, err := s.ownCheckpoint(n); err != nil || c != good {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	for name, n := range map[string][]byte{"a wrong line before a right one": note(wrongA, sigB), "and after": note(sigB, wrongA), "alone": note(wrongA)} {
		if c, err := s.ownCheckpoint(n); !errors.Is(err, checkpoint.ErrBadSignature) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	// A key that the log does not know, or no longer, counts for nothing.
	s.c.Retired = nil
	if c, err := s.ownCheckpoint(note(sigA)); err == nil {
		t.Errorf("a stranger's: %+v", c)
	}
	if c, err := s.ownCheckpoint(note(wrongA, sigB)); err != nil {
		t.Errorf("a stranger's wrong line besides: %+v, %v", c, err)
	}
}
