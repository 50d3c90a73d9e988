package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/proof"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// An operator changes both keys of a log, by the commands and restarts that the manual gives. Every
// reader always has a policy that works, and an old proof is worth what it was.
func TestKeyRotation(t *testing.T) {
	p := newProgram(t)
	policyOf := func(vkeys ...string) *checkpoint.Policy {
		t.Helper()
		policy, err := checkpoint.ParsePolicy([]byte("log " + strings.Join(vkeys, "\nlog ") + "\nquorum none\n"))
		if err != nil {
			t.Fatal(err)
		}
		return policy
	}
	var old []string
	for _, l := range p.policy.Logs() {
		old = append(old, l.Key.String())
	}
	add := func(typ string) string {
		t.Helper()
		return strings.TrimSuffix(p.run("key", "add", "--data", p.data, "--type", typ), "\n")
	}
	submit := func(s *serving, n int) {
		t.Helper()
		if _, err := s.api.Submit(p.authorized(t.Context()), &pb.SubmitRequest{Submission: submission(n)}); err != nil {
			t.Fatal(err)
		}
	}
	end := func(s *serving) {
		t.Helper()
		if code := s.end(syscall.SIGTERM); code != 0 {
			t.Fatalf("exit code %d\n%s", code, s.stderr)
		}
	}
	bundle := func(s *serving, n int) []byte { return get(t, s, "/proof/"+submission(n).Path+".tlog-proof") }
	proves := func(what string, b []byte, want bool, policies ...*checkpoint.Policy) {
		t.Helper()
		bundle, err := proof.Parse(b)
		if err != nil {
			t.Fatalf("%s: %v\n%s", what, err, b)
		}
		for i, policy := range policies {
			o, err := policy.Open(bundle.Checkpoint)
			if err == nil {
				err = bundle.Verify(o.Size, o.Root)
			}
			if (err == nil) != want {
				t.Errorf("%s, policy %d: %v, want accepted: %v", what, i, err, want)
			}
		}
	}

	s := p.serve()
	submit(s, 0)
	first := bundle(s, 0)
	before := get(t, s, "/checkpoint")
	new := []string{add("ed25519"), add("mldsa44")}
	onlyOld, onlyNew, both := policyOf(old...), policyOf(new...), policyOf(append(slices.Clone(old), new...)...)
	retire := func(vkey string) error {
		out, err := exec.Command("pauselogd", "key", "retire", "--data", p.data, "--id", strings.Split(vkey, "+")[1]).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "start the log once first") {
			t.Errorf("%s", out)
		}
		return err
	}
	for _, vkey := range old {
		if retire(vkey) == nil {
			t.Error("a key was retired before the one that follows it has signed")
		}
	}
	submit(s, 1)
	proves("of a log that was not started again", bundle(s, 1), false, onlyNew)
	end(s)

	// Both sign, also what was signed before; nothing has been submitted since.
	s = p.serve()
	overlap := bundle(s, 1)
	proves("by both", overlap, true, onlyOld, onlyNew, both)
	if string(before) == string(get(t, s, "/checkpoint")) {
		t.Error("the checkpoint has not changed")
	}
	for _, vkey := range old { // while it serves
		if err := retire(vkey); err != nil {
			t.Error(err)
		}
	}
	proves("by both, until it is started again", bundle(s, 1), true, onlyOld, onlyNew, both)
	end(s)

	// The newest checkpoint on the disk is by the old key alone: nothing was committed since.
	s = p.serve()
	proves("by the new keys, an old entry", bundle(s, 0), true, onlyNew, both)
	proves("by the new keys, an old entry", bundle(s, 0), false, onlyOld)
	submit(s, 2)
	proves("by the new keys, a new entry", bundle(s, 2), true, onlyNew, both)
	proves("from before", first, true, onlyOld, both)
	proves("from the overlap", overlap, true, onlyOld, onlyNew, both)
	for i, policy := range []*checkpoint.Policy{onlyNew, both} {
		if report, err := client.New(s.conn, policy, nil).Audit(t.Context(), nil); err != nil || report.Violations != 0 || report.Entries != 3 {
			t.Errorf("audit by policy %d: %+v, %v", i, report, err)
		}
	}
	end(s)
	end(p.serve())

	var states []string
	for line := range strings.Lines(p.run("key", "list", "--data", p.data, "--json")) {
		var k struct{ ID, Type, State, Added, Retired, Vkey string }
		if err := json.Unmarshal([]byte(line), &k); err != nil {
			t.Fatal(err)
		}
		if k.Added == "" || (k.Retired != "") != (k.State == "retired") {
			t.Errorf("%+v", k)
		}
		states = append(states, k.State+" "+k.Vkey)
	}
	slices.Sort(states[2:]) // both may have been retired in the same second
	want := []string{"signing " + new[0], "signing " + new[1], "retired " + old[0], "retired " + old[1]}
	slices.Sort(want[2:])
	if !slices.Equal(states, want) {
		t.Errorf("%q, want %q", states, want)
	}
	files, err := os.ReadDir(filepath.Join(p.data, "keys", "retired"))
	if err != nil || len(files) != 2 {
		t.Errorf("%v, %v", files, err)
	}
}

func get(t *testing.T, s *serving, path string) []byte {
	t.Helper()
	r, err := http.Get("http://" + s.http + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v\n%s", path, r.Status, err, b)
	}
	return b
}
