package corrupt

import (
	"errors"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/internal/faults/disk/oracle"
)

func TestFewDamages(t *testing.T) {
	r, err := run(t.Context(), campaign.Options{Seed: 1, Progress: t.Logf}, subjects, 1, nil)
	t.Logf("%q", r.Notes)
	if err != nil {
		t.Error(err)
	}
	if r.Faults < 50 || r.Refused < 20 {
		t.Errorf("it did little: %+v", r)
	}
}

// A program that takes damage for nothing is found.
func TestBlindnessIsFound(t *testing.T) {
	blind := func(err error) error {
		if errors.Is(err, errRefused) {
			return oracle.ErrLost // it started all the same
		}
		return err
	}
	only := func(seed uint64, _ *campaign.Report) ([]subject, error) {
		w, err := witness(seed)
		return []subject{w}, err
	}
	r, err := run(t.Context(), campaign.Options{Seed: 1, Progress: t.Logf}, only, 1, blind)
	if !errors.Is(err, oracle.ErrLost) || r.Lost == 0 || !strings.Contains(err.Error(), "-seed 1") {
		t.Errorf("%v, %+v", err, r)
	}
}
