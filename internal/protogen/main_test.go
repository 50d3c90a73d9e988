package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The committed code is what the committed .proto files generate.
func TestGeneratedCodeIsCurrent(t *testing.T) {
	var stderr bytes.Buffer
	if code := run([]string{"-check"}, &stderr); code != 0 {
		t.Errorf("exit %d\n%s", code, &stderr)
	}
}

func TestGenerateCarriesCommentsAndNoCompilerVersion(t *testing.T) {
	dir := t.TempDir()
	// A module for `go run` to find the plugin's version in.
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, name, string(content))
	}
	write(t, dir, "a/a.proto", `syntax = "proto3"; package a; option go_package = "example.org/a"; import "b/b.proto"; import "google/protobuf/duration.proto";
// An A has a B.
message A { b.B b = 1; google.protobuf.Duration d = 2; }`)
	write(t, dir, "b/b.proto", `syntax = "proto3"; package b; option go_package = "example.org/b"; message B {} service S { rpc M(B) returns (B); }`)
	write(t, dir, "a/gone.pb.go", "package a")
	files, err := generate(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	a := string(files["a/a.pb.go"])
	for _, want := range []string{"// An A has a B.\ntype A struct", "protoc        (unknown)"} {
		if !strings.Contains(a, want) {
			t.Errorf("a.pb.go lacks %q:\n%s", want, a)
		}
	}
	write(t, dir, "a/a.pb.go", a)
	write(t, dir, "b/b.pb.go", "another content")
	got, err := differing(dir, files)
	if want := []string{"a/gone.pb.go", "b/b.pb.go", "b/b_grpc.pb.go"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("differing: %v, %v; want %v", got, err, want)
	}
}

func TestSyntaxErrorNamesThePlace(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.proto", "syntax = \"proto3\";\nmessage {}")
	if _, err := generate(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "a.proto:2:9") {
		t.Errorf("error %v, want one at a.proto:2:9", err)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-x"}, {"file.proto"}} {
		if code := run(args, new(bytes.Buffer)); code != 2 {
			t.Errorf("%v: exit %d, want 2", args, code)
		}
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
