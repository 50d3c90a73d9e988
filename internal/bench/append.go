package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// most is how many entries one row appends at most: the time ends nearly all.
const most = 600_000

// Rows that are compared.
const (
	rowAppendOne    = "3,072 callers, one entry each"
	rowAppendGroups = "64 callers, groups of 256"
	rowIdle         = "one append to its durable checkpoint, median"
)

// appends: many callers in this process, each of which waits until its entries are durable. The log and Tessera take turns.
func (b *bench) appends(ctx context.Context) error {
	persistent, seconds := manyCallers, manyCallers
	persistent.Persist = true
	seconds.Interval = time.Second
	for _, f := range []func() error{
		func() error { return b.append(ctx, rowAppendOne, 3072, 1) },
		func() error { return b.peerAppend(ctx, "persistent deduplication", persistent) },
		func() error { return b.append(ctx, rowAppendGroups, 64, 256) },
		func() error { return b.peerAppend(ctx, "without deduplication", manyCallers) },
		func() error { return b.peerAppend(ctx, "without deduplication, each second", seconds) },
	} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) append(ctx context.Context, what string, callers, group int) error {
	count := b.atMost(most) / group
	entries := b.corpus(count * group)
	return b.onEmptyLog(fmt.Sprintf("append-%d", group), func(l *local) error {
		perSecond, err := b.rate(ctx, fmt.Sprintf("append/%d", group), callers, count, func(i int) error {
			return l.submit(ctx, entries[i*group:(i+1)*group])
		})
		b.add("append", what, "/s", perSecond*float64(group))
		return err
	})
}

// onEmptyLog makes a log, opens it in this process, and closes it.
func (b *bench) onEmptyLog(name string, f func(*local) error) error {
	d, err := b.newFolder(name)
	if err != nil {
		return err
	}
	l, err := openLocal(d.Folder)
	if err != nil {
		return err
	}
	return errors.Join(f(l), l.close(), d.remove())
}

// grpcAppends: the same through a server.
func (b *bench) grpcAppends(ctx context.Context) error {
	for _, x := range []struct {
		name, what string
		group      int
		run        func(context.Context, *server, string, []*pb.Submission, int) (float64, error)
	}{
		{"unary", "unary, 64 at a time", 1, b.unarySubmits},
		{"stream-1", "4 streams, 1 a message", 1, b.streamSubmits},
		{"stream-256", "4 streams, 256 a message", 256, b.streamSubmits},
	} {
		entries := submissions(b.corpus(b.atMost(most)))
		d, err := b.newFolder("grpc-" + x.name)
		if err != nil {
			return err
		}
		s, err := b.serve(ctx, d, "")
		if err != nil {
			return err
		}
		perSecond, err := x.run(ctx, s, "grpc-append/"+x.name, entries, x.group)
		if err := errors.Join(err, s.close(), d.remove()); err != nil {
			return err
		}
		b.add("grpc-append", x.what, "/s", perSecond)
	}
	return nil
}

func (b *bench) unarySubmits(ctx context.Context, s *server, row string, entries []*pb.Submission, _ int) (float64, error) {
	return b.rate(ctx, row, 64, len(entries), func(i int) error { return s.submit(ctx, entries[i]) })
}

func (s *server) submit(ctx context.Context, e *pb.Submission) error {
	r, err := s.api.Submit(ctx, &pb.SubmitRequest{Submission: e, Wait: pb.Wait_WAIT_SEQUENCED})
	if err == nil && r.Result.Repeated {
		err = fmt.Errorf("entry %d was there before", r.Result.Index)
	}
	return err
}

func (b *bench) streamSubmits(ctx context.Context, s *server, row string, entries []*pb.Submission, group int) (float64, error) {
	end, err := b.begin(row)
	if err != nil {
		return 0, err
	}
	defer end()
	const streams = 4
	var done atomic.Int64
	began := time.Now()
	share := len(entries) / streams
	// One call of repeat is one stream, which watches the time itself.
	_, err = repeat(ctx, streams, streams, time.Hour, func(i int) error {
		return s.stream(ctx, entries[i*share:(i+1)*share], group, began.Add(b.limit()), &done)
	})
	return float64(done.Load()) / time.Since(began).Seconds(), err
}

// stream submits entries, in messages of a group, and ends at a time or when all are durable.
func (s *server) stream(ctx context.Context, entries []*pb.Submission, group int, end time.Time, done *atomic.Int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.api.SubmitStream(ctx)
	if err != nil {
		return err
	}
	window := make(chan struct{}, max(16, 1024/group)) // messages on their way
	sent := make(chan error, 1)
	go func() { sent <- send(ctx, stream, entries, group, end, window) }()
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return <-sent
		}
		if err != nil {
			return err
		}
		<-window
		for _, x := range r.Results {
			if x.Refusal != nil || x.Repeated {
				return fmt.Errorf("entry %d: %v", x.Index, x)
			}
		}
		done.Add(int64(len(r.Results)))
	}
}

func send(ctx context.Context, stream grpc.BidiStreamingClient[pb.SubmitStreamRequest, pb.SubmitStreamResponse], entries []*pb.Submission, group int, end time.Time, window chan struct{}) error {
	for len(entries) > 0 && time.Now().Before(end) {
		select {
		case window <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		n := min(group, len(entries))
		if err := stream.Send(&pb.SubmitStreamRequest{Submissions: entries[:n], Wait: pb.Wait_WAIT_SEQUENCED}); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return stream.CloseSend()
}

// idle: one append at a time on the log of n entries.
func (b *bench) idle(ctx context.Context) error {
	l, err := b.bigLocal(ctx)
	if err != nil {
		return err
	}
	err = b.latency(ctx, "idle", func(entries []entry.Entry) func(int) error {
		return func(i int) error { return l.submit(ctx, entries[i:i+1]) }
	})
	if err != nil || b.program == "" {
		return err
	}
	return b.peerIdle(ctx)
}

// grpcIdle: the same through a server.
func (b *bench) grpcIdle(ctx context.Context) error {
	s, err := b.bigServer(ctx)
	if err != nil {
		return err
	}
	return b.latency(ctx, "grpc-idle", func(entries []entry.Entry) func(int) error {
		subs := submissions(entries)
		return func(i int) error { return s.submit(ctx, subs[i]) }
	})
}

func (b *bench) latency(ctx context.Context, section string, of func([]entry.Entry) func(int) error) error {
	count := min(500, max(50, b.n/20))
	took, err := b.paced(ctx, section, 5*time.Millisecond, count, of(b.more(count)))
	if err != nil {
		return err
	}
	b.add(section, rowIdle, "ms", milliseconds(quantile(took, 0.5)))
	b.add(section, "one append to its durable checkpoint, 99th of 100", "ms", milliseconds(quantile(took, 0.99)))
	return nil
}
