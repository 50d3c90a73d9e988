package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

const authors = 14_000

// words are what distributions are named with.
var words = [...]string{
	"Acme", "Adapter", "Algorithm", "Async", "Backend", "Benchmark", "Business", "Catalyst", "Class", "Client",
	"Collection", "Config", "Controller", "Crypt", "DateTime", "DBIx", "Devel", "Dist", "Email", "Encode",
	"Extension", "Factory", "File", "Filter", "Format", "Framework", "Geo", "Graphics", "HTML", "HTTP",
	"Image", "Interface", "Iterator", "JSON", "Lingua", "Logger", "Manager", "Math", "Middleware", "Module",
	"Mojolicious", "MooseX", "Net", "Parser", "Plugin", "Provider", "Regexp", "Role", "Schema", "Search",
	"Serializer", "Session", "Storage", "Template", "Test", "Text", "Transport", "Types", "Validator", "WebService",
}

// upload is entry i of all that this program can make; each has a path of its own.
func upload(i uint64, at entry.Time) entry.Entry {
	digest := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
	id := pauseID(binary.BigEndian.Uint64(digest[:]) % authors)
	word := func(n int) string { return words[int(digest[8+n])%len(words)] }
	path := fmt.Sprintf("authors/id/%s/%s/%s/%s/%s-%s-%s-%s-%s-%s-%d.%06d-TRIAL.tar.gz", id[:1], id[:2], id,
		word(0), word(1), word(2), word(3), word(4), word(5), word(6), i/1_000_000, i%1_000_000)
	return entry.Entry{Kind: entry.Upload, Path: path, SHA256: digest, Size: 10_000 + i%1_000_000, Time: at, By: id, Seen: entry.SeenUpload}
}

// pauseID returns a different id for each number, of 4 to 9 letters.
func pauseID(n uint64) string {
	id := []byte{'A' + byte(n%26), 'A' + byte(n/26%26), 'A' + byte(n/676%26), 'X'}
	for i := range n % 6 {
		id = append(id, 'A'+byte((n*7+i*5)%26))
	}
	return string(id)
}

// uploads are count entries from the first on, of this moment.
func uploads(first uint64, count int) []entry.Entry {
	at := entry.TimeOf(time.Now())
	out := make([]entry.Entry, count)
	for i := range out {
		out[i] = upload(first+uint64(i), at)
	}
	return out
}

// pointers is what the sequencer takes.
func pointers(entries []entry.Entry) []*entry.Entry {
	out := make([]*entry.Entry, len(entries))
	for i := range entries {
		out[i] = &entries[i]
	}
	return out
}

// corpus is the entries that rows append to empty logs; made once, at least count.
func (b *bench) corpus(count int) []entry.Entry {
	if len(b.made) < count {
		b.made = uploads(0, count)
	}
	return b.made[:count]
}

// more are entries that no log has yet.
func (b *bench) more(count int) []entry.Entry {
	const beyond = 1 << 40 // the logs themselves have the first ones
	first := beyond + b.extra
	b.extra += uint64(count)
	return uploads(first, count)
}

// meanSize is the mean number of bytes of the entries that are made.
func meanSize() float64 {
	const sample = 1000
	total := 0
	for _, e := range uploads(0, sample) {
		b, err := e.Marshal()
		if err != nil {
			panic(err) // the code above makes no invalid ones
		}
		total += len(b)
	}
	return float64(total) / sample
}

// submissions are entries as the API takes them.
func submissions(entries []entry.Entry) []*pb.Submission {
	out := make([]*pb.Submission, len(entries))
	for i, e := range entries {
		out[i] = &pb.Submission{Kind: string(e.Kind), Path: e.Path, Sha256: e.SHA256.String(), Size: e.Size,
			Time: e.Time.String(), By: e.By, Seen: string(e.Seen)}
	}
	return out
}
