package crashinit

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// trace runs a command to its end, or until visit kills it, and calls visit before each system call of it or its children
// that changes a file below one of the roots. stdout and stderr are files.
func trace(argv []string, dir string, stdout, stderr *os.File, roots []string, visit func(call) action) (traced, error) {
	// The kernel lets only the thread that has started a traced process direct it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return traced{}, err
	}
	defer null.Close()
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Dir: dir, Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir},
		Files: []uintptr{null.Fd(), stdout.Fd(), stderr.Fd()}, Sys: &syscall.SysProcAttr{Ptrace: true, Setpgid: true}})
	if err != nil {
		return traced{}, fmt.Errorf("%s: %w", argv[0], err)
	}
	t := &tracer{pid: pid, roots: roots, visit: visit, failing: map[int]bool{}}
	status, err := t.run()
	if err != nil {
		// Whatever it was, no process is left behind.
		_ = unix.Kill(-pid, unix.SIGKILL)
		for err := error(nil); err == nil || errors.Is(err, unix.EINTR); {
			_, err = unix.Wait4(-pid, nil, unix.WALL, nil)
		}
	}
	return traced{status, t.n}, err
}

type tracer struct {
	pid     int
	roots   []string
	visit   func(call) action
	n       int
	failing map[int]bool // threads whose call is made to fail
	killed  bool
}

func (t *tracer) run() (unix.WaitStatus, error) {
	var status unix.WaitStatus
	if _, err := unix.Wait4(t.pid, &status, unix.WALL, nil); err != nil {
		return status, err
	}
	// Stopped by its exec.
	options := unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_EXITKILL
	if err := errors.Join(unix.PtraceSetOptions(t.pid, options), unix.PtraceSyscall(t.pid, 0)); err != nil {
		return status, fmt.Errorf("tracing: %w", err)
	}
	var end unix.WaitStatus
	ended := false
	for {
		// It and its children have a group of their own: others are somebody else's to wait for.
		tid, err := unix.Wait4(-t.pid, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD) && ended:
			return end, nil
		case err != nil:
			return status, fmt.Errorf("waiting for a traced process: %w", err)
		case status.Exited() || status.Signaled():
			if tid == t.pid {
				end, ended = status, true
			}
			continue
		case !status.Stopped():
			continue
		}
		deliver := 0
		switch sig := status.StopSignal(); sig {
		case unix.SIGTRAP | 0x80:
			if err := t.stopped(tid); err != nil && !errors.Is(err, unix.ESRCH) {
				return status, err
			}
		case unix.SIGTRAP, unix.SIGSTOP: // of a new thread or process
		default:
			deliver = int(sig)
		}
		// A thread that was killed meanwhile is seen above.
		if err := unix.PtraceSyscall(tid, deliver); err != nil && !errors.Is(err, unix.ESRCH) {
			return status, fmt.Errorf("tracing: %w", err)
		}
	}
}

// syscallInfo is what PTRACE_GET_SYSCALL_INFO answers at the entry of a call.
type syscallInfo struct {
	op   uint8
	_    [3]uint8
	arch uint32
	ip   uint64
	sp   uint64
	nr   uint64
	args [6]uint64
	_    [8]uint64
}

const (
	getSyscallInfo = 0x420e
	entry          = 1
	exit           = 2
)

// stopped is called at the entry and at the exit of each system call.
func (t *tracer) stopped(tid int) error {
	var info syscallInfo
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0); errno != 0 {
		return errno
	}
	if info.op == exit && t.failing[tid] {
		delete(t.failing, tid)
		return answer(tid, unix.EIO)
	}
	if info.op != entry || t.killed {
		return nil
	}
	name, path, ok := t.changes(tid, &info)
	if !ok {
		return nil
	}
	t.n++
	switch t.visit(call{t.n, name, path}) {
	case kills:
		t.killed = true // and its children with it
		return unix.Kill(-t.pid, unix.SIGKILL)
	case fails:
		t.failing[tid] = true
		return skip(tid)
	}
	return nil
}

// changes says which file below the roots a call changes, if any.
func (t *tracer) changes(tid int, info *syscallInfo) (name, path string, ok bool) {
	fd := func(n int) string {
		p, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, int32(info.args[n])))
		return p
	}
	text := func(n int) string { return readString(tid, info.args[n]) }
	switch info.nr {
	case unix.SYS_OPENAT:
		if info.args[2]&(unix.O_CREAT|unix.O_TRUNC) == 0 {
			return "", "", false
		}
		name, path = "create", text(1)
	case unix.SYS_MKDIRAT:
		name, path = "mkdir", text(1)
	case unix.SYS_UNLINKAT:
		name, path = "remove", text(1)
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		name, path = "rename", text(3)
	case unix.SYS_LINKAT:
		name, path = "link", text(3)
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		name, path = "write", fd(0)
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		name, path = "sync", fd(0)
	case unix.SYS_FCHMOD:
		name, path = "chmod", fd(0)
	case unix.SYS_FTRUNCATE:
		name, path = "truncate", fd(0)
	case unix.SYS_FALLOCATE:
		name, path = "allocate", fd(0)
	default:
		return "", "", false
	}
	for _, r := range t.roots {
		if strings.HasPrefix(path, r) {
			return name, path, true
		}
	}
	return "", "", false
}

// readString reads a string of a stopped process.
func readString(tid int, at uint64) string {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", tid))
	if err != nil {
		return ""
	}
	defer mem.Close()
	b := make([]byte, 4096)
	n, _ := mem.ReadAt(b, int64(at)) // what is behind the end of its memory is not the string's
	s, _, _ := strings.Cut(string(b[:n]), "\x00")
	return s
}
