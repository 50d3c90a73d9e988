// Command check runs all of the project's tests, with Go alone:
//
//	go run ./internal/check            everything, as CI does
//	go run ./internal/check -quick     without the linter, the race detector and the fault campaigns
//
// Tests that want real CPAN distributions find a mirror by the environment variable
// PAUSELOG_CORPUS; without it they make small distributions themselves.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// staticcheck is run by its version and not through go.mod, which stays that of the programs.
const staticcheck = "honnef.co/go/tools/cmd/staticcheck@v0.8.2"

// raced are the packages in which goroutines meet.
var raced = []string{"./log/store", "./log/sequencer", "./log/client", "./log/prooftree", "./witness", "./witness/bastion", "./witness/client", "./witness/server", "./witness/state",
	"./internal/...", "./cmd/..."}

func main() { os.Exit(run()) }

func run() int {
	quick := flag.Bool("quick", false, "leave out the linter, the race detector and the fault campaigns")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &checker{ctx: ctx}

	c.step("gofmt", c.gofmt)
	c.step("go vet", c.command("go", "vet", "./..."))
	c.step("modules", c.command("go", "mod", "tidy", "-diff"))
	c.step("generated code", c.command("go", "run", "./internal/protogen", "-check"))
	c.step("vectors for the Perl verifier", c.command("go", "run", "./internal/vectors", "-check"))
	c.step("build without cgo", c.environ("CGO_ENABLED=0", "go", "build", "-o", os.DevNull, "./cmd/..."))
	c.step("tests", c.shown("go", "test", "-timeout", "30m", "./..."))
	// A module of its own. Its tests run programs that are built from this one, which their cache does not see.
	c.step("other projects' programs", c.shown("go", "-C", "internal/interop", "test", "-count=1", "./..."))
	c.step("benchmark of Tessera", c.command("go", "-C", "internal/bench/tessera", "test", "./..."))
	if !*quick {
		c.step("staticcheck", c.command("go", "run", staticcheck, "./..."))
		if hasC() {
			c.step("race detector", c.shown("go", append([]string{"test", "-timeout", "30m", "-race", "-short"}, raced...)...))
		} else {
			fmt.Println("race detector: left out, it needs a C compiler")
		}
		c.step("known vulnerabilities", c.shown("go", "run", "./internal/release", "-vulnerabilities"))
		// The same seed each time: what fails here was changed here. Whoever looks for more runs it with others.
		c.step("faults", c.shown("go", "run", "./internal/faults", "-seed", "1"))
	}
	if len(c.failed) > 0 {
		fmt.Printf("FAILED: %s\n", strings.Join(c.failed, ", "))
		return 1
	}
	fmt.Println("all checks passed")
	return 0
}

type checker struct {
	ctx    context.Context
	failed []string
}

// step runs one check. A failed one does not keep the others from being tried.
func (c *checker) step(name string, f func() ([]byte, error)) {
	if c.ctx.Err() != nil {
		return
	}
	began := time.Now()
	out, err := f()
	took := time.Since(began).Round(100 * time.Millisecond)
	if err != nil {
		c.failed = append(c.failed, name)
		fmt.Printf("%s: FAILED after %v: %v\n%s", name, took, err, out)
		return
	}
	fmt.Printf("%s: ok (%v)\n", name, took)
}

// command returns a step that shows a command's output only if it fails.
func (c *checker) command(name string, args ...string) func() ([]byte, error) {
	return func() ([]byte, error) { return exec.CommandContext(c.ctx, name, args...).CombinedOutput() }
}

func (c *checker) environ(variable, name string, args ...string) func() ([]byte, error) {
	return func() ([]byte, error) {
		cmd := exec.CommandContext(c.ctx, name, args...)
		cmd.Env = append(os.Environ(), variable)
		return cmd.CombinedOutput()
	}
}

// shown returns a step whose command writes to the terminal as it goes.
func (c *checker) shown(name string, args ...string) func() ([]byte, error) {
	return func() ([]byte, error) {
		cmd := exec.CommandContext(c.ctx, name, args...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		return nil, cmd.Run()
	}
}

// gofmt says which files are not formatted.
func (c *checker) gofmt() ([]byte, error) {
	out, err := exec.CommandContext(c.ctx, "gofmt", "-l", "cmd", "internal", "log", "proto", "witness").Output()
	if err == nil && len(out) > 0 {
		err = fmt.Errorf("not formatted")
	}
	return out, err
}

func hasC() bool {
	out, err := exec.Command("go", "env", "CC").Output()
	if err != nil {
		return false
	}
	_, err = exec.LookPath(strings.Fields(string(out))[0])
	return err == nil
}
