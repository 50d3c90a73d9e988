package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// markdown is the comparison as a table for a README, with what it was measured on and with.
func markdown(runs []*results) string {
	var t strings.Builder
	for i, r := range runs {
		if i > 0 {
			t.WriteByte('\n')
		}
		r.markdown(&t)
	}
	if len(runs) > 1 {
		t.WriteByte('\n')
		growthMarkdown(&t, runs)
	}
	return t.String()
}

func (r *results) markdown(t *strings.Builder) {
	fmt.Fprintf(t, "%s entries of %.0f bytes; medians of %d rounds, in brackets the lowest and the highest ratio of a round. "+
		"%s, %s.\n\n", grouped(r.Entries), r.EntrySize, r.Rounds, r.Machine.line(), r.Began.Format("2 January 2006"))
	if d := r.disturbed(); d != "" {
		t.WriteString(d + "\n\n")
	}
	t.WriteString("| what | pauselog | Tessera | times better | aim | |\n|---|--:|--:|--:|---|---|\n")
	for _, v := range r.judge() {
		theirs, times := "", ""
		if v.Tessera != nil {
			theirs = withUnit(rounded(*v.Tessera), v.Unit)
			times = fmt.Sprintf("%s (%s-%s)", figure(v.Better.Median), figure(v.Better.Min), figure(v.Better.Max))
		}
		word := v.word()
		if word == "-" {
			word = ""
		}
		fmt.Fprintf(t, "| %s | %s | %s | %s | %s | %s |\n", v.What, withUnit(rounded(v.Ours), v.Unit), theirs, times, v.Aim, word)
	}
	fmt.Fprintf(t, "\npauselog: %s.\n", r.Settings)
	if s := r.settings(); len(s) > 0 {
		fmt.Fprintf(t, "\nTessera %s, POSIX storage:\n\n- %s\n", r.Tessera, strings.Join(s, "\n- "))
	}
}

// settings are those of Tessera's rows, each once, with the section that has them.
func (r *results) settings() (out []string) {
	for _, x := range r.Rows {
		if s := x.Section + ": " + x.Settings; x.Settings != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// rounded has three digits: the others are chance.
func rounded(v float64) float64 {
	if v < 1000 {
		return v
	}
	unit := math.Pow(10, math.Floor(math.Log10(v))-2)
	return math.Round(v/unit) * unit
}

func growthMarkdown(t *strings.Builder, runs []*results) {
	t.WriteString("| what | unit |")
	for _, n := range sizesOf(runs) {
		fmt.Fprintf(t, " %s |", grouped(n))
	}
	fmt.Fprintf(t, " cost | than the logarithm |\n|---|---|%s--:|---|\n", strings.Repeat("--:|", len(runs)))
	for _, g := range grown(runs) {
		fmt.Fprintf(t, "| %s: %s | %s |", g.Section, g.What, g.Unit)
		for _, v := range g.Medians {
			fmt.Fprintf(t, " %s |", figure(rounded(v)))
		}
		fmt.Fprintf(t, " %s | %s |\n", figure(g.Cost), g.Word)
	}
}
