package state

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/tree"
)

// Each kind of change, on a state where it has something to do.
var changes = []struct {
	name string
	do   func(t testing.TB, s *State) error
	done func(Log) bool // of the log of origin, after the change
}{
	{"first cosignature", func(t testing.TB, s *State) error {
		return s.Update("log.example/new", 0, tree.EmptyRoot, cosigned(t, "log.example/new", 4, rootOf(1, 4), 2000))
	}, nil},
	{"larger size", func(t testing.TB, s *State) error {
		return s.Update(origin, 5, rootOf(1, 5), cosigned(t, origin, 9, rootOf(1, 9), 2000))
	}, func(l Log) bool { return l.Size == 9 && l.Time == 2000 }},
	{"refresh", func(t testing.TB, s *State) error {
		return s.Update(origin, 5, rootOf(1, 5), cosigned(t, origin, 5, rootOf(1, 5), 2000))
	}, func(l Log) bool { return l.Size == 5 && l.Time == 2000 }},
	{"add a log", func(t testing.TB, s *State) error {
		_, err := s.Add("log.example/fresh", logKeys(t, "log.example/fresh"), 0, "")
		return err
	}, nil},
	{"add a key", func(t testing.TB, s *State) error {
		return s.AddKey(origin, key(t, checkpoint.Ed25519, origin, 9).Verifier())
	}, func(l Log) bool { return len(l.Keys) == 2 }},
	{"disable", func(t testing.TB, s *State) error { return s.Disable(origin) }, func(l Log) bool { return l.Disabled }},
}

// worn is a disk with some history on it.
func worn(t testing.TB) *disk {
	t.Helper()
	d := newDisk(t)
	s := d.mustStart(t)
	add(t, s, origin)
	add(t, s, "log.example/new")
	add(t, s, "log.example/other")
	grow(t, s, origin, 3, 1000)
	grow(t, s, "log.example/other", 8, 1000)
	grow(t, s, origin, 5, 1001)
	d.restart(true)
	return d
}

// Whatever step of a change has whatever fault, and whether or not the power goes with the
// process: the next start finds the old record or the new one, the new one if somebody was
// told, and goes on from there.
func TestEveryFaultOfEveryChange(t *testing.T) {
	template := worn(t)
	for _, c := range changes {
		for at := 1; ; at++ {
			reached := false
			for _, kind := range kinds {
				for _, power := range []bool{false, true} {
					d := template.clone()
					where := fmt.Sprintf("%s, step %d %s, power lost: %v", c.name, at, kind, power)
					var fatal []error
					s, err := d.start(func(err error) { fatal = append(fatal, err) })
					if err != nil {
						t.Fatal(err)
					}
					before := get(t, s, origin)
					all := len(s.Logs())
					d.fault, d.steps = fault{at, kind}, 0
					err = c.do(t, s)
					if d.steps < at {
						if err != nil {
							t.Fatalf("%s: %v", where, err)
						}
						continue
					}
					reached = true
					if err == nil {
						t.Fatalf("%s: nobody is told of the fault", where)
					}
					// Nothing more is done, nor shown.
					if !errors.Is(err, ErrBroken) || !errors.Is(s.Err(), ErrBroken) || len(fatal) != 1 || !errors.Is(fatal[0], errFault) {
						t.Errorf("%s: %v, then %v, fatal %v", where, err, s.Err(), fatal)
					}
					steps := d.steps
					for _, c := range changes {
						if err := c.do(t, s); !errors.Is(err, ErrBroken) {
							t.Errorf("%s: %s afterwards: %v", where, c.name, err)
						}
					}
					if d.steps != steps || len(fatal) != 1 {
						t.Errorf("%s: it wrote after the fault, or fatal was called %d times", where, len(fatal))
					}
					if l := get(t, s, origin); l.Sequence != before.Sequence || len(s.Logs()) != all {
						t.Errorf("%s: what is in doubt is shown: %+v", where, l)
					}

					d.restart(power)
					s = d.mustStart(t)
					l := get(t, s, origin)
					if l.Size < before.Size || l.Root != rootOf(1, l.Size) {
						t.Errorf("%s: it starts with %+v", where, l)
					}
					if l.Sequence != before.Sequence && c.done != nil && !c.done(l) {
						t.Errorf("%s: it starts with half a change: %+v", where, l)
					}
					// It goes on, and the next start finds that.
					if err := s.Enable(origin); err != nil {
						t.Errorf("%s: %v", where, err)
					}
					grow(t, s, origin, 20, 3000)
					grow(t, s, "log.example/new", 20, 3000)
					d.restart(true)
					if l := get(t, d.mustStart(t), origin); l.Size != 20 {
						t.Errorf("%s: it goes on to %+v", where, l)
					}
				}
			}
			if !reached {
				if at < 4 {
					t.Fatalf("%s has only %d steps", c.name, at-1)
				}
				break
			}
		}
	}
}

// A start that crashes while it makes good for a crash can be repeated.
func TestEveryFaultOfARecovery(t *testing.T) {
	template := worn(t)
	old := template.head.clone(template)
	s := template.mustStart(t)
	grow(t, s, origin, 9, 2000)
	template.head = old // as if the head had not been written
	for at := 1; at <= 2; at++ {
		for _, kind := range kinds {
			for _, power := range []bool{false, true} {
				d := template.clone()
				d.fault = fault{at, kind}
				if s, err := d.start(nil); err == nil {
					t.Errorf("step %d %s: it starts with %+v", at, kind, s.Logs())
				}
				d.restart(power)
				if l := get(t, d.mustStart(t), origin); l.Size != 9 {
					t.Errorf("step %d %s, power lost %v: it starts with %+v", at, kind, power, l)
				}
			}
		}
	}
}

// A crash before the first answer, of a log that had just been added.
func TestCrashAfterTheFirstRecord(t *testing.T) {
	d := newDisk(t)
	old := d.head.clone(d)
	add(t, d.mustStart(t), origin)
	d.head = old
	if l := get(t, d.mustStart(t), origin); l.Time != 0 || l.Sequence != 1 {
		t.Errorf("%+v", l)
	}
	k, err := head.Read(d.head)
	if err != nil || k.Head().Size != 1 {
		t.Errorf("the head is %+v, %v", k, err)
	}
}

// What was told is a log's size and root at some time.
type told struct{ size uint64 }

// Any history of changes, faults, losses of power and restarts: whatever was told stays true,
// no size has two roots, and only a failed sync followed by a loss of power can make the
// witness refuse.
func TestNothingToldIsEverLost(t *testing.T) {
	keys := map[string][]*checkpoint.VerifierKey{}
	origins := []string{"log.example/a", "log.example/b", "log.example/c"}
	for _, o := range origins {
		keys[o] = logKeys(t, o)
	}
	refused := 0
	rapid.Check(t, func(rt *rapid.T) {
		d := newDisk(t)
		answered := map[string]told{}
		signed := map[string]tree.Hash{}
		doubtful := false // a fault left the cache different from what is stored
		now := uint64(1000)
		for range rapid.IntRange(1, 8).Draw(rt, "starts") {
			s, err := d.start(nil)
			if err != nil {
				if !doubtful || !errors.Is(err, ErrRefused) && !errors.Is(err, head.ErrNoHead) {
					rt.Fatalf("it does not start: %v", err)
				}
				refused++
				return
			}
			for o, a := range answered {
				l, ok := s.Log(originHash(o))
				if !ok || l.Size < a.size {
					rt.Fatalf("%s was told to be at %d, and starts with %+v", o, a.size, l)
				}
			}
			d.fault = fault{rapid.IntRange(0, 20).Draw(rt, "step"), rapid.SampledFrom(kinds).Draw(rt, "fault")}
			d.steps = 0
			for range rapid.IntRange(1, 12).Draw(rt, "changes") {
				o := rapid.SampledFrom(origins).Draw(rt, "log")
				now++
				l, ok := s.Log(originHash(o))
				if !ok {
					if added, err := s.Add(o, keys[o], 0, ""); err == nil && added {
						answered[o] = told{}
					}
					continue
				}
				// A log with two histories asks for either, and for any size.
				size := l.Size + rapid.Uint64Range(0, 3).Draw(rt, "grow") - min(l.Size, rapid.Uint64Range(0, 1).Draw(rt, "back"))
				root := rootOf(rapid.Byte().Draw(rt, "history")%2, size)
				if s.Update(o, l.Size, l.Root, cosigned(t, o, size, root, now)) != nil {
					continue
				}
				name := fmt.Sprint(o, size)
				if was, ok := signed[name]; ok && was != root {
					rt.Fatalf("two roots of %s at size %d", o, size)
				}
				signed[name] = root
				if size < answered[o].size {
					rt.Fatalf("%s went from %d to %d", o, answered[o].size, size)
				}
				answered[o] = told{size}
			}
			if d.fault.at > 0 && d.steps >= d.fault.at {
				doubtful = true
			}
			d.restart(rapid.Bool().Draw(rt, "power lost"))
		}
	})
	t.Logf("%d histories ended in a refusal", refused)
}
