package witness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/witness/state"
)

// A Config is what a Witness is made of.
type Config struct {
	// State is what the witness has seen. The caller closes it, after the last request.
	State *state.State

	// Signers are the witness's keys, one or more, all of the witness's name, of the types
	// CosignatureV1 (0x04) and MLDSA44 (0x06).
	Signers []Signer

	// EvidenceDir is a folder for evidence against logs. If it is empty, evidence is only
	// counted and logged.
	EvidenceDir string

	Clock Clock        // nil: the system's
	Log   *slog.Logger // nil: none
}

// A Signer has one of the witness's keys, or a way to one. *checkpoint.SignerKey is one. It may
// be called concurrently, and may fail: the witness then answers without it.
type Signer interface {
	Verifier() *checkpoint.VerifierKey

	// Sign cosigns a checkpoint. time is in seconds since 1970.
	Sign(c checkpoint.Checkpoint, time uint64) (checkpoint.Signature, error)
}

// A SubtreeSigner is a Signer that can sign subtrees: one of an ML-DSA-44 key.
type SubtreeSigner interface {
	Signer

	// SignSubtree returns the bare signature over a subtree, with time 0.
	SignSubtree(origin string, start, end uint64, hash tree.Hash) ([]byte, error)
}

// A Witness answers the requests of logs. Its methods may be called concurrently. Requests of
// one log are answered one after the other; those of different logs at once, so that of two
// logs the earlier of two times, by a second, may be persisted last.
type Witness struct {
	state    *state.State
	signers  []Signer // Ed25519 first
	clock    *timekeeper
	evidence *evidence
	stats    stats
	log      *slog.Logger

	// hook is called between the steps of a request; tests stop a request there.
	hook func(step)

	mu    sync.Mutex
	locks map[string]chan struct{} // by origin hash, of logs that are known
}

// A step is a moment in AddCheckpoint.
type step int

const (
	checked   step = iota // all is well and signed, nothing is written
	persisted             // record and head are on disk, nothing is answered
)

// New makes a Witness.
func New(c Config) (*Witness, error) {
	if c.Clock == nil {
		c.Clock = SystemClock()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if len(c.Signers) == 0 {
		return nil, errors.New("a witness needs a key")
	}
	signers := slices.Clone(c.Signers)
	slices.SortStableFunc(signers, func(a, b Signer) int { return cmp.Compare(a.Verifier().Algorithm(), b.Verifier().Algorithm()) })
	for i, s := range signers {
		v := s.Verifier()
		if a := v.Algorithm(); a != checkpoint.CosignatureV1 && a != checkpoint.MLDSA44 {
			return nil, fmt.Errorf("expected a witness key of type %v or %v, found %v", checkpoint.CosignatureV1, checkpoint.MLDSA44, a)
		}
		// The state is that of one witness: with the keys of two it would be open whose word it keeps.
		if v.Name() != c.State.Name() {
			return nil, fmt.Errorf("expected keys of the witness %s, found one of %s", c.State.Name(), v.Name())
		}
		if slices.ContainsFunc(signers[:i], func(o Signer) bool { return o.Verifier().KeyID() == v.KeyID() }) {
			return nil, fmt.Errorf("two keys have the key id %08x", v.KeyID())
		}
	}
	e, err := newEvidence(c.EvidenceDir)
	if err != nil {
		return nil, err
	}
	return &Witness{state: c.State, signers: signers, clock: newTimekeeper(c.Clock), evidence: e, log: c.Log,
		hook: func(step) {}, locks: make(map[string]chan struct{})}, nil
}

// Checkpoint returns what is served below the monitoring prefix for an origin hash: the
// checkpoint cosigned last, with the log's signatures that were verified and all
// cosignatures that were returned. It is false if nothing was ever cosigned for such a log.
//
// SPEC: WS-15, for each log that it cosigns, and a 404 until then.
func (w *Witness) Checkpoint(originHash string) (note []byte, ok bool) {
	// A disabled log's stays: it is still what this witness saw last.
	l, ok := w.state.Log(originHash)
	if !ok || l.Time == 0 {
		return nil, false
	}
	return slices.Clone(l.Note), true
}

// acquire waits until no other request of a log is under way, or until ctx ends. The caller
// releases it.
func (w *Witness) acquire(ctx context.Context, originHash string) (release func(), err error) {
	w.mu.Lock()
	lock, ok := w.locks[originHash]
	if !ok {
		lock = make(chan struct{}, 1)
		w.locks[originHash] = lock
	}
	w.mu.Unlock()
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, refuse(http.StatusServiceUnavailable, "another request of this log is under way: %w", ctx.Err())
	}
}

// known returns a log that the witness cosigns for.
func (w *Witness) known(originHash string) (state.Log, error) {
	l, ok := w.state.Log(originHash)
	switch {
	case !ok:
		return state.Log{}, refuse(http.StatusNotFound, "this log is unknown to this witness")
	case l.Disabled:
		return l, refuse(http.StatusNotFound, "this witness does not cosign for this log any more")
	}
	return l, nil
}
