package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/recent"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// A log that is away for an hour is asked again and again, but not often, and when it is back everything is logged.
func TestAnHourOfABadLog(t *testing.T) {
	for name, fault := range map[string]func(l *badLog){
		"it cannot be reached": func(l *badLog) { l.open = func() error { return status.Error(codes.Unavailable, "down") } },
		"it ends every stream": func(l *badLog) { l.receive = func(context.Context) error { return io.EOF } },
		"it answers with a page": func(l *badLog) {
			l.receive = func(context.Context) error { return status.Error(codes.Unknown, "text/html") }
		},
		"it never answers": func(l *badLog) { l.receive = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } },
		"it answers after 90 seconds, that it is busy": func(l *badLog) {
			l.receive = func(context.Context) error { <-time.After(90 * time.Second); return nil }
			l.memoryLog.refuse = func(*pb.Submission) *pb.Refusal { return &pb.Refusal{Reason: "busy", Message: "not now"} }
		},
		"it says that it logged something else": func(l *badLog) { l.memoryLog.lie = func(r *pb.SubmitResult) { r.LeafHash[0] ^= 1 } },
		"it does not know the token": func(l *badLog) {
			l.memoryLog.refuse = func(*pb.Submission) *pb.Refusal {
				return &pb.Refusal{Reason: "unauthenticated", Message: "who are you"}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.log.now = time.Now
				for _, name := range []string{"A", "B", "C"} {
					w.file(pathOf(name+"-1.tar.gz"), name)
					w.hook(entry.Upload, pathOf(name+"-1.tar.gz"), name)
				}
				l := &badLog{memoryLog: w.log}
				fault(l)
				w.file(pathOf("D-1.tar.gz"), "D")
				changes := &countedChanges{batch: recent.Batch{Events: []recent.Event{w.event(pathOf("D-1.tar.gz"), recent.TypeNew, time.Hour)}}}
				var walks, exports atomic.Int64
				failing := atomic.Bool{}
				failing.Store(true)
				down := func(n *atomic.Int64) error {
					n.Add(1)
					if failing.Load() {
						return errors.New("down")
					}
					return nil
				}
				a, err := New(Config{Spool: w.spool, Root: w.root, State: w.state, Log: l, Reader: l, Changes: changes, Logger: slog.New(slog.DiscardHandler),
					Walk:   func(context.Context, func(*entry.Entry, *pb.Refusal)) error { return down(&walks) },
					Export: func(context.Context) (uint64, error) { return 7, down(&exports) }})
				w.must(err)
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- a.Run(ctx) }()

				// Monitoring knows within a minute, and why soon after the log was given up for once.
				time.Sleep(61 * time.Second)
				report, err := Look(w.spool, w.state, time.Now(), time.Minute)
				if err != nil || !slices.ContainsFunc(report.Problems, func(p Problem) bool { return p.Kind == Behind }) {
					t.Errorf("after a minute: %+v, %v", report, err)
				}
				time.Sleep(4 * time.Minute)
				if report, err = Look(w.spool, w.state, time.Now(), time.Minute); err != nil || report.Agent.Failures["spool"].Message == "" {
					t.Errorf("after five minutes: no reason is given: %v, %v", report, err)
				}
				time.Sleep(time.Hour)
				for what, n := range map[string]int64{"streams": l.streams.Load(), "looks at the RECENT files": changes.calls.Load(), "walks": walks.Load(), "exports": exports.Load()} {
					t.Logf("%s: %d", what, n)
					if n < 10 || n > 300 {
						t.Errorf("in an hour: %d %s", n, what)
					}
				}
				if n := l.sent.Load(); n > 1000 {
					t.Errorf("in an hour: %d messages", n)
				}

				failing.Store(false)
				l.mend()
				time.Sleep(5 * time.Minute)
				if got := w.log.logged(); len(got) != 4 || w.waiting() != 0 || len(w.asides(a)) != 0 {
					t.Errorf("when it is back: logged %q, %d wait, aside: %v", got, w.waiting(), w.asides(a))
				}
				report, err = Look(w.spool, w.state, time.Now(), time.Minute)
				if err != nil || len(report.Problems) != 0 || len(report.Agent.Failures) != 0 {
					t.Errorf("when it is back: %+v, %v", report, err)
				}
				stop()
				if err := <-ended; err != nil {
					t.Errorf("the end: %v", err)
				}
			})
		})
	}
}

// An agent that has nothing to do leaves the log alone.
func TestAnHourOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l := &badLog{memoryLog: w.log}
		walks := 0
		a, err := New(Config{Spool: w.spool, Root: w.root, State: w.state, Log: l, Reader: l, Changes: &countedChanges{},
			Walk: func(context.Context, func(*entry.Entry, *pb.Refusal)) error { walks++; return nil }})
		w.must(err)
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		if err := a.Run(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if l.streams.Load() != 0 || walks != 1 {
			t.Errorf("%d streams, %d walks", l.streams.Load(), walks)
		}
	})
}

// A badLog is one that can be mended.
type badLog struct {
	*memoryLog
	open          func() error                // of a stream; nil: it opens
	receive       func(context.Context) error // before an answer; nil: it comes
	streams, sent atomic.Int64
	mended        atomic.Bool
}

func (l *badLog) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse, l.lie = nil, nil
	l.mended.Store(true)
}

func (l *badLog) SubmitStream(ctx context.Context, o ...grpc.CallOption) (pb.Log_SubmitStreamClient, error) {
	l.streams.Add(1)
	if l.open != nil && !l.mended.Load() {
		if err := l.open(); err != nil {
			return nil, err
		}
	}
	s, err := l.memoryLog.SubmitStream(ctx, o...)
	return &badStream{s, l, ctx}, err
}

func (l *badLog) Gather(ctx context.Context, path string, d entry.Digest, trusted bool) (*client.Evidence, error) {
	return l.memoryLog.Gather(ctx, path, d, trusted)
}

type badStream struct {
	pb.Log_SubmitStreamClient
	log *badLog
	ctx context.Context
}

func (s *badStream) Send(r *pb.SubmitStreamRequest) error {
	s.log.sent.Add(1)
	return s.Log_SubmitStreamClient.Send(r)
}

func (s *badStream) Recv() (*pb.SubmitStreamResponse, error) {
	if s.log.receive != nil && !s.log.mended.Load() {
		if err := s.log.receive(s.ctx); err != nil {
			return nil, err
		}
	}
	return s.Log_SubmitStreamClient.Recv()
}

// countedChanges tell of their events until these are dealt with.
type countedChanges struct {
	batch recent.Batch
	calls atomic.Int64
}

func (c *countedChanges) Start(context.Context) (recent.State, error) { return recent.State{}, nil }
func (c *countedChanges) Next(_ context.Context, s recent.State) (recent.Batch, recent.State, error) {
	if c.calls.Add(1) == 1 {
		return c.batch, s, nil
	}
	return recent.Batch{}, s, nil
}
