package mirror

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/log/verify"
)

const (
	origin     = "log.example/pause"
	goodPath   = "authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz"
	otherPath  = "authors/id/D/DA/DAGOLDEN/Path-Tiny-0.150.tar.gz"
	voidedPath = "authors/id/E/ET/ETHER/Moose-2.2207.tar.gz"
	absentPath = "authors/id/E/ET/ETHER/Unlogged-1.tar.gz"
	textPath   = "modules/02packages.details.txt"
	indexPath  = "modules/02packages.details.txt.gz"
	mailPath   = "authors/01mailrc.txt.gz"
)

var (
	logged    = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	goodFile  = zipped("the bytes of Try-Tiny-0.31.tar.gz")
	otherFile = zipped("the bytes of Path-Tiny-0.150.tar.gz, which is longer")
	voided    = zipped("the bytes of Moose")
	indexText = "Try::Tiny 0.31 E/ET/ETHER/Try-Tiny-0.31.tar.gz\n"
	indexFile = zipped(indexText)
)

func zipped(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.Bytes()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type memory []tlog.Hash

func (m memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = m[x]
	}
	return out, nil
}

// A world is a log, a Prover that knows all of it, a folder as upstream, and a Mirror on a port.
type world struct {
	t      *testing.T
	key    *checkpoint.SignerKey
	policy *checkpoint.Policy
	dir    string
	mirror *Mirror
	server *httptest.Server

	mu       sync.Mutex
	evidence map[string]*client.Evidence // what the prover has on a path
	failure  error
	asked    int
	reports  []Record
}

func key(seed byte, alg checkpoint.Algorithm, name string) *checkpoint.SignerKey {
	return must(checkpoint.GenerateSigner(alg, name, bytes.NewReader(bytes.Repeat([]byte{seed}, 32))))
}

func digest(b []byte) entry.Digest { return sha256.Sum256(b) }

func upload(path string, b []byte) *entry.Entry {
	return &entry.Entry{Kind: entry.Upload, Path: path, SHA256: digest(b), Size: uint64(len(b)), Time: entry.TimeOf(logged), By: "ETHER", Seen: entry.SeenUpload}
}

func snapshot(path string, b []byte) *entry.Entry {
	return &entry.Entry{Kind: entry.Index, Path: path, SHA256: digest(b), Size: uint64(len(b)), Time: entry.TimeOf(logged)}
}

// bundles logs entries and proves each of them.
func bundles(k *checkpoint.SignerKey, entries ...*entry.Entry) (out [][]byte) {
	var hashes memory
	var texts [][]byte
	for i, e := range entries {
		text := must(e.Marshal())
		texts = append(texts, text)
		hashes = append(hashes, must(tlog.StoredHashes(int64(i), text, hashes))...)
	}
	n := int64(len(entries))
	c := checkpoint.Checkpoint{Origin: origin, Size: uint64(n), Root: tree.Hash(must(tlog.TreeHash(n, hashes)))}
	note := checkpoint.Note{Text: c.Text()}.With(must(k.Sign(c, uint64(logged.Unix())))).Marshal()
	for i, text := range texts {
		b := &proof.Bundle{Entry: text, Index: uint64(i), Checkpoint: note}
		for _, h := range must(tlog.ProveRecord(n, int64(i), hashes)) {
			b.Hashes = append(b.Hashes, tree.Hash(h))
		}
		out = append(out, must(b.Marshal()))
	}
	return out
}

func newWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	w := &world{t: t, key: key(1, checkpoint.Ed25519, origin), dir: t.TempDir(), evidence: map[string]*client.Evidence{}}
	w.policy = must(checkpoint.ParsePolicy(fmt.Appendf(nil, "log %s\nquorum none\n", w.key.Verifier())))
	b := bundles(w.key, upload(goodPath, goodFile), upload(otherPath, otherFile), upload(voidedPath, voided),
		&entry.Entry{Kind: entry.Void, Path: voidedPath, SHA256: digest(voided), Index: 2, Time: entry.TimeOf(logged)}, snapshot(indexPath, indexFile), snapshot(textPath, []byte(indexText)))
	w.evidence[goodPath] = &client.Evidence{Bundle: b[0]}
	w.evidence[otherPath] = &client.Evidence{Bundle: b[1]}
	w.evidence[voidedPath] = &client.Evidence{Bundle: b[2], Revocation: b[3]}
	w.evidence[indexPath] = &client.Evidence{Bundle: b[4]}
	w.evidence[textPath] = &client.Evidence{Bundle: b[5]}
	for path, b := range map[string][]byte{goodPath: goodFile, otherPath: otherFile, voidedPath: voided, indexPath: indexFile, absentPath: goodFile} {
		w.write(path, b)
	}
	o := Options{Policy: w.policy, Upstreams: []Upstream{must(OpenUpstream(w.dir, ""))}, Provers: []Prover{w}, Cache: t.TempDir(),
		Now: func() time.Time { return logged.Add(time.Hour) }, Hold: -1,
		Report: func(r Record) { w.reports = append(w.reports, r) }}
	for _, c := range change {
		c(&o)
	}
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	w.mirror, w.server = m, httptest.NewServer(m)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		w.server.Close()
	})
	return w
}

func (w *world) String() string { return "the test's proofs" }

func (w *world) Prove(_ context.Context, path string, _ entry.Digest) (*client.Evidence, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.failure != nil {
		return nil, w.failure
	}
	if e := w.evidence[path]; e != nil {
		return e, nil
	}
	return &client.Evidence{Detail: "there is no proof in the test"}, nil
}

func (w *world) write(path string, b []byte) {
	w.t.Helper()
	name := filepath.Join(w.dir, path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// An answer is what a client sees, with the status line as it was sent.
type answer struct {
	status int
	line   string
	header http.Header
	body   []byte
}

// send sends a request as text, so that it can be one that net/http would not send.
func (w *world) send(method, target, host string, header ...string) answer {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.server.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	if host == "" {
		host = w.server.Listener.Addr().String()
	}
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, target, host, strings.Join(append(header, ""), "\r\n"))
	in := bufio.NewReader(conn)
	first, err := in.Peek(1)
	if err != nil {
		w.t.Fatalf("%s %s: %v %q", method, target, err, first)
	}
	r, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{r.StatusCode, r.Status, r.Header, body}
}

func (w *world) get(path string, header ...string) answer {
	w.t.Helper()
	return w.send("GET", "/"+path, "", header...)
}

func (w *world) wantServed(path string, want []byte) answer {
	w.t.Helper()
	a := w.get(path)
	if a.status != 200 || !bytes.Equal(a.body, want) {
		w.t.Errorf("GET %s: %s, %d bytes, want 200 and %d bytes\n%s", path, a.line, len(a.body), len(want), a.body)
	}
	return a
}

func (w *world) wantRefused(path, line string) answer {
	w.t.Helper()
	a := w.get(path)
	if a.line != line {
		w.t.Errorf("GET %s: %q, want %q\n%s", path, a.line, line, a.body)
	}
	if ArchiveFormat(a.body) != "" {
		w.t.Errorf("GET %s: a refusal has the bytes of an archive", path)
	}
	return a
}

func prefer(o *Options) { o.Mode = verify.Prefer }

// from sets the upstreams to servers with these handlers.
func from(t *testing.T, handlers ...http.HandlerFunc) func(*Options) {
	return func(o *Options) {
		o.Upstreams = nil
		for _, h := range handlers {
			s := httptest.NewServer(h)
			t.Cleanup(s.Close)
			o.Upstreams = append(o.Upstreams, must(OpenUpstream(s.URL, "test")))
		}
	}
}
