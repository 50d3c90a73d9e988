package crashwitness

import (
	"path"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
)

func TestFewPoints(t *testing.T) {
	r, err := run(t.Context(), campaign.Options{Seed: 1, Progress: t.Logf}, func(fs vfs.FS) vfs.FS { return fs }, 60)
	if err != nil {
		t.Fatal(err)
	}
	if r.Crashes < 50 || r.Faults < 30 || r.Refused == 0 || r.Acknowledged < 50 {
		t.Errorf("it did little: %+v", r)
	}
}

func TestSabotageIsFound(t *testing.T) {
	record := func(name string) bool { return path.Ext(name) == ".log" }
	head := func(name string) bool { return path.Base(name) == "head" }
	for _, tt := range []struct {
		name string
		lies func(string) bool
		want string
	}{
		{"answers before the sync of the record", record, "does not start"},
		{"answers before the sync of the head", head, "does not start"},
		{"answers before any sync", func(name string) bool { return record(name) || head(name) }, "the witness said"},
	} {
		_, err := run(t.Context(), campaign.Options{Seed: 2, Progress: t.Logf}, func(fs vfs.FS) vfs.FS { return faultfs.Lying{FS: fs, Lies: tt.lies} }, 60)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "-seed 2") {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}
