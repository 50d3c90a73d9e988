package crashwitness

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
	"github.com/pauselog/pauselog/internal/faults/disk/oracle"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/witness"
	"github.com/pauselog/pauselog/witness/protocol"
	"github.com/pauselog/pauselog/witness/state"
)

const (
	name     = "witness.example/w1"
	dir      = "/state"
	headFile = "/head"
)

// A history is the entries of a log, hashed by tlog.
type history struct{ stored []tlog.Hash }

// entries is how many each history has.
const entries = 200

func newHistory(origin, what string, fork int) (*history, error) {
	h := new(history)
	for i := range entries {
		e := fmt.Appendf(nil, "entry %d of %s", i, origin)
		if i >= fork {
			e = append(e, what...)
		}
		more, err := tlog.StoredHashes(int64(i), e, h)
		if err != nil {
			return nil, err
		}
		h.stored = append(h.stored, more...)
	}
	return h, nil
}

// ReadHashes implements tlog.HashReader.
func (h *history) ReadHashes(indexes []int64) (out []tlog.Hash, err error) {
	for _, i := range indexes {
		out = append(out, h.stored[i])
	}
	return out, nil
}

func (h *history) root(size uint64) tree.Hash {
	if size == 0 {
		return tree.EmptyRoot
	}
	r, err := tlog.TreeHash(int64(size), h)
	if err != nil {
		panic(err) // it has all its hashes
	}
	return tree.Hash(r)
}

// A log is one that a witness cosigns, and that would like to have a fork cosigned too.
type log struct {
	origin       string
	key, second  *checkpoint.SignerKey
	honest, fork *history
}

func newLog(origin string) (*log, error) {
	l := &log{origin: origin}
	var errs [4]error
	l.key, errs[0] = checkpoint.GenerateSigner(checkpoint.Ed25519, origin, nil)
	l.second, errs[1] = checkpoint.GenerateSigner(checkpoint.Ed25519, origin, nil)
	l.honest, errs[2] = newHistory(origin, "", entries)
	l.fork, errs[3] = newHistory(origin, " in a fork", 1)
	return l, errors.Join(errs[:]...)
}

// request is the body of a request in one of the histories. Its proof is from the old size of the same.
func (l *log) request(h *history, old, size uint64) ([]byte, error) {
	r := protocol.AddCheckpoint{Old: old}
	if old > 0 && old < size {
		p, err := tlog.ProveTree(int64(size), int64(old), h)
		if err != nil {
			return nil, err
		}
		for _, x := range p {
			r.Proof = append(r.Proof, tree.Hash(x))
		}
	}
	c := checkpoint.Checkpoint{Origin: l.origin, Size: size, Root: h.root(size)}
	s, err := l.key.Sign(c, 0)
	if err != nil {
		return nil, err
	}
	r.Note = checkpoint.Note{Text: c.Text(), Signatures: []checkpoint.Signature{s}}.Marshal()
	return r.Marshal(), nil
}

// told is what a witness said of a log: the largest size.
type told struct {
	mu    sync.Mutex
	sizes map[string]uint64
	times map[string]uint64
	n     uint64 // answers with cosignatures
}

func newTold() *told { return &told{sizes: map[string]uint64{}, times: map[string]uint64{}} }

func (t *told) clone() *told {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := newTold()
	for o, n := range t.sizes {
		c.sizes[o], c.times[o] = n, t.times[o]
	}
	return c
}

// heard notes a size, which must not be smaller than one that was heard before.
func (t *told) heard(origin string, size, at uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if size < t.sizes[origin] {
		return fmt.Errorf("%w: the witness said size %d of %s, and says now %d", oracle.ErrFork, t.sizes[origin], origin, size)
	}
	if at != 0 && at < t.times[origin] {
		return fmt.Errorf("%w: the witness cosigned %s at %d, and now at %d", oracle.ErrFalse, origin, t.times[origin], at)
	}
	t.sizes[origin] = size
	t.times[origin] = max(at, t.times[origin])
	return nil
}

// clock stands still until somebody moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

var epoch = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}
func (c *clock) Elapsed() time.Duration { return c.Now().Sub(epoch) }
func (c *clock) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Second)
}

// A running is a witness that was started.
type running struct {
	state   *state.State
	witness *witness.Witness
	signer  *checkpoint.SignerKey
	told    *told
	clock   *clock
}

// start starts the witness on a disk.
func start(fs vfs.FS, signer *checkpoint.SignerKey, c *clock, t *told, fatal func(error)) (*running, error) {
	if _, err := fs.Stat(headFile); err != nil {
		return nil, err
	}
	f, err := fs.OpenReadWrite(headFile, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	k, err := head.Read(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	st, err := state.OpenOn(&faultfs.Disk{FS: fs}, dir, k, name, fatal)
	if err != nil {
		return nil, err
	}
	w, err := witness.New(witness.Config{State: st, Signers: []witness.Signer{signer}, Clock: c})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return &running{st, w, signer, t, c}, nil
}

// create makes an empty state, as state.Init does.
func create(fs vfs.FS) error {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := fs.Create(headFile, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	d := faultfs.Disk{FS: fs}
	return errors.Join(head.Format(f, head.Head{Origin: name, Root: tree.EmptyRoot}), f.Close(), d.SyncDir("/"), d.SyncDir(dir))
}

// ask sends a request and judges the answer: a cosignature must be of the honest history. It returns the
// size that the witness has then.
func (r *running) ask(l *log, h *history, old, size uint64) (now uint64, err error) {
	body, err := l.request(h, old, size)
	if err != nil {
		return 0, err
	}
	lines, err := r.witness.AddCheckpoint(context.Background(), body)
	var refusal *witness.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Status == http.StatusConflict:
		if err := r.told.heard(l.origin, refusal.Size, 0); err != nil {
			return 0, err
		}
		return refusal.Size, refusal
	case err != nil:
		return 0, err
	}
	c := checkpoint.Checkpoint{Origin: l.origin, Size: size, Root: h.root(size)}
	at, err := cosigned(r.signer.Verifier(), c.Text(), lines)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", oracle.ErrFalse, err)
	}
	if c.Root != l.honest.root(size) {
		return 0, fmt.Errorf("%w: size %d of %s is cosigned with a root of another history", oracle.ErrFork, size, l.origin)
	}
	r.told.mu.Lock()
	r.told.n++
	r.told.mu.Unlock()
	return size, r.told.heard(l.origin, size, at)
}

// cosigned verifies an Ed25519 cosignature line (C2SP tlog-cosignature) and returns its time.
func cosigned(k *checkpoint.VerifierKey, text string, lines []byte) (uint64, error) {
	line, rest, _ := bytes.Cut(lines, []byte("\n"))
	fields := strings.Split(string(line), " ")
	if len(fields) != 3 || len(rest) != 0 || fields[0] != "—" || fields[1] != k.Name() {
		return 0, fmt.Errorf("expected one cosignature of %s, found %q", k.Name(), lines)
	}
	b, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil || len(b) != 4+8+ed25519.SignatureSize || binary.BigEndian.Uint32(b) != k.KeyID() {
		return 0, fmt.Errorf("not a cosignature: %q", lines)
	}
	at := binary.BigEndian.Uint64(b[4:])
	if !ed25519.Verify(k.Public(), fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text), b[12:]) {
		return 0, fmt.Errorf("a cosignature that does not verify: %q", lines)
	}
	return at, nil
}
