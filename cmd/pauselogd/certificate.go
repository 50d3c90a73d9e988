package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/pauselog/pauselog/internal/frontend"
	"github.com/pauselog/pauselog/internal/token"
)

// reloading is a certificate that is read again when its file changes: certificates are
// renewed every few weeks, and a log is to run for years.
type reloading struct {
	cert, key string

	mu      sync.Mutex
	current *tls.Certificate
	changed time.Time
}

func (r *reloading) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(r.cert)
	if err == nil && r.current != nil && info.ModTime().Equal(r.changed) {
		return r.current, nil
	}
	var c tls.Certificate
	if err == nil {
		c, err = tls.LoadX509KeyPair(r.cert, r.key)
	}
	if err != nil {
		if r.current != nil {
			return r.current, nil // half of a renewal; the next handshake looks again
		}
		return nil, err
	}
	r.current, r.changed = &c, info.ModTime()
	return r.current, nil
}

// authenticator lets the tokens of a log be asked by its frontend.
type authenticator struct{ tokens *token.Set }

func (a authenticator) Bearer(secret string) (frontend.Permission, error) {
	t, err := a.tokens.Bearer(secret)
	return t, forClient(err)
}

func (a authenticator) Certificate(c *x509.Certificate) (frontend.Permission, error) {
	t, err := a.tokens.Certificate(c)
	return t, forClient(err)
}

// forClient keeps what is wrong with the token file for the journal, where it is said.
func forClient(err error) error {
	if errors.Is(err, token.ErrUnavailable) {
		return errors.New("tokens cannot be checked at present; try again later")
	}
	return err
}
