package publisher

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/witness/client"
)

func TestPublishesWhatAQuorumHasCosigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		r := w.start()
		r.wait(5)
		synctest.Wait()
		time.Sleep(time.Second) // of the bubble's own time: the third answers
		for _, f := range w.witnesses {
			if n := r.lines(f); n != 2 {
				t.Errorf("%s has %d lines in what is published", f.name, n)
			}
		}
		if !w.log.isOpen() {
			t.Error("the log takes no submissions")
		}
		for range 60 {
			w.log.append(1)
			r.wait(uint64(w.log.h.size))
		}
		synctest.Wait() // what is published is shown a moment before the status says so
		if r.Waiting() != "" {
			t.Errorf("waits: %s", r.Waiting())
		}
		r.stop()
	})
}

func TestOneWitnessOfThreeMayFail(t *testing.T) {
	for name, broken := range map[string]func(*fake){
		"down":                          func(f *fake) { f.down = true },
		"hangs":                         func(f *fake) { f.hang = true },
		"busy":                          func(f *fake) { f.answer = &client.BusyError{Retry: time.Minute} },
		"does not know the log":         func(f *fake) { f.answer = client.ErrUnknownLog },
		"does not trust the log's keys": func(f *fake) { f.answer = client.ErrForbidden },
		"answers nonsense":              func(f *fake) { f.answer = client.ErrAnswer },
		"names what it was asked":       func(f *fake) { f.answer = &client.SizeError{Size: 0} },
		"signs something else":          func(f *fake) { f.garbage = true },
	} {
		for i := range 3 {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 1)
					broken(w.witnesses[i])
					r := w.start()
					for range 12 {
						r.wait(uint64(w.log.h.size))
						w.log.append(1)
					}
					time.Sleep(time.Minute) // one that hangs is waited for
					if !w.log.isOpen() {
						t.Error("two of three have answered, and the log takes no submissions")
					}
					if n := r.lines(w.witnesses[i]); n != 0 {
						t.Errorf("a line of the broken witness is published")
					}
					r.stop()
				})
			})
		}
	}
}

func TestTwoOfThreeDownStopsPublishingUntilOneReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		r := w.start()
		r.wait(1)
		for _, f := range w.witnesses[:2] {
			f.set(func() { f.down = true })
		}
		w.log.append(3)
		time.Sleep(24 * time.Hour)
		if n := r.Published().Size; n != 1 {
			t.Errorf("published %d with one witness of three", n)
		}
		if s := r.Waiting(); !strings.Contains(s, "w1.example/witness (unreachable)") || !strings.Contains(s, "w2") || strings.Contains(s, "w3") {
			t.Errorf("it says that it waits for %q", s)
		}
		if n := w.witnesses[0].asked(); n > 24*60*60/4 {
			t.Errorf("a witness that is down was asked %d times in a day", n)
		}
		w.log.append(3)
		w.witnesses[1].set(func() { w.witnesses[1].down = false })
		began := time.Now()
		r.wait(7)
		if d := time.Since(began); d > 30*time.Second {
			t.Errorf("publishing took %v after a witness was back", d)
		}
		r.stop()
	})
}

// Witnesses that are never ready at the same time must still cosign the same checkpoints.
func TestWitnessesOfDifferentPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		intervals := map[string]time.Duration{"https://w1.example/witness": 700 * time.Millisecond, "https://w2.example/witness": 1100 * time.Millisecond, "https://w3.example/witness": 1300 * time.Millisecond}
		r := w.start(func(c *Config) { c.Interval = func(url string) time.Duration { return intervals[url] } })
		r.wait(1)
		rounds := 0
		for last := uint64(1); rounds < 60; rounds++ {
			time.Sleep(2 * time.Second)
			for range 10 {
				w.log.append(1)
				time.Sleep(10 * time.Millisecond)
			}
			if n := r.Published().Size; n <= last {
				t.Fatalf("nothing was published for two seconds: size %d of %d", n, w.log.h.size)
			} else {
				last = n
			}
		}
		r.stop()
		for _, f := range w.witnesses {
			for i := 1; i < len(f.times); i++ {
				if d := f.times[i].Sub(f.times[i-1]); d < intervals["https://"+f.name] && i > 3 {
					t.Errorf("%s was asked after %v", f.name, d)
				}
			}
		}
	})
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		r := w.start(func(c *Config) { c.Interval = func(string) time.Duration { return time.Minute } })
		began := time.Now()
		r.wait(1)
		w.log.append(1)
		for range 3 * 60 * 6 {
			time.Sleep(10 * time.Second)
			w.log.append(1)
		}
		for _, f := range w.witnesses {
			if n := f.asked(); n > 3*60+1 || n < 3*60/2 {
				t.Errorf("%s was asked %d times in %v, with a budget of 1440 a day", f.name, n, time.Since(began))
			}
		}
		// After an idle time the first is sent at once.
		time.Sleep(5 * time.Minute)
		w.log.append(1)
		before := time.Now()
		r.wait(uint64(w.log.h.size))
		if d := time.Since(before); d > time.Second {
			t.Errorf("an idle log's checkpoint was published after %v", d)
		}
		r.stop()
	})
}

func TestUnchangedCheckpointIsCosignedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		r := w.start(func(c *Config) { c.Recosign = 30 * time.Minute })
		r.wait(3)
		for range 10 {
			time.Sleep(time.Hour)
			all, err := r.Published().All()
			if err != nil {
				t.Fatal(err)
			}
			o, err := w.policy.Open(all)
			if err != nil {
				t.Fatal(err)
			}
			if !o.Fresh(w.policy, uint64(time.Now().Unix()), 31*60) {
				t.Errorf("what is published is not fresh: %+v at %v", o.Cosignatures, time.Now().Unix())
			}
		}
		if n := w.witnesses[0].asked(); n > 25 {
			t.Errorf("a witness was asked %d times in ten hours", n)
		}
		r.stop()
	})
}

func TestPublishedSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		r := w.start()
		r.wait(5)
		for _, f := range w.witnesses {
			f.set(func() { f.down = true })
		}
		w.log.append(4)
		time.Sleep(time.Minute)
		r.stop()
		w.log.open = false
		r = w.start()
		if p := r.Published(); p.Size != 5 {
			t.Errorf("after the restart %d is published", p.Size)
		} else {
			w.check(w.policy, w.log, p)
		}
		time.Sleep(time.Hour)
		if w.log.isOpen() {
			t.Error("the log takes submissions, and no witness has answered")
		}
		w.witnesses[2].set(func() { w.witnesses[2].down = false })
		time.Sleep(time.Hour)
		if w.log.isOpen() {
			t.Error("the log takes submissions, though two witnesses, a quorum, could have seen something newer")
		}
		w.witnesses[1].set(func() { w.witnesses[1].down = false })
		r.wait(9)
		synctest.Wait()
		if !w.log.isOpen() {
			t.Error("the log takes no submissions, though no quorum could have seen something newer")
		}
		r.stop()
	})
}

// Only the witnesses know that folder and head were restored together.
func TestOlderLogIsRefusedAtTheStart(t *testing.T) {
	for name, prepare := range map[string]func(w *world) *log{
		"fewer entries":       func(w *world) *log { return newLog(w, 5, w.log.keys...) },
		"another entry since": func(w *world) *log { l := newLog(w, 5, w.log.keys...); l.append(4, "other"); return l },
		"more other entries":  func(w *world) *log { l := newLog(w, 5, w.log.keys...); l.append(40, "other"); return l },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 5)
				r := w.start()
				r.wait(5)
				r.stop()
				old, err := os.ReadFile(filepath.Join(w.dir, "published"))
				if err != nil {
					t.Fatal(err)
				}
				r = w.start()
				w.log.append(4)
				r.wait(9)
				time.Sleep(time.Second)
				r.stop()
				// The restore.
				if err := os.WriteFile(filepath.Join(w.dir, "published"), old, 0o600); err != nil {
					t.Fatal(err)
				}
				w.log = prepare(w)
				p, err := Open(w.config())
				if err != nil {
					t.Fatal(err)
				}
				err = p.Run(t.Context())
				if !errors.Is(err, ErrAccused) || !strings.Contains(err.Error(), "9") || !strings.Contains(err.Error(), "Put back") && !strings.Contains(err.Error(), "put back") {
					t.Errorf("found %v, expected a refusal that names size 9 and what to do", err)
				}
				if w.log.isOpen() {
					t.Error("it took submissions")
				}
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestPublishedFileAgainstTheFolder(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(w *world) *log
		want    string
	}{
		"folder is older":          {func(w *world) *log { return newLog(w, 4, w.log.keys...) }, "size 9 was published, but the data folder holds 4"},
		"folder is another's":      {func(w *world) *log { l := newLog(w, 4, w.log.keys...); l.append(9, "x"); return l }, "was published for size 9"},
		"signed by an unknown key": {func(w *world) *log { return newLog(w, 9) }, "no signature by a key"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 9)
				r := w.start()
				r.wait(9)
				r.stop()
				w.log = tt.prepare(w)
				if _, err := Open(w.config()); !errors.Is(err, sequencer.ErrRefused) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("found %v, expected a refusal with %q", err, tt.want)
				}
			})
		})
	}
}

// One witness that lies does not stop the log, and is not asked again, also after a restart.
func TestLyingWitnessIsSetAside(t *testing.T) {
	for name, lie := range map[string]error{"names a larger size": &client.SizeError{Size: 1000}, "refuses the tree": client.ErrUnprocessable} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 5)
				r := w.start()
				r.wait(5)
				time.Sleep(time.Second)
				liar := w.witnesses[1]
				liar.set(func() { liar.answer = lie })
				for range 20 {
					w.log.append(1)
					r.wait(uint64(w.log.h.size))
					time.Sleep(time.Second)
				}
				n := liar.asked()
				if s := r.Status().Witnesses[1]; s.Aside != accuses {
					t.Errorf("status %+v", s)
				}
				if files, _ := filepath.Glob(filepath.Join(w.dir, "evidence", "*")); len(files) != 1 {
					t.Errorf("evidence: %v", files)
				}
				r.stop()
				w.log.open = false
				r = w.start()
				w.log.append(1)
				r.wait(uint64(w.log.h.size))
				synctest.Wait()
				if liar.asked() != n || !w.log.isOpen() {
					t.Errorf("asked %d times more; open: %v", liar.asked()-n, w.log.isOpen())
				}
				r.stop()
			})
		})
	}
}

func TestNoQuorumWithoutTheAccusersStopsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		r := w.start()
		r.wait(5)
		time.Sleep(time.Second)
		for _, f := range w.witnesses[:2] {
			f.set(func() { f.answer = client.ErrUnprocessable })
		}
		w.log.append(1)
		if err := <-r.ended; !errors.Is(err, ErrAccused) {
			t.Errorf("it ended with %v", err)
		}
		r.cancel()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := Open(w.config()); !errors.Is(err, ErrAccused) {
			t.Errorf("it starts again: %v", err)
		}
	})
}

// A note with the log's own signature that contradicts its tree stops it, whoever shows it.
func TestProvenAccusationStopsTheLog(t *testing.T) {
	for name, fork := range map[string]func(w *world) *log{
		"newer":            func(w *world) *log { l := newLog(w, 5, w.log.keys...); l.append(50, "fork"); return l },
		"of the same size": func(w *world) *log { return newLogOf(w, 6, "fork") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 5)
				r := w.start()
				r.wait(5)
				time.Sleep(time.Second)
				other := fork(w)
				w.witnesses[0].set(func() {
					w.witnesses[0].answer = client.ErrUnprocessable
					w.witnesses[0].shown = other.Signed().Note
				})
				w.log.append(1)
				if err := <-r.ended; !errors.Is(err, ErrAccused) || !strings.Contains(err.Error(), "that this log signed") {
					t.Errorf("it ended with %v", err)
				}
				r.cancel()
				r.Close()
			})
		})
	}
}

func newLogOf(w *world, entries int, prefix string) *log {
	l := newLog(w, 0, w.log.keys...)
	l.append(entries, prefix)
	return l
}

func TestWitnessThatLostItsStateIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		r := w.start()
		r.wait(5)
		time.Sleep(time.Second)
		w.witnesses[0].set(func() { w.witnesses[0].c = checkpoint.Checkpoint{} })
		w.log.append(1)
		r.wait(6)
		time.Sleep(time.Minute)
		if s := r.Status().Witnesses[0]; s.Aside != lost || r.lines(w.witnesses[0]) != 0 {
			t.Errorf("%+v, %d lines", s, r.lines(w.witnesses[0]))
		}
		// Also when another policy has been in between.
		r.stop()
		all := w.policy
		w.policy = w.policyOf(2, w.witnesses[1:]...)
		w.start().stop()
		w.policy = all
		r = w.start()
		if s := r.Status().Witnesses[0]; s.Aside != lost {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}

func TestOverride(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		r := w.start()
		r.wait(5)
		r.stop()
		w.log.open = false
		w.witnesses[0].set(func() { w.witnesses[0].answer = &client.SizeError{Size: 77} })
		w.witnesses[1].set(func() { w.witnesses[1].down = true })
		r = w.start(func(c *Config) { c.Override = true })
		time.Sleep(time.Second)
		if !w.log.isOpen() {
			t.Error("the override does not open the log")
		}
		w.witnesses[1].set(func() { w.witnesses[1].down = false })
		w.log.append(1)
		r.wait(6)
		if s := r.Status().Witnesses[0]; s.Aside != accuses {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}

func TestSignatureLinesThatAWitnessUnderstands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		w.witnesses[0].log = w.log.keys[1].Verifier()
		count := func(f *fake) (lines []int) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, r := range f.requests {
				n, err := checkpoint.ParseNote(r.Note)
				if err != nil {
					t.Fatal(err)
				}
				lines = append(lines, len(n.Signatures))
			}
			f.requests = nil
			return lines
		}
		r := w.start()
		r.wait(5)
		time.Sleep(time.Second)
		if n := count(w.witnesses[0]); len(n) != 2 || n[0] != 1 || n[1] != 2 {
			t.Errorf("the witness with the ML-DSA-44 key was sent notes with %v signature lines", n)
		}
		if n := count(w.witnesses[1]); len(n) != 1 || n[0] != 1 {
			t.Errorf("the witness with the Ed25519 key was sent notes with %v signature lines", n)
		}
		r.stop()
		r = w.start()
		time.Sleep(time.Second)
		if n := count(w.witnesses[0]); len(n) != 1 || n[0] != 2 {
			t.Errorf("after the restart it was sent notes with %v signature lines", n)
		}
		r.stop()
	})
}

// A witness keeps its operator's old key in the policy, without a URL, for old bundles.
func TestWitnessKeyReplacedInThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		r := w.start()
		r.wait(5)
		time.Sleep(time.Second)
		old := r.Published()
		r.stop()
		oldKeys := w.witnesses[0].keys
		w.witnesses[0].keys = []*checkpoint.SignerKey{mustKey(t, checkpoint.CosignatureV1, w.witnesses[0].name), mustKey(t, checkpoint.MLDSA44, w.witnesses[0].name)}
		w.witnesses[0].c = checkpoint.Checkpoint{}
		text := w.policyOf(2, w.witnesses...).String()
		text = strings.Replace(text, "group w1 1 w1-ed w1-ml\n", "witness w1-old "+oldKeys[0].Verifier().String()+"\nwitness w1-old-ml "+oldKeys[1].Verifier().String()+"\ngroup w1 any w1-ed w1-ml w1-old w1-old-ml\n", 1)
		var err error
		if w.policy, err = checkpoint.ParsePolicy([]byte(text)); err != nil {
			t.Fatal(err)
		}
		// The two others have confirmed; one of them and the old key could have made the quorum that the log
		// published under.
		w.witnesses[2].set(func() { w.witnesses[2].down = true })
		w.log.open = false
		r = w.start()
		time.Sleep(time.Hour)
		if w.log.isOpen() {
			t.Error("the log takes submissions, and two who could have seen something newer have said nothing")
		}
		w.witnesses[2].set(func() { w.witnesses[2].down = false })
		time.Sleep(time.Minute)
		w.log.append(1)
		r.wait(6)
		time.Sleep(time.Second)
		if !w.log.isOpen() {
			t.Error("the log takes no submissions")
		}
		if s := r.Status().Witnesses[0]; s.Aside != "" || r.lines(w.witnesses[0]) == 0 {
			t.Errorf("%+v", s)
		}
		w.check(w.policy, w.log, old)
		r.stop()
	})
}

// Whatever the witnesses do, what is published has its quorum (every published checkpoint is checked) and
// never goes back, and once they work again all is published.
func TestRandomFailures(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			w := newWorld(t, 1)
			r := w.start()
			for range 150 {
				f := w.witnesses[rnd.IntN(3)]
				f.set(func() {
					f.down, f.hang, f.garbage, f.answer = false, false, false, nil
					switch rnd.IntN(8) {
					case 0:
						f.down = true
					case 1:
						f.hang = true
					case 2:
						f.garbage = true
					case 3:
						f.answer = &client.BusyError{}
					case 4:
						f.answer = client.ErrAnswer
					}
				})
				if w.log.isOpen() {
					w.log.append(1 + rnd.IntN(300))
				}
				if rnd.IntN(20) == 0 {
					published := r.Published().Size
					r.stop()
					w.log.open = false
					r = w.start()
					if n := r.Published().Size; n < published {
						t.Fatalf("published %d, after a restart %d", published, n)
					}
				}
				time.Sleep(time.Duration(rnd.IntN(5000)) * time.Millisecond)
			}
			for _, f := range w.witnesses {
				f.set(func() { f.down, f.hang, f.garbage, f.answer = false, false, false, nil })
			}
			r.wait(uint64(w.log.h.size))
			for _, s := range r.Status().Witnesses {
				if s.Aside != "" {
					t.Errorf("seed %d: %s was set aside: %s", seed, s.Name, s.Why)
				}
			}
			r.stop()
		})
	}
}
