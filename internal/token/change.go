package token

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pauselog/pauselog/log/entry"
)

// Create adds a token with a new bearer secret to a file, which it makes if need be. The
// secret is returned once and kept nowhere. Repeated kinds and values of seen count once;
// a token for nothing but index entries needs no seen.
func Create(file, name string, kinds []entry.Kind, seen []entry.Seen, now time.Time) (secret string, t Token, err error) {
	var random [secretBytes]byte
	rand.Read(random[:]) // never fails: it ends the program instead
	t, err = add(file, Token{Name: name, Kinds: kinds, Seen: seen}, now, func(t *Token) {
		secret = formatSecret(t.ID, random)
		t.Hash = sha256.Sum256([]byte(secret))
	})
	if err != nil {
		return "", Token{}, err
	}
	return secret, t, nil
}

// CreateForCertificate adds a token that is a client certificate: the handshake proves who
// holds it, and there is no secret to hand over. What counts is the certificate's public
// key, until it is revoked: issuer, names and validity are for the TLS server to judge. A key
// can have one token, ever.
func CreateForCertificate(file, name string, cert *x509.Certificate, kinds []entry.Kind, seen []entry.Seen, now time.Time) (Token, error) {
	key, ok := keyOf(cert)
	if !ok {
		return Token{}, errors.New("a token for a certificate: expected a parsed certificate, found none")
	}
	return add(file, Token{Name: name, Cert: key, Kinds: kinds, Seen: seen}, now, func(*Token) {})
}

// Revoke ends a token: from the server's next look at the file on, it is unknown. The token
// stays listed. Revoking it again changes nothing. An id that the file does
// not have is an error that wraps ErrUnknown.
func Revoke(file, id string, now time.Time) error {
	return change(file, func(tokens []Token) ([]Token, error) {
		i := slices.IndexFunc(tokens, func(t Token) bool { return t.ID == id })
		if i < 0 {
			// Not quoted: somebody may have pasted a whole secret.
			return nil, fmt.Errorf("%w: no token of %s has this id: expected one of those that are listed", ErrUnknown, file)
		}
		if tokens[i].Revoked.IsZero() {
			tokens[i].Revoked = entry.TimeOf(now).Time()
		}
		return tokens, nil
	})
}

// add gives t an id and a date, lets finish complete it, and appends it to the file.
func add(file string, t Token, now time.Time, finish func(*Token)) (Token, error) {
	t.Kinds, t.Seen = sorted(t.Kinds), sorted(t.Seen)
	t.Created = entry.TimeOf(now).Time()
	// parse would find this too, but speaks of rows of a file.
	if err := cmp.Or(checkName(t.Name), checkScope(t.Kinds, t.Seen)); err != nil {
		return t, fmt.Errorf("a new token: %w", err)
	}
	err := change(file, func(tokens []Token) ([]Token, error) {
		if len(tokens) >= MaxTokens {
			return nil, fmt.Errorf("%s holds %d tokens, which is the most: take tokens that were revoked long ago out of it by hand", file, len(tokens))
		}
		for t.ID == "" || slices.ContainsFunc(tokens, func(u Token) bool { return u.ID == t.ID }) {
			t.ID = strings.ToLower(rand.Text()[:idLength])
		}
		finish(&t)
		return append(tokens, t), nil
	})
	return t, err
}

// change replaces a file's tokens by what edit makes of them. Changes by several processes
// happen one after the other; readers see the old file or the new one, and need no lock.
//
// A crash
//
//   - before the rename leaves the old file, and perhaps FILE.new, which nobody
//     reads and the next change removes;
//   - after it, if the machine went down with the program, leaves the old file or the new one,
//     both whole. The command has then not reported success: its secret was not shown, so
//     that a token may be listed that nobody can use; or its revocation is to be repeated.
//
// After an error in syncing the folder the same is unknown, and the error says so.
func change(file string, edit func([]Token) ([]Token, error)) (err error) {
	// The lock is the folder's: a lock file would be one more thing to own, to back up and to
	// delete by mistake. Nothing else of a log locks its folder.
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return fmt.Errorf("the folder of the tokens: %w", err)
	}
	defer dir.Close() // and unlock
	if err := lock(dir); err != nil {
		return &fs.PathError{Op: "lock", Path: dir.Name(), Err: err}
	}

	tokens, err := List(file)
	if err != nil {
		return fmt.Errorf("%w: the file is left as it is", err)
	}
	if tokens, err = edit(tokens); err != nil {
		return err
	}
	b, err := marshal(tokens)
	if err != nil {
		return err
	}
	// The server's parser judges every value, so that there is one place for the rules and
	// no command can write what the server would refuse, which would lock out everyone.
	if _, err := parse(b); err != nil {
		return fmt.Errorf("the tokens of %s cannot be changed so: %w", file, err)
	}

	// One name, as the lock allows one writer; what a crash left under it goes.
	next := file + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeNew(next, b, dir); err != nil {
		os.Remove(next)
		return err
	}
	// The bytes are on disk before the name points to them.
	if err := os.Rename(next, file); err != nil {
		os.Remove(next)
		return err
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("%s was replaced, but after a power failure it may be the old one: list its tokens before going on: %w", file, err)
	}
	return nil
}

func lock(f *os.File) error {
	for {
		// A signal, of which the Go runtime sends many, may interrupt the wait.
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			return err
		}
	}
}

func writeNew(name string, b []byte, dir *os.File) error {
	// O_EXCL also means not to follow a link that somebody planted.
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && os.Geteuid() == 0 {
		// Root runs the command, the server is another user: a file of root's
		// would be one that the server cannot read.
		var st unix.Stat_t
		if err = unix.Fstat(int(dir.Fd()), &st); err == nil {
			err = f.Chown(int(st.Uid), int(st.Gid))
		}
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
