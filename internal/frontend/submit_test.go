package frontend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

func TestSubmit(t *testing.T) {
	w := newWorld(t, 0)
	for i, c := range []struct {
		submission *pb.Submission
		wait       pb.Wait
		index      uint64
		repeated   bool
	}{
		{upload(0), pb.Wait_WAIT_UNSPECIFIED, 0, false},
		{upload(1), pb.Wait_WAIT_SEQUENCED, 1, false},
		{upload(2), pb.Wait_WAIT_PUBLISHED, 2, false},
		{upload(0), pb.Wait_WAIT_SEQUENCED, 0, true},
		{upload(1), pb.Wait_WAIT_PUBLISHED, 1, true},
		{snapshot(1), pb.Wait_WAIT_PUBLISHED, 3, false},
		{snapshot(1), pb.Wait_WAIT_PUBLISHED, 3, true},
		{snapshot(2), pb.Wait_WAIT_PUBLISHED, 4, false},
		{deletion(0), pb.Wait_WAIT_PUBLISHED, 5, false},
		{upload(0), pb.Wait_WAIT_PUBLISHED, 6, false}, // restored
	} {
		r, err := w.Submit(as(t, "all"), &pb.SubmitRequest{Submission: c.submission, Wait: c.wait})
		if err != nil {
			t.Fatalf("submission %d: %v", i, err)
		}
		got := r.Result
		if got.Index != c.index || got.Repeated != c.repeated || got.Refusal != nil || got.Entry != string(entryBytes(t, c.submission)) {
			t.Errorf("submission %d: %v, want entry %d", i, got, c.index)
		}
		if leaf := tree.LeafHash([]byte(got.Entry)); !bytes.Equal(got.LeafHash, leaf[:]) {
			t.Errorf("submission %d: another leaf hash", i)
		}
		// What was sequenced is durable, and with quorum none published: it can be read.
		if e, err := w.GetEntry(t.Context(), &pb.GetEntryRequest{Index: got.Index}); err != nil || e.Entry != got.Entry {
			t.Errorf("submission %d: %v, %v", i, e, err)
		}
		if (got.Bundle != "") != (c.wait == pb.Wait_WAIT_PUBLISHED) {
			t.Errorf("submission %d: the bundle is %q", i, got.Bundle)
		}
		if got.Bundle != "" && c.submission.Kind != "delete" {
			v := verified(t, []byte(got.Bundle), c.submission.Path, c.submission.Sha256, c.submission.Size)
			if v.Outcome != verify.Verified || v.Index != c.index {
				t.Errorf("submission %d verifies offline as %v: %s", i, v.Outcome, v.Message)
			}
		}
	}
}

func TestSubmitWithoutWaiting(t *testing.T) {
	w := newWorld(t, 0)
	r, err := w.Submit(as(t, "all"), &pb.SubmitRequest{Submission: upload(0), Wait: pb.Wait_WAIT_NONE})
	if err != nil || r.Result.Entry != "" || r.Result.LeafHash != nil || r.Result.Bundle != "" {
		t.Fatalf("%v, %v", r, err)
	}
	// Nothing is known of it but that it was taken; it is logged all the same.
	if _, err := w.Sequencer.WaitPublished(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	// What the log's state stands against is then not said; what is malformed is.
	for _, c := range []struct {
		s    *pb.Submission
		code codes.Code
	}{
		{changed(upload(0), func(s *pb.Submission) { s.Sha256 = digest("clash").String() }), codes.OK},
		{changed(upload(0), func(s *pb.Submission) { s.Sha256 = "" }), codes.InvalidArgument},
	} {
		if _, err := w.Submit(as(t, "all"), &pb.SubmitRequest{Submission: c.s, Wait: pb.Wait_WAIT_NONE}); status.Code(err) != c.code {
			t.Errorf("%v, want %v", err, c.code)
		}
	}
}

// refused are submissions that are refused, and their words.
var refused = map[string]struct {
	submission *pb.Submission
	code       codes.Code
	reason     string
}{
	"nothing":                {&pb.Submission{}, codes.InvalidArgument, Invalid},
	"no kind":                {changed(upload(1), func(s *pb.Submission) { s.Kind = "" }), codes.InvalidArgument, Invalid},
	"unknown kind":           {changed(upload(1), func(s *pb.Submission) { s.Kind = "key" }), codes.InvalidArgument, Invalid},
	"kind in capitals":       {changed(upload(1), func(s *pb.Submission) { s.Kind = "UPLOAD" }), codes.InvalidArgument, Invalid},
	"the log's own conflict": {changed(upload(1), func(s *pb.Submission) { s.Kind = "conflict" }), codes.InvalidArgument, Invalid},
	"the operator's void":    {changed(upload(1), func(s *pb.Submission) { s.Kind = "void" }), codes.InvalidArgument, Invalid},

	"no path":                 {changed(upload(1), func(s *pb.Submission) { s.Path = "" }), codes.InvalidArgument, Invalid},
	"absolute path":           {changed(upload(1), func(s *pb.Submission) { s.Path = "/" + s.Path }), codes.InvalidArgument, Invalid},
	"path with ..":            {changed(upload(1), func(s *pb.Submission) { s.Path = "authors/id/H/HA/HAARG/../x.tar.gz" }), codes.InvalidArgument, Invalid},
	"path with a newline":     {changed(upload(1), func(s *pb.Submission) { s.Path = "authors/id/H/HA/HAARG/x\nkind void" }), codes.InvalidArgument, Invalid},
	"path of another form":    {changed(upload(1), func(s *pb.Submission) { s.Path = "authors/id/X/HA/HAARG/x.tar.gz" }), codes.InvalidArgument, Invalid},
	"long path":               {changed(upload(1), func(s *pb.Submission) { s.Path = "authors/id/H/HA/HAARG/" + strings.Repeat("x", 500) }), codes.InvalidArgument, Invalid},
	"upload of an index":      {changed(upload(1), func(s *pb.Submission) { s.Path = packages }), codes.InvalidArgument, Invalid},
	"index of an archive":     {changed(snapshot(1), func(s *pb.Submission) { s.Path = upload(1).Path }), codes.InvalidArgument, Invalid},
	"index that is not known": {changed(snapshot(1), func(s *pb.Submission) { s.Path = "modules/other.txt" }), codes.InvalidArgument, Invalid},

	"no digest":           {changed(upload(1), func(s *pb.Submission) { s.Sha256 = "" }), codes.InvalidArgument, Invalid},
	"digest in capitals":  {changed(upload(1), func(s *pb.Submission) { s.Sha256 = strings.ToUpper(s.Sha256) }), codes.InvalidArgument, Invalid},
	"short digest":        {changed(upload(1), func(s *pb.Submission) { s.Sha256 = s.Sha256[1:] }), codes.InvalidArgument, Invalid},
	"huge size":           {changed(upload(1), func(s *pb.Submission) { s.Size = 1_000_000_000_000_000 }), codes.InvalidArgument, Invalid},
	"no time":             {changed(upload(1), func(s *pb.Submission) { s.Time = "" }), codes.InvalidArgument, Invalid},
	"time with an offset": {changed(upload(1), func(s *pb.Submission) { s.Time = "2026-11-22T10:00:00+00:00" }), codes.InvalidArgument, Invalid},
	"no such date":        {changed(upload(1), func(s *pb.Submission) { s.Time = "2026-02-30T10:00:00Z" }), codes.InvalidArgument, Invalid},
	"no by":               {changed(upload(1), func(s *pb.Submission) { s.By = "" }), codes.InvalidArgument, Invalid},
	"by a mail address":   {changed(upload(1), func(s *pb.Submission) { s.By = "a@example.com" }), codes.InvalidArgument, Invalid},
	"no seen":             {changed(upload(1), func(s *pb.Submission) { s.Seen = "" }), codes.InvalidArgument, Invalid},
	"unknown seen":        {changed(upload(1), func(s *pb.Submission) { s.Seen = "rumour" }), codes.InvalidArgument, Invalid},

	"delete with a size":  {changed(deletion(0), func(s *pb.Submission) { s.Size = 7 }), codes.InvalidArgument, Invalid},
	"delete without by":   {changed(deletion(0), func(s *pb.Submission) { s.By = "" }), codes.InvalidArgument, Invalid},
	"index with by":       {changed(snapshot(1), func(s *pb.Submission) { s.By = "ETHER" }), codes.InvalidArgument, Invalid},
	"index, seen unknown": {changed(snapshot(1), func(s *pb.Submission) { s.Seen = "mirror" }), codes.InvalidArgument, Invalid},

	"a document":          {changed(upload(1), func(s *pb.Submission) { s.Path = "authors/id/H/HA/HAARG/Foo.readme" }), codes.InvalidArgument, NotUpload},
	"CHECKSUMS":           {changed(upload(1), func(s *pb.Submission) { s.Path = "authors/id/H/HA/HAARG/CHECKSUMS" }), codes.InvalidArgument, NotUpload},
	"delete of nothing":   {deletion(50), codes.NotFound, NotLogged},
	"too old":             {changed(upload(1), func(s *pb.Submission) { s.Time = "2026-11-15T09:59:59Z" }), codes.FailedPrecondition, OutOfTime},
	"too far ahead":       {changed(upload(1), func(s *pb.Submission) { s.Time = "2026-11-22T10:10:01Z" }), codes.FailedPrecondition, OutOfTime},
	"index that is older": {snapshot(4), codes.FailedPrecondition, OutOfTime},
	"index of one time":   {changed(snapshot(5), func(s *pb.Submission) { s.Sha256 = digest("x").String() }), codes.FailedPrecondition, OutOfTime},
}

// The log in which they are refused: an upload, and an index of minute 5.
func worldOfRefusals(t *testing.T) *world {
	w := newWorld(t, 1)
	w.log(t, must(submissionOf(w.tokens.known["all"], snapshot(5))).Entry)
	return w
}

func TestSubmitRefuses(t *testing.T) {
	w := worldOfRefusals(t)
	for name, c := range refused {
		t.Run(name, func(t *testing.T) {
			_, err := w.Submit(as(t, "all"), &pb.SubmitRequest{Submission: c.submission})
			wantMetadata(t, want(t, err, c.code, c.reason), nil)
		})
	}
	_, err := w.Submit(as(t, "all"), &pb.SubmitRequest{})
	want(t, err, codes.InvalidArgument, Invalid)
	if size := w.Sequencer.Published().Size; size != 2 {
		t.Errorf("%d entries; something of it was logged", size)
	}
}

func TestSubmitOfAnotherDigestIsAConflict(t *testing.T) {
	w := newWorld(t, 3)
	clash := func(content string) *pb.Submission {
		return changed(upload(1), func(s *pb.Submission) { s.Sha256 = digest(content).String() })
	}
	for i, c := range []struct {
		submission *pb.Submission
		at         string // of the conflict entry: one for each pair of digests
	}{{clash("a"), "3"}, {clash("a"), "3"}, {clash("b"), "4"}, {clash("a"), "3"}} {
		_, err := w.Submit(as(t, "all"), &pb.SubmitRequest{Submission: c.submission, Wait: pb.Wait_WAIT_PUBLISHED})
		wantMetadata(t, want(t, err, codes.FailedPrecondition, Conflict),
			map[string]string{"logged_sha256": upload(1).Sha256, "logged_index": "1", "conflict_index": c.at})
		if _, message, _ := Reason(err); !strings.Contains(message, upload(1).Sha256) || !strings.Contains(message, c.submission.Sha256) {
			t.Errorf("submission %d: the sentence does not name both digests: %s", i, message)
		}
	}
	if size := w.Sequencer.Published().Size; size != 5 {
		t.Errorf("%d entries, want 3 uploads and 2 conflicts", size)
	}
	r, err := w.GetEntry(t.Context(), &pb.GetEntryRequest{Index: 3})
	if err != nil {
		t.Fatal(err)
	}
	if e := must(entry.Parse([]byte(r.Entry))); e.Kind != entry.Conflict || e.Other != digest("a") {
		t.Errorf("%+v", e)
	}
}

func TestSubmitNeedsAToken(t *testing.T) {
	w := newWorld(t, 0)
	stream := func(ctx context.Context) error {
		s, err := w.SubmitStream(ctx)
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	one := func(ctx context.Context) error {
		_, err := w.Submit(ctx, &pb.SubmitRequest{Submission: upload(0)})
		return err
	}
	for name, call := range map[string]func(context.Context) error{"Submit": one, "SubmitStream": stream} {
		want(t, call(t.Context()), codes.Unauthenticated, Unauthenticated)
		for _, secret := range []string{"", "wrong", "ALL", "all ", " all"} {
			t.Run(fmt.Sprintf("%s as %q", name, secret), func(t *testing.T) {
				want(t, call(as(t, secret)), codes.Unauthenticated, Unauthenticated)
			})
		}
	}
	want(t, one(as(t, "indexes")), codes.PermissionDenied, Forbidden)
	if _, err := w.Submit(as(t, "indexes"), &pb.SubmitRequest{Submission: snapshot(1)}); err != nil {
		t.Error(err)
	}
	w.tokens.change(func() { delete(w.tokens.known, "indexes") })
	if _, err := w.Submit(as(t, "indexes"), &pb.SubmitRequest{Submission: snapshot(1)}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("with a revoked token: %v", err)
	}
	w.guard.Auth = nil
	want(t, one(as(t, "all")), codes.Unauthenticated, Unauthenticated)
	if size := w.Sequencer.Published().Size; size != 1 {
		t.Errorf("%d entries, want 1", size)
	}
}

func submitStream(t *testing.T, w *world, ctx context.Context) grpc.BidiStreamingClient[pb.SubmitStreamRequest, pb.SubmitStreamResponse] {
	t.Helper()
	s, err := w.SubmitStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each message is answered by one, in order, with a result for each of its submissions.
func TestSubmitStreamKeepsTheOrder(t *testing.T) {
	w := newWorld(t, 0)
	s := submitStream(t, w, as(t, "all"))
	const messages = 200
	go func() {
		for i := range messages {
			m := &pb.SubmitStreamRequest{Wait: []pb.Wait{pb.Wait_WAIT_UNSPECIFIED, pb.Wait_WAIT_PUBLISHED, pb.Wait_WAIT_SEQUENCED}[i%3]}
			for j := range i % 4 { // some are empty
				m.Submissions = append(m.Submissions, upload(10*i+j))
			}
			if err := s.Send(m); err != nil {
				t.Error(err)
			}
		}
		s.CloseSend()
	}()
	index := uint64(0)
	for i := range messages {
		m, err := s.Recv()
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if len(m.Results) != i%4 {
			t.Fatalf("answer %d has %d results, want %d", i, len(m.Results), i%4)
		}
		for j, r := range m.Results {
			sub := upload(10*i + j)
			if r.Refusal != nil || r.Index != index || r.Entry != string(entryBytes(t, sub)) {
				t.Errorf("answer %d, result %d: %v, want index %d", i, j, r, index)
			}
			if (r.Bundle != "") != (i%3 == 1) {
				t.Errorf("answer %d: the bundle is %q", i, r.Bundle)
			} else if r.Bundle != "" {
				if v := verified(t, []byte(r.Bundle), sub.Path, sub.Sha256, sub.Size); v.Outcome != verify.Verified {
					t.Errorf("answer %d, result %d: %v %s", i, j, v.Outcome, v.Message)
				}
			}
			index++
		}
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last answer: %v", err)
	}
}

func TestSubmitStreamRefusesOneByOne(t *testing.T) {
	w := worldOfRefusals(t)
	w.tokens.change(func() { w.tokens.known["no deletes"] = allowed{entry.Upload, entry.Index} })
	s := submitStream(t, w, as(t, "no deletes"))
	m := &pb.SubmitStreamRequest{Submissions: []*pb.Submission{upload(10)}}
	wantReasons := []string{""}
	for _, c := range refused {
		if c.submission.Kind == "delete" {
			continue
		}
		m.Submissions = append(m.Submissions, c.submission, upload(10+len(m.Submissions)))
		wantReasons = append(wantReasons, c.reason, "")
	}
	clash := changed(upload(0), func(s *pb.Submission) { s.Sha256 = digest("clash").String() })
	m.Submissions = append(m.Submissions, clash, deletion(0), upload(0))
	wantReasons = append(wantReasons, Conflict, Forbidden, "")
	if err := s.Send(m); err != nil {
		t.Fatal(err)
	}
	answer, err := s.Recv()
	if err != nil || len(answer.Results) != len(wantReasons) {
		t.Fatalf("%d results, want %d: %v", len(answer.GetResults()), len(wantReasons), err)
	}
	for i, r := range answer.Results {
		if r.Refusal.GetReason() != wantReasons[i] {
			t.Errorf("submission %d (%v): %v, want %q", i, m.Submissions[i], r.Refusal, wantReasons[i])
		}
		if r.Refusal != nil && (r.Refusal.Message == "" || r.Entry != "" || r.LeafHash != nil || r.Index != 0) {
			t.Errorf("submission %d: a refusal with %v", i, r)
		}
		if r.Refusal == nil && r.Entry != string(entryBytes(t, m.Submissions[i])) {
			t.Errorf("submission %d has the entry %q", i, r.Entry)
		}
	}
	conflict := answer.Results[len(answer.Results)-3].Refusal
	wantMetadata(t, conflict.Metadata, map[string]string{"logged_sha256": upload(0).Sha256, "logged_index": "0", "conflict_index": conflict.Metadata["conflict_index"]})
	// The stream goes on.
	if err := s.Send(&pb.SubmitStreamRequest{Submissions: []*pb.Submission{upload(0)}}); err != nil {
		t.Fatal(err)
	}
	if answer, err := s.Recv(); err != nil || !answer.Results[0].Repeated {
		t.Errorf("%v, %v", answer, err)
	}
}

func TestSubmitStreamWithoutWaiting(t *testing.T) {
	w := newWorld(t, 0)
	s := submitStream(t, w, as(t, "all"))
	bad := changed(upload(1), func(s *pb.Submission) { s.Sha256 = "" })
	if err := s.Send(&pb.SubmitStreamRequest{Wait: pb.Wait_WAIT_NONE, Submissions: []*pb.Submission{upload(0), bad, upload(2)}}); err != nil {
		t.Fatal(err)
	}
	answer, err := s.Recv()
	if err != nil || len(answer.Results) != 3 || answer.Results[1].Refusal.GetReason() != Invalid || answer.Results[0].Refusal != nil || answer.Results[2].Entry != "" {
		t.Fatalf("%v, %v", answer, err)
	}
	if _, err := w.Sequencer.WaitPublished(t.Context(), 2); err != nil {
		t.Error(err)
	}
}

// A stream ends with the word for what ended it, and what was sent before is answered first.
func TestSubmitStreamEnds(t *testing.T) {
	const before = 20
	tooMany := &pb.SubmitStreamRequest{}
	for n := range maxGroup + 1 {
		tooMany.Submissions = append(tooMany.Submissions, upload(n))
	}
	for name, c := range map[string]struct {
		end    func(*world)
		last   *pb.SubmitStreamRequest
		code   codes.Code
		reason string
	}{
		"too many submissions": {func(*world) {}, tooMany, codes.InvalidArgument, Invalid},
		"the token is revoked": {func(w *world) { w.tokens.change(func() { delete(w.tokens.known, "all") }) }, &pb.SubmitStreamRequest{}, codes.Unauthenticated, Unauthenticated},
		"a panic":              {func(w *world) { w.tokens.change(func() { w.tokens.panic = "all" }) }, &pb.SubmitStreamRequest{}, codes.Internal, Internal},
		"the log closes":       {func(w *world) { w.Sequencer.Close() }, nil, codes.Unavailable, Closing}, // however idle the client is
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 0)
			s := submitStream(t, w, as(t, "all"))
			for n := range before {
				if err := s.Send(&pb.SubmitStreamRequest{Submissions: []*pb.Submission{upload(n)}}); err != nil {
					t.Fatal(err)
				}
			}
			// They have been handed in; whether they are answered is what is at stake.
			if _, err := w.Sequencer.WaitPublished(t.Context(), before); err != nil {
				t.Fatal(err)
			}
			c.end(w)
			if c.last != nil {
				if err := s.Send(c.last); err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
			}
			for n := range before {
				if m, err := s.Recv(); err != nil || m.Results[0].Index != uint64(n) {
					t.Fatalf("answer %d: %v, %v", n, m, err)
				}
			}
			_, err := s.Recv()
			want(t, err, c.code, c.reason)
			if size := w.Sequencer.Published().Size; size != before {
				t.Errorf("%d entries, want %d", size, before)
			}
			if name == "a panic" && !strings.Contains(w.journal.String(), "the authenticator has a fault") {
				t.Errorf("the journal does not have the panic: %s", w.journal)
			}
		})
	}
}

func TestSubmitStreamTakesAFullMessage(t *testing.T) {
	w := newWorld(t, 0)
	s := submitStream(t, w, as(t, "all"))
	m := &pb.SubmitStreamRequest{}
	for n := range maxGroup {
		m.Submissions = append(m.Submissions, upload(n))
	}
	if err := s.Send(m); err != nil {
		t.Fatal(err)
	}
	if answer, err := s.Recv(); err != nil || len(answer.Results) != maxGroup || answer.Results[maxGroup-1].Index != maxGroup-1 {
		t.Errorf("%d results, %v", len(answer.GetResults()), err)
	}
}

// A client that leaves takes nothing with it: its place is free again, and what was taken is logged.
func TestSubmitStreamOfAClientThatLeaves(t *testing.T) {
	w := newWorld(t, 0)
	w.guard.MaxCalls = 1
	ctx, cancel := context.WithCancel(as(t, "all"))
	s := submitStream(t, w, ctx)
	if err := s.Send(&pb.SubmitStreamRequest{Submissions: []*pb.Submission{upload(0)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Sequencer.WaitPublished(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	for {
		_, err := w.Submit(as(t, "all"), &pb.SubmitRequest{Submission: upload(1)})
		if err == nil {
			break
		}
		want(t, err, codes.ResourceExhausted, Busy)
	}
}

// stuckStream is a client that sends without end and reads nothing until it is let go.
type stuckStream struct {
	grpc.ServerStream
	ctx      context.Context
	received int
	answers  int
	read     chan struct{}
}

func (s *stuckStream) Context() context.Context { return s.ctx }

func (s *stuckStream) Recv() (*pb.SubmitStreamRequest, error) {
	if s.ctx.Err() != nil {
		return nil, s.ctx.Err()
	}
	s.received++
	return &pb.SubmitStreamRequest{Submissions: []*pb.Submission{upload(s.received - 1)}}, nil
}

func (s *stuckStream) Send(m *pb.SubmitStreamResponse) error {
	select {
	case <-s.read:
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	s.answers++
	return nil
}

// Whoever sends and does not read is held back: no more is taken than the stream may have
// ahead. (gRPC's flow control then holds back the client.)
func TestSubmitStreamOfAClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		st, seq := newDisk(t).open(t)
		w.service = &Service{Store: st, Sequencer: seq}
		ctx, cancel := context.WithCancel(withCaller(incoming(t.Context(), "all"), &tokens{known: map[string]allowed{"all": {entry.Upload}}}))
		s := &stuckStream{ctx: ctx, read: make(chan struct{})}
		ended := make(chan error)
		go func() { ended <- w.service.SubmitStream(s) }()
		synctest.Wait() // for everything to stand still
		// maxAhead are taken, of which one is being answered, one each is in the hands of
		// the two goroutines before, and maxReceived are between these.
		const most = maxAhead + 2 + maxReceived
		if s.received != most {
			t.Errorf("%d messages were received, want %d", s.received, most)
		}
		if size := seq.Published().Size; size > maxAhead+2 {
			t.Errorf("%d entries", size)
		}
		// Each answer that is read lets one more in.
		for range 10 {
			s.read <- struct{}{}
		}
		synctest.Wait()
		if s.received != most+10 || s.answers != 10 {
			t.Errorf("%d messages and %d answers, want %d and 10", s.received, s.answers, most+10)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) && status.Code(err) != codes.Canceled {
			t.Errorf("%v", err)
		}
	})
}

// An old snapshot of an index is logged only if it was followed or found; its entry does not say
// which.
func TestOldIndexNeedsToHaveBeenFound(t *testing.T) {
	w := newWorld(t, 0)
	old := func(seen string) *pb.SubmitRequest {
		return &pb.SubmitRequest{Submission: changed(snapshot(1), func(s *pb.Submission) {
			s.Time, s.Seen = "2020-01-01T00:00:00Z", seen
		})}
	}
	for _, seen := range []string{"", "upload"} {
		_, err := w.Submit(as(t, "all"), old(seen))
		want(t, err, codes.FailedPrecondition, OutOfTime)
	}
	for _, seen := range []string{"follow", "backfill"} {
		r, err := w.Submit(as(t, "all"), old(seen))
		if err != nil || r.Result.Index != 0 || strings.Contains(r.Result.Entry, "seen") {
			t.Errorf("seen %q: %v, %v", seen, r, err)
		}
	}
}
