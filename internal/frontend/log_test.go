package frontend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/pauselog/pauselog/internal/jsonrpc"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

const origin = "log.example/pause"

var (
	clock   = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	signers = []*checkpoint.SignerKey{mustKey(checkpoint.Ed25519), mustKey(checkpoint.MLDSA44)}
	policy  = must(checkpoint.NewPolicy(checkpoint.PolicyLog{Key: signers[0].Verifier()}, checkpoint.PolicyLog{Key: signers[1].Verifier()}))
)

func mustKey(a checkpoint.Algorithm) *checkpoint.SignerKey {
	return must(checkpoint.GenerateSigner(a, origin, nil))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// disk is what a log is kept on: a file system and a head file, both in memory.
type disk struct {
	fs   *vfs.MemFS
	head *headFile
}

// newDisk is a disk with an empty log.
func newDisk(t testing.TB) disk {
	t.Helper()
	d := disk{vfs.NewCrashableMem(), new(headFile)}
	state, h, err := sequencer.Init(origin, signers, clock)
	if err == nil {
		err = errors.Join(store.Create("data", store.Options{FS: d.fs}, state), head.Format(d.head, h))
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// copied is a copy of what is on a disk.
func (d disk) copied() disk {
	d.head.mu.Lock()
	defer d.head.mu.Unlock()
	return disk{d.fs.CrashClone(vfs.CrashCloneCfg{}), &headFile{b: d.head.b}}
}

type headFile struct {
	mu sync.Mutex
	b  [head.FileSize]byte
}

func (f *headFile) Sync() error  { return nil }
func (f *headFile) Close() error { return nil }

func (f *headFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return copy(p, f.b[off:]), nil
}

func (f *headFile) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return copy(f.b[off:], p), nil
}

// open opens a log's store and its sequencer until the test ends.
func (d disk) open(t testing.TB) (*store.Store, *sequencer.Sequencer) {
	t.Helper()
	st, err := store.Open("data", store.Options{FS: d.fs})
	if err != nil {
		t.Fatal(err)
	}
	k, err := head.Read(d.head)
	if err != nil {
		t.Fatal(err)
	}
	seq, err := sequencer.Open(sequencer.Config{Origin: origin, Store: st, Head: k, Signers: signers, Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		seq.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st, seq
}

// tokens is an Authenticator: the tokens by their secrets.
type tokens struct {
	mu    sync.Mutex
	known map[string]allowed
	panic string // a secret that is not survived
}

// allowed are the kinds that a token may submit.
type allowed []entry.Kind

func (a allowed) Allows(k entry.Kind, _ entry.Seen) error {
	if !slices.Contains(a, k) {
		return fmt.Errorf("this token may not submit kind %s", k)
	}
	return nil
}

func (a *tokens) Bearer(secret string) (Permission, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.panic != "" && secret == a.panic {
		panic("the authenticator has a fault")
	}
	if p, ok := a.known[secret]; ok {
		return p, nil
	}
	return nil, errors.New("unknown token")
}

func (*tokens) Certificate(*x509.Certificate) (Permission, error) {
	return nil, errors.New("unknown certificate")
}

func (a *tokens) change(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// journal is what the log's operator reads.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// A world is a log that is served: over gRPC, as JSON, and statically.
type world struct {
	pb.LogClient // over gRPC
	service      *Service
	Store        *store.Store
	Sequencer    *sequencer.Sequencer
	guard        *Guard
	tokens       *tokens
	journal      *journal
	static       http.Handler
	api          http.Handler
}

// newWorld serves a new log with n uploads in it.
func newWorld(t testing.TB, n int) *world {
	t.Helper()
	st, seq := newDisk(t).open(t)
	w := serve(t, &Service{Store: st, Sequencer: seq})
	w.fill(t, 0, n)
	return w
}

func serve(t testing.TB, s *Service) *world {
	t.Helper()
	w := &world{service: s, Store: s.Store, Sequencer: s.Sequencer, journal: new(journal), tokens: &tokens{known: map[string]allowed{
		"all":     {entry.Upload, entry.Index, entry.Delete},
		"indexes": {entry.Index},
	}}}
	log := slog.New(slog.NewTextHandler(w.journal, &slog.HandlerOptions{Level: slog.LevelDebug}))
	metrics := NewMetrics(prometheus.NewRegistry())
	w.guard = &Guard{Auth: w.tokens, Log: log, Metrics: metrics, MaxCalls: 100, MaxTime: time.Minute}
	w.static = &Static{Service: s, Log: log, Metrics: metrics}
	w.api = jsonrpc.NewHandler(&pb.Log_ServiceDesc, s, jsonrpc.Options{Unary: w.guard.Unary, Stream: w.guard.Stream})

	l := bufconn.Listen(1 << 16)
	server := grpc.NewServer(grpc.UnaryInterceptor(w.guard.Unary), grpc.StreamInterceptor(w.guard.Stream))
	pb.RegisterLogServer(server, s)
	go server.Serve(l)
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
	})
	w.LogClient = pb.NewLogClient(conn)
	return w
}

// fill logs the uploads of the numbers from to before to.
func (w *world) fill(t testing.TB, from, to int) {
	t.Helper()
	var entries []*entry.Entry
	for n := from; n < to; n++ {
		entries = append(entries, must(submissionOf(w.tokens.known["all"], upload(n))).Entry)
	}
	w.log(t, entries...)
}

// log logs entries past the frontend, and waits until they can be looked up.
func (w *world) log(t testing.TB, entries ...*entry.Entry) {
	t.Helper()
	results, err := w.Sequencer.Submit(t.Context(), entries...)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("entry %d: %v", i, r.Err)
		}
	}
	w.Store.WaitIndexed(t.Context(), w.Store.Head().Size)
}

// as is the context of a caller with a token.
func as(t testing.TB, secret string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+secret)
}

func digest(content string) entry.Digest { return sha256.Sum256([]byte(content)) }

// upload is the submission of the n-th archive. The authors take turns.
func upload(n int) *pb.Submission {
	author := []string{"ETHER", "HAARG", "TODDR"}[n%3]
	return &pb.Submission{Kind: "upload", Path: fmt.Sprintf("authors/id/%s/%s/%s/Dist-%d-1.00.tar.gz", author[:1], author[:2], author, n),
		Sha256: digest(fmt.Sprint(n)).String(), Size: uint64(n), Time: "2026-11-22T10:00:00Z", By: author, Seen: "upload"}
}

func deletion(n int) *pb.Submission {
	s := upload(n)
	s.Kind, s.Size = "delete", 0
	return s
}

const packages = "modules/02packages.details.txt.gz"

// snapshot is the submission of an index file as it was at a minute.
func snapshot(minute int) *pb.Submission {
	return &pb.Submission{Kind: "index", Path: packages, Sha256: digest(fmt.Sprint("packages", minute)).String(),
		Size: 7, Time: fmt.Sprintf("2026-11-22T09:%02d:00Z", minute)}
}

// changed returns a submission with a change.
func changed(s *pb.Submission, change func(*pb.Submission)) *pb.Submission {
	change(s)
	return s
}

// entryBytes are the bytes that a submission is logged as.
func entryBytes(t testing.TB, s *pb.Submission) []byte {
	t.Helper()
	e, err := submissionOf(allowed{entry.Kind(s.Kind)}, s)
	if err != nil {
		t.Fatal(err)
	}
	return must(e.Entry.Marshal())
}

// reference is the tree of some entries as golang.org/x/mod/sumdb/tlog has it.
type reference struct {
	entries [][]byte
	hashes  []tlog.Hash
}

// referenceOf re-hashes the first size entries of a log, which it reads through the API.
func referenceOf(t testing.TB, w *world) *reference {
	t.Helper()
	stream, err := w.ListEntries(t.Context(), &pb.ListEntriesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	r := &reference{}
	for _, m := range received(t, stream) {
		if m.Start != uint64(len(r.entries)) {
			t.Fatalf("entries from %d on, after %d entries", m.Start, len(r.entries))
		}
		for _, e := range m.Entries {
			r.add(t, []byte(e))
		}
	}
	return r
}

func (r *reference) add(t testing.TB, e []byte) {
	t.Helper()
	hs, err := tlog.StoredHashes(int64(len(r.entries)), e, r)
	if err != nil {
		t.Fatal(err)
	}
	r.entries, r.hashes = append(r.entries, e), append(r.hashes, hs...)
}

// ReadHashes implements tlog.HashReader.
func (r *reference) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = r.hashes[x]
	}
	return out, nil
}

func (r *reference) root(size uint64) tree.Hash {
	if size == 0 {
		return tree.EmptyRoot
	}
	return tree.Hash(must(tlog.TreeHash(int64(size), r)))
}

// opened verifies a checkpoint.
func opened(t testing.TB, note string) *checkpoint.Opened {
	t.Helper()
	o, err := policy.Open([]byte(note))
	if err != nil {
		t.Fatalf("%v\n%s", err, note)
	}
	return o
}

func treeHashes(t testing.TB, hashes [][]byte) []tree.Hash {
	t.Helper()
	out := make([]tree.Hash, len(hashes))
	for i, h := range hashes {
		if len(h) != tree.HashSize {
			t.Fatalf("a hash of %d bytes", len(h))
		}
		out[i] = tree.Hash(h)
	}
	return out
}

// received are all messages of a stream that ends well.
func received[T any](t testing.TB, stream grpc.ServerStreamingClient[T]) []*T {
	t.Helper()
	all, err := drained(stream)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// want checks an error: its code, its word, and that the sentence is one. It returns the metadata.
func want(t testing.TB, err error, code codes.Code, reason string) map[string]string {
	t.Helper()
	word, message, metadata := Reason(err)
	if err == nil || status.Code(err) != code || word != reason || message == "" {
		t.Fatalf("the error is %v %q (%v), want %v %q", status.Code(err), word, err, code, reason)
	}
	return metadata
}

func wantMetadata(t testing.TB, got map[string]string, want map[string]string) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("metadata %v, want %v", got, want)
	}
}
