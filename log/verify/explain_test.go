package verify

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// The words of all rows keep the voice: no capital, no period, nothing that promises too
// much or accuses too early, and for everything that stops somebody what to do next.
func TestVoice(t *testing.T) {
	w := newWorld(nil)
	for _, row := range rows {
		r := w.request()
		row.change(w, &r)
		res := Verify(r)
		if res.Message == "" || res.Expected == "" || res.Found == "" {
			t.Errorf("%s: message %q, expected %q, found %q", row.name, res.Message, res.Expected, res.Found)
		}
		if o := res.Outcome; o != Verified && o != Error && (len(res.Next) == 0 || (o != Usage && len(res.Causes) == 0)) {
			t.Errorf("%s: %v without causes or without a way on: %q, %q", row.name, o, res.Causes, res.Next)
		}
		for _, s := range slices.Concat([]string{res.Message, res.Expected, res.Found}, res.Causes, res.Next, res.Notes) {
			first := []rune(s)[0]
			switch {
			case unicode.IsUpper(first) && !strings.HasPrefix(s, "PAUSE"):
				t.Errorf("%s: starts with a capital: %s", row.name, s)
			case strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "..."), strings.HasSuffix(s, "!"), strings.Contains(s, "\n"):
				t.Errorf("%s: not one quiet sentence: %q", row.name, s)
			case strings.Contains(s, "safe"), strings.Contains(s, "secure "), strings.Contains(s, "tamper"):
				t.Errorf("%s: says too much: %s", row.name, s)
			}
		}
		if res.Outcome == Mismatch && res.Causes[len(res.Causes)-1] != "somebody replaced the file" {
			t.Errorf("%s: the worst does not come last: %q", row.name, res.Causes)
		}
	}
}

// What is said of one of each, word for word where it matters most.
func TestWords(t *testing.T) {
	w := newWorld(nil)
	for _, v := range []struct {
		name     string
		change   func(r *Request)
		message  string
		expected string
		found    string
		cause    string // the first
		next     string // one of them
	}{
		{"verified", func(r *Request) {},
			goodPath + " is logged as entry 1 of log.example/pause, and the same for everyone",
			"sha256 " + digest(goodFile).String() + ", 33 bytes", "sha256 " + digest(goodFile).String() + ", 33 bytes", "", ""},
		{"truncated", func(r *Request) { r.Size, r.SHA256 = 7, digest(goodFile[:7]) },
			goodPath + " is logged with other bytes than these",
			"sha256 " + digest(goodFile).String() + ", 33 bytes", "sha256 " + digest(goodFile[:7]).String() + ", 7 bytes",
			"the download was cut short: it has 7 bytes of 33", "pauselog lookup --path " + goodPath},
		{"quorum", func(r *Request) { r.Bundle = w.bundleBy(iGood, w.log, w.w[1]) },
			"the proof is the log's, but too few witnesses of the policy have signed its checkpoint",
			"cosignatures that make the policy's quorum, of the witnesses w0, w1, w2", "cosignatures of w1",
			"the bundle is older than the policy, which has got new witnesses since", tellSecurity},
		{"fork", func(r *Request) { r.Known = [][]byte{fork().note(iEnd, signed, w.log)} },
			"log.example/pause signed two different trees of size 14",
			"root " + fork().root(iEnd).String() + ", in a checkpoint remembered from before", "root " + w.root(iEnd).String() + ", in the bundle's checkpoint",
			"the policy or the remembered checkpoints are of a test log that was set up anew with its old key", "pauselog audit"},
		{"a server's answer", func(r *Request) { r.Bundle, r.AbsenceDetail = nil, "404\x1b[2J \u202e" },
			"there is no proof to be had for " + goodPath + ": nothing is known to be wrong with it, and nothing to be right",
			"a proof that " + goodPath + " is logged", "404?[2J ?",
			"this machine is offline, or the log cannot be reached from it", "when there is a connection: pauselog lookup --path " + goodPath},
		{"a document", func(r *Request) {
			r.Bundle, r.Absence, r.Path = nil, SaidNotLogged, "authors/id/E/ET/ETHER/Try-Tiny-0.31.readme"
		},
			"authors/id/E/ET/ETHER/Try-Tiny-0.31.readme is not logged, says the log",
			"a proof that authors/id/E/ET/ETHER/Try-Tiny-0.31.readme is logged", "no entry",
			"files like this are never logged: files that PAUSE extracts from an archive are not logged", ""},
	} {
		r := w.request()
		v.change(&r)
		res := Verify(r)
		cause := ""
		if len(res.Causes) > 0 {
			cause = res.Causes[0]
		}
		if res.Message != v.message || res.Expected != v.expected || res.Found != v.found || cause != v.cause || (v.next != "" && !slices.Contains(res.Next, v.next)) {
			t.Errorf("%s:\n%s\n%s\n%s\n%s\n%q", v.name, res.Message, res.Expected, res.Found, cause, res.Next)
		}
	}
}

func TestNotes(t *testing.T) {
	w := newWorld(nil)
	for _, v := range []struct {
		name   string
		change func(r *Request)
		note   string
	}{
		{"nothing to say", func(r *Request) {}, ""},
		{"deleted", func(r *Request) { r.Deletion = w.bundle(iDelete) },
			"it was deleted from PAUSE on 2026-11-22T10:00:00Z (entry 3), which is routine; older copies stay what they were"},
		{"restored since", func(r *Request) { r.Bundle, r.Deletion = w.bundle(iRestored), w.bundle(iDelete) }, ""},
		{"a deletion that is not proven", func(r *Request) { r.Deletion = w.bundleBy(iDelete, w.log) }, ""},
		{"no witness needed", func(r *Request) { r.Policy = w.policy(none) },
			"the policy needs no witness, so that everyone is shown the same log is the word of the log alone"},
		{"a revocation that is not proven", func(r *Request) { r.Revocation = []byte("x\n") },
			`a revocation of this path was handed over and is not proven, so it was ignored: malformed tlog-proof: expected the line c2sp.org/tlog-proof@v1, found "x"`},
		{"index 26 hours old", func(r *Request) { forIndex(w, r); r.Now = logged.Add(26 * time.Hour) }, ""},
		{"index more than 26 hours old", func(r *Request) { forIndex(w, r); r.Now = logged.Add(26*time.Hour + time.Second) },
			"this index is 26h0m1s old, and no limit is set: mirrors lag and PAUSE sometimes stands still, but an old index hides newer releases"},
		{"index with a limit", func(r *Request) { forIndex(w, r); r.Now, r.MaxIndexAge = logged.Add(50*time.Hour), 100*time.Hour }, ""},
		{"index from the future", func(r *Request) { forIndex(w, r); r.Now = logged.Add(-time.Hour) },
			"this index is dated 1h0m0s ahead of this machine's clock"},
		{"index, and no time", func(r *Request) { forIndex(w, r); r.Now = time.Time{} }, ""},
	} {
		r := w.request()
		v.change(&r)
		res := wantOutcome(t, v.name, r, Verified)
		if got := strings.Join(res.Notes, "\n"); got != v.note {
			t.Errorf("%s: notes\n%s\nwant\n%s", v.name, got, v.note)
		}
	}
}

func TestExplain(t *testing.T) {
	w := newWorld(nil)
	r := w.request()
	r.Bundle = w.bundleBy(iGood, w.log, w.w[0], w.w[2], key(checkpoint.CosignatureV1, "stranger.example", 50))
	r.Known = [][]byte{w.note(3, signed, w.log), []byte("damaged")}
	want := `verified: authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz is logged as entry 1 of log.example/pause, and the same for everyone
  ok      bundle      1035 bytes, entry 1, 4 hashes
  ok      checkpoint  log.example/pause, size 14, root ` + w.root(iEnd).String() + `
  ok      inclusion   entry 1 of 14
  ok      quorum      2 cosignatures of known witnesses
  ok      entry       upload authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz
  ok      history     2 checkpoints, no two of one size differ; 1 of the remembered ones unreadable
  ok      path        authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz
  ok      kind        upload
  ok      digest      logged ` + digest(goodFile).String() + `
  ok      size        logged 33 bytes
signatures that verify under the policy:
  log      ` + keyName(w.log.Verifier()) + `, Ed25519 (0x01), without a time
  witness  w0, ` + keyName(w.w[0].Verifier()) + `, Ed25519 cosignature (0x04), 2026-11-22T10:01:00Z
  witness  w2, ` + keyName(w.w[2].Verifier()) + `, Ed25519 cosignature (0x04), 2026-11-22T10:01:00Z
  1 more by keys that the policy does not list: nothing is known of them
`
	if got := Verify(r).Explain(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// All fields are there whatever the outcome, under the same names and of the same types.
func TestJSON(t *testing.T) {
	w := newWorld(nil)
	lists := []string{"checks", "causes", "next", "notes"}
	fields := append([]string{"outcome", "code", "path", "sha256", "size", "index", "kind", "entry", "checkpoint", "message", "expected", "found", "evidence"}, lists...)
	for _, row := range rows {
		r := w.request()
		row.change(w, &r)
		res := Verify(r)
		var j map[string]any
		if err := json.Unmarshal(must(json.Marshal(res)), &j); err != nil {
			t.Fatal(err)
		}
		for _, f := range fields {
			if _, ok := j[f]; !ok {
				t.Errorf("%s: no field %s", row.name, f)
			}
		}
		for _, f := range lists {
			if _, ok := j[f].([]any); !ok {
				t.Errorf("%s: %s is %v", row.name, f, j[f])
			}
		}
		if len(j) != len(fields) || j["outcome"] != res.Outcome.String() || j["code"] != float64(res.Outcome) || (j["index"] != nil) != res.Proven || (j["entry"] != nil) != (res.Entry != nil) {
			t.Errorf("%s: %v", row.name, j)
		}
	}
	res := Verify(w.request())
	res.EvidencePath = "log.evidence"
	var j struct {
		Path, SHA256, Entry, Evidence string
		Index                         uint64
		Checkpoint                    struct {
			Origin, Root string
			Size         uint64
			Quorum       bool
			Cosignatures []struct{ Witness, Key, Time string }
		}
		Checks []Check
	}
	if err := json.Unmarshal(must(json.Marshal(res)), &j); err != nil {
		t.Fatal(err)
	}
	if j.Path != goodPath || j.SHA256 != digest(goodFile).String() || j.Entry != string(w.entries[iGood]) || j.Index != iGood || j.Evidence != "log.evidence" ||
		j.Checkpoint.Origin != origin || j.Checkpoint.Size != iEnd || j.Checkpoint.Root != w.root(iEnd).String() || !j.Checkpoint.Quorum ||
		len(j.Checkpoint.Cosignatures) != 3 || j.Checkpoint.Cosignatures[2].Witness != "w2" || j.Checkpoint.Cosignatures[2].Time != "2026-11-22T10:01:00Z" ||
		!slices.Equal(j.Checks, res.Checks) {
		t.Errorf("%+v", j)
	}
}

// A path may hold everything that a shell gives a meaning to, and is printed in commands.
func TestCommandsAreQuoted(t *testing.T) {
	for path, want := range map[string]string{
		goodPath:                        goodPath,
		"authors/id/A/AB/AB/x;rm":       "'authors/id/A/AB/AB/x;rm'",
		"authors/id/A/AB/AB/$(id)":      "'authors/id/A/AB/AB/$(id)'",
		"authors/id/A/AB/AB/`id`":       "'authors/id/A/AB/AB/`id`'",
		"authors/id/A/AB/AB/it's'&'":    `'authors/id/A/AB/AB/it'\''s'\''&'\'''`,
		"authors/id/A/AB/AB/x~y_1,2:%+": "'authors/id/A/AB/AB/x~y_1,2:%+'",
		"":                              "",
	} {
		if got := shell(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	evil := "authors/id/A/AB/AB/$(reboot).tar.gz"
	w := newWorld(func(e [][]byte) { e[iOther] = must(upload(evil, otherFile).Marshal()) })
	r := w.request()
	r.Bundle = w.bundle(iOther)
	for _, path := range []string{goodPath, ""} {
		r.Path = path
		res := Verify(r)
		for _, s := range res.Next {
			if strings.Contains(s, "reboot") && !strings.Contains(s, "'"+evil+"'") {
				t.Errorf("path %q: %s", path, s)
			}
		}
	}
}

// A sentence stays one, however much a policy lists or a server answers.
func TestLongLists(t *testing.T) {
	names := strings.Split("a b c d e f g h i j", " ")
	if got := list(names); got != "a, b, c, d, e, f, g, h and 2 more" {
		t.Error(got)
	}
	if got := plain(strings.Repeat("é", 1000)); len(got) > 610 || !strings.HasSuffix(got, "...") || strings.ContainsRune(got, unicode.ReplacementChar) {
		t.Error(got)
	}
}

// Signatures can carry times that no date has digits for.
func TestWhen(t *testing.T) {
	for _, v := range []struct {
		t    uint64
		want string
	}{
		{1, "1970-01-01T00:00:01Z"},
		{253402300799, "9999-12-31T23:59:59Z"},
		{253402300800, "253402300800 seconds after 1970"},
		{1<<63 - 1, "9223372036854775807 seconds after 1970"},
	} {
		if got := when(v.t); got != v.want {
			t.Errorf("%d: %s, want %s", v.t, got, v.want)
		}
	}
}
