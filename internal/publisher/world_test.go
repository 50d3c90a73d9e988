package publisher

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/witness/client"
	"github.com/pauselog/pauselog/witness/protocol"
)

const origin = "log.example/pause"

func mustKey(t testing.TB, alg checkpoint.Algorithm, name string) *checkpoint.SignerKey {
	t.Helper()
	k, err := checkpoint.GenerateSigner(alg, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A history is the hashes of a log's leaves in the independent implementation's order.
type history struct {
	stored []tlog.Hash
	size   int64
}

func (h *history) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, h.stored[i])
	}
	return out, nil
}

func (h *history) append(t testing.TB, entry string) {
	t.Helper()
	hashes, err := tlog.StoredHashes(h.size, []byte(entry), h)
	if err != nil {
		t.Fatal(err)
	}
	h.stored, h.size = append(h.stored, hashes...), h.size+1
}

// A log signs without a sequencer.
type log struct {
	t      testing.TB
	keys   []*checkpoint.SignerKey // Ed25519, then ML-DSA-44
	mu     sync.Mutex
	h      history
	open   bool
	newest sequencer.Newest
}

func newLog(t testing.TB, entries int, keys ...*checkpoint.SignerKey) *log {
	if keys == nil {
		keys = []*checkpoint.SignerKey{mustKey(t, checkpoint.Ed25519, origin), mustKey(t, checkpoint.MLDSA44, origin)}
	}
	l := &log{t: t, keys: keys}
	l.append(entries)
	return l
}

// append logs entries, and signs.
func (l *log) append(entries int, prefix ...string) {
	l.mu.Lock()
	for range entries {
		l.h.append(l.t, strings.Join(prefix, "")+fmt.Sprint(l.h.size))
	}
	size := uint64(l.h.size)
	l.mu.Unlock()
	root, err := l.Root(size)
	if err != nil {
		l.t.Error(err)
	}
	c := checkpoint.Checkpoint{Origin: origin, Size: size, Root: root}
	sig, err := l.keys[0].Sign(c, 0)
	if err != nil {
		l.t.Error(err)
	}
	note := checkpoint.Note{Text: c.Text(), Signatures: []checkpoint.Signature{sig}}.Marshal()
	l.newest.Set(sequencer.NewSigned(size, root, 1767225600+size, note, func() ([]byte, error) { return l.WithMLDSA(note, 1767225600+size) }))
}

func (l *log) Signed() *sequencer.Signed { return l.newest.Get() }

func (l *log) WithMLDSA(note []byte, time uint64) ([]byte, error) {
	n, err := checkpoint.ParseNote(note)
	if err != nil {
		return nil, err
	}
	c, err := checkpoint.ParseText(n.Text)
	if err != nil {
		return nil, err
	}
	sig, err := l.keys[1].Sign(c, time)
	return n.With(sig).Marshal(), err
}

func (l *log) TakeSubmissions() { l.mu.Lock(); l.open = true; l.mu.Unlock() }

func (l *log) isOpen() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.open }

func (l *log) Root(size uint64) (tree.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if size == 0 {
		return tree.EmptyRoot, nil
	}
	h, err := tlog.TreeHash(int64(size), &l.h)
	return tree.Hash(h), err
}

func (l *log) Consistency(size1, size2 uint64) (out []tree.Hash, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := tlog.ProveTree(int64(size2), int64(size1), &l.h)
	for _, h := range p {
		out = append(out, tree.Hash(h))
	}
	return out, err
}

// A fake is a witness, honest unless it is told otherwise.
type fake struct {
	t    testing.TB
	name string
	log  *checkpoint.VerifierKey // that it trusts
	keys []*checkpoint.SignerKey

	mu       sync.Mutex
	c        checkpoint.Checkpoint
	shown    []byte // what it cosigned last
	down     bool
	hang     bool
	answer   error // in place of all else
	garbage  bool  // its signatures do not verify
	times    []time.Time
	requests []*protocol.AddCheckpoint
}

func (f *fake) set(change func()) { f.mu.Lock(); change(); f.mu.Unlock() }

func (f *fake) asked() int { f.mu.Lock(); defer f.mu.Unlock(); return len(f.times) }

func (f *fake) AddCheckpoint(ctx context.Context, r *protocol.AddCheckpoint) ([]checkpoint.Signature, error) {
	f.mu.Lock()
	hang := f.hang
	f.times, f.requests = append(f.times, time.Now()), append(f.requests, r)
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case <-time.After(time.Millisecond):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, errors.New("connection refused")
	}
	if f.answer != nil {
		return nil, f.answer
	}
	n, err := checkpoint.ParseNote(r.Note)
	if err != nil {
		f.t.Errorf("%s was sent %v", f.name, err)
		return nil, client.ErrBadRequest
	}
	c, err := checkpoint.ParseText(n.Text)
	if err != nil {
		f.t.Errorf("%s was sent %v", f.name, err)
		return nil, client.ErrBadRequest
	}
	trusted := false
	for _, s := range n.Signatures {
		if f.log.Matches(s) {
			if _, err := f.log.Verify(n.Text, s); err != nil {
				f.t.Errorf("%s was sent a signature that does not verify: %v", f.name, err)
			}
			trusted = true
		}
	}
	switch {
	case !trusted:
		return nil, client.ErrForbidden
	case r.Old > c.Size:
		f.t.Errorf("%s was sent old %d with size %d", f.name, r.Old, c.Size)
		return nil, client.ErrBadRequest
	case r.Old != f.c.Size:
		return nil, &client.SizeError{Size: f.c.Size}
	}
	if err := tree.VerifyConsistency(r.Old, c.Size, r.Proof, f.c.Root, c.Root); err != nil && (r.Old != 0 || len(r.Proof) != 0) {
		return nil, client.ErrUnprocessable
	}
	f.c = c
	var sigs []checkpoint.Signature
	for _, k := range f.keys {
		s, err := k.Sign(c, uint64(time.Now().Unix()))
		if err != nil {
			f.t.Error(err)
		}
		if f.garbage {
			s.Blob[20]++
		}
		sigs = append(sigs, s)
	}
	f.shown = n.With(sigs...).Marshal()
	return sigs, nil
}

func (f *fake) Checkpoint(context.Context, string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shown == nil {
		return nil, client.ErrUnknownLog
	}
	return f.shown, nil
}

// A world is a log with three witnesses, of which two are needed.
type world struct {
	*testing.T
	log       *log
	witnesses []*fake
	policy    *checkpoint.Policy
	dir       string
}

func newWorld(t *testing.T, entries int) *world {
	w := &world{T: t, log: newLog(t, entries), dir: t.TempDir()}
	for i := range 3 {
		name := fmt.Sprintf("w%d.example/witness", i+1)
		w.witnesses = append(w.witnesses, &fake{t: t, name: name, log: w.log.keys[0].Verifier(), c: checkpoint.Checkpoint{Root: tree.EmptyRoot},
			keys: []*checkpoint.SignerKey{mustKey(t, checkpoint.CosignatureV1, name), mustKey(t, checkpoint.MLDSA44, name)}})
	}
	w.policy = w.policyOf(2, w.witnesses...)
	return w
}

func (w *world) policyOf(k int, witnesses ...*fake) *checkpoint.Policy {
	w.Helper()
	text := fmt.Sprintf("log %v\nlog %v\n", w.log.keys[0].Verifier(), w.log.keys[1].Verifier())
	group := ""
	for _, f := range witnesses {
		n := strings.TrimSuffix(f.name, ".example/witness")
		text += fmt.Sprintf("witness %[1]s-ed %[2]v https://%[3]s\nwitness %[1]s-ml %[4]v https://%[3]s\ngroup %[1]s any %[1]s-ed %[1]s-ml\n",
			n, f.keys[0].Verifier(), f.name, f.keys[1].Verifier())
		group += " " + n
	}
	p, err := checkpoint.ParsePolicy(fmt.Appendf([]byte(text), "group g %d%s\nquorum g\n", k, group))
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func (w *world) config() Config {
	return Config{Origin: origin, Policy: w.policy, Keys: []*checkpoint.VerifierKey{w.log.keys[0].Verifier(), w.log.keys[1].Verifier()}, Log: w.log, Tree: w.log,
		File: filepath.Join(w.dir, "published"), Evidence: filepath.Join(w.dir, "evidence"),
		Connect: func(url string) (Asker, error) {
			for _, f := range w.witnesses {
				if url == "https://"+f.name {
					return f, nil
				}
			}
			return nil, errors.New("no such witness")
		}}
}

// A running publisher. Every published checkpoint is checked.
type running struct {
	*Publisher
	w      *world
	cancel context.CancelFunc
	ended  chan error
}

func (w *world) start(change ...func(*Config)) *running {
	w.Helper()
	c := w.config()
	for _, f := range change {
		f(&c)
	}
	p, err := Open(c)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Publisher: p, w: w, cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- p.Run(ctx) }()
	l := w.log
	go func() {
		last := p.Published()
		for {
			select {
			case <-last.Newer():
			case <-ctx.Done():
				return
			}
			next := p.Published()
			if next.Size < last.Size {
				w.Errorf("published went back from %d to %d", last.Size, next.Size)
			}
			w.check(c.Policy, l, next)
			last = next
		}
	}()
	return r
}

// check says whether a checkpoint is what readers may be shown: of the log's tree, and with its quorum.
func (w *world) check(p *checkpoint.Policy, l *log, c *sequencer.Signed) {
	all, err := c.All()
	if err != nil {
		w.Error(err)
		return
	}
	for _, note := range [][]byte{c.Note, all} {
		o, err := p.Open(note)
		if err != nil {
			w.Errorf("published: %v", err)
			return
		}
		root, err := l.Root(o.Checkpoint.Size)
		if err != nil || root != o.Checkpoint.Root || o.Checkpoint.Size != c.Size || c.Root != root {
			w.Errorf("published size %d with root %v, the log has %v, %v", o.Checkpoint.Size, o.Checkpoint.Root, root, err)
		}
	}
}

// stop ends a publisher, which must not have ended by itself.
func (r *running) stop() {
	r.w.Helper()
	r.cancel()
	if err := <-r.ended; err != nil {
		r.w.Errorf("it ended: %v", err)
	}
	if err := r.Close(); err != nil {
		r.w.Error(err)
	}
}

// wait waits until this size is published.
func (r *running) wait(size uint64) *sequencer.Signed {
	r.w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	p, err := r.WaitPublished(ctx, size)
	if err != nil {
		r.w.Fatalf("size %d is not published: %v; %s", size, err, r.Waiting())
	}
	return p
}

// lines counts the published cosignatures of a witness.
func (r *running) lines(f *fake) (n int) {
	all, err := r.Published().All()
	if err != nil {
		r.w.Error(err)
	}
	note, err := checkpoint.ParseNote(all)
	if err != nil {
		r.w.Error(err)
	}
	for _, s := range note.Signatures {
		for _, k := range f.keys {
			if k.Verifier().Matches(s) {
				n++
			}
		}
	}
	return n
}
