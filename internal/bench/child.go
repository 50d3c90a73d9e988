package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/log/sequencer"
)

// Some things need a process of their own: one that is killed, and one whose memory is looked
// at. It is this program again, with a task in its environment. It ends when
// its standard input does, so that none outlives the first process, however that ends.

const taskVariable = "PAUSELOG_BENCH_TASK"

type role string

const (
	fillRole  role = "fill"  // append entries until the log has To, wait for the lookup index, end
	crashRole role = "crash" // append, say so when the log has To entries, go on until killed
	serveRole role = "serve" // serve the log, and one whose handler does nothing

	witnessRole role = "witness" // serve a witness
)

type task struct {
	Role role
	Dir  string
	To   uint64

	Policy string // to serve the log with; none: without witnesses
}

// perform is what such a process does.
func perform(ctx context.Context, text string) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return fmt.Errorf("%s: %w", taskVariable, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if t.Role == witnessRole {
		return serveWitness(ctx, t.Dir)
	}
	f, err := datafolder.Open(t.Dir)
	if err != nil {
		return err
	}
	if t.Role == serveRole {
		return serveBoth(ctx, f, t.Policy)
	}
	l, err := openLocal(f)
	if err != nil {
		return err
	}
	err = fill(ctx, l, t)
	return errors.Join(err, l.close())
}

// fill appends groups of 256, of which 32 are on their way. Entries are made when they are appended, so that memory
// does not depend on how many there are. It says how many a second the last fifth were.
func fill(ctx context.Context, l *local, t task) error {
	const group, ahead = 256, 32
	end := t.To
	if t.Role == crashRole {
		end = math.MaxUint64
	}
	var waiting []*sequencer.Pending
	said := false
	from := l.store.Head().Size
	fifth, began := t.To-(t.To-from)/5, time.Time{}
	wait := func() error {
		results, err := waiting[0].Wait(ctx)
		if err != nil {
			return err
		}
		waiting = waiting[1:]
		if last := results[len(results)-1].Index; t.Role == crashRole && !said && last+1 >= t.To {
			fmt.Println(last + 1)
			said = true
		}
		return checkNew(results)
	}
	for at := from; at < end; {
		entries := pointers(uploads(at, int(min(group, end-at))))
		submissions := make([]sequencer.Submission, len(entries))
		for i, e := range entries {
			submissions[i] = sequencer.Submission{Entry: e, Seen: e.Seen}
		}
		if began.IsZero() && at >= fifth {
			began, fifth = time.Now(), at
		}
		p, err := l.seq.Enqueue(submissions)
		if err != nil {
			return err
		}
		at += uint64(len(entries))
		if waiting = append(waiting, p); len(waiting) == ahead {
			if err := wait(); err != nil {
				return err
			}
		}
	}
	for len(waiting) > 0 {
		if err := wait(); err != nil {
			return err
		}
	}
	fmt.Println(float64(t.To-fifth) / time.Since(began).Seconds())
	return l.settle(ctx)
}

// A process is a child with a task.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
	usage *usage
}

func (b *bench) start(ctx context.Context, t task) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), taskVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	return b.startCommand(cmd)
}

func (b *bench) startCommand(cmd *exec.Cmd) (*process, error) {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.usage.children = append(b.usage.children, cmd.Process.Pid)
	return &process{cmd, stdin, bufio.NewReader(stdout), &b.usage}, nil
}

// line is the next one that the process says. When there is none, the process has ended, and
// has said on standard error why.
func (p *process) line() (string, error) {
	s, err := p.out.ReadString('\n')
	if err != nil {
		return "", errors.Join(fmt.Errorf("the process for this row ended early: %w", err), p.kill())
	}
	return strings.TrimSuffix(s, "\n"), nil
}

// kill is SIGKILL.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	err := p.wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return nil
	}
	return err
}

// finish asks the process to end.
func (p *process) finish() error {
	p.stdin.Close()
	defer time.AfterFunc(time.Minute, func() { p.cmd.Process.Kill() }).Stop()
	return p.wait()
}

func (p *process) wait() error {
	io.Copy(io.Discard, p.out)
	err := p.cmd.Wait()
	p.usage.ended(p.cmd.Process.Pid)
	return err
}

func loopback() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
