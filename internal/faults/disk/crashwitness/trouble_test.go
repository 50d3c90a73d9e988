package crashwitness

import (
	"path"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
)

func TestFewTroubles(t *testing.T) {
	r, err := runTroubles(t.Context(), campaign.Options{Seed: 1, Progress: t.Logf}, func(fs vfs.FS) vfs.FS { return fs }, 80)
	if err != nil {
		t.Fatal(err)
	}
	if r.Faults < 30 || r.Crashes < 120 || r.Refused < 100 || r.Acknowledged < 50 {
		t.Errorf("it did little: %+v", r)
	}
}

// ignoring is the file system of a witness that does not look at the errors of its writes.
type ignoring struct {
	vfs.FS
	what func(name string) bool
}

type ignoringFile struct{ vfs.File }

func (f ignoringFile) WriteAt(b []byte, at int64) (int, error) {
	_, _ = f.File.WriteAt(b, at)
	return len(b), nil
}
func (f ignoringFile) Sync() error     { _ = f.File.Sync(); return nil }
func (f ignoringFile) SyncData() error { return f.Sync() }

func (fs ignoring) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name, c, o...)
	if err == nil && fs.what(name) {
		return ignoringFile{f}, nil
	}
	return f, err
}

func TestSabotageInTroubleIsFound(t *testing.T) {
	record := func(name string) bool { return path.Ext(name) == ".log" }
	head := func(name string) bool { return path.Base(name) == "head" }
	all := func(name string) bool { return record(name) || head(name) }
	for name, tt := range map[string]struct {
		s    func(vfs.FS) vfs.FS
		want string
	}{
		"errors of all its writes are ignored":    {func(fs vfs.FS) vfs.FS { return ignoring{fs, all} }, "does not start"},
		"errors of the record's writes are":       {func(fs vfs.FS) vfs.FS { return ignoring{fs, record} }, "does not start"},
		"errors of the head's writes are":         {func(fs vfs.FS) vfs.FS { return ignoring{fs, head} }, "does not start"},
		"answers before any sync, without errors": {func(fs vfs.FS) vfs.FS { return faultfs.Lying{FS: fs, Lies: all} }, "the witness said"},
	} {
		_, err := runTroubles(t.Context(), campaign.Options{Seed: 2, Progress: t.Logf}, tt.s, 300)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "-seed 2") {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
	}
}
