package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A pausewitness is our witness.
type pausewitness struct {
	*testing.T
	data    string
	vkeys   []string // Ed25519 (0x04), ML-DSA-44 (0x06)
	env     []string
	process *process

	listen  string // kept over restarts
	bastion string // the witness's URL at its bastion
}

func newPausewitness(t *testing.T, name string) *pausewitness {
	t.Helper()
	w := &pausewitness{T: t, data: filepath.Join(t.TempDir(), "witness"), env: environment(t), listen: "127.0.0.1:0"}
	w.vkeys = strings.Fields(runProgram(t, "pausewitness", "init", "--data", w.data, "--name", name))
	if len(w.vkeys) != 2 {
		t.Fatalf("pausewitness init printed %q: expected two verifier keys", w.vkeys)
	}
	return w
}

func (w *pausewitness) addLog(vkeys ...string) {
	w.Helper()
	args := []string{"log", "add", "--data", w.data}
	for _, k := range vkeys {
		args = append(args, "--vkey", k)
	}
	runProgram(w.T, "pausewitness", args...)
}

// serve starts the witness: on the address that it had before, or with other flags.
func (w *pausewitness) serve(flags ...string) {
	w.Helper()
	if flags == nil {
		flags = []string{"--listen", w.listen}
	}
	w.process = start(w.T, w.env, "pausewitness", append([]string{"serve", "--data", w.data}, flags...)...)
	var ready struct{ Listen, Bastion string }
	w.process.ready(w.T, &ready)
	w.listen, w.bastion = ready.Listen, ready.Bastion
}

// A pauselogd is our log.
type pauselogd struct {
	*testing.T
	origin, data, token string
	vkeys               []string // Ed25519 (0x01) first
	policy, policyFile  string   // its text, and where that is
	env                 []string
	process             *process

	grpc, url string // of its API, and of its static reads
}

func newPauselogd(t *testing.T, origin string) *pauselogd {
	t.Helper()
	l := &pauselogd{T: t, origin: origin, data: filepath.Join(t.TempDir(), "log"), env: environment(t)}
	l.vkeys = strings.Fields(runProgram(t, "pauselogd", "init", "--data", l.data, "--origin", origin))
	l.token = writeFile(t, "token", runProgram(t, "pauselogd", "token", "create", "--data", l.data, "--name", "test"))
	return l
}

// serve starts the log with these witnesses of its policy: lines of C2SP tlog-policy, with a quorum.
func (l *pauselogd) serve(witnesses string) {
	l.Helper()
	l.policy = "log " + l.vkeys[0] + "\n" + witnesses
	l.policyFile = writeFile(l.T, "policy", l.policy)
	l.process = start(l.T, l.env, "pauselogd", "serve", "--data", l.data, "--policy", l.policyFile,
		"--witness-budget", "0", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
	var ready struct{ GRPC, HTTP string }
	l.process.ready(l.T, &ready)
	l.grpc, l.url = "grpc://"+ready.GRPC, "http://"+ready.HTTP
}

// submit submits the first distributions, of which the log need not publish more than it is asked for.
func (l *pauselogd) submit(count int) {
	l.Helper()
	root := l.TempDir()
	args := []string{"submit", "--server", l.grpc, "--token-file", l.token, "--policy", l.policyFile,
		"--root", root, "--wait", "sequenced"}
	for n := range count {
		path, content := distribution(n)
		file := filepath.Join(root, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			l.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			l.Fatal(err)
		}
		args = append(args, file)
	}
	l.submitAgain(args...)
}

// submitAgain submits until the log takes it: one that has started says to come back until its witnesses have
// answered.
func (l *pauselogd) submitAgain(args ...string) {
	l.Helper()
	eventually(l.T, "the log takes submissions", func() error {
		_, code, err := tryProgram(l.T, "pauselog", args...)
		if err != nil && code != unreachable {
			l.Fatal(err)
		}
		return err
	})
}

const unreachable = 13 // exit code of pauselog

// publish submits the n-th distribution, waits until it is published, and verifies the proof that comes back
// without a connection. It returns the proof.
func (l *pauselogd) publish(n int) string {
	l.Helper()
	path, content := distribution(n)
	file := writeFile(l.T, filepath.Base(path), content)
	l.submitAgain("submit", "--server", l.grpc, "--token-file", l.token, "--policy", l.policyFile,
		"--path", path, "--wait", "published", "--write-proofs", file)
	proof, err := os.ReadFile(file + ".tlog-proof")
	if err != nil {
		l.Fatal(err)
	}
	verifyOffline(l.T, l.policy, n, string(proof))
	return string(proof)
}

// verifyOffline has pauselog decide by a proof and a policy alone that the n-th distribution is logged.
func verifyOffline(t *testing.T, policy string, n int, proof string) {
	t.Helper()
	path, content := distribution(n)
	out := runProgram(t, "pauselog", "verify", "--json", "--offline", "--policy", writeFile(t, "policy", policy),
		"--path", path, "--proof", writeFile(t, "proof", proof), writeFile(t, "file", content))
	if !strings.Contains(out, `"outcome":"verified"`) {
		t.Errorf("pauselog verify: %s", out)
	}
}
