package installer

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// refused reports whether a command is refused, and that it is let pass with a warning if that is wanted.
func refused(t *testing.T, r Request) bool {
	t.Helper()
	_, err := Prepare(r)
	var bypass *Bypass
	if err != nil && !errors.As(err, &bypass) {
		t.Fatalf("%q: %v", r.Command, err)
	}
	if input, ok := r.Stdin.(*strings.Reader); ok {
		input.Seek(0, io.SeekStart)
	}
	r.AllowDirect = true
	if p := prepare(t, r); err != nil && len(p.Warnings) == 0 {
		t.Errorf("%q: allowed without a warning", r.Command)
	}
	return err != nil
}

func TestNamedSources(t *testing.T) {
	for _, tt := range []struct {
		command string
		want    bool
	}{
		{"cpanm Foo Foo::Bar ETHER/Foo-1.tar.gz Foo@1.2 Foo~>=1", false},
		{"cpanm --installdeps .", false},
		{"cpanm ./folder", false},
		{"cpanm --mirror-only Foo", false},
		{"cpanm --scandeps --format json Foo", false},
		{"cpanm --self-upgrade", false},
		{"cpanm --save-dists http://a.example Foo", false}, // a value
		{"cpanm --from http://a.example Foo", true},
		{"cpanm -M http://a.example Foo", true},
		{"cpanm -Mhttp://a.example Foo", true},
		{"cpanm -nvMhttp://a.example Foo", true},
		{"cpanm --fr=http://a.example Foo", true},
		{"cpanm +from http://a.example Foo", true},
		{"cpanm --MIRROR=http://a.example Foo", true},
		{"cpanm --mirror=http://a.example Foo", true},
		{"cpanm --mirror-index here.txt Foo", true},
		{"cpanm --mirror-i here.txt Foo", true},
		{"cpanm --no-mirror-only Foo", true},
		{"cpanm --metacpan Foo", true},
		{"cpanm --cpanmetadb http://a.example Foo", true},
		{"cpanm https://a.example/Foo-1.tar.gz", true},
		{"cpanm https://a.example/Foo-1.tar.gz~1.0", true},
		{"cpanm https://a.example/authors/id/E/EX/EXAMPLE/Foo-1.tar.gz", true},
		{"cpanm file:///tmp/Foo-1.tar.gz", true},
		{"cpanm git://a.example/Foo.git", true},
		{"cpanm user/Foo.git@main", true},
		{"cpanm git@a.example:Foo.git@main", true},
		{"cpanm git@a.example:Foo.git.pm", true},
		{"cpanm user/Foo.git.PM", true}, // user::Foo.git
		{"cpanm user/Foo.git~1.0", true},
		{"cpanm folder/Mine.pm", false}, // folder::Mine
		{"cpanm ./Local-1.tar.gz", true},
		{"cpanm Local-1.tar.gz", true},
		{"cpanm -- https://a.example/Foo-1.tar.gz", true},
		{"cpan Foo", false},
		{"cpan -T -i Foo", false},
		{"cpan -P Foo", true},
		{"cpan -j other.pm Foo", true},
		{"cpan -fj other.pm Foo", true},
		{"cpan -M http://a.example Foo", true},
		{"cpan install -j other.pm Foo", true},
		{"cpan ./Local-1.tar.gz", true},
		{"carton install", false},
		{"carton install --deployment --no-cached", false},
		{"carton install --cached", true},
		{"carton install -cached", true},
		{"cpm install Foo", false},
		{"cpm install --snapshot other.snapshot", false},
		{"cpm install --experimental-config build.yml --no-prebuilt Foo", false},
		{"cpm install --resolver metadb Foo", true},
		{"cpm install -rmetadb Foo", true},
		{"cpm install -gr metadb Foo", true},
		{"cpm install --no-default-resolvers Foo", true},
		{"cpm install --mirror http://a.example Foo", true},
		{"cpm install git://a.example/Foo.git", true},
		{"cpm install https://a.example/Foo.tar.gz", true},
		{"cpm install Local-1.tar.gz", true},
		{"minicpan -l x", false},
		{"minicpan -C my.conf -l x", false},
		{"minicpan -r http://a.example -l x", true},
		{"minicpan --remote=http://a.example -l x", true},
		{"minicpan -remote http://a.example -l x", true},
	} {
		r := request(t, strings.Fields(tt.command)...)
		if err := errors.Join(os.WriteFile(filepath.Join(r.Dir, "Local-1.tar.gz"), nil, 0o600), os.Mkdir(filepath.Join(r.Dir, "folder"), 0o700),
			os.WriteFile(filepath.Join(r.Dir, "folder", "Mine.pm"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if got := refused(t, r); got != tt.want {
			t.Errorf("%s: refused %v, want %v", tt.command, got, tt.want)
		}
	}
}

// What starts a client without the environment that leads to the mirror is refused.
func TestLostEnvironments(t *testing.T) {
	for _, tt := range []struct {
		command string
		client  string
		want    bool
	}{
		{"perl -S cpanm Foo", "cpanm", false},
		{"perl -w -I lib -MFoo /opt/bin/cpan Foo", "cpan", false},
		{"env A=b nice -n 5 timeout 60s cpanm Foo", "cpanm", false},
		{"perlbrew exec --with perl-5.36.0 cpanm Foo", "cpanm", false},
		{"/opt/perl/bin/cpanm5.36.0 Foo", "cpanm", false},
		{"cpan5.36-x86_64-linux-gnu Foo", "cpan", false},
		{"make cpanm", "", false},
		{"perl -T build.pl", "", true},
		{"perl -wT -S cpan Foo", "cpan", true},
		{"perl -T -S cpanm Foo", "cpanm", false}, // it has no settings in PERL5OPT
		{"env -i cpanm Foo", "cpanm", true},
		{"env - PATH=/bin cpanm Foo", "cpanm", true},
		{"env -u PERL_CPANM_OPT cpanm Foo", "cpanm", true},
		{"env --unset=http_proxy carton install", "carton", true},
		{"env -u LANG cpanm Foo", "cpanm", false},
		{"env PERL5OPT=-w cpan Foo", "cpan", true},
		{"env http_proxy= carton install", "carton", true},
		{"sudo cpanm Foo", "", true},
		{"nice sudo -E cpanm Foo", "", true},
		{"docker build .", "", true},
		{"ssh host cpanm Foo", "", true},
		{"sh -c sudo", "", false},
	} {
		r := request(t, strings.Fields(tt.command)...)
		if got := refused(t, r); got != tt.want {
			t.Errorf("%s: refused %v, want %v", tt.command, got, tt.want)
		}
		if got := startOf(r.Command).client; got != tt.client {
			t.Errorf("%s: the client is %q, want %q", tt.command, got, tt.client)
		}
	}
}

func TestSourcesInTheEnvironment(t *testing.T) {
	for _, tt := range []struct {
		command, variable string
		want              bool
	}{
		{"cpanm Foo", "PERL_CPANM_OPT=--notest", false},
		{"cpanm Foo", "PERL_CPANM_OPT=--from http://a.example", false},
		{"cpanm Foo", "PERL_CPANM_OPT=--mirror=http://a.example --no-mirror-only", false},
		{"cpanm Foo", "PERL_CPANM_OPT=--mirror-index x", true},
		{"cpanm Foo", "PERL_CPANM_OPT=https://a.example/Foo-1.tar.gz", true},
		{"cpanm Foo", "PERL_CPANM_OPT=--notest --", true},
		{"make deps", "PERL_CPANM_OPT=--mirror-index x", true},
		{"carton install", "PERL_CPANM_OPT=--mirror-index x", false}, // Carton does not read it
		{"cpan Foo", "CPAN_OPTS=-T", false},
		{"cpan -T", "CPAN_OPTS=-j other.pm Foo", true},
		{"cpan Foo", "CPAN_OPTS=-j other.pm", false}, // modules: options end at the first
		{"make deps", "CPAN_OPTS=-M http://a.example", true},
	} {
		r := request(t, strings.Fields(tt.command)...)
		r.Environ = append(r.Environ, tt.variable)
		if got := refused(t, r); got != tt.want {
			t.Errorf("%s with %s: refused %v, want %v", tt.command, tt.variable, got, tt.want)
		}
	}
}

// The mirror is the last word in PERL_CPANM_OPT, and never the value of another option.
func TestPERL_CPANM_OPT(t *testing.T) {
	for value, want := range map[string]string{
		"":                             "--from U",
		"--notest":                     "--notest --from U",
		"--notest --mirror":            "--notest --from U --mirror",
		"-nL":                          "--from U -nL",
		"--configure-args --":          "--configure-args -- --from U",
		"--configure-args a -- --from": "--configure-args a --from U -- --from",
	} {
		r := request(t, "carton", "install")
		r.Environ = append(r.Environ, "PERL_CPANM_OPT="+value, "POSIXLY_CORRECT=1")
		p := prepare(t, r)
		if got := strings.ReplaceAll(p.get("PERL_CPANM_OPT"), mirrorURL, "U"); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
		for _, e := range p.Environ {
			if strings.HasPrefix(e, "POSIXLY_CORRECT") {
				t.Errorf("%s: our options would be modules", e)
			}
		}
	}
}

func TestRequirementFiles(t *testing.T) {
	for _, tt := range []struct {
		file, text string
		want       bool
	}{
		{"cpanfile", "requires 'Moo', '2.0';\n", false},
		{"cpanfile", "requires 'Moo', '== 2.0', dist => 'HAARG/Moo-2.005005.tar.gz';\n", false},
		{"cpanfile", "# url => 'http://a.example'\nrequires 'URI::url';\nrequires 'App::git::ship'; # git => 1\n", false},
		{"cpanfile", "mirror 'http://a.example';\nrequires 'Moo';\n", false}, // not read, or overridden
		{"cpanfile", "requires 'Moo', url => 'http://a.example/Moo.tar.gz';\n", true},
		{"cpanfile", "requires 'Moo', '2',\n  dist => 'X/Y-1.tar.gz',\n  mirror => 'http://a/';\n", true},
		{"cpanfile", "requires 'Moo', git => 'https://a.example/moo.git';\n", true},
		{"cpanfile", "requires 'Moo', '1#2', git => 'x';\n", true},
		{"cpanfile", "requires 'https://a.example/Moo.tar.gz';\n", true},
		{"cpanfile", "requires 'file:/tmp/Moo.tar.gz';\n", true},
		{"cpanfile", "requires 'git@a.example:moo.git';\n", true},
		{"cpanfile", "requires 'Moo', 0, qw(dist https://a.example/Moo.tar.gz);\n", true},
		{"cpm.yml", "prereqs:\n  runtime:\n    requires:\n      Moo: '2.0'\n      URI::url: 0\n", false},
		{"cpm.yml", "prereqs:\n  runtime:\n    requires:\n      # git: x\n      Moo: { version: 2, dist: HAARG/Moo-2.tar.gz }\n", false},
		{"cpm.yml", "mirrors:\n  - https://a.example/\nprereqs: {}\n", false}, // overridden
		{"cpm.yml", "prereqs:\n  runtime:\n    requires:\n      Moo: { git: https://a.example/moo.git }\n", true},
		{"cpm.yml", "prereqs:\n  runtime:\n    requires:\n      Moo:\n        url: https://a.example/moo.tar.gz\n", true},
		{"cpm.yml", "prereqs:\n  runtime:\n    requires:\n      Moo: {\"dist\":\"A/B-1.tar.gz\",\"mirror\":\"x\"}\n", true},
	} {
		commands := []string{"carton install", "cpanm --installdeps .", "cpm install"}
		if tt.file == "cpm.yml" {
			commands = commands[2:]
		}
		for _, command := range commands {
			r := request(t, strings.Fields(command)...)
			if err := os.WriteFile(filepath.Join(r.Dir, tt.file), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := refused(t, r); got != tt.want {
				t.Errorf("%s with %q: refused %v, want %v", command, tt.text, got, tt.want)
			}
		}
	}
}

// The file that is looked at is the one that the client reads.
func TestWhichRequirementFile(t *testing.T) {
	for _, tt := range []struct {
		command, file, variable string
		want                    bool
	}{
		{"carton install", "../cpanfile", "", true},
		{"carton install --cpanfile other", "other", "", true},
		{"carton install --cpanfile=@other", "other", "", true}, // an absolute path
		{"carton install", "other", "PERL_CARTON_CPANFILE=other", true},
		{"carton install", "other", "", false},
		{"cpm install --cpmfile my.yml", "my.yml", "", true},
		{"cpm install --cpanfile other", "other", "", true},
		{"cpm install Moo", "cpanfile", "", false},
		{"cpanm Moo", "cpanfile", "", false},
		{"cpanm --installd sub", "sub/cpanfile", "", true},
		{"cpanm --installdeps --cpanfile other .", "other", "", true},
		{"cpanm --installdeps @sub", "sub/cpanfile", "", true},
	} {
		top := t.TempDir()
		dir := filepath.Join(top, "project")
		r := request(t, strings.Fields(strings.ReplaceAll(tt.command, "@", dir+"/"))...)
		r.Dir, r.Environ = dir, append(r.Environ, tt.variable)
		text := "requires 'Moo', git => 'https://a.example/moo.git';\n"
		if strings.HasSuffix(tt.file, ".yml") {
			text = "prereqs: { runtime: { requires: { Moo: { git: 'https://a.example/moo.git' } } } }\n"
		}
		name := filepath.Join(dir, tt.file)
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		if got := refused(t, r); got != tt.want {
			t.Errorf("%s with %s: refused %v, want %v", tt.command, tt.file, got, tt.want)
		}
	}
}

// Modules that come from standard input are looked at, and handed on.
func TestModulesOnStandardInput(t *testing.T) {
	for _, tt := range []struct {
		command, input string
		terminal       bool
		want, read     bool
	}{
		{"cpanm", "Foo\nBar@1.0 # a comment with http://a.example\n", false, false, true},
		{"cpanm --notest", "Foo https://a.example/x.tar.gz\n", false, true, true},
		{"cpanm", "git://a.example/x.git", false, true, true},
		{"cpanm", "https://a.example/x.tar.gz\n", true, false, false},
		{"cpanm Foo", "https://a.example/x.tar.gz\n", false, false, false},
		{"cpm install -", "# https://a.example/x.tar.gz\nFoo\n", true, false, true},
		{"cpm install -", "Foo\nhttps://a.example/x.tar.gz\n", false, true, true},
		{"cpm install Foo", "https://a.example/x.tar.gz\n", false, false, false},
		{"sh -c x", "https://a.example/x.tar.gz\n", false, false, false},
	} {
		r := request(t, strings.Fields(tt.command)...)
		r.Terminal = tt.terminal
		input := strings.NewReader(tt.input)
		r.Stdin = input
		if got := refused(t, r); got != tt.want {
			t.Errorf("%s with %q: refused %v, want %v", tt.command, tt.input, got, tt.want)
		}
		if read := input.Len() == 0; read != tt.read {
			t.Errorf("%s with %q: read %v, want %v", tt.command, tt.input, read, tt.read)
		}
		if tt.read {
			input.Reset(tt.input)
			r.AllowDirect = true
			if b, err := io.ReadAll(prepare(t, r).Stdin); err != nil || string(b) != tt.input {
				t.Errorf("%s: handed on %q, %v; want %q", tt.command, b, err, tt.input)
			}
		}
	}
	r := request(t, "cpanm")
	r.Stdin = strings.NewReader(strings.Repeat("Foo\n", maxStdin))
	if _, err := Prepare(r); err == nil {
		t.Error("a list without an end was accepted")
	}
}

// cpm takes its versions from a snapshot if it would without pauselog, and asks nobody else.
func TestCpm(t *testing.T) {
	const pinned = " --no-default-resolvers --resolver snapshot,U/ --resolver 02packages,U/"
	for _, tt := range []struct {
		command, file string
		versions      bool
		want          string
	}{
		{"cpm install", "", false, "cpm install --mirror U --home P/cpm --mirror-only"},
		{"cpm install", "cpanfile.snapshot", false, "cpm install --mirror U --home P/cpm" + pinned},
		{"cpm install Foo", "cpanfile.snapshot", false, "cpm install Foo --mirror U --home P/cpm --mirror-only"},
		{"cpm install --mirror-only", "cpanfile.snapshot", false, "cpm install --mirror-only --mirror U --home P/cpm --mirror-only"},
		{"cpm install --snapshot other", "cpanfile.snapshot", false, "cpm install --snapshot other --mirror U --home P/cpm --mirror-only"},
		{"cpm install --snapshot other", "other", false, "cpm install --snapshot other --mirror U --home P/cpm" + pinned},
		{"cpm install --snapshot", "", false, "cpm install --mirror U --home P/cpm --mirror-only --snapshot"}, // cpm says what is missing
		{"cpm install -- Foo", "", false, "cpm install --mirror U --home P/cpm --mirror-only -- Foo"},
		{"cpm install Foo@1", "", true, "cpm install Foo@1 --mirror U --home P/cpm --resolver metadb,U/v1.0/,U --mirror-only"},
		{"cpm install", "cpanfile.snapshot", true, "cpm install --mirror U --home P/cpm --no-default-resolvers --resolver snapshot,U/ --resolver metadb,U/v1.0/,U --resolver 02packages,U/"},
		{"cpm version", "", false, "cpm version"},
	} {
		r := request(t, strings.Fields(tt.command)...)
		r.Versions = tt.versions
		if tt.file != "" {
			if err := os.WriteFile(filepath.Join(r.Dir, tt.file), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p := prepare(t, r)
		got := strings.NewReplacer(mirrorURL, "U", r.Private, "P").Replace(strings.Join(p.Command, " "))
		if got != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.command, got, tt.want)
		}
		if home := p.get("PERL_CPM_HOME"); home != filepath.Join(r.Private, "cpm") {
			t.Errorf("%s: PERL_CPM_HOME is %q", tt.command, home)
		}
	}
}
