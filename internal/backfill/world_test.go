package backfill

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// A world is some trees and a log in memory that keeps the rules of package entry.
type world struct {
	testing.TB
	roots []string
	log   *memoryLog
}

func newWorld(t testing.TB, roots int) *world {
	w := &world{TB: t, log: &memoryLog{last: map[string]*entry.Last{}}}
	for range roots {
		root := t.TempDir()
		w.must(os.MkdirAll(filepath.Join(root, archives), 0o755))
		w.roots = append(w.roots, root)
	}
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

const author = archives + "/E/EX/EXAMPLE/"

var someTime = time.Unix(1_234_567_890, 0)

func (w *world) name(root int, path string) string {
	w.Helper()
	name := filepath.Join(w.roots[root], path)
	w.must(os.MkdirAll(filepath.Dir(name), 0o755))
	return name
}

func (w *world) file(root int, path, text string) {
	w.Helper()
	name := w.name(root, path)
	w.must(os.WriteFile(name, []byte(text), 0o644))
	w.must(os.Chtimes(name, someTime, someTime))
}

func (w *world) config() Config {
	return Config{Roots: w.roots, Log: w.log, LogID: "log.example", Jobs: 4}
}

// run walks to the end, and returns what was reported.
func (w *world) run(c Config) ([]Outcome, *Summary) {
	w.Helper()
	out, summary, err := try(w.Context(), c)
	w.must(err)
	return out, summary
}

func try(ctx context.Context, c Config) (out []Outcome, s *Summary, err error) {
	each := c.Each
	c.Each = func(o Outcome) error {
		if each != nil {
			if err := each(o); err != nil {
				return err
			}
		}
		out = append(out, o)
		return nil
	}
	s, err = Run(ctx, c)
	return out, s, err
}

func digestOf(text string) entry.Digest { return sha256.Sum256([]byte(text)) }

// A memoryLog takes submissions as a log does, unless it is told to fail.
type memoryLog struct {
	pb.LogClient

	mu      sync.Mutex
	entries []*entry.Entry
	last    map[string]*entry.Last

	repeated int // submissions
	calls    int // answers to groups
	streams  int // opened

	open   func() error                      // before a stream is opened; may be nil, as those that follow
	refuse func(*pb.Submission) *pb.Refusal  // before the rules
	fail   func(call int, logged bool) error // an error ends the stream, before or after the group is logged
	lie    func(*pb.SubmitResult)
}

func (l *memoryLog) SubmitStream(ctx context.Context, _ ...grpc.CallOption) (pb.Log_SubmitStreamClient, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams++
	if l.open != nil {
		if err := l.open(); err != nil {
			return nil, err
		}
	}
	return &memoryStream{log: l, ctx: ctx, requests: make(chan *pb.SubmitStreamRequest, 16)}, nil
}

type memoryStream struct {
	grpc.ClientStream
	log      *memoryLog
	ctx      context.Context
	requests chan *pb.SubmitStreamRequest
}

func (s *memoryStream) Send(r *pb.SubmitStreamRequest) error {
	select {
	case s.requests <- r:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func (s *memoryStream) CloseSend() error { close(s.requests); return nil }

func (s *memoryStream) Recv() (*pb.SubmitStreamResponse, error) {
	select {
	case r, ok := <-s.requests:
		if !ok {
			return nil, io.EOF
		}
		return s.log.answer(r)
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (l *memoryLog) answer(r *pb.SubmitStreamRequest) (*pb.SubmitStreamResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if l.fail != nil {
		if err := l.fail(l.calls, false); err != nil {
			return nil, err
		}
	}
	out := &pb.SubmitStreamResponse{}
	for _, x := range r.Submissions {
		out.Results = append(out.Results, l.submit(x))
	}
	if l.fail != nil {
		if err := l.fail(l.calls, true); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (l *memoryLog) submit(s *pb.Submission) *pb.SubmitResult {
	if l.refuse != nil {
		if r := l.refuse(s); r != nil {
			return &pb.SubmitResult{Refusal: r}
		}
	}
	e := &entry.Entry{Kind: entry.Kind(s.Kind), Path: s.Path, Size: s.Size, By: s.By, Seen: entry.Seen(s.Seen)}
	var err1, err2 error
	e.SHA256, err1 = entry.ParseDigest(s.Sha256)
	e.Time, err2 = entry.ParseTime(s.Time)
	if err := errors.Join(err1, err2, e.CheckSubmission()); err != nil {
		return &pb.SubmitResult{Refusal: &pb.Refusal{Reason: "invalid", Message: err.Error()}}
	}
	last := l.last[e.Path]
	verdict, err := last.Decide(e, e.Seen, someTime)
	switch verdict {
	case entry.Repeated:
		l.repeated++
		return l.result(last.Entry, last.Index, true)
	case entry.Appended:
		return l.result(e, l.append(e), false)
	}
	r := &pb.Refusal{Reason: "invalid", Message: err.Error()}
	if errors.Is(err, entry.ErrConflict) {
		r.Reason, r.Metadata = "conflict", map[string]string{"logged_sha256": last.Entry.SHA256.String()}
	}
	return &pb.SubmitResult{Refusal: r}
}

func (l *memoryLog) append(e *entry.Entry) uint64 {
	index := uint64(len(l.entries))
	l.entries = append(l.entries, e)
	l.last[e.Path] = l.last[e.Path].Next(e, index)
	return index
}

func (l *memoryLog) result(e *entry.Entry, index uint64, repeated bool) *pb.SubmitResult {
	text, err := e.Marshal()
	if err != nil {
		panic(err)
	}
	leaf := tree.LeafHash(text)
	r := &pb.SubmitResult{Index: index, Entry: string(text), LeafHash: leaf[:], Repeated: repeated}
	if l.lie != nil {
		l.lie(r)
	}
	return r
}

// logged returns the paths of the entries, in their order.
func (l *memoryLog) logged() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		out = append(out, e.Path)
	}
	return out
}

func (l *memoryLog) ListEntries(context.Context, *pb.ListEntriesRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[pb.ListEntriesResponse], error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open != nil {
		if err := l.open(); err != nil {
			return nil, err
		}
	}
	r := &pb.ListEntriesResponse{}
	for _, e := range l.entries {
		text, err := e.Marshal()
		if err != nil {
			return nil, err
		}
		r.Entries = append(r.Entries, string(text))
	}
	return &onePage{page: r}, nil
}

type onePage struct {
	grpc.ClientStream
	page *pb.ListEntriesResponse
}

func (p *onePage) Recv() (*pb.ListEntriesResponse, error) {
	r := p.page
	if p.page = nil; r == nil {
		return nil, io.EOF
	}
	return r, nil
}
