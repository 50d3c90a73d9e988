package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/verify"
)

func TestVerifiedFilesAreServed(t *testing.T) {
	w := newWorld(t)
	w.wantServed(indexPath, indexFile)
	a := w.wantServed(goodPath, goodFile)
	if got := a.header.Get("Content-Encoding"); got != "" {
		t.Errorf("Content-Encoding %q: a client would inflate the archive", got)
	}
	w.wantServed("/"+goodPath, goodFile) // a mirror's URL that ends in a slash
	if got := w.mirror.Summary().String(); got != "1 verified, 0 refused, 0 passed unverified, index verified" {
		t.Errorf("summary %q", got)
	}
}

// Each outcome has its status, its reason, and its place in the record.
func TestOutcomes(t *testing.T) {
	forger := bundles(key(7, checkpoint.Ed25519, origin), upload(goodPath, goodFile))[0]
	otherTree := bundles(key(1, checkpoint.Ed25519, origin), upload(otherPath, goodFile), upload(goodPath, goodFile))
	for _, tt := range []struct {
		name   string
		path   string
		change func(*world)
		mode   verify.Mode
		want   string
		word   verify.Outcome
	}{
		{"other bytes", goodPath, func(w *world) { w.write(goodPath, otherFile) }, 0, "403 Not In Transparency Log: digest differs", verify.Mismatch},
		{"other bytes of the same size", goodPath, func(w *world) { w.write(goodPath, flipped(goodFile)) }, 0, "403 Not In Transparency Log: digest differs", verify.Mismatch},
		{"other bytes, prefer", goodPath, func(w *world) { w.write(goodPath, otherFile) }, verify.Prefer, "403 Not In Transparency Log: digest differs", verify.Mismatch},
		{"no proof", absentPath, nil, 0, "503 Cannot Verify: no proof to be had", verify.Unverifiable},
		{"no proof, prefer", absentPath, nil, verify.Prefer, "200 OK", verify.Unverifiable},
		{"not logged", absentPath, func(w *world) { w.evidence[absentPath] = &client.Evidence{Absence: verify.SaidNotLogged} }, 0, "403 Not In Transparency Log: not logged", verify.NotLogged},
		{"not logged, prefer", absentPath, func(w *world) { w.evidence[absentPath] = &client.Evidence{Absence: verify.SaidNotLogged} }, verify.Prefer, "200 OK", verify.NotLogged},
		{"pending", absentPath, func(w *world) { w.evidence[absentPath] = &client.Evidence{Absence: verify.SaidPending} }, 0, "503 Cannot Verify: not published yet", verify.Pending},
		{"voided", voidedPath, nil, verify.Prefer, "403 Not In Transparency Log: revoked", verify.Revoked},
		{"a forged proof is none", goodPath, func(w *world) { w.evidence[goodPath] = &client.Evidence{Bundle: forger} }, 0, "503 Cannot Verify: no proof to be had", verify.Unverifiable},
		{"the proof of another path", absentPath, func(w *world) { w.evidence[absentPath] = w.evidence[goodPath] }, 0, "503 Cannot Verify: no proof to be had", verify.Unverifiable},
		{"a log that contradicts itself", goodPath, func(w *world) {
			e := verify.Contradiction(w.policy, noteOf(bundles(w.key, upload(goodPath, goodFile))[0]), noteOf(bundles(w.key, upload(otherPath, goodFile))[0]))
			if e == nil {
				panic("two trees of one size are no contradiction")
			}
			w.failure = &client.Misbehaviour{Evidence: e}
		}, verify.Prefer, "403 Not In Transparency Log: the log contradicts itself", verify.Misbehaviour},
		{"a damaged memory", goodPath, func(w *world) { w.failure = errors.New("the memory is damaged") }, verify.Prefer, "503 Cannot Verify: error", verify.Error},
		{"a proof from another tree of the log", goodPath, func(w *world) { w.evidence[goodPath] = &client.Evidence{Bundle: otherTree[1]} }, 0, "200 OK", verify.Verified},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(o *Options) { o.Mode = tt.mode })
			if tt.change != nil {
				tt.change(w)
			}
			w.wantLine(tt.path, tt.want)
			if len(w.reports) != 1 || w.reports[0].Outcome == nil || *w.reports[0].Outcome != tt.word {
				t.Fatalf("reported %v, want %v", w.reports, tt.word)
			}
			s := w.mirror.Summary()
			if stops := tt.word.Stops(tt.mode); (s.Refused == 1) != stops || (s.Worst == tt.word) != stops && tt.word != verify.Verified {
				t.Errorf("summary %+v", s)
			}
			if passed := strings.HasPrefix(tt.want, "200"); passed == tt.word.Stops(tt.mode) {
				t.Errorf("%v was answered with %s", tt.word, tt.want)
			}
		})
	}
}

// wantLine wants a refusal with this status line, or, if that is 200, the file.
func (w *world) wantLine(path, line string) {
	w.t.Helper()
	if strings.HasPrefix(line, "200") {
		w.wantServed(path, must(os.ReadFile(filepath.Join(w.dir, path))))
		return
	}
	w.wantRefused(path, line)
}

func flipped(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)-3] ^= 1 // in the trailer of the gzip file, which unpackers pass over
	return b
}

func noteOf(bundle []byte) []byte {
	_, note, _ := bytes.Cut(bundle, []byte("\n\n"))
	return note
}

func TestRefusalNamesBothDigests(t *testing.T) {
	w := newWorld(t)
	w.write(goodPath, flipped(goodFile))
	body := string(w.wantRefused(goodPath, "403 Not In Transparency Log: digest differs").body)
	for _, want := range []string{goodPath, digest(goodFile).String(), digest(flipped(goodFile)).String(), "next:"} {
		if !strings.Contains(body, want) || !strings.Contains(w.reports[0].String(), strings.TrimSuffix(want, ":")) {
			t.Errorf("the refusal does not say %q:\n%s\n%s", want, body, w.reports[0])
		}
	}
}

func TestTooFewWitnesses(t *testing.T) {
	w := newWorld(t, prefer, func(o *Options) {
		witness := key(9, checkpoint.CosignatureV1, "w.example")
		log := key(1, checkpoint.Ed25519, origin)
		o.Policy = must(checkpoint.ParsePolicy(fmt.Appendf(nil, "log %s\nwitness w %s\nquorum w\n", log.Verifier(), witness.Verifier())))
	})
	w.wantRefused(goodPath, "403 Not In Transparency Log: too few witnesses")
}

// Whatever the requests are, only what a CPAN client needs is there.
func TestRequests(t *testing.T) {
	w := newWorld(t)
	w.write("secret", []byte("x"))
	for _, tt := range []struct {
		method, target, host string
		status               int
	}{
		{"GET", "http://www.cpan.org/" + goodPath, "www.cpan.org", 200},
		{"GET", "http://cpan.metacpan.org/" + goodPath, "cpan.metacpan.org", 200},
		{"GET", "http://backpan.perl.org:80/" + goodPath, "backpan.perl.org:80", 200},
		{"GET", "/" + goodPath, "localhost:8080", 200},
		{"GET", "/" + goodPath, "[::1]:8080", 200},
		{"HEAD", "/" + goodPath, "", 200},
		{"HEAD", "/" + absentPath, "", 503},
		{"GET", "http://fastapi.metacpan.org/v1/download_url/Try::Tiny", "fastapi.metacpan.org", 200},
		{"GET", "http://attacker.example/" + goodPath, "attacker.example", 403},
		{"GET", "/" + goodPath, "attacker.example", 403},
		{"GET", "https://www.cpan.org/" + goodPath, "www.cpan.org", 403},
		{"CONNECT", "www.cpan.org:443", "www.cpan.org:443", 403},
		{"POST", "/" + goodPath, "", 405},
		{"GET", "/secret", "", 404},
		{"GET", "/authors/id/../../secret", "", 404},
		{"GET", "/authors/id/E/ET/ETHER/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret", "", 404},
		{"GET", "/" + goodPath + "?x", "", 404},
		{"GET", "/authors/id/E/ET/ETHER/CHECKSUMS.gz", "", 404},
		{"GET", "/authors/id/E/ET/ETHER/", "", 404},
		{"GET", "/authors/id/E/ET/ETHER/Missing-1.tar.gz", "", 404},
		{"GET", "/modules/07other.txt", "", 404},
		{"GET", "/modules/03modlist.data.gz", "", 200},
		{"GET", "/", "", 200},
		{"GET", "/-/status.json", "", 200},
	} {
		if a := w.send(tt.method, tt.target, tt.host); a.status != tt.status {
			t.Errorf("%s %s, Host %s: %s, want %d\n%s", tt.method, tt.target, tt.host, a.line, tt.status, a.body)
		}
	}
}

func TestRangesAndConditions(t *testing.T) {
	w := newWorld(t)
	a := w.wantServed(goodPath, goodFile)
	tag, date := a.header.Get("ETag"), a.header.Get("Last-Modified")
	later := logged.Add(1000 * time.Hour).Format(http.TimeFormat)
	for _, tt := range []struct {
		header string
		status int
	}{
		{"Range: bytes=2-5", 206},
		{"If-None-Match: " + tag, 304},
		{"If-Modified-Since: " + date, 304},
		// What was not verified here may have any date.
		{"If-Modified-Since: " + later, 200},
		{`If-None-Match: "sha256-other"`, 200},
	} {
		a := w.get(goodPath, tt.header)
		if a.status != tt.status {
			t.Errorf("%s: %s, want %d", tt.header, a.line, tt.status)
		}
		if a.status == 206 && !bytes.Equal(a.body, goodFile[2:6]) {
			t.Errorf("%s: %q", tt.header, a.body)
		}
	}
	// Nothing that does not verify is ever "not modified".
	w.wantRefused(absentPath, "503 Cannot Verify: no proof to be had")
	if a := w.get(absentPath, "If-Modified-Since: "+later, "If-None-Match: *"); a.status != 503 {
		t.Errorf("unverified: %s, want 503", a.line)
	}
}

func TestSideFiles(t *testing.T) {
	const author = "authors/id/E/ET/ETHER/"
	tar := make([]byte, 1024)
	copy(tar, "lib/Evil.pm")
	copy(tar[257:], "ustar")
	for _, tt := range []struct {
		name   string
		body   []byte
		status int
	}{
		{"README", []byte("read me"), 200},
		{"Try-Tiny-0.31.meta", []byte("name: Try-Tiny"), 200},
		{"Try-Tiny-0.31.readme", nil, 200},
		{"evil.md", goodFile, 403},
		{"evil.readme", []byte("BZh91AY&SY"), 403},
		{"evil.txt", []byte("PK\x03\x04...."), 403},
		{"behind.txt", []byte("text, and then PK\x05\x06...."), 403},
		{"evil.html", []byte("\xfd7zXZ\x00"), 403},
		{"evil.yml", tar, 403},
		{"large.txt", bytes.Repeat([]byte("a"), maxSideFile+1), 403},
		{"most.txt", bytes.Repeat([]byte("a"), maxSideFile), 200},
		{"code.txt.gz", goodFile, 403},
	} {
		w := newWorld(t, prefer)
		w.write(author+tt.name, tt.body)
		if a := w.get(author + tt.name); a.status != tt.status || a.status == 200 && !bytes.Equal(a.body, tt.body) {
			t.Errorf("%s: %s, want %d", tt.name, a.line, tt.status)
		}
	}
}

func TestChecksumsAgreeWithTheLog(t *testing.T) {
	const path = "authors/id/E/ET/ETHER/CHECKSUMS"
	text := func(d entry.Digest, dir string) []byte {
		return fmt.Appendf(nil, "$cksum = {\n  'Try-Tiny-0.31.tar.gz' => {\n    'cpan_path' => '%s',\n    'sha256' => '%s'\n  }\n};\n", dir, d)
	}
	for name, tt := range map[string]struct {
		text   []byte
		status int
	}{
		"as logged":       {text(digest(goodFile), "E/ET/ETHER"), 200},
		"another digest":  {text(digest(otherFile), "E/ET/ETHER"), 403},
		"another author":  {text(digest(goodFile), "D/DA/DAGOLDEN"), 403},
		"code":            {[]byte("$cksum = {};\nsystem 'id';\n"), 403},
		"not a CHECKSUMS": {goodFile, 403},
	} {
		w := newWorld(t)
		w.write(path, tt.text)
		w.wantServed(goodPath, goodFile)
		if a := w.get(path); a.status != tt.status {
			t.Errorf("%s: %s, want %d\n%s", name, a.line, tt.status, a.body)
		}
	}
}

// An archive that was served before is refused too once an index was refused, and served again once
// the index verifies.
func TestRefusedIndexIsForTheRun(t *testing.T) {
	now := logged.Add(time.Hour)
	var mu sync.Mutex
	w := newWorld(t, func(o *Options) {
		o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	w.wantServed(goodPath, goodFile)
	w.write(indexPath, otherFile)
	w.wantRefused(indexPath, "403 Not In Transparency Log: digest differs")
	w.wantRefused(goodPath, "403 Not In Transparency Log: the index was refused")
	w.write(indexPath, indexFile)
	mu.Lock()
	now = now.Add(keepRefused)
	mu.Unlock()
	w.wantServed(indexPath, indexFile)
	w.wantServed(goodPath, goodFile)
}

func TestStatus(t *testing.T) {
	w := newWorld(t)
	w.wantServed(goodPath, goodFile)
	w.wantRefused(absentPath, "503 Cannot Verify: no proof to be had")
	var s struct {
		Verified, Refused int
		Index             string
		Files             []struct{ State, Path, Outcome string }
	}
	if err := json.Unmarshal(w.get("-/status.json").body, &s); err != nil {
		t.Fatal(err)
	}
	if s.Verified != 1 || s.Refused != 1 || s.Index != "not asked for" || len(s.Files) != 2 || s.Files[1].Outcome != "unverifiable" {
		t.Errorf("status %+v", s)
	}
	if page := string(w.get("").body); !strings.Contains(page, absentPath) || !strings.Contains(page, "1 refused") {
		t.Errorf("the page does not say what was refused:\n%s", page)
	}
}

// Who watches the mirror sees whether its clients are too many for it.
func TestStatusOfConnections(t *testing.T) {
	w := newWorld(t)
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- w.mirror.Serve(ctx, l) }()
	client := &http.Client{Transport: &http.Transport{}}
	for round := range 2 {
		r, err := client.Get("http://" + l.Addr().String() + "/-/status.json")
		if err != nil {
			t.Fatal(err)
		}
		// Read to its end, so that the connection is used again.
		body, err := io.ReadAll(r.Body)
		if err := errors.Join(err, r.Body.Close()); err != nil {
			t.Fatal(err)
		}
		var s struct{ Connections map[string]int }
		err = json.Unmarshal(body, &s)
		want := map[string]int{"open": 1, "limit": maxConnections, "accepted": 1, "refused": 0, "evicted": 0}
		if err != nil || !maps.Equal(s.Connections, want) {
			t.Errorf("round %d: %v, %v; expected %v: one connection for both", round, s.Connections, err, want)
		}
	}
	client.CloseIdleConnections()
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestListenOnThisMachineAlone(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:80", "example.org:80", "[::]:0", "127.0.0.1"} {
		if l, err := Listen(address); err == nil {
			l.Close()
			t.Errorf("listening on %s", address)
		}
	}
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestSummaryOfNothing(t *testing.T) {
	if got := newWorld(t).mirror.Summary().String(); got != "no archive came by, index not asked for" {
		t.Errorf("summary %q", got)
	}
}

// What fails because this is no proxy for other hosts is said, and counts as no file.
func TestOtherHostsAreReported(t *testing.T) {
	w := newWorld(t)
	w.send("GET", "http://elsewhere.example/x", "elsewhere.example")
	w.send("CONNECT", "elsewhere.example:443", "elsewhere.example:443")
	if len(w.reports) != 2 || !strings.Contains(w.reports[0].String(), "refused GET http://elsewhere.example/x") || !strings.Contains(w.reports[1].String(), "CONNECT") {
		t.Errorf("reported %v", w.reports)
	}
	if got := w.mirror.Summary().Worst; got != verify.Verified {
		t.Errorf("the outcome is %v", got)
	}
}
