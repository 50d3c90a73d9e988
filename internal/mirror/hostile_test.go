package mirror

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/verify"
)

// Once the log has contradicted itself, nothing passes that it vouches for, neither what was verified before nor what comes later.
func TestMisbehaviourIsNotForgotten(t *testing.T) {
	now := logged.Add(time.Hour)
	w := newWorld(t, func(o *Options) { o.Now = func() time.Time { return now } })
	if a := w.get(goodPath); !strings.Contains(a.line, "200") {
		t.Fatalf("before: %s", a.line)
	}
	e := verify.Contradiction(w.policy, treeOf(t, uploads(3, "")...)["checkpoint"], treeOf(t, uploads(3, "x")...)["checkpoint"])
	w.mu.Lock()
	w.failure = &client.Misbehaviour{Evidence: e}
	w.mu.Unlock()
	w.get(otherPath)
	w.mu.Lock()
	w.failure = nil
	w.mu.Unlock()
	for range 2 {
		for _, path := range []string{goodPath, otherPath} {
			if a := w.get(path); !strings.Contains(a.line, "403 Not In Transparency Log: the log contradicts itself") {
				t.Errorf("%s: %s", path, a.line)
			}
		}
		now = now.Add(keepVerified + time.Second)
	}
	if s := w.mirror.Summary(); s.Worst != verify.Misbehaviour || s.Verified != 0 {
		t.Errorf("%v, worst %v", s, s.Worst)
	}
}

// A mirror can hide a void. The log's own tree, which is asked before, does not.
func TestAVoidThatAMirrorHides(t *testing.T) {
	void := &entry.Entry{Kind: entry.Void, Path: voidedPath, SHA256: digest(voided), Index: 0, Time: entry.TimeOf(logged)}
	all := []*entry.Entry{upload(voidedPath, voided), void, upload(goodPath, goodFile)}
	without := treeOf(t, all...)
	without[prooftree.ShardName(prooftree.ShardOf(voidedPath))] = prooftree.FormatShard([]prooftree.Line{{Index: 0, Path: voidedPath}})
	for name, hiding := range map[string]files{"an older tree": treeOf(t, all[0]), "a line left out": without} {
		own := treeOptions(treeOf(t, all...))
		own.Log = true
		w := newWorld(t, func(o *Options) {
			o.Provers = []Prover{FromTree(t.Context(), own), FromTree(t.Context(), treeOptions(hiding))}
		})
		if a := w.get(voidedPath); !strings.Contains(a.line, "403 Not In Transparency Log: revoked") {
			t.Errorf("%s: %s", name, a.line)
		}
	}
}

// A server of metadata can name older versions, and nothing that takes the place of the index's.
func TestMetadataThatIsTooNew(t *testing.T) {
	w := newWorld(t, with(&told{releases: []Release{{Version: "99.0", Path: "authors/id/E/EV/EVIL/Try-Tiny-99.0.tar.gz"}}}))
	for _, path := range []string{"v1/download_url/Try::Tiny?version=0.1", "v1.0/history/Try::Tiny"} {
		if a := w.get(path); strings.Contains(string(a.body), "EVIL") || !strings.Contains(a.line, "200") {
			t.Errorf("%s: %s\n%s", path, a.line, a.body)
		}
	}
}

// What others may write into cannot be served from: the bytes could change after they were hashed.
func TestACacheOfOthersIsRefused(t *testing.T) {
	for _, below := range []string{"", "sha256", "partial"} {
		dir := t.TempDir()
		open := filepath.Join(dir, below)
		if err := errors.Join(os.MkdirAll(open, 0o700), os.Chmod(open, 0o777)); err != nil {
			t.Fatal(err)
		}
		if _, err := openCache(dir, 0); err == nil || !strings.Contains(err.Error(), "others may write into "+open) {
			t.Errorf("%q: %v", below, err)
		}
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := openCache(dir, 0); err != nil {
			t.Errorf("%q, closed: %v", below, err)
		}
	}
}

// A FIFO in the cache is not waited for, and a link is not followed.
func TestWhatIsNoFileInTheCache(t *testing.T) {
	c, err := openCache(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	content := []byte("content")
	name := c.name(digest(content))
	elsewhere := filepath.Join(t.TempDir(), "file")
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(elsewhere, content, 0o600), os.Symlink(elsewhere, name)); err != nil {
		t.Fatal(err)
	}
	if f, err := c.open(digest(content), uint64(len(content))); err == nil {
		f.Close()
		t.Error("a link is followed")
	}
	if err := errors.Join(os.RemoveAll(name), syscall.Mkfifo(name, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.open(digest(content), uint64(len(content))); !errors.Is(err, errNotCached) {
		t.Errorf("a FIFO: %v", err)
	}
}

// A page that the user's browser shows can ask any port of this machine. What it asks for must not count as a refusal of
// this run, and it must not read what was installed.
func TestPagesOfOtherSitesGetNothing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header []string
		want   string
	}{
		{"a client of CPAN", nil, "200"},
		{"the address bar", []string{"Sec-Fetch-Site: none"}, "200"},
		{"the status page itself", []string{"Sec-Fetch-Site: same-origin"}, "200"},
		{"a picture in a page", []string{"Sec-Fetch-Site: cross-site"}, "403 Not For Web Pages"},
		{"a page of another port", []string{"Sec-Fetch-Site: same-site"}, "403 Not For Web Pages"},
		{"a script of an older browser", []string{"Origin: http://evil.example"}, "403 Not For Web Pages"},
		{"a sandboxed one", []string{"Origin: null"}, "403 Not For Web Pages"},
	} {
		w := newWorld(t)
		for _, path := range []string{"", "-/status.json", goodPath} {
			if a := w.get(path, tt.header...); !strings.Contains(a.line, tt.want) {
				t.Errorf("%s: /%s: %s", tt.name, path, a.line)
			}
		}
		w.get(absentPath, tt.header...)
		if refused := w.mirror.Summary().Refused > 0; refused != (tt.want == "200") {
			t.Errorf("%s: a refusal counts: %v", tt.name, refused)
		}
	}
}

// A file's name is asked for as it is, whatever it would mean in a URL.
func TestNamesAreEscapedOnce(t *testing.T) {
	var asked []string
	up := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = append(asked, r.URL.Path) }))
	defer up.Close()
	base := must(url.Parse(up.URL + "/cpan"))
	names := []string{"authors/id/E/ET/ETHER/a%2e.tar.gz", "authors/id/E/ET/ETHER/a%252fb.tar.gz", "authors/id/E/ET/ETHER/a%.tar.gz", "authors/id/E/ET/ETHER/a?b#c.tar.gz"}
	for _, name := range names {
		in, err := (&site{base: base, client: up.Client()}).open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		in.body.Close()
		if got := asked[len(asked)-1]; got != "/cpan/"+name {
			t.Errorf("asked for %q, want %q", got, name)
		}
	}
}

// That this machine cannot write is no outcome of a file's.
func TestACacheThatCannotBeWritten(t *testing.T) {
	for path, file := range map[string][]byte{goodPath: goodFile, absentPath: []byte("nobody logged this"), indexPath: indexFile,
		"authors/id/E/ET/ETHER/README": []byte("a document")} {
		dir := t.TempDir()
		w := newWorld(t, func(o *Options) { o.Cache = dir })
		w.write(path, file)
		partial := filepath.Join(dir, "partial")
		if err := errors.Join(os.RemoveAll(partial), os.WriteFile(partial, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if a := w.get(path); !strings.Contains(a.line, "503 Cannot Verify: a local failure") {
			t.Errorf("%s: %s", path, a.line)
		}
		if s := w.mirror.Summary(); s.Worst != verify.Error {
			t.Errorf("%s: %v, want %v", path, s.Worst, verify.Error)
		}
		if r := w.reports[0]; r.Outcome == nil || *r.Outcome != verify.Error || !strings.Contains(r.Message, "cannot be written") {
			t.Errorf("%s: %+v", path, r)
		}
	}
}

// What is refused for want of a proof is not read without end.
func TestAnUnprovenFileIsNotReadWhole(t *testing.T) {
	w := newWorld(t)
	w.write(absentPath, nil)
	if err := os.Truncate(filepath.Join(w.dir, absentPath), maxNamed+1); err != nil {
		t.Fatal(err)
	}
	w.wantRefused(absentPath, "503 Cannot Verify: no proof to be had")
	if r := w.reports[0]; !strings.Contains(r.Found, "has more than 67108864 bytes") {
		t.Errorf("%+v", r)
	}
}
