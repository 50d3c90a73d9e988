package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a client installs with pauselog before it is what it installs without.
func TestTheSameIsInstalledAsWithoutIt(t *testing.T) {
	l := newClientLab(t)
	up := l.upstream(t, nil)
	plain := httptest.NewServer(http.FileServer(http.Dir(up)))
	t.Cleanup(plain.Close)
	modules := []string{"Example::Top"}
	if os.Getenv("PAUSELOG_CORPUS") != "" {
		modules = []string{"Moo", "Data::OptList"}
	}
	for _, client := range []string{"cpanm", "cpan", "carton", "minicpan"} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			without, with := l.newRun(t), l.newRun(t)
			for _, r := range []*clientRun{without, with} {
				write(t, filepath.Join(r.home, ".cpan", "CPAN", "MyConfig.pm"),
					[]byte(strings.NewReplacer("@HOME@", filepath.Join(r.home, ".cpan"), "@MIRROR@", plain.URL).Replace(cpanConfig)))
			}
			if code, out := without.directly(client, plain.URL, modules...); code != 0 {
				t.Fatalf("without pauselog: exit code %d\n%s", code, out)
			}
			code, out := with.install(client, l.policy, plain.URL, modules...)
			// The lab's index lists what does not verify, and minicpan asks for all of it.
			if want := map[bool]int{true: 10}[client == "minicpan"]; code != want || !strings.Contains(out, "index verified") {
				t.Errorf("exit code %d, want %d\n%s", code, want, out)
			}
			a, b := without.tree(), with.tree()
			for path := range maps.Clone(a) {
				if client == "minicpan" && strings.Contains(path, examples) && !strings.Contains(path, "-Base-") && !strings.Contains(path, "-Top-") {
					delete(a, path)
					delete(b, path)
				}
			}
			if len(a) < 2 {
				t.Errorf("without pauselog %d files were installed", len(a))
			}
			if !maps.Equal(a, b) {
				for _, path := range slices.Sorted(maps.Keys(a)) {
					if a[path] != b[path] {
						t.Errorf("%s: %q without pauselog, %q with it", path, a[path], b[path])
					}
				}
				for path := range b {
					if _, ok := a[path]; !ok {
						t.Errorf("%s: only with pauselog", path)
					}
				}
			}
			t.Logf("%d files: %s", len(a), lastLine(out))
		})
	}
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndex(s, "\n")+1:]
}

// directly runs a client as somebody does who has never heard of pauselog.
func (r *clientRun) directly(client, mirror string, modules ...string) (int, string) {
	r.t.Helper()
	var command []string
	switch client {
	case "cpanm":
		command = append([]string{"cpanm", "--from", mirror, "-L", r.lib, "--notest"}, modules...)
	case "cpan":
		command = append([]string{"cpan", "-T", "-i"}, modules...)
	case "carton":
		r.cpanfile(modules)
		command = []string{"carton", "install"}
	case "minicpan":
		command = []string{"minicpan", "-r", mirror + "/", "-l", r.lib}
	}
	cmd := exec.CommandContext(r.t.Context(), command[0], command[1:]...)
	cmd.Dir, cmd.Env = r.dir, append(r.environ(command[0]), "PERL_CARTON_MIRROR="+mirror)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// cpanConfig is what the CPAN shell asks a new user, answered.
const cpanConfig = `$CPAN::Config = {
    cpan_home => '@HOME@', build_dir => '@HOME@/build', keep_source_where => '@HOME@/sources', prefs_dir => '@HOME@/prefs', histfile => '@HOME@/histfile',
    urllist => ['@MIRROR@/'], pushy_https => 0, connect_to_internet_ok => 0, prerequisites_policy => 'follow', build_requires_install_policy => 'yes',
    use_prompt_default => 1, auto_commit => 0, make => 'make', tar => 'tar', gzip => 'gzip', inactivity_timeout => 0, recommends_policy => 0,
};
1;
`

// tree returns the digests of what was installed. Of what a compiler or a formatter made, and of records of the
// installation itself, only the names.
func (r *clientRun) tree() map[string]string {
	r.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(r.lib, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(r.lib, name)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		out[rel] = fmt.Sprintf("%x", sha256.Sum256(b))
		for _, made := range []string{".so", ".3pm", ".1p", ".packlist", "perllocal.pod", "install.json", "MYMETA.json", "03modlist.data.gz", "RECENT"} {
			if strings.HasSuffix(rel, made) {
				out[rel] = "there"
			}
		}
		if strings.HasPrefix(rel, "cache"+string(filepath.Separator)) {
			delete(out, rel) // of Carton
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}
