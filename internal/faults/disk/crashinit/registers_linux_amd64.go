package crashinit

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// canFail says whether calls can be made to fail.
const canFail = true

// skip has the kernel do nothing at the entry of a call.
func skip(tid int) error {
	var r unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &r); err != nil {
		return err
	}
	r.Orig_rax = ^uint64(0)
	return unix.PtraceSetRegs(tid, &r)
}

// answer sets what a call returns, at its exit.
func answer(tid int, errno syscall.Errno) error {
	var r unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &r); err != nil {
		return err
	}
	r.Rax = uint64(-int64(errno))
	return unix.PtraceSetRegs(tid, &r)
}
