package state

import (
	"errors"
	"fmt"
	"io/fs"
)

// clockFile holds what AcceptTime accepted last.
const clockFile = "clock"

// An acceptance is an operator's word that the clock was right at a moment: cosignatures
// from before it say nothing about the time. No acceptance is time 0 at sequence 0.
//
// It is outside of the head's digest. Whoever brings an older one back only brings back the
// cosignatures that it ignores less of.
type acceptance struct {
	time, sequence uint64
}

// floor returns the time below which nothing is cosigned for a log any more.
func (a acceptance) floor(l *Log) uint64 {
	if l.signed > a.sequence {
		return max(a.time, l.Time)
	}
	return a.time
}

// Floor returns the latest time, in seconds since 1970, that the witness signed or accepted;
// cosignatures from before an acceptance do not count. 0 if there is none.
func (s *State) Floor() uint64 { return s.floor.Load() }

func (s *State) setFloor() {
	a := *s.accepted.Load()
	floor := a.time
	for _, e := range s.order {
		if l := e.log.Load(); l != nil {
			floor = max(floor, a.floor(l))
		}
	}
	s.floor.Store(floor)
}

// AcceptTime makes a time the Floor, durably, even if it is earlier than what was signed: an
// operator says that the clock was wrong then and is right now. After an error it is the old
// one or the new one.
func (s *State) AcceptTime(unix uint64) error {
	return s.locked(func() error {
		a := acceptance{unix, s.sequence}
		if err := s.files.write(clockFile, a.marshal()); err != nil {
			return err
		}
		s.accepted.Store(&a)
		s.setFloor()
		return nil
	})
}

func (a acceptance) marshal() []byte {
	return fmt.Appendf(nil, "time %d\nsequence %d\n", a.time, a.sequence)
}

// readAcceptance reads the clock file.
func readAcceptance(f files) (*acceptance, error) {
	b, err := f.read(clockFile)
	if errors.Is(err, fs.ErrNotExist) {
		return &acceptance{}, nil
	} else if err != nil {
		return nil, err
	}
	var a acceptance
	_, err = fmt.Sscanf(string(b), "time %d\nsequence %d\n", &a.time, &a.sequence)
	if err != nil || string(a.marshal()) != string(b) {
		return nil, fmt.Errorf("%s: expected a time and a sequence, found %.60q", clockFile, b)
	}
	return &a, nil
}
