package mirror

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pauselog/pauselog/internal/fairlisten"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/verify"
)

// Options are what a Mirror works with.
type Options struct {
	Policy    *checkpoint.Policy
	Mode      verify.Mode
	Upstreams []Upstream // tried in this order
	BackPAN   Upstream   // nil: none; asked last, and for archives alone: its indexes, if it has any, are old
	Private   Private    // what is not of CPAN
	Provers   []Prover   // asked in this order, those that tell nobody anything first
	Histories []History  // asked which older versions of a module there are

	Cache     string // a folder; "": a temporary one, which Close removes
	CacheSize int64  // in bytes: what was used least recently goes when there is more; 0: DefaultCacheSize

	// MaxIndexAge is how old an index may be, 0: no limit, and a warning from verify.MaxIndexAgeNoted on.
	MaxIndexAge time.Duration

	// Known returns the remembered checkpoints of the policy's logs; nil: nothing is remembered. An error
	// is a damaged memory, and then nothing is verified.
	Known func() ([][]byte, error)

	// Evidence is called with a result of misbehaviour, to write the evidence to a file; may be nil.
	Evidence func(*verify.Result)

	// Report is told of each decision about a file, once, as it is made; may be nil. It is
	// called from one goroutine at a time.
	Report func(Record)

	Now func() time.Time // nil: time.Now

	// Hold is how long a request waits for what is logged and not published yet; 0: 20 seconds, which
	// is less than the 30 that clients wait. Negative: not at all.
	Hold time.Duration
}

// How long a decision is good for: a revocation, or a newer index, is seen after that. A refusal is not kept
// for long, so that what was only out of reach can be had soon; a client's three tries in a row
// are one.
const (
	keepVerified = 5 * time.Minute
	keepRefused  = 5 * time.Second
	holdTime     = 20 * time.Second
)

// maxRecords is how many paths are remembered at most.
const maxRecords = 100_000

// A Mirror verifies and serves. It is an http.Handler.
type Mirror struct {
	Options
	cache  *cache
	remove string // a temporary cache folder

	ctx    context.Context // of fetches, which outlive their requests
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	report sync.Mutex // held while Report runs
	warned bool       // it was told of an old index; guarded by report

	listener atomic.Pointer[fairlisten.Listener] // nil: it is not known what bounds the connections

	mu        sync.Mutex
	flights   map[string]*flight
	objects   map[string]*object // the newest decision about a path
	order     []string           // their paths, in the order of the first decision
	past      tally              // of the paths that were dropped from both
	most      int                // paths in order; maxRecords but for tests
	indexes   map[string]bool    // the indexes whose newest decision is a refusal
	convicted *verify.Result     // of misbehaviour: nothing that the log vouches for passes any more
	closed    bool

	packages    packages
	permissions permissions
}

// New returns a Mirror.
func New(o Options) (*Mirror, error) {
	if o.Policy == nil || len(o.Upstreams) == 0 {
		return nil, errors.New("a mirror needs a policy and an upstream")
	}
	if err := o.Private.Check(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Hold == 0 {
		o.Hold = holdTime
	}
	if o.CacheSize == 0 {
		o.CacheSize = DefaultCacheSize
	}
	m := &Mirror{Options: o, flights: map[string]*flight{}, objects: map[string]*object{}, most: maxRecords, indexes: map[string]bool{}}
	dir := o.Cache
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "pauselog-mirror"); err != nil {
			return nil, fmt.Errorf("the cache: %w", err)
		}
		m.remove = dir
	}
	var err error
	if m.cache, err = openCache(dir, o.CacheSize); err != nil {
		return nil, err
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

// Close ends all fetches.
func (m *Mirror) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.tasks.Wait()
	if m.remove != "" {
		return os.RemoveAll(m.remove)
	}
	return nil
}

func (m *Mirror) known() ([][]byte, error) {
	if m.Known == nil {
		return nil, nil
	}
	return m.Known()
}

func (m *Mirror) keepEvidence(r *verify.Result) {
	if r.Evidence != nil && m.Evidence != nil {
		m.Evidence(r)
	}
}

// An object is a decision about a path, and where its bytes are.
type object struct {
	path   string
	class  class
	state  State
	result *verify.Result // nil for what is never logged, and for what is missing
	digest entry.Digest
	size   uint64
	reason string // of a refusal, for the status line
	detail string // of a refusal, if there is no result
	unsure bool   // the refusal is for want of knowledge: 503

	warning string // of an index that verified and is old

	at time.Time
}

// good says how long the decision may be used.
func (o *object) good(now time.Time) bool {
	limit := keepVerified
	if o.state == Refused {
		limit = keepRefused
	}
	return now.Sub(o.at) < limit
}

// A flight is a decision that is being made.
type flight struct {
	done   chan struct{}
	object *object // once done is closed
}

var errClosing = errors.New("the mirror is closing")

// obtain returns a decision about a path: one made before, or the one that is being made, or a new one. The
// error is that of the request's end, which does not end the flight.
func (m *Mirror) obtain(ctx context.Context, path string, c class) (*object, error) {
	m.mu.Lock()
	if o := m.objects[path]; o != nil && o.good(m.Now()) && (m.convicted == nil || o.state == Refused || o.state == PassedPrivate) {
		m.mu.Unlock()
		return o, nil
	}
	f := m.flights[path]
	if f == nil {
		if m.closed {
			m.mu.Unlock()
			return nil, errClosing
		}
		f = &flight{done: make(chan struct{})}
		m.flights[path] = f
		m.tasks.Go(func() { m.fly(f, path, c) })
	}
	m.mu.Unlock()
	select {
	case <-f.done:
		return f.object, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *Mirror) fly(f *flight, path string, c class) {
	o := m.decide(m.ctx, path, c)
	o.path, o.class, o.at = path, c, m.Now()
	// Whole seconds, because HTTP dates have no others.
	o.at = o.at.Truncate(time.Second)
	f.object = o
	m.record(o)
	m.mu.Lock()
	delete(m.flights, path)
	m.mu.Unlock()
	close(f.done)
}

// record makes a decision the newest one about its path, and reports it if it is another than before.
func (m *Mirror) record(o *object) {
	m.mu.Lock()
	before := m.objects[o.path]
	// What is nowhere leaves no trace: there is no end of such paths, and a refusal before stands.
	if o.state != Missing {
		if m.convicted == nil && o.result != nil && o.result.Outcome == verify.Misbehaviour {
			m.convicted = o.result
		}
		if before == nil {
			m.order = append(m.order, o.path)
		}
		m.objects[o.path] = o
		m.trim()
	}
	switch {
	case o.class != index || o.state == Missing:
	case o.state == Refused:
		m.indexes[o.path] = true
	default:
		delete(m.indexes, o.path)
	}
	m.mu.Unlock()
	if m.Report != nil && (before == nil || before.state != o.state || before.digest != o.digest) {
		m.report.Lock()
		r := o.record()
		if m.warned {
			r.Warning = "" // one is enough: indexes from one mirror are of one age
		}
		m.warned = m.warned || r.Warning != ""
		m.Report(r)
		m.report.Unlock()
	}
}

// forget drops a decision whose bytes are gone from the cache.
func (m *Mirror) forget(o *object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.objects[o.path] == o {
		o := *o
		o.at = time.Time{} // it stays in the record until there is a new one
		m.objects[o.path] = &o
	}
}

// refusedIndex returns the path of an index that was refused and has not verified since, or "".
func (m *Mirror) refusedIndex() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range entry.IndexPaths {
		if m.indexes[p] {
			return p
		}
	}
	return ""
}
