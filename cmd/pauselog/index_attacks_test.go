package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a mirror can do with an old index, and real clients, first without pauselog and then with it. Version 0.01 of the
// module has a hole, and 0.02 mends it; both are logged. Who wants the hole only has to show what was true three days ago.

const (
	modVersions = examples + "Example-Mod-"
	textIndex   = "modules/02packages.details.txt"
	gzipIndex   = "modules/02packages.details.txt.gz"
	stamp       = "authors/02STAMP"
	threeDays   = 72*time.Hour + time.Minute
)

// An indexLab is a log, and CPAN as it was and as it is.
type indexLab struct {
	*clientLab
	before, after string // CPAN three days ago, and now
	frozen        string // a copy of the log's tree of three days ago
}

func newIndexLab(t *testing.T) *indexLab {
	t.Helper()
	for program, deb := range clientPackages {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("these tests drive real clients, and there is no %s (Debian package %s)", program, deb)
		}
	}
	l := &indexLab{clientLab: &clientLab{mirror: newMirror(t)}, before: t.TempDir(), after: t.TempDir(), frozen: t.TempDir()}
	l.makeOffline()
	l.cpan(l.before, threeDays, "0.01")
	l.log(l.before, modVersions+"0.01.tar.gz", textIndex, gzipIndex, "modules/06perms.txt", "authors/01mailrc.txt.gz")
	l.export(l.frozen)
	l.cpan(l.after, time.Hour, "0.01", "0.02")
	l.log(l.after, modVersions+"0.02.tar.gz", textIndex, gzipIndex, "modules/06perms.txt", "authors/01mailrc.txt.gz")
	return l
}

// makeOffline writes a policy whose log cannot be reached.
func (l *indexLab) makeOffline() {
	l.offline = filepath.Join(l.dir, "offline.policy")
	write(l.t, l.offline, []byte(strings.ReplaceAll(string(must(os.ReadFile(l.policy))), l.http, "http://127.0.0.1:1")))
}

// cpan writes CPAN as it was some time ago, when it had these versions.
func (l *indexLab) cpan(dir string, ago time.Duration, versions ...string) {
	l.t.Helper()
	at := time.Now().Add(-ago)
	newest := versions[len(versions)-1]
	checksums := "$cksum = {\n"
	for _, v := range versions {
		b := atVersion("Example::Mod", v)
		write(l.t, filepath.Join(dir, modVersions+v+".tar.gz"), b)
		checksums += fmt.Sprintf("  'Example-Mod-%s.tar.gz' => {\n    'cpan_path' => 'E/EX/EXAMPLE',\n    'sha256' => '%x'\n  },\n", v, sha256.Sum256(b))
	}
	text := fmt.Sprintf("File: 02packages.details.txt\nLine-Count: 1\nLast-Updated: %s\n\nExample::Mod %s E/EX/EXAMPLE/Example-Mod-%s.tar.gz\n", at.UTC().Format(time.RFC1123), newest, newest)
	for path, b := range map[string][]byte{
		examples + "CHECKSUMS":      []byte(checksums + "};\n"),
		textIndex:                   []byte(text),
		gzipIndex:                   zip([]byte(text)),
		"modules/06perms.txt":       []byte("File: 06perms.txt\n\nExample::Mod,EXAMPLE,f\n"),
		"modules/03modlist.data.gz": zip([]byte("File: 03modlist.data\n\npackage CPAN::Modulelist;\nsub data { return {} }\n1;\n")),
		"authors/01mailrc.txt.gz":   zip(fmt.Appendf(nil, "alias EXAMPLE \"An Example at %s <example@example.org>\"\n", newest)),
		stamp:                       fmt.Appendf(nil, "%d %s\n", at.Unix(), at.UTC().Format(time.ANSIC)),
	} {
		name := filepath.Join(dir, path)
		write(l.t, name, b)
		if err := os.Chtimes(name, at, at); err != nil {
			l.t.Fatal(err)
		}
	}
}

// log submits files of a CPAN; an index's time is the file's.
func (l *indexLab) log(root string, paths ...string) {
	l.t.Helper()
	args := []string{l.program("pauselog"), "submit", "--server", l.http, "--token-file", l.token, "--policy", l.policy, "--root", root, "--seen", "backfill"}
	for _, p := range paths {
		args = append(args, filepath.Join(root, p))
	}
	if code, out := l.run(args...); code != 0 {
		l.t.Fatalf("submit: exit code %d\n%s", code, out)
	}
}

func (l *indexLab) export(dir string) {
	l.t.Helper()
	if code, out := l.run(l.program("pauselog"), "export", "--policy", l.policy, "--state-dir", l.t.TempDir(), "--dir", dir); code != 0 {
		l.t.Fatalf("export: exit code %d\n%s", code, out)
	}
}

// copied is a CPAN in a folder of its own, changed.
func copied(t *testing.T, from string, change func(dir string)) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(dir)
	}
	return dir
}

// takeOver copies files from one CPAN to another.
func takeOver(t *testing.T, to, from string, paths ...string) {
	t.Helper()
	for _, p := range paths {
		write(t, filepath.Join(to, p), must(os.ReadFile(filepath.Join(from, p))))
	}
}

// prepared is a run of a client that has been told of a mirror.
func (l *indexLab) prepared(t *testing.T, mirror string) *clientRun {
	t.Helper()
	r := l.newRun(t)
	write(t, filepath.Join(r.home, ".cpan", "CPAN", "MyConfig.pm"),
		[]byte(strings.NewReplacer("@HOME@", filepath.Join(r.home, ".cpan"), "@MIRROR@", mirror).Replace(cpanConfig)))
	return r
}

// through has a client install the module through pauselog exec.
func (l *indexLab) through(r *clientRun, client, policy, upstream string, flags ...string) (int, string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Minute)
	defer cancel()
	args := append([]string{"exec", "--policy", policy, "--upstream", upstream}, flags...)
	switch client {
	case "cpanm":
		args = append(args, "--", "cpanm", "-L", r.lib, "--notest", "Example::Mod")
	case "cpan":
		args = append(args, "--", "cpan", "-T", "-i", "Example::Mod")
	case "carton":
		r.cpanfile([]string{"Example::Mod"})
		args = append(args, "--", "carton", "install")
	}
	cmd := exec.CommandContext(ctx, l.program("pauselog"), args...)
	cmd.Dir, cmd.Env = r.dir, r.environ(client)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// version is that of the module that is installed, "" if none is.
func (r *clientRun) version() string {
	b, err := os.ReadFile(filepath.Join(r.lib, "lib", "perl5", "Example", "Mod.pm"))
	if err != nil {
		return ""
	}
	_, v, _ := strings.Cut(string(b), "VERSION = '")
	v, _, _ = strings.Cut(v, "'")
	return v
}

var limited = []string{"--max-index-age", "26h"}

const (
	isOld    = "refused modules/02packages.details.txt.gz: stale: the index is 3 days old, and the limit is 26 hours: "
	heldBack = "so either PAUSE stands still or somebody holds the index back: compare with another --upstream"
)

// Each attack has every client install version 0.01; and through pauselog nothing, for a reason that names the age.
func TestOldIndexAttacks(t *testing.T) {
	l := newIndexLab(t)
	for _, tt := range []struct {
		name   string
		mirror func(t *testing.T) string
		// The log cannot be reached, so that all proofs are those that the mirror has.
		alone  bool
		code   int
		reason string
	}{
		{"rollback: an index of before on a mirror of now", func(t *testing.T) string {
			return copied(t, l.after, func(dir string) { takeOver(t, dir, l.before, textIndex, gzipIndex) })
		}, false, 16, heldBack},
		{"freeze: everything as it was", func(t *testing.T) string { return copied(t, l.before, nil) }, false, 16, "says that it was last updated 3 days ago: it lags"},
		{"freeze, with a fresh stamp", func(t *testing.T) string {
			return copied(t, l.before, func(dir string) { takeOver(t, dir, l.after, stamp) })
		}, false, 16, heldBack},
		{"freeze, with the log's tree as it was and nothing else", func(t *testing.T) string {
			return copied(t, l.before, func(dir string) {
				if err := os.CopyFS(filepath.Join(dir, "modules", "tlog"), os.DirFS(l.frozen)); err != nil {
					t.Fatal(err)
				}
			})
		}, true, 16, "says that it was last updated 3 days ago: it lags"},
		{"mix: an old 02packages under fresh other indexes", func(t *testing.T) string {
			return copied(t, l.before, func(dir string) {
				takeOver(t, dir, l.after, stamp, "authors/01mailrc.txt.gz", "modules/06perms.txt")
			})
		}, false, 16, heldBack},
		{"mix: a fresh .txt beside an old .txt.gz", func(t *testing.T) string {
			return copied(t, l.after, func(dir string) { takeOver(t, dir, l.before, gzipIndex) })
		}, false, 16, heldBack},
		{"mix: an old .txt, compressed anew", func(t *testing.T) string {
			return copied(t, l.after, func(dir string) {
				b := zip(must(os.ReadFile(filepath.Join(l.before, textIndex))))
				b[4] = 99 // another time
				write(t, filepath.Join(dir, gzipIndex), b)
			})
		}, false, 16, heldBack},
		{"mix: the old archive under the new one's name", func(t *testing.T) string {
			return copied(t, l.after, func(dir string) {
				old := must(os.ReadFile(filepath.Join(l.before, modVersions+"0.01.tar.gz")))
				write(t, filepath.Join(dir, modVersions+"0.02.tar.gz"), old)
				write(t, filepath.Join(dir, examples, "CHECKSUMS"), fmt.Appendf(nil, "$cksum = {\n  'Example-Mod-0.02.tar.gz' => {\n    'cpan_path' => 'E/EX/EXAMPLE',\n    'sha256' => '%x'\n  }\n};\n", sha256.Sum256(old)))
			})
		}, false, 10, "Example-Mod-0.02.tar.gz: mismatch: "},
	} {
		for _, client := range []string{"cpanm", "cpan", "carton"} {
			t.Run(client+", "+tt.name, func(t *testing.T) {
				t.Parallel()
				dir := tt.mirror(t)
				plain := httptest.NewServer(http.FileServer(http.Dir(dir)))
				t.Cleanup(plain.Close)
				without := l.prepared(t, plain.URL)
				if code, out := without.directly(client, plain.URL, "Example::Mod"); code != 0 || without.version() != "0.01" {
					t.Errorf("without pauselog: exit code %d, version %q\n%s", code, without.version(), out)
				}
				policy := l.policy
				if tt.alone {
					policy = l.offline
				}
				with := l.prepared(t, plain.URL)
				code, out := l.through(with, client, policy, plain.URL, limited...)
				if code != tt.code || with.version() != "" || with.ran() != "" || !strings.Contains(out, tt.reason) || tt.code == 16 && !strings.Contains(out, isOld) {
					t.Errorf("exit code %d, version %q, %q ran; want %d and %q\n%s", code, with.version(), with.ran(), tt.code, tt.reason, out)
				}
				// It is the line that CPAN.pm shows.
				if client == "cpan" && tt.code == 16 && !strings.Contains(out, "Not In Transparency Log: index is 3 days old") {
					t.Errorf("the client does not say how old the index is\n%s", out)
				}
			})
		}
	}
}

// CPAN as it is passes with the limit, and an old archive is of no use where the index names the new one: clients ask for
// what the index names.
func TestFreshIndex(t *testing.T) {
	l := newIndexLab(t)
	withoutNew := func(t *testing.T) string {
		return copied(t, l.after, func(dir string) {
			if err := os.Remove(filepath.Join(dir, modVersions+"0.02.tar.gz")); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, client := range []string{"cpanm", "cpan", "carton"} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			r := l.prepared(t, "http://127.0.0.1:1")
			code, out := l.through(r, client, l.policy, l.after, limited...)
			if code != 0 || r.version() != "0.02" || !strings.Contains(out, "1 verified, 0 refused, 0 passed unverified, index verified\n") {
				t.Errorf("exit code %d, version %q\n%s", code, r.version(), out)
			}
			r = l.prepared(t, "http://127.0.0.1:1")
			_, out = l.through(r, client, l.policy, withoutNew(t), limited...)
			if r.version() != "" || r.ran() != "" || !strings.Contains(out, "no archive came by, index verified\n") {
				t.Errorf("without the new archive: version %q, %q ran\n%s", r.version(), r.ran(), out)
			}
		})
	}
}

// Without a limit, an old index is a warning: mirrors lag, and PAUSE may stand still for days. What is installed is what was
// newest then; that somebody holds back what is newer cannot be seen.
func TestOldIndexWithoutALimit(t *testing.T) {
	l := newIndexLab(t)
	withTree := copied(t, l.before, func(dir string) {
		if err := os.CopyFS(filepath.Join(dir, "modules", "tlog"), os.DirFS(l.frozen)); err != nil {
			t.Fatal(err)
		}
	})
	stalled := copied(t, l.before, func(dir string) { takeOver(t, dir, l.after, stamp) })
	const warning = "; warning: the index is 3 days old, and no --max-index-age is set: the mirror "
	for _, tt := range []struct {
		name, policy, mirror, why string
	}{
		{"a mirror that lags", l.policy, l.before, "says that it was last updated 3 days ago: it lags"},
		{"PAUSE stands still", l.policy, stalled, heldBack},
		{"a frozen mirror with a frozen tree alone", l.offline, withTree, "says that it was last updated 3 days ago: it lags"},
	} {
		for _, client := range []string{"cpanm", "cpan", "carton"} {
			t.Run(client+", "+tt.name, func(t *testing.T) {
				t.Parallel()
				r := l.prepared(t, "http://127.0.0.1:1")
				code, out := l.through(r, client, tt.policy, tt.mirror)
				if code != 0 || r.version() != "0.01" || strings.Count(out, warning) != 1 || !strings.Contains(out, tt.why) {
					t.Errorf("exit code %d, version %q; want one warning with %q\n%s", code, r.version(), tt.why, out)
				}
			})
		}
	}
	t.Run("as JSON", func(t *testing.T) {
		t.Parallel()
		r := l.prepared(t, "http://127.0.0.1:1")
		_, out := l.through(r, "cpanm", l.policy, l.before, "--json")
		var report struct {
			Message string
			Files   []struct{ Path, State, Warning string }
		}
		start := strings.Index(out, "{\"")
		if start < 0 || json.NewDecoder(strings.NewReader(out[start:])).Decode(&report) != nil {
			t.Fatalf("no JSON in\n%s", out)
		}
		if len(report.Files) != 2 || report.Files[0].State != "verified" || !strings.HasPrefix(report.Files[0].Warning, "the index is 3 days old") || !strings.Contains(report.Message, warning) {
			t.Errorf("the JSON is %+v", report)
		}
	})
}

// PAUSE logs an index at each rewrite, also if nothing has changed: then it is as young as the last of these entries, also
// where the mirror's own tree knows only of the first.
func TestAnIndexThatDoesNotChange(t *testing.T) {
	l := newIndexLab(t)
	quiet := copied(t, l.after, func(dir string) {
		text := fmt.Sprintf("File: 02packages.details.txt\n\nExample::Mod 0.02 E/EX/EXAMPLE/Example-Mod-0.02.tar.gz\n# %s\n", t.Name())
		write(t, filepath.Join(dir, textIndex), []byte(text))
		write(t, filepath.Join(dir, gzipIndex), zip([]byte(text)))
	})
	touch := func(ago time.Duration) {
		at := time.Now().Add(-ago)
		if err := os.Chtimes(filepath.Join(quiet, textIndex), at, at); err != nil {
			t.Fatal(err)
		}
		l.log(quiet, textIndex)
	}
	// Times only go up, and the lab's newest is an hour old: so the limit here is less than that.
	touch(50 * time.Minute)
	l.export(filepath.Join(quiet, "modules", "tlog"))
	tight := []string{"--max-index-age", "40m"}
	if code, out := l.through(l.prepared(t, "http://127.0.0.1:1"), "cpanm", l.policy, quiet, tight...); code != 16 || !strings.Contains(out, "the index is 50 minutes old, and the limit is 40 minutes") {
		t.Errorf("before it was logged again: exit code %d\n%s", code, out)
	}
	touch(10 * time.Minute)
	r := l.prepared(t, "http://127.0.0.1:1")
	if code, out := l.through(r, "cpanm", l.policy, quiet, tight...); code != 0 || r.version() != "0.02" {
		t.Errorf("exit code %d, version %q\n%s", code, r.version(), out)
	}
	// The log itself, which has no files here, knows the last of them too.
	asked := filepath.Join(l.dir, "grpc.policy")
	write(t, asked, []byte(strings.ReplaceAll(string(must(os.ReadFile(l.policy))), l.http, l.grpc)))
	if code, out := l.through(l.prepared(t, "http://127.0.0.1:1"), "cpanm", asked, quiet, append([]string{"--lookup"}, tight...)...); code != 0 {
		t.Errorf("with --lookup: exit code %d\n%s", code, out)
	}
	if code, out := l.through(l.prepared(t, "http://127.0.0.1:1"), "cpanm", l.offline, quiet, tight...); code != 16 {
		t.Errorf("with the mirror's old proof alone: exit code %d\n%s", code, out)
	}
}

// A client whose index is refused falls back on the one that it has from before. What that one names is logged, and refused
// nevertheless, as long as the index is. A client that does not even ask for an index is out of a mirror's reach: exec gives
// it an empty cache.
func TestFallbackToACachedIndex(t *testing.T) {
	l := newIndexLab(t)
	attacked := copied(t, l.after, func(dir string) { takeOver(t, dir, l.before, textIndex, gzipIndex) })
	noIndex := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "02packages") {
			http.Error(w, "not today", http.StatusForbidden)
			return
		}
		http.FileServer(http.Dir(l.after)).ServeHTTP(w, r)
	}))
	t.Cleanup(noIndex.Close)
	// dirty is a home in which the client has the old index of this mirror, and takes it for young.
	dirty := func(t *testing.T, url string) *clientRun {
		r := l.prepared(t, url)
		for _, dir := range []string{filepath.Join(".cpan", "sources", "modules"), filepath.Join(".cpanm", "sources", "http%127.0.0.1%"+url[strings.LastIndex(url, ":")+1:])} {
			takeOver(t, filepath.Join(r.home, dir), filepath.Join(l.before, "modules"), filepath.Base(gzipIndex))
		}
		return r
	}
	for client, says := range map[string]string{
		"cpanm": "refused " + modVersions + "0.01.tar.gz: unverifiable: " + gzipIndex + " was refused",
		"cpan":  "1 verified, 0 refused, 0 passed unverified, index not asked for",
	} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			r := dirty(t, noIndex.URL)
			if _, out := r.directly(client, noIndex.URL, "Example::Mod"); r.version() != "0.01" {
				t.Errorf("without pauselog: version %q: it does not fall back\n%s", r.version(), out)
			}
			url, stop := l.startMirror(t, "--policy", l.policy, "--upstream", attacked, "--max-index-age", "26h")
			r = dirty(t, url)
			_, out := r.directly(client, url, "Example::Mod")
			if said := stop(); !strings.Contains(said, says) || client == "cpanm" && (r.version() != "" || r.ran() != "") {
				t.Errorf("with pauselog mirror: version %q, %q ran, want %q\n%s\n%s", r.version(), r.ran(), says, out, said)
			}
			r = dirty(t, "http://127.0.0.1:1")
			if code, out := l.through(r, client, l.policy, attacked, limited...); code != 16 || r.version() != "" || r.ran() != "" || !strings.Contains(out, isOld) {
				t.Errorf("with pauselog exec: exit code %d, version %q, %q ran\n%s", code, r.version(), r.ran(), out)
			}
		})
	}
}

// startMirror runs pauselog mirror until stop, which returns what it said.
func (l *indexLab) startMirror(t *testing.T, args ...string) (url string, stop func() string) {
	t.Helper()
	cmd := exec.Command(l.program("pauselog"), append([]string{"mirror", "--cache", t.TempDir(), "--state-dir", t.TempDir()}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	stop = func() string {
		if !ended {
			ended = true
			cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("pauselog mirror: %v", err)
			}
		}
		return stderr.String()
	}
	t.Cleanup(func() { stop() })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var ready struct{ URL string }
	if err := json.Unmarshal(line, &ready); err != nil {
		t.Fatal(err)
	}
	return ready.URL, stop
}

// 01mailrc has names of authors, and nothing is installed by it: whatever is wrong with it is told, and stops nothing.
func TestMailrcStopsNothing(t *testing.T) {
	l := newIndexLab(t)
	for _, tt := range []struct {
		name   string
		change func(dir string)
		says   string
	}{
		{"old", func(dir string) { takeOver(t, dir, l.before, "authors/01mailrc.txt.gz") }, "warning: passed authors/01mailrc.txt.gz: stale: "},
		{"other bytes", func(dir string) {
			write(t, filepath.Join(dir, "authors/01mailrc.txt.gz"), zip([]byte("alias EXAMPLE \"Somebody Else <evil@example.org>\"\n")))
		}, "warning: passed authors/01mailrc.txt.gz: mismatch: an empty one is served in its place, and nothing else is stopped: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := l.prepared(t, "http://127.0.0.1:1")
			code, out := l.through(r, "cpan", l.policy, copied(t, l.after, tt.change), limited...)
			if code != 0 || r.version() != "0.02" || !strings.Contains(out, tt.says) || !strings.Contains(out, "1 verified, 0 refused, 0 passed unverified, index verified\n") {
				t.Errorf("exit code %d, version %q, want %q\n%s", code, r.version(), tt.says, out)
			}
		})
	}
}

// The log forgets nothing: all snapshots of an index, and an archive that was deleted, which still verifies, with a note.
func TestHistoryOfAPath(t *testing.T) {
	l := newIndexLab(t)
	lookup := func(path string) []string {
		t.Helper()
		code, out := l.run(l.program("pauselog"), "lookup", "--policy", l.policy, "--path", path)
		if code != 0 {
			t.Fatalf("lookup %s: exit code %d\n%s", path, code, out)
		}
		return strings.Split(strings.TrimSpace(out), "\n")
	}
	if lines := lookup(gzipIndex); len(lines) != 2 || !strings.Contains(lines[0], l.digest(filepath.Join(l.before, gzipIndex))) || !strings.Contains(lines[1], l.digest(filepath.Join(l.after, gzipIndex))) {
		t.Errorf("the history of the index is %q", lines)
	}
	old := modVersions + "0.01.tar.gz"
	code, out := l.run(l.program("pauselog"), "delete", "--server", l.http, "--token-file", l.token, "--by", "EXAMPLE", "--path", old, "--sha256", l.digest(filepath.Join(l.after, old)))
	if code != 0 {
		t.Fatalf("delete: exit code %d\n%s", code, out)
	}
	if lines := lookup(old); len(lines) != 2 || !strings.Contains(lines[0], " upload ") || !strings.Contains(lines[1], " delete ") {
		t.Errorf("the history of the archive is %q", lines)
	}
	const note = "it was deleted from PAUSE on "
	code, out = l.run(l.program("pauselog"), "verify", "--policy", l.policy, "--root", l.after, "-v", filepath.Join(l.after, old))
	if code != 0 || !strings.Contains(out, note) {
		t.Errorf("verify: exit code %d\n%s", code, out)
	}
	code, out = l.run(l.program("pauselog"), "exec", "--policy", l.policy, "--upstream", l.after, "--json", "--", "perl", "-MHTTP::Tiny", "-e", `print HTTP::Tiny->new->get("http://www.cpan.org/`+old+`")->{status}`)
	if code != 0 || !strings.Contains(out, "200") || !strings.Contains(out, note) {
		t.Errorf("exec: exit code %d\n%s", code, out)
	}
}
