package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"pgregory.net/rapid"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/prooftree"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// newFakeOf is a log of texts, which may be anything.
func newFakeOf(texts ...[]byte) *fake {
	f := newFake()
	for _, b := range texts {
		f.add(b)
	}
	f.size = len(texts)
	return f
}

// streamed is a fake that lists what it is told, in messages of so many entries.
type streamed struct {
	*fake
	texts [][]byte
	step  int
	end   error // io.EOF, or what it ends with; nil: it waits for ever
	start func(uint64) uint64
}

func listing(f *fake, step int) *streamed {
	return &streamed{fake: f, texts: f.entries[:f.size], step: step, end: io.EOF, start: func(n uint64) uint64 { return n }}
}

type entryStream struct {
	grpc.ClientStream
	s   *streamed
	ctx context.Context
	at  int
}

func (s *streamed) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return &entryStream{s: s, ctx: ctx}, nil
}

func (e *entryStream) SendMsg(any) error { return nil }
func (e *entryStream) CloseSend() error  { return nil }

func (e *entryStream) RecvMsg(m any) error {
	if e.at == len(e.s.texts) {
		if e.s.end != nil {
			return e.s.end
		}
		<-e.ctx.Done()
		return e.ctx.Err()
	}
	r := m.(*pb.ListEntriesResponse)
	r.Start = e.s.start(uint64(e.at))
	for _, b := range e.s.texts[e.at:min(e.at+e.s.step, len(e.s.texts))] {
		r.Entries = append(r.Entries, string(b))
	}
	e.at += len(r.Entries)
	return nil
}

// A shelf is the files of a static tree.
type shelf struct {
	mu    sync.Mutex
	files map[string][]byte
	asked map[string]int

	told   map[string]int // that they will be asked for
	untold []string       // asked for all the same
}

func shelfOf(f *fake, size int) *shelf {
	s := &shelf{files: map[string][]byte{"checkpoint": f.note(size)}, asked: map[string]int{}, told: map[string]int{}}
	b := prooftree.NewBuilder()
	for _, e := range f.entries[:size] {
		if err := b.Add(e); err != nil {
			panic(err)
		}
	}
	for _, x := range slices.Concat(b.Full(), slices.Collect(b.Partial())) {
		s.files[x.Tile.Path()] = x.Data
	}
	return s
}

func (s *shelf) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	s.asked[name]++
	if s.told[name] == 0 {
		s.untold = append(s.untold, name)
	}
	b, ok := s.files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if int64(len(b)) > limit {
		return nil, prooftree.ErrInvalid
	}
	return slices.Clone(b), nil
}

// Prefetch implements prooftree.Prefetcher.
func (s *shelf) Prefetch(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told[name]++
}

// audited audits the files.
func (s *shelf) audited(ctx context.Context, f *fake, progress func(done, size uint64)) (*Report, error) {
	t, err := prooftree.Open(ctx, s, f.policy())
	if err != nil {
		return nil, err
	}
	return AuditTree(ctx, t, s, progress)
}

// plainly is an audit's judgement in a few lines: one entry after the other, with nothing left out of what the rules look at.
func plainly(texts [][]byte) *Report {
	r := &Report{Entries: uint64(len(texts)), Kinds: map[string]uint64{}}
	paths, conflicts := map[string]*entry.Last{}, map[string]bool{}
	for i, b := range texts {
		e, err := entry.Parse(b)
		if errors.Is(err, entry.ErrUpgrade) {
			r.Kinds["unknown"]++
			continue
		}
		if err == nil {
			r.Kinds[string(e.Kind)]++
			if err = paths[e.Path].Follows(e); err == nil {
				paths[e.Path] = paths[e.Path].Next(e, uint64(i))
			}
		}
		if err == nil && e.Kind == entry.Conflict {
			pair := e.Path + e.SHA256.String() + e.Other.String()
			if conflicts[pair] {
				err = fmt.Errorf("the conflict of %s with %s was logged before", e.Path, e.Other)
			}
			conflicts[pair] = true
		}
		if err != nil {
			r.Violations++
			if len(r.Findings) < maxFindings {
				r.Findings = append(r.Findings, Finding{uint64(i), err.Error()})
			}
		}
	}
	return r
}

// anyEntry draws an entry of a log with few paths and digests, so that every rule is met and broken.
func anyEntry(t *rapid.T, index int) []byte {
	switch rapid.IntRange(0, 19).Draw(t, "text") {
	case 0:
		return []byte("pauselog/v2\nkind upload\n")
	case 1:
		return rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes")
	}
	some := func(what string) entry.Digest { return digest(rapid.StringMatching("[ab]").Draw(t, what)) }
	e := &entry.Entry{Path: path(rapid.IntRange(0, 2).Draw(t, "path")), SHA256: some("sha256"), Time: entry.Time(rapid.IntRange(0, 3).Draw(t, "time"))}
	switch e.Kind = entry.Kind(rapid.SampledFrom(kindNames[:len(kindNames)-1]).Draw(t, "kind")); e.Kind {
	case entry.Upload, entry.Delete:
		e.By, e.Seen = "-", entry.SeenFollow
		if rapid.IntRange(0, 9).Draw(t, "name") == 0 {
			e.Path += ".readme" // a name that is never logged
		}
	case entry.Index:
		e.Path = entry.IndexPaths[rapid.IntRange(0, 1).Draw(t, "index")]
	case entry.Conflict:
		e.Other = digest(rapid.StringMatching("[cd]").Draw(t, "other"))
	case entry.Void:
		e.Index = uint64(rapid.IntRange(0, index).Draw(t, "voided"))
	}
	return must(e.Marshal())
}

func sameReport(got, want *Report) error {
	if got.Entries != want.Entries || got.Violations != want.Violations || !maps.Equal(got.Kinds, want.Kinds) || !slices.Equal(got.Findings, want.Findings) {
		return fmt.Errorf("found %+v, want %+v", got, want)
	}
	return nil
}

// Whatever is logged, and however it comes, the findings are those of reading one entry after the other.
func TestAuditJudgesAsIfOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var texts [][]byte
		for i := range rapid.IntRange(0, 600).Draw(t, "entries") {
			texts = append(texts, anyEntry(t, i))
		}
		f, want := newFakeOf(texts...), plainly(texts)
		step := rapid.SampledFrom([]int{1, 7, 255, 256, 257, 1000}).Draw(t, "step")
		l := listing(f, step)
		got, err := New(l, f.policy(), nil).Audit(context.Background(), nil)
		if err == nil {
			err = sameReport(got, want)
		}
		if err != nil {
			t.Fatalf("from a server: %v", err)
		}
		if got, err = shelfOf(f, f.size).audited(context.Background(), f, nil); err == nil {
			err = sameReport(got, want)
		}
		if err != nil {
			t.Fatalf("from a tree: %v", err)
		}
	})
}

// A past is all of an entry.Last that the rules look at: whatever may follow, they say the same of both.
func TestPastIsTheLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var last *entry.Last
		for i := range 40 {
			e, err := entry.Parse(anyEntry(t, i))
			if err != nil || last != nil && e.Path != last.Entry.Path {
				continue
			}
			says, also := last.Follows(e), error(nil)
			if last == nil {
				also = says
			} else {
				also = pastOf(last).last(e.Path).Follows(e)
			}
			if fmt.Sprint(says) != fmt.Sprint(also) {
				t.Fatalf("%+v: %v, want %v", e, also, says)
			}
			if says == nil {
				last = last.Next(e, uint64(i))
			}
		}
	})
}

func TestAuditProgress(t *testing.T) {
	f := newFake(uploads(600, "-")...)
	var done []uint64
	progress := func(n, size uint64) {
		if size != 600 {
			t.Errorf("%d of %d", n, size)
		}
		done = append(done, n)
	}
	if _, err := New(listing(f, 256), f.policy(), nil).Audit(t.Context(), progress); err != nil {
		t.Fatal(err)
	}
	if _, err := shelfOf(f, 600).audited(t.Context(), f, progress); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(done, []uint64{256, 512, 600, 256, 512, 600}) {
		t.Error(done)
	}
}

// Memory does not grow with what a server sends: there are never more answers at once than a fixed number.
func TestAuditReadsNotFarAhead(t *testing.T) {
	f := newFake(uploads(5000, "-")...)
	l := listing(f, 1)
	read, joined := 0, uint64(0)
	var mu sync.Mutex
	l.start = func(n uint64) uint64 {
		mu.Lock()
		defer mu.Unlock()
		read++
		if held := uint64(read) - joined; held > maxWorkers*ahead {
			t.Errorf("%d answers are held", held)
		}
		return n
	}
	_, err := New(l, f.policy(), nil).Audit(t.Context(), func(done, _ uint64) {
		mu.Lock()
		joined = done
		mu.Unlock()
	})
	if err != nil || read != 5000 {
		t.Errorf("%d answers, %v", read, err)
	}
}

func TestAuditOfServersThatLie(t *testing.T) {
	f := newFake(uploads(700, "-")...)
	other := newFake(uploads(700, "FORK")...)
	gone := errors.New("the connection is gone")
	for name, tt := range map[string]struct {
		change func(*streamed)
		want   error
		says   string
	}{
		"another entry": {func(s *streamed) {
			s.texts = slices.Concat(s.texts[:310], other.entries[310:311], s.texts[311:])
		}, ErrAnswer, "the 700 entries have root"},
		"it ends early":    {func(s *streamed) { s.texts = s.texts[:600] }, ErrAnswer, "the entries end after 600, the checkpoint has 700"},
		"too many":         {func(s *streamed) { s.texts = append(slices.Clip(s.texts), s.texts[0]) }, ErrAnswer, "701 entries from 0 on, expected some from 0 on"},
		"from elsewhere":   {func(s *streamed) { s.start = func(n uint64) uint64 { return n + 1 } }, ErrAnswer, "700 entries from 1 on, expected some from 0 on"},
		"an empty message": {func(s *streamed) { s.step = 0 }, ErrAnswer, "0 entries from 0 on"},
		"it breaks off":    {func(s *streamed) { s.texts, s.end = s.texts[:600], gone }, gone, "gone"},
	} {
		s := listing(f, 1000)
		if name == "another entry" || name == "it breaks off" {
			s.step = 256
		}
		tt.change(s)
		_, err := New(s, f.policy(), nil).Audit(t.Context(), nil)
		want(t, name, err, tt.want)
		if err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
}

// A server that stalls is left after a minute, and one that is cancelled at once, whatever it does.
func TestAuditEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(uploads(700, "-")...)
		s := listing(f, 256)
		s.texts, s.end = s.texts[:512], nil
		began := time.Now()
		_, err := New(s, f.policy(), nil).Audit(t.Context(), nil)
		want(t, "a stall", err, ErrAnswer)
		if took := time.Since(began); took != stallTime || !strings.Contains(err.Error(), "no entries for 1m0s after entry 512") {
			t.Errorf("after %v: %v", took, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err = New(s, f.policy(), nil).Audit(ctx, func(done, _ uint64) {
			if done == 512 {
				cancel()
			}
		})
		want(t, "cancelled", err, context.Canceled)
	})
}

// What was remembered must be a prefix of what is read, wherever its size lies in a bundle.
func TestAuditMeetsWhatWasRemembered(t *testing.T) {
	f, fork := newFake(uploads(600, "-")...), newFake(uploads(600, "FORK")...)
	for _, size := range []int{1, 255, 256, 257, 512, 599, 600} {
		l := New(listing(f, 256), f.policy(), &memory{note: f.note(size)})
		if _, err := l.Audit(t.Context(), nil); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
		// The checkpoint is the log's own; the root that was remembered is not.
		a := newAudit(&Seen{Opened: must(f.policy().Open(f.note(600)))}, nil)
		a.remembered = map[uint64]tree.Hash{uint64(size): must(f.policy().Open(fork.note(size))).Root}
		err := l.auditStream(t.Context(), a)
		want(t, fmt.Sprint("a fork at size ", size), err, ErrAnswer)
		if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("its first %d entries have root", size)) {
			t.Error(err)
		}
	}
}

// Every file of a tree is read once, those of the entries and of their hashes after the source was told that
// they would be, and a tree of every size is whole.
func TestAuditTreeReadsEveryFile(t *testing.T) {
	f := newFake(uploads(11_000, "-")...)
	for _, size := range []int{0, 1, 255, 256, 257, 512, 1100, 11_000} {
		s := shelfOf(f, size)
		r, err := s.audited(t.Context(), f, nil)
		if err != nil || r.Entries != uint64(size) || r.Seen.Size != uint64(size) || r.Violations != 0 {
			t.Fatalf("size %d: %+v, %v", size, r, err)
		}
		for name := range s.files {
			if s.asked[name] != 1 {
				t.Errorf("size %d: %s was read %d times", size, name, s.asked[name])
			}
		}
		if len(s.asked) != len(s.files) {
			t.Errorf("size %d: read %v", size, slices.Collect(maps.Keys(s.asked)))
		}
		for name, n := range s.told {
			if n != 1 || s.asked[name] != 1 {
				t.Errorf("size %d: the source was told %d times that %s would be read", size, n, name)
			}
		}
		for _, name := range s.untold {
			if strings.HasPrefix(name, "tile/entries/") || strings.HasPrefix(name, "tile/0/") {
				t.Errorf("size %d: the source was not told that %s would be read", size, name)
			}
		}
	}
}

// Each flipped bit of each file, each file that is cut or missing: the audit says which file it is.
func TestAuditTreeFindsDamage(t *testing.T) {
	f := newFake(uploads(600, "-")...)
	good := shelfOf(f, 600)
	damage := map[string]func([]byte) []byte{
		"a bit in front":      func(b []byte) []byte { b[0] ^= 1; return b },
		"a bit in the middle": func(b []byte) []byte { b[len(b)/2] ^= 0x10; return b },
		"the last bit":        func(b []byte) []byte { b[len(b)-1] ^= 0x80; return b },
		"cut":                 func(b []byte) []byte { return b[:len(b)-1] },
		"longer":              func(b []byte) []byte { return append(b, 0) },
		"empty":               func([]byte) []byte { return nil },
	}
	for name := range good.files {
		if name == "checkpoint" {
			continue
		}
		for what, change := range damage {
			s := shelfOf(f, 600)
			s.files[name] = change(s.files[name])
			_, err := s.audited(t.Context(), f, nil)
			want(t, name+": "+what, err, prooftree.ErrInvalid)
			if err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
		s := shelfOf(f, 600)
		delete(s.files, name)
		_, err := s.audited(t.Context(), f, nil)
		want(t, name+" is missing", err, prooftree.ErrIncomplete)
		if err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A tree that is whole in itself, and is not the one that was signed.
func TestAuditTreeOfAnotherLog(t *testing.T) {
	f, fork := newFake(uploads(600, "-")...), newFake(uploads(600, "FORK")...)
	s := shelfOf(fork, 600)
	s.files["checkpoint"] = f.note(600)
	_, err := s.audited(t.Context(), f, nil)
	want(t, "a fork's files", err, prooftree.ErrInvalid)
	if err != nil && !strings.Contains(err.Error(), "the 600 entries have root") {
		t.Error(err)
	}
}

// Once there is a full tile, the partial ones may be removed.
func TestAuditTreeBehindItsFiles(t *testing.T) {
	f := newFake(uploads(600, "-")...)
	s := shelfOf(f, 600)
	s.files["checkpoint"] = f.note(500)
	s.files["tile/1/000.p/1"] = s.files["tile/1/000.p/2"][:32]
	if r, err := s.audited(t.Context(), f, nil); err != nil || r.Entries != 500 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestAuditTreeIsCancelled(t *testing.T) {
	f := newFake(uploads(2000, "-")...)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := shelfOf(f, 2000).audited(ctx, f, func(done, _ uint64) { cancel() })
	want(t, "cancelled", err, context.Canceled)
}
