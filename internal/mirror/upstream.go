package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

var (
	// errMissing says that an upstream has no such file.
	errMissing = errors.New("not found")

	// errUnusable says that an upstream did not send a whole file. That says nothing of the file.
	errUnusable = errors.New("no whole file")
)

const (
	maxRedirects = 5
	stallTime    = time.Minute      // without a byte
	fetchTime    = 30 * time.Minute // for one file: perl itself over a slow line
)

// An Upstream has the files of a CPAN mirror. It is not trusted.
type Upstream interface {
	// String names it for people.
	String() string

	// open returns a file's bytes; the path has been classified. Its errors wrap errMissing or
	// errUnusable, or are those of an ended context.
	open(ctx context.Context, path string) (*incoming, error)
}

// An incoming file is one that is not read yet.
type incoming struct {
	body   io.ReadCloser
	length int64 // -1: not known
	// whole says that the end of the body is the end of the file: an end that is only that of the
	// connection may have come too early.
	whole bool
	// altered says that the bytes are said to be an encoding of the file's, or a page. Many mirrors say so
	// of a .gz and send the file itself; it counts only where nothing better says what the bytes are.
	altered string
}

// OpenUpstream returns the mirror at an http:// or https:// URL or in a folder.
func OpenUpstream(where, userAgent string) (Upstream, error) {
	if !strings.Contains(where, "://") {
		root, err := os.OpenRoot(where)
		if err != nil {
			return nil, fmt.Errorf("the upstream: %w", err)
		}
		return &folder{where, root}, nil
	}
	u, err := url.Parse(where)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the upstream: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the upstream: expected a folder or a URL like https://www.cpan.org, found %.200q", where)
	}
	return &site{u, userAgent, &http.Client{Transport: transport(), CheckRedirect: checkRedirect}}, nil
}

// transport returns one for hosts that are not trusted.
func transport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		// Otherwise a tarball that comes with Content-Encoding: gzip would be inflated silently.
		DisableCompression: true,
	}
}

func checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if r.URL.Scheme != "http" && r.URL.Scheme != "https" {
		return fmt.Errorf("a redirect to %s", r.URL.Scheme)
	}
	return nil
}

// A site is an upstream by HTTP.
type site struct {
	base   *url.URL
	agent  string
	client *http.Client
}

func (s *site) String() string { return s.base.Redacted() }

func (s *site) open(ctx context.Context, path string) (*incoming, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	// JoinPath takes a path as it stands in a URL, and this one is what such a path means.
	u := s.base.JoinPath((&url.URL{Path: path}).EscapedPath())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("User-Agent", s.agent)
	answer, err := s.client.Do(r)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		answer.Body.Close()
		cancel()
		return nil, fmt.Errorf("%s: %w", u.Redacted(), errMissing)
	default:
		answer.Body.Close()
		cancel()
		return nil, fmt.Errorf("%w: %s answered %.60q", errUnusable, u.Redacted(), answer.Status)
	}
	in := &incoming{body: watch(answer.Body, cancel), length: answer.ContentLength}
	in.whole = answer.ContentLength >= 0 || len(answer.TransferEncoding) > 0 || answer.ProtoMajor > 1
	if encoding := answer.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		in.altered = fmt.Sprintf("it came with Content-Encoding %.20q, which was not asked for", encoding)
	}
	if kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err == nil && kind == "text/html" && !strings.Contains(strings.ToLower(path), ".html") {
		in.altered = "it came as text/html: a page, and not the file"
	}
	return in, nil
}

// watch ends a transfer in which nothing moves any more.
func watch(body io.ReadCloser, cancel context.CancelFunc) io.ReadCloser {
	return &watched{body, cancel, time.AfterFunc(stallTime, cancel)}
}

type watched struct {
	io.ReadCloser
	cancel context.CancelFunc
	timer  *time.Timer
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	if n > 0 {
		w.timer.Reset(stallTime)
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	w.cancel()
	return w.ReadCloser.Close()
}

// A folder is an upstream on disk. Nothing outside of it is read, wherever its links lead.
type folder struct {
	path string
	root *os.Root
}

func (f *folder) String() string { return f.path }

func (f *folder) open(_ context.Context, path string) (*incoming, error) {
	// Without O_NONBLOCK, a FIFO that somebody put there would hold the reader for ever.
	file, err := f.root.OpenFile(filepath.FromSlash(path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("%s in %s: %w", path, f.path, errMissing)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s in %s is no regular file", path, f.path)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	return &incoming{body: file, length: info.Size(), whole: true}, nil
}

// A fetched file is one that came whole, or that is larger than it may be.
type fetched struct {
	*temporary
	whole   bool
	altered string
	over    bool // there is more than the limit, and the rest was not read
}

// fetch reads a file from one upstream into the cache's folder, of at most limit bytes.
func (m *Mirror) fetch(ctx context.Context, u Upstream, path string, limit uint64) (*fetched, error) {
	in, err := u.open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer in.body.Close()
	t, err := m.cache.create()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCache, err)
	}
	f := &fetched{temporary: t, whole: in.whole, altered: in.altered}
	if in.length >= 0 && uint64(in.length) > limit {
		f.over = true
		return f, nil
	}
	n, err := io.Copy(t, io.LimitReader(in.body, int64(limit)+1))
	switch {
	case errors.Is(err, errCache):
		f.discard()
		return nil, err
	case err != nil:
		f.discard()
		return nil, fmt.Errorf("%w: %s of %s is cut short after %d bytes: %w", errUnusable, path, u, n, err)
	case uint64(n) > limit:
		f.over = true
	case in.length >= 0 && n != in.length:
		f.discard()
		return nil, fmt.Errorf("%w: %s of %s has %d bytes, %d were announced", errUnusable, path, u, n, in.length)
	}
	if f.altered == "" && isPage(f.head) && !strings.Contains(strings.ToLower(path), ".htm") {
		f.altered = "it is a web page, and not the file"
	}
	return f, nil
}
