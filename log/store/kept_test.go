package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
)

// textOf is a text of an entry that depends on n, and is as long as others are.
func textOf(n uint64) []byte {
	return fmt.Appendf(nil, "entry %d %s", n, strings.Repeat("x", int(n%200)))
}

// ask gets an entry that may or may not be kept. It reports whether it is; another one never is what is returned.
func ask(t *testing.T, c *texts, n uint64) bool {
	t.Helper()
	got := c.get(n)
	if got != "" && got != string(textOf(n)) {
		t.Fatalf("entry %d is %.40q", n, got)
	}
	return got != ""
}

// What is kept is what was put, however often the table has gone round; the newest is there, and more than a
// few are.
func TestTextsAreTheirOwn(t *testing.T) {
	for _, tt := range []struct {
		name       string
		most, some int64
		numbers    uint64
	}{
		{"room for all, taken at once", 1 << 20, 1 << 20, 2000},
		{"room for all, taken as it is needed", 1 << 20, 0, 2000},
		{"room for some", 100 << 10, 0, 5000},
		{"room for few", 12 << 10, 12 << 10, 1000},
		{"more numbers than there are slots", 40 << 10, 20 << 10, maxIndex},
	} {
		c := newTexts(tt.most, tt.some)
		rnd := rand.New(rand.NewPCG(3, uint64(tt.most)))
		for range 20_000 {
			n := rnd.Uint64N(tt.numbers)
			if ask(t, c, n); rnd.IntN(2) == 0 {
				c.put(n, textOf(n))
				if !ask(t, c, n) {
					t.Fatalf("%s: entry %d is not there after it was put", tt.name, n)
				}
			}
		}
		for n := range uint64(2000) {
			if tt.numbers == 2000 {
				c.put(n, textOf(n))
			}
		}
		kept := 0
		for n := range min(tt.numbers, 5000) {
			if ask(t, c, n) {
				kept++
			}
		}
		if tt.numbers == 2000 && kept != 2000 {
			t.Errorf("%s: %d of %d are kept", tt.name, kept, tt.numbers)
		}
		if tt.numbers <= 5000 && int64(kept)*(200+recordHead) < tt.most/3 {
			t.Errorf("%s: only %d are kept", tt.name, kept)
		}
	}
}

// The oldest make room: of what was put in order, the last are there without a gap.
func TestTheOldestTextMakesRoom(t *testing.T) {
	c := newTexts(30<<10, 0)
	const last = 9999
	for n := range uint64(last + 1) {
		c.put(n, textOf(n))
	}
	gap := uint64(0)
	for n := uint64(last); n > 0; n-- {
		switch there := ask(t, c, n); {
		case !there && gap == 0:
			gap = n
		case there && gap >= n+2*textRings*8: // each ring goes round by itself
			t.Fatalf("%d is there, and %d is not", n, gap)
		}
	}
	if last-gap < 100 {
		t.Errorf("the last %d are there", last-gap)
	}
}

// Readers get what was put while others put, grow it and go round.
func TestTextsOfManyReaders(t *testing.T) {
	c := newTexts(64<<10, 0)
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 1))
			for range 3000 {
				n := rnd.Uint64N(600)
				if got := c.get(n); got == "" {
					c.put(n, textOf(n))
				} else if got != string(textOf(n)) {
					t.Errorf("entry %d is %.40q", n, got)
					return
				}
			}
		})
	}
	wg.Wait()
}

// Rows that share a place are never taken for each other.
func TestRows(t *testing.T) {
	rows := newRows(2 * rowsOfBlock * rowBytes)
	rowOfNumber := func(n uint64) *row {
		r := new(row)
		r.leaves[3] = tree.LeafHash(textOf(n))
		return r
	}
	var r row
	const all = 2 * rowsOfBlock
	some := []uint64{0, 1, rowsOfBlock - 1, rowsOfBlock, all - 1}
	for _, n := range some {
		if rows.get(n, &r) {
			t.Errorf("row %d is there before it was put", n)
		}
		rows.put(n, rowOfNumber(n))
	}
	for _, n := range some {
		if !rows.get(n, &r) || r != *rowOfNumber(n) {
			t.Errorf("row %d is not what was put", n)
		}
		if rows.get(n+all, &r) || rows.get(n+all<<30, &r) {
			t.Errorf("another row is taken for row %d", n)
		}
	}
	rows.put(all, rowOfNumber(all))
	if rows.get(0, &r) || !rows.get(all, &r) || r != *rowOfNumber(all) {
		t.Errorf("row %d did not displace row 0", all)
	}
}

// All nodes of a row are those of the tree over its leaves.
func TestRowHasTheNodes(t *testing.T) {
	var leaves [16]tree.Hash
	for i := range leaves {
		leaves[i] = tree.LeafHash(textOf(uint64(i)))
	}
	r, top := rowOf(&leaves)
	if want := subtree(leaves[:]); top != want {
		t.Errorf("it leads to %v, want %v", top, want)
	}
	for level := range uint(lowest) {
		for i := range uint64(16) >> level {
			if got, want := r.node(level, i), subtree(leaves[i<<level:(i+1)<<level]); got != want {
				t.Errorf("node %d of level %d is %v, want %v", i, level, got, want)
			}
		}
	}
}

// What the cache takes has the bound that was asked for, also when what it keeps is full.
func TestReadCacheIsBounded(t *testing.T) {
	if n := unsafe.Sizeof(rowBlock{}); n > rowsOfBlock*rowBytes || n < rowsOfBlock*rowBytes*99/100 {
		t.Errorf("rows take %d bytes, counted are %d", n, rowsOfBlock*rowBytes)
	}
	for _, tt := range []struct {
		bytes   int64
		entries uint64
	}{{1 << 20, 0}, {1 << 20, 1 << 63}, {24 << 20, 10_000}, {24 << 20, 100_000}, {defaultCache(0), 0}, {defaultCache(1_000_000), 1_000_000},
		{defaultCache(10_000_000), 10_000_000}, {1 << 30, 3_000_000}} {
		c := newReadCache(tt.bytes, tt.entries)
		taken, most := int64(0), int64(len(*c.rows))*int64(unsafe.Sizeof(rowBlock{}))
		for i := range c.entries {
			r := &c.entries[i]
			taken += int64(len(r.bytes) + 4*len(r.slots))
			most += int64(r.most + 4*(r.most/leastRecord))
		}
		if most > tt.bytes*101/100 || most < tt.bytes*9/10 {
			t.Errorf("%d bytes for %d entries: a full cache has %d", tt.bytes, tt.entries, most)
		}
		if want := int64(tt.entries) * packedBytes; tt.entries < 1<<40 && taken > want+2*textRings*leastRecord {
			t.Errorf("%d bytes for %d entries: %d are taken at once, want at most %d", tt.bytes, tt.entries, taken, want)
		}
	}
	// What a store takes by itself shrinks as its other tables grow, by 20 bytes an entry, and stays of use.
	for entries, want := range map[uint64]int64{0: 200 << 20, 1_000_000: 200<<20 - 20_000_000, 9_000_000: 200<<20 - 180_000_000, 10_000_000: 12 << 20, 1 << 63: 12 << 20} {
		if got := defaultCache(entries); got != want {
			t.Errorf("with %d entries: %d bytes, want %d", entries, got, want)
		}
	}
	// A million entries are all kept, and all their rows.
	c := newReadCache(defaultCache(1_000_000), 1_000_000)
	if got := uint64(len(*c.rows)) * rowsOfBlock * 16; c.room < 1_000_000 || got < 1_000_000 {
		t.Errorf("of a million entries there is room for %d, and the rows of %d", c.room, got)
	}
}

// One that is longer than what is kept is read, and read again.
func TestALongTextIsNotKept(t *testing.T) {
	c := newTexts(1<<20, 0)
	c.put(1, make([]byte, longestText+1))
	if got := c.get(1); got != "" {
		t.Errorf("%d bytes are kept", len(got))
	}
	c.put(1, []byte(strings.Repeat("x", longestText)))
	if got := c.get(1); len(got) != longestText {
		t.Errorf("%d bytes are kept of the longest", len(got))
	}
	c = newTexts(textRings*50, 0)
	c.put(1, []byte(strings.Repeat("x", 50)))
	if got := c.get(1); got != "" {
		t.Errorf("%q is kept where there is no room", got)
	}
}

// One read brings the sixteen entries of a row, where there is room for all of the log; and damage to one does
// not keep the others from being read, nor is it read itself.
func TestNeighboursAreKept(t *testing.T) {
	s, m := grown(t, 700, Options{})
	if err := flipByte(s.db, numbered(nil, 'z', 301), 20); err != nil {
		t.Fatal(err)
	}
	if wrong, err := reads["Entry"](s, m, 300, 700); wrong != "" || err != nil {
		t.Fatal(wrong, err)
	}
	for i := uint64(288); i < 304; i++ {
		if got := s.cache.entries.get(i); i != 301 && got != string(m.entries[i]) || i == 301 && got != "" {
			t.Errorf("entry %d: %.40q is kept", i, got)
		}
	}
	if got := s.cache.entries.get(304); got != "" {
		t.Errorf("entry 304: %.40q is kept", got)
	}
	if _, err := s.Entry(301, 700); !errors.Is(err, ErrDamaged) {
		t.Errorf("the damaged one: %v, want ErrDamaged", err)
	}
	// Of the last tile, which is not full, each is kept alone.
	if wrong, err := reads["Entry"](s, m, 690, 700); wrong != "" || err != nil {
		t.Fatal(wrong, err)
	}
	if s.cache.entries.get(690) == "" || s.cache.entries.get(691) != "" {
		t.Error("of the last tile, another is kept than what was read")
	}
	// And of a log that does not fit.
	s, m = grown(t, 700, Options{ReadCache: 20_000})
	if wrong, err := reads["Entry"](s, m, 300, 700); wrong != "" || err != nil {
		t.Fatal(wrong, err)
	}
	if s.cache.entries.get(300) == "" || s.cache.entries.get(301) != "" {
		t.Error("of a log that does not fit, another is kept than what was read")
	}
}

// What is packed is unpacked byte for byte: uploads of every sort, other entries, and what is none.
func TestPack(t *testing.T) {
	marshal := func(change func(*entry.Entry)) []byte {
		e := upload(1)
		change(e)
		b, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	plain := marshal(func(*entry.Entry) {})
	for name, tt := range map[string]struct {
		text  []byte
		small bool
	}{
		"an upload":              {plain, true},
		"seen by follow":         {marshal(func(e *entry.Entry) { e.Seen = entry.SeenFollow }), true},
		"seen by backfill":       {marshal(func(e *entry.Entry) { e.Seen = entry.SeenBackfill }), true},
		"entered by another":     {marshal(func(e *entry.Entry) { e.By = "ANDK" }), true},
		"entered by nobody":      {marshal(func(e *entry.Entry) { e.By = "-" }), true},
		"another's, by backfill": {marshal(func(e *entry.Entry) { e.By, e.Seen = "ANDK", entry.SeenBackfill }), true},
		"of size 0 in 1970":      {marshal(func(e *entry.Entry) { e.Size, e.Time = 0, 0 }), true},
		"of the largest numbers": {marshal(func(e *entry.Entry) { e.Size, e.Time = entry.MaxNumber, 253402300799 }), true},
		"the longest path":       {marshal(func(e *entry.Entry) { e.Path = "authors/id/E/ET/ETHER/" + strings.Repeat("x", 483) + ".tar.gz" }), true},
		"a void": {marshal(func(e *entry.Entry) {
			e.Kind, e.Size, e.By, e.Seen, e.Index = entry.Void, 0, "", "", 7
		}), false},
		"nothing":             {nil, false},
		"no entry":            {[]byte("pauselog/v1\nkind upload\npath "), false},
		"of a later version":  {[]byte("pauselog/v2\nkind upload\n"), false},
		"an upload and more":  {append(append([]byte(nil), plain...), '\n'), false},
		"an upload, cut":      {plain[:len(plain)-1], false},
		"a capital hex digit": {[]byte(strings.Replace(string(plain), "sha256 ", "sha256 A", 1)), false},
	} {
		p := pack(tt.text)
		if got := unpack(p); got != string(tt.text) {
			t.Errorf("%s: %q became %q", name, tt.text, got)
		}
		if small := len(p) < len(tt.text)-100; small != tt.small {
			t.Errorf("%s: %d bytes are packed in %d", name, len(tt.text), len(p))
		}
	}
}

func FuzzPack(f *testing.F) {
	b, err := upload(1).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(strings.Replace(string(b), "\nby ", "\nby -", 1)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		if got := unpack(pack(text)); got != string(text) {
			t.Errorf("%q became %q", text, got)
		}
	})
}
