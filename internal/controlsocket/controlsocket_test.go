package controlsocket

import (
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// ask serves one word in a folder and returns what a client of the folder gets.
func ask(t *testing.T, dir string) string {
	t.Helper()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello "+r.URL.Path) })}
	defer s.Close()
	go s.Serve(l)
	resp, err := Client(dir).Get("http://control/there")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAnswersInTheFolder(t *testing.T) {
	dir := t.TempDir()
	// Twice: the first one leaves its socket, as a crash does.
	for range 2 {
		if got := ask(t, dir); got != "hello /there" {
			t.Errorf("the answer is %q", got)
		}
	}
}

// The path of a socket is bounded, that of a data folder is not.
func TestAnyLengthOfPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("a-long-name", 20))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, dir); got != "hello /there" {
		t.Errorf("the answer is %q", got)
	}
}

func TestOnlyTheOwnerMayUseIt(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Stat(filepath.Join(dir, name))
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestNobodyListens(t *testing.T) {
	dir := t.TempDir()
	if _, err := Client(dir).Get("http://control/"); err == nil {
		t.Error("somebody answered in an empty folder")
	}
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := Client(dir).Get("http://control/"); err == nil {
		t.Error("somebody answered after the end")
	}
	if _, err := Listen(filepath.Join(dir, "missing")); err == nil {
		t.Error("listening in a folder that does not exist")
	}
}
