package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pauselog/pauselog/internal/agent"
	"github.com/pauselog/pauselog/internal/dial"
	"github.com/pauselog/pauselog/internal/spool"
	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// These tests run an agent beside a tree and a spool, and the log that it submits to, as the programs that operators run.

const agentPackages = "modules/02packages.details.txt.gz"

// What the hook saw is logged with who entered it, and is in the proof tree that the agent keeps.
func TestAgent(t *testing.T) {
	t.Parallel()
	s := newSite(t, 0)
	s.startLog()
	s.startAgent("--walk-rate", "0")
	for _, name := range []string{"A", "B", "C"} {
		s.publish(name+"-1.tar.gz", "distribution "+name)
	}
	s.put(agentPackages, "an index")
	s.hook(entry.Index, agentPackages, "an index", "")
	s.remove("B-1.tar.gz", "distribution B")
	s.drained()

	want := []string{"upload A-1.tar.gz EXAMPLE upload", "upload B-1.tar.gz EXAMPLE upload", "upload C-1.tar.gz EXAMPLE upload",
		"index 02packages.details.txt.gz  ", "delete B-1.tar.gz EXAMPLE upload"}
	if got := s.logged(); !slices.Equal(got, want) {
		t.Errorf("logged %q, want %q", got, want)
	}

	admin := freeAddress(t)
	s.restartAgent("--walk-rate", "0", "--admin", admin)
	s.exported(len(want))
	s.verify(s.root, 0, examples+"A-1.tar.gz", examples+"C-1.tar.gz", agentPackages)
	s.verify(s.backpan, 0, examples+"B-1.tar.gz")
	write(t, filepath.Join(s.backpan, examples, "A-1.tar.gz"), []byte("something else"))
	s.verify(s.backpan, 10, examples+"A-1.tar.gz")

	for path, lines := range map[string][]string{
		"/healthz": {"ok"},
		"/metrics": {"pauselog_agent_spool_files 0", `pauselog_agent_problems{kind="behind"} 0`, fmt.Sprintf("pauselog_agent_proofs_size %d", len(want))},
	} {
		r, err := http.Get("http://" + admin + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		for _, line := range lines {
			if err != nil || !strings.Contains(string(b), line+"\n") {
				t.Errorf("%s: %v, there is no %q in\n%s", path, err, line, b)
			}
		}
	}
	s.agent.stop(t)
	s.log.stop(t)
}

// The exit codes of pauselog spool status, through what may happen to an agent.
func TestSpoolStatus(t *testing.T) {
	t.Parallel()
	s := newSite(t, 0)
	if code, out := s.status("1m"); code != 1 || !strings.Contains(out, "not-running: no agent has run") {
		t.Errorf("before all: %d\n%s", code, out)
	}
	s.startLog()
	s.startAgent()
	s.awaitStatus("running, with nothing to do", "1m", 0)
	s.publish("A-1.tar.gz", "a")
	s.awaitStatus("all is logged", "0s", 0)

	s.log.stop(t)
	s.publish("B-1.tar.gz", "b")
	s.awaitStatus("without a log", "1s", 13, "behind: 1 in the spool", "cannot be reached", "connection refused")
	s.startLog()
	s.drained()
	s.awaitStatus("with the log again", "1s", 0)

	s.put(examples+"C-1.tar.gz", "what is on the disk")
	s.hook(entry.Upload, examples+"C-1.tar.gz", "what was uploaded", "EXAMPLE")
	s.awaitStatus("the file is not what the hook saw", "1m", 10, "mismatch", "differs "+examples+"C-1.tar.gz")
	asides, err := filepath.Glob(filepath.Join(s.state, "aside", "*.json"))
	if err != nil || len(asides) != 1 {
		t.Fatalf("aside: %v, %v", asides, err)
	}
	if err := os.Remove(asides[0]); err != nil {
		t.Fatal(err)
	}
	s.awaitStatus("somebody has looked at it", "1m", 0)

	s.agent.stop(t)
	s.awaitStatus("stopped", "1m", 1, "not-running: the agent was stopped at")
	if got := s.logged(); !slices.Equal(got, []string{"upload A-1.tar.gz EXAMPLE upload", "upload B-1.tar.gz EXAMPLE upload"}) {
		t.Errorf("logged %q", got)
	}
}

// Without a hook the RECENT files tell what to log, and nobody knows who entered it.
func TestAgentThatFollows(t *testing.T) {
	t.Parallel()
	s := newSite(t, 0)
	s.startLog()
	s.put(examples+"Before-1.tar.gz", "before")
	s.age(examples + "Before-1.tar.gz")
	now := time.Now().Unix()
	s.recentFile("authors", now-3600, "new id/E/EX/EXAMPLE/Before-1.tar.gz")
	s.recentFile("modules", now-3600, "new 02packages.details.txt.gz")
	s.spool = nil
	s.startAgent("--follow", "--walk-rate", "0")
	s.awaitFile(filepath.Join(s.state, "recent.json"))
	s.put(examples+"A-1.tar.gz", "a")
	s.put(examples+"B-1.tar.gz", "b")
	s.put(agentPackages, "an index")
	events := []string{"new id/E/EX/EXAMPLE/Before-1.tar.gz", "new id/E/EX/EXAMPLE/A-1.tar.gz", "new id/E/EX/EXAMPLE/B-1.tar.gz", "new id/E/EX/EXAMPLE/B-1.readme"}
	s.recentFile("authors", now-3600, events...)
	s.recentFile("modules", now-3600, "new 02packages.details.txt.gz", "new 02packages.details.txt.gz")
	s.restartAgent("--follow", "--walk-rate", "0") // it looks at once, and then each minute
	s.awaitLogged(3)
	if err := os.Remove(filepath.Join(s.root, examples, "B-1.tar.gz")); err != nil {
		t.Fatal(err)
	}
	s.recentFile("authors", now-3600, append(events, "delete id/E/EX/EXAMPLE/B-1.tar.gz")...)
	s.agent.kill(t)
	s.startAgent("--follow", "--walk-rate", "0")
	s.awaitLogged(4)
	got := s.logged()
	slices.Sort(got[:3]) // two series
	if want := []string{"index 02packages.details.txt.gz  ", "upload A-1.tar.gz - follow", "upload B-1.tar.gz - follow", "delete B-1.tar.gz - follow"}; !slices.Equal(got, want) {
		t.Errorf("logged %q, want %q", got, want)
	}
	s.awaitStatus("following", "1m", 0)
	s.restartAgent("--follow") // the walk finds what was there before
	s.awaitLogged(5)
	if got := s.logged(); got[4] != "upload Before-1.tar.gz - backfill" {
		t.Errorf("logged %q", got)
	}
	s.agent.stop(t)
}

// Two agents must not work with one state folder, and the second does not disturb the first. A killed one leaves no lock.
func TestTwoAgents(t *testing.T) {
	t.Parallel()
	s := newSite(t, 0)
	s.startLog()
	s.startAgent()
	s.publish("A-1.tar.gz", "a")
	s.drained()
	second := s.program("pauselog", s.agentArgs()...)
	second.end(t)
	if code := second.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(second.stderr.String(), "another agent is at work with this state folder") {
		t.Errorf("the second: exit code %d\n%s", code, second.stderr)
	}
	if running := s.report().Agent; running.PID != s.agent.cmd.Process.Pid || !running.Stopped.IsZero() {
		t.Errorf("the status is of process %d, stopped %v; the first is %d", running.PID, running.Stopped, s.agent.cmd.Process.Pid)
	}
	s.publish("B-1.tar.gz", "b")
	s.drained()
	s.agent.kill(t)
	s.startAgent()
	s.publish("C-1.tar.gz", "c")
	s.drained()
	if got := s.logged(); len(got) != 3 {
		t.Errorf("logged %q", got)
	}
	s.agent.stop(t)
}

// A site is PAUSE's machine: a tree, a spool and an agent; and a log with its witnesses, each of which comes back to
// the address that it had.
type site struct {
	t                     *testing.T
	dir, root, backpan    string
	spoolDir, state, home string
	proofs                string // "": the agent keeps no proof tree
	policy, token         string
	grpc, http            string
	server                string // what the agent is told
	spool                 *spool.Folder
	count                 atomic.Int64

	log, agent *child
	witnesses  []*siteWitness
}

type siteWitness struct {
	data, address string
	process       *child
}

// newSite makes a site, and starts nothing.
func newSite(t *testing.T, witnesses int) *site {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	s := &site{t: t, dir: dir, root: in("cpan"), backpan: in("backpan"), spoolDir: in("spool"), state: in("agent"), proofs: in("proofs"), home: in("home"),
		policy: in("policy"), token: in("token"), grpc: freeAddress(t), http: freeAddress(t)}
	s.server = "grpc://" + s.grpc
	for _, d := range []string{s.root + "/" + examples, s.root + "/modules", s.backpan + "/" + examples, s.spoolDir, s.home} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.openSpool()
	vkeys := s.output("pauselogd", "init", "--data", in("log"), "--origin", "log.example/pause")
	if err := os.WriteFile(s.token, []byte(s.output("pauselogd", "token", "create", "--data", in("log"), "--name", "agent")), 0o600); err != nil {
		t.Fatal(err)
	}
	policy, group := "", "group quorum 2"
	for _, k := range strings.Fields(vkeys) {
		policy += fmt.Sprintf("log %s http://%s\n", k, s.http)
	}
	for i := range witnesses {
		w := &siteWitness{data: in(fmt.Sprintf("w%d", i)), address: freeAddress(t)}
		keys := strings.Fields(s.output("pausewitness", "init", "--data", w.data, "--head", w.data+".head", "--name", fmt.Sprintf("w%d.example", i)))
		args := []string{"log", "add", "--data", w.data}
		for _, k := range strings.Fields(vkeys) {
			args = append(args, "--vkey", k)
		}
		s.output("pausewitness", args...)
		policy += fmt.Sprintf("witness w%[1]d-ed %[2]s http://%[4]s\nwitness w%[1]d-ml %[3]s http://%[4]s\ngroup w%[1]d any w%[1]d-ed w%[1]d-ml\n", i, keys[0], keys[1], w.address)
		group += fmt.Sprintf(" w%d", i)
		s.witnesses = append(s.witnesses, w)
	}
	if witnesses == 0 {
		policy += "quorum none\n"
	} else {
		policy += group + "\nquorum quorum\n"
	}
	write(t, s.policy, []byte(policy))
	return s
}

func (s *site) openSpool() {
	s.t.Helper()
	for _, name := range []string{"new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(s.spoolDir, name), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	var err error
	if s.spool, err = spool.Open(s.spoolDir); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) launchLog() {
	s.t.Helper()
	args := []string{"serve", "--data", filepath.Join(s.dir, "log"), "--grpc", s.grpc, "--http", s.http, "--log-level", "warn"}
	if len(s.witnesses) == 0 {
		args = append(args, "--no-witnesses")
	} else {
		args = append(args, "--policy", s.policy, "--witness-budget", "0", "--witness-timeout", "1s")
	}
	s.log = s.program("pauselogd", args...)
}

func (s *site) startLog() {
	s.t.Helper()
	s.launchLog()
	s.log.ready(s.t)
}

func (w *siteWitness) launch(s *site) {
	s.t.Helper()
	w.process = s.program("pausewitness", "serve", "--data", w.data, "--listen", w.address)
}

func (s *site) agentArgs(more ...string) []string {
	args := []string{"agent", "--policy", s.policy, "--server", s.server, "--token-file", s.token, "--root", s.root, "--state", s.state}
	if s.proofs != "" {
		args = append(args, "--proof-root", s.proofs)
	}
	if s.spool != nil {
		args = append(args, "--spool", s.spoolDir)
	}
	return append(args, more...)
}

// startAgent starts an agent, and waits until it has written its status.
func (s *site) startAgent(more ...string) {
	s.t.Helper()
	s.agent = s.program("pauselog", s.agentArgs(more...)...)
	eventually(s.t, "the agent's first sign of life", func() error {
		select {
		case <-s.agent.ended:
			s.t.Fatalf("the agent ended: %v\n%s", s.agent.cmd.ProcessState, s.agent.stderr)
		default:
		}
		r, err := agent.Look(nil, s.state, time.Now(), time.Hour)
		if err == nil && (r.Agent == nil || r.Agent.PID != s.agent.cmd.Process.Pid) {
			err = fmt.Errorf("the status is of %+v", r.Agent)
		}
		return err
	})
}

func (s *site) restartAgent(more ...string) {
	s.t.Helper()
	s.agent.stop(s.t)
	s.startAgent(more...)
}

// put puts a file onto the tree as PAUSE does, whole.
func (s *site) put(path, content string) {
	s.t.Helper()
	if err := place(s.root, path, content); err != nil {
		s.t.Error(err)
	}
}

func place(root, path, content string) error {
	name := filepath.Join(root, filepath.FromSlash(path))
	next := filepath.Join(filepath.Dir(name), ".next-"+filepath.Base(name))
	if err := os.WriteFile(next, []byte(content), 0o644); err != nil {
		return err
	}
	return os.Rename(next, name)
}

// age makes a file old enough for the walk.
func (s *site) age(path string) {
	s.t.Helper()
	before := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(filepath.Join(s.root, path), before, before); err != nil {
		s.t.Error(err)
	}
}

// hook does as PAUSE's hook.
func (s *site) hook(kind entry.Kind, path, content, by string) {
	s.t.Helper()
	if err := s.tryHook(kind, path, content, by, time.Now()); err != nil {
		s.t.Error(err)
	}
}

func (s *site) tryHook(kind entry.Kind, path, content, by string, at time.Time) error {
	return s.spool.Write(&spool.Event{Kind: kind, Path: path, Read: true, Digest: sha256.Sum256([]byte(content)), Size: uint64(len(content)), Time: entry.TimeOf(at), By: by},
		time.Now(), int(s.count.Add(1)))
}

func (s *site) publish(name, content string) {
	s.t.Helper()
	s.put(examples+name, content)
	s.hook(entry.Upload, examples+name, content, "EXAMPLE")
}

// remove deletes a file, as its author does; BackPAN keeps it.
func (s *site) remove(name, content string) {
	s.t.Helper()
	if err := os.Rename(filepath.Join(s.root, examples, name), filepath.Join(s.backpan, examples, name)); err != nil {
		s.t.Error(err)
	}
	s.hook(entry.Delete, examples+name, content, "EXAMPLE")
}

// recentFile writes the shortest RECENT file of a series, of all events so far, oldest first. Of a path the newest is kept.
func (s *site) recentFile(dir string, from int64, events ...string) {
	s.t.Helper()
	seen := map[string]bool{}
	var lines []string
	for i, e := range slices.Backward(events) {
		what, path, _ := strings.Cut(e, " ")
		if !seen[path] {
			lines = append(lines, fmt.Sprintf(`{"epoch":%d.5,"path":%q,"type":%q}`, from+int64(i), path, what))
		}
		seen[path] = true
	}
	text := fmt.Sprintf(`{"meta":{"protocol":1,"interval":"1h","dirtymark":"%d.5","merged":{"epoch":%d.5}},"recent":[%s]}`, from-1, from, strings.Join(lines, ",\n"))
	if err := place(s.root, dir+"/RECENT-1h.json", text); err != nil {
		s.t.Fatal(err)
	}
}

// status runs pauselog spool status.
func (s *site) status(maxAge string) (int, string) {
	s.t.Helper()
	args := []string{"spool", "status", "--state", s.state, "--max-age", maxAge}
	if s.spool != nil {
		args = append(args, "--spool", s.spoolDir)
	}
	return s.run("pauselog", args...)
}

func (s *site) awaitStatus(what, maxAge string, want int, says ...string) {
	s.t.Helper()
	eventually(s.t, what, func() error {
		code, out := s.status(maxAge)
		for _, text := range says {
			if !strings.Contains(out, text) {
				return fmt.Errorf("exit code %d, want %d; it does not say %q\n%s", code, want, text, out)
			}
		}
		if code != want || want == 0 && out != "" {
			return fmt.Errorf("exit code %d, want %d\n%s", code, want, out)
		}
		return nil
	})
}

func (s *site) report() *agent.Report {
	s.t.Helper()
	r, err := agent.Look(s.spool, s.state, time.Now(), time.Minute)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// drained waits until nothing is in the spool.
func (s *site) drained() {
	s.t.Helper()
	eventually(s.t, "the spool gets empty", func() error {
		l, err := s.spool.List(1)
		if err == nil && l.Total > 0 {
			err = fmt.Errorf("%d are left\n%s", l.Total, s.agent.stderr)
		}
		return err
	})
}

func (s *site) awaitFile(name string) {
	s.t.Helper()
	eventually(s.t, name, func() error { _, err := os.Stat(name); return err })
}

// exported waits until the proof tree is of so many entries.
func (s *site) exported(size int) {
	s.t.Helper()
	eventually(s.t, "the proof tree", func() error {
		b, err := os.ReadFile(filepath.Join(s.proofs, "checkpoint"))
		if err == nil && !strings.HasPrefix(string(b), fmt.Sprintf("log.example/pause\n%d\n", size)) {
			err = fmt.Errorf("want size %d, found\n%s\n%s", size, b, s.agent.stderr)
		}
		return err
	})
}

// verify verifies files below a root from the proof tree, without a network.
func (s *site) verify(root string, want int, paths ...string) {
	s.t.Helper()
	for some := range slices.Chunk(paths, 2000) {
		args := []string{"verify", "--policy", s.policy, "--proofs", s.proofs, "--offline", "--root", root}
		for _, p := range some {
			args = append(args, filepath.Join(root, p))
		}
		if code, out := s.run("pauselog", args...); code != want {
			s.t.Errorf("verify: exit code %d, want %d\n%.4000s", code, want, out)
		}
	}
}

// entries reads the log.
func (s *site) entries() []*entry.Entry {
	s.t.Helper()
	conn, err := dial.Dial("grpc://"+s.grpc, dial.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	api := pb.NewLogClient(conn)
	stream, err := api.ListEntries(s.t.Context(), &pb.ListEntriesRequest{})
	if err != nil {
		s.t.Fatal(err)
	}
	var out []*entry.Entry
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			s.t.Fatal(err)
		}
		for _, text := range r.Entries {
			e, err := entry.Parse([]byte(text))
			if err != nil {
				s.t.Fatal(err)
			}
			out = append(out, e)
		}
	}
}

func (s *site) logged() (out []string) {
	s.t.Helper()
	for _, e := range s.entries() {
		out = append(out, fmt.Sprintf("%s %s %s %s", e.Kind, filepath.Base(e.Path), e.By, e.Seen))
	}
	return out
}

func (s *site) awaitLogged(n int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%d entries", n), func() error {
		if got := s.logged(); len(got) != n {
			return fmt.Errorf("logged %q\n%s", got, s.agent.stderr)
		}
		return nil
	})
}

// A child is a program that runs.
type child struct {
	cmd            *exec.Cmd
	stdout, stderr *spoken
	ended          chan struct{}
}

var builtPrograms = sync.OnceValues(func() (string, error) {
	daemon, err := exec.LookPath("pauselogd") // in the folder that TestMain removes
	if err != nil {
		return "", err
	}
	dir := filepath.Join(filepath.Dir(daemon), "built") + string(filepath.Separator)
	if out, err := exec.Command("go", "build", "-o", dir, "../pauselog", "../pauselogd", "../pausewitness").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

// program starts a program. At the latest it is killed when the test ends.
func (s *site) program(name string, args ...string) *child {
	s.t.Helper()
	dir, err := builtPrograms()
	if err != nil {
		s.t.Fatal(err)
	}
	c := &child{cmd: exec.Command(filepath.Join(dir, name), args...), stdout: newSpoken(), stderr: newSpoken(), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), "HOME="+s.home, "XDG_STATE_HOME="+s.home, "XDG_CONFIG_HOME="+s.home)
	c.cmd.Stdout, c.cmd.Stderr = c.stdout, c.stderr
	if err := c.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		c.cmd.Wait()
		close(c.ended)
	}()
	s.t.Cleanup(func() {
		c.cmd.Process.Kill()
		<-c.ended
	})
	return c
}

// run runs a program to its end.
func (s *site) run(name string, args ...string) (int, string) {
	s.t.Helper()
	c := s.program(name, args...)
	c.end(s.t)
	return c.cmd.ProcessState.ExitCode(), c.stdout.String() + c.stderr.String()
}

// output runs a program that must succeed, and returns what it printed.
func (s *site) output(name string, args ...string) string {
	s.t.Helper()
	c := s.program(name, args...)
	c.end(s.t)
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Fatalf("%s %v: exit code %d\n%s", name, args, code, c.stderr)
	}
	return c.stdout.String()
}

// agentPatience is how long anything may take that should take seconds at most.
const agentPatience = time.Minute

// ready waits for the line that a server prints.
func (c *child) ready(t *testing.T) {
	t.Helper()
	select {
	case <-c.stdout.line:
	case <-c.ended:
		t.Fatalf("%v ended: %v\n%s", c.cmd.Args, c.cmd.ProcessState, c.stderr)
	case <-time.After(agentPatience):
		t.Fatalf("%v did not become ready\n%s", c.cmd.Args, c.stderr)
	}
}

func (c *child) end(t *testing.T) {
	t.Helper()
	select {
	case <-c.ended:
	case <-time.After(agentPatience):
		c.cmd.Process.Kill()
		<-c.ended
		t.Fatalf("%v did not end\n%s", c.cmd.Args, c.stderr)
	}
}

// stop ends a program as a service manager does; it must end with 0.
func (c *child) stop(t *testing.T) {
	t.Helper()
	c.cmd.Process.Signal(syscall.SIGTERM)
	c.end(t)
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("%v: exit code %d\n%s", c.cmd.Args, code, c.stderr)
	}
}

// kill is kill -9. It must be that which ended the program.
func (c *child) kill(t *testing.T) {
	t.Helper()
	c.cmd.Process.Kill()
	c.end(t)
	if s := c.cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGKILL {
		t.Fatalf("%v ended by itself: %v\n%s", c.cmd.Args, c.cmd.ProcessState, c.stderr)
	}
}

// spoken is what a program wrote.
type spoken struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	line chan struct{} // closed after the first line
	once sync.Once
}

func newSpoken() *spoken { return &spoken{line: make(chan struct{})} }

func (o *spoken) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if bytes.IndexByte(b, '\n') >= 0 {
		o.once.Do(func() { close(o.line) })
	}
	return o.buf.Write(b)
}

func (o *spoken) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// eventually tries until there is no error.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(agentPatience)
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

// lastPort begins where the system takes no ports for clients, one of which could otherwise be in the place of a server that is
// down for a moment.
var lastPort atomic.Int64

func init() { lastPort.Store(30100 + int64(os.Getpid())%2000) }

// freeAddress is a loopback address that a server can come back to.
func freeAddress(t *testing.T) string {
	t.Helper()
	var errs error
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lastPort.Add(1)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
		errs = errors.Join(errs, err)
	}
	t.Fatal(errs)
	return ""
}
