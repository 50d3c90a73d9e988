//go:build linux && !amd64

package crashinit

import (
	"errors"
	"syscall"
)

// canFail says whether calls can be made to fail: registers have other names on each kind of machine.
const canFail = false

func skip(int) error                  { return errors.ErrUnsupported }
func answer(int, syscall.Errno) error { return errors.ErrUnsupported }
