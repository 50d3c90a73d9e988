// Package sequencer is the one writer of a log: it gives each entry its index, and signs
// a checkpoint for each commit.
//
// # The write path
//
// Whatever waits when the disk becomes free goes into one batch: there is no timer, so a
// single submission on an idle log is committed at once, and a flood is committed in
// large batches. For each batch, in this order:
//
//  1. decide on each submission (package entry has the rules), against what is durable and
//     the batches on their way;
//  2. append to the tree in memory, and sign its root;
//  3. commit entries, tiles, state and signed checkpoint to Pebble, as one synced batch.
//     A crash before leaves nothing, a crash after the batch whole: nobody was told of it, and
//     the next start finds the store one batch ahead of the head, and accepts that;
//  4. write the second head, synced. A crash after it leaves the batch, as acknowledged;
//  5. advance the store's head in memory: from here on readers see the batch;
//  6. publish, and answer the submitters.
//
// Steps 1 and 2 of the next batch are done while 3 to 6 of this one wait for the disk. Any
// error in 2 to 5 leaves open what is on disk; the sequencer stops for good, the process ends, and
// the next start decides by comparing the two heads.
//
// # The start
//
// [Open] compares the tree that the store recomputed from disk with the second head, and
// refuses to sign whenever the store could have lost what was signed before.
package sequencer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
)

const (
	// maxBatch bounds one commit (about 3 MB), and so the wait of whoever comes next.
	maxBatch = 8192
	// eager is how many submissions make a batch worth assembling while the one before is still
	// being synced.
	eager = 2048
	// maxQueued bounds the submissions that wait in memory (about 50 MB).
	maxQueued = 1 << 16
)

var (
	// ErrBusy says that too many submissions wait. Nothing was done; try again.
	ErrBusy = errors.New("busy")
	// ErrHeld says that the sequencer takes nothing yet: somebody else must first say that nothing newer was
	// ever signed. Nothing was done; try again.
	ErrHeld = errors.New("not open for submissions yet")
	// ErrClosing says that the sequencer takes nothing more. Nothing was done.
	ErrClosing = errors.New("closing")
	// ErrStopped says that a fault stopped the sequencer. A submission that it answers may
	// be on disk or not; submit it again after the restart.
	ErrStopped = errors.New("the log stopped because of a fault")
)

// Config is what a sequencer works on. It takes neither the store nor the head over: the
// caller closes them after Close.
type Config struct {
	Origin string
	Store  *store.Store
	Head   *head.Keeper
	// Signers are the log's keys: at least one Ed25519 key, which signs each batch;
	// ML-DSA-44 keys sign what is published, when somebody asks for it.
	Signers []*checkpoint.SignerKey
	// Retired are keys that signed for this log before and sign no more: the newest checkpoint in
	// the store may be one of theirs.
	Retired []*checkpoint.VerifierKey

	// Held keeps the sequencer from taking submissions until TakeSubmissions is called.
	Held bool

	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // nil: discard
	// Fatal is told once why the sequencer stopped. The process must then end. nil: panic.
	Fatal func(error)
	// Observe, if not nil, is called after each commit by the committing goroutine.
	Observe func(Commit)
}

// A Commit says what one commit did, for metrics.
type Commit struct {
	Size                         uint64
	Entries, Repeated, Refused   int
	Conflicts                    int
	StoreTime, HeadTime, AllTime time.Duration
}

// A Result is what became of one submission. It is durable when it is given.
type Result struct {
	Index    uint64
	Leaf     tree.Hash
	Entry    []byte // as logged
	Repeated bool   // it was there before
	Err      *Refusal
}

// A Refusal says why a submission was not logged. It wraps one of the entry package's
// errors.
type Refusal struct {
	Cause error
	// Logged is the entry that stands in the way, with an ErrConflict.
	Logged *entry.Last
	// Conflict is the index of the conflict entry that says so.
	Conflict uint64
}

func (r *Refusal) Error() string { return r.Cause.Error() }
func (r *Refusal) Unwrap() error { return r.Cause }

// A Sequencer is the one writer of a log. Its methods may be called concurrently.
type Sequencer struct {
	c       Config
	ed25519 []*checkpoint.SignerKey
	mldsa   []*checkpoint.SignerKey
	signed  Newest
	queued  atomic.Int64 // submissions in queue
	held    atomic.Bool

	mu      sync.RWMutex // guards the sending side of queue
	closed  bool
	queue   chan *Pending
	closing chan struct{} // closed with closed

	// The staging goroutine's.
	inFlight  []flight
	conflicts map[pair]uint64
	time      uint64

	commits chan *commit
	// idle has a token while no batch is being synced to the store.
	idle     chan struct{}
	advanced atomic.Uint64 // the size that the committing goroutine has reached
	steps    []step

	stopped chan struct{} // closed when the committing goroutine has ended
	fault   atomic.Pointer[error]
}

// A flight is what a staged batch changed, until the store's own table has it.
type flight struct {
	size uint64
	last map[string]*entry.Last
}

// A pair identifies a conflict: of a path, the logged digest and the other one.
type pair [sha256.Size]byte

func pairOf(path string, logged, other entry.Digest) pair {
	h := sha256.New()
	h.Write(logged[:])
	h.Write(other[:])
	h.Write([]byte(path))
	return pair(h.Sum(nil))
}

// A Submission is an entry to log. Seen is how it was noticed: of uploads and deletes what the
// entry says; an index entry does not say, but a snapshot that was found later may be old.
type Submission struct {
	Entry *entry.Entry
	Seen  entry.Seen
}

// A Pending is a group of submissions on its way.
type Pending struct {
	entries []prepared
	results []Result
	done    chan struct{}
	err     error // valid after done
}

type prepared struct {
	entry *entry.Entry
	seen  entry.Seen
	bytes []byte // nil: refused before it was queued
	leaf  tree.Hash
	path  store.Path
}

// A commit is a batch between its staging and its answers.
type commit struct {
	batch  *store.Batch // nil: the groups only repeat or are refused
	note   []byte
	groups []*Pending
	began  time.Time
	Commit
}

// A step is one of the things that happen to a commit, in their order.
type step func(*Sequencer, *commit) error

// order is the order of the write path's steps 3 to 6; the tests show that no other holds.
var order = []step{(*Sequencer).commitStore, (*Sequencer).writeHead, (*Sequencer).advance, (*Sequencer).answer}

// Enqueue hands in a group of submissions. Those that no log could take are refused
// without waiting, the others keep their order. ErrBusy, ErrHeld and ErrClosing mean that
// the whole group was not taken.
func (s *Sequencer) Enqueue(submissions []Submission) (*Pending, error) {
	if s.held.Load() {
		return nil, ErrHeld
	}
	p := &Pending{entries: make([]prepared, len(submissions)), results: make([]Result, len(submissions)), done: make(chan struct{})}
	for i, sub := range submissions {
		e := sub.Entry
		p.entries[i].entry, p.entries[i].seen = e, sub.Seen
		b, err := e.MarshalSubmission()
		if err != nil {
			p.results[i].Err = &Refusal{Cause: err}
			continue
		}
		// By the caller's goroutine, of which there are many.
		p.entries[i].bytes, p.entries[i].leaf, p.entries[i].path = b, tree.LeafHash(b), store.PathOf(e.Path)
	}
	n := int64(max(1, len(submissions))) // an empty group takes a place too
	if s.queued.Add(n) > maxQueued {
		s.queued.Add(-n)
		return nil, ErrBusy
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		s.queued.Add(-n)
		return nil, ErrClosing
	}
	s.queue <- p // never blocks: it has room for maxQueued groups
	return p, nil
}

// Wait waits until what became of the group is durable. When the context ends first,
// the submissions go on, and may be logged.
func (p *Pending) Wait(ctx context.Context) ([]Result, error) {
	select {
	case <-p.done:
		return p.results, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TakeSubmissions ends Config.Held.
func (s *Sequencer) TakeSubmissions() { s.held.Store(false) }

// Held says whether submissions are not taken yet.
func (s *Sequencer) Held() bool { return s.held.Load() }

// Submit enqueues and waits.
func (s *Sequencer) Submit(ctx context.Context, entries ...*entry.Entry) ([]Result, error) {
	submissions := make([]Submission, len(entries))
	for i, e := range entries {
		submissions[i] = Submission{e, e.Seen}
	}
	p, err := s.Enqueue(submissions)
	if err != nil {
		return nil, err
	}
	return p.Wait(ctx)
}

// Void logs that the upload entry with this index must not be trusted. It is an operator's
// act and not to be had over the network.
func (s *Sequencer) Void(ctx context.Context, index uint64) (Result, error) {
	b, err := s.c.Store.Entry(index, s.c.Store.Head().Size)
	if err != nil {
		return Result{}, err
	}
	e, err := entry.Parse(b)
	if err != nil {
		return Result{}, err
	}
	if e.Kind != entry.Upload {
		return Result{}, fmt.Errorf("entry %d is not an upload but a %s entry", index, e.Kind)
	}
	r, err := s.Submit(ctx, &entry.Entry{Kind: entry.Void, Path: e.Path, SHA256: e.SHA256, Index: index, Time: entry.TimeOf(s.c.Now())})
	if err != nil {
		return Result{}, err
	}
	if r[0].Err != nil {
		return Result{}, r[0].Err
	}
	return r[0], nil
}

// Queued is the number of submissions that wait.
func (s *Sequencer) Queued() int { return int(s.queued.Load()) }

// Err says why the sequencer stopped; nil while it works.
func (s *Sequencer) Err() error {
	if p := s.fault.Load(); p != nil {
		return *p
	}
	return nil
}

// Closing is closed when Close is called: what only waits may end.
func (s *Sequencer) Closing() <-chan struct{} { return s.closing }

// Close takes no more submissions, and returns once those that were taken are answered.
func (s *Sequencer) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.queue)
		close(s.closing)
	}
	s.mu.Unlock()
	<-s.stopped
}
