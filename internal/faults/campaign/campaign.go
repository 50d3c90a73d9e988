// Package campaign says what a fault campaign is: it does to a pauselog what disks, clocks, networks,
// crashes and hostile clients do, and counts.
package campaign

import (
	"context"
	"fmt"
	"math"
	"time"
)

// A Campaign injects one class of faults.
type Campaign struct {
	Name  string // one word, for a flag
	About string // a line: what is done, and what is checked after it

	// Run does it and returns when it is through or ctx ends, whichever is first; in the latter case the
	// report is of what was done until then, and the error is nil.
	// An error says that an invariant was broken, or that the campaign could not do what it says; it names the
	// step, what was expected and found, and how to do it again. A campaign that counted a lost entry, a fork or
	// something false always returns an error as well.
	Run func(ctx context.Context, o Options) (Report, error)
}

// Options are the same for all campaigns.
type Options struct {
	// Long asks for everything; without it a campaign takes at most about 20 seconds of two cores
	// and tries of each kind of fault at least one.
	Long bool
	// For bounds a campaign that could go on forever (random ones). 0 is the campaign's own choice.
	For time.Duration
	// Seed decides all that is random. The same seed does the same again, as far as the machine's
	// scheduling lets it; a campaign for which it does not says so in its About.
	Seed uint64
	// Dir is an empty folder on a real disk for what needs one. The campaign need not clean it.
	Dir string
	// Progress takes a short line now and then. Never nil.
	Progress func(format string, args ...any)
}

// A Report counts what a campaign did and saw.
type Report struct {
	Faults       uint64   `json:"faults"`       // faults injected: failed or torn writes, flipped bytes, clock jumps, lost messages
	Crashes      uint64   `json:"crashes"`      // crashes (kills, images of a crashed disk), each followed by a start and a check
	Inputs       uint64   `json:"inputs"`       // hostile inputs tried: requests, files, connections
	Acknowledged uint64   `json:"acknowledged"` // entries whose submission was answered with success
	Lost         uint64   `json:"lost"`         // of those, the ones that are not in the log afterwards
	Forks        uint64   `json:"forks"`        // pairs of signed or cosigned trees that are not one history
	False        uint64   `json:"false"`        // answers that were wrong: a proof that does not verify, bytes that are not those logged
	Refused      uint64   `json:"refused"`      // starts or operations that were refused, rightly, with an error that names the cause
	Notes        []string `json:"notes,omitempty"`
}

// Add adds another report to r. Counts saturate.
func (r *Report) Add(other Report) {
	for _, c := range []struct{ to, from *uint64 }{
		{&r.Faults, &other.Faults}, {&r.Crashes, &other.Crashes}, {&r.Inputs, &other.Inputs},
		{&r.Acknowledged, &other.Acknowledged}, {&r.Lost, &other.Lost}, {&r.Forks, &other.Forks},
		{&r.False, &other.False}, {&r.Refused, &other.Refused},
	} {
		if *c.to > math.MaxUint64-*c.from {
			*c.to = math.MaxUint64
			continue
		}
		*c.to += *c.from
	}
	r.Notes = append(r.Notes, other.Notes...)
}

// Err is the error of a report that counts what must never happen, else nil.
func (r *Report) Err() error {
	if r.Lost == 0 && r.Forks == 0 && r.False == 0 {
		return nil
	}
	return fmt.Errorf("entries lost: %d, forks: %d, false answers: %d", r.Lost, r.Forks, r.False)
}
