// Package fuzz feeds every parser of the module with inputs that Go's fuzzer makes up.
package fuzz

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pauselog/pauselog/internal/faults/campaign"
)

// Campaign runs each fuzz target of the module in the working directory for a while, one after the other.
// What it tries is up to Go's fuzzer and differs each time; an input that fails is kept by it
// below testdata/fuzz of its package, where every later `go test` tries it again.
var Campaign = campaign.Campaign{
	Name:  "fuzz",
	About: "every parser with made-up inputs: none panics, what is accepted has one encoding (random each time)",
	Run:   run,
}

// How long each target is fuzzed: together some minutes, or some CPU hours.
const (
	short = 3 * time.Second
	long  = 10 * time.Minute
)

func run(ctx context.Context, o campaign.Options) (campaign.Report, error) {
	each := o.For
	switch {
	case each > 0:
	case o.Long:
		each = long
	default:
		each = short
	}
	targets, err := list(ctx)
	if err != nil {
		return campaign.Report{}, err
	}
	if len(targets) == 0 {
		return campaign.Report{}, errors.New("there are no fuzz targets")
	}
	var r campaign.Report
	for i, t := range targets {
		if ctx.Err() != nil {
			break
		}
		inputs, err := t.fuzz(ctx, each)
		r.Inputs += inputs
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return r, err
		}
		o.Progress("%d of %d: %s, %d inputs", i+1, len(targets), t.name, inputs)
	}
	r.Notes = append(r.Notes, fmt.Sprintf("%d fuzz targets for %v each", len(targets), each))
	return r, nil
}

// A target is a function FuzzX of a package.
type target struct{ pkg, name string }

// list finds the targets. A package's line follows those of its targets.
func list(ctx context.Context) ([]target, error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-list", "^Fuzz", "./...").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("listing fuzz targets: %w\n%s", err, out)
	}
	return parseList(out), nil
}

func parseList(out []byte) []target {
	var all []target
	var names []string
	for line := range bytes.Lines(out) {
		fields := strings.Fields(string(line))
		switch {
		case len(fields) == 1 && strings.HasPrefix(fields[0], "Fuzz"):
			names = append(names, fields[0])
		case len(fields) >= 2 && fields[0] == "ok":
			for _, n := range names {
				all = append(all, target{fields[1], n})
			}
			names = nil
		}
	}
	return all
}

// attempts bounds how often a target is tried again after the fuzzer's own fault.
const attempts = 4

func (t target) fuzz(ctx context.Context, each time.Duration) (inputs uint64, err error) {
	for range attempts {
		var out []byte
		out, err = exec.CommandContext(ctx, "go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", each.String(), t.pkg).CombinedOutput()
		inputs += execs(out)
		if err == nil {
			return inputs, nil
		}
		err = fmt.Errorf("%s in %s: %w\n%s", t.name, t.pkg, err, out)
		if !lateWorker(out) {
			return inputs, err
		}
	}
	return inputs, err
}

// lateWorker says whether a failed run found nothing: at the end of its time the fuzzer of Go 1.26 may take the
// end of a worker for a failure (go.dev/issue/75804). Then the message is this and no input is named.
func lateWorker(out []byte) bool {
	return lateLine.Match(out) && !bytes.Contains(out, []byte("Failing input")) && !bytes.Contains(out, []byte("panic:")) &&
		!bytes.Contains(out, []byte("failure while testing seed corpus"))
}

var (
	lateLine  = regexp.MustCompile(`(?m)^--- FAIL: Fuzz\S* \(.*\)\n    context deadline exceeded\nFAIL$`)
	execsLine = regexp.MustCompile(`execs: ([0-9]+) `)
)

// execs is how many inputs a run tried.
func execs(out []byte) uint64 {
	all := execsLine.FindAllSubmatch(out, -1)
	if len(all) == 0 {
		return 0
	}
	n, err := strconv.ParseUint(string(all[len(all)-1][1]), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
