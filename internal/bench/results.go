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
	Rows      []*row    `json:"rows"`
}

// A row is one figure, once a round.
type row struct {
	Section string    `json:"section"`
	What    string    `json:"what"`
	Unit    string    `json:"unit"`
	Median  float64   `json:"median"`
	Min     float64   `json:"min"`
	Max     float64   `json:"max"`
	Others  float64   `json:"others_cores"` // that others used meanwhile; the median
	Values  []float64 `json:"values"`

	others []float64
}

func newResults(o options, m machine) *results {
	return &results{Began: time.Now().UTC(), Entries: o.n, EntrySize: meanSize(), Rounds: o.rounds, Machine: m}
}

// add records a figure of this round, measured between the last begin and its end.
func (b *bench) add(section, what, unit string, value float64) {
	r := b.report
	i := slices.IndexFunc(r.Rows, func(x *row) bool { return x.Section == section && x.What == what })
	if i < 0 {
		i = len(r.Rows)
		r.Rows = append(r.Rows, &row{Section: section, What: what, Unit: unit})
	}
	x := r.Rows[i]
	x.Values, x.others = append(x.Values, value), append(x.others, b.usage.others)
	x.Median, x.Min, x.Max, x.Others = median(x.Values), slices.Min(x.Values), slices.Max(x.Values), median(x.others)
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// write prints the table, and writes the JSON where it is wanted.
func (r *results) write(o options, stdout io.Writer) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if o.json == "-" {
		_, err := stdout.Write(b)
		return err
	}
	if _, err := io.WriteString(stdout, r.table()); err != nil {
		return err
	}
	if o.json == "" {
		return nil
	}
	return os.WriteFile(o.json, b, 0o666)
}

func (r *results) table() string {
	var t strings.Builder
	m := r.Machine
	fmt.Fprintf(&t, "%s, %d cores, %d GiB, %s on %s, Linux %s, %s %s\n", m.CPU, m.Cores, (m.Memory+1<<29)>>30, m.Filesystem, m.Platform, m.Kernel, m.Go, r.Began.Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&t, "%s entries of %.0f bytes on average; median of %d rounds; others: cores that others used\n", grouped(r.Entries), r.EntrySize, r.Rounds)
	if m.Filesystem == "tmpfs" || m.Filesystem == "ramfs" {
		t.WriteString("The logs were in memory, where a sync costs nothing: use -dir for a folder on a disk.\n")
	}
	t.WriteByte('\n')
	const line = "%-15s %-50s %11s %23s  %-8s %6s\n"
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
