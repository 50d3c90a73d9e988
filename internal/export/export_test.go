package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/tree"
)

func exported(t *testing.T, c Config) *Report {
	t.Helper()
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The folder follows the log through all shapes of its right edge, reading each entry once. The partial tiles
// of the checkpoint before are kept, and no others.
func TestExportFollows(t *testing.T) {
	s := newServer(1100, "ETHER")
	_, conn := s.serve(t)
	dir := filepath.Join(t.TempDir(), "new", "tlog")
	before := 0
	for i, size := range []int{0, 1, 5, 5, 77, 78, 255, 256, 257, 300, 511, 512, 513, 1024, 1100, 1100} {
		s.size.Store(int64(size))
		s.read.Store(0)
		r := exported(t, Config{Dir: dir, Policy: policy, Conn: conn, Memory: new(memory)})
		if r.Size != uint64(size) || r.Root != s.root(int64(size)) || r.Before != uint64(before) || r.Origin != origin {
			t.Errorf("size %d: %+v", size, r)
		}
		if int(s.read.Load()) != size-before {
			t.Errorf("from %d to %d: %d entries were read", before, size, s.read.Load())
		}
		if size == before && i > 0 && (r.Written != 0 || r.Removed != 0) {
			t.Errorf("nothing is new at size %d, and %+v", size, r)
		}
		if size == before {
			check(t, dir)
			continue
		}
		exact(t, dir, size, before)
		before = size
	}
}

func TestUnreadableEntriesAreCounted(t *testing.T) {
	s := newServer(100, "ETHER")
	_, conn := s.serve(t)
	if r := exported(t, Config{Dir: t.TempDir(), Policy: policy, Conn: conn}); r.Unlisted != 1 {
		t.Errorf("%+v", r)
	}
}

func TestProgress(t *testing.T) {
	s := newServer(600, "ETHER")
	_, conn := s.serve(t)
	var done []uint64
	exported(t, Config{Dir: t.TempDir(), Policy: policy, Conn: conn, Progress: func(n, size uint64) {
		if size != 600 {
			t.Errorf("%d of %d", n, size)
		}
		done = append(done, n)
	}})
	if !slices.Equal(done, []uint64{256, 512, 600}) {
		t.Error(done)
	}
}

// More lines than are held in memory, and more entries than are proven at once.
func TestALargeLog(t *testing.T) {
	s := newServer(2*chunk+300, "ETHER")
	_, conn := s.serve(t)
	dir := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	f, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for _, size := range []int{chunk + 10, 2*chunk + 300} {
		s.size.Store(int64(size))
		if _, err := run(t.Context(), Config{Dir: dir, Policy: policy, Conn: conn, held: 100 << 10}, f); err != nil {
			t.Fatal(err)
		}
		if got := check(t, dir); got != size {
			t.Errorf("the folder has size %d, want %d", got, size)
		}
		if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) != 0 {
			t.Errorf("temporary files are left: %v, %v", left, err)
		}
	}
}

var errCrash = errors.New("the machine crashed")

// Whatever the step before which the machine stops, the folder is whole for the checkpoint in it, and the next run
// comes to the same end: of the same tree, or of a larger one.
func TestEveryCrash(t *testing.T) {
	s := newServer(800, "ETHER")
	_, conn := s.serve(t)
	for _, tt := range []struct{ from, to, then int }{{0, 300, 303}, {250, 256, 257}, {509, 513, 515}} {
		start := t.TempDir()
		if tt.from > 0 {
			for _, size := range []int{tt.from - 10, tt.from} { // so that there is something to remove
				s.size.Store(int64(size))
				exported(t, Config{Dir: start, Policy: policy, Conn: conn})
			}
		}
		steps := 0
		for stop := 0; ; stop++ {
			if stop > 4 && stop < steps-6 && stop != 100 && steps > 100 {
				continue // one shard is like another
			}
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(start)); err != nil {
				t.Fatal(err)
			}
			s.size.Store(int64(tt.to))
			n, err := crash(t, Config{Dir: dir, Policy: policy, Conn: conn}, stop)
			want := tt.from
			if tt.from == 0 {
				want = -1 // there is no checkpoint yet
			}
			if got := check(t, dir); got != want && got != tt.to {
				t.Fatalf("%+v: after a crash at step %d the folder has size %d", tt, stop, got)
			}
			if err == nil {
				break
			}
			if n <= stop {
				t.Fatalf("%+v: the crash at step %d was after %d steps", tt, stop, n)
			}
			s.size.Store(int64(tt.then))
			exported(t, Config{Dir: dir, Policy: policy, Conn: conn})
			besides := []int{tt.from, tt.to}
			if tt.then == tt.to {
				// A crash before the last step, and nothing new since: what is to be removed is not known.
				besides = append(besides, tt.from-10)
			}
			exact(t, dir, tt.then, besides...)
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if steps == 0 {
				steps = stepsOf(t, start, s, conn, tt.to)
			}
		}
	}
}

// crash runs an export that stops before its step with this number, and leaves what a crash would.
func crash(t *testing.T, c Config, stop int) (steps int, err error) {
	t.Helper()
	f, err := openFolder(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	var mu sync.Mutex
	f.before = func(name string) error {
		mu.Lock()
		defer mu.Unlock()
		steps++
		if steps <= stop {
			return nil
		}
		left := filepath.Join(c.Dir, filepath.Dir(name), "."+filepath.Base(name)+".123.tmp")
		if !strings.HasPrefix(name, "remove ") {
			// A folder that is not there yet has no temporary file in it.
			_ = os.WriteFile(left, []byte("half a fi"), 0o600)
		}
		return errCrash
	}
	_, err = run(t.Context(), c, f)
	if err != nil && !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	return steps, err
}

// stepsOf counts the steps of an export.
func stepsOf(t *testing.T, start string, s *server, conn grpc.ClientConnInterface, size int) int {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(start)); err != nil {
		t.Fatal(err)
	}
	s.size.Store(int64(size))
	n, err := crash(t, Config{Dir: dir, Policy: policy, Conn: conn}, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// unchanged runs an export that must fail and leave every file as it is.
func unchanged(t *testing.T, what string, c Config, want error) error {
	t.Helper()
	before := filesOf(t, c.Dir)
	r, err := Run(t.Context(), c)
	if !errors.Is(err, want) {
		t.Errorf("%s: %+v, %v, want %v", what, r, err, want)
	}
	if after := filesOf(t, c.Dir); !maps.Equal(before, after) {
		t.Errorf("%s: the folder changed", what)
	}
	return err
}

func TestServersThatLie(t *testing.T) {
	s := newServer(700, "ETHER")
	_, conn := s.serve(t)
	for _, size := range []int64{0, 300} {
		for what, change := range map[string]func(int, []byte) []byte{
			"another entry": func(i int, e []byte) []byte {
				if i == 310 {
					return s.entries[2]
				}
				return e
			},
			"the last one": func(i int, e []byte) []byte {
				if i == 699 {
					return append(bytes.Clone(e), ' ')
				}
				return e
			},
			"cut off": func(i int, e []byte) []byte {
				if i == 600 {
					return nil
				}
				return e
			},
			"an entry that no bundle carries": func(i int, e []byte) []byte {
				if i == 400 {
					return make([]byte, 1<<16)
				}
				return e
			},
		} {
			dir := t.TempDir()
			s.change = nil
			if size > 0 {
				s.size.Store(size)
				exported(t, Config{Dir: dir, Policy: policy, Conn: conn})
			}
			s.size.Store(700)
			s.change = change
			unchanged(t, what, Config{Dir: dir, Policy: policy, Conn: conn}, client.ErrAnswer)
		}
	}
}

// A lie in a later part of the log leaves the parts before it, which were proven, and the checkpoint.
func TestALieAfterAWhile(t *testing.T) {
	s := newServer(chunk+1000, "ETHER")
	_, conn := s.serve(t)
	s.change = func(i int, e []byte) []byte {
		if i == chunk+5 {
			return s.entries[1]
		}
		return e
	}
	dir := t.TempDir()
	if _, err := Run(t.Context(), Config{Dir: dir, Policy: policy, Conn: conn}); !errors.Is(err, client.ErrAnswer) {
		t.Fatal(err)
	}
	have := filesOf(t, dir)
	if _, ok := have["checkpoint"]; ok || have["tile/0/000"] == "" || have["tile/0/064"] != "" {
		t.Errorf("%d files are there", len(have))
	}
	s.change = nil
	exported(t, Config{Dir: dir, Policy: policy, Conn: conn})
	exact(t, dir, chunk+1000)
}

func TestTheCheckpointNeverGoesBack(t *testing.T) {
	s := newServer(700, "ETHER")
	_, conn := s.serve(t)
	dir := t.TempDir()
	s.size.Store(600)
	exported(t, Config{Dir: dir, Policy: policy, Conn: conn})
	for _, size := range []int64{0, 1, 512, 599} {
		s.size.Store(size)
		for _, full := range []bool{false, true} {
			unchanged(t, fmt.Sprint("size ", size), Config{Dir: dir, Policy: policy, Conn: conn, Full: full}, client.ErrBehind)
		}
	}
	// Shards that a larger export, which was interrupted, has written.
	s.size.Store(700)
	f, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	f.before = func(name string) error {
		if name == "checkpoint" {
			return errCrash
		}
		return nil
	}
	if _, err := run(t.Context(), Config{Dir: dir, Policy: policy, Conn: conn}, f); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	f.close()
	s.size.Store(610)
	if _, err := Run(t.Context(), Config{Dir: dir, Policy: policy, Conn: conn}); !errors.Is(err, client.ErrBehind) {
		t.Error(err)
	}
	if got := check(t, dir); got != 600 {
		t.Errorf("the folder has size %d", got)
	}
	s.size.Store(700)
	exported(t, Config{Dir: dir, Policy: policy, Conn: conn})
	exact(t, dir, 700, 600)
}

// A log that signs another tree than before is convicted by the folder's checkpoint as by the one that was
// remembered, and nothing is written.
func TestForksAreConvicted(t *testing.T) {
	s, fork := newServer(600, "ETHER"), newServer(700, "HAARG")
	_, conn := s.serve(t)
	_, forked := fork.serve(t)
	for _, before := range []int64{256, 300, 600} {
		s.size.Store(before)
		dir := t.TempDir()
		exported(t, Config{Dir: dir, Policy: policy, Conn: conn})
		remembered := &memory{}
		exported(t, Config{Dir: t.TempDir(), Policy: policy, Conn: conn, Memory: remembered})
		for _, size := range []int64{before, 700} {
			fork.size.Store(size)
			for what, c := range map[string]Config{
				"the folder remembers": {Dir: dir, Policy: policy, Conn: forked, Memory: new(memory)},
				"the state remembers":  {Dir: t.TempDir(), Policy: policy, Conn: forked, Memory: remembered},
			} {
				there := filesOf(t, c.Dir)
				_, err := Run(t.Context(), c)
				var m *client.Misbehaviour
				if !errors.As(err, &m) {
					t.Errorf("%s %d, and sees %d: %v", what, before, size, err)
					continue
				}
				if err := m.Evidence.Check(policy); err != nil {
					t.Error(err)
				}
				if !maps.Equal(there, filesOf(t, c.Dir)) {
					t.Errorf("%s: the folder changed", what)
				}
			}
		}
	}
}

func TestTheQuorum(t *testing.T) {
	s := newServer(300, "ETHER")
	_, conn := s.serve(t)
	dir := t.TempDir()
	unchanged(t, "no witness", Config{Dir: dir, Policy: strict, Conn: conn}, checkpoint.ErrQuorum)
	exported(t, Config{Dir: dir, Policy: policy, Conn: conn})
	// The folder is of a time when the policy asked for less.
	s.time = 1000
	exported(t, Config{Dir: dir, Policy: strict, Conn: conn})
	if note := filesOf(t, dir)["checkpoint"]; note != string(s.note(300)) {
		t.Errorf("the checkpoint is still\n%s", note)
	}
}

// A checkpoint of the same tree is taken if it was signed later, and only then.
func TestFresherCheckpoints(t *testing.T) {
	s := newServer(300, "ETHER")
	_, conn := s.serve(t)
	dir := t.TempDir()
	var newest []byte
	for _, time := range []uint64{1000, 900, 0, 1000, 1001} {
		s.time = time
		exported(t, Config{Dir: dir, Policy: policy, Conn: conn})
		if time >= 1000 {
			newest = s.note(300)
		}
		if note := filesOf(t, dir)["checkpoint"]; note != string(newest) {
			t.Errorf("after one of %d the checkpoint is\n%s", time, note)
		}
	}
}

func TestOneExportAtATime(t *testing.T) {
	s := newServer(10, "ETHER")
	_, conn := s.serve(t)
	dir := t.TempDir()
	f, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	unchanged(t, "locked", Config{Dir: dir, Policy: policy, Conn: conn}, ErrBusy)
	f.close()
	exported(t, Config{Dir: dir, Policy: policy, Conn: conn})
}

// Damage that a run meets is an error, which a full run mends; a full run mends what no run meets too.
func TestDamage(t *testing.T) {
	s := newServer(310, "ETHER")
	_, conn := s.serve(t)
	flip := func(name string) error {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		b[len(b)/2] ^= 1
		return os.WriteFile(name, b, 0o644)
	}
	write := func(text string) func(string) error {
		return func(name string) error { return os.WriteFile(name, []byte(text), 0o644) }
	}
	for _, tt := range []struct {
		name   string
		change func(string) error
		met    bool
	}{
		{"tile/0/001.p/44", flip, true},
		{"tile/entries/001.p/44", os.Remove, true},
		{"tile/1/000.p/1", flip, true},
		{prooftree.ShardName(prooftree.ShardOf(path(300))), os.Remove, true},
		{prooftree.ShardName(prooftree.ShardOf(path(300))), write("1 " + path(301) + "\n"), true},
		{"tile/0/000", flip, false},
		{"tile/entries/000", write(""), false},
		{"tile/entries", os.RemoveAll, true},
	} {
		dir := t.TempDir()
		s.size.Store(300)
		exported(t, Config{Dir: dir, Policy: policy, Conn: conn})
		if err := tt.change(filepath.Join(dir, tt.name)); err != nil {
			t.Fatal(err)
		}
		s.size.Store(310)
		if tt.met {
			_, err := Run(t.Context(), Config{Dir: dir, Policy: policy, Conn: conn})
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), filepath.Base(tt.name)) && !strings.Contains(tt.name, "entries") {
				t.Errorf("%s: %v", tt.name, err)
			}
			if note := filesOf(t, dir)["checkpoint"]; note != string(s.note(300)) {
				t.Errorf("%s: the checkpoint went on:\n%s", tt.name, note)
			}
		}
		exported(t, Config{Dir: dir, Policy: policy, Conn: conn, Full: true})
		if got := check(t, dir); got != 310 {
			t.Errorf("%s: the folder has size %d", tt.name, got)
		}
	}
	// Of the same size too, and only what differs is written.
	dir := t.TempDir()
	exported(t, Config{Dir: dir, Policy: policy, Conn: conn})
	if err := flip(filepath.Join(dir, "tile/0/000")); err != nil {
		t.Fatal(err)
	}
	if r := exported(t, Config{Dir: dir, Policy: policy, Conn: conn, Full: true}); r.Written != 1 {
		t.Errorf("%+v", r)
	}
	exact(t, dir, 310)
}

func TestForeignFolders(t *testing.T) {
	s := newServer(300, "ETHER")
	_, conn := s.serve(t)
	other := signer(checkpoint.Ed25519, "log.example/other", 5)
	for what, note := range map[string][]byte{
		"damaged": []byte("x\n"), "cut": s.note(300)[:60],
		"another log's": checkpoint.Note{Text: "log.example/other\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"}.With(must(other.Sign(checkpoint.Checkpoint{Origin: "log.example/other", Root: tree.EmptyRoot}, 1))).Marshal(),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "checkpoint"), note, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := unchanged(t, what, Config{Dir: dir, Policy: policy, Conn: conn, Full: true}, ErrDamaged); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What is not the tree's is left alone, and what a crash left of it is not.
func TestOtherFiles(t *testing.T) {
	s := newServer(300, "ETHER")
	_, conn := s.serve(t)
	dir := t.TempDir()
	kept := []string{"README", ".htaccess", ".rsync.x.tmp", "tile/0/extra", "tile/0/001.p/300", "other/tile/0/001.p/7", "paths/README"}
	left := []string{".checkpoint.1.tmp", "paths/.07.22.tmp", "tile/0/.000.3.tmp", "tile/entries/001.p/.44.5.tmp", "tile/0/001.p/7", "tile/entries/000.p/200"}
	for _, name := range append(kept, left...) {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte("x"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	exported(t, Config{Dir: dir, Policy: policy, Conn: conn})
	have := filesOf(t, dir)
	for _, name := range kept {
		if have[name] != "x" {
			t.Errorf("%s is gone", name)
		}
	}
	for _, name := range left {
		if _, ok := have[name]; ok {
			t.Errorf("%s is left", name)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "tile/entries/000.p")); !os.IsNotExist(err) {
		t.Errorf("an empty folder is left: %v", err)
	}
}

// The umask is for private files.
func TestEveryoneMayRead(t *testing.T) {
	s := newServer(300, "ETHER")
	_, conn := s.serve(t)
	defer syscall.Umask(syscall.Umask(0o077))
	dir := filepath.Join(t.TempDir(), "a", "b")
	exported(t, Config{Dir: dir, Policy: policy, Conn: conn})
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", d, info.Mode(), err)
		}
	}
	filesOf(t, dir) // checks the others
}

func TestAnInterruptedRun(t *testing.T) {
	s := newServer(300, "ETHER")
	_, conn := s.serve(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Run(ctx, Config{Dir: dir, Policy: policy, Conn: conn, Progress: func(uint64, uint64) { cancel() }}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := check(t, dir); got != -1 {
		t.Errorf("the folder has size %d", got)
	}
	exported(t, Config{Dir: dir, Policy: policy, Conn: conn})
	exact(t, dir, 300)
}
