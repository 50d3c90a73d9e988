package verify

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// Explain returns what was checked, and whose signatures verified and when they
// were made, in lines for a person who wants to know why.
func (r *Result) Explain() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", r.Outcome, r.Message)
	for _, c := range r.Checks {
		state := "ok"
		if !c.OK {
			state = "FAILED"
		}
		fmt.Fprintf(&b, "  %-6s  %-10s  %s\n", state, c.Name, c.Detail)
	}
	if o := r.Checkpoint; o != nil {
		b.WriteString("signatures that verify under the policy:\n")
		for i, k := range o.LogKeys {
			at := "without a time"
			if o.LogTimes[i] != 0 {
				at = when(o.LogTimes[i])
			}
			fmt.Fprintf(&b, "  log      %s, %v, %s\n", keyName(k), k.Algorithm(), at)
		}
		for _, c := range o.Cosignatures {
			fmt.Fprintf(&b, "  witness  %s, %s, %v, %s\n", c.Witness, keyName(c.Key), c.Key.Algorithm(), when(c.Time))
		}
		if n := ignoredLines(o); n > 0 {
			fmt.Fprintf(&b, "  %d more by keys that the policy does not list: nothing is known of them\n", n)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	return b.String()
}

// ignoredLines counts the signature lines of keys that the policy does not list.
func ignoredLines(o *checkpoint.Opened) int {
	n := 0
	for _, s := range o.Note.Signatures {
		known := false
		for _, k := range o.LogKeys {
			known = known || k.Matches(s)
		}
		for _, c := range o.Cosignatures {
			known = known || c.Key.Matches(s)
		}
		if !known {
			n++
		}
	}
	return n
}

// The JSON of a Result. Every field is always there; what is not known is null, or an
// empty list. Fields may be added; none changes its name or its meaning.
type resultJSON struct {
	Outcome    Outcome         `json:"outcome"`
	Code       int             `json:"code"`
	Path       *string         `json:"path"` // null: not known
	SHA256     string          `json:"sha256"`
	Size       uint64          `json:"size"`
	Index      *uint64         `json:"index"` // null: nothing is proven
	Kind       *string         `json:"kind"`  // null: as entry
	Entry      *string         `json:"entry"` // the entry's text; null: not proven, or not read
	Checkpoint *checkpointJSON `json:"checkpoint"`
	Checks     []Check         `json:"checks"`
	Message    string          `json:"message"`
	Expected   string          `json:"expected"`
	Found      string          `json:"found"`
	Causes     []string        `json:"causes"`
	Next       []string        `json:"next"`
	Notes      []string        `json:"notes"`
	Evidence   *string         `json:"evidence"` // the file's path; null: none was written
}

type checkpointJSON struct {
	Origin       string            `json:"origin"`
	Size         uint64            `json:"size"`
	Root         string            `json:"root"` // base64, as in the checkpoint
	Quorum       bool              `json:"quorum"`
	Cosignatures []cosignatureJSON `json:"cosignatures"`
}

type cosignatureJSON struct {
	Witness string `json:"witness"` // its name in the policy
	Key     string `json:"key"`     // key name and key id
	Time    string `json:"time"`    // 2026-11-22T10:00:00Z
}

// MarshalJSON returns the result as one object, of the same fields whatever the outcome.
func (r *Result) MarshalJSON() ([]byte, error) {
	j := resultJSON{
		Outcome: r.Outcome, Code: r.Outcome.Code(),
		Path: optional(r.Path), SHA256: r.SHA256.String(), Size: r.Size,
		Checks:  append([]Check{}, r.Checks...),
		Message: r.Message, Expected: r.Expected, Found: r.Found,
		Causes: append([]string{}, r.Causes...), Next: append([]string{}, r.Next...), Notes: append([]string{}, r.Notes...),
		Evidence: optional(r.EvidencePath),
	}
	if r.Proven {
		j.Index = &r.Index
	}
	if r.Entry != nil {
		text, err := r.Entry.Marshal()
		if err != nil {
			return nil, err
		}
		j.Kind, j.Entry = optional(string(r.Entry.Kind)), optional(string(text))
	}
	if o := r.Checkpoint; o != nil {
		j.Checkpoint = &checkpointJSON{Origin: o.Origin, Size: o.Size, Root: o.Root.String(), Quorum: o.QuorumMet, Cosignatures: []cosignatureJSON{}}
		for _, c := range o.Cosignatures {
			j.Checkpoint.Cosignatures = append(j.Checkpoint.Cosignatures, cosignatureJSON{c.Witness, keyName(c.Key), when(c.Time)})
		}
	}
	return json.Marshal(j)
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
