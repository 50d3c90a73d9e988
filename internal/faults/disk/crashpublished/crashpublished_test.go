package crashpublished

import (
	"errors"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
)

func TestFewPoints(t *testing.T) {
	r, err := run(t.Context(), campaign.Options{Seed: 1, Dir: t.TempDir(), Progress: t.Logf}, honest, 16)
	if err != nil {
		t.Fatal(err)
	}
	if r.Crashes < 40 || r.Faults < 20 || r.Refused < 8 || r.Acknowledged < 50 {
		t.Errorf("it did little: %+v", r)
	}
}

// forgetful is the file system of a log that makes a published file anew where it cannot read the one that is there.
type forgetful struct{ vfs.FS }

func (fs forgetful) Stat(name string) (vfs.FileInfo, error) {
	if name == policy {
		d := &faultfs.Disk{FS: fs.FS}
		if b, err := d.ReadFile(file); err != nil || !strings.HasPrefix(string(b), "pauselog-published/v1") {
			return nil, errors.Join(os.ErrNotExist, fs.Remove(file))
		}
	}
	return fs.FS.Stat(name)
}

func TestSabotageIsFound(t *testing.T) {
	lying := func(lies func(string) bool) sabotage {
		return func(fs vfs.FS) vfs.FS { return faultfs.Lying{FS: fs, Lies: lies} }
	}
	for _, tt := range []struct {
		name string
		s    sabotage
		want string
	}{
		{"shows before the sync of what is published", lying(func(name string) bool { return name == file }), "was published, and now"},
		{"takes a file that it did not sync for its own", lying(func(name string) bool { return strings.HasPrefix(path.Base(name), ".published") }), "does not start"},
		{"begins anew with a file that it cannot read", func(fs vfs.FS) vfs.FS { return forgetful{fs} }, "was published, and now it is size 0"},
	} {
		_, err := run(t.Context(), campaign.Options{Seed: 2, Dir: t.TempDir(), Progress: t.Logf}, tt.s, 40)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "-seed 2") {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}
