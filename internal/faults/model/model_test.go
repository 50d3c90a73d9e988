package model

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pauselog/pauselog/internal/faults/campaign"
)

// simulate runs one world in simulated time. The error has the trace.
func simulate(t *testing.T, seed uint64, s sabotage) (r campaign.Report, bundles, convictions uint64, err error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "world")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(*testing.T) {
		var w *world
		if w, err = newWorld(seed, dir, s, synctest.Wait); err != nil {
			return
		}
		if r, err = w.run(); err != nil {
			err = fmt.Errorf("seed %d: %w\nthe last steps:\n%v", seed, err, w.trace)
		}
		bundles, convictions = w.check.bundles, w.check.convictions
	})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	return r, bundles, convictions, err
}

// TestSeeds runs worlds: a few, or, as the campaign's child, those that its parent asks for.
func TestSeeds(t *testing.T) {
	task := task{Seed: 1, Count: 6}
	if text := os.Getenv(taskVariable); text != "" {
		task.Count = 0
		if err := json.Unmarshal([]byte(text), &task); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	var o outcome
	for i := uint64(0); (i < task.Count || task.Count == 0) && (task.For == 0 || time.Since(began) < task.For); i++ {
		o.Seeds, o.Last = i+1, task.Seed+i
		// A world that hangs or panics ends the process: the parent reads here which it was.
		if err := o.write(task.File); err != nil {
			t.Fatal(err)
		}
		one := time.Now()
		r, bundles, convictions, err := simulate(t, o.Last, sabotage{})
		o.Report.Add(r)
		o.Bundles, o.Convictions = o.Bundles+bundles, o.Convictions+convictions
		if err != nil {
			o.Error = err.Error()
			if task.File == "" {
				t.Error(err)
			}
			break
		}
		if testing.Verbose() {
			t.Logf("seed %d: %v, %d crashes, %d faults, %d acknowledged, %d refused, %d bundles, %d convictions", o.Last, time.Since(one).Round(time.Millisecond), r.Crashes, r.Faults, r.Acknowledged, r.Refused, bundles, convictions)
		}
	}
	o.Finished = true
	if err := o.write(task.File); err != nil {
		t.Fatal(err)
	}
	if o.Error == "" && (o.Report.Acknowledged == 0 || o.Report.Crashes == 0 || o.Bundles == 0) && task.Count != 1 {
		t.Errorf("nothing happened: %+v", o)
	}
}

// TestSeedsThatFailed runs the worlds that once ended in a violation.
func TestSeedsThatFailed(t *testing.T) {
	for name, seed := range map[string]uint64{
		"a mirror copies the log across a restore": 4766129457196351,
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, _, err := simulate(t, seed, sabotage{}); err != nil {
				t.Error(err)
			}
		})
	}
}
