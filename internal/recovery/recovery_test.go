package recovery

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tile"
	"github.com/pauselog/pauselog/log/tree"
)

// Each way in which a store can be lost or damaged, and what there is to bring it back: the log then starts, goes on, and has
// everything that it ever acknowledged.
func TestRecovers(t *testing.T) {
	for name, c := range map[string]struct {
		// prepare grows the log, damages it, and returns the sources.
		prepare func(w *world) (from []string)
		change  func(w *world, c *Config)
	}{
		"an older backup laid over it, from a mirror": {prepare: func(w *world) []string {
			w.grow(300)
			b := w.backup()
			w.grow(310)
			m := w.mirror()
			w.restore(b)
			return []string{m}
		}},
		"no store at all, from a mirror": {prepare: func(w *world) []string {
			w.grow(610)
			m := w.mirror()
			w.check(os.RemoveAll(w.folder.StoreDir()))
			return []string{m}
		}},
		"no store at all, from a mirror over HTTP": {prepare: func(w *world) []string {
			w.grow(610)
			s := httptest.NewServer(http.FileServer(http.Dir(w.mirror())))
			w.Cleanup(s.Close)
			w.check(os.RemoveAll(w.folder.StoreDir()))
			return []string{s.URL}
		}},
		"no store at all, from a backup": {prepare: func(w *world) []string {
			w.grow(610)
			b := w.backup()
			w.check(os.RemoveAll(w.folder.StoreDir()))
			return []string{b}
		}},
		"a backup for the first part and a mirror with only the rest": {prepare: func(w *world) []string {
			w.grow(600)
			b := w.backup()
			w.grow(300)
			m := w.mirror()
			for _, n := range []string{"000", "001"} {
				w.check(os.Remove(filepath.Join(m, "tile", "entries", n)))
			}
			w.check(os.RemoveAll(w.folder.StoreDir()))
			return []string{b, m}
		}},
		"a tile of which a backup has one half and a mirror the other": {prepare: func(w *world) []string {
			w.grow(400)
			b := w.backup() // up to the middle of tile 1
			w.grow(300)
			m := w.mirror()
			w.check(os.Remove(filepath.Join(m, "tile", "entries", "000")))
			w.raw(w.folder.StoreDir(), func(db *pebble.DB) error { return db.DeleteRange(key('z', 0), key('z', 500), pebble.Sync) })
			w.check(os.Remove(filepath.Join(m, "tile", "entries", "001")))
			half := w.mirrorOf(w.entries, w.note())
			w.check(os.RemoveAll(filepath.Join(half, "tile", "entries", "000")))
			w.check(os.RemoveAll(filepath.Join(half, "tile", "entries", "002.p")))
			return []string{b, half, m}
		}},
		"a wrong entry, from a mirror that is behind": {prepare: func(w *world) []string {
			w.grow(600)
			m := w.mirror()
			w.grow(10)
			w.raw(w.folder.StoreDir(), set(key('z', 300), []byte("pauselog/v1\nkind upload\n")))
			return []string{m}
		}},
		"a missing entry in the newest tile, which a mirror has a part of": {prepare: func(w *world) []string {
			w.grow(600)
			m := w.mirror()
			w.grow(10)
			w.raw(w.folder.StoreDir(), set(key('z', 590), nil))
			return []string{m}
		}},
		"a missing entry in a tile that became full since the mirror's": {prepare: func(w *world) []string {
			w.grow(700)
			m := w.mirror()
			w.grow(100)
			w.raw(w.folder.StoreDir(), set(key('z', 690), nil))
			return []string{m}
		}},
		"the same without its tile": {prepare: func(w *world) []string {
			w.grow(700)
			m := w.mirror()
			w.grow(100)
			w.raw(w.folder.StoreDir(), set(key('z', 690), nil))
			w.raw(w.folder.StoreDir(), set(key('t', 2), nil))
			return []string{m}
		}},
		"wrong leaf hashes, from its own entries": {prepare: func(w *world) []string {
			w.grow(610)
			w.raw(w.folder.StoreDir(), set(key('t', 1), make([]byte, 256*32)))
			return nil
		}},
		"a missing tile and a wrong key tile, from its own entries": {prepare: func(w *world) []string {
			w.grow(610)
			w.raw(w.folder.StoreDir(), set(key('t', 0), nil))
			w.raw(w.folder.StoreDir(), set(key('k', 1), make([]byte, 256*8)))
			return nil
		}},
		"a lost v key, from its own entries": {prepare: func(w *world) []string {
			w.grow(610)
			w.raw(w.folder.StoreDir(), set(key('v', 599), nil))
			return nil
		}},
		"no state, with a checkpoint from elsewhere": {
			prepare: func(w *world) []string {
				w.grow(610)
				w.put(filepath.Join(w.folder.Dir, "note"), w.note())
				w.raw(w.folder.StoreDir(), set([]byte{'c'}, nil))
				return nil
			},
			change: func(w *world, c *Config) {
				b, err := os.ReadFile(filepath.Join(w.folder.Dir, "note"))
				w.check(err)
				c.Checkpoints = append(c.Checkpoints, b)
			},
		},
		"flipped bytes in all of its tables, from a mirror": {prepare: func(w *world) []string {
			w.grow(2000)
			w.grow(1) // opening writes the tables
			m := w.mirror()
			w.flipTables(w.folder.StoreDir())
			return []string{m}
		}},
		"a store that Pebble does not open": {prepare: func(w *world) []string {
			w.grow(610)
			m := w.mirror()
			names, err := filepath.Glob(filepath.Join(w.folder.StoreDir(), "log", "MANIFEST-*"))
			w.check(err)
			for _, name := range names {
				w.check(os.Truncate(name, 10))
			}
			return []string{m}
		}},
		"a commit that had not come to the head file, from a backup": {prepare: func(w *world) []string {
			w.grow(300)
			h := w.backupHead()
			w.grow(10) // in one commit
			b := w.backup()
			w.restoreHead(h) // nobody was told of the commit, and it stands
			w.check(os.Remove(w.folder.StartsFile()))
			w.check(os.RemoveAll(w.folder.StoreDir()))
			return []string{b}
		}},
		"an empty log": {prepare: func(w *world) []string {
			m := w.mirror()
			w.check(os.RemoveAll(w.folder.StoreDir()))
			return []string{m}
		}},
		"a lying source before an honest one": {prepare: func(w *world) []string {
			w.grow(610)
			m, liar := w.mirror(), w.mirror()
			flip(w.T, filepath.Join(liar, "tile", "entries", "001"), 2)
			w.check(os.Remove(filepath.Join(liar, "tile", "entries", "000")))
			w.check(os.RemoveAll(w.folder.StoreDir()))
			return []string{liar, m}
		}},
		"another log's mirror before its own": {prepare: func(w *world) []string {
			w.grow(610)
			m := w.mirror()
			other := newWorld(w.T)
			other.grow(800)
			w.check(os.RemoveAll(w.folder.StoreDir()))
			return []string{other.mirror(), m}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			from := c.prepare(w)
			var change func(*Config)
			if c.change != nil {
				change = func(x *Config) { c.change(w, x) }
			}
			_, statErr := os.Stat(w.folder.StoreDir())
			r, err := w.recover(change, from...)
			if err != nil {
				t.Fatalf("%v\n%+v", err, r)
			}
			if !r.Recovered || r.Size != uint64(len(w.entries)) {
				t.Errorf("%+v, %d entries", r, len(w.entries))
			}
			if statErr == nil {
				if _, err := os.Stat(r.Kept); err != nil || filepath.Dir(r.Kept) != w.folder.Dir {
					t.Errorf("the old store is not at %q: %v", r.Kept, err)
				}
			}
			w.sound()
			// And again there is nothing to do.
			if r, err := w.recover(nil, from[:0]...); err != nil || !r.Sound || r.Recovered {
				t.Errorf("the second time: %+v, %v", r, err)
			}
		})
	}
}

// When not everything can be had, it says what is missing, and nothing was changed.
func TestSaysWhatIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(w *world) (from []string)
		is      error
		texts   []string
		missing string
	}{
		"the head ahead of all sources": {func(w *world) []string {
			w.grow(600)
			b, m := w.backup(), w.mirror()
			w.grow(10)
			w.restore(b)
			return []string{m}
		}, ErrMissing, []string{"size 610 was signed", "is of size 600", "entries 600 to 609"}, "[entries 600 to 609]"},
		"no sources": {func(w *world) []string {
			w.grow(20)
			w.check(os.RemoveAll(w.folder.StoreDir()))
			return nil
		}, ErrMissing, []string{"entries 0 to 19"}, "[entries 0 to 19]"},
		"a truncated source": {func(w *world) []string {
			w.grow(900)
			m := w.mirror()
			w.check(os.RemoveAll(w.folder.StoreDir()))
			for _, n := range []string{"001", "002"} {
				w.check(os.Remove(filepath.Join(m, "tile", "entries", n)))
			}
			return []string{m}
		}, ErrMissing, []string{"512 entries", "256 to 767"}, "[entries 256 to 767]"},
		"a source that ends in the middle of a file": {func(w *world) []string {
			w.grow(900)
			m := w.mirror()
			w.check(os.RemoveAll(w.folder.StoreDir()))
			w.check(os.Truncate(filepath.Join(m, "tile", "entries", "002"), 1000))
			return []string{m}
		}, ErrMissing, []string{"512 to 767"}, "[entries 512 to 767]"},
		"one damaged entry, and no source": {func(w *world) []string {
			w.grow(900)
			w.raw(w.folder.StoreDir(), set(key('z', 300), nil))
			w.raw(w.folder.StoreDir(), set(key('z', 899), nil))
			w.raw(w.folder.StoreDir(), set(key('z', 300), []byte("x")))
			return nil
		}, ErrMissing, nil, ""},
		"one damaged entry of a full tile, and no source": {func(w *world) []string {
			w.grow(900)
			w.raw(w.folder.StoreDir(), set(key('z', 300), nil))
			return nil
		}, ErrMissing, []string{"has 1 entries", "entry 300"}, "[entry 300]"},
		"a source whose entry is another one": {func(w *world) []string {
			w.grow(900)
			m := w.mirror()
			w.check(os.RemoveAll(w.folder.StoreDir()))
			flip(w.T, filepath.Join(m, "tile", "entries", "001"), 2)
			return []string{m}
		}, ErrMissing, nil, ""},
		"a source whose tile is another one": {func(w *world) []string {
			w.grow(900)
			m := w.mirror()
			w.check(os.RemoveAll(w.folder.StoreDir()))
			flip(w.T, filepath.Join(m, "tile", "1", "000.p", "3"), 2)
			return []string{m}
		}, ErrMissing, nil, ""},
		"a source whose signature is wrong": {func(w *world) []string {
			w.grow(300)
			m := w.mirrorOf(w.entries, bytes.Replace(w.note(), []byte("\n300\n"), []byte("\n299\n"), 1))
			w.check(os.RemoveAll(w.folder.StoreDir()))
			return []string{m}
		}, ErrMissing, nil, "[entries 0 to 299]"},
		"another log's source": {func(w *world) []string {
			w.grow(300)
			other := newWorld(w.T)
			other.grow(300)
			w.check(os.RemoveAll(w.folder.StoreDir()))
			return []string{other.mirror()}
		}, ErrMissing, nil, "[entries 0 to 299]"},
		"a source that goes on from a fork, signed with this log's key": {func(w *world) []string {
			w.grow(300)
			good, b := w.mirror(), w.backup()
			other := append(append([][]byte{}, w.entries[:200]...), w.entries[210:250]...)
			fork := w.mirrorOf(other, w.forged(240, rootOfEntries(w.T, other)))
			w.grow(300)
			m := w.mirror()
			w.restore(b)
			return []string{m, fork, good}
		}, ErrFork, []string{"the first 240 entries have root", "KEYS.md"}, ""},
		"a fork of the head's size": {func(w *world) []string {
			w.grow(300)
			other := append(append([][]byte{}, w.entries[:299]...), w.entries[0])
			fork := w.mirrorOf(other, w.forged(300, rootOfEntries(w.T, other)))
			w.check(os.RemoveAll(w.folder.StoreDir()))
			return []string{fork}
		}, ErrFork, []string{"size 300 has root", "the head file says"}, ""},
		"a head file that is older than a mirror": {func(w *world) []string {
			w.grow(300)
			b, h := w.backup(), w.backupHead()
			w.grow(5)
			m := w.mirror()
			w.restore(b)
			w.restoreHead(h)
			w.check(os.Remove(w.folder.StartsFile()))
			w.raw(w.folder.StoreDir(), set(key('z', 3), nil))
			return []string{m}
		}, ErrHead, []string{"it says size 300", "a checkpoint of size 305", "put back the newest one"}, ""},
		"a head file that counts fewer starts": {func(w *world) []string {
			w.grow(300)
			h := w.backupHead()
			w.check(w.running(func(*store.Store, *sequencerT) {}))
			w.check(w.running(func(*store.Store, *sequencerT) {}))
			w.restoreHead(h)
			return nil
		}, ErrHead, []string{"counts 1 starts of the log, the data folder 3"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			from := c.prepare(w)
			before := w.files()
			r, err := w.recover(nil, from...)
			w.unchanged(before, err, c.is, c.texts...)
			if c.missing != "" && fmt.Sprint(r.Missing) != c.missing {
				t.Errorf("missing: %v, want %s", r.Missing, c.missing)
			}
		})
	}
}

// A crash at each step leaves something from which the next run goes on.
func TestCrashAtEachStep(t *testing.T) {
	crash := errors.New("crash")
	var steps []string
	prepare := func(t *testing.T) (*world, string) {
		w := newWorld(t)
		w.grow(300)
		b := w.backup()
		w.grow(310)
		m := w.mirror()
		w.restore(b)
		return w, m
	}
	w, m := prepare(t)
	if _, err := w.recover(func(c *Config) { c.before = func(s string) error { steps = append(steps, s); return nil } }, m); err != nil {
		t.Fatal(err)
	}
	if len(steps) < 4 {
		t.Fatalf("steps: %v", steps)
	}
	for _, at := range steps {
		t.Run(at, func(t *testing.T) {
			w, m := prepare(t)
			_, err := w.recover(func(c *Config) {
				c.before = func(s string) error {
					if s == at {
						return crash
					}
					return nil
				}
			}, m)
			if !errors.Is(err, crash) {
				t.Fatal(err)
			}
			if r, err := w.recover(nil, m); err != nil || !r.Recovered && !r.Sound {
				t.Fatalf("%+v, %v", r, err)
			}
			w.sound()
		})
	}
}

// Where names cannot be exchanged at once, a crash leaves both stores and none in place.
func TestCrashBetweenTwoRenames(t *testing.T) {
	w := newWorld(t)
	w.grow(610)
	w.check(os.Rename(w.folder.StoreDir(), w.folder.StoreDir()+".20261122T100000Z"))
	r, err := w.recover(nil)
	if err != nil || !r.Recovered {
		t.Fatalf("%+v, %v", r, err)
	}
	w.sound()
}

// Without a head file nothing is recovered, unless the witnesses know more.
func TestWithoutAHead(t *testing.T) {
	w := newWorld(t)
	w.grow(610)
	m := w.mirror()
	w.check(os.RemoveAll(w.folder.StoreDir()))
	before := w.files()
	_, err := w.recover(func(c *Config) { c.Head = nil }, m)
	w.unchanged(before, err, ErrHead, "no witnesses", w.folder.Head)
	r, err := w.recover(func(c *Config) { c.Head, c.Witnessed = nil, true }, m)
	if err != nil || !r.Recovered || r.Size != 610 {
		t.Fatalf("%+v, %v", r, err)
	}
	w.sound()
}

// What was wrong with each source is in the report.
func TestReportsSources(t *testing.T) {
	w := newWorld(t)
	w.grow(300)
	b := w.backup()
	w.grow(310)
	m, liar := w.mirror(), w.mirror()
	e := filepath.Join(liar, "tile", "entries", "001")
	data, err := os.ReadFile(e)
	w.check(err)
	entries, err := tile.Entries(data, tile.Width)
	w.check(err)
	entries[300-256][len(entries[300-256])-2] ^= 1
	w.put(e, data)
	w.restore(b)
	r, err := w.recover(nil, liar, m)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range r.Sources {
		got = append(got, fmt.Sprintf("%d proven=%v used=%d bad=%v", s.Size, s.Proven, s.Used, s.Bad))
	}
	want := "300 proven=true used=256 bad=[]; 610 proven=true used=98 bad=[entry 300]; 610 proven=true used=256 bad=[]"
	if s := strings.Join(got, "; "); s != want {
		t.Errorf("%s\nwant %s", s, want)
	}
}

func TestOpenSources(t *testing.T) {
	w := newWorld(t)
	w.grow(3)
	dir := w.TempDir()
	file := filepath.Join(dir, "file")
	w.put(file, nil)
	for name, ok := range map[string]bool{
		w.mirror(): true, w.backup(): true, w.folder.StoreDir(): true, w.folder.Dir: true, "https://log.example/": true,
		dir: false, file: false, filepath.Join(dir, "none"): false, "https://": false, "http://user@log.example/": false,
	} {
		s, err := Open(name, "test")
		if (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			s.Close()
		}
	}
}

func TestRangesAreShort(t *testing.T) {
	var rs []Range
	for i := range uint64(20) {
		rs = append(rs, Range{10 * i, 10*i + 2})
	}
	if s := ranges(rs); !strings.HasPrefix(s, "0 to 1, 10 to 11, ") || !strings.HasSuffix(s, "70 to 71, and 12 more") {
		t.Error(s)
	}
	if s := (&tiles{full: []tree.Hash{{}}}); s.size() != 256 {
		t.Error(s.size())
	}
}
