package main

import (
	"fmt"
	"math"
	"slices"
)

// A rowName names a row.
type rowName struct{ section, what string }

// A target is a line of the comparison: a row of the log's, those of Tessera's that do the same, and the aim, if there is one.
type target struct {
	what   string
	ours   rowName
	theirs []rowName // of which the best counts
	// The aim: a figure that must be reached, or not passed, in the row's unit; or how many times better than
	// Tessera it must be. 0 is none.
	least, most, ratio float64
	// from is with how many entries the aim is meant: with fewer nothing is said about it.
	from int
}

const tenMillion = 10_000_000

// targets are in the order of the table. The aims are for two cores.
func targets() []target {
	one := rowName{"append", rowAppendOne}
	groups := rowName{"append", rowAppendGroups}
	persistent := []rowName{{"append", "Tessera: persistent deduplication, integrated"}}
	none := []rowName{{"append", "Tessera: without deduplication, integrated"}, {"append", "Tessera: without deduplication, each second, integrated"}}
	http := func(what string) []rowName {
		return []rowName{{"http-append", fmt.Sprintf("Tessera: %d connections, one entry a request, %s", connections, what)}}
	}
	return []target{
		{what: "durable appends, in process; Tessera with persistent deduplication", ours: one, theirs: persistent, ratio: 6},
		{what: "durable appends, in process; Tessera without deduplication", ours: one, theirs: none, ratio: 3.5},
		{what: "the same in groups of 256; Tessera with persistent deduplication", ours: groups, theirs: persistent},
		{what: "the same in groups of 256; Tessera without deduplication", ours: groups, theirs: none},
		{what: "durable appends, gRPC streams, one entry a message; Tessera over HTTP", ours: rowName{"grpc-append", "4 streams, 1 a message"}, theirs: http("persistent deduplication"), least: 100_000},
		{what: "durable appends, gRPC streams, 256 entries a message; Tessera over HTTP", ours: rowName{"grpc-append", "4 streams, 256 a message"}, theirs: http("persistent deduplication"), least: 200_000},
		{what: "durable appends, unary gRPC; Tessera over HTTP", ours: rowName{"grpc-append", "unary, 64 at a time"}, theirs: http("persistent deduplication")},
		{what: "durable appends, HTTP, one entry a request; both with deduplication", ours: rowName{"http-append", rowHTTP}, theirs: http("persistent deduplication")},
		{what: "durable appends, HTTP, one entry a request; Tessera without deduplication", ours: rowName{"http-append", rowHTTP}, theirs: http("without deduplication")},
		{what: "one append to its signed checkpoint, in process, median; Tessera one after the other", ours: rowName{"idle", rowIdle}, most: 1,
			theirs: []rowName{{"idle", "Tessera: one after the other, to its signed checkpoint, median"}}},
		{what: "one append to its signed checkpoint, in process, median; Tessera idle for 250 ms before", ours: rowName{"idle", rowIdle},
			theirs: []rowName{{"idle", "Tessera: with 250 ms in between, to its signed checkpoint, median"}}},
		{what: "one append to published, three witnesses on this machine, unary gRPC, median", ours: rowName{"published", rowPublished}, most: 10},
		{what: "inclusion proofs, in process, one goroutine", ours: rowName{"inclusion", "proof alone, 1 goroutine"}, theirs: []rowName{{"inclusion", "Tessera: warm, 1 goroutine"}}, least: 150_000},
		{what: "inclusion proofs, in process, two goroutines", ours: rowName{"inclusion", "proof alone, 2 goroutines"}, theirs: []rowName{{"inclusion", "Tessera: warm, 2 goroutines"}}},
		{what: "inclusion proofs, the first 2,000 with nothing in memory", ours: rowName{"inclusion", rowCold}, theirs: []rowName{{"inclusion", "Tessera: " + rowCold}}},
		{what: "inclusion proofs, unary gRPC, of the rate of an empty handler", ours: rowName{"grpc-inclusion", "ratio"}, least: 90},
		{what: "consistency proofs, in process, one goroutine", ours: rowName{"consistency", "proof alone, 1 goroutine"}, theirs: []rowName{{"consistency", "Tessera: warm, 1 goroutine"}}, least: 100_000},
		{what: "audit of the whole log, from a folder", ours: rowName{"audit", rowAudit}, least: 1_000_000},
		{what: "offline verification of a bundle, log and three witnesses, Ed25519", ours: rowName{"verify", rowVerify}, most: 300},
		{what: "memory of a server, resident", ours: rowName{"memory", rowResident}, most: 300, from: tenMillion},
		{what: "disk, an entry", ours: rowName{"disk", rowDisk}, theirs: []rowName{{"disk", "Tessera: folder, without deduplication, an entry"}}, most: 400, from: tenMillion},
		{what: "start after a clean end", ours: rowName{"start", rowClean}, most: 2000, from: tenMillion},
		{what: "start after SIGKILL", ours: rowName{"start", rowKilled}, most: 4000, from: tenMillion},
	}
}

// A verdict is a target with what was measured. Fields that do not apply are nil or empty.
type verdict struct {
	What    string   `json:"what"`
	Unit    string   `json:"unit"`
	Ours    float64  `json:"ours"`
	Tessera *float64 `json:"tessera,omitempty"`
	Row     string   `json:"tessera_row,omitempty"`
	// Better is how many times ours is better, in the median, and in the worst and the best round.
	Better *spread `json:"better,omitempty"`
	Aim    string  `json:"aim,omitempty"`
	Met    *bool   `json:"met,omitempty"` // nil without an aim that is meant for so many entries
}

type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// judge computes the lines of the comparison for which there are rows.
func (r *results) judge() (out []verdict) {
	for _, t := range targets() {
		ours := r.find(t.ours)
		if ours == nil {
			continue
		}
		v := verdict{What: t.what, Unit: ours.Unit, Ours: ours.Median}
		var theirs *row
		for _, name := range t.theirs {
			if x := r.find(name); x != nil && (theirs == nil || better(x.Unit, x.Median, theirs.Median) > 1) {
				theirs = x
			}
		}
		if theirs != nil {
			v.Tessera, v.Row, v.Better = &theirs.Median, theirs.What, ratio(ours, theirs)
		}
		v.Aim, v.Met = t.aim(v, r.Entries)
		out = append(out, v)
	}
	return out
}

func (r *results) find(n rowName) *row {
	i := slices.IndexFunc(r.Rows, func(x *row) bool { return x.Section == n.section && x.What == n.what })
	if i < 0 {
		return nil
	}
	return r.Rows[i]
}

// better is how many times a is better than b: of rates the larger one is, of all else the smaller.
func better(unit string, a, b float64) float64 {
	if unit == "/s" {
		return a / b
	}
	return b / a
}

// ratio is taken round by round: the two took turns, and what disturbed a round disturbed both.
func ratio(ours, theirs *row) *spread {
	var each []float64
	for i := range min(len(ours.Values), len(theirs.Values)) {
		each = append(each, better(ours.Unit, ours.Values[i], theirs.Values[i]))
	}
	return &spread{median(each), slices.Min(each), slices.Max(each)}
}

// aim says what a target asks for, and whether the medians reach it.
func (t target) aim(v verdict, entries int) (text string, met *bool) {
	var reached bool
	switch {
	case t.ratio > 0:
		text = fmt.Sprintf("at least %v times", t.ratio)
		if v.Better == nil {
			return text, nil
		}
		reached = v.Better.Median >= t.ratio
	case t.least > 0:
		text, reached = "at least "+withUnit(t.least, v.Unit), v.Ours >= t.least
	case t.most > 0:
		text, reached = "under "+withUnit(t.most, v.Unit), v.Ours < t.most
	default:
		return "", nil
	}
	if t.from > 0 {
		text += " with " + grouped(t.from) + " entries"
		if entries < t.from {
			return text, nil
		}
	}
	return text, &reached
}

// word is the verdict's last column.
func (v verdict) word() string {
	switch {
	case v.Met != nil && *v.Met:
		return "met"
	case v.Met != nil:
		return "missed"
	}
	return "-"
}

// withUnit is a figure as it stands in text.
func withUnit(v float64, unit string) string {
	text := figure(v)
	if v == math.Trunc(v) {
		text = grouped(int(v))
	}
	switch unit {
	case "/s", "%":
		return text + unit
	}
	return text + " " + unit
}
