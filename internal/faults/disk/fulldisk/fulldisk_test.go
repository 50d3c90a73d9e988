package fulldisk

import (
	"path"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
)

func TestFewMoments(t *testing.T) {
	r, err := run(t.Context(), campaign.Options{Seed: 1, Progress: t.Logf}, honest, 40)
	if err != nil {
		t.Fatal(err)
	}
	if r.Faults < 20 || r.Crashes < 60 || r.Refused == 0 {
		t.Errorf("it did little: %+v", r)
	}
}

// ignoring is a file system whose errors of sync nobody sees.
type ignoring struct{ vfs.FS }

type ignoringFile struct{ vfs.File }

func (f ignoringFile) Sync() error     { _ = f.File.Sync(); return nil }
func (f ignoringFile) SyncData() error { return f.Sync() }

func (fs ignoring) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	if err == nil && path.Ext(name) == ".log" {
		return ignoringFile{f}, nil
	}
	return f, err
}

func TestSabotageIsFound(t *testing.T) {
	for name, s := range map[string]func(vfs.FS) vfs.FS{
		"errors of sync are ignored": func(fs vfs.FS) vfs.FS { return ignoring{fs} },
		"answers before the sync": func(fs vfs.FS) vfs.FS {
			return faultfs.Lying{FS: fs, Lies: func(n string) bool { return path.Ext(n) == ".log" }}
		},
	} {
		_, err := run(t.Context(), campaign.Options{Seed: 2, Progress: t.Logf}, s, 300)
		if err == nil || !strings.Contains(err.Error(), "were signed") || !strings.Contains(err.Error(), "-seed 2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
