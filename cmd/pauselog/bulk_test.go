package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/verify"
)

// The proofs of a lockfile and of a mirror in one file each, with the real programs: made while there is a log, and used
// without a network. Carton would have made the snapshot and the bundle.
func TestLockfileAndTreeWithoutANetwork(t *testing.T) {
	m := newMirror(t)
	// Of a corpus, the archives alone.
	for _, index := range []string{"modules", "authors/01mailrc.txt.gz"} {
		if err := os.RemoveAll(filepath.Join(m.root, index)); err != nil {
			t.Fatal(err)
		}
	}
	archives := m.archives()
	for len(archives) < 520 { // the workers' order must not be the printer's
		name := fmt.Sprintf("authors/id/M/MO/MORE/More-%d.tar.gz", len(archives))
		writeFile(t, filepath.Join(m.root, name), tarball(name))
		archives = append(archives, name)
	}
	slices.Sort(archives)
	var files []string
	for _, a := range archives {
		files = append(files, filepath.Join(m.root, a))
	}
	submit := []string{m.program("pauselog"), "submit", "--server", m.grpc, "--token-file", m.token, "--root", m.root}
	if code, out := m.run(append(submit, files...)...); code != 0 {
		t.Fatalf("submit: exit code %d\n%s", code, out)
	}
	app := filepath.Join(m.dir, "app")
	snapshot := filepath.Join(app, "cpanfile.snapshot")
	text := "# carton snapshot format: version 1.0\nDISTRIBUTIONS\n"
	vendored := archives[:4]
	for _, a := range vendored {
		pathname := strings.TrimPrefix(a, "authors/id/")
		text += fmt.Sprintf("  %s\n    pathname: %s\n", strings.TrimSuffix(filepath.Base(a), ".tar.gz"), pathname)
		writeFile(t, filepath.Join(app, "vendor/cache", a), must(os.ReadFile(filepath.Join(m.root, a))))
	}
	writeFile(t, snapshot, []byte(text))
	locked, whole := filepath.Join(app, "cpanfile.tlog-proofs"), filepath.Join(m.dir, "cpan.tlog-proofs")
	for _, args := range [][]string{{"--snapshot", snapshot, "--out", locked}, {"--tree", m.root, "--out", whole}} {
		if code, out := m.run(append([]string{m.program("pauselog"), "bundle", "--policy", m.policy}, args...)...); code != 0 || out != "" {
			t.Fatalf("bundle: exit code %d\n%s", code, out)
		}
	}

	offline := func(args ...string) (int, string) {
		t.Helper()
		return m.run(append(append(m.alone, m.program("pauselog"), "verify", "--policy", m.policy, "--offline"), args...)...)
	}
	for _, args := range [][]string{{"--snapshot", snapshot, "--proofs", locked}, {"--tree", m.root, "--proofs", whole}} {
		code, out := offline(args...)
		// Of the tree there is to say that it has no index, and nothing else.
		if args[0] == "--tree" && strings.HasPrefix(out, packagesIndex+": note: the tree does not have it: ") && strings.Count(out, "\n") == 1 {
			out = ""
		}
		if code != 0 || out != "" {
			t.Errorf("%v: exit code %d\n%s", args, code, out)
		}
	}
	// In the order of the tree, and a summary last.
	code, out := offline("--tree", m.root, "--proofs", whole, "--json")
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if code != 0 || len(lines) != len(archives)+1 {
		t.Fatalf("exit code %d, %d lines, want %d", code, len(lines), len(archives)+1)
	}
	for i, a := range archives {
		var r struct{ Path, Outcome string }
		if err := json.Unmarshal([]byte(lines[i]), &r); err != nil || r.Path != a || r.Outcome != "verified" {
			t.Fatalf("line %d is of %s, %s, %v, want %s", i, r.Path, r.Outcome, err, a)
		}
	}
	if last := lines[len(archives)]; !strings.Contains(last, fmt.Sprintf(`"outcomes":{"verified":%d},"summary":true`, len(archives))) {
		t.Errorf("the summary is %s", last)
	}

	// One byte, in each of them.
	for file, args := range map[string][]string{
		filepath.Join(app, "vendor/cache", vendored[2]): {"--snapshot", snapshot, "--proofs", locked},
		filepath.Join(m.root, archives[500]):            {"--tree", m.root, "--proofs", whole},
	} {
		b := must(os.ReadFile(file))
		b[len(b)/2] ^= 1
		writeFile(t, file, b)
		code, out := offline(args...)
		if code != 10 || strings.Count(out, ": mismatch: ") != 1 || !strings.Contains(out, file+": mismatch: ") {
			t.Errorf("%v: exit code %d\n%s", args, code, out)
		}
	}
}

func writeFile(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, b, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// The worst files are named, the worst first and each kind in the order in which it was found.
func TestTally(t *testing.T) {
	var all tally
	add := func(o verify.Outcome, path string) {
		all.add(&handed{job: job{path: path, missing: path == "missing"}, result: &verify.Result{Outcome: o}})
	}
	for i := range 30 {
		add(verify.Verified, "good")
		add(verify.Unverifiable, fmt.Sprint("unproven", i))
		if i%10 == 5 {
			add(verify.Mismatch, fmt.Sprint("changed", i))
			add(verify.Revoked, fmt.Sprint("revoked", i))
		}
	}
	add(verify.Unverifiable, "missing")
	all.add(&handed{job: job{unlogged: "a document"}})
	want := []badFile{{verify.Mismatch, "changed5"}, {verify.Mismatch, "changed15"}, {verify.Mismatch, "changed25"},
		{verify.Revoked, "revoked5"}, {verify.Revoked, "revoked15"}, {verify.Revoked, "revoked25"}}
	for i := range worstShown - len(want) {
		want = append(want, badFile{verify.Unverifiable, fmt.Sprint("unproven", i)})
	}
	if !slices.Equal(all.bad, want) {
		t.Errorf("the worst are %v, want %v", all.bad, want)
	}
	if o := all.worst(verify.Require); o != verify.Mismatch {
		t.Errorf("the outcome is %v", o)
	}
	var out bytes.Buffer
	all.print(&app{stdout: &output{w: &out}, stderr: &out}, verify.Require)
	head := "       30 verified\n       31 unverifiable, 1 of them missing\n        3 revoked\n        3 mismatch\n        1 of names that are never logged, not verified\nthe worst:\n  mismatch      changed5\n"
	if !strings.HasPrefix(out.String(), head) {
		t.Errorf("the table is\n%s", &out)
	}

	var only tally
	only.add(&handed{result: &verify.Result{Outcome: verify.NotLogged}})
	for mode, want := range map[verify.Mode]verify.Outcome{verify.Require: verify.NotLogged, verify.Prefer: verify.Verified} {
		if o := only.worst(mode); o != want {
			t.Errorf("with --mode %v the outcome is %v, want %v", mode, o, want)
		}
	}
}

// An archive is one by its content, a compressed document by what is in it.
func TestArchiveIn(t *testing.T) {
	zipped := func(b []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		_, err := z.Write(b)
		if err := errors.Join(err, z.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	long := bytes.Repeat([]byte("text\n"), headOfDocument/4)
	for _, tt := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"notes.txt", []byte("text"), ""},
		{"empty.txt", nil, ""},
		{"notes.txt", long, ""},
		{"notes.txt", tarball("x"), "gzip"},
		{"notes.txt.gz", zipped([]byte("text")), ""},
		{"notes.txt.gz", zipped(long), ""},
		{"NOTES.TXT.GZ", zipped([]byte("text")), ""},
		{"notes.txt.gz", tarball("x"), "tar"},
		{"notes.txt.gz", zipped(tarball("x")), "gzip"},
		{"notes.txt.gz", []byte("\x1f\x8bno gzip"), "gzip"},
		{"notes.txt.bz2", []byte("BZh9 damaged"), ""},
		{"notes.pdf", []byte("BZh9"), "bzip2"},
		{"manual.pdf", append(slices.Clone(long), "PK\x05\x06 and eighteen bytes"...), "zip"},
		{"manual.pdf", []byte("%PDF PK\x05\x06 and eighteen bytes"), "zip"},
	} {
		name := filepath.Join(t.TempDir(), tt.name)
		writeFile(t, name, tt.content)
		if got, err := archiveIn(name); err != nil || got != tt.want {
			t.Errorf("%s of %d bytes: %q, %v, want %q", tt.name, len(tt.content), got, err, tt.want)
		}
	}
}

// Whose word counts that a path is not logged.
func TestLogTree(t *testing.T) {
	key := signer(checkpoint.Ed25519, craftedOrigin, 1).Verifier()
	for _, tt := range []struct {
		url, server string
		base        string
		own         bool
	}{
		{"https://log.example", "", "https://log.example", true},
		{"https://log.example/", "", "https://log.example", true},
		{"http://log.example", "", "http://log.example", false},
		{"http://127.0.0.1:8080", "", "http://127.0.0.1:8080", true},
		{"http://[::1]:8080", "", "http://[::1]:8080", true},
		{"grpcs://log.example:443", "", "", false},
		{"", "", "", false},
		{"", "https://log.example", "https://log.example", true},
		{"https://log.example", "https://mirror.example/tlog", "https://mirror.example/tlog", false},
		{"https://log.example", "https://log.example/v1", "https://log.example/v1", true},
		{"https://log.example", "grpcs://log.example:443", "https://log.example", true},
	} {
		policy := must(checkpoint.ParsePolicy(fmt.Appendf(nil, "%s\nquorum none\n", strings.TrimSpace(fmt.Sprintf("log %s %s", key, tt.url)))))
		a := &app{server: tt.server}
		if base, own := a.logTree(policy); base != tt.base || own != tt.own {
			t.Errorf("%q with --server %q: %q, %v, want %q, %v", tt.url, tt.server, base, own, tt.base, tt.own)
		}
	}
}
