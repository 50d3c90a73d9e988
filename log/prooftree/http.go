package prooftree

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	getTime      = time.Minute // for one file
	maxRedirects = 3
)

// An HTTPSource is a tree below a URL.
type HTTPSource struct {
	base   *url.URL
	agent  string
	client *http.Client
}

var _ Source = (*HTTPSource)(nil)

// OpenHTTP returns the source below an http:// or https:// URL; userAgent says who asks, as
// C2SP tlog-tiles wants it. Nothing goes over the network yet.
func OpenHTTP(base, userAgent string) (*HTTPSource, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("a proof tree: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, fmt.Errorf("a proof tree: expected a URL like https://mirror.example/CPAN/modules/tlog, found %.200q", base)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("a proof tree: %.200q has a user, a query or a fragment", base)
	}
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // Get asks for what it wants itself
	}
	return &HTTPSource{u, userAgent, &http.Client{Transport: t, CheckRedirect: sameHost}}, nil
}

// TrustRoots makes the source trust these authorities for https:// in place of the system's. It is for before the first Get.
func (s *HTTPSource) TrustRoots(roots *x509.CertPool) {
	s.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// sameHost allows what a mirror needs, another spelling of a path or TLS, and does not lead a
// reader to hosts that the user has not named.
func sameHost(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case !strings.EqualFold(r.URL.Hostname(), first.Hostname()):
		return fmt.Errorf("a redirect to another host, %s", r.URL.Hostname())
	case r.URL.Scheme != "https" && r.URL.Scheme != via[len(via)-1].URL.Scheme:
		return fmt.Errorf("a redirect from %s to %s", via[len(via)-1].URL.Scheme, r.URL.Scheme)
	}
	return nil
}

// Close ends connections that are kept.
func (s *HTTPSource) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// String returns the URL.
func (s *HTTPSource) String() string { return s.base.String() }

// Get implements Source.
func (s *HTTPSource) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "get", Path: name, Err: fs.ErrInvalid}
	}
	ctx, cancel := context.WithTimeout(ctx, getTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base.JoinPath(name).String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept-Encoding", "identity")
	if s.agent != "" {
		r.Header.Set("User-Agent", s.agent)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return nil, fmt.Errorf("%s: %w", r.URL, fs.ErrNotExist)
	default:
		return nil, fmt.Errorf("%s: the server answered %.60q", r.URL, answer.Status)
	}
	if answer.ContentLength > limit && answer.Header.Get("Content-Encoding") == "" {
		return nil, tooLarge(r.URL.String(), limit)
	}
	body, err := decoded(answer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.URL, err)
	}
	size := answer.ContentLength
	if body != io.Reader(answer.Body) {
		size = -1 // of what it was before it was compressed, nothing is known
	}
	return readLimited(body, r.URL.String(), size, limit)
}

// decoded undoes gzip, which a server may send without being asked (C2SP tlog-tiles). What is
// read is limited after that.
func decoded(answer *http.Response) (io.Reader, error) {
	switch encoding := answer.Header.Get("Content-Encoding"); {
	case encoding == "" || strings.EqualFold(encoding, "identity"):
		return answer.Body, nil
	case strings.EqualFold(encoding, "gzip"):
		return gzip.NewReader(answer.Body)
	}
	return nil, errors.New("it is sent in an encoding that was not asked for")
}
