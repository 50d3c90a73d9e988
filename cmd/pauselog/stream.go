package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

const (
	window = 256 // submissions in one message
	// windows is how many messages may wait for their answers, while files are read.
	windows = 4
	// gather is how long a message waits for more files: large ones take time to read.
	gather = time.Second
	// stall is how long the log may take for its next answer.
	stall = 2 * time.Minute
)

// run submits the files: one goroutine reads and sends, this one receives and prints.
func (s *submitter) run(ctx context.Context, log pb.LogClient, files []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := log.SubmitStream(ctx)
	if err != nil {
		return err
	}
	sent := make(chan []item, windows)
	go func() {
		defer close(sent)
		if err := s.send(ctx, stream, files, sent); err != nil {
			cancel(err)
		}
	}()
	p := s.app.progressOf("files")
	done := uint64(0)
	for group := range sent {
		var results []*pb.SubmitResult
		if n := submissions(group); n > 0 {
			if results, err = receive(stream, n, cancel); err != nil {
				if cause := context.Cause(ctx); cause != nil {
					err = cause
				}
				return err
			}
		}
		p.clear()
		for _, x := range group {
			if x.err != nil {
				s.leaveOut(x)
				continue
			}
			s.settle(x.submission, results[0])
			results = results[1:]
		}
		done += uint64(len(group))
		p.show(done, uint64(len(files)))
	}
	p.clear()
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
	return time.AfterFunc(stall, func() {
		cancel(outcomeError{verify.Unverifiable, fmt.Errorf("the log did not answer within %v: submit again, which is always safe", stall)})
	})
}

// An item is a file: a submission, or the reason why there is none.
type item struct {
	file string
	*submission
	err error
}

func submissions(group []item) (n int) {
	for _, x := range group {
		if x.err == nil {
			n++
		}
	}
	return n
}

// send reads the files and sends them in groups. What it has sent it hands over, in order.
func (s *submitter) send(ctx context.Context, stream pb.Log_SubmitStreamClient, files []string, sent chan<- []item) error {
	var group []item
	flush := func() error {
		r := &pb.SubmitStreamRequest{Wait: s.wait}
		for _, x := range group {
			if x.err == nil {
				r.Submissions = append(r.Submissions, messageFor(&x.entry, s.seen))
			}
		}
		// Handed over first, so that whoever receives is there for the error that the log answers.
		select {
		case sent <- group:
		case <-ctx.Done():
			return ctx.Err()
		}
		group = nil
		if len(r.Submissions) == 0 {
			return nil
		}
		if err := stream.Send(r); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		return nil // after io.EOF, receiving tells why
	}
	start := time.Now()
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		x, err := s.classify(file)
		group = append(group, item{file, x, err})
		if len(group) == window || time.Since(start) > gather {
			if err := flush(); err != nil {
				return err
			}
			start = time.Now()
		}
	}
	if err := flush(); err != nil {
		return err
	}
	return stream.CloseSend()
}

// receive returns the answer to a group.
func receive(stream pb.Log_SubmitStreamClient, n int, cancel context.CancelCauseFunc) ([]*pb.SubmitResult, error) {
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
	return r.Results, nil
}

// leaveOut reports a file that was not submitted.
func (s *submitter) leaveOut(x item) {
	a := s.app
	o, word := verify.Error, verify.Error.String()
	if errors.Is(x.err, errNever) {
		o, word = verify.Verified, "skipped"
	}
	s.worst = verify.Worst(s.worst, o)
	if a.json {
		a.object(map[string]any{"outcome": word, "code": o.Code(), "file": x.file, "message": plain(x.err.Error())})
		return
	}
	fmt.Fprintf(a.stderr, "%s: %s: %s\n", plain(x.file), word, plain(x.err.Error()))
}

// settle reports what became of a submission, and writes its proof.
func (s *submitter) settle(x *submission, r *pb.SubmitResult) {
	a := s.app
	if r.Refusal != nil {
		s.worst = verify.Worst(s.worst, a.refused(x.file, &x.entry, r.Refusal))
		return
	}
	if s.wait == pb.Wait_WAIT_NONE {
		a.logged(x.file, &x.entry, nil)
		return
	}
	err := checkLogged(&x.entry, r)
	if err == nil && s.wait == pb.Wait_WAIT_PUBLISHED {
		var verified *verify.Result
		if verified, err = s.checkBundle(x, r); verified != nil && verified.Outcome != verify.Verified {
			a.keepEvidence(verified)
			s.worst = verify.Worst(s.worst, verified.Outcome)
			a.print(x.file, verified)
			return
		}
	}
	if err == nil && s.writeProofs {
		// Everyone who may read the file may read its proof.
		err = atomicfile.Write(x.file+proof.Extension, []byte(r.Bundle), 0o644)
	}
	if err != nil {
		o := a.outcomeOf(err)
		s.worst = verify.Worst(s.worst, o)
		a.print(x.file, &verify.Result{Outcome: o, Path: x.entry.Path, SHA256: x.entry.SHA256, Size: x.entry.Size, Message: plain(err.Error())})
		return
	}
	a.logged(x.file, &x.entry, r)
}
