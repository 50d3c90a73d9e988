package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
)

// looseBase64 sets a bit that padding leaves over: the same bytes, in another encoding.
func looseBase64(s string) string {
	i := strings.IndexByte(s, '=') - 1
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	return s[:i] + string(digits[strings.IndexByte(digits, s[i])^1]) + s[i+1:]
}

// bundles is what is no bundle, and what is one and proves nothing.
func (g *generator) bundles() {
	good := string(g.proven(iGood))
	head, note, _ := strings.Cut(good, "\n\n")
	lines := strings.Split(head, "\n") // header, extra, index, hashes
	extra, index, hashes := lines[1], lines[2], lines[3:]
	text := func(note string, lines ...string) string { return strings.Join(lines, "\n") + "\n\n" + note }
	with := func(at int, line string) string {
		changed := slices.Clone(lines)
		changed[at] = line
		return text(note, changed...)
	}
	h := lines[0]
	all := func(extra, index string, hashes ...string) string {
		return text(note, append([]string{h, extra, index}, hashes...)...)
	}
	for _, c := range []struct{ name, bundle string }{
		{"empty", ""},
		{"one newline", "\n"},
		{"no newline", h},
		{"the header alone", h + "\n"},
		{"the header and a blank line", h + "\n\n"},
		{"a web page", "<!DOCTYPE html>\n<title>404 Not Found</title>\n"},
		{"version 2", with(0, "c2sp.org/tlog-proof@v2")},
		{"the largest version", with(0, "c2sp.org/tlog-proof@v18446744073709551615")},
		{"a version beyond 2^64", with(0, "c2sp.org/tlog-proof@v18446744073709551616")},
		{"version 0", with(0, "c2sp.org/tlog-proof@v0")},
		{"version 01", with(0, "c2sp.org/tlog-proof@v01")},
		{"a version with a space", with(0, "c2sp.org/tlog-proof@v1 ")},
		{"a header of another case", with(0, "C2SP.org/tlog-proof@v1")},
		{"CRLF", strings.ReplaceAll(good, "\n", "\r\n")},
		{"CR after the index", with(2, index+"\r")},
		{"no extra line", text(note, append([]string{h, index}, hashes...)...)},
		{"an empty extra line", with(1, "extra ")},
		{"extra without a space", with(1, "extra")},
		{"extra twice", text(note, append([]string{h, extra, extra, index}, hashes...)...)},
		{"extra after the index", text(note, append([]string{h, index, extra}, hashes...)...)},
		{"extra that is not base64", with(1, "extra !!!!")},
		{"extra in loose base64", with(1, "extra "+looseBase64(base64.StdEncoding.EncodeToString(append(slices.Clone(g.entries[iGood]), 'x')[:len(g.entries[iGood])/3*3+1])))},
		{"extra without padding", with(1, "extra "+strings.TrimRight(base64.StdEncoding.EncodeToString(append(slices.Clone(g.entries[iGood])[:4:4], 'x', 'y', 'z')), "="))},
		{"extra with a space in it", with(1, extra[:20]+" "+extra[20:])},
		{"extra in the URL alphabet", with(1, "extra _-__")},
		{"extra of 16 KiB and a byte", with(1, "extra "+base64.StdEncoding.EncodeToString(make([]byte, 16385)))},
		{"extra of another entry", with(1, "extra "+base64.StdEncoding.EncodeToString(g.entries[iRestored]))},
		{"no index", text(note, append([]string{h, extra}, hashes...)...)},
		{"an index without digits", with(2, "index ")},
		{"an index with a leading zero", with(2, "index 0"+index[6:])},
		{"an index with a sign", with(2, "index +"+index[6:])},
		{"an index with two spaces", with(2, "index  "+index[6:])},
		{"an index with a trailing space", with(2, index+" ")},
		{"a hexadecimal index", with(2, "index 0x1")},
		{"a negative index", with(2, "index -1")},
		{"an index of 2^63", with(2, "index 9223372036854775808")},
		{"an index of 2^63-1", with(2, "index 9223372036854775807")},
		{"an index of 2^64", with(2, "index 18446744073709551616")},
		{"an index in other digits", with(2, "index ١")},
		{"an index that is the size", with(2, fmt.Sprintf("index %d", iEnd))},
		{"the next index", with(2, fmt.Sprintf("index %d", iGood+1))},
		{"a hash too many", all(extra, index, append(slices.Clone(hashes), hashes[0])...)},
		{"a hash too few", all(extra, index, hashes[:len(hashes)-1]...)},
		{"no hashes", all(extra, index)},
		{"hashes in another order", all(extra, index, append([]string{hashes[1], hashes[0]}, hashes[2:]...)...)},
		{"a hash with a bit flipped", with(3, tree.LeafHash([]byte("x")).String())},
		{"a hash of 31 bytes", with(3, base64.StdEncoding.EncodeToString(make([]byte, 31)))},
		{"a hash of 33 bytes", with(3, base64.StdEncoding.EncodeToString(make([]byte, 33)))},
		{"a hash in loose base64", with(3, looseBase64(hashes[0]))},
		{"a hash in hex", with(3, hex.EncodeToString(make([]byte, 32)))},
		{"a hash with a trailing space", with(3, hashes[0]+" ")},
		{"63 hashes", all(extra, index, slices.Repeat(hashes[:1], 63)...)},
		{"64 hashes", all(extra, index, slices.Repeat(hashes[:1], 64)...)},
		{"no blank line", head + "\n" + note},
		{"two blank lines", head + "\n\n\n" + note},
		{"no checkpoint", head + "\n\n"},
		{"cut short", good[:len(good)-1]},
		{"cut in the middle", good[:len(good)/2]},
		{"a checkpoint with a tab", head + "\n\n" + strings.Replace(note, origin, origin+"\t", 1)},
		{"a checkpoint that is not UTF-8", head + "\n\n" + note + "\xff\n"},
		{"a zero byte", good + "\x00\n"},
		{"a byte order mark", "\xef\xbb\xbf" + good},
	} {
		g.add("bundle: "+c.name, "invalid-proof", g.good(func(v *Vector) { v.Bundle = []byte(c.bundle) }))
	}
}

// A sealed checkpoint has any text and any lines.
type sealed struct {
	name, word, text string
	lines            []string
}

// checkpoints is what is no checkpoint to accept, though the log and its witnesses signed it
// where they could.
func (g *generator) checkpoints() {
	for _, c := range g.sealed() {
		word := map[string]string{"ok": "verified", "quorum": "policy"}[c.word]
		if word == "" {
			word = "invalid-proof"
		}
		bundle := g.bundleWith(iGood, iEnd, noteOf(c.text, c.lines...))
		g.add("checkpoint: "+c.name, word, g.good(func(v *Vector) { v.Bundle = bundle }))
		g.add(c.name, c.word, Vector{Kind: Note, Policy: g.policy(twoOf3), Note: []byte(noteOf(c.text, c.lines...))})
	}
}

func (g *generator) sealed() []sealed {
	text := g.text(iEnd)
	size, root := fmt.Sprint(iEnd), g.root(iEnd).String()
	t := at(signed)
	signedBy := func(text string) []string { return g.lines(text, signed, g.w...) }
	var all []sealed
	// A text that all of them signed.
	said := func(name, word, text string) { all = append(all, sealed{name, word, text, signedBy(text)}) }
	// Lines below the right text.
	lines := func(name, word string, lines ...string) { all = append(all, sealed{name, word, text, lines}) }

	said("as it should be", "ok", text)
	three := func(origin, size, root string) string { return origin + "\n" + size + "\n" + root + "\n" }
	for _, s := range []string{"0" + size, "+" + size, " " + size, size + " ", "", "-1", "9223372036854775808", "18446744073709551616", "0x10", size + ".0", "1e1", size + "\u00a0"} {
		said(fmt.Sprintf("size %q", s), "malformed", three(origin, s, root))
	}
	said("size 0 with another root", "malformed", three(origin, "0", root))
	said("root in loose base64", "malformed", three(origin, size, looseBase64(root)))
	said("root without padding", "malformed", three(origin, size, strings.TrimRight(root, "=")))
	said("root of 31 bytes", "malformed", three(origin, size, base64.StdEncoding.EncodeToString(make([]byte, 31))))
	said("root of 33 bytes", "malformed", three(origin, size, base64.StdEncoding.EncodeToString(make([]byte, 33))))
	said("no root", "malformed", origin+"\n"+size+"\n")
	said("a root with a space", "malformed", three(origin, size, root+" "))
	said("an empty origin", "malformed", three("", size, root))
	said("an origin with a space", "malformed", three("log.example pause", size, root))
	said("an origin with a no-break space", "malformed", three("log.example\u00a0pause", size, root))
	said("an origin with an ideographic space", "malformed", three("log.example\u3000pause", size, root))
	said("an origin with a plus", "malformed", three("log.example+pause", size, root))
	said("an origin with DEL", "malformed", three("log.example\x7f", size, root))
	said("an origin with a C1 control", "malformed", three("log.example\u0085", size, root))
	said("an origin of 256 bytes", "malformed", three(strings.Repeat("x", 256), size, root))
	said("an origin of 255 bytes", "unknown-log", three(strings.Repeat("x", 255), size, root))
	said("another origin", "unknown-log", three("log.example/other", size, root))
	said("a witness's name as origin", "unknown-log", three("w0.example", size, root))
	said("an origin of another case", "unknown-log", three("Log.example/pause", size, root))
	said("an extension line", "extension", text+"extension\n")
	said("two extension lines", "extension", text+"one\ntwo\n")
	said("an empty extension line", "malformed", text+"\n")
	said("an extension line behind an empty one", "malformed", text+"\nextension\n")
	said("an empty first line", "malformed", "\n"+text)

	ed := g.log1.line(text, 0)
	w0, w1, w2 := g.w[0].line(text, t), g.w[1].line(text, t), g.w[2].line(text, t)
	lines("two of three", "ok", ed, w0, w1)
	lines("witnesses first", "ok", w2, w1, ed)
	lines("one of three", "quorum", ed, w2)
	lines("no witness", "quorum", ed)
	lines("no log", "unknown-log", w0, w1, w2)
	lines("no lines", "malformed")
	lines("a stranger besides", "ok", ed, w0, w1, g.stranger.line(text, t))
	lines("a stranger in place of a witness", "quorum", ed, w0, g.stranger.line(text, t))
	lines("the log's line twice", "malformed", ed, w0, w1, ed)
	lines("a witness's line twice", "malformed", ed, w0, w1, w1)
	lines("a stranger's line twice", "malformed", ed, w0, w1, g.stranger.line(text, t), g.stranger.line(text, t+1))
	lines("a witness's line at two times", "malformed", ed, w0, g.w[0].line(text, t+1))
	lines("a bad line of the log", "bad-signature", flipBlob(ed, 1), w0, w1)
	lines("a bad line of a witness that is needed", "bad-signature", ed, w0, flipBlob(w1, 40))
	lines("a bad line of a witness that is not needed", "bad-signature", ed, w0, w1, flipBlob(w2, 71))
	lines("a bad line of a stranger", "ok", ed, w0, w1, flipBlob(g.stranger.line(text, t), 9))
	lines("a changed time", "bad-signature", ed, w0, setBlob(w1, 7, []byte{1}))
	lines("time 0", "bad-signature", ed, w0, g.w[1].line(text, 0))
	lines("time 1", "ok", ed, w0, g.w[1].line(text, 1))
	lines("time 2^63-1", "ok", ed, w0, g.w[1].line(text, 1<<63-1))
	lines("time 2^63", "bad-signature", ed, w0, g.w[1].line(text, 1<<63))
	lines("time 2^64-1", "bad-signature", ed, w0, g.w[1].line(text, 1<<64-1))
	for _, n := range []int{1, 8, 63, 64, 71, 73} {
		lines(fmt.Sprintf("a cosignature of %d bytes", n), "bad-signature", ed, w0, cutBlob(w1, n))
	}
	lines("a log signature of 63 bytes", "bad-signature", cutBlob(ed, 63), w0, w1)
	lines("a log signature of 65 bytes", "bad-signature", cutBlob(ed, 65), w0, w1)
	lines("a cosignature over another tree", "bad-signature", ed, w0, g.w[1].line(g.text(3), t))
	plain := must(checkpoint.ParseSignatures([]byte(w1)))[0]
	plain.Blob = must(checkpoint.ParseSignatures([]byte(g.key01(g.w[1], text))))[0].Blob
	lines("a plain signature in place of a cosignature", "bad-signature", ed, w0, plain.Line())

	relabel := func(line string, change func(*checkpoint.Signature)) string {
		s := must(checkpoint.ParseSignatures([]byte(line)))[0]
		change(&s)
		return s.Line()
	}
	lines("a witness's name with another id", "quorum", ed, w0, relabel(w1, func(s *checkpoint.Signature) { s.KeyID++ }))
	lines("a witness's id with another name", "quorum", ed, w0, relabel(w1, func(s *checkpoint.Signature) { s.Name = "w9.example" }))
	lines("the log's name with another id", "unknown-log", relabel(ed, func(s *checkpoint.Signature) { s.KeyID++ }), w0, w1)
	lines("the log's id with another name", "unknown-log", relabel(ed, func(s *checkpoint.Signature) { s.Name = "log.example/other" }), w0, w1)

	encoded := strings.TrimSuffix(w1[strings.LastIndexByte(w1, ' ')+1:], "\n")
	name := "— w1.example "
	odd := base64.StdEncoding.EncodeToString([]byte("12345")) // the shortest; it has padding
	lines("a line in loose base64", "malformed", ed, w0, w1, "— x.example "+looseBase64(odd)+"\n")
	lines("the shortest line", "ok", ed, w0, w1, "— x.example "+odd+"\n")
	lines("a line of four bytes", "malformed", ed, w0, w1, "— x.example AAAAAA==\n")
	lines("a line without bytes", "malformed", ed, w0, w1, "— x.example \n")
	lines("a line without padding", "malformed", ed, w0, w1, "— x.example "+strings.TrimRight(odd, "=")+"\n")
	lines("CR inside base64", "malformed", ed, w0, name+encoded[:8]+"\r"+encoded[8:]+"\n")
	lines("a space inside base64", "malformed", ed, w0, name+encoded[:8]+" "+encoded[8:]+"\n")
	lines("a space after base64", "malformed", ed, w0, name+encoded+" \n")
	lines("two spaces before base64", "malformed", ed, w0, name+" "+encoded+"\n")
	lines("a tab before base64", "malformed", ed, w0, "— w1.example\t"+encoded+"\n")
	lines("a hyphen for the dash", "malformed", ed, w0, "- w1.example "+encoded+"\n")
	lines("an en dash for the dash", "malformed", ed, w0, "– w1.example "+encoded+"\n")
	lines("no space after the dash", "malformed", ed, w0, "—w1.example "+encoded+"\n")
	lines("an empty name", "malformed", ed, w0, "—  "+encoded+"\n")
	lines("a name with a plus", "malformed", ed, w0, w1, "— a+b "+encoded+"\n")
	lines("a name with a no-break space", "malformed", ed, w0, w1, "— a\u00a0b "+encoded+"\n")
	lines("a name with a line separator", "malformed", ed, w0, w1, "— a\u2028b "+encoded+"\n")
	lines("a name with a zero-width space, which is none", "ok", ed, w0, w1, "— a\u200bb "+encoded+"\n")
	lines("a name with DEL", "ok", ed, w0, w1, "— a\x7fb "+encoded+"\n")
	lines("a name in Greek", "ok", ed, w0, w1, "— αβγ "+encoded+"\n")
	lines("a name that is not UTF-8", "malformed", ed, w0, w1, "— a\xc3 "+encoded+"\n")
	lines("a name with a surrogate", "malformed", ed, w0, w1, "— a\xed\xa0\x80 "+encoded+"\n")
	lines("a name with an overlong slash", "malformed", ed, w0, w1, "— a\xc0\xaf "+encoded+"\n")
	lines("a name beyond Unicode", "malformed", ed, w0, w1, "— a\xf4\x90\x80\x80 "+encoded+"\n")
	lines("the highest code point", "ok", ed, w0, w1, "— a\U0010ffff "+encoded+"\n")
	lines("a blank line among the lines", "malformed", ed, w0, "\n", w1)
	lines("text among the lines", "malformed", ed, w0, "hello\n", w1)
	lines("no newline at the end", "malformed", ed, w0, strings.TrimSuffix(w1, "\n"))
	lines("CRLF at the end", "malformed", ed, w0, strings.TrimSuffix(w1, "\n")+"\r\n")

	var strangers []string
	for i := range checkpoint.MaxSignatures {
		strangers = append(strangers, fmt.Sprintf("— x%d.example %s\n", i, odd))
	}
	lines("16 lines", "ok", append([]string{ed, w0, w1}, strangers[:13]...)...)
	lines("as many lines as allowed", "ok", append([]string{ed, w0, w1}, strangers[3:]...)...)
	lines("a line more than allowed", "malformed", append([]string{ed, w0, w1}, strangers[2:]...)...)
	return all
}

// key01 signs a text with a witness's key, without a time.
func (g *generator) key01(k key, text string) string {
	return checkpoint.Signature{Name: k.Verifier().Name(), KeyID: k.Verifier().KeyID(), Blob: signRaw(k, text)}.Line()
}

// entriesRead is what is in a log and cannot be read, or only by a later program.
func (g *generator) entriesRead() {
	good := string(g.entries[iGood])
	index := string(g.entries[iIndex])
	type c struct{ name, word, entry string }
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			panic("no " + old)
		}
		return strings.Replace(good, old, new, 1)
	}
	sum := digest(goodFile).String()
	size := fmt.Sprintf("size %d\n", len(goodFile))
	moment := "time 2026-11-22T10:00:00Z\n"
	cases := []c{
		{"version 2", "upgrade", swap("pauselog/v1", "pauselog/v2")},
		{"version 999999999999999", "upgrade", swap("pauselog/v1", "pauselog/v999999999999999")},
		{"version 1000000000000000", "invalid-proof", swap("pauselog/v1", "pauselog/v1000000000000000")},
		{"version 0", "invalid-proof", swap("pauselog/v1", "pauselog/v0")},
		{"version 01", "invalid-proof", swap("pauselog/v1", "pauselog/v01")},
		{"version 2 of another format", "invalid-proof", swap("pauselog/v1", "pauselog2/v2")},
		{"version 2 of 16 KiB", "upgrade", "pauselog/v2\n" + strings.Repeat("x", 16384-12)},
		{"an unknown kind", "upgrade", swap("kind upload", "kind sbom")},
		{"an unknown kind with digits and hyphens", "upgrade", swap("kind upload", "kind a-0")},
		{"an unknown kind of 32 letters", "upgrade", swap("kind upload", "kind "+strings.Repeat("a", 32))},
		{"an unknown kind of 33 letters", "invalid-proof", swap("kind upload", "kind "+strings.Repeat("a", 33))},
		{"a kind in capitals", "invalid-proof", swap("kind upload", "kind Upload")},
		{"a kind that begins with a digit", "invalid-proof", swap("kind upload", "kind 0a")},
		{"a kind that begins with a hyphen", "invalid-proof", swap("kind upload", "kind -a")},
		{"a kind with a space", "invalid-proof", swap("kind upload", "kind upload ")},
		{"no kind", "invalid-proof", swap("kind upload\n", "")},
		{"an empty kind", "invalid-proof", swap("kind upload", "kind ")},
		{"a kind line without an end", "invalid-proof", "pauselog/v1\nkind sbom"},
		{"one line without an end", "invalid-proof", "pauselog/v1"},
		{"one line", "invalid-proof", "pauselog/v1\n"},
		{"version 2 without an end", "invalid-proof", "pauselog/v2"},
		{"binary", "invalid-proof", "\x00\x01\x02"},
		{"a later kind of another kind's lines", "invalid-proof", swap("kind upload", "kind index")},
		{"lines of delete as upload", "invalid-proof", strings.Replace(string(g.entries[iDelete]), "kind delete", "kind upload", 1)},
		{"more at the end", "invalid-proof", good + "more\n"},
		{"a blank line at the end", "invalid-proof", good + "\n"},
		{"no newline at the end", "invalid-proof", strings.TrimSuffix(good, "\n")},
		{"CRLF", "invalid-proof", strings.ReplaceAll(good, "\n", "\r\n")},
		{"CR at the end of seen", "invalid-proof", swap("seen upload", "seen upload\r")},
		{"no path", "invalid-proof", swap("path "+goodPath+"\n", "")},
		{"path and sha256 in the other order", "invalid-proof", swap("path "+goodPath+"\nsha256 "+sum+"\n", "sha256 "+sum+"\npath "+goodPath+"\n")},
		{"path with two spaces", "invalid-proof", swap("path ", "path  ")},
		{"path with a trailing space", "invalid-proof", swap(goodPath, goodPath+" ")},
		{"a path outside authors/id", "invalid-proof", swap(goodPath, indexPath)},
		{"a path of another author", "invalid-proof", swap("E/ET/ETHER", "E/EX/ETHER")},
		{"a path with ..", "invalid-proof", swap("ETHER/Try", "ETHER/../Try")},
		{"a path that is not ASCII", "invalid-proof", swap("Try", "Trý")},
		{"a long path", "upgrade", strings.Replace(swap("Try", strings.Repeat("x", 490)), "kind upload", "kind later", 1)},
		{"a path of 513 bytes", "invalid-proof", swap(goodPath, "authors/id/E/ET/ETHER/"+strings.Repeat("x", 491))},
		{"over 1,024 bytes", "invalid-proof", swap(goodPath, "authors/id/E/ET/ETHER/"+strings.Repeat("x", 1000))},
		{"over 1,024 bytes of a later kind", "upgrade", strings.Replace(swap(goodPath, strings.Repeat("x", 2000)), "kind upload", "kind later", 1)},
		{"a digest in capitals", "invalid-proof", swap(sum, strings.ToUpper(sum))},
		{"a digest of 63 digits", "invalid-proof", swap(sum, sum[1:])},
		{"a digest of 65 digits", "invalid-proof", swap(sum, "0"+sum)},
		{"a digest with a g", "invalid-proof", swap(sum, "g"+sum[1:])},
		{"a size with a leading zero", "invalid-proof", swap("size ", "size 0")},
		{"a negative size", "invalid-proof", swap("size ", "size -")},
		{"no size", "invalid-proof", swap(size, "")},
		{"an unknown size", "invalid-proof", swap(size, "size -\n")},
		{"a size of 16 digits", "invalid-proof", swap(size, "size 1000000000000000\n")},
		{"a size of 15 digits", "mismatch", swap(size, "size 999999999999999\n")},
		{"a size of 0", "mismatch", swap(size, "size 0\n")},
		{"an id in lower case", "invalid-proof", swap("by ETHER", "by ether")},
		{"an id of one letter", "invalid-proof", swap("by ETHER", "by E")},
		{"an id of eleven letters", "invalid-proof", swap("by ETHER", "by ETHERETHERE")},
		{"an id that begins with a digit", "invalid-proof", swap("by ETHER", "by 1ETHER")},
		{"an empty id", "invalid-proof", swap("by ETHER", "by ")},
		{"an unknown id", "verified", swap("by ETHER", "by -")},
		{"another id than the path's", "verified", swap("by ETHER", "by A-2")},
		{"seen by nobody", "invalid-proof", swap("seen upload", "seen -")},
		{"seen in capitals", "invalid-proof", swap("seen upload", "seen Upload")},
		{"seen by a follower", "verified", swap("seen upload", "seen follow")},
		{"found later", "verified", swap("seen upload", "seen backfill")},
		{"a conflict of one digest", "invalid-proof", strings.Replace(string(g.entries[iConflict]), digest(otherFile).String(), sum, 1)},
		{"a void without an index", "invalid-proof", strings.Replace(string(g.entries[iVoid]), fmt.Sprintf("index %d\n", iVoided), "", 1)},
		{"an index file below a folder", "invalid-proof", strings.Replace(index, indexPath, "modules/by-module/x", 1)},
		{"an archive as an index", "invalid-proof", strings.Replace(index, indexPath, goodPath, 1)},
	}
	for _, t := range []struct{ time, word string }{
		{"2026-11-22T10:00:00", "invalid-proof"}, {"2026-11-22 10:00:00Z", "invalid-proof"}, {"2026-11-22T10:00:00z", "invalid-proof"},
		{"2026-11-22t10:00:00Z", "invalid-proof"}, {"2026-13-01T00:00:00Z", "invalid-proof"}, {"2026-00-01T00:00:00Z", "invalid-proof"},
		{"2026-02-29T00:00:00Z", "invalid-proof"}, {"2024-02-29T00:00:00Z", "verified"}, {"2100-02-29T00:00:00Z", "invalid-proof"},
		{"2000-02-29T00:00:00Z", "verified"}, {"2026-11-31T00:00:00Z", "invalid-proof"}, {"2026-11-00T00:00:00Z", "invalid-proof"},
		{"2026-11-22T24:00:00Z", "invalid-proof"}, {"2026-11-22T10:60:00Z", "invalid-proof"}, {"2026-11-22T10:00:60Z", "invalid-proof"},
		{"1969-12-31T23:59:59Z", "invalid-proof"}, {"1970-01-01T00:00:00Z", "verified"}, {"9999-12-31T23:59:59Z", "verified"},
		{"10000-01-01T00:00:0Z", "invalid-proof"}, {"2026-11-22T10:00:00.0Z", "invalid-proof"}, {"2026-11-22T9:00:00.0Z", "invalid-proof"},
		{"2026-11-22T10:00:00+00:00", "invalid-proof"}, {"-", "invalid-proof"}, {"", "invalid-proof"}, {"٢٠٢٦-11-22T10:00:00Z", "invalid-proof"},
		{" 026-11-22T10:00:00Z", "invalid-proof"}, {"2026-1-022T10:00:00Z", "invalid-proof"}, {"2026-11-22T10:00:0,Z", "invalid-proof"},
	} {
		cases = append(cases, c{fmt.Sprintf("the time %q", t.time), t.word, swap(moment, "time "+t.time+"\n")})
	}
	var entries [][]byte
	for _, c := range cases {
		entries = append(entries, []byte(c.entry))
	}
	l := newLog(entries...)
	lines := g.lines(l.text(len(entries)), signed, g.w[:2]...)
	for i, c := range cases {
		g.add("entry: "+c.name, c.word, g.good(func(v *Vector) { v.Bundle = l.bundle(i, lines...) }))
	}
}

// notes is more of what is no note, where the blank line is not where it should be.
func (g *generator) notes() {
	good := noteOf(g.text(iEnd), g.lines(g.text(iEnd), signed, g.w...)...)
	for _, c := range []struct{ name, word, note string }{
		{"empty", "malformed", ""},
		{"a newline", "malformed", "\n"},
		{"two newlines", "malformed", "\n\n"},
		{"no blank line", "malformed", strings.Replace(good, "\n\n", "\n", 1)},
		{"a blank line before all", "malformed", "\n" + good},
		{"two blank lines", "malformed", strings.Replace(good, "\n\n", "\n\n\n", 1)},
		{"text after the lines", "malformed", good + "more\n"},
		{"a blank line after the lines", "malformed", good + "\n"},
		{"a zero byte", "malformed", strings.Replace(good, origin, origin+"\x00", 1)},
		{"a byte order mark", "unknown-log", "\ufeff" + good},
		{"the signatures alone", "malformed", good[strings.Index(good, "\n\n")+1:]},
	} {
		g.add(c.name, c.word, Vector{Kind: Note, Policy: g.policy(twoOf3), Note: []byte(c.note)})
	}
}

// golden is the project's golden files, which other implementations made.
func (g *generator) golden() error {
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(g.dir, filepath.FromSlash(name)))
		if err != nil {
			g.fail("%w", err)
		}
		return b
	}
	bundle := read("log/proof/testdata/index-5-of-8.tlog-proof")
	full := read("log/checkpoint/testdata/checkpoint-full-4sigs.txt")
	logKey := "log log.example/pause+13830bfb+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c\n"
	witness := "witness w1 witness.example/w1+df1c0a35+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU\n"
	logPQ := fmt.Sprintf("log %s\n", newKey(checkpoint.MLDSA44, origin, 3).Verifier())
	witnessPQ := fmt.Sprintf("witness w1-pq %s\n", newKey(checkpoint.MLDSA44, "witness.example/w1", 4).Verifier())
	ed := []byte(logKey + witness + "quorum w1\n")
	_, small, _ := strings.Cut(string(bundle), "\n\n")

	g.add("golden: a bundle without its entry", "invalid-proof", g.good(func(v *Vector) { v.Policy, v.Bundle = ed, bundle }))
	withEntry := strings.Replace(string(bundle), "index 5", "extra "+base64.StdEncoding.EncodeToString([]byte("@ABC"))+"\nindex 5", 1)
	g.add("golden: a bundle with its entry, which is none of ours", "invalid-proof", g.good(func(v *Vector) { v.Policy, v.Bundle = ed, []byte(withEntry) }))
	g.add("golden: the small checkpoint", "ok", Vector{Kind: Note, Policy: ed, Note: []byte(small)})
	g.add("golden: the full checkpoint", "ok", Vector{Kind: Note, Policy: ed, Note: full})
	g.add("golden: the full checkpoint, all keys known", "ok", Vector{Kind: Note, Policy: []byte(logKey + logPQ + witness + witnessPQ + "group any any w1 w1-pq\nquorum any\n"), Note: full})
	g.addBoth("golden: the full checkpoint, ML-DSA keys alone", "ok", "unknown", Vector{Kind: Note, Policy: []byte(logPQ + witnessPQ + "quorum w1-pq\n"), Note: full})
	g.addBoth("golden: the full checkpoint, the witness's ML-DSA key", "ok", "unknown", Vector{Kind: Note, Policy: []byte(logKey + witnessPQ + "quorum w1-pq\n"), Note: full})
	g.add("golden: the example of C2SP signed-note is no checkpoint", "malformed", Vector{Kind: Note, Policy: ed,
		Note: []byte("This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n")})
	return g.err
}
