package verify

import (
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
)

// An Absence is why there is no bundle.
type Absence int

const (
	// Unreachable: none was found, or nobody could be asked. Any mirror's "not found" is this
	// too: whoever is not the log cannot say what is not logged.
	Unreachable Absence = iota

	// SaidNotLogged: the policy's log itself said that the path is not logged, over TLS or
	// from the same machine.
	SaidNotLogged

	// SaidPending: the log itself said that the entry is newer than its newest published
	// checkpoint.
	SaidPending
)

// A Request is a file and everything that is known about it.
type Request struct {
	Policy *checkpoint.Policy

	// Path is what the caller asked for, relative to the CPAN root. Without it any logged
	// file would pass for any other, so it is an error to leave it out, unless AnyPath
	// says that the caller accepts whatever path the bundle proves. AnyPath does
	// nothing next to a Path.
	Path    string
	AnyPath bool

	SHA256 entry.Digest // of the file's bytes
	Size   uint64       // how many they are

	// Bundle is the proof bundle, and nil if there is none; one of no bytes is
	// malformed. Without one, Absence says why, and AbsenceDetail what was answered.
	Bundle        []byte
	Absence       Absence
	AbsenceDetail string

	// Revocation is the bundle of a void entry for this path, and Deletion that of a delete
	// entry, as the log gave them; nil if it gave none. They are checked as strictly as
	// Bundle. A void revokes; a deletion by the author is routine and becomes a note.
	Revocation []byte
	Deletion   []byte

	// Known are signed checkpoints of the policy's logs that the caller remembers.
	Known [][]byte

	// Now is the time, which only the limits need. MaxAge is how old a checkpoint, and
	// MaxIndexAge how old the entry of an index may be; 0 means no limit.
	Now                 time.Time
	MaxAge, MaxIndexAge time.Duration
}

// A Result is an outcome and its reasons. Its fields do not share memory with the Request.
type Result struct {
	Outcome Outcome

	// Path is the request's, or, if it had none, the one that the bundle proves.
	Path   string
	SHA256 entry.Digest // of the file, as are the size and the path: what was held
	Size   uint64

	// Proven says that the bundle proves an entry at Index under the policy, whatever that
	// entry says. Entry is that entry, if this program can read it: what is logged, which
	// need not be what was held. Checkpoint is the bundle's, if it is validly signed.
	Proven     bool
	Index      uint64
	Entry      *entry.Entry
	Checkpoint *checkpoint.Opened

	// Checks are the checks that were made, in their order. The first that failed need not
	// be the one that the outcome comes from.
	Checks []Check

	// Message says what the outcome means here, in one sentence; Expected and Found are
	// what it was decided by. Causes are what may be behind it, the innocent ones first,
	// and Next what to run or to do. Notes are what a person should know besides.
	Message         string
	Expected, Found string
	Causes          []string
	Next            []string
	Notes           []string

	// Evidence is what convicts the log: with Misbehaviour always, and with Usage and
	// Error, which come before it, if there is any. EvidencePath is for the caller, who
	// writes it to a file.
	Evidence     *Evidence
	EvidencePath string
}

// A Check is one thing that was verified.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// MaxIndexAgeNoted is the age from which on an index gets a note when the user has set no
// limit. It is no outcome, because mirrors lag and PAUSE has stood still for days.
const MaxIndexAgeNoted = 26 * time.Hour
