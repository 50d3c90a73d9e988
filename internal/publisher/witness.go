package publisher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/witness/client"
	"github.com/pauselog/pauselog/witness/protocol"
)

// An Asker asks one witness. Errors are those of package witness/client. Nothing that it returns is
// verified.
type Asker interface {
	AddCheckpoint(ctx context.Context, r *protocol.AddCheckpoint) ([]checkpoint.Signature, error)
	// Checkpoint is what the witness shows of a log: the note that it cosigned last.
	Checkpoint(ctx context.Context, origin string) ([]byte, error)
}

// connectHTTP returns a Connect whose witnesses share one transport, so that connections are kept.
func connectHTTP() func(string) (Asker, error) {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 16 << 10,
	}
	return func(url string) (Asker, error) { return client.New(url, &http.Client{Transport: t}) }
}

// What a question to a witness can come to.
const (
	Cosigned    = "cosigned"
	Busy        = "busy"        // it has no time now
	Unreachable = "unreachable" // no answer
	Forbidden   = "forbidden"   // it trusts none of the log's keys
	UnknownLog  = "unknown-log" // it is not configured for this log
	BadAnswer   = "bad-answer"  // it did not answer as specified, or its signature does not verify
	Overtaken   = "overtaken"   // it has cosigned something newer meanwhile
	Accuses     = "accuses"     // it contradicts the log
	Lost        = "lost"        // it has forgotten what it cosigned
	Failed      = "failed"      // this log could not make the question
)

// Outcomes are all that a question to a witness can come to.
var Outcomes = []string{Cosigned, Busy, Unreachable, Forbidden, UnknownLog, BadAnswer, Overtaken, Accuses, Lost, Failed}

// Why a witness is set aside.
const (
	accuses = "accuses"
	lost    = "lost"
)

// Asides are all reasons for which a witness is set aside.
var Asides = []string{accuses, lost}

// A witness is one that the policy names, with all of its keys. Run's goroutine owns it.
type witness struct {
	name  string // of its keys
	url   string
	names []string // in the policy
	keys  []*checkpoint.VerifierKey
	asker Asker

	size     uint64 // the largest that it is known to have cosigned
	old      uint64 // what it says that it cosigned last
	allLines bool   // it needs the log's signature lines of all types
	aside    string // accuses, lost, or ""
	why      string
	outcome  string
	at       time.Time // of its last cosignature

	asked    bool      // a question is on its way
	failures int       // in a row
	next     time.Time // not to be asked before

	// Of the start: something came back, and it cosigned the checkpoint that the log started with.
	heard, confirmed bool
}

// witnessesOf groups the policy's witnesses by URL: an operator's Ed25519 and ML-DSA-44 keys are two
// witnesses of the policy, and one to ask. Those without a URL are keys that sign no more, kept
// for old bundles.
func witnessesOf(p *checkpoint.Policy, connect func(string) (Asker, error)) (all []*witness, err error) {
	byURL := map[string]*witness{}
	for _, pw := range p.Witnesses() {
		if pw.URL == "" {
			continue
		}
		w := byURL[pw.URL]
		if w == nil {
			w = &witness{name: pw.Key.Name(), url: pw.URL}
			if w.asker, err = connect(pw.URL); err != nil {
				return nil, fmt.Errorf("witness %s: %w", pw.Name, err)
			}
			byURL[pw.URL] = w
			all = append(all, w)
		}
		w.names = append(w.names, pw.Name)
		w.keys = append(w.keys, pw.Key)
	}
	return all, nil
}

func keyName(k *checkpoint.VerifierKey) string { return fmt.Sprintf("%s+%08x", k.Name(), k.KeyID()) }

// recall takes up what is remembered of a witness's keys.
func (w *witness) recall(records []record) {
	for _, r := range records {
		for _, k := range w.keys {
			if keyName(k) != r.Key {
				continue
			}
			w.size = max(w.size, r.Size)
			w.allLines = w.allLines || r.AllLines
			if r.Aside != "" {
				w.aside, w.why = r.Aside, r.Why
			}
		}
	}
	w.old = w.size
}

// records are what must be remembered of it, and of keys that left the policy nothing.
func (w *witness) records() (all []record) {
	for _, k := range w.keys {
		all = append(all, record{Key: keyName(k), Size: w.size, AllLines: w.allLines, Aside: w.aside, Why: w.asideWhy()})
	}
	return all
}

func (w *witness) asideWhy() string {
	if w.aside == "" {
		return ""
	}
	return w.why
}

// A question is what one goroutine asks one witness. It has copies of all that it needs.
type question struct {
	w        *witness // to be handed back; not read
	keys     []*checkpoint.VerifierKey
	asker    Asker
	signed   *sequencer.Signed
	old      uint64
	size     uint64 // the largest that it is known to have cosigned
	allLines bool
	proofs   *proofs
}

// An answer is what became of a question.
type answer struct {
	*question
	outcome    string
	err        error
	requests   int
	took       time.Duration
	signatures []checkpoint.Signature // verified
	time       uint64                 // of the newest of them
	retry      time.Duration          // not to be asked before, as it says
	accusation *accusation            // of Accuses
}

// maxTries bounds the requests of one question: the size is learned by a first, the signature lines that
// are needed by a second.
const maxTries = 4

// ask asks until the witness cosigns or says why not.
func (p *Publisher) ask(ctx context.Context, q *question) *answer {
	a := &answer{question: q}
	began := time.Now()
	defer func() { a.took = time.Since(began) }()
	for a.requests < maxTries {
		r := &protocol.AddCheckpoint{Old: q.old, Note: q.signed.Note}
		if q.allLines {
			if r.Note, a.err = q.signed.All(); a.err != nil {
				a.outcome = Failed
				return a
			}
		}
		if r.Proof, a.err = q.proofs.get(q.old, q.signed.Size); a.err != nil {
			a.outcome = Failed
			return a
		}
		a.requests++
		one, cancel := context.WithTimeout(ctx, p.c.Timeout)
		sigs, err := q.asker.AddCheckpoint(one, r)
		cancel()
		a.err = err
		var named *client.SizeError
		var busy *client.BusyError
		switch {
		case err == nil:
			a.outcome = Cosigned
			if a.signatures, a.time, a.err = verified(q.keys, q.signed, sigs); a.err != nil {
				a.outcome = BadAnswer
			}
			return a
		case errors.As(err, &named) && named.Size < q.size:
			a.outcome = Lost
			a.err = fmt.Errorf("it has cosigned size %d, and says that size %d was the last: it has lost its state, or went back to an older copy of it", q.size, named.Size)
			return a
		case errors.As(err, &named) && named.Size == q.old:
			a.outcome, a.err = BadAnswer, fmt.Errorf("it refuses size %d as its last, and names it", q.old)
			return a
		case errors.As(err, &named) && named.Size <= q.signed.Size:
			q.old = named.Size
		case errors.As(err, &named) && named.Size <= p.c.Log.Signed().Size:
			// It was asked by this process for each size, or by one before it that ended before the answer came.
			q.old, a.outcome = named.Size, Overtaken
			return a
		case errors.As(err, &named):
			p.accused(ctx, a, fmt.Errorf("it has cosigned size %d of this log, which has only signed up to size %d", named.Size, p.c.Log.Signed().Size))
			return a
		case errors.Is(err, client.ErrForbidden) && !q.allLines:
			q.allLines = true // perhaps it is configured with the ML-DSA-44 key
		case errors.Is(err, client.ErrForbidden):
			a.outcome = Forbidden
			return a
		case errors.Is(err, client.ErrUnknownLog):
			a.outcome = UnknownLog
			return a
		case errors.Is(err, client.ErrUnprocessable):
			p.accused(ctx, a, fmt.Errorf("it refuses that this log's tree of size %d goes on from the one of size %d that it cosigned: %w", q.signed.Size, q.old, err))
			return a
		case errors.As(err, &busy):
			a.outcome, a.retry = Busy, busy.Retry
			return a
		case errors.Is(err, client.ErrAnswer), errors.Is(err, client.ErrBadRequest):
			a.outcome = BadAnswer
			return a
		default:
			a.outcome = Unreachable
			return a
		}
	}
	a.outcome = BadAnswer
	return a
}

// verified returns the signatures by a witness's keys, all of which must verify. Lines by others are
// ignored (C2SP tlog-witness).
func verified(keys []*checkpoint.VerifierKey, signed *sequencer.Signed, sigs []checkpoint.Signature) (good []checkpoint.Signature, newest uint64, err error) {
	n, err := checkpoint.ParseNote(signed.Note)
	if err != nil {
		return nil, 0, err
	}
	for _, s := range sigs {
		for _, k := range keys {
			if !k.Matches(s) {
				continue
			}
			t, err := k.Verify(n.Text, s)
			if err != nil {
				return nil, 0, err
			}
			// Zero means no claim about the newest tree, which is what a witness is asked for.
			if t == 0 {
				return nil, 0, errors.New("its cosignature has no time")
			}
			good, newest = append(good, s), max(newest, t)
		}
	}
	if len(good) == 0 {
		return nil, 0, fmt.Errorf("none of its %d signature lines is by a key that the policy has for it", len(sigs))
	}
	return good, newest, nil
}

// proofs makes each consistency proof of a round once.
type proofs struct {
	tree Tree
	lock chan struct{} // of one; guards made
	made map[[2]uint64][]tree.Hash
}

func newProofs(t Tree) *proofs {
	return &proofs{tree: t, lock: make(chan struct{}, 1), made: map[[2]uint64][]tree.Hash{}}
}

func (p *proofs) get(size1, size2 uint64) ([]tree.Hash, error) {
	if size1 == 0 || size1 == size2 {
		return nil, nil
	}
	p.lock <- struct{}{}
	defer func() { <-p.lock }()
	k := [2]uint64{size1, size2}
	if h, ok := p.made[k]; ok {
		return h, nil
	}
	h, err := p.tree.Consistency(size1, size2)
	if err == nil {
		p.made[k] = h
	}
	return h, err
}
