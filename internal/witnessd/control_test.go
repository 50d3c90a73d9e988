package witnessd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/internal/witnessd/testlog"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/witness/client"
	"github.com/pauselog/pauselog/witness/state"
)

// outcomes makes changes and returns what came of each, in words.
func outcomes(t *testing.T, f *Folder, list ...Change) (out []string) {
	t.Helper()
	err := f.Change(t.Context(), list, func(ch Change, o Outcome, err error) error {
		s := fmt.Sprintf("%s %s %s", ch.Kind, ch.Origin, o)
		if err != nil {
			s += ": " + err.Error()
		}
		if errors.Is(err, state.ErrOtherKeys) {
			s += " (other keys)"
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func newLog(t *testing.T, origin string, vkeys ...string) Change {
	t.Helper()
	ch, err := NewLog(origin, vkeys...)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// The same changes have the same outcomes while the witness runs and while it does not.
func TestChanges(t *testing.T) {
	a, b := testlog.New(t, "log.example/a", 1), testlog.New(t, "log.example/b", 2)
	more := vkey(t, checkpoint.Ed25519, "log.example/a", 9)
	changes := []Change{
		newLog(t, "", a.VKeys()...),
		newLog(t, "", a.VKeys()[0]),
		newLog(t, "", more),
		newLog(t, "log.example/other", b.VKeys()...),
		{Kind: AddKeys, Origin: a.Name, Keys: []string{more}},
		{Kind: AddKeys, Origin: a.Name, Keys: []string{more}},
		newLog(t, "", more),
		{Kind: AddKeys, Origin: "log.example/none", Keys: []string{more}},
		{Kind: DisableLog, Origin: a.Name},
		{Kind: DisableLog, Origin: a.Name},
		newLog(t, "", a.VKeys()...),
		{Kind: EnableLog, Origin: a.Name},
		{Kind: EnableLog, Origin: a.Name},
		{Kind: DisableLog, Origin: "log.example/none"},
		{Kind: AcceptClock},
		{Kind: "explode"},
		{Kind: AddLog, Origin: "x", Keys: []string{"x"}},
		{Kind: AddLog, Origin: "log.example/w", Keys: []string{vkey(t, checkpoint.CosignatureV1, "log.example/w", 3)}},
	}
	want := []string{
		"add log.example/a added",
		"add log.example/a unchanged",
		"add log.example/a other-keys: the log is known with other keys: log.example/a has no key " + more[:strings.LastIndex(more, "+")] + " (other keys)",
		"add log.example/other added",
		"add-keys log.example/a keys-added",
		"add-keys log.example/a unchanged",
		"add log.example/a unchanged",
		`add-keys log.example/none : unknown log: "log.example/none"`,
		"disable log.example/a changed",
		"disable log.example/a unchanged",
		"add log.example/a unchanged",
		"enable log.example/a changed",
		"enable log.example/a unchanged",
		`disable log.example/none : unknown log: "log.example/none"`,
		"accept-clock  changed",
		`explode  : unknown change "explode"`,
	}
	for _, runs := range []bool{false, true} {
		t.Run(fmt.Sprintf("running=%v", runs), func(t *testing.T) {
			f := initialised(t)
			if runs {
				run(t, f, nil)
			}
			got := outcomes(t, f, changes...)
			if !slices.Equal(got[:len(want)], want) {
				t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			for _, g := range got[len(want):] {
				if !strings.Contains(g, "key") {
					t.Errorf("a key that is none: %s", g)
				}
			}
			s, err := f.Status(t.Context())
			if err != nil || s.Running != runs || len(s.Logs) != 2 || len(s.Logs[0].Keys) != 3 || s.Logs[1].Origin != "log.example/other" {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

func TestNewLogRefuses(t *testing.T) {
	a, b := testlog.New(t, "log.example/a", 1), testlog.New(t, "log.example/b", 2)
	for name, c := range map[string]struct {
		origin string
		vkeys  []string
		want   string
	}{
		"no key":          {"", nil, "needs a vkey"},
		"two names":       {"", []string{a.VKeys()[0], b.VKeys()[0]}, "say which origin"},
		"a witness's key": {"", []string{vkey(t, checkpoint.CosignatureV1, "w", 3)}, "expected a log's vkey"},
		"a bad origin":    {"a b", a.VKeys(), "origin"},
		"no vkey":         {"", []string{"x"}, "key"},
	} {
		if _, err := NewLog(c.origin, c.vkeys...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
}

// A log that is added while the witness runs is cosigned for at once, and one that is disabled no more.
func TestLogsChangeWhileItRuns(t *testing.T) {
	f := initialised(t)
	s := run(t, f, nil)
	l := testlog.New(t, "log.example/pause", 1)
	if err := l.Ask(t.Context(), t, s.client(), nil, 0, 1); !errors.Is(err, client.ErrUnknownLog) {
		t.Errorf("before it is added: %v", err)
	}
	if err := f.AddLog(l.VKeys()...); err != nil {
		t.Fatal(err)
	}
	s.ask(l, 0, 1)
	outcomes(t, f, Change{Kind: DisableLog, Origin: l.Name})
	if err := l.Ask(t.Context(), t, s.client(), nil, 1, 2); !errors.Is(err, client.ErrUnknownLog) {
		t.Errorf("while it is disabled: %v", err)
	}
	outcomes(t, f, Change{Kind: EnableLog, Origin: l.Name})
	s.ask(l, 1, 2)
}

// Another command has the state for a moment: a change waits for it.
func TestChangeWaitsForTheLock(t *testing.T) {
	f := initialised(t)
	st, err := f.openState(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := testlog.New(t, "log.example/a", 1)
	if err := f.Change(ctx, []Change{newLog(t, "", a.VKeys()...)}, func(_ Change, _ Outcome, err error) error { return err }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it waited until it was told to end", err)
	}
	done := make(chan error, 1)
	go func() { done <- f.AddLog(a.VKeys()...) }()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Files of another user's would keep the witness from starting.
func TestAnotherUsersFolderIsNotTouched(t *testing.T) {
	f := initialised(t)
	a, b := testlog.New(t, "log.example/a", 1), testlog.New(t, "log.example/b", 2)
	s := run(t, f, nil)
	other := os.Geteuid() + 12345
	if os.Geteuid() != 0 {
		other = os.Geteuid() // only root can be another one
	}
	if err := os.Chown(f.Dir, other, -1); err != nil {
		t.Fatal(err)
	}
	// The running witness makes its own files.
	if err := f.AddLog(a.VKeys()...); err != nil {
		t.Error(err)
	}
	s.end()
	before := listing(t, f.stateDir())
	err := f.AddLog(b.VKeys()...)
	if after := listing(t, f.stateDir()); os.Geteuid() == 0 && (err == nil || !strings.Contains(err.Error(), "run it as that user") || !slices.Equal(before, after)) {
		t.Errorf("%v; it left %v", err, after)
	}
}

func TestControlRefusesWhatIsNoChange(t *testing.T) {
	f := initialised(t)
	run(t, f, nil)
	for name, body := range map[string]string{
		"no JSON":          "x",
		"an unknown field": `{"kind":"add","force":true}`,
		"two changes":      `{"kind":"accept-clock"}{"kind":"accept-clock"}`,
		"too much":         `{"kind":"add","contact":"` + strings.Repeat("x", maxChange) + `"}`,
	} {
		if err := f.ask(t.Context(), http.MethodPost, "/change", []byte(body), new(answer)); err == nil || !strings.Contains(err.Error(), "400") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := f.ask(t.Context(), http.MethodGet, "/change", nil, new(answer)); err == nil || !strings.Contains(err.Error(), "405") {
		t.Errorf("GET: %v", err)
	}
}

func TestStatusIsTheSameRunningOrNot(t *testing.T) {
	f := initialised(t)
	l := testlog.New(t, "log.example/pause", 1)
	if err := f.AddLog(l.VKeys()...); err != nil {
		t.Fatal(err)
	}
	clock := &fixedClock{time.Now().Truncate(time.Second)}
	s := run(t, f, func(c *Config) { c.Clock = clock })
	s.ask(l, 0, 5)
	running, err := f.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.end()
	before := listing(t, f.Dir)
	head1, err := os.ReadFile(f.Head)
	if err != nil {
		t.Fatal(err)
	}
	stopped, err := f.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !running.Running || stopped.Running {
		t.Errorf("running %v and %v", running.Running, stopped.Running)
	}
	got := stopped.Logs[0]
	if got.Size != 5 || got.Root != l.Checkpoint(5).Root.String() || !got.Cosigned.Equal(clock.now) || !stopped.Last.Equal(clock.now) || stopped.Clock != "" || stopped.Problem != "" {
		t.Errorf("%+v", stopped)
	}
	stopped.Running = true
	if a, b := fmt.Sprintf("%+v", running), fmt.Sprintf("%+v", stopped); a != b {
		t.Errorf("running\n%s\nand not\n%s", a, b)
	}
	head2, err := os.ReadFile(f.Head)
	if err != nil || string(head1) != string(head2) || !slices.Equal(before, listing(t, f.Dir)) {
		t.Errorf("status changed something: %v", err)
	}
}

// While somebody has the lock and does not answer, what can be read is shown.
func TestStatusOfALockedState(t *testing.T) {
	f := initialised(t)
	if err := f.AddLog(testlog.New(t, "log.example/a", 1).VKeys()...); err != nil {
		t.Fatal(err)
	}
	k, err := head.Open(f.Head)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	s, err := f.Status(t.Context())
	if err != nil || !s.Running || len(s.Logs) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}
