package frontend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/sequencer"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

const (
	maxGroup = 1024 // submissions in one message
	// maxAhead bounds the submissions of one stream that were taken and not answered, and so the
	// memory that a client costs which does not read.
	maxAhead = 4096
	// publishTime is how long a submission waits to be published: with its witnesses at hand a log needs
	// milliseconds, and who is told after this time still has longer patience than clients have.
	publishTime = 20 * time.Second
	// maxReceived are the messages of a stream that may have come and not been looked at: they are of 1 MiB at most. More
	// than one saves a change of goroutines for each, and a look at the caller's token.
	maxReceived = 8
)

// Submit implements pauselog.v1.Log.
func (s *Service) Submit(ctx context.Context, r *pb.SubmitRequest) (*pb.SubmitResponse, error) {
	if r.Submission == nil {
		return nil, failure(Invalid, "submission is missing")
	}
	may, err := permission(ctx)
	if err != nil {
		return nil, err
	}
	sub, err := submissionOf(may, r.Submission)
	if err != nil {
		return nil, err
	}
	since := time.Now()
	pending, err := s.Sequencer.Enqueue([]sequencer.Submission{sub})
	if err != nil {
		return nil, failureOf(err)
	}
	if r.Wait == pb.Wait_WAIT_NONE {
		return &pb.SubmitResponse{Result: &pb.SubmitResult{}}, nil
	}
	results, err := pending.Wait(ctx)
	if err != nil {
		return nil, failureOf(err)
	}
	if refused := results[0].Err; refused != nil {
		reason, message, metadata := refusalOf(refused)
		return nil, failure(reason, message, metadata...)
	}
	out := resultOf(&results[0])
	if r.Wait == pb.Wait_WAIT_PUBLISHED {
		if err := s.addBundles(ctx, since, []*pb.SubmitResult{out}); err != nil {
			return nil, err
		}
		if late := out.Refusal; late != nil {
			return nil, failure(late.Reason, late.Message, "index", late.Metadata["index"], "retry_after_ms", late.Metadata["retry_after_ms"])
		}
	}
	return &pb.SubmitResponse{Result: out}, nil
}

// SubmitStream implements pauselog.v1.Log. What was handed to the sequencer is always answered,
// in order, before the stream ends, whatever it ends for.
func (s *Service) SubmitStream(stream grpc.BidiStreamingServer[pb.SubmitStreamRequest, pb.SubmitStreamResponse]) error {
	// One goroutine receives, one enqueues, and this one answers. The context ends with the
	// stream or when this function returns, and so do they; a receive ends with the stream.
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	messages := make(chan message, maxReceived)
	groups := make(chan *group, maxAhead)
	ahead := semaphore.NewWeighted(maxAhead)
	var ended error // why groups was closed
	go receive(ctx, stream, messages)
	go func() {
		defer close(groups)
		defer func() {
			if p := recover(); p != nil {
				ended = panicked(p)
			}
		}()
		ended = s.enqueueAll(ctx, messages, ahead, groups)
	}()
	for g := range groups {
		answer, err := s.answer(ctx, g)
		if err != nil {
			return failureOf(err)
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
		ahead.Release(g.weight)
	}
	return failureOf(ended)
}

// A message of a stream, or why there is none.
type message struct {
	request *pb.SubmitStreamRequest
	err     error
}

// receive hands on what the client sends, up to and with the first error.
func receive(ctx context.Context, stream grpc.BidiStreamingServer[pb.SubmitStreamRequest, pb.SubmitStreamResponse], to chan<- message) {
	for {
		r, err := stream.Recv()
		select {
		case to <- message{r, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// enqueueAll hands the messages to the sequencer until the client has sent all, one must not
// be taken, or the log closes.
func (s *Service) enqueueAll(ctx context.Context, messages <-chan message, ahead *semaphore.Weighted, groups chan<- *group) error {
	var may Permission
	asked := 0 // the next so many messages had come when may was asked for
	for {
		var m message
		select {
		case m = <-messages:
		case <-s.Sequencer.Closing():
			return sequencer.ErrClosing
		case <-ctx.Done():
			return ctx.Err()
		}
		if errors.Is(m.err, io.EOF) {
			return nil
		}
		if m.err != nil {
			return m.err
		}
		if asked--; asked < 0 {
			// Asked for each message after it has come, so that a revoked token ends its streams.
			asked = len(messages)
			var err error
			if may, err = permission(ctx); err != nil {
				return err
			}
		}
		if err := s.enqueueOne(ctx, may, m.request, ahead, groups); err != nil {
			return err
		}
	}
}

func (s *Service) enqueueOne(ctx context.Context, may Permission, r *pb.SubmitStreamRequest, ahead *semaphore.Weighted, groups chan<- *group) error {
	weight := int64(min(max(1, len(r.Submissions)), maxGroup))
	if err := ahead.Acquire(ctx, weight); err != nil {
		return err
	}
	g, err := s.enqueue(ctx, may, r)
	if err != nil {
		return err
	}
	g.weight = weight
	select {
	case groups <- g:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A group is one message of a stream on its way.
type group struct {
	weight  int64     // of maxAhead
	since   time.Time // when it came
	wait    pb.Wait
	results []*pb.SubmitResult // refused ones are set, the others nil
	pending *sequencer.Pending // of the nil ones, in order
}

func (s *Service) enqueue(ctx context.Context, may Permission, r *pb.SubmitStreamRequest) (_ *group, err error) {
	if len(r.Submissions) > maxGroup {
		return nil, failuref(Invalid, "%d submissions in one message, expected at most %d", len(r.Submissions), maxGroup)
	}
	g := &group{wait: r.Wait, since: time.Now(), results: make([]*pb.SubmitResult, len(r.Submissions))}
	entries := make([]sequencer.Submission, 0, len(r.Submissions))
	for i, sub := range r.Submissions {
		e, err := submissionOf(may, sub)
		if err != nil {
			g.results[i] = &pb.SubmitResult{Refusal: refusalFrom(err)}
			continue
		}
		entries = append(entries, e)
	}
	for {
		if g.pending, err = s.Sequencer.Enqueue(entries); !errors.Is(err, sequencer.ErrBusy) {
			return g, err
		}
		// A stream has told us to take all it has; to wait here holds back its flow.
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *Service) answer(ctx context.Context, g *group) (*pb.SubmitStreamResponse, error) {
	out := &pb.SubmitStreamResponse{Results: g.results}
	if g.wait == pb.Wait_WAIT_NONE {
		for i := range g.results {
			if g.results[i] == nil {
				g.results[i] = &pb.SubmitResult{}
			}
		}
		return out, nil
	}
	results, err := g.pending.Wait(ctx)
	if err != nil {
		return nil, err
	}
	var logged []*pb.SubmitResult
	for i := range g.results {
		if g.results[i] != nil {
			continue
		}
		r := &results[0]
		results = results[1:]
		if r.Err != nil {
			reason, message, metadata := refusalOf(r.Err)
			g.results[i] = &pb.SubmitResult{Refusal: refusal(reason, message, metadata)}
			continue
		}
		g.results[i] = resultOf(r)
		logged = append(logged, g.results[i])
	}
	if g.wait == pb.Wait_WAIT_PUBLISHED {
		err = s.addBundles(ctx, g.since, logged)
	}
	return out, err
}

// addBundles waits until the results, which were enqueued at since, are published, and gives each the bundle
// of one common checkpoint. Results that are not published in time say so in their refusal, beside
// their index: they are logged, and submitted again they get their bundle.
func (s *Service) addBundles(ctx context.Context, since time.Time, results []*pb.SubmitResult) error {
	size := uint64(0)
	for _, r := range results {
		size = max(size, r.Index+1)
	}
	limit := s.PublishTime
	if limit == 0 {
		limit = publishTime
	}
	wait, cancel := context.WithDeadline(ctx, since.Add(limit))
	defer cancel()
	p, err := s.publisher().WaitPublished(wait, size)
	if ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sequencer.ErrClosing)) {
		p, err = s.published(), nil
	}
	if err != nil {
		return failureOf(err)
	}
	for _, r := range results {
		if r.Index >= p.Size {
			r.Refusal = refusal(Unpublished, fmt.Sprintf("entry %d is logged, and nothing is lost, but it is not published yet: %s; submit again later for its proof",
				r.Index, s.waiting()), []string{"index", strconv.FormatUint(r.Index, 10), "retry_after_ms", retryUnpublishedMS})
			continue
		}
		b, err := s.bundle(r.Index, p.Size, p.Root)
		if err != nil {
			return failureOf(err)
		}
		b.Checkpoint = p.Note
		text, err := b.Marshal()
		if err != nil {
			return failureOf(err)
		}
		r.Bundle = string(text)
	}
	return nil
}

// waiting says what publishing waits for.
func (s *Service) waiting() string {
	if w := s.publisher().Waiting(); w != "" {
		return w
	}
	return "the witnesses that must cosign it are being asked"
}

// submissionOf reads a submission, and checks that the caller's token allows it. What the
// entry's rules say is for the sequencer.
func submissionOf(may Permission, s *pb.Submission) (sub sequencer.Submission, err error) {
	e := &entry.Entry{Kind: entry.Kind(s.GetKind()), Path: s.GetPath(), Size: s.GetSize(), By: s.GetBy(), Seen: entry.Seen(s.GetSeen())}
	switch e.Kind {
	case entry.Upload, entry.Index, entry.Delete:
	default:
		return sub, failuref(Invalid, "kind %.40q is none of upload, index, delete", s.GetKind())
	}
	if e.SHA256, err = entry.ParseDigest(s.GetSha256()); err != nil {
		return sub, failure(Invalid, err.Error())
	}
	if e.Time, err = entry.ParseTime(s.GetTime()); err != nil {
		return sub, failure(Invalid, err.Error())
	}
	if err := may.Allows(e.Kind, e.Seen); err != nil {
		return sub, failure(Forbidden, err.Error())
	}
	sub = sequencer.Submission{Entry: e, Seen: e.Seen}
	if e.Kind == entry.Index {
		if e.Seen != "" && !e.Seen.Known() {
			return sub, failuref(Invalid, "seen %.40q is none of upload, follow, backfill", s.GetSeen())
		}
		e.Seen = "" // an index entry does not say
	}
	return sub, nil
}

func resultOf(r *sequencer.Result) *pb.SubmitResult {
	return &pb.SubmitResult{Index: r.Index, LeafHash: r.Leaf[:], Entry: string(r.Entry), Repeated: r.Repeated}
}

func refusal(reason, message string, metadata []string) *pb.Refusal {
	out := &pb.Refusal{Reason: reason, Message: message}
	for i := 0; i+1 < len(metadata); i += 2 {
		if out.Metadata == nil {
			out.Metadata = map[string]string{}
		}
		out.Metadata[metadata[i]] = metadata[i+1]
	}
	return out
}

// refusalFrom turns the status error of one submission into its refusal in a stream.
func refusalFrom(err error) *pb.Refusal {
	reason, message, metadata := Reason(err)
	if reason == "" {
		reason, message = Internal, fmt.Sprint(err)
	}
	return &pb.Refusal{Reason: reason, Message: message, Metadata: metadata}
}
