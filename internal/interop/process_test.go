package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// patience is how long anything may take that should take milliseconds.
const patience = 30 * time.Second

// eventually tries until there is no error.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
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

// runProgram runs a program to its end, which must be a success, and returns what it printed.
func runProgram(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, _, err := tryProgram(t, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// tryProgram is runProgram for a program that may fail: the error says how, and the exit code is then not 0.
func tryProgram(t *testing.T, name string, args ...string) (stdout string, exitCode int, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(programs, name), args...)
	cmd.Env = environment(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %q: %w\n%s%s", name, args, err, out, stderr.Bytes())
	}
	return string(out), cmd.ProcessState.ExitCode(), err
}

// environment is one without files and variables of whoever runs the tests.
func environment(t *testing.T, extra ...string) []string {
	home := t.TempDir()
	env := []string{"HOME=" + home, "XDG_STATE_HOME=" + home, "XDG_CONFIG_HOME=" + home, "PATH=" + os.Getenv("PATH")}
	return append(env, extra...)
}

// A process is a program that serves.
type process struct {
	cmd    *exec.Cmd
	stdout *output
	stderr *output
	ended  chan struct{}
}

// start starts a program. At the latest it is killed when the test ends.
func start(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(filepath.Join(programs, name), args...)
	p := &process{cmd: cmd, stdout: newOutput(), stderr: newOutput(), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = p.stdout, p.stderr, env
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %q:\n%s", name, args, p.stderr)
		}
	})
	return p
}

// kill is kill -9. It returns when the process is no more.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// ready waits for the line of JSON that our programs print when they serve.
func (p *process) ready(t *testing.T, into any) {
	t.Helper()
	select {
	case <-p.stdout.line:
	case <-p.ended:
		t.Fatalf("%s ended before it was ready:\n%s", p.cmd.Path, p.stderr)
	case <-time.After(patience):
		t.Fatalf("%s did not become ready:\n%s", p.cmd.Path, p.stderr)
	}
	line, _, _ := bytes.Cut([]byte(p.stdout.String()), []byte("\n"))
	if err := json.Unmarshal(line, into); err != nil {
		t.Fatalf("%s: %q: %v", p.cmd.Path, line, err)
	}
}

// listens waits until a program that does not say so accepts connections.
func (p *process) listens(t *testing.T, address string) {
	t.Helper()
	eventually(t, p.cmd.Path, func() error {
		select {
		case <-p.ended:
			t.Fatalf("%s ended before it listened:\n%s", p.cmd.Path, p.stderr)
		default:
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// freeAddress is for programs that cannot say which port they took.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
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

// writeFile writes a file into a folder of its own and returns its name.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// distribution is the n-th file that is logged, by its path on CPAN.
func distribution(n int) (path, content string) {
	return fmt.Sprintf("authors/id/E/EX/EXAMPLE/Dist-%d.tar.gz", n), fmt.Sprintf("distribution %d\n", n)
}
