package backfill

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pauselog/pauselog/internal/submit"
	"github.com/pauselog/pauselog/log/entry"
)

// Random trees against a model that knows nothing of folders: all paths, sorted, each with its copies. Walks
// that go on somewhere see exactly what is behind.
func TestWalkIsAsAModelSaysIt(t *testing.T) {
	// Names that sort differently with and without the slash of a folder, and ones that cannot be logged.
	segment := rapid.SampledFrom([]string{"a", "a.b", "a-1.tar.gz", "b", "b-2.zip", "B", "a b", "~", "\xff", "A-1.txt", "CHECKSUMS", "!"})
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		w := &world{TB: t, log: &memoryLog{last: map[string]*entry.Last{}}}
		model := map[string][]Copy{}
		links := map[string]bool{}
		for i := range rapid.IntRange(1, 3).Draw(rt, "roots") {
			w.roots = append(w.roots, filepath.Join(dir, fmt.Sprint(i)))
			w.must(os.MkdirAll(filepath.Join(w.roots[i], archives), 0o755))
			for range rapid.IntRange(0, 12).Draw(rt, "files") {
				parts := append([]string{"E", "EX", "EXAMPLE"}[:rapid.SampledFrom([]int{3, 3, 3, 1}).Draw(rt, "depth")],
					rapid.SliceOfN(segment, 1, 3).Draw(rt, "name")...)
				path := archives + "/" + strings.Join(parts, "/")
				name := filepath.Join(w.roots[i], path)
				through := func(link string) bool { return strings.HasPrefix(path, link+"/") }
				if slices.ContainsFunc(slices.Collect(maps.Keys(links)), through) || os.MkdirAll(filepath.Dir(name), 0o755) != nil {
					continue // a file or a link is where a folder should be
				}
				if _, err := os.Lstat(name); err == nil {
					continue
				}
				if rapid.IntRange(0, 9).Draw(rt, "link") == 0 {
					w.must(os.Symlink(rapid.SampledFrom([]string{"..", ".", "nowhere", "/etc/passwd"}).Draw(rt, "to"), name))
					links[path] = true
					continue
				}
				text := rapid.SampledFrom([]string{"same", "same", "same", "other", ""}).Draw(rt, "text")
				w.file(i, path, text)
				model[path] = append(model[path], Copy{Tree: w.roots[i], SHA256: digestOf(text), Size: uint64(len(text))})
			}
		}
		c := w.config()
		if rapid.Bool().Draw(rt, "with a manifest") {
			c.Manifest = filepath.Join(dir, "manifest")
			listed := map[string]string{}
			for range rapid.IntRange(0, 8).Draw(rt, "records") {
				path := author + strings.Join(rapid.SliceOfN(segment, 1, 2).Draw(rt, "name"), "/")
				listed[path] = rapid.SampledFrom([]string{"same", "other"}).Draw(rt, "text")
			}
			var lines strings.Builder
			for _, path := range slices.Sorted(maps.Keys(listed)) {
				x := Copy{Tree: c.Manifest, SHA256: digestOf(listed[path]), Size: uint64(len(listed[path]))}
				fmt.Fprintf(&lines, "%s %d 1234567890 %s\n", x.SHA256, x.Size, path)
				model[path] = append(model[path], x)
			}
			w.must(os.WriteFile(c.Manifest, []byte(lines.String()), 0o644))
		}
		var want []string
		all := maps.Clone(links)
		for path := range model {
			all[path] = true
		}
		paths := slices.Sorted(maps.Keys(all))
		behind := paths
		if len(paths) > 0 && rapid.Bool().Draw(rt, "goes on") {
			c.State, c.Seen = filepath.Join(dir, "state"), entry.SeenBackfill
			at := rapid.IntRange(0, len(paths)-1).Draw(rt, "after")
			behind = paths[at+1:]
			trees, err := open(c)
			w.must(err)
			j, err := openJournal(c.State, trees.key(c))
			w.must(err)
			j.last, j.dirty = paths[at], true
			w.must(j.write())
		}
		for _, path := range behind {
			copies := model[path]
			_, err := submit.Classify(path)
			switch {
			case len(copies) == 0:
			case errors.Is(err, submit.ErrNever):
				want = append(want, "never "+path)
			case err != nil:
				want = append(want, "unloggable "+path)
			case slices.ContainsFunc(copies, func(c Copy) bool { return c.SHA256 != copies[0].SHA256 }):
				want = append(want, "disagreeing "+path)
			default:
				want = append(want, fmt.Sprintf("logged %s %s", path, copies[0].SHA256))
			}
			if links[path] {
				want = append(want, "special "+path)
			}
		}
		outcomes, _ := w.run(c)
		var got []string
		for _, o := range outcomes {
			s := fmt.Sprintf("%s %s", o.Word, o.Path)
			if o.Word == Logged {
				s += " " + o.SHA256.String()
			}
			got = append(got, s)
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("got\n%q, want\n%q", got, want)
		}
		if !slices.IsSorted(w.log.logged()) {
			rt.Fatalf("not logged in order: %q", w.log.logged())
		}
	})
}

func TestWhatBecomesOfAFile(t *testing.T) {
	path := author + "A-1.tar.gz"
	for name, tt := range map[string]struct {
		prepare func(w *world)
		want    []Word // of path, in order
		logged  int
	}{
		"of CPAN alone":        {func(w *world) { w.file(0, path, "a") }, []Word{Logged}, 1},
		"of BackPAN alone":     {func(w *world) { w.file(1, path, "a") }, []Word{Logged}, 1},
		"the same in both":     {func(w *world) { w.file(0, path, "a"); w.file(1, path, "a") }, []Word{Logged}, 1},
		"different in both":    {func(w *world) { w.file(0, path, "a"); w.file(1, path, "b") }, []Word{Disagreeing}, 0},
		"a FIFO":               {func(w *world) { w.must(syscall.Mkfifo(w.name(0, path), 0o644)) }, []Word{Special}, 0},
		"a link":               {func(w *world) { w.must(os.Symlink("/etc/passwd", w.name(0, path))) }, []Word{Special}, 0},
		"a link to the folder": {func(w *world) { w.must(os.Symlink("..", w.name(0, path))) }, []Word{Special}, 0},
		"a link and a file":    {func(w *world) { w.must(os.Symlink("x", w.name(0, path))); w.file(1, path, "a") }, []Word{Logged, Special}, 1},
		"a folder and a file":  {func(w *world) { w.must(os.MkdirAll(w.name(0, path), 0o755)); w.file(1, path, "a") }, []Word{Logged}, 1},
		"before 1970": {func(w *world) {
			w.file(0, path, "a")
			w.must(os.Chtimes(w.name(0, path), someTime, someTime.AddDate(-100, 0, 0)))
		}, []Word{Unloggable}, 0},
		"logged before with other bytes": {func(w *world) {
			w.file(0, path, "a")
			w.run(w.config())
			w.file(0, path, "b")
		}, []Word{Conflict}, 1},
		"logged before": {func(w *world) { w.file(0, path, "a"); w.run(w.config()) }, []Word{Known}, 1},
		"deleted, and still on BackPAN": {func(w *world) {
			w.file(1, path, "a")
			w.run(w.config())
			w.withdraw(entry.Delete)
		}, []Word{Deleted}, 2},
		"deleted, and on CPAN again": {func(w *world) {
			w.file(0, path, "a")
			w.run(w.config())
			w.withdraw(entry.Delete)
		}, []Word{Logged}, 3},
		"deleted, logged again, and now on BackPAN only": {func(w *world) {
			w.file(0, path, "a")
			w.run(w.config())
			w.withdraw(entry.Delete)
			w.run(w.config())
			w.must(os.Rename(w.name(0, path), w.name(1, path)))
		}, []Word{Known}, 3},
		"deleted, and on BackPAN with other bytes": {func(w *world) {
			w.file(1, path, "a")
			w.run(w.config())
			w.withdraw(entry.Delete)
			w.file(1, path, "b")
		}, []Word{Conflict}, 2},
		"voided": {func(w *world) {
			w.file(0, path, "a")
			w.run(w.config())
			w.withdraw(entry.Void)
		}, []Word{Voided}, 2},
		"voided, and now with other bytes": {func(w *world) {
			w.file(0, path, "a")
			w.run(w.config())
			w.withdraw(entry.Void)
			w.file(0, path, "b")
		}, []Word{Logged}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			tt.prepare(w)
			outcomes, summary := w.run(w.config())
			var got []Word
			for _, o := range outcomes {
				got = append(got, o.Word)
				if o.Path != path {
					t.Errorf("an outcome of %s", o.Path)
				}
				fine := o.Word == Logged || o.Word == Known || o.Word == Deleted
				if (o.Err == nil) != fine {
					t.Errorf("%s: the reason is %v", o.Word, o.Err)
				}
				if summary.Counts[o.Word] != 1 {
					t.Errorf("counted %v", summary.Counts)
				}
				if o.Word == Conflict && o.Logged != digestOf("a").String() {
					t.Errorf("the logged digest is %q", o.Logged)
				}
				if o.Word == Disagreeing && len(o.Copies) != 2 {
					t.Errorf("the copies are %v", o.Copies)
				}
			}
			if !slices.Equal(got, tt.want) || len(w.log.entries) != tt.logged {
				t.Errorf("%v and %d entries, want %v and %d", got, len(w.log.entries), tt.want, tt.logged)
			}
		})
	}
}

// withdraw appends what takes back the last entry.
func (w *world) withdraw(kind entry.Kind) {
	last := *w.log.entries[len(w.log.entries)-1]
	last.Kind, last.Size, last.Index = kind, 0, uint64(len(w.log.entries)-1)
	if kind == entry.Void {
		last.By, last.Seen = "", ""
	}
	w.log.append(&last)
}

// What is logged is what the files say, and nothing that nobody knows.
func TestEntries(t *testing.T) {
	w := newWorld(t, 1)
	w.file(0, author+"A-1.tar.gz", "content")
	w.run(w.config())
	want := entry.Entry{Kind: entry.Upload, Path: author + "A-1.tar.gz", SHA256: digestOf("content"), Size: 7,
		Time: entry.TimeOf(someTime), By: "-", Seen: entry.SeenBackfill}
	if got := *w.log.entries[0]; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// What happened just now is left to whoever saw it happen.
func TestMinAge(t *testing.T) {
	w := newWorld(t, 1)
	w.file(0, author+"Old-1.tar.gz", "old")
	w.must(os.WriteFile(w.name(0, author+"Young-1.tar.gz"), []byte("young"), 0o644))
	w.file(0, author+"Future-1.tar.gz", "future")
	later := time.Now().AddDate(1, 0, 0)
	w.must(os.Chtimes(w.name(0, author+"Future-1.tar.gz"), later, later))
	c := w.config()
	c.MinAge = time.Hour
	outcomes, _ := w.run(c)
	var got []Word
	for _, o := range outcomes {
		got = append(got, o.Word)
		if o.Err != nil {
			t.Errorf("%s: %v", o.Path, o.Err)
		}
	}
	if !slices.Equal(got, []Word{Logged, Logged, Young}) { // the future, the old one, the young one
		t.Errorf("got %v", got)
	}
	c.MinAge = 0
	if outcomes, _ := w.run(c); outcomes[2].Word != Logged {
		t.Errorf("without a limit it is %v", outcomes[2].Word)
	}
}

// The system refuses names of more than 4,095 bytes, to root as well: the folder can be read, and the file not.
func TestWhatCannotBeRead(t *testing.T) {
	w := newWorld(t, 2)
	deep := w.roots[0]
	for len(deep) < 3700 {
		deep = filepath.Join(deep, strings.Repeat("d", 100))
	}
	for rest := 3950 - len(deep); rest > 1; rest = 3950 - len(deep) {
		deep = filepath.Join(deep, strings.Repeat("d", min(rest-1, 200)))
	}
	w.roots[0] = deep
	w.must(os.MkdirAll(filepath.Join(deep, author), 0o755))
	root, err := os.OpenRoot(filepath.Join(deep, author))
	w.must(err)
	defer root.Close()
	long := strings.Repeat("x", 200) + ".tar.gz"
	w.must(root.WriteFile(long, []byte("a"), 0o644))
	w.must(root.MkdirAll(strings.Repeat("y", 200), 0o755))
	w.must(root.WriteFile(strings.Repeat("y", 200)+"/C-1.tar.gz", []byte("c"), 0o644))
	w.must(root.WriteFile("A-1.tar.gz", []byte("a"), 0o644))
	// The other root has the same, and can be read: but with what could it be compared?
	w.file(1, author+long, "a")
	w.file(1, author+strings.Repeat("y", 200)+"/C-1.tar.gz", "c")
	w.file(1, author+"Z-1.tar.gz", "z")
	c := w.config()
	c.Manifest = filepath.Join(t.TempDir(), "manifest")
	w.must(os.WriteFile(c.Manifest, fmt.Appendf(nil, "%s 1 0 %s%s/D-1.tar.gz\n", digestOf("d"), author, strings.Repeat("y", 200)), 0o644))
	outcomes, summary := w.run(c)
	var unread []string
	for _, o := range outcomes {
		if o.Word == Unreadable {
			unread = append(unread, strings.TrimPrefix(o.Path, author))
		}
	}
	want := []string{long, strings.Repeat("y", 200) + "/", strings.Repeat("y", 200) + "/D-1.tar.gz"}
	if !slices.Equal(unread, want) || summary.Counts[Logged] != 2 {
		t.Errorf("unreadable: %q, want %q; counted %v", unread, want, summary.Counts)
	}
}

func TestRootsThatAreNone(t *testing.T) {
	w := newWorld(t, 1)
	link := t.TempDir()
	w.must(os.Symlink(filepath.Join(w.roots[0], "authors"), filepath.Join(link, "authors")))
	for name, roots := range map[string][]string{
		"none":                        nil,
		"a folder without authors/id": {t.TempDir()},
		"one that is not there":       {w.roots[0], filepath.Join(w.roots[0], "nowhere")},
		"authors is a link":           {link},
	} {
		if s, err := Run(t.Context(), Config{Roots: roots, Log: w.log}); !errors.Is(err, ErrRoot) || s != nil {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}
