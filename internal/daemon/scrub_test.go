package daemon_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/daemon"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/recovery"
	"github.com/pauselog/pauselog/log/head"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// A journal tells when the log says something.
type journal struct {
	slog.Handler
	said chan string
	what string
}

func journalOf(what string) *journal {
	return &journal{slog.DiscardHandler, make(chan string, 100), what}
}

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, j.what) {
		j.said <- r.Message
	}
	return nil
}

// damage replaces an entry in the store of a log that does not run, with right checksums.
func damage(t *testing.T, f *datafolder.Folder, index uint64) {
	t.Helper()
	db, err := pebble.Open(filepath.Join(f.StoreDir(), "log"), &pebble.Options{FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	key := binary.BigEndian.AppendUint64([]byte{'z'}, index)
	if err := errors.Join(db.Set(key, []byte("pauselog/v1\n"), pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// A log whose scrub finds damage serves what is sound, refuses the rest, and signs nothing more: not after a restart either,
// and not with the scrub turned off, until it was recovered.
func TestDamageThatAScrubFinds(t *testing.T) {
	f := newFolder(t)
	s := start(t, config(f))
	submit(t, s.client(t), 0, 530)
	s.stop(t)
	backups := t.TempDir()
	b, err := daemon.Backup(t.Context(), recovery.Backup{Folder: f, To: backups})
	if err != nil || b.Size != 530 || !b.Verified {
		t.Fatalf("%+v, %v", b, err)
	}
	damage(t, f, 5)

	c := config(f)
	j := journalOf("the store is damaged")
	c.Log, c.ScrubPeriod = slog.New(j), time.Hour
	for _, round := range []string{"first", "after a restart", "after a restart without a scrub"} {
		s = start(t, c)
		<-j.said
		api := s.client(t)
		if _, err := api.Submit(t.Context(), &pb.SubmitRequest{Submission: upload(1000)}); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: a submission: %v", round, err)
		}
		if r, err := api.GetEntry(t.Context(), &pb.GetEntryRequest{Index: 5}); err == nil {
			t.Errorf("%s: the damaged entry is served: %v", round, r)
		}
		if r, err := api.GetEntry(t.Context(), &pb.GetEntryRequest{Index: 6}); err != nil || !strings.Contains(r.Entry, "Dist-6.tar.gz") {
			t.Errorf("%s: a sound entry: %v, %v", round, r, err)
		}
		if code, body := read(t, "http://"+s.HTTP+"/checkpoint"); code != 200 || !strings.Contains(body, "\n530\n") {
			t.Errorf("%s: %d %s", round, code, body)
		}
		if code, body := read(t, "http://"+s.Admin+"/readyz"); code != 503 || !strings.Contains(body, "entries of entry 5: it does not have its leaf hash") || !strings.Contains(body, "pauselogd recover") {
			t.Errorf("%s: readyz: %d %s", round, code, body)
		}
		// Reading goes on, and whoever sends readers here need not stop.
		if code, body := read(t, "http://"+s.Admin+"/healthz"); code != 200 {
			t.Errorf("%s: healthz: %d %s", round, code, body)
		}
		if _, body := read(t, "http://"+s.Admin+"/metrics"); !strings.Contains(body, "\npauselog_scrub_damage 1\n") || !strings.Contains(body, "\npauselog_healthy 1\n") || !strings.Contains(body, "\npauselog_ready 0\n") {
			t.Errorf("%s: the metrics do not tell of the damage", round)
		}
		st, err := daemon.ScrubStatusOf(t.Context(), f)
		if err != nil || !st.Running || len(st.Damage) != 1 || st.Damage[0].Start != 5 {
			t.Errorf("%s: %+v, %v", round, st, err)
		}
		if _, err := daemon.Scrub(t.Context(), f, nil); !errors.Is(err, head.ErrLocked) {
			t.Errorf("%s: a scrub of a log that runs: %v", round, err)
		}
		if _, err := daemon.Recover(t.Context(), recovery.Config{Folder: f}); !errors.Is(err, head.ErrLocked) {
			t.Errorf("%s: a recovery of a log that runs: %v", round, err)
		}
		s.stop(t)
		if round == "after a restart" {
			c.ScrubPeriod = 0
		}
	}

	r, err := daemon.Scrub(t.Context(), f, nil)
	if err != nil || r.Sound() || len(r.Damage) != 1 || r.Damage[0].Start != 5 || r.Entries != 530 {
		t.Errorf("%+v, %v", r, err)
	}
	source, err := recovery.Open(b.Path, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if r, err := daemon.Recover(t.Context(), recovery.Config{Folder: f, Sources: []recovery.Source{source}}); err != nil || !r.Recovered {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err := daemon.Scrub(t.Context(), f, nil); err != nil || !r.Sound() || r.Size != 530 {
		t.Errorf("%+v, %v", r, err)
	}
	s = start(t, config(f))
	submit(t, s.client(t), 530, 533)
	if e, err := s.client(t).GetEntry(t.Context(), &pb.GetEntryRequest{Index: 5}); err != nil || !strings.Contains(e.Entry, "Dist-5.tar.gz") {
		t.Errorf("%v, %v", e, err)
	}
}

// A sound store is scrubbed to its end, and that is known after a restart.
func TestScrubOfASoundStore(t *testing.T) {
	f := newFolder(t)
	c := config(f)
	j := journalOf("the store is damaged")
	c.Log, c.ScrubPeriod = slog.New(j), time.Hour
	s := start(t, c)
	submit(t, s.client(t), 0, 3)
	s.stop(t)
	s = start(t, c) // one chunk is all of it
	s.stop(t)
	s = start(t, config(f))
	st, err := daemon.ScrubStatusOf(t.Context(), f)
	if err != nil || len(st.Damage) > 0 || st.Completed == "" || st.Period != "" || st.Size != 3 {
		t.Errorf("%+v, %v", st, err)
	}
	if _, body := read(t, "http://"+s.Admin+"/metrics"); !strings.Contains(body, "\npauselog_scrub_damage 0\n") || strings.Contains(body, "\npauselog_scrub_completed_time 0\n") {
		t.Error("the metrics do not tell of the scrub")
	}
	select {
	case said := <-j.said:
		t.Error(said)
	default:
	}
}

// Notes that cannot be read are written anew.
func TestScrubNotesThatAreDamaged(t *testing.T) {
	f := newFolder(t)
	if err := os.WriteFile(f.ScrubFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := config(f)
	c.ScrubPeriod = time.Hour
	s := start(t, c)
	submit(t, s.client(t), 0, 1)
	s.stop(t)
	if b, err := os.ReadFile(f.ScrubFile()); err != nil || !bytes.Contains(b, []byte("pauselog-scrub/v1")) {
		t.Errorf("%s, %v", b, err)
	}
}

// A backup of a log that runs has what was acknowledged before, and nothing of it is left behind.
func TestBackupWhileItRuns(t *testing.T) {
	f := newFolder(t)
	// A backup was killed here.
	if err := os.MkdirAll(filepath.Join(f.SnapshotDir(), "log"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, config(f))
	if _, err := os.Stat(f.SnapshotDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an old snapshot is still there: %v", err)
	}
	to := t.TempDir()
	var paths []string
	for round := range 3 {
		submit(t, s.client(t), 10*round, 10*round+10)
		b, err := daemon.Backup(t.Context(), recovery.Backup{Folder: f, To: to})
		if err != nil || b.Size != uint64(10*round+10) || b.Keys {
			t.Fatalf("%+v, %v", b, err)
		}
		paths = append(paths, b.Path)
		if _, err := os.Stat(f.SnapshotDir()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the snapshot is still there: %v", err)
		}
	}
	s.stop(t)
	slices.Sort(paths)
	if len(slices.Compact(paths)) != 3 {
		t.Errorf("%v", paths)
	}
	if left, err := filepath.Glob(filepath.Join(to, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if keys, err := filepath.Glob(filepath.Join(to, "*", "keys")); err != nil || len(keys) > 0 {
		t.Errorf("keys are in it: %v, %v", keys, err)
	}
	if heads, err := filepath.Glob(filepath.Join(to, "*", "*head*")); err != nil || len(heads) > 0 {
		t.Errorf("the head file is in it: %v, %v", heads, err)
	}
}
