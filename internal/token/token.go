// Package token says who may submit what to a log.
//
// Reading a log needs no account; writing needs a token: a bearer secret, or a client
// certificate that the TLS handshake has proved. A file in the log's data folder holds the
// tokens, of a bearer secret only its SHA-256. Commands change the file with [Create],
// [CreateForCertificate] and [Revoke] while the server runs; the server's [Set] looks at the
// file on every call, so that a revocation counts from the next call on.
//
// A bearer secret has 256 random bits, so that a plain SHA-256 keeps it: there is nothing to
// guess, and no reason for a slow hash on every submission.
package token

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pauselog/pauselog/log/entry"
)

var (
	// ErrUnknown says that no token in force belongs to what was presented, or that
	// no token has the given id.
	ErrUnknown = errors.New("unknown token")

	// ErrForbidden says that a token does not allow a submission.
	ErrForbidden = errors.New("forbidden")

	// ErrUnavailable says that the file of tokens cannot be relied on, for which
	// reason everyone is refused. The rest of the error is for the operator: it names the file.
	ErrUnavailable = errors.New("tokens are unavailable")
)

// A Token is the leave to submit some kinds of entries. It never holds a secret.
type Token struct {
	ID      string       // 10 characters; not secret, fit for logs
	Name    string       // what the operator calls it
	Hash    [32]byte     // SHA-256 of the bearer secret; zero if Cert is set
	Cert    string       // hex SHA-256 of a certificate's SubjectPublicKeyInfo; or ""
	Kinds   []entry.Kind // of upload, index, delete; sorted
	Seen    []entry.Seen // what an upload or delete may say; sorted
	Created time.Time
	Revoked time.Time // zero: in force
}

// Allows returns nil if t covers an entry of this kind and seen, which is "" for an index.
// Otherwise the error wraps ErrForbidden and says what t covers.
func (t Token) Allows(kind entry.Kind, seen entry.Seen) error {
	if !t.Revoked.IsZero() {
		return fmt.Errorf("%w: token %s (%s) was revoked at %s", ErrForbidden, t.ID, t.Name, entry.TimeOf(t.Revoked))
	}
	if slices.Contains(t.Kinds, kind) && (slices.Contains(t.Seen, seen) || (kind == entry.Index && seen == "")) {
		return nil
	}
	// kind and seen come from the caller and may be anything.
	asked := fmt.Sprintf("kind %.20q", kind)
	if seen != "" {
		asked += fmt.Sprintf(" with seen %.20q", seen)
	}
	return fmt.Errorf("%w: token %s (%s) may submit %s; this is %s: submit with another token, or ask the log's operator for one",
		ErrForbidden, t.ID, t.Name, t.scope(), asked)
}

// scope says in words what t covers.
func (t Token) scope() string {
	s := "kind " + list(t.Kinds)
	if len(t.Kinds) == 0 {
		s = "nothing"
	}
	if len(t.Seen) > 0 {
		s += " with seen " + list(t.Seen)
	}
	return s
}

func list[S ~string](words []S) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i > 0 && i == len(words)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}

// clone keeps callers from changing each other's tokens.
func (t Token) clone() Token {
	t.Kinds, t.Seen = slices.Clone(t.Kinds), slices.Clone(t.Seen)
	return t
}

const (
	maxName  = 60 // bytes; too few for a secret that was pasted in the wrong place
	idLength = 10
	idDigits = "abcdefghijklmnopqrstuvwxyz234567"

	secretPrefix = "pauselog_" // lets secret scanners find what leaked
	secretBytes  = 32
	secretLength = len(secretPrefix) + idLength + len("_") + 43 // base64url of secretBytes
)

// The last character of 43 has two bits to spare; Strict leaves one form of a secret.
var encoding = base64.RawURLEncoding.Strict()

func formatSecret(id string, random [secretBytes]byte) string {
	return secretPrefix + id + "_" + encoding.EncodeToString(random[:])
}

// parseSecret returns the id that a presented secret names, and the secret's hash.
func parseSecret(s string) (id string, hash [32]byte, ok bool) {
	// The length comes first: whoever presents a megabyte costs one comparison.
	if len(s) != secretLength {
		return "", hash, false
	}
	rest, hasPrefix := strings.CutPrefix(s, secretPrefix)
	if !hasPrefix || !isID(rest[:idLength]) || rest[idLength] != '_' {
		return "", hash, false
	}
	// Decoding skips line feeds, which the decoded length then shows.
	if random, err := encoding.DecodeString(rest[idLength+1:]); err != nil || len(random) != secretBytes {
		return "", hash, false
	}
	return rest[:idLength], sha256.Sum256([]byte(s)), true
}

func isID(s string) bool {
	return len(s) == idLength && strings.Trim(s, idDigits) == ""
}

// keyOf is what stands for a certificate: its public key, so that a certificate that was
// renewed for the same key remains the same submitter.
func keyOf(cert *x509.Certificate) (string, bool) {
	if cert == nil || len(cert.RawSubjectPublicKeyInfo) == 0 {
		return "", false
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:]), true
}
