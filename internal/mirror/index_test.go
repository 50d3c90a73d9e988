package mirror

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/verify"
)

const refusedOther = "403 Not In Transparency Log: digest differs"

func TestIndexes(t *testing.T) {
	again := compressedAnew(indexFile)
	for _, tt := range []struct {
		name   string
		file   []byte
		change func(*world)
		line   string
	}{
		{"as published", indexFile, nil, "200 OK"},
		{"compressed anew", again, nil, "200 OK"},
		{"other text", zipped("Try::Tiny 0.31 E/EV/EVIL/Evil-1.tar.gz\n"), nil, refusedOther},
		{"a second member", append(bytes.Clone(again), zipped("Evil 1 E/EV/EVIL/Evil-1.tar.gz\n")...), nil, refusedOther},
		{"something behind", append(bytes.Clone(again), 0), nil, refusedOther},
		{"other text, where only the text is logged", zipped("Try::Tiny 0.31 E/EV/EVIL/Evil-1.tar.gz\n"), func(w *world) { delete(w.evidence, indexPath) }, refusedOther},
		{"the text, where only that is logged", indexFile, func(w *world) { delete(w.evidence, indexPath) }, "200 OK"},
		{"nothing is logged", indexFile, func(w *world) { clear(w.evidence) }, "503 Cannot Verify: no proof to be had"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.write(indexPath, tt.file)
			good := w.evidence[goodPath]
			if tt.change != nil {
				tt.change(w)
				w.evidence[goodPath] = good
			}
			// The archive is logged; what led to it may be old.
			if !strings.HasPrefix(tt.line, "200") {
				w.wantRefused(indexPath, tt.line)
				// Of the archives no more is known than of the index.
				reason, _, _ := strings.Cut(tt.line, ":")
				w.wantRefused(goodPath, reason+": the index was refused")
				return
			}
			if a := w.get(indexPath); a.line != tt.line || unzipped(t, a.body) != indexText {
				t.Errorf("%s\n%q", a.line, a.body)
			}
			w.wantServed(goodPath, goodFile)
		})
	}
}

// compressedAnew is another compressor's file of the same text, with a time.
func compressedAnew(b []byte) []byte {
	b = bytes.Clone(b)
	b[4], b[9] = 99, 3
	return b
}

func unzipped(t *testing.T, b []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Of a file whose text alone is logged, nothing but the text reaches a client.
func TestOnlyTheTextGoesOn(t *testing.T) {
	var named bytes.Buffer
	z, err := gzip.NewWriterLevel(&named, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	z.Name, z.Comment, z.Extra, z.ModTime = "../../.bashrc", "a comment", []byte("extra"), logged
	io.WriteString(z, indexText)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var first []byte
	for name, file := range map[string][]byte{"another time": compressedAnew(indexFile), "a name and more": named.Bytes()} {
		w := newWorld(t)
		w.write(indexPath, file)
		a := w.get(indexPath)
		if a.status != 200 || unzipped(t, a.body) != indexText || bytes.Equal(a.body, file) {
			t.Errorf("%s: %s %q", name, a.line, a.body)
		}
		if want := "\x1f\x8b\x08\x00\x00\x00\x00\x00"; !strings.HasPrefix(string(a.body), want) {
			t.Errorf("%s: the header is % x, which is not without a name, a time and more", name, a.body[:min(len(a.body), 10)])
		}
		if first == nil {
			first = a.body
		}
		if !bytes.Equal(a.body, first) {
			t.Errorf("%s: %q, and of another file of this text %q", name, a.body, first)
		}
		if r := w.mirror.Records()[0]; r.SHA256 != digest(a.body).String() || r.Size != uint64(len(a.body)) {
			t.Errorf("%s: recorded with sha256 %s and %d bytes", name, r.SHA256, r.Size)
		}
	}
}

// The folder in which a file waits is not trusted: what is compressed is hashed again.
func TestTheTextIsHashedAgain(t *testing.T) {
	w := newWorld(t)
	f, err := w.mirror.fetch(t.Context(), w.mirror.Upstreams[0], indexPath, maxIndex)
	if err != nil {
		t.Fatal(err)
	}
	defer f.discard()
	text := &held{digest([]byte(indexText)), uint64(len(indexText))}
	anew, err := w.mirror.compress(f, text)
	if err != nil {
		t.Fatal(err)
	}
	anew.discard()
	if _, err := f.file.WriteAt(zipped("Evil::Tiny 0.31 E/EV/EVIL/Evil-1.tar.gz\n"), 0); err != nil {
		t.Fatal(err)
	}
	f.size = uint64(len(zipped("Evil::Tiny 0.31 E/EV/EVIL/Evil-1.tar.gz\n")))
	if anew, err := w.mirror.compress(f, text); err == nil {
		anew.discard()
		t.Error("another text was compressed")
	}
}

// snapshots is a Prover that has, as a proof tree does, the newest entry of a digest, or else the newest.
type snapshots struct {
	name    string
	bundles [][]byte // in the order of the log
}

func (s *snapshots) String() string { return s.name }

func (s *snapshots) Prove(_ context.Context, path string, digest entry.Digest) (*client.Evidence, error) {
	e := &client.Evidence{Detail: s.name + " has no proof of it"}
	for _, text := range s.bundles {
		b := must(proof.Parse(text))
		switch x := must(entry.Parse(b.Entry)); {
		case x.Path != path:
		case x.SHA256 == digest:
			e = &client.Evidence{Bundle: text}
		case e.Bundle == nil || must(entry.Parse(must(proof.Parse(e.Bundle)).Entry)).SHA256 != digest:
			e = &client.Evidence{Bundle: text}
		}
	}
	return e, nil
}

// at is an index entry of some time before now, which in these tests is an hour after logged.
func at(ago time.Duration, path string, b []byte) *entry.Entry {
	e := snapshot(path, b)
	e.Time = entry.TimeOf(logged.Add(time.Hour - ago))
	return e
}

func provers(all ...*snapshots) func(*Options) {
	return func(o *Options) {
		o.Provers = nil
		for _, p := range all {
			o.Provers = append(o.Provers, p)
		}
	}
}

func limit(d time.Duration) func(*Options) { return func(o *Options) { o.MaxIndexAge = d } }

const (
	day   = 24 * time.Hour
	usual = 26 * time.Hour // as a limit
)

// An index is as young as the youngest entry of its digest, wherever that is; and that a place knows only of another index
// is nothing against a proof of this one.
func TestTheYoungestEntryCounts(t *testing.T) {
	k := newWorld(t).key
	other := zipped("another text")
	of := func(name string, entries ...*entry.Entry) *snapshots { return &snapshots{name, bundles(k, entries...)} }
	old, young := of("old", at(3*day, indexPath, indexFile)), of("young", at(3*day, indexPath, indexFile), at(time.Hour, indexPath, indexFile))
	elder, text := of("elder", at(9*day, indexPath, indexFile)), of("text", at(time.Hour, textPath, []byte(indexText)))
	elderText := of("elder text", at(9*day, textPath, []byte(indexText)))
	unaware, none := of("unaware", at(5*day, indexPath, other)), of("none", upload(otherPath, otherFile))
	for _, tt := range []struct {
		name    string
		provers []*snapshots
		limit   time.Duration
		line    string
		warned  bool
	}{
		{"the old proof first", []*snapshots{old, young}, usual, "200 OK", false},
		{"the young proof first", []*snapshots{young, old}, usual, "200 OK", false},
		{"the old proof alone", []*snapshots{old}, usual, "403 Not In Transparency Log: index is 3 days old", false},
		{"two old proofs", []*snapshots{elder, old}, usual, "403 Not In Transparency Log: index is 3 days old", false},
		{"a place that knows another index only", []*snapshots{old, unaware}, usual, "403 Not In Transparency Log: index is 3 days old", false},
		{"that first", []*snapshots{unaware, old}, usual, "403 Not In Transparency Log: index is 3 days old", false},
		{"that, and a young one", []*snapshots{unaware, old, young}, usual, "200 OK", false},
		{"a place without a proof", []*snapshots{old, none}, usual, "403 Not In Transparency Log: index is 3 days old", false},
		{"the text is logged later", []*snapshots{old, text}, usual, "200 OK", false},
		{"the text was logged before", []*snapshots{old, elderText}, usual, "403 Not In Transparency Log: index is 3 days old", false},
		{"another index", []*snapshots{unaware}, usual, refusedOther, false},
		{"no limit, the old proof first", []*snapshots{old, young}, 0, "200 OK", false},
		{"no limit, two old proofs", []*snapshots{elder, old, unaware}, 0, "200 OK", true},
		{"no limit, the text is logged later", []*snapshots{old, text}, 0, "200 OK", false},
		{"a limit that it is within", []*snapshots{old}, 4 * day, "200 OK", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, limit(tt.limit), provers(tt.provers...))
			w.wantLine(indexPath, tt.line)
			if r := w.reports[0]; (r.Warning != "") != tt.warned || tt.warned && !strings.HasPrefix(r.Warning, "the index is 3 days old, and no --max-index-age is set: ") {
				t.Errorf("warning %q", r.Warning)
			}
		})
	}
}

// What the mirror says of itself is the first thing that a refusal names, and a warning.
func TestWhoseFaultItIs(t *testing.T) {
	stamp := func(ago time.Duration) []byte {
		at := logged.Add(time.Hour - ago)
		return fmt.Appendf(nil, "%d %s\n", at.Unix(), at.Format(time.ANSIC))
	}
	for _, tt := range []struct {
		name  string
		stamp []byte
		want  string
	}{
		{"a mirror that lags", stamp(3 * day), " says that it was last updated 3 days ago: it lags"},
		{"a fresh mirror", stamp(time.Minute), " says that it was last updated 60 seconds ago, so either PAUSE stands still or somebody holds the index back: compare with another --upstream"},
		{"a mirror without a stamp", nil, "most likely the mirror lags"},
		{"a stamp that is a page", []byte("<html>not here"), "most likely the mirror lags"},
		{"a stamp without end", bytes.Repeat([]byte("1"), 1<<20), "most likely the mirror lags"},
		{"a stamp of tomorrow", stamp(-day), "most likely the mirror lags"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, max := range []time.Duration{usual, 0} {
				w := newWorld(t, limit(max))
				old := &snapshots{"old", bundles(w.key, at(80*time.Hour, indexPath, indexFile))}
				w.mirror.Provers = []Prover{old}
				if tt.stamp != nil {
					w.write(stampPath, tt.stamp)
				}
				if max == 0 {
					w.wantServed(indexPath, indexFile)
					if r := w.reports[0]; r.State != Verified || !strings.Contains(r.Warning, tt.want) || !strings.Contains(r.String(), "; warning: the index is 3 days old") {
						t.Errorf("reported %s", r)
					}
					for _, shown := range []string{w.mirror.Summary().String(), string(w.get("").body)} {
						if !strings.Contains(shown, "the index is 3 days old, and no --max-index-age is set: ") {
							t.Errorf("it does not say how old the index is: %s", shown)
						}
					}
					continue
				}
				body := string(w.wantRefused(indexPath, "403 Not In Transparency Log: index is 3 days old").body)
				for _, shown := range []string{body, w.reports[0].String(), w.mirror.Records()[0].Message} {
					if i := strings.Index(shown, "the index is 3 days old, and the limit is 26 hours: "); i < 0 || !strings.Contains(shown[i:], tt.want) {
						t.Errorf("it does not say whose fault it may be: %s", shown)
					}
				}
				if !strings.Contains(string(w.get("").body), "index is 3 days old") {
					t.Error("the page does not say how old the index is")
				}
				w.wantRefused(goodPath, "403 Not In Transparency Log: the index was refused")
			}
		})
	}
}

// A clock that is wrong is not an old index.
func TestAnIndexOfTomorrow(t *testing.T) {
	w := newWorld(t, limit(usual))
	w.mirror.Provers = []Prover{&snapshots{"ahead", bundles(w.key, at(-day, indexPath, indexFile))}}
	w.wantRefused(indexPath, "403 Not In Transparency Log: index is dated in the future")
	if m := w.reports[0].Message; m != "this index is dated in the future" {
		t.Errorf("message %q", m)
	}
}

// One warning in a run, however many indexes there are and however often they are asked for.
func TestOneWarning(t *testing.T) {
	clock := logged.Add(time.Hour)
	w := newWorld(t, func(o *Options) { o.Now = func() time.Time { return clock } })
	perms := zipped("perms")
	w.write("modules/06perms.txt.gz", perms)
	w.mirror.Provers = []Prover{&snapshots{"old", bundles(w.key, at(3*day, indexPath, indexFile), at(3*day, "modules/06perms.txt.gz", perms))}}
	for range 3 {
		w.wantServed(indexPath, indexFile)
		w.wantServed("modules/06perms.txt.gz", perms)
		clock = clock.Add(keepVerified)
	}
	warned := 0
	for _, r := range w.reports {
		if r.Warning != "" {
			warned++
		}
	}
	if warned != 1 {
		t.Errorf("warned %d times: %v", warned, w.reports)
	}
	var s struct {
		Warning string
		Files   []struct{ Warning string }
	}
	if err := json.Unmarshal(w.get("-/status.json").body, &s); err != nil {
		t.Fatal(err)
	}
	if s.Warning == "" || len(s.Files) != 2 || s.Files[0].Warning == "" || s.Files[1].Warning == "" {
		t.Errorf("the JSON says %+v", s)
	}
}

// Of the upstreams, the one with the youngest index is taken, and an old one is better than one that is not logged.
func TestUpstreamsThatLag(t *testing.T) {
	const later = "Try::Tiny 0.32 E/ET/ETHER/Try-Tiny-0.32.tar.gz\n"
	fresh, strange := zipped(later), zipped("Try::Tiny 0.31 E/EV/EVIL/Evil-1.tar.gz\n")
	serve := func(b []byte) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, indexPath) {
				rw.Write(b)
				return
			}
			http.NotFound(rw, r)
		}
	}
	for _, tt := range []struct {
		name   string
		has    [][]byte
		limit  time.Duration
		served []byte
		line   string
	}{
		{"one lags", [][]byte{indexFile, fresh}, 0, fresh, ""},
		{"one lags, with a limit", [][]byte{indexFile, fresh}, usual, fresh, ""},
		{"the other lags", [][]byte{fresh, indexFile}, 0, fresh, ""},
		{"both lag", [][]byte{indexFile, indexFile}, 0, indexFile, ""},
		{"both lag, with a limit", [][]byte{indexFile, indexFile}, usual, nil, "403 Not In Transparency Log: index is 3 days old"},
		{"one lags, the other has a strange one", [][]byte{indexFile, strange}, 0, indexFile, ""},
		{"the other way round", [][]byte{strange, indexFile}, 0, indexFile, ""},
		{"the same with a limit", [][]byte{strange, indexFile}, usual, nil, "403 Not In Transparency Log: index is 3 days old"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var handlers []http.HandlerFunc
			for _, b := range tt.has {
				handlers = append(handlers, serve(b))
			}
			w := newWorld(t, limit(tt.limit), from(t, handlers...))
			w.mirror.Provers = []Prover{&snapshots{"log", bundles(w.key, at(3*day, indexPath, indexFile), at(time.Hour, indexPath, fresh))}}
			if tt.served == nil {
				w.wantRefused(indexPath, tt.line)
			} else {
				w.wantServed(indexPath, tt.served)
			}
		})
	}
}

// An old index passes by --mode prefer, and is told.
func TestOldIndexPreferred(t *testing.T) {
	w := newWorld(t, limit(time.Minute), prefer)
	w.wantServed(indexPath, indexFile)
	if s := w.mirror.Summary(); s.Index != "unverified" || !strings.Contains(w.reports[0].String(), "stale: the index is 60 minutes old, and the limit is 60 seconds") {
		t.Errorf("an old index is %s, want unverified; reported %s", s.Index, w.reports[0])
	}
}

// Nothing is installed by 01mailrc: it stops nothing, and none that does not verify reaches a client.
func TestMailrc(t *testing.T) {
	names := zipped("alias ETHER \"Karen Etheridge <ether@cpan.org>\"\n")
	other := zipped("alias ETHER \"Somebody Else <evil@example.org>\"\n")
	of := func(ago time.Duration) func(*world) {
		return func(w *world) {
			w.evidence[mailPath] = &client.Evidence{Bundle: bundles(w.key, at(ago, mailPath, names))[0]}
		}
	}
	for _, tt := range []struct {
		name   string
		file   []byte
		change func(*world)
		mode   verify.Mode
		state  State
		word   verify.Outcome
		served string // its text
	}{
		{"verified", names, of(time.Hour), 0, Verified, verify.Verified, "ether@"},
		{"old", names, of(3 * day), 0, Passed, verify.Stale, "ether@"},
		{"other bytes", other, of(time.Hour), 0, Passed, verify.Mismatch, ""},
		{"other bytes, prefer", other, of(time.Hour), verify.Prefer, Passed, verify.Mismatch, ""},
		{"no proof", names, nil, 0, Passed, verify.Unverifiable, ""},
		{"no proof, prefer", names, nil, verify.Prefer, Passed, verify.Unverifiable, "ether@"},
		{"not logged", names, func(w *world) { w.evidence[mailPath] = &client.Evidence{Absence: verify.SaidNotLogged} }, 0, Passed, verify.NotLogged, ""},
		{"a page in its place", []byte("<html>log in"), of(time.Hour), 0, Passed, verify.Unverifiable, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, limit(usual), func(o *Options) { o.Mode = tt.mode })
			w.write(mailPath, tt.file)
			if tt.change != nil {
				tt.change(w)
			}
			a := w.get(mailPath)
			if a.status != 200 {
				t.Fatalf("%s\n%s", a.line, a.body)
			}
			if text := unzipped(t, a.body); (text == "") != (tt.served == "") || !strings.Contains(text, tt.served) {
				t.Errorf("served %q, want %q", text, tt.served)
			}
			if r := w.reports[0]; r.State != tt.state || r.Outcome == nil || *r.Outcome != tt.word || strings.Contains(r.Message, "an empty one is served") != (tt.served == "") {
				t.Errorf("reported %s, want %s and %s", r, tt.state, tt.word)
			}
			w.wantServed(goodPath, goodFile)
			if s := w.mirror.Summary(); s.Worst != verify.Verified || s.Index != "not asked for" || s.Others != 0 {
				t.Errorf("summary %+v", s)
			}
		})
	}
	// How old it is, without a limit, is no matter: it is not what a warning is for.
	w := newWorld(t)
	w.write(mailPath, names)
	of(3 * day)(w)
	w.wantServed(mailPath, names)
	if r := w.reports[0]; r.State != Verified || r.Warning != "" {
		t.Errorf("reported %s", r)
	}
	// A log that contradicts itself is another matter.
	w = newWorld(t)
	w.write(mailPath, names)
	w.failure = &client.Misbehaviour{Evidence: verify.Contradiction(w.policy, noteOf(bundles(w.key, upload(goodPath, goodFile))[0]), noteOf(bundles(w.key, upload(otherPath, goodFile))[0]))}
	w.wantRefused(mailPath, "403 Not In Transparency Log: the log contradicts itself")
}
