package mirror

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/verify"
)

const oldPath = "authors/id/E/ET/ETHER/Try-Tiny-0.30.tar.gz"

// told is a History of fixed answers.
type told struct {
	releases []Release
	err      error
	asked    []string
	authors  []string
}

func (h *told) String() string { return "the test's history" }

func (h *told) Releases(_ context.Context, q Question) ([]Release, error) {
	h.asked, h.authors = append(h.asked, q.Module), q.Authors()
	return h.releases, h.err
}

func with(h History) func(*Options) {
	return func(o *Options) { o.Histories = append(o.Histories, h) }
}

func TestPackage(t *testing.T) {
	const text = "File: 02packages.details.txt\nLine-Count: 4\n\n" +
		"Try::Tin                        0.30  E/ET/ETHER/Try-Tin-0.30.tar.gz\n" +
		"Try::Tiny                       0.31  E/ET/ETHER/Try-Tiny-0.31.tar.gz\n" +
		"Try::Tiny::Also                undef  E/ET/ETHER/Try-Tiny-0.31.tar.gz\n" +
		"Try::Nowhere                       1  ../../secret\n"
	w := newWorld(t)
	w.write(indexPath, zipped(text))
	w.evidence[indexPath] = &client.Evidence{Bundle: bundles(w.key, snapshot(indexPath, zipped(text)))[0]}
	want := "---\ndistfile: 'E/ET/ETHER/Try-Tiny-0.31.tar.gz'\nversion: '0.31'\nprovides:\n  Try::Tiny: '0.31'\n  Try::Tiny::Also: 'undef'\n"
	for _, target := range []string{"/v1.0/package/Try::Tiny", "http://cpanmetadb.plackperl.org/v1.0/package/Try::Tiny"} {
		host := ""
		if strings.HasPrefix(target, "http:") {
			host = "cpanmetadb.plackperl.org"
		}
		if a := w.send("GET", target, host); a.status != 200 || string(a.body) != want {
			t.Errorf("%s: %s\n%swant\n%s", target, a.line, a.body, want)
		}
	}
	for _, module := range []string{"Try", "Try::Nowhere", "Line-Count:", "Missing", "Try::Tiny/", "..", "Try%3A%3ATiny%0A", strings.Repeat("A", 256)} {
		for _, service := range []string{"v1.0/package/", "v1.0/history/", "v1/download_url/"} {
			if a := w.get(service + module); a.status != 404 {
				t.Errorf("%s%s: %s, want 404\n%s", service, module, a.line, a.body)
			}
		}
	}
}

// Nothing is said of an index that does not verify.
func TestMetadataOfARefusedIndex(t *testing.T) {
	for _, path := range []string{"v1.0/package/Try::Tiny", "v1.0/history/Try::Tiny", "v1/download_url/Try::Tiny", "v1/download_url/Try::Tiny?version=0.1"} {
		w := newWorld(t)
		w.write(indexPath, zipped("Try::Tiny 0.1 E/EV/EVIL/Try-Tiny-0.1.tar.gz\n"))
		w.wantRefused(path, "403 Not In Transparency Log: digest differs")
		w = newWorld(t)
		clear(w.evidence)
		w.wantRefused(path, "503 Cannot Verify: no proof to be had")
		w = newWorld(t, from(t, http.NotFound))
		if a := w.get(path); a.status != 404 {
			t.Errorf("%s without an index: %s", path, a.line)
		}
	}
}

func TestHistoryAnswers(t *testing.T) {
	h := &told{releases: []Release{
		{Version: "0.30", Path: oldPath},
		{Version: "0.310", Path: "authors/id/E/EV/EVIL/Try-Tiny-0.31.tar.gz"}, // the version of the index is the index's
		{Version: "0.32", Path: "authors/id/E/ET/ETHER/Try-Tiny-0.32-TRIAL.tar.gz", Dev: true},
	}}
	w := newWorld(t, with(h))
	now := "Try::Tiny 0.31 E/ET/ETHER/Try-Tiny-0.31.tar.gz\n"
	if a := w.get("v1.0/history/Try::Tiny"); string(a.body) != "Try::Tiny 0.30 E/ET/ETHER/Try-Tiny-0.30.tar.gz\n"+now {
		t.Errorf("%s\n%s", a.line, a.body)
	}
	for query, want := range map[string]string{
		"": "0.31", "?version=%3D%3D+0.30": "0.30", "?version=%3C+0.31": "0.30", "?version=0.1": "0.31", "?dev=1": "0.32",
		"?version=%3D%3D+0.32": "", "?version=%3D%3D+0.32&dev=1": "0.32", "?version=%3D%3D+7": "", "?version=evil": "", "?version=%zz": "",
	} {
		a := w.get("v1/download_url/Try::Tiny" + query)
		if want == "" {
			if a.status != 404 {
				t.Errorf("%q: %s, want 404\n%s", query, a.line, a.body)
			}
			continue
		}
		if a.status != 200 || !strings.Contains(string(a.body), `"version":"`+want+`"`) || !strings.Contains(string(a.body), `"download_url":"http://127.0.0.1:`) {
			t.Errorf("%q: %s, want %s\n%s", query, a.line, want, a.body)
		}
	}
	// Through this mirror as a proxy, the archive comes from a host that it is a proxy for.
	a := w.send("GET", "http://fastapi.metacpan.org/v1/download_url/Try::Tiny", "fastapi.metacpan.org")
	if !strings.Contains(string(a.body), `"download_url":"http://cpan.metacpan.org/`+goodPath+`"`) {
		t.Errorf("%s\n%s", a.line, a.body)
	}
	// About a module that CPAN does not list nobody is asked.
	h.asked = nil
	w.get("v1.0/history/My::Corp")
	if len(h.asked) > 0 {
		t.Errorf("asked for %q", h.asked)
	}
}

func TestHistoryThatFails(t *testing.T) {
	w := newWorld(t, with(&told{err: context.DeadlineExceeded}))
	if a := w.get("v1.0/history/Try::Tiny"); string(a.body) != "Try::Tiny 0.31 E/ET/ETHER/Try-Tiny-0.31.tar.gz\n" {
		t.Errorf("%s\n%s", a.line, a.body)
	}
	if last := w.reports[len(w.reports)-1]; !strings.Contains(last.String(), "the history of Try::Tiny") || w.mirror.Summary().Worst != verify.Verified {
		t.Errorf("reported %v", last)
	}
	// A log that contradicts itself stops everything.
	b := bundles(w.key, upload(goodPath, goodFile))[0]
	e := verify.Contradiction(w.policy, noteOf(b), noteOf(bundles(w.key, upload(otherPath, goodFile))[0]))
	w = newWorld(t, with(&told{err: fmt.Errorf("looking it up: %w", &client.Misbehaviour{Evidence: e})}))
	w.wantRefused("v1.0/history/Try::Tiny", "403 Not In Transparency Log: the log contradicts itself")
	if got := w.mirror.Summary().Worst; got != verify.Misbehaviour {
		t.Errorf("the outcome is %v", got)
	}
}

// Who may release a module is what a verified 06perms says; without one, it is who released it last.
func TestAuthors(t *testing.T) {
	text := "File: 06perms.txt\n\nTry::Tin,EVIL,f\nTry::Tiny,HAARG,c\nTry::Tiny,NUFFIN,f\r\nTry::Tiny,../..,c\nTry::Tiny::X,EVIL,f\n"
	for name, tt := range map[string]struct {
		logged bool
		want   string
	}{"logged": {true, "[ETHER HAARG NUFFIN]"}, "not logged": {false, "[ETHER]"}} {
		h := &told{}
		w := newWorld(t, with(h))
		w.write(permissionsPath, zipped(text))
		if tt.logged {
			w.evidence[permissionsPath] = &client.Evidence{Bundle: bundles(w.key, snapshot(permissionsPath, zipped(text)))[0]}
		}
		w.get("v1.0/history/Try::Tiny")
		if got := fmt.Sprint(h.authors); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
		// That it does not verify refuses nothing.
		w.wantServed(goodPath, goodFile)
		if got := w.mirror.Summary().Index; got != "verified" {
			t.Errorf("%s: the index is %s", name, got)
		}
	}
}

func TestMetadataServer(t *testing.T) {
	answer := func(rw http.ResponseWriter, body string) { rw.Write([]byte(body)) }
	line := "Try::Tiny  0.30  E/ET/ETHER/Try-Tiny-0.30.tar.gz\n"
	for _, tt := range []struct {
		name  string
		serve func(http.ResponseWriter)
		want  int // releases; -1: an error
	}{
		{"lines", func(rw http.ResponseWriter) {
			answer(rw, line+"Try::Tiny 0.1-beta E/ET/ETHER/Try-Tiny-0.1.tar.gz\r\nTry::Tiny 0.2 E/ET/ETHER/Try-Tiny-0.2.tar.gz\r\nOther 1 E/ET/ETHER/Other-1.tar.gz\n"+
				"Try::Tiny 1 E/ET/ETHER/../../Evil-1.tar.gz\nTry::Tiny 1 http://evil.example/Evil-1.tar.gz\nTry::Tiny 1 E/ET/ETHER/README\nTry::Tiny 1 E/EV/ETHER/Evil-1.tar.gz\nTry::Tiny 1\n")
		}, 2},
		{"nothing", func(rw http.ResponseWriter) {}, 0},
		{"not there", func(rw http.ResponseWriter) { rw.WriteHeader(404) }, 0},
		{"out of order", func(rw http.ResponseWriter) { rw.WriteHeader(500) }, -1},
		{"without TLS", func(rw http.ResponseWriter) {
			rw.Header().Set("Location", "http://elsewhere.example/")
			rw.WriteHeader(302)
		}, -1},
		{"too many", func(rw http.ResponseWriter) { answer(rw, strings.Repeat(line, maxReleases+1)) }, -1},
		{"too much", func(rw http.ResponseWriter) { answer(rw, strings.Repeat("x\n", maxHistory)) }, -1},
		{"a line without end", func(rw http.ResponseWriter) { answer(rw, strings.Repeat("x", maxHistory)) }, -1},
	} {
		path := ""
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { path = r.URL.Path; tt.serve(rw) }))
		h := must(OpenMetadata(s.URL, "test"))
		out, err := h.Releases(t.Context(), Question{Module: "Try::Tiny"})
		s.Close()
		if (err != nil) != (tt.want < 0) || len(out) != max(tt.want, 0) || path != "/v1.0/history/Try::Tiny" {
			t.Errorf("%s: asked for %s: %d releases, %v, want %d", tt.name, path, len(out), err, tt.want)
		}
	}
	for where, ok := range map[string]bool{"https://cpanmetadb.plackperl.org": true, "http://127.0.0.1:80": true, "http://localhost": true,
		"http://cpanmetadb.plackperl.org": false, "cpanmetadb.plackperl.org": false, "ftp://x.example": false, "https://": false, "https://x.example/?q": false} {
		if _, err := OpenMetadata(where, ""); (err == nil) != ok {
			t.Errorf("%s: %v", where, err)
		}
	}
}

func TestDistributionVersion(t *testing.T) {
	for name, want := range map[string]Release{
		"Try-Tiny-0.31.tar.gz":       {Version: "0.31"},
		"Try-Tiny-v1.2.3.tgz":        {Version: "v1.2.3"},
		"Try-Tiny-0.32-TRIAL.tar.gz": {Version: "0.32", Dev: true},
		"Try-Tiny-0.32_01.zip":       {Version: "0.32_01", Dev: true},
		"Try-Tiny.tar.gz":            {},
		"Try-Tiny-0.31.patch":        {},
		"Try-Tiny-0.31.tar.gz.sig":   {},
	} {
		want.Path = "authors/id/E/ET/ETHER/" + name
		if got := releaseOf(want.Path); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func FuzzParseHistory(f *testing.F) {
	f.Add("Try::Tiny  0.30  E/ET/ETHER/Try-Tiny-0.30.tar.gz\nOther 1 x\n")
	f.Add("Try::Tiny v1.2 E/ET/ETHER/Try-Tiny-v1.2.tgz\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		out, err := parseHistory(strings.NewReader(text), "Try::Tiny")
		if err != nil {
			return
		}
		for _, r := range out {
			if classify(r.Path) != archive || strings.ContainsAny(r.Version+r.Path, " \n\t") {
				t.Fatalf("%+v", r)
			}
		}
	})
}
