package prooftree

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/entry"
)

func TestShardNames(t *testing.T) {
	for shard := range 256 {
		name := ShardName(byte(shard))
		if name != fmt.Sprintf("paths/%02x", shard) {
			t.Errorf("shard %d is named %s", shard, name)
		}
		if got, ok := ParseShardName(name); !ok || int(got) != shard {
			t.Errorf("%s is shard %d, %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "paths/", "paths/0", "paths/000", "paths/0A", "paths/FF", "paths/0x", "paths/-1", "paths/+1", "paths/1_", "paths/ 1",
		"/paths/00", "paths//00", "paths/00/", "path/00", "paths/\u0660\u0660", "tile/00"} {
		if n, ok := ParseShardName(name); ok {
			t.Errorf("%q is shard %d", name, n)
		}
	}
}

// sha256sum says so.
func TestShardOf(t *testing.T) {
	for path, want := range map[string]byte{
		"authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz": 0xfa,
		"modules/02packages.details.txt.gz":          0x37,
	} {
		if got := ShardOf(path); got != want {
			t.Errorf("%s is in %02x, want %02x", path, got, want)
		}
	}
}

// inShard returns paths of one shard, sorted.
func inShard(shard byte, n int) (paths []string) {
	for i := 0; len(paths) < n; i++ {
		if p := path(i); ShardOf(p) == shard {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}

func TestParseShard(t *testing.T) {
	p := inShard(7, 3)
	for _, tt := range []struct {
		name, text string
		want       []Line
	}{
		{"empty", "", nil},
		{"one", "0 " + p[0] + "\n", []Line{{0, p[0]}}},
		{"indexes as numbers", "9 " + p[0] + "\n10 " + p[0] + "\n", []Line{{9, p[0]}, {10, p[0]}}},
		{"paths before indexes", "9 " + p[0] + "\n3 " + p[1] + "\n", []Line{{9, p[0]}, {3, p[1]}}},
		{"the largest index", "9223372036854775806 " + p[0] + "\n", []Line{{9223372036854775806, p[0]}}},
	} {
		got, err := ParseShard(7, []byte(tt.text))
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
	for name, text := range map[string]string{
		"no newline":              "0 " + p[0],
		"an empty line":           "0 " + p[0] + "\n\n",
		"an empty line only":      "\n",
		"no index":                p[0] + "\n",
		"no path":                 "0\n",
		"an empty path":           "0 \n",
		"two spaces":              "0  " + p[0] + "\n",
		"a space in front":        " 0 " + p[0] + "\n",
		"a space behind":          "0 " + p[0] + " \n",
		"a CR":                    "0 " + p[0] + "\r\n",
		"a NUL":                   "0 " + p[0] + "\x00\n",
		"a sign":                  "+1 " + p[0] + "\n",
		"a negative index":        "-1 " + p[0] + "\n",
		"a leading zero":          "01 " + p[0] + "\n",
		"an index of 2^63-1":      "9223372036854775807 " + p[0] + "\n",
		"an index beyond 64 bits": "18446744073709551616 " + p[0] + "\n",
		"not a number":            "1e3 " + p[0] + "\n",
		"a line twice":            "1 " + p[0] + "\n1 " + p[0] + "\n",
		"indexes as text":         "10 " + p[0] + "\n9 " + p[0] + "\n",
		"paths in no order":       "1 " + p[1] + "\n2 " + p[0] + "\n",
		"a path apart":            "1 " + p[0] + "\n2 " + p[1] + "\n3 " + p[0] + "\n",
		"a path that is none":     "1 authors/id/E/ET/ETHER/../x\n",
		"another shard's path":    "1 " + inShard(8, 1)[0] + "\n",
		"too large":               strings.Repeat("x", MaxShard+1),
	} {
		if got, err := ParseShard(7, []byte(text)); !errors.Is(err, ErrInvalid) || got != nil || !strings.Contains(err.Error(), "paths/07") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestSnapshotsAreBounded(t *testing.T) {
	shard := ShardOf(packages)
	var lines []Line
	var text []byte
	for i := range MaxSnapshots + 5 {
		lines = append(lines, Line{uint64(i * 3), packages})
		text = AppendLine(text, uint64(i*3), packages)
	}
	if _, err := ParseShard(shard, text); !errors.Is(err, ErrInvalid) {
		t.Errorf("%d snapshots: %v", len(lines), err)
	}
	// The newest are kept, each once.
	got, err := ParseShard(shard, FormatShard(append(slices.Clone(lines), lines...)))
	if err != nil || !slices.Equal(got, lines[5:]) {
		t.Errorf("%v, %v", got, err)
	}
	// Of an archive, all are.
	p := inShard(7, 1)[0]
	lines = nil
	for i := range 3 * MaxSnapshots {
		lines = append(lines, Line{uint64(i), p})
	}
	if got, err := ParseShard(7, FormatShard(slices.Clone(lines))); err != nil || !slices.Equal(got, lines) {
		t.Errorf("%d of %d lines of an archive, %v", len(got), len(lines), err)
	}
}

// What FormatShard writes is read again, whatever the order in which the lines came, and the lines of each path
// are found in it.
func TestFormatShardInAnyOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	paths := inShard(7, 40)
	for range 50 {
		var lines []Line
		for range rnd.IntN(200) {
			lines = append(lines, Line{rnd.Uint64N(50), paths[rnd.IntN(len(paths))]})
		}
		a := FormatShard(slices.Clone(lines))
		rnd.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		if !bytes.Equal(a, FormatShard(slices.Clone(lines))) {
			t.Fatal("the order of the lines matters")
		}
		if _, err := ParseShard(7, a); err != nil {
			t.Fatal(err)
		}
		for _, p := range append(paths, "authors/id/A/AA/AA/a", "authors/id/Z/ZZ/ZZ/z") {
			want := map[uint64]bool{}
			for _, l := range lines {
				if l.Path == p {
					want[l.Index] = true
				}
			}
			got, err := (&shard{7, a}).ofPath(p)
			if err != nil || !slices.IsSortedFunc(got, Line.compare) {
				t.Fatalf("%s: %v, %v", p, got, err)
			}
			for _, l := range got {
				if l.Path != p || !want[l.Index] {
					t.Fatalf("%s has %v", p, l)
				}
			}
			if len(got) != len(want) {
				t.Fatalf("%s has %d lines, want %d", p, len(got), len(want))
			}
		}
	}
}

// Of a shard that is none, what it lists of a path is found, if it is in order: it is only a hint of where to look. That it
// lists nothing is not believed.
func TestDamagedShard(t *testing.T) {
	paths := inShard(7, 3)
	slices.Sort(paths)
	good := string(FormatShard([]Line{{1, paths[0]}, {2, paths[1]}, {9, paths[1]}}))
	for name, text := range map[string]string{
		"cut short":               good[:len(good)-1],
		"another's line in it":    "0 authors/id/A/AA/AA/none-of-this-shard.gz\n" + good,
		"without an index":        paths[1] + "\n" + good,
		"a line twice":            good + fmt.Sprintf("9 %s\n", paths[1]),
		"a path in two places":    fmt.Sprintf("1 %s\n", paths[1]) + good,
		"indexes that go back":    strings.Replace(good, "9 ", "1 ", 1),
		"an index with a zero":    strings.Replace(good, "9 ", "09 ", 1),
		"an index that is a word": strings.Replace(good, "9 ", "x ", 1),
	} {
		s := &shard{7, []byte(text)}
		if _, err := s.ofPath(paths[2]); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: that a path is not there is believed: %v", name, err)
		}
		if lines, err := s.ofPath(paths[1]); err != nil && !errors.Is(err, ErrInvalid) || err == nil && (lines[0].Index != 2 || len(lines) > 2) {
			t.Errorf("%s: %v, %v", name, lines, err)
		}
	}
}

func TestListedKinds(t *testing.T) {
	for kind, want := range map[entry.Kind]bool{entry.Upload: true, entry.Delete: true, entry.Void: true, entry.Index: true, entry.Conflict: false, "advisory": false} {
		if got := Listed(&entry.Entry{Kind: kind}); got != want {
			t.Errorf("a %s is listed: %v", kind, got)
		}
	}
}

func FuzzParseShard(f *testing.F) {
	p := inShard(7, 2)
	f.Add(byte(7), []byte(""))
	f.Add(byte(7), []byte("1 "+p[0]+"\n2 "+p[0]+"\n0 "+p[1]+"\n"))
	f.Add(byte(7), []byte("2 "+p[0]+"\n1 "+p[0]+"\n"))
	f.Add(byte(7), []byte("01 "+p[0]+"\n"))
	f.Add(ShardOf(packages), []byte("1 "+packages+"\n"))
	f.Fuzz(func(t *testing.T, shard byte, text []byte) {
		lines, err := ParseShard(shard, text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || lines != nil {
				t.Fatalf("%v, %v", lines, err)
			}
			return
		}
		for _, l := range lines {
			if _, err := entry.KindOf(l.Path); err != nil || ShardOf(l.Path) != shard {
				t.Fatalf("%v in shard %02x, %v", l, shard, err)
			}
		}
		if again := FormatShard(lines); !bytes.Equal(again, text) {
			t.Fatalf("%q written again is %q", text, again)
		}
	})
}
