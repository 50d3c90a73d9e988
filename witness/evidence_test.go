package witness

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/log/verify"
)

// files returns the files of evidence with a suffix.
func (w *world) files(suffix string) (names []string) {
	w.t.Helper()
	names, err := filepath.Glob(filepath.Join(w.evidence, "*"+suffix))
	if err != nil {
		w.t.Fatal(err)
	}
	return names
}

func TestContradictionIsKeptWhateverIsAnswered(t *testing.T) {
	fork := newLog(t, origin, 5)
	for name, tt := range map[string]struct {
		old    uint64
		status int
	}{
		"with the right old size": {8, 422},
		"with an old size behind": {0, 409},
		"with an old size ahead":  {9, 400},
	} {
		w := newWorld(t)
		w.cosign(body(0, nil, w.log.note(8, w.log.ed, w.log.mldsa)))
		for range 3 { // the same file once, by whichever lines
			note := added(t, fork.note(8, fork.ed, fork.mldsa), sign(t, key(t, checkpoint.CosignatureV1, "other.example/w", 5), fork.checkpoint(8), 77))
			if _, err := w.post(body(tt.old, nil, note)); status(err) != tt.status {
				t.Errorf("%s: %v", name, err)
			}
			w.restart()
		}
		files := w.files("")
		if len(files) != 1 || !strings.HasPrefix(filepath.Base(files[0]), w.log.hash()+"-8-") || !strings.HasSuffix(files[0], ".evidence") {
			t.Fatalf("%s: %v", name, files)
		}
		b, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		// Whoever has the log's key can check it.
		e, err := verify.ParseEvidence(b)
		if err != nil || e.Kind() != verify.Roots {
			t.Fatalf("%s: %+v, %v", name, e, err)
		}
		p, err := checkpoint.NewPolicy(checkpoint.PolicyLog{Key: w.log.ed.Verifier()})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Check(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(string(b), "other.example/w") || !strings.Contains(string(b), witnessName) {
			t.Errorf("%s: whose cosignatures are below the two is not in it: %s", name, b)
		}
		if n := strings.Count(w.journal.String(), "a log contradicts itself"); n != 1 {
			t.Errorf("%s: it is said %d times", name, n)
		}
	}
}

func TestOtherRootOfSize0IsKept(t *testing.T) {
	w := newWorld(t)
	note := w.log.signed(origin + "\n0\n" + w.log.root(3).String() + "\n")
	w.post(body(0, nil, note))
	w.cosign(w.log.request(0, 8))
	w.post(body(0, nil, note))
	w.post(body(8, nil, note))
	files := w.files("")
	if len(files) != 1 || !strings.HasSuffix(files[0], ".notes") || w.Stats().Logs[0].Contradictions != 3 {
		t.Fatalf("%v, %+v", files, w.Stats())
	}
	if b, err := os.ReadFile(files[0]); err != nil || !bytes.Equal(b, note) {
		t.Errorf("%q, %v", b, err)
	}
}

// Without a valid signature of the log anybody could have made it.
func TestUnsignedContradictionIsNone(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 8))
	fork := newLog(t, origin, 5)
	w.post(body(8, nil, flipped(t, fork.note(8))))
	w.post(body(8, nil, fork.note(8, key(t, checkpoint.Ed25519, origin, 99))))
	w.post(body(8, []tree.Hash{{1}}, flipped(t, w.log.note(12))))
	if s := w.Stats().Logs[0]; len(w.files("")) != 0 || s.Contradictions != 0 || s.Unproven != 0 {
		t.Errorf("%v, %+v", w.files(""), s)
	}
}

func TestEvidenceIsBounded(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 8))
	for i := range int64(7) { // forks at each entry, and then other roots that no tree has
		w.post(body(8, nil, newLog(t, origin, i).note(8)))
	}
	for i := range byte(20) {
		c := checkpoint.Checkpoint{Origin: origin, Size: 8, Root: tree.Hash{i}}
		w.post(body(8, nil, w.log.signed(c.Text())))
		w.post(body(8, []tree.Hash{{i}}, w.log.note(uint64(20+i))))
		if i == 10 {
			w.restart() // which counts what is there
		}
	}
	if n, m := len(w.files(suffixEvidence)), len(w.files(suffixUnproven)); n != maxEvidence || m != maxUnproven {
		t.Errorf("%d contradictions and %d others are kept", n, m)
	}
	if s := w.Stats().Logs[0]; s.Contradictions != 9 || s.Unproven != 9 {
		t.Errorf("since the restart: %+v", s)
	}
	// Another log has its own.
	other := newLog(t, "log.example/other", honest)
	w.add(other)
	w.cosign(other.request(0, 8))
	w.post(body(8, nil, newLog(t, other.origin, 3).note(8)))
	if n := len(w.files(suffixEvidence)); n != maxEvidence+1 {
		t.Errorf("%d contradictions are kept", n)
	}
}

func TestUnprovenNoteIsKeptAsItCame(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 8))
	note := newLog(t, origin, 5).note(12)
	w.post(body(8, []tree.Hash{{1}}, note))
	files := w.files("")
	if len(files) != 1 || !strings.HasPrefix(filepath.Base(files[0]), w.log.hash()+"-12-") {
		t.Fatalf("%v", files)
	}
	if b, err := os.ReadFile(files[0]); err != nil || !bytes.Equal(b, note) {
		t.Errorf("%q, %v", b, err)
	}
}

// Evidence that cannot be written changes no answer.
func TestEvidenceThatCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 8))
	if err := os.RemoveAll(w.evidence); err != nil {
		t.Fatal(err)
	}
	if _, err := w.post(body(8, nil, newLog(t, origin, 5).note(8))); status(err) != 422 {
		t.Errorf("%v", err)
	}
	if !strings.Contains(w.journal.String(), "cannot be written") || w.Stats().Logs[0].Contradictions != 1 {
		t.Errorf("%s", w.journal.String())
	}
}
