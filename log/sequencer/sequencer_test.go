package sequencer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
)

const origin = "log.example/pause"

var (
	clock   = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	signers = func() []*checkpoint.SignerKey {
		var out []*checkpoint.SignerKey
		for _, a := range []checkpoint.Algorithm{checkpoint.Ed25519, checkpoint.MLDSA44} {
			k, err := checkpoint.GenerateSigner(a, origin, nil)
			if err != nil {
				panic(err)
			}
			out = append(out, k)
		}
		return out
	}()
	policy = func() *checkpoint.Policy {
		var logs []checkpoint.PolicyLog
		for _, k := range signers {
			logs = append(logs, checkpoint.PolicyLog{Key: k.Verifier()})
		}
		p, err := checkpoint.NewPolicy(logs...)
		if err != nil {
			panic(err)
		}
		return p
	}()
)

// headFile is a head file on one of Pebble's file systems.
type headFile struct{ vfs.File }

func (f headFile) Sync() error { return f.File.SyncData() }

// create makes an empty log, its head file on the same file system.
func create(t testing.TB, fs vfs.FS) {
	t.Helper()
	state, h, err := Init(origin, signers, clock)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Create("data", store.Options{FS: fs}, state); err != nil {
		t.Fatal(err)
	}
	writeHead(t, fs, h)
}

func writeHead(t testing.TB, fs vfs.FS, h head.Head) {
	t.Helper()
	f, err := fs.Create("head", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := fs.OpenDir("")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(head.Format(headFile{f}, h), f.Sync(), f.Close(), dir.Sync(), dir.Close()); err != nil {
		t.Fatal(err)
	}
}

// testLog is an open log.
type testLog struct {
	*Sequencer
	store *store.Store
	head  *head.Keeper
	fatal chan error
}

// openLog opens the log on fs; the file systems below its store and its head may
// differ in the faults they inject.
func openLog(storeFS, headFS vfs.FS, steps []step) (*testLog, error) {
	l := &testLog{fatal: make(chan error, 1)}
	var err error
	// Pebble's own fatal errors must not return; what is tested below is this package's.
	if l.store, err = store.Open("data", store.Options{FS: storeFS}); err != nil {
		return nil, err
	}
	f, err := headFS.OpenReadWrite("head", vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, errors.Join(err, l.store.Close())
	}
	if l.head, err = head.Read(headFile{f}); err != nil {
		return nil, errors.Join(err, f.Close(), l.store.Close())
	}
	l.Sequencer, err = open(Config{Origin: origin, Store: l.store, Head: l.head, Signers: signers,
		Now: func() time.Time { return clock }, Fatal: func(err error) { l.fatal <- err }}, steps)
	if err != nil {
		return nil, errors.Join(err, l.head.Close(), l.store.Close())
	}
	return l, nil
}

func mustOpen(t testing.TB, fs vfs.FS) *testLog {
	t.Helper()
	l, err := openLog(fs, fs, order)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *testLog) close(t testing.TB) {
	t.Helper()
	l.Close()
	if err := errors.Join(l.head.Close(), l.store.Close()); err != nil {
		t.Error(err)
	}
}

func upload(n, content int) *entry.Entry {
	return &entry.Entry{Kind: entry.Upload, Path: fmt.Sprintf("authors/id/E/ET/ETHER/Dist-%d.tar.gz", n), Size: 1,
		SHA256: entry.Digest(tree.LeafHash(fmt.Append(nil, content))), Time: entry.TimeOf(clock), By: "ETHER", Seen: entry.SeenUpload}
}

func seen(entries ...*entry.Entry) []Submission {
	out := make([]Submission, len(entries))
	for i, e := range entries {
		out[i] = Submission{e, e.Seen}
	}
	return out
}

func submit(t testing.TB, l *testLog, entries ...*entry.Entry) []Result {
	t.Helper()
	r, err := l.Submit(context.Background(), entries...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// verifyLog re-hashes a whole log with golang.org/x/mod/sumdb/tlog, checks its published
// checkpoint and replays its rules, and returns its entries.
func verifyLog(t testing.TB, l *testLog) [][]byte {
	t.Helper()
	p := l.Published()
	all, err := p.All()
	if err != nil {
		t.Fatal(err)
	}
	opened, err := policy.Open(all)
	if err != nil || opened.Size != p.Size || opened.Root != p.Root || len(opened.LogKeys) != 2 {
		t.Fatalf("the published checkpoint: %+v, %v", opened, err)
	}
	var entries [][]byte
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = hashes[x]
		}
		return out, nil
	})
	last := map[string]*entry.Last{}
	conflicts := map[pair]bool{}
	for i := range p.Size {
		b, err := l.store.Entry(i, p.Size)
		if err != nil {
			t.Fatal(err)
		}
		e, err := entry.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := last[e.Path].Follows(e); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		if e.Kind == entry.Conflict {
			if k := pairOf(e.Path, e.SHA256, e.Other); conflicts[k] {
				t.Fatalf("entry %d repeats a conflict", i)
			} else {
				conflicts[k] = true
			}
		}
		last[e.Path] = last[e.Path].Next(e, i)
		hs, err := tlog.StoredHashes(int64(i), b, reader)
		if err != nil {
			t.Fatal(err)
		}
		entries, hashes = append(entries, b), append(hashes, hs...)
	}
	root, err := tlog.TreeHash(int64(p.Size), reader)
	if err != nil {
		t.Fatal(err)
	}
	if p.Size > 0 && tree.Hash(root) != p.Root {
		t.Fatalf("the published root of size %d is %v, its entries' is %v", p.Size, p.Root, root)
	}
	return entries
}

func TestRepetitionsAndConflicts(t *testing.T) {
	fs := vfs.NewMem()
	create(t, fs)
	l := mustOpen(t, fs)
	// Within a batch, across batches, and after a restart the answers are the same.
	for round, again := range []bool{false, true, true} {
		if round == 2 {
			l.close(t)
			l = mustOpen(t, fs)
		}
		r := submit(t, l, upload(0, 0), upload(1, 1), upload(0, 0), upload(1, 2), upload(1, 2), upload(1, 3))
		for i, want := range []struct {
			index    uint64
			repeated bool
		}{{0, again}, {1, again}, {0, true}} {
			if r[i].Err != nil || r[i].Index != want.index || r[i].Repeated != want.repeated || r[i].Leaf != tree.LeafHash(r[i].Entry) {
				t.Errorf("round %d, submission %d: %+v, want %+v", round, i, r[i], want)
			}
		}
		for i, conflict := range []uint64{2, 2, 3} {
			refused := r[3+i].Err
			if refused == nil || !errors.Is(refused, entry.ErrConflict) || refused.Logged.Index != 1 || refused.Conflict != conflict {
				t.Errorf("round %d, conflicting submission %d: %+v", round, i, refused)
			}
			if refused != nil && !strings.Contains(refused.Error(), upload(1, 1).SHA256.String()) {
				t.Errorf("the refusal does not name the logged digest: %v", refused)
			}
		}
		if got := len(verifyLog(t, l)); got != 4 {
			t.Fatalf("round %d: %d entries, want 4", round, got)
		}
	}
	l.close(t)
}

func TestDeleteRestoreAndVoid(t *testing.T) {
	fs := vfs.NewMem()
	create(t, fs)
	l := mustOpen(t, fs)
	del := upload(0, 0)
	del.Kind, del.Size = entry.Delete, 0
	one := func(e *entry.Entry) Result { t.Helper(); return submit(t, l, e)[0] }
	if r := one(del); !errors.Is(r.Err, entry.ErrNotLogged) {
		t.Errorf("a delete of an unlogged path: %+v", r)
	}
	one(upload(0, 0)) // 0
	one(del)          // 1
	if r := one(upload(0, 9)); !errors.Is(r.Err, entry.ErrConflict) || r.Err.Conflict != 2 {
		t.Errorf("another digest after a delete: %+v", r)
	}
	if r := one(upload(0, 0)); r.Err != nil || r.Index != 3 {
		t.Errorf("a restore: %+v", r)
	}
	if _, err := l.Void(t.Context(), 0); !errors.Is(err, entry.ErrNotLogged) {
		t.Errorf("a void of an upload that is not the newest: %v", err)
	}
	if _, err := l.Void(t.Context(), 1); err == nil {
		t.Error("a void of a delete")
	}
	if _, err := l.Void(t.Context(), 99); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a void of nothing: %v", err)
	}
	if r, err := l.Void(t.Context(), 3); err != nil || r.Index != 4 {
		t.Errorf("a void: %+v, %v", r, err)
	}
	if r, err := l.Void(t.Context(), 3); err != nil || r.Index != 4 || !r.Repeated {
		t.Errorf("the same void: %+v, %v", r, err)
	}
	l.close(t)
	l = mustOpen(t, fs)
	if r := one(upload(0, 9)); r.Err != nil || r.Index != 5 {
		t.Errorf("after a void the path is free: %+v", r)
	}
	verifyLog(t, l)
	l.close(t)
}

func TestInvalidSubmissionsAreRefusedAloneInTheirGroup(t *testing.T) {
	fs := vfs.NewMem()
	create(t, fs)
	l := mustOpen(t, fs)
	readme := upload(1, 1)
	readme.Path = "authors/id/E/ET/ETHER/README"
	old := upload(2, 2)
	old.Time -= 8 * 24 * 3600
	r := submit(t, l, upload(0, 0), readme, old, upload(3, 3))
	if r[0].Err != nil || r[0].Index != 0 || r[3].Err != nil || r[3].Index != 1 {
		t.Errorf("the good ones: %+v, %+v", r[0], r[3])
	}
	if !errors.Is(r[1].Err, entry.ErrNotUpload) || !errors.Is(r[2].Err, entry.ErrOutOfTime) {
		t.Errorf("the others: %v, %v", r[1].Err, r[2].Err)
	}
	if got := submit(t, l); len(got) != 0 {
		t.Errorf("an empty group: %v", got)
	}
	l.close(t)
	if _, err := l.Submit(t.Context(), upload(4, 4)); !errors.Is(err, ErrClosing) {
		t.Errorf("after Close: %v", err)
	}
}

func TestManySubmittersGetOneHistory(t *testing.T) {
	fs := vfs.NewMem()
	create(t, fs)
	l := mustOpen(t, fs)
	const submitters, each = 16, 60
	var mu sync.Mutex
	got := map[uint64]string{} // index to path
	var wg sync.WaitGroup
	for range submitters {
		wg.Go(func() {
			for n := range each { // all submit the same paths
				r, err := l.Submit(context.Background(), upload(n, n))
				if err != nil || r[0].Err != nil {
					t.Error(err, r)
					return
				}
				mu.Lock()
				if p, ok := got[r[0].Index]; ok && p != upload(n, n).Path {
					t.Errorf("index %d was given to two paths", r[0].Index)
				}
				got[r[0].Index] = upload(n, n).Path
				mu.Unlock()
				// What was acknowledged is published, proved and verifies.
				p, err := l.WaitPublished(context.Background(), r[0].Index+1)
				if err != nil {
					t.Error(err)
					return
				}
				proof, err := l.store.Inclusion(r[0].Index, p.Size)
				if err == nil {
					err = tree.VerifyInclusion(r[0].Index, p.Size, r[0].Leaf, proof, p.Root)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(got) != each || len(verifyLog(t, l)) != each {
		t.Errorf("%d indexes for %d paths", len(got), each)
	}
	l.close(t)
}

func TestBusyWhenTooMuchWaits(t *testing.T) {
	fs := vfs.NewMem()
	create(t, fs)
	release := make(chan struct{})
	l, err := openLog(fs, fs, append([]step{func(*Sequencer, *commit) error { <-release; return nil }}, order...))
	if err != nil {
		t.Fatal(err)
	}
	many := make([]*entry.Entry, maxQueued/4)
	for i := range many {
		many[i] = upload(i, i)
	}
	var pending []*Pending
	for {
		p, err := l.Enqueue(seen(many...))
		if errors.Is(err, ErrBusy) {
			break
		}
		if err != nil || len(pending) > 20 {
			t.Fatalf("after %d groups: %v", len(pending), err)
		}
		pending = append(pending, p)
	}
	if _, err := pending[len(pending)-1].Wait(canceled()); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait with an ended context: %v", err)
	}
	close(release)
	for _, p := range pending {
		if _, err := p.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if n := l.Published().Size; n != maxQueued/4 {
		t.Errorf("%d entries", n)
	}
	l.close(t)
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestTimesOfCosignaturesNeverDecrease(t *testing.T) {
	fs := vfs.NewMem()
	create(t, fs)
	l := mustOpen(t, fs)
	defer func(c time.Time) { clock = c }(clock)
	submit(t, l, upload(0, 0))
	before := l.Published().Time
	l.close(t)
	clock = clock.Add(-time.Hour)
	l = mustOpen(t, fs)
	submit(t, l, upload(1, 1))
	if after := l.Published().Time; after < before {
		t.Errorf("from %d to %d", before, after)
	}
	l.close(t)
}

func TestKeysMustBeTheLogs(t *testing.T) {
	other, err := checkpoint.GenerateSigner(checkpoint.Ed25519, "log.example/other", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, keys := range map[string][]*checkpoint.SignerKey{
		"none":             nil,
		"only ML-DSA":      signers[1:],
		"of another log":   {other},
		"one of them else": {signers[0], other},
	} {
		if _, _, err := Init(origin, keys, clock); err == nil {
			t.Errorf("keys %s: no error", name)
		}
	}
}
