package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pauselog/pauselog/internal/atomicfile"
)

// ErrRunning says that another agent works with a state folder.
var ErrRunning = errors.New("another agent is at work with this state folder")

// Lock makes a state folder if it is not there, and makes it this process's, for one agent. The lock ends with the process, however it
// ends, or with release. Two agents would log nothing twice, but overwrite each other's progress, and hide each
// other's failures.
func Lock(state string) (release func() error, err error) {
	if err := os.MkdirAll(state, 0o750); err != nil {
		return nil, fmt.Errorf("the state folder: %w", err)
	}
	name := filepath.Join(state, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("the state folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrRunning, state)
		}
		return nil, fmt.Errorf("the state folder: lock %s: %w", name, err)
	}
	for _, dir := range []string{state, filepath.Join(state, "aside")} {
		atomicfile.RemoveLeftovers(dir) // of those before it that were killed
	}
	return f.Close, nil
}
