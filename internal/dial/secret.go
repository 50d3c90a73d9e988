package dial

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const maxSecret = 4096

var errNoSecret = errors.New("expected a token, of printable characters without spaces, as 'pauselogd token create' prints it")

// readSecret reads a token. That others can read it too is worth a word and no refusal: in
// containers, secrets come as files of any mode.
func readSecret(name string, warn func(string)) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("the token: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("the token: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o004 != 0 && info.Mode().IsRegular() && warn != nil {
		warn(fmt.Sprintf("the token in %s can be read by everyone on this machine (mode %04o): run 'chmod 600 %s'", name, mode, name))
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("the token: %w", err)
	}
	secret := strings.TrimRight(string(b), "\r\n")
	if secret == "" || len(b) > maxSecret || strings.ContainsFunc(secret, func(r rune) bool { return r <= 0x20 || r >= 0x7f }) {
		return "", fmt.Errorf("the token file %s: %w", name, errNoSecret)
	}
	return secret, nil
}

// ReadAuthorities adds the certificates of a PEM file to a pool: who may vouch for a server.
func ReadAuthorities(name string, to *x509.CertPool) error {
	pem, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("the certificate authorities: %w", err)
	}
	if !to.AppendCertsFromPEM(pem) {
		return fmt.Errorf("the certificate authorities: expected PEM certificates in %s, found none", name)
	}
	return nil
}

// tlsConfig returns nil for a connection without TLS, for which certificates make no sense.
func tlsConfig(o Options, secure bool) (*tls.Config, error) {
	if !secure {
		if o.CAFile != "" || o.CertFile != "" || o.KeyFile != "" {
			return nil, errors.New("certificates are given for a connection without TLS: use a URL that begins with https:// or grpcs://")
		}
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		c.RootCAs = x509.NewCertPool()
		if err := ReadAuthorities(o.CAFile, c.RootCAs); err != nil {
			return nil, err
		}
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return nil, errors.New("a client certificate and its key are needed together")
	}
	if o.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("the client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}
