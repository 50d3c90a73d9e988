package verify

import (
	"fmt"
	"slices"
)

// An Outcome is what a verification ends in. The numbers are the exit codes of every
// program of this project, the words those in its JSON, and neither changes.
type Outcome int

const (
	Verified     Outcome = 0  // logged with these bytes, and the same for everyone
	Error        Outcome = 1  // a local failure: nothing was found out
	Usage        Outcome = 2  // the question is incomplete: above all, a file without its path
	Mismatch     Outcome = 10 // the path is logged with another digest or size
	NotLogged    Outcome = 11 // the policy's log itself says that there is no entry
	Pending      Outcome = 12 // logged, but newer than the newest published checkpoint
	Unverifiable Outcome = 13 // no proof is to be had: missing, which is not the same as bad
	PolicyUnmet  Outcome = 14 // the proof is valid, but the quorum of witnesses is not met
	Misbehaviour Outcome = 15 // two validly signed statements contradict each other
	Stale        Outcome = 16 // older than a limit that the user set: old, which is not the same as tampered
	Upgrade      Outcome = 17 // proven, but its format is newer than this program
	Revoked      Outcome = 18 // the log's operator voided the entry
	InvalidProof Outcome = 19 // a bundle is there, and is malformed or proves nothing
)

// outcomes is the table of all outcomes, in the order of precedence: of what holds at once,
// the first is the outcome. What says that the question or the log is wrong comes before what
// says that the file is, and a bad proof before what such a proof would say.
var outcomes = []struct {
	outcome Outcome
	word    string
	// Whether an installation stops, by mode.
	require, prefer bool
}{
	{Usage, "usage", true, true},
	{Error, "error", true, true},
	{Misbehaviour, "misbehaviour", true, true},
	{InvalidProof, "invalid-proof", true, true},
	{PolicyUnmet, "policy", true, true},
	{Upgrade, "upgrade", true, true},
	{Mismatch, "mismatch", true, true},
	{Revoked, "revoked", true, true},
	{Stale, "stale", true, false},
	{Pending, "pending", true, false},
	{NotLogged, "not-logged", true, false},
	{Unverifiable, "unverifiable", true, false},
	{Verified, "verified", false, false},
}

// rank returns the outcome's place in the order of precedence, and -1 for a number that
// is no outcome.
func (o Outcome) rank() int {
	for i := range outcomes {
		if outcomes[i].outcome == o {
			return i
		}
	}
	return -1
}

// Precedence returns all outcomes: of those that hold, the first one is the outcome.
func Precedence() []Outcome {
	all := make([]Outcome, len(outcomes))
	for i := range outcomes {
		all[i] = outcomes[i].outcome
	}
	return all
}

// Worst returns the one of two outcomes that comes first in the order of precedence. The
// outcome over many files is the worst of all, from Verified on. A number that is no
// outcome is worse than all of them, so that it cannot get lost.
func Worst(a, b Outcome) Outcome {
	if b.rank() < a.rank() {
		return b
	}
	return a
}

// Code returns the exit code.
func (o Outcome) Code() int { return int(o) }

// String returns the outcome's word.
func (o Outcome) String() string {
	if i := o.rank(); i >= 0 {
		return outcomes[i].word
	}
	return fmt.Sprintf("outcome %d", int(o))
}

// MarshalText returns the outcome's word, in JSON too.
func (o Outcome) MarshalText() ([]byte, error) {
	if o.rank() < 0 {
		return nil, fmt.Errorf("%d is no outcome of a verification", int(o))
	}
	return []byte(o.String()), nil
}

// UnmarshalText reads an outcome's word.
func (o *Outcome) UnmarshalText(b []byte) error {
	for i := range outcomes {
		if outcomes[i].word == string(b) {
			*o = outcomes[i].outcome
			return nil
		}
	}
	return fmt.Errorf("%.40q is no outcome of a verification", b)
}

// A Mode says what an installer does with an outcome.
type Mode int

const (
	// Require lets pass only what is verified.
	Require Mode = iota

	// Prefer warns where something is missing or old, and stops where something is wrong.
	// It is for the time in which not everything is logged and not every mirror carries
	// proofs. It is no protection against an active attacker, who needs only to withhold
	// the proof.
	Prefer
)

// String returns the mode's word.
func (m Mode) String() string {
	switch m {
	case Require:
		return "require"
	case Prefer:
		return "prefer"
	}
	return fmt.Sprintf("mode %d", int(m))
}

// ParseMode reads a mode's word.
func ParseMode(s string) (Mode, error) {
	if i := slices.Index([]string{"require", "prefer"}, s); i >= 0 {
		return Mode(i), nil
	}
	return Require, fmt.Errorf("expected require or prefer, found %.40q", s)
}

// Stops reports whether an installation must not go on. Whatever is unknown stops: a mode
// other than Prefer is Require.
func (o Outcome) Stops(m Mode) bool {
	i := o.rank()
	switch {
	case i < 0:
		return true
	case m == Prefer:
		return outcomes[i].prefer
	}
	return outcomes[i].require
}
