package recent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"strings"
	"testing"
)

// A ledger holds what the model registered last of each path, and whether a follower can know of it.
type ledger struct {
	history map[string]bool
	last    map[string]change
	told    map[string]bool
}

func (l *ledger) register(dir string, c change) {
	c.path = dir + c.path
	l.history[fmt.Sprint(c.at, " ", c.path, " ", c.t)] = true
	l.last[c.path] = c
	l.told[c.path] = false
}

// hear takes what a follower handed out, and returns what it invented.
func (l *ledger) hear(b Batch) (invented []string) {
	for _, e := range b.Events {
		if c := l.last[e.Path]; c.at.epoch() == e.Epoch && c.t == e.Type {
			l.told[e.Path] = true
		}
		if !l.history[fmt.Sprint(padded(e.Epoch), " ", e.Path, " ", e.Type)] {
			invented = append(invented, fmt.Sprint(e))
		}
	}
	for _, g := range b.Gaps {
		for path, c := range l.last {
			e := c.at.epoch()
			if e.Compare(g.After) > 0 && e.Compare(g.Before) <= 0 && (!g.Deletions || c.t == TypeDelete) {
				l.told[path] = true
			}
		}
	}
	return invented
}

func padded(e Epoch) string {
	whole, fraction, _ := strings.Cut(e.String(), ".")
	return whole + "." + (fraction + "00000")[:5]
}

func (l *ledger) untold() (paths []string) {
	for path, told := range l.told {
		if !told {
			paths = append(paths, fmt.Sprint(l.last[path]))
		}
	}
	return paths
}

// Whatever a writer does and however a mirror garbles it, what a follower hands out and the gaps that it
// admits are together all that happened, and nothing else.
func TestFollowerAgainstModelOfTheWriter(t *testing.T) {
	var polls, refused, torn, older, gaps, longer, marks int
	for seed := range int64(60) {
		r := rand.New(rand.NewSource(seed))
		dir := []string{Authors, Modules, Root}[r.Intn(3)]
		format := []string{"json", "yaml"}[r.Intn(2)]
		intervals := []Interval{"1h", "6h", "1d", "1W", "Z"}
		if dir == Modules {
			intervals = []Interval{"1h", "1d", "1W", "Z"}
		}
		w := newWriter(dir, format, 1_700_000_000*second, intervals...)
		l := &ledger{map[string]bool{}, map[string]change{}, map[string]bool{}}
		many := []int{3, 12, 300}[r.Intn(3)]
		garbled := r.Intn(2) == 0
		source := newShelf(nil)
		var past []map[string]string
		f, err := New(source, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var state State
		inserted := false
		for range 120 {
			// Something between a burst and a fortnight of silence.
			for range r.Intn(4) {
				w.now += tick(r.Int63n(int64([]tick{30 * second, 2000 * second, 20000 * second, 20 * 86400 * second}[min(r.Intn(30)/8, 3)])))
				for range r.Intn(6) {
					kind := TypeNew
					if r.Intn(4) == 0 {
						kind = TypeDelete
					}
					l.register(dir, w.update(randomPath(r, dir, many), kind))
				}
				if r.Intn(5) > 0 {
					w.now += tick(r.Int63n(int64(60 * second)))
					w.aggregate(false)
				}
				if r.Intn(40) == 0 && len(w.slices[0].events) > 0 {
					w.now += second
					at := w.now - tick(r.Int63n(int64(30*86400*second)))
					for l.taken(at) {
						at++
					}
					l.register(dir, w.insert(fmt.Sprintf("id/X/XX/XX/%d-%d.tar.gz", seed, at)[btoi(dir != Authors)*3:], TypeNew, at))
					inserted = true
				}
			}
			source.files = w.files()
			past = append(past, source.files)
			source.fault = nil
			if garbled && r.Intn(3) > 0 {
				source.fault = func(name, text string) (string, error) {
					switch r.Intn(6) {
					case 0:
						old, ok := past[r.Intn(len(past))][name]
						if !ok {
							return "", fs.ErrNotExist
						}
						return old, nil
					case 1:
						return text[:r.Intn(len(text))], nil
					case 2: // at the end of an event
						if i := strings.LastIndex(text[:r.Intn(len(text))], "  - \n"); i > 0 {
							return text[:i], nil
						}
					case 3:
						if r.Intn(3) == 0 {
							return "", fs.ErrNotExist
						}
					}
					return text, nil
				}
			}
			if r.Intn(6) == 0 { // a restart
				b, err := json.Marshal(state)
				if err != nil {
					t.Fatal(err)
				}
				state = State{}
				if err := json.Unmarshal(b, &state); err != nil {
					t.Fatal(err)
				}
				if f, err = New(source, Options{}); err != nil {
					t.Fatal(err)
				}
			}
			known := len(state.Series) > 0
			clear(source.reads)
			batch, next, err := f.Next(t.Context(), state)
			polls++
			if source.reads[fileName(dir, intervals[1], format)] > 0 {
				longer++
			}
			if err != nil {
				refused++
				torn += btoi(errors.Is(err, ErrTorn))
				older += btoi(errors.Is(err, ErrOlder))
				if fmt.Sprint(next) != fmt.Sprint(state.clone()) || len(batch.Events) > 0 {
					t.Fatalf("seed %d: %v: the state is %v, was %v", seed, err, next, state)
				}
				if source.fault == nil && len(source.files) > 0 {
					t.Fatalf("seed %d: of what the writer wrote: %v", seed, err)
				}
				continue
			}
			if invented := l.hear(batch); invented != nil {
				t.Fatalf("seed %d: invented %v", seed, invented)
			}
			gaps += len(batch.Gaps)
			marks += btoi(known && next.Series[dir].Dirtymark != state.Series[dir].Dirtymark)
			if source.fault == nil {
				if untold := l.untold(); untold != nil {
					t.Fatalf("seed %d: lost %v between %v and %v", seed, untold, state, next)
				}
				if len(batch.Gaps) > 0 && known && !inserted && !garbled && state.Series[dir].Newest.Compare(w.now.epoch().minus(604800)) > 0 {
					t.Fatalf("seed %d: gaps %v in a week", seed, batch.Gaps)
				}
				inserted = false
			}
			state = next
		}
	}
	t.Logf("%d polls, %d refused (%d torn, %d older), %d gaps, %d read more than one file, %d changed dirtymarks", polls, refused, torn, older, gaps, longer, marks)
	if min(torn, older, gaps, longer, marks) < 20 || refused > polls/2 {
		t.Error("the histories do not cover what they are for")
	}
}

func (l *ledger) taken(at tick) bool {
	for _, c := range l.last {
		if c.at == at {
			return true
		}
	}
	return false
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
