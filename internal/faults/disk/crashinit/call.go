package crashinit

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A call is a system call that changes files, before it is done.
type call struct {
	n    int // from 1 on
	name string
	path string // of what it changes; the new one of two
}

func (c call) String() string { return fmt.Sprintf("operation %d, %s of %s", c.n, c.name, c.path) }

// An action is what becomes of a call.
type action int

const (
	lets action = iota
	kills
	fails // the call is not done, and answers EIO
)

// A traced is a process that has ended.
type traced struct {
	status unix.WaitStatus
	calls  int
}

// traceable says why processes cannot be traced on this machine: on another system than Linux, or where a sandbox forbids it.
func traceable(dir string) error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	t, err := trace([]string{"/bin/true"}, dir, null, null, []string{filepath.Join(dir, "none")}, func(call) action { return lets })
	if err == nil && (!t.status.Exited() || t.status.ExitStatus() != 0) {
		err = fmt.Errorf("/bin/true ends with %#x", uint32(t.status))
	}
	return err
}
