package recent

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	getTime      = 10 * time.Minute // for one file: a Z file over a slow line
	maxRedirects = 3

	// Bodies up to this size are kept, for the server to say that they are unchanged. These are the files
	// that are polled; the longer ones are hardly ever read twice.
	maxKept      = 1 << 20
	maxKeptFiles = 64

	// A file that was written again within the second of its Last-Modified may go by the same name as
	// the first writing. It is believed to be settled when the server's own clock is this much later.
	settled = 2 * time.Second
)

// An HTTPSource is a tree below a URL.
type HTTPSource struct {
	base   *url.URL
	agent  string
	client *http.Client

	mu   sync.Mutex
	kept map[string]version
}

// A version is the content of a file and what the server calls it.
type version struct {
	tag, modified string
	body          []byte
}

var _ Source = (*HTTPSource)(nil)

// OpenHTTP returns the source below an http:// or https:// URL; userAgent says who asks. Nothing goes over
// the network yet.
func OpenHTTP(base, userAgent string) (*HTTPSource, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("a CPAN tree: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, fmt.Errorf("a CPAN tree: expected a URL like https://www.cpan.org, found %.200q", base)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("a CPAN tree: %.200q has a user, a query or a fragment", u.Redacted())
	}
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        2 * time.Minute, // a poll each minute stays on one connection
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // Open asks for what it wants itself
	}
	client := &http.Client{Transport: t, CheckRedirect: sameHost}
	return &HTTPSource{base: u, agent: userAgent, client: client, kept: map[string]version{}}, nil
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

// Open implements Source. A server that says that a small file is unchanged is answered for from
// memory.
func (s *HTTPSource) Open(ctx context.Context, path string) (_ io.ReadCloser, err error) {
	if !fs.ValidPath(path) {
		return nil, &fs.PathError{Op: "get", Path: path, Err: fs.ErrInvalid}
	}
	ctx, cancel := context.WithTimeout(ctx, getTime)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base.JoinPath((&url.URL{Path: path}).EscapedPath()).String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept-Encoding", "identity")
	if s.agent != "" {
		r.Header.Set("User-Agent", s.agent)
	}
	s.mu.Lock()
	last, conditional := s.kept[path]
	s.mu.Unlock()
	if last.tag != "" {
		r.Header.Set("If-None-Match", last.tag)
	}
	if last.modified != "" {
		r.Header.Set("If-Modified-Since", last.modified)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			answer.Body.Close()
		}
	}()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusNotModified:
		if !conditional {
			return nil, fmt.Errorf("%s: the server answered %.60q, which was not asked", r.URL, answer.Status)
		}
		answer.Body.Close()
		cancel()
		return io.NopCloser(bytes.NewReader(last.body)), nil
	case http.StatusNotFound, http.StatusGone:
		return nil, fmt.Errorf("%s: %w", r.URL, fs.ErrNotExist)
	default:
		return nil, fmt.Errorf("%s: the server answered %.60q", r.URL, answer.Status)
	}
	body, err := checkedBody(answer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.URL, err)
	}
	return &transfer{Reader: body, source: s, path: path, version: names(answer), close: func() error {
		defer cancel()
		return answer.Body.Close()
	}}, nil
}

// checkedBody returns the file in a body, unless the answer shows already that it is not the
// whole file.
func checkedBody(answer *http.Response) (io.Reader, error) {
	// Servers that have a page for all that they do not have say 200.
	if kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err == nil && kind == "text/html" {
		return nil, fmt.Errorf("a web page, and not the file: %w", fs.ErrNotExist)
	}
	if answer.ContentLength < 0 && len(answer.TransferEncoding) == 0 && answer.ProtoMajor == 1 {
		return nil, errors.New("it is sent without its length: the end of the connection may not be that of the file")
	}
	if answer.ContentLength > MaxFile {
		return nil, fmt.Errorf("it has %d bytes, expected at most %d", answer.ContentLength, MaxFile)
	}
	switch encoding := answer.Header.Get("Content-Encoding"); {
	case encoding == "" || strings.EqualFold(encoding, "identity"):
		return answer.Body, nil
	case strings.EqualFold(encoding, "gzip"): // without being asked; what is read is limited after it
		return gzip.NewReader(answer.Body)
	default:
		return nil, fmt.Errorf("it is sent in an encoding that was not asked for, %.20q", encoding)
	}
}

// names returns what the server calls this version, if it calls no other one the same (RFC 9110,
// 8.8.2.2).
func names(answer *http.Response) version {
	v := version{tag: answer.Header.Get("ETag"), modified: answer.Header.Get("Last-Modified")}
	if v.modified == "" {
		return v
	}
	modified, err := http.ParseTime(v.modified)
	now, errNow := http.ParseTime(answer.Header.Get("Date"))
	if err != nil || errNow != nil || now.Sub(modified) < settled {
		// Many servers make the tag of time and size: it is not better.
		return version{}
	}
	return v
}

// A transfer is a body that is kept when it was read to its end.
type transfer struct {
	io.Reader
	version
	source *HTTPSource
	path   string
	large  bool
	close  func() error
}

func (t *transfer) Read(b []byte) (int, error) {
	n, err := t.Reader.Read(b)
	if len(t.body)+n > maxKept {
		t.large, t.body = true, nil
	} else if !t.large {
		t.body = append(t.body, b[:n]...)
	}
	if err == io.EOF {
		t.source.keep(t.path, t.version, !t.large && (t.tag != "" || t.modified != ""))
	}
	return n, err
}

func (t *transfer) Close() error { return t.close() }

func (s *HTTPSource) keep(path string, v version, worth bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, path)
	if worth && len(s.kept) < maxKeptFiles {
		s.kept[path] = v
	}
}
