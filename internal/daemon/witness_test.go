package daemon_test

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/daemon"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/frontend"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
	"github.com/pauselog/pauselog/witness"
	"github.com/pauselog/pauselog/witness/protocol"
	witnessserver "github.com/pauselog/pauselog/witness/server"
	"github.com/pauselog/pauselog/witness/state"
)

// A localWitness is a real witness on a loopback address, which it keeps while it is down.
type localWitness struct {
	testing.TB
	name, dir, head, address string
	keys                     []*checkpoint.SignerKey
	state                    *state.State
	server                   *witnessserver.Server
}

func newWitness(t testing.TB, name string, f *datafolder.Folder) *localWitness {
	t.Helper()
	dir := t.TempDir()
	w := &localWitness{TB: t, name: name, dir: filepath.Join(dir, "state"), head: filepath.Join(dir, "head"), address: local}
	for _, a := range []checkpoint.Algorithm{checkpoint.CosignatureV1, checkpoint.MLDSA44} {
		k, err := checkpoint.GenerateSigner(a, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.keys = append(w.keys, k)
	}
	if err := state.Init(w.dir, w.head, name); err != nil {
		t.Fatal(err)
	}
	w.start()
	if _, err := w.state.Add(f.Origin, []*checkpoint.VerifierKey{f.Signers[0].Verifier()}, 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	return w
}

func (w *localWitness) start() {
	w.Helper()
	var err error
	if w.state, err = state.Open(w.dir, w.head, w.name, nil); err != nil {
		w.Fatal(err)
	}
	var signers []witness.Signer
	for _, k := range w.keys {
		signers = append(signers, k)
	}
	c, err := witness.New(witness.Config{State: w.state, Signers: signers})
	if err != nil {
		w.Fatal(err)
	}
	if w.server, err = witnessserver.New(witnessserver.Config{Cosigner: c}); err != nil {
		w.Fatal(err)
	}
	l, err := net.Listen("tcp", w.address)
	if err != nil {
		w.Fatal(err)
	}
	w.address = l.Addr().String()
	go w.server.Serve(l)
}

func (w *localWitness) stop() {
	if w.server == nil {
		return
	}
	w.server.Close()
	if err := w.state.Close(); err != nil {
		w.Error(err)
	}
	w.server = nil
}

// copy keeps what a folder and its head hold now, and put brings it back.
func (w *localWitness) copy(to string) { copyTree(w, filepath.Dir(w.dir), to) }
func (w *localWitness) put(from string) {
	if err := os.RemoveAll(w.dir); err != nil {
		w.Fatal(err)
	}
	if err := os.Remove(w.head); err != nil {
		w.Fatal(err)
	}
	copyTree(w, from, filepath.Dir(w.dir))
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if !d.Type().IsRegular() {
			return nil // a socket
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// policyOf is a policy that needs two of these witnesses.
func policyOf(t testing.TB, f *datafolder.Folder, witnesses ...*localWitness) *checkpoint.Policy {
	t.Helper()
	text, group := "", ""
	for _, k := range f.Signers {
		text += fmt.Sprintf("log %v\n", k.Verifier())
	}
	for i, w := range witnesses {
		text += fmt.Sprintf("witness w%[1]d-ed %[2]v http://%[4]s\nwitness w%[1]d-ml %[3]v http://%[4]s\ngroup w%[1]d any w%[1]d-ed w%[1]d-ml\n", i, w.keys[0].Verifier(), w.keys[1].Verifier(), w.address)
		group += fmt.Sprintf(" w%d", i)
	}
	p, err := checkpoint.ParsePolicy([]byte(text + "group all 2" + group + "\nquorum all\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A witnessed log with three witnesses.
type witnessed struct {
	*testing.T
	folder    *datafolder.Folder
	witnesses []*localWitness
	policy    *checkpoint.Policy
}

func newWitnessed(t *testing.T) *witnessed {
	w := &witnessed{T: t, folder: newFolder(t)}
	for i := range 3 {
		w.witnesses = append(w.witnesses, newWitness(t, fmt.Sprintf("w%d.example", i), w.folder))
	}
	w.policy = policyOf(t, w.folder, w.witnesses...)
	return w
}

func (w *witnessed) config() daemon.Config {
	c := config(w.folder)
	c.Policy = w.policy
	return c
}

// submit logs an upload, waits until it is published, and checks its bundle.
func (w *witnessed) submit(c pb.LogClient, n int) uint64 {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	for {
		r, err := c.Submit(ctx, &pb.SubmitRequest{Submission: upload(n), Wait: pb.Wait_WAIT_PUBLISHED})
		if reason, _, _ := frontend.Reason(err); (reason == frontend.Held || reason == frontend.Unpublished) && ctx.Err() == nil {
			continue // what a submitter does: the log asks its witnesses, which takes milliseconds
		}
		if err != nil {
			w.Fatal(err)
		}
		b, err := proof.Parse([]byte(r.Result.Bundle))
		if err != nil {
			w.Fatal(err)
		}
		o, err := w.policy.Open(b.Checkpoint)
		if err != nil {
			w.Fatalf("the bundle's checkpoint: %v", err)
		}
		if err := b.Verify(o.Checkpoint.Size, o.Checkpoint.Root); err != nil {
			w.Fatal(err)
		}
		return r.Result.Index
	}
}

func TestBundlesOfAWitnessedLogHaveTheQuorum(t *testing.T) {
	w := newWitnessed(t)
	s := start(t, w.config())
	c := s.client(t)
	for n := range 5 {
		w.submit(c, n)
	}
	// The static reads and the API show the same.
	_, note := read(t, "http://"+s.HTTP+"/checkpoint")
	o, err := w.policy.Open([]byte(note))
	if err != nil || o.Checkpoint.Size != 5 || len(o.LogKeys) != 2 {
		t.Fatalf("/checkpoint: %v, %+v", err, o)
	}
	if s := o.Note.Signatures; s[0].Name != origin || s[1].Name != origin || s[2].Name == origin {
		t.Errorf("the log's own lines are not the first: %s", note)
	}
	e, err := entry.ParseDigest(upload(2).Sha256)
	if err != nil {
		t.Fatal(err)
	}
	_, text := read(t, "http://"+s.HTTP+"/proof/"+upload(2).Path+".tlog-proof")
	b, err := proof.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.policy.Open(b.Checkpoint); err != nil || !strings.Contains(string(b.Entry), e.String()) {
		t.Errorf("%v: %s", err, b.Entry)
	}
	_, metrics := read(t, "http://"+s.Admin+"/metrics")
	for _, line := range []string{`pauselog_witness_size{witness="w0.example"} `, `pauselog_witness_answers_total{outcome="cosigned",witness="w1.example"} `, "pauselog_held 0\n", `pauselog_witness_set_aside{why="accuses",witness="w2.example"} 0`, `pauselog_rounds_total{quorum="met"} `, "pauselog_published_size 5\n"} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics have no %q", line)
		}
	}
	if strings.Contains(metrics, `outcome="accuses",witness="w0.example"} 1`) {
		t.Error("a witness accuses the log")
	}
}

// Two of three down: what is submitted is durable and sequenced, and published once one is back.
func TestWitnessesDown(t *testing.T) {
	w := newWitnessed(t)
	s := start(t, w.config())
	c := s.client(t)
	w.submit(c, 0)
	w.witnesses[0].stop()
	w.submit(c, 1)
	w.witnesses[1].stop()
	for n := 2; n < 10; n++ {
		r, err := c.Submit(t.Context(), &pb.SubmitRequest{Submission: upload(n), Wait: pb.Wait_WAIT_SEQUENCED})
		if err != nil || r.Result.Index != uint64(n) {
			t.Fatalf("%v, %v", r, err)
		}
	}
	// Readers stay where they were.
	_, err := c.GetEntry(t.Context(), &pb.GetEntryRequest{Index: 2})
	if reason, _, _ := frontend.Reason(err); reason != frontend.Pending {
		t.Errorf("an unpublished entry: %v", err)
	}
	_, note := read(t, "http://"+s.HTTP+"/checkpoint")
	if o, err := w.policy.Open([]byte(note)); err != nil || o.Checkpoint.Size != 2 {
		t.Errorf("published: %v, %v", o, err)
	}
	stream, err := c.WatchCheckpoints(t.Context(), &pb.WatchCheckpointsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	w.witnesses[0].start()
	for {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		o, err := w.policy.Open([]byte(m.Checkpoint))
		if err != nil {
			t.Fatal(err)
		}
		if o.Checkpoint.Size == 10 {
			break
		}
	}
	if n := w.submit(c, 7); n != 7 {
		t.Errorf("submitted again it is entry %d", n)
	}
}

// Who waits to be published is told in time that the entry is logged, and gets its proof later.
func TestPublishedTooLate(t *testing.T) {
	w := newWitnessed(t)
	c := w.config()
	c.PublishTime = 200 * time.Millisecond
	s := start(t, c)
	client := s.client(t)
	w.submit(client, 0)
	w.witnesses[0].stop()
	w.witnesses[1].stop()
	_, err := client.Submit(t.Context(), &pb.SubmitRequest{Submission: upload(1), Wait: pb.Wait_WAIT_PUBLISHED})
	reason, message, metadata := frontend.Reason(err)
	if reason != frontend.Unpublished || status.Code(err) != codes.Unavailable || metadata["index"] != "1" || !strings.Contains(message, "nothing is lost") || !strings.Contains(message, "w0.example") {
		t.Errorf("%q, %q, %v", reason, message, metadata)
	}
	// A stream goes on.
	stream, err := client.SubmitStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []string{"", frontend.Unpublished, frontend.Unpublished} {
		if err := stream.Send(&pb.SubmitStreamRequest{Submissions: []*pb.Submission{upload(n)}, Wait: pb.Wait_WAIT_PUBLISHED}); err != nil {
			t.Fatal(err)
		}
		r, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Results[0].GetRefusal().GetReason(); got != want || r.Results[0].Index != uint64(n) || (r.Results[0].Bundle == "") != (want != "") {
			t.Errorf("upload %d: %v", n, r.Results[0])
		}
	}
	w.witnesses[0].start()
	if n := w.submit(client, 1); n != 1 {
		t.Errorf("later it is entry %d", n)
	}
}

// A log that nobody has cosigned yet has nothing to show.
func TestNothingPublishedYet(t *testing.T) {
	w := newWitnessed(t)
	for _, f := range w.witnesses {
		f.stop()
	}
	s := start(t, w.config())
	c := s.client(t)
	if code, text := read(t, "http://"+s.HTTP+"/checkpoint"); code != 503 || !strings.Contains(text, "not published") {
		t.Errorf("/checkpoint: %d %q", code, text)
	}
	_, err := c.GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{})
	if reason, _, _ := frontend.Reason(err); reason != frontend.Unpublished {
		t.Errorf("GetCheckpoint: %v", err)
	}
	_, err = c.Submit(t.Context(), &pb.SubmitRequest{Submission: upload(0), Wait: pb.Wait_WAIT_SEQUENCED})
	if reason, _, _ := frontend.Reason(err); reason != frontend.Held {
		t.Errorf("Submit: %v", err)
	}
	if code, text := read(t, "http://"+s.Admin+"/readyz"); code != 503 || !strings.Contains(text, "witnesses") {
		t.Errorf("/readyz: %d %q", code, text)
	}
	// Held is not broken: what it serves is right.
	if code, text := read(t, "http://"+s.Admin+"/healthz"); code != 200 {
		t.Errorf("/healthz: %d %q", code, text)
	}
	for _, f := range w.witnesses[1:] {
		f.start()
	}
	w.submit(c, 0)
	if code, text := read(t, "http://"+s.Admin+"/readyz"); code != 200 {
		t.Errorf("/readyz: %d %q", code, text)
	}
}

// The drill: folder and head restored together. Only the witnesses know.
func TestLogRestoredWithItsHead(t *testing.T) {
	w := newWitnessed(t)
	s := start(t, w.config())
	w.submit(s.client(t), 0)
	s.stop(t)
	backup := t.TempDir()
	copyTree(t, filepath.Dir(w.folder.Dir), backup)
	s = start(t, w.config())
	c := s.client(t)
	for n := 1; n < 8; n++ {
		w.submit(c, n)
	}
	s.stop(t)
	newest := t.TempDir()
	copyTree(t, filepath.Dir(w.folder.Dir), newest)
	put := func(from string) {
		t.Helper()
		if err := os.RemoveAll(filepath.Dir(w.folder.Dir)); err != nil {
			t.Fatal(err)
		}
		copyTree(t, from, filepath.Dir(w.folder.Dir))
	}
	put(backup)
	refused := func() {
		t.Helper()
		err := daemon.Run(t.Context(), w.config(), func(daemon.Addresses) {})
		if err == nil || !strings.Contains(err.Error(), "size 8") || !strings.Contains(err.Error(), "size 1,") || !strings.Contains(err.Error(), "put back the newest copies") {
			t.Errorf("it ended with %v, expected both sizes and what to do", err)
		}
	}
	refused()
	// It stays so when they are gone.
	for _, f := range w.witnesses {
		f.stop()
	}
	refused()
	for _, f := range w.witnesses {
		f.start()
	}
	// Also when only one of the three is there: it does not start, and with none it takes nothing.
	put(backup)
	w.witnesses[0].stop()
	w.witnesses[1].stop()
	refused()
	w.witnesses[2].stop()
	put(backup)
	s = start(t, w.config())
	_, err := s.client(t).Submit(t.Context(), &pb.SubmitRequest{Submission: upload(100), Wait: pb.Wait_WAIT_SEQUENCED})
	if reason, _, _ := frontend.Reason(err); reason != frontend.Held {
		t.Errorf("with no witness to ask: %v", err)
	}
	s.stop(t)
	for _, f := range w.witnesses {
		f.start()
	}
	put(newest)
	s = start(t, w.config())
	if n := w.submit(s.client(t), 8); n != 8 {
		t.Errorf("after the newest copy was put back an upload is entry %d", n)
	}
}

// The drills of a witness: its folder restored is refused by itself; with its head, by the log.
func TestWitnessRestored(t *testing.T) {
	w := newWitnessed(t)
	s := start(t, w.config())
	c := s.client(t)
	w.submit(c, 0)
	f := w.witnesses[0]
	f.stop()
	backup := t.TempDir()
	f.copy(backup)
	f.start()
	for n := 1; n < 5; n++ {
		w.submit(c, n)
	}
	wait := func(metric string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; {
			if _, m := read(t, "http://"+s.Admin+"/metrics"); strings.Contains(m, metric) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("there is no %s", metric)
			}
		}
	}
	wait(`pauselog_witness_size{witness="w0.example"} 5`)
	f.stop()
	newHead, err := os.ReadFile(f.head)
	if err != nil {
		t.Fatal(err)
	}
	f.put(backup)
	oldHead, err := os.ReadFile(f.head)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.head, newHead, 0o600); err != nil {
		t.Fatal(err)
	}
	if st, err := state.Open(f.dir, f.head, f.name, nil); err == nil {
		st.Close()
		t.Error("a witness whose folder was restored starts")
	} else if !strings.Contains(err.Error(), "refusing to start") {
		t.Error(err)
	}
	if err := os.WriteFile(f.head, oldHead, 0o600); err != nil {
		t.Fatal(err)
	}
	f.start()
	w.submit(c, 5)
	wait(`pauselog_witness_set_aside{why="lost",witness="w0.example"} 1`)
	w.submit(c, 6)
}

// A lost head file can be made anew where witnesses know how far the log had signed, if an operator
// says so for exactly this tree.
func TestOverride(t *testing.T) {
	w := newWitnessed(t)
	s := start(t, w.config())
	c := s.client(t)
	for n := range 3 {
		w.submit(c, n)
	}
	_, note := read(t, "http://"+s.HTTP+"/checkpoint")
	o, err := w.policy.Open([]byte(note))
	if err != nil {
		t.Fatal(err)
	}
	s.stop(t)
	override := filepath.Join(w.folder.Dir, "override")
	write := func(size uint64) {
		t.Helper()
		if err := os.WriteFile(override, fmt.Appendf(nil, "pauselog-override/v1\norigin %s\nsize %d\nroot %v\n", origin, size, o.Checkpoint.Root), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	remove(t, w.folder.Head)
	wantRefusal(t, w.config(), "is gone", "3 entries")
	write(2)
	wantRefusal(t, w.config(), "for another log or tree", "size 3", "size 2")
	write(3)
	unwitnessed := w.config()
	unwitnessed.Policy = nil
	wantRefusal(t, unwitnessed, "is gone")
	s = start(t, w.config())
	w.submit(s.client(t), 3)
	s.stop(t)
	if _, err := os.Stat(override); !os.IsNotExist(err) {
		t.Errorf("the override is still there: %v", err)
	}

	// A witness that is wrong at the start: refused, until it is overridden.
	w.witnesses[1].stop()
	l, err := net.Listen("tcp", w.witnesses[1].address)
	if err != nil {
		t.Fatal(err)
	}
	liar := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(http.StatusConflict)
		fmt.Fprintln(rw, 1000)
	})}
	go liar.Serve(l)
	defer liar.Close()
	s = start(t, w.config())
	if err := <-s.ended; err == nil || !strings.Contains(err.Error(), "size 1000") || !strings.Contains(err.Error(), "of size 4, root ") {
		t.Errorf("it ended with %v", err)
	}
	close(s.ended)
	seen, ok := w.witnesses[0].state.Log(protocol.OriginHash(origin))
	if !ok || seen.Size != 4 {
		t.Fatalf("an honest witness has seen %+v", seen)
	}
	o.Checkpoint.Root = seen.Root
	write(4)
	s = start(t, w.config())
	w.submit(s.client(t), 4)
	if _, m := read(t, "http://"+s.Admin+"/metrics"); !strings.Contains(m, `pauselog_witness_set_aside{why="accuses",witness="w1.example"} 1`) {
		t.Error("the witness that is wrong is not set aside")
	}
}

// A log that ends tells those who wait to be published that their entries are logged.
func TestDrainWhileSomebodyWaitsToBePublished(t *testing.T) {
	w := newWitnessed(t)
	s := start(t, w.config())
	c := s.client(t)
	w.submit(c, 0)
	w.witnesses[0].stop()
	w.witnesses[1].stop()
	answer := make(chan error, 1)
	go func() {
		_, err := c.Submit(t.Context(), &pb.SubmitRequest{Submission: upload(1), Wait: pb.Wait_WAIT_PUBLISHED})
		answer <- err
	}()
	// It waits once it is logged.
	for deadline := time.Now().Add(time.Minute); ; {
		if _, m := read(t, "http://"+s.Admin+"/metrics"); strings.Contains(m, "pauselog_size 2\n") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not logged")
		}
	}
	s.stop(t)
	reason, message, metadata := frontend.Reason(<-answer)
	if reason != frontend.Unpublished || metadata["index"] != "1" || !strings.Contains(message, "nothing is lost") {
		t.Errorf("%q, %q, %v", reason, message, metadata)
	}
}
