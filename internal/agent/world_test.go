package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/pauselog/pauselog/internal/spool"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// A world is a tree, a spool, and a log in memory that keeps the rules of package entry.
type world struct {
	*testing.T
	root, state string
	spool       *spool.Folder
	log         *memoryLog
	count       int
	now         time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, root: t.TempDir(), state: filepath.Join(t.TempDir(), "state"), now: time.Now().Truncate(time.Second)}
	w.log = &memoryLog{now: func() time.Time { return w.now }, last: map[string]*entry.Last{}}
	dir := t.TempDir()
	for _, name := range []string{"new", "tmp"} {
		w.must(os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	var err error
	w.spool, err = spool.Open(dir)
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) agent() *Agent {
	w.Helper()
	a, err := New(Config{Spool: w.spool, Root: w.root, State: w.state, Log: w.log, Reader: w.log, Now: func() time.Time { return w.now }})
	w.must(err)
	return a
}

func pathOf(name string) string { return "authors/id/E/EX/EXAMPLE/" + name }

// file puts a file onto PAUSE's disk.
func (w *world) file(path, text string) {
	w.Helper()
	name := filepath.Join(w.root, filepath.FromSlash(path))
	w.must(os.MkdirAll(filepath.Dir(name), 0o755))
	w.must(os.WriteFile(name, []byte(text), 0o644))
}

// hook writes what PAUSE's hook does; a text of "-" is a file that it could not read.
func (w *world) hook(kind entry.Kind, path, text string, change ...func(*spool.Event)) {
	w.Helper()
	e := &spool.Event{Kind: kind, Path: path, Time: entry.TimeOf(w.now), By: "EXAMPLE"}
	if kind == entry.Index {
		e.By = ""
	}
	if text != "-" {
		e.Read, e.Digest, e.Size = true, sha256.Sum256([]byte(text)), uint64(len(text))
	}
	for _, c := range change {
		c(e)
	}
	w.count++
	// Without syncing: there is no power cut in these tests, and there are many files.
	name := fmt.Sprintf("%010d.%06d-1-%d.json", w.now.Unix(), w.count, w.count)
	w.must(os.WriteFile(filepath.Join(w.spool.String(), "new", name), e.Marshal(), 0o644))
}

func (w *world) waiting() int {
	w.Helper()
	l, err := w.spool.List(1)
	w.must(err)
	return l.Total
}

// asides returns what is set aside, as words by path.
func (w *world) asides(a *Agent) map[string]Word {
	w.Helper()
	list, err := a.aside.list()
	w.must(err)
	out := map[string]Word{}
	for _, x := range list {
		if x.At.IsZero() || x.Message == "" {
			w.Errorf("a note without a time or a reason: %+v", x)
		}
		out[x.Path] = x.Word
	}
	return out
}

// A memoryLog takes submissions as the log does, unless it is told to fail.
type memoryLog struct {
	pb.LogClient
	now func() time.Time

	mu      sync.Mutex
	entries []*entry.Entry
	last    map[string]*entry.Last

	refuse func(*pb.Submission) *pb.Refusal // may be nil; before the rules
	fail   func(n int) error                // called with the number of the answer: an error ends the stream before it
	lie    func(*pb.SubmitResult)
	calls  int
}

func (l *memoryLog) SubmitStream(ctx context.Context, _ ...grpc.CallOption) (pb.Log_SubmitStreamClient, error) {
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
		s.log.mu.Lock()
		defer s.log.mu.Unlock()
		out := &pb.SubmitStreamResponse{}
		for _, x := range r.Submissions {
			out.Results = append(out.Results, s.log.submit(x))
		}
		s.log.calls++
		// What is logged is logged, also if the answer is lost.
		if s.log.fail != nil {
			if err := s.log.fail(s.log.calls); err != nil {
				return nil, err
			}
		}
		return out, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (l *memoryLog) submit(s *pb.Submission) *pb.SubmitResult {
	if l.refuse != nil {
		if r := l.refuse(s); r != nil {
			return &pb.SubmitResult{Refusal: r}
		}
	}
	e := &entry.Entry{Kind: entry.Kind(s.Kind), Path: s.Path, Size: s.Size, By: s.By, Seen: entry.Seen(s.Seen)}
	if e.Kind == entry.Index {
		e.By, e.Seen = "", ""
	}
	var err1, err2 error
	e.SHA256, err1 = entry.ParseDigest(s.Sha256)
	e.Time, err2 = entry.ParseTime(s.Time)
	if err := errors.Join(err1, err2, e.CheckSubmission()); err != nil {
		return &pb.SubmitResult{Refusal: &pb.Refusal{Reason: "invalid", Message: err.Error()}}
	}
	last := l.last[e.Path]
	verdict, err := last.Decide(e, entry.Seen(s.Seen), l.now())
	switch verdict {
	case entry.Repeated:
		return l.result(last.Entry, last.Index, true)
	case entry.Appended:
		index := uint64(len(l.entries))
		l.entries = append(l.entries, e)
		l.last[e.Path] = last.Next(e, index)
		return l.result(e, index, false)
	}
	reason := map[error]string{entry.ErrConflict: "conflict", entry.ErrNotLogged: "not-logged", entry.ErrOutOfTime: "time"}
	r := &pb.Refusal{Reason: "invalid", Message: err.Error()}
	for is, word := range reason {
		if errors.Is(err, is) {
			r.Reason = word
		}
	}
	if r.Reason == "conflict" {
		r.Metadata = map[string]string{"logged_sha256": last.Entry.SHA256.String()}
	}
	return &pb.SubmitResult{Refusal: r}
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

// logged lists kind and path of each entry, in order.
func (l *memoryLog) logged() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		out = append(out, fmt.Sprintf("%s %s", e.Kind, filepath.Base(e.Path)))
	}
	return out
}
