package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// These tests run the clients that people use, as they are installed from a system's packages.
var clientPackages = map[string]string{"cpanm": "cpanminus", "carton": "carton", "minicpan": "libcpan-mini-perl", "cpan": "perl", "make": "make"}

const examples = "authors/id/E/EX/EXAMPLE/"

// A clientLab is a mirror whose distributions note that they ran, and a log that has some of them.
type clientLab struct {
	*mirror
	offline string // a policy whose log cannot be reached
}

func newClientLab(t *testing.T) *clientLab {
	t.Helper()
	missing := ""
	for program, deb := range clientPackages {
		if _, err := exec.LookPath(program); err != nil {
			missing += fmt.Sprintf(" %s (Debian package %s)", program, deb)
		}
	}
	if missing != "" {
		t.Fatalf("these tests drive real clients, and there is no%s", missing)
	}
	l := &clientLab{mirror: newMirror(t)}
	var packages []string
	if b, err := os.ReadFile(filepath.Join(l.root, "modules", "02packages.details.txt")); err == nil {
		_, lines, _ := strings.Cut(strings.TrimSuffix(string(b), "\n"), "\n\n")
		packages = strings.Split(lines, "\n")
	} else {
		// Without a corpus, what is there is no distribution.
		if err := os.RemoveAll(filepath.Join(l.root, "authors")); err != nil {
			t.Fatal(err)
		}
	}
	top := distribution("Example::Top", "Example::Base")
	l.put(examples+"Example-Base-0.01.tar.gz", distribution("Example::Base"))
	l.put(examples+"Example-Top-0.01.tar.gz", top)
	logged := l.archives()
	l.put(examples+"Example-Unlogged-0.01.tar.gz", distribution("Example::Unlogged"))
	l.put(examples+"Example-Borrowed-0.01.tar.gz", distribution("Example::Borrowed"))
	l.put(examples+"Example-Document-0.01.md", distribution("Example::Document"))
	checksums := "$cksum = {\n"
	for _, name := range []string{"Base", "Top", "Unlogged", "Borrowed"} {
		file := "Example-" + name + "-0.01.tar.gz"
		packages = append(packages, fmt.Sprintf("Example::%s 0.01 E/EX/EXAMPLE/%s", name, file))
		checksums += fmt.Sprintf("  '%s' => {\n    'cpan_path' => 'E/EX/EXAMPLE',\n    'sha256' => '%s'\n  },\n", file, l.digest(filepath.Join(l.root, examples, file)))
	}
	packages = append(packages, "Example::Document 0.01 E/EX/EXAMPLE/Example-Document-0.01.md")
	// Carton searches in it as in a dictionary, in PAUSE's order.
	slices.SortFunc(packages, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	index := fmt.Sprintf("File: 02packages.details.txt\nLine-Count: %d\n\n%s\n", len(packages), strings.Join(packages, "\n"))
	l.put(examples+"CHECKSUMS", []byte(checksums+"};\n"))
	l.put("modules/02packages.details.txt", []byte(index))
	l.put("modules/02packages.details.txt.gz", zip([]byte(index))) // as mirrors do: only the text is logged
	l.put("modules/03modlist.data.gz", zip([]byte("File: 03modlist.data\n\npackage CPAN::Modulelist;\nsub data { return {} }\n1;\n")))
	l.put("authors/01mailrc.txt.gz", zip([]byte("alias EXAMPLE \"An Example <example@example.org>\"\n")))
	files := []string{filepath.Join(l.root, "modules/02packages.details.txt"), filepath.Join(l.root, "authors/01mailrc.txt.gz")}
	for _, a := range logged {
		files = append(files, filepath.Join(l.root, a))
	}
	l.submit(l.http, files...)
	// A valid proof, of something else.
	proof := must(os.ReadFile(filepath.Join(l.root, examples, "Example-Base-0.01.tar.gz.tlog-proof")))
	l.put(examples+"Example-Borrowed-0.01.tar.gz.tlog-proof", proof)

	l.offline = filepath.Join(l.dir, "offline.policy")
	text := strings.ReplaceAll(string(must(os.ReadFile(l.policy))), l.http, "http://127.0.0.1:1")
	if err := os.WriteFile(l.offline, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *clientLab) put(path string, b []byte) { write(l.t, filepath.Join(l.root, path), b) }

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func zip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// distribution makes one that appends its name to the file in RAN as soon as any of it runs.
func distribution(module string, needs ...string) []byte {
	dist := strings.ReplaceAll(module, "::", "-")
	prereqs, requires := "", ""
	for i, n := range needs {
		prereqs += "'" + n + "' => 0, "
		if i > 0 {
			requires += ","
		}
		requires += `"` + n + `":"0"`
	}
	pm := strings.ReplaceAll(module, "::", "/") + ".pm"
	files := []struct{ name, text string }{
		{"Makefile.PL", "use ExtUtils::MakeMaker;\nopen my $f, '>>', $ENV{RAN} or die; print $f '" + module + "', \"\\n\"; close $f;\n" +
			"WriteMakefile(NAME => '" + module + "', VERSION_FROM => 'lib/" + pm + "', PREREQ_PM => { " + prereqs + "});\n"},
		{"META.json", `{"name":"` + dist + `","version":"0.01","abstract":"x","author":["x"],"dynamic_config":0,"generated_by":"x","license":["perl_5"],"release_status":"stable",` +
			`"meta-spec":{"version":"2","url":"x"},"prereqs":{"runtime":{"requires":{` + requires + `}}}}`},
		{"MANIFEST", "Makefile.PL\nMETA.json\nMANIFEST\nlib/" + pm + "\n"},
		{"lib/" + pm, "package " + module + ";\nour $VERSION = '0.01';\n1;\n"},
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		w.WriteHeader(&tar.Header{Name: dist + "-0.01/" + f.name, Mode: 0o644, Size: int64(len(f.text)), ModTime: time.Unix(1.7e9, 0)})
		io.WriteString(w, f.text)
	}
	w.Close()
	return zip(b.Bytes())
}

// upstream is a copy of the mirror without proofs beside the files, changed.
func (l *clientLab) upstream(t *testing.T, change func(dir string)) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(l.root)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, ".tlog-proof") && !strings.Contains(name, "Borrowed") {
			err = os.Remove(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(dir)
	}
	return dir
}

// A run is one client in a folder and a home of its own.
type clientRun struct {
	t         *testing.T
	lab       *clientLab
	dir, home string
	lib       string // where it installs to
}

func (l *clientLab) newRun(t *testing.T) *clientRun {
	r := &clientRun{t: t, lab: l, dir: t.TempDir(), home: t.TempDir()}
	r.lib = filepath.Join(r.dir, "lib")
	return r
}

// ran returns the distributions of which something ran.
func (r *clientRun) ran() string {
	b, err := os.ReadFile(filepath.Join(r.dir, "ran"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.t.Fatal(err)
	}
	return string(b)
}

func (r *clientRun) exec(policy, upstream string, command ...string) (int, string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Minute)
	defer cancel()
	args := append([]string{"exec", "--policy", policy, "--upstream", upstream, "--"}, command...)
	cmd := exec.CommandContext(ctx, r.lab.program("pauselog"), args...)
	cmd.Dir, cmd.Env = r.dir, r.environ(command[0])
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// environ is that of a client in a home of its own.
func (r *clientRun) environ(client string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.home, "RAN=" + filepath.Join(r.dir, "ran"), "TMPDIR=" + r.t.TempDir(),
		"PERL_MM_USE_DEFAULT=1", "NONINTERACTIVE_TESTING=1", "LC_ALL=C"}
	if client == "cpan" {
		// What the system's packages brought along is not there, so that it is installed.
		vendor, err := exec.CommandContext(r.t.Context(), "perl", "-MConfig", "-e", `print "-M-lib=$_ " for grep { $_ } @Config{qw(vendorlib vendorarch)}`).Output()
		if err != nil {
			r.t.Fatal(err)
		}
		env = append(env, "PERL_MM_OPT=INSTALL_BASE="+r.lib, "PERL_MB_OPT=--install_base "+r.lib, "PERL5OPT="+strings.TrimSpace(string(vendor)),
			"PERL5LIB="+filepath.Join(r.lib, "lib", "perl5"))
	}
	return env
}

// cpanfile is what Carton installs, and where to.
func (r *clientRun) cpanfile(modules []string) {
	text := ""
	for _, m := range modules {
		text += "requires '" + m + "';\n"
	}
	write(r.t, filepath.Join(r.dir, "cpanfile"), []byte(text))
	r.lib = filepath.Join(r.dir, "local")
}

// install has a client install modules, or mirror everything.
func (r *clientRun) install(client, policy, upstream string, modules ...string) (int, string) {
	r.t.Helper()
	switch client {
	case "cpanm":
		return r.exec(policy, upstream, append([]string{"cpanm", "-L", r.lib, "--notest"}, modules...)...)
	case "cpan":
		return r.exec(policy, upstream, append([]string{"cpan", "-T", "-i"}, modules...)...)
	case "carton":
		r.cpanfile(modules)
		return r.exec(policy, upstream, "carton", "install")
	case "minicpan":
		return r.exec(policy, upstream, "minicpan", "-l", r.lib)
	}
	r.t.Fatalf("no such client: %s", client)
	return 0, ""
}

func (r *clientRun) installed(file string) bool {
	_, err := os.Stat(filepath.Join(r.lib, "lib", "perl5", file))
	return err == nil
}

func TestClients(t *testing.T) {
	l := newClientLab(t)
	swapped := func(dir string) {
		write(t, filepath.Join(dir, examples, "Example-Base-0.01.tar.gz"), distribution("Example::Swapped"))
	}
	flippedTrailer := func(dir string) {
		name := filepath.Join(dir, examples, "Example-Base-0.01.tar.gz")
		b := must(os.ReadFile(name))
		b[len(b)-6] ^= 1
		write(t, name, b)
	}
	otherIndex := func(dir string) {
		write(t, filepath.Join(dir, "modules/02packages.details.txt.gz"), zip([]byte("File: 02packages.details.txt\n\nExample::Top 0.01 E/EX/EXAMPLE/Example-Base-0.01.tar.gz\n")))
	}
	cases := []struct {
		name, module string
		change       func(dir string)
		offline      bool
		code         int
		reason       string
	}{
		{"swapped", "Example::Top", swapped, false, 10, "mismatch"},
		{"a byte of the gzip trailer", "Example::Top", flippedTrailer, false, 10, "mismatch"},
		{"never logged", "Example::Unlogged", nil, false, 11, "not-logged"},
		{"the proof of another path", "Example::Borrowed", nil, false, 11, "not-logged"},
		{"an archive under a document's name", "Example::Document", nil, false, 10, "it is a gzip file"},
		{"another index", "Example::Top", otherIndex, false, 10, "refused modules/02packages.details.txt.gz: mismatch"},
		{"no log and no proofs", "Example::Top", nil, true, 13, "unverifiable"},
	}
	for _, client := range []string{"cpanm", "cpan", "carton"} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			r := l.newRun(t)
			code, out := r.install(client, l.policy, l.upstream(t, nil), "Example::Top")
			if code != 0 || !r.installed("Example/Top.pm") || !r.installed("Example/Base.pm") || !strings.Contains(out, "2 verified, 0 refused, 0 passed unverified, index verified") {
				t.Errorf("exit code %d\n%s", code, out)
			}
			for _, tt := range cases {
				r := l.newRun(t)
				policy := l.policy
				if tt.offline {
					policy = l.offline
				}
				code, out := r.install(client, policy, l.upstream(t, tt.change), tt.module)
				if code != tt.code || !strings.Contains(out, tt.reason) || r.installed("Example/Top.pm") {
					t.Errorf("%s: exit code %d, want %d and %q\n%s", tt.name, code, tt.code, tt.reason, out)
				}
				// What is logged may be configured before its dependencies are asked for.
				if ran := strings.ReplaceAll(r.ran(), "Example::Top\n", ""); ran != "" {
					t.Errorf("%s: it ran: %q", tt.name, ran)
				}
			}
		})
	}
	t.Run("minicpan", func(t *testing.T) {
		t.Parallel()
		r := l.newRun(t)
		code, out := r.install("minicpan", l.policy, l.upstream(t, swapped), "")
		// What the index lists and the log does not have is refused, and so the exit code is that of the worst.
		if code != 10 || !strings.Contains(out, "index verified") {
			t.Errorf("exit code %d\n%s", code, out)
		}
		for name, want := range map[string]bool{"Example-Top-0.01.tar.gz": true, "Example-Base-0.01.tar.gz": false, "Example-Unlogged-0.01.tar.gz": false, "Example-Document-0.01.md": false} {
			if _, err := os.Stat(filepath.Join(r.lib, examples, name)); (err == nil) != want {
				t.Errorf("%s is there: %v, want %v", name, err == nil, want)
			}
		}
	})
}

// A home whose settings and caches lead elsewhere changes nothing.
func TestClientsWithADirtyHome(t *testing.T) {
	l := newClientLab(t)
	good := l.upstream(t, nil)
	for _, client := range []string{"cpanm", "cpan"} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			r := l.newRun(t)
			evil := distribution("Example::Swapped")
			sum := fmt.Sprintf("$cksum = {\n  'Example-Top-0.01.tar.gz' => {\n    'sha256' => '%x'\n  }\n};\n", sha256.Sum256(evil))
			sources := filepath.Join(r.home, ".cpan", "sources")
			write(t, filepath.Join(sources, examples, "Example-Top-0.01.tar.gz"), evil)
			write(t, filepath.Join(sources, examples, "CHECKSUMS"), []byte(sum))
			write(t, filepath.Join(r.home, ".cpanm", "sources", examples, "Example-Top-0.01.tar.gz"), evil)
			write(t, filepath.Join(r.home, ".cpan", "CPAN", "MyConfig.pm"), fmt.Appendf(nil,
				"$CPAN::Config = { urllist => ['file:///nowhere/'], pushy_https => 1, index_expire => 1000, keep_source_where => '%s', cpan_home => '%s', http_proxy => 'http://127.0.0.1:1' };\n1;\n",
				sources, filepath.Join(r.home, ".cpan")))
			code, out := r.install(client, l.policy, good, "Example::Top")
			if code != 0 || !r.installed("Example/Top.pm") || strings.Contains(r.ran(), "Swapped") || !strings.Contains(out, "2 verified, 0 refused") {
				t.Errorf("exit code %d, ran %q\n%s", code, r.ran(), out)
			}
		})
	}
}

// How exec ends, and what it refuses to run.
func TestExec(t *testing.T) {
	l := newClientLab(t)
	up := l.upstream(t, nil)
	for _, tt := range []struct {
		name    string
		command []string
		code    int
		out     string
	}{
		{"the client's exit code", []string{"sh", "-c", "exit 7"}, 7, "no archive came by"},
		{"a client that was refused and says nothing", []string{"sh", "-c", `perl -MHTTP::Tiny -e 'HTTP::Tiny->new->get("http://www.cpan.org/` + examples + `Example-Unlogged-0.01.tar.gz")'`}, 11, "0 verified, 1 refused"},
		{"a client that a script starts", []string{"sh", "-c", "cpanm -q -L lib --notest Example::Base"}, 0, "1 verified, 0 refused"},
		{"an unknown program", []string{"no-such-program"}, 2, "no-such-program"},
		{"another mirror", []string{"cpanm", "--from", "http://elsewhere.example", "Example::Top"}, 2, "--allow-direct"},
	} {
		r := l.newRun(t)
		code, out := r.exec(l.policy, up, tt.command...)
		if code != tt.code || !strings.Contains(out, tt.out) {
			t.Errorf("%s: exit code %d, want %d and %q\n%s", tt.name, code, tt.code, tt.out, out)
		}
	}
}

// Without a copy of the log's files the log can be asked, and then it is.
func TestExecWithLookup(t *testing.T) {
	l := newClientLab(t)
	up := l.upstream(t, nil)
	policy := filepath.Join(l.dir, "grpc.policy")
	write(t, policy, []byte(strings.ReplaceAll(string(must(os.ReadFile(l.policy))), l.http, l.grpc)))
	get := func(file string) []string {
		return []string{"--", "perl", "-MHTTP::Tiny", "-e", `HTTP::Tiny->new->get("http://www.cpan.org/` + examples + file + `")`}
	}
	for _, tt := range []struct {
		file, flag string
		code       int
		out        string
	}{
		{"Example-Base-0.01.tar.gz", "--lookup", 0, "1 verified, 0 refused"},
		{"Example-Unlogged-0.01.tar.gz", "--lookup", 11, "not-logged"},
		{"Example-Base-0.01.tar.gz", "--lookup=false", 13, "unverifiable"},
	} {
		args := append([]string{l.program("pauselog"), "exec", "--policy", policy, "--upstream", up, tt.flag}, get(tt.file)...)
		if code, out := l.run(args...); code != tt.code || !strings.Contains(out, tt.out) {
			t.Errorf("%s %s: exit code %d, want %d and %q\n%s", tt.flag, tt.file, code, tt.code, tt.out, out)
		}
	}
}

// Two runs at once do not meet, and a home that cannot be written to is no matter.
func TestTwoExecsAtOnce(t *testing.T) {
	l := newClientLab(t)
	up := l.upstream(t, nil)
	home := t.TempDir()
	if err := os.Chmod(home, 0o500); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		t.Run("one", func(t *testing.T) {
			t.Parallel()
			r := l.newRun(t)
			r.home = home
			code, out := r.install("cpanm", l.policy, up, "Example::Top")
			if code != 0 || !r.installed("Example/Top.pm") {
				t.Errorf("exit code %d\n%s", code, out)
			}
		})
	}
	// Not even root can write there.
	t.Run("a home that cannot be written to", func(t *testing.T) {
		t.Parallel()
		r := l.newRun(t)
		r.home = "/sys"
		code, out := r.install("cpanm", l.policy, up, "Example::Top")
		if code != 0 || !r.installed("Example/Top.pm") || !strings.Contains(out, "nothing is remembered") {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
	t.Run("without a home", func(t *testing.T) {
		t.Parallel()
		r := l.newRun(t)
		r.home = ""
		code, out := r.install("cpanm", l.policy, up, "Example::Top")
		if code != 0 || !r.installed("Example/Top.pm") || !strings.Contains(out, "nothing is remembered") {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
}
