package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pauselog/pauselog/internal/witnessd/testlog"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/witness/client"
)

// built returns the program as its users build it. It lies beside what testscript.Main made, and is
// removed with that.
var built = sync.OnceValues(func() (string, error) {
	script, err := exec.LookPath("pausewitness")
	if err != nil {
		return "", err
	}
	name := filepath.Join(filepath.Dir(filepath.Dir(script)), "built", "pausewitness")
	cmd := exec.Command("go", "build", "-o", name, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return name, nil
})

// A loaded witness is the built program with many logs.
type loaded struct {
	cmd     *exec.Cmd
	address string
	stderr  bytes.Buffer
	keys    []*checkpoint.VerifierKey
	logs    []*testlog.Log
}

// startLoaded makes a witness with so many logs and runs it.
func startLoaded(tb testing.TB, logs int, env ...string) *loaded {
	tb.Helper()
	name, err := built()
	if err != nil {
		tb.Fatal(err)
	}
	run := func(args ...string) string {
		tb.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			tb.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	data := filepath.Join(tb.TempDir(), "witness")
	w := &loaded{}
	for _, vkey := range strings.Fields(run("init", "--data", data, "--name", "witness.example/w1")) {
		k, err := checkpoint.ParseVerifierKey(vkey)
		if err != nil {
			tb.Fatal(err)
		}
		w.keys = append(w.keys, k)
	}
	list := "logs/v0\n"
	for i := range logs {
		l := testlog.New(tb, fmt.Sprintf("log.example/%d", i), byte(i+1))
		w.logs = append(w.logs, l)
		list += fmt.Sprintf("vkey %s\nqpd 86400\ncontact https://log.example/contact\n", l.VKeys()[0])
	}
	file := filepath.Join(tb.TempDir(), "logs.txt")
	if err := os.WriteFile(file, []byte(list), 0o600); err != nil {
		tb.Fatal(err)
	}
	run("log", "add", "--data", data, "--list", file)

	w.cmd = exec.Command(name, "serve", "--data", data, "--listen", "127.0.0.1:0")
	w.cmd.Env = append(w.cmd.Environ(), env...)
	w.cmd.Stderr = &w.stderr
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		w.cmd.Process.Signal(syscall.SIGTERM)
		w.cmd.Wait()
		if code := w.cmd.ProcessState.ExitCode(); code != 0 {
			tb.Errorf("exit code %d\n%s", code, &w.stderr)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(line, `"listen":"`)
	w.address, _, _ = strings.Cut(rest, `"`)
	return w
}

// memory reads a line of the process's status, in bytes.
func (w *loaded) memory(tb testing.TB, field string) int {
	tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			kB, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			if err != nil {
				tb.Fatal(err)
			}
			return kB << 10
		}
	}
	tb.Fatalf("there is no %s", field)
	return 0
}

// zeros is a body of so many bytes.
type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	clear(p[:n])
	z.left -= n
	return int(n), nil
}

const head = "POST /add-checkpoint HTTP/1.1\r\nHost: witness.example\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n"

// bother is what clients do that mean no good, until the context ends: each again and again, as soon as
// the witness has had enough of it.
var bother = map[string]func(ctx context.Context, address string) error{
	"sends a head and no body": func(ctx context.Context, address string) error {
		return talk(ctx, address, func(c net.Conn) error {
			_, err := io.WriteString(c, head)
			return err
		})
	},
	"connects and is silent": func(ctx context.Context, address string) error {
		return talk(ctx, address, func(net.Conn) error { return nil })
	},
	"sends one byte a second": func(ctx context.Context, address string) error {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		return talk(ctx, address, func(c net.Conn) error {
			if _, err := io.WriteString(c, head); err != nil {
				return err
			}
			for {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return nil
				}
				if _, err := io.WriteString(c, "o"); err != nil {
					return nil // cut off, as it should be
				}
			}
		})
	},
	"sends 256 MiB with their length": func(ctx context.Context, address string) error { return flood(ctx, address, 256<<20) },
	"sends 256 MiB in chunks":         func(ctx context.Context, address string) error { return flood(ctx, address, -1) },
}

// talk connects, has say send something, and waits until the other side ends it.
func talk(ctx context.Context, address string, say func(net.Conn) error) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if err := say(c); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return err
}

// flood sends 256 MiB, which must be refused.
func flood(ctx context.Context, address string, length int64) error {
	t := &http.Transport{DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/add-checkpoint", &zeros{256 << 20})
	if err != nil {
		return err
	}
	req.ContentLength = length
	resp, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		return &wrongAnswer{resp.Status}
	}
	return nil
}

// A wrongAnswer is an answer that a bad request must not get.
type wrongAnswer struct{ status string }

func (w *wrongAnswer) Error() string { return "a body of 256 MiB is answered with " + w.status }

// A hundred logs and 64 clients that ask at the same time, while others stall, trickle and flood: every
// honest request is served, and the witness stays small.
func TestLoad(t *testing.T) {
	const logs, clients = 100, 64
	sizes := 12
	if testing.Short() {
		sizes = 3
	}
	w := startLoaded(t, logs)
	idle := w.memory(t, "VmRSS")
	ctx, cancel := context.WithCancel(t.Context())
	var bad, good sync.WaitGroup
	defer bad.Wait()
	defer cancel()
	rounds := make(map[string]*atomic.Int64, len(bother))
	begun := make(chan struct{}, 100*len(bother))
	for what, do := range bother {
		n := new(atomic.Int64)
		rounds[what] = n
		bad.Go(func() {
			for ctx.Err() == nil {
				n.Add(1)
				select {
				case begun <- struct{}{}:
				default:
				}
				// How else it fails is its own affair.
				if wrong := (*wrongAnswer)(nil); errors.As(do(ctx, w.address), &wrong) {
					t.Errorf("a client that %s: %v", what, wrong)
				}
			}
		})
	}
	for range bother {
		<-begun
	}

	var served, failed atomic.Int64
	start := make(chan struct{})
	for n := range clients {
		good.Go(func() {
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			c, err := client.New("http://"+w.address, &http.Client{Transport: tr})
			if err != nil {
				t.Error(err)
				return
			}
			<-start
			// Each has its own logs.
			for size := range sizes {
				for i := n; i < logs; i += clients {
					if err := w.logs[i].Ask(t.Context(), t, c, w.keys, uint64(2*size), uint64(2*size+2)); err != nil {
						failed.Add(1)
						t.Errorf("client %d, log %d, size %d: %v", n, i, 2*size+2, err)
						return
					}
					served.Add(1)
				}
			}
		})
	}
	began := time.Now()
	close(start)
	good.Wait()
	took := time.Since(began)
	cancel()
	bad.Wait()
	if n := served.Load(); n != int64(sizes*logs) || failed.Load() != 0 {
		t.Errorf("%d of %d honest requests were served\n%s", n, sizes*logs, &w.stderr)
	}
	peak := w.memory(t, "VmHWM")
	if peak >= 64<<20 {
		t.Errorf("the witness took %d KiB of memory at its peak, expected less than 64 MiB", peak>>10)
	}
	t.Logf("%d served in %v, memory %d KiB before and %d KiB at the peak", served.Load(), took, idle>>10, peak>>10)
	for what, n := range rounds {
		t.Logf("a client that %s: %d times", what, n.Load())
	}
}

// requests makes the bodies of a log's requests, each of one entry more.
func requests(tb testing.TB, l *testlog.Log, from, to int) (bodies [][]byte) {
	tb.Helper()
	for size := from; size < to; size++ {
		bodies = append(bodies, l.Request(tb, uint64(size), uint64(size+1)).Marshal())
	}
	return bodies
}

func ask(tb testing.TB, c *http.Client, address string, body []byte) {
	resp, err := c.Post("http://"+address+"/add-checkpoint", "text/plain", bytes.NewReader(body))
	if err != nil {
		tb.Error(err)
		return
	}
	defer resp.Body.Close()
	lines, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || bytes.Count(lines, []byte("\n")) != 2 {
		tb.Errorf("%s: %v %s", resp.Status, err, lines)
	}
}

// How long one log waits for a witness's two cosignatures, over a connection that is kept.
func BenchmarkCosign(b *testing.B) {
	w := startLoaded(b, 1)
	idle := w.memory(b, "VmRSS")
	c := &http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	bodies := requests(b, w.logs[0], 0, b.N)
	var took []time.Duration
	b.ResetTimer()
	for _, body := range bodies {
		began := time.Now()
		ask(b, c, w.address, body)
		took = append(took, time.Since(began))
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(idle>>10), "idle-KiB")
	b.ReportMetric(float64(w.memory(b, "VmHWM")>>10), "peak-KiB")
}

// How many cosignatures a second a witness makes on one processor, for eight logs at the same time.
func BenchmarkCosignOneProcessor(b *testing.B) {
	const logs = 8
	w := startLoaded(b, logs, "GOMAXPROCS=1")
	bodies := make([][][]byte, logs)
	each := b.N/logs + 1
	for i, l := range w.logs {
		bodies[i] = requests(b, l, 0, each)
	}
	b.ResetTimer()
	began := time.Now()
	var all sync.WaitGroup
	for i := range logs {
		all.Go(func() {
			c := &http.Client{Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for _, body := range bodies[i] {
				ask(b, c, w.address, body)
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(logs*each)/time.Since(began).Seconds(), "cosigned/s")
}
