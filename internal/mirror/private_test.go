package mirror

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
)

const (
	ownFolder = "authors/id/M/MY/MYCORP/"
	ownPath   = ownFolder + "Own-1.tar.gz"
)

var ownFile = zipped("a distribution of our own")

// A site notes what it is asked for.
type noted struct {
	mu    sync.Mutex
	files map[string][]byte
	asked []string
}

func (n *noted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/")
	n.asked = append(n.asked, path)
	b, ok := n.files[path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Write(b)
}

// newPrivateWorld has a private mirror, and a public one that is noted too.
func newPrivateWorld(t *testing.T, rules ...string) (w *world, private, public *noted) {
	t.Helper()
	private = &noted{files: map[string][]byte{ownPath: ownFile, goodPath: otherFile, ownFolder + "README": []byte("ours"), ownFolder + "evil.txt": goodFile,
		ownFolder + "CHECKSUMS": []byte("$cksum = {\n};\n"), indexPath: zipped("Own 1 M/MY/MYCORP/Own-1.tar.gz\n")}}
	public = &noted{files: map[string][]byte{goodPath: goodFile, indexPath: indexFile, ownPath: otherFile}}
	a, b := httptest.NewServer(private), httptest.NewServer(public)
	t.Cleanup(a.Close)
	t.Cleanup(b.Close)
	w = newWorld(t, func(o *Options) {
		o.Upstreams = []Upstream{must(OpenUpstream(b.URL, ""))}
		o.BackPAN = o.Upstreams[0]
		o.Private = Private{Paths: rules, Upstreams: []Upstream{must(OpenPrivate(a.URL, ""))}}
	})
	return w, private, public
}

func TestPrivate(t *testing.T) {
	w, private, public := newPrivateWorld(t, ownFolder)
	w.wantServed(indexPath, indexFile)
	asked := w.asked
	w.wantServed(ownPath, ownFile)
	w.wantServed("modules/by-module/Own/MYCORP/Own-1.tar.gz", ownFile)
	w.wantServed(ownFolder+"README", []byte("ours"))
	w.wantServed(ownFolder+"CHECKSUMS", []byte("$cksum = {\n};\n"))
	w.wantRefused(ownFolder+"evil.txt", "403 Not In Transparency Log: an archive under a document's name")
	if a := w.get(ownFolder + "None-1.tar.gz"); a.status != 404 {
		t.Errorf("what is nowhere: %s", a.line)
	}
	if w.asked != asked {
		t.Errorf("somebody was asked for proofs %d times", w.asked-asked)
	}
	for _, path := range public.asked {
		if strings.Contains(path, "MYCORP") {
			t.Errorf("the public mirror was asked for %s", path)
		}
	}
	// What the private mirror has beside that is of no interest.
	w.wantServed(goodPath, goodFile)
	for _, path := range private.asked {
		if !strings.HasPrefix(path, ownFolder) {
			t.Errorf("the private mirror was asked for %s", path)
		}
	}
	if got := w.mirror.Summary().String(); got != "1 verified, 0 refused, 0 passed unverified, 1 private, index verified, 1 other files refused" {
		t.Errorf("summary %q", got)
	}
}

// A stranger who registers the name on CPAN gets nothing installed.
func TestPrivatePathThatCPANLists(t *testing.T) {
	w, _, public := newPrivateWorld(t, ownFolder)
	text := zipped("Own 9 M/MY/MYCORP/Own-1.tar.gz\n")
	public.files[indexPath] = text
	w.evidence[indexPath] = &client.Evidence{Bundle: bundles(w.key, snapshot(indexPath, text))[0]}
	w.wantRefused(ownPath, "403 Not In Transparency Log: private, and in the index of CPAN")
}

func TestPrivateIndex(t *testing.T) {
	w, _, public := newPrivateWorld(t, ownFolder, "modules/02packages.details.txt")
	w.wantServed(indexPath, zipped("Own 1 M/MY/MYCORP/Own-1.tar.gz\n"))
	w.wantServed(ownPath, ownFile)
	w.wantServed(goodPath, goodFile) // verified, whichever index names it
	if a := w.get("v1.0/package/Own"); !strings.Contains(string(a.body), "M/MY/MYCORP/Own-1.tar.gz") {
		t.Errorf("%s\n%s", a.line, a.body)
	}
	for _, path := range public.asked {
		if path != goodPath {
			t.Errorf("the public mirror was asked for %s", path)
		}
	}
	if got := w.mirror.Summary().String(); got != "1 verified, 0 refused, 0 passed unverified, 1 private, index private" {
		t.Errorf("summary %q", got)
	}
}

// A private module's name is told to nobody, and no history leads to a private path.
func TestPrivateAndHistories(t *testing.T) {
	h := &told{releases: []Release{{Version: "0.1", Path: ownPath}}}
	w, private, _ := newPrivateWorld(t, ownFolder)
	w.mirror.Histories = []History{h}
	if a := w.get("v1.0/history/Try::Tiny"); strings.Contains(string(a.body), "MYCORP") || len(h.asked) != 1 {
		t.Errorf("%s\n%s", a.line, a.body)
	}
	w, _, _ = newPrivateWorld(t, ownFolder, indexPath)
	w.mirror.Histories = []History{h}
	h.asked = nil
	if a := w.get("v1.0/history/Own"); string(a.body) != "Own 1 M/MY/MYCORP/Own-1.tar.gz\n" || len(h.asked) > 0 {
		t.Errorf("%s, asked for %q\n%s", a.line, h.asked, a.body)
	}
	if len(private.asked) > 0 {
		t.Errorf("the private mirror was asked for %q", private.asked)
	}
}

// Without its mirror a private path is in no other place.
func TestPrivateMirrorOutOfReach(t *testing.T) {
	w, private, public := newPrivateWorld(t, ownFolder)
	clear(private.files)
	if a := w.get(ownPath); a.status != 404 {
		t.Errorf("%s", a.line)
	}
	for _, path := range public.asked {
		if path == ownPath {
			t.Error("the public mirror was asked")
		}
	}
}

func TestPrivateRules(t *testing.T) {
	mirror := []Upstream{must(OpenPrivate(t.TempDir(), ""))}
	for _, tt := range []struct {
		paths     []string
		upstreams []Upstream
		ok        bool
	}{
		{nil, nil, true},
		{[]string{ownFolder}, mirror, true},
		{[]string{ownFolder + "team/", indexPath, textPath, mailPath}, mirror, true},
		{[]string{ownFolder}, nil, false},
		{nil, mirror, false},
		{[]string{"authors/id/M/MY/MYCORP"}, mirror, false},
		{[]string{"authors/id/M/MY/"}, mirror, false},
		{[]string{"authors/id/"}, mirror, false},
		{[]string{"authors/id/M/MY/MYCORP/../../E/"}, mirror, false},
		{[]string{"authors/id/E/EV/MYCORP/"}, mirror, false},
		{[]string{"modules/"}, mirror, false},
		{[]string{"modules/03modlist.data.gz"}, mirror, false},
		{[]string{""}, mirror, false},
	} {
		if err := (Private{tt.paths, tt.upstreams}).Check(); (err == nil) != tt.ok {
			t.Errorf("%q from %v: %v", tt.paths, tt.upstreams, err)
		}
	}
	for where, ok := range map[string]bool{"https://darkpan.example": true, "http://127.0.0.1:80/x": true, "http://darkpan.example": false, "missing": false} {
		if _, err := OpenPrivate(where, ""); (err == nil) != ok {
			t.Errorf("%s: %v", where, err)
		}
	}
	p := Private{Paths: []string{ownFolder, indexPath}}
	for path, want := range map[string]bool{ownPath: true, ownFolder + "a/b/C-1.tar.gz": true, indexPath: true, textPath: true, mailPath: false,
		goodPath: false, "authors/id/M/MY/MYCORPS/Own-1.tar.gz": false} {
		if p.covers(path) != want {
			t.Errorf("%s is private: %v, want %v", path, !want, want)
		}
	}
}

// What is deleted from CPAN comes from BackPAN, verified, with a note where the log has the deletion.
func TestBackPAN(t *testing.T) {
	deletion := &entry.Entry{Kind: entry.Delete, Path: goodPath, SHA256: digest(goodFile), Time: entry.TimeOf(logged), By: "ETHER", Seen: entry.SeenFollow}
	for _, tt := range []struct {
		name string
		file []byte
		line string
	}{
		{"the logged bytes", goodFile, "200 OK"},
		{"other bytes", otherFile, "403 Not In Transparency Log: digest differs"},
		{"nothing", nil, "404 Not Found"},
	} {
		w := newWorld(t)
		old := &noted{files: map[string][]byte{indexPath: indexFile, "authors/id/E/ET/ETHER/README": []byte("old")}}
		if tt.file != nil {
			old.files[goodPath] = tt.file
		}
		s := httptest.NewServer(old)
		t.Cleanup(s.Close)
		w.mirror.Upstreams, w.mirror.BackPAN = []Upstream{must(OpenUpstream(t.TempDir(), ""))}, must(OpenUpstream(s.URL, ""))
		b := bundles(w.key, upload(goodPath, goodFile), deletion)
		w.evidence[goodPath] = &client.Evidence{Bundle: b[0], Deletion: b[1]}
		a := w.get(goodPath)
		if a.line != tt.line {
			t.Errorf("%s: %s, want %s\n%s", tt.name, a.line, tt.line, a.body)
		}
		if tt.file != nil && fmt.Sprint(w.reports[0].Notes) == "[]" && a.status == 200 {
			t.Errorf("%s: there is no note of the deletion: %+v", tt.name, w.reports)
		}
		// Its index would be an old one.
		for _, path := range []string{indexPath, "authors/id/E/ET/ETHER/README"} {
			if a := w.get(path); a.status != 404 {
				t.Errorf("%s from BackPAN: %s", path, a.line)
			}
		}
		for _, path := range old.asked {
			if path != goodPath {
				t.Errorf("BackPAN was asked for %s", path)
			}
		}
	}
}
