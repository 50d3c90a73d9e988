package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// clone makes a repository with one commit that has the tag v1.2.3, and another that has none.
func clone(t *testing.T) (root, tagged, newest string) {
	t.Helper()
	root = t.TempDir()
	do := func(args ...string) string {
		t.Helper()
		args = append([]string{"-c", "user.name=t", "-c", "user.email=t@example", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"}, args...)
		out, err := git(t.Context(), root, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	do("init", "-q")
	for i, text := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(root, "file"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		do("add", "file")
		do("commit", "-q", "-m", text)
		if i == 0 {
			tagged = do("rev-parse", "HEAD")
			do("tag", "-a", "-m", "v1.2.3", "v1.2.3")
		}
	}
	return root, tagged, do("rev-parse", "HEAD")
}

func TestAReleaseIsOfItsTag(t *testing.T) {
	root, tagged, newest := clone(t)
	archive := t.TempDir()
	elsewhere := strings.Repeat("a", 40)
	at := func(commit string, dirty bool) func() {
		return func() {
			if _, err := git(t.Context(), root, "checkout", "-q", "--force", commit); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(root, "new")); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if dirty {
				if err := os.WriteFile(filepath.Join(root, "new"), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, tt := range []struct {
		name  string
		root  string
		set   func()
		said  source
		want  source
		wrong string
	}{
		{"the tag's clone", root, at(tagged, false), source{"v1.2.3", ""}, source{"v1.2.3", tagged}, ""},
		{"the tag's clone, with its commit", root, at(tagged, false), source{"v1.2.3", tagged}, source{"v1.2.3", tagged}, ""},
		{"another commit is named", root, at(tagged, false), source{"v1.2.3", newest}, source{}, "the clone is at " + tagged},
		{"a file that is in no commit", root, at(tagged, true), source{"v1.2.3", ""}, source{}, "clean checkout"},
		{"another commit", root, at(newest, false), source{"v1.2.3", ""}, source{}, "the tag v1.2.3 is of commit " + tagged},
		{"no such tag", root, at(newest, false), source{"v1.2.4", ""}, source{}, "has no tag v1.2.4"},
		{"to try", root, at(newest, false), source{"devel", ""}, source{"devel", newest}, ""},
		{"to try what is in no commit", root, at(newest, true), source{"devel", ""}, source{"devel", ""}, ""},
		{"an archive", archive, func() {}, source{"v1.2.3", elsewhere}, source{"v1.2.3", elsewhere}, ""},
		{"an archive of nobody knows what", archive, func() {}, source{"v1.2.3", ""}, source{}, "give -commit"},
		{"an archive to try", archive, func() {}, source{"devel", ""}, source{"devel", ""}, ""},
	} {
		tt.set()
		got, err := identify(t.Context(), tt.root, tt.said)
		if got != tt.want || (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
}

// The environment of a hook names its own repository.
func TestGitIsAskedAboutTheFolderAlone(t *testing.T) {
	root, _, newest := clone(t)
	t.Setenv("GIT_DIR", filepath.Join(t.TempDir(), "nowhere"))
	if got, err := identify(t.Context(), root, source{"devel", ""}); err != nil || got.commit != newest {
		t.Errorf("%+v, %v", got, err)
	}
}

// What the linker is told reaches what a user sees, in each of the programs.
func TestProgramsSayWhatTheyAre(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBuilder(t.Context(), root, runtime.Version())
	if err != nil {
		t.Fatal(err)
	}
	b.named = source{"v1.2.3-test", strings.Repeat("ab", 20)}
	dir := t.TempDir()
	names, err := b.buildAll(t.Context(), dir, programs, []string{runtime.GOOS + "/" + runtime.GOARCH}, new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		file := filepath.Join(dir, name)
		out, err := exec.CommandContext(t.Context(), file, "--version").CombinedOutput()
		want := programs[i] + " v1.2.3-test\ncommit " + b.named.commit + "\nbuilt with " + runtime.Version() + " for " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
		if err != nil || string(out) != want {
			t.Errorf("%s: %q, %v; expected %q", name, out, err, want)
		}
		// The SBOM and the program do not contradict each other, and the folder is not in it by another door.
		bom, err := describe(file, b.named.version)
		if err != nil || !bytes.Contains(bom, []byte(`"version": "v1.2.3-test"`)) || bytes.Contains(bom, []byte(root+"/")) {
			t.Errorf("%s: %v", name, err)
		}
		info, err := buildinfo.ReadFile(file)
		if err != nil || info.Main.Version != "(devel)" {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(dir, names[0]), "--version", "--json").Output()
	var said map[string]any
	if err != nil || json.Unmarshal(out, &said) != nil || said["version"] != "v1.2.3-test" || said["commit"] != b.named.commit || said["go"] != runtime.Version() {
		t.Errorf("%s, %v", out, err)
	}
}
