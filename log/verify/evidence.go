package verify

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
)

var (
	// ErrEvidence says that a text is no evidence file.
	ErrEvidence = errors.New("malformed evidence")

	// ErrNoContradiction says that what an evidence file carries is not two signed
	// statements that contradict each other.
	ErrNoContradiction = errors.New("no contradiction")
)

// An EvidenceKind is what two statements disagree about.
type EvidenceKind string

const (
	// Roots: two checkpoints of one size with different roots. The log showed two trees.
	Roots EvidenceKind = "roots"

	// Entries: two bundles that prove different entries at one index. The log showed
	// two trees, or changed one.
	Entries EvidenceKind = "entries"

	// Prefix: two checkpoints, and hashes that show that the newer tree begins with
	// another tree than the older checkpoint says. The log did not only append.
	Prefix EvidenceKind = "prefix"
)

// Evidence is two statements of one log, each validly signed by it, that contradict
// each other. Nobody without its key can make an honest log look so: evidence convinces
// whoever has the log's public key, and needs no trust in the one who hands it over. No quorum
// of witnesses is needed: the log's own signature is what it must answer for.
//
// Evidence comes from ParseEvidence, which says nothing of its truth until Check does, or
// from Contradiction, EntryContradiction and PrefixContradiction, which have checked it.
type Evidence struct {
	kind          EvidenceKind
	first, second document

	// Of Prefix: the root of the second tree's first leaves, as many as the first tree
	// has, and the consistency proof from it to the second root.
	prefix tree.Hash
	hashes []tree.Hash
}

// A document is one of the two statements: a note, or a bundle with its note in it.
type document struct {
	text       []byte
	bundle     *proof.Bundle // of Entries
	checkpoint checkpoint.Checkpoint
}

// Contradiction returns evidence if the two notes are checkpoints of one log of the
// policy, signed by it, with one size and different roots; and otherwise nil.
func Contradiction(p *checkpoint.Policy, noteA, noteB []byte) *Evidence {
	return checked(p, &Evidence{kind: Roots}, noteA, noteB)
}

// EntryContradiction returns evidence if the two bundles prove different entries at
// one index under checkpoints that one log of the policy signed; and otherwise nil.
func EntryContradiction(p *checkpoint.Policy, bundleA, bundleB []byte) *Evidence {
	return checked(p, &Evidence{kind: Entries}, bundleA, bundleB)
}

// PrefixContradiction returns evidence if the two notes are checkpoints of one log of the
// policy, signed by it, and if the hashes lead to the newer one's root and to another
// root than the older one's; and otherwise nil. Hashes that do not lead to the newer root
// are a bad proof, which anybody can make, and no evidence.
//
// The hashes are a consistency proof as logs give it. If the older size is a power of two,
// such a proof does not say what its old root is, and is no evidence; the hash of the
// newer tree's first leaves, which is a node of it and found in its tiles, must
// precede the proof.
func PrefixContradiction(p *checkpoint.Policy, older, newer []byte, hashes []tree.Hash) *Evidence {
	a, errA := parseDocument(Prefix, older)
	b, errB := parseDocument(Prefix, newer)
	if errA != nil || errB != nil {
		return nil
	}
	prefix, _, err := tree.ConsistencyRoots(a.checkpoint.Size, b.checkpoint.Size, hashes)
	if err != nil {
		return nil
	}
	if bits.OnesCount64(a.checkpoint.Size) == 1 {
		hashes = hashes[1:]
	}
	return checked(p, &Evidence{kind: Prefix, prefix: prefix, hashes: hashes}, older, newer)
}

// checked completes e by its two documents and returns it if it is true, and if it
// can be written and read again.
func checked(p *checkpoint.Policy, e *Evidence, first, second []byte) *Evidence {
	var err error
	if e.first, err = parseDocument(e.kind, first); err != nil {
		return nil
	}
	if e.second, err = parseDocument(e.kind, second); err != nil {
		return nil
	}
	if e.Check(p) != nil {
		return nil
	}
	// What is handed on must not change with the caller's buffers, and must be a text that
	// everyone reads.
	e, err = ParseEvidence(e.Marshal())
	if err != nil {
		return nil
	}
	return e
}

// parseDocument takes one of the two statements apart. Nothing is verified.
func parseDocument(kind EvidenceKind, text []byte) (document, error) {
	d := document{text: text}
	note := text
	if kind == Entries {
		b, err := proof.Parse(text)
		if err != nil {
			return document{}, err
		}
		d.bundle, note = b, b.Checkpoint
	}
	n, err := checkpoint.ParseNote(note)
	if err != nil {
		return document{}, err
	}
	d.checkpoint, err = checkpoint.ParseText(n.Text)
	return d, err
}

// note returns the statement's signed checkpoint.
func (d document) note() []byte {
	if d.bundle != nil {
		return d.bundle.Checkpoint
	}
	return d.text
}

// Kind returns what the two statements disagree about.
func (e *Evidence) Kind() EvidenceKind { return e.kind }

// Origin returns which log the evidence is about, by its own account.
func (e *Evidence) Origin() string { return e.first.checkpoint.Origin }

// String returns in one sentence what the evidence says. It is true once Check has
// returned nil.
func (e *Evidence) String() string {
	a, b := e.first.checkpoint, e.second.checkpoint
	switch e.kind {
	case Entries:
		return fmt.Sprintf("%s signed trees of size %d and %d that have different entries at index %d", a.Origin, a.Size, b.Size, e.first.bundle.Index)
	case Prefix:
		return fmt.Sprintf("%s signed root %v for size %d, and a tree of size %d whose first %d entries have root %v", a.Origin, a.Root, a.Size, b.Size, a.Size, e.prefix)
	}
	return fmt.Sprintf("%s signed two roots for size %d: %v and %v", a.Origin, a.Size, a.Root, b.Root)
}

// Check returns nil if both statements are signed by one log of the policy and contradict
// each other. Otherwise its error wraps ErrNoContradiction and says what is missing.
func (e *Evidence) Check(p *checkpoint.Policy) error {
	if err := e.check(p); err != nil {
		return fmt.Errorf("%w: %w", ErrNoContradiction, err)
	}
	return nil
}

func (e *Evidence) check(p *checkpoint.Policy) error {
	if p == nil {
		return errors.New("there is no policy, so no log's key is known")
	}
	a, b := e.first.checkpoint, e.second.checkpoint
	if a.Origin != b.Origin {
		return fmt.Errorf("the statements are of two logs, %s and %s", a.Origin, b.Origin)
	}
	for i, d := range []document{e.first, e.second} {
		if err := signedByLog(p, d.note()); err != nil {
			return fmt.Errorf("statement %d: %w", i+1, err)
		}
	}
	switch e.kind {
	case Roots:
		if a.Size != b.Size {
			return fmt.Errorf("the checkpoints are of different sizes, %d and %d", a.Size, b.Size)
		}
		if a.Root == b.Root {
			return fmt.Errorf("both checkpoints of size %d have root %v", a.Size, a.Root)
		}
		return nil
	case Entries:
		return contradictingEntries(e.first, e.second)
	case Prefix:
		if e.prefix == a.Root {
			return fmt.Errorf("the newer tree begins with the older one, of root %v", a.Root)
		}
		if a.Size == 0 || a.Size >= b.Size {
			return fmt.Errorf("expected an older and smaller tree first, found sizes %d and %d", a.Size, b.Size)
		}
		return tree.VerifyConsistency(a.Size, b.Size, e.hashes, e.prefix, b.Root)
	}
	return fmt.Errorf("unknown kind %.40q", e.kind)
}

func contradictingEntries(a, b document) error {
	if a.bundle.Index != b.bundle.Index {
		return fmt.Errorf("the entries have different indexes, %d and %d", a.bundle.Index, b.bundle.Index)
	}
	for i, d := range []document{a, b} {
		if err := d.bundle.Verify(d.checkpoint.Size, d.checkpoint.Root); err != nil {
			return fmt.Errorf("statement %d: %w", i+1, err)
		}
	}
	if string(a.bundle.Entry) == string(b.bundle.Entry) {
		return fmt.Errorf("both bundles have the same entry %d", a.bundle.Index)
	}
	return nil
}

// signedByLog reports whether a note is a checkpoint with a valid signature by a key of
// its log that the policy lists. Policy.Open asks for more: there, one bad line
// under any known key refuses the note. Here that would let a log off that had
// signed, because somebody's line next to its signature got damaged.
func signedByLog(p *checkpoint.Policy, note []byte) error {
	n, err := checkpoint.ParseNote(note)
	if err != nil {
		return err
	}
	c, err := checkpoint.ParseText(n.Text)
	if err != nil {
		return err
	}
	err = fmt.Errorf("%w: no signature by a known key of %.100q", checkpoint.ErrUnknownLog, c.Origin)
	for _, l := range p.Logs() {
		if l.Key.Name() != c.Origin {
			continue
		}
		for _, s := range n.Signatures {
			if !l.Key.Matches(s) {
				continue
			}
			if _, bad := l.Key.Verify(n.Text, s); bad != nil {
				err = bad
				continue
			}
			return nil
		}
	}
	return err
}
