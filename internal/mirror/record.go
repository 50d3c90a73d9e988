package mirror

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pauselog/pauselog/log/verify"
)

// A State is what became of a path.
type State string

// The states.
const (
	Verified State = "verified" // logged with these bytes
	Passed   State = "passed"   // not verified, and passed on: by --mode prefer, or because it is never logged; or 01mailrc, old or emptied
	Refused  State = "refused"
	Missing  State = "missing" // no upstream has it

	// PassedPrivate is passed on without a look at any log, because the user said that it is not of CPAN.
	PassedPrivate State = "private"
)

// A Record is a decision, for people and programs. Fields that are not known are empty.
type Record struct {
	State   State           `json:"state"`
	Path    string          `json:"path"`
	Kind    string          `json:"kind"` // archive, index, checksums, document
	Outcome *verify.Outcome `json:"outcome"`
	SHA256  string          `json:"sha256"` // of the file as it is served, or was found
	Size    uint64          `json:"size"`
	Message string          `json:"message"`

	Expected string   `json:"expected"`
	Found    string   `json:"found"`
	Causes   []string `json:"causes"`
	Next     []string `json:"next"`
	Notes    []string `json:"notes"`
	Warning  string   `json:"warning"`  // of an index that verified and is old, though no limit was set
	Evidence string   `json:"evidence"` // the name of a file
}

func (o *object) record() Record {
	r := Record{State: o.state, Path: o.path, Size: o.size, Message: o.detail, Warning: o.warning,
		Kind: map[class]string{archive: "archive", index: "index", checksums: "checksums", document: "document"}[o.class]}
	if o.size > 0 || o.state != Refused {
		r.SHA256 = o.digest.String()
	}
	if outcome := o.outcome(); o.state == Refused {
		r.Outcome = &outcome
	}
	if v := o.result; v != nil {
		r.Outcome, r.Message, r.Expected, r.Found, r.Evidence = &v.Outcome, v.Message, v.Expected, v.Found, v.EvidencePath
		r.Causes, r.Next, r.Notes = v.Causes, v.Next, v.Notes
	}
	if r.Message == "" {
		r.Message = o.reason
	}
	return r
}

// outcome is that of a refusal.
func (o *object) outcome() verify.Outcome {
	switch {
	case o.result != nil:
		return o.result.Outcome
	case !o.unsure && o.class != archive:
		return verify.Mismatch // known to be other than what it is named
	}
	return verify.Unverifiable
}

// String is the record in one line, for a terminal; what strangers wrote into it is not made harmless.
func (r Record) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.State, r.Path)
	if r.State == Verified || r.State == PassedPrivate || r.State == Missing {
		if r.Warning != "" {
			fmt.Fprintf(&b, "; warning: %s", r.Warning)
		}
		return b.String()
	}
	if r.Outcome != nil {
		fmt.Fprintf(&b, ": %s", *r.Outcome)
	}
	fmt.Fprintf(&b, ": %s", r.Message)
	for _, x := range []struct{ name, value string }{{"expected", r.Expected}, {"found", r.Found}, {"evidence", r.Evidence}} {
		if x.value != "" {
			fmt.Fprintf(&b, "; %s %s", x.name, x.value)
		}
	}
	if len(r.Next) > 0 {
		fmt.Fprintf(&b, "; next: %s", r.Next[0])
	}
	return b.String()
}

// A Summary is what became of everything so far. Archives alone are counted; each path counts once, as what it
// became last. (A path that is asked for again after so many others that it is not remembered counts again.)
type Summary struct {
	Verified, Refused, Unverified, Private int

	Index string // "verified", "private", "unverified", "refused", or "not asked for"; that of 01mailrc does not count

	Warning string // that an index is old, though it verified; or ""

	// Others are refused files that are no archives: an index, CHECKSUMS, a document.
	Others int

	// Worst is the outcome over all that was refused, Verified if nothing was.
	Worst verify.Outcome
}

// A tally counts decisions.
type tally struct {
	verified, refused, unverified, private, others int

	worst verify.Outcome
}

func (t *tally) add(o *object) {
	if o.state == Refused {
		t.worst = verify.Worst(t.worst, o.outcome())
	}
	switch {
	case o.class != archive && o.state == Refused:
		t.others++
	case o.class != archive:
	case o.state == Verified:
		t.verified++
	case o.state == Refused:
		t.refused++
	case o.state == Passed:
		t.unverified++
	case o.state == PassedPrivate:
		t.private++
	}
}

// Summary counts.
func (m *Mirror) Summary() Summary {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.past
	weakest, warning := 0, ""
	for _, p := range m.order {
		o := m.objects[p]
		t.add(o)
		if o.class == index && p != mailrcPath {
			if warning == "" {
				warning = o.warning
			}
			weakest = max(weakest, slices.Index(indexStates, o.state))
		}
	}
	return Summary{Verified: t.verified, Refused: t.refused, Unverified: t.unverified, Private: t.private, Others: t.others, Worst: t.worst, Warning: warning,
		Index: []string{"not asked for", "verified", "private", "unverified", "refused"}[weakest]}
}

// indexStates are what an index can be, from the best on: the weakest of all says what was built on.
var indexStates = []State{Missing, Verified, PassedPrivate, Passed, Refused}

// trim drops decisions when there are too many: the oldest of those that passed first, because what was refused has to
// be told. They stay counted. Indexes are few, and stay. The lock is held.
func (m *Mirror) trim() {
	if len(m.order) <= m.most {
		return
	}
	drop := max(m.most/10, 1)
	for _, refusedToo := range []bool{false, true} {
		m.order = slices.DeleteFunc(m.order, func(p string) bool {
			o := m.objects[p]
			if drop == 0 || o.class == index || o.state == Refused && !refusedToo {
				return false
			}
			drop--
			m.past.add(o)
			delete(m.objects, p)
			return true
		})
	}
}

// String is the summary in one line.
func (s Summary) String() string {
	var b strings.Builder
	if s.Verified+s.Refused+s.Unverified+s.Private == 0 {
		b.WriteString("no archive came by")
	} else {
		fmt.Fprintf(&b, "%d verified, %d refused, %d passed unverified", s.Verified, s.Refused, s.Unverified)
	}
	if s.Private > 0 {
		fmt.Fprintf(&b, ", %d private", s.Private)
	}
	fmt.Fprintf(&b, ", index %s", s.Index)
	if s.Others > 0 {
		fmt.Fprintf(&b, ", %d other files refused", s.Others)
	}
	if s.Warning != "" {
		fmt.Fprintf(&b, "; warning: %s", s.Warning)
	}
	return b.String()
}

// Records returns all decisions, in the order in which the paths were asked for.
func (m *Mirror) Records() []Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Record, 0, len(m.order))
	for _, p := range m.order {
		out = append(out, m.objects[p].record())
	}
	return out
}
