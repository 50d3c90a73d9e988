package verify

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
)

// The text of evidence, which is mailed, archived and read by people:
//
//	pauselog-evidence/v1
//	kind roots
//	note
//	| log.example/pause
//	| 8
//	| XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=
//	|
//	| — log.example/pause E4ML+w735cVr/gE+CegS...
//	note
//	| log.example/pause
//	| 8
//	...
//
// Each line of an embedded document stands behind "| ", an empty one too, so that no
// document can look like the text around it. The kind says which documents and lines there
// are, in one order:
//
//	roots    note, note
//	entries  bundle, bundle
//	prefix   note (the older), note (the newer), prefix <base64>, hash <base64> ...
//
// The documents are kept byte for byte as they were given, signature lines by
// strangers included: whose cosignatures stand below a forked tree is part of the evidence. As
// everywhere, a text that is accepted is written again to the same bytes.
const (
	// EvidenceHeader is the first line of an evidence file, without its newline.
	EvidenceHeader = "pauselog-evidence/v1"

	// MaxEvidence is the largest evidence file. Two bundles of the largest size fit,
	// with what stands before each of their lines (a note has at most 96 signature
	// lines, a proof 63 hashes).
	MaxEvidence = 2*proof.MaxSize + 8<<10

	quoted = "| "
)

// keyword returns what stands before a document of this kind of evidence.
func (k EvidenceKind) keyword() string {
	if k == Entries {
		return "bundle"
	}
	return "note"
}

// Marshal returns the evidence as a text that ParseEvidence reads.
func (e *Evidence) Marshal() []byte {
	var b bytes.Buffer
	b.WriteString(EvidenceHeader + "\nkind " + string(e.kind) + "\n")
	for _, d := range []document{e.first, e.second} {
		b.WriteString(e.kind.keyword() + "\n")
		for line := range bytes.Lines(d.text) {
			b.WriteString(quoted)
			b.Write(line)
		}
	}
	if e.kind == Prefix {
		b.WriteString("prefix " + e.prefix.String() + "\n")
		for _, h := range e.hashes {
			b.WriteString("hash " + h.String() + "\n")
		}
	}
	return b.Bytes()
}

// ParseEvidence reads an evidence file. That its statements are signed and contradict each
// other is for Check to say. Its errors wrap ErrEvidence.
func ParseEvidence(b []byte) (*Evidence, error) {
	if len(b) > MaxEvidence {
		return nil, fmt.Errorf("%w: %d bytes, expected at most %d", ErrEvidence, len(b), MaxEvidence)
	}
	p := evidenceParser{rest: string(b)}
	if header := p.line(); p.err == nil && header != EvidenceHeader {
		return nil, fmt.Errorf("%w: its first line is %.40q, this program knows %q", ErrEvidence, header, EvidenceHeader)
	}
	e := &Evidence{kind: EvidenceKind(p.value("kind"))}
	switch e.kind {
	case Roots, Entries, Prefix:
	default:
		p.fail("kind %.40q is none of %s, %s, %s", e.kind, Roots, Entries, Prefix)
	}
	e.first, e.second = p.document(e.kind), p.document(e.kind)
	if e.kind == Prefix {
		e.prefix = p.hash("prefix")
		for p.err == nil && p.rest != "" {
			if len(e.hashes) == tree.MaxProof {
				p.fail("over %d hashes", tree.MaxProof)
			}
			e.hashes = append(e.hashes, p.hash("hash"))
		}
	}
	if p.err == nil && p.rest != "" {
		p.fail("expected the end, found %.40q", p.rest)
	}
	if p.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvidence, p.err)
	}
	return e, nil
}

// An evidenceParser takes lines off rest until the first error.
type evidenceParser struct {
	rest string
	err  error
}

func (p *evidenceParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

func (p *evidenceParser) line() string {
	if p.err != nil {
		return ""
	}
	line, rest, ok := strings.Cut(p.rest, "\n")
	if !ok {
		p.fail("it ends in the middle: expected a line, found %.40q", p.rest)
		return ""
	}
	p.rest = rest
	return line
}

func (p *evidenceParser) value(name string) string {
	line := p.line()
	value, ok := strings.CutPrefix(line, name+" ")
	if !ok {
		p.fail("expected a line %q, found %.40q", name, line)
	}
	return value
}

func (p *evidenceParser) hash(name string) (h tree.Hash) {
	s := p.value(name)
	b, err := base64.StdEncoding.DecodeString(s)
	// Written again and compared, because the decoder forgives spare bits and line ends.
	if err != nil || len(b) != len(h) || base64.StdEncoding.EncodeToString(b) != s {
		p.fail("%s: expected a hash of %d bytes in base64, found %.60q", name, len(h), s)
		return h
	}
	return tree.Hash(b)
}

func (p *evidenceParser) document(kind EvidenceKind) document {
	if line := p.line(); line != kind.keyword() {
		p.fail("expected a line %q, found %.40q", kind.keyword(), line)
	}
	var text []byte
	for p.err == nil && strings.HasPrefix(p.rest, quoted) {
		text = append(text, strings.TrimPrefix(p.line(), quoted)...)
		text = append(text, '\n')
	}
	if p.err != nil {
		return document{}
	}
	d, err := parseDocument(kind, text)
	if err != nil {
		p.fail("%s: %w", kind.keyword(), err)
	}
	return d
}
