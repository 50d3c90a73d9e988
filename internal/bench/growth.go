package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A growth says what became of a row from the smallest log to the largest.
type growth struct {
	Section string    `json:"section"`
	What    string    `json:"what"`
	Unit    string    `json:"unit"`
	Medians []float64 `json:"medians"` // one for each size
	// Cost is how many times as much one operation, or the thing itself, costs with the largest log.
	Cost float64 `json:"cost"`
	// Word is the verdict: whether it grew faster than the logarithm of the size.
	Word string `json:"verdict"`
}

// Verdicts about growth.
const (
	slower  = "no faster"         // than the logarithm
	unclear = "within the spread" // faster in the medians, but not between the closest rounds
	faster  = "faster"
	control = "the same work" // does not depend on the log: what it grew by is chance
	linear  = "as it must"    // what is of each entry may grow as the entries do: the figure is of one entry
)

// mayGrow are the sections whose cost is of every entry.
var mayGrow = []string{"audit", "disk", "fill"}

// grown compares the runs, which are in order of their size. Tessera's rows are left out, and ratios.
func grown(runs []*results) (out []growth) {
	first, last := runs[0], runs[len(runs)-1]
	logarithm := math.Log2(float64(last.Entries)) / math.Log2(float64(first.Entries))
	for _, x := range last.Rows {
		if x.Side != "" || x.Unit == "%" {
			continue
		}
		name := rowName{x.Section, x.What}
		g := growth{Section: x.Section, What: x.What, Unit: x.Unit}
		for _, r := range runs {
			y := r.find(name)
			if y == nil {
				break
			}
			g.Medians = append(g.Medians, y.Median)
		}
		small := first.find(name)
		if len(g.Medians) < len(runs) {
			continue
		}
		g.Cost = better(x.Unit, small.Median, x.Median)
		least := better(x.Unit, small.Min, x.Max) // what the two closest rounds say
		if x.Unit != "/s" {
			least = better(x.Unit, small.Max, x.Min)
		}
		switch {
		case x.Section == "micro":
			g.Word = control
		case slices.Contains(mayGrow, x.Section):
			g.Word = linear
		case g.Cost <= logarithm:
			g.Word = slower
		case least <= logarithm:
			g.Word = unclear
		default:
			g.Word = faster
		}
		out = append(out, g)
	}
	return out
}

// sizes are the entries of each run.
func sizesOf(runs []*results) (out []int) {
	for _, r := range runs {
		out = append(out, r.Entries)
	}
	return out
}

func growthTable(runs []*results) string {
	var t strings.Builder
	sizes := sizesOf(runs)
	first, last := float64(sizes[0]), float64(sizes[len(sizes)-1])
	fmt.Fprintf(&t, "growth: how many times as much one costs with the most entries; their logarithm is %.2f times as large\n\n",
		math.Log2(last)/math.Log2(first))
	fmt.Fprintf(&t, "%-15s %-60s", "row", "")
	for _, n := range sizes {
		fmt.Fprintf(&t, " %12s", grouped(n))
	}
	fmt.Fprintf(&t, "  %-6s %6s  %s\n", "unit", "cost", "than the logarithm")
	section := ""
	for _, g := range grown(runs) {
		name := g.Section
		if name == section {
			name = ""
		}
		section = g.Section
		fmt.Fprintf(&t, "%-15s %-60s", name, g.What)
		for _, v := range g.Medians {
			fmt.Fprintf(&t, " %12s", figure(v))
		}
		fmt.Fprintf(&t, "  %-6s %6s  %s\n", g.Unit, figure(g.Cost), g.Word)
	}
	return t.String()
}
