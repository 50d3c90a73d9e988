package witness

import (
	"context"
	"net/http"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/witness/protocol"
)

// SignSubtree answers a POST to <submission prefix>/sign-subtree with this body (C2SP
// tlog-witness v1.1.0): it returns the bare ML-DSA-44 signature in base64, or a *Refusal.
//
// A witness without an ML-DSA key refuses all requests with 404: sign-subtree is optional, and for
// a client a witness that lacks the key is no other than one that lacks the path.
//
// Nothing is persisted. The signature has time 0, which claims nothing about the newest tree,
// and the subtree is one of a tree that this witness cosigned, whose append-only history it
// checked then.
func (w *Witness) SignSubtree(_ context.Context, body []byte) ([]byte, error) {
	hash, answer, err := w.signSubtree(body)
	w.stats.count(hash, err)
	return answer, err
}

func (w *Witness) signSubtree(body []byte) (originHash string, answer []byte, err error) {
	signer := w.subtreeSigner()
	if signer == nil {
		return "", nil, refuse(http.StatusNotFound, "this witness signs no subtrees")
	}
	// SPEC: what is malformed, or names what is no subtree, is a bad request.
	r, err := protocol.ParseSignSubtree(body)
	if err != nil {
		return "", nil, refuse(http.StatusBadRequest, "the request: %w", err)
	}
	if !tree.ValidSubtree(r.Start, r.End) {
		return "", nil, refuse(http.StatusBadRequest, "[%d, %d) is not a subtree", r.Start, r.End)
	}
	note, err := checkpoint.ParseNote(r.Note)
	if err != nil {
		return "", nil, refuse(http.StatusBadRequest, "the checkpoint: %w", err)
	}
	// SPEC: an unknown origin is not found, before anything else is said about its checkpoint.
	hash := protocol.OriginHash(protocol.Origin(r.Note))
	l, err := w.known(hash)
	if err != nil {
		if l.Origin == "" {
			hash = ""
		}
		return hash, nil, err
	}
	c, err := checkpoint.ParseText(note.Text)
	if err != nil {
		return hash, nil, refuse(http.StatusBadRequest, "the checkpoint: %w", err)
	}
	// SPEC: the checkpoint carries exactly one signature, a cosignature by this witness. That is
	// all that is known of the tree, and enough: it was checked when it was cosigned.
	if !w.isOurs(note) {
		return hash, nil, refuse(http.StatusForbidden, "expected one signature, a valid cosignature by this witness")
	}
	if r.End > c.Size {
		return hash, nil, refuse(http.StatusBadRequest, "the subtree [%d, %d) ends behind the checkpoint's size %d", r.Start, r.End, c.Size)
	}
	// SPEC: the proof must lead from the subtree to the checkpoint's root.
	if err := tree.VerifySubtree(r.Start, r.End, c.Size, r.Hash, r.Proof, c.Root); err != nil {
		return hash, nil, refuse(http.StatusUnprocessableEntity, "the proof: %w", err)
	}
	sig, err := signer.SignSubtree(c.Origin, r.Start, r.End, r.Hash)
	if err == nil {
		err = signer.Verifier().VerifySubtree(c.Origin, r.Start, r.End, r.Hash, sig)
	}
	if err != nil {
		w.stats.signerFailed()
		w.log.Error("a key does not sign a subtree", "error", err)
		refusal := refuse(http.StatusServiceUnavailable, "this witness's key cannot sign now")
		refusal.Retry = signerRetry
		return hash, nil, refusal
	}
	return hash, protocol.FormatSubtreeSignature(sig), nil
}

// subtreeSigner returns the signer for subtrees, or nil.
func (w *Witness) subtreeSigner() SubtreeSigner {
	for _, s := range w.signers {
		if s, ok := s.(SubtreeSigner); ok && s.Verifier().Algorithm() == checkpoint.MLDSA44 {
			return s
		}
	}
	return nil
}

// isOurs reports whether a checkpoint's only signature is one of this witness's own, of
// either type.
func (w *Witness) isOurs(n checkpoint.Note) bool {
	if len(n.Signatures) != 1 {
		return false
	}
	for _, s := range w.signers {
		if v := s.Verifier(); v.Matches(n.Signatures[0]) {
			_, err := v.Verify(n.Text, n.Signatures[0])
			return err == nil
		}
	}
	return false
}
