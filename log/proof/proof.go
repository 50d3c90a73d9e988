// Package proof is the bundle that travels with a file or is handed from person
// to person: an entry, its index, the inclusion proof and a cosigned checkpoint
// in one text (C2SP tlog-proof). With it and a policy, whether something was
// logged is decided without asking anyone.
//
//	c2sp.org/tlog-proof@v1
//	extra <base64 of the entry>
//	index <decimal>
//	<base64 of a hash>              none to 63 lines, the leaf's sibling first
//	                                a blank line
//	<checkpoint>                    the signed note, verbatim
//
// The extra line is opaque in C2SP tlog-proof. In this log's bundles it is the
// entry itself: nothing signs it, and it becomes true only by being the leaf
// that the inclusion proof proves.
//
// A bundle proves something when all of this holds, in this order, of which this
// package does the first and the third:
//
//  1. Parse accepts it.
//  2. The checkpoint has the origin of a log of the policy and a signature by
//     that log's key, no signature under a key of the policy is wrong, and the
//     cosignatures meet the quorum: package checkpoint.
//  3. The entry is included in the checkpoint's tree: Verify, with the size and
//     root that step 2 returned.
//  4. The entry says what the caller wants to know: package entry.
//
// Text has one form only. For every b that Parse accepts, Marshal returns b
// again; what is not in that form is refused, because two readers that differ
// in what they forgive can be shown two different truths.
package proof

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pauselog/pauselog/log/tree"
)

const (
	// Header is the first line of a bundle, without its newline.
	Header = name + "1"

	// Extension is what the name of a file with a bundle ends in.
	Extension = ".tlog-proof"

	// MaxSize is the largest bundle. Entry, index and proof take at most 25 KiB
	// of it. A signed note must be readable with 16 signatures (C2SP
	// signed-note): that is 52 kB with ML-DSA-44, and would be 170 kB should
	// SLH-DSA-128s ever be used.
	MaxSize = 256 << 10

	// MaxEntry is the largest entry. This version's entries have at most 1,024
	// bytes; the entry of a later version must still be proven before it can be
	// called one.
	MaxEntry = 16 << 10
)

const name = "c2sp.org/tlog-proof@v"

var (
	// ErrMalformed says that the text is no bundle.
	ErrMalformed = errors.New("malformed tlog-proof")

	// ErrVersion says that the text is a bundle of a later version: not bad,
	// but not for this program to judge.
	ErrVersion = errors.New("unsupported tlog-proof version")
)

// A Bundle is the content of a tlog-proof. What Parse returns has a form but is
// not proven.
type Bundle struct {
	Entry      []byte      // the extra line; nil if there is none, never empty
	Index      uint64      // of the entry in the log
	Hashes     []tree.Hash // the inclusion proof (RFC 6962 section 2.1.1)
	Checkpoint []byte      // the signed note, verbatim
}

// Parse reads a bundle. Its errors wrap ErrVersion if the text starts with the
// header of a later version, and otherwise ErrMalformed. The bundle does not
// share memory with b.
func Parse(b []byte) (*Bundle, error) {
	// The version is looked at before anything else: what follows it, and how
	// large it may be, is that version's to say.
	header, _, ok := bytes.Cut(b, []byte("\n"))
	if !ok {
		return nil, malformed("it has no complete line")
	}
	if string(header) != Header {
		if isLaterVersion(header) {
			return nil, fmt.Errorf("%w: expected %s, found %s", ErrVersion, Header, header)
		}
		return nil, malformed("expected the line %s, found %.40q", Header, header)
	}
	if len(b) > MaxSize {
		return nil, malformed("it has %d bytes, at most %d are allowed", len(b), MaxSize)
	}
	p := &Bundle{}
	line, rest, err := nextLine(string(b[len(header)+1:]))
	if err != nil {
		return nil, err
	}
	if extra, ok := strings.CutPrefix(line, "extra "); ok {
		if p.Entry, err = parseEntry(extra); err != nil {
			return nil, err
		}
		if line, rest, err = nextLine(rest); err != nil {
			return nil, err
		}
	}
	index, ok := strings.CutPrefix(line, "index ")
	if !ok {
		return nil, malformed("expected the index line, found %.40q", line)
	}
	if p.Index, err = parseIndex(index); err != nil {
		return nil, err
	}
	// No line up to here is empty, so the first empty one ends the proof,
	// however many the checkpoint has.
	for {
		if line, rest, err = nextLine(rest); err != nil {
			return nil, err
		}
		if line == "" {
			break
		}
		if len(p.Hashes) == tree.MaxProof {
			return nil, malformed("over %d hashes", tree.MaxProof)
		}
		hash, err := decodeBase64(line)
		if err != nil || len(hash) != tree.HashSize {
			return nil, malformed("expected a hash of %d bytes in base64, found %.60q", tree.HashSize, line)
		}
		p.Hashes = append(p.Hashes, tree.Hash(hash))
	}
	if err := checkCheckpoint(rest); err != nil {
		return nil, err
	}
	p.Checkpoint = []byte(rest)
	return p, nil
}

// Marshal returns the bundle's text. What Parse would refuse it refuses, with
// the same errors.
func (p *Bundle) Marshal() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(Header + "\n")
	if p.Entry != nil {
		b.WriteString("extra " + base64.StdEncoding.EncodeToString(p.Entry) + "\n")
	}
	b.WriteString("index " + strconv.FormatUint(p.Index, 10) + "\n")
	for _, h := range p.Hashes {
		b.WriteString(h.String() + "\n")
	}
	b.WriteByte('\n')
	b.Write(p.Checkpoint)
	// Reading it back is the whole check: one list of rules, not two.
	if _, err := Parse(b.Bytes()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Verify checks that the bundle's entry is included at the bundle's index in
// the tree of this size and root, which are those of the bundle's checkpoint
// after its signatures were verified. Every failure wraps tree.ErrProof; a
// bundle without an entry fails.
func (p *Bundle) Verify(size uint64, root tree.Hash) error {
	if len(p.Entry) == 0 {
		return fmt.Errorf("%w: the bundle carries no entry", tree.ErrProof)
	}
	return p.VerifyLeaf(tree.LeafHash(p.Entry), size, root)
}

// VerifyLeaf is Verify for a caller who knows the leaf hash from elsewhere, as
// with the bundles of logs that leave the extra line out or use it for something
// else. It does not look at Entry.
func (p *Bundle) VerifyLeaf(leaf tree.Hash, size uint64, root tree.Hash) error {
	return tree.VerifyInclusion(p.Index, size, leaf, p.Hashes, root)
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// isLaterVersion reports whether a first line differs from Header only in having
// a higher number.
func isLaterVersion(line []byte) bool {
	number, ok := bytes.CutPrefix(line, []byte(name))
	if !ok {
		return false
	}
	n, err := parseDecimal(string(number))
	return err == nil && n > 1
}

func nextLine(s string) (line, rest string, err error) {
	line, rest, ok := strings.Cut(s, "\n")
	if !ok {
		return "", "", malformed("it ends before the blank line and the checkpoint")
	}
	return line, rest, nil
}

func parseEntry(s string) ([]byte, error) {
	if s == "" {
		// C2SP tlog-proof: without extra data the line is omitted.
		return nil, malformed("the extra line is empty")
	}
	if len(s) > base64.StdEncoding.EncodedLen(MaxEntry) {
		return nil, malformed("the extra line carries over %d bytes", MaxEntry)
	}
	entry, err := decodeBase64(s)
	if err != nil {
		return nil, malformed("the extra line is not base64")
	}
	if len(entry) > MaxEntry {
		return nil, malformed("the extra line carries %d bytes, at most %d are allowed", len(entry), MaxEntry)
	}
	return entry, nil
}

func parseIndex(s string) (uint64, error) {
	n, err := parseDecimal(s)
	if err != nil || n > tree.MaxSize {
		return 0, malformed("expected a decimal index of at most 2^63-1, found %.40q", s)
	}
	return n, nil
}

// parseDecimal accepts digits without sign or leading zeros.
func parseDecimal(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err == nil && strconv.FormatUint(n, 10) != s {
		err = strconv.ErrSyntax
	}
	return n, err
}

// decodeBase64 accepts only what StdEncoding writes: the decoder by itself skips
// CR and LF, and ignores the bits that padding leaves over.
func decodeBase64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err == nil && base64.StdEncoding.EncodeToString(b) != s {
		err = errors.New("not canonical")
	}
	return b, err
}

// checkCheckpoint checks what makes the checkpoint a text to pass on (C2SP
// signed-note: valid UTF-8, no control characters below U+0020 but newlines),
// and that it is there, from its first line to the end of its last. The rest is
// package checkpoint's.
func checkCheckpoint(s string) error {
	switch {
	case s == "":
		return malformed("there is no checkpoint")
	case s[0] == '\n':
		return malformed("expected the checkpoint's origin after the blank line, found another blank line")
	case !strings.HasSuffix(s, "\n"):
		return malformed("the checkpoint does not end in a newline")
	case !utf8.ValidString(s):
		return malformed("the checkpoint is not valid UTF-8")
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\n' }); i >= 0 {
		return malformed("the checkpoint has the control character %#02x", s[i])
	}
	return nil
}
