package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/internal/submit"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// gather is how long a message waits for more files: large ones take time to read.
const gather = time.Second

// run submits the files: one goroutine reads and sends, this one receives and prints.
func (s *submitter) run(ctx context.Context, log pb.LogClient, files []string) error {
	p := s.app.progressOf("files")
	defer p.clear()
	done := uint64(0)
	return submit.Stream(ctx, log, s.wait, func(ctx context.Context, send func([]submit.Item) error) error {
		var group []submit.Item
		start := time.Now()
		for _, file := range files {
			if err := ctx.Err(); err != nil {
				return err
			}
			group = append(group, s.classify(file))
			if len(group) == submit.Window || time.Since(start) > gather {
				if err := send(group); err != nil {
					return err
				}
				group, start = nil, time.Now()
			}
		}
		return send(group)
	}, func(group []submit.Item, results []*pb.SubmitResult) error {
		p.clear()
		for i, x := range group {
			if x.Err != nil {
				s.leaveOut(x.Tag.(string), x.Err)
				continue
			}
			s.settle(&submission{x.Tag.(string), x.Entry}, results[i])
		}
		done += uint64(len(group))
		p.show(done, uint64(len(files)))
		return nil
	})
}

// leaveOut reports a file that was not submitted.
func (s *submitter) leaveOut(file string, err error) {
	a := s.app
	o, word := verify.Error, verify.Error.String()
	if errors.Is(err, submit.ErrNever) {
		o, word = verify.Verified, "skipped"
	}
	s.worst = verify.Worst(s.worst, o)
	if a.json {
		a.object(map[string]any{"outcome": word, "code": o.Code(), "file": file, "message": plain(err.Error())})
		return
	}
	fmt.Fprintf(a.stderr, "%s: %s: %s\n", plain(file), word, plain(err.Error()))
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
	err := submit.CheckLogged(&x.entry, r)
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
