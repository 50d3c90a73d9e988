package token

import (
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/pauselog/pauselog/log/entry"
)

// A Set is the server's view of a file of tokens. Its methods may be called concurrently.
//
// Each call asks the file system whether the file is still the one that was read: the same
// inode, size, time and mode. Renaming a new file into its place changes the inode; should
// the inode's number come around again, the size differs, as every command makes the file
// longer. Who edits the file by hand in place has the time's resolution to reckon with,
// some milliseconds, and should rename instead.
//
// When the file is gone, broken or unreadable, nobody is let in: tokens from memory could
// be revoked ones. Once the file is good again, so is the Set.
type Set struct {
	file string
	log  *slog.Logger

	view atomic.Pointer[view]
	mu   sync.Mutex // held to replace view
}

// A view is what one reading of the file gave. It does not change.
type view struct {
	info fs.FileInfo // nil: there was no file to look at
	err  error       // nothing is to be trusted; wraps ErrUnavailable

	byID   map[string]Token // bearer tokens
	byCert map[string]Token
}

// Open reads a file of tokens. A file that does not exist is an empty set, until a command
// makes it; a file that is no good is an error. Failures to read it again later are
// logged, once until it is good again; nil discards them.
func Open(file string, log *slog.Logger) (*Set, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Set{file: file, log: log}
	v := s.load(nil)
	if v.err != nil {
		return nil, v.err
	}
	s.view.Store(v)
	return s, nil
}

// Bearer returns the token of a presented secret. Otherwise the error wraps ErrUnknown or
// ErrUnavailable. A token holds for the call for which it was asked: a long stream asks
// again for each submission.
func (s *Set) Bearer(secret string) (Token, error) {
	v, err := s.current()
	if err != nil {
		return Token{}, err
	}
	id, hash, ok := parseSecret(secret)
	if !ok {
		return Token{}, fmt.Errorf("%w: expected a secret of the form %s<id>_<43 characters>, whole and without spaces", ErrUnknown, secretPrefix)
	}
	// The id is no secret, and neither is whether it exists; the rest takes the same time
	// whatever was presented.
	t, ok := v.byID[id]
	if !ok || subtle.ConstantTimeCompare(t.Hash[:], hash[:]) != 1 {
		return Token{}, fmt.Errorf("%w: the log knows no such secret", ErrUnknown)
	}
	return t.inForce()
}

// Certificate returns the token of a client certificate: the first of
// tls.ConnectionState.PeerCertificates, whose key the handshake proved, and no other. What
// it otherwise returns is as for Bearer.
func (s *Set) Certificate(cert *x509.Certificate) (Token, error) {
	v, err := s.current()
	if err != nil {
		return Token{}, err
	}
	key, ok := keyOf(cert)
	if !ok {
		return Token{}, fmt.Errorf("%w: no client certificate", ErrUnknown)
	}
	t, ok := v.byCert[key]
	if !ok {
		return Token{}, fmt.Errorf("%w: the log knows no certificate whose key has SHA-256 %s", ErrUnknown, key)
	}
	return t.inForce()
}

// inForce tells whoever holds the right secret or key that it was revoked, and nobody else.
func (t Token) inForce() (Token, error) {
	if !t.Revoked.IsZero() {
		return Token{}, fmt.Errorf("%w: token %s (%s) was revoked at %s: ask the log's operator for a new one", ErrUnknown, t.ID, t.Name, entry.TimeOf(t.Revoked))
	}
	return t.clone(), nil
}

// current returns a view that was read from the file as it is since this call began.
func (s *Set) current() (*view, error) {
	v := s.view.Load()
	if info, err := os.Stat(s.file); !v.isOf(info, err) {
		v = s.reload()
	}
	return v, v.err
}

func (s *Set) reload() *view {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.view.Load()
	if info, err := os.Stat(s.file); old.isOf(info, err) {
		return old // another call was faster
	}
	v := s.load(old)
	switch {
	case v.err != nil && old.err == nil:
		s.log.Error("every submission is refused until the file of tokens is good again", "file", s.file, "error", v.err)
	case v.err == nil && old.err != nil:
		s.log.Info("the file of tokens is good again", "file", s.file, "bearer", len(v.byID), "certificates", len(v.byCert))
	case v.err == nil:
		s.log.Info("tokens were read again", "file", s.file, "bearer", len(v.byID), "certificates", len(v.byCert))
	}
	s.view.Store(v)
	return v
}

// load reads the file. old is nil the first time.
func (s *Set) load(old *view) *view {
	tokens, info, err := read(s.file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && old != nil:
		return &view{err: fmt.Errorf("%w: %s was there and is gone: put it back, or restart the log to begin with none", ErrUnavailable, s.file)}
	case errors.Is(err, fs.ErrNotExist):
		return &view{}
	case err != nil:
		return &view{info: info, err: fmt.Errorf("%w: %w", ErrUnavailable, err)}
	}
	v := &view{info: info, byID: map[string]Token{}, byCert: map[string]Token{}}
	for _, t := range tokens {
		if t.Cert != "" {
			v.byCert[t.Cert] = t
		} else {
			v.byID[t.ID] = t
		}
	}
	return v
}

// isOf reports whether v still stands, given what os.Stat returned. A failure to open
// or to read may pass without the file changing, and does not stand.
func (v *view) isOf(info fs.FileInfo, err error) bool {
	if errors.Is(err, fs.ErrNotExist) {
		return v.info == nil
	}
	if err != nil || v.info == nil {
		return false
	}
	return os.SameFile(v.info, info) && v.info.Size() == info.Size() &&
		v.info.Mode() == info.Mode() && v.info.ModTime().Equal(info.ModTime())
}
