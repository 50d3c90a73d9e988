package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pauselog/pauselog/internal/witnessd/testlog"
	"github.com/pauselog/pauselog/witness/client"
)

// TestMain lets the scripts and tests run the real program: the test binary under another
// name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pausewitness": main})
}

// The scripts have a log named log.example/pause, whose keys are $VKEY (Ed25519) and $VKEY2, the latter named $KEY2,
// (ML-DSA-44), another key of its name ($OTHERVKEY), and commands of their own:
//
//	serve ARGS...    runs pausewitness serve until stop, and sets $URL and $ADMIN when it is ready
//	stop             sends SIGTERM and expects exit code 0
//	ask OLD SIZE     has the log ask for a cosignature; "! ask" expects a refusal, and prints it
//	get PATH         writes a page of the admin address to the file got
func TestScripts(t *testing.T) {
	l := testlog.New(t, "log.example/pause", 1)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("VKEY", l.VKeys()[0])
			e.Setenv("VKEY2", l.VKeys()[1])
			e.Setenv("KEY2", strings.Join(strings.SplitN(l.VKeys()[1], "+", 3)[:2], "+"))
			e.Setenv("OTHERVKEY", testlog.New(t, l.Name, 9).VKeys()[0])
			e.Values["serving"] = new(serving)
			e.Defer(func() { e.Values["serving"].(*serving).kill() })
			return os.Mkdir(filepath.Join(e.WorkDir, "home"), 0o700)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"serve": func(ts *testscript.TestScript, neg bool, args []string) {
				s, err := start(ts.Getenv("WORK"), args...)
				ts.Check(err)
				*ts.Value("serving").(*serving) = *s
				ts.Setenv("URL", s.url)
				ts.Setenv("ADMIN", s.admin)
			},
			"stop": func(ts *testscript.TestScript, neg bool, args []string) {
				s := ts.Value("serving").(*serving)
				if code := s.end(syscall.SIGTERM); code != 0 {
					ts.Fatalf("exit code %d\n%s", code, s.stderr)
				}
			},
			"ask": func(ts *testscript.TestScript, neg bool, args []string) {
				c, err := client.New(ts.Getenv("URL"), nil)
				ts.Check(err)
				var sizes [2]uint64
				for i := range sizes {
					ts.Check(json.Unmarshal([]byte(args[i]), &sizes[i]))
				}
				_, err = c.AddCheckpoint(t.Context(), l.Request(t, sizes[0], sizes[1]))
				switch {
				case (err == nil) == neg:
					ts.Fatalf("the answer is %v", err)
				case neg:
					ts.Logf("%v", err)
				}
			},
			"get": func(ts *testscript.TestScript, neg bool, args []string) {
				resp, err := http.Get("http://" + ts.Getenv("ADMIN") + args[0])
				ts.Check(err)
				defer resp.Body.Close()
				out, err := io.ReadAll(resp.Body)
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs("got"), out, 0o600))
			},
		},
	})
}

// A serving is a running pausewitness.
type serving struct {
	cmd        *exec.Cmd
	stderr     *strings.Builder
	url, admin string
}

// start runs pausewitness serve and waits for its line of JSON.
func start(dir string, args ...string) (*serving, error) {
	s := &serving{cmd: exec.Command("pausewitness", append([]string{"serve"}, args...)...), stderr: new(strings.Builder)}
	s.cmd.Dir, s.cmd.Stderr = dir, s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.cmd.Wait()
		return nil, &notReady{err, s.stderr.String()}
	}
	var ready struct{ Name, Listen, Admin string }
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		s.kill()
		return nil, &notReady{err, line}
	}
	s.url, s.admin = "http://"+ready.Listen, ready.Admin
	return s, nil
}

type notReady struct {
	err    error
	output string
}

func (n *notReady) Error() string { return n.err.Error() + "\n" + n.output }
func (n *notReady) Unwrap() error { return n.err }

// end ends the program by a signal and returns its exit code.
func (s *serving) end(sig os.Signal) int {
	s.cmd.Process.Signal(sig)
	s.cmd.Wait()
	return s.cmd.ProcessState.ExitCode()
}

// kill ends the program if it runs.
func (s *serving) kill() {
	if s.cmd != nil && s.cmd.ProcessState == nil {
		s.end(syscall.SIGKILL)
	}
}
