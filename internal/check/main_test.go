package main

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestAFailedStepFailsTheWholeAndNotTheOthers(t *testing.T) {
	c := &checker{ctx: context.Background()}
	var ran []string
	for name, err := range map[string]error{"good": nil, "bad": errors.New("no"), "other": nil} {
		c.step(name, func() ([]byte, error) { ran = append(ran, name); return nil, err })
	}
	if len(ran) != 3 || !slices.Equal(c.failed, []string{"bad"}) {
		t.Errorf("ran %v, failed %v", ran, c.failed)
	}
}

func TestStepsEndWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := &checker{ctx: ctx}
	c.step("late", func() ([]byte, error) { t.Error("it ran"); return nil, nil })
}

// Each pattern that is run under the race detector names packages of this module.
func TestRacedPackagesExist(t *testing.T) {
	for _, pattern := range raced {
		cmd := exec.Command("go", "list", pattern)
		cmd.Dir = "../.."
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "github.com/pauselog/pauselog/") {
			t.Errorf("%s: %v\n%s", pattern, err, out)
		}
	}
}
