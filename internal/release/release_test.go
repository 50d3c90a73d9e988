package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// build builds the smallest program for this machine.
func build(t *testing.T) (b *builder, dir, name string) {
	t.Helper()
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b, err = newBuilder(t.Context(), root, runtime.Version()); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	names, err := b.buildAll(t.Context(), dir, []string{"pausewitness"}, []string{runtime.GOOS + "/" + runtime.GOARCH}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return b, dir, names[0]
}

// The environment of whoever builds is hostile; the program is the same.
func TestTwoBuildsAreOneProgram(t *testing.T) {
	t.Setenv("GOFLAGS", "-tags=other -buildvcs=true")
	t.Setenv("CGO_ENABLED", "1")
	t.Setenv("GOAMD64", "v3")
	b, dir, name := build(t)
	if testing.Short() {
		// Not with an empty cache, which costs a minute of CPU: folders alone.
		other := &builder{root: filepath.Join(t.TempDir(), "tree"), environ: b.environ}
		if err := copyTree(other.root, b.root); err != nil {
			t.Fatal(err)
		}
		second := t.TempDir()
		if err := other.build(t.Context(), "pausewitness", runtime.GOOS, runtime.GOARCH, filepath.Join(second, name)); err != nil {
			t.Fatal(err)
		}
		if err := compare(dir, second, []string{name}); err != nil {
			t.Error(err)
		}
	} else if err := b.again(t.Context(), dir, []string{"pausewitness"}, []string{runtime.GOOS + "/" + runtime.GOARCH}, io.Discard); err != nil {
		t.Error(err)
	}

	// Why they are the same: nothing of this machine is in it.
	program, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	goroot, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{b.root + "/", filepath.Join(home, "go"), strings.TrimSpace(string(goroot)) + "/src"} {
		if bytes.Contains(program, []byte(place)) {
			t.Errorf("the program names the folder %s", place)
		}
	}
	info, err := buildinfo.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, s := range info.Settings {
		got[s.Key] = s.Value
	}
	for key, want := range map[string]string{"CGO_ENABLED": "0", "-trimpath": "true", "-tags": "", "vcs.revision": ""} {
		if got[key] != want {
			t.Errorf("build setting %s is %q, expected %q", key, got[key], want)
		}
	}
	if runtime.GOARCH == "amd64" && got["GOAMD64"] != "v1" {
		t.Errorf("GOAMD64 is %q", got["GOAMD64"])
	}
}

func TestCompareNamesWhatDiffers(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for dir, content := range map[string]string{a: "one", b: "two"} {
		os.WriteFile(filepath.Join(dir, "same"), []byte("same"), 0o644)
		os.WriteFile(filepath.Join(dir, "other"), []byte(content), 0o644)
	}
	if err := compare(a, b, []string{"same"}); err != nil {
		t.Error(err)
	}
	err := compare(a, b, []string{"same", "other"})
	if err == nil || !strings.Contains(err.Error(), "other is not reproducible") || strings.Contains(err.Error(), "same is") {
		t.Error(err)
	}
	if err := compare(a, b, []string{"none"}); err == nil {
		t.Error("a file that is not there is taken as equal")
	}
}

func TestTheCompilerIsGoModsOwn(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{
		"module m\n\ngo 1.26.0\n\ntoolchain go1.26.8\n": "go1.26.8",
		"module m\n\ngo 1.26.0\n":                       "", // the go line is the oldest that will do, not the one
		"module\n":                                      "",
	} {
		gomod := filepath.Join(dir, "go.mod")
		if err := os.WriteFile(gomod, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := toolchain(gomod)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
	if _, err := newBuilder(t.Context(), dir, "go1.1"); err == nil {
		t.Error("a compiler that is not there built something")
	}
}

func TestNothingOfTheEnvironmentDecides(t *testing.T) {
	got := withSettings([]string{"PATH=/bin", "GOFLAGS=-race", "CGO_CFLAGS=-g", "GOOS=plan9", "HOME=/h"}, map[string]string{"GOFLAGS": "", "GOARCH": "arm64"})
	if want := []string{"PATH=/bin", "HOME=/h", "GOARCH=arm64", "GOFLAGS="}; !slices.Equal(got, want) {
		t.Errorf("%q, expected %q", got, want)
	}
}

func TestACopyIsTheSourceAlone(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "to")
	for _, name := range []string{"go.mod", "a/a.go", "a/bin/b.go", ".git/config", "bin/old", "dist/old", ".ci/run"} {
		os.MkdirAll(filepath.Dir(filepath.Join(from, name)), 0o755)
		if err := os.WriteFile(filepath.Join(from, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := copyTree(to, from); err != nil {
		t.Fatal(err)
	}
	var got []string
	filepath.Walk(to, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			rel, _ := filepath.Rel(to, path)
			got = append(got, rel)
		}
		return err
	})
	if want := []string{"a/a.go", "a/bin/b.go", "go.mod"}; !slices.Equal(got, want) {
		t.Errorf("%q, expected %q", got, want)
	}
}

func TestSumsAreSortedAndOfTheFilesNamed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b", "b" + bomSuffix, "a", "a" + bomSuffix, "stray"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sums, err := writeSums(dir, []string{"b", "a"})
	if err != nil {
		t.Fatal(err)
	}
	// printf %s a | sha256sum
	if !strings.HasPrefix(string(sums), "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  a\n") {
		t.Errorf("%s", sums)
	}
	var names []string
	for line := range strings.Lines(string(sums)) {
		names = append(names, strings.TrimSpace(line[66:]))
	}
	if want := []string{"a", "a" + bomSuffix, "b", "b" + bomSuffix}; !slices.Equal(names, want) {
		t.Errorf("%q, expected %q", names, want)
	}
	if _, err := writeSums(dir, []string{"gone"}); err == nil {
		t.Error("the digest of a file that is not there")
	}
}

func TestBadCommandLines(t *testing.T) {
	for _, args := range [][]string{{"extra"}, {"-version", "1.2.3"}, {"-version", "v1.2"}, {"-version", "v1.2.3/.."}, {"-nosuch"}} {
		var stdout, stderr bytes.Buffer
		if code := run(context.Background(), args, &stdout, &stderr); code != 2 || stdout.Len() > 0 || stderr.Len() == 0 {
			t.Errorf("%q: exit code %d, %q, %q", args, code, &stdout, &stderr)
		}
	}
	b := &builder{root: t.TempDir()}
	for _, platform := range []string{"", "linux", "linux/", "/amd64", "linux/amd64/v3"} {
		if _, err := b.buildAll(t.Context(), t.TempDir(), programs, []string{platform}, io.Discard); err == nil || !strings.Contains(err.Error(), "expected GOOS/GOARCH") {
			t.Errorf("%q: %v", platform, err)
		}
	}
}
