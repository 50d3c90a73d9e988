package pausehook

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/entry"
)

const author = "authors/id/E/ET/ETHER/"

// drive makes the calls and returns the driver's answers. It prints warnings too, so a call that warns fails the test.
func drive(t *testing.T, root, spool string, calls []string) []string {
	t.Helper()
	readHook(t)
	out, err := perl(t, "perl", []byte(strings.Join(calls, "\n")+"\n"), "-Ilib", "t/driver.pl", root, spool)
	if err != nil {
		t.Fatalf("driver.pl: %v\n%s", err, last(out, 8000))
	}
	answers := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(answers) != len(calls) {
		t.Fatalf("driver.pl gave %d answers to %d calls\n%s", len(answers), len(calls), last(out, 8000))
	}
	return answers
}

func TestHookWritesWhatAReaderAccepts(t *testing.T) {
	root, spool := t.TempDir(), t.TempDir()
	for _, dir := range []string{"tmp", "new"} {
		if err := os.Mkdir(filepath.Join(spool, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	at, by := "\tETHER\t1795341600", " 2026-11-22T10:00:00Z ETHER"
	tests := []struct {
		call, path, more string
		want             string // after the digest and the size; "" if nothing is spooled
	}{
		{"upload", author + "Try-Tiny-0.31.tar.gz", at, by},
		{"upload", author + "Try-Tiny-0.31.tar.gz", "\tANDK\t1795341600", " 2026-11-22T10:00:00Z ANDK"},
		{"upload", author + "sub/CGI.pm.gz", at, by},
		{"upload", author + "Perl6/Foo-0.1.tar.gz", at, by},
		{"upload", author + `a"b\c&<>'.tgz`, at, by},
		{"upload", author + "x.tgz", "\tnobody\t1795341600", " 2026-11-22T10:00:00Z -"},
		{"upload", author + "README", at, ""},
		{"upload", author + "CHECKSUMS", at, ""},
		{"index", "modules/02packages.details.txt.gz", "", " TIME -"},
		{"index", "authors/01mailrc.txt.gz", "", " TIME -"},
		{"index", "authors/02STAMP", "", ""},
		{"index", author + "Try-Tiny-0.31.tar.gz", "", ""},
		{"delete", author + "Try-Tiny-0.31.tar.gz", "\tETHER", " TIME ETHER"},
		{"delete", author + "x.tgz", "", " TIME -"},
		{"delete", author + "Try-Tiny-0.31.readme", "", ""},
	}
	var calls, wantAnswers, want []string
	for _, tt := range tests {
		data := []byte("bytes of " + tt.path)
		name := filepath.Join(root, tt.path)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, tt.call+"\t"+tt.path+tt.more)
		if tt.want == "" {
			wantAnswers = append(wantAnswers, "0")
			continue
		}
		wantAnswers = append(wantAnswers, "1")
		digest := sha256.Sum256(data)
		want = append(want, fmt.Sprintf("%s %s %s %d%s", tt.call, tt.path, hex.EncodeToString(digest[:]), len(data), tt.want))
	}
	if got := drive(t, root, spool, calls); strings.Join(got, "") != strings.Join(wantAnswers, "") {
		t.Errorf("answers %v, want %v", got, wantAnswers)
	}
	events, err := readSpool(spool)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, e := range events {
		if i < len(want) && strings.Contains(want[i], " TIME ") {
			e.time = "TIME" // the present one: its form has been checked
		}
		got = append(got, e.String())
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("the spool has\n%s\nwant\n%s", g, w)
	}
}

// The hook and the log must mean the same by an upload: what the hook passes over by mistake is logged an hour late,
// and what it spools by mistake is refused.
func TestHookMeansTheSameByAnUpload(t *testing.T) {
	paths := []string{"authors/id/E/ET/ETHER", author, "modules/02packages.details.txt", "x", author + "a//b.tgz/../c"}
	for _, id := range []string{"E/ET/ETHER", "E/ET/E", "R/RJ/RJ", "A/A1/A1B2", "X/X-/X-Y", "1/1A/1AB", "A/AB/ABCDEFGHIJ", "A/AB/ABCDEFGHIJK", "A/AB/ACB", "a/ab/abc", "A/AB/AB_C"} {
		paths = append(paths, "authors/id/"+id+"/x.tgz")
	}
	for n := 1; n <= 2; n++ {
		paths = append(paths, author+strings.Repeat("x", entry.MaxPath-len(author)-1+n))
	}
	random := rand.New(rand.NewPCG(1, 2))
	parts := []string{
		"x", "Foo-0.1", "README", "readme", "ReadMe", "CHECKSUMS", "Perl6", "/", "/", ".", ".", "..", "~", " ", "\x7f", "\xe9", "\\", "\"", "-",
		".gz", ".GZ", ".bz2", ".Bz2", ".tar", ".tgz", ".pm", ".meta", ".readme", ".META", ".tlog-proof", ".tmp", ".part",
		".html", ".txt", ".TXT", ".mkdn", ".md", ".xml", ".yml", ".json", ".pdf", ".rdf", ".pod", ".pods", "txt",
	}
	for range 20_000 {
		p := author
		for range 1 + random.IntN(5) {
			p += parts[random.IntN(len(parts))]
		}
		paths = append(paths, p)
	}
	calls := make([]string, len(paths))
	for i, p := range paths {
		// The hook is given names of files, in which two slashes are one.
		for strings.Contains(p, "//") {
			p = strings.ReplaceAll(p, "//", "/")
		}
		paths[i], calls[i] = p, "name\t"+p
	}
	uploads := 0
	for i, answer := range drive(t, "/cpan", "/nowhere", calls) {
		want, why := entry.IsUpload(paths[i])
		if got := answer == "1"; got != want {
			t.Errorf("the hook says %v of %q, want %v (%s)", got, paths[i], want, why)
		}
		if want {
			uploads++
		}
	}
	if uploads < 1000 || uploads > len(paths)-1000 {
		t.Errorf("%d of %d names are uploads: the names do not test much", uploads, len(paths))
	}
}

// That the reader of these tests is strict.
func TestParseEvent(t *testing.T) {
	const good = `{"spool":1,"kind":"delete","path":"authors/id/E/ET/ETHER/x.tgz","sha256":null,"size":null,"time":"2026-11-22T10:00:00Z","by":null}` + "\n"
	if e, err := parseEvent([]byte(good)); err != nil || e.String() != "delete authors/id/E/ET/ETHER/x.tgz - - 2026-11-22T10:00:00Z -" {
		t.Fatalf("parseEvent = %v, %v", e, err)
	}
	for name, bad := range map[string]string{
		"nothing":            "",
		"no line feed":       strings.TrimSuffix(good, "\n"),
		"two lines":          good + "\n",
		"two objects":        strings.TrimSuffix(good, "\n") + good,
		"space before it":    " \t" + good,
		"not ASCII":          strings.Replace(good, "x.tgz", "é.tgz", 1),
		"too long":           strings.Replace(good, ":1,", ":1,"+strings.Repeat(" ", maxSpoolFile), 1),
		"a key twice":        strings.Replace(good, `"by":null`, `"by":null,"by":null`, 1),
		"a key more":         strings.Replace(good, `"by":null`, `"by":null,"ip":null`, 1),
		"a key less":         strings.Replace(good, `,"by":null`, "", 1),
		"another version":    strings.Replace(good, `:1,`, `:2,`, 1),
		"a version in text":  strings.Replace(good, `:1,`, `:"1",`, 1),
		"another kind":       strings.Replace(good, "delete", "void", 1),
		"an index by path":   strings.Replace(good, "delete", "index", 1),
		"a document":         strings.Replace(good, "x.tgz", "README", 1),
		"a path upwards":     strings.Replace(good, "x.tgz", "../x.tgz", 1),
		"half of the digest": strings.Replace(good, `"size":null`, `"size":1`, 1),
		"a fraction":         strings.Replace(good, `"size":null`, `"size":1.0`, 1),
		"not a digest":       strings.Replace(strings.Replace(good, `"size":null`, `"size":1`, 1), `"sha256":null`, `"sha256":"00"`, 1),
		"not a date":         strings.Replace(good, "11-22", "11-31", 1),
		"not a PAUSE id":     strings.Replace(good, `"by":null`, `"by":"ether"`, 1),
		"a nested value":     strings.Replace(good, `"by":null`, `"by":{}`, 1),
	} {
		if e, err := parseEvent([]byte(bad)); err == nil {
			t.Errorf("%s: accepted as %v", name, e)
		}
	}
}
