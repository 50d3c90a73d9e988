package artifact

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pauselog/pauselog/log/entry"
)

// cpan makes a small copy of CPAN in a folder that is reached by a link too.
func cpan(t *testing.T) (root, link string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root, link = filepath.Join(dir, "cpan"), filepath.Join(dir, "link")
	author := filepath.Join(root, "authors/id/E/ET/ETHER")
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	try(os.MkdirAll(author, 0o755))
	try(os.MkdirAll(filepath.Join(root, "modules"), 0o755))
	try(os.MkdirAll(filepath.Join(dir, "cpan2"), 0o755))
	for _, name := range []string{"cpan/authors/id/E/ET/ETHER/X-1.0.tar.gz", "cpan/modules/06perms.txt", "outside", "cpan2/file", "cpan/..data"} {
		try(os.WriteFile(filepath.Join(dir, name), []byte("content"), 0o644))
	}
	try(os.Symlink("cpan", link))
	try(os.Symlink("X-1.0.tar.gz", filepath.Join(author, "Link-1.0.tar.gz")))
	try(os.Symlink("../../../../../outside", filepath.Join(author, "Out-1.0.tar.gz")))
	try(os.Symlink("E", filepath.Join(root, "authors/id/F")))
	try(os.Symlink("../cpan2", filepath.Join(root, "escape")))
	return root, link
}

func TestPath(t *testing.T) {
	root, link := cpan(t)
	t.Chdir(filepath.Join(root, "authors/id/E"))
	const want = "authors/id/E/ET/ETHER/X-1.0.tar.gz"
	for _, tt := range []struct{ root, name, want string }{
		{root, filepath.Join(root, want), want},
		{root + "/", root + "/authors//id/./E/ET/../ET/ETHER/X-1.0.tar.gz", want},
		{root, "ET/ETHER/X-1.0.tar.gz", want},
		{"../../..", "ET/ETHER/X-1.0.tar.gz", want},
		{root, filepath.Join(root, "modules/06perms.txt"), "modules/06perms.txt"},
		{root, filepath.Join(root, "..data"), "..data"},
		// Whichever way the root is reached.
		{link, filepath.Join(link, want), want},
		{link, filepath.Join(root, want), want},
		{root, filepath.Join(link, want), want},
	} {
		if got, err := Path(tt.root, tt.name); err != nil || got != tt.want {
			t.Errorf("Path(%q, %q): %q, %v, want %q", tt.root, tt.name, got, err, tt.want)
		}
	}
	for _, tt := range []struct {
		root, name string
		want       error
	}{
		{root, filepath.Join(root, "../outside"), ErrOutside},
		{root, filepath.Join(root, "../cpan2/file"), ErrOutside}, // the root's name is a prefix of it
		{filepath.Join(root, "modules"), filepath.Join(root, want), ErrOutside},
		{root, root, ErrOutside},
		{root, filepath.Join(root, "escape/file"), ErrOutside},
		{root, filepath.Join(root, "authors/id/F/ET/ETHER/X-1.0.tar.gz"), ErrOutside},
		{root, filepath.Join(root, "authors/id/E/ET/ETHER/Link-1.0.tar.gz"), ErrNotRegular},
		{root, filepath.Join(root, "authors/id/E/ET/ETHER/Out-1.0.tar.gz"), ErrNotRegular},
		{root, filepath.Join(root, "authors/id/E/ET/ETHER/Missing-1.0.tar.gz"), os.ErrNotExist},
		{filepath.Join(root, "missing"), filepath.Join(root, want), os.ErrNotExist},
	} {
		if got, err := Path(tt.root, tt.name); !errors.Is(err, tt.want) {
			t.Errorf("Path(%q, %q): %q, %v, want %v", tt.root, tt.name, got, err, tt.want)
		}
	}
}

func TestRead(t *testing.T) {
	root, _ := cpan(t)
	author := filepath.Join(root, "authors/id/E/ET/ETHER")
	want := File{SHA256: entry.Digest(sha256.Sum256([]byte("content"))), Size: 7}
	for _, tt := range []struct {
		read func(string) (File, error)
		name string
	}{{Read, "X-1.0.tar.gz"}, {Read, "Link-1.0.tar.gz"}, {ReadRegular, "X-1.0.tar.gz"}} {
		got, err := tt.read(filepath.Join(author, tt.name))
		if err != nil || got.SHA256 != want.SHA256 || got.Size != want.Size || got.ModTime.IsZero() {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
	fifo := filepath.Join(root, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		read func(string) (File, error)
		name string
		want error
	}{
		{ReadRegular, filepath.Join(author, "Link-1.0.tar.gz"), ErrNotRegular},
		{ReadRegular, author, ErrNotRegular},
		{ReadRegular, fifo, ErrNotRegular}, // and does not wait for a writer
		{Read, author, ErrNotRegular},
		{Read, filepath.Join(author, "missing"), os.ErrNotExist},
		{ReadRegular, filepath.Join(author, "missing"), os.ErrNotExist},
	} {
		if got, err := tt.read(tt.name); !errors.Is(err, tt.want) {
			t.Errorf("%s: %+v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
}
