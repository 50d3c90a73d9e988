package soak

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/dial"
	"github.com/pauselog/pauselog/internal/submit"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// A load is all clients of a site.
type load struct {
	site *site
	seed uint64
	rate float64 // submissions a second
	time time.Duration

	conns  []*dial.Conn // gRPC, then HTTP
	api    []pb.LogClient
	reader []*client.Log
	lat    *latencies

	next          atomic.Int64  // number of the next file
	known         atomic.Uint64 // the largest size that a checkpoint with its quorum had
	retried       atomic.Uint64
	falses, forks atomic.Uint64
	working       sync.WaitGroup

	mu      sync.Mutex
	acks    []ack // guarded by mu
	finding error // the first; guarded by mu
}

// An ack is what a submission was answered.
type ack struct {
	number int // of the file
	index  uint64
	leaf   tree.Hash
}

// retryPause is how long a client waits after a failure that a restart explains.
const retryPause = 50 * time.Millisecond

func newLoad(s *site, seed uint64, rate float64, d time.Duration) (*load, error) {
	l := &load{site: s, seed: seed, rate: rate, time: d, lat: newLatencies(d)}
	memory := &memory{}
	for _, url := range []string{"grpc://" + s.grpc, "http://" + s.http} {
		c, err := dial.Dial(url, dial.Options{TokenFile: s.token, UserAgent: "soak"})
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.conns = append(l.conns, c)
		l.api = append(l.api, pb.NewLogClient(c))
		l.reader = append(l.reader, client.New(c, s.policy, memory))
	}
	return l, nil
}

func (l *load) close() (err error) {
	for _, c := range l.conns {
		err = errors.Join(err, c.Close())
	}
	return err
}

func (l *load) wait() { l.working.Wait() }

// start starts all clients, which end with the context.
func (l *load) start(ctx context.Context) {
	l.worker(ctx, "submit gRPC", 0.2, 4, func(ctx context.Context, r *rand.Rand) error { return l.submit(ctx, r, 0) })
	l.worker(ctx, "submit HTTP", 0.1, 2, func(ctx context.Context, r *rand.Rand) error { return l.submit(ctx, r, 1) })
	l.worker(ctx, "again", 0.1, 1, l.again)
	l.worker(ctx, "stream gRPC", 0.4/streamed, 1, func(ctx context.Context, r *rand.Rand) error { return l.stream(ctx, r, 0) })
	l.worker(ctx, "stream HTTP", 0.2/streamed, 1, func(ctx context.Context, r *rand.Rand) error { return l.stream(ctx, r, 1) })
	l.worker(ctx, "proof gRPC", 0.7, 2, func(ctx context.Context, r *rand.Rand) error { return l.prove(ctx, r, 0) })
	l.worker(ctx, "proof HTTP", 0.3, 1, func(ctx context.Context, r *rand.Rand) error { return l.prove(ctx, r, 1) })
	l.worker(ctx, "lookup", 0.1, 1, l.lookup)
	l.worker(ctx, "static", 0.5, 2, l.static)
	l.worker(ctx, "audit", 12/l.time.Seconds()/l.rate, 1, l.audit)
	for i := range 4 {
		l.worker(ctx, "watch", 1, 1, func(ctx context.Context, _ *rand.Rand) error { return l.watch(ctx, i%2) })
	}
}

// worker starts goroutines that together do something so many times for each submission. What fails in a way that
// a restart explains is done again.
func (l *load) worker(ctx context.Context, name string, share float64, goroutines int, do func(context.Context, *rand.Rand) error) {
	pace := rate.NewLimiter(rate.Limit(share*l.rate), 1)
	for i := range goroutines {
		h := sha256.Sum256(fmt.Append(nil, l.seed, name, i))
		r := rand.New(rand.NewChaCha8(h))
		l.working.Go(func() {
			for pace.Wait(ctx) == nil {
				began := time.Now()
				err := do(ctx, r)
				switch {
				case ctx.Err() != nil:
					return
				case err == nil:
					l.lat.add(name, time.Since(began))
				case errors.Is(err, errNothing):
				case transient(err):
					l.retried.Add(1)
					select {
					case <-time.After(retryPause):
					case <-ctx.Done():
						return
					}
				default:
					l.find(name, err)
				}
			}
		})
	}
}

// errNothing says that there was nothing to do yet.
var errNothing = errors.New("nothing to do yet")

// transient says whether a failure is one that a log that is stopped, killed or waits for its witnesses explains.
func transient(err error) bool {
	var m *client.Misbehaviour
	if errors.Is(err, client.ErrAnswer) || errors.Is(err, client.ErrBehind) || errors.Is(err, errFalse) || errors.As(err, &m) {
		return false
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.ResourceExhausted:
		return true
	case codes.Unknown:
		_, answered := status.FromError(err)
		return !answered // a connection that broke
	}
	return false
}

// errFalse is wrapped by what a client found to be wrong.
var errFalse = errors.New("a false answer")

func falsef(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errFalse, fmt.Sprintf(format, args...))
}

// find counts what must not be.
func (l *load) find(name string, err error) {
	var m *client.Misbehaviour
	if errors.As(err, &m) {
		l.forks.Add(1)
	} else {
		l.falses.Add(1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.finding == nil {
		l.finding = fmt.Errorf("%s: %w", name, err)
	}
}

func (l *load) firstFinding() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.finding
}

func (l *load) acked() []ack {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acks[:len(l.acks):len(l.acks)]
}

// some is one of the acks, at random.
func (l *load) some(r *rand.Rand) (ack, error) {
	acks := l.acked()
	if len(acks) == 0 {
		return ack{}, errNothing
	}
	return acks[r.IntN(len(acks))], nil
}

// content is what file number n holds.
func (l *load) content(n int) []byte { return fmt.Appendf(nil, "seed %d, file %d", l.seed, n) }

// entry is of file number n.
func (l *load) entry(n int) *entry.Entry {
	content := l.content(n)
	return &entry.Entry{Kind: entry.Upload, Path: fmt.Sprintf("authors/id/S/SO/SOAK%d/Dist%d-%d.tar.gz", n%100, n%5000, n), SHA256: sha256.Sum256(content),
		Size: uint64(len(content)), Time: entry.TimeOf(time.Now()), By: "-", Seen: entry.SeenUpload}
}

// take takes the answer to a submission of file n.
func (l *load) take(n int, e *entry.Entry, r *pb.SubmitResult, published bool) error {
	if err := submit.CheckLogged(e, r); err != nil {
		return err
	}
	if published {
		if err := l.verify(e, r); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acks = append(l.acks, ack{n, r.Index, tree.Hash(r.LeafHash)})
	return nil
}

// verify verifies a bundle that came with an answer, as an installer would.
func (l *load) verify(e *entry.Entry, r *pb.SubmitResult) error {
	v := verify.Verify(verify.Request{Policy: l.site.policy, Path: e.Path, SHA256: e.SHA256, Size: e.Size, Bundle: []byte(r.Bundle), Now: time.Now()})
	if v.Outcome != verify.Verified || v.Index != r.Index {
		return falsef("the bundle of %s at index %d: %v, index %d: %s", e.Path, r.Index, v.Outcome, v.Index, v.Message)
	}
	return nil
}

// one submits a file until it is answered.
func (l *load) one(ctx context.Context, n, by int, wait pb.Wait) (*pb.SubmitResult, *entry.Entry, error) {
	e := l.entry(n)
	for {
		a, err := l.api[by].Submit(ctx, &pb.SubmitRequest{Submission: submit.Message(e, e.Seen), Wait: wait})
		switch {
		case err == nil:
			return a.Result, e, nil
		case ctx.Err() != nil || !transient(err):
			return nil, e, fmt.Errorf("submitting %s: %w", e.Path, err)
		}
		l.retried.Add(1)
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return nil, e, ctx.Err()
		}
	}
}

// submit submits a new file.
func (l *load) submit(ctx context.Context, r *rand.Rand, by int) error {
	wait := pb.Wait_WAIT_SEQUENCED
	if r.IntN(2) == 0 {
		wait = pb.Wait_WAIT_PUBLISHED
	}
	n := int(l.next.Add(1))
	result, e, err := l.one(ctx, n, by, wait)
	if err != nil {
		return err
	}
	return l.take(n, e, result, wait == pb.Wait_WAIT_PUBLISHED)
}

// again submits a file that is logged.
func (l *load) again(ctx context.Context, r *rand.Rand) error {
	a, err := l.some(r)
	if err != nil {
		return err
	}
	result, e, err := l.one(ctx, a.number, r.IntN(2), pb.Wait_WAIT_SEQUENCED)
	if err != nil {
		return err
	}
	if !result.Repeated || result.Index != a.index || !bytes.Equal(result.LeafHash, a.leaf[:]) {
		return falsef("%s was logged as entry %d; submitted again it is entry %d, repeated: %v", e.Path, a.index, result.Index, result.Repeated)
	}
	return nil
}

// streamed is how many files go into one stream; group, into one of its messages.
const streamed, group = 64, 16

// stream submits files on one stream. When it breaks, they are submitted again.
func (l *load) stream(ctx context.Context, _ *rand.Rand, by int) error {
	var items []submit.Item
	first := int(l.next.Add(streamed)) - streamed + 1
	for n := first; n < first+streamed; n++ {
		e := l.entry(n)
		items = append(items, submit.Item{Entry: *e, Seen: e.Seen, Tag: n})
	}
	for {
		done := 0
		err := submit.Stream(ctx, l.api[by], pb.Wait_WAIT_SEQUENCED, func(_ context.Context, send func([]submit.Item) error) error {
			for i := 0; i < len(items); i += group {
				if err := send(items[i:min(i+group, len(items))]); err != nil {
					return err
				}
			}
			return nil
		}, func(sent []submit.Item, results []*pb.SubmitResult) error {
			for i := range sent {
				if why := results[i].Refusal; why != nil {
					return falsef("%s was refused: %s", sent[i].Entry.Path, why.Message)
				}
				if err := l.take(sent[i].Tag.(int), &sent[i].Entry, results[i], false); err != nil {
					return err
				}
				done++
			}
			return nil
		})
		if items = items[done:]; len(items) == 0 || ctx.Err() != nil || err != nil && !transient(err) {
			return err
		}
		l.retried.Add(1)
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// memory remembers checkpoints for readers.
type memory struct {
	mu   sync.Mutex
	note []byte
}

func (m *memory) Load(string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.note, nil
}

func (m *memory) Save(_ string, old, note []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !bytes.Equal(old, m.note) {
		return client.ErrChanged
	}
	m.note = note
	return nil
}
