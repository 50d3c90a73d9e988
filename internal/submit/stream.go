package submit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

const (
	// Window is how many submissions a message may have.
	Window = 256
	// windows is how many messages may wait for their answers, while files are read.
	windows = 4
	// stall is how long the log may take for its next answer.
	stall = 2 * time.Minute
)

// ErrStall says that the log took too long to answer. What was submitted may be logged; to submit it again is safe.
var ErrStall = fmt.Errorf("the log did not answer within %v: submit again, which is always safe", stall)

// An Item is something to submit; or, with an Err, only something to be settled in its turn.
type Item struct {
	Entry entry.Entry
	Seen  entry.Seen
	Err   error // why it is not submitted
	Tag   any   // the caller's own
}

// Stream submits on one stream, ahead of the answers. produce runs in a goroutine of its own; it calls send with
// groups of at most Window items, and ends when it returns or send returns an error. settle is called
// for each group, in their order and in the caller's goroutine, with a result for each item: nil for those that
// have an Err. What is in results has not been checked.
//
// The error is the first of: produce's, settle's, the stream's, ErrStall, the context's. What was sent and
// not settled may be logged.
func Stream(ctx context.Context, log pb.LogClient, wait pb.Wait, produce func(ctx context.Context, send func([]Item) error) error,
	settle func([]Item, []*pb.SubmitResult) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	stream, err := log.SubmitStream(ctx)
	if err != nil {
		cancel(nil)
		return err
	}
	sent := make(chan []Item, windows)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(sent)
		if err := produce(ctx, func(group []Item) error { return sendGroup(ctx, stream, wait, group, sent) }); err != nil {
			cancel(err)
		} else if err := stream.CloseSend(); err != nil {
			cancel(err)
		}
	}()
	// The producer reads the caller's files: it must be at rest when this returns.
	defer func() { cancel(nil); <-ended }()
	for group := range sent {
		results, err := receive(stream, group, cancel)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return err
		}
		if err := settle(group, results); err != nil {
			return err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	defer watch(cancel).Stop()
	switch _, err := stream.Recv(); {
	case err == nil:
		return fmt.Errorf("%w: there are more answers than submissions", client.ErrAnswer)
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// watch ends a stream that stands still.
func watch(cancel context.CancelCauseFunc) *time.Timer {
	return time.AfterFunc(stall, func() { cancel(ErrStall) })
}

func sendGroup(ctx context.Context, stream pb.Log_SubmitStreamClient, wait pb.Wait, group []Item, sent chan<- []Item) error {
	if len(group) > Window {
		return fmt.Errorf("a group of %d items, at most %d are allowed", len(group), Window)
	}
	// Handed over first, so that whoever receives is there for the error that the log answers.
	select {
	case sent <- group:
	case <-ctx.Done():
		return ctx.Err()
	}
	r := &pb.SubmitStreamRequest{Wait: wait}
	for i := range group {
		if x := &group[i]; x.Err == nil {
			r.Submissions = append(r.Submissions, Message(&x.Entry, x.Seen))
		}
	}
	if len(r.Submissions) == 0 {
		return nil
	}
	if err := stream.Send(r); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil // after io.EOF, receiving tells why
}

// receive returns the answer to a group.
func receive(stream pb.Log_SubmitStreamClient, group []Item, cancel context.CancelCauseFunc) ([]*pb.SubmitResult, error) {
	n := 0
	for i := range group {
		if group[i].Err == nil {
			n++
		}
	}
	results := make([]*pb.SubmitResult, len(group))
	if n == 0 {
		return results, nil
	}
	defer watch(cancel).Stop()
	r, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: the answers end early: submit again, which is always safe", client.ErrAnswer)
	}
	if err == nil && len(r.Results) != n {
		err = fmt.Errorf("%w: %d results for %d submissions", client.ErrAnswer, len(r.Results), n)
	}
	if err != nil {
		return nil, err
	}
	for i := range group {
		if group[i].Err == nil {
			results[i], r.Results = r.Results[0], r.Results[1:]
		}
	}
	return results, nil
}
