package witness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/witness/protocol"
	"github.com/pauselog/pauselog/witness/state"
)

// signerRetry is when a signer that failed may be back.
const signerRetry = 30 * time.Second

// AddCheckpoint answers a POST to <submission prefix>/add-checkpoint with this body: it
// returns the cosignature lines, Ed25519 (0x04) first, or a *Refusal. Any other error is the
// witness's own trouble; then nothing was cosigned that anybody sees.
func (w *Witness) AddCheckpoint(ctx context.Context, body []byte) ([]byte, error) {
	hash, answer, err := w.addCheckpoint(ctx, body)
	w.stats.count(hash, err)
	return answer, err
}

// addCheckpoint returns the origin hash too if the log is known.
func (w *Witness) addCheckpoint(ctx context.Context, body []byte) (originHash string, answer []byte, err error) {
	if err := w.state.Err(); err != nil {
		return "", nil, err
	}
	// SPEC: the body is a line with the old size, up to 63 lines of hashes, an empty line and
	// a note. What is not is a bad request, whoever sent it.
	r, err := protocol.ParseAddCheckpoint(body)
	if err != nil {
		return "", nil, refuse(http.StatusBadRequest, "the request: %w", err)
	}
	note, err := checkpoint.ParseNote(r.Note)
	if err != nil {
		return "", nil, refuse(http.StatusBadRequest, "the checkpoint: %w", err)
	}
	// SPEC: WS-2, a log that is not known by its origin, the note's first line, is not found.
	// Its signature was not looked at, nor what the other lines say.
	hash := protocol.OriginHash(protocol.Origin(r.Note))
	l, err := w.known(hash)
	if err != nil {
		if l.Origin == "" {
			hash = ""
		}
		return hash, nil, err
	}
	req := request{AddCheckpoint: *r, hash: hash, note: note}
	if err := w.open(&req, l); err != nil {
		return hash, nil, err
	}
	answer, err = w.cosign(ctx, &req)
	return hash, answer, err
}

// A request is a request of a known log with a valid signature.
type request struct {
	protocol.AddCheckpoint
	hash       string // of the origin
	note       checkpoint.Note
	verified   []checkpoint.Signature // of the log's keys
	checkpoint checkpoint.Checkpoint
}

// open verifies the log's signatures and parses the checkpoint.
func (w *Witness) open(r *request, l state.Log) error {
	c, malformed := checkpoint.ParseText(r.note.Text)
	// SPEC: WS-1, WS-3, a note without a signature by a key that is trusted for this origin is
	// forbidden, and so is one with a line that has such a key's name and id and does not
	// verify. Any one key suffices, and other lines are ignored.
	for _, k := range l.Keys {
		for _, s := range r.note.Signatures {
			if !k.Matches(s) {
				continue
			}
			ok, err := verifies(k, r.note.Text, malformed, s)
			if err != nil {
				return refuse(http.StatusForbidden, "the log's signature: %w", err)
			}
			if ok {
				r.verified = append(r.verified, s)
			}
		}
	}
	if len(r.verified) == 0 {
		return untrusted(l)
	}
	// From here on the log itself said it.
	switch {
	case errors.Is(malformed, checkpoint.ErrEmptyRoot) && firstLines(r.note.Text, 3) == r.note.Text:
		// Nothing else is wrong with it. Its size is 0, and the row of the old size is first.
		w.contradiction(r, l, 0)
		if r.Old > 0 {
			return oldTooLarge(r.Old, 0)
		}
		// SPEC: WS-5, the tree of size 0 has one root.
		return refuse(http.StatusUnprocessableEntity, "%w", malformed)
	case malformed != nil:
		// SPEC: CP-4, CP-6, nothing can be said of a checkpoint that is none, nor of extension
		// lines, which ML-DSA signatures do not cover.
		return refuse(http.StatusBadRequest, "the checkpoint: %w", malformed)
	case c.Origin != l.Origin:
		// It cannot be: the origin is the first line of both. But it is what will be signed.
		return fmt.Errorf("the checkpoint of %q was taken for one of %q", c.Origin, l.Origin)
	}
	r.checkpoint = c
	// SPEC: WS-4, an old size over the checkpoint's is a bad request.
	if r.Old > c.Size {
		w.compare(r, l)
		return oldTooLarge(r.Old, c.Size)
	}
	return nil
}

func untrusted(l state.Log) *Refusal {
	return refuse(http.StatusForbidden, "no valid signature by a key of %s that this witness knows", l.Origin)
}

func oldTooLarge(old, size uint64) *Refusal {
	return refuse(http.StatusBadRequest, "the old size %d is over the checkpoint's size %d", old, size)
}

// verifies reports whether a line of k is over a text. malformed is what is wrong with the
// text.
//
// An Ed25519 line is over the bytes, whatever they say: so a log that signs a malformed
// checkpoint can be told that it is. An ML-DSA line is over the values of the three lines. It
// stands with extension lines behind them; but where the lines have no values it can neither be
// valid nor be told to be wrong, and counts for nothing.
func verifies(k *checkpoint.VerifierKey, text string, malformed error, s checkpoint.Signature) (ok bool, err error) {
	if k.Algorithm() != checkpoint.Ed25519 {
		switch {
		case errors.Is(malformed, checkpoint.ErrExtension):
			text = firstLines(text, 3)
		case malformed != nil:
			return false, nil
		}
	}
	_, err = k.Verify(text, s)
	return err == nil, err
}

func firstLines(text string, n int) string {
	for i := range text {
		if text[i] == '\n' {
			if n--; n == 0 {
				return text[:i+1]
			}
		}
	}
	return text
}

// cosign compares the checkpoint with the stored one, signs it and replaces it.
func (w *Witness) cosign(ctx context.Context, r *request) ([]byte, error) {
	// SPEC: WS-10, check and replace are one step for everybody else. Requests of a log wait for
	// one another, so that the second of two is told the size that the first one made.
	release, err := w.acquire(ctx, r.hash)
	if err != nil {
		return nil, err
	}
	defer release()
	l, err := w.known(r.hash)
	if err != nil {
		return nil, err
	}
	// While it waited an operator may have retired a key.
	r.verified = slices.DeleteFunc(r.verified, func(s checkpoint.Signature) bool {
		return !slices.ContainsFunc(l.Keys, func(k *checkpoint.VerifierKey) bool { return k.Matches(s) })
	})
	if len(r.verified) == 0 {
		return nil, untrusted(l)
	}
	w.compare(r, l)
	if err := w.check(r, l); err != nil {
		return nil, err
	}

	now, err := w.clock.time(w.state.Floor())
	if err != nil {
		return nil, clockRefusal(err)
	}
	if lines := w.again(r, l, now); lines != nil {
		return lines, nil
	}
	lines, err := w.sign(r.checkpoint, now)
	if err != nil {
		return nil, err
	}
	w.hook(checked)

	// SPEC: WS-11, also when the size is the same: the time is new. CS-12, what is stored are the
	// values that were parsed, and lines that were verified.
	stored := checkpoint.Note{Text: r.checkpoint.Text(), Signatures: slices.Concat(r.verified, lines)}
	err = w.state.Update(r.checkpoint.Origin, l.Size, l.Root,
		state.Cosigned{Size: r.checkpoint.Size, Root: r.checkpoint.Root, Time: now, Note: stored.Marshal()})
	switch {
	case errors.Is(err, state.ErrConflict):
		// Somebody else has the state too. It knows best.
		l, _ := w.state.Log(r.hash)
		w.compare(r, l)
		return nil, conflict(r.Old, l.Size)
	case errors.Is(err, state.ErrDisabled):
		return nil, refuse(http.StatusNotFound, "this witness does not cosign for this log any more")
	case err != nil:
		// The lines must not leave with the error, nor anything that was made of them.
		return nil, fmt.Errorf("persisting a cosignature: %w", err)
	}
	w.hook(persisted)
	return marshal(lines), nil
}

// check makes all checks against what was cosigned last.
func (w *Witness) check(r *request, l state.Log) error {
	c := r.checkpoint
	// SPEC: WS-6, WS-18, the old size must be the one that was cosigned last, 0 if none was;
	// the answer says which that is.
	if r.Old != l.Size {
		return conflict(r.Old, l.Size)
	}
	// SPEC: WS-7, from the empty tree nothing has to be proven.
	if r.Old == 0 && len(r.Proof) != 0 {
		return refuse(http.StatusUnprocessableEntity, "expected no proof from size 0, found %d hashes", len(r.Proof))
	}
	// SPEC: WS-8, one size has one root. l.Root is the empty tree's before the first cosignature, and
	// a checkpoint of size 0 has no other.
	if c.Size == l.Size && c.Root != l.Root {
		return refuse(http.StatusUnprocessableEntity, "size %d was cosigned with the root %v, the checkpoint has %v", c.Size, l.Root, c.Root)
	}
	// SPEC: WS-9, the tree must begin with the one that was cosigned last. With equal sizes the
	// proof is empty.
	if err := proves(r, l); err != nil {
		// Anybody can send a wrong proof for a checkpoint that was published: this accuses nobody.
		w.unproven(r, l)
		return refuse(http.StatusUnprocessableEntity, "the consistency proof: %w", err)
	}
	return nil
}

func proves(r *request, l state.Log) error {
	if r.checkpoint.Size == l.Size && len(r.Proof) != 0 {
		return fmt.Errorf("%w: expected no hashes between equal sizes, found %d", tree.ErrProof, len(r.Proof))
	}
	return tree.VerifyConsistency(l.Size, r.checkpoint.Size, r.Proof, l.Root, r.checkpoint.Root)
}

func conflict(old, size uint64) *Refusal {
	r := refuse(http.StatusConflict, "the old size is %d, this witness cosigned size %d last", old, size)
	r.Size = size
	return r
}

// again returns the stored cosignatures if a request has nothing new: the stored checkpoint
// within the second of its cosignatures, with no other lines of the log. Anybody can send a
// published checkpoint again and again; that is to cost no signature and no write.
func (w *Witness) again(r *request, l state.Log, now uint64) []byte {
	if l.Time != now || r.checkpoint.Size != l.Size {
		return nil
	}
	stored, err := checkpoint.ParseNote(l.Note)
	if err != nil {
		return nil
	}
	for _, v := range r.verified {
		if !slices.ContainsFunc(stored.Signatures, func(s checkpoint.Signature) bool { return s.Line() == v.Line() }) {
			return nil
		}
	}
	// Lines of keys that are not ours any more do not count.
	lines := stored.Keep(func(s checkpoint.Signature) bool {
		return slices.ContainsFunc(w.signers, func(k Signer) bool { return k.Verifier().Matches(s) })
	}).Signatures
	if len(lines) == 0 {
		return nil
	}
	return marshal(lines)
}

// sign returns a line of each signer that works.
func (w *Witness) sign(c checkpoint.Checkpoint, now uint64) ([]checkpoint.Signature, error) {
	var lines []checkpoint.Signature
	for _, s := range w.signers {
		// SPEC: WS-12, WS-13, a cosignature of the whole tree and with a time, by each key.
		line, err := s.Sign(c, now)
		if err == nil {
			var t uint64
			if t, err = s.Verifier().Verify(c.Text(), line); err == nil && t != now {
				err = fmt.Errorf("it signed the time %d, expected %d", t, now)
			}
		}
		if err != nil {
			v := s.Verifier()
			w.stats.signerFailed()
			w.log.Error("a key does not sign", "key", fmt.Sprintf("%s+%08x", v.Name(), v.KeyID()), "type", v.Algorithm().String(), "error", err)
			continue
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		r := refuse(http.StatusServiceUnavailable, "none of this witness's keys can sign now")
		r.Retry = signerRetry
		return nil, r
	}
	return lines, nil
}

func marshal(lines []checkpoint.Signature) (b []byte) {
	for _, l := range lines {
		b = append(b, l.Line()...)
	}
	return b
}
