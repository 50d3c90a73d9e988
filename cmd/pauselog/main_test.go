package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pauselog/pauselog/log/verify"
)

// The transcripts in testdata are what this command does, as its users see it. Their own
// commands, besides those of testscript:
//
//	exits CODE COMMAND...    runs a command that must end with this exit code
//	offline CODE COMMAND...  the same, where there is no network (if this system lets us)
//	dist FILE TEXT           makes a distribution of these contents
//	flip FILE OFFSET         changes one bit, at an offset from the end if it is negative
//	startlog, stoplog        a log in this process; sets GRPC, HTTP, POLICY, TOKENFILE
//	void INDEX               its operator voids an upload
//	startdaemon              the same with the pauselogd that users run
//	craft DIR                files and proofs of a log whose key the test has: see craft_test.go
//	sametree DIR             compares a proof tree with what the log serves
//	servetree DIR            serves a folder over HTTP; sets TREE
//	servetls DIR             the same over TLS; sets TLSTREE, and makes ca.pem, other.pem and tls-policy, whose log is there
//	startforger KIND         a server that does not do as it should; sets FORGER
//	fetch PATH               below authors/id of the CPAN mirror that is the proxy of the environment
func TestTranscripts(t *testing.T) {
	if !netless {
		t.Log("unshare -rn does not work here: offline commands run with the network that there is")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":       func(ts *testscript.TestScript, _ bool, args []string) { exits(ts, args[0], args[1:]) },
			"offline":     offline,
			"dist":        dist,
			"flip":        flip,
			"startlog":    startLog,
			"stoplog":     func(ts *testscript.TestScript, _ bool, _ []string) { stopLog(ts) },
			"void":        void,
			"startdaemon": startDaemon,
			"craft":       craft,
			"startforger": startForger,
			"sametree":    sameTree,
			"servetls":    serveTLS,
			"servetree":   serveTree,
		},
	})
}

// Every outcome of the table ends some command of a transcript.
func TestEveryExitCode(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]bool{}
	command := regexp.MustCompile(`(?m)^(?:exits|offline) (\d+) pauselog `)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range command.FindAllSubmatch(b, -1) {
			code, err := strconv.Atoi(string(m[1]))
			if err != nil {
				t.Fatal(err)
			}
			found[code] = true
		}
	}
	for _, o := range verify.Precedence() {
		if !found[o.Code()] {
			t.Errorf("no transcript ends with exit code %d, %s", o.Code(), o)
		}
	}
}

// netless says that a command can be run without a network.
var netless = exec.Command("unshare", "-rn", "true").Run() == nil

func TestMain(m *testing.M) {
	testscript.Main(withDaemon{m}, map[string]func(){"pauselog": main, "fetch": fetch})
}

// fetch is a client that asks the proxy that its environment names for an archive, and says no more than its exit code.
func fetch() {
	r, err := http.Get("http://www.cpan.org/authors/id/" + os.Args[1])
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	if err != nil || r.StatusCode != http.StatusOK {
		os.Exit(1)
	}
}

// withDaemon builds the programs before the tests: pauselogd is another package main, and users run pauselog as its own
// binary.
type withDaemon struct{ m *testing.M }

// programs is the folder of the programs.
var programs string

func (w withDaemon) Run() int {
	dir, err := os.MkdirTemp("", "pauselog-programs")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir, "github.com/pauselog/pauselog/cmd/pauselog", "github.com/pauselog/pauselog/cmd/pauselogd", "github.com/pauselog/pauselog/cmd/pausewitness")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	programs = dir
	os.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return w.m.Run()
}

func exits(ts *testscript.TestScript, code string, command []string) {
	err := ts.Exec(command[0], command[1:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != code {
		ts.Fatalf("exit code %d, want %s", got, code)
	}
}

func offline(ts *testscript.TestScript, _ bool, args []string) {
	command := args[1:]
	if netless {
		command = append([]string{"unshare", "-rn"}, command...)
	}
	exits(ts, args[0], command)
}
