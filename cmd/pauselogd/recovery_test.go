package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts in testdata/recovery lose and damage what a real log has on disk, and bring it back as its manual says.
func TestRecoveryScripts(t *testing.T) {
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/recovery",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
			e.Setenv("PATH", strings.TrimSuffix(dir, "/")+string(os.PathListSeparator)+e.Getenv("PATH"))
			l := newLab(e.T().(testing.TB), e.WorkDir)
			e.Values["lab"] = l
			for k, v := range map[string]string{"GRPC": l.n.grpc, "HTTP": l.n.http, "ADMIN": l.n.admin, "MIRROR": l.mirror(filepath.Join(e.WorkDir, "mirror"))} {
				e.Setenv(k, v)
			}
			return os.Mkdir(filepath.Join(e.WorkDir, "home"), 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"startlog":     func(ts *testscript.TestScript, _ bool, _ []string) { lab(ts).start() },
			"stoplog":      func(ts *testscript.TestScript, _ bool, _ []string) { lab(ts).n.log.stop(lab(ts).n.t) },
			"killlog":      func(ts *testscript.TestScript, _ bool, _ []string) { lab(ts).n.log.kill(lab(ts).n.t) },
			"submit":       func(ts *testscript.TestScript, _ bool, args []string) { lab(ts).submit(args[0]) },
			"flood":        func(ts *testscript.TestScript, _ bool, _ []string) { lab(ts).flood() },
			"ebb":          func(ts *testscript.TestScript, _ bool, _ []string) { lab(ts).ebb() },
			"acknowledged": func(ts *testscript.TestScript, _ bool, _ []string) { lab(ts).acknowledged() },
			"flip":         func(ts *testscript.TestScript, _ bool, args []string) { flipFiles(ts, args) },
			"wrong":        wrong,
			"exits":        exits,
			"awaitdamage":  func(ts *testscript.TestScript, _ bool, _ []string) { lab(ts).awaitDamage() },
		},
	})
}

// A labLog is a log without witnesses, and what it has acknowledged.
type labLog struct {
	n *network

	mu      sync.Mutex
	answers []*answered
	next    int
	end     context.CancelFunc
	ended   chan struct{}
}

// newLab lays a log out in a folder, which init has yet to make: DIR/log, with addresses to come back to.
func newLab(t testing.TB, dir string) *labLog {
	n := &network{t: t, data: filepath.Join(dir, "log"), grpc: freeAddress(t), http: freeAddress(t), admin: freeAddress(t)}
	l := &labLog{n: n}
	t.Cleanup(func() {
		if l.end != nil {
			l.ebb()
		}
	})
	return l
}

func lab(ts *testscript.TestScript) *labLog { return ts.Value("lab").(*labLog) }

// start serves the log. The first time it makes the token that submissions use.
func (l *labLog) start() {
	n := l.n
	n.t.Helper()
	if n.secret == "" {
		n.secret = strings.TrimSpace(runProgram(n.t, "pauselogd", "token", "create", "--data", n.data, "--name", "test"))
	}
	n.log = startProcess(n.t, "pauselogd", "serve", "--data", n.data, "--no-witnesses", "--grpc", n.grpc, "--http", n.http, "--admin", n.admin, "--scrub-period", "1s")
	n.log.ready(n.t)
}

// mirror serves a folder, as a mirror of static files does.
func (l *labLog) mirror(dir string) string {
	s := httptest.NewServer(http.FileServer(http.Dir(dir)))
	l.n.t.Cleanup(s.Close)
	return s.URL
}

func (l *labLog) one(ctx context.Context) error {
	l.mu.Lock()
	number := l.next
	l.next++
	l.mu.Unlock()
	a, err := l.n.submit(ctx, number, published)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers = append(l.answers, a)
	return nil
}

func (l *labLog) submit(count string) {
	l.n.t.Helper()
	n, err := strconv.Atoi(count)
	if err != nil {
		l.n.t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			for range n / len(errs) {
				if errs[i] = l.one(l.n.t.Context()); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		l.n.t.Fatal(err)
	}
}

// flood submits until the ebb, and returns when the first is acknowledged.
func (l *labLog) flood() {
	l.n.t.Helper()
	ctx, cancel := context.WithCancel(l.n.t.Context())
	l.end, l.ended = cancel, make(chan struct{})
	if err := l.one(ctx); err != nil {
		l.n.t.Fatal(err)
	}
	go func() {
		defer close(l.ended)
		for ctx.Err() == nil {
			// A submission that the end cuts off may be logged or not.
			_ = l.one(ctx)
		}
	}()
}

func (l *labLog) ebb() {
	l.end()
	<-l.ended
	l.end = nil
}

// acknowledged demands that each entry that was ever acknowledged is where it was said to be.
func (l *labLog) acknowledged() {
	t := l.n.t
	t.Helper()
	if len(l.answers) == 0 {
		t.Fatal("nothing was acknowledged")
	}
	for _, a := range l.answers {
		text, err := fetch(t.Context(), fmt.Sprintf("http://%s/pauselog.v1.Log/GetEntry?index=%d", l.n.http, a.index))
		var r struct{ Entry string }
		if err == nil {
			err = json.Unmarshal([]byte(text), &r)
		}
		if err != nil || r.Entry != a.entry {
			t.Fatalf("entry %d, acknowledged as %q, is %q: %v", a.index, a.entry, r.Entry, err)
		}
	}
}

// awaitDamage waits until the log's own scrub has found damage.
func (l *labLog) awaitDamage() {
	eventually(l.n.t, "the log's scrub", func() error {
		v, err := l.n.metric("pauselog_scrub_damage")
		if err == nil && v == 0 {
			err = errors.New("it has found no damage")
		}
		return err
	})
}

// flipFiles flips a bit in the middle of each file.
func flipFiles(ts *testscript.TestScript, patterns []string) {
	for _, p := range patterns {
		names, err := filepath.Glob(ts.MkAbs(p))
		if err != nil || len(names) == 0 {
			ts.Fatalf("%s: %v: %v", p, names, err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			ts.Check(err)
			b[len(b)/3] ^= 4
			ts.Check(os.WriteFile(name, b, 0o600))
		}
	}
}

// wrong gives a log's store another entry in place of one, with the right checksums: what memory does, and no disk.
func wrong(ts *testscript.TestScript, _ bool, args []string) {
	index, err := strconv.ParseUint(args[1], 10, 63)
	ts.Check(err)
	db, err := pebble.Open(ts.MkAbs(filepath.Join(args[0], "db", "log")), &pebble.Options{FormatMajorVersion: pebble.FormatNewest})
	ts.Check(err)
	ts.Check(errors.Join(db.Set(binary.BigEndian.AppendUint64([]byte{'z'}, index), []byte("pauselog/v1\n"), pebble.Sync), db.Close()))
}

// exits runs a program, which must end with an exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// What the manual says about backups and recovery, typed word for word, with the paths of this machine and a mirror of
// its own.
func TestManualOfRecovery(t *testing.T) {
	manual, err := os.ReadFile("../../deploy/OPERATING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(manual), "\n## Backups\n")
	section, _, ok2 := strings.Cut(section, "\n## When something is logged")
	if !ok || !ok2 {
		t.Fatal("the manual has no such part")
	}
	var commands []string
	for line := range strings.Lines(section) {
		if command, ok := strings.CutPrefix(strings.TrimPrefix(line, "    "), "    "); ok || strings.HasPrefix(line, "    ") {
			if !ok {
				command = strings.TrimPrefix(line, "    ")
			}
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	if len(commands) < 6 {
		t.Fatalf("it has %d commands: %q", len(commands), commands)
	}
	dir := t.TempDir()
	l := newLab(t, dir)
	n := l.n
	vkeys := strings.Fields(runProgram(t, "pauselogd", "init", "--data", n.data, "--origin", testOrigin))
	policy := filepath.Join(dir, "policy")
	write(t, policy, fmt.Sprintf("log %s\nquorum none\n", vkeys[0]))
	if err := os.CopyFS(filepath.Join(dir, "safe", "keys"), os.DirFS(filepath.Join(n.data, "keys"))); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(filepath.Join(dir, "safe"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chmod(path, 0o600)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	l.start()
	l.submit("600")
	mirror := l.mirror(filepath.Join(dir, "mirror"))
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	path := func(s string) string {
		backup := "20261122T100000Z"
		if names, err := filepath.Glob(filepath.Join(dir, "backup", "*")); err == nil && len(names) > 0 {
			backup = filepath.Base(names[len(names)-1])
		}
		return strings.NewReplacer("/var/lib/pauselog/log", n.data, "/mnt/backup/pauselog", filepath.Join(dir, "backup"), "20261122T100000Z", backup,
			"/mnt/safe/keys", filepath.Join(dir, "safe", "keys"), "https://mirror.example/tlog", mirror).Replace(s)
	}
	for _, command := range commands {
		switch command {
		case "systemctl stop pauselogd":
			// A mirror is as far as the log is; the backup is not.
			l.submit("16")
			runProgram(t, "pauselog", "export", "--policy", policy, "--server", "http://"+n.http, "--dir", filepath.Join(dir, "mirror"))
			n.log.stop(t)
			continue
		case "systemctl start pauselogd":
			l.start()
			l.submit("8")
			l.acknowledged()
			continue
		case "mv /var/lib/pauselog/log /var/lib/pauselog/log.lost":
			if err := os.Rename(n.data, n.data+".lost"); err != nil {
				t.Fatal(err)
			}
			continue
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", path(command))
		cmd.Dir = dir
		cmd.Env = append(cmd.Environ(), "PATH="+strings.TrimSuffix(bin, "/")+":"+os.Getenv("PATH"), "HOME="+dir)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		began := time.Now()
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s (%v): %v\n%s", path(command), time.Since(began), err, &out)
		}
	}
	if n.log.cmd.ProcessState != nil {
		t.Error("the log does not run in the end")
	}
}

// Folder and head file are gone. With a backup of the folder, the keys, a mirror, and witnesses who know how far the log
// has signed, an operator who says so goes on; without the mirror the witnesses do not let them.
func TestFolderAndHeadLostWithWitnesses(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.startAll()
	n.publish(0, 5)
	dir := t.TempDir()
	backup := strings.TrimSpace(runProgram(t, "pauselogd", "backup", "--data", n.data, "--to", filepath.Join(dir, "backups")))
	keys := filepath.Join(dir, "keys")
	copyAll(t, filepath.Join(n.data, "keys"), keys)
	n.publish(5, 9)
	mirror := filepath.Join(dir, "mirror")
	runProgram(t, "pauselog", "export", "--policy", n.policy, "--server", "http://"+n.http, "--dir", mirror)
	n.log.kill(t)

	lose := func() {
		t.Helper()
		for _, name := range []string{n.data, n.head} {
			if err := os.RemoveAll(name); err != nil {
				t.Fatal(err)
			}
		}
		copyAll(t, backup, n.data)
		copyAll(t, keys, filepath.Join(n.data, "keys"))
	}
	// override writes the operator's word, as the refusal would have it.
	override := func(report string) {
		t.Helper()
		var r struct {
			Size uint64
			Root string
		}
		if err := json.Unmarshal([]byte(report), &r); err != nil || r.Root == "" {
			t.Fatalf("%s: %v", report, err)
		}
		n.overrideNewest(int(r.Size), r.Root)
	}

	// An override alone, with what the backup has: the witnesses know more.
	lose()
	n.refused("with the backup alone", "refusing to start", "the head file", "is gone")
	override(runProgram(t, "pauselogd", "recover", "--data", n.data, "--json"))
	n.refused("with the backup and an override", "has cosigned size 9 of this log, which has only signed up to size 5")

	lose()
	report := runProgram(t, "pauselogd", "recover", "--data", n.data, "--from", mirror, "--json")
	n.refused("without an override", "refusing to start", "is gone")
	override(report)
	n.startLog()
	if a := n.publish(9, 12); a.index != 11 {
		t.Errorf("file 11 is entry %d", a.index)
	}
	for number := range 9 {
		if a, err := n.submit(t.Context(), number, published); err != nil || a.index != uint64(number) {
			t.Errorf("file %d: %+v, %v", number, a, err)
		}
	}
	n.noneSetAside()
}
