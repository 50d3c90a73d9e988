package model

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// A network carries HTTP between the nodes. What becomes of the nth message on a link is decided by the seed, the link's
// name and n alone, so that a run repeats however goroutines are scheduled at one moment.
type network struct {
	seed uint64
	wait sync.WaitGroup // for messages that arrive a second time

	mu     sync.Mutex
	counts map[string]uint64 // messages by link; guarded by mu
	cut    map[string]bool   // links that carry nothing; guarded by mu
	calm   bool              // nothing goes wrong any more; guarded by mu
	faults uint64            // guarded by mu
}

func newNetwork(seed uint64) *network {
	return &network{seed: seed, counts: map[string]uint64{}, cut: map[string]bool{}}
}

// A fate is what becomes of one request and its answer.
type fate struct {
	there, back  time.Duration
	lost         bool          // before it arrives
	answerLost   bool          // after its effect
	again        time.Duration // it arrives once more so much later; 0: it does not
	refused      bool          // who sent it is told at once that it is lost
	numberOnLink uint64
}

// source is a source of what the seed decides about a thing.
func source(seed uint64, what ...any) *rand.Rand {
	return rand.New(rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, append([]any{seed, " "}, what...)...))))
}

func (n *network) fate(link string) fate {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts[link]++
	f := fate{numberOnLink: n.counts[link]}
	r := source(n.seed, link, " ", f.numberOnLink)
	// To the nanosecond: no two things happen at one moment.
	some := func(most time.Duration) time.Duration {
		return 100*time.Microsecond + time.Duration(r.Int64N(int64(most)))
	}
	f.there, f.back = some(10*time.Millisecond), some(10*time.Millisecond)
	if n.calm {
		return f
	}
	switch p := r.IntN(100); {
	case p < 4:
		f.lost, f.refused = true, r.IntN(2) == 0
	case p < 8:
		f.answerLost, f.refused = true, r.IntN(2) == 0
	case p < 12:
		f.again = some(2 * time.Second)
	case p < 16:
		f.there = some(1500 * time.Millisecond)
	case p < 20:
		f.back = some(1500 * time.Millisecond)
	default:
		if n.cut[link] {
			f.lost, f.refused = true, r.IntN(2) == 0
		}
		return f
	}
	n.faults++
	return f
}

func (n *network) setCut(link string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[link] = cut
}

// calmDown ends all that goes wrong.
func (n *network) calmDown() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calm = true
	clear(n.cut)
}

func (n *network) faultCount() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.faults
}

var (
	errRefused = errors.New("connection refused")
	errReset   = errors.New("connection reset")
)

// A node is what requests go to. serving returns its handler and a function that says whether it still lives; nil while
// there is none.
type node interface {
	serving() (h http.Handler, alive func() bool)
}

// A wire is the way from somebody to a node; it is an http.RoundTripper.
type wire struct {
	network *network
	link    string
	to      node
	alive   func() bool // whether the sender lives; nil: always
	token   string
}

// maxTime bounds a message that arrives again, of which nobody waits for the answer.
const maxTime = 20 * time.Second

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(r.Body)
		if err := errors.Join(err, r.Body.Close()); err != nil {
			return nil, err
		}
	}
	if w.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+w.token)
	}
	if w.alive != nil && !w.alive() {
		return nil, errReset
	}
	f := w.network.fate(w.link)
	if err := sleep(r.Context(), f.there); err != nil {
		return nil, err
	}
	if f.lost {
		return nil, f.end(r.Context())
	}
	if f.again > 0 {
		w.network.wait.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), maxTime)
			defer cancel()
			if sleep(ctx, f.again) == nil {
				// Nobody reads the answer.
				_, _ = w.arrive(r.Clone(ctx), body)
			}
		})
	}
	a, err := w.arrive(r, body)
	if err != nil {
		return nil, err
	}
	if err := sleep(r.Context(), f.back); err != nil {
		return nil, err
	}
	if f.answerLost {
		return nil, f.end(r.Context())
	}
	if w.alive != nil && !w.alive() {
		return nil, errReset
	}
	return a, nil
}

// end is how a loss looks to the sender.
func (f fate) end(ctx context.Context) error {
	if f.refused {
		return errReset
	}
	<-ctx.Done()
	return ctx.Err()
}

// arrive has the node handle a request.
func (w *wire) arrive(r *http.Request, body []byte) (*http.Response, error) {
	h, alive := w.to.serving()
	if h == nil {
		return nil, errRefused
	}
	in := r.Clone(r.Context())
	in.Body, in.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	in.RequestURI, in.RemoteAddr = r.URL.RequestURI(), "127.0.0.1:1"
	in.Host = r.URL.Host
	rec := &recorder{header: http.Header{}}
	h.ServeHTTP(rec, in)
	if !alive() {
		return nil, errReset
	}
	code := rec.code
	if code == 0 {
		code = http.StatusOK
	}
	return &http.Response{StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: rec.header,
		Body: io.NopCloser(bytes.NewReader(rec.body.Bytes())), ContentLength: int64(rec.body.Len()), Request: r}, nil
}

// A recorder keeps an answer.
type recorder struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) Flush()              {}

func (r *recorder) WriteHeader(code int) {
	if r.code == 0 && code >= 200 {
		r.code = code
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
