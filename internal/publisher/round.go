package publisher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/sequencer"
)

// A round is what is done to get one checkpoint cosigned.
type round struct {
	signed     *sequencer.Signed
	checkpoint checkpoint.Checkpoint
	note       checkpoint.Note   // with what was collected
	asked      map[*witness]bool // those from which nothing more can come in this round
	proofs     *proofs
	published  bool
}

// forget takes a key's line out of what is collected.
func (r *round) forget(k *key) {
	r.note = r.note.Keep(func(s checkpoint.Signature) bool { return !k.Matches(s) })
}

// Run publishes until the context ends, or until the log must not go on.
func (p *Publisher) Run(ctx context.Context) error {
	defer close(p.stopped)
	asking, cancel := context.WithCancel(ctx)
	onTheWay := 0
	defer func() {
		// The questions on their way use the log, which is closed after Run.
		cancel()
		for ; onTheWay > 0; onTheWay-- {
			<-p.answers
		}
	}()
	if p.c.Override {
		p.c.Logger.Warn("an operator's override is in force for this start: the newest checkpoint is taken for the newest that there ever was", "size", p.c.Log.Signed().Size)
		p.takeSubmissions()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		// Before what is newest is looked at, so that nothing newer can be missed.
		newer := p.c.Log.Signed().Newer()
		if err := p.begin(now); err != nil {
			return err
		}
		for _, w := range p.witnesses {
			if p.round != nil && !p.round.asked[w] && w.ready(now) {
				w.asked = true
				onTheWay++
				go func(q *question) { p.answers <- p.ask(asking, q) }(p.questionFor(w))
			}
		}
		p.report()
		if d := p.wake(now); d >= 0 {
			timer.Reset(d)
		}
		select {
		case a := <-p.answers:
			onTheWay--
			if err := p.take(a); err != nil {
				return err
			}
		case <-newer:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *Publisher) questionFor(w *witness) *question {
	return &question{w: w, keys: w.counting(), asker: w.asker, signed: p.round.signed, old: w.old, size: w.size(), allLines: w.allLines, proofs: p.round.proofs}
}

// ready says whether a witness can be asked now.
func (w *witness) ready(now time.Time) bool {
	return w.aside() == "" && !w.asked && !now.Before(w.next)
}

// begin begins a new round if there is something to cosign, the round before can come to nothing
// more, and the witnesses that can be asked now could make a quorum.
func (p *Publisher) begin(now time.Time) error {
	signed := p.c.Log.Signed()
	if r := p.round; r != nil {
		if r.signed.Size == signed.Size {
			// The same checkpoint: until the quorum is met its round goes on; later it is cosigned again.
			if !r.published || now.Sub(p.began) < p.c.Recosign {
				return nil
			}
		} else if !r.published {
			for _, w := range p.witnesses {
				if w.asked || w.ready(now) && !r.asked[w] {
					return nil
				}
			}
		}
	}
	if !p.c.Policy.Satisfied(p.usable(func(w *witness) bool { return w.ready(now) })) {
		// At the start each answer counts by itself, also where there is no quorum to be had.
		if p.round != nil || !p.starting {
			return nil
		}
	}
	n, err := checkpoint.ParseNote(signed.Note)
	if err != nil {
		return err
	}
	if p.round != nil && !p.round.published {
		p.missed++
	}
	p.began = now
	p.round = &round{signed: signed, note: n, asked: map[*witness]bool{}, proofs: newProofs(p.c.Tree),
		checkpoint: checkpoint.Checkpoint{Origin: p.c.Origin, Size: signed.Size, Root: signed.Root}}
	if pub := p.published.Get(); pub.Note != nil && pub.Size == signed.Size {
		// What others said of it stays, until they say it again.
		p.round.published = p.collectPublished()
	}
	return nil
}

// collectPublished takes the published cosignatures into a round for the same checkpoint, and says whether
// they satisfy the policy.
func (p *Publisher) collectPublished() bool {
	old, err := checkpoint.ParseNote([]byte(p.state.value.Note))
	if err != nil || old.Text != p.round.note.Text {
		return false
	}
	for _, w := range p.witnesses {
		for _, k := range w.counting() {
			for _, s := range old.Signatures {
				if k.Matches(s) {
					p.round.note = p.round.note.With(s)
				}
			}
		}
	}
	_, err = p.c.Policy.Open(p.round.note.Marshal())
	return err == nil
}

// wake is how long nothing is to be done unless something happens; negative: for ever.
func (p *Publisher) wake(now time.Time) time.Duration {
	soonest := time.Duration(-1)
	sooner := func(t time.Time) {
		if d := max(0, t.Sub(now)); soonest < 0 || d < soonest {
			soonest = d
		}
	}
	for _, w := range p.witnesses {
		if w.aside() == "" && !w.asked && w.next.After(now) {
			sooner(w.next)
		}
	}
	if p.round != nil && p.round.published {
		if again := p.began.Add(p.c.Recosign); again.After(now) {
			sooner(again)
		}
	}
	return soonest
}

// firstBackOff is the pause after a first failure.
const firstBackOff = 100 * time.Millisecond

// take takes the answer to a question.
func (p *Publisher) take(a *answer) (err error) {
	w, now := a.w, time.Now()
	w.asked, w.outcome, w.old = false, a.outcome, a.old
	if p.c.Interval != nil {
		// Each request counts, of which one question may need more than one.
		w.next = now.Add(time.Duration(a.requests) * p.c.Interval(w.url))
	}
	if p.c.Observe != nil {
		p.c.Observe(Asked{Witness: w.name, Outcome: a.outcome, Took: a.took})
	}
	// The override is for what the witnesses say at the start, however late one comes.
	overridden := p.c.Override && !w.answered
	w.heard = true
	w.answered = w.answered || a.outcome != Unreachable && a.outcome != Busy && a.outcome != Failed
	if p.starting {
		// While the log is held, every question is about the checkpoint that it started with.
		w.confirmed = w.confirmed || a.outcome == Cosigned || a.outcome == NoEmptyTree
		defer func() {
			if p.starting && err == nil {
				p.tryToOpen()
			}
		}()
	}
	switch a.outcome {
	case Cosigned:
		// Only what a witness has cosigned says which lines it needs.
		w.allLines = a.allLines
		for _, k := range a.by {
			k.size = max(k.size, a.signed.Size)
		}
		w.old, w.why = a.signed.Size, ""
		w.at = time.Unix(int64(min(a.time, 1<<40)), 0)
		return p.collect(w, a, now)
	case Overtaken:
		// It will not cosign this round's checkpoint, but the next one's.
		if p.round != nil && p.round.signed == a.signed {
			p.round.asked[w] = true
		}
		p.failed(w, now, 0)
		return nil
	}
	if a.err != nil {
		w.why = a.err.Error()
	}
	p.failed(w, now, a.retry)
	switch a.outcome {
	case Accuses:
		return p.accuse(w, a, overridden)
	case Lost:
		p.loses(w, a)
		return nil
	}
	if w.failures == 1 || w.failures%100 == 0 {
		p.c.Logger.Warn("a witness did not cosign", "witness", w.name, "outcome", a.outcome, "error", a.err, "failures", w.failures)
	}
	return nil
}

// failed gives a witness a pause, at least as long as it asked for.
func (p *Publisher) failed(w *witness, now time.Time, retry time.Duration) {
	w.failures++
	w.next = later(w.next, now.Add(max(retry, p.backOff(w.failures))))
}

// loses sets those keys of a witness aside that have cosigned more than it remembers. If the policy has
// newer keys for it, those go on.
func (p *Publisher) loses(w *witness, a *answer) {
	var keys []*key
	for _, k := range a.keys {
		if k.size > a.named {
			keys = append(keys, k)
		}
	}
	p.c.Logger.Error("a witness has lost its state; the keys with which it cosigned are not counted any more, and must leave the policies", "witness", w.name, "says", a.err)
	p.setAside(keys, lost, a.err)
	w.old = a.named
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// backOff doubles with each failure, with a fifth of jitter so that a log does not find all its
// witnesses at once.
func (p *Publisher) backOff(failures int) time.Duration {
	d := p.c.MaxBackOff
	if failures < 20 {
		d = min(d, firstBackOff<<(failures-1))
	}
	return d - time.Duration(rand.Int64N(int64(d)/5+1))
}

// collect adds a witness's signatures to its round, and publishes once there is a quorum.
func (p *Publisher) collect(w *witness, a *answer, now time.Time) error {
	r := p.round
	if r == nil || r.signed != a.signed {
		w.failures = 0
		return p.collectLate(a)
	}
	r.note = r.note.With(a.signatures...)
	note := r.note.Marshal()
	// The same code that every reader uses decides whether the quorum is met.
	_, err := p.c.Policy.Open(note)
	if len(a.signatures) == len(w.counting()) || err == nil {
		w.failures = 0
		r.asked[w] = true
	} else {
		// One of its signers is away, and its line may be what the quorum needs: it is asked again.
		p.failed(w, now, 0)
	}
	switch {
	case errors.Is(err, checkpoint.ErrQuorum):
		return nil
	case err != nil:
		return fmt.Errorf("the checkpoint that witnesses cosigned is not one that the policy's readers accept: %w", err)
	}
	if !r.published {
		p.met++
	}
	r.published = true
	policy := p.c.Policy.String()
	if p.starting && p.state.value.Policy != "" {
		// Until the log is open, what counts is who could have cosigned something newer before.
		policy = p.state.value.Policy
	}
	if err := p.put(string(note), policy, r.signed.Time); err != nil {
		return err
	}
	return p.show(r.checkpoint, r.signed.Time, note)
}

// collectLate adds signatures that come when the next round has begun to what is published, if they
// are of that.
func (p *Publisher) collectLate(a *answer) error {
	pub := p.published.Get()
	if pub.Note == nil || pub.Size != a.signed.Size || pub.Root != a.signed.Root {
		return nil
	}
	v := p.state.value
	n, err := checkpoint.ParseNote([]byte(v.Note))
	if err != nil {
		return err
	}
	note := n.With(a.signatures...).Marshal()
	if _, err := p.c.Policy.Open(note); err != nil {
		return nil // the policy has changed since
	}
	if err := p.put(string(note), v.Policy, v.Time); err != nil {
		return err
	}
	return p.show(checkpoint.Checkpoint{Origin: p.c.Origin, Size: pub.Size, Root: pub.Root}, v.Time, note)
}

// put makes durable what is published. What is on disk is not known after an error, and the
// process must end: the next start reads it.
func (p *Publisher) put(note, policy string, time uint64) error {
	v := stored{Note: note, Policy: policy, Time: time}
	here := map[string]bool{}
	for _, w := range p.witnesses {
		for _, r := range w.records() {
			v.Witnesses = append(v.Witnesses, r)
			here[r.Key] = true
		}
	}
	// One that lost its state stays so when it comes back into the policy.
	for _, r := range p.state.value.Witnesses {
		if !here[r.Key] && len(v.Witnesses) < maxRecords {
			v.Witnesses = append(v.Witnesses, r)
		}
	}
	if err := p.state.put(v); err != nil {
		return fmt.Errorf("%s: what is published: %w", p.c.File, err)
	}
	return nil
}

// remember makes durable what is known of the witnesses.
func (p *Publisher) remember() {
	if err := p.put(p.state.value.Note, p.state.value.Policy, p.state.value.Time); err != nil {
		p.c.Logger.Error("what is known of the witnesses could not be written", "error", err)
	}
}

// tryToOpen opens the log once each witness has been asked, and those that have not confirmed its newest
// checkpoint could not have made a quorum for a newer one among themselves. The first alone would let
// one that is down stop the log; the second alone would leave to chance whether one that knows more
// is heard.
func (p *Publisher) tryToOpen() {
	for _, w := range p.witnesses {
		if !w.heard && w.aside() == "" {
			return
		}
	}
	if p.c.Policy.Satisfied(p.unconfirmed(p.c.Policy)) {
		return
	}
	// What was published had the quorum of the policy of that time: a policy that lost its witnesses
	// since says nothing of what those have seen.
	if text := p.state.value.Policy; text != "" {
		old, err := checkpoint.ParsePolicy([]byte(text))
		if err != nil {
			p.c.Logger.Error("the policy under which the log published last cannot be read", "error", err)
			return
		}
		if old.Satisfied(p.unconfirmed(old)) {
			if !p.warned {
				p.c.Logger.Error("no submissions are taken: the policy has changed so much since the log published last that those who left it, and those who do not answer, " +
					"could have seen something newer. Change one witness at a time, wait for the others, or override it for one start (deploy/OPERATING.md)")
			}
			p.warned = true
			return
		}
	}
	p.takeSubmissions()
}

// unconfirmed is the function for a policy's Satisfied that counts the witnesses that could have been asked
// under it, and have not confirmed now that the log's newest checkpoint is the newest that they saw.
func (p *Publisher) unconfirmed(policy *checkpoint.Policy) func(string) bool {
	confirmed := map[string]bool{}
	for _, w := range p.witnesses {
		for _, k := range w.keys {
			confirmed[k.String()] = w.confirmed && k.aside == ""
		}
	}
	keys := map[string]checkpoint.PolicyWitness{}
	for _, w := range policy.Witnesses() {
		keys[w.Name] = w
	}
	return func(name string) bool { return keys[name].URL != "" && !confirmed[keys[name].Key.String()] }
}

func (p *Publisher) takeSubmissions() {
	p.starting = false
	p.c.Log.TakeSubmissions()
}

// Close closes the file. Run must have returned, or never been called.
func (p *Publisher) Close() error { return p.state.close() }
