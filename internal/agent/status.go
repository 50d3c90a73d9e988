package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/internal/spool"
)

// A Status is how an agent is, as it says itself in status.json of its state folder, every few seconds.
type Status struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Beat    time.Time `json:"beat"`
	Stopped time.Time `json:"stopped,omitzero"` // it ended in order

	Logged   uint64    `json:"logged"`   // new entries since the start
	Repeated uint64    `json:"repeated"` // were logged before
	LastAt   time.Time `json:"last_at,omitzero"`

	Proofs struct {
		Size uint64    `json:"size"`
		At   time.Time `json:"at,omitzero"`
	} `json:"proofs"`
	Reconciled time.Time `json:"reconciled,omitzero"` // up to where the RECENT files were dealt with
	Walked     time.Time `json:"walked,omitzero"`     // when the last walk ended
	WalkDue    bool      `json:"walk_due"`            // and the next is not to wait

	Failures map[string]Failure `json:"failures"` // by what failed: spool, proofs, recent, walk
}

// A Failure is why something does not go on.
type Failure struct {
	Since   time.Time `json:"since"`
	At      time.Time `json:"at"`
	Times   int       `json:"times"`
	Message string    `json:"message"`
}

func (a *Agent) edit(change func(*Status)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.status)
}

func (a *Agent) failed(name string, err error) {
	now := a.Now().UTC()
	first := false
	a.edit(func(s *Status) {
		f, ok := s.Failures[name]
		if !ok {
			f.Since, first = now, true
		}
		f.At, f.Times, f.Message = now, f.Times+1, err.Error()
		if s.Failures == nil {
			s.Failures = map[string]Failure{}
		}
		s.Failures[name] = f
	})
	if first {
		a.Logger.Error("it does not go on, and is tried again and again", "what", name, "error", err)
	} else {
		a.Logger.Debug("still", "what", name, "error", err)
	}
}

func (a *Agent) succeeded(name string) {
	var f Failure
	var was bool
	a.edit(func(s *Status) {
		f, was = s.Failures[name]
		delete(s.Failures, name)
	})
	if was {
		a.Logger.Info("it goes on again", "what", name, "after", a.Now().UTC().Sub(f.Since).Round(time.Second))
	}
}

// beat writes the status down.
func (a *Agent) beat() error {
	a.mu.Lock()
	a.status.Beat = a.Now().UTC()
	b, err := json.MarshalIndent(a.status, "", "  ")
	a.mu.Unlock()
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(a.State, "status.json"), append(b, '\n'), 0o644)
}

func readStatus(state string) (*Status, error) {
	name := filepath.Join(state, "status.json")
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	s := &Status{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// A Report is how everything stands, for people and for monitoring. It is made from the folders, and does not need a
// running agent.
type Report struct {
	Waiting int       `json:"waiting"` // spool files
	Oldest  time.Time `json:"oldest,omitzero"`
	Strays  int       `json:"strays"` // files in the spool that nobody reads
	Aside   []Named   `json:"aside"`
	Agent   *Status   `json:"agent"` // nil: there was none yet

	Problems []Problem `json:"problems"`
}

// A Problem is what somebody should look at.
type Problem struct {
	Kind    ProblemKind `json:"kind"`
	Message string      `json:"message"`
}

// A ProblemKind says what kind of thing is wrong.
type ProblemKind string

// The kinds.
const (
	NotRunning ProblemKind = "not-running"
	Behind     ProblemKind = "behind"    // something waits for too long
	Evidence   ProblemKind = "mismatch"  // files that are not what was published or logged
	LeftAside  ProblemKind = "set-aside" // something else that cannot be logged
	Failing    ProblemKind = "failing"   // a task that is not the spool's
)

// deaf is how old the last beat may be.
const deaf = time.Minute

// Look makes a report. s may be nil: an agent without a hook. maxAge is how long something may wait in the spool.
func Look(s *spool.Folder, state string, now time.Time, maxAge time.Duration) (*Report, error) {
	r := &Report{Aside: []Named{}, Problems: []Problem{}}
	problem := func(k ProblemKind, format string, args ...any) {
		r.Problems = append(r.Problems, Problem{k, fmt.Sprintf(format, args...)})
	}
	var err error
	r.Agent, err = readStatus(state)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		problem(NotRunning, "no agent has run with the state folder %s", state)
	case err != nil:
		return nil, err
	default:
		if !r.Agent.Stopped.IsZero() {
			problem(NotRunning, "the agent was stopped at %s", stamp(r.Agent.Stopped))
		} else if age := now.Sub(r.Agent.Beat); age > deaf {
			problem(NotRunning, "the agent gave its last sign of life at %s", stamp(r.Agent.Beat))
		}
	}
	why := ""
	if r.Agent != nil {
		for _, name := range slices.Sorted(maps.Keys(r.Agent.Failures)) {
			f := r.Agent.Failures[name]
			if name == "spool" {
				why = ": " + f.Message
			} else if now.Sub(f.Since) > maxAge {
				problem(Failing, "%s, since %s: %s", name, stamp(f.Since), f.Message)
			}
		}
	}
	if s != nil {
		l, err := s.List(1)
		if err != nil {
			return nil, err
		}
		r.Waiting, r.Oldest, r.Strays = l.Total, l.Oldest, l.Strays
		if l.Total > 0 && now.Sub(l.Oldest) > maxAge {
			problem(Behind, "%d in the spool, the oldest since %s%s", l.Total, stamp(l.Oldest), why)
		}
	}
	if r.Aside, err = (aside{filepath.Join(state, "aside")}).list(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	n := map[ProblemKind]int{}
	for _, x := range r.Aside {
		switch x.Word {
		case Differs, Conflict:
			n[Evidence]++
		default:
			if x.Word.Alarms() {
				n[LeftAside]++
			}
		}
	}
	if n[Evidence] > 0 {
		problem(Evidence, "%d files are not what was published or logged before: see %s", n[Evidence], filepath.Join(state, "aside"))
	}
	if n[LeftAside] > 0 {
		problem(LeftAside, "%d could not be logged: see %s", n[LeftAside], filepath.Join(state, "aside"))
	}
	return r, nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
