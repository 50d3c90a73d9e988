package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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
