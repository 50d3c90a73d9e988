package installer

import (
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
		{"minicpan -l x", "minicpan -l x -r " + mirrorURL + "/", mirrorURL, carton},
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
}

// What asks other hosts than a mirror is turned away there: Carton, minicpan, and whatever an unknown program starts. What
// a build downloads is its own affair, and so is what the user lets pass.
func TestProxies(t *testing.T) {
	for _, tt := range []struct {
		command     string
		direct      bool
		http, https string
	}{
		{"carton install", false, mirrorURL, mirrorURL},
		{"minicpan -l x", false, mirrorURL, mirrorURL},
		{"make deps", false, mirrorURL, mirrorURL},
		{"cpanm Foo", false, "", "http://proxy.example:1"},
		{"cpan Foo", false, "", "http://proxy.example:1"},
		{"cpm install Foo", false, "", "http://proxy.example:1"},
		{"carton install", true, mirrorURL, "http://proxy.example:1"},
		{"make deps", true, mirrorURL, "http://proxy.example:1"},
	} {
		r := request(t, strings.Fields(tt.command)...)
		r.Environ, r.AllowDirect = append(r.Environ, "https_proxy=http://proxy.example:1", "ALL_PROXY=http://proxy.example:2", "NO_PROXY=*"), tt.direct
		p := prepare(t, r)
		for name, want := range map[string]string{"http_proxy": tt.http, "https_proxy": tt.https, "ALL_PROXY": "", "NO_PROXY": "", "no_proxy": "127.0.0.1,localhost"} {
			if got := p.get(name); got != want {
				t.Errorf("%s, direct %v: %s is %q, want %q", tt.command, tt.direct, name, got, want)
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
