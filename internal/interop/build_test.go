// Package interop drives the programs that pauselog ships together with other projects' code: their logs
// with our witness, their witnesses and readers with our log, and their bastion between the two. It is a
// module of its own, so that none of this is a dependency of the programs.
package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programs is the folder of the programs, built as their users build them.
var programs string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "interop")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = dir
	for _, b := range []struct {
		module   string
		packages []string
	}{
		{filepath.Join("..", ".."), []string{"./cmd/pauselog", "./cmd/pauselogd", "./cmd/pausewitness"}},
		{".", []string{"tool"}}, // those that go.mod lists
	} {
		cmd := exec.Command("go", append([]string{"build", "-o", dir + string(filepath.Separator)}, b.packages...)...)
		cmd.Dir = b.module
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v in %s: %v\n%s", cmd.Args, b.module, err, out)
			return 1
		}
	}
	return m.Run()
}
