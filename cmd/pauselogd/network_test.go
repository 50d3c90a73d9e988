package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const testOrigin = "log.example/pause"

// A network is a log and its witnesses, of which two must cosign, each with its own folder, head and
// address, to which it comes back when it is started again.
type network struct {
	t         testing.TB
	dir       string // of the log: its data folder and its head
	data      string
	head      string
	vkeys     []string
	secret    string
	policy    string // its file
	witnesses []*witnessProgram

	grpc, http, admin string
	log               *process
}

// A witnessProgram is a witness.
type witnessProgram struct {
	name       string
	dir        string // the data folder and the head
	data, head string
	vkeys      []string // Ed25519 first
	address    string
	process    *process
}

// newNetwork makes a log and three witnesses that know it, and starts none of them.
func newNetwork(t testing.TB) *network {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	n := &network{t: t, dir: dir, data: filepath.Join(dir, "log"), head: filepath.Join(dir, "log.head"), policy: filepath.Join(t.TempDir(), "policy"),
		grpc: freeAddress(t), http: freeAddress(t), admin: freeAddress(t)}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	n.vkeys = strings.Fields(runProgram(t, "pauselogd", "init", "--data", n.data, "--origin", testOrigin))
	n.secret = strings.TrimSpace(runProgram(t, "pauselogd", "token", "create", "--data", n.data, "--name", "test"))
	for i := range 3 {
		n.witnesses = append(n.witnesses, newWitnessProgram(t, fmt.Sprintf("w%d.example", i), n.vkeys))
	}
	n.writePolicy(n.vkeys, "group quorum 2 w0 w1 w2", n.witnesses...)
	return n
}

func newWitnessProgram(t testing.TB, name string, logKeys []string) *witnessProgram {
	t.Helper()
	w := &witnessProgram{name: name, dir: filepath.Join(t.TempDir(), "witness"), address: freeAddress(t)}
	w.data, w.head = filepath.Join(w.dir, "state"), filepath.Join(w.dir, "head")
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.vkeys = strings.Fields(runProgram(t, "pausewitness", "init", "--data", w.data, "--head", w.head, "--name", name))
	args := []string{"log", "add", "--data", w.data}
	for _, k := range logKeys {
		args = append(args, "--vkey", k)
	}
	runProgram(t, "pausewitness", args...)
	return w
}

func (w *witnessProgram) start(t testing.TB) {
	t.Helper()
	w.process = startProcess(t, "pausewitness", "serve", "--data", w.data, "--listen", w.address)
	w.process.ready(t)
}

// lines are a witness's lines in a policy, and the group that makes its two keys one operator.
func (w *witnessProgram) lines(label string) string {
	return fmt.Sprintf("witness %[1]s-ed %[2]s http://%[4]s\nwitness %[1]s-ml %[3]s http://%[4]s\ngroup %[1]s any %[1]s-ed %[1]s-ml\n", label, w.vkeys[0], w.vkeys[1], w.address)
}

// writePolicy writes the policy of the log and its readers; group defines the group "quorum" of w0, w1, ...
func (n *network) writePolicy(logKeys []string, group string, witnesses ...*witnessProgram) {
	n.t.Helper()
	var b strings.Builder
	for _, k := range logKeys {
		fmt.Fprintf(&b, "log %s\n", k)
	}
	for i, w := range witnesses {
		b.WriteString(w.lines(fmt.Sprintf("w%d", i)))
	}
	fmt.Fprintf(&b, "%s\nquorum quorum\n", group)
	write(n.t, n.policy, b.String())
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (n *network) serveArgs() []string {
	return []string{"serve", "--data", n.data, "--policy", n.policy, "--witness-budget", "0", "--witness-timeout", "1s",
		"--grpc", n.grpc, "--http", n.http, "--admin", n.admin}
}

func (n *network) startLog() {
	n.t.Helper()
	n.log = startProcess(n.t, "pauselogd", n.serveArgs()...)
	n.log.ready(n.t)
}

// startAll starts all witnesses and the log.
func (n *network) startAll() {
	n.t.Helper()
	for _, w := range n.witnesses {
		w.start(n.t)
	}
	n.startLog()
}

// refused starts the log, which must end with exit code 1 and say all of this.
func (n *network) refused(what string, want ...string) {
	n.t.Helper()
	p := startProcess(n.t, "pauselogd", n.serveArgs()...)
	select {
	case <-p.ended:
	case <-time.After(patience / 2):
		p.kill(n.t)
		n.t.Errorf("%s: it does not refuse to start\n%s", what, p.stderr)
		return
	}
	if code := p.cmd.ProcessState.ExitCode(); code != exitError {
		n.t.Errorf("%s: exit code %d\n%s", what, code, p.stderr)
	}
	n.says(what, p.stderr.String(), want...)
}

func (n *network) says(what, text string, want ...string) {
	n.t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			n.t.Errorf("%s: it does not say %q:\n%s", what, w, text)
		}
	}
}

// file is the n-th file that is logged.
func file(n int) (path, content string) {
	return fmt.Sprintf("authors/id/E/ET/ETHER/File-%d.tar.gz", n), fmt.Sprintf("file %d\n", n)
}

// An answered is what the log answered to a submission.
type answered struct {
	path, sum string
	index     uint64
	leaf      []byte
	entry     string
	bundle    string // if it waited to be published
}

// A refusal is an error of the API.
type refusal struct{ Code, Reason, Message string }

func (r *refusal) Error() string { return r.Reason + ": " + r.Message }

// submit submits one file once.
func (n *network) submit(ctx context.Context, number int, wait string) (*answered, error) {
	path, content := file(number)
	a := &answered{path: path, sum: fmt.Sprintf("%x", sha256.Sum256([]byte(content)))}
	body, err := json.Marshal(map[string]any{"wait": wait, "submission": map[string]any{"kind": "upload", "path": path, "sha256": a.sum,
		"size": len(content), "time": time.Now().UTC().Format(time.RFC3339), "by": "ETHER", "seen": "upload"}})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.http+"/pauselog.v1.Log/Submit", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+n.secret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var r struct {
		Error  *refusal
		Result struct {
			Index         string
			LeafHash      []byte `json:"leaf_hash"`
			Entry, Bundle string
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		return nil, fmt.Errorf("%s: %w", resp.Status, err)
	}
	if r.Error != nil {
		return nil, r.Error
	}
	if a.index, err = strconv.ParseUint(r.Result.Index, 10, 63); err != nil {
		return nil, err
	}
	a.leaf, a.entry, a.bundle = r.Result.LeafHash, r.Result.Entry, r.Result.Bundle
	return a, nil
}

const (
	sequenced = "WAIT_SEQUENCED"
	published = "WAIT_PUBLISHED"
)

// publish submits files until each is published, and returns the answer to the last.
func (n *network) publish(from, to int) (a *answered) {
	n.t.Helper()
	for number := from; number < to; number++ {
		eventually(n.t, fmt.Sprintf("file %d", number), func() (err error) {
			a, err = n.submit(n.t.Context(), number, published)
			return err
		})
	}
	return a
}

// fetch reads a URL.
func fetch(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, b)
	}
	return string(b), err
}

// metric reads a figure of the log.
func (n *network) metric(name string) (float64, error) {
	text, err := fetch(n.t.Context(), "http://"+n.admin+"/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("the log has no metric %s", name)
}

// awaitMetric waits until a figure is at least this.
func (n *network) awaitMetric(name string, least float64) {
	n.t.Helper()
	eventually(n.t, name, func() error {
		v, err := n.metric(name)
		if err == nil && v < least {
			err = fmt.Errorf("it is %v, expected at least %v\n%s", v, least, n.log.stderr)
		}
		return err
	})
}

func setAside(w *witnessProgram, why string) string {
	return fmt.Sprintf("pauselog_witness_set_aside{why=%q,witness=%q}", why, w.name)
}

// noneSetAside makes sure that no witness was set aside but these.
func (n *network) noneSetAside(but ...*witnessProgram) {
	n.t.Helper()
	for _, w := range n.witnesses {
		if slices.Contains(but, w) {
			continue
		}
		for _, why := range []string{"accuses", "lost"} {
			if v, err := n.metric(setAside(w, why)); err != nil || v != 0 {
				n.t.Errorf("%s is %v, %v", setAside(w, why), v, err)
			}
		}
	}
}

// restore brings a folder back as it was.
func restore(t *testing.T, from, to string) {
	t.Helper()
	remove(t, to)
	copyAll(t, from, to)
}
