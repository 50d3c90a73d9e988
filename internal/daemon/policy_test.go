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

// A log that had witnesses does not come back without them because somebody forgot a flag.
func TestPolicyIsKeptInTheFolder(t *testing.T) {
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
	if p, err := daemon.ChoosePolicy(f, "", false); err != nil || p == nil || p.QuorumNone() {
		t.Errorf("a later start has %v, %v", p, err)
	}
	if p, err := daemon.ChoosePolicy(f, "", true); err != nil || p != nil {
		t.Errorf("a start without witnesses has %v, %v", p, err)
	}
	if p, err := daemon.ChoosePolicy(f, "", false); err != nil || p == nil {
		t.Errorf("after a start without witnesses: %v, %v", p, err)
	}
	write(logLine + "quorum none\n")
	if p, err := daemon.ChoosePolicy(f, file, false); err != nil || !p.QuorumNone() {
		t.Errorf("%v, %v", p, err)
	}
	if b, err := daemon.RecordedPolicy(f); err != nil || string(b) != logLine+"quorum none\n" {
		t.Errorf("recorded %q, %v", b, err)
	}
}
