package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A pinLab is a mirror whose index lists version 0.02 of a module, and a log that has 0.01 too. A version 0.005 is on the
// mirror and in no log, and a version 0.005 of somebody else's is logged.
type pinLab struct {
	*mirror
	up       string // the mirror, without proofs beside the files
	metadata string // a server that knows all versions
	asked    chan string
}

const (
	pinned = examples + "Example-Pinned-"
	others = "authors/id/O/OT/OTHER/Example-Pinned-0.005.tar.gz"
)

func newPinLab(t *testing.T) *pinLab {
	t.Helper()
	l := &pinLab{mirror: newMirror(t), up: t.TempDir(), asked: make(chan string, 1000)}
	index := "File: 02packages.details.txt\n\nExample::Needs 0.01 E/EX/EXAMPLE/Example-Needs-0.01.tar.gz\nExample::Pinned 0.02 E/EX/EXAMPLE/Example-Pinned-0.02.tar.gz\n"
	files := map[string][]byte{
		pinned + "0.01.tar.gz": atVersion("Example::Pinned", "0.01"), pinned + "0.02.tar.gz": atVersion("Example::Pinned", "0.02"),
		others:                                 atVersion("Example::Pinned", "0.005"),
		examples + "Example-Needs-0.01.tar.gz": needing("Example::Needs"),
		"modules/02packages.details.txt.gz":    zip([]byte(index)),
	}
	var names []string
	for path, b := range files {
		write(t, filepath.Join(l.root, path), b)
		write(t, filepath.Join(l.up, path), b)
		names = append(names, filepath.Join(l.root, path))
	}
	l.submit(l.http, names...)
	write(t, filepath.Join(l.up, pinned+"0.005.tar.gz"), atVersion("Example::Pinned", "0.005"))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.asked <- r.URL.Path
		if r.URL.Path != "/v1.0/history/Example::Pinned" {
			http.NotFound(w, r)
			return
		}
		for _, v := range []string{"0.01", "0.02", "0.005"} {
			fmt.Fprintf(w, "Example::Pinned  %s  E/EX/EXAMPLE/Example-Pinned-%s.tar.gz\n", v, v)
		}
	}))
	t.Cleanup(s.Close)
	l.metadata = s.URL
	return l
}

func atVersion(module, version string) []byte {
	return rebuilt(distribution(module), "0.01", version)
}

// needing is a distribution that needs version 0.01.
func needing(module string) []byte {
	archive := rebuilt(distribution(module, "Example::Pinned"), `"Example::Pinned":"0"`, `"Example::Pinned":"== 0.01"`)
	return rebuilt(archive, "'Example::Pinned' => 0", "'Example::Pinned' => '== 0.01'")
}

// exec runs a client in a folder of its own, and returns the folder too.
func (l *pinLab) exec(t *testing.T, flags []string, cpanfile string, command ...string) (code int, out, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dir = t.TempDir()
	write(t, filepath.Join(dir, "cpanfile"), []byte(cpanfile))
	// Settings that would send a client elsewhere.
	write(t, filepath.Join(dir, "home", ".curlrc"), []byte("noproxy = *\n"))
	write(t, filepath.Join(dir, "home", ".wgetrc"), []byte("use_proxy = off\n"))
	args := append([]string{"exec", "--policy", l.policy, "--upstream", l.up}, flags...)
	cmd := exec.CommandContext(ctx, l.program("pauselog"), append(append(args, "--"), command...)...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "home"), "RAN=" + filepath.Join(dir, "ran"), "TMPDIR=" + t.TempDir(),
		"PERL_CPANM_OPT=--mirror http://elsewhere.example", "https_proxy=http://proxy.example:1", "PERL_MM_USE_DEFAULT=1", "LC_ALL=C"}
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(b), dir
}

// installed returns the version of the module that is installed, "" if none is.
func installed(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, "local", "lib", "perl5", "Example", "Pinned.pm"))
	if err != nil {
		return ""
	}
	_, v, _ := strings.Cut(string(b), "VERSION = '")
	v, _, _ = strings.Cut(v, "'")
	return v
}

// Versions that the index does not list any more are found by who is asked for them, and verified like all else.
func TestPinnedVersions(t *testing.T) {
	l := newPinLab(t)
	metadata, lookup := []string{"--metadata", l.metadata}, []string{"--lookup"}
	cpanm := func(what string) []string { return []string{"cpanm", "-L", "local", "--notest", what} }
	carton := []string{"carton", "install"}
	for _, tt := range []struct {
		name     string
		flags    []string
		cpanfile string
		command  []string
		code     int
		version  string
		out      string
	}{
		{"cpanm, an exact version, metadata", metadata, "", cpanm("Example::Pinned@0.01"), 0, "0.01", "1 verified, 0 refused"},
		{"cpanm, an exact version, the log", lookup, "", cpanm("Example::Pinned@0.01"), 0, "0.01", "1 verified, 0 refused"},
		{"cpanm, a range, metadata", metadata, "", cpanm("Example::Pinned~<0.02"), 0, "0.01", "1 verified, 0 refused"},
		{"cpanm, a range, the log", lookup, "", cpanm("Example::Pinned~<0.02"), 0, "0.01", "1 verified, 0 refused"},
		{"cpanm, the newest", metadata, "", cpanm("Example::Pinned"), 0, "0.02", "1 verified, 0 refused"},
		{"cpanm, a dependency's version", metadata, "", cpanm("Example::Needs"), 0, "0.01", "2 verified, 0 refused"},
		{"cpanm, a version that is in no log", metadata, "", cpanm("Example::Pinned@0.005"), 11, "", "not-logged"},
		{"cpanm, a version of somebody else", lookup, "", cpanm("Example::Pinned@0.005"), 1, "", "no archive came by"},
		{"cpanm, nobody to ask", nil, "", cpanm("Example::Pinned@0.01"), 1, "", "no archive came by"},
		{"cpanm in a script", metadata, "", []string{"sh", "-c", "cpanm -L local --notest Example::Pinned@0.01"}, 0, "0.01", "1 verified, 0 refused"},
		{"carton, an exact version, metadata", metadata, "requires 'Example::Pinned', '== 0.01';\n", carton, 0, "0.01", "1 verified, 0 refused"},
		{"carton, an exact version, the log", lookup, "requires 'Example::Pinned', '== 0.01';\n", carton, 0, "0.01", "1 verified, 0 refused"},
		{"carton, the newest", metadata, "requires 'Example::Pinned';\n", carton, 0, "0.02", "1 verified, 0 refused"},
		{"carton, a version that is in no log", metadata, "requires 'Example::Pinned', '== 0.005';\n", carton, 11, "", "not-logged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, out, dir := l.exec(t, tt.flags, tt.cpanfile, tt.command...)
			if code != tt.code || installed(dir) != tt.version || !strings.Contains(out, tt.out) {
				t.Errorf("exit code %d, want %d; version %q is installed, want %q; want %q\n%s", code, tt.code, installed(dir), tt.version, tt.out, out)
			}
		})
	}
}

// Whoever may release a module by 06perms is one of those whose uploads are found in the log.
func TestPinnedVersionOfACoMaintainer(t *testing.T) {
	l := newPinLab(t)
	const perms = "modules/06perms.txt.gz"
	b := zip([]byte("File: 06perms.txt\n\nExample::Pinned,EXAMPLE,f\nExample::Pinned,OTHER,c\n"))
	write(t, filepath.Join(l.root, perms), b)
	write(t, filepath.Join(l.up, perms), b)
	l.submit(l.http, filepath.Join(l.root, perms))
	code, out, dir := l.exec(t, []string{"--lookup"}, "", "cpanm", "-L", "local", "--notest", "Example::Pinned@0.005")
	if code != 0 || installed(dir) != "0.005" {
		t.Errorf("exit code %d, version %q is installed\n%s", code, installed(dir), out)
	}
}

// A voided upload is found by nobody, and a proof beside the file that was valid once does not help it.
func TestVoidedVersion(t *testing.T) {
	l := newPinLab(t)
	const path = pinned + "0.01.tar.gz"
	code, out := l.run(l.program("pauselog"), "lookup", "--policy", l.policy, "--path", path, "--json")
	var found struct{ Index uint64 }
	if err := json.Unmarshal([]byte(out), &found); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v\n%s", code, err, out)
	}
	if code, out := l.run(l.program("pauselogd"), "void", "--data", filepath.Join(l.dir, "log"), fmt.Sprint(found.Index)); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	proof := must(os.ReadFile(filepath.Join(l.root, path+".tlog-proof")))
	write(t, filepath.Join(l.up, path+".tlog-proof"), proof)
	for _, tt := range []struct {
		flags []string
		code  int
		out   string
	}{
		{[]string{"--metadata", l.metadata}, 18, "revoked"},
		{[]string{"--lookup"}, 1, "no archive came by"},
	} {
		code, out, dir := l.exec(t, tt.flags, "", "cpanm", "-L", "local", "--notest", "Example::Pinned@0.01")
		if code != tt.code || installed(dir) != "" || !strings.Contains(out, tt.out) {
			t.Errorf("%s: exit code %d, want %d and %q; version %q is installed\n%s", tt.flags, code, tt.code, tt.out, installed(dir), out)
		}
	}
}

// What is deleted from CPAN comes from BackPAN.
func TestPinnedVersionFromBackPAN(t *testing.T) {
	l := newPinLab(t)
	backpan := t.TempDir()
	write(t, filepath.Join(backpan, pinned+"0.01.tar.gz"), must(os.ReadFile(filepath.Join(l.up, pinned+"0.01.tar.gz"))))
	if err := os.Remove(filepath.Join(l.up, pinned+"0.01.tar.gz")); err != nil {
		t.Fatal(err)
	}
	code, out, dir := l.exec(t, []string{"--metadata", l.metadata, "--backpan", backpan}, "", "cpanm", "-L", "local", "--notest", "Example::Pinned@0.01")
	if code != 0 || installed(dir) != "0.01" {
		t.Errorf("exit code %d, version %q is installed\n%s", code, installed(dir), out)
	}
}

// A distribution of one's own installs from one's own mirror, and no other is asked for it.
func TestPrivateDistribution(t *testing.T) {
	l := newPinLab(t)
	const path = "authors/id/M/MY/MYCORP/Example-Pinned-1.00.tar.gz"
	own := t.TempDir()
	write(t, filepath.Join(own, path), atVersion("Example::Pinned", "1.00"))
	index := "File: 02packages.details.txt\n\nExample::Needs 0.01 E/EX/EXAMPLE/Example-Needs-0.01.tar.gz\nExample::Pinned 1.00 M/MY/MYCORP/Example-Pinned-1.00.tar.gz\n"
	write(t, filepath.Join(own, "modules/02packages.details.txt.gz"), zip([]byte(index)))
	write(t, filepath.Join(l.up, path), atVersion("Example::Pinned", "9.99"))
	flags := []string{"--private", "authors/id/M/MY/MYCORP/", "--private", "modules/02packages.details.txt.gz", "--private", own, "--metadata", l.metadata}
	code, out, dir := l.exec(t, flags, "", "cpanm", "-L", "local", "--notest", "Example::Pinned")
	if code != 0 || installed(dir) != "1.00" || !strings.Contains(out, "0 verified, 0 refused, 0 passed unverified, 1 private, index private") {
		t.Errorf("exit code %d, version %q is installed\n%s", code, installed(dir), out)
	}
	if n := len(l.asked); n > 0 {
		t.Errorf("the metadata server was asked for %s", <-l.asked)
	}
	code, out, dir = l.exec(t, nil, "", "cpanm", "-L", "local", "--notest", "MYCORP/Example-Pinned-1.00.tar.gz")
	if code != 11 || installed(dir) != "" {
		t.Errorf("without --private: exit code %d, version %q is installed\n%s", code, installed(dir), out)
	}
}

// rebuilt returns a distribution in whose names and files one text is another.
func rebuilt(archive []byte, old, with string) []byte {
	z := must(gzip.NewReader(bytes.NewReader(archive)))
	in := tar.NewReader(z)
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		text := strings.ReplaceAll(string(must(io.ReadAll(in))), old, with)
		h.Name, h.Size = strings.ReplaceAll(h.Name, old, with), int64(len(text))
		if err := errors.Join(err, out.WriteHeader(h)); err != nil {
			panic(err)
		}
		io.WriteString(out, text)
	}
	out.Close()
	return zip(b.Bytes())
}
