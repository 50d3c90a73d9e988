package main

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
)

// What the manual says about restored folders, lost state and lying witnesses, with the real programs.
// Each refusal says both sizes and what to do.

// Folder and head restored together: the log itself cannot see that, its witnesses do.
func TestLogRestoredWithItsHead(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.startAll()
	n.publish(0, 3)
	n.log.stop(t)
	older, newest := filepath.Join(t.TempDir(), "older"), filepath.Join(t.TempDir(), "newest")
	copyAll(t, n.dir, older)
	n.startLog()
	n.publish(3, 8)
	n.log.stop(t)
	copyAll(t, n.dir, newest)

	restore(t, older, n.dir)
	want := []string{"it has cosigned size 8 of this log, which has only signed up to size 3", "The log's newest checkpoint is of size 3, root ",
		"put back the newest copies", "the data folder and its head", "deploy/OPERATING.md"}
	n.refused("an older copy of folder and head", want...)
	n.refused("the same again", want...)
	// One witness alone suffices to notice it.
	restore(t, older, n.dir)
	n.witnesses[0].process.stop(t)
	n.witnesses[2].process.stop(t)
	n.refused("with one witness that can be asked", want...)
	n.witnesses[0].start(t)
	n.witnesses[2].start(t)

	restore(t, newest, n.dir)
	n.startLog()
	if a := n.publish(8, 9); a.index != 8 {
		t.Errorf("after the newest copy was put back a file is entry %d", a.index)
	}
	n.noneSetAside()
}

// restoredWitness has a witness miss what it cosigned: older and newest are copies of its folder and
// head, and the log has cosigned sizes of 2 and 6 with it.
func restoredWitness(t *testing.T) (n *network, w *witnessProgram, older, newest string) {
	n = newNetwork(t)
	n.startAll()
	w = n.witnesses[0]
	cosigned := fmt.Sprintf("pauselog_witness_size{witness=%q}", w.name)
	n.publish(0, 2)
	n.awaitMetric(cosigned, 2)
	w.process.stop(t)
	older, newest = filepath.Join(t.TempDir(), "older"), filepath.Join(t.TempDir(), "newest")
	copyAll(t, w.dir, older)
	w.start(t)
	n.publish(2, 6)
	n.awaitMetric(cosigned, 6)
	w.process.stop(t)
	copyAll(t, w.dir, newest)
	return n, w, older, newest
}

func TestWitnessFolderRestored(t *testing.T) {
	t.Parallel()
	n, w, older, newest := restoredWitness(t)
	restore(t, filepath.Join(older, "state"), w.data)
	code, _, stderr := tryProgram(t, "pausewitness", "serve", "--data", w.data, "--listen", w.address)
	if code != exitError {
		t.Errorf("exit code %d", code)
	}
	n.says("a witness whose folder was restored", stderr, "refusing to start", "the folder is at change ", "and the head file at change ",
		"an older copy", "Put back the newest copy of the folder")
	var folder, head int
	if i := strings.Index(stderr, "the folder is at change "); i < 0 {
		t.Error("it does not say how old it is")
	} else if _, err := fmt.Sscanf(stderr[i:], "the folder is at change %d, with 1 logs, and the head file at change %d", &folder, &head); err != nil || folder >= head {
		t.Errorf("folder %d, head %d: %v", folder, head, err)
	}
	n.publish(6, 8) // the others are enough
	restore(t, newest, w.dir)
	w.start(t)
	n.awaitMetric(fmt.Sprintf("pauselog_witness_size{witness=%q}", w.name), 8)
	n.noneSetAside()
}

// A witness whose folder and head were restored cannot know. The log does.
func TestWitnessRestoredWithItsHead(t *testing.T) {
	t.Parallel()
	n, w, older, newest := restoredWitness(t)
	restore(t, older, w.dir)
	w.start(t)
	n.publish(6, 7)
	n.awaitMetric(setAside(w, "lost"), 1)
	n.says("the journal", n.log.stderr.String(), "level=ERROR msg=\"a witness has lost its state", "must leave the policies", "witness=w0.example",
		"it has cosigned size 6, and says that size 2 was the last")
	n.publish(7, 9)
	n.noneSetAside(w)

	// It stays so, also when it comes back with what it had, and when the log is started again.
	w.process.stop(t)
	restore(t, newest, w.dir)
	w.start(t)
	n.log.stop(t)
	n.startLog()
	n.publish(9, 10)
	if v, err := n.metric(setAside(w, "lost")); err != nil || v != 1 {
		t.Errorf("after a new start %s is %v, %v", setAside(w, "lost"), v, err)
	}
	n.noneSetAside(w)
}

// A liar stands at a witness's address and answers what it likes.
type liar struct {
	add        http.HandlerFunc
	checkpoint string // what it shows; "" for nothing
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/add-checkpoint":
		l.add(w, r)
	case l.checkpoint != "" && r.URL.Path == fmt.Sprintf("/%x/checkpoint", sha256.Sum256([]byte(testOrigin))):
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, l.checkpoint)
	default:
		http.NotFound(w, r)
	}
}

func namesSize(size int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/x.tlog.size")
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintln(w, size)
	}
}

func refusesTree(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "the proof does not prove it", http.StatusUnprocessableEntity)
}

// replace ends a witness and lets a liar answer in its place, until the returned function is called.
func (n *network) replace(w *witnessProgram, by *liar) (end func()) {
	n.t.Helper()
	w.process.stop(n.t)
	l, err := net.Listen("tcp", w.address)
	if err != nil {
		n.t.Fatal(err)
	}
	s := &http.Server{Handler: by}
	go s.Serve(l)
	n.t.Cleanup(func() { s.Close() })
	return func() { s.Close() }
}

// evidence returns what the log kept of what witnesses showed against it.
func (n *network) evidence() string {
	n.t.Helper()
	files, err := filepath.Glob(filepath.Join(n.data, "evidence", "witness-*.txt"))
	if err != nil {
		n.t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			n.t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

// The word of one witness cannot stop the log once it runs; it raises an alarm.
func TestLyingWitness(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		add        http.HandlerFunc
	}{
		{"a larger size", "it has cosigned size 1000 of this log, which has only signed up to size 4", namesSize(1000)},
		{"another tree", "it refuses that this log's tree of size 4 goes on from the one of size 3 that it cosigned", refusesTree},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			n.startAll()
			n.publish(0, 3)
			w := n.witnesses[1]
			n.awaitMetric(fmt.Sprintf("pauselog_witness_size{witness=%q}", w.name), 3)
			n.replace(w, &liar{add: tt.add})
			n.publish(3, 4)
			n.awaitMetric(setAside(w, "accuses"), 1)
			n.says("the journal", n.log.stderr.String(), `level=ERROR msg="a witness contradicts this log" witness=w1.example`, tt.says, "proven=false", "evidence=")
			n.says("the evidence", n.evidence(), "The witness w1.example (http://"+w.address+") contradicts the log "+testOrigin, tt.says, "The newest checkpoint of the log:\n\n"+testOrigin+"\n4\n")
			n.publish(4, 7)
			n.log.stop(t)
			n.startLog()
			n.publish(7, 8)
			if v, err := n.metric(setAside(w, "accuses")); err != nil || v != 1 {
				t.Errorf("after a new start %s is %v, %v", setAside(w, "accuses"), v, err)
			}
			n.noneSetAside(w)
		})
	}
}

// stolen signs a checkpoint with the log's own key, read from its folder.
func (n *network) stolen(c checkpoint.Checkpoint) string {
	n.t.Helper()
	files, err := filepath.Glob(filepath.Join(n.data, "keys", "*.key"))
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			n.t.Fatal(err)
		}
		k, err := checkpoint.ParseSignerKey(strings.TrimSuffix(string(b), "\n"))
		if err != nil {
			n.t.Fatal(err)
		}
		if k.Verifier().Algorithm() != checkpoint.Ed25519 {
			continue
		}
		s, err := k.Sign(c, 1)
		if err != nil {
			n.t.Fatal(err)
		}
		return string(checkpoint.Note{Text: c.Text()}.With(s).Marshal())
	}
	n.t.Fatal("the log has no Ed25519 key")
	return ""
}

// overrideNewest writes the operator's word that the newest checkpoint is the newest that there ever was.
func (n *network) overrideNewest(size int, root string) {
	write(n.t, filepath.Join(n.data, "override"), fmt.Sprintf("pauselog-override/v1\norigin %s\nsize %d\nroot %s\n", testOrigin, size, root))
}

// What stops the log is a checkpoint with its own signature that contradicts its tree: it then signs
// nothing more until its operator has decided.
func TestWitnessShowsAFork(t *testing.T) {
	other := tree.LeafHash([]byte("of another history"))
	for _, tt := range []struct {
		name string
		size uint64
		add  http.HandlerFunc
		says string
	}{
		{"of a larger size", 1000, namesSize(1000), "shows a checkpoint of size 1000 that this log signed, which holds 4 entries"},
		{"of the same size", 3, refusesTree, "shows a checkpoint of size 3 that this log signed, with root " + other.String() + ", while its tree of that size has root "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			n.startAll()
			n.publish(0, 3)
			w := n.witnesses[2]
			n.awaitMetric(fmt.Sprintf("pauselog_witness_size{witness=%q}", w.name), 3)
			fork := n.stolen(checkpoint.Checkpoint{Origin: testOrigin, Size: tt.size, Root: other})
			n.replace(w, &liar{add: tt.add, checkpoint: fork})
			// The log may end before it answers.
			_, _ = n.submit(t.Context(), 3, sequenced)
			n.log.end(t)
			if code := n.log.cmd.ProcessState.ExitCode(); code != exitError {
				t.Errorf("exit code %d", code)
			}
			what := []string{"witnesses contradict this log", "w2.example", tt.says, "The log's newest checkpoint is of size 4, root ", "put back the newest copies", "override it for one start"}
			n.says("when it stops", n.log.stderr.String(), append(what, "proven=true")...)
			n.says("the evidence", n.evidence(), fork)
			root, _, ok := strings.Cut(after(n.log.stderr.String(), "The log's newest checkpoint is of size 4, root "), ".")
			if !ok {
				t.Fatal("it does not say the root of its newest checkpoint")
			}

			n.refused("started again", "witnesses contradict this log", "w2.example", "newest checkpoint is of size 4, root "+root, "put back the newest copies", "override")

			// Also without the witness in the policy: what it showed was signed with the log's key.
			kept := n.keepPolicy()
			n.writePolicy(n.vkeys, "group quorum 2 w0 w1", n.witnesses[:2]...)
			n.refused("with the witness taken out of the policy", "witnesses contradict this log", "w2.example", "newest checkpoint is of size 4, root "+root)
			write(t, n.policy, read(t, kept))

			n.overrideNewest(3, root)
			n.refused("with an override of another size", "size 3", "size 4", "for another log or tree")
			n.overrideNewest(4, root)
			n.startLog()
			n.publish(4, 6)
			n.awaitMetric(setAside(w, "accuses"), 1)
			n.noneSetAside(w)
			n.log.stop(t)
			if _, err := os.Stat(filepath.Join(n.data, "override")); !os.IsNotExist(err) {
				t.Errorf("the override was not used up: %v", err)
			}
			// The operator has decided about what this witness showed; it stays set aside.
			n.startLog()
			if a := n.publish(6, 7); a.index != 6 {
				t.Errorf("after the override a file is entry %d", a.index)
			}
			n.awaitMetric(setAside(w, "accuses"), 1)
		})
	}
}

func after(text, prefix string) string {
	_, rest, _ := strings.Cut(text, prefix)
	return rest
}
