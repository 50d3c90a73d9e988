package main

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/pauselog/pauselog/log/verify"
)

// worstShown is how many paths are named at the end, and unlistedShown how many archives that a snapshot does not list.
const (
	worstShown    = 20
	unlistedShown = 20
)

// A tally counts what came out of many files.
type tally struct {
	looked     uint64 // files that were looked at, those that are never logged too
	outcomes   map[verify.Outcome]uint64
	missing    uint64 // of the unverifiable ones
	unlogged   uint64 // never logged by their names, and nothing is wrong with them
	misbehaved bool
	bad        []badFile // the worst ones, the worst first

	mu       sync.Mutex // the lister writes what follows
	unlisted []string   // the first ones
	others   uint64     // all of them
	lacking  []string   // what a whole mirror has, and this tree does not; nil for what is no tree
}

type badFile struct {
	outcome verify.Outcome
	name    string
}

func rankOf(o verify.Outcome) int { return slices.Index(verify.Precedence(), o) }

func (t *tally) add(h *handed) {
	t.looked++
	if h.result == nil {
		t.unlogged++
		return
	}
	o := h.result.Outcome
	if t.outcomes == nil {
		t.outcomes = map[verify.Outcome]uint64{}
	}
	t.outcomes[o]++
	if h.missing {
		t.missing++
	}
	if o == verify.Verified {
		return
	}
	t.misbehaved = t.misbehaved || o == verify.Misbehaviour
	name := cmp.Or(h.path, h.file)
	i, _ := slices.BinarySearchFunc(t.bad, rankOf(o)+1, func(b badFile, rank int) int { return cmp.Compare(rankOf(b.outcome), rank) })
	if i < worstShown {
		t.bad = slices.Insert(t.bad, i, badFile{o, name})
		t.bad = t.bad[:min(len(t.bad), worstShown)]
	}
}

func (t *tally) unlist(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.others++; t.others <= unlistedShown {
		t.unlisted = append(t.unlisted, path)
	}
}

func (t *tally) lack(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lacking = append(t.lacking, path)
}

// worst returns the outcome of all files, as the mode sees it.
func (t *tally) worst(mode verify.Mode) verify.Outcome {
	worst := verify.Verified
	for o := range t.outcomes {
		if o.Stops(mode) {
			worst = verify.Worst(worst, o)
		}
	}
	return worst
}

// print says how it went: nothing, if all is well and nobody wants to know.
func (t *tally) print(a *app, mode verify.Mode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.json {
		t.printJSON(a, mode)
		return
	}
	for _, p := range t.unlisted {
		a.notes(p, []string{"unlisted: the snapshot does not name it, and it was not verified"})
	}
	for _, p := range t.lacking {
		a.notes(p, []string{"the tree does not have it: what clients find by it was not verified (--max-index-age makes that an error)"})
	}
	if n := t.others - uint64(len(t.unlisted)); n > 0 {
		a.warn("%d more archives are not in the snapshot and were not verified", n)
	}
	if len(t.bad) == 0 && !a.verbose {
		return
	}
	for _, o := range slices.Backward(verify.Precedence()) {
		if n := t.outcomes[o]; n > 0 || o == verify.Verified {
			more := ""
			if o == verify.Unverifiable && t.missing > 0 {
				more = fmt.Sprintf(", %d of them missing", t.missing)
			}
			a.results("%9d %s%s\n", n, o, more)
		}
	}
	for _, x := range []struct {
		n    uint64
		what string
	}{{t.unlogged, "of names that are never logged, not verified"}, {t.others, "unlisted, not verified"}} {
		if x.n > 0 {
			a.results("%9d %s\n", x.n, x.what)
		}
	}
	if len(t.bad) == 0 {
		return
	}
	a.results("the worst:\n")
	for _, b := range t.bad {
		a.results("  %-13s %s\n", b.outcome, plain(b.name))
	}
}

func (t *tally) printJSON(a *app, mode verify.Mode) {
	outcomes := map[string]uint64{}
	total := uint64(0)
	for o, n := range t.outcomes {
		outcomes[o.String()] = n
		total += n
	}
	worst := []map[string]any{}
	for _, b := range t.bad {
		worst = append(worst, map[string]any{"outcome": b.outcome, "path": b.name})
	}
	unlisted := t.unlisted
	if unlisted == nil {
		unlisted = []string{}
	}
	o := t.worst(mode)
	summary := map[string]any{"summary": true, "outcome": o, "code": o.Code(), "files": total, "outcomes": outcomes,
		"message": fmt.Sprintf("%d files, %d of them verified", total, t.outcomes[verify.Verified]), "missing": t.missing, "never_logged": t.unlogged,
		"unlisted": t.others, "unlisted_paths": unlisted, "worst": worst}
	if t.lacking != nil {
		summary["lacking"] = t.lacking
	}
	a.object(summary)
}
