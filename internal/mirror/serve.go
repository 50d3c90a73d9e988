package mirror

import (
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/pauselog/pauselog/internal/fairlisten"
)

// ServeHTTP serves what is verified, and refuses the rest.
func (m *Mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch {
	case r.Method == http.MethodConnect:
		// What goes through a tunnel cannot be verified.
		m.turnedAway(r, "a tunnel hides what it carries")
		refuse(w, r, http.StatusForbidden, "Not Through This Mirror: no tunnels", "a tunnel hides what it carries; ask for files by http://\n")
		return
	case !knownHost(r):
		m.turnedAway(r, "this is a mirror of CPAN, and no proxy for other hosts")
		refuse(w, r, http.StatusForbidden, "Not A CPAN Host", fmt.Sprintf("this is a mirror of CPAN, and does not fetch from %.100q\n", r.Host))
		return
	case fromWebPage(r):
		refuse(w, r, http.StatusForbidden, "Not For Web Pages", "a page of another site asked for this; clients of CPAN and the address bar may\n")
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	case r.URL.IsAbs():
	case r.URL.Path == "/":
		m.servePage(w)
		return
	case r.URL.Path == "/-/status.json":
		m.serveStatus(w)
		return
	}
	if m.serveMetadata(w, r) {
		return
	}
	p := canonical(requested(r))
	switch c := classify(p); c {
	case unknown:
		http.Error(w, "not a file that this mirror serves"+hint(p), http.StatusNotFound)
	case modlist:
		serveContent(w, r, p, `"pauselog-empty-modlist"`, time.Unix(0, 0), strings.NewReader(string(modlistFile)))
	default:
		m.serveFile(w, r, p, c)
	}
}

// fromWebPage reports whether a browser says that a page of another site makes the request. Such a page must not
// learn what was installed here, nor have files fetched and refused in this run's name. (Fetch Metadata, section 2.)
func fromWebPage(r *http.Request) bool {
	site := r.Header.Values("Sec-Fetch-Site")
	for _, s := range site {
		if s != "none" && s != "same-origin" {
			return true
		}
	}
	return len(r.Header.Values("Origin")) > 0 && len(site) == 0
}

// turnedAway reports a request to this mirror as a proxy for what is not CPAN: whatever made it fails, and the
// user should know why. It is no file that was refused, and counts nowhere.
func (m *Mirror) turnedAway(r *http.Request, why string) {
	m.tell(Record{State: Refused, Path: fmt.Sprintf("%s %.200s", r.Method, r.RequestURI), Message: why})
}

// tell reports what counts nowhere.
func (m *Mirror) tell(r Record) {
	if m.Report == nil {
		return
	}
	m.report.Lock()
	defer m.report.Unlock()
	m.Report(r)
}

func (m *Mirror) serveFile(w http.ResponseWriter, r *http.Request, p string, c class) {
	for range 2 {
		o, err := m.obtain(r.Context(), p, c)
		if err != nil {
			// The client is gone, or this mirror closes. To answer nothing would be an empty file with status 200.
			refuse(w, r, http.StatusServiceUnavailable, "Cannot Verify: the mirror closes", "the mirror closes\n")
			return
		}
		// Not only when it is fetched: an archive that passed before the index was refused is in the
		// client's reach only because of this run's requests.
		if index := m.refusedIndex(); c == archive && index != "" && o.state != Refused {
			o = m.afterRefused(index)
			o.path, o.class = p, c
		}
		switch o.state {
		case Missing:
			http.Error(w, "no upstream has it", http.StatusNotFound)
			return
		case Refused:
			m.serveRefusal(w, r, o)
			return
		}
		f, err := m.cache.open(o.digest, o.size)
		if err != nil {
			m.forget(o) // deleted or damaged since: fetched once more
			continue
		}
		serveContent(w, r, p, `"sha256-`+o.digest.String()+`"`, o.at, f)
		f.Close()
		return
	}
	refuse(w, r, http.StatusServiceUnavailable, "Cannot Verify: the cache changes", "the cache lost the file twice while it was served\n")
}

// serveContent serves bytes that were verified. Only a client that has these very bytes by this process is
// told that nothing changed: by their digest, or by the moment at which they were verified,
// which no file from elsewhere carries.
func serveContent(w http.ResponseWriter, r *http.Request, p, tag string, at time.Time, content io.ReadSeeker) {
	if since, err := http.ParseTime(r.Header.Get("If-Modified-Since")); err != nil || !since.Equal(at) {
		r.Header.Del("If-Modified-Since")
	}
	w.Header().Set("ETag", tag)
	w.Header().Set("Content-Type", contentType(p))
	http.ServeContent(w, r, "", at, content)
}

func contentType(p string) string {
	switch strings.ToLower(path.Ext(p)) {
	case ".gz", ".tgz":
		return "application/x-gzip"
	case ".txt", ".meta", ".readme", ".json", ".yml", "":
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// serveRefusal says why, in the status line first.
func (m *Mirror) serveRefusal(w http.ResponseWriter, r *http.Request, o *object) {
	status, reason := http.StatusForbidden, "Not In Transparency Log: "
	if o.unsure {
		status, reason = http.StatusServiceUnavailable, "Cannot Verify: "
	}
	record := o.record()
	var b strings.Builder
	fmt.Fprintf(&b, "pauselog refused %s\n", o.path)
	if record.Outcome != nil {
		fmt.Fprintf(&b, "%s: ", *record.Outcome)
	}
	fmt.Fprintf(&b, "%s\n", record.Message)
	for _, x := range []struct {
		name  string
		lines []string
	}{{"expected", []string{record.Expected}}, {"found", []string{record.Found}}, {"perhaps", record.Causes}, {"next", record.Next}, {"evidence", []string{record.Evidence}}} {
		for _, line := range x.lines {
			if line != "" {
				fmt.Fprintf(&b, "%s: %s\n", x.name, line)
			}
		}
	}
	refuse(w, r, status, reason+o.reason, b.String())
}

// refuse answers with a reason phrase of our own. net/http writes only those of the RFC, so the connection is taken
// over, and ended; where that cannot be done (HTTP/2, tests), the reason is in a header and the body.
func refuse(w http.ResponseWriter, r *http.Request, status int, reason, body string) {
	body = plainLines(body)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if r.ProtoMajor == 1 {
		if conn, rw, err := http.NewResponseController(w).Hijack(); err == nil {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			fmt.Fprintf(rw, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
				status, reason, len(body))
			if r.Method != http.MethodHead {
				rw.WriteString(body)
			}
			rw.Flush() // a client that is gone does not hear why
			return
		}
	}
	w.Header().Set("X-Pauselog-Reason", reason)
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		io.WriteString(w, body)
	}
}

// plainLines makes what strangers wrote fit for a terminal.
func plainLines(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// A status is the JSON of the status page.
type status struct {
	Mode       string   `json:"mode"`
	Verified   int      `json:"verified"`
	Refused    int      `json:"refused"`
	Unverified int      `json:"passed_unverified"`
	Private    int      `json:"private"`
	Index      string   `json:"index"`
	Warning    string   `json:"warning"`
	Upstreams  []string `json:"upstreams"`
	Proofs     []string `json:"proofs"`
	Files      []Record `json:"files"`
	Summary    Summary  `json:"-"`

	// Connections are those of the mirror's clients; how many were refused is 0, since all are on this machine.
	Connections *fairlisten.Stats `json:"connections,omitempty"`
}

func (m *Mirror) status() status {
	s := m.Summary()
	out := status{Mode: m.Mode.String(), Verified: s.Verified, Refused: s.Refused, Unverified: s.Unverified, Private: s.Private, Index: s.Index, Warning: s.Warning,
		Upstreams: []string{}, Proofs: []string{}, Files: m.Records(), Summary: s}
	for _, u := range slices.Concat(m.archiveUpstreams(), m.Private.Upstreams) {
		out.Upstreams = append(out.Upstreams, u.String())
	}
	for _, p := range m.Provers {
		out.Proofs = append(out.Proofs, p.String())
	}
	if l := m.listener.Load(); l != nil {
		s := l.Stats()
		out.Connections = &s
	}
	return out
}

func (m *Mirror) serveStatus(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(m.status())
}

var page = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>pauselog mirror</title>
<style>body{font:16px sans-serif;margin:2em;max-width:70em}td,th{text-align:left;padding:.2em .8em .2em 0;vertical-align:top}</style>
<h1>pauselog mirror</h1>
<p>{{.Summary}}. Mode {{.Mode}}{{if eq .Mode "prefer"}}: no protection against an attacker, who needs only to withhold proofs{{end}}.</p>
<p>Files from{{range .Upstreams}} {{.}}{{end}}. Proofs from{{range .Proofs}} {{.}};{{end}} <a href="/-/status.json">as JSON</a>.</p>
<p>Verified says that a file is logged, and the same for everyone. It does not say that it is harmless.</p>
<table><tr><th>state<th>path<th>why</tr>
{{range .Files}}<tr><td>{{.State}}<td>{{.Path}}<td>{{if ne .State "verified"}}{{.Message}}{{else}}{{.Warning}}{{end}}</tr>
{{end}}</table></html>
`))

func (m *Mirror) servePage(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	page.Execute(w, m.status()) // a browser that is gone misses nothing
}
