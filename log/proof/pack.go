package proof

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/tree"
)

const (
	// PackHeader is the first line of a pack, without its newline.
	PackHeader = packName + "1"

	// PackExtension is what the name of a file with a pack ends in.
	PackExtension = ".tlog-proofs"

	// MaxProofs is how many proofs a pack has at most. CPAN has about 400,000 archives, and each
	// may have been deleted once.
	MaxProofs = 1_000_000

	// MaxPackSize is the largest pack. A proof takes 1.2 kB in a log of a million entries, so that
	// this is enough for all of CPAN, and a reader can hold it in memory.
	MaxPackSize = 1 << 30
)

const (
	packName       = "pauselog-proofs/v"
	checkpointLine = "checkpoint"
)

var (
	// ErrMalformedPack says that the text is no pack.
	ErrMalformedPack = errors.New("malformed pack of proofs")

	// ErrPackVersion says that the text is a pack of a later version: not bad, but not for this
	// program to judge.
	ErrPackVersion = errors.New("unsupported version of a pack of proofs")
)

// A Pack is many proofs that share one checkpoint: those of a lockfile or of a whole mirror, in one
// file. What ParsePack returns has a form but is not proven. Its methods may be called concurrently.
//
//	pauselog-proofs/v1
//	extra <base64 of the entry>
//	index <decimal>
//	<base64 of a hash>              none to 63 lines, the leaf's sibling first
//	                                a blank line
//	extra ...                       the next proof; the indexes increase
//	checkpoint
//	<checkpoint>                    the signed note, verbatim, to the end
//
// A section, from its extra line to its blank line, is what stands between the first line of a C2SP tlog-proof
// and the note. So the proof of entry 42 comes out of a pack as one by
//
//	awk -v want='index 42' '
//	    NR == 1          { print "c2sp.org/tlog-proof@v1"; next }
//	    note             { print; next }
//	    /^checkpoint$/   { note = 1; next }
//	    /^extra /        { extra = $0; next }
//	    /^index /        { on = $0 == want; if (on) print extra }
//	    on               { print }' FILE.tlog-proofs
//
// Every proof has its entry. Besides those that files verify by, a pack has the void and delete entries of their
// paths that were logged before the checkpoint, so that who reads it years later learns of what was revoked by then.
//
// As with a bundle there is one text for one content: for every text that ParsePack accepts, Marshal
// returns it again.
type Pack struct {
	text []byte
	// starts are where the sections begin, and behind them where the line "checkpoint" does. Offsets
	// fit into 32 bits, because MaxPackSize does.
	starts     []uint32
	checkpoint []byte

	// The sections by the path of their entries. Hashes in place of paths make this 16 bytes for each,
	// and the seed keeps whoever wrote the pack from making them collide.
	seed  maphash.Seed
	paths []packPath
}

type packPath struct {
	hash    uint64
	section uint32
}

// IsPack reports whether a text says of itself that it is a pack, of this or of a later version, by how it
// begins.
func IsPack(text []byte) bool { return bytes.HasPrefix(text, []byte(packName)) }

// ParsePack reads a pack. Its errors wrap ErrPackVersion if the text starts with the header of a later
// version, and otherwise ErrMalformedPack, and name the line. The pack keeps the text, which must not be changed any more;
// it takes 20 bytes for each proof besides.
func ParsePack(text []byte) (*Pack, error) {
	header, _, ok := bytes.Cut(text[:min(len(text), 256)], []byte("\n"))
	if !ok {
		return nil, malformedPack(1, "it has no complete line")
	}
	if string(header) != PackHeader {
		if number, ok := bytes.CutPrefix(header, []byte(packName)); ok {
			if n, err := parseDecimal(string(number)); err == nil && n > 1 {
				return nil, fmt.Errorf("%w: expected %s, found %s", ErrPackVersion, PackHeader, header)
			}
		}
		return nil, malformedPack(1, "expected %s, found %.40q", PackHeader, header)
	}
	if len(text) > MaxPackSize {
		return nil, malformedPack(1, "it has %d bytes, at most %d are allowed", len(text), MaxPackSize)
	}
	r := packReader{text: text, at: len(header) + 1, line: 1}
	p := &Pack{text: text, seed: maphash.MakeSeed()}
	largest := 0
	var last uint64
	for {
		start := r.at
		line, err := r.next()
		if err != nil {
			return nil, err
		}
		p.starts = append(p.starts, uint32(start))
		if string(line) == checkpointLine {
			break
		}
		if len(p.starts) > MaxProofs {
			return nil, malformedPack(r.line, "over %d proofs", MaxProofs)
		}
		raw, index, err := r.section(line)
		if err != nil {
			return nil, err
		}
		if n := len(p.starts); n > 1 && index <= last {
			return nil, malformedPack(r.line, "the proof of entry %d comes after that of entry %d", index, last)
		}
		last, largest = index, max(largest, r.at-start)
		// The entry of a later version is kept for whoever can read it, and has no path here.
		if e, err := entry.Parse(raw); err == nil {
			p.paths = append(p.paths, packPath{maphash.String(p.seed, e.Path), uint32(len(p.starts) - 1)})
		}
	}
	if p.Len() == 0 {
		return nil, malformedPack(r.line, "it has no proof")
	}
	// Each proof is a tlog-proof together with the checkpoint, and has the bounds of one.
	p.checkpoint = text[r.at:]
	if n := len(Header) + 1 + largest + len(p.checkpoint); n > MaxSize {
		return nil, malformedPack(r.line, "a proof and the checkpoint have %d bytes, at most %d are allowed", n, MaxSize)
	}
	if err := checkCheckpoint(string(p.checkpoint)); err != nil {
		return nil, malformedPack(r.line+1, "%w", err)
	}
	slices.SortFunc(p.paths, func(a, b packPath) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.section, b.section))
	})
	return p, nil
}

// A packReader reads lines, and decodes without memory of its own for each.
type packReader struct {
	text  []byte
	at    int // where the next line begins
	line  int // the number of the last line that was read, from 1 on
	entry [MaxEntry + 3]byte
	hash  [tree.HashSize + 3]byte
}

func (r *packReader) next() ([]byte, error) {
	n := bytes.IndexByte(r.text[r.at:], '\n')
	if n < 0 {
		return nil, malformedPack(r.line+1, "it ends before the line %q and the checkpoint", checkpointLine)
	}
	line := r.text[r.at : r.at+n]
	r.at += n + 1
	r.line++
	return line, nil
}

// section reads a proof up to its blank line; extra is its first line. The entry is good until the next call.
func (r *packReader) section(extra []byte) (entry []byte, index uint64, err error) {
	encoded, ok := bytes.CutPrefix(extra, []byte("extra "))
	if !ok {
		return nil, 0, malformedPack(r.line, "expected an extra line or %q, found %.40q", checkpointLine, extra)
	}
	n, ok := decodeStrict(r.entry[:], encoded)
	if !ok || n == 0 || n > MaxEntry {
		return nil, 0, malformedPack(r.line, "expected 1 to %d bytes in base64 in the extra line", MaxEntry)
	}
	line, err := r.next()
	if err != nil {
		return nil, 0, err
	}
	digits, ok := bytes.CutPrefix(line, []byte("index "))
	if !ok {
		return nil, 0, malformedPack(r.line, "expected the index line, found %.40q", line)
	}
	if index, err = parseIndex(string(digits)); err != nil {
		return nil, 0, malformedPack(r.line, "%w", err)
	}
	for hashes := 0; ; hashes++ {
		if line, err = r.next(); err != nil {
			return nil, 0, err
		}
		if len(line) == 0 {
			return r.entry[:n], index, nil
		}
		if hashes == tree.MaxProof {
			return nil, 0, malformedPack(r.line, "over %d hashes", tree.MaxProof)
		}
		if size, ok := decodeStrict(r.hash[:], line); !ok || size != tree.HashSize {
			return nil, 0, malformedPack(r.line, "expected a hash of %d bytes in base64, found %.60q", tree.HashSize, line)
		}
	}
}

var strictBase64 = base64.StdEncoding.Strict()

// decodeStrict decodes what StdEncoding writes, and nothing else, if it fits. The decoder passes over CR and LF, which
// the length tells.
func decodeStrict(to, s []byte) (n int, ok bool) {
	if base64.StdEncoding.DecodedLen(len(s)) > len(to) {
		return 0, false
	}
	n, err := strictBase64.Decode(to, s)
	return n, err == nil && base64.StdEncoding.EncodedLen(n) == len(s)
}

func malformedPack(line int, format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %w", ErrMalformedPack, line, fmt.Errorf(format, args...))
}

// Len returns how many proofs there are, at least one.
func (p *Pack) Len() int { return len(p.starts) - 1 }

// Checkpoint returns the signed note that all proofs share.
func (p *Pack) Checkpoint() []byte { return bytes.Clone(p.checkpoint) }

// Bundle returns the proof with this number, from 0 on, in the order of the entries' indexes. Its Marshal is the text of
// a tlog-proof. It does not share memory with the pack.
func (p *Pack) Bundle(i int) *Bundle {
	rest := p.text[p.starts[i]:p.starts[i+1]]
	line := func() []byte {
		l, after, _ := bytes.Cut(rest, []byte("\n"))
		rest = after
		return l
	}
	// ParsePack has read all of this, so that no error is possible.
	b := &Bundle{Checkpoint: p.Checkpoint()}
	b.Entry = p.entry(i)
	line()
	b.Index, _ = strconv.ParseUint(string(line()[len("index "):]), 10, 64)
	for l := line(); len(l) > 0; l = line() {
		var hash [tree.HashSize + 3]byte
		decodeStrict(hash[:], l)
		b.Hashes = append(b.Hashes, tree.Hash(hash[:tree.HashSize]))
	}
	return b
}

// entry returns the bytes of an entry.
func (p *Pack) entry(i int) []byte {
	line, _, _ := bytes.Cut(p.text[p.starts[i]+uint32(len("extra ")):], []byte("\n"))
	b := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	n, _ := decodeStrict(b, line)
	return b[:n]
}

// Marshal returns the pack's text, encoded anew: the same bytes that ParsePack was given.
func (p *Pack) Marshal() ([]byte, error) {
	var b bytes.Buffer
	w := NewPackWriter(&b, p.checkpoint)
	for i := range p.Len() {
		if err := w.Add(p.Bundle(i)); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Find returns the numbers of the proofs whose entries are of a path, in the order of the log. Entries of a later
// format are not among them.
func (p *Pack) Find(path string) (sections []int) {
	hash := maphash.String(p.seed, path)
	i, _ := slices.BinarySearchFunc(p.paths, hash, func(x packPath, hash uint64) int { return cmp.Compare(x.hash, hash) })
	for ; i < len(p.paths) && p.paths[i].hash == hash; i++ {
		section := int(p.paths[i].section)
		if e, err := entry.Parse(p.entry(section)); err == nil && e.Path == path {
			sections = append(sections, section)
		}
	}
	return sections
}

// A Packed is what a pack has about a file, as package verify takes it. What is not there is nil.
type Packed struct {
	Bundle   *Bundle // of the upload, or of the index entry
	Void     *Bundle // of the entry that voids the upload
	Deletion *Bundle // of a later delete entry, which is routine
}

// For returns what verifies a file at a path with a digest, or nil if there is nothing of the path. Of an
// archive that is the newest upload, whatever its digest, with the newest void and delete entries that come after it.
// Of an index file it is the newest entry of the digest, or else the newest.
func (p *Pack) For(path string, sha256 entry.Digest) *Packed {
	var upload, void, deletion, snapshot *entry.Entry
	var found Packed
	sections := p.Find(path)
	for _, i := range slices.Backward(sections) {
		b := p.Bundle(i)
		e, err := entry.Parse(b.Entry)
		if err != nil {
			continue
		}
		switch {
		case e.Kind == entry.Upload && upload == nil:
			upload, found.Bundle = e, b
		case e.Kind == entry.Void && upload == nil && void == nil:
			void, found.Void = e, b
		case e.Kind == entry.Delete && upload == nil && deletion == nil:
			deletion, found.Deletion = e, b
		case e.Kind == entry.Index && (snapshot == nil || snapshot.SHA256 != sha256 && e.SHA256 == sha256):
			snapshot, found.Bundle = e, b
		}
	}
	if found == (Packed{}) {
		return nil
	}
	return &found
}
