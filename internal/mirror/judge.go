package mirror

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/verify"
)

// held is a file at hand.
type held struct {
	digest entry.Digest
	size   uint64
}

// judge asks the provers in their order and verifies what they have. Without a file at hand, the outcome is
// what it would be for the file that the proof is of. The evidence is that of the outcome.
//
// A proof that an index is old does not say that there is no younger one of the same bytes, so the others are asked
// too. It says that the bytes are logged: that another place knows only of other bytes is nothing against it.
func (m *Mirror) judge(ctx context.Context, path string, file *held) (*verify.Result, *client.Evidence) {
	var worst, aged *verify.Result
	var why, whyAged *client.Evidence
	note := ""
	var details []string
	for _, p := range m.Provers {
		e, err := p.Prove(ctx, path, digestOf(file))
		var misbehaviour *client.Misbehaviour
		switch {
		case errors.As(err, &misbehaviour):
			return m.misbehaved(path, file, misbehaviour), nil
		case err != nil:
			return failure(path, file, err), nil
		}
		r := m.verify(path, file, e)
		if m.old(r) || r.Outcome == verify.Stale {
			if aged == nil || younger(r, aged) {
				aged, whyAged = r, e
			}
			continue
		}
		switch r.Outcome {
		case verify.Verified, verify.Revoked, verify.Upgrade, verify.Misbehaviour, verify.Error, verify.Usage:
			m.keepEvidence(r)
			if note != "" {
				r.Notes = append(r.Notes, note)
			}
			return r, e
		case verify.InvalidProof:
			// A bad proof is no proof from that place, whoever spoilt it.
			note = fmt.Sprintf("a proof from %s proves nothing and was left aside: %s", p, r.Message)
			e = &client.Evidence{Detail: note}
			r = m.verify(path, file, e)
		}
		if e.Detail != "" && r.Outcome == verify.Unverifiable {
			details = append(details, e.Detail)
		}
		if worst == nil || r.Outcome != worst.Outcome && verify.Worst(worst.Outcome, r.Outcome) == r.Outcome {
			worst, why = r, e
		}
	}
	if aged != nil {
		if note != "" {
			aged.Notes = append(aged.Notes, note)
		}
		return aged, whyAged
	}
	if len(details) == 0 {
		details = []string{"there is no source of proofs"}
	}
	if worst == nil || worst.Outcome == verify.Unverifiable {
		// All that was tried, and not only the first.
		why = &client.Evidence{Detail: strings.Join(details, "; ")}
		worst = m.verify(path, file, why)
	}
	return worst, why
}

// misbehaved is the outcome for every file, and keeps the evidence.
func (m *Mirror) misbehaved(path string, file *held, misbehaviour *client.Misbehaviour) *verify.Result {
	r := m.verify(path, file, &client.Evidence{})
	r.Outcome, r.Message, r.Evidence = verify.Misbehaviour, misbehaviour.Evidence.String(), misbehaviour.Evidence
	r.Next = []string{"keep the evidence, install nothing that this log alone vouches for, and tell its operator and the CPAN Security Group (https://security.metacpan.org)"}
	m.keepEvidence(r)
	return r
}

func digestOf(file *held) entry.Digest {
	if file == nil {
		return entry.Digest{}
	}
	return file.digest
}

// verify decides with one piece of evidence; without a file, as for the one that the bundle is of.
func (m *Mirror) verify(path string, file *held, e *client.Evidence) *verify.Result {
	if file == nil {
		file = claimed(e.Bundle)
	}
	known, err := m.known()
	if err != nil {
		return failure(path, file, err)
	}
	return verify.Verify(verify.Request{Policy: m.Policy, Path: path, SHA256: file.digest, Size: file.size,
		Bundle: e.Bundle, Revocation: e.Revocation, Deletion: e.Deletion, Absence: e.Absence, AbsenceDetail: e.Detail,
		Known: known, Now: m.Now(), MaxIndexAge: m.MaxIndexAge})
}

// claimed returns the digest and size of a bundle's entry.
func claimed(bundle []byte) *held {
	// What does not parse has none, and verify says what is wrong with it.
	if b, err := proof.Parse(bundle); err == nil {
		if e, err := entry.Parse(b.Entry); err == nil {
			return &held{e.SHA256, e.Size}
		}
	}
	return &held{}
}

func failure(path string, file *held, err error) *verify.Result {
	r := &verify.Result{Outcome: verify.Error, Path: path, Message: err.Error()}
	if file != nil {
		r.SHA256, r.Size = file.digest, file.size
	}
	return r
}
