// Package publisher publishes a log's checkpoints: it asks the witnesses of the log's policy to
// cosign the newest signed checkpoint, and shows it to readers once the policy's quorum has.
//
// # Rounds
//
// Witnesses that cosign different checkpoints make no quorum, so they are asked in rounds: a round
// is for one checkpoint, the newest when it begins, and begins once the witnesses that can be asked now
// could make a quorum. On an idle log that is at once. The others join it when they can be asked, and
// whoever cosigns after the quorum is met is added to what is published. While a
// witness is asked nothing else is sent to it; between two requests lies at least what its budget
// says, and after a failure a back-off. An unchanged checkpoint is cosigned again after a period,
// because a cosignature's time is what freshness is judged by.
//
// # What is durable
//
// The published checkpoint with its cosignatures, and what is known of each witness, are kept in a
// file of two slots (log/slot), and written before readers see a checkpoint. A crash before leaves the
// older published checkpoint, and the newer one is cosigned again; what is published never goes back.
// What a start reads it writes again before it shows it: a write before, whose sync failed, may be in the page cache
// alone. A file that is gone or that nobody can read is refused, once there was one (MustExist).
//
// # Witnesses guard the log
//
// Whoever restores a data folder and its head from the same old copy brings back a log that knows
// nothing of its newest entries. Only the witnesses do. At the start the newest checkpoint of the folder is
// sent to them, and the log takes no submissions until the witnesses that have not confirmed it could no longer make
// a quorum, neither of the policy nor of the one under which the log last published: whatever was
// published had one, and so one of those who confirmed would have known.
// A witness that names a larger size than the log ever signed, or refuses the tree that it is shown,
// accuses the log (accuse.go).
package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/slot"
	"github.com/pauselog/pauselog/log/tree"
)

// ErrAccused says that a witness knows more of this log than the log itself, or that so many
// say so that no quorum is left. To sign more would fork the log.
var ErrAccused = errors.New("witnesses contradict this log")

// A Log is what is published. Its methods may be called concurrently.
type Log interface {
	// Signed is the newest checkpoint that is durable and signed. It never goes back.
	Signed() *sequencer.Signed
	// WithMLDSA adds the log's own ML-DSA-44 lines to a note.
	WithMLDSA(note []byte, time uint64) ([]byte, error)
	// TakeSubmissions opens a log that was held at its start.
	TakeSubmissions()
}

// A Tree answers for each size up to that of the newest signed checkpoint. Its methods may be
// called concurrently.
type Tree interface {
	Consistency(size1, size2 uint64) ([]tree.Hash, error)
	Root(size uint64) (tree.Hash, error)
}

// Config is what a publisher works with.
type Config struct {
	Origin string
	// Policy has a quorum, and URLs for the witnesses that make it.
	Policy *checkpoint.Policy
	// Keys are all keys that this log ever signed with: what a witness shows with a signature of one
	// of them, this log has signed.
	Keys []*checkpoint.VerifierKey
	Log  Log
	Tree Tree
	// File keeps what is published; it is made if there is none, unless MustExist. Evidence is a folder for
	// what witnesses show against this log.
	File, Evidence string
	MustExist      bool
	// Disk is where File is. nil: the operating system's, and the file is locked.
	Disk slot.Disk

	// Interval is the least time between two requests to a witness, by the URL in the policy without a slash at
	// its end.
	// nil: none.
	Interval func(url string) time.Duration
	// Recosign is after what time an unchanged checkpoint is cosigned again. 0: an hour.
	Recosign time.Duration
	// Timeout is for one request. 0: 10 seconds.
	Timeout time.Duration
	// MaxBackOff bounds the pause after failures of a witness. 0: 10 seconds.
	MaxBackOff time.Duration

	// Override is an operator's word, for this one start, that the log's newest checkpoint is the newest
	// that there ever was: submissions are taken at once, and witnesses whose first answer says otherwise
	// are set aside.
	Override bool

	// Connect makes what a witness is asked through. nil: HTTP (package witness/client).
	Connect func(url string) (Asker, error)
	Logger  *slog.Logger // nil: discard
	// Fatal ends the process: the log must not sign any more.
	Fatal func(error)
	// Observe, if not nil, is called after each request by the publishing goroutine.
	Observe func(Asked)
}

// An Asked says what one question to a witness came to, for metrics.
type Asked struct {
	Witness string // its name, as in its key
	Outcome string // one of Outcomes
	Took    time.Duration
}

// A Publisher publishes a log's checkpoints.
type Publisher struct {
	c         Config
	published sequencer.Newest
	stopped   chan struct{} // closed when Run returns

	// Run's.
	witnesses   []*witness
	round       *round
	began       time.Time // when the newest round began
	starting    bool
	warned      bool // that the policy has changed too much
	state       *state
	answers     chan *answer
	met, missed uint64

	mu     sync.Mutex
	status Status // guarded by mu
}

// Open reads what was published, and checks it against the log.
func Open(c Config) (_ *Publisher, err error) {
	if c.Recosign == 0 {
		c.Recosign = time.Hour
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.MaxBackOff == 0 {
		c.MaxBackOff = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Connect == nil {
		c.Connect = connectHTTP()
	}
	p := &Publisher{c: c, stopped: make(chan struct{}), starting: true}
	if p.witnesses, err = witnessesOf(c.Policy, c.Connect); err != nil {
		return nil, err
	}
	// A witness has one question at a time: what it answers always finds a place.
	p.answers = make(chan *answer, len(p.witnesses))
	if err := p.fits(); err != nil {
		return nil, err
	}
	if p.state, err = openState(c.Disk, c.File, c.MustExist); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.state.close())
		}
	}()
	if err := p.restore(); err != nil {
		return nil, err
	}
	if err := p.recall(); err != nil {
		return nil, err
	}
	if _, err := c.Policy.Open(c.Log.Signed().Note); err != nil && !errors.Is(err, checkpoint.ErrQuorum) {
		return nil, fmt.Errorf("by the policy nobody could verify what this log signs, it must list an Ed25519 key that signs: %w", err)
	}
	if !c.Policy.Satisfied(p.counted(func(*key) bool { return true })) {
		return nil, errors.New("the policy's quorum cannot be met by the witnesses that have a URL in it")
	}
	if !c.Policy.Satisfied(p.counted(func(k *key) bool { return k.aside != accuses })) {
		return nil, fmt.Errorf("%w: without %s, which contradicted it, this log's policy has no quorum left. %s",
			ErrAccused, strings.Join(p.accusers(), ", "), p.advice())
	}
	if !c.Policy.Satisfied(p.counted(func(k *key) bool { return k.aside == "" })) {
		c.Logger.Error("no quorum is left without the witnesses that were set aside: nothing can be published until the policy has others",
			"aside", p.namesOf(func(w *witness) bool { return w.aside() != "" }))
	}
	p.report()
	return p, nil
}

// recall takes up what is remembered of the witnesses, and refuses what an operator has to look at first.
func (p *Publisher) recall() error {
	records := p.state.value.Witnesses
	signed := p.c.Log.Signed()
	for i := range records {
		r := &records[i]
		switch {
		case p.c.Override:
			// They are asked again, if the policy has them: what they say now is set aside, not refused.
			if r.Aside != lost {
				r.Aside, r.Why = "", ""
			}
			r.Size = min(r.Size, signed.Size)
		case r.Aside == proven:
			// Also if the witness left the policy since: what it showed was signed by this log.
			return fmt.Errorf("%w: the witness with the key %s showed this: %s. %s", ErrAccused, r.Key, r.Why, p.advice())
		case r.Size > signed.Size:
			return fmt.Errorf("%w: the witness with the key %s has cosigned size %d, but the data folder holds %d entries: an older copy was laid over it. %s",
				sequencer.ErrRefused, r.Key, r.Size, signed.Size, p.advice())
		}
	}
	for _, w := range p.witnesses {
		w.recall(records)
	}
	return nil
}

// fits makes sure that a checkpoint with all lines that the policy's witnesses and the log's keys can make is one
// that readers parse.
func (p *Publisher) fits() error {
	lines, size := len(p.c.Keys), len(p.c.Log.Signed().Note)
	for _, k := range p.c.Keys {
		size += lineSize(k)
	}
	for _, w := range p.witnesses {
		for _, k := range w.keys {
			lines, size = lines+1, size+lineSize(k.VerifierKey)
		}
	}
	if lines > checkpoint.MaxSignatures || size > checkpoint.MaxNoteSize {
		return fmt.Errorf("the policy's witnesses and the log's keys together could make %d signature lines of %d bytes, and a checkpoint has at most %d and %d bytes: use fewer keys",
			lines, size, checkpoint.MaxSignatures, checkpoint.MaxNoteSize)
	}
	return nil
}

// lineSize is about the size of a signature line.
func lineSize(k *checkpoint.VerifierKey) int {
	if k.Algorithm() == checkpoint.MLDSA44 {
		return len(k.Name()) + 3260
	}
	return len(k.Name()) + 120
}

// restore takes up the published checkpoint.
func (p *Publisher) restore() error {
	v := &p.state.value
	if v.Note == "" {
		// Nothing was ever published under a policy with a quorum. Readers see nothing, not even of what
		// was published without cosignatures, until a quorum has cosigned.
		p.published.Set(sequencer.NewSigned(0, tree.EmptyRoot, 0, nil, func() ([]byte, error) { return nil, nil }))
		return nil
	}
	c, err := p.ownCheckpoint([]byte(v.Note))
	if err != nil {
		return fmt.Errorf("%w: %s: the published checkpoint: %w", sequencer.ErrRefused, p.c.File, err)
	}
	signed := p.c.Log.Signed()
	if c.Size > signed.Size {
		return fmt.Errorf("%w: size %d was published, but the data folder holds %d entries: it was replaced by an older copy. "+
			"Put back the newest copy of the data folder, one that holds at least %d entries", sequencer.ErrRefused, c.Size, signed.Size, c.Size)
	}
	root, err := p.c.Tree.Root(c.Size)
	if err != nil {
		return err
	}
	if root != c.Root {
		return fmt.Errorf("%w: the first %d entries of the data folder have root %v, but root %v was published for size %d. "+
			"The folder is of another history; put back the one that belongs to %s", sequencer.ErrRefused, c.Size, root, c.Root, c.Size, p.c.File)
	}
	if _, err := p.c.Policy.Open([]byte(v.Note)); err != nil {
		// It was published under another policy. It stays until the new quorum has cosigned: what is
		// published never goes back.
		p.c.Logger.Warn("the published checkpoint does not satisfy the policy, which has changed since; asking its witnesses", "size", c.Size, "reason", err)
	}
	return p.show(c, v.Time, []byte(v.Note))
}

// show lets readers see a checkpoint.
func (p *Publisher) show(c checkpoint.Checkpoint, time uint64, note []byte) error {
	n, err := checkpoint.ParseNote(note)
	if err != nil {
		return err
	}
	all := sync.OnceValues(func() ([]byte, error) { return p.c.Log.WithMLDSA(note, time) })
	small := n.Keep(checkpoint.Signature.IsEd25519).Marshal()
	if _, err := p.c.Policy.Open(small); errors.Is(err, checkpoint.ErrQuorum) {
		// The quorum needs ML-DSA-44 lines. Bundles are then larger, but they are proofs.
		if small, err = all(); err != nil {
			return err
		}
	}
	p.published.Set(sequencer.NewSigned(c.Size, c.Root, time, small, all))
	return nil
}

// ownCheckpoint parses a note that one of this log's keys must have signed.
func (p *Publisher) ownCheckpoint(note []byte) (checkpoint.Checkpoint, error) {
	n, err := checkpoint.ParseNote(note)
	if err != nil {
		return checkpoint.Checkpoint{}, err
	}
	c, err := checkpoint.ParseText(n.Text)
	if err != nil {
		return checkpoint.Checkpoint{}, err
	}
	if c.Origin != p.c.Origin {
		return c, fmt.Errorf("it is of %q, not of %s", c.Origin, p.c.Origin)
	}
	for _, s := range n.Signatures {
		for _, k := range p.c.Keys {
			if k.Matches(s) {
				_, err := k.Verify(n.Text, s)
				return c, err
			}
		}
	}
	return c, fmt.Errorf("it has no signature by a key of %s", p.c.Origin)
}

// Published is the newest published checkpoint. Before the first it is of size 0 and has no note.
func (p *Publisher) Published() *sequencer.Signed { return p.published.Get() }

// WaitPublished waits until a checkpoint of at least this size is published.
func (p *Publisher) WaitPublished(ctx context.Context, size uint64) (*sequencer.Signed, error) {
	return p.published.Wait(ctx, size, p.stopped)
}

// A Status is how publishing stands.
type Status struct {
	Starting bool // submissions are not taken yet
	Behind   bool // something is signed and not published
	// Met and Missed count rounds: those whose quorum was met, and those that were given up for a newer
	// checkpoint.
	Met, Missed uint64
	Witnesses   []WitnessStatus
}

// A WitnessStatus is how one witness stands.
type WitnessStatus struct {
	Name     string    // as in its key
	Size     uint64    // the largest that it is known to have cosigned
	Cosigned time.Time // when it cosigned last, by its own clock; zero: not since the start
	Outcome  string    // of the last question; "" before the first
	Why      string    // the last failure
	Aside    string    // why it is never asked again: one of Asides; or ""
}

// Status is how publishing stands.
func (p *Publisher) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	s.Witnesses = slices.Clone(s.Witnesses)
	return s
}

// Waiting says in a few words which witnesses publishing waits for; "" if it does not wait.
func (p *Publisher) Waiting() string {
	s := p.Status()
	if !s.Behind && !s.Starting {
		return ""
	}
	var missing []string
	for _, w := range s.Witnesses {
		switch {
		case w.Aside != "":
			missing = append(missing, w.Name+" (set aside)")
		case w.Outcome != Cosigned && w.Outcome != "":
			missing = append(missing, fmt.Sprintf("%s (%s)", w.Name, w.Outcome))
		}
	}
	if len(missing) == 0 {
		return "the witnesses that must cosign it are being asked"
	}
	return "cosignatures are missing of " + strings.Join(missing, ", ")
}

// report makes the status of what Run knows.
func (p *Publisher) report() {
	s := Status{Starting: p.starting, Met: p.met, Missed: p.missed, Behind: p.published.Get().Note == nil || p.published.Get().Size < p.c.Log.Signed().Size}
	for _, w := range p.witnesses {
		s.Witnesses = append(s.Witnesses, WitnessStatus{Name: w.name, Size: w.largest(), Cosigned: w.at, Outcome: w.outcome, Why: w.why, Aside: w.aside()})
	}
	p.mu.Lock()
	p.status = s
	p.mu.Unlock()
}

// counted is the function for Policy.Satisfied that counts the keys that can be asked for, and for which which
// is true.
func (p *Publisher) counted(which func(*key) bool) func(string) bool {
	return func(name string) bool {
		for _, w := range p.witnesses {
			for _, k := range w.keys {
				if k.name == name {
					return which(k)
				}
			}
		}
		return false
	}
}

// usable counts the keys of the witnesses for which which is true, without those that were set aside.
func (p *Publisher) usable(which func(*witness) bool) func(string) bool {
	good := map[*key]bool{}
	for _, w := range p.witnesses {
		for _, k := range w.counting() {
			good[k] = which(w)
		}
	}
	return p.counted(func(k *key) bool { return good[k] })
}

func (p *Publisher) namesOf(which func(*witness) bool) (names []string) {
	for _, w := range p.witnesses {
		if which(w) {
			names = append(names, w.name)
		}
	}
	return names
}
