package model

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/internal/faults/campaign"
)

// The model finds each mistake that the wiring can make on purpose, within some seeds: if a program made it, it would be
// found as well.
func TestSabotageIsFound(t *testing.T) {
	const seeds = 30
	for name, c := range map[string]struct {
		sabotage sabotage
		want     []string // one of these
	}{
		"the log answers before anything is durable":   {sabotage{earlyAnswers: true}, []string{"which is another or not there", "was acknowledged as entry", "was given a bundle for entry"}},
		"the disk says that it syncs, and does not":    {sabotage{syncsLie: true}, []string{"does not start", "which is another or not there"}},
		"what is signed is published without a quorum": {sabotage{noQuorum: true}, []string{"policy"}},
		// The log may notice it first: if another has been put back too, no quorum is left.
		"a witness forgets what it has signed":             {sabotage{forgetful: true}, []string{"went back", "are not of one history", "w1.example (set aside)"}},
		"the log starts from an older copy by an override": {sabotage{olderFolder: true}, []string{"two trees", "which is another or not there", "none of the trees", "says that the tree of size", "contradict", "was acknowledged as entry"}},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= seeds; seed++ {
				r, _, _, err := simulate(t, seed, c.sabotage)
				if err == nil {
					continue
				}
				found := false
				for _, w := range c.want {
					found = found || strings.Contains(err.Error(), w)
				}
				if !found {
					t.Errorf("found something else: %v", err)
				}
				first, _, _ := strings.Cut(err.Error(), "\n")
				t.Logf("%s; lost %d, forks %d, false %d", first, r.Lost, r.Forks, r.False)
				return
			}
			t.Errorf("not found in %d seeds", seeds)
		})
	}
}

// A parent and its child, as in the campaign.
func TestParentAndChild(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r, err := perform(t.Context(), self, campaign.Options{Dir: dir, Progress: t.Logf}, task{Seed: 11, Count: 2, File: filepath.Join(dir, "outcome")})
	if err != nil {
		t.Fatal(err)
	}
	if r.Acknowledged == 0 || r.Crashes == 0 || r.Err() != nil || !strings.Contains(strings.Join(r.Notes, "\n"), "2 worlds, seeds 11 to 12") {
		t.Errorf("%+v", r)
	}
}

// What a child came to is read by its parent, also if it did not come to its end.
func TestJudge(t *testing.T) {
	done, cancelled := context.WithCancel(t.Context())
	cancelled()
	for name, c := range map[string]struct {
		ctx  context.Context
		got  *outcome
		err  error
		want []string // in the error; nil: none
	}{
		"all is well":               {t.Context(), &outcome{Seeds: 3, Last: 9, Finished: true}, nil, nil},
		"a violation":               {t.Context(), &outcome{Seeds: 3, Last: 9, Finished: true, Error: "seed 9: two trees"}, nil, []string{"two trees", "-campaigns model -seed 9"}},
		"a panic in a world":        {t.Context(), &outcome{Seeds: 3, Last: 9}, errors.New("exit status 2"), []string{"panic: boo", "exit status 2", "-seed 9"}},
		"no word at all":            {t.Context(), nil, errors.New("exit status 2"), []string{"without a word", "panic: boo"}},
		"the caller's time is over": {done, &outcome{Seeds: 3, Last: 9}, errors.New("killed"), nil},
		"over, without a word":      {done, nil, errors.New("killed"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			task := task{Seed: 7, File: filepath.Join(t.TempDir(), "outcome")}
			if c.got != nil {
				c.got.Report = campaign.Report{Acknowledged: 5}
				b, err := json.Marshal(c.got)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(task.File, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r, err := judge(c.ctx, task, []byte("panic: boo"), c.err)
			if (err == nil) != (c.want == nil) {
				t.Fatalf("error %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("no %q in: %v", w, err)
				}
			}
			if c.got != nil && r.Acknowledged != 5 {
				t.Errorf("%+v", r)
			}
		})
	}
}
