package sequencer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/store"
)

// An image is what a crash at some moment leaves on disk, nothing unsynced kept, and what
// submitters and readers had been told until then.
type image struct {
	fs        *vfs.MemFS
	acked     map[string]uint64 // path to index
	published head.Head
}

// A crasher runs a log on a crash-cloning file system and takes images of it.
type crasher struct {
	fs     *vfs.MemFS
	mu     sync.Mutex
	acked  map[string]uint64
	images []image
	log    *Sequencer
}

// crash takes an image. What was told is read first: it must be on disk by then.
func (c *crasher) crash() {
	c.mu.Lock()
	defer c.mu.Unlock()
	im := image{acked: map[string]uint64{}}
	for p, i := range c.acked {
		im.acked[p] = i
	}
	if c.log != nil {
		p := c.log.Published()
		im.published = head.Head{Origin: origin, Size: p.Size, Root: p.Root}
	}
	im.fs = c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	c.images = append(c.images, im)
}

// step is a crash between two steps of the write path. Whoever has been answered by then
// knows it at once.
func (c *crasher) step(_ *Sequencer, cm *commit) error {
	for _, g := range cm.groups {
		select {
		case <-g.done:
			for i := range g.entries {
				c.ack(g.entries[i].entry.Path, g.results[i].Index)
			}
		default:
		}
	}
	c.crash()
	return nil
}

func (c *crasher) ack(path string, index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acked[path] = index
}

// check opens the log that a crash left, and fails unless everything that anybody was told
// is there, in both heads, and the log goes on.
func (im image) check(t testing.TB) error {
	f, err := im.fs.Open("head")
	if err != nil {
		return err
	}
	k, err := head.Read(headFile{f})
	if err != nil {
		return err
	}
	h := k.Head()
	if err := k.Close(); err != nil {
		return err
	}
	l, err := openLog(im.fs, im.fs, order)
	if err != nil {
		return err
	}
	defer l.close(t)
	if h.Size < im.published.Size {
		return fmt.Errorf("size %d was published, the head file says %d", im.published.Size, h.Size)
	}
	if root, err := l.store.Root(im.published.Size); err != nil || root != im.published.Root {
		return fmt.Errorf("the published tree of size %d is another: %v", im.published.Size, err)
	}
	for path, index := range im.acked {
		if index >= h.Size {
			return fmt.Errorf("entry %d was acknowledged, the head file says size %d", index, h.Size)
		}
		last, err := l.store.Last(path, l.store.Head().Size)
		if err != nil || last == nil || last.Index != index {
			return fmt.Errorf("%s was acknowledged at %d, found %+v, %v", path, index, last, err)
		}
	}
	n := l.Published().Size
	r, err := l.Submit(context.Background(), upload(1_000_000, 1))
	if err != nil || r[0].Err != nil || (r[0].Index != n && !r[0].Repeated) {
		return fmt.Errorf("the log does not go on: %+v, %v", r, err)
	}
	verifyLog(t, l)
	return nil
}

// campaign submits in a number of rounds, with an image at every boundary between the steps
// of the write path, and at random moments besides; it returns the first complaint.
func campaign(t testing.TB, rounds int, steps []step, storeFS func(vfs.FS) vfs.FS) (images int, err error) {
	c := &crasher{fs: vfs.NewCrashableMem(), acked: map[string]uint64{}}
	create(t, c.fs)
	withCrashes := []step{}
	for _, s := range steps {
		withCrashes = append(withCrashes, c.step, s)
	}
	withCrashes = append(withCrashes, c.step)
	l, err := openLog(storeFS(c.fs), c.fs, withCrashes)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	c.log = l.Sequencer
	c.mu.Unlock()
	rnd := rand.New(rand.NewPCG(7, uint64(rounds)))
	for round := range rounds {
		var group []*entry.Entry
		for i := range 1 + rnd.IntN(300) {
			group = append(group, upload(round*1000+i, i))
		}
		p, err := l.Enqueue(seen(group...))
		if err != nil {
			return 0, err
		}
		c.crash() // while the batch is anywhere on its way
		r, err := p.Wait(context.Background())
		if err != nil {
			return 0, err
		}
		for i := range r {
			c.ack(group[i].Path, r[i].Index)
		}
		c.crash()
	}
	l.close(t)
	for i, im := range c.images {
		if err := im.check(t); err != nil {
			return i, fmt.Errorf("image %d: %w", i, err)
		}
	}
	return len(c.images), nil
}

func asIs(fs vfs.FS) vfs.FS { return fs }

// A crash anywhere in the write path, nothing unsynced kept, loses nothing that was
// acknowledged or published, and the log goes on.
func TestCrashAnywhere(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	n, err := campaign(t, rounds, order, asIs)
	if err != nil {
		t.Fatal(err)
	}
	if n < 5*rounds {
		t.Errorf("only %d images", n)
	}
}

// The same campaign finds each of the mistakes that the write path must not make: the
// test would fail if the log did.
func TestCrashCampaignFindsMistakes(t *testing.T) {
	answer, commitStore, writeHead, advance := order[3], order[0], order[1], order[2]
	for _, tt := range []struct {
		name  string
		steps []step
		fs    func(vfs.FS) vfs.FS
		want  string
	}{
		{"commits that are not synced", order, func(fs vfs.FS) vfs.FS { return lyingFS{fs} }, "were signed"},
		{"the head written first", []step{writeHead, commitStore, advance, answer}, asIs, "were signed"},
		{"answers before the head", []step{commitStore, answerOnly, writeHead, advance}, asIs, "was acknowledged"},
		{"answers before the commit", []step{answerOnly, commitStore, writeHead, advance}, asIs, "was acknowledged"},
		{"published before the head", []step{commitStore, advance, writeHead, answer}, asIs, "was published"},
	} {
		_, err := campaign(t, 6, tt.steps, tt.fs)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

// answerOnly answers too early.
func answerOnly(s *Sequencer, c *commit) error {
	for _, g := range c.groups {
		close(g.done)
	}
	return nil
}

// lyingFS says that it syncs the WAL and does not.
type lyingFS struct{ vfs.FS }

type lyingFile struct{ vfs.File }

func (lyingFile) Sync() error     { return nil }
func (lyingFile) SyncData() error { return nil }
func (f lyingFile) SyncTo(n int64) (bool, error) {
	return true, nil
}

func (fs lyingFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	if err == nil && strings.HasSuffix(name, ".log") {
		return lyingFile{f}, nil
	}
	return f, err
}

func (fs lyingFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(old, name, c)
	if err == nil && strings.HasSuffix(name, ".log") {
		return lyingFile{f}, nil
	}
	return f, err
}

// A chain of crashes: the log that one left is the one that the next happens to.
func TestCrashAfterCrash(t *testing.T) {
	c := &crasher{fs: vfs.NewCrashableMem(), acked: map[string]uint64{}}
	create(t, c.fs)
	rnd := rand.New(rand.NewPCG(11, 12))
	rounds := 100
	if testing.Short() {
		rounds = 20
	}
	for round := range rounds {
		l := mustOpen(t, c.fs)
		c.log = l.Sequencer
		var pending []*Pending
		var groups [][]*entry.Entry
		for g := range 1 + rnd.IntN(4) {
			var group []*entry.Entry
			for i := range 1 + rnd.IntN(100) {
				group = append(group, upload(round*1000+g*100+i, i))
			}
			p, err := l.Enqueue(seen(group...))
			if err != nil {
				t.Fatal(err)
			}
			pending, groups = append(pending, p), append(groups, group)
		}
		// Some are waited for, the others crash on their way.
		for i := range rnd.IntN(len(pending) + 1) {
			r, err := pending[i].Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for j := range r {
				c.ack(groups[i][j].Path, r[j].Index)
			}
		}
		c.images = nil
		c.crash()
		l.close(t)
		im := c.images[0]
		if round%10 == 9 {
			if err := im.check(t); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		c.fs = im.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	}
	l := mustOpen(t, c.fs)
	defer l.close(t)
	for path, index := range c.acked {
		if last, err := l.store.Last(path, l.store.Head().Size); err != nil || last == nil || last.Index != index {
			t.Fatalf("%s was acknowledged at %d, found %+v, %v", path, index, last, err)
		}
	}
	verifyLog(t, l)
}

// The drills: what an operator's restore can do to the two heads, and what the log says.
func TestStartUpComparison(t *testing.T) {
	// Images of one history, of sizes 5, 8 and 9, and one of another history of size 9.
	history := func(content int) (older, last, newer *vfs.MemFS) {
		fs := vfs.NewCrashableMem()
		create(t, fs)
		l := mustOpen(t, fs)
		for n := range 9 {
			if n == 5 {
				older = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
			}
			if n == 8 {
				last = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
			}
			submit(t, l, upload(n, n+content))
		}
		newer = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
		l.close(t)
		return older, last, newer
	}
	older, last, newer := history(0)
	_, _, foreign := history(100)
	empty := vfs.NewMem()
	create(t, empty)

	for _, tt := range []struct {
		name       string
		data, head *vfs.MemFS
		want       []string // nil: it starts
		size       uint64
	}{
		{"nothing happened", newer, newer, nil, 9},
		{"the data folder replaced by an older copy", older, newer, []string{"holds 5 entries", "9 were signed", "entries 5 to 8 are missing", "Put back", "pauselogd recover"}, 0},
		{"the data folder emptied and made again", empty, newer, []string{"holds 0 entries", "9 were signed"}, 0},
		{"the head file alone older", newer, older, []string{"holds 9 entries", "only 5 were signed", "Put back the newest copy of the head file"}, 0},
		{"the head file older by the one commit that a crash leaves", newer, last, nil, 9},
		{"both older", older, older, nil, 5}, // only witnesses can know
		{"the data folder of another history", foreign, newer, []string{"have root", "was signed for size 9", "two different histories"}, 0},
		{"the head file of another history, older", foreign, older, []string{"first 5 of the data folder's 9", "two different histories"}, 0},
	} {
		fs := vfs.NewMem()
		clone(t, tt.data, fs, "data")
		clone(t, tt.head, fs, "head")
		l, err := openLog(fs, fs, order)
		if tt.want == nil {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			if n := l.Published().Size; n != tt.size || l.head.Head().Size != tt.size {
				t.Errorf("%s: started at size %d, head %d, want %d", tt.name, n, l.head.Head().Size, tt.size)
			}
			l.close(t)
			continue
		}
		if err == nil {
			l.close(t)
		}
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for _, w := range tt.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", tt.name, err, w)
			}
		}
	}

	// A state that contradicts its own signed checkpoint, and a note of somebody else.
	for name, change := range map[string]func(*store.State){
		"a note of another size": func(s *store.State) { s.Note = mustInit(t).Note },
		"no note":                func(s *store.State) { s.Note = nil },
		"an unsigned note":       func(s *store.State) { s.Note = []byte("log.example/pause\n0\nx\n\n") },
	} {
		fs := vfs.NewCrashableMem()
		create(t, fs)
		l := mustOpen(t, fs)
		b, err := l.store.Stage([]store.Item{{Entry: []byte("x"), Path: store.PathOf("x")}})
		if err != nil {
			t.Fatal(err)
		}
		s := store.State{}
		change(&s)
		if err := errors.Join(b.Seal(1, s.Note), l.store.Commit(b)); err != nil {
			t.Fatal(err)
		}
		after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
		if l2, err := openLog(after, after, order); !errors.Is(err, ErrRefused) && !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: %v, %v", name, l2, err)
		}
		l.close(t)
	}
}

func mustInit(t *testing.T) store.State {
	s, _, err := Init(origin, signers, clock)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func clone(t *testing.T, from, to *vfs.MemFS, name string) {
	t.Helper()
	if ok, err := vfs.Clone(from, to, name, name, vfs.CloneSync); !ok || err != nil {
		t.Fatal(ok, err)
	}
}

// blockingFS holds back syncs of the WAL or of the head while blocked.
type blockingFS struct {
	vfs.FS
	suffix string
	gate   *sync.RWMutex
	asked  chan struct{}
}

type blockingFile struct {
	vfs.File
	fs blockingFS
}

func (f blockingFile) wait() {
	select {
	case f.fs.asked <- struct{}{}:
	default:
	}
	f.fs.gate.RLock()
	defer f.fs.gate.RUnlock()
}
func (f blockingFile) Sync() error     { f.wait(); return f.File.Sync() }
func (f blockingFile) SyncData() error { f.wait(); return f.File.SyncData() }
func (f blockingFile) SyncTo(n int64) (bool, error) {
	f.wait()
	return f.File.SyncTo(n)
}

func (fs blockingFS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err == nil && strings.HasSuffix(name, fs.suffix) {
		return blockingFile{f, fs}, nil
	}
	return f, err
}

func (fs blockingFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return fs.wrap(name, f, err)
}
func (fs blockingFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(old, name, c)
	return fs.wrap(name, f, err)
}
func (fs blockingFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name, c, o...)
	return fs.wrap(name, f, err)
}

// While the disk's sync is blocked, at either head, no reader sees the new tree by any way,
// and no submitter is answered.
func TestNobodySeesWhatIsNotDurable(t *testing.T) {
	for _, suffix := range []string{".log", "head"} {
		fs := vfs.NewMem()
		create(t, fs)
		blocking := blockingFS{FS: fs, suffix: suffix, gate: new(sync.RWMutex), asked: make(chan struct{}, 1)}
		storeFS, headFS := vfs.FS(blocking), vfs.FS(blocking)
		l, err := openLog(storeFS, headFS, order)
		if err != nil {
			t.Fatal(err)
		}
		submit(t, l, upload(0, 0))
		l.store.WaitIndexed(t.Context(), 1)
		select {
		case <-blocking.asked:
		default:
		}
		blocking.gate.Lock()
		p, err := l.Enqueue(seen(upload(1, 1), upload(0, 0)))
		if err != nil {
			t.Fatal(err)
		}
		<-blocking.asked // the batch is at the disk
		head := l.store.Head()
		if head.Size != 1 || l.Published().Size != 1 {
			t.Errorf("sync of %s blocked: size %d, published %d", suffix, head.Size, l.Published().Size)
		}
		if last, err := l.store.Last(upload(1, 1).Path, head.Size); err != nil || last != nil {
			t.Errorf("sync of %s blocked: the path is known: %+v, %v", suffix, last, err)
		}
		if _, err := l.store.Entry(1, head.Size); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("sync of %s blocked: the entry is readable: %v", suffix, err)
		}
		if found, err := l.store.Find(store.ByAuthor, "ETHER", 0, head.Size, 10, false); err != nil || len(found) != 1 {
			t.Errorf("sync of %s blocked: found %v, %v", suffix, found, err)
		}
		select {
		case <-p.done:
			t.Errorf("sync of %s blocked: the submitter is answered", suffix)
		default:
		}
		blocking.gate.Unlock()
		if r, err := p.Wait(t.Context()); err != nil || r[0].Index != 1 || !r[1].Repeated {
			t.Errorf("after the sync: %+v, %v", r, err)
		}
		l.close(t)
	}
}

// failingFS fails writes or syncs of the head while failing.
type failingFile struct {
	vfs.File
	write, sync error
}

func (f *failingFile) WriteAt(b []byte, off int64) (int, error) {
	if f.write != nil {
		return 0, f.write
	}
	return f.File.WriteAt(b, off)
}
func (f *failingFile) SyncData() error {
	if f.sync != nil {
		return f.sync
	}
	return f.File.SyncData()
}

// After a fault the sequencer stops for good: nobody gets an answer that may not hold,
// nothing more is taken, and the next start finds a log that goes on.
func TestAFaultStopsTheSequencer(t *testing.T) {
	boom := errors.New("boom")
	for _, tt := range []struct {
		name string
		step func(f *failingFile) step
	}{
		{"before the commit", func(*failingFile) step { return func(*Sequencer, *commit) error { return boom } }},
		{"the head's write", func(f *failingFile) step {
			return func(s *Sequencer, c *commit) error { f.write = boom; return (*Sequencer).writeHead(s, c) }
		}},
		{"the head's sync", func(f *failingFile) step {
			return func(s *Sequencer, c *commit) error { f.sync = boom; return (*Sequencer).writeHead(s, c) }
		}},
	} {
		fs := vfs.NewMem()
		create(t, fs)
		l := mustOpen(t, fs)
		submit(t, l, upload(0, 0))
		l.close(t)

		st, err := store.Open("data", store.Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		f, err := fs.OpenReadWrite("head", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		file := &failingFile{File: f}
		k, err := head.Read(headFile{file})
		if err != nil {
			t.Fatal(err)
		}
		fatal := make(chan error, 1)
		bad := tt.step(file)
		steps := []step{order[0], bad, order[2], order[3]}
		if tt.name == "before the commit" {
			steps = []step{bad, order[0], order[1], order[2], order[3]}
		}
		s, err := open(Config{Origin: origin, Store: st, Head: k, Signers: signers, Fatal: func(err error) { fatal <- err }}, steps)
		if err != nil {
			t.Fatal(err)
		}
		e := upload(1, 1)
		e.Seen = entry.SeenBackfill
		if r, err := s.Submit(t.Context(), e); !errors.Is(err, ErrStopped) || !errors.Is(err, boom) {
			t.Errorf("%s: %+v, %v", tt.name, r, err)
		}
		if err := <-fatal; !errors.Is(err, boom) {
			t.Errorf("%s: fatal with %v", tt.name, err)
		}
		if r, err := s.Submit(t.Context(), e); !errors.Is(err, ErrStopped) {
			t.Errorf("%s: a later submission: %+v, %v", tt.name, r, err)
		}
		if s.Published().Size != 1 || !errors.Is(s.Err(), boom) {
			t.Errorf("%s: published %d, error %v", tt.name, s.Published().Size, s.Err())
		}
		s.Close()
		if err := errors.Join(k.Close(), st.Close()); err != nil {
			t.Fatal(err)
		}
		l = mustOpen(t, fs)
		if r := submit(t, l, e); r[0].Err != nil || r[0].Index != 1 {
			t.Errorf("%s: after the restart: %+v", tt.name, r)
		}
		verifyLog(t, l)
		l.close(t)
	}
}
