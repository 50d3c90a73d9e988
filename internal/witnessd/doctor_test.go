package witnessd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/internal/witnessd/testlog"
	"github.com/pauselog/pauselog/witness/client"
	"github.com/pauselog/pauselog/witness/protocol"
)

const stale = 48 * time.Hour

// signedOnce is a witness that has cosigned size 5 of the log at the time made, and ended.
func signedOnce(t *testing.T) (*Folder, *testlog.Log) {
	t.Helper()
	f := initialised(t)
	l := testlog.New(t, "log.example/pause", 1)
	if err := f.AddLog(l.VKeys()...); err != nil {
		t.Fatal(err)
	}
	s := run(t, f, func(c *Config) { c.Clock = &fixedClock{made} })
	s.ask(l, 0, 5)
	s.end()
	return f, l
}

// found is what doctor found, in words, without what is fine.
func found(d *Diagnosis) string {
	out := new(strings.Builder)
	for _, f := range d.Findings {
		if f.Severity != Fine {
			fmt.Fprintf(out, "%s %s: %s DO %s\n", f.Severity, f.Check, f.Text, f.Do)
		}
	}
	return out.String()
}

func TestDoctorOfAWitnessThatIsWell(t *testing.T) {
	f, _ := signedOnce(t)
	d := Doctor(t.Context(), f.Dir, stale, &fixedClock{made.Add(time.Hour)})
	if d.Wrong() || strings.Count(found(d), "\n") != 1 || !strings.Contains(found(d), "warning head: the head file") {
		t.Errorf("it found %s", found(d))
	}
	var checks []string
	for _, f := range d.Findings {
		checks = append(checks, f.Check)
	}
	if want := []string{"folder", "keys", "head", "state", "clock", "evidence", "logs"}; !slices.Equal(checks, want) {
		t.Errorf("it checked %v", checks)
	}
	if d.Status == nil || d.Status.Logs[0].Size != 5 {
		t.Errorf("its status is %+v", d.Status)
	}
	// The same of one that runs.
	run(t, f, func(c *Config) { c.Clock = &fixedClock{made.Add(time.Hour)} })
	d = Doctor(t.Context(), f.Dir, stale, &fixedClock{made.Add(time.Hour)})
	if d.Wrong() || !d.Status.Running || d.Status.Logs[0].Size != 5 {
		t.Errorf("running: %s, %+v", found(d), d.Status)
	}
}

func TestDoctorFindsDamage(t *testing.T) {
	const retire = "This witness must never sign again with these keys"
	later := func(d time.Duration) *fixedClock { return &fixedClock{made.Add(d)} }
	record := func(t *testing.T, f *Folder) string {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(f.stateDir(), "*.log"))
		if err != nil || len(names) != 1 {
			t.Fatalf("%v, %v", names, err)
		}
		return names[0]
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, f *Folder, l *testlog.Log)
		clock  *fixedClock
		wrong  bool
		want   []string
	}{
		"no folder":                      {func(t *testing.T, f *Folder, _ *testlog.Log) { must(t, os.RemoveAll(f.Dir)) }, later(0), true, []string{"wrong folder", "there is no witness"}},
		"no description":                 {func(t *testing.T, f *Folder, _ *testlog.Log) { must(t, os.Remove(f.descriptionFile())) }, later(0), true, []string{"wrong folder", "put back the newest copy of that file"}},
		"a folder others can write to":   {func(t *testing.T, f *Folder, _ *testlog.Log) { must(t, os.Chmod(f.Dir, 0o770)) }, later(0), true, []string{"wrong folder", "can be written by others", "chmod go-w"}},
		"a key others can read":          {func(t *testing.T, f *Folder, _ *testlog.Log) { must(t, os.Chmod(f.keyFile(mldsa44File), 0o644)) }, later(0), true, []string{"wrong keys", "chmod 600"}},
		"a key that is gone":             {func(t *testing.T, f *Folder, _ *testlog.Log) { must(t, os.Remove(f.keyFile(ed25519File))) }, later(0), true, []string{"wrong keys", "put them back"}},
		"a head file others can write":   {func(t *testing.T, f *Folder, _ *testlog.Log) { must(t, os.Chmod(f.Head, 0o666)) }, later(0), true, []string{"wrong head", "chmod 600"}},
		"no head file":                   {func(t *testing.T, f *Folder, _ *testlog.Log) { must(t, os.Remove(f.Head)) }, later(0), true, []string{"wrong state", "refusing to start", "at change 2", retire}},
		"a damaged head file":            {func(t *testing.T, f *Folder, _ *testlog.Log) { must(t, os.Truncate(f.Head, 10)) }, later(0), true, []string{"wrong state", "refusing to start", retire}},
		"no state":                       {func(t *testing.T, f *Folder, _ *testlog.Log) { must(t, os.RemoveAll(f.stateDir())) }, later(0), true, []string{"wrong state", "refusing to start", retire}},
		"a record that is gone":          {func(t *testing.T, f *Folder, _ *testlog.Log) { must(t, os.Remove(record(t, f))) }, later(0), true, []string{"wrong state", "the folder is at change 0", "the head file at change 2", retire}},
		"a damaged record":               {func(t *testing.T, f *Folder, _ *testlog.Log) { must(t, os.Truncate(record(t, f), 100)) }, later(0), true, []string{"wrong state", retire}},
		"an older copy of the folder":    {olderFolder, later(0), true, []string{"wrong state", "the folder is at change 2", "at change 3", retire}},
		"an older copy of the head file": {olderHead, later(0), true, []string{"wrong state", "the head file only at change 2", retire}},
		"keys and state both": {func(t *testing.T, f *Folder, _ *testlog.Log) {
			must(t, os.RemoveAll(f.keyDir()))
			must(t, os.Remove(f.Head))
		}, later(0), true, []string{"wrong keys", "wrong state", retire}},
		"a clock that went back":  {func(*testing.T, *Folder, *testlog.Log) {}, later(-time.Hour), true, []string{"wrong clock", "the clock went back", "pausewitness clock accept --data"}},
		"a clock a little behind": {func(*testing.T, *Folder, *testlog.Log) {}, later(-time.Minute), false, nil},
		"a log that is silent":    {func(*testing.T, *Folder, *testlog.Log) {}, later(50 * time.Hour), false, []string{"warning logs", "log.example/pause (2 days ago)"}},
		"a log that never asked": {func(t *testing.T, f *Folder, _ *testlog.Log) {
			must(t, f.AddLog(testlog.New(t, "log.example/other", 2).VKeys()...))
		}, later(0), false, []string{"warning logs", "log.example/other (never)"}},
		"a disabled log": {func(t *testing.T, f *Folder, l *testlog.Log) {
			outcomes(t, f, Change{Kind: DisableLog, Origin: l.Name})
		}, later(0), false, []string{"warning logs", "1 logs are disabled: log.example/pause"}},
		"a log that forks": {fork, later(0), true, []string{"wrong evidence", ".evidence: it proves that the log log.example/pause signed two trees", "publish the file"}},
		"evidence that was changed": {func(t *testing.T, f *Folder, l *testlog.Log) {
			fork(t, f, l)
			files, err := evidenceFiles(f.evidenceDir())
			must(t, err)
			must(t, os.Truncate(files[0].path, 300))
		}, later(0), true, []string{"wrong evidence", "cannot be checked"}},
		"evidence against nobody": {func(t *testing.T, f *Folder, _ *testlog.Log) {
			write(t, filepath.Join(f.evidenceDir(), strings.Repeat("0", 64)+"-5-0123456789abcdef.notes"), "x", 0o600)
		}, later(0), true, []string{"wrong evidence", "about a log that this witness does not know"}},
		"a wrong proof": {func(t *testing.T, f *Folder, l *testlog.Log) {
			write(t, filepath.Join(f.evidenceDir(), protocol.OriginHash(l.Name)+"-5-0123456789abcdef.unproven"), "x", 0o600)
		}, later(0), false, []string{"warning evidence", "1 checkpoints"}},
		"notes that contradict one another": {func(t *testing.T, f *Folder, l *testlog.Log) {
			write(t, filepath.Join(f.evidenceDir(), protocol.OriginHash(l.Name)+"-5-0123456789abcdef.notes"), "x", 0o600)
		}, later(0), true, []string{"wrong evidence", "compare the notes"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, l := signedOnce(t)
			c.damage(t, f, l)
			before, head := everything(t, f)
			d := Doctor(t.Context(), f.Dir, stale, c.clock)
			if d.Wrong() != c.wrong {
				t.Errorf("wrong: %v, want %v", d.Wrong(), c.wrong)
			}
			for _, w := range c.want {
				if !strings.Contains(found(d), w) {
					t.Errorf("it does not say %q:\n%s", w, found(d))
				}
			}
			if strings.Contains(found(d), "pausewitness-look") {
				t.Errorf("it names files that the operator does not have:\n%s", found(d))
			}
			if b, h := everything(t, f); b != before || h != head {
				t.Error("doctor changed something")
			}
		})
	}
}

func TestDoctorNamesSomeLogsOnly(t *testing.T) {
	f := initialised(t)
	l := testlog.New(t, "log.example/pause", 1)
	var changes []Change
	for i := range 15 {
		changes = append(changes, newLog(t, fmt.Sprintf("log.example/%02d", i), l.VKeys()[0]))
	}
	outcomes(t, f, changes...)
	d := Doctor(t.Context(), f.Dir, stale, &fixedClock{made})
	if got := found(d); !strings.Contains(got, "15 logs") || !strings.Contains(got, "log.example/09 (never) and 5 more") {
		t.Errorf("it found %s", got)
	}
}

// everything is the content of all files of a witness.
func everything(t *testing.T, f *Folder) (folder, head string) {
	t.Helper()
	out := new(strings.Builder)
	filepath.WalkDir(f.Dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			b, err := os.ReadFile(path)
			fmt.Fprintf(out, "%s %q %v\n", path, b, err)
		}
		return nil
	})
	b, _ := os.ReadFile(f.Head)
	return out.String(), string(b)
}

// olderFolder lays an older copy of the state below a newer head file.
func olderFolder(t *testing.T, f *Folder, l *testlog.Log) {
	t.Helper()
	older := t.TempDir()
	if err := os.CopyFS(filepath.Join(older, "state"), os.DirFS(f.stateDir())); err != nil {
		t.Fatal(err)
	}
	outcomes(t, f, Change{Kind: DisableLog, Origin: l.Name})
	if err := os.RemoveAll(f.stateDir()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(older, "state"), f.stateDir()); err != nil {
		t.Fatal(err)
	}
}

// olderHead puts back a head file that is two changes old.
func olderHead(t *testing.T, f *Folder, l *testlog.Log) {
	t.Helper()
	older, err := os.ReadFile(f.Head)
	if err != nil {
		t.Fatal(err)
	}
	outcomes(t, f, Change{Kind: DisableLog, Origin: l.Name}, Change{Kind: EnableLog, Origin: l.Name})
	write(t, f.Head, string(older), 0o600)
}

// fork has a log show another tree of the size that was cosigned.
func fork(t *testing.T, f *Folder, l *testlog.Log) {
	t.Helper()
	s := run(t, f, func(c *Config) { c.Clock = &fixedClock{made} })
	defer s.end()
	other := *l
	other.Branch = "'"
	if err := other.Ask(t.Context(), t, s.client(), nil, 5, 5); err == nil || !strings.Contains(err.Error(), client.ErrUnprocessable.Error()) {
		t.Fatalf("a fork was answered with %v", err)
	}
	files, err := evidenceFiles(f.evidenceDir())
	if err != nil || len(files) != 1 || !files[0].contradiction {
		t.Fatalf("evidence: %v, %v", files, err)
	}
}
