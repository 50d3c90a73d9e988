package head

import (
	"errors"
	"fmt"

	"github.com/pauselog/pauselog/log/slot"
)

// ErrLocked says that another process has the head file open.
var ErrLocked = errors.New("the head is in use by another process")

// Create makes a new head file that says h, readable and writable by its owner
// only. A file that exists is an error that wraps fs.ErrExist.
func Create(name string, h Head) error {
	b, err := h.marshal()
	if err != nil {
		return err
	}
	return layout.Create(name, b)
}

// Open locks and reads a head file. The lock, which another process's Open finds as
// ErrLocked, lasts until Close or the end of the process. A file that is gone is
// an error that wraps fs.ErrNotExist.
func Open(name string) (*Keeper, error) {
	slots, err := layout.Open(name)
	switch {
	case errors.Is(err, slot.ErrLocked):
		return nil, fmt.Errorf("%s: %w", name, ErrLocked)
	case errors.Is(err, slot.ErrNoValue):
		return nil, fmt.Errorf("%w: %w", ErrNoHead, err)
	case err != nil:
		return nil, err
	}
	k, err := newKeeper(slots)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), slots.Close())
	}
	return k, nil
}
