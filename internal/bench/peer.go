package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Tessera is measured by a program of its own, one process for each row; its documentation (internal/bench/tessera) says
// what the two say to each other. It is built once a run.

// A peerTask is what such a process does. internal/bench/tessera has the same type, and says what each is.
type peerTask struct {
	Row      string
	Dir      string
	Entries  int
	Callers  int
	Batch    uint
	Age      time.Duration
	Interval time.Duration
	Persist  bool
	Memory   uint
	Limit    time.Duration
	Pause    time.Duration
	Seed     uint64
}

// The settings with which Tessera was fastest here. The deduplication in memory, which comes with the persistent one, has room
// for one entry, because no entry of a row is repeated.
var (
	manyCallers = peerTask{Row: "append", Callers: 3072, Batch: 1024, Age: 50 * time.Millisecond, Interval: 100 * time.Millisecond, Memory: 1}
	oneCaller   = peerTask{Row: "idle", Callers: 1, Batch: 1, Age: 50 * time.Millisecond, Interval: 100 * time.Millisecond, Memory: 1}
	overHTTP    = peerTask{Row: "serve", Callers: connections, Batch: 256, Age: 20 * time.Millisecond, Interval: 100 * time.Millisecond, Memory: 1}
)

// peerMost is how many entries Tessera's log has at most from which proofs are made: more would take it minutes to
// append, and make its proofs no faster.
const peerMost = 1_000_000

// peerTime is how long appending is measured: its deduplication looks for new entries once a second.
const peerTime = 3 * time.Second

// peerModule is where the program's source is, below the folder of this module.
var peerModule = filepath.Join("internal", "bench", "tessera")

// buildPeer builds the program, and returns where it is.
func buildPeer(ctx context.Context, work string, progress io.Writer) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	dir := filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), peerModule)
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		return "", fmt.Errorf("run this in the source tree, or with -tessera=false: %w", err)
	}
	program, err := filepath.Abs(filepath.Join(work, "tessera"))
	if err != nil {
		return "", err
	}
	fmt.Fprintln(progress, "building the program that runs Tessera")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s, without which there is -tessera=false: %w\n%s", dir, err, out)
	}
	return program, nil
}

// A peerResult is what the program says at its end.
type peerResult struct {
	Version  string             `json:"version"`
	Settings string             `json:"settings"`
	Figures  map[string]float64 `json:"figures"`
}

// figure is one that must be there.
func (r *peerResult) figure(name string) (float64, error) {
	v, ok := r.Figures[name]
	if !ok {
		return 0, fmt.Errorf("the program that runs Tessera gave no %q: %v", name, r.Figures)
	}
	return v, nil
}

// peer has the program do a task with the first entries of those that all logs have. During is called with its address while it
// serves; nil if it doesn't.
func (b *bench) peer(ctx context.Context, t peerTask, during func(address string) error) (*peerResult, error) {
	fmt.Fprintf(b.progress, "round %d of %d: Tessera, %s\n", b.round, b.rounds, t.Row)
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.program, string(text))
	var stderr tail
	cmd.Stderr = &stderr
	p, err := b.startCommand(cmd)
	if err != nil {
		return nil, err
	}
	r, err := b.converse(p, t, during)
	if err != nil {
		p.kill() // it may have ended, which is then the cause
		return nil, fmt.Errorf("tessera, %s: %w\n%s", t.Row, err, stderr.bytes)
	}
	return r, nil
}

func (b *bench) converse(p *process, t peerTask, during func(string) error) (*peerResult, error) {
	if err := sendEntries(p.stdin, t.Entries); err != nil {
		return nil, err
	}
	var ready struct {
		Address string `json:"address"`
	}
	if err := p.decode(&ready); err != nil {
		return nil, err
	}
	b.usage.start()
	if _, err := io.WriteString(p.stdin, "go\n"); err != nil {
		return nil, err
	}
	if during != nil {
		if err := during(ready.Address); err != nil {
			return nil, err
		}
		b.usage.stop()
		if err := p.stdin.Close(); err != nil {
			return nil, err
		}
	}
	var r peerResult
	if err := p.decode(&r); err != nil {
		return nil, err
	}
	if during == nil {
		b.usage.stop()
	}
	b.report.Tessera = r.Version
	return &r, p.finish()
}

// sendEntries writes entries as they are made.
func sendEntries(to io.Writer, count int) error {
	const group = 1024
	w := bufio.NewWriterSize(to, 1<<20)
	for at := 0; at < count; at += group {
		for _, e := range uploads(uint64(at), min(group, count-at)) {
			text, err := e.Marshal()
			if err != nil {
				return err
			}
			// An error stays with the writer until Flush.
			w.Write([]byte{byte(len(text) >> 8), byte(len(text))})
			w.Write(text)
		}
	}
	return w.Flush()
}

// decode is of the next line that the process says.
func (p *process) decode(into any) error {
	line, err := p.out.ReadString('\n')
	if err != nil {
		return fmt.Errorf("it ended early: %w", err)
	}
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	return nil
}

// peerFolder is a place for a log of Tessera's.
func (b *bench) peerFolder(name string) string {
	return filepath.Join(b.work, fmt.Sprintf("tessera-%s-%d", name, b.round))
}

// onPeer runs a task on a log of its own.
func (b *bench) onPeer(ctx context.Context, name string, t peerTask, during func(string) error) (*peerResult, error) {
	t.Dir, t.Seed = b.peerFolder(name), uint64(b.round)
	r, err := b.peer(ctx, t, during)
	return r, errors.Join(err, os.RemoveAll(t.Dir))
}

// peerLog is Tessera's log from which proofs are made, with n entries or the most that it gets; made once.
func (b *bench) peerLog(ctx context.Context) (string, error) {
	if b.peerBig != "" {
		return b.peerBig, nil
	}
	t := manyCallers
	t.Row, t.Dir, t.Entries = "fill", b.peerFolder("big"), min(b.n, peerMost)
	r, err := b.peer(ctx, t, nil)
	if err != nil {
		return "", err
	}
	if n, err := r.figure("entries"); err != nil || n != float64(t.Entries) {
		return "", fmt.Errorf("a log of %v entries, %d were sent: %w", n, t.Entries, err)
	}
	b.peerBig = t.Dir
	return t.Dir, nil
}

// addPeer records one of the figures.
func (b *bench) addPeer(section, what, unit string, r *peerResult, name string) error {
	v, err := r.figure(name)
	if err != nil {
		return err
	}
	x := b.add(section, "Tessera: "+what, unit, v)
	x.Side, x.Settings = "tessera", r.Settings
	return nil
}

// peerAppend makes rows of the section append.
func (b *bench) peerAppend(ctx context.Context, what string, t peerTask) error {
	if b.program == "" {
		return nil
	}
	t.Entries, t.Limit = b.atMost(300_000), peerTime
	r, err := b.onPeer(ctx, "append", t, nil)
	if err != nil {
		return err
	}
	if err := b.addPeer("append", what+", integrated", "/s", r, "integrated"); err != nil || t.Interval == time.Second {
		return err // a row is no longer than some of its checkpoints
	}
	return b.addPeer("append", what+", in a signed checkpoint", "/s", r, "published")
}

// peerIdle: one caller, who waits for its checkpoint each time.
func (b *bench) peerIdle(ctx context.Context) error {
	for _, x := range []struct {
		what    string
		pause   time.Duration
		entries int
	}{{"one after the other", 0, 20}, {"with 250 ms in between", 250 * time.Millisecond, 10}} {
		t := oneCaller
		t.Entries, t.Pause = x.entries, x.pause
		r, err := b.onPeer(ctx, "idle", t, nil)
		if err != nil {
			return err
		}
		err = errors.Join(
			b.addPeer("idle", x.what+", to integrated, median", "ms", r, "integrated"),
			b.addPeer("idle", x.what+", to its signed checkpoint, median", "ms", r, "published"))
		if err != nil {
			return err
		}
	}
	return nil
}

// peerProofs are the rows of the sections inclusion and consistency.
func (b *bench) peerProofs(ctx context.Context, section string, rows [][2]string) error {
	dir, err := b.peerLog(ctx)
	if err != nil {
		return err
	}
	r, err := b.peer(ctx, peerTask{Row: section, Dir: dir, Callers: 1, Limit: time.Second, Seed: uint64(b.round)}, nil)
	if err != nil {
		return err
	}
	for _, x := range rows {
		if err := b.addPeer(section, x[0], "/s", r, x[1]); err != nil {
			return err
		}
	}
	return nil
}

// peerDisk: what the folder of its log of n entries takes.
func (b *bench) peerDisk(ctx context.Context) error {
	if b.program == "" {
		return nil
	}
	dir, err := b.peerLog(ctx)
	if err != nil {
		return err
	}
	b.usage.start()
	n, err := blocks(dir)
	b.usage.stop()
	b.add("disk", "Tessera: folder, without deduplication, an entry", "bytes", float64(n)/float64(min(b.n, peerMost))).Side = "tessera"
	return err
}

// A tail keeps the end of what is written to it.
type tail struct{ bytes []byte }

func (t *tail) Write(b []byte) (int, error) {
	const most = 4 << 10
	t.bytes = append(t.bytes, b...)
	t.bytes = t.bytes[max(0, len(t.bytes)-most):]
	return len(b), nil
}
