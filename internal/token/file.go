package token

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pauselog/pauselog/log/entry"
)

const (
	format = "pauselog-tokens/v1"

	// MaxTokens is how many tokens a file holds at most, the revoked ones included.
	MaxTokens = 1000
	maxFile   = 1 << 20 // bytes; MaxTokens of the longest fit
)

// document and row are the file's form. They write every field in one way only: what
// parse accepts, marshal writes again.
type document struct {
	Format string `json:"format"`
	Tokens []row  `json:"tokens"`
}

type row struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	SHA256      string       `json:"sha256,omitempty"`
	Certificate string       `json:"certificate,omitempty"`
	Kinds       []entry.Kind `json:"kinds"`
	Seen        []entry.Seen `json:"seen"`
	Created     string       `json:"created"`
	Revoked     string       `json:"revoked,omitempty"`
}

// List returns the tokens of a file, revoked ones included, in the order in which they
// were created. A file that does not exist has none.
func List(file string) ([]Token, error) {
	tokens, _, err := read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return tokens, err
}

// read returns a file's tokens, and what the file was when its bytes were read. The
// latter is also returned when the bytes are no good.
func read(file string) ([]Token, fs.FileInfo, error) {
	// Opening a named pipe would wait for its other end.
	if info, err := os.Stat(file); err != nil {
		return nil, nil, err
	} else if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s: expected a regular file, found %v", file, info.Mode())
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	// Before the bytes are read: if the file is written to from now on, it will
	// not look like this any more.
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if perm := info.Mode().Perm(); perm&0o022 != 0 {
		return nil, info, fmt.Errorf("%s: its mode is %#o, others may write to it and grant themselves a token: chmod 0600 it, and look through its tokens", file, perm)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, err
	}
	tokens, err := parse(b)
	if err != nil {
		return nil, info, fmt.Errorf("%s: %w", file, err)
	}
	return tokens, info, nil
}

// parse reads a file's bytes. Its errors never quote a value: it may be a secret
// that somebody put into the wrong field.
func parse(b []byte) ([]Token, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("more than %d bytes", maxFile)
	}
	var doc document
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("not a file of tokens, as JSON it ends early or is malformed before byte %d", dec.InputOffset()+1)
	}
	if doc.Format != format {
		return nil, fmt.Errorf("its format is not %q: not a file of tokens, or of a newer program", format)
	}
	if len(doc.Tokens) > MaxTokens {
		return nil, fmt.Errorf("%d tokens, expected at most %d", len(doc.Tokens), MaxTokens)
	}
	tokens := make([]Token, 0, len(doc.Tokens))
	for i, r := range doc.Tokens {
		t, err := r.token()
		if err != nil {
			return nil, fmt.Errorf("token %d: %w", i+1, err)
		}
		tokens = append(tokens, t)
	}
	if err := distinct(tokens); err != nil {
		return nil, err
	}
	// encoding/json lets through names in any case, repeated and unknown fields, bytes
	// that are no UTF-8, and values after the first. Writing it again finds them all.
	again, err := marshal(tokens)
	if err != nil {
		return nil, err
	}
	var got, want bytes.Buffer
	if json.Compact(&got, b) != nil || json.Compact(&want, again) != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
		return nil, errors.New("not as this program writes it: look for unknown or repeated fields, fields in another order, or text at the end")
	}
	return tokens, nil
}

func marshal(tokens []Token) ([]byte, error) {
	doc := document{Format: format, Tokens: make([]row, 0, len(tokens))}
	for _, t := range tokens {
		r := row{
			ID: t.ID, Name: t.Name, Certificate: t.Cert, Created: entry.TimeOf(t.Created).String(),
			Kinds: append([]entry.Kind{}, t.Kinds...), Seen: append([]entry.Seen{}, t.Seen...), // [], not null
		}
		if t.Cert == "" {
			r.SHA256 = hex.EncodeToString(t.Hash[:])
		}
		if !t.Revoked.IsZero() {
			r.Revoked = entry.TimeOf(t.Revoked).String()
		}
		doc.Tokens = append(doc.Tokens, r)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(doc)
	return b.Bytes(), err
}

func (r row) token() (t Token, err error) {
	t = Token{ID: r.ID, Name: r.Name, Cert: r.Certificate, Kinds: r.Kinds, Seen: r.Seen}
	if !isID(r.ID) {
		return t, fmt.Errorf("its id is not %d characters of a-z2-7", idLength)
	}
	if err := checkName(r.Name); err != nil {
		return t, err
	}
	if (r.SHA256 == "") == (r.Certificate == "") {
		return t, errors.New("expected either a sha256 or a certificate")
	}
	digest, err := entry.ParseDigest(r.SHA256 + r.Certificate)
	if err != nil {
		return t, errors.New("its sha256 or certificate is not 64 lowercase hex digits")
	}
	if r.Certificate == "" {
		t.Hash = digest
	}
	if err := checkScope(r.Kinds, r.Seen); err != nil {
		return t, err
	}
	if t.Created, err = parseTime(r.Created); err != nil {
		return t, fmt.Errorf("created: %w", err)
	}
	if r.Revoked != "" {
		if t.Revoked, err = parseTime(r.Revoked); err != nil {
			return t, fmt.Errorf("revoked: %w", err)
		}
	}
	return t, nil
}

func parseTime(s string) (time.Time, error) {
	t, err := entry.ParseTime(s)
	if err != nil {
		return time.Time{}, errors.New("expected a time like 2026-11-22T10:00:00Z")
	}
	return t.Time(), nil
}

func checkName(s string) error {
	if s == "" || len(s) > maxName || !utf8.ValidString(s) || strings.TrimSpace(s) != s ||
		strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("its name has to be 1 to %d bytes of printable UTF-8 without spaces at its ends", maxName)
	}
	return nil
}

// checkScope takes sorted slices without repetition.
func checkScope(kinds []entry.Kind, seen []entry.Seen) error {
	needsSeen := false
	for i, k := range kinds {
		if k != entry.Upload && k != entry.Index && k != entry.Delete {
			return errors.New("a kind is none of upload, index, delete")
		}
		if i > 0 && kinds[i-1] >= k {
			return errors.New("its kinds are not sorted, or repeated")
		}
		needsSeen = needsSeen || k != entry.Index
	}
	for i, s := range seen {
		if !s.Known() {
			return errors.New("a seen is none of upload, follow, backfill")
		}
		if i > 0 && seen[i-1] >= s {
			return errors.New("its values of seen are not sorted, or repeated")
		}
	}
	if len(kinds) == 0 {
		return errors.New("it has no kind: expected one or more of upload, index, delete")
	}
	if needsSeen && len(seen) == 0 {
		return errors.New("uploads and deletes need a seen: expected one or more of upload, follow, backfill")
	}
	return nil
}

// distinct demands that what is presented selects one token at most. A key that was
// revoked stays so: who sends its renewed certificate must not get it back unnoticed.
func distinct(tokens []Token) error {
	ids, secrets, keys := map[string]bool{}, map[[32]byte]bool{}, map[string]Token{}
	for _, t := range tokens {
		if ids[t.ID] {
			return fmt.Errorf("two tokens with id %s", t.ID)
		}
		ids[t.ID] = true
		if t.Cert == "" {
			if secrets[t.Hash] {
				return fmt.Errorf("token %s: its sha256 is another token's too", t.ID)
			}
			secrets[t.Hash] = true
			continue
		}
		if old, ok := keys[t.Cert]; ok {
			if !old.Revoked.IsZero() {
				return fmt.Errorf("the certificate's key is that of token %s, revoked at %s: a new certificate needs a new key", old.ID, entry.TimeOf(old.Revoked))
			}
			return fmt.Errorf("the certificate's key is that of token %s already: revoke that one and take a new key, or keep it", old.ID)
		}
		keys[t.Cert] = t
	}
	return nil
}

func sorted[S ~[]E, E ~string](s S) S {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}
