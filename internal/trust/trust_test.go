package trust

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/log/verify"
)

const origin = "log.example/pause"

func signer(t *testing.T, origin string) *checkpoint.SignerKey {
	t.Helper()
	k, err := checkpoint.GenerateSigner(checkpoint.Ed25519, origin, bytes.NewReader(bytes.Repeat([]byte{1}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// note returns a signed checkpoint of a made-up tree.
func note(t *testing.T, origin string, size uint64, root byte) []byte {
	t.Helper()
	c := checkpoint.Checkpoint{Origin: origin, Size: size, Root: tree.Hash{root}}
	s, err := signer(t, origin).Sign(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	return checkpoint.Note{Text: c.Text()}.With(s).Marshal()
}

func open(t *testing.T) Dir {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func wantLoad(t *testing.T, d Dir, want []byte) {
	t.Helper()
	if got, err := d.Load(origin); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Load: %q, %v, want %q", got, err, want)
	}
}

func TestSaveAndLoad(t *testing.T) {
	d := open(t)
	wantLoad(t, d, nil)
	if _, err := os.Stat(d.Path()); !os.IsNotExist(err) {
		t.Errorf("Load made the folder: %v", err)
	}
	one, two, other := note(t, origin, 1, 1), note(t, origin, 2, 2), note(t, "log.example/other", 7, 7)
	for _, step := range []struct{ old, note []byte }{{nil, one}, {one, two}, {two, two}} {
		if err := d.Save(origin, step.old, step.note); err != nil {
			t.Fatal(err)
		}
		wantLoad(t, d, step.note)
	}
	// A stale view, whatever it is, changes nothing.
	for _, old := range [][]byte{nil, one, other} {
		if err := d.Save(origin, old, one); !errors.Is(err, client.ErrChanged) {
			t.Errorf("Save in place of %q: %v, want ErrChanged", old, err)
		}
	}
	wantLoad(t, d, two)
	if err := d.Save("log.example/other", nil, other); err != nil {
		t.Error(err)
	}
	wantLoad(t, d, two)
	if err := d.Save(origin, two, other); err == nil {
		t.Error("a checkpoint of another log was remembered")
	}
	for name, mode := range map[string]os.FileMode{d.Path(): 0o700, d.of(origin): 0o700, d.File(origin): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: mode %v, %v, want %v", name, info.Mode().Perm(), err, mode)
		}
	}
}

// Of all who save in place of the same checkpoint, one does; the others hear of it.
func TestConcurrentSavers(t *testing.T) {
	d := open(t)
	var old []byte
	for round := range uint64(20) {
		notes := [][]byte{note(t, origin, round+1, 1), note(t, origin, round+1, 2), note(t, origin, round+1, 3), note(t, origin, round+1, 4)}
		errs := make([]error, len(notes))
		var wg sync.WaitGroup
		for i := range notes {
			// Each with a view of its own, as processes have.
			saver, err := Open(d.Path())
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() { errs[i] = saver.Save(origin, old, notes[i]) })
		}
		wg.Wait()
		won := -1
		for i, err := range errs {
			switch {
			case err == nil && won < 0:
				won = i
			case err == nil:
				t.Fatalf("round %d: two savers won", round)
			case !errors.Is(err, client.ErrChanged):
				t.Fatal(err)
			}
		}
		if won < 0 {
			t.Fatalf("round %d: nobody won: %v", round, errs)
		}
		old = notes[won]
		wantLoad(t, d, old)
	}
}

// What a crash leaves is not looked at, and goes with the next Save.
func TestCrashLeftovers(t *testing.T) {
	d := open(t)
	one, two := note(t, origin, 1, 1), note(t, origin, 2, 2)
	if err := d.Save(origin, nil, one); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(d.of(origin), ".checkpoint.123.tmp")
	if err := os.WriteFile(left, two[:20], 0o600); err != nil {
		t.Fatal(err)
	}
	wantLoad(t, d, one)
	if err := d.Save(origin, one, two); err != nil {
		t.Fatal(err)
	}
	wantLoad(t, d, two)
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", left, err)
	}
}

// Whatever is wrong with the file, it is an error, for Save too, and the file stays as it is.
func TestDamage(t *testing.T) {
	good := note(t, origin, 5, 5)
	for name, content := range map[string][]byte{
		"empty":       {},
		"cut":         good[:len(good)/2],
		"more":        append(bytes.Clone(good), "x\n"...),
		"zeros":       make([]byte, len(good)),
		"another log": note(t, "log.example/other", 5, 5),
		"large":       bytes.Repeat([]byte("a\n"), checkpoint.MaxNoteSize),
	} {
		d := open(t)
		if err := d.Save(origin, nil, good); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(d.File(origin), content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := d.Load(origin)
		if !errors.Is(err, ErrDamaged) || !strings.Contains(fmt.Sprint(err), d.File(origin)) || !strings.Contains(fmt.Sprint(err), "backup") {
			t.Errorf("%s: Load: %v", name, err)
		}
		for _, old := range [][]byte{nil, good, content} {
			if err := d.Save(origin, old, note(t, origin, 6, 6)); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: Save: %v", name, err)
			}
		}
		if now, err := os.ReadFile(d.File(origin)); err != nil || !bytes.Equal(now, content) {
			t.Errorf("%s: the file changed: %v", name, err)
		}
	}
}

func TestUnreadable(t *testing.T) {
	d := open(t)
	if err := os.MkdirAll(d.File(origin), 0o700); err != nil { // a folder in the file's place
		t.Fatal(err)
	}
	if _, err := d.Load(origin); err == nil || !strings.Contains(err.Error(), d.File(origin)) {
		t.Errorf("Load: %v", err)
	}
}

func TestKnown(t *testing.T) {
	d := open(t)
	p, err := checkpoint.NewPolicy(checkpoint.PolicyLog{Key: signer(t, origin).Verifier()})
	if err != nil {
		t.Fatal(err)
	}
	if notes, err := d.Known(p); err != nil || len(notes) != 0 {
		t.Errorf("%q, %v", notes, err)
	}
	one := note(t, origin, 1, 1)
	if err := d.Save(origin, nil, one); err != nil {
		t.Fatal(err)
	}
	if notes, err := d.Known(p); err != nil || len(notes) != 1 || !bytes.Equal(notes[0], one) {
		t.Errorf("%q, %v", notes, err)
	}
}

func TestEvidence(t *testing.T) {
	d := open(t)
	p, err := checkpoint.NewPolicy(checkpoint.PolicyLog{Key: signer(t, origin).Verifier()})
	if err != nil {
		t.Fatal(err)
	}
	e := verify.Contradiction(p, note(t, origin, 3, 1), note(t, origin, 3, 2))
	for range 2 {
		name, err := d.WriteEvidence(e)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil || !bytes.Equal(b, e.Marshal()) || filepath.Base(name) != EvidenceName(b) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if names, _ := filepath.Glob(filepath.Join(d.Path(), "evidence", "*")); len(names) != 1 {
		t.Errorf("one contradiction makes the files %q", names)
	}
}

func TestWhere(t *testing.T) {
	for _, tt := range []struct{ flag, xdg, home, want string }{
		{"/given", "/xdg", "/home/me", "/given"},
		{"", "/xdg", "/home/me", "/xdg/pauselog"},
		{"", "", "/home/me", "/home/me/.local/state/pauselog"},
		{"", "relative", "/home/me", "/home/me/.local/state/pauselog"},
	} {
		t.Setenv("XDG_STATE_HOME", tt.xdg)
		t.Setenv("HOME", tt.home)
		if d, err := Open(tt.flag); err != nil || d.Path() != tt.want {
			t.Errorf("%+v: %q, %v", tt, d.Path(), err)
		}
	}
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("HOME", "")
	if _, err := Open(""); !errors.Is(err, ErrNoFolder) {
		t.Errorf("no home: %v", err)
	}
}
