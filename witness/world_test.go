package witness

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/witness/protocol"
	"github.com/pauselog/pauselog/witness/state"
)

const (
	witnessName = "witness.example/w1"
	origin      = "log.example/pause"
)

func key(t testing.TB, alg checkpoint.Algorithm, name string, seed byte) *checkpoint.SignerKey {
	t.Helper()
	k, err := checkpoint.GenerateSigner(alg, name, bytes.NewReader(bytes.Repeat([]byte{seed}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A log is a real tree with real keys, and from an entry on a second history.
type log struct {
	t      testing.TB
	origin string
	fork   int64 // the index of the first entry that differs
	stored []tlog.Hash
	size   int64
	ed     *checkpoint.SignerKey
	mldsa  *checkpoint.SignerKey
}

// newLog makes a log of an origin with 64 entries. Two of one origin have the same keys, and
// the same entries before fork if one of them has none.
func newLog(t testing.TB, origin string, fork int64) *log {
	t.Helper()
	l := &log{t: t, origin: origin, fork: fork, ed: key(t, checkpoint.Ed25519, origin, 7), mldsa: key(t, checkpoint.MLDSA44, origin, 8)}
	for i := range int64(64) {
		entry := fmt.Appendf(nil, "entry %d", i)
		if i >= fork {
			entry = fmt.Appendf(nil, "another entry %d", i)
		}
		hashes, err := tlog.StoredHashes(i, entry, l)
		if err != nil {
			t.Fatal(err)
		}
		l.stored = append(l.stored, hashes...)
		l.size++
	}
	return l
}

const honest = 1 << 30 // a log that never forks

func (l *log) ReadHashes(indexes []int64) (out []tlog.Hash, err error) {
	for _, i := range indexes {
		out = append(out, l.stored[i])
	}
	return out, nil
}

func (l *log) root(size uint64) tree.Hash {
	if size == 0 {
		return tree.EmptyRoot
	}
	h, err := tlog.TreeHash(int64(size), l)
	if err != nil {
		l.t.Fatal(err)
	}
	return tree.Hash(h)
}

func (l *log) proof(old, size uint64) (hashes []tree.Hash) {
	if old == 0 || old >= size {
		return nil
	}
	p, err := tlog.ProveTree(int64(size), int64(old), l)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, h := range p {
		hashes = append(hashes, tree.Hash(h))
	}
	return hashes
}

func (l *log) checkpoint(size uint64) checkpoint.Checkpoint {
	return checkpoint.Checkpoint{Origin: l.origin, Size: size, Root: l.root(size)}
}

// note is the log's checkpoint, signed by these keys, or by its Ed25519 key.
func (l *log) note(size uint64, keys ...*checkpoint.SignerKey) []byte {
	l.t.Helper()
	if keys == nil {
		keys = []*checkpoint.SignerKey{l.ed}
	}
	c := l.checkpoint(size)
	n := checkpoint.Note{Text: c.Text()}
	for _, k := range keys {
		n.Signatures = append(n.Signatures, sign(l.t, k, c, 500))
	}
	return n.Marshal()
}

func sign(t testing.TB, k *checkpoint.SignerKey, c checkpoint.Checkpoint, time uint64) checkpoint.Signature {
	t.Helper()
	s, err := k.Sign(c, time)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signed is any text, signed by the log's Ed25519 key, as a log could that follows no
// specification.
func (l *log) signed(text string) []byte {
	l.t.Helper()
	return checkpoint.Note{Text: text, Signatures: []checkpoint.Signature{rawSign(l.t, 7, l.ed.Verifier(), text)}}.Marshal()
}

// request is an honest request.
func (l *log) request(old, size uint64) []byte {
	return body(old, l.proof(old, size), l.note(size))
}

func body(old uint64, proof []tree.Hash, note []byte) []byte {
	return (&protocol.AddCheckpoint{Old: old, Proof: proof, Note: note}).Marshal()
}

// A fakeClock stands still until a test moves it.
type fakeClock struct {
	mu      sync.Mutex
	now     time.Time
	elapsed time.Duration
}

func newClock() *fakeClock { return &fakeClock{now: time.Unix(1_000_000, 0)} }

func (c *fakeClock) Now() time.Time         { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *fakeClock) Elapsed() time.Duration { c.mu.Lock(); defer c.mu.Unlock(); return c.elapsed }

// pass lets time pass, and set sets the clock.
func (c *fakeClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.elapsed = c.now.Add(d), c.elapsed+d
}

func (c *fakeClock) set(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(by)
}

func (c *fakeClock) unix() uint64 { return uint64(c.Now().Unix()) }

// A world is a witness on disk that knows a log.
type world struct {
	*Witness
	t         testing.TB
	log       *log
	clock     *fakeClock
	dir, head string
	evidence  string
	signers   []Signer
	journal   bytes.Buffer
}

// newWorld makes a witness with both keys, which knows the honest log by both of its keys.
func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, log: newLog(t, origin, honest), clock: newClock(),
		dir: filepath.Join(dir, "state"), head: filepath.Join(dir, "head"), evidence: filepath.Join(dir, "evidence"),
		// Not in the order of the answer.
		signers: []Signer{key(t, checkpoint.MLDSA44, witnessName, 2), key(t, checkpoint.CosignatureV1, witnessName, 1)}}
	if err := state.Init(w.dir, w.head, witnessName); err != nil {
		t.Fatal(err)
	}
	w.start()
	t.Cleanup(func() { w.state.Close() })
	w.add(w.log)
	return w
}

func (w *world) add(l *log) {
	w.t.Helper()
	if _, err := w.state.Add(l.origin, []*checkpoint.VerifierKey{l.ed.Verifier(), l.mldsa.Verifier()}, 0, ""); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) start() {
	w.t.Helper()
	s, err := state.Open(w.dir, w.head, witnessName, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Witness, err = New(Config{State: s, Signers: w.signers, EvidenceDir: w.evidence, Clock: w.clock, Log: slog.New(slog.NewTextHandler(&w.journal, nil))})
	if err != nil {
		w.t.Fatal(err)
	}
}

// restart ends the process and starts another.
func (w *world) restart() {
	w.t.Helper()
	if err := w.state.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.start()
}

func (w *world) post(body []byte) ([]byte, error) {
	return w.AddCheckpoint(w.t.Context(), body)
}

// cosign posts what must be cosigned.
func (w *world) cosign(body []byte) []byte {
	w.t.Helper()
	answer, err := w.post(body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer
}

// stored is the record of the log.
func (w *world) stored() state.Log {
	w.t.Helper()
	l, ok := w.state.Log(protocol.OriginHash(origin))
	if !ok {
		w.t.Fatal("the log is not known")
	}
	return l
}

// status is the HTTP status that answers with an error.
func status(err error) int {
	if r := (*Refusal)(nil); errors.As(err, &r) {
		return r.Status
	} else if err != nil {
		return 500
	}
	return 200
}

// verifyAnswer checks the lines of an answer against the witness's keys, and returns their
// time.
func verifyAnswer(t testing.TB, signers []Signer, c checkpoint.Checkpoint, answer []byte) (time uint64) {
	t.Helper()
	lines, err := checkpoint.ParseSignatures(answer)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range lines {
		known := false
		for _, s := range signers {
			if v := s.Verifier(); v.Matches(line) {
				at, err := v.Verify(c.Text(), line)
				if err != nil || i > 0 && at != time {
					t.Errorf("line %d of time %d: %v", i, at, err)
				}
				known, time = true, at
			}
		}
		if !known {
			t.Errorf("line %d is of no key of the witness", i)
		}
	}
	return time
}

func (l *log) hash() string { return protocol.OriginHash(l.origin) }
