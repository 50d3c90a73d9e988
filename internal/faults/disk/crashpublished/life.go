package crashpublished

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
	"github.com/pauselog/pauselog/internal/faults/disk/oracle"
	"github.com/pauselog/pauselog/internal/faults/disk/rig"
	"github.com/pauselog/pauselog/internal/publisher"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/sequencer"
)

// Where things are, as the log's data folder has them.
const (
	file   = rig.Dir + "/published"
	policy = rig.Dir + "/policy" // there is one once the log was served with witnesses
)

// patience bounds the wait for what takes milliseconds.
const patience = 2 * time.Minute

// errHangs says that nothing was published.
var errHangs = errors.New("publishing hangs")

// told is what anybody was told until a moment, and what the witnesses remember.
type told struct {
	log       *rig.Told
	witnesses []*cosigner

	mu    sync.Mutex
	shown oracle.Tree // published, the newest that readers saw
	aside string      // the witness that lost its state, once an operator was told that it counts no more
}

func (t *told) clone() *told {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &told{log: t.log.Clone(t.log.Mark()), shown: t.shown, aside: t.aside}
	for _, w := range t.witnesses {
		c.witnesses = append(c.witnesses, w.clone())
	}
	return c
}

// shows notes what readers see. What they see never goes back, and a quorum has cosigned it.
func (t *told) shows(p *sequencer.Signed, verifiers []string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if string(p.Note) == string(t.shown.Note) {
		return nil // also if nothing was published yet
	}
	if p.Size < t.shown.Size || p.Note == nil {
		return fmt.Errorf("%w: size %d was published, and now it is size %d", oracle.ErrFork, t.shown.Size, p.Size)
	}
	if t.shown.Note != nil && p.Size == t.shown.Size && p.Root != t.shown.Root {
		return fmt.Errorf("%w: of size %d two trees were published", oracle.ErrFork, p.Size)
	}
	if err := t.sound(p.Size, p.Root, p.Note, verifiers); err != nil {
		return err
	}
	t.shown = oracle.Tree{Size: p.Size, Root: p.Root, Note: p.Note}
	return nil
}

// sound checks a published note.
func (t *told) sound(size uint64, root [32]byte, note []byte, verifiers []string) error {
	signed, signedRoot, err := oracle.Checkpoint(note, verifiers)
	if err != nil || signed != size || signedRoot != root {
		return fmt.Errorf("%w: published is size %d, and its note says %d: %v", oracle.ErrFalse, size, signed, err)
	}
	if by, err := cosigned(note, t.witnesses); err != nil || by < quorum {
		return fmt.Errorf("%w: size %d is published, cosigned by %d of the %d that it takes: %v", oracle.ErrFalse, size, by, quorum, err)
	}
	return nil
}

// A process is a log that publishes.
type process struct {
	w    *world
	told *told
	log  *rig.Log
	held chan struct{} // closed when the log takes submissions

	mu   sync.Mutex
	pub  *publisher.Publisher
	seen *sequencer.Signed
	bad  error // what somebody saw that must not be

	cancel context.CancelFunc
	ended  chan struct{} // closed when publishing has ended
	failed error         // why, by itself; read after ended
}

// opener tells when the log takes submissions.
type opener struct {
	*sequencer.Sequencer
	opened func()
}

func (o opener) TakeSubmissions() {
	o.Sequencer.TakeSubmissions()
	o.opened()
}

// newProcess is a process that open starts: it can be observed from then on.
func (w *world) newProcess(t *told) *process {
	p := &process{w: w, told: t, log: rig.New(t.log, nil), held: make(chan struct{})}
	p.log.Held = true
	return p
}

// open starts the log and its publisher as pauselogd does, except that nothing is published yet but what was.
func (p *process) open(fs vfs.FS) error {
	if err := p.log.Open(fs, p.w.keys); err != nil {
		return err
	}
	disk := &faultfs.Disk{FS: fs}
	_, err := fs.Stat(policy)
	before := err == nil
	var once sync.Once
	pub, err := publisher.Open(publisher.Config{
		Origin: rig.Origin, Policy: p.w.policy, Keys: p.w.logKeys(), Log: opener{p.log.Seq, func() { once.Do(func() { close(p.held) }) }}, Tree: p.log.Store,
		File: file, Disk: disk, MustExist: before, Evidence: p.w.evidence, Recosign: time.Hour,
		Connect: func(url string) (publisher.Asker, error) {
			for _, c := range p.told.witnesses {
				if c.url() == url {
					return c, nil
				}
			}
			return nil, fmt.Errorf("there is no witness at %s", url)
		},
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.pub = pub
	p.mu.Unlock()
	if !before {
		if err := disk.WriteFile(policy, []byte(p.w.policy.String())); err != nil {
			return err
		}
	}
	return p.observe()
}

// run publishes from now on. A publisher that fails ends the process, in order.
func (p *process) run() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.ended = cancel, make(chan struct{})
	go func() {
		defer close(p.ended)
		if p.failed = p.pub.Run(ctx); p.failed != nil {
			p.log.Seq.Halt(p.failed)
		}
	}()
}

// observe notes what everybody sees now. It may be called at any moment.
func (p *process) observe() error {
	p.log.Observe()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pub == nil || p.bad != nil {
		return p.bad
	}
	if now := p.pub.Published(); now != p.seen {
		p.seen, p.bad = now, p.told.shows(now, p.w.verifiers)
	}
	return p.bad
}

// opened waits until the witnesses have been asked, and the log takes submissions.
func (p *process) opened() error {
	return p.until("the log takes no submissions", func() bool {
		select {
		case <-p.held:
			return true
		default:
			return false
		}
	})
}

// until waits for what the publisher does by itself.
func (p *process) until(what string, done func() bool) error {
	wait := time.NewTimer(patience)
	defer wait.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-p.ended:
			return p.failed
		case <-p.log.Dead.Done():
			return context.Cause(p.log.Dead)
		case <-wait.C:
			return fmt.Errorf("%w: %s: size %d is published, %d signed: %s", errHangs, what, p.pub.Published().Size, p.log.Seq.Signed().Size, p.pub.Waiting())
		}
	}
	return p.observe()
}

// published waits until the newest checkpoint is, with the cosignatures of all that cosign.
func (p *process) published() error {
	return p.until("not everybody cosigns", func() bool {
		now := p.pub.Published()
		if now.Note == nil || now.Size < p.log.Seq.Signed().Size {
			return false
		}
		for _, s := range p.pub.Status().Witnesses {
			if s.Aside == "" && !strings.Contains(string(now.Note), "\n— "+s.Name+" ") {
				return false
			}
		}
		return true
	})
}

// submits logs entries, and waits until they are published.
func (p *process) submits(entries ...*entry.Entry) error {
	if err := p.log.Do(rig.Step{Groups: [][]*entry.Entry{entries}}); err != nil {
		return err
	}
	return p.published()
}

// forgets has a witness lose its state, and one more entry published, which shows it.
func (p *process) forgets(which int, e *entry.Entry) error {
	w := p.told.witnesses[which]
	w.forgets()
	if err := p.log.Do(rig.Step{Groups: [][]*entry.Entry{{e}}}); err != nil {
		return err
	}
	if err := p.until(w.name()+" has lost its state and is not set aside", func() bool { return p.asideOf(w.name()) != "" }); err != nil {
		return err
	}
	p.told.mu.Lock()
	p.told.aside = w.name()
	p.told.mu.Unlock()
	return p.published()
}

// asideOf is why a witness is not asked any more, or "".
func (p *process) asideOf(name string) string {
	for _, s := range p.pub.Status().Witnesses {
		if s.Name == name {
			return s.Aside
		}
	}
	return ""
}

// end ends the process in order, as far as it has begun.
func (p *process) end() (err error) {
	if p.cancel != nil {
		p.cancel()
		<-p.ended
		err = p.failed
	}
	if p.pub != nil {
		err = errors.Join(err, p.observe(), p.pub.Close())
	}
	if p.log.Seq != nil {
		err = errors.Join(err, p.log.Close())
	}
	return err
}

// ofFolder says whether an operation is on the plain files of the data folder, of which the published one is the most used.
func ofFolder(o faultfs.Op) bool {
	return (o.Name == rig.Dir || path.Dir(o.Name) == rig.Dir) && !strings.HasPrefix(o.Name, rig.StoreDir)
}

// logKeys are those that the log signs with.
func (w *world) logKeys() (keys []*checkpoint.VerifierKey) {
	for _, s := range w.keys.Signers {
		keys = append(keys, s.Verifier())
	}
	return keys
}
