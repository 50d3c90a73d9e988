package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestWriteReplacesAndLeavesNothingBesides(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	for _, tt := range []struct {
		content string
		mode    fs.FileMode
	}{{"first", 0o644}, {"second", 0o600}, {"", 0o600}} {
		if err := Write(name, []byte(tt.content), tt.mode); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		info, statErr := os.Stat(name)
		if err := errors.Join(err, statErr); err != nil || string(b) != tt.content || info.Mode().Perm() != tt.mode {
			t.Errorf("%q is %q, %v, %v", tt.content, b, info.Mode(), err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}

// A write that cannot be finished leaves the old content, and no temporary file.
func TestWriteThatFails(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "name")
	if err := os.MkdirAll(filepath.Join(name, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(name, []byte("x"), 0o600); err == nil {
		t.Error("a file in place of a folder")
	}
	if err := Write(filepath.Join(dir, "gone", "file"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that is not there: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}

// What a killed process left goes; a person's files stay, whatever their names.
func TestRemoveLeftovers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"file", ".file.123.tmp", ".a.b.9.tmp", "file.tmp", ".file", ".tmp", ".file.tmp.keep", "x.file.1.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, ".dir.1.tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	RemoveLeftovers(dir)
	RemoveLeftovers(filepath.Join(dir, "none"))
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := []string{".dir.1.tmp", ".file", ".file.tmp.keep", ".tmp", "file", "file.tmp", "x.file.1.tmp"}; !slices.Equal(got, want) {
		t.Errorf("it has %q, want %q", got, want)
	}
}
