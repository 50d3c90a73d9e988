package daemon_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/internal/daemon"
	"github.com/pauselog/pauselog/log/checkpoint"
)

func TestChoosePolicy(t *testing.T) {
	f := newFolder(t)
	if _, err := daemon.ChoosePolicy(f, "", false); !errors.Is(err, daemon.ErrNoPolicy) {
		t.Errorf("without a policy: %v", err)
	}
	w, err := checkpoint.GenerateSigner(checkpoint.CosignatureV1, "w.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	logLine := "log " + f.Signers[0].Verifier().String() + "\n"
	file := filepath.Join(t.TempDir(), "policy")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := logLine + "witness w " + w.Verifier().String() + " https://w.example\nquorum w\n"
	for name, text := range map[string]string{
		"malformed":              "quorum\n",
		"another log's":          "log example.org/other+" + strings.SplitN(f.Signers[0].Verifier().String(), "+", 2)[1] + "\nquorum none\n",
		"witnesses without URLs": logLine + "witness w " + w.Verifier().String() + "\nquorum w\n",
	} {
		write(text)
		if _, err := daemon.ChoosePolicy(f, file, false); err == nil {
			t.Errorf("%s: taken", name)
		}
		if b, err := daemon.RecordedPolicy(f); b != nil || err != nil {
			t.Errorf("%s: recorded %q, %v", name, b, err)
		}
	}
	write(good)
	if p, err := daemon.ChoosePolicy(f, file, false); err != nil || p.QuorumNone() {
		t.Errorf("%v, %v", p, err)
	}
	if p, err := daemon.ChoosePolicy(f, file, true); err != nil || p != nil {
		t.Errorf("without witnesses it is %v, %v", p, err)
	}
	if b, err := daemon.RecordedPolicy(f); b != nil || err != nil {
		t.Errorf("recorded before it was served with: %q, %v", b, err)
	}
}

// A log that had witnesses does not come back without them because somebody forgot a flag.
func TestServedPolicyIsKept(t *testing.T) {
	w := newWitnessed(t)
	s := start(t, w.config())
	w.submit(s.client(t), 0)
	s.stop(t)
	if p, err := daemon.ChoosePolicy(w.folder, "", false); err != nil || p.String() != w.policy.String() {
		t.Errorf("a later start has %v, %v", p, err)
	}
	unwitnessed := w.config()
	unwitnessed.Policy = nil
	start(t, unwitnessed).stop(t)
	if p, err := daemon.ChoosePolicy(w.folder, "", false); err != nil || p.String() != w.policy.String() {
		t.Errorf("after a start without witnesses: %v, %v", p, err)
	}
	// What was published is not forgotten because its file is.
	remove(t, filepath.Join(w.folder.Dir, "published"))
	wantRefusal(t, w.config(), "published is gone", "put back the newest copy")
	if p, err := daemon.ChoosePolicy(w.folder, "", false); err != nil || p == nil {
		t.Errorf("%v, %v", p, err)
	}
}
