package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// results are what is printed and written as JSON.
type results struct {
	Began     time.Time `json:"began"`
	Entries   int       `json:"entries"`
	EntrySize float64   `json:"entry_bytes"`
	Rounds    int       `json:"rounds"`
	Machine   machine   `json:"machine"`
	Settings  string    `json:"settings"`          // of the log; those of Tessera are in its rows
	Tessera   string    `json:"tessera,omitempty"` // its version
	Rows      []*row    `json:"rows"`

	// Comparison is what the rows come to; it is computed when it is written.
	Comparison []verdict `json:"comparison,omitempty"`
}

// ownSettings are the log's: there are none to choose.
const ownSettings = "each batch, of whatever waits, is one synced commit with its Ed25519-signed checkpoint, and the second head is synced, " +
	"before any of it is answered; repeated and conflicting entries are always found"

// A row is one figure, once a round.
type row struct {
	Section string    `json:"section"`
	What    string    `json:"what"`
	Side    string    `json:"side,omitempty"` // tessera; none is the log
	Unit    string    `json:"unit"`
	Median  float64   `json:"median"`
	Min     float64   `json:"min"`
	Max     float64   `json:"max"`
	Others  float64   `json:"others_cores"` // that others used meanwhile; the median
	Own     float64   `json:"own_cores"`    // that this program and its processes used; the median
	Values  []float64 `json:"values"`

	Settings string `json:"settings,omitempty"` // what Tessera was measured with

	others, own []float64
}

func newResults(o options, m machine) *results {
	return &results{Began: time.Now().UTC(), Entries: o.n, EntrySize: meanSize(), Rounds: o.rounds, Machine: m, Settings: ownSettings}
}

// add records a figure of this round, measured between the last begin and its end.
func (b *bench) add(section, what, unit string, value float64) *row {
	r := b.report
	i := slices.IndexFunc(r.Rows, func(x *row) bool { return x.Section == section && x.What == what })
	if i < 0 {
		i = len(r.Rows)
		r.Rows = append(r.Rows, &row{Section: section, What: what, Unit: unit})
	}
	x := r.Rows[i]
	x.Values, x.others = append(x.Values, value), append(x.others, b.usage.others)
	x.own = append(x.own, b.usage.used)
	x.Median, x.Min, x.Max, x.Others = median(x.Values), slices.Min(x.Values), slices.Max(x.Values), median(x.others)
	x.Own = median(x.own)
	return x
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// write prints the tables, and writes the JSON and the Markdown where they are wanted.
func write(runs []*results, o options, stdout io.Writer) error {
	for _, r := range runs {
		r.Comparison = r.judge()
	}
	var all any = runs[0]
	if len(o.sizes) > 0 {
		all = struct {
			Runs   []*results `json:"runs"`
			Growth []growth   `json:"growth"`
		}{runs, grown(runs)}
	}
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if o.markdown != "" {
		if err := os.WriteFile(o.markdown, []byte(markdown(runs)), 0o666); err != nil {
			return err
		}
	}
	b = append(b, '\n')
	if o.json == "-" {
		_, err := stdout.Write(b)
		return err
	}
	for _, r := range runs {
		if _, err := io.WriteString(stdout, r.table()+r.comparison()+"\n"); err != nil {
			return err
		}
	}
	if len(runs) > 1 {
		if _, err := io.WriteString(stdout, growthTable(runs)); err != nil {
			return err
		}
	}
	if o.json == "" {
		return nil
	}
	return os.WriteFile(o.json, b, 0o666)
}

func (r *results) table() string {
	var t strings.Builder
	m := r.Machine
	fmt.Fprintf(&t, "%s, %s\n", m.line(), r.Began.Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&t, "%s entries of %.0f bytes on average; median of %d rounds; others: cores that others used\n", grouped(r.Entries), r.EntrySize, r.Rounds)
	if m.Filesystem == "tmpfs" || m.Filesystem == "ramfs" {
		t.WriteString("The logs were in memory, where a sync costs nothing: use -dir for a folder on a disk.\n")
	}
	if d := r.disturbed(); d != "" {
		t.WriteString(d + "\n")
	}
	t.WriteByte('\n')
	const line = "%-15s %-76s %11s %23s  %-8s %6s\n"
	fmt.Fprintf(&t, line, "row", "", "median", "min - max", "unit", "others")
	section := ""
	for _, x := range r.Rows {
		name := x.Section
		if name == section {
			name = ""
		}
		section = x.Section
		fmt.Fprintf(&t, line, name, x.What, figure(x.Median), figure(x.Min)+" - "+figure(x.Max), x.Unit, fmt.Sprintf("%.1f", x.Others))
	}
	return t.String()
}

// disturbed says so if the machine had much else to do; otherwise it is empty.
func (r *results) disturbed() string {
	const much = 0.3
	var others []float64
	for _, x := range r.Rows {
		others = append(others, x.Others)
	}
	if len(others) == 0 || median(others) < much {
		return ""
	}
	return fmt.Sprintf("Others used %.1f cores meanwhile: what is said of aims here may not hold on a quiet machine.", median(others))
}

// comparison is the second table: each row against Tessera's and against its aim.
func (r *results) comparison() string {
	verdicts := r.judge()
	if len(verdicts) == 0 {
		return ""
	}
	var t strings.Builder
	const line = "%-88s %13s %13s %20s  %-44s %s\n"
	fmt.Fprintf(&t, "\n"+line, "comparison", "pauselog", "Tessera", "times better", "aim", "")
	for _, v := range verdicts {
		theirs, times := "", ""
		if v.Tessera != nil {
			theirs = withUnit(rounded(*v.Tessera), v.Unit)
			times = fmt.Sprintf("%s (%s-%s)", figure(v.Better.Median), figure(v.Better.Min), figure(v.Better.Max))
		}
		fmt.Fprintf(&t, line, v.What, withUnit(rounded(v.Ours), v.Unit), theirs, times, v.Aim, v.word())
	}
	fmt.Fprintf(&t, "\npauselog: %s\n", r.Settings)
	if s := r.settings(); len(s) > 0 {
		fmt.Fprintf(&t, "Tessera %s, POSIX storage:\n    %s\n", r.Tessera, strings.Join(s, "\n    "))
	}
	return t.String()
}

// figure has three significant digits or all before the point.
func figure(v float64) string {
	switch {
	case v >= 999.5:
		return grouped(int(v + 0.5))
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// grouped has a comma after each three digits.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
