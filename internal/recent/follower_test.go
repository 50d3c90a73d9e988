package recent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
)

func follow(t *testing.T, source Source, series ...string) *Follower {
	t.Helper()
	f, err := New(source, Options{Series: series})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// next asserts that there is an answer.
func next(t *testing.T, f *Follower, s State) (Batch, State) {
	t.Helper()
	b, s, err := f.Next(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return b, s
}

func said(b Batch) string {
	var list []string
	for _, e := range b.Events {
		list = append(list, fmt.Sprintf("%s %s", e.Type, e.Path))
	}
	return strings.Join(list, ", ")
}

func (w *writer) after(seconds int64, path string, t Type) {
	w.now += tick(seconds) * second
	w.update(path, t)
	w.aggregate(false)
}

func TestFollowerHandsOutWhatIsNewOnceAndOldestFirst(t *testing.T) {
	w := newWriter(Authors, "yaml", 1_700_000_000*second, "1h", "6h", "Z")
	w.after(0, "id/A/AA/AAA/1.tgz", TypeNew)
	source := newShelf(w.files())
	f := follow(t, source)
	b, state := next(t, f, State{})
	if said(b) != "new authors/id/A/AA/AAA/1.tgz" {
		t.Errorf("at first: %s", said(b))
	}
	w.after(60, "02STAMP", TypeNew)
	w.after(60, "id/A/AA/AAA/2.tgz", TypeNew)
	w.after(60, "id/A/AA/AAA/1.tgz", TypeDelete)
	w.after(60, "02STAMP", TypeNew)
	source.files = w.files()
	b, state = next(t, f, state)
	if want := "new authors/id/A/AA/AAA/2.tgz, delete authors/id/A/AA/AAA/1.tgz, new authors/02STAMP"; said(b) != want || b.Gaps != nil {
		t.Errorf("then: %s, %v, expected %s", said(b), b.Gaps, want)
	}
	clear(source.reads)
	if b, _ = next(t, f, state); said(b) != "" {
		t.Errorf("a second time: %s", said(b))
	}
	if want := map[string]int{"authors/RECENT-1h.yaml": 1}; !maps.Equal(source.reads, want) {
		t.Errorf("a poll without news read %v, expected %v", source.reads, want)
	}
}

func TestFollowerReadsAsManyFilesAsItTakes(t *testing.T) {
	for _, tt := range []struct {
		hours int
		want  []string
		gap   bool
	}{
		{0, []string{"1h"}, false}, {3, []string{"1h", "6h"}, false}, {20, []string{"1d", "1h", "6h"}, false}, {24 * 5, []string{"1W", "1d", "1h", "6h"}, false},
		{24 * 20, []string{"1W", "1d", "1h", "6h", "Z"}, true},
	} {
		w := newWriter(Root, "json", 1_700_000_000*second, "1h", "6h", "1d", "1W", "Z")
		for i := range 24 * 30 {
			w.after(1800, fmt.Sprintf("authors/id/A/AA/AAA/a%d.tgz", i), TypeNew)
			w.after(1800, fmt.Sprintf("authors/id/A/AA/AAA/b%d.tgz", i), TypeNew)
		}
		source := newShelf(w.files())
		f := follow(t, source, Root)
		state, err := f.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range tt.hours {
			w.after(1800, fmt.Sprintf("authors/id/A/AA/AAA/c%d.tgz", i), TypeNew)
			w.after(1800, fmt.Sprintf("authors/id/A/AA/AAA/d%d.tgz", i), TypeNew)
		}
		source.files = w.files()
		clear(source.reads)
		b, _ := next(t, f, state)
		var read []string
		for name := range source.reads {
			read = append(read, strings.TrimSuffix(strings.TrimPrefix(name, "RECENT-"), ".json"))
		}
		slices.Sort(read)
		if !slices.Equal(read, tt.want) || len(b.Events) != 2*tt.hours || (b.Gaps != nil) != tt.gap {
			t.Errorf("after %d hours: %d events from %v, gaps %v, expected %d from %v", tt.hours, len(b.Events), read, b.Gaps, 2*tt.hours, tt.want)
		}
	}
}

func TestFollowerSaysWhenNothingReachesBack(t *testing.T) {
	w := newWriter(Authors, "json", 1_700_000_000*second, "1h", "6h", "Z")
	w.after(0, "id/A/AA/AAA/1.tgz", TypeNew)
	source := newShelf(w.files())
	f := follow(t, source)
	_, state := next(t, f, State{})
	for i := range 100 {
		w.after(3600, fmt.Sprintf("id/A/AA/AAA/%d.tgz", i+2), TypeNew)
	}
	source.files = w.files()
	delete(source.files, "authors/RECENT-Z.json")
	b, after := next(t, f, state)
	if len(b.Gaps) != 1 || b.Gaps[0].Deletions || b.Gaps[0].After != state.Series[Authors].Newest || b.Gaps[0].Dir != Authors {
		t.Errorf("the gaps are %+v", b.Gaps)
	}
	if b, _ = next(t, f, after); b.Gaps != nil || b.Events != nil {
		t.Errorf("the gap is told again: %+v", b)
	}
}

func TestFollowerReadsAllAgainWhenTheDirtymarkChanges(t *testing.T) {
	w := newWriter(Authors, "yaml", 1_700_000_000*second, "1h", "6h", "Z")
	for i := range 100 {
		w.after(3600, fmt.Sprintf("id/A/AA/AAA/%d.tgz", i), TypeNew)
	}
	source := newShelf(w.files())
	f := follow(t, source)
	_, state := next(t, f, State{})
	w.now += second
	w.insert("id/B/BB/BBB/forgotten.tgz", TypeNew, w.now-50*3600*second)
	source.files = w.files()
	b, after := next(t, f, state)
	if !strings.Contains(said(b), "forgotten") || len(b.Events) != 101 || after.Series[Authors].Dirtymark == state.Series[Authors].Dirtymark {
		t.Errorf("%d events: %s", len(b.Events), said(b))
	}
	if b, _ = next(t, f, after); len(b.Events) != 0 {
		t.Errorf("and again: %s", said(b))
	}
}

func TestFollowerRefusesOlderAndTornCopies(t *testing.T) {
	w := newWriter(Authors, "json", 1_700_000_000*second, "1h", "6h", "Z")
	w.after(0, "id/A/AA/AAA/1.tgz", TypeNew)
	old := w.files()
	source := newShelf(old)
	f := follow(t, source)
	_, first := next(t, f, State{})
	for i := range 4 {
		w.after(3600, fmt.Sprintf("id/A/AA/AAA/%d.tgz", i+2), TypeNew)
	}
	fresh := w.files()

	source.files = maps.Clone(fresh)
	source.files["authors/RECENT-6h.json"] = old["authors/RECENT-6h.json"]
	b, state, err := f.Next(t.Context(), first)
	if !errors.Is(err, ErrTorn) || len(b.Events) > 0 || fmt.Sprint(state) != fmt.Sprint(first) {
		t.Errorf("an old file of 6 hours: %s, %v, %v", said(b), state, err)
	}
	for i := range 40 {
		w.after(3600, fmt.Sprintf("id/B/BB/BBB/%d.tgz", i), TypeNew)
	}
	source.files = w.files()
	source.files["authors/RECENT-1h.json"] = fresh["authors/RECENT-1h.json"]
	b, state, err = f.Next(t.Context(), first)
	if !errors.Is(err, ErrTorn) || len(b.Events) > 0 || fmt.Sprint(state) != fmt.Sprint(first) {
		t.Errorf("an old file of 1 hour: %s, %v, %v", said(b), state, err)
	}
	source.files = fresh
	b, state = next(t, f, first)
	if len(b.Events) != 4 || b.Gaps != nil {
		t.Errorf("then: %s, %v", said(b), b.Gaps)
	}
	source.files = old
	b, again, err := f.Next(t.Context(), state)
	if !errors.Is(err, ErrOlder) || len(b.Events) > 0 || fmt.Sprint(again) != fmt.Sprint(state) {
		t.Errorf("an older tree: %s, %v, %v", said(b), again, err)
	}
	source.files = map[string]string{}
	if b, again, err = f.Next(t.Context(), state); !errors.Is(err, fs.ErrNotExist) || fmt.Sprint(again) != fmt.Sprint(state) {
		t.Errorf("an empty tree: %s, %v, %v", said(b), again, err)
	}
	source.files = map[string]string{"authors/RECENT-1h.json": jsonFile("1h", "")}
	if b, again, err = f.Next(t.Context(), state); !errors.Is(err, ErrInvalid) || fmt.Sprint(again) != fmt.Sprint(state) {
		t.Errorf("an empty file: %s, %v, %v", said(b), again, err)
	}
}

// A writer whose clock was wrong starts anew with a new dirtymark: its epochs go back, and it is no old copy.
func TestFollowerAcceptsAWriterThatStartsAnew(t *testing.T) {
	text := func(mark, at int) string {
		return fmt.Sprintf(`{"meta":{"protocol":1,"interval":"1h","dirtymark":%d},"recent":[{"epoch":%d,"path":"a","type":"new"}]}`, mark, at)
	}
	source := newShelf(map[string]string{"RECENT-1h.json": text(1000, 9000)})
	f := follow(t, source)
	_, state := next(t, f, State{})
	source.files["RECENT-1h.json"] = text(900, 2000)
	if _, _, err := f.Next(t.Context(), state); !errors.Is(err, ErrOlder) {
		t.Errorf("an older copy: %v", err)
	}
	source.files["RECENT-1h.json"] = text(2000, 2001)
	b, state := next(t, f, state)
	if said(b) != "new a" || state.Series[Root].Newest != epoch("2001") || len(b.Gaps) == 0 {
		t.Errorf("%s, %v, %v", said(b), b.Gaps, state)
	}
}

// A Z file that is newer than the others has nothing of what was deleted since: that is still to come.
func TestNewerZFileHidesNoDeletions(t *testing.T) {
	w := newWriter(Authors, "json", 1_700_000_000*second, "1h", "Z")
	w.after(0, "id/A/AA/AAA/1.tgz", TypeNew)
	source := newShelf(w.files())
	w.after(60, "id/A/AA/AAA/1.tgz", TypeDelete)
	w.after(60, "id/A/AA/AAA/2.tgz", TypeNew)
	fresh := w.files()
	source.files["authors/RECENT-Z.json"] = fresh["authors/RECENT-Z.json"]
	f := follow(t, source)
	b, state := next(t, f, State{})
	if !strings.Contains(said(b), "new authors/id/A/AA/AAA/2.tgz") {
		t.Errorf("at first: %s", said(b))
	}
	source.files = fresh
	if b, _ = next(t, f, state); !strings.Contains(said(b), "delete authors/id/A/AA/AAA/1.tgz") {
		t.Errorf("then: %s", said(b))
	}
}

func TestSeriesStandForThemselves(t *testing.T) {
	a := newWriter(Authors, "yaml", 1_700_000_000*second, "1h", "Z")
	m := newWriter(Modules, "json", 1_700_000_000*second, "1h", "Z")
	r := newWriter(Root, "json", 1_700_000_000*second, "1h", "Z")
	a.after(5, "id/A/AA/AAA/1.tgz", TypeNew)
	r.after(7, "authors/id/A/AA/AAA/1.tgz", TypeNew)
	m.after(6, "02packages.details.txt.gz", TypeNew)
	source := newShelf(map[string]string{})
	for _, w := range []*writer{a, m, r} {
		maps.Copy(source.files, w.files())
	}
	f := follow(t, source)
	b, state := next(t, f, State{})
	if want := "new modules/02packages.details.txt.gz, new authors/id/A/AA/AAA/1.tgz"; said(b) != want || len(state.Series) != 3 {
		t.Errorf("%s, expected %s; %v", said(b), want, state)
	}
	a.after(9, "id/A/AA/AAA/2.tgz", TypeNew)
	maps.Copy(source.files, a.files())
	source.files["modules/RECENT-1h.json"] = "{"
	b, after, err := f.Next(t.Context(), state)
	if !errors.Is(err, ErrInvalid) || said(b) != "new authors/id/A/AA/AAA/2.tgz" || after.Series[Modules] != state.Series[Modules] || after.Series[Authors] == state.Series[Authors] {
		t.Errorf("%s, %v, %v", said(b), after, err)
	}
	f = follow(t, source, Modules)
	if _, _, err = f.Next(t.Context(), State{}); !errors.Is(err, ErrInvalid) || source.reads["RECENT-1h.json"] != 2 {
		t.Errorf("%v, %v", err, source.reads)
	}
}

func TestPathsOfTwoSeriesKeepBothTypes(t *testing.T) {
	a := newWriter(Authors, "yaml", 1_700_000_000*second, "1h")
	r := newWriter(Root, "json", 1_700_000_000*second, "1h")
	a.after(5, "id/A/AA/AAA/1.tgz", TypeDelete)
	r.after(7, "authors/id/A/AA/AAA/1.tgz", TypeNew)
	source := newShelf(a.files())
	maps.Copy(source.files, r.files())
	b, _ := next(t, follow(t, source), State{})
	if want := "delete authors/id/A/AA/AAA/1.tgz, new authors/id/A/AA/AAA/1.tgz"; said(b) != want {
		t.Errorf("%s, expected %s", said(b), want)
	}
}

func TestFollowerTakesTheFormatThatIsAlive(t *testing.T) {
	left := newWriter(Authors, "json", 1_500_000_000*second, "1h")
	left.after(0, "id/O/OL/OLD/1.tgz", TypeNew)
	live := newWriter(Authors, "yaml", 1_700_000_000*second, "1h")
	live.after(0, "id/N/NE/NEW/1.tgz", TypeNew)
	source := newShelf(left.files())
	maps.Copy(source.files, live.files())
	f := follow(t, source)
	b, state := next(t, f, State{})
	if said(b) != "new authors/id/N/NE/NEW/1.tgz" || state.Series[Authors].Format != "yaml" {
		t.Errorf("%s, %v", said(b), state)
	}
	// A tree that moves from one format to the other.
	live.format = "json"
	live.after(60, "id/N/NE/NEW/2.tgz", TypeNew)
	source.files = live.files()
	b, state = next(t, f, state)
	if said(b) != "new authors/id/N/NE/NEW/2.tgz" || state.Series[Authors].Format != "json" {
		t.Errorf("%s, %v", said(b), state)
	}
}

// A torn file in one format is no reason to follow what is left in the other.
func TestFollowerDoesNotFallBackToALeftFormat(t *testing.T) {
	left := newWriter(Authors, "yaml", 1_500_000_000*second, "1h")
	left.after(0, "id/O/OL/OLD/1.tgz", TypeNew)
	source := newShelf(left.files())
	source.files["authors/RECENT-1h.json"] = `{"meta"`
	f := follow(t, source)
	if b, state, err := f.Next(t.Context(), State{}); !errors.Is(err, ErrInvalid) || len(b.Events) > 0 || len(state.Series) > 0 {
		t.Errorf("%s, %v, %v", said(b), state, err)
	}
}

func TestFollowerFindsTheFormatThatATreeMovesTo(t *testing.T) {
	w := newWriter(Authors, "yaml", 1_500_000_000*second, "1h")
	w.after(0, "id/A/AA/AAA/1.tgz", TypeNew)
	source := newShelf(w.files())
	f := follow(t, source)
	_, state := next(t, f, State{})
	w.format = "json"
	w.after(60, "id/A/AA/AAA/2.tgz", TypeNew)
	maps.Copy(source.files, w.files()) // and the former stays as it is
	var all []string
	for range probeEach {
		var b Batch
		b, state = next(t, f, state)
		if b.Events != nil {
			all = append(all, said(b))
		}
	}
	if !slices.Equal(all, []string{"new authors/id/A/AA/AAA/2.tgz"}) || state.Series[Authors].Format != "json" {
		t.Errorf("%q, %v", all, state)
	}
}

func TestSeriesThatAreNotThereAreSeldomLookedFor(t *testing.T) {
	w := newWriter(Authors, "yaml", 1_700_000_000*second, "1h")
	w.after(0, "id/A/AA/AAA/1.tgz", TypeNew)
	source := newShelf(w.files())
	f := follow(t, source)
	_, state := next(t, f, State{})
	m := newWriter(Modules, "yaml", 1_700_000_000*second, "1h")
	m.after(0, "06perms.txt", TypeNew)
	maps.Copy(source.files, m.files())
	for n := 1; ; n++ {
		var b Batch
		b, state = next(t, f, state)
		if said(b) == "new modules/06perms.txt" {
			if n != probeEach {
				t.Errorf("it came with call %d, expected %d", n, probeEach)
			}
			break
		}
		if n > probeEach {
			t.Fatal("it was never found")
		}
	}
	if source.reads["RECENT-1h.json"] != 2 || source.reads["authors/RECENT-1h.json"] > 3 {
		t.Errorf("the root's was looked for %d times", source.reads["RECENT-1h.json"])
	}
}

func TestSkippedEventsAreCountedOnce(t *testing.T) {
	source := newShelf(map[string]string{"RECENT-1h.json": jsonFile("1h", `{"epoch":5,"path":"a","type":"new"},{"epoch":4,"path":"\u00e9","type":"new"}`)})
	f := follow(t, source)
	b, state := next(t, f, State{})
	if b.Skipped != 1 || len(b.Events) != 1 {
		t.Errorf("%+v", b)
	}
	if b, _ = next(t, f, state); b.Skipped != 0 {
		t.Errorf("again: %+v", b)
	}
}

func TestStartAndItsErrors(t *testing.T) {
	source := newShelf(map[string]string{})
	f := follow(t, source)
	if _, err := f.Start(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a tree without RECENT files: %v", err)
	}
	if _, _, err := f.Next(t.Context(), State{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a tree without RECENT files: %v", err)
	}
	source.files["RECENT-1h.json"] = "{"
	if _, err := f.Start(t.Context()); !errors.Is(err, ErrInvalid) {
		t.Errorf("a file that is none: %v", err)
	}
	w := newWriter(Root, "json", 1_700_000_000*second, "1h", "Z")
	w.after(0, "authors/id/A/AA/AAA/1.tgz", TypeNew)
	source.files = w.files()
	state, err := f.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := next(t, f, state); len(b.Events) != 0 || b.Gaps != nil {
		t.Errorf("after the start: %+v", b)
	}
}

func TestStatesAreChecked(t *testing.T) {
	f := follow(t, newShelf(nil))
	for _, text := range []string{`{"series":{"src/":{"newest":"5","dirtymark":"","format":"json"}}}`, `{"series":{"":{"newest":"5","dirtymark":"","format":"../x"}}}`,
		`{"series":{"":{"newest":"","dirtymark":"","format":"json"}}}`} {
		var s State
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		if _, _, err := f.Next(t.Context(), s); err == nil || !strings.Contains(err.Error(), "state") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, series := range [][]string{{"src/"}, {Authors, Authors}} {
		if _, err := New(newShelf(nil), Options{Series: series}); err == nil {
			t.Errorf("%q can be followed", series)
		}
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	w := newWriter(Root, "json", 1_700_000_000*second, "1h", "Z")
	w.after(0, "authors/id/A/AA/AAA/1.tgz", TypeNew)
	f := follow(t, newShelf(w.files()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b, _, err := f.Next(ctx, State{}); !errors.Is(err, context.Canceled) || len(b.Events) > 0 {
		t.Errorf("%+v, %v", b, err)
	}
	if b, _ := next(t, f, State{}); len(b.Events) != 1 {
		t.Errorf("%+v", b)
	}
}
