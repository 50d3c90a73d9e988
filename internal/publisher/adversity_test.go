package publisher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/witness/client"
	"github.com/pauselog/pauselog/witness/protocol"
)

// What single witnesses, policies and restarts do at the worst moment.

// A log that was stopped by a proven contradiction is started again by its service manager.
func TestProvenContradictionStopsTheNextStartToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		r := w.start()
		r.wait(5)
		time.Sleep(time.Second)
		other := newLog(w, 5, w.log.keys...)
		other.append(50, "fork")
		w.witnesses[0].set(func() { w.witnesses[0].answer = client.ErrUnprocessable; w.witnesses[0].shown = other.Signed().Note })
		w.log.append(1)
		if err := <-r.ended; !errors.Is(err, ErrAccused) {
			t.Fatal(err)
		}
		r.cancel()
		r.Close()
		w.log.open = false
		if _, err := Open(w.config()); !errors.Is(err, ErrAccused) {
			t.Errorf("the next start: %v", err)
		}
		w.policy = w.policyOf(2, w.witnesses[1:]...)
		if _, err := Open(w.config()); !errors.Is(err, ErrAccused) {
			t.Errorf("without the witness in the policy: %v", err)
		}
		w.witnesses[0].set(func() { w.witnesses[0].answer = nil })
		r = w.start(func(c *Config) { c.Override = true })
		time.Sleep(time.Second)
		if !w.log.isOpen() {
			t.Error("an override does not start it")
		}
		r.stop()
	})
}

// One witness that names sizes just under the newest does not keep the others from publishing.
func TestWitnessThatIsAlwaysAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		r := w.start()
		r.wait(5)
		time.Sleep(time.Second)
		bad := w.witnesses[0]
		r.stop()
		w.log.open = false
		slow := map[string]bool{"https://" + w.witnesses[1].name: true, "https://" + w.witnesses[2].name: true}
		r = w.start(func(c *Config) {
			old := c.Connect
			c.Connect = func(url string) (Asker, error) {
				a, err := old(url)
				if slow[url] {
					return &delayed{a, 50 * time.Millisecond}, err
				}
				return &overtaker{fake: bad}, err
			}
		})
		time.Sleep(time.Second)
		if !w.log.isOpen() {
			t.Fatal("not open")
		}
		before := r.Published().Size
		for range 300 { // 3 seconds of a log that commits each 10 ms
			w.log.append(1)
			time.Sleep(10 * time.Millisecond)
		}
		if r.Published().Size < before+150 {
			t.Error("one witness of three stops publishing")
		}
		r.stop()
	})
}

// A quorum that needs an ML-DSA-44 line: what readers get by default has it.
func TestQuorumOfMLDSALines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		w.witnesses[0].keys = w.witnesses[0].keys[1:] // its Ed25519 key (ssh-agent) does not sign now
		w.witnesses[2].down = true
		c := w.config()
		p, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		go p.Run(t.Context())
		n, err := p.WaitPublished(t.Context(), 5)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.policy.Open(n.Note); err != nil {
			t.Errorf("the published note, as in bundles: %v", err)
		}
	})
}

// A witness forbids until its operator has added the log's key, and then takes one Ed25519 line only.
func TestForbiddenForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		f := w.witnesses[0]
		f.answer = client.ErrForbidden
		r := w.start(func(c *Config) {
			old := c.Connect
			c.Connect = func(url string) (Asker, error) {
				a, err := old(url)
				if url == "https://"+f.name {
					return &oneLine{f}, err
				}
				return a, err
			}
		})
		r.wait(5)
		time.Sleep(time.Minute)
		f.set(func() { f.answer = nil }) // its operator has added the log's key
		for range 10 {
			w.log.append(1)
			r.wait(uint64(w.log.h.size))
			time.Sleep(time.Minute)
		}
		if s := r.Status().Witnesses[0]; s.Outcome != Cosigned {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}

// A quorum that needs a key which did not sign once: the witness is asked again, on an idle log too.
func TestSignerThatIsAwayForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		text := strings.ReplaceAll(w.policy.String(), " 1 w", " 2 w") // both keys of each
		var err error
		if w.policy, err = checkpoint.ParsePolicy([]byte(text)); err != nil {
			t.Fatal(err)
		}
		r := w.start()
		r.wait(5)
		time.Sleep(time.Second)
		keys := make([][]*checkpoint.SignerKey, 3)
		for i, f := range w.witnesses {
			f.set(func() { keys[i] = f.keys; f.keys = f.keys[:1] })
		}
		w.log.append(1)
		time.Sleep(30 * time.Second)
		for i, f := range w.witnesses {
			f.set(func() { f.keys = keys[i] }) // after 30 seconds all is well again
		}
		time.Sleep(24 * time.Hour)
		if n := r.Published().Size; n != 6 {
			t.Errorf("a day later %d is published; asked %d times", n, w.witnesses[0].asked())
		}
		r.stop()
	})
}

// As many witnesses of two keys each as C2SP tlog-policy wants to be supported.
func TestThirtyTwoWitnesses(t *testing.T) {
	for _, k := range []int{17, 32} {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 5)
				for i := 3; i < 32; i++ {
					name := fmt.Sprintf("w%d.example/witness", i+1)
					w.witnesses = append(w.witnesses, &fake{t: t, name: name, log: w.log.keys[0].Verifier(), c: checkpoint.Checkpoint{Root: tree.EmptyRoot},
						keys: []*checkpoint.SignerKey{mustKey(t, checkpoint.CosignatureV1, name), mustKey(t, checkpoint.MLDSA44, name)}})
				}
				w.policy = w.policyOf(k, w.witnesses...)
				p, err := Open(w.config())
				if err != nil {
					t.Fatal(err)
				}
				go p.Run(t.Context())
				time.Sleep(time.Hour)
				n := p.Published()
				if n.Note == nil {
					t.Fatalf("all 32 cosigned, nothing is published: %q", p.Waiting())
				}
				all, err := n.All()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.policy.Open(all); err != nil {
					t.Errorf("/checkpoint: %v", err)
				}
			})
		})
	}
}

// The override covers what the witnesses say first, and not what they say days later.
func TestOverrideIsForTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		r := w.start(func(c *Config) { c.Override = true })
		r.wait(5)
		time.Sleep(2 * 24 * time.Hour)
		w.log.append(3)
		r.wait(8)
		other := newLog(w, 5, w.log.keys...)
		other.append(50, "fork")
		for _, f := range w.witnesses[:2] {
			f.set(func() { f.answer = client.ErrUnprocessable; f.shown = other.Signed().Note })
		}
		w.log.append(1)
		time.Sleep(time.Hour)
		select {
		case <-r.ended:
			r.cancel()
			r.Close()
		default:
			t.Errorf("days after the start two of three show a note with the log's own signature for another tree, and the log goes on: %+v", r.Status().Witnesses)
			r.stop()
		}
	})
}

// The accuser is taken out of the policy, and the other one that knows is down.
func TestPolicyChangeAtARestoredStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		r := w.start()
		r.wait(5)
		time.Sleep(time.Second)
		r.stop()
		old, _ := os.ReadFile(filepath.Join(w.dir, "published"))
		w.witnesses[2].set(func() { w.witnesses[2].down = true })
		w.log.open = false
		r = w.start()
		time.Sleep(time.Second)
		w.log.append(4)
		r.wait(9) // by w1 and w2
		r.stop()
		// Folder, head and published file are restored together. w1 accuses, w2 is down.
		os.WriteFile(filepath.Join(w.dir, "published"), old, 0o600)
		w.log = newLog(w, 5, w.log.keys...)
		w.witnesses[0].set(func() { w.witnesses[0].shown = nil }) // it proves nothing
		w.witnesses[1].set(func() { w.witnesses[1].down = true })
		w.witnesses[2].set(func() { w.witnesses[2].down = false })
		p, err := Open(w.config())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Run(t.Context()); !errors.Is(err, ErrAccused) {
			t.Fatal(err)
		}
		p.Close()
		w.policy = w.policyOf(2, w.witnesses[1:]...)
		r = w.start()
		time.Sleep(time.Hour)
		if w.log.isOpen() {
			t.Error("a checkpoint of size 9 was published by w1 and w2; the log of size 5 takes submissions on the word of w3 alone")
		}
		r.stop()
	})
}

// The log's own file says that a witness cosigned more than the log holds.
func TestRecordLargerThanTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		r := w.start()
		r.wait(5)
		time.Sleep(time.Second)
		// w2 and w3 are down, w1 cosigns size 9, then w2 comes back with a lost state (or anything that writes).
		w.witnesses[1].set(func() { w.witnesses[1].down = true })
		w.witnesses[2].set(func() { w.witnesses[2].down = true })
		w.log.append(4)
		time.Sleep(time.Minute)
		r.stop()
		p, _ := Open(w.config())
		p.witnesses[0].keys[0].size = 9
		p.remember()
		p.Close()
		w.log = newLog(w, 5, w.log.keys...)
		w.witnesses[1].set(func() { w.witnesses[1].down = false })
		w.witnesses[2].set(func() { w.witnesses[2].down = false })
		if _, err := Open(w.config()); !errors.Is(err, sequencer.ErrRefused) || !strings.Contains(err.Error(), "has cosigned size 9, but the data folder holds 5") {
			t.Errorf("found %v, expected a refusal with both sizes", err)
		}
	})
}

// A witness was made anew with new keys at the same address, and the policy has old and new ones for an overlap.
func TestNewKeysAtTheSameURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		r := w.start()
		r.wait(5)
		time.Sleep(time.Second)
		r.stop()
		f := w.witnesses[0]
		old := f.keys
		f.keys = []*checkpoint.SignerKey{mustKey(t, checkpoint.CosignatureV1, f.name), mustKey(t, checkpoint.MLDSA44, f.name)}
		f.c = checkpoint.Checkpoint{Root: tree.EmptyRoot}
		fresh := w.policyOf(2, w.witnesses...).String()
		both := strings.Replace(fresh, "group w1 1 w1-ed w1-ml\n", "witness w1-old "+old[0].Verifier().String()+" https://"+f.name+"\ngroup w1 any w1-ed w1-ml w1-old\n", 1)
		var err error
		if w.policy, err = checkpoint.ParsePolicy([]byte(both)); err != nil {
			t.Fatal(err)
		}
		r = w.start()
		time.Sleep(time.Minute)
		r.stop()
		// The operator sees it and takes the old key out.
		if w.policy, err = checkpoint.ParsePolicy([]byte(fresh)); err != nil {
			t.Fatal(err)
		}
		r = w.start()
		time.Sleep(time.Minute)
		if s := r.Status().Witnesses[0]; s.Aside != "" {
			t.Errorf("the new key has lost nothing, and is never counted again: %+v", s)
		}
		r.stop()
	})
}

// Two operators' witnesses have one URL by a slip: the answer of one does not count for both.
func TestTwoWitnessesWithOneURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		text := strings.ReplaceAll(w.policy.String(), "https://"+w.witnesses[1].name, "https://"+w.witnesses[0].name)
		var err error
		if w.policy, err = checkpoint.ParsePolicy([]byte(text)); err != nil {
			t.Fatal(err)
		}
		w.witnesses[2].down = true
		r := w.start()
		time.Sleep(time.Minute)
		if w.log.isOpen() {
			t.Errorf("one of three witnesses has answered, and the log takes submissions; published %d", r.Published().Size)
		}
		r.stop()
	})
}

// A new log, and witnesses that cosign no empty tree.
func TestWitnessesThatCosignNoEmptyTree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0)
		for _, f := range w.witnesses[:2] {
			f.answer = client.ErrBadRequest
		}
		r := w.start()
		time.Sleep(24 * time.Hour)
		if !w.log.isOpen() {
			t.Errorf("a new log never opens: %+v", r.Status().Witnesses)
		}
		r.stop()
	})
}

// While it ran it went on, so it starts again.
func TestStartAfterAccusationAndLostState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		r := w.start()
		r.wait(5)
		time.Sleep(time.Second)
		w.witnesses[0].set(func() { w.witnesses[0].answer = client.ErrUnprocessable })
		w.log.append(1)
		r.wait(6)
		time.Sleep(time.Second)
		w.witnesses[1].set(func() { w.witnesses[1].c = checkpoint.Checkpoint{Root: tree.EmptyRoot} })
		w.log.append(1)
		time.Sleep(time.Minute)
		select {
		case err := <-r.ended:
			t.Fatalf("stopped: %v", err)
		default:
		}
		r.stop()
		if p, err := Open(w.config()); err != nil {
			t.Errorf("while it ran it went on, and now: %.200v", err)
		} else {
			p.Close()
		}
	})
}

type delayed struct {
	Asker
	d time.Duration
}

func (a *delayed) AddCheckpoint(ctx context.Context, r *protocol.AddCheckpoint) ([]checkpoint.Signature, error) {
	time.Sleep(a.d)
	return a.Asker.AddCheckpoint(ctx, r)
}

// overtaker waits until the log has gone on, which it guesses, and names one more than it is asked for.
type overtaker struct {
	*fake
	n int
}

func (a *overtaker) AddCheckpoint(ctx context.Context, r *protocol.AddCheckpoint) ([]checkpoint.Signature, error) {
	n, _ := checkpoint.ParseNote(r.Note)
	c, _ := checkpoint.ParseText(n.Text)
	if a.n++; c.Size <= 6 {
		return a.fake.AddCheckpoint(ctx, r)
	}
	time.Sleep(25 * time.Millisecond)
	return nil, &client.SizeError{Size: c.Size + 1}
}

type oneLine struct{ *fake }

func (a *oneLine) AddCheckpoint(ctx context.Context, r *protocol.AddCheckpoint) ([]checkpoint.Signature, error) {
	if n, _ := checkpoint.ParseNote(r.Note); len(n.Signatures) != 1 {
		return nil, client.ErrForbidden
	}
	return a.fake.AddCheckpoint(ctx, r)
}

// A policy with which nobody could verify what the log publishes is refused, and not found out by readers.
func TestPoliciesThatCannotWork(t *testing.T) {
	w := newWorld(t, 5)
	good := w.policy.String()
	_, rest, _ := strings.Cut(good, "\n")
	many := []*fake{}
	for i := range 50 {
		name := fmt.Sprintf("x%d.example/witness", i)
		many = append(many, &fake{t: t, name: name, keys: []*checkpoint.SignerKey{mustKey(t, checkpoint.CosignatureV1, name), mustKey(t, checkpoint.MLDSA44, name)}})
	}
	for name, tt := range map[string]struct{ policy, want string }{
		"without the log's Ed25519 key":              {rest, "must list an Ed25519 key that signs"},
		"with more lines than a checkpoint may have": {w.policyOf(2, many...).String(), "use fewer keys"},
		"with URLs for too few":                      {strings.NewReplacer(" https://"+w.witnesses[0].name, "", " https://"+w.witnesses[1].name, "").Replace(good), "quorum cannot be met"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := checkpoint.ParsePolicy([]byte(tt.policy))
			if err != nil {
				t.Fatal(err)
			}
			c := w.config()
			c.Policy = p
			c.Connect = func(string) (Asker, error) { return w.witnesses[0], nil }
			if _, err := Open(c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("found %v, expected %q", err, tt.want)
			}
		})
	}
}

// Where something was published before, a file that is gone is not a first start.
func TestPublishedFileIsGone(t *testing.T) {
	w := newWorld(t, 5)
	c := w.config()
	c.MustExist = true
	if _, err := Open(c); !errors.Is(err, sequencer.ErrRefused) || !strings.Contains(err.Error(), "put back") {
		t.Errorf("found %v, expected a refusal", err)
	}
}
