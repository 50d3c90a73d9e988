package hostile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A site is a log, a witness and a verifying mirror in processes of their own, as their users build and run them.
type site struct {
	dir                  string
	log, witness, mirror *target
	targets              []*target
	children             []*child

	content []byte // of a logged archive that the mirror serves
	path    string
}

const (
	startTime = time.Minute
	origin    = "log.example/hostile"
)

// Generous bounds of what a process may have had resident: a hostile client makes it allocate what the limits on connections,
// calls, heads and bodies let it, and not what it sends.
const (
	logMemory     = 640 << 20
	witnessMemory = 160 << 20
	mirrorMemory  = 512 << 20
)

// open builds and starts everything below dir.
func open(ctx context.Context, dir string) (s *site, err error) {
	s = &site{dir: dir, path: "authors/id/E/EX/EXAMPLE/Hostile-0.01.tar.gz", content: []byte("not really an archive\n")}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	bin := filepath.Join(dir, "bin") + string(filepath.Separator)
	if err := os.Mkdir(bin, 0o755); err != nil {
		return s, err
	}
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return s, fmt.Errorf("go list -m: %w", err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/...")
	build.Dir = strings.TrimSpace(string(root))
	if out, err := build.CombinedOutput(); err != nil {
		return s, fmt.Errorf("go build: %w\n%s", err, out)
	}
	if err := s.startLog(ctx, bin); err != nil {
		return s, err
	}
	if err := s.startWitness(ctx, bin); err != nil {
		return s, err
	}
	return s, s.startMirror(ctx, bin)
}

func (s *site) startLog(ctx context.Context, bin string) error {
	data := filepath.Join(s.dir, "log")
	keys, err := s.once(ctx, bin+"pauselogd", "init", "--data", data, "--origin", origin)
	if err != nil {
		return err
	}
	token, err := s.once(ctx, bin+"pauselogd", "token", "create", "--data", data, "--name", "hostile")
	if err != nil {
		return err
	}
	var at struct{ GRPC, HTTP, Admin string }
	c, err := s.start(ctx, &at, bin+"pauselogd", "serve", "--data", data, "--no-witnesses", "--log-level", "error",
		"--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.log = &target{name: "log", http: at.HTTP, grpc: at.GRPC, admin: at.Admin, token: strings.TrimSpace(token), pid: c.cmd.Process.Pid,
		post: "/pauselog.v1.Log/Submit", get: "/pauselog.v1.Log/GetEntry?index=0", memory: logMemory, head: 10 * time.Second, canary: token}
	s.targets = append(s.targets, s.log)
	// The first line is the Ed25519 key's.
	key, _, _ := strings.Cut(keys, "\n")
	policy := fmt.Sprintf("log %s http://%s\nquorum none\n", key, at.HTTP)
	if err := os.WriteFile(filepath.Join(s.dir, "policy"), []byte(policy), 0o644); err != nil {
		return err
	}
	return submitOne(ctx, s.log, s.path, s.content)
}

func (s *site) startWitness(ctx context.Context, bin string) error {
	data := filepath.Join(s.dir, "witness")
	if _, err := s.once(ctx, bin+"pausewitness", "init", "--data", data, "--name", "witness.example/hostile"); err != nil {
		return err
	}
	if _, err := s.once(ctx, bin+"pausewitness", "log", "add", "--data", data, "--vkey", s.key()); err != nil {
		return err
	}
	var at struct{ Listen string }
	c, err := s.start(ctx, &at, bin+"pausewitness", "serve", "--data", data, "--listen", "127.0.0.1:0", "--log-level", "error")
	if err != nil {
		return err
	}
	secret, err := os.ReadFile(filepath.Join(data, "keys", "ed25519.key"))
	if err != nil {
		return err
	}
	// It has not cosigned anything, so that there is nothing to read: that is said with a 404.
	s.witness = &target{name: "witness", http: at.Listen, pid: c.cmd.Process.Pid, post: "/add-checkpoint",
		get: fmt.Sprintf("/%x/checkpoint", sha256.Sum256([]byte(origin))), memory: witnessMemory, head: 5 * time.Second, canary: string(secret)}
	s.targets = append(s.targets, s.witness)
	return nil
}

// key is the log's Ed25519 key as its policy has it.
func (s *site) key() string {
	policy, err := os.ReadFile(filepath.Join(s.dir, "policy"))
	if err != nil {
		return "" // the command that is given it says what it lacks
	}
	words := strings.Fields(string(policy))
	return words[1]
}

func (s *site) startMirror(ctx context.Context, bin string) error {
	root := filepath.Join(s.dir, "upstream", "cpan")
	file := filepath.Join(root, filepath.FromSlash(s.path))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	// Beside the tree, not in it.
	canary := fmt.Sprintf("canary %x", sha256.Sum256([]byte(s.dir)))
	if err := errors.Join(os.WriteFile(file, s.content, 0o644), os.WriteFile(filepath.Join(root, "..", "secret"), []byte(canary), 0o644)); err != nil {
		return err
	}
	var at struct{ URL string }
	c, err := s.start(ctx, &at, bin+"pauselog", "mirror", "--json", "--policy", filepath.Join(s.dir, "policy"), "--upstream", root, "--cache", filepath.Join(s.dir, "cache"))
	if err != nil {
		return err
	}
	u, err := url.Parse(at.URL)
	if err != nil {
		return err
	}
	s.mirror = &target{name: "mirror", http: u.Host, pid: c.cmd.Process.Pid, get: "/" + s.path, memory: mirrorMemory, head: 10 * time.Second, canary: canary}
	s.targets = append(s.targets, s.mirror)
	return nil
}

// once runs a command to its end and returns what it printed.
func (s *site) once(ctx context.Context, name string, args ...string) (string, error) {
	cmd := s.command(ctx, name, args...)
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, exit.Stderr)
		}
		return "", err
	}
	return string(out), nil
}

// command has nothing of whoever runs the campaign.
func (s *site) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "XDG_STATE_HOME=" + s.dir, "XDG_CONFIG_HOME=" + s.dir, "XDG_CACHE_HOME=" + s.dir}
	return cmd
}

// A child is a server.
type child struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer // read after it has ended
	ended  chan struct{}
}

// start starts a server, and reads the line of JSON that it prints when it is ready.
func (s *site) start(ctx context.Context, at any, name string, args ...string) (*child, error) {
	c := &child{cmd: s.command(context.WithoutCancel(ctx), name, args...), ended: make(chan struct{})}
	line := &firstLine{got: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = line, &c.stderr
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	s.children = append(s.children, c)
	go func() {
		_ = c.cmd.Wait() // ProcessState has it
		close(c.ended)
	}()
	select {
	case <-line.got:
		return c, json.Unmarshal(line.buf.Bytes(), at)
	case <-c.ended:
		return nil, fmt.Errorf("%s ended before it was ready: %v\n%s", strings.Join(c.cmd.Args, " "), c.cmd.ProcessState, &c.stderr)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(startTime):
		return nil, fmt.Errorf("%s was not ready after %v", strings.Join(c.cmd.Args, " "), startTime)
	}
}

// close ends all servers. Each of them must end by itself, and must not have panicked, also not in a way that ended no more
// than one request.
func (s *site) close() (err error) {
	for i := len(s.children) - 1; i >= 0; i-- {
		c := s.children[i]
		_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-c.ended:
		case <-time.After(startTime):
			_ = c.cmd.Process.Kill()
			<-c.ended
			err = errors.Join(err, fmt.Errorf("%s did not end within %v of SIGTERM", c.cmd.Args[0], startTime))
		}
		if !c.cmd.ProcessState.Success() {
			err = errors.Join(err, fmt.Errorf("%s: %v\n%.4000s", c.cmd.Args[0], c.cmd.ProcessState, &c.stderr))
		}
		if e := panicked(c.stderr.String()); e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", filepath.Base(c.cmd.Args[0]), e))
		}
	}
	s.children = nil
	return err
}

// panicked finds panics in the journal of a server: those that it caught, and those that net/http or Go itself did.
func panicked(journal string) error {
	var first string
	var n int
	for line := range strings.Lines(journal) {
		if strings.Contains(line, " panic=") || strings.Contains(line, "http: panic serving") || strings.HasPrefix(line, "panic: ") {
			if n++; n == 1 {
				first = line
			}
		}
	}
	if n > 0 {
		return fmt.Errorf("%d panics, the first: %.4000s", n, first)
	}
	return nil
}

// firstLine keeps the first line that is written to it, and drops the rest.
type firstLine struct {
	buf  bytes.Buffer
	got  chan struct{}
	full bool
}

func (l *firstLine) Write(p []byte) (int, error) {
	if !l.full {
		l.buf.Write(p)
		if l.full = bytes.IndexByte(p, '\n') >= 0; l.full {
			close(l.got)
		}
	}
	return len(p), nil
}
