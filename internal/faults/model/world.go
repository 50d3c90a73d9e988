package model

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"

	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/sequencer"
)

const origin = "log.example/model"

// A sabotage is a mistake in the wiring, with which the tests show that the model finds such mistakes.
type sabotage struct {
	earlyAnswers bool // the log answers before anything is durable
	syncsLie     bool // its disk says that it syncs, and does not
	noQuorum     bool // what is signed is published
	forgetful    bool // a witness starts from nothing
	olderFolder  bool // the log starts from an older copy of all that it keeps, by an operator's override
}

// A world is one run: a log, three witnesses of which two must cosign, agents, clients and a mirror, on a network in which
// messages are lost, delayed, doubled and overtaken. Its time is simulated.
type world struct {
	seed      uint64
	dir       string
	sabotage  sabotage
	settle    func() // returns when nothing more happens at this moment
	random    *rand.Rand
	trace     *trace
	network   *network
	check     *checker
	keys      []*checkpoint.SignerKey // the log's: Ed25519, ML-DSA-44
	policy    *checkpoint.Policy
	log       *logNode
	second    *logNode // of an operator who equivocates
	witnesses []*witnessNode
	agents    []*agent
	files     int
	report    campaign.Report

	backups        []*backup
	witnessBackups []*witnessBackup // of witness 0
	rolledBack     bool             // witness 0 has lost its newest state
	cuts           map[string]int   // steps until a cut link heals

	older atomic.Int64 // until when answers of an older log may come, in nanoseconds since 1970

	mu    sync.Mutex
	heard [][]byte // requests that logs sent to witnesses; guarded by mu
}

// newWorld makes everything, and starts nothing.
func newWorld(seed uint64, dir string, s sabotage, settle func()) (*world, error) {
	w := &world{seed: seed, dir: dir, sabotage: s, settle: settle, random: source(seed, "driver"), network: newNetwork(seed), trace: newTrace(), cuts: map[string]int{}}
	var policy strings.Builder
	for i, alg := range []checkpoint.Algorithm{checkpoint.Ed25519, checkpoint.MLDSA44} {
		k, err := w.key(alg, origin, byte(i))
		if err != nil {
			return nil, err
		}
		w.keys = append(w.keys, k)
		fmt.Fprintf(&policy, "log %v\n", k.Verifier())
	}
	for i := range 3 {
		n := &witnessNode{name: fmt.Sprintf("w%d.example", i), url: fmt.Sprintf("http://w%d.example", i), world: w, began: time.Now()}
		// One witness has a key of each type: it is one operator.
		algorithms := []checkpoint.Algorithm{checkpoint.CosignatureV1, checkpoint.MLDSA44}
		if i > 0 {
			algorithms = algorithms[:1]
		}
		group := fmt.Sprintf("group w%d any", i)
		for j, alg := range algorithms {
			k, err := w.key(alg, n.name, byte(16+2*i+j))
			if err != nil {
				return nil, err
			}
			n.keys = append(n.keys, k)
			fmt.Fprintf(&policy, "witness w%d-%d %v %s\n", i, j, k.Verifier(), n.url)
			group += fmt.Sprintf(" w%d-%d", i, j)
		}
		policy.WriteString(group + "\n")
		w.witnesses = append(w.witnesses, n)
	}
	var err error
	if w.policy, err = checkpoint.ParsePolicy([]byte(policy.String() + "group quorum 2 w0 w1 w2\nquorum quorum\n")); err != nil {
		return nil, err
	}
	w.check = newChecker(w.policy, w.keys[0].Verifier(), w.trace)
	for _, n := range w.witnesses {
		if err := errors.Join(n.init(), n.start()); err != nil {
			return nil, err
		}
	}
	w.log = &logNode{name: "log", world: w}
	state, head, err := sequencer.Init(origin, w.keys, time.Now())
	if err != nil {
		return nil, err
	}
	m := vfs.NewCrashableMem()
	if err := newDisk(m, source(seed, "format"), &w.log.full, false).format(state, head); err != nil {
		return nil, err
	}
	if err := w.log.start(starting{memory: m}); err != nil {
		return nil, err
	}
	w.files = 30 + w.random.IntN(60)
	for i := range 3 {
		a := &agent{world: w, name: fmt.Sprintf("agent %d", i), log: w.log}
		for f := i; f < w.files; f += 3 {
			a.todo = append(a.todo, f)
		}
		w.agents = append(w.agents, a)
	}
	return w, nil
}

// key is the same for the same seed.
func (w *world) key(alg checkpoint.Algorithm, name string, n byte) (*checkpoint.SignerKey, error) {
	secret := make([]byte, 64)
	for i := range secret {
		secret[i] = byte(source(w.seed, "key ", n, " ", i).Uint32())
	}
	return checkpoint.GenerateSigner(alg, name, bytes.NewReader(secret))
}

// overheard keeps a request to a witness, for whoever repeats it later.
func (w *world) overheard(body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.heard) < 500 {
		w.heard = append(w.heard, body)
	}
}

// isOlder says whether an answer can be of a log that was put back to an older copy and waits for its witnesses.
func (w *world) isOlder() bool { return time.Now().UnixNano() < w.older.Load() }

// run runs the world to its end. The error is the first violation.
func (w *world) run() (campaign.Report, error) {
	ctx, stop := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	for i := range 2 {
		readers.Go(func() { w.read(ctx, fmt.Sprintf("client %d", i), w.log) })
	}
	readers.Go(func() { w.mirror(ctx, "mirror", w.log) })
	for _, a := range w.agents {
		a.start()
	}
	steps := 30 + w.random.IntN(50)
	for step := 0; step < steps && w.check.err() == nil; step++ {
		// When a step is, and what it does, follows from its number alone, whatever became of those before.
		w.random = source(w.seed, "time of ", step)
		time.Sleep(20*time.Millisecond + time.Duration(w.random.Int64N(int64(900*time.Millisecond))))
		w.settle()
		if err := w.step(step); err != nil {
			w.check.violate("step %d: %v", step, err)
		}
	}
	if w.check.err() == nil {
		if err := w.recover(); err != nil {
			w.check.violate("after all faults have ended: %v", err)
		}
	}
	stop()
	readers.Wait()
	for _, a := range w.agents {
		a.crash()
	}
	w.network.calmDown()
	w.end()
	w.report.Faults += w.network.faultCount()
	w.report.Acknowledged, w.report.Lost, w.report.Forks, w.report.False = w.check.acknowledged, w.check.lost, w.check.forks, w.check.falses
	return w.report, w.check.err()
}

// recover lets all faults end, and waits until everything is done. It is an error if that takes too long.
func (w *world) recover() error {
	patience := 3 * time.Minute
	if w.second != nil {
		patience = 20 * time.Second // an operator who equivocates may be stopped for good
	}
	w.trace.add("all faults end")
	w.network.calmDown()
	w.log.full.Store(false)
	for _, n := range w.witnesses {
		if err := w.correctClock(n); err != nil {
			return err
		}
		if n.life.Load() == nil {
			if err := n.start(); err != nil {
				return err
			}
		}
	}
	w.log.clock.Store(0)
	var why error
	for began := time.Now(); time.Since(began) < patience; time.Sleep(200 * time.Millisecond) {
		w.settle()
		if err := w.check.err(); err != nil {
			return nil // it was said
		}
		if err := w.supervise(); err != nil {
			return err
		}
		if why = w.unfinished(); why == nil {
			w.trace.add("all is published after %v", time.Since(began))
			return nil
		}
	}
	if w.second != nil {
		return nil
	}
	return fmt.Errorf("not done after %v: %w", patience, why)
}

// unfinished says what is not done yet.
func (w *world) unfinished() error {
	l := w.log.life.Load()
	if l == nil {
		return errors.New("the log does not run")
	}
	for _, a := range w.agents {
		if n := a.left(); n > 0 && a.log == w.log {
			return fmt.Errorf("%s has %d files to submit; of the log %d are signed and %d published, it is held: %v; %s", a.name, n, l.seq.Signed().Size, l.pub.Published().Size, l.seq.Held(), l.pub.Waiting())
		}
	}
	if p, s := l.pub.Published(), l.seq.Signed(); p.Note == nil || p.Size < s.Size || p.Size < w.check.largest(w.log.name) {
		return fmt.Errorf("size %d is published, %d is signed, %d was acknowledged: %s", p.Size, s.Size, w.check.largest(w.log.name), l.pub.Waiting())
	}
	return nil
}

// end ends all nodes, and judges.
func (w *world) end() {
	forests := map[string]*forest{}
	for _, n := range []*logNode{w.log, w.second} {
		if n == nil {
			continue
		}
		if l := n.life.Load(); l != nil {
			crashed := l.failure() != nil
			if err := n.end(w.random, 0, !crashed); err != nil {
				w.check.violate("ending %s: %v", n.name, err)
			}
		}
		n.ended.Wait()
		entries, note, err := entriesOf(n.memory)
		if err != nil {
			w.check.violate("reading what %s has in the end: %v", n.name, err)
			continue
		}
		w.check.signed(n.name, note)
		f, err := newForest(entries)
		if err != nil {
			w.check.violate("%s: %v", n.name, err)
			continue
		}
		forests[n.name] = f
	}
	for _, n := range w.witnesses {
		if err := n.end(); err != nil {
			w.check.violate("ending %s: %v", n.name, err)
		}
	}
	w.network.wait.Wait()
	w.check.judge(forests)
	w.trace.add("in the end: %v entries by log", maps.Collect(func(yield func(string, int) bool) {
		for name, f := range forests {
			if !yield(name, len(f.leaves)) {
				return
			}
		}
	}))
}

// A trace is the last things that happened.
type trace struct {
	mu    sync.Mutex
	began time.Time
	lines []string
}

const traced = 60

func newTrace() *trace { return &trace{began: time.Now()} }

func (t *trace) add(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == traced {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, fmt.Sprintf("%9.3f s  %s", time.Since(t.began).Seconds(), fmt.Sprintf(format, args...)))
}

func (t *trace) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
