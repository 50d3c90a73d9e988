package soak

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A trend is how a series of samples goes on after its first quarter, in which a process warms up: the medians of the three
// thirds of the rest. A burst or two move no median.
type trend struct {
	samples int // that count
	thirds  [3]float64
}

// enough is how many samples a verdict needs.
const enough = 30

// What goroutines and open files may go up by without being called a leak: as many as the load's connections and calls come
// and go by.
const (
	slackGoroutines = 40
	slackFiles      = 20
)

func trendOf(series []float64) trend {
	rest := series[len(series)/4:]
	t := trend{samples: len(rest)}
	for i := range t.thirds {
		t.thirds[i] = median(rest[len(rest)*i/3 : len(rest)*(i+1)/3])
	}
	return t
}

// leak says why a trend is one of a leak, or "". A leak goes up from third to third, in all by more than a fifth and the
// slack.
func (t trend) leak(slack float64) string {
	first, middle, last := t.thirds[0], t.thirds[1], t.thirds[2]
	growth := last - first
	if t.samples < enough || growth <= slack+first/5 || middle-first < growth/5 || last-middle < growth/5 {
		return ""
	}
	return fmt.Sprintf("the medians of thirds of %d samples go up: %v", t.samples, t)
}

func (t trend) String() string {
	return fmt.Sprintf("%.0f, %.0f, %.0f", t.thirds[0], t.thirds[1], t.thirds[2])
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile is the value below which a part of the values lies; 0 of none.
func quantile[T cmp.Ordered](values []T, part float64) (q T) {
	if len(values) == 0 {
		return q
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(part*float64(len(sorted))), len(sorted)-1)]
}

// latencies keeps how long the calls of each kind took, in three parts of the time.
type latencies struct {
	began time.Time
	part  time.Duration

	mu    sync.Mutex
	kinds map[string]*[3]reservoir
}

// A reservoir keeps some of many values, each with the same chance.
type reservoir struct {
	seen   int
	values []time.Duration
	random *rand.Rand
}

const reservoirSize = 20_000

func newLatencies(d time.Duration) *latencies {
	return &latencies{began: time.Now(), part: max(1, d/3), kinds: map[string]*[3]reservoir{}}
}

func (l *latencies) add(kind string, d time.Duration) {
	part := min(int(time.Since(l.began)/l.part), 2)
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[kind]
	if k == nil {
		h := fnv.New64a()
		h.Write([]byte(kind))
		k = &[3]reservoir{}
		for i := range k {
			k[i].random = rand.New(rand.NewPCG(h.Sum64(), uint64(i)))
		}
		l.kinds[kind] = k
	}
	k[part].add(d)
}

func (r *reservoir) add(d time.Duration) {
	r.seen++
	if len(r.values) < reservoirSize {
		r.values = append(r.values, d)
	} else if i := r.random.IntN(r.seen); i < reservoirSize {
		r.values[i] = d
	}
}

// notes are a line for each kind: quantiles of the first and the last third, and their ratios. What waits for a
// restart is among them.
func (l *load) notes() (notes []string) {
	l.lat.mu.Lock()
	defer l.lat.mu.Unlock()
	for _, kind := range slices.Sorted(maps.Keys(l.lat.kinds)) {
		k := l.lat.kinds[kind]
		first, last := k[0].values, k[2].values
		line := fmt.Sprintf("%s: %d calls", kind, k[0].seen+k[1].seen+k[2].seen)
		for _, q := range []float64{0.5, 0.95, 0.99} {
			a, b := quantile(first, q), quantile(last, q)
			line += fmt.Sprintf(", p%.0f %v then %v", 100*q, a.Round(10*time.Microsecond), b.Round(10*time.Microsecond))
			if a > 0 && b > 0 {
				line += fmt.Sprintf(" (x%.2f)", float64(b)/float64(a))
			}
		}
		notes = append(notes, line)
	}
	return append(notes, fmt.Sprintf("%d calls met a restart or a log that waited for its witnesses, and were made again", l.retried.Load()))
}
