package backfill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/submit"
	"github.com/pauselog/pauselog/log/client"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

const (
	firstDelay = time.Second
	lastDelay  = time.Minute
	// idle is how long a stream is held open for nothing. A slow walk opens one for each handful of files.
	idle = 10 * time.Second
	// maxNonsense is how often in a row an answer may be none that can be understood.
	maxNonsense = 5
)

// sent are the groups that the log has not answered. They are submitted again when a stream fails.
type sent struct {
	mu     sync.Mutex
	groups [][]submit.Item
}

func (s *sent) add(g []submit.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = append(s.groups, g)
}

func (s *sent) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = slices.Delete(s.groups, 0, 1)
}

func (s *sent) all() [][]submit.Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.groups)
}

// A final error is not tried again.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// submit submits all that the feed has, and asks again whenever the log fails.
func (r *run) submit(ctx context.Context) error {
	for {
		if len(r.sent.all()) == 0 {
			if more, err := r.feed.ready(ctx); err != nil {
				return err
			} else if !more {
				return r.feed.err
			}
		}
		err := submit.Stream(ctx, r.Log, pb.Wait_WAIT_SEQUENCED, r.produce, r.settle)
		if err == nil {
			continue
		}
		if err := r.again(ctx, err); err != nil {
			return err
		}
	}
}

// produce submits once more what was not answered, and then what comes.
func (r *run) produce(ctx context.Context, send func([]submit.Item) error) error {
	for _, g := range r.sent.all() {
		if err := send(g); err != nil {
			return err
		}
	}
	for {
		t := time.NewTimer(idle)
		g, err := r.feed.take(ctx, t.C)
		t.Stop()
		if err != nil || len(g) == 0 {
			return err
		}
		r.sent.add(g) // first, so that it is not lost when the stream fails
		if err := send(g); err != nil {
			return err
		}
	}
}

// pretend goes through everything without a log.
func (r *run) pretend(ctx context.Context) error {
	for {
		g, err := r.feed.take(ctx, nil)
		if err != nil {
			return err
		}
		if len(g) == 0 {
			return r.feed.err
		}
		for i := range g {
			if err := r.report(g[i].Tag.(*Outcome)); err != nil {
				return err
			}
		}
		r.finished(g)
	}
}

// settle deals with the answers to a group. An error is final, unless the log only cannot take the group now.
func (r *run) settle(group []submit.Item, results []*pb.SubmitResult) error {
	// Before anything is reported: the whole group will come once more.
	for _, x := range results {
		if x != nil && x.Refusal != nil {
			switch x.Refusal.Reason {
			case "busy", "closing", "held", "internal":
				return fmt.Errorf("the log refuses for now: %s: %s", x.Refusal.Reason, x.Refusal.Message)
			case "forbidden":
				return final{status.Errorf(codes.PermissionDenied, "the log refuses: %s", x.Refusal.Message)}
			}
		}
	}
	for i := range group {
		o := group[i].Tag.(*Outcome)
		if err := judge(o, &group[i], results[i]); err != nil {
			return final{err}
		}
		if err := r.report(o); err != nil {
			return final{err}
		}
	}
	if err := r.journal.settled(group[len(group)-1].Tag.(*Outcome).Path); err != nil {
		return final{err}
	}
	r.sent.answered()
	r.wait.reset()
	r.finished(group)
	return nil
}

// judge says what the log's answer makes of a file; result is nil if it was not submitted.
func judge(o *Outcome, x *submit.Item, result *pb.SubmitResult) error {
	if x.Err != nil {
		return nil
	}
	if no := result.Refusal; no != nil {
		o.Word, o.Err, o.Reason = Refused, errors.New(no.Message), no.Reason
		if no.Reason == "conflict" {
			o.Word, o.Logged = Conflict, no.Metadata["logged_sha256"]
		}
		return nil
	}
	if err := submit.CheckLogged(&x.Entry, result); err != nil {
		return err
	}
	o.Word, o.Index = Logged, result.Index
	if result.Repeated {
		o.Word = Known
	}
	return nil
}

// report counts an outcome and tells the caller.
func (r *run) report(o *Outcome) error {
	all := []Outcome{*o}
	if o.special != nil && o.Word != Special {
		all = append(all, Outcome{Word: Special, Path: o.Path, Err: o.special})
	}
	r.summary.Bytes += o.read
	for _, o := range all {
		if o.Err == errDone {
			o.Err = nil
		}
		r.summary.Counts[o.Word]++
		if r.Each != nil {
			if err := r.Each(o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) finished(group []submit.Item) {
	r.paths += uint64(len(group))
	r.summary.Last = group[len(group)-1].Tag.(*Outcome).Path
	if r.Progress != nil {
		r.Progress(Progress{Paths: r.paths, Total: r.total.Load(), Bytes: r.summary.Bytes})
	}
}

// patience is how long the log has been failing.
type patience struct {
	since    time.Time // of the first failure; zero: it does not fail
	delay    time.Duration
	nonsense int
}

func (p *patience) reset() { *p = patience{} }

// again waits before the log is asked again, or returns the error to end with.
func (r *run) again(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var f final
	if errors.As(err, &f) {
		return f.error
	}
	switch reason, _ := client.Reason(err); {
	case reason == "forbidden", reason == "unauthenticated", reason == "invalid":
		return err
	case reason == "":
		switch status.Code(err) {
		case codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument, codes.Unimplemented:
			return err
		}
	}
	p := &r.wait
	now := time.Now()
	if p.since.IsZero() {
		p.since, p.delay = now, firstDelay
	}
	if errors.Is(err, client.ErrAnswer) {
		// Also a log that is stopped may cut off its answers. One that only ever does so is none.
		if p.nonsense++; p.nonsense == maxNonsense {
			return err
		}
	}
	next := min(p.delay+rand.N(p.delay), lastDelay) // so that many do not come at the same moment
	p.delay = min(2*p.delay, lastDelay)
	if r.GiveUp > 0 {
		left := r.GiveUp - now.Sub(p.since)
		if left <= 0 {
			return fmt.Errorf("%w after %v: %w", ErrGaveUp, now.Sub(p.since).Round(time.Second), err)
		}
		next = min(next, left)
	}
	if r.Retry != nil {
		r.Retry(err, next)
	}
	t := time.NewTimer(next)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
