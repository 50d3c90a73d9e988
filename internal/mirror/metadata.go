package mirror

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
)

// Clients ask other services than a mirror where a module is: cpanmetadb and MetaCPAN. They are answered from the
// verified index here, and about versions that are not in it any more from the histories:
//
//	/v1.0/package/MODULE                           YAML: distfile, version, provides
//	/v1.0/history/MODULE                           lines: module, version, path; the last is that of the index
//	/v1/download_url/MODULE[?version=RANGE&dev=1]  JSON: download_url, version, status
//
// An answer names a path and no more. Whatever it names is verified when it is asked for.

const packagesPath = "modules/02packages.details.txt.gz"

var moduleName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z0-9_]+)*$`)

const maxModuleName = 255

// packages are the text of the index that is valid now, which is searched for each module.
type packages struct {
	mu     sync.Mutex
	digest entry.Digest
	text   string
}

// packagesText returns the text of the index, each line of which begins with a line end; the object is the decision about
// it, and the text "" if it was refused or is missing. Without an object, this mirror closes.
func (m *Mirror) packagesText(ctx context.Context) (string, *object) {
	for range 2 {
		o, err := m.obtain(ctx, packagesPath, index)
		if err != nil {
			return "", nil
		}
		if o.state == Refused || o.state == Missing {
			return "", o
		}
		m.packages.mu.Lock()
		text, ok := m.packages.text, m.packages.digest == o.digest && m.packages.text != ""
		if !ok {
			if text, err = m.inflate(o); err == nil {
				m.packages.digest, m.packages.text = o.digest, text
			}
		}
		m.packages.mu.Unlock()
		switch {
		case err == nil:
			return text, o
		case !errors.Is(err, errNotCached):
			refused := local(fmt.Errorf("%s: %w", packagesPath, err))
			refused.path, refused.class = packagesPath, index
			return "", refused
		}
		m.forget(o)
	}
	return "", nil
}

// inflate returns an index's text.
func (m *Mirror) inflate(o *object) (string, error) {
	f, err := m.cache.open(o.digest, o.size)
	if err != nil {
		return "", err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if n, err := io.Copy(&b, io.LimitReader(z, maxIndex+1)); err != nil || n > maxIndex {
		return "", fmt.Errorf("more than %d bytes of text, or %w", maxIndex, err)
	}
	// The names of its head end in a colon, which no module's does.
	return "\n" + b.String(), nil
}

// listedIn returns a module's line.
func listedIn(text, module string) (Release, bool) {
	for at := 0; ; {
		i := strings.Index(text[at:], "\n"+module)
		if i < 0 {
			return Release{}, false
		}
		at += i + 1
		line, _, _ := strings.Cut(text[at:], "\n")
		if words := strings.Fields(line); len(words) >= 3 && words[0] == module {
			r := Release{Version: words[1], Path: "authors/id/" + words[2]}
			return r, validRelease(r)
		}
	}
}

// serveMetadata answers a request for where a module is, and reports whether it was one.
func (m *Mirror) serveMetadata(w http.ResponseWriter, r *http.Request) bool {
	for prefix, serve := range map[string]func(http.ResponseWriter, *http.Request, string){
		"v1.0/package/": m.servePackage, "v1.0/history/": m.serveHistory, "v1/download_url/": m.serveDownloadURL} {
		module, ok := strings.CutPrefix(strings.TrimLeft(r.URL.Path, "/"), prefix)
		if !ok {
			continue
		}
		if len(module) > maxModuleName || !moduleName.MatchString(module) {
			http.Error(w, "not the name of a module", http.StatusNotFound)
		} else {
			w.Header().Set("Cache-Control", "no-store")
			serve(w, r, module)
		}
		return true
	}
	return false
}

// current finds a module in the index; if it is not there, or the index is refused, the request is answered.
func (m *Mirror) current(w http.ResponseWriter, r *http.Request, module string) (now Release, o *object, ok bool) {
	text, o := m.packagesText(r.Context())
	if o == nil {
		refuse(w, r, http.StatusServiceUnavailable, "Cannot Verify: the mirror closes", "the index cannot be read any more\n")
		return now, nil, false
	}
	if o.state == Refused {
		m.serveRefusal(w, r, o)
		return now, nil, false
	}
	if now, ok = listedIn(text, module); !ok {
		http.Error(w, "the index does not list this module", http.StatusNotFound)
	}
	return now, o, ok
}

func (m *Mirror) servePackage(w http.ResponseWriter, r *http.Request, module string) {
	now, _, ok := m.current(w, r, module)
	if !ok {
		return
	}
	text, _ := m.packagesText(r.Context())
	w.Header().Set("Content-Type", "text/yaml")
	// Nothing that was checked to be a name, a version or a path has a quote or a space in it but a path's quote.
	fmt.Fprintf(w, "---\ndistfile: '%s'\nversion: '%s'\nprovides:\n", strings.ReplaceAll(below(now.Path), "'", "''"), now.Version)
	for name, version := range providedBy(text, now.Path) {
		fmt.Fprintf(w, "  %s: '%s'\n", name, version)
	}
}

// providedBy yields the modules of an archive, and their versions.
func providedBy(text, path string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		suffix := " " + below(path) + "\n"
		for at := 0; ; {
			i := strings.Index(text[at:], suffix)
			if i < 0 {
				return
			}
			line := text[strings.LastIndexByte(text[:at+i], '\n')+1 : at+i]
			at += i + len(suffix) - 1
			words := strings.Fields(line)
			if len(words) != 2 || !moduleName.MatchString(words[0]) {
				continue
			}
			if _, ok := parseVersion(words[1]); ok && !yield(words[0], words[1]) {
				return
			}
		}
	}
}

func below(p string) string { return strings.TrimPrefix(p, "authors/id/") }

func (m *Mirror) serveHistory(w http.ResponseWriter, r *http.Request, module string) {
	releases, ok := m.releases(w, r, module)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, x := range releases {
		if !x.Dev {
			fmt.Fprintf(w, "%s %s %s\n", module, x.Version, below(x.Path))
		}
	}
}

// releases returns all that is known of a module, that of the index last; or answers the request.
func (m *Mirror) releases(w http.ResponseWriter, r *http.Request, module string) ([]Release, bool) {
	now, o, ok := m.current(w, r, module)
	if !ok {
		return nil, false
	}
	current, _ := parseVersion(now.Version)
	var out []Release
	// A module of an index of one's own is nobody else's business.
	for _, h := range m.Histories {
		if o.state == PassedPrivate || m.Private.covers(now.Path) {
			break
		}
		found, err := h.Releases(r.Context(), Question{module, now, func() []string { return m.authors(r.Context(), module, now) }})
		var misbehaviour *client.Misbehaviour
		switch {
		case errors.As(err, &misbehaviour):
			refused := m.conclude(m.misbehaved(now.Path, nil, misbehaviour), nil)
			refused.path, refused.class, refused.at = now.Path, archive, m.Now()
			m.record(refused)
			m.serveRefusal(w, r, refused)
			return nil, false
		case err != nil:
			m.tell(Record{State: Refused, Path: "the history of " + module, Message: fmt.Sprintf("%s could not be asked: %v", h, err)})
			continue
		}
		for _, x := range found {
			v, ok := parseVersion(x.Version)
			// Nothing takes the place of what the index says: it has the newest there is, but for trial versions, which have to be
			// asked for. Private paths are from nowhere else.
			if ok && (x.Dev || v.compare(current) < 0) && !m.Private.covers(x.Path) {
				out = append(out, x)
			}
		}
	}
	return append(out, now), true
}

func (m *Mirror) serveDownloadURL(w http.ResponseWriter, r *http.Request, module string) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	accepted, ok := parseRange("0")
	if wanted := query.Get("version"); wanted != "" {
		accepted, ok = parseRange(wanted)
	}
	if err != nil || !ok {
		http.Error(w, "expected a range of versions, like >= 1.2, < 2", http.StatusNotFound)
		return
	}
	dev := query.Get("dev") == "1"
	var all []Release
	if query.Get("version") == "" && !dev {
		now, _, ok := m.current(w, r, module)
		if !ok {
			return
		}
		all = []Release{now}
	} else if all, ok = m.releases(w, r, module); !ok {
		return
	}
	best, at := perlVersion(nil), -1
	for i, x := range all {
		if v, _ := parseVersion(x.Version); (dev || !x.Dev) && accepted.accepts(v) && (at < 0 || v.compare(best) >= 0) {
			best, at = v, i
		}
	}
	if at < 0 {
		http.Error(w, "no version that is known here is in this range", http.StatusNotFound)
		return
	}
	base := "http://" + r.Host
	if r.URL.IsAbs() {
		base = "http://cpan.metacpan.org" // as whose proxy this mirror is asked
	}
	status := "cpan"
	if at == len(all)-1 {
		status = "latest"
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"download_url": base + "/" + all[at].Path, "version": all[at].Version, "status": status})
}
