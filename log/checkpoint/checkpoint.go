package checkpoint

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pauselog/pauselog/log/tree"
)

// Errors of parsing and of opening. A caller that has to tell outcomes apart
// asks with errors.Is; the text says what was expected and what was found.
var (
	// ErrMalformed: the bytes are not a signed note with a checkpoint in it.
	ErrMalformed = errors.New("malformed checkpoint")

	// ErrExtension: a checkpoint with lines after its root. ML-DSA signatures
	// do not cover such lines and no cosignature makes a statement about them
	// (C2SP tlog-cosignature), so whoever acted on one would act on something
	// that is not signed by everyone who seems to have signed it.
	ErrExtension = errors.New("checkpoint has extension lines")

	// ErrEmptyRoot comes together with ErrMalformed: a checkpoint of size 0
	// whose root is not that of the empty tree. It has a name because C2SP
	// tlog-witness gives it an answer of its own.
	ErrEmptyRoot = errors.New("size 0 with another root than that of the empty tree")
)

// MaxOrigin is the length in bytes of the longest origin and key name: an
// ML-DSA signature covers both behind a length of one byte (C2SP
// tlog-cosignature).
const MaxOrigin = 255

// A Checkpoint is a log's statement about itself: the tree of the log named
// Origin has this root when it has Size entries.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   tree.Hash
}

// Text returns the checkpoint's lines, the bytes that signatures are about.
func (c Checkpoint) Text() string {
	return c.Origin + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + c.Root.String() + "\n"
}

// check reports what ParseText would refuse in c's text. A signer asks it
// before it signs.
func (c Checkpoint) check() error {
	if err := ValidOrigin(c.Origin); err != nil {
		return err
	}
	if c.Size > tree.MaxSize {
		return fmt.Errorf("%w: size %d is over 2^63-1", ErrMalformed, c.Size)
	}
	// There is one tree of size 0 (RFC 6962 section 2.1). With any other root
	// a checkpoint would be a lie that nothing could expose: the consistency
	// proof from size 0 is empty and proves nothing about its root.
	if c.Size == 0 && c.Root != tree.EmptyRoot {
		return fmt.Errorf("%w: %w: expected %v, found %v", ErrMalformed, ErrEmptyRoot, tree.EmptyRoot, c.Root)
	}
	return nil
}

// ParseText parses a checkpoint's lines: what is before the blank line of a
// note, or the whole of an unsigned checkpoint. Of what it accepts, Text
// returns the same bytes.
func ParseText(text string) (Checkpoint, error) {
	origin, rest, ok1 := strings.Cut(text, "\n")
	size, rest, ok2 := strings.Cut(rest, "\n")
	root, rest, ok3 := strings.Cut(rest, "\n")
	if !ok1 || !ok2 || !ok3 {
		return Checkpoint{}, fmt.Errorf("%w: expected the lines origin, size and root, found %s", ErrMalformed, quote(text))
	}
	c := Checkpoint{Origin: origin}
	var err error
	if c.Size, err = parseSize(size); err != nil {
		return Checkpoint{}, err
	}
	hash, err := decode64(root)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: root: %v", ErrMalformed, err)
	}
	if len(hash) != tree.HashSize {
		return Checkpoint{}, fmt.Errorf("%w: root: expected %d bytes, found %d", ErrMalformed, tree.HashSize, len(hash))
	}
	c.Root = tree.Hash(hash)
	if err := c.check(); err != nil {
		return Checkpoint{}, err
	}
	if rest != "" {
		line, _, ok := strings.Cut(rest, "\n")
		switch {
		// C2SP tlog-checkpoint: an extension line must not be empty.
		case line == "" || strings.Contains(rest, "\n\n"):
			return Checkpoint{}, fmt.Errorf("%w: empty line in the text", ErrMalformed)
		case !ok || !strings.HasSuffix(rest, "\n"):
			return Checkpoint{}, fmt.Errorf("%w: the last line does not end in a newline", ErrMalformed)
		}
		return Checkpoint{}, fmt.Errorf("%w: expected three lines, found a fourth, %s", ErrExtension, quote(line))
	}
	return c, nil
}

// ValidOrigin reports whether origin can name a log, a witness or a key.
//
// C2SP signed-note wants of a key name that it is not empty and has neither a
// Unicode space nor a plus sign, and a log's key name is its origin. The limit
// of 255 bytes is that of ML-DSA signatures. Control characters (SN-2 allows
// DEL and U+0080 to U+009F) are refused too: names are printed on terminals.
func ValidOrigin(origin string) error {
	if err := checkName(origin); err != nil {
		return fmt.Errorf("%w: origin: %w", ErrMalformed, err)
	}
	return nil
}

// checkName is ValidOrigin for names of any kind.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("expected a name, found an empty one")
	case len(name) > MaxOrigin:
		return fmt.Errorf("expected a name of at most %d bytes, found %d", MaxOrigin, len(name))
	case !validName(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("expected a name of valid UTF-8 without spaces, control characters and %q, found %s", '+', quote(name))
	}
	return nil
}

// validName is the rule of C2SP signed-note for key names: what other people's
// signature lines must follow, while ValidOrigin is for keys that we use.
func validName(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.ContainsRune(name, '+') && !strings.ContainsFunc(name, unicode.IsSpace)
}

// parseSize parses a tree size: decimal digits without leading zeros, at most
// 2^63-1. ParseUint accepts leading zeros, hence the comparison.
func parseSize(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%w: size: expected a decimal number up to 2^63-1 without leading zeros, found %s", ErrMalformed, quote(s))
	}
	return n, nil
}

// decode64 decodes canonical base64 (C2SP#348: decoders must reject any other).
// Go's decoder skips CR and LF and, unless strict, accepts pad bits that are
// not zero; encoding again and comparing needs no list of such liberties.
func decode64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("expected base64, found %s", quote(s))
	}
	if base64.StdEncoding.EncodeToString(b) != s {
		return nil, fmt.Errorf("expected canonical base64, found %s", quote(s))
	}
	return b, nil
}

// quote returns untrusted input for an error message: escaped, and shortened
// because a hostile note may have lines of 100 kB.
func quote(s string) string {
	const limit = 100
	if len(s) > limit {
		return fmt.Sprintf("%q and %d more bytes", s[:limit], len(s)-limit)
	}
	return strconv.Quote(s)
}
