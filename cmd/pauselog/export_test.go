package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// sameTree checks that each file of a proof tree is what the log serves under its name.
func sameTree(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	n := 0
	ts.Check(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		r, err := http.Get(ts.Getenv("HTTP") + "/" + filepath.ToSlash(name))
		if err != nil {
			return err
		}
		got, err := io.ReadAll(r.Body)
		if err = errors.Join(err, r.Body.Close()); err != nil {
			return err
		}
		if n++; r.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
			ts.Fatalf("%s: the log answers %d %q, the file is %q", name, r.StatusCode, got, want)
		}
		return nil
	}))
	if n < 257 {
		ts.Fatalf("there are only %d files", n)
	}
}

func serveTree(ts *testscript.TestScript, _ bool, args []string) {
	s := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	ts.Defer(s.Close)
	ts.Setenv("TREE", s.URL)
}
