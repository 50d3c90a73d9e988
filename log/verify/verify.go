package verify

import (
	"errors"
	"fmt"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
)

// Verify decides about a file. It is a function of the request alone.
func Verify(r Request) *Result {
	v := &verification{
		Request: r,
		result:  &Result{Path: r.Path, SHA256: r.SHA256, Size: r.Size},
		now:     r.Now.Unix(),
	}
	if v.arguments() {
		v.gather()
		v.judgeProof()
		v.judgeHistory()
		v.judgeFile()
		v.judgeRevocation()
		v.noteDeletion()
		v.judgeAge()
	}
	v.judgePath()
	return v.conclude()
}

// A verification is a Request on its way to a Result. Each judge adds a finding for what it
// finds wrong, and conclude picks one: no judge needs to know what the others found.
type verification struct {
	Request
	result   *Result
	findings []finding
	now      int64 // in seconds, because entries and signatures have no fractions of them

	// The three bundles, each nil if there is none.
	main, revocation, deletion *claim

	// file is the entry of the main bundle once it can be the file's: read, of the right
	// path, and of the kind that makes a file verify. It may have other bytes.
	file *entry.Entry
}

// A finding is an outcome that holds, with its words.
type finding struct {
	outcome                  Outcome
	message, expected, found string
	causes, next             []string
}

func (v *verification) add(f finding) { v.findings = append(v.findings, f) }

func (v *verification) check(name string, ok bool, format string, args ...any) {
	v.result.Checks = append(v.result.Checks, Check{name, ok, fmt.Sprintf(format, args...)})
}

func (v *verification) note(format string, args ...any) {
	v.result.Notes = append(v.result.Notes, fmt.Sprintf(format, args...))
}

// arguments reports whether there is anything to verify with.
func (v *verification) arguments() bool {
	if v.Policy == nil {
		v.add(finding{outcome: Error, message: "there is no policy, so there is no log to trust",
			expected: "a policy with a log's key", found: "none"})
		return false
	}
	if v.Now.IsZero() && (v.MaxAge > 0 || v.MaxIndexAge > 0) {
		v.add(finding{outcome: Error, message: "there is a limit on age, and the time is not known",
			expected: "the present time", found: "none"})
	}
	return true
}

// gather takes all bundles apart.
func (v *verification) gather() {
	for _, b := range []struct {
		text []byte
		to   **claim
	}{{v.Bundle, &v.main}, {v.Revocation, &v.revocation}, {v.Deletion, &v.deletion}} {
		if b.text != nil {
			*b.to = examine(v.Policy, b.text)
		}
	}
}

// judgeProof is about the bundle, up to its entry's bytes, and about there being none.
func (v *verification) judgeProof() {
	c := v.main
	if c == nil {
		v.add(v.absent())
		return
	}
	v.result.Checks = append(v.result.Checks, c.checks...)
	v.result.Checkpoint = c.opened
	if c.included && c.quorum == nil {
		v.result.Proven, v.result.Index, v.result.Entry = true, c.bundle.Index, c.entry
	}
	if c.quorum != nil {
		v.add(v.quorumUnmet())
	}
	switch {
	case c.err == nil:
	case errors.Is(c.err, entry.ErrUpgrade):
		v.add(v.newerEntry())
	default:
		v.add(v.badProof())
	}
}

// judgeHistory compares everything that the log signed.
func (v *verification) judgeHistory() {
	h := newHistory(v.Policy)
	for _, note := range v.Known {
		h.remember(note)
	}
	var claims []*claim
	for _, c := range []struct {
		source string
		*claim
	}{{"the bundle's checkpoint", v.main}, {"the checkpoint of the revocation", v.revocation}, {"the checkpoint of the deletion", v.deletion}} {
		if c.claim != nil {
			h.show(c.source, c.claim)
			claims = append(claims, c.claim)
		}
	}
	e, a, b := h.contradiction()
	if e != nil {
		v.add(v.twoRoots(e, a, b))
	} else if e = contradictingClaims(v.Policy, claims); e != nil {
		v.add(v.twoEntries(e))
	}
	v.result.Evidence = e
	switch n := len(h.statements); {
	case e != nil:
		v.check(checkHistory, false, "%s", e)
	case h.unreadable > 0:
		v.check(checkHistory, true, "%d checkpoints, no two of one size differ; %d of the remembered ones unreadable", n, h.unreadable)
	case n > 1:
		v.check(checkHistory, true, "%d checkpoints, no two of one size differ", n)
	}
}

// judgeFile compares what the entry says with what the caller holds.
func (v *verification) judgeFile() {
	if v.main == nil || v.main.entry == nil {
		return
	}
	e := v.main.entry
	path := v.Path
	if path == "" {
		path = e.Path
	}
	if !v.ok(checkPath, e.Path == path, e.Path) {
		v.add(v.otherPath(e))
		return
	}
	// A path that fits no kind was found wanting elsewhere; the entry's has been validated.
	kind, err := entry.KindOf(path)
	if !v.ok(checkKind, err == nil && e.Kind == kind, string(e.Kind)) {
		v.add(v.otherKind(e, kind))
		return
	}
	v.file = e
	if v.main.quorum == nil {
		v.result.Path = path
	}
	sameDigest := v.ok(checkDigest, e.SHA256 == v.SHA256, "logged "+e.SHA256.String())
	sameSize := v.ok(checkSize, e.Size == v.Size, fmt.Sprintf("logged %d bytes", e.Size))
	if !sameDigest || !sameSize {
		v.add(v.otherBytes(e))
	}
}

func (v *verification) ok(name string, ok bool, detail string) bool {
	v.check(name, ok, "%s", detail)
	return ok
}

// judgeRevocation decides whether there is a void of the file's entry. The package
// comment says which voids are.
func (v *verification) judgeRevocation() {
	c := v.revocation
	if c == nil || (v.main != nil && v.file == nil) {
		return
	}
	concerns, err := v.later(c, entry.Void)
	switch {
	case err != nil:
		v.check(checkRevocation, false, "ignored: %s", err)
		v.note("a revocation of this path was handed over and is not proven, so it was ignored: %s", err)
	case !concerns:
		v.check(checkRevocation, true, "entry %d voids another entry of this path", c.bundle.Index)
	default:
		v.check(checkRevocation, false, "voided by entry %d", c.bundle.Index)
		v.add(v.voided(c))
	}
}

// noteDeletion says what a person may want to know of a file that verifies.
func (v *verification) noteDeletion() {
	c := v.deletion
	if c == nil || (v.main != nil && v.file == nil) {
		return
	}
	concerns, err := v.later(c, entry.Delete)
	switch {
	case err != nil:
		v.check(checkDeletion, false, "ignored: %s", err)
	case !concerns:
		v.check(checkDeletion, true, "entry %d deletes another entry of this path", c.bundle.Index)
	default:
		v.check(checkDeletion, true, "deleted by entry %d", c.bundle.Index)
		v.note("it was deleted from PAUSE on %s (entry %d), which is routine; older copies stay what they were", c.entry.Time, c.bundle.Index)
	}
}

// later reports whether a claim is an entry of this kind about the file's path and digest
// that came after the file's own entry. It returns an error if the claim is not proven, or
// is no such entry of this path.
func (v *verification) later(c *claim, kind entry.Kind) (bool, error) {
	if err := c.proven(); err != nil {
		return false, err
	}
	path := v.Path
	if v.file != nil {
		path = v.file.Path
	}
	if c.entry.Kind != kind || c.entry.Path != path {
		return false, fmt.Errorf("expected a %s entry of %s, found a %s entry of %s", kind, orUnknown(path), c.entry.Kind, c.entry.Path)
	}
	if v.file != nil {
		if c.opened.Origin != v.main.opened.Origin {
			return false, fmt.Errorf("it is an entry of %s, and the file is logged in %s", c.opened.Origin, v.main.opened.Origin)
		}
		if c.bundle.Index <= v.main.bundle.Index {
			return false, nil
		}
	}
	return c.entry.SHA256 == v.SHA256, nil
}

func orUnknown(path string) string {
	if path == "" {
		return "a path that is not known"
	}
	return path
}

// judgeAge holds the limits on age against what is otherwise in order.
func (v *verification) judgeAge() {
	if v.file == nil || v.main.quorum != nil || v.Now.IsZero() {
		return
	}
	if v.MaxAge > 0 {
		fresh := v.now >= 0 && v.main.opened.Fresh(v.Policy, uint64(v.now), uint64(v.MaxAge/time.Second))
		if !v.ok(checkAge, fresh, "signed "+v.signedWhen()) {
			v.add(v.oldCheckpoint())
		}
	}
	if v.file.Kind != entry.Index {
		return
	}
	age := v.now - int64(v.file.Time)
	limit := int64(v.MaxIndexAge / time.Second)
	switch {
	case v.MaxIndexAge > 0:
		young := age <= limit && age >= -checkpoint.FutureTolerance
		if !v.ok(checkIndexAge, young, "of "+v.file.Time.String()) {
			v.add(v.oldIndex(age))
		}
	case age > int64(MaxIndexAgeNoted/time.Second):
		v.note("this index is %s old, and no limit is set: mirrors lag and PAUSE sometimes stands still, but an old index hides newer releases", seconds(age))
	case age < -checkpoint.FutureTolerance:
		v.note("this index is dated %s ahead of this machine's clock", seconds(-age))
	}
}

// judgePath comes last, because a file whose path was not given is told the one that
// its bundle proves.
func (v *verification) judgePath() {
	if v.Path == "" {
		if !v.AnyPath {
			v.add(v.noPath())
		}
		return
	}
	if _, err := entry.KindOf(v.Path); err != nil {
		v.add(v.badPath(err))
	}
}

// conclude picks the outcome: the first in the order of precedence, and of several that
// are the same the one that was found first.
func (v *verification) conclude() *Result {
	f := finding{outcome: Verified}
	for _, g := range v.findings {
		if g.outcome != f.outcome && Worst(f.outcome, g.outcome) == g.outcome {
			f = g
		}
	}
	if f.outcome == Verified {
		f = v.verified()
	}
	r := v.result
	r.Outcome, r.Message, r.Expected, r.Found, r.Causes, r.Next = f.outcome, f.message, f.expected, f.found, f.causes, f.next
	return r
}
