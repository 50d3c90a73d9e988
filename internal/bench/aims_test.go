package main

import (
	"math"
	"strings"
	"testing"
)

// resultsOf are results with some rows; each has the unit /s unless it says otherwise.
func resultsOf(entries int, rows ...*row) *results {
	r := &results{Entries: entries, Rounds: 3, Tessera: "v1.2.3"}
	for _, x := range rows {
		if x.Unit == "" {
			x.Unit = "/s"
		}
		x.Median = median(x.Values)
		x.Min, x.Max = x.Values[0], x.Values[0]
		for _, v := range x.Values {
			x.Min, x.Max = min(x.Min, v), max(x.Max, v)
		}
		r.Rows = append(r.Rows, x)
	}
	return r
}

func verdictOf(t *testing.T, r *results, what string) verdict {
	t.Helper()
	for _, v := range r.judge() {
		if v.What == what {
			return v
		}
	}
	t.Fatalf("no verdict on %q", what)
	return verdict{}
}

const appends, idleAppend = "durable appends, in process; Tessera without deduplication",
	"one append to its signed checkpoint, in process, median; Tessera one after the other"

// A ratio is taken round by round against the best of Tessera's rows, and the aim is judged by its median.
func TestRatioToTheBestOfTheirs(t *testing.T) {
	ours := &row{Section: "append", What: rowAppendOne, Values: []float64{100, 400, 300}}
	worse := &row{Section: "append", What: "Tessera: without deduplication, integrated", Side: "tessera", Values: []float64{20, 40, 60}}
	best := &row{Section: "append", What: "Tessera: without deduplication, each second, integrated", Side: "tessera", Values: []float64{50, 100, 50}}
	v := verdictOf(t, resultsOf(1000, ours, worse, best), appends)
	if v.Row != best.What || *v.Tessera != 50 || v.Ours != 300 || *v.Better != (spread{4, 2, 6}) {
		t.Errorf("%+v, %+v", v, v.Better)
	}
	if v.Aim != "at least 3.5 times" || v.word() != "met" {
		t.Errorf("aim %q: %s", v.Aim, v.word())
	}
	ours.Values = []float64{100, 300, 300} // 2, 3, 6
	if v = verdictOf(t, resultsOf(1000, ours, worse, best), appends); v.word() != "missed" {
		t.Errorf("3 times: %s", v.word())
	}
}

// Of a time the smaller one is better.
func TestRatioOfTimes(t *testing.T) {
	ours := &row{Section: "idle", What: rowIdle, Unit: "ms", Values: []float64{0.5}}
	theirs := &row{Section: "idle", What: "Tessera: one after the other, to its signed checkpoint, median", Unit: "ms", Side: "tessera", Values: []float64{100}}
	v := verdictOf(t, resultsOf(1000, ours, theirs), idleAppend)
	if v.Better.Median != 200 || v.Aim != "under 1 ms" || v.word() != "met" {
		t.Errorf("%+v", v)
	}
	ours.Values = []float64{1}
	if v = verdictOf(t, resultsOf(1000, ours, theirs), idleAppend); v.word() != "missed" {
		t.Errorf("1 ms is under 1 ms: %+v", v)
	}
}

// Without what an aim is meant for, nothing is said about it.
func TestAimsThatSayNothing(t *testing.T) {
	ours := &row{Section: "append", What: rowAppendOne, Values: []float64{100}}
	if v := verdictOf(t, resultsOf(1000, ours), appends); v.Met != nil || v.Tessera != nil || v.word() != "-" || v.Aim == "" {
		t.Errorf("without Tessera: %+v", v)
	}
	memory := &row{Section: "memory", What: rowResident, Unit: "MiB", Values: []float64{100}}
	const what = "memory of a server, resident"
	if v := verdictOf(t, resultsOf(tenMillion-1, memory), what); v.Met != nil {
		t.Errorf("with few entries: %+v", v)
	}
	if v := verdictOf(t, resultsOf(tenMillion, memory), what); v.word() != "met" || v.Aim != "under 300 MiB with 10,000,000 entries" {
		t.Errorf("with enough: %+v", v)
	}
	if got := resultsOf(1000).judge(); got != nil {
		t.Errorf("of no rows: %v", got)
	}
}

// Costs are compared with the logarithm of the sizes, and what lies within the spread is called so.
func TestGrowth(t *testing.T) {
	const small, large = 1 << 10, 1 << 20 // the logarithm doubles
	rows := func(flat, doubled, tripled, wide float64, spread float64) []*row {
		return []*row{
			{Section: "inclusion", What: "flat", Values: []float64{flat}},
			{Section: "idle", What: "doubled", Unit: "ms", Values: []float64{doubled}},
			{Section: "idle", What: "tripled", Unit: "ms", Values: []float64{tripled}},
			{Section: "idle", What: "wide", Unit: "ms", Values: []float64{wide - spread, wide, wide + spread}},
			{Section: "micro", What: "the same", Values: []float64{1}},
			{Section: "audit", What: rowAudit, Values: []float64{tripled}},
			{Section: "inclusion", What: "Tessera: warm", Side: "tessera", Values: []float64{1}},
			{Section: "grpc-inclusion", What: "ratio", Unit: "%", Values: []float64{90}},
		}
	}
	got := grown([]*results{resultsOf(small, rows(100, 1, 1, 1, 0.5)...), resultsOf(large, rows(90, 2, 3, 3, 1)...)})
	want := map[string]struct {
		cost float64
		word string
	}{"flat": {100. / 90, slower}, "doubled": {2, slower}, "tripled": {3, faster}, "wide": {3, unclear}, rowAudit: {1. / 3, linear}, "the same": {1, control}}
	if len(got) != len(want) {
		t.Errorf("%d rows, want %d: %+v", len(got), len(want), got)
	}
	for _, g := range got {
		if w := want[g.What]; math.Abs(g.Cost-w.cost) > 1e-9 || g.Word != w.word || len(g.Medians) != 2 {
			t.Errorf("%+v, want %+v", g, w)
		}
	}
}

// Each target's row is one that is made, so that no line is missing because somebody renamed a row: TestAllRows and
// TestTessera look at what was made.
func checkTargets(t *testing.T, r *results, tessera bool) {
	t.Helper()
	for _, x := range targets() {
		if r.find(x.ours) == nil {
			t.Errorf("%s: there is no row %v", x.what, x.ours)
		}
		for _, n := range x.theirs {
			if tessera && r.find(n) == nil {
				t.Errorf("%s: there is no row %v", x.what, n)
			}
		}
	}
}

// A run on a busy machine says so, wherever it says what aims were met.
func TestDisturbed(t *testing.T) {
	for others, want := range map[float64]bool{0.1: false, 1.5: true} {
		r := resultsOf(1000, &row{Section: "append", What: rowAppendOne, Values: []float64{1}, Others: others})
		for name, text := range map[string]string{"table": r.table(), "Markdown": markdown([]*results{r})} {
			if strings.Contains(text, "Others used 1.5 cores") != want {
				t.Errorf("%s with others at %v:\n%s", name, others, text)
			}
		}
	}
}

func TestMarkdown(t *testing.T) {
	rows := func(v float64) []*row {
		return []*row{
			{Section: "append", What: rowAppendOne, Values: []float64{v}},
			{Section: "append", What: "Tessera: without deduplication, integrated", Side: "tessera", Settings: "batches of 1024", Values: []float64{10_000}},
		}
	}
	got := markdown([]*results{resultsOf(1000, rows(123_456)...), resultsOf(1_000_000, rows(30_000)...)})
	for _, want := range []string{
		"| " + appends + " | 123,000/s | 10,000/s | 12.3 (12.3-12.3) | at least 3.5 times | met |\n",
		"| " + appends + " | 30,000/s | 10,000/s | 3.00 (3.00-3.00) | at least 3.5 times | missed |\n",
		"Tessera v1.2.3, POSIX storage:\n\n- append: batches of 1024\n",
		"| what | unit | 1,000 | 1,000,000 | cost | than the logarithm |\n|---|---|--:|--:|--:|---|\n",
		"| append: " + rowAppendOne + " | /s | 123,000 | 30,000 | 4.12 | faster |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it has no\n%s\nin\n%s", want, got)
		}
	}
}
