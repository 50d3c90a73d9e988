package main

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// An attempt is one run of exec that could lead round the mirror. In its texts @ELSEWHERE@ is the URL of a server that has other bytes,
// @DIR@ the folder of the run, and @HOME@ the user's home.
type attempt struct {
	name    string
	files   map[string]string // written before, below the folder of the run
	env     []string
	stdin   string
	flags   []string // of exec
	command []string

	code      int
	says      string
	ran       string          // the distributions of which something ran, "" if none
	elsewhere bool            // the other server was asked
	left      map[string]bool // whether a file is there after it
}

// base and unlogged are one that is logged, and one that is not.
const (
	base      = "Example::Base"
	unlogged  = "Example::Unlogged"
	elsewhere = "@ELSEWHERE@/" + examples + "Example-Unlogged-0.01.tar.gz"
)

func cpanmOf(args ...string) []string {
	return append([]string{"cpanm", "-L", "@DIR@/lib", "--notest"}, args...)
}

func script(text string) []string { return []string{"sh", "-c", text} }

const cpanmInScript = "cpanm -L '@DIR@/lib' --notest "

// Asks the proxy for a tunnel, as all do that want TLS through one.
const tunnel = `perl -MIO::Socket::INET -e 'my ($p) = $ENV{https_proxy} =~ m{^http://([^/]+)} or die "no proxy\n"; my $s = IO::Socket::INET->new($p) or die $!;
print $s "CONNECT cpan.metacpan.org:443 HTTP/1.1\r\nHost: cpan.metacpan.org:443\r\n\r\n"; print scalar <$s>'`

// userConfig leads CPAN.pm elsewhere.
const userConfig = "$CPAN::Config = { urllist => ['@ELSEWHERE@/'], pushy_https => 1, index_expire => 1000, keep_source_where => '@HOME@/.cpan/sources' };\n1;\n"

// The ways round the mirror, by their numbers in the document.
var ways = map[int][]attempt{
	1: {
		{name: "cpanm", command: cpanmOf("--from", "@ELSEWHERE@", unlogged), code: 2, says: "--from names another source"},
		{name: "cpanm in one argument", command: cpanmOf("-vM@ELSEWHERE@", unlogged), code: 2, says: "names another source"},
		{name: "cpanm cut short", command: cpanmOf("--fr=@ELSEWHERE@", unlogged), code: 2, says: "names another source"},
		{name: "an index", command: cpanmOf("--mirror-index", "mine.txt", unlogged), code: 2, says: "names another source"},
		{name: "cpan -M", command: []string{"cpan", "-TM", "@ELSEWHERE@", unlogged}, code: 2, says: "names another source"},
		{name: "cpan -j", command: []string{"cpan", "-j", "mine.pm", unlogged}, code: 2, says: "names another source"},
		{name: "cpan -P", command: []string{"cpan", "-P", unlogged}, code: 2, says: "names another source"},
		{name: "minicpan", command: []string{"minicpan", "-l", "lib", "--remote=@ELSEWHERE@/"}, code: 2, says: "names another source"},
		{name: "cpm", command: []string{"cpm", "install", "-gr", "metadb", unlogged}, code: 2, says: "-gr names another source"},
	},
	2: {
		{name: "cpanm", env: []string{"PERL_CPANM_OPT=--from @ELSEWHERE@"}, command: cpanmOf(unlogged), code: 11, says: "not-logged"},
		{name: "carton", env: []string{"PERL_CARTON_MIRROR=@ELSEWHERE@"}, files: map[string]string{"cpanfile": "requires 'Example::Unlogged';\n"}, command: []string{"carton", "install"}, code: 11, says: "not-logged"},
		{name: "an index", env: []string{"PERL_CPANM_OPT=--mirror-index mine.txt"}, command: cpanmOf(unlogged), code: 2, says: "in $PERL_CPANM_OPT"},
		{name: "cpan", env: []string{"CPAN_OPTS=-M @ELSEWHERE@ " + unlogged}, command: []string{"cpan", "-T"}, code: 2, says: "in $CPAN_OPTS"},
		{name: "options only before modules", env: []string{"POSIXLY_CORRECT=1"}, command: cpanmOf(base), ran: base},
	},
	3: {
		{name: "the next mirror", env: []string{"PERL_CPANM_OPT=--mirror @ELSEWHERE@ --mirror @ELSEWHERE@"}, command: cpanmOf(unlogged), code: 11, says: "not-logged"},
	},
	4: {
		{name: "cpanm", command: cpanmOf(elsewhere), code: 2, says: "is fetched directly"},
		{name: "cpan", command: []string{"cpan", "-T", "-i", elsewhere}, code: 2, says: "is fetched directly"},
		{name: "cpm", command: []string{"cpm", "install", elsewhere}, code: 2, says: "is fetched directly"},
		{name: "git", command: cpanmOf("someone/example.git@main"), code: 2, says: "is fetched directly"},
	},
	5: {
		{name: "an archive", files: map[string]string{"mine.tar.gz": string(distribution(unlogged))}, command: cpanmOf("mine.tar.gz"), code: 2, says: "is a file on this machine"},
		{name: "a folder", files: ownFolder, command: cpanmOf("./own"), ran: "Own Example::Base", says: "1 verified"},
	},
	6: {
		{name: "cpanm", stdin: base + "\n" + elsewhere + "\n", command: cpanmOf(), code: 2, says: "is fetched directly"},
		{name: "cpm", stdin: elsewhere + "\n", command: []string{"cpm", "install", "-"}, code: 2, says: "is fetched directly"},
		{name: "modules", stdin: "# one:\n" + base + "\n", command: cpanmOf(), ran: base, says: "1 verified"},
	},
	7: {
		{name: "cpanm", files: map[string]string{"cpanfile": "requires '" + elsewhere + "';\n"}, command: cpanmOf("--installdeps", "."), code: 2, says: "cpanfile names something by"},
		{name: "carton, a folder above", files: map[string]string{"../cpanfile": "requires 'Example::Unlogged', url => '" + elsewhere + "';\n"}, command: []string{"carton", "install"}, code: 2, says: `cpanfile has the option "url"`},
		{name: "cpm", files: map[string]string{"cpm.yml": "prereqs:\n  runtime:\n    requires:\n      Example::Unlogged: { url: '" + elsewhere + "' }\n"}, command: []string{"cpm", "install"}, code: 2, says: `cpm.yml has the option "url"`},
	},
	8: { // and TestCartonBundle
		{name: "carton", files: map[string]string{"cpanfile": ""}, command: []string{"carton", "install", "--cached"}, code: 2, says: "--cached names another source"},
	},
	9: {
		{name: "a proxy that has everything", env: []string{"http_proxy=@ELSEWHERE@", "HTTP_PROXY=@ELSEWHERE@"}, files: map[string]string{"cpanfile": "requires 'Example::Unlogged';\n"}, command: []string{"carton", "install"}, code: 11, says: "not-logged"},
	},
	10: {
		{name: "cpanm", env: []string{"http_proxy=@ELSEWHERE@"}, command: cpanmOf(base + "@0.02"), code: 1, says: "no archive came by, index verified"},
	},
	11: {
		{name: "in the home", files: map[string]string{"home/.cpan/CPAN/MyConfig.pm": userConfig}, command: []string{"cpan", "-T", "-i", unlogged}, code: 11, says: "not-logged"},
		{name: "in PERL5LIB", files: map[string]string{"mine/CPAN/MyConfig.pm": userConfig}, env: []string{"PERL5LIB=@DIR@/mine"}, command: []string{"cpan", "-T", "-i", unlogged}, code: 11, says: "not-logged"},
		{name: "for everyone", files: map[string]string{"mine/CPAN/Config.pm": userConfig}, env: []string{"PERL5LIB=@DIR@/mine"}, command: []string{"cpan", "-T", "-i", base}, ran: base, says: "1 verified"},
		{name: "in a script", files: map[string]string{"home/.cpan/CPAN/MyConfig.pm": userConfig}, command: script("perl -MCPAN -e 'CPAN::Shell->notest(install => qw(Example::Unlogged))'"), code: 11, says: "not-logged"},
	},
	12: {
		{name: "a mirror that is typed in", stdin: "o conf urllist @ELSEWHERE@/\nnotest install Example::Unlogged\nq\n", command: []string{"cpan"}, ran: unlogged, elsewhere: true, says: "no archive came by"},
	},
	13: {
		{name: "the index", files: fakeCpm, env: ownPath, command: []string{"cpm", "install", base}, says: "cpm install Example::Base --mirror http://127.0.0.1:"},
		{name: "only it", files: fakeCpm, env: ownPath, command: []string{"cpm", "install", base}, says: "--mirror-only\n"},
		{name: "a snapshot", files: plus(fakeCpm, "cpanfile.snapshot", ""), env: ownPath, command: []string{"cpm", "install"}, says: "--no-default-resolvers --resolver snapshot,http://127.0.0.1:"},
	},
	14: {
		{name: "cpan", files: map[string]string{"home/.cpan/CPAN/MyConfig.pm": userConfig, "home/.cpan/sources/" + examples + "Example-Unlogged-0.01.tar.gz": string(distribution(unlogged))},
			command: []string{"cpan", "-T", "-i", unlogged}, code: 11, says: "not-logged"},
		{name: "cpanm", env: []string{"PERL_CPANM_HOME=@HOME@/.cpanm"}, command: cpanmOf(base), ran: base, left: map[string]bool{"home/.cpanm": false}},
		{name: "cpm", files: fakeCpm, env: append(ownPath, "PERL_CPM_HOME=@HOME@/.perl-cpm"), command: []string{"cpm", "install", "--prebuilt", base}, says: "/pauselog-exec"},
	},
	15: {
		{name: "remote", files: map[string]string{"home/.minicpanrc": "local: @DIR@/lib\nremote: @ELSEWHERE@/\n"}, command: []string{"minicpan"}, code: 10, says: "index verified", left: map[string]bool{"lib/" + examples + "Example-Base-0.01.tar.gz": true, "lib/" + examples + "Example-Unlogged-0.01.tar.gz": false}},
		{name: "also_mirror", files: map[string]string{"my.conf": "local: @DIR@/lib\nalso_mirror: http://elsewhere.example/x\n"}, command: []string{"minicpan", "-C", "my.conf"}, code: 10, says: "refused GET http://elsewhere.example/x"},
	},
	16: {
		{name: "a file that is there", files: plus(oldMirror, "home/.minicpanrc", "local: @DIR@/lib\n"), command: []string{"minicpan"}, code: 10,
			// What it has is not asked for again, and an older version goes although the newer one was refused.
			left: map[string]bool{"lib/" + examples + "Example-Base-0.01.tar.gz": true, "lib/" + examples + "Example-Unlogged-0.00.tar.gz": false, "lib/" + examples + "Example-Unlogged-0.01.tar.gz": false}},
		{name: "without cleaning up", files: plus(oldMirror, "home/.minicpanrc", "local: @DIR@/lib\nskip_cleanup: 1\n"), command: []string{"minicpan"}, code: 10, left: map[string]bool{"lib/" + examples + "Example-Unlogged-0.00.tar.gz": true}},
		{name: "an exact mirror", files: plus(oldMirror, "home/.minicpanrc", "local: @DIR@/lib\n"), command: []string{"minicpan", "-x"}, code: 10, left: map[string]bool{"lib/" + examples + "Example-Unlogged-0.00.tar.gz": true}},
	},
	17: append(downloaders(),
		attempt{name: "LWP", command: cpanmOf(unlogged), code: 11, says: "not-logged"},
		attempt{name: "HTTP::Tiny", command: cpanmOf("--no-lwp", "--no-wget", "--no-curl", unlogged), code: 11, says: "not-logged"},
	),
	18: {
		{name: "cpan", command: []string{"perl", "-wT", "-S", "cpan", unlogged}, code: 2, says: "does not read PERL5OPT"},
		{name: "another program", command: []string{"perl", "-T", "build.pl"}, code: 2, says: "does not read PERL5OPT"},
	},
	19: {
		{name: "sudo", command: []string{"sudo", "cpanm", unlogged}, code: 2, says: "sudo starts a command in another environment"},
		{name: "docker", command: []string{"docker", "build", "."}, code: 2, says: "docker starts a command in a place that the mirror is not at"},
		{name: "env -i", command: []string{"env", "-i", "cpanm", unlogged}, code: 2, says: "env -i takes away the environment"},
		{name: "env", command: []string{"env", "PERL5OPT=-w", "cpan", unlogged}, code: 2, says: "env changes PERL5OPT"},
		{name: "in a script", command: script(`env -i PATH="$PATH" HOME='@HOME@' RAN="$RAN" ` + cpanmInScript + "--from @ELSEWHERE@ " + unlogged), ran: unlogged, elsewhere: true, says: "no archive came by"},
	},
	20: {
		{name: "one more mirror", command: script(cpanmInScript + "--mirror @ELSEWHERE@ " + unlogged), code: 11, says: "not-logged"},
		{name: "another mirror alone", command: script(cpanmInScript + "--from http://elsewhere.example " + unlogged), code: 1, says: "refused GET http://elsewhere.example/"},
		{name: "a URL", command: script(cpanmInScript + "http://elsewhere.example/Foo-1.tar.gz"), code: 1, says: "refused GET http://elsewhere.example/"},
		{name: "what is on this machine", files: map[string]string{"mine.tar.gz": string(distribution(unlogged))}, command: script(cpanmInScript + "./mine.tar.gz"), ran: unlogged, says: "no archive came by"},
		{name: "what runs on this machine", command: script(cpanmInScript + "--from @ELSEWHERE@ " + unlogged), ran: unlogged, elsewhere: true, says: "no archive came by"},
		{name: "make", files: map[string]string{"Makefile": "deps:\n\t" + cpanmInScript + unlogged + "\n"}, command: []string{"make", "deps"}, code: 11, says: "not-logged"},
	},
	21: {
		{name: "a copy", files: map[string]string{"installer": must2(os.ReadFile(whereIs("cpanm")))}, command: []string{"perl", "installer", "-L", "@DIR@/lib", "--notest", unlogged}, code: 11, says: "not-logged"},
		{name: "by its module", command: []string{"perl", "-MApp::cpanminus::script", "-e", `my $a = App::cpanminus::script->new; $a->parse_options("-L", "@DIR@/lib", "--notest", @ARGV); exit $a->doit`, unlogged}, code: 11, says: "not-logged"},
		{name: "behind others", command: append([]string{"env", "A=b", "nice", "-n", "1", "timeout", "100s"}, cpanmOf("--from", "@ELSEWHERE@", unlogged)...), code: 2, says: "names another source"},
	},
	22: {
		{name: "TLS, in a script", command: script(tunnel), says: "HTTP/1.1 403 Not Through This Mirror"},
		{name: "and it is told", command: script(tunnel), says: "refused CONNECT cpan.metacpan.org:443"},
	},
	23: {
		{name: "in a script", env: []string{"ALL_PROXY=@ELSEWHERE@", "HTTPS_PROXY=@ELSEWHERE@", "http_proxy=@ELSEWHERE@", "NO_PROXY=*"}, command: script(`echo "[$ALL_PROXY$HTTPS_PROXY$NO_PROXY]"; ` + cpanmInScript + unlogged), code: 11, says: "[]\n"},
		{name: "cpanm", env: []string{"ALL_PROXY=@ELSEWHERE@", "HTTP_PROXY=@ELSEWHERE@", "NO_PROXY=elsewhere.example"}, command: cpanmOf(unlogged), code: 11, says: "not-logged"},
		{name: "settings of curl and wget", files: map[string]string{"home/.curlrc": "proxy = @ELSEWHERE@\nnoproxy = \"\"\n", "home/.wgetrc": "http_proxy = @ELSEWHERE@\n"}, command: script(cpanmInScript + "--no-lwp " + unlogged), code: 11, says: "not-logged"},
	},
	24: {
		{name: "cpanm", env: []string{"FETCHES=@ELSEWHERE@/x"}, command: cpanmOf("EXAMPLE/Example-Fetches-0.01.tar.gz"), ran: "Example::Fetches", elsewhere: true, says: "1 verified"},
		{name: "a script", env: []string{"FETCHES=http://elsewhere.example/x"}, command: script(cpanmInScript + "EXAMPLE/Example-Fetches-0.01.tar.gz"), ran: "Example::Fetches", says: "refused GET http://elsewhere.example/x"},
		{name: "carton", env: []string{"FETCHES=http://elsewhere.example/x"}, files: map[string]string{"cpanfile": "requires 'Example::Fetches', 0, dist => 'EXAMPLE/Example-Fetches-0.01.tar.gz';\n"},
			command: []string{"carton", "install"}, ran: "Example::Fetches", says: "refused GET http://elsewhere.example/x"},
	},
	25: {
		{name: "a module that is there", files: map[string]string{"old/Example/Base.pm": "package Example::Base; our $VERSION = '0.001'; 1;\n"}, env: []string{"PERL5LIB=@DIR@/old"},
			command: []string{"cpanm", "-l", "@DIR@/lib", "--notest", "Example::Top"}, ran: "Example::Top", says: "1 verified, 0 refused"},
	},
	26: {
		{name: "--allow-direct", flags: []string{"--allow-direct"}, command: cpanmOf(elsewhere), ran: unlogged, elsewhere: true, says: "warning: @ELSEWHERE@/" + examples + "Example-Unlogged-0.01.tar.gz is fetched directly: installed unverified"},
		{name: "--mode prefer", flags: []string{"--mode", "prefer"}, command: cpanmOf(unlogged), ran: unlogged, says: "0 verified, 0 refused, 1 passed unverified"},
		{name: "--allow-direct does not let pass what was refused", flags: []string{"--allow-direct"}, command: cpanmOf("--from", "@ELSEWHERE@", unlogged), code: 11, says: "not-logged"},
	},
}

var (
	ownFolder = map[string]string{"own/Makefile.PL": "use ExtUtils::MakeMaker; open my $f, '>>', $ENV{RAN}; print $f \"Own\\n\"; close $f;\nWriteMakefile(NAME => 'Own', VERSION => 1, PREREQ_PM => { 'Example::Base' => 0 });\n",
		"own/lib/Own.pm": "package Own; our $VERSION = 1; 1;\n", "own/MANIFEST": "Makefile.PL\nlib/Own.pm\n"}
	// cpm is in few distributions' packages: this says how it is called.
	fakeCpm   = map[string]string{"bin/cpm": "#!/bin/sh\necho cpm \"$@\"\necho \"$PERL_CPM_HOME\"\n"}
	ownPath   = []string{"PATH=@DIR@/bin:" + os.Getenv("PATH")}
	oldMirror = map[string]string{"lib/" + examples + "Example-Base-0.01.tar.gz": string(distribution("Example::Swapped")), "lib/" + examples + "Example-Unlogged-0.00.tar.gz": "old"}
)

func plus(files map[string]string, name, text string) map[string]string {
	files = maps.Clone(files)
	files[name] = text
	return files
}

func whereIs(program string) string {
	name, err := exec.LookPath(program)
	if err != nil {
		return os.DevNull // newClientLab says what is missing
	}
	return name
}

func must2(b []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(b)
}

// downloaders are attempts with those programs that are there and by which cpanm can download.
func downloaders() (list []attempt) {
	for name, flags := range map[string][]string{"curl": {"--no-lwp", "--no-wget"}, "wget": {"--no-lwp", "--no-curl"}} {
		if _, err := exec.LookPath(name); err == nil {
			list = append(list, attempt{name: name, command: cpanmOf(append(flags, unlogged)...), code: 11, says: "not-logged"})
		}
	}
	return list
}

func TestWaysRoundTheMirror(t *testing.T) {
	l := newClientLab(t)
	fetches := rebuilt(distribution("Example::Fetches"), "use ExtUtils::MakeMaker;", "use HTTP::Tiny; HTTP::Tiny->new->get($ENV{FETCHES});\nuse ExtUtils::MakeMaker;")
	l.put(examples+"Example-Fetches-0.01.tar.gz", fetches)
	l.submit(l.http, filepath.Join(l.root, examples, "Example-Fetches-0.01.tar.gz"))
	up := l.upstream(t, nil)
	for _, number := range slices.Sorted(maps.Keys(ways)) {
		t.Run(strconv.Itoa(number), func(t *testing.T) {
			t.Parallel()
			for _, a := range ways[number] {
				t.Run(a.name, func(t *testing.T) { l.try(t, up, a) })
			}
		})
	}
}

func (l *clientLab) try(t *testing.T, up string, a attempt) {
	var asked atomic.Int64
	// It answers as a mirror, and as a proxy too.
	files := http.FileServer(http.Dir(up))
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		files.ServeHTTP(w, r)
	}))
	defer other.Close()
	r := l.newRun(t)
	r.dir = filepath.Join(r.dir, "project")
	r.home, r.lib = filepath.Join(r.dir, "home"), filepath.Join(r.dir, "lib")
	if err := os.MkdirAll(r.home, 0o700); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("@ELSEWHERE@", other.URL, "@DIR@", r.dir, "@HOME@", r.home)
	for name, text := range a.files {
		write(t, filepath.Join(r.dir, name), []byte(fill.Replace(text)))
		if strings.HasPrefix(name, "bin/") {
			if err := os.Chmod(filepath.Join(r.dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	args := append([]string{"exec", "--policy", l.policy, "--upstream", up}, a.flags...)
	args = append(args, "--")
	for _, word := range a.command {
		args = append(args, fill.Replace(word))
	}
	cmd := exec.CommandContext(ctx, l.program("pauselog"), args...)
	client := a.command[0]
	if strings.Contains(strings.Join(a.command, " "), "-MCPAN ") {
		client = "cpan"
	}
	cmd.Dir, cmd.Env, cmd.Stdin = r.dir, r.environ(client), strings.NewReader(fill.Replace(a.stdin))
	for _, e := range a.env {
		cmd.Env = append(cmd.Env, fill.Replace(e))
	}
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	code, out := cmd.ProcessState.ExitCode(), string(b)
	ran := strings.Join(strings.Fields(r.ran()), " ")
	if code != a.code || !strings.Contains(out, fill.Replace(a.says)) || ran != a.ran || asked.Load() > 0 != a.elsewhere {
		t.Errorf("exit code %d, %q ran, elsewhere asked: %v; want %d, %q, %v and %q\n%s", code, ran, asked.Load() > 0, a.code, a.ran, a.elsewhere, fill.Replace(a.says), out)
	}
	for name, want := range a.left {
		if _, err := os.Stat(filepath.Join(r.dir, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v\n%s", name, err == nil, want, out)
		}
	}
}
