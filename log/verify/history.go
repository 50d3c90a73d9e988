package verify

import (
	"bytes"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// A statement is a checkpoint that somebody has, and where it comes from in words.
type statement struct {
	source     string
	note       []byte
	checkpoint checkpoint.Checkpoint

	signed  bool // by the log; has a meaning once checked is true
	checked bool
}

// A history is everything at hand that the log signed.
type history struct {
	policy     *checkpoint.Policy
	statements []*statement
	bySize     map[treeSize][]*statement // in the same order
	unreadable int                       // what was remembered and is no checkpoint
}

type treeSize struct {
	origin string
	size   uint64
}

func newHistory(p *checkpoint.Policy) *history {
	return &history{policy: p, bySize: make(map[treeSize][]*statement)}
}

// remember adds a note from the caller's memory, whose signature may have been verified
// long ago under another policy. It is looked at only if it contradicts something: a
// signature costs a thousand times what a comparison does.
func (h *history) remember(note []byte) {
	d, err := parseDocument(Roots, note)
	if err != nil {
		h.unreadable++
		return
	}
	h.add(&statement{source: "a checkpoint remembered from before", note: note, checkpoint: d.checkpoint})
}

// show adds the checkpoint of a bundle, if it is validly signed. One that is not is no
// statement by the log.
func (h *history) show(source string, c *claim) {
	if c.opened != nil {
		h.add(&statement{source: source, note: c.bundle.Checkpoint, checkpoint: c.opened.Checkpoint, signed: true, checked: true})
	}
}

func (h *history) add(s *statement) {
	at := treeSize{s.checkpoint.Origin, s.checkpoint.Size}
	h.bySize[at] = append(h.bySize[at], s)
	h.statements = append(h.statements, s)
}

func (h *history) isSigned(s *statement) bool {
	if !s.checked {
		s.signed, s.checked = signedByLog(h.policy, s.note) == nil, true
	}
	return s.signed
}

// contradiction returns evidence if the log signed two of the statements and they contradict
// each other, and these two, the one that was added first in front; or nil.
func (h *history) contradiction() (*Evidence, *statement, *statement) {
	for _, s := range h.statements {
		for _, earlier := range h.bySize[treeSize{s.checkpoint.Origin, s.checkpoint.Size}] {
			if earlier == s {
				break
			}
			if earlier.checkpoint.Root == s.checkpoint.Root || !h.isSigned(earlier) || !h.isSigned(s) {
				continue
			}
			if e := Contradiction(h.policy, earlier.note, s.note); e != nil {
				return e, earlier, s
			}
		}
	}
	return nil, nil, nil
}

// contradictingClaims returns evidence if two of the bundles prove different entries at
// one index, which their checkpoints alone do not show when they are of different sizes.
func contradictingClaims(p *checkpoint.Policy, claims []*claim) *Evidence {
	for i, a := range claims {
		for _, b := range claims[:i] {
			if a.included && b.included && a.bundle.Index == b.bundle.Index && !bytes.Equal(a.bundle.Entry, b.bundle.Entry) {
				if e := EntryContradiction(p, b.text, a.text); e != nil {
					return e
				}
			}
		}
	}
	return nil
}
