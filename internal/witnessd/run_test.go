package witnessd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/internal/witnessd/testlog"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/witness"
	"github.com/pauselog/pauselog/witness/client"
	"github.com/pauselog/pauselog/witness/state"
)

const witnessName = "witness.example/w1"

var made = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// initialised makes a witness in a new folder.
func initialised(t *testing.T) *Folder {
	t.Helper()
	f, err := Init(filepath.Join(t.TempDir(), "witness"), "", witnessName, made)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A served is a witness that runs in this process.
type served struct {
	Addresses
	t      *testing.T
	folder *Folder
	cancel context.CancelFunc
	done   chan error
}

// run runs a witness until the test ends, or until end. adjust may be nil.
func run(t *testing.T, f *Folder, adjust func(*Config)) *served {
	t.Helper()
	c := Config{Folder: f, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if adjust != nil {
		adjust(&c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &served{t: t, folder: f, cancel: cancel, done: make(chan error, 1)}
	ready := make(chan Addresses, 1)
	go func() { s.done <- Run(ctx, c, func(a Addresses) { ready <- a }) }()
	select {
	case s.Addresses = <-ready:
	case err := <-s.done:
		cancel()
		t.Fatalf("the witness does not run: %v", err)
	}
	t.Cleanup(func() { s.end() })
	return s
}

// end ends the witness, the first time it is called.
func (s *served) end() {
	s.t.Helper()
	if s.cancel == nil {
		return
	}
	s.cancel()
	s.cancel = nil
	if err := <-s.done; err != nil {
		s.t.Errorf("the witness ended with %v", err)
	}
}

func (s *served) client() *client.Client {
	s.t.Helper()
	c, err := client.New("http://"+s.Listen, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// ask has a log ask for a cosignature, and expects one.
func (s *served) ask(l *testlog.Log, old, size uint64) {
	s.t.Helper()
	if err := l.Ask(s.t.Context(), s.t, s.client(), s.folder.Verifiers(), old, size); err != nil {
		s.t.Fatalf("%s from %d to %d: %v", l.Name, old, size, err)
	}
}

// get reads a page of the admin address.
func (s *served) get(path string) (status int, body string) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.Admin + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// fixedClock shows a time that only the test changes.
type fixedClock struct{ now time.Time }

func (c *fixedClock) Now() time.Time         { return c.now }
func (c *fixedClock) Elapsed() time.Duration { return 0 }

var _ witness.Clock = &fixedClock{}

func TestRunCosignsAndRemembers(t *testing.T) {
	f := initialised(t)
	l := testlog.New(t, "log.example/pause", 1)
	if err := f.AddLog(l.VKeys()...); err != nil {
		t.Fatal(err)
	}
	s := run(t, f, nil)
	if s.Logs != 1 {
		t.Errorf("it knows %d logs", s.Logs)
	}
	s.ask(l, 0, 3)
	s.ask(l, 3, 8)
	s.end()
	s = run(t, f, nil)
	var size *client.SizeError
	if err := l.Ask(t.Context(), t, s.client(), nil, 0, 9); !errors.As(err, &size) || size.Size != 8 {
		t.Errorf("after a start: %v, want the size 8", err)
	}
	s.ask(l, 8, 9)
	note, err := s.client().Checkpoint(t.Context(), l.Name)
	if err != nil || !strings.HasPrefix(string(note), l.Checkpoint(9).Text()) {
		t.Errorf("%v, %s", err, note)
	}
}

func TestASecondRunIsRefused(t *testing.T) {
	f := initialised(t)
	run(t, f, nil)
	err := Run(t.Context(), Config{Folder: f, Listen: "127.0.0.1:0"}, func(Addresses) { t.Error("it serves") })
	if !errors.Is(err, head.ErrLocked) || !strings.Contains(err.Error(), "running already") {
		t.Errorf("%v, want that the state is locked", err)
	}
}

// A command that looks at the state for a moment does not keep the witness from starting.
func TestRunWaitsForACommand(t *testing.T) {
	f := initialised(t)
	k, err := head.Open(f.Head)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	c := Config{Folder: f, Listen: "127.0.0.1:0"}
	if err := Run(ended, c, func(Addresses) { t.Error("it serves") }); !errors.Is(err, context.Canceled) {
		t.Errorf("told to end while it waits: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- Run(ctx, c, func(Addresses) { close(ready) }) }()
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ready:
		cancel()
		err = <-done
	case err = <-done:
	}
	if err != nil {
		t.Error(err)
	}
}

func TestRunRefusesAStateThatMayBeOld(t *testing.T) {
	f := initialised(t)
	l := testlog.New(t, "log.example/pause", 1)
	if err := f.AddLog(l.VKeys()...); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(f.Head); err != nil {
		t.Fatal(err)
	}
	err := Run(t.Context(), Config{Folder: f, Listen: "127.0.0.1:0"}, func(Addresses) { t.Error("it serves") })
	if !errors.Is(err, state.ErrRefused) {
		t.Errorf("%v, want a refusal", err)
	}
	if _, err := os.Stat(f.Head); err == nil {
		t.Error("a head file was made")
	}
}

func TestRunChecksItsConfiguration(t *testing.T) {
	f := initialised(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"no address":        {Config{}, "--listen, --bastion or both"},
		"a remote admin":    {Config{Listen: "127.0.0.1:0", Admin: "0.0.0.0:0"}, "--allow-remote-admin"},
		"an admin's name":   {Config{Listen: "127.0.0.1:0", Admin: "admin.example:80"}, "not a loopback address"},
		"no admin's port":   {Config{Listen: "127.0.0.1:0", Admin: "127.0.0.1"}, "expected HOST:PORT"},
		"pprof alone":       {Config{Listen: "127.0.0.1:0", Pprof: true}, "--pprof needs --admin"},
		"no bastion's port": {Config{Bastion: "bastion.example"}, "expected HOST:PORT"},
		"a taken port":      {Config{Listen: taken.Addr().String()}, "address already in use"},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Folder = f
			err := Run(t.Context(), c.config, func(Addresses) { t.Error("it serves") })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
		})
	}
	// None of them left a lock behind.
	run(t, f, func(c *Config) { c.Admin, c.AllowRemoteAdmin = "0.0.0.0:0", true })
}

// A write that fails ends the witness, and nobody is told of a cosignature.
func TestRunEndsWhenTheStateIsInDoubt(t *testing.T) {
	f := initialised(t)
	l := testlog.New(t, "log.example/pause", 1)
	if err := f.AddLog(l.VKeys()...); err != nil {
		t.Fatal(err)
	}
	fatal := make(chan error, 1)
	s := run(t, f, func(c *Config) { c.Fatal = func(err error) { fatal <- err } })
	breakState(t, s)
	if err := <-fatal; !errors.Is(err, state.ErrBroken) {
		t.Errorf("fatal was told %v", err)
	}
	if err := <-s.done; !errors.Is(err, state.ErrBroken) {
		t.Errorf("the witness ended with %v", err)
	}
	s.cancel = nil
	// What the start finds is a state as good as any.
	s = run(t, f, nil)
	s.ask(l, 0, 1)
}

// breakState makes the running witness's next write fail: a record's file cannot be made in a folder
// that is gone.
func breakState(t *testing.T, s *served) {
	t.Helper()
	if err := os.Rename(s.folder.stateDir(), s.folder.stateDir()+".away"); err != nil {
		t.Fatal(err)
	}
	other := testlog.New(t, "log.example/other", 2)
	if err := s.folder.AddLog(other.VKeys()...); err == nil {
		t.Error("a log was added to a folder that is gone")
	}
	if err := os.Rename(s.folder.stateDir()+".away", s.folder.stateDir()); err != nil {
		t.Fatal(err)
	}
}

func TestHealthFollowsTheClock(t *testing.T) {
	f := initialised(t)
	l := testlog.New(t, "log.example/pause", 1)
	if err := f.AddLog(l.VKeys()...); err != nil {
		t.Fatal(err)
	}
	clock := &fixedClock{made}
	s := run(t, f, func(c *Config) { c.Clock = clock })
	s.ask(l, 0, 1)
	if status, body := s.get("/healthz"); status != 200 || body != "ok\n" {
		t.Errorf("healthy: %d %s", status, body)
	}
	s.end()
	clock.now = made.Add(-time.Hour)
	s = run(t, f, func(c *Config) { c.Clock = clock })
	if status, body := s.get("/healthz"); status != 503 || !strings.Contains(body, "clock") {
		t.Errorf("with a clock that went back: %d %s", status, body)
	}
	var busy *client.BusyError
	if err := l.Ask(t.Context(), t, s.client(), nil, 1, 2); !errors.As(err, &busy) {
		t.Errorf("it answers %v, want that it cannot cosign", err)
	}
	if err := f.Change(t.Context(), []Change{{Kind: AcceptClock}}, func(_ Change, o Outcome, err error) error { return err }); err != nil {
		t.Fatal(err)
	}
	if status, body := s.get("/healthz"); status != 200 {
		t.Errorf("after the clock was accepted: %d %s", status, body)
	}
	s.ask(l, 1, 2)
}

func TestProfilesOnlyWhenAskedFor(t *testing.T) {
	f := initialised(t)
	s := run(t, f, nil)
	if status, _ := s.get("/debug/pprof/heap"); status != 404 {
		t.Errorf("profiles are served: %d", status)
	}
	s.end()
	s = run(t, f, func(c *Config) { c.Pprof = true })
	if status, _ := s.get("/debug/pprof/heap"); status != 200 {
		t.Errorf("profiles are not served: %d", status)
	}
}

// Secrets are in no log, however much is logged.
func TestNoSecretIsLogged(t *testing.T) {
	f := initialised(t)
	l := testlog.New(t, "log.example/pause", 1)
	if err := f.AddLog(l.VKeys()...); err != nil {
		t.Fatal(err)
	}
	out := new(strings.Builder)
	s := run(t, f, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	s.ask(l, 0, 1)
	s.end()
	if out.Len() == 0 {
		t.Error("nothing was logged")
	}
	for _, name := range []string{ed25519File, mldsa44File, bastionFile} {
		secret, err := readSecret(f.keyFile(name))
		if err != nil {
			t.Fatal(err)
		}
		// What is behind the name and the key id, which may be logged.
		parts := strings.SplitN(secret, "+", 5)
		secret = parts[len(parts)-1]
		if strings.Contains(out.String(), secret) {
			t.Errorf("the secret of %s was logged", name)
		}
	}
}

// A request that is under way when the witness is told to end is answered.
func TestRunDrains(t *testing.T) {
	f := initialised(t)
	l := testlog.New(t, "log.example/pause", 1)
	if err := f.AddLog(l.VKeys()...); err != nil {
		t.Fatal(err)
	}
	s := run(t, f, nil)
	conn, err := net.Dial("tcp", s.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := l.Request(t, 0, 4).Marshal()
	fmt.Fprintf(conn, "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(body))
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusContinue {
		t.Fatalf("%v, %v", resp, err)
	}
	s.cancel()
	// New connections are refused from now on, which says that it drains.
	for {
		c, err := net.Dial("tcp", s.Listen)
		if err != nil {
			break
		}
		c.Close()
	}
	if _, err := conn.Write(body); err != nil {
		t.Fatal(err)
	}
	resp, err = http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	s.end()
}
