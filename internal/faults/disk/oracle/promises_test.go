package oracle

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestBrokenPromisesAreFound(t *testing.T) {
	w := newWriter(t, some()...)
	l, err := w.read(w.store())
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{w.verifier}
	tree := func(size int) Tree {
		r := w.root(w.entries[:size])
		return Tree{Size: uint64(size), Root: r, Note: w.sign(uint64(size), r)}
	}
	ack := func(n int) Ack { return Ack{Index: uint64(n), Entry: []byte(w.entries[n])} }
	conflict := Ack{Index: 3, Path: "authors/id/1", Other: fmt.Sprintf("%064x", 7)}
	if err := l.Keeps([]Ack{ack(0), conflict, ack(599)}, []Tree{tree(0), tree(1), tree(256), tree(256), tree(600)}, keys); err != nil {
		t.Errorf("what was kept: %v", err)
	}
	false1 := tree(300)
	false1.Note = w.sign(301, false1.Root)
	forged := tree(300)
	forged.Note = newWriter(t).sign(300, forged.Root)
	for name, tt := range map[string]struct {
		acks  []Ack
		trees []Tree
		want  error
	}{
		"an entry beyond the end":              {[]Ack{{Index: 600, Entry: []byte(upload(600))}}, nil, ErrLost},
		"another entry at its index":           {[]Ack{ack(0), {Index: 5, Entry: []byte(upload(5))}}, nil, ErrLost},
		"a conflict that is an upload":         {[]Ack{{Index: 2, Path: "authors/id/2", Other: conflict.Other}}, nil, ErrLost},
		"a conflict of another digest":         {[]Ack{{Index: 3, Path: "authors/id/1", Other: strings.Repeat("0", 64)}}, nil, ErrLost},
		"a conflict of another path":           {[]Ack{{Index: 3, Path: "authors/id/2", Other: conflict.Other}}, nil, ErrLost},
		"a tree larger than the log":           {nil, []Tree{{Size: 601}}, ErrFork},
		"a tree with another root":             {nil, []Tree{tree(1), {Size: 300, Root: [32]byte{1}, Note: w.sign(300, [32]byte{1})}}, ErrFork},
		"a note of another size":               {nil, []Tree{false1}, ErrFork},
		"a note that somebody else has signed": {nil, []Tree{forged}, ErrFork},
		"a smaller tree after a larger one":    {nil, []Tree{tree(300), tree(299)}, ErrFork},
	} {
		if err := l.Keeps(tt.acks, tt.trees, keys); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// slotOf makes a slot of a file.
func slotOf(counter int, content string) []byte {
	head := fmt.Sprintf("pauselog-head/v1 %d %d", counter, len(content))
	return fmt.Appendf(nil, "%s %x\n%s", head, sha256.Sum256([]byte(head+"\n"+content)), content)
}

// file makes a file of two slots of this size.
func file(size int, first, second []byte) []byte {
	b := make([]byte, 2*size)
	copy(b, first)
	copy(b[size:], second)
	return b
}

func TestSlots(t *testing.T) {
	torn := slotOf(9, "torn")
	torn[len(torn)-1] ^= 1
	for name, tt := range map[string]struct {
		file    []byte
		want    string
		counter uint64
	}{
		"the second is newer":        {file(512, slotOf(4, "old"), slotOf(5, "new")), "new", 5},
		"the first is newer":         {file(512, slotOf(6, "new"), slotOf(5, "old")), "new", 6},
		"the newer one is torn":      {file(512, slotOf(8, "old"), torn), "old", 8},
		"the first is zeros":         {file(512, nil, slotOf(3, "only")), "only", 3},
		"both are torn":              {file(512, torn, torn), "", 0},
		"it is empty":                {nil, "", 0},
		"it is cut within the first": {slotOf(4, "old")[:80], "", 0},
		"a length beyond the slot":   {file(512, []byte(strings.Replace(string(slotOf(4, "old")), " 4 3 ", " 4 9999 ", 1)), nil), "", 0},
		"a negative length":          {file(512, []byte(strings.Replace(string(slotOf(4, "old")), " 4 3 ", " 4 -1 ", 1)), nil), "", 0},
	} {
		content, counter, err := Slot(tt.file, 512)
		if string(content) != tt.want || counter != tt.counter || (err == nil) != (tt.counter > 0) {
			t.Errorf("%s: %q with counter %d, %v", name, content, counter, err)
		}
	}
}

func TestHeadsThatAreNotTheLogsAreFound(t *testing.T) {
	w := newWriter(t, some()[:20]...)
	l, err := w.read(w.store())
	if err != nil {
		t.Fatal(err)
	}
	head := func(size int, root [32]byte) []byte {
		return file(HeadSlot, slotOf(1, fmt.Sprintf("origin %s\nsize %d\nroot %s\nstarts 1\n", origin, size, base64.StdEncoding.EncodeToString(root[:]))), nil)
	}
	for name, tt := range map[string]struct {
		head  []byte
		exact bool
		want  error
	}{
		"exact":                    {head(20, w.root(w.entries)), true, nil},
		"behind by one":            {head(19, w.root(w.entries[:19])), false, nil},
		"behind where it must not": {head(19, w.root(w.entries[:19])), true, ErrFork},
		"ahead of the log":         {head(21, w.root(w.entries)), false, ErrFork},
		"of another history":       {head(20, [32]byte{1}), false, ErrFork},
		"without a root":           {file(HeadSlot, slotOf(1, "origin x\nsize 20\n"), nil), false, ErrFalse},
		"torn":                     {make([]byte, 2*HeadSlot), false, ErrFalse},
	} {
		if err := l.Head(tt.head, tt.exact); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}
