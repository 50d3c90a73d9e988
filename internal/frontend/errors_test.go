package frontend

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// incoming is the context of a call as its server sees it.
func incoming(ctx context.Context, secret string) context.Context {
	return metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+secret))
}

// The words are part of the interface: the list in the .proto file is the list here, and each has a code.
func TestReasonsAreThoseOfTheProto(t *testing.T) {
	b, err := os.ReadFile("../../proto/pauselog/v1/log.proto")
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(b), "syntax =")
	var listed []string
	for _, m := range regexp.MustCompile(`(?m)^//   ([a-z-]+)  `).FindAllStringSubmatch(head, -1) {
		listed = append(listed, m[1])
	}
	var have []string
	for word := range codeOf {
		have = append(have, word)
	}
	slices.Sort(listed)
	slices.Sort(have)
	if !slices.Equal(listed, have) {
		t.Errorf("the .proto lists %v, this package has %v", listed, have)
	}
}

func TestBusy(t *testing.T) {
	w := newWorld(t, 1)
	w.guard.MaxCalls = 1
	stream, err := w.WatchCheckpoints(t.Context(), &pb.WatchCheckpointsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // it is in progress
		t.Fatal(err)
	}
	_, err = w.GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{})
	wantMetadata(t, want(t, err, codes.ResourceExhausted, Busy), map[string]string{"retry_after_ms": "500"})
	r := get(w.api, "/pauselog.v1.Log/GetCheckpoint")
	if r.Code != 429 || r.Header().Get("Retry-After") != "1" {
		t.Errorf("over HTTP: %d, Retry-After %q", r.Code, r.Header().Get("Retry-After"))
	}
	if r := get(w.static, "/checkpoint"); r.Code != 200 {
		t.Errorf("a static read: %d", r.Code)
	}
}

func TestClosing(t *testing.T) {
	w := newWorld(t, 3)
	w.Sequencer.Close()
	_, err := w.Submit(as(t, "all"), &pb.SubmitRequest{Submission: upload(9)})
	wantMetadata(t, want(t, err, codes.Unavailable, Closing), map[string]string{"retry_after_ms": "2000"})
	s := submitStream(t, w, as(t, "all"))
	if err := s.Send(&pb.SubmitStreamRequest{Submissions: []*pb.Submission{upload(9)}}); err != nil && status.Code(err) != codes.Unknown {
		t.Log(err) // the stream may have ended by now
	}
	_, err = s.Recv()
	want(t, err, codes.Unavailable, Closing)
	watch, err := w.WatchCheckpoints(t.Context(), &pb.WatchCheckpointsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = drained(watch)
	want(t, err, codes.Unavailable, Closing)
	r := post(w.api, "/pauselog.v1.Log/Submit", "all", `{"submission": {"kind": "upload", "path": "authors/id/H/HA/HAARG/x.tar.gz", "sha256": "`+upload(9).Sha256+
		`", "size": 1, "time": "2026-11-22T10:00:00Z", "by": "-", "seen": "upload"}}`)
	if r.Code != 503 || r.Header().Get("Retry-After") != "2" {
		t.Errorf("over HTTP: %d, Retry-After %q: %s", r.Code, r.Header().Get("Retry-After"), r.Body)
	}
	// Reading goes on to the end.
	if _, err := w.GetEntry(t.Context(), &pb.GetEntryRequest{Index: 2}); err != nil {
		t.Error(err)
	}
	if err := w.service.Probe(); err != nil {
		t.Error(err)
	}
}

// An entry that has changed on the disk never leaves the log. The client is told that there is a
// fault, and the operator which one.
func TestInternal(t *testing.T) {
	d := newDisk(t)
	func() {
		st, seq := d.open(t)
		w := &world{service: &Service{}, Store: st, Sequencer: seq, tokens: &tokens{known: map[string]allowed{"all": {"upload"}}}}
		w.fill(t, 0, 600)
	}()
	d = d.copied()
	db, err := pebble.Open("data/log", &pebble.Options{FS: d.fs, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	// Entry 5, which the start does not re-hash, becomes another valid one.
	key := binary.BigEndian.AppendUint64([]byte{'z'}, 5)
	forged := entryBytes(t, changed(upload(5), func(s *pb.Submission) { s.Sha256 = digest("forged").String() }))
	if err := errors.Join(db.Set(key, forged, pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
	st, seq := d.open(t)
	w := serve(t, &Service{Store: st, Sequencer: seq})
	for name, call := range map[string]func(context.Context) error{
		"GetEntry": func(ctx context.Context) error {
			_, err := w.GetEntry(ctx, &pb.GetEntryRequest{Index: 5})
			return err
		},
		"GetEntry beside it": nil,
		"ListEntries": func(ctx context.Context) error {
			s, err := w.ListEntries(ctx, &pb.ListEntriesRequest{})
			if err == nil {
				_, err = drained(s)
			}
			return err
		},
		"GetInclusionProof by index": func(ctx context.Context) error {
			_, err := w.GetInclusionProof(ctx, &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Index{Index: 5}})
			return err
		},
		"GetInclusionProof by path": func(ctx context.Context) error {
			_, err := w.GetInclusionProof(ctx, &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Path{Path: upload(5).Path}})
			return err
		},
	} {
		if call == nil {
			if _, err := w.GetEntry(t.Context(), &pb.GetEntryRequest{Index: 6}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		t.Run(name, func(t *testing.T) {
			before := w.journal.String()
			err := call(t.Context())
			wantMetadata(t, want(t, err, codes.Internal, Internal), nil)
			if _, message, _ := Reason(err); strings.ContainsAny(message, "0123456789") || !strings.Contains(message, "operator") {
				t.Errorf("the client is told %q", message)
			}
			if said := strings.TrimPrefix(w.journal.String(), before); !strings.Contains(said, "level=ERROR") ||
				!strings.Contains(said, "entry 5 does not have its leaf hash") && !strings.Contains(said, "proof does not verify") {
				t.Errorf("the journal says %q", said)
			}
		})
	}
	for _, path := range []string{"/tile/entries/000", "/proof/" + upload(5).Path + ".tlog-proof"} {
		before := w.journal.String()
		r := get(w.static, path)
		if r.Code != 500 || r.Header().Get("Cache-Control") != "no-store" || strings.Contains(r.Body.String(), "leaf hash") {
			t.Errorf("GET %s: %d %s", path, r.Code, r.Body)
		}
		if w.journal.String() == before {
			t.Errorf("GET %s: nothing in the journal", path)
		}
	}
	if r := get(w.static, "/tile/entries/001"); r.Code != 200 {
		t.Errorf("the bundle beside it: %d", r.Code)
	}
}

func TestAPanicInACallEndsThatCallAlone(t *testing.T) {
	w := newWorld(t, 1)
	w.guard.MaxCalls = 1 // the call gives back its place
	w.tokens.change(func() { w.tokens.panic = "all" })
	for range 3 {
		_, err := w.Submit(as(t, "all"), &pb.SubmitRequest{Submission: upload(1)})
		wantMetadata(t, want(t, err, codes.Internal, Internal), nil)
		_, err = submitStream(t, w, as(t, "all")).Recv()
		want(t, err, codes.Internal, Internal)
	}
	if r := post(w.api, "/pauselog.v1.Log/Submit", "all", `{}`); r.Code != 500 || strings.Contains(r.Body.String(), "authenticator") {
		t.Errorf("over HTTP: %d %s", r.Code, r.Body)
	}
	if j := w.journal.String(); !strings.Contains(j, "the authenticator has a fault") || !strings.Contains(j, "goroutine") {
		t.Errorf("the journal has no panic with its stack: %s", j)
	}
	if _, err := w.GetEntry(t.Context(), &pb.GetEntryRequest{}); err != nil {
		t.Error(err)
	}
}

func TestTheGuardBoundsTime(t *testing.T) {
	g := &Guard{MaxCalls: 1, MaxTime: time.Millisecond, Metrics: NewMetrics(prometheus.NewRegistry()), Log: newWorld(t, 0).guard.Log}
	_, err := g.Unary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: pb.Log_GetEntry_FullMethodName}, func(ctx context.Context, _ any) (any, error) {
		<-ctx.Done()
		return nil, failureOf(ctx.Err())
	})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
}

func TestTheGuardCounts(t *testing.T) {
	w := newWorld(t, 1)
	m := w.guard.Metrics
	value := func(c *prometheus.CounterVec, labels ...string) float64 {
		var out dto.Metric
		if err := c.WithLabelValues(labels...).Write(&out); err != nil {
			t.Fatal(err)
		}
		return out.GetCounter().GetValue()
	}
	if _, err := w.GetEntry(t.Context(), &pb.GetEntryRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.GetEntry(t.Context(), &pb.GetEntryRequest{Index: 9}); err == nil {
		t.Fatal("no error")
	}
	get(w.api, "/pauselog.v1.Log/GetEntry?index=0")
	if ok, not := value(m.calls, "GetEntry", "OK"), value(m.calls, "GetEntry", "NotFound"); ok != 2 || not != 1 {
		t.Errorf("%v and %v calls, want 2 and 1", ok, not)
	}
	get(w.static, "/checkpoint")
	get(w.static, "/tile/0/nonsense")
	if ok, not := value(m.static, "checkpoint", "200"), value(m.static, "tile", "404"); ok != 1 || not != 1 {
		t.Errorf("%v and %v static reads, want 1 and 1", ok, not)
	}
}
