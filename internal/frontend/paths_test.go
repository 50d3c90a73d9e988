package frontend

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/sequencer"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// shardsOf are the shards of a log's first size entries, by their definition.
func shardsOf(t testing.TB, r *reference, size int) (shards [prooftree.Shards]string) {
	t.Helper()
	var lines [prooftree.Shards][]prooftree.Line
	for i, b := range r.entries[:size] {
		e := must(entry.Parse(b))
		if e.Kind != entry.Conflict {
			n := prooftree.ShardOf(e.Path)
			lines[n] = append(lines[n], prooftree.Line{Index: uint64(i), Path: e.Path})
		}
	}
	for n := range lines {
		shards[n] = string(prooftree.FormatShard(lines[n]))
	}
	return shards
}

const snapshots = 120

// history is a log with all kinds of entries, among them more snapshots of an index file than are listed.
func history(t *testing.T) *world {
	w := newWorld(t, 300)
	for n := range snapshots {
		s := changed(snapshot(n), func(s *pb.Submission) { s.Time = fmt.Sprintf("2026-11-22T%02d:%02d:00Z", 8+n/60, n%60) })
		w.log(t, must(submissionOf(w.tokens.known["all"], s)).Entry)
	}
	w.log(t, must(submissionOf(w.tokens.known["all"], deletion(5))).Entry)
	if _, err := w.Sequencer.Void(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	// Another digest for a logged path: refused, and a conflict is logged.
	again := changed(upload(7), func(s *pb.Submission) { s.Sha256 = digest("other").String() })
	if _, err := w.Sequencer.Submit(t.Context(), must(submissionOf(w.tokens.known["all"], again)).Entry); err != nil {
		t.Fatal(err)
	}
	w.Store.WaitIndexed(t.Context(), w.Store.Head().Size)
	return w
}

func TestPathsAreTheShards(t *testing.T) {
	w := history(t)
	ref := referenceOf(t, w)
	if kind := must(entry.Parse(ref.entries[len(ref.entries)-1])).Kind; kind != entry.Conflict {
		t.Fatalf("the last entry is a %s", kind)
	}
	listed := 0
	for n, want := range shardsOf(t, ref, len(ref.entries)) {
		name := prooftree.ShardName(byte(n))
		r := get(w.static, "/"+name)
		if r.Code != http.StatusOK || r.Body.String() != want {
			t.Errorf("GET /%s: %d %q, want %q", name, r.Code, r.Body, want)
		}
		lines, err := prooftree.ParseShard(byte(n), r.Body.Bytes())
		if err != nil {
			t.Error(err)
		}
		listed += len(lines)
		h := r.Header()
		if h.Get("Content-Type") != "text/plain; charset=utf-8" || h.Get("Cache-Control") != "no-cache" || h.Get("Vary") != "Accept-Encoding" || h.Get("Content-Encoding") != "" {
			t.Errorf("GET /%s: %v", name, h)
		}
	}
	if want := len(ref.entries) - 1 - (snapshots - prooftree.MaxSnapshots); listed != want { // all but the conflict and old snapshots
		t.Errorf("%d entries are listed, want %d", listed, want)
	}
}

func TestPathsAreCompressedIfAskedFor(t *testing.T) {
	w := newWorld(t, 300)
	for shard := range byte(255) {
		target := "/" + prooftree.ShardName(shard)
		r := get(w.static, target, "Accept-Encoding", "gzip")
		z, err := gzip.NewReader(r.Body)
		if err != nil || r.Header().Get("Content-Encoding") != "gzip" {
			t.Fatalf("%s: %v, %v", target, err, r.Header())
		}
		if b, err := io.ReadAll(z); err != nil || string(b) != get(w.static, target).Body.String() {
			t.Errorf("%s: %q, %v", target, b, err)
		}
		head := do(w.static, httptest.NewRequest(http.MethodHead, target, nil))
		if head.Code != 200 || head.Body.Len() != 0 {
			t.Errorf("HEAD %s: %d with %d bytes", target, head.Code, head.Body.Len())
		}
	}
}

func TestPathsHaveOneName(t *testing.T) {
	w := newWorld(t, 3)
	for _, target := range []string{"/paths", "/paths/", "/paths/0", "/paths/000", "/paths/0g", "/paths/0A", "/paths/FF", "/paths/+f", "/paths/-1", "/paths/0x",
		"/paths/00/", "/paths//00", "/paths/00/00", "/paths/%300", "/paths/0%30", "/paths%2F00", "/Paths/00", "/paths/00.gz", "/paths/00%00", "/paths/ 0"} {
		target = strings.ReplaceAll(target, " ", "%20")
		if r := get(w.static, target); r.Code != http.StatusNotFound || r.Header().Get("Cache-Control") != "no-store" || r.Header().Get("Location") != "" {
			t.Errorf("GET %s: %d", target, r.Code)
		}
	}
}

// showing is a publisher of one checkpoint.
type showing struct {
	*sequencer.Sequencer
	signed *sequencer.Signed
}

func (s *showing) Published() *sequencer.Signed { return s.signed }

// What is logged and not published yet is not in the path index either.
func TestPathsAreClippedToThePublishedSize(t *testing.T) {
	w := newWorld(t, 100)
	published := w.Sequencer.Published()
	p := &showing{w.Sequencer, published}
	w.service.Publisher = p
	w.fill(t, 100, 200)
	w.log(t, must(submissionOf(w.tokens.known["all"], deletion(5))).Entry)
	ref := referenceOf(t, w)
	if len(ref.entries) != 100 {
		t.Fatalf("%d entries are published", len(ref.entries))
	}
	for n, want := range shardsOf(t, ref, 100) {
		if r := get(w.static, "/"+prooftree.ShardName(byte(n))); r.Code != 200 || r.Body.String() != want {
			t.Errorf("shard %02x: %d %q, want %q", n, r.Code, r.Body, want)
		}
	}
	p.signed = sequencer.NewSigned(0, published.Root, 0, nil, nil)
	if r := get(w.static, "/paths/00"); r.Code != http.StatusServiceUnavailable || r.Header().Get("Retry-After") == "" {
		t.Errorf("before anything is published: %d %v", r.Code, r.Header())
	}
}

// While the index is made anew, nobody gets a shard that lacks entries.
func TestPathsWaitForTheIndex(t *testing.T) {
	w := newWorld(t, 3)
	published := w.Sequencer.Published()
	// A checkpoint beyond what the index has: as if it were behind.
	w.service.Publisher = &showing{w.Sequencer, sequencer.NewSigned(4, published.Root, 0, published.Note, nil)}
	s := &Static{Service: w.service, Log: w.static.(*Static).Log, Metrics: w.static.(*Static).Metrics}
	r := get(s, "/paths/00")
	if r.Code != http.StatusServiceUnavailable || r.Header().Get("Retry-After") != "5" || r.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v: %s", r.Code, r.Header(), r.Body)
	}
}
