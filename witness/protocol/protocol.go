// Package protocol is the wire format of C2SP tlog-witness, for both sides: what a log posts to
// a witness, and what a witness answers. It parses and writes bytes and has no sockets.
//
//	POST <prefix>/add-checkpoint
//
//	old 3                                          the size that the witness cosigned last
//	ApjRIpBtz8EIkstTpzmS/FufST6kybrbJ7eRtBJ6f+c=   none to 63 hashes: the proof that the
//	B1Bqhf2d0vEg62lPhgEeW7RmLlxBWmKRcDPUqWJEh+c=   checkpoint's tree begins with that one
//	...
//	                                               a blank line
//	log.example/pause                              the signed checkpoint, verbatim
//	8
//	...
//
// The answer is one or more signature lines (checkpoint.ParseSignatures), or with status 409 and
// type SizeType the size that the witness did cosign last (ParseSize). SignSubtree has a head of
// the same kind, whose first line is "subtree 4 7" and whose second is the subtree's hash.
//
// A head has no blank line, so the first one ends it; the note behind it has one of its own and is
// not looked at here. Every value has one encoding: what a parser accepts, Marshal writes again
// byte for byte. Every error of a parser wraps ErrMalformed, says what was expected, and repeats
// at most a hundred bytes of what was found, escaped: it may go into an answer or a journal.
package protocol

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
)

const (
	// AddCheckpointPath is what a log appends to a witness's submission prefix and a slash, to post
	// an AddCheckpoint.
	AddCheckpointPath = "add-checkpoint"

	// SignSubtreePath is the same for a SignSubtree.
	SignSubtreePath = "sign-subtree"

	// SizeType is the media type of the answer that tells the size which a witness cosigned last.
	// An answer of status 409 without it is an older way to say that the roots differ.
	SizeType = "text/x.tlog.size"

	// MaxProof is the largest number of proof lines in a request.
	MaxProof = tree.MaxProof

	// MaxBody is the largest request in bytes: the largest note, which has room for 16 ML-DSA
	// signature lines, behind the largest head.
	MaxBody = maxHead + checkpoint.MaxNoteSize

	// MaxSubtreeSignature bounds the signature of a subtree in bytes. ML-DSA-44's has 2,420; no
	// signature of any standard today has more than 8 KiB in its small form.
	MaxSubtreeSignature = 8 << 10

	maxDigits = len("9223372036854775807")
	hashLine  = (tree.HashSize+2)/3*4 + 1

	// SignSubtree's head is the larger one. It ends with the blank line.
	maxHead = len("subtree ") + maxDigits + 1 + maxDigits + 1 + (1+MaxProof)*hashLine + 1
)

// ErrMalformed says that bytes are not in the form that C2SP tlog-witness gives them.
var ErrMalformed = errors.New("malformed")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// An AddCheckpoint is the request to cosign a checkpoint. What ParseAddCheckpoint returns has a
// form; nothing in it is verified.
type AddCheckpoint struct {
	Old   uint64      // the size that the witness cosigned last, by the log's knowledge; 0 if none
	Proof []tree.Hash // of consistency between Old and the checkpoint's size; empty with Old 0
	Note  []byte      // the signed checkpoint, verbatim
}

// ParseAddCheckpoint parses the body of a request. The result does not share memory with b.
func ParseAddCheckpoint(b []byte) (*AddCheckpoint, error) {
	lines, note, err := split(b)
	if err != nil {
		return nil, err
	}
	old, ok := strings.CutPrefix(lines[0], "old ")
	if !ok {
		return nil, malformed("expected the line old and a size, found %s", quote(lines[0]))
	}
	r := &AddCheckpoint{Note: note}
	if r.Old, err = parseNumber(old); err != nil {
		return nil, err
	}
	if r.Proof, err = parseHashes(lines[1:]); err != nil {
		return nil, err
	}
	return r, nil
}

// Marshal returns the body of the request. A request made by hand is as well formed as its parts.
func (r *AddCheckpoint) Marshal() []byte {
	b := make([]byte, 0, maxHead+len(r.Note))
	b = append(b, "old "...)
	b = strconv.AppendUint(b, r.Old, 10)
	b = append(b, '\n')
	return finish(b, r.Proof, r.Note)
}

// A SignSubtree is the request to sign a subtree of a tree that the witness has cosigned. What
// ParseSignSubtree returns has a form; of its content only the range is checked, against
// tree.ValidSubtree.
type SignSubtree struct {
	Start, End uint64      // the leaves of the subtree, from Start to before End
	Hash       tree.Hash   // their root
	Proof      []tree.Hash // tree.VerifySubtree's
	Note       []byte      // the reference checkpoint with this witness's cosignature, verbatim
}

// ParseSignSubtree parses the body of a request. The result does not share memory with b.
func ParseSignSubtree(b []byte) (*SignSubtree, error) {
	lines, note, err := split(b)
	if err != nil {
		return nil, err
	}
	numbers, ok := strings.CutPrefix(lines[0], "subtree ")
	start, end, ok2 := strings.Cut(numbers, " ")
	if !ok || !ok2 {
		return nil, malformed("expected the line subtree, a start and an end, found %s", quote(lines[0]))
	}
	r := &SignSubtree{Note: note}
	if r.Start, err = parseNumber(start); err != nil {
		return nil, err
	}
	if r.End, err = parseNumber(end); err != nil {
		return nil, err
	}
	if !tree.ValidSubtree(r.Start, r.End) {
		return nil, malformed("[%d, %d) is not a subtree", r.Start, r.End)
	}
	if len(lines) < 2 {
		return nil, malformed("expected the subtree's hash on the second line, found a blank line")
	}
	if r.Hash, err = parseHash(lines[1]); err != nil {
		return nil, err
	}
	if r.Proof, err = parseHashes(lines[2:]); err != nil {
		return nil, err
	}
	return r, nil
}

// Marshal returns the body of the request. A request made by hand is as well formed as its parts.
func (r *SignSubtree) Marshal() []byte {
	b := make([]byte, 0, maxHead+len(r.Note))
	b = append(b, "subtree "...)
	b = strconv.AppendUint(b, r.Start, 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, r.End, 10)
	b = append(b, '\n')
	b = appendHash(b, r.Hash)
	return finish(b, r.Proof, r.Note)
}

// split returns the lines of the head, at least one, without their newlines, and a copy of the note.
func split(b []byte) (lines []string, note []byte, err error) {
	if len(b) > MaxBody {
		return nil, nil, malformed("expected at most %d bytes, found %d", MaxBody, len(b))
	}
	head, note, ok := bytes.Cut(b, []byte("\n\n"))
	switch {
	case !ok:
		return nil, nil, malformed("expected a blank line before the checkpoint, found none")
	case len(note) == 0:
		return nil, nil, malformed("expected a checkpoint after the blank line, found nothing")
	case len(note) > checkpoint.MaxNoteSize:
		return nil, nil, malformed("expected a checkpoint of at most %d bytes, found %d", checkpoint.MaxNoteSize, len(note))
	}
	// A head has two lines more than proof hashes at most; one more still shows that there are
	// too many, and the rest of 130 kB of newlines need not be cut.
	return strings.SplitN(string(head), "\n", MaxProof+4), bytes.Clone(note), nil
}

func finish(b []byte, proof []tree.Hash, note []byte) []byte {
	for _, h := range proof {
		b = appendHash(b, h)
	}
	b = append(b, '\n')
	return append(b, note...)
}

func appendHash(b []byte, h tree.Hash) []byte {
	return append(base64.StdEncoding.AppendEncode(b, h[:]), '\n')
}

func parseHashes(lines []string) ([]tree.Hash, error) {
	if len(lines) > MaxProof {
		return nil, malformed("expected at most %d proof hashes, found more", MaxProof)
	}
	var hashes []tree.Hash
	for _, l := range lines {
		h, err := parseHash(l)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, h)
	}
	return hashes, nil
}

func parseHash(line string) (tree.Hash, error) {
	b, err := decode64(line)
	if err != nil {
		return tree.Hash{}, err
	}
	if len(b) != tree.HashSize {
		return tree.Hash{}, malformed("expected a hash of %d bytes, found %d", tree.HashSize, len(b))
	}
	return tree.Hash(b), nil
}

// FormatSize returns the body of the answer of type SizeType.
func FormatSize(size uint64) []byte { return append(strconv.AppendUint(nil, size, 10), '\n') }

// ParseSize parses the body of an answer of type SizeType.
func ParseSize(b []byte) (uint64, error) {
	s, ok := strings.CutSuffix(string(b), "\n")
	if !ok {
		return 0, malformed("expected a size and a newline, found %s", quote(string(b)))
	}
	return parseNumber(s)
}

// FormatSubtreeSignature returns the body of the answer to a SignSubtree: the bare signature on a
// line of its own, without name, key id and time (C2SP tlog-witness v1.1.0).
func FormatSubtreeSignature(signature []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(nil, signature), '\n')
}

// ParseSubtreeSignature parses the body of the answer to a SignSubtree. The signature is not
// verified, and only bounded in length.
func ParseSubtreeSignature(b []byte) ([]byte, error) {
	s, ok := strings.CutSuffix(string(b), "\n")
	if !ok {
		return nil, malformed("expected a line of base64, found %s", quote(string(b)))
	}
	sig, err := decode64(s)
	if err != nil {
		return nil, err
	}
	if len(sig) == 0 || len(sig) > MaxSubtreeSignature {
		return nil, malformed("expected a signature of 1 to %d bytes, found %d", MaxSubtreeSignature, len(sig))
	}
	return sig, nil
}

// OriginHash returns the name of a log in the URLs of a witness: the SHA-256 of its origin in
// lowercase hexadecimal. A hash has neither slashes nor anything else that has to be escaped.
func OriginHash(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

// CheckpointPath is where below its monitoring prefix and a slash a witness serves the checkpoint
// that it cosigned last for the log named origin.
func CheckpointPath(origin string) string { return OriginHash(origin) + "/checkpoint" }

// Origin returns the first line of a note: which log it claims to be of, so that a witness can look
// up that log's keys before it parses anything. It is "" if there is no complete line or the line is
// longer than an origin may be. It may hold any other bytes; compare it with origins that are known.
func Origin(note []byte) string {
	if len(note) > checkpoint.MaxOrigin+1 {
		note = note[:checkpoint.MaxOrigin+1]
	}
	line, _, ok := bytes.Cut(note, []byte("\n"))
	if !ok {
		return ""
	}
	return string(line)
}

// parseNumber parses a tree size or an index: decimal digits without leading zeros, at most
// 2^63-1. ParseUint accepts leading zeros, hence the comparison.
func parseNumber(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, malformed("expected a decimal number up to 2^63-1 without leading zeros, found %s", quote(s))
	}
	return n, nil
}

// decode64 decodes canonical base64, which C2SP tlog-witness v1.1.0 demands. Go's decoder skips CR
// and LF and accepts pad bits that are not zero; encoding again needs no list of its liberties.
func decode64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || base64.StdEncoding.EncodeToString(b) != s {
		return nil, malformed("expected canonical base64, found %s", quote(s))
	}
	return b, nil
}

// quote returns untrusted input for an error message, escaped and shortened.
func quote(s string) string {
	const limit = 100
	if len(s) > limit {
		return fmt.Sprintf("%q and %d more bytes", s[:limit], len(s)-limit)
	}
	return strconv.Quote(s)
}
