package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pauselog/pauselog/internal/artifact"
	"github.com/pauselog/pauselog/log/entry"
)

const (
	maxRemote    = 1 << 30          // bytes of a file
	remoteTime   = 30 * time.Minute // for one file
	maxRedirects = 5
)

// A Remote is a CPAN tree on a web server: a mirror that is followed without a copy of it. What it serves is believed at first
// sight, as that of any mirror; other bytes later become a conflict in the log.
type Remote struct {
	base   *url.URL
	agent  string
	client *http.Client
}

// OpenRemote prepares to read from a mirror at an http:// or https:// URL. Nothing goes over the network yet.
func OpenRemote(base, userAgent string) (*Remote, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("expected a URL like https://www.cpan.org, found %.200q", base)
	}
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		// Otherwise a tarball that comes with Content-Encoding: gzip would be inflated silently.
		DisableCompression: true,
	}
	redirect := func(r *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		return nil
	}
	return &Remote{u, userAgent, &http.Client{Transport: t, CheckRedirect: redirect}}, nil
}

// Read hashes a file. The error wraps fs.ErrNotExist if the mirror does not have it; any other says nothing of the file.
func (m *Remote) Read(ctx context.Context, path string) (artifact.File, error) {
	ctx, cancel := context.WithTimeout(ctx, remoteTime)
	defer cancel()
	// JoinPath takes a path as it stands in a URL.
	u := m.base.JoinPath((&url.URL{Path: path}).EscapedPath())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return artifact.File{}, err
	}
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("User-Agent", m.agent)
	answer, err := m.client.Do(r)
	if err != nil {
		return artifact.File{}, err
	}
	defer answer.Body.Close()
	encoding, kind := answer.Header.Get("Content-Encoding"), answer.Header.Get("Content-Type")
	switch {
	case answer.StatusCode == http.StatusNotFound, answer.StatusCode == http.StatusGone:
		return artifact.File{}, fmt.Errorf("%s: %w", u.Redacted(), fs.ErrNotExist)
	case answer.StatusCode != http.StatusOK:
		return artifact.File{}, fmt.Errorf("%s answered %.60q", u.Redacted(), answer.Status)
	case encoding != "" && !strings.EqualFold(encoding, "identity"):
		return artifact.File{}, fmt.Errorf("%s came with Content-Encoding %.20q, which was not asked for: whose bytes these are is not known", u.Redacted(), encoding)
	case strings.HasPrefix(kind, "text/html"):
		return artifact.File{}, fmt.Errorf("%s came as a web page", u.Redacted())
	case answer.ContentLength < 0 && len(answer.TransferEncoding) == 0 && answer.ProtoMajor < 2:
		return artifact.File{}, fmt.Errorf("%s: the server does not say where the file ends", u.Redacted())
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(answer.Body, maxRemote+1))
	switch {
	case err != nil:
		return artifact.File{}, fmt.Errorf("%s: cut short after %d bytes: %w", u.Redacted(), n, err)
	case n > maxRemote:
		return artifact.File{}, errors.New(u.Redacted() + " is too large")
	}
	f := artifact.File{SHA256: entry.Digest(h.Sum(nil)), Size: uint64(n)}
	if at, err := http.ParseTime(answer.Header.Get("Last-Modified")); err == nil {
		f.ModTime = at
	}
	return f, nil
}
