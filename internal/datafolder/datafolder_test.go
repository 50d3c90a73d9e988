package datafolder

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
)

const origin = "log.example/pause"

var clock = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// initialised makes a log in a new folder.
func initialised(t *testing.T) *Folder {
	t.Helper()
	f, err := Init(filepath.Join(t.TempDir(), "log"), origin, "", clock)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestInitMakesAnEmptyLog(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "some", "log")
	if err := os.Mkdir(filepath.Join(parent, "some"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := Init(dir, origin, "", clock)
	if err != nil {
		t.Fatal(err)
	}
	if f.Dir != dir || f.Origin != origin || f.Head != dir+".head" || f.StoreDir() != filepath.Join(dir, "db") || f.TokenFile() != filepath.Join(dir, "tokens.json") {
		t.Errorf("%+v", f)
	}
	k, err := head.Open(f.Head)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if h := k.Head(); h != (head.Head{Origin: origin, Root: tree.EmptyRoot}) {
		t.Errorf("the head is %+v", h)
	}
	s, err := store.Open(f.StoreDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := f.Policy("https://log.example/")
	if err != nil {
		t.Fatal(err)
	}
	o, err := p.Open(s.Head().Note)
	if err != nil || o.Size != 0 || o.Origin != origin {
		t.Errorf("the stored checkpoint: %+v, %v", o, err)
	}
	if !p.QuorumNone() || len(p.Logs()) != 2 || p.Logs()[0].URL != "https://log.example/" {
		t.Errorf("the policy is\n%s", p)
	}
}

// What is secret, and what must not be changed, is its owner's alone, whatever the umask.
func TestInitModes(t *testing.T) {
	f := initialised(t)
	for name, want := range map[string]fs.FileMode{
		"": fs.ModeDir | 0o700, "keys": fs.ModeDir | 0o700, "keys/ed25519.key": 0o600, "keys/mldsa44.key": 0o600, "log.json": 0o600, "../log.head": 0o600,
	} {
		info, err := os.Stat(filepath.Join(f.Dir, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode() != want {
			t.Errorf("%s: %v, want %v", name, info.Mode(), want)
		}
	}
	left, err := filepath.Glob(filepath.Join(f.Dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestInitTakesAnEmptyFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(dir, origin, "", clock); err != nil {
		t.Fatal(err)
	}
	// It was made with a mode on purpose (systemd's StateDirectory), and keeps that; the keys'
	// own folder is closed.
	for name, want := range map[string]fs.FileMode{"": 0o755, "keys": 0o700} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestInitRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		prepare      func(t *testing.T, dir string)
		origin, head string // of head, DIR stands for the folder
		want         string
	}{
		"a folder that is not empty":    {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "notes.txt"), "x", 0o600) }, origin, "", "not empty"},
		"a folder with a log":           {func(t *testing.T, dir string) { must(t)(Init(dir, origin, "", clock)) }, origin, "DIR.2.head", "not empty"},
		"a file":                        {func(t *testing.T, dir string) { write(t, dir, "x", 0o600) }, origin, "", "not a directory"},
		"a head file that exists":       {func(t *testing.T, dir string) { write(t, dir+".head", "x", 0o600) }, origin, "", "exists"},
		"a named head file that exists": {func(t *testing.T, dir string) { write(t, dir+".other", "x", 0o600) }, origin, "DIR.other", "exists"},
		"a head that is a dangling link": {func(t *testing.T, dir string) {
			if err := os.Symlink("nowhere", dir+".head"); err != nil {
				t.Fatal(err)
			}
		}, origin, "", "exists"},
		"a head inside of the folder": {nil, origin, "DIR/head", "outside"},
		"a head deep inside":          {nil, origin, "DIR/a/../b/head", "outside"},
		"a head that is the folder":   {nil, origin, "DIR", "outside"},
		"a head inside, by a detour":  {nil, origin, "DIR/../log/head", "outside"},
		"no origin":                   {nil, "", "", ""},
		"an origin with a space":      {nil, "log example", "", ""},
		"an origin with a plus":       {nil, "log+example", "", ""},
		"an origin with a newline":    {nil, "log.example\npause", "", ""},
		"an origin that is too long":  {nil, strings.Repeat("x", 256), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			if c.prepare != nil {
				c.prepare(t, dir)
			}
			before := listing(t, filepath.Dir(dir))
			_, err := Init(dir, c.origin, strings.Replace(c.head, "DIR", dir, 1), clock)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if after := listing(t, filepath.Dir(dir)); !slices.Equal(before, after) {
				t.Errorf("it left %v, there was %v", after, before)
			}
		})
	}
}

// A name that only begins like the folder's lies outside of it.
func TestTheHeadMayHaveANameLikeTheFolders(t *testing.T) {
	parent := t.TempDir()
	for _, name := range []string{"log.head", "log-head", "..head"} {
		dir := filepath.Join(parent, "log"+name)
		if _, err := Init(dir, origin, filepath.Join(parent, name), clock); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenReadsWhatInitMade(t *testing.T) {
	made := initialised(t)
	f, err := Open(made.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if f.Dir != made.Dir || f.Origin != made.Origin || f.Head != made.Head || len(f.Signers) != 2 {
		t.Errorf("%+v", f)
	}
	for i, k := range f.Signers {
		if k.Secret() != made.Signers[i].Secret() {
			t.Errorf("key %d is another one", i)
		}
	}
	t.Chdir(filepath.Dir(made.Dir))
	if f, err := Open("log"); err != nil || f.Dir != made.Dir {
		t.Errorf("by a relative path: %+v, %v", f, err)
	}
}

// During a rotation there are more keys. Those of Ed25519 come first: their lines are what
// everyone reads.
func TestOpenSortsTheKeys(t *testing.T) {
	f := initialised(t)
	for name, a := range map[string]checkpoint.Algorithm{"a-new-mldsa44.key": checkpoint.MLDSA44, "z-new-ed25519.key": checkpoint.Ed25519} {
		k, err := checkpoint.GenerateSigner(a, origin, nil)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(f.Dir, "keys", name), k.Secret()+"\n", 0o600)
	}
	write(t, filepath.Join(f.Dir, "keys", "README"), "not a key", 0o644)
	f, err := Open(f.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []checkpoint.Algorithm
	for _, k := range f.Signers {
		got = append(got, k.Verifier().Algorithm())
	}
	want := []checkpoint.Algorithm{checkpoint.Ed25519, checkpoint.Ed25519, checkpoint.MLDSA44, checkpoint.MLDSA44}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	description := func(change func(map[string]any)) func(t *testing.T, f *Folder) {
		return func(t *testing.T, f *Folder) {
			name := filepath.Join(f.Dir, "log.json")
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var d map[string]any
			if err := json.Unmarshal(b, &d); err != nil {
				t.Fatal(err)
			}
			change(d)
			if b, err = json.Marshal(d); err != nil {
				t.Fatal(err)
			}
			write(t, name, string(b), 0o600)
		}
	}
	raw := func(change func(string) string) func(t *testing.T, f *Folder) {
		return func(t *testing.T, f *Folder) {
			name := filepath.Join(f.Dir, "log.json")
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			write(t, name, change(string(b)), 0o600)
		}
	}
	key := func(name, content string, mode fs.FileMode) func(t *testing.T, f *Folder) {
		return func(t *testing.T, f *Folder) { write(t, filepath.Join(f.Dir, "keys", name), content, mode) }
	}
	remove := func(names ...string) func(t *testing.T, f *Folder) {
		return func(t *testing.T, f *Folder) {
			for _, name := range names {
				if err := os.RemoveAll(filepath.Join(f.Dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	mode := func(name string, m fs.FileMode) func(t *testing.T, f *Folder) {
		return func(t *testing.T, f *Folder) {
			if err := os.Chmod(filepath.Join(f.Dir, name), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, f *Folder)
		want   string // the error says what to do about it
	}{
		"an empty folder":             {remove("log.json", "keys", "db"), "pauselogd init"},
		"no folder":                   {remove(""), "pauselogd init"},
		"an init that did not finish": {remove("log.json"), "did not finish"},
		"no keys":                     {remove("keys"), "no keys"},
		"a key that others can read":  {mode("keys/ed25519.key", 0o644), "chmod 600"},
		"a key that a group can read": {mode("keys/mldsa44.key", 0o640), "chmod 600"},
		"a key that is none":          {key("x.key", "PRIVATE", 0o600), "x.key"},
		"a key of two lines":          {key("x.key", "a\nb\n", 0o600), "x.key"},
		"an empty key":                {key("x.key", "", 0o600), "x.key"},
		"an unknown field":            {description(func(d map[string]any) { d["orgin"] = "x" }), "orgin"},
		"another format":              {description(func(d map[string]any) { d["format"] = "pauselog-data/v2" }), "pauselog-data/v1"},
		"no format":                   {description(func(d map[string]any) { delete(d, "format") }), "pauselog-data/v1"},
		"a relative head":             {description(func(d map[string]any) { d["head"] = "log.head" }), "absolute"},
		"no head":                     {description(func(d map[string]any) { delete(d, "head") }), "absolute"},
		"a bad origin":                {description(func(d map[string]any) { d["origin"] = "log example" }), "log.json"},
		"a number for an origin":      {description(func(d map[string]any) { d["origin"] = 7 }), "log.json"},
		"a second object":             {raw(func(s string) string { return s + "{}" }), "more than one"},
		"trailing garbage":            {raw(func(s string) string { return s + "x" }), "log.json"},
		"half of it":                  {raw(func(s string) string { return s[:len(s)/2] }), "log.json"},
		"nothing in it":               {raw(func(string) string { return "" }), "log.json"},
		"null":                        {raw(func(string) string { return "null" }), "pauselog-data/v1"},
	} {
		t.Run(name, func(t *testing.T) {
			f := initialised(t)
			c.damage(t, f)
			got, err := Open(f.Dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v; want an error with %q", got, err, c.want)
			}
		})
	}
}

func must(t *testing.T) func(*Folder, error) *Folder {
	return func(f *Folder, err error) *Folder {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
}

// write writes a file with exactly this mode, and the folder that it is in.
func write(t *testing.T, name, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

// listing are the names of all that is below a folder, but for the store's files.
func listing(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != dir {
			names = append(names, path)
		}
		if d.Name() == "db" {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
