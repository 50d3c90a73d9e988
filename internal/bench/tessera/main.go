// Command tessera measures Tessera v1.0.4 with POSIX storage, one row a process, for the
// benchmark of pauselog, which starts it, gives it its entries, and says when the clock starts. It is a module of its own
// because it needs what pauselog does not.
//
// Its one argument is a task as JSON. Then both sides take turns on its standard input and output:
//
//	<  entries, each as two bytes of its length, big-endian, and the entry; as many as the task says
//	>  {"address":"..."}       ready; the address is that of the row "serve"
//	<  go LF                   the clock starts. The row "serve" ends it with the end of the input
//	>  {"version":"v1.0.4","settings":"...","figures":{...}}
//
// When its input ends before that, so does it. Before it prints figures it makes sure that they are
// of what they claim to be of: the newest checkpoint has the log's signature and exactly the entries that were answered,
// a sample of them is at the index that was answered, with an inclusion proof that verifies, and with
// deduplication the sample is answered again with the same index.
//
// # Settings
//
// They are in the task, and those that bench sends are the best that were found. Ed25519 signs. Batches are of 1,024 entries
// or 50 ms for many callers, of 256 through HTTP, and of one entry for a single caller, who would otherwise wait for the batch to
// become old. Checkpoints are published as often as the library lets it, each 100 ms, and for the highest rate each second. A
// caller waits until its entry is integrated, which is when its index is durable, and the row waits for the checkpoint
// over all of them once. The persistent deduplication is Badger's, which may be a million entries behind: more than a row
// appends, so that none is asked to come back. No OpenTelemetry is set up.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"
)

// A task is what one process does. bench has the same type.
type task struct {
	Row      string // append, idle, serve, fill, inclusion or consistency
	Dir      string // of the log; rows that read expect one that fill has made
	Entries  int    // that follow on standard input
	Callers  int    // at once; 1 for rows that read
	Batch    uint   // the most entries of one
	Age      time.Duration
	Interval time.Duration // of checkpoints
	Persist  bool          // the persistent deduplication
	Memory   uint          // entries of the deduplication in memory, which goes with the other
	Limit    time.Duration // to measure for
	Pause    time.Duration // of idle, between two entries
	Seed     uint64        // of what is random
}

// A result is a row's figures.
type result struct {
	Version  string             `json:"version"` // of Tessera
	Settings string             `json:"settings"`
	Figures  map[string]float64 `json:"figures"`
}

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tessera:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("expected one argument, a task; there are %d", len(args))
	}
	var t task
	d := json.NewDecoder(strings.NewReader(args[0]))
	d.DisallowUnknownFields() // the two sides are of one tree
	if err := d.Decode(&t); err != nil {
		return fmt.Errorf("task %s: %w", args[0], err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &session{task: t, in: bufio.NewReaderSize(stdin, 1<<20), out: json.NewEncoder(stdout), cancel: cancel}
	rows := map[string]func(*session, context.Context) (map[string]float64, error){
		"append": (*session).append, "idle": (*session).idle, "serve": (*session).serve, "fill": (*session).fill,
		"inclusion": (*session).inclusion, "consistency": (*session).consistency,
	}
	row, ok := rows[t.Row]
	if !ok {
		return fmt.Errorf("there is no row %q", t.Row)
	}
	figures, err := row(s, ctx)
	if err != nil {
		return err
	}
	return s.out.Encode(result{Version: version(), Settings: s.settings(), Figures: figures})
}

// A session is one task and the two pipes.
type session struct {
	task
	in     *bufio.Reader
	out    *json.Encoder
	cancel context.CancelFunc
}

// next is the next of the entries.
func (s *session) next() ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(s.in, length[:]); err != nil {
		return nil, fmt.Errorf("an entry's length: %w", err)
	}
	b := make([]byte, int(length[0])<<8|int(length[1]))
	_, err := io.ReadFull(s.in, b)
	return b, err
}

// entries are all of them, for rows whose clock must not run while they are read.
func (s *session) entries() (out [][]byte, err error) {
	for range s.Entries {
		b, err := s.next()
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// ready says so and waits for the start. After it, the end of the input ends the context.
func (s *session) ready(address string) error {
	if err := s.out.Encode(map[string]string{"address": address}); err != nil {
		return err
	}
	line, err := s.in.ReadString('\n')
	if err != nil {
		return fmt.Errorf("waiting for the start: %w", err)
	}
	if line != "go\n" {
		return fmt.Errorf("expected go, found %q", line)
	}
	go func() {
		if _, err := s.in.ReadByte(); errors.Is(err, io.EOF) {
			s.cancel()
		}
	}()
	return nil
}

// settings says with what the row was measured.
func (s *session) settings() string {
	switch s.Row {
	case "inclusion":
		return "client.ProofBuilder on local files"
	case "consistency":
		return "client.ProofBuilder on local files, warm"
	}
	text := fmt.Sprintf("batches of %d or %v, checkpoints each %v, callers: %d", s.Batch, s.Age, s.Interval, s.Callers)
	if s.Persist {
		text += fmt.Sprintf("; deduplication with Badger, %d behind at most, and of the last %d in memory", behind, s.Memory)
	}
	return text
}

// version is that of Tessera which this program was built with.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/transparency-dev/tessera" {
				return m.Version
			}
		}
	}
	return "unknown"
}
