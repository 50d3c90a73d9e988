package campaign

import (
	"math"
	"testing"
)

func TestWhatMustNeverHappenIsAnError(t *testing.T) {
	for _, r := range []Report{{Lost: 1}, {Forks: 1}, {False: 1}} {
		if r.Err() == nil {
			t.Errorf("%+v: no error", r)
		}
	}
	if r := (&Report{Faults: 9, Crashes: 9, Inputs: 9, Acknowledged: 9, Refused: 9}); r.Err() != nil {
		t.Errorf("%+v: %v", r, r.Err())
	}
}

func TestAdd(t *testing.T) {
	r := Report{Faults: 1, Lost: math.MaxUint64 - 1, Notes: []string{"a"}}
	r.Add(Report{Faults: 2, Crashes: 3, Inputs: 4, Acknowledged: 5, Lost: 2, Forks: 6, False: 7, Refused: 8, Notes: []string{"b"}})
	if r.Faults != 3 || r.Crashes != 3 || r.Inputs != 4 || r.Acknowledged != 5 || r.Lost != math.MaxUint64 || r.Forks != 6 || r.False != 7 || r.Refused != 8 || len(r.Notes) != 2 {
		t.Errorf("%+v", r)
	}
}
