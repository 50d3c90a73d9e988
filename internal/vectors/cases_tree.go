package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/pauselog/pauselog/log/prooftree"
)

const (
	treeName  = "300 entries"
	manyPath  = "authors/id/M/MA/MANY/Many-%d.tar.gz"
	treeSize  = 300
	olderSize = 256 // a power of two, whose root proofs leave out
	oddSize   = 200
)

func manyFile(i int) []byte { return fmt.Appendf(nil, "the bytes of Many-%d.tar.gz", i) }

// grown is the world's log with more uploads behind it, and a fork of it whose entry 100 is another.
func (g *generator) grown() (l, fork *log) {
	entries := append([][]byte{}, g.entries...)
	for i := len(entries); i < treeSize; i++ {
		entries = append(entries, upload(fmt.Sprintf(manyPath, i), manyFile(i), time.Duration(i)*time.Second))
	}
	other := append([][]byte{}, entries...)
	other[100] = upload(fmt.Sprintf(manyPath, 100), otherFile, 0)
	return newLog(entries...), newLog(other...)
}

// trees are static proof trees in order and out of order.
func (g *generator) trees() {
	l, fork := g.grown()
	note := func(l *log, size int) Bytes {
		return Bytes(noteOf(l.text(size), g.lines(l.text(size), signed, g.w...)...))
	}
	files := l.files(treeSize, g.lines(l.text(treeSize), signed, g.w...)...)
	shard := func(path string) string { return prooftree.ShardName(prooftree.ShardOf(path)) }
	path := func(i int) string { return fmt.Sprintf(manyPath, i) }
	add := func(name, word string, change func(v *Vector)) {
		v := g.good(func(v *Vector) {
			v.Kind, v.Bundle, v.Files, v.files, v.Change = Tree, nil, treeName, files, proofTree{}
		})
		change(&v)
		g.add(name, word, v)
	}
	about := func(i int) func(v *Vector) { return func(v *Vector) { v.Path, v.File = path(i), manyFile(i) } }
	with := func(change proofTree, i int) func(v *Vector) {
		return func(v *Vector) { v.Path, v.File, v.Change = path(i), manyFile(i), change }
	}
	knowing := func(b Bytes) func(v *Vector) {
		return func(v *Vector) { about(20)(v); v.Known = []Bytes{b} }
	}
	flipped := func(name string, at int) Bytes {
		b := append(Bytes{}, files[name]...)
		b[at] ^= 1
		return b
	}

	for _, i := range []int{13, 14, 127, 128, 255, 256, 257, 299} {
		add(fmt.Sprintf("entry %d", i), "verified", about(i))
	}
	add("deleted, and logged again", "verified", func(*Vector) {})
	add("other bytes", "mismatch", func(v *Vector) { about(20)(v); v.File = otherFile })
	add("voided, and logged again", "verified", func(v *Vector) { v.Path, v.File = voidedPath, voidedFile })
	add("voided, as listed before it was logged again", "revoked", func(v *Vector) {
		v.Path, v.File = voidedPath, voidedFile
		v.Change[shard(voidedPath)] = dropped(files[shard(voidedPath)], iRelogged)
	})
	add("a void of another digest", "verified", func(v *Vector) { v.Path, v.File = otherPath, otherFile })
	add("an index", "verified", func(v *Vector) { v.Path, v.File = indexPath, otherFile })
	add("an older index", "verified", func(v *Vector) { v.Path, v.File = indexPath, indexFile })
	add("an index that is not logged", "mismatch", func(v *Vector) { v.Path, v.File = indexPath, goodFile })
	add("not listed", "unverifiable", func(v *Vector) { v.Path = unloggedOne })
	add("not listed by the log itself", "not-logged", func(v *Vector) { v.Path, v.Said = unloggedOne, true })
	add("a path that is none", "usage", func(v *Vector) { v.Path = "authors/id/x" })

	// What is missing or wrong is no proof.
	for _, c := range []struct {
		name   string
		change proofTree
		i      int
	}{
		{"no checkpoint", proofTree{"checkpoint": nil}, 20},
		{"an empty checkpoint", proofTree{"checkpoint": Bytes{}}, 20},
		{"a damaged checkpoint", proofTree{"checkpoint": flipped("checkpoint", 20)}, 20},
		{"a checkpoint of a stranger", proofTree{"checkpoint": Bytes(noteOf(l.text(treeSize), g.stranger.line(l.text(treeSize), at(signed))))}, 20},
		{"the checkpoint of another tree", proofTree{"checkpoint": note(l, treeSize-1)}, 20},
		{"no shard", proofTree{shard(path(20)): nil}, 20},
		{"no tile", proofTree{"tile/0/000": nil}, 20},
		{"a damaged tile", proofTree{"tile/0/000": flipped("tile/0/000", 5000)}, 20},
		{"a tile that is too short", proofTree{"tile/0/000": files["tile/0/000"][:8191]}, 20},
		{"a tile that is too long", proofTree{"tile/0/000": append(append(Bytes{}, files["tile/0/000"]...), 0)}, 20},
		{"a damaged partial tile", proofTree{"tile/0/001.p/44": flipped("tile/0/001.p/44", 700)}, 20},
		{"no partial tile above", proofTree{"tile/1/000.p/1": nil}, 20},
		{"no entries", proofTree{"tile/entries/001.p/44": nil}, 270},
		{"damaged entries", proofTree{"tile/entries/001.p/44": flipped("tile/entries/001.p/44", 700)}, 270},
		{"entries that end early", proofTree{"tile/entries/000": files["tile/entries/000"][:3000]}, 20},
		{"entries with more behind them", proofTree{"tile/entries/000": append(append(Bytes{}, files["tile/entries/000"]...), 0)}, 20},
		{"the entry of another path", proofTree{shard(path(20)): replaced(files[shard(path(20))], 20, 21)}, 20},
		{"an entry that is none", proofTree{shard(path(20)): Bytes("020 " + path(20) + "\n")}, 20},
		{"a shard with CRLF", proofTree{shard(path(20)): Bytes(strings.ReplaceAll(string(files[shard(path(20))]), "\n", "\r\n"))}, 20},
		{"a line twice", proofTree{shard(path(20)): append(Bytes(fmt.Sprintf("20 %s\n", path(20))), files[shard(path(20))]...)}, 20},
		{"an index of 2^63-1", proofTree{shard(path(20)): Bytes("20 " + path(20) + "\n9223372036854775807 " + path(20) + "\n")}, 20},
	} {
		// By the log itself too.
		add(c.name, "unverifiable", func(v *Vector) { with(c.change, c.i)(v); v.Said = true })
	}
	// What is out of order elsewhere in a shard does not matter to a path that is listed, and that one is not listed is not believed.
	for _, c := range []struct {
		name  string
		shard Bytes
	}{
		{"a shard without an end", append(append(Bytes{}, files[shard(path(20))]...), '1')},
		{"a path of another shard", Bytes("20 " + path(20) + "\n21 " + path(21) + "\n")},
		{"a path that is none in the shard", append(Bytes("1 !\n"), files[shard(path(20))]...)},
	} {
		add(c.name, "verified", with(proofTree{shard(path(20)): c.shard}, 20))
		add(c.name+", without the path", "unverifiable", func(v *Vector) {
			with(proofTree{shard(path(20)): dropped(c.shard, 20)}, 20)(v)
			v.Said = true
		})
	}
	add("a conflict is listed", "unverifiable", func(v *Vector) {
		v.Change[shard(goodPath)] = added(files[shard(goodPath)], iConflict, goodPath)
	})
	add("an entry of a newer format is listed", "upgrade", func(v *Vector) {
		v.Change[shard(goodPath)] = added(files[shard(goodPath)], iKind, goodPath)
	})
	add("only a deletion is listed", "unverifiable", func(v *Vector) {
		v.Change[shard(goodPath)] = Bytes(fmt.Sprintf("%d %s\n", iDelete, goodPath))
	})
	add("an entry beyond the checkpoint is listed", "verified", func(v *Vector) {
		about(20)(v)
		v.Change[shard(path(20))] = added(files[shard(path(20))], treeSize, path(20))
	})
	add("only one beyond the checkpoint is listed", "not-logged", func(v *Vector) {
		v.Said = true
		v.Change[shard(goodPath)] = Bytes(fmt.Sprintf("%d %s\n", treeSize, goodPath))
	})
	add("a quorum that is not met", "policy", func(v *Vector) {
		about(20)(v)
		v.Change["checkpoint"] = Bytes(noteOf(l.text(treeSize), g.lines(l.text(treeSize), signed, g.w[0])...))
	})

	// The source has gone on: what the older checkpoint implies is in a file with more.
	wide := append(append(Bytes{}, files["tile/0/001.p/44"]...), make([]byte, 212*32)...)
	add("the full tile in place of a partial one", "verified", with(proofTree{"tile/0/001.p/44": nil, "tile/0/001": wide}, 20))

	// What is remembered.
	add("the same remembered", "verified", knowing(files["checkpoint"]))
	add("older remembered", "verified", knowing(note(l, oddSize)))
	add("older remembered, of a full tile", "verified", knowing(note(l, olderSize)))
	add("the empty tree remembered", "verified", knowing(note(l, 0)))
	add("older, before the fork", "verified", knowing(note(fork, 64)))
	add("the same size and another root remembered", "misbehaviour", knowing(note(fork, treeSize)))
	add("an older fork remembered", "misbehaviour", knowing(note(fork, oddSize)))
	add("an older fork remembered, of a full tile", "misbehaviour", knowing(note(fork, olderSize)))
	add("an older fork remembered, one entry before", "misbehaviour", knowing(note(fork, treeSize-1)))
	add("newer remembered", "verified", func(v *Vector) {
		about(20)(v)
		v.Change, v.Known = l.files(oddSize, g.lines(l.text(oddSize), signed, g.w...)...), []Bytes{files["checkpoint"]}
	})
	add("a fork that nobody signed remembered", "verified", knowing(Bytes(noteOf(fork.text(oddSize), g.stranger.line(fork.text(oddSize), at(signed))))))
	add("a fork with a bad signature remembered", "error", knowing(Bytes(noteOf(fork.text(oddSize), g.log1.line(l.text(oddSize), 0)))))
}

// dropped is a shard without the line of an entry.
func dropped(shard Bytes, index int) Bytes {
	var b []byte
	for line := range strings.Lines(string(shard)) {
		if !strings.HasPrefix(line, fmt.Sprint(index, " ")) {
			b = append(b, line...)
		}
	}
	return b
}

func replaced(shard Bytes, index, by int) Bytes {
	return Bytes(strings.Replace("\n"+string(shard), fmt.Sprintf("\n%d ", index), fmt.Sprintf("\n%d ", by), 1)[1:])
}

// added is a shard with one more line.
func added(shard Bytes, index int, path string) Bytes {
	lines, err := prooftree.ParseShard(prooftree.ShardOf(path), shard)
	return Bytes(prooftree.FormatShard(append(must(lines, err), prooftree.Line{Index: uint64(index), Path: path})))
}

// packs are many proofs in one text.
func (g *generator) packs() {
	section := func(index int) string {
		b := string(g.proven(index))
		_, rest, _ := strings.Cut(b, "\n")
		body, _, _ := strings.Cut(rest, "\n\n")
		return body + "\n\n"
	}
	note := noteOf(g.text(iEnd), g.lines(g.text(iEnd), signed, g.w...)...)
	const head, tail = "pauselog-proofs/v1\n", "checkpoint\n"
	pack := func(indexes ...int) string {
		s := head
		for _, i := range indexes {
			s += section(i)
		}
		return s + tail + note
	}
	whole := pack(iOther, iGood, iIndex, iDelete, iRestored, iVersion2, iKind, iVoided, iVoid, iSnapshot2)
	add := func(name, word, text string, change func(v *Vector)) {
		g.add(name, word, g.good(func(v *Vector) {
			v.Kind, v.Bundle, v.Pack = Pack, nil, Bytes(text)
			if change != nil {
				change(v)
			}
		}))
	}
	of := func(path string, file []byte) func(v *Vector) { return func(v *Vector) { v.Path, v.File = path, file } }
	add("an upload", "verified", whole, nil)
	add("another upload", "verified", whole, of(otherPath, otherFile))
	add("other bytes", "mismatch", whole, of(goodPath, otherFile))
	add("voided", "revoked", whole, of(voidedPath, voidedFile))
	add("voided, and logged again", "verified", pack(iVoided, iVoid, iRelogged), of(voidedPath, voidedFile))
	add("a void alone", "revoked", pack(iVoid), of(voidedPath, voidedFile))
	add("deleted", "verified", pack(iGood, iDelete), nil)
	add("an index", "verified", whole, of(indexPath, indexFile))
	add("a newer index", "verified", whole, of(indexPath, otherFile))
	add("an index that is not logged", "mismatch", whole, of(indexPath, goodFile))
	add("not in it", "unverifiable", whole, of(unloggedOne, goodFile))
	add("a conflict alone", "unverifiable", pack(iConflict), nil)
	add("an entry of a newer format alone", "unverifiable", pack(iKind), nil)
	add("too few witnesses", "policy", strings.Replace(whole, note, noteOf(g.text(iEnd), g.log1.line(g.text(iEnd), 0)), 1), nil)
	add("another tree's checkpoint", "unverifiable", strings.Replace(whole, note, noteOf(g.text(5), g.lines(g.text(5), signed, g.w...)...), 1), nil)

	extra, rest, _ := strings.Cut(section(iGood), "\n")
	index, hashes, _ := strings.Cut(rest, "\n")
	for _, c := range []struct{ name, text string }{
		{"empty", ""}, {"the header alone", head}, {"no proof", head + tail + note}, {"no checkpoint", head + section(iGood)},
		{"the line checkpoint alone", head + section(iGood) + tail}, {"no newline at the end", strings.TrimSuffix(whole, "\n")},
		{"CRLF", strings.ReplaceAll(whole, "\n", "\r\n")}, {"a bundle", string(g.proven(iGood))}, {"version 0", strings.Replace(whole, "/v1", "/v0", 1)},
		{"version 02", strings.Replace(whole, "/v1", "/v02", 1)}, {"indexes that decrease", pack(iRestored, iGood)}, {"a proof twice", pack(iGood, iGood)},
		{"no extra line", head + index + "\n" + hashes + tail + note}, {"an empty extra line", head + "extra \n" + index + "\n" + hashes + tail + note},
		{"extra twice", head + extra + "\n" + section(iGood) + tail + note}, {"no index line", head + extra + "\n" + hashes + tail + note},
		{"an index with a zero before it", head + extra + "\nindex 01\n" + hashes + tail + note},
		{"an index beyond 2^63-1", head + extra + "\nindex 9223372036854775808\n" + hashes + tail + note},
		{"a hash that is too short", head + extra + "\n" + index + "\nAAAA\n" + hashes + tail + note},
		{"a hash with loose bits", head + extra + "\n" + index + "\n" + looseBase64(hashes[:44]) + hashes[44:] + tail + note},
		{"64 hashes", head + extra + "\n" + index + "\n" + strings.Repeat(hashes[:45], 64) + "\n" + tail + note},
		{"two blank lines", strings.Replace(whole, "\n\nextra", "\n\n\nextra", 1)}, {"no blank line", strings.Replace(whole, "\n\nextra", "\nextra", 1)},
		{"a line between", strings.Replace(whole, "\n\nextra", "\n\nx\nextra", 1)}, {"a blank line behind checkpoint", strings.Replace(whole, tail, tail+"\n", 1)},
	} {
		add(c.name, "malformed", c.text, nil)
	}
	add("63 hashes", "unverifiable", head+extra+"\n"+index+"\n"+strings.Repeat(hashes[:45], 63)+"\n"+tail+note, nil)
	add("version 2", "version", strings.Replace(whole, "/v1", "/v2", 1), nil)
	add("the largest version", "version", strings.Replace(whole, "/v1", "/v18446744073709551615", 1), nil)
	add("a version beyond 2^64", "malformed", strings.Replace(whole, "/v1", "/v18446744073709551616", 1), nil)
}
