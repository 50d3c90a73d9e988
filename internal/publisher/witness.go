package publisher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pauselog/pauselog/internal/version"
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
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
		// A kept connection whose packets vanish is noticed by a ping, and not by each request's time.
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 16 << 10,
	}
	return func(url string) (Asker, error) {
		c, err := client.New(url, &http.Client{Transport: t})
		if err != nil {
			return nil, err
		}
		c.UserAgent = version.UserAgent("pauselogd") // who runs a witness sees which log's program is behind a fault
		return c, nil
	}
}

// What a question to a witness can come to.
const (
	Cosigned    = "cosigned"
	Busy        = "busy"          // it has no time now
	Unreachable = "unreachable"   // no answer
	Forbidden   = "forbidden"     // it trusts none of the log's keys
	UnknownLog  = "unknown-log"   // it is not configured for this log
	BadAnswer   = "bad-answer"    // it did not answer as specified, or its signature does not verify
	Overtaken   = "overtaken"     // it has cosigned something newer meanwhile
	Accuses     = "accuses"       // it contradicts the log
	Lost        = "lost"          // it has forgotten what it cosigned
	NoEmptyTree = "no-empty-tree" // it has seen nothing of this log, and does not cosign an empty tree
	Failed      = "failed"        // this log could not make the question
)

// Outcomes are all that a question to a witness can come to.
var Outcomes = []string{Cosigned, Busy, Unreachable, Forbidden, UnknownLog, BadAnswer, Overtaken, Accuses, Lost, NoEmptyTree, Failed}

// Why a witness's key is set aside.
const (
	// accuses: the witness contradicts the log, by its word alone.
	accuses = "accuses"
	// proven: the witness showed a checkpoint with the log's own signature that contradicts the log's tree.
	proven = "proven"
	// lost: the witness has forgotten what it cosigned with this key.
	lost = "lost"
)

// Asides are all reasons for which a witness is set aside.
var Asides = []string{accuses, proven, lost}

// A witness is one that the policy names, with all of its keys at one URL. Run's goroutine owns it.
type witness struct {
	name  string // of its keys
	url   string
	keys  []*key
	asker Asker

	old      uint64 // what it says that it cosigned last
	allLines bool   // it needs the log's signature lines of all types
	why      string // the last failure
	outcome  string
	at       time.Time // of its last cosignature

	asked    bool      // a question is on its way
	failures int       // in a row
	next     time.Time // not to be asked before

	// Of the start: something came back; the witness itself answered; it cosigned the checkpoint that the log
	// started with.
	heard, answered, confirmed bool
}

// A key is one of a witness's keys: a witness of the policy.
type key struct {
	*checkpoint.VerifierKey
	name  string // in the policy
	size  uint64 // the largest that it is known to have cosigned
	aside string // accuses, proven, lost, or ""
	why   string
}

// witnessesOf groups the policy's witnesses by URL and key name: an operator's Ed25519 and ML-DSA-44 keys are
// two witnesses of the policy, and one to ask. Those without a URL are keys that sign no more, kept
// for old bundles.
func witnessesOf(p *checkpoint.Policy, connect func(string) (Asker, error)) (all []*witness, err error) {
	named := map[string]int{}
	for _, pw := range p.Witnesses() {
		url := strings.TrimRight(pw.URL, "/")
		if url == "" {
			continue
		}
		i := slices.IndexFunc(all, func(w *witness) bool { return w.url == url && w.keys[0].Name() == pw.Key.Name() })
		if i < 0 {
			w := &witness{name: pw.Key.Name(), url: url}
			if w.asker, err = connect(url); err != nil {
				return nil, fmt.Errorf("witness %s: %w", pw.Name, err)
			}
			i, all = len(all), append(all, w)
			named[w.name]++
		}
		all[i].keys = append(all[i].keys, &key{VerifierKey: pw.Key, name: pw.Name})
	}
	for _, w := range all {
		if named[w.name] > 1 {
			w.name += " at " + w.url
		}
	}
	return all, nil
}

func keyName(k *checkpoint.VerifierKey) string { return fmt.Sprintf("%s+%08x", k.Name(), k.KeyID()) }

// recall takes up what is remembered of a witness's keys.
func (w *witness) recall(records []record) {
	for _, r := range records {
		for _, k := range w.keys {
			if keyName(k.VerifierKey) == r.Key {
				k.size, k.aside, k.why = r.Size, r.Aside, r.Why
				w.allLines = w.allLines || r.AllLines
			}
		}
	}
	w.old = w.size()
}

// records are what must be remembered of it.
func (w *witness) records() (all []record) {
	for _, k := range w.keys {
		all = append(all, record{Key: keyName(k.VerifierKey), Size: k.size, AllLines: w.allLines, Aside: k.aside, Why: k.why})
	}
	return all
}

// size is the largest that one of its keys that count is known to have cosigned.
func (w *witness) size() (size uint64) {
	for _, k := range w.counting() {
		size = max(size, k.size)
	}
	return size
}

// largest is the largest size that any of its keys is known to have cosigned.
func (w *witness) largest() (size uint64) {
	for _, k := range w.keys {
		size = max(size, k.size)
	}
	return size
}

// counting are its keys that were not set aside.
func (w *witness) counting() (keys []*key) {
	for _, k := range w.keys {
		if k.aside == "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// aside is why it is not asked any more: none of its keys counts. Or "".
func (w *witness) aside() string {
	if len(w.counting()) > 0 {
		return ""
	}
	return w.keys[0].aside
}

// A question is what one goroutine asks one witness. It has copies of all that it needs.
type question struct {
	w        *witness // to be handed back; not read
	keys     []*key   // those that count; only the key itself is read
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
	by         []*key                 // whose they are
	time       uint64                 // of the newest of them
	named      uint64                 // of Lost: what it says that it cosigned last
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
		if q.old > q.signed.Size {
			// It said so of a newer round; this one is over for it.
			a.outcome = Overtaken
			return a
		}
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
			if a.err = a.verify(sigs); a.err != nil {
				a.outcome = BadAnswer
			}
			return a
		case errors.As(err, &named) && named.Size < q.size:
			a.outcome, a.named = Lost, named.Size
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
		case q.signed.Size == 0 && (errors.Is(err, client.ErrUnprocessable) || errors.Is(err, client.ErrBadRequest)) && p.neverSeen(ctx, a):
			a.outcome = NoEmptyTree
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

// neverSeen says whether a witness has cosigned nothing of this log: some cosign no empty tree.
func (p *Publisher) neverSeen(ctx context.Context, a *answer) bool {
	one, cancel := context.WithTimeout(ctx, p.c.Timeout)
	defer cancel()
	a.requests++
	_, err := a.asker.Checkpoint(one, p.c.Origin)
	return errors.Is(err, client.ErrUnknownLog)
}

// verify takes the signatures by the witness's keys, all of which must verify. Lines by others are
// ignored (C2SP tlog-witness).
func (a *answer) verify(sigs []checkpoint.Signature) error {
	n, err := checkpoint.ParseNote(a.signed.Note)
	if err != nil {
		return err
	}
	for _, s := range sigs {
		for _, k := range a.keys {
			if !k.Matches(s) {
				continue
			}
			t, err := k.Verify(n.Text, s)
			if err != nil {
				return err
			}
			// Zero means no claim about the newest tree, which is what a witness is asked for.
			if t == 0 {
				return errors.New("its cosignature has no time")
			}
			a.signatures, a.by, a.time = append(a.signatures, s), append(a.by, k), max(a.time, t)
		}
	}
	if len(a.signatures) == 0 {
		return fmt.Errorf("none of its %d signature lines is by a key that the policy has for it", len(sigs))
	}
	return nil
}

// maxProofs bounds the proofs of a round: there is one for each size that a witness names.
const maxProofs = 64

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
		if len(p.made) == maxProofs {
			clear(p.made)
		}
		p.made[k] = h
	}
	return h, err
}
