package client

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// From every size to every other: what continues is remembered, what was seen is not
// written again, and what is older is taken only with proof.
func TestCheckpointsContinue(t *testing.T) {
	const most = 9
	f := newFake(uploads(most, "-")...)
	for older := range most + 1 {
		for newer := range most + 1 {
			m := &memory{}
			l := New(f, f.policy(), m)
			for _, size := range []int{older, newer, newer} {
				f.size = size
				seen, err := l.Checkpoint(t.Context())
				if size < older {
					want(t, fmt.Sprintf("size %d after %d", size, older), err, ErrBehind)
				} else if err != nil || seen.Size != uint64(size) {
					t.Errorf("size %d after %d: %v", size, older, err)
				}
			}
			if n := 1; newer > older && m.saves != n+1 || newer <= older && m.saves != n {
				t.Errorf("sizes %d and %d: saved %d times", older, newer, m.saves)
			}
		}
	}
}

// Whatever the sizes, two trees of one log convict it.
func TestForksConvict(t *testing.T) {
	const most = 9
	f, fork := newFake(uploads(most, "-")...), newFake(uploads(most, "FORK")...)
	for older := 1; older <= most; older++ {
		for newer := older; newer <= most; newer++ {
			m := &memory{note: f.note(older)}
			fork.size = newer
			_, err := New(fork, f.policy(), m).Checkpoint(t.Context())
			wantMisbehaviour(t, fmt.Sprintf("sizes %d and %d", older, newer), err)
			if !bytes.Equal(m.note, f.note(older)) {
				t.Errorf("sizes %d and %d: the fork is remembered", older, newer)
			}
		}
	}
}

func TestAnAnswerThatWasOvertaken(t *testing.T) {
	f := newFake(uploads(9, "-")...)
	m := &memory{note: f.note(9)}
	seen, err := New(f, f.policy(), m).see(t.Context(), f.note(4))
	if err != nil || seen.Size != 4 || m.saves != 0 {
		t.Errorf("%v, saved %d times", err, m.saves)
	}
}

func TestGather(t *testing.T) {
	const index = "modules/06perms.txt"
	snapshot := func(text string, at entry.Time) *entry.Entry {
		return &entry.Entry{Kind: entry.Index, Path: index, SHA256: digest(text), Size: 1, Time: at}
	}
	deleted := &entry.Entry{Kind: entry.Delete, Path: path(0), SHA256: digest(path(0)), By: "-", Seen: entry.SeenUpload}
	newLog := func() *fake {
		f := newFake(append(uploads(2, "-"), snapshot("old", 1), snapshot("new", 2), deleted)...)
		f.path = func(p string) (int, error) {
			switch p {
			case path(0), path(1):
				return slices.Index([]string{path(0), path(1)}, p), nil
			case index:
				return 3, nil
			}
			return 0, refuse("not-logged")
		}
		f.sha256 = func(s string) (int, error) {
			i := slices.Index([]string{digest(path(0)).String(), digest(path(1)).String(), digest("old").String(), digest("new").String()}, s)
			if i < 0 {
				return 0, refuse("not-logged")
			}
			return i, nil
		}
		return f
	}
	f := newLog()
	l := New(f, f.policy(), nil)
	for _, tt := range []struct {
		name, path string
		digest     entry.Digest
		outcome    verify.Outcome
	}{
		{"an archive", path(1), digest(path(1)), verify.Verified},
		{"other bytes", path(1), digest(path(0)), verify.Mismatch},
		{"the newest index", index, digest("new"), verify.Verified},
		{"an older index", index, digest("old"), verify.Verified},
		{"an index that is not logged", index, digest("none"), verify.Mismatch},
		{"an index with an archive's bytes", index, digest(path(0)), verify.Mismatch},
		{"by digest", "", digest(path(1)), verify.Verified},
		{"by digest, an index", "", digest("old"), verify.Verified},
		{"by digest, not logged", "", digest("none"), verify.NotLogged},
		{"not logged", path(7), digest("none"), verify.NotLogged},
	} {
		e, err := l.Gather(t.Context(), tt.path, tt.digest, true)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		r := verify.Verify(verify.Request{Policy: f.policy(), Path: tt.path, AnyPath: true, SHA256: tt.digest, Size: 1,
			Bundle: e.Bundle, Revocation: e.Revocation, Deletion: e.Deletion, Absence: e.Absence, AbsenceDetail: e.Detail})
		if r.Outcome != tt.outcome {
			t.Errorf("%s: %v, want %v\n%s", tt.name, r.Outcome, tt.outcome, r.Explain())
		}
	}

	f.lookup = func(*pb.LookupRequest) *pb.LookupResponse { return f.found("", 0, 4) }
	if e, err := l.Gather(t.Context(), path(0), digest(path(0)), true); err != nil || e.Deletion == nil {
		t.Errorf("the deletion was not found: %v", err)
	}
}

// The same bytes are logged as an index, and later under other paths, as anybody with an account can bring about. A mirror that lags
// has that index all the same.
func TestGatherAnIndexWhoseBytesAreElsewhereToo(t *testing.T) {
	const perms, packages = "modules/06perms.txt", "modules/02packages.details.txt"
	snapshot := func(path, text string, at entry.Time) *entry.Entry {
		return &entry.Entry{Kind: entry.Index, Path: path, SHA256: digest(text), Size: 1, Time: at}
	}
	copied := func(i int) *entry.Entry {
		return &entry.Entry{Kind: entry.Upload, Path: path(i), SHA256: digest("old"), Size: 1, By: "-", Seen: entry.SeenUpload}
	}
	newLog := func() *fake {
		f := newFake(snapshot(perms, "old", 1), snapshot(perms, "old", 2), copied(0), snapshot(packages, "old", 3), copied(1), snapshot(perms, "new", 4), snapshot(packages, "other", 5))
		f.path = func(p string) (int, error) { return map[string]int{perms: 5, packages: 6}[p], nil }
		f.sha256 = func(string) (int, error) { return 4, nil } // the newest of these bytes is an archive
		f.lookup = func(r *pb.LookupRequest) *pb.LookupResponse {
			if r.GetSha256() != digest("old").String() {
				t.Errorf("asked for %v", r)
			}
			switch r.PageToken {
			case "":
				return f.found("2", 0, 1)
			case "2":
				return f.found("4", 2, 3)
			}
			return f.found("", 4)
		}
		return f
	}
	gather := func(f *fake, path string) (*verify.Result, error) {
		e, err := New(f, f.policy(), &memory{}).Gather(t.Context(), path, digest("old"), true)
		if err != nil {
			return nil, err
		}
		return verify.Verify(verify.Request{Policy: f.policy(), Path: path, SHA256: digest("old"), Size: 1, Bundle: e.Bundle, Absence: e.Absence, AbsenceDetail: e.Detail}), nil
	}
	f := newLog()
	for path, index := range map[string]uint64{perms: 1, packages: 3} {
		r, err := gather(f, path)
		if err != nil || r.Outcome != verify.Verified || r.Index != index {
			t.Errorf("%s: %+v, %v; expected it to verify by entry %d, its newest", path, r, err, index)
		}
	}

	for name, tt := range map[string]struct {
		change func(f *fake)
		want   verify.Outcome
	}{
		"a list with another path's entry under the number of this one": {func(f *fake) {
			f.lookup = func(*pb.LookupRequest) *pb.LookupResponse {
				r := f.found("", 0)
				r.Entries[0].Index = 3
				return r
			}
		}, verify.Mismatch}, // by the newest entry of the path: nothing else is proven
		"a list with an entry that is not logged": {func(f *fake) {
			f.lookup = func(*pb.LookupRequest) *pb.LookupResponse {
				r := f.found("", 5)
				r.Entries[0].Entry = string(must(snapshot(perms, "old", 9).Marshal()))
				return r
			}
		}, verify.Mismatch},
		"a list without it": {func(f *fake) { f.lookup = func(*pb.LookupRequest) *pb.LookupResponse { return f.found("", 2, 4) } }, verify.Mismatch},
		"a list with what is no entry": {func(f *fake) {
			f.lookup = func(*pb.LookupRequest) *pb.LookupResponse {
				return &pb.LookupResponse{Entries: []*pb.LoggedEntry{{Index: 1, Entry: "x"}}}
			}
		}, verify.Mismatch},
		"a list without end": {func(f *fake) {
			f.lookup = func(*pb.LookupRequest) *pb.LookupResponse { return f.found("2", 0) }
		}, verify.Verified},
	} {
		f := newLog()
		tt.change(f)
		if r, err := gather(f, perms); err != nil || r.Outcome != tt.want {
			t.Errorf("%s: %+v, %v; expected %v", name, r, err, tt.want)
		}
	}

	// What contradicts the log on the way is not passed over.
	f, fork := newLog(), newFake(snapshot(perms, "old", 1), snapshot(perms, "old", 2), copied(5), copied(6), copied(7), copied(8), copied(9))
	f.lookup = func(*pb.LookupRequest) *pb.LookupResponse {
		r := f.found("", 1)
		f.entries, f.stored = fork.entries, fork.stored
		return r
	}
	_, err := gather(f, perms)
	wantMisbehaviour(t, "behind a list of the same bytes", err)
}

// Only the log itself can say that something is not there.
func TestWhoseWordCounts(t *testing.T) {
	f := newFake(uploads(1, "-")...)
	l := New(f, f.policy(), nil)
	for reason, absence := range map[string]verify.Absence{"not-logged": verify.SaidNotLogged, "pending": verify.SaidPending, "internal": verify.Unreachable} {
		f.path = func(string) (int, error) { return 0, refuse(reason) }
		e, err := l.Gather(t.Context(), path(0), entry.Digest{}, true)
		if err != nil || e.Absence != absence {
			t.Errorf("%s, trusted: %+v, %v", reason, e, err)
		}
		e, err = l.Gather(t.Context(), path(0), entry.Digest{}, false)
		if err != nil || e.Absence != verify.Unreachable || !strings.Contains(e.Detail, "the fake says "+reason) {
			t.Errorf("%s, not trusted: %+v, %v", reason, e, err)
		}
	}
}

// A fork that shows on the way to something that decides nothing is a fork all the same.
func TestMisbehaviourIsNotPassedOver(t *testing.T) {
	deleted := &entry.Entry{Kind: entry.Delete, Path: path(0), SHA256: digest(path(0)), By: "-", Seen: entry.SeenUpload}
	f := newFake(append(uploads(3, "-"), deleted)...)
	fork := newFake(append(uploads(3, "FORK"), deleted)...)
	f.path = func(string) (int, error) { return 0, nil }
	f.lookup = func(*pb.LookupRequest) *pb.LookupResponse {
		r := f.found("", 3)
		f.entries, f.stored = fork.entries, fork.stored // from here on, another tree
		return r
	}
	_, err := New(f, f.policy(), &memory{}).Gather(t.Context(), path(0), digest(path(0)), true)
	wantMisbehaviour(t, "behind a lookup", err)
}

func TestLookup(t *testing.T) {
	f := newFake(uploads(6, "-")...)
	l := New(f, f.policy(), nil)
	q := Query{Author: "ETHER"}
	run := func() (got []uint64, err error) {
		c, err := l.Lookup(t.Context(), q, func(x Found) error { got = append(got, x.Index); return nil })
		if err == nil && c.Seen.Size != uint64(f.size) {
			t.Errorf("covers size %d, want %d", c.Seen.Size, f.size)
		}
		return got, err
	}
	pages := map[string]*pb.LookupResponse{"": f.found("2", 0, 1), "2": f.found("5", 2, 4), "5": f.found("", 5)}
	f.lookup = func(r *pb.LookupRequest) *pb.LookupResponse { return pages[r.PageToken] }
	if got, err := run(); err != nil || !slices.Equal(got, []uint64{0, 1, 2, 4, 5}) {
		t.Errorf("three pages: %v, %v", got, err)
	}
	// What was published after the checkpoint is left out.
	f.size = 5
	pages["5"].IndexedSize = 6
	if got, err := run(); err != nil || !slices.Equal(got, []uint64{0, 1, 2, 4}) {
		t.Errorf("overtaken: %v, %v", got, err)
	}
	f.size = 6
	for name, r := range map[string]*pb.LookupResponse{
		"out of order":         f.found("", 2, 1),
		"twice":                f.found("", 1, 1),
		"for ever":             f.found("0", 0),
		"for ever, and empty":  f.found("7"),
		"an entry made up":     {IndexedSize: 6, Entries: []*pb.LoggedEntry{{Index: 1, Entry: string(f.entries[2])}}},
		"a page token of text": f.found("next", 0),
	} {
		f.lookup = func(*pb.LookupRequest) *pb.LookupResponse { return r }
		_, err := run()
		want(t, name, err, ErrAnswer)
	}
	f.lookup = func(*pb.LookupRequest) *pb.LookupResponse { return f.found("", 3) }
	q = Query{Path: path(2)}
	_, err := run()
	want(t, "another path", err, ErrAnswer)
	for _, q := range []Query{{}, {Path: path(1), Author: "ETHER"}} {
		if _, err := l.Lookup(t.Context(), q, nil); err == nil {
			t.Errorf("%+v: no error", q)
		}
	}
}

func TestLookupOfMany(t *testing.T) {
	f := newFake(uploads(250, "-")...)
	f.lookup = func(r *pb.LookupRequest) *pb.LookupResponse {
		from, _ := strconv.Atoi(r.PageToken)
		var page []int
		for i := from; i < min(from+int(r.PageSize), 250); i++ {
			page = append(page, i)
		}
		next := ""
		if from+int(r.PageSize) < 250 {
			next = strconv.Itoa(from + int(r.PageSize))
		}
		return f.found(next, page...)
	}
	n := uint64(0)
	_, err := New(f, f.policy(), nil).Lookup(t.Context(), Query{Author: "ETHER"}, func(x Found) error {
		if x.Index != n {
			t.Fatalf("entry %d, want %d", x.Index, n)
		}
		n++
		return nil
	})
	if err != nil || n != 250 {
		t.Errorf("%d entries, %v", n, err)
	}
}
