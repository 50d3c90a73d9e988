package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
)

const origin = "log.example/soak"

// readyTime is how long a program may take to start or to end.
const readyTime = 30 * time.Second

// A site is a log and its witnesses, each a program with a folder and an address to which it comes back.
type site struct {
	dir, bin          string
	policyFile, token string // files
	policy            *checkpoint.Policy
	grpc, http        string // addresses
	log               *server
	witnesses         []*server
	data              []string // folders whose size is measured
	environment       []string
}

// newSite builds the programs and makes the folders below dir.
func newSite(ctx context.Context, dir string) (*site, error) {
	s := &site{dir: dir, bin: in(dir, "bin"), policyFile: in(dir, "policy"), token: in(dir, "token"),
		environment: append(os.Environ(), "HOME="+dir, "XDG_STATE_HOME="+dir, "XDG_CONFIG_HOME="+dir)}
	build := exec.CommandContext(ctx, "go", "build", "-o", s.bin+string(os.PathSeparator),
		"github.com/pauselog/pauselog/cmd/pauselog", "github.com/pauselog/pauselog/cmd/pauselogd", "github.com/pauselog/pauselog/cmd/pausewitness")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	addresses, err := freeAddresses(9)
	if err != nil {
		return nil, err
	}
	s.grpc, s.http = addresses[0], addresses[1]
	data := in(dir, "log")
	vkeys, err := s.command(ctx, "pauselogd", "init", "--data", data, "--origin", origin)
	if err != nil {
		return nil, err
	}
	token, err := s.command(ctx, "pauselogd", "token", "create", "--data", data, "--name", "soak")
	if err != nil {
		return nil, err
	}
	var policy strings.Builder
	for _, k := range strings.Fields(vkeys) {
		fmt.Fprintf(&policy, "log %s http://%s\n", k, s.http)
	}
	for i := range 3 {
		w, lines, err := s.newWitness(ctx, i, addresses[3+2*i], addresses[4+2*i], strings.Fields(vkeys))
		if err != nil {
			return nil, err
		}
		policy.WriteString(lines)
		s.witnesses = append(s.witnesses, w)
	}
	policy.WriteString("group quorum 2 w0 w1 w2\nquorum quorum\n")
	if s.policy, err = checkpoint.ParsePolicy([]byte(policy.String())); err != nil {
		return nil, err
	}
	s.log = &server{name: "log", site: s, binary: "pauselogd", admin: addresses[2], args: []string{"serve", "--data", data, "--policy", s.policyFile,
		"--witness-budget", "0", "--witness-timeout", "2s", "--grpc", s.grpc, "--http", s.http, "--admin", addresses[2], "--log-level", "warn"}}
	s.data = append(s.data, data)
	return s, errors.Join(os.WriteFile(s.policyFile, []byte(policy.String()), 0o600), os.WriteFile(s.token, []byte(token), 0o600))
}

// newWitness returns a witness and its lines in a policy.
func (s *site) newWitness(ctx context.Context, i int, address, admin string, logKeys []string) (*server, string, error) {
	data := in(s.dir, fmt.Sprintf("w%d", i))
	keys, err := s.command(ctx, "pausewitness", "init", "--data", data, "--head", data+".head", "--name", fmt.Sprintf("w%d.example", i))
	if err != nil {
		return nil, "", err
	}
	args := []string{"log", "add", "--data", data}
	for _, k := range logKeys {
		args = append(args, "--vkey", k)
	}
	if _, err := s.command(ctx, "pausewitness", args...); err != nil {
		return nil, "", err
	}
	k := strings.Fields(keys)
	if len(k) != 2 {
		return nil, "", fmt.Errorf("a witness has two keys, init printed %d", len(k))
	}
	w := &server{name: fmt.Sprintf("witness %d", i), site: s, binary: "pausewitness", admin: admin,
		args: []string{"serve", "--data", data, "--listen", address, "--admin", admin, "--log-level", "warn"}}
	return w, fmt.Sprintf("witness w%[1]d-ed %[2]s http://%[4]s\nwitness w%[1]d-ml %[3]s http://%[4]s\ngroup w%[1]d any w%[1]d-ed w%[1]d-ml\n", i, k[0], k[1], address), nil
}

// command runs a program to its end and returns what it printed.
func (s *site) command(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, in(s.bin, name), args...)
	cmd.Env = s.environment
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out, &stderr)
	}
	return string(out), nil
}

// servers are all that run, the witnesses first.
func (s *site) servers() []*server {
	all := append([]*server{}, s.witnesses...)
	return append(all, s.log)
}

// end kills what still runs.
func (s *site) end() {
	for _, p := range s.servers() {
		// It may have ended already, which was said.
		_ = p.kill()
	}
}

// freeAddresses are on this machine; all are open at once, so that they differ.
func freeAddresses(n int) (all []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all, nil
}

// A server is a program that serves, and is started again and again.
type server struct {
	name, binary, admin string
	args                []string
	site                *site

	mu    sync.Mutex
	cmd   *exec.Cmd // nil while it does not run
	life  int       // how often it was started
	ended chan struct{}
	said  *tail
}

// start starts it, and returns when it serves.
func (p *server) start(ctx context.Context) error {
	cmd := exec.Command(in(p.site.bin, p.binary), p.args...)
	cmd.Env = p.site.environment
	// An interrupt at the terminal is for the campaign, which then ends its servers.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, stderr := &firstLine{line: make(chan struct{})}, &tail{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.ended, p.said = cmd, ended, stderr
	p.life++
	p.mu.Unlock()
	go func() {
		// How it ended is in its ProcessState.
		_ = cmd.Wait()
		close(ended)
	}()
	select {
	case <-stdout.line:
		return nil
	case <-ended:
		return fmt.Errorf("%s ended before it served: %v\n%s", p.name, cmd.ProcessState, stderr)
	case <-time.After(readyTime):
		return fmt.Errorf("%s does not serve after %v\n%s", p.name, readyTime, stderr)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// running is the process id and the number of this life; 0 while there is none.
func (p *server) running() (pid, life int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0, p.life
	}
	return p.cmd.Process.Pid, p.life
}

// stop has it drain and end, which must be a success.
func (p *server) stop() error {
	state, said, err := p.signal(syscall.SIGTERM)
	if err == nil && state != nil && !state.Success() {
		err = fmt.Errorf("%s was told to end, and ended with %v\n%s", p.name, state, said)
	}
	return err
}

// kill is kill -9, which must be what ends it.
func (p *server) kill() error {
	state, said, err := p.signal(syscall.SIGKILL)
	if err != nil || state == nil {
		return err
	}
	if s, ok := state.Sys().(syscall.WaitStatus); !ok || !s.Signaled() || s.Signal() != syscall.SIGKILL {
		return fmt.Errorf("%s ended by itself: %v\n%s", p.name, state, said)
	}
	return nil
}

func (p *server) signal(sig syscall.Signal) (*os.ProcessState, *tail, error) {
	p.mu.Lock()
	cmd, ended, said := p.cmd, p.ended, p.said
	p.cmd = nil
	p.mu.Unlock()
	if cmd == nil {
		return nil, nil, nil
	}
	// If it has ended already, its state says how.
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, said, err
	}
	select {
	case <-ended:
		return cmd.ProcessState, said, nil
	case <-time.After(readyTime):
		_ = cmd.Process.Kill()
		<-ended
		return nil, said, fmt.Errorf("%s does not end within %v\n%s", p.name, readyTime, said)
	}
}

// firstLine tells when something has written a line.
type firstLine struct {
	once sync.Once
	line chan struct{}
}

func (f *firstLine) Write(b []byte) (int, error) {
	if bytes.IndexByte(b, '\n') >= 0 {
		f.once.Do(func() { close(f.line) })
	}
	return len(b), nil
}

// A tail keeps the end of what is written.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

const tailSize = 8 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - tailSize; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
