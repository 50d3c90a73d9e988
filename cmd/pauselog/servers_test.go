package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pauselog/pauselog/internal/daemon"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/frontend"
	"github.com/pauselog/pauselog/log/entry"
)

// running are the logs of the transcripts, by their working folder.
var running sync.Map

type runningLog struct {
	folder *datafolder.Folder
	stop   context.CancelFunc
	ended  chan error
}

const secret = "a-secret-of-the-tests"

// allowAll takes one token for everything.
type allowAll struct{}

func (allowAll) Bearer(s string) (frontend.Permission, error) {
	if s != secret {
		return nil, errors.New("no such token")
	}
	return allowAll{}, nil
}

func (allowAll) Certificate(*x509.Certificate) (frontend.Permission, error) { return allowAll{}, nil }
func (allowAll) Allows(entry.Kind, entry.Seen) error                        { return nil }

func startLog(ts *testscript.TestScript, _ bool, _ []string) {
	dir := ts.MkAbs("log")
	folder, err := datafolder.Open(dir)
	if err != nil {
		folder, err = datafolder.Init(dir, "log.example/transcript", "", time.Now())
	}
	ts.Check(err)
	ctx, stop := context.WithCancel(context.Background())
	l := &runningLog{folder: folder, stop: stop, ended: make(chan error, 1)}
	ready := make(chan daemon.Addresses, 1)
	go func() {
		l.ended <- daemon.Run(ctx, daemon.Config{
			Folder: folder, GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", Auth: allowAll{},
			Log:   slog.New(slog.NewTextHandler(io.Discard, nil)),
			Fatal: func(err error) { panic(err) },
		}, func(a daemon.Addresses) { ready <- a })
	}()
	select {
	case a := <-ready:
		serves(ts, folder, a, secret)
	case err := <-l.ended:
		stop()
		ts.Fatalf("the log does not start: %v", err)
	}
	running.Store(dir, l)
	ts.Defer(func() { stopLog(ts) })
}

func stopLog(ts *testscript.TestScript) {
	x, ok := running.LoadAndDelete(ts.MkAbs(filepath.Join(ts.Getenv("WORK"), "log")))
	if !ok {
		return
	}
	l := x.(*runningLog)
	l.stop()
	if err := <-l.ended; err != nil {
		ts.Logf("the log ended with: %v", err)
	}
}

// serves tells a transcript where its log is.
func serves(ts *testscript.TestScript, f *datafolder.Folder, a daemon.Addresses, token string) {
	p, err := f.Policy("http://" + a.HTTP)
	ts.Check(err)
	for name, text := range map[string]string{"policy": p.String(), "token": token + "\n"} {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
	ts.Setenv("GRPC", "grpc://"+a.GRPC)
	ts.Setenv("HTTP", "http://"+a.HTTP)
	ts.Setenv("POLICY", ts.MkAbs("policy"))
	ts.Setenv("TOKENFILE", ts.MkAbs("token"))
}

func void(ts *testscript.TestScript, _ bool, args []string) {
	index, err := strconv.ParseUint(args[0], 10, 63)
	ts.Check(err)
	x, _ := running.Load(ts.MkAbs("log"))
	_, err = daemon.Void(context.Background(), x.(*runningLog).folder, index)
	ts.Check(err)
}

// startDaemon does as an operator would.
func startDaemon(ts *testscript.TestScript, _ bool, _ []string) {
	dir := ts.MkAbs("log")
	ts.Check(ts.Exec("pauselogd", "init", "--data", dir, "--origin", "log.example/daemon"))
	ts.Check(ts.Exec("pauselogd", "token", "create", "--data", dir, "--name", "transcript"))
	token := ts.ReadFile("stdout")
	cmd := exec.Command("pauselogd", "serve", "--data", dir, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--no-witnesses")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		ts.Check(cmd.Process.Signal(os.Interrupt))
		if err := cmd.Wait(); err != nil {
			ts.Logf("pauselogd: %v\n%s", err, &stderr)
		}
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		ts.Fatalf("pauselogd serve: %v\n%s", err, &stderr)
	}
	var a daemon.Addresses
	ts.Check(json.Unmarshal(line, &a))
	folder, err := datafolder.Open(dir)
	ts.Check(err)
	serves(ts, folder, a, string(bytes.TrimSpace([]byte(token))))
}

// dist makes a distribution, the same bytes for the same text.
func dist(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(name), 0o755))
	ts.Check(os.WriteFile(name, tarball(args[1]), 0o644))
}

func tarball(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	err := t.WriteHeader(&tar.Header{Name: "Dist-1.0/lib/Dist.pm", Mode: 0o644, Size: int64(len(text))})
	if err == nil {
		_, err = t.Write([]byte(text))
	}
	if err := errors.Join(err, t.Close(), z.Close()); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func flip(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[0])
	b, err := os.ReadFile(name)
	ts.Check(err)
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	ts.Check(os.WriteFile(name, b, 0o644))
}
