package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// program is a data folder, and how the real pauselogd is run on it.
type program struct {
	t      *testing.T
	data   string
	secret string
	policy *checkpoint.Policy
}

func newProgram(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, data: filepath.Join(t.TempDir(), "log")}
	var logs []checkpoint.PolicyLog
	for vkey := range strings.Lines(p.run("init", "--data", p.data, "--origin", "log.example/pause")) {
		k, err := checkpoint.ParseVerifierKey(strings.TrimSuffix(vkey, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, checkpoint.PolicyLog{Key: k})
	}
	var err error
	if p.policy, err = checkpoint.NewPolicy(logs...); err != nil {
		t.Fatal(err)
	}
	p.secret = strings.TrimSpace(p.run("token", "create", "--data", p.data, "--name", "test"))
	return p
}

func (p *program) run(args ...string) string {
	p.t.Helper()
	out, err := exec.Command("pauselogd", args...).Output()
	if err != nil {
		p.t.Fatalf("pauselogd %v: %v %s", args, err, err.(*exec.ExitError).Stderr)
	}
	return string(out)
}

// A serving is a running pauselogd.
type serving struct {
	cmd    *exec.Cmd
	stderr *strings.Builder
	conn   *grpc.ClientConn
	api    pb.LogClient
	http   string
}

// serve starts the program and waits for its line of JSON.
func (p *program) serve() *serving {
	p.t.Helper()
	s := &serving{cmd: exec.Command("pauselogd", "serve", "--data", p.data, "--no-witnesses", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"), stderr: new(strings.Builder)}
	s.cmd.Stderr = s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.cmd.Wait()
		p.t.Fatalf("pauselogd did not become ready: %v\n%s", err, s.stderr)
	}
	var ready struct{ Origin, GRPC, HTTP string }
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		p.t.Fatalf("%q: %v", line, err)
	}
	s.http = ready.HTTP
	if s.conn, err = grpc.NewClient(ready.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		p.t.Fatal(err)
	}
	s.api = pb.NewLogClient(s.conn)
	return s
}

// end ends the program by a signal and returns its exit code.
func (s *serving) end(sig os.Signal) int {
	s.cmd.Process.Signal(sig)
	s.cmd.Wait()
	s.conn.Close()
	return s.cmd.ProcessState.ExitCode()
}

func (p *program) authorized(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+p.secret)
}

func submission(n int) *pb.Submission {
	d := tree.LeafHash(fmt.Append(nil, n))
	return &pb.Submission{Kind: "upload", Path: fmt.Sprintf("authors/id/E/ET/ETHER/Dist-%d.tar.gz", n), Sha256: entry.Digest(d).String(),
		Size: uint64(n), Time: entry.TimeOf(time.Now()).String(), By: "ETHER", Seen: "upload"}
}

// The real program is killed a hundred times in the middle of a stream of submissions. Every
// submission that was acknowledged is there at its index, the log goes on, and in the end
// passes an audit.
func TestKill9(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 10
	}
	p := newProgram(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	acked := map[string]uint64{}
	next := 0
	for round := range rounds {
		s := p.serve()
		ctx, cancel := context.WithCancel(p.authorized(t.Context()))
		stream, err := s.api.SubmitStream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		// One goroutine floods, this one reads answers until it kills, and then what
		// arrives all the same.
		var wg sync.WaitGroup
		first := next
		wg.Go(func() {
			for ; ; next++ {
				if stream.Send(&pb.SubmitStreamRequest{Submissions: []*pb.Submission{submission(next), submission(next)}}) != nil {
					return
				}
			}
		})
		killAfter := rnd.IntN(400)
		for n := 0; ; n++ {
			if n == killAfter {
				if err := s.cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			r, err := stream.Recv()
			if err != nil {
				if n < killAfter {
					t.Fatalf("round %d: the stream ended before the kill: %v\n%s", round, err, s.stderr)
				}
				break
			}
			for i, x := range r.Results {
				if x.Refusal != nil || x.Repeated != (i == 1) {
					t.Fatalf("round %d: %v", round, x)
				}
				path := submission(first + n).Path
				if at, ok := acked[path]; ok && at != x.Index {
					t.Fatalf("%s is at %d and at %d", path, at, x.Index)
				}
				acked[path] = x.Index
			}
		}
		wg.Wait()
		cancel()
		if code := s.end(syscall.SIGKILL); code != -1 {
			t.Fatalf("round %d: exit code %d\n%s", round, code, s.stderr)
		}
		next++
	}

	s := p.serve()
	report, err := client.New(s.conn, p.policy, nil).Audit(t.Context(), nil)
	if err != nil || report.Violations != 0 {
		t.Fatalf("audit: %+v, %v", report, err)
	}
	found := map[string]uint64{}
	stream, err := s.api.ListEntries(t.Context(), &pb.ListEntriesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for uint64(len(found)) < report.Entries {
		r, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range r.Entries {
			e, err := entry.Parse([]byte(b))
			if err != nil {
				t.Fatal(err)
			}
			if _, twice := found[e.Path]; twice {
				t.Fatalf("%s was logged twice", e.Path)
			}
			found[e.Path] = r.Start + uint64(i)
		}
	}
	for path, index := range acked {
		if at, ok := found[path]; !ok || at != index {
			t.Errorf("%s was acknowledged at %d, found at %d (%v)", path, index, at, ok)
		}
	}
	t.Logf("%d kills, %d acknowledged, %d logged", rounds, len(acked), report.Entries)
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Errorf("SIGTERM: exit code %d\n%s", code, s.stderr)
	}
}

// What an operator's restore can do to the folder and its head file, with the real program.
func TestDrills(t *testing.T) {
	p := newProgram(t)
	submit := func(from, to int) {
		t.Helper()
		s := p.serve()
		for n := from; n < to; n++ {
			if _, err := s.api.Submit(p.authorized(t.Context()), &pb.SubmitRequest{Submission: submission(n)}); err != nil {
				t.Fatal(err)
			}
		}
		if code := s.end(syscall.SIGINT); code != 0 {
			t.Fatalf("SIGINT: exit code %d\n%s", code, s.stderr)
		}
	}
	head := p.data + ".head"
	backup := t.TempDir()
	submit(0, 5)
	copyAll(t, p.data, filepath.Join(backup, "older"))
	copyAll(t, head, filepath.Join(backup, "older.head"))
	submit(5, 9)
	copyAll(t, p.data, filepath.Join(backup, "newer"))
	copyAll(t, head, filepath.Join(backup, "newer.head"))

	restore := func(data, headFile string, over bool) {
		t.Helper()
		if !over {
			remove(t, p.data)
		}
		remove(t, head)
		copyAll(t, filepath.Join(backup, data), p.data)
		if headFile != "" {
			copyAll(t, filepath.Join(backup, headFile), head)
		}
	}
	for _, tt := range []struct {
		name, data, head string
		over             bool
		want             []string
	}{
		{"the data folder replaced by an older copy", "older", "newer.head", false, []string{"refusing to start", "holds 5 entries", "9 were signed", "Put back the newest copy"}},
		{"the head file gone", "newer", "", false, []string{"refusing to start", "log.head is gone", "put back the newest copy", "holds 9 entries", "at least size 8"}},
	} {
		restore(tt.data, tt.head, tt.over)
		p.refuses(tt.name, tt.want...)
	}

	// An older copy laid over the folder: Pebble's files of two states, of which it may well take
	// the newer. But nobody knows which, and the folder's own count of starts is the older one.
	restore("newer", "newer.head", false)
	copyAll(t, filepath.Join(backup, "older"), p.data)
	p.refuses("an older copy laid over the folder", "refusing to start", "holds 9 entries and counts 1 starts, the head file says size 9 and 2 starts", "Put back the newest copy")

	restore("newer", "older.head", false)
	p.refuses("the head file alone older", "refusing to start", "holds 9 entries", "only 5 were signed", "Put back the newest copy of the head file")

	restore("newer", "newer.head", false)
	s := p.serve()
	r, err := s.api.GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{})
	if err != nil || !strings.HasPrefix(r.Checkpoint, "log.example/pause\n9\n") {
		t.Errorf("everything put back: %v, %v", r, err)
	}
	// A second process on the same folder, and on a copy of it with the same head.
	p.refuses("a second process", "in use by another process", "running already")
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.stderr)
	}
	restore("newer", "newer.head", false)
	submit(9, 10)
}

// refuses runs serve, which must end with exit code 1 and say all of this.
func (p *program) refuses(name string, want ...string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "pauselogd", "serve", "--data", p.data, "--no-witnesses", "--grpc", "127.0.0.1:0").CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
		p.t.Errorf("%s: %v\n%s", name, err, out)
		return
	}
	for _, w := range want {
		if !strings.Contains(strings.ToLower(string(out)), strings.ToLower(w)) {
			p.t.Errorf("%s: it does not say %q:\n%s", name, w, out)
		}
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
}

// copyAll copies a file or folder over what is there, as cp -a does.
func copyAll(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-aT", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
