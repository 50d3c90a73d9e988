package main

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A mutator makes new cases from those that there are. One seed makes one sequence.
type mutator struct {
	*rand.Rand
	*world
	seeds map[Kind][]*Vector
	kinds []Kind
	trees map[string]proofTree
	lines []string // of everything, to splice in
}

func newMutator(seed uint64, all []*Vector) *mutator {
	m := &mutator{Rand: rand.New(rand.NewPCG(seed, 0)), world: newWorld(), seeds: make(map[Kind][]*Vector), trees: make(map[string]proofTree)}
	seen := make(map[string]bool)
	for _, v := range all {
		if hasMLDSA(v.Policy) {
			continue
		}
		kind := v.Kind
		if kind == Distribution {
			kind = Verify
		}
		m.seeds[kind] = append(m.seeds[kind], v)
		if v.Kind == Tree {
			m.trees[v.Files] = v.files
		}
		for _, text := range []Bytes{v.Bundle, v.Note, v.Policy} {
			for line := range strings.Lines(string(text)) {
				if len(line) < 300 && !seen[line] {
					seen[line] = true
					m.lines = append(m.lines, line)
				}
			}
		}
	}
	m.kinds = []Kind{Verify, Verify, Verify, Verify, Policy, Note, Note, Inclusion, Signature, Tree, Tree, Tree, Pack}
	return m
}

func pick[T any](m *mutator, from []T) T { return from[m.IntN(len(from))] }

// next makes a case.
func (m *mutator) next() *Vector {
	v := *pick(m, m.seeds[pick(m, m.kinds)])
	v.Known, v.Change = slices.Clone(v.Known), maps.Clone(v.Change)
	if v.Change == nil {
		v.Change = proofTree{}
	}
	v.Name, v.Go, v.Perl, v.Failed, v.Message = "made at random", "", "", "", ""
	if v.Kind == Distribution {
		v.Kind = Verify
	}
	switch {
	case v.Kind == Verify && m.IntN(4) == 0:
		m.entry(&v)
	case (v.Kind == Verify || v.Kind == Note) && m.IntN(5) == 0:
		m.signedText(&v)
	default:
		for range 1 + m.IntN(3) {
			m.change(&v)
		}
	}
	return &v
}

// entry has a changed entry in a log of its own, so that all up to the entry verifies.
func (m *mutator) entry(v *Vector) {
	entries := [][]byte{pick(m, m.entries), m.bytes(pick(m, m.entries)), pick(m, m.entries), pick(m, m.entries)}
	entries = entries[:2+m.IntN(3)]
	l := newLog(entries...)
	lines := m.world.lines(l.text(len(entries)), signed, m.w...)
	i := 1
	v.Bundle, v.Policy = l.bundle(i, lines...), m.policy(twoOf3)
	if j := m.IntN(len(entries)); m.IntN(2) == 0 {
		v.Revocation = l.bundle(j, lines...)
	}
	if j := m.IntN(len(entries)); m.IntN(4) == 0 {
		v.Deletion = l.bundle(j, lines...)
	}
	if m.IntN(3) == 0 {
		v.Path, v.AnyPath = "", true
	}
}

// signedText has a changed checkpoint that is signed as it is.
func (m *mutator) signedText(v *Vector) {
	l := m.log
	if m.IntN(3) == 0 {
		l = m.fork()
	}
	text := l.text(1 + m.IntN(iEnd))
	if m.IntN(2) == 0 {
		text = string(m.bytes([]byte(text)))
	}
	when := uint64(m.Int64N(1 << 40))
	if m.IntN(2) == 0 {
		when = at(signed)
	}
	note := noteOf(text, m.log1.line(text, 0), m.w[0].line(text, at(signed)), m.w[1].line(text, when))
	v.Policy = m.policy(pick(m, []string{none, oneOf3, twoOf3, allOf3, nestedOf}))
	switch {
	case v.Kind == Note:
		v.Note = Bytes(note)
	case m.IntN(2) == 0:
		v.Bundle = l.bundleWith(m.IntN(iEnd), iEnd, note)
	default:
		v.Known = append(v.Known, Bytes(note))
	}
}

// change changes one part of a case.
func (m *mutator) change(v *Vector) {
	switch v.Kind {
	case Policy:
		v.Policy = m.bytes(v.Policy)
	case Note:
		if m.IntN(4) == 0 {
			v.Policy = m.bytes(v.Policy)
			return
		}
		v.Note = m.bytes(v.Note)
	case Inclusion:
		switch m.IntN(3) {
		case 0:
			v.Size = strconv.FormatInt(m.number(), 10)
		case 1:
			v.Root = slices.Clone(v.Root)
			v.Root[m.IntN(len(v.Root))] ^= 1 << m.IntN(8)
		default:
			v.Bundle = m.bytes(v.Bundle)
		}
	case Signature:
		for _, b := range []*[]byte{&v.Public, &v.Signed, &v.Signature} {
			if m.IntN(2) == 0 && len(*b) > 0 {
				*b = slices.Clone(*b)
				(*b)[m.IntN(len(*b))] ^= 1 << m.IntN(8)
			}
		}
	case Tree:
		m.changeTree(v)
	case Pack:
		if m.IntN(4) == 0 {
			m.changeFile(v)
			return
		}
		v.Pack = m.bytes(v.Pack)
	default:
		m.changeRequest(v)
	}
}

func (m *mutator) changeRequest(v *Vector) {
	other := pick(m, m.seeds[Verify])
	switch m.IntN(12) {
	case 0, 1, 2:
		v.Bundle = m.bytes(v.Bundle)
	case 3:
		v.Policy = m.bytes(v.Policy)
	case 4:
		v.Revocation = m.bytes(v.Revocation)
	case 5:
		v.Deletion = m.bytes(v.Deletion)
	case 6:
		if len(v.Known) > 0 {
			v.Known[0] = m.bytes(v.Known[0])
		} else {
			v.Known = other.Known
		}
	case 7:
		t := m.number()
		v.Now = &t
		if m.IntN(2) == 0 {
			v.Now = other.Now
		}
		v.MaxAge, v.MaxIndexAge = m.Int64N(1<<30)*m.Int64N(2), m.Int64N(1<<30)*m.Int64N(2)
	case 8:
		v.Bundle, v.Policy = other.Bundle, pick(m, []Bytes{v.Policy, other.Policy})
	case 9:
		v.Revocation, v.Deletion, v.Known = other.Revocation, other.Deletion, other.Known
	case 10:
		v.Absence = pick(m, []string{"", "not-logged", "pending"})
		v.AnyPath = !v.AnyPath
	default:
		m.changeFile(v)
	}
}

func (m *mutator) changeFile(v *Vector) {
	other := pick(m, m.seeds[v.Kind])
	switch m.IntN(4) {
	case 0:
		// Without a path no tree is opened.
		if path := string(m.bytes([]byte(v.Path))); utf8.ValidString(path) && (path != "" || v.Kind != Tree) {
			v.Path = path
		}
	case 1:
		v.Path, v.File = other.Path, other.File
	case 2:
		v.Path = other.Path
	default:
		v.File = m.bytes(v.File)
	}
}

func (m *mutator) changeTree(v *Vector) {
	names := slices.Sorted(maps.Keys(v.files))
	names = slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, "paths/") && len(v.files[n]) == 0 })
	if m.IntN(2) == 0 {
		names = slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, "paths/") })
	}
	name := pick(m, names)
	if m.IntN(4) == 0 {
		name = fmt.Sprintf("paths/%x", sha(v.Path))
	}
	text := v.files[name]
	if b, ok := v.Change[name]; ok {
		text = b
	}
	switch m.IntN(8) {
	case 0:
		m.changeFile(v)
	case 1:
		v.Change[name] = nil
	case 2:
		v.Change[name] = v.files[pick(m, names)]
	case 3:
		if len(v.Known) > 0 {
			v.Known[0] = m.bytes(v.Known[0])
		} else {
			v.Known = pick(m, m.seeds[Tree]).Known
		}
	case 4:
		v.Said = !v.Said
	default:
		v.Change[name] = m.bytes(text)
		if v.Change[name] == nil {
			v.Change[name] = Bytes{}
		}
	}
}

func sha(path string) []byte { d := digest([]byte(path)); return d[:1] }

// number is one near a border.
func (m *mutator) number() int64 {
	n := pick(m, []int64{0, 1, 13, 256, 1 << 15, 1 << 31, 1 << 32, 1 << 53, 1 << 62, now.Unix(), 999_999_999_999_999})
	return max(0, n+m.Int64N(5)-2)
}

// bytes changes a text, without touching the one that was given.
func (m *mutator) bytes(old []byte) Bytes {
	b := slices.Clone(old)
	if len(b) == 0 {
		return Bytes(pick(m, m.lines))
	}
	i := m.IntN(len(b))
	switch m.IntN(9) {
	case 0:
		b[i] ^= 1 << m.IntN(8)
	case 1:
		b[i] = pick(m, []byte("\x00\t\n\r +-/=019AZaz~\x7f\x80\xc2\xe2\xff"))
	case 2:
		b = slices.Insert(b, i, pick(m, [][]byte{{'0'}, {' '}, {'\n'}, {'\r'}, {'='}, {'+'}, {'A'}, []byte("\xc2\xa0"), []byte("\xe2\x80\xa8"), {0xff}})...)
	case 3:
		b = slices.Delete(b, i, min(len(b), i+1+m.IntN(4)))
	case 4:
		b = b[:i]
	case 5:
		return m.numbers(b)
	default:
		return m.changeLines(b)
	}
	return b
}

// numbers changes a decimal.
func (m *mutator) numbers(b []byte) Bytes {
	isDigit := func(c byte) bool { return c >= '0' && c <= '9' }
	i := m.IntN(len(b))
	for !isDigit(b[i]) {
		if i++; i == len(b) {
			return b
		}
	}
	from, to := i, i
	for from > 0 && isDigit(b[from-1]) {
		from--
	}
	for to < len(b) && isDigit(b[to]) {
		to++
	}
	n := strconv.FormatInt(m.number(), 10)
	if small, err := strconv.ParseInt(string(b[from:to]), 10, 32); err == nil && m.IntN(2) == 0 {
		n = strconv.FormatInt(small+m.Int64N(3)-1, 10)
	}
	switch m.IntN(8) {
	case 0:
		n = "0" + n
	case 1:
		n = pick(m, []string{"9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616", "1000000000000000", "-1"})
	}
	return slices.Concat(b[:from], []byte(n), b[to:])
}

// changeLines drops, doubles, swaps and moves lines, and takes some from elsewhere.
func (m *mutator) changeLines(b []byte) Bytes {
	lines := bytes.SplitAfter(b, []byte("\n"))
	i, j := m.IntN(len(lines)), m.IntN(len(lines))
	switch m.IntN(6) {
	case 0:
		lines = slices.Delete(lines, i, i+1)
	case 1:
		lines = slices.Insert(lines, j, lines[i])
	case 2:
		lines[i], lines[j] = lines[j], lines[i]
	case 3:
		lines[i] = []byte(pick(m, m.lines))
	case 4:
		lines = slices.Insert(lines, i, []byte(pick(m, m.lines)))
	default:
		// The bits that padding leaves over, and padding that is missing or too much.
		if k := bytes.IndexByte(lines[i], '='); k > 0 {
			lines[i] = slices.Concat(lines[i][:k-1], []byte{lines[i][k-1] ^ byte(m.IntN(4))}, []byte(pick(m, []string{"", "=", "=="})), []byte("\n"))
		}
	}
	return slices.Concat(lines...)
}
