package installer

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const mirrorURL = "http://127.0.0.1:4711"

func request(t *testing.T, command ...string) Request {
	t.Helper()
	return Request{Command: command, Mirror: mirrorURL, Private: t.TempDir(), Dir: t.TempDir(),
		Environ: []string{"HOME=/home/user", "http_proxy=http://proxy.example:3128", "PERL_MM_OPT=INSTALL_BASE=/home/user/perl5",
			"PERL_LOCAL_LIB_ROOT=/home/user/perl5", "PERL5LIB=/home/user/perl5/lib/perl5", "PERL_CPANM_OPT=--notest --mirror http://elsewhere.example"}}
}

func prepare(t *testing.T, r Request) *Plan {
	t.Helper()
	p, err := Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOurFlagsComeLast(t *testing.T) {
	for _, tt := range []struct {
		command string
		client  string
		want    string
	}{
		{"cpanm -L local Foo", "cpanm", "cpanm -L local Foo --from " + mirrorURL},
		{"cpanm -L local -- Foo", "cpanm", "cpanm -L local --from " + mirrorURL + " -- Foo"},
		{"/usr/bin/cpanm Foo", "cpanm", "/usr/bin/cpanm Foo --from " + mirrorURL},
		{"perl -S cpanm Foo", "cpanm", "perl -S cpanm Foo --from " + mirrorURL},
		{"env A=b perl /opt/bin/cpanm Foo", "cpanm", "env A=b perl /opt/bin/cpanm Foo --from " + mirrorURL},
		{"carton install --deployment", "carton", "carton install --deployment"},
		{"cpan -T -i Foo", "cpan", "cpan -T -i Foo"},
		{"minicpan -l /srv/mini", "minicpan", "minicpan -l /srv/mini -r " + mirrorURL + "/"},
		{"make install", "", "make install"},
	} {
		p := prepare(t, request(t, strings.Fields(tt.command)...))
		if got := strings.Join(p.Command, " "); got != tt.want || p.Client != tt.client {
			t.Errorf("%s: client %q, %s\nwant %q, %s", tt.command, p.Client, got, tt.client, tt.want)
		}
	}
	r := request(t, "cpm", "install", "Foo")
	if p := prepare(t, r); !slices.Contains(p.Command, "--mirror-only") || !strings.HasPrefix(p.get("PERL_CPM_HOME"), r.Private) {
		t.Errorf("cpm: %q", p.Command)
	}
}

func TestEnvironment(t *testing.T) {
	for _, tt := range []struct{ command, httpProxy string }{
		{"cpanm Foo", ""}, {"cpan Foo", ""}, {"carton install", mirrorURL}, {"make deps", mirrorURL},
	} {
		r := request(t, strings.Fields(tt.command)...)
		p := prepare(t, r)
		for name, want := range map[string]string{
			// Kept: what says where and how something is installed.
			"HOME": "/home/user", "PERL_MM_OPT": "INSTALL_BASE=/home/user/perl5", "PERL_LOCAL_LIB_ROOT": "/home/user/perl5", "PERL5LIB": "/home/user/perl5/lib/perl5",
			// Replaced: where it comes from, and caches.
			"PERL_CPANM_OPT": "--notest --mirror http://elsewhere.example --from " + mirrorURL, "PERL_CARTON_MIRROR": mirrorURL,
			"PERL_CPANM_HOME": filepath.Join(r.Private, "cpanm"), "http_proxy": tt.httpProxy, "no_proxy": "127.0.0.1,localhost",
		} {
			if got := p.get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", tt.command, name, got, want)
			}
		}
	}
}

// With versions to search for, clients search for them at the mirror, and reach nothing else.
func TestVersions(t *testing.T) {
	cpanm := "--from " + mirrorURL + " --no-mirror-only --cpanmetadb " + mirrorURL + "/v1.0/ --no-wget --no-curl"
	const carton = "http://cpan.metacpan.org/"
	for _, tt := range []struct{ command, want, proxy, cartonMirror string }{
		{"cpanm Foo@1.0", "cpanm Foo@1.0 " + cpanm, mirrorURL, carton},
		{"cpanm -- Foo@1.0", "cpanm " + cpanm + " -- Foo@1.0", mirrorURL, carton},
		{"carton install", "carton install", mirrorURL, carton},
		{"make deps", "make deps", mirrorURL, carton},
		{"cpan Foo", "cpan Foo", "", mirrorURL},
		{"minicpan -l x", "minicpan -l x -r " + mirrorURL + "/", "", mirrorURL},
	} {
		r := request(t, strings.Fields(tt.command)...)
		r.Versions = true
		r.Environ = append(r.Environ, "HTTPS_PROXY=http://proxy.example:3128", "https_proxy=http://proxy.example:3128", "no_proxy=*", "CURL_HOME=/home/user")
		p := prepare(t, r)
		if got := strings.Join(p.Command, " "); got != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.command, got, tt.want)
		}
		for name, want := range map[string]string{"http_proxy": tt.proxy, "no_proxy": "127.0.0.1,localhost", "PERL_CARTON_MIRROR": tt.cartonMirror,
			"PERL_CPANM_OPT": "--notest --mirror http://elsewhere.example " + cpanm} {
			if got := p.get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", tt.command, name, got, want)
			}
		}
		if tt.proxy == "" {
			continue
		}
		// TLS comes to the mirror too, which refuses it; and no settings of the user's lead round it.
		for name, want := range map[string]string{"https_proxy": mirrorURL, "HTTPS_PROXY": "", "ftp_proxy": mirrorURL} {
			if got := p.get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", tt.command, name, got, want)
			}
		}
		for _, file := range []string{filepath.Join(p.get("CURL_HOME"), ".curlrc"), p.get("WGETRC")} {
			if b, err := os.ReadFile(file); err != nil || len(b) > 0 || !strings.HasPrefix(file, r.Private) {
				t.Errorf("%s: %s: %q, %v", tt.command, file, b, err)
			}
		}
	}
	r := request(t, "cpm", "install", "Foo@1.0")
	r.Versions = true
	if got := strings.Join(prepare(t, r).Command, " "); !strings.Contains(got, "--mirror-only") || !strings.HasSuffix(got, "--resolver metadb,"+mirrorURL+"/v1.0/,"+mirrorURL) {
		t.Errorf("cpm: %s", got)
	}
}

// Carton asks other hosts by TLS in some versions, with or without versions to search for.
func TestCartonByTLS(t *testing.T) {
	p := prepare(t, request(t, "carton", "install"))
	if got := p.get("https_proxy"); got != mirrorURL {
		t.Errorf("https_proxy is %q", got)
	}
}

func TestBypasses(t *testing.T) {
	for _, tt := range []struct {
		command string
		direct  bool
	}{
		{"cpanm Foo Foo::Bar ETHER/Foo-1.tar.gz Foo@1.2 Foo~>=1", false},
		{"cpanm --installdeps .", false},
		{"cpanm --mirror-only Foo", false},
		{"cpanm --from http://elsewhere.example Foo", true},
		{"cpanm --mirror=http://elsewhere.example Foo", true},
		{"cpanm --mirror-index here.txt Foo", true},
		{"cpanm --mirror-i here.txt Foo", true},
		{"cpanm --cpanmetadb http://elsewhere.example Foo", true},
		{"cpanm https://elsewhere.example/Foo-1.tar.gz", true},
		{"cpanm file:///tmp/Foo-1.tar.gz", true},
		{"cpanm git://elsewhere.example/Foo.git", true},
		{"cpanm git@elsewhere.example:Foo.git@main", true},
		{"cpanm ./Local-1.tar.gz", true},
		{"cpan Foo", false},
		{"cpan -j other.pm Foo", true},
		{"cpan -fj other.pm Foo", true},
		{"cpan -M http://elsewhere.example Foo", true},
		{"carton install", false},
		{"carton install --cached", true},
		{"cpm install Foo", false},
		{"cpm install --resolver metadb Foo", true},
		{"minicpan -r http://elsewhere.example -l x", true},
	} {
		r := request(t, strings.Fields(tt.command)...)
		if err := os.WriteFile(filepath.Join(r.Dir, "Local-1.tar.gz"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Prepare(r)
		var bypass *Bypass
		if errors.As(err, &bypass) != tt.direct {
			t.Errorf("%s: %v, want a bypass: %v", tt.command, err, tt.direct)
		}
		r.AllowDirect = true
		if p := prepare(t, r); tt.direct && len(p.Warnings) == 0 {
			t.Errorf("%s: allowed without a warning", tt.command)
		}
	}
}

func TestBypassesInTheEnvironment(t *testing.T) {
	for value, direct := range map[string]bool{"--notest": false, "--from http://a.example": false, "--mirror=http://a.example": false, "--mirror-index x": true} {
		r := request(t, "cpanm", "Foo")
		r.Environ = append(r.Environ, "PERL_CPANM_OPT="+value)
		_, err := Prepare(r)
		var bypass *Bypass
		if errors.As(err, &bypass) != direct {
			t.Errorf("PERL_CPANM_OPT=%s: %v, want a bypass: %v", value, err, direct)
		}
	}
}

func TestCpanfiles(t *testing.T) {
	for text, direct := range map[string]bool{
		"requires 'Moo', '2.0';\n": false,
		"requires 'Moo', '== 2.0', dist => 'HAARG/Moo-2.005005.tar.gz';\n":            false,
		"# url => 'http://a.example'\nrequires 'URI::url';\n":                         false,
		"requires 'Moo', url => 'http://a.example/Moo.tar.gz';\n":                     true,
		"requires 'Moo', '2',\n  dist => 'X/Y-1.tar.gz',\n  mirror => 'http://a/';\n": true,
		"requires 'Moo', git => 'https://a.example/moo.git';\n":                       true,
	} {
		for _, command := range []string{"carton install", "cpanm --installdeps .", "cpm install"} {
			r := request(t, strings.Fields(command)...)
			if err := os.WriteFile(filepath.Join(r.Dir, "cpanfile"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Prepare(r)
			var bypass *Bypass
			if errors.As(err, &bypass) != direct {
				t.Errorf("%s with %q: %v, want a bypass: %v", command, text, err, direct)
			}
		}
	}
}

// CPAN.pm gets the user's settings, but for where files come from, wherever these settings are.
func TestCPANConfig(t *testing.T) {
	home := t.TempDir()
	own := filepath.Join(home, ".cpan", "CPAN", "MyConfig.pm")
	if err := os.MkdirAll(filepath.Dir(own), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, []byte("$CPAN::Config = { urllist => ['http://elsewhere.example/'], pushy_https => 1, makepl_arg => 'INSTALL_BASE=/mine', "+
		"keep_source_where => '/mine/sources', index_expire => 100 };\n1;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := request(t, "cpan", "Foo")
	r.Environ = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "PERL5OPT=-w"}
	p := prepare(t, r)
	show := exec.Command("perl", "-MCPAN", "-e", `CPAN::HandleConfig->load; print "$_=", (ref $CPAN::Config->{$_} ? "@{$CPAN::Config->{$_}}" : $CPAN::Config->{$_}), "\n" for qw(urllist pushy_https makepl_arg keep_source_where)`)
	show.Env, show.Stderr = p.Environ, os.Stderr
	out, err := show.Output()
	want := "urllist=" + mirrorURL + "/\npushy_https=0\nmakepl_arg=INSTALL_BASE=/mine\nkeep_source_where=" + r.Private + "/cpan/sources\n"
	if err != nil || string(out) != want {
		t.Errorf("%v\n%swant\n%s", err, out, want)
	}
	r.Private = filepath.Join(t.TempDir(), "with space")
	if _, err := Prepare(r); err == nil {
		t.Error("a private folder that PERL5OPT cannot hold was accepted")
	}
}
