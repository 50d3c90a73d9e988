package mirror

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
)

// A Release is a version of a module, and the archive that has it.
type Release struct {
	Version string
	Path    string // authors/id/...
	Dev     bool   // a trial release, which only those get who ask for such ones
}

// A History is a place that knows which versions of a module there were. It is asked only about modules that the
// verified index lists, whose line there is now. What it says is no more than a path to
// look at: the archive is verified like any other. But it chooses which of all logged archives is looked at.
type History interface {
	String() string

	// Releases returns what the place knows, the oldest first. Its errors mean that it could not be
	// asked, or are a client.Misbehaviour.
	Releases(ctx context.Context, q Question) ([]Release, error)
}

// A Question is about a module that the verified index lists.
type Question struct {
	Module  string
	Now     Release         // what the index lists
	Authors func() []string // the PAUSE ids that may release it
}

const (
	historyTime = 20 * time.Second // less than the 30 that clients wait
	maxHistory  = 1 << 20          // bytes of an answer
	maxReleases = 5000
)

// validRelease reports whether a release can be offered: a version that clients can read, and an archive's path.
func validRelease(r Release) bool {
	_, ok := parseVersion(r.Version)
	if ok {
		ok, _ = entry.IsUpload(r.Path)
	}
	return ok
}

// A metadataServer answers like cpanmetadb: /v1.0/history/MODULE, with lines of module, version and path.
type metadataServer struct {
	base   *url.URL
	agent  string
	client *http.Client
}

// OpenMetadata returns the server at an https:// URL, or an http:// one on this machine: nothing signs what it
// says, so nobody may be able to change it on its way.
func OpenMetadata(where, userAgent string) (History, error) {
	u, err := url.Parse(where)
	if err != nil {
		return nil, err
	}
	if !secure(u) || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("expected a URL like https://cpanmetadb.plackperl.org, found %.200q", where)
	}
	return &metadataServer{u, userAgent, &http.Client{Transport: transport(), CheckRedirect: stayingSecure, Timeout: historyTime}}, nil
}

// stayingSecure follows redirects as checkRedirect does, but not out of TLS.
func stayingSecure(r *http.Request, via []*http.Request) error {
	if !secure(r.URL) {
		return fmt.Errorf("a redirect to %s without TLS", r.URL.Host)
	}
	return checkRedirect(r, via)
}

func secure(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && loopbackHost(u.Hostname())
}

func (s *metadataServer) String() string { return s.base.Redacted() }

func (s *metadataServer) Releases(ctx context.Context, q Question) ([]Release, error) {
	u := s.base.JoinPath("v1.0/history", q.Module)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", s.agent)
	answer, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, nil
	default:
		return nil, fmt.Errorf("%s answered %.60q", s, answer.Status)
	}
	return parseHistory(answer.Body, q.Module)
}

// parseHistory reads lines of module, version and path below authors/id. Lines of anything else are passed over.
func parseHistory(in io.Reader, module string) (out []Release, err error) {
	limited := &io.LimitedReader{R: in, N: maxHistory + 1}
	lines := bufio.NewScanner(limited)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) != 3 || words[0] != module {
			continue
		}
		if r := (Release{Version: words[1], Path: "authors/id/" + words[2]}); validRelease(r) {
			out = append(out, r)
		}
		if len(out) > maxReleases {
			return nil, fmt.Errorf("a history of more than %d releases", maxReleases)
		}
	}
	if limited.N <= 0 {
		return nil, fmt.Errorf("a history of more than %d bytes", maxHistory)
	}
	return out, lines.Err()
}

// A LogHistory takes the uploads of the module's distribution from the log, which so learns its name.
//
// The log holds what anyone uploads under any name, so of these only those count whose author may release the module
// now; and none that is newer than what is in the index, but for trial releases.
type LogHistory struct{ Log *client.Log }

func (h LogHistory) String() string { return "the log" }

// Releases implements History.
func (h LogHistory) Releases(ctx context.Context, q Question) ([]Release, error) {
	now := q.Now
	dist := entry.Distribution(now.Path)
	of, _ := distributionVersion(now.Path)
	listed, known := parseVersion(now.Version)
	if current, ok := parseVersion(of); dist == "" || !ok || !known || current.compare(listed) != 0 {
		return nil, nil // a module with versions of its own: those of its distribution say nothing of it
	}
	ctx, cancel := context.WithTimeout(ctx, historyTime)
	defer cancel()
	var out []Release
	authors := q.Authors()
	voided := map[string]bool{}
	covered, err := h.Log.Lookup(ctx, client.Query{Distribution: dist}, func(f client.Found) error {
		if f.Entry == nil || !slices.Contains(authors, entry.Author(f.Entry.Path)) {
			return nil
		}
		switch f.Entry.Kind {
		case entry.Void:
			voided[f.Entry.Path] = true
		case entry.Upload:
			delete(voided, f.Entry.Path)
			out = append(out, releaseOf(f.Entry.Path))
		}
		if len(out) > maxReleases {
			return fmt.Errorf("%s has more than %d releases", dist, maxReleases)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !covered.Seen.QuorumMet {
		return nil, errors.New("the log's checkpoint has too few witnesses")
	}
	kept := out[:0]
	for _, r := range out {
		if v, ok := parseVersion(r.Version); ok && validRelease(r) && !voided[r.Path] && (r.Dev || v.compare(listed) <= 0) {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

func releaseOf(p string) Release {
	version, dev := distributionVersion(p)
	return Release{Version: version, Path: p, Dev: dev}
}

// distributionVersion returns the version in an archive's name, "" if it has none or is of a kind that clients do
// not unpack, and whether it is a trial release.
func distributionVersion(p string) (version string, dev bool) {
	name := path.Base(p)
	for _, ext := range []string{".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".zip"} {
		stem, ok := strings.CutSuffix(name, ext)
		if !ok {
			continue
		}
		version, ok := strings.CutPrefix(stem, entry.Distribution(p)+"-")
		if !ok {
			return "", false
		}
		version, trial := strings.CutSuffix(version, "-TRIAL")
		return version, trial || strings.Contains(version, "_")
	}
	return "", false
}
