package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests with witnesses run the programs as their users build them, each in a process of its own.

// patience is how long anything may take that should take milliseconds.
const patience = 30 * time.Second

// programs returns the folder with the built programs. It lies beside the one that testscript.Main made
// for its own, and is removed with that.
var programs = sync.OnceValues(func() (string, error) {
	script, err := exec.LookPath("pauselogd")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(filepath.Dir(filepath.Dir(script)), "built") + string(filepath.Separator)
	out, err := exec.Command("go", "build", "-o", dir, "../pauselog", "../pauselogd", "../pausewitness").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

func command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, name), args...)
	home := t.TempDir() // nothing of whoever runs the tests
	cmd.Env = append(cmd.Environ(), "HOME="+home, "XDG_STATE_HOME="+home, "XDG_CONFIG_HOME="+home)
	return cmd
}

// runProgram runs a program to its end, which must be a success, and returns what it printed.
func runProgram(t testing.TB, name string, args ...string) string {
	t.Helper()
	code, out, messages := tryProgram(t, name, args...)
	if code != 0 {
		t.Fatalf("%s %q: exit code %d\n%s%s", name, args, code, out, messages)
	}
	return out
}

// tryProgram runs a program to its end.
func tryProgram(t testing.TB, name string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := startProcess(t, name, args...)
	p.end(t)
	return p.cmd.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()
}

// A process is a program that runs.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr *output
	ended          chan struct{}
}

// startProcess starts a program. At the latest it is killed when the test ends.
func startProcess(t testing.TB, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: command(t, name, args...), stdout: newOutput(), stderr: newOutput(), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

// ready waits for the line that our programs print when they serve.
func (p *process) ready(t testing.TB) {
	t.Helper()
	select {
	case <-p.stdout.line:
	case <-p.ended:
		t.Fatalf("%v ended before it was ready: %v\n%s", p.cmd.Args, p.cmd.ProcessState, p.stderr)
	case <-time.After(patience):
		t.Fatalf("%v did not become ready\n%s", p.cmd.Args, p.stderr)
	}
}

// end waits until the process has ended by itself.
func (p *process) end(t testing.TB) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.cmd.Process.Kill()
		<-p.ended
		t.Fatalf("%v did not end\n%s", p.cmd.Args, p.stderr)
	}
}

// stop has the process drain and end.
func (p *process) stop(t testing.TB) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.end(t)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("%v: exit code %d\n%s", p.cmd.Args, code, p.stderr)
	}
}

// kill is kill -9. It must be that which ended the process, and not a fault of its own.
func (p *process) kill(t testing.TB) {
	t.Helper()
	p.cmd.Process.Kill()
	p.end(t)
	if s := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGKILL {
		t.Fatalf("%v ended by itself: %v\n%s", p.cmd.Args, p.cmd.ProcessState, p.stderr)
	}
}

func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("%v: %v\n%s", p.cmd.Args, err, p.stderr)
	}
}

// An output keeps what a process writes.
type output struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	line chan struct{} // closed after the first line
	once sync.Once
}

func newOutput() *output { return &output{line: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.buf.Write(b)
	if bytes.IndexByte(b, '\n') >= 0 {
		o.once.Do(func() { close(o.line) })
	}
	return n, err
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// eventually tries until there is no error.
func eventually(t testing.TB, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// nextPort begins where the system takes no ports for clients, one of which could otherwise be in the
// place of a server that is down for a moment.
var nextPort = struct {
	sync.Mutex
	port int
}{port: 12000 + int(time.Now().UnixNano()/1000%18000)}

// freeAddress is a loopback address that a server can come back to.
func freeAddress(t testing.TB) string {
	t.Helper()
	nextPort.Lock()
	defer nextPort.Unlock()
	var errs error
	for range 100 {
		nextPort.port++
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", nextPort.port))
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		defer l.Close()
		return l.Addr().String()
	}
	t.Fatal(errs)
	return ""
}
