// Package model simulates a whole pauselog in one process and in simulated time: a log, three witnesses of which two must
// cosign, agents that submit, clients that read and a mirror, of the real packages, on a network and disks that fail as a seed
// says. Messages are lost, delayed, doubled and overtake one another; answers are lost after their effect; log, witnesses and
// agents crash, the log in the middle of a sync; witnesses are cut off; clocks jump; a disk is full; older copies of the log and
// of a witness are put back; requests to witnesses are repeated by strangers; and the operator runs a second log with the
// same keys.
//
// All the time, and in the end, a checker that sees everything (checker.go) holds what was signed and answered against
// golang.org/x/mod/sumdb/tlog: one history, nothing acknowledged is lost, each bundle verifies at the index that was
// acknowledged, no witness cosigns two histories or goes back, nothing is published without its quorum, what is too old does not
// start; and once the faults end, everything is published within minutes.
//
//	go run ./internal/faults -campaigns model -seed 7            the worlds from seed 7 on
//	go run ./internal/faults -campaigns model -long -for 1h
//
// Simulated time is that of testing/synctest, which works in tests only: so the campaign builds the test of this package and
// runs it as a child. What is done, when, and what becomes of each message follows from the seed. What goroutines do at the
// same moment of simulated time is up to the machine, as are ML-DSA's signatures; a seed mostly does the same
// again.
package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/pauselog/pauselog/internal/faults/campaign"
)

// Campaign runs one world after the other, each with the next seed.
var Campaign = campaign.Campaign{
	Name: "model",
	About: "a log, witnesses, agents, clients and a mirror in simulated time, with crashes, a failing network, clocks, restores and a log run twice: " +
		"one history, nothing lost, all verifies, and it goes on (a seed repeats what is done when; goroutines of one moment are the machine's)",
	Run: run,
}

const (
	// taskVariable has a task for the test of this package.
	taskVariable = "PAUSELOG_MODEL"
	short        = 11 * time.Second
	memoryFolder = "/dev/shm"
	long         = time.Hour
)

// A task is what worlds to run.
type task struct {
	Seed  uint64        // of the first
	Count uint64        // of them; 0: until the time is over
	For   time.Duration // 0: no limit
	File  string        // for the outcome; "": none
}

// An outcome is what came of it. It is written before each world, too.
type outcome struct {
	Seeds       uint64 // how many worlds began
	Last        uint64 // the seed of the last one
	Finished    bool
	Bundles     uint64 // that clients verified
	Convictions uint64 // pairs of notes that convict a log
	Report      campaign.Report
	Error       string
}

func (o *outcome) write(file string) error {
	if file == "" {
		return nil
	}
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}

func run(ctx context.Context, o campaign.Options) (campaign.Report, error) {
	t := task{Seed: o.Seed, For: o.For, File: filepath.Join(o.Dir, "outcome")}
	switch {
	case t.For > 0:
	case o.Long:
		t.For = long
	default:
		t.For = short
	}
	return child(ctx, o, t)
}

// replay is how the world of a seed is run again.
func replay(seed uint64) string {
	return fmt.Sprintf("go run ./internal/faults -campaigns model -seed %d", seed)
}

// child builds the test and runs it with a task.
func child(ctx context.Context, o campaign.Options, t task) (campaign.Report, error) {
	binary := filepath.Join(o.Dir, "model.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "github.com/pauselog/pauselog/internal/faults/model")
	if out, err := build.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return campaign.Report{}, nil
		}
		return campaign.Report{}, fmt.Errorf("building the model: %w\n%s", err, out)
	}
	return perform(ctx, binary, o, t)
}

// progressTime is how often a campaign says how far it is.
const progressTime = 10 * time.Second

// perform runs the test of this package, and judges what came of it.
func perform(ctx context.Context, binary string, o campaign.Options, t task) (campaign.Report, error) {
	// Plain files survive what the model calls a crash: they need no real disk.
	scratch, err := os.MkdirTemp(memoryFolder, "pauselog-model-")
	if err != nil {
		scratch = o.Dir
	} else {
		defer os.RemoveAll(scratch)
	}
	text, err := json.Marshal(t)
	if err != nil {
		return campaign.Report{}, err
	}
	// A world that hangs has found something; none takes minutes.
	cmd := exec.CommandContext(ctx, binary, "-test.run=^TestSeeds$", "-test.timeout="+(t.For+5*time.Minute).String())
	cmd.Env = append(os.Environ(), taskVariable+"="+string(text), "TMPDIR="+scratch)
	cmd.Dir = o.Dir
	done := make(chan struct{})
	defer close(done)
	go func() {
		tick := time.NewTicker(progressTime)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-done:
				return
			}
			// One that is being written is read the next time.
			if got, err := readOutcome(t.File); err == nil {
				o.Progress("world %d, seed %d; %d crashes, %d entries acknowledged", got.Seeds, got.Last, got.Report.Crashes, got.Report.Acknowledged)
			}
		}
	}()
	out, runErr := cmd.CombinedOutput()
	return judge(ctx, t, out, runErr)
}

func readOutcome(file string) (o outcome, err error) {
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	return o, err
}

// judge reads what a child came to.
func judge(ctx context.Context, t task, out []byte, runErr error) (campaign.Report, error) {
	got, err := readOutcome(t.File)
	if err != nil {
		if ctx.Err() != nil {
			return campaign.Report{}, nil
		}
		return campaign.Report{}, errors.Join(fmt.Errorf("the model ended without a word: %w\n%s", err, out), runErr)
	}
	r := got.Report
	r.Notes = append(r.Notes, fmt.Sprintf("%d worlds, seeds %d to %d; %d bundles verified; %d pairs of notes that convict a log which was run twice", got.Seeds, t.Seed, got.Last, got.Bundles, got.Convictions))
	switch {
	case got.Error != "":
		return r, fmt.Errorf("%s\nto do it again: %s", got.Error, replay(got.Last))
	case ctx.Err() != nil:
		return r, nil
	case runErr != nil || !got.Finished:
		return r, fmt.Errorf("seed %d: the world ended the process: %w\n%s\nto do it again: %s", got.Last, runErr, beginning(out), replay(got.Last))
	}
	return r, nil
}

// beginning is the first part of what a process said, which names the panic.
func beginning(out []byte) []byte { return out[:min(len(out), 16<<10)] }
