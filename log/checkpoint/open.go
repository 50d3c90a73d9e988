package checkpoint

import (
	"errors"
	"fmt"
	"slices"
)

// ErrUnknownLog says that a note has no signature by a log key of the policy
// whose name is the checkpoint's origin.
var ErrUnknownLog = errors.New("not signed by a log of the policy")

// ErrQuorum says that a checkpoint is the log's and nothing is wrong with it,
// but that the policy's quorum of witnesses did not cosign it.
var ErrQuorum = errors.New("quorum of witnesses not met")

// FutureTolerance is by how many seconds a signature's time may be ahead of
// the clock that it is compared with.
const FutureTolerance = 600

// Opened is a checkpoint that Policy.Open found to be the log's.
type Opened struct {
	Checkpoint

	// Note has all of the note's lines, those of unknown keys too: nothing is
	// known about these.
	Note Note

	// LogKeys are the log keys of the origin whose signature verified, at least
	// one. LogTimes are the times in their signatures, 0 for Ed25519.
	LogKeys  []*VerifierKey
	LogTimes []uint64

	// Cosignatures are those of the policy's witnesses, all verified.
	Cosignatures []Cosignature

	// QuorumMet is false only next to an ErrQuorum.
	QuorumMet bool
}

// A Cosignature is a witness's statement that the checkpoint was, at Time, the
// largest that it had seen of this log, and consistent with all before.
type Cosignature struct {
	Witness string // name in the policy
	Key     *VerifierKey
	Time    uint64 // seconds since 1970, not compared with any clock
}

// Open parses a checkpoint's note, verifies it, and evaluates the quorum. It
// returns an error that wraps
//
//   - ErrMalformed or ErrExtension, when the bytes are no checkpoint to accept;
//   - ErrUnknownLog, when no line is by a log key of the policy whose name is
//     the origin; any one such key suffices;
//   - ErrBadSignature, when a line has the name and the key id of a key of the
//     policy, a log's or a witness's, and does not verify, even if all would be
//     well without that line;
//   - ErrQuorum, when all is well but the quorum: then, and only then, the
//     Opened is returned with the error.
//
// Lines of other keys are ignored, also when name or key id coincide with a
// known key's: that is how new keys and witnesses come into use.
func (p *Policy) Open(note []byte) (*Opened, error) {
	n, err := ParseNote(note)
	if err != nil {
		return nil, err
	}
	c, err := ParseText(n.Text)
	if err != nil {
		return nil, err
	}
	// Before any signature: the lines may well be of known witnesses, but what
	// they say is about a log that is none of ours.
	if !p.KnowsOrigin(c.Origin) {
		return nil, fmt.Errorf("%w: no log key is named %s", ErrUnknownLog, quote(c.Origin))
	}
	o := &Opened{Checkpoint: c, Note: n}
	for _, s := range n.Signatures {
		known, ok := p.keys[s.ref()]
		if !ok {
			continue
		}
		t, err := known.key.verify(n.Text, c, s)
		if err != nil {
			return nil, err
		}
		if known.log && known.key.name == c.Origin {
			o.LogKeys = append(o.LogKeys, known.key)
			o.LogTimes = append(o.LogTimes, t)
		}
		if known.witness >= 0 {
			w := p.witnesses[known.witness]
			o.Cosignatures = append(o.Cosignatures, Cosignature{Witness: w.Name, Key: w.Key, Time: t})
		}
	}
	if len(o.LogKeys) == 0 {
		return nil, fmt.Errorf("%w: no signature by a known key of %s", ErrUnknownLog, quote(c.Origin))
	}
	o.QuorumMet = p.Satisfied(o.cosigned(func(uint64) bool { return true }))
	if !o.QuorumMet {
		return o, fmt.Errorf("%w: %s, size %d: found cosignatures of %d of the policy's %d witnesses",
			ErrQuorum, quote(c.Origin), c.Size, len(o.Cosignatures), len(p.witnesses))
	}
	return o, nil
}

// cosigned returns the function for Satisfied that counts cosignatures whose
// time is ok.
func (o *Opened) cosigned(ok func(t uint64) bool) func(witness string) bool {
	return func(witness string) bool {
		return slices.ContainsFunc(o.Cosignatures, func(c Cosignature) bool {
			return c.Witness == witness && ok(c.Time)
		})
	}
}

// Fresh reports whether the checkpoint was the newest at some time not longer
// than maxAge seconds before now: the quorum of p evaluated over only those
// cosignatures that are no older than that and at most FutureTolerance ahead.
// p is the policy that opened the checkpoint; now is in seconds since 1970.
//
// With `quorum none` no witness's time is trusted, so it is the log's own: one
// of LogTimes. A checkpoint with neither (signed with Ed25519 only) is not
// fresh: nothing in it says when it was made, and an old one looks the same.
func (o *Opened) Fresh(p *Policy, now, maxAge uint64) bool {
	young := func(t uint64) bool {
		switch {
		case t == 0:
			return false
		case t > now:
			return t-now <= FutureTolerance
		}
		return now-t <= maxAge
	}
	if p.QuorumNone() {
		return slices.ContainsFunc(o.LogTimes, young)
	}
	return p.Satisfied(o.cosigned(young))
}
