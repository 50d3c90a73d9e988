package datafolder

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// started leaves what a start of the log leaves that matters here.
func started(t *testing.T, f *Folder) {
	t.Helper()
	write(t, f.StartsFile(), "1\n", 0o600)
}

func added(t *testing.T, f *Folder, a checkpoint.Algorithm) Key {
	t.Helper()
	k, err := f.AddKey(a)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// states are the keys of a folder as a new start of the log finds them.
func states(t *testing.T, dir string) (signing, retired []string) {
	t.Helper()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range f.Signers {
		signing = append(signing, k.Verifier().String())
	}
	for _, v := range f.Retired {
		retired = append(retired, v.String())
	}
	return signing, retired
}

func TestAddKey(t *testing.T) {
	f := initialised(t)
	first := []string{f.Signers[0].Verifier().String(), f.Signers[1].Verifier().String()}
	ed, ml := added(t, f, checkpoint.Ed25519), added(t, f, checkpoint.MLDSA44)
	for _, k := range []Key{ed, ml} {
		info, err := os.Stat(k.File)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 || !info.ModTime().Equal(k.Added) || k.Retired || !k.RetiredAt.IsZero() || k.Verifier.Name() != origin {
			t.Errorf("%+v, mode %v", k, info.Mode())
		}
	}
	if want := filepath.Join(f.Dir, "keys", "ed25519-"+ed.ID()+".key"); ed.File != want {
		t.Errorf("the file is %s, want %s", ed.File, want)
	}
	if want := filepath.Join(f.Dir, "keys", "mldsa44-"+ml.ID()+".key"); ml.File != want {
		t.Errorf("the file is %s, want %s", ml.File, want)
	}
	// The first key's line stays the first.
	signing, retired := states(t, f.Dir)
	if want := []string{first[0], ed.Verifier.String(), first[1], ml.Verifier.String()}; !slices.Equal(signing, want) || retired != nil {
		t.Errorf("signing %v, retired %v; want %v", signing, retired, want)
	}
	left, err := filepath.Glob(filepath.Join(f.Dir, "keys", ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAtMostFourKeysOfATypeSign(t *testing.T) {
	for _, a := range []checkpoint.Algorithm{checkpoint.Ed25519, checkpoint.MLDSA44} {
		f := initialised(t)
		for range MaxKeys - 1 {
			added(t, f, a)
		}
		before := listing(t, f.Dir)
		if k, err := f.AddKey(a); err == nil || !strings.Contains(err.Error(), "retire one first") {
			t.Errorf("a fifth key: %v, %v", k.File, err)
		}
		if after := listing(t, f.Dir); !slices.Equal(before, after) {
			t.Errorf("it left %v", after)
		}
		started(t, f)
		if _, err := f.RetireKey((Key{Verifier: f.Signers[0].Verifier()}).ID(), clock); a == checkpoint.Ed25519 && err != nil {
			t.Fatal(err)
		}
		if a == checkpoint.Ed25519 {
			added(t, f, a)
		}
	}
}

// However many commands run at once, none sees half of what another does.
func TestKeysAreAddedOneAfterTheOther(t *testing.T) {
	f := initialised(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 12 {
		wg.Go(func() {
			g, err := Open(f.Dir)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := g.AddKey(checkpoint.Ed25519); err == nil {
				mu.Lock()
				made++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	signing, _ := states(t, f.Dir)
	if made != MaxKeys-1 || len(signing) != MaxKeys+1 {
		t.Errorf("%d keys were made, %d sign", made, len(signing))
	}
}

func TestRetireKey(t *testing.T) {
	f := initialised(t)
	oldEd, oldML := f.Signers[0], f.Signers[1]
	ed, ml := added(t, f, checkpoint.Ed25519), added(t, f, checkpoint.MLDSA44)
	started(t, f)
	secret, err := os.ReadFile(filepath.Join(f.Dir, "keys", "ed25519.key"))
	if err != nil {
		t.Fatal(err)
	}
	before, err := f.Keys()
	if err != nil {
		t.Fatal(err)
	}
	k, err := f.RetireKey(Key{Verifier: oldEd.Verifier()}.ID(), clock.Add(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(f.Dir, "keys", "retired", "20261122T100000Z-ed25519-"+k.ID()+".key"); k.File != want || !k.Retired || !k.RetiredAt.Equal(clock) {
		t.Errorf("%+v, want the file %s", k, want)
	}
	if got, err := os.ReadFile(k.File); err != nil || string(got) != string(secret) {
		t.Errorf("the file has changed: %v", err)
	}
	for name, want := range map[string]fs.FileMode{k.File: 0o600, filepath.Dir(k.File): fs.ModeDir | 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if _, err := f.RetireKey(Key{Verifier: oldML.Verifier()}.ID(), clock.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	signing, retired := states(t, f.Dir)
	if want := []string{ed.Verifier.String(), ml.Verifier.String()}; !slices.Equal(signing, want) {
		t.Errorf("signing %v, want %v", signing, want)
	}
	if want := []string{oldEd.Verifier().String(), oldML.Verifier().String()}; !slices.Equal(retired, want) {
		t.Errorf("retired %v, want %v", retired, want)
	}
	keys, err := f.Keys()
	if err != nil || len(keys) != 4 || !keys[2].Added.Equal(before[0].Added) || !keys[2].RetiredAt.Equal(clock) || !keys[3].RetiredAt.Equal(clock.Add(time.Hour)) {
		t.Errorf("%+v, %v", keys, err)
	}
	p, err := f.Policy("")
	if err != nil || len(p.Logs()) != 2 {
		t.Errorf("the policy is\n%v%v", p, err)
	}
}

func TestRetireKeyRefuses(t *testing.T) {
	id := func(k *checkpoint.SignerKey) string { return Key{Verifier: k.Verifier()}.ID() }
	for name, c := range map[string]struct {
		prepare func(t *testing.T, f *Folder) (id string)
		err     error
		want    string
	}{
		"the last Ed25519 key": {func(t *testing.T, f *Folder) string {
			started(t, f)
			added(t, f, checkpoint.MLDSA44)
			return id(f.Signers[0])
		}, ErrKeyNeeded, "last Ed25519 key"},
		"a log that was never started": {func(t *testing.T, f *Folder) string {
			added(t, f, checkpoint.Ed25519)
			return id(f.Signers[0])
		}, ErrKeyNeeded, "start the log once"},
		"a new key that has not signed": {func(t *testing.T, f *Folder) string {
			started(t, f)
			k := added(t, f, checkpoint.Ed25519)
			after(t, k.File, f.StartsFile())
			return id(f.Signers[0])
		}, ErrKeyNeeded, "start the log once"},
		"a new ML-DSA key that has not signed": {func(t *testing.T, f *Folder) string {
			started(t, f)
			k := added(t, f, checkpoint.MLDSA44)
			after(t, k.File, f.StartsFile())
			return id(f.Signers[1])
		}, ErrKeyNeeded, "start the log once"},
		"a key that is retired": {func(t *testing.T, f *Folder) string {
			added(t, f, checkpoint.Ed25519)
			started(t, f)
			if _, err := f.RetireKey(id(f.Signers[0]), clock); err != nil {
				t.Fatal(err)
			}
			return id(f.Signers[0])
		}, ErrNoSuchKey, "retired already"},
		"an unknown key":       {func(*testing.T, *Folder) string { return "00000000" }, ErrNoSuchKey, `"00000000"`},
		"no key":               {func(*testing.T, *Folder) string { return "" }, ErrNoSuchKey, "8 digits"},
		"a file's name":        {func(*testing.T, *Folder) string { return "ed25519.key" }, ErrNoSuchKey, "8 digits"},
		"capital letters":      {func(_ *testing.T, f *Folder) string { return strings.ToUpper(id(f.Signers[0])) + "X" }, ErrNoSuchKey, "8 digits"},
		"a path":               {func(*testing.T, *Folder) string { return "../../log.json" }, ErrNoSuchKey, "8 digits"},
		"a whole verifier key": {func(_ *testing.T, f *Folder) string { return f.Signers[0].Verifier().String() }, ErrNoSuchKey, "8 digits"},
	} {
		t.Run(name, func(t *testing.T) {
			f := initialised(t)
			id := c.prepare(t, f)
			before := listing(t, f.Dir)
			if k, err := f.RetireKey(id, clock); !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v; want %v with %q", k, err, c.err, c.want)
			}
			if after := listing(t, f.Dir); !slices.Equal(before, after) {
				t.Errorf("it left %v, there was %v", after, before)
			}
		})
	}
}

// after gives a file a later time than another's, whatever the clock's grain.
func after(t *testing.T, name, other string) {
	t.Helper()
	info, err := os.Stat(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, time.Time{}, info.ModTime().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
}

// No start is needed to give up a new key again, nor for the last key of a type that a log can do without.
func TestRetireKeyThatIsNotNeeded(t *testing.T) {
	f := initialised(t)
	started(t, f)
	k := added(t, f, checkpoint.Ed25519)
	after(t, k.File, f.StartsFile())
	for _, id := range []string{k.ID(), Key{Verifier: f.Signers[1].Verifier()}.ID()} {
		if _, err := f.RetireKey(id, clock); err != nil {
			t.Error(err)
		}
	}
	if signing, retired := states(t, f.Dir); len(signing) != 1 || len(retired) != 2 {
		t.Errorf("signing %v, retired %v", signing, retired)
	}
}

func TestOpenTakesKeysAsTheyAreFound(t *testing.T) {
	key := func(t *testing.T, name string, a checkpoint.Algorithm) string {
		t.Helper()
		k, err := checkpoint.GenerateSigner(a, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		return k.Secret() + "\n"
	}
	for name, c := range map[string]struct {
		change           func(t *testing.T, keys string, f *Folder)
		signing, retired int
		want             string // of an error
	}{
		"as init made them": {func(*testing.T, string, *Folder) {}, 2, 0, ""},
		"a temporary file that a crash left": {func(t *testing.T, keys string, f *Folder) {
			write(t, filepath.Join(keys, ".ed25519-0123abcd.key.123456.tmp"), "PRIVATE+KEY+log.exam", 0o600)
		}, 2, 0, ""},
		"other files": {func(t *testing.T, keys string, f *Folder) {
			write(t, filepath.Join(keys, "README"), "x", 0o644)
			write(t, filepath.Join(keys, "ed25519.key~"), "x", 0o644)
			write(t, filepath.Join(keys, "retired", "README"), "x", 0o644)
		}, 2, 0, ""},
		"a key under another file name": {func(t *testing.T, keys string, f *Folder) {
			write(t, filepath.Join(keys, "from-the-safe.key"), key(t, origin, checkpoint.Ed25519), 0o600)
		}, 3, 0, ""},
		"a key that somebody retired by hand": {func(t *testing.T, keys string, f *Folder) {
			write(t, filepath.Join(keys, "retired", "old-key.key"), key(t, origin, checkpoint.Ed25519), 0o600)
		}, 2, 1, ""},
		"an empty folder of retired keys": {func(t *testing.T, keys string, f *Folder) {
			if err := os.Mkdir(filepath.Join(keys, "retired"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, 2, 0, ""},
		"more keys than can be added": {func(t *testing.T, keys string, f *Folder) {
			for _, n := range []string{"a", "b", "c", "d"} {
				write(t, filepath.Join(keys, n+".key"), key(t, origin, checkpoint.MLDSA44), 0o600)
			}
		}, 6, 0, ""},
		"a key twice": {func(t *testing.T, keys string, f *Folder) {
			write(t, filepath.Join(keys, "copy.key"), f.Signers[0].Secret()+"\n", 0o600)
		}, 0, 0, "the same key id"},
		"a key that signs and is retired": {func(t *testing.T, keys string, f *Folder) {
			write(t, filepath.Join(keys, "retired", "copy.key"), f.Signers[0].Secret()+"\n", 0o600)
		}, 0, 0, "the same key id"},
		"another log's key": {func(t *testing.T, keys string, f *Folder) {
			write(t, filepath.Join(keys, "x.key"), key(t, "log.example/other", checkpoint.Ed25519), 0o600)
		}, 0, 0, "log.example/other"},
		"another log's key, retired": {func(t *testing.T, keys string, f *Folder) {
			write(t, filepath.Join(keys, "retired", "x.key"), key(t, "log.example/other", checkpoint.Ed25519), 0o600)
		}, 0, 0, "log.example/other"},
		"a witness's key": {func(t *testing.T, keys string, f *Folder) {
			write(t, filepath.Join(keys, "x.key"), key(t, origin, checkpoint.CosignatureV1), 0o600)
		}, 0, 0, "does not sign with"},
		"a retired key that others can read": {func(t *testing.T, keys string, f *Folder) {
			write(t, filepath.Join(keys, "retired", "x.key"), key(t, origin, checkpoint.Ed25519), 0o640)
		}, 0, 0, "chmod 600"},
		"a retired key that is none": {func(t *testing.T, keys string, f *Folder) {
			write(t, filepath.Join(keys, "retired", "x.key"), "PRIVATE", 0o600)
		}, 0, 0, "x.key"},
		"only retired keys": {func(t *testing.T, keys string, f *Folder) {
			for _, n := range []string{"ed25519.key", "mldsa44.key"} {
				b, err := os.ReadFile(filepath.Join(keys, n))
				if err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(keys, "retired", n), string(b), 0o600)
				if err := os.Remove(filepath.Join(keys, n)); err != nil {
					t.Fatal(err)
				}
			}
		}, 0, 0, "no keys"},
	} {
		t.Run(name, func(t *testing.T) {
			f := initialised(t)
			c.change(t, filepath.Join(f.Dir, "keys"), f)
			g, err := Open(f.Dir)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "PRIVATE+KEY+log") {
					t.Errorf("%v, want an error with %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(g.Signers) != c.signing || len(g.Retired) != c.retired {
				t.Errorf("%d keys sign and %d are retired, want %d and %d", len(g.Signers), len(g.Retired), c.signing, c.retired)
			}
			keys, err := g.Keys()
			if err != nil || len(keys) != c.signing+c.retired {
				t.Errorf("%v, %v", keys, err)
			}
			for i, k := range keys {
				if k.Retired != (i >= c.signing) || !k.RetiredAt.IsZero() {
					t.Errorf("key %d: %+v", i, k)
				}
			}
		})
	}
}

// What an administrator makes is the log's: it must be able to read its keys.
func TestKeysBelongToTheFoldersOwner(t *testing.T) {
	f := initialised(t)
	uid := os.Geteuid()
	if uid == 0 {
		uid = 12345
	}
	if err := os.Chown(filepath.Join(f.Dir, "keys"), uid, -1); err != nil {
		t.Fatal(err)
	}
	k := added(t, f, checkpoint.Ed25519)
	started(t, f)
	r, err := f.RetireKey(k.ID(), clock)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{r.File, filepath.Dir(r.File)} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := int(info.Sys().(*syscall.Stat_t).Uid); got != uid {
			t.Errorf("%s belongs to %d, want %d", name, got, uid)
		}
	}
}
