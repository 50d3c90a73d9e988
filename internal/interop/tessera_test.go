package interop

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	flog "github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	fproof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// A tesseraLog is a log of Tessera's, on its POSIX driver, that publishes what the witnesses of its policy
// have cosigned and nothing else. Its entries are those of our logs.
type tesseraLog struct {
	*testing.T
	policy   string
	dir      string
	appender *tessera.Appender
	reader   tessera.LogReader
	awaiter  *tessera.PublicationAwaiter
	requests requests
}

// newTesseraLog runs a log in a folder, which is empty or holds one already.
func newTesseraLog(t *testing.T, dir, skey, policy string) *tesseraLog {
	t.Helper()
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	witnesses, err := tessera.NewWitnessGroupFromPolicy([]byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	l := &tesseraLog{T: t, policy: policy, dir: dir}
	driver, err := posix.New(t.Context(), posix.Config{Path: dir, HTTPClient: &http.Client{Transport: &l.requests}})
	if err != nil {
		t.Fatal(err)
	}
	// It works until this context ends, and does not say when it is done.
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(16, 10*time.Millisecond).
		WithCheckpointInterval(100*time.Millisecond).
		WithWitnesses(witnesses, &tessera.WitnessOptions{Timeout: 10 * time.Second, FailOpen: false})
	if l.appender, _, l.reader, err = tessera.NewAppender(ctx, driver, options); err != nil {
		t.Fatal(err)
	}
	l.awaiter = tessera.NewPublicationAwaiter(ctx, l.reader.ReadCheckpoint, 20*time.Millisecond)
	return l
}

// tesseraFolder is a folder that a log may still write to when the test has ended.
func tesseraFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tessera")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// add has the log sequence an entry, which is not published yet.
func (l *tesseraLog) add(entry []byte) tessera.IndexFuture {
	return l.appender.Add(l.Context(), tessera.NewEntry(entry))
}

// published waits until the entry is published, and returns its index and the checkpoint.
func (l *tesseraLog) published(f tessera.IndexFuture) (uint64, []byte) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), patience)
	defer cancel()
	i, cp, err := l.awaiter.Await(ctx, f)
	if err != nil {
		l.Fatalf("Tessera does not publish: %v", err)
	}
	return i.Index, cp
}

// prove makes a proof bundle from the log's tiles, with Tessera's and its sister project's code.
func (l *tesseraLog) prove(index uint64, entry, checkpoint []byte, size uint64) string {
	l.Helper()
	b, err := client.NewProofBuilder(l.Context(), size, l.reader.ReadTile)
	if err != nil {
		l.Fatal(err)
	}
	hashes, err := b.InclusionProof(l.Context(), index)
	if err != nil {
		l.Fatal(err)
	}
	p := fproof.TLogProof{Index: index, ExtraData: entry, Checkpoint: checkpoint}
	for _, h := range hashes {
		p.Hashes = append(p.Hashes, [sha256.Size]byte(h))
	}
	return string(p.Marshal())
}

// entry is the n-th distribution's, in the form that our logs have.
func entry(n int) []byte {
	path, content := distribution(n)
	return fmt.Appendf(nil, "pauselog/v1\nkind upload\npath %s\nsha256 %x\nsize %d\n"+
		"time 2026-11-22T10:00:00Z\nby EXAMPLE\nseen upload\n", path, sha256.Sum256([]byte(content)), len(content))
}

// requests are what a log has asked its witness: the status of each answer, 0 where there was none.
type requests struct {
	mu       sync.Mutex
	statuses []int
}

func (r *requests) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	status := 0
	if err == nil {
		status = resp.StatusCode
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statuses = append(r.statuses, status)
	return resp, err
}

func (r *requests) all() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.statuses)
}

// A Tessera log publishes with the cosignatures of our witness and never without; a witness that was
// killed goes on from what it cosigned last.
func TestTesseraLog(t *testing.T) {
	skey, vkey, err := note.GenerateKey(rand.Reader, "tessera.example/log")
	if err != nil {
		t.Fatal(err)
	}
	w := newPausewitness(t, "witness.example/one")
	w.addLog(vkey)
	w.serve()
	policy := fmt.Sprintf("log %s\nwitness one %s http://%s\nquorum one\n", vkey, w.vkeys[0], w.listen)
	l := newTesseraLog(t, tesseraFolder(t), skey, policy)
	logKey, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	witnessKey, err := fnote.NewVerifierForCosignatureV1(w.vkeys[0])
	if err != nil {
		t.Fatal(err)
	}

	// check looks at what the log has published: by x/mod, by formats, and by pauselog.
	check := func(n int, f tessera.IndexFuture) {
		t.Helper()
		index, raw := l.published(f)
		signed, err := note.Open(raw, note.VerifierList(logKey, witnessKey))
		if err != nil || len(signed.Sigs) != 2 || len(signed.UnverifiedSigs) != 0 {
			t.Fatalf("signatures of the log and of the witness are needed: %v\n%s", err, raw)
		}
		var cp flog.Checkpoint
		if _, err := cp.Unmarshal([]byte(signed.Text)); err != nil || cp.Origin != logKey.Name() {
			t.Fatalf("%v\n%s", err, raw)
		}
		if at, err := fnote.CoSigV1Timestamp(signed.Sigs[1]); err != nil || at.Unix() <= 0 {
			t.Errorf("the cosignature's time is %v: %v", at, err)
		}
		if index != uint64(n) || cp.Size <= index {
			t.Errorf("entry %d was published at index %d of %d", n, index, cp.Size)
		}
		verifyOffline(t, l.policy, n, l.prove(index, entry(n), raw, cp.Size))
	}

	next := 0
	for ; next < 3; next++ { // three checkpoints, from size 0 on
		check(next, l.add(entry(next)))
	}
	backup := tesseraFolder(t)
	if err := os.CopyFS(backup, os.DirFS(l.dir)); err != nil {
		t.Fatal(err)
	}
	w.process.kill()
	w.serve()
	for ; next < 6; next++ {
		check(next, l.add(entry(next)))
	}
	for i, status := range l.requests.all() {
		if status != http.StatusOK {
			t.Errorf("request %d was answered %d: the witness knows another size than it cosigned", i, status)
		}
	}

	t.Run("waits for the witness", func(t *testing.T) {
		before, err := l.reader.ReadCheckpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.process.kill()
		asked := len(l.requests.all())
		var waiting []tessera.IndexFuture
		for n := next; n < next+3; n++ {
			waiting = append(waiting, l.add(entry(n)))
			if _, err := waiting[len(waiting)-1](); err != nil { // sequenced in this order
				t.Fatal(err)
			}
		}
		eventually(t, "the log asks the witness that is down, again and again", func() error {
			if n := len(l.requests.all()); n < asked+3 {
				return fmt.Errorf("%d requests", n-asked)
			}
			return nil
		})
		if after, err := l.reader.ReadCheckpoint(t.Context()); err != nil || string(after) != string(before) {
			t.Errorf("the log published without its witness: %v\n%s", err, after)
		}
		w.serve()
		for i, f := range waiting {
			check(next+i, f)
		}
	})

	t.Run("cannot fork", func(t *testing.T) {
		fork := newTesseraLog(t, backup, skey, l.policy) // its own backup, of when it had 3 entries
		before, err := fork.reader.ReadCheckpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for n := range 40 { // more than it has now
			fork.add(fmt.Appendf(nil, "another history %d", n))
		}
		eventually(t, "the witness decides about a proof of the fork", func() error {
			s := fork.requests.all()
			if slices.Contains(s, http.StatusOK) {
				t.Fatal("the witness cosigned two histories")
			}
			if !slices.Contains(s, http.StatusUnprocessableEntity) {
				return fmt.Errorf("answers %v", s)
			}
			return nil
		})
		if after, err := fork.reader.ReadCheckpoint(t.Context()); err != nil || string(after) != string(before) {
			t.Errorf("the fork was published: %v\n%s", err, after)
		}
	})
}
