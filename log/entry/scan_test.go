package entry

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// plainly is what an entry is, written for the eye: line by line, with what the standard library has. It is what the readers
// of this package are held against.
func plainly(b []byte) (*Entry, error) {
	malformed := func(format string, args ...any) (*Entry, error) {
		return nil, fmt.Errorf("%w: "+format, slices.Concat([]any{ErrMalformed}, args)...)
	}
	upgrade := func(format string, args ...any) (*Entry, error) {
		return nil, fmt.Errorf("%w: "+format, slices.Concat([]any{ErrUpgrade}, args)...)
	}
	if len(b) > MaxUnknownSize {
		return malformed("%d bytes, expected at most %d", len(b), MaxUnknownSize)
	}
	first, rest, ok := strings.Cut(string(b), "\n")
	if !ok {
		return malformed("no line feed")
	}
	if first != Version {
		if n, ours := strings.CutPrefix(first, "pauselog/v"); ours && plainNumber(n) && n != "0" {
			return upgrade("its first line is %q, this program knows %q", clip(first), Version)
		}
		return malformed("first line %q, expected %q", clip(first), Version)
	}
	line, _, ok := strings.Cut(rest, "\n")
	kind, isKind := strings.CutPrefix(line, "kind ")
	word := kind != "" && len(kind) <= 32 && strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && strings.Trim(kind[:1], "0123456789-") != ""
	if !ok || !isKind || !word {
		return malformed("second line %q, expected a kind", clip(line))
	}
	e := &Entry{Kind: Kind(kind)}
	var names []string
	switch e.Kind {
	case Upload:
		names = []string{"size", "time", "by", "seen"}
	case Index:
		names = []string{"size", "time"}
	case Delete:
		names = []string{"time", "by", "seen"}
	case Conflict:
		names = []string{"other", "time"}
	case Void:
		names = []string{"index", "time"}
	default:
		return upgrade("kind %q is not known to this program", kind)
	}
	if len(b) > MaxSize {
		return malformed("%d bytes, expected at most %d", len(b), MaxSize)
	}
	for _, name := range append([]string{"kind", "path", "sha256"}, names...) {
		line, after, ok := strings.Cut(rest, "\n")
		value, named := strings.CutPrefix(line, name+" ")
		if !ok || !named {
			return malformed("expected a line %q, found %q", name, clip(line))
		}
		rest = after
		var err error
		switch name {
		case "path":
			e.Path = value
		case "sha256", "other":
			n, d := 0, &e.SHA256
			if name == "other" {
				d = &e.Other
			}
			for n < len(value)/2 && n < len(d) && err == nil {
				var x uint64
				x, err = strconv.ParseUint(value[2*n:2*n+2], 16, 8)
				d[n], n = byte(x), n+1
			}
			if err != nil || len(value) != 64 || strings.Trim(value, "0123456789abcdef") != "" {
				return malformed("sha256 %q is not 64 lowercase hex digits", clip(value))
			}
		case "size", "index":
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil || !plainNumber(value) {
				return malformed("%s: %q is not a decimal number of at most 15 digits", name, clip(value))
			}
			if name == "size" {
				e.Size = n
			} else {
				e.Index = n
			}
		case "time":
			at, err := time.Parse(timeLayout, value)
			if err != nil || len(value) != 20 || at.Year() < 1970 {
				return malformed("time %q is not a date from 1970 on, like 2026-11-22T10:00:00Z", clip(value))
			}
			e.Time = TimeOf(at)
		case "by":
			e.By = value
		case "seen":
			e.Seen = Seen(value)
		}
	}
	if rest != "" {
		return malformed("%d bytes after the last line of a %s entry", len(rest), e.Kind)
	}
	if why := plainPath(e.Kind, e.Path); why != "" {
		return malformed("%s", why)
	}
	if e.Kind == Upload || e.Kind == Delete {
		if e.By != "-" && !plainID(e.By) {
			return malformed("by %q is neither a PAUSE id nor -", clip(e.By))
		}
		if e.Seen != "upload" && e.Seen != "follow" && e.Seen != "backfill" {
			return malformed("seen %q is none of upload, follow, backfill", clip(string(e.Seen)))
		}
	}
	if e.Kind == Conflict && e.Other == e.SHA256 {
		return malformed("a conflict needs two digests that differ")
	}
	return e, nil
}

func plainNumber(s string) bool {
	n, err := strconv.ParseUint(s, 10, 64)
	return err == nil && n <= MaxNumber && s == strconv.FormatUint(n, 10)
}

func plainID(s string) bool {
	return len(s) >= 2 && len(s) <= 10 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == "" && strings.Trim(s[:1], "0123456789-") != ""
}

// plainPath says why a path is none of its kind, or "".
func plainPath(kind Kind, p string) string {
	if len(p) < 1 || len(p) > MaxPath {
		return fmt.Sprintf("path of %d bytes, expected 1 to %d", len(p), MaxPath)
	}
	for _, c := range []byte(p) {
		if c <= ' ' || c > '~' {
			return fmt.Sprintf("path %q has a byte %#02x, expected printable ASCII without spaces", clip(p), c)
		}
	}
	segments := strings.Split(p, "/")
	for _, s := range segments {
		if s == "" || s == "." || s == ".." {
			return fmt.Sprintf("path %q has a segment %q", clip(p), s)
		}
	}
	if kind == Index {
		if len(segments) != 2 || segments[0] != "modules" && segments[0] != "authors" {
			return fmt.Sprintf("path %q does not have the form modules/02packages.details.txt.gz", clip(p))
		}
		return ""
	}
	if plainAuthor(segments) == "" {
		return fmt.Sprintf("path %q does not have the form authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz", clip(p))
	}
	return ""
}

// plainAuthor is Author of a path's segments.
func plainAuthor(s []string) string {
	if len(s) < 6 || s[0] != "authors" || s[1] != "id" || !plainID(s[4]) || s[2] != s[4][:1] || s[3] != s[4][:2] || strings.Join(s[5:], "/") == "" {
		return ""
	}
	return s[4]
}

// checkParse holds every way to read b against plainly.
func checkParse(t interface {
	Helper()
	Fatalf(string, ...any)
}, b []byte) {
	t.Helper()
	want, why := plainly(b)
	check := func(what string, e *Entry, err error) {
		t.Helper()
		switch {
		case (err == nil) != (why == nil) || err != nil && err.Error() != why.Error():
			t.Fatalf("%s(%q): %v, want %v", what, b, err, why)
		case err != nil && (errors.Is(err, ErrMalformed) != errors.Is(why, ErrMalformed) || errors.Is(err, ErrUpgrade) != errors.Is(why, ErrUpgrade)):
			t.Fatalf("%s(%q): %v is of another kind", what, b, err)
		case err != nil:
			return
		case *e != *want:
			t.Fatalf("%s(%q) = %+v, want %+v", what, b, e, want)
		}
		if again, err := e.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%s accepts %q, which is written %q, %v", what, b, again, err)
		}
	}
	e, err := Parse(b)
	check("Parse", e, err)
	e, err = parseLines(b)
	check("parseLines", e, err)

	other := Entry{Kind: "other", By: "x", Index: 7}
	into := other
	err = ParseInto(&into, string(b))
	check("ParseInto", &into, err)
	if err != nil && into != other {
		t.Fatalf("ParseInto(%q) fails and leaves %+v", b, into)
	}
	// What is right is read in one pass: otherwise nothing is gained.
	if into = other; into.scan(string(b)) != (why == nil) {
		t.Fatalf("scan(%q) is not what is right: %v", b, why)
	}
	if why != nil {
		return
	}
	for _, last := range []*Last{nil, {Entry: want, Index: 3, Upload: 3}, {Entry: &Entry{Kind: Void, Path: want.Path}, Index: 3}} {
		if got, want := last.FollowsParsed(want), last.Follows(want); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("FollowsParsed(%q) = %v, Follows says %v", b, got, want)
		}
	}
}

// One entry, by every way to read it, as plainly as it can be said.
func FuzzParseIsPlain(f *testing.F) {
	for _, tt := range golden {
		f.Add([]byte(tt.text))
		f.Add([]byte(strings.Replace(tt.text, "path ", "path x", 1)))
		f.Add([]byte(strings.Replace(tt.text, "-", ".", 1)))
		f.Add([]byte(tt.text + "\n"))
		f.Add([]byte(tt.text[:len(tt.text)-1]))
	}
	f.Add([]byte("pauselog/v2\nanything"))
	f.Add([]byte("pauselog/v1\nkind sbom\n"))
	f.Fuzz(func(t *testing.T, b []byte) { checkParse(t, b) })
}

// drawEntry draws a valid entry of any kind, with the longest and shortest values among its fields.
func drawEntry(t *rapid.T) *Entry {
	e := &Entry{Kind: rapid.SampledFrom([]Kind{Upload, Index, Delete, Conflict, Void}).Draw(t, "kind")}
	digest := func(what string) (d Digest) {
		copy(d[:], rapid.SliceOfN(rapid.Byte(), len(d), len(d)).Draw(t, what))
		return d
	}
	number := func(what string) uint64 {
		return rapid.OneOf(rapid.Uint64Range(0, 11), rapid.Uint64Range(0, MaxNumber), rapid.Just(uint64(MaxNumber))).Draw(t, what)
	}
	id := rapid.StringMatching(`[A-Z][A-Z0-9-]{1,9}`)
	e.SHA256 = digest("sha256")
	e.Time = Time(rapid.OneOf(rapid.Int64Range(0, int64(maxTime)), rapid.SampledFrom([]int64{0, int64(maxTime), 951782400, 4107542399})).Draw(t, "time"))
	if e.Kind == Index {
		e.Path = rapid.SampledFrom([]string{"modules/", "authors/"}).Draw(t, "folder") + rapid.StringMatching(`[!-.0-~]{3,80}`).Draw(t, "name")
	} else {
		author := id.Draw(t, "author")
		e.Path = archives + author[:1] + "/" + author[:2] + "/" + author
		for range rapid.IntRange(1, 4).Draw(t, "segments") {
			e.Path += "/" + rapid.StringMatching(`[!-.0-~]{3,110}`).Draw(t, "name")
		}
	}
	switch e.Kind {
	case Upload, Index:
		e.Size = number("size")
	case Conflict:
		e.Other = digest("other")
		e.Other[31] = e.SHA256[31] ^ 1
	case Void:
		e.Index = number("index")
	}
	if e.Kind == Upload || e.Kind == Delete {
		e.By = rapid.OneOf(rapid.Just("-"), id).Draw(t, "by")
		e.Seen = rapid.SampledFrom([]Seen{SeenUpload, SeenFollow, SeenBackfill}).Draw(t, "seen")
	}
	return e
}

// Valid entries and what is nearly one are read alike by every way.
func TestParseIsPlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEntry(t)
		b, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Parse(b); err != nil || *got != *e {
			t.Fatalf("%q: %+v, %v, want %+v", b, got, err, e)
		}
		checkParse(t, b)
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			b = changed(t, b)
			checkParse(t, b)
		}
	})
}

// changed makes one small change, of the kinds that are mistaken for the original.
func changed(t *rapid.T, b []byte) []byte {
	b = slices.Clone(b)
	if len(b) == 0 {
		return b
	}
	at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
	lines := bytes.SplitAfter(b, []byte("\n"))
	line, other := rapid.IntRange(0, len(lines)-1).Draw(t, "line"), rapid.IntRange(0, len(lines)-1).Draw(t, "other")
	some := rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte("\n\r /.0-+_zZ:T~\x00\x7f\xff")))
	switch rapid.IntRange(0, 9).Draw(t, "change") {
	case 0:
		b[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
	case 1:
		b[at] = some.Draw(t, "byte")
	case 2:
		return slices.Insert(b, at, some.Draw(t, "byte"))
	case 3:
		return slices.Delete(b, at, at+1)
	case 4:
		return b[:at]
	case 5:
		return append(b, some.Draw(t, "byte"))
	case 6:
		lines[line], lines[other] = lines[other], lines[line]
		return bytes.Join(lines, nil)
	case 7:
		return bytes.Join(slices.Delete(lines, line, line+1), nil)
	case 8:
		return bytes.Join(slices.Insert(lines, line, lines[other]), nil)
	case 9:
		// One value in the place of another.
		_, value, _ := bytes.Cut(lines[other], []byte(" "))
		name, _, _ := bytes.Cut(lines[line], []byte(" "))
		lines[line] = slices.Concat(name, []byte(" "), value)
		return bytes.Join(lines, nil)
	}
	return b
}

// Each byte of an entry of each kind, with each bit flipped and by each that has a meaning somewhere; and cut and spread there.
func TestParseOfEveryNeighbour(t *testing.T) {
	for _, tt := range golden {
		for i := range tt.text {
			others := []byte("\n\r /.-0129:AEZ_aefgz~\x7f")
			for bit := range 8 {
				others = append(others, tt.text[i]^1<<bit)
			}
			for _, c := range others {
				checkParse(t, []byte(tt.text[:i]+string([]byte{c})+tt.text[i+1:]))
			}
			checkParse(t, []byte(tt.text[:i]))
			checkParse(t, []byte(tt.text[i:]))
			checkParse(t, []byte(tt.text[:i]+tt.text[i+1:]))
			checkParse(t, []byte(tt.text[:i]+"0"+tt.text[i:]))
		}
	}
}

// Every day of more than a whole cycle of leap years and of the last year, and the days that there are not.
func TestTimeOfEveryDay(t *testing.T) {
	const day, cycle = 24 * 60 * 60, 146097 // days of 400 years
	for at := Time(0); at <= maxTime; at += day {
		if at == (cycle+366)*day {
			at = maxTime - 366*day + 1
		}
		if got, err := ParseTime(at.String()); err != nil || got != at {
			t.Fatalf("%s is read as %d, %v, want %d", at, got, err, at)
		}
	}
	var years []int
	for year := 1969; year < 2110; year++ {
		years = append(years, year)
	}
	for year := 2200; year < 10000; year += 100 {
		years = append(years, year-1, year, year+4)
	}
	for _, year := range years {
		for month := range 14 {
			for _, day := range []int{0, 1, 28, 29, 30, 31, 32} {
				s := fmt.Sprintf("%04d-%02d-%02dT23:59:59Z", year, month, day)
				want, err := time.Parse(timeLayout, s)
				if at, wrong := ParseTime(s); (wrong == nil) != (err == nil && year >= 1970) || wrong == nil && at != TimeOf(want) {
					t.Fatalf("%s is read as %d, %v; the standard library says %v", s, at, wrong, err)
				}
			}
		}
	}
}

// A path's checks, and what is an upload by its name, for paths that are nearly right.
func TestPathsArePlain(t *testing.T) {
	part := rapid.OneOf(rapid.SampledFrom([]string{"authors", "id", "modules", "E", "ET", "EX", "ETHER", "E-", "", ".", "..", "...", ".x", "a b", "x\x7f",
		"CHECKSUMS", "CHECKSUMS.tar.gz", "C.tar.gz", ".tar.gz", "x.tar.gz", "x.readme.tar.gz", "README.gz", "x.txt.gz", "x.TXT.BZ2", "x.gz.gz", "x.meta", "x.tar.gz~"}), rapid.StringN(0, 12, 300))
	rapid.Check(t, func(t *rapid.T) {
		segments := rapid.SliceOfN(part, 0, 9).Draw(t, "segments")
		if rapid.Bool().Draw(t, "archive") {
			segments = append([]string{"authors", "id", "E", "ET", "ETHER"}, segments...)
		}
		p := strings.Join(segments, "/")
		said := func(err error) string {
			if err == nil {
				return ""
			}
			return err.Error()
		}
		if got, want := said(CheckArchivePath(p)), plainPath(Upload, p); got != want {
			t.Fatalf("archive %q: %q, want %q", p, got, want)
		}
		if got, want := said(CheckIndexPath(p)), plainPath(Index, p); got != want {
			t.Fatalf("index %q: %q, want %q", p, got, want)
		}
		if got, want := Author(p), plainAuthor(strings.Split(p, "/")); got != want {
			t.Fatalf("author of %q: %q, want %q", p, got, want)
		}
		if ok, why := IsUpload(p); ok != (plainPath(Upload, p) == "" && plainUpload(p)) || ok != (why == "") {
			t.Fatalf("IsUpload(%q) = %v, %q", p, ok, why)
		}
	})
}

// plainUpload is whether an archive's name is that of an upload, rule by rule.
func plainUpload(p string) bool {
	name := p[strings.LastIndex(p, "/")+1:]
	for _, suffix := range []string{".meta", ".readme", ".tlog-proof", "~", ".tmp", ".part"} {
		if strings.HasSuffix(name, suffix) {
			return false
		}
	}
	if strings.HasPrefix(name, "CHECKSUMS") || strings.HasPrefix(name, ".") {
		return false
	}
	bare := strings.ToLower(name)
	if s, ok := strings.CutSuffix(bare, ".gz"); ok {
		bare = s
	} else {
		bare = strings.TrimSuffix(bare, ".bz2")
	}
	for _, suffix := range []string{"readme", ".html", ".txt", ".mkdn", ".md", ".xml", ".yml", ".json", ".pdf", ".rdf", ".pod"} {
		if strings.HasSuffix(bare, suffix) {
			return false
		}
	}
	return true
}

// What is never logged follows nothing, whether the entry was parsed or made; and what is made must be an entry.
func TestFollowsAsksWhatASubmissionMustBe(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Entry)
		parsed error // of FollowsParsed, which only sees what can be parsed
		want   error
	}{
		"an upload":                     {func(*Entry) {}, nil, nil},
		"a document":                    {func(e *Entry) { e.Path += ".readme" }, ErrNotUpload, ErrNotUpload},
		"checksums in an archive":       {func(e *Entry) { e.Path = archives + "E/ET/ETHER/CHECKSUMS.tar.gz" }, ErrNotUpload, ErrNotUpload},
		"a dotfile":                     {func(e *Entry) { e.Path = archives + "E/ET/ETHER/.x.tar.gz" }, ErrNotUpload, ErrNotUpload},
		"an index":                      {func(e *Entry) { *e = golden[2].entry }, nil, nil},
		"an index that is not logged":   {func(e *Entry) { *e = golden[2].entry; e.Path = "modules/03modlist.data.gz" }, ErrInvalid, ErrInvalid},
		"an entry that is not one":      {func(e *Entry) { e.By = "ether" }, nil, ErrInvalid},
		"a deletion of what was not":    {func(e *Entry) { *e = golden[3].entry }, ErrNotLogged, ErrNotLogged},
		"a conflict of what was not":    {func(e *Entry) { *e = golden[4].entry }, ErrInvalid, ErrInvalid},
		"a void of what was not logged": {func(e *Entry) { *e = golden[5].entry }, ErrNotLogged, ErrNotLogged},
	} {
		e := golden[0].entry
		tt.change(&e)
		var none *Last
		if err := none.FollowsParsed(&e); !errors.Is(err, tt.parsed) {
			t.Errorf("%s: FollowsParsed = %v, want %v", name, err, tt.parsed)
		}
		if err := none.Follows(&e); !errors.Is(err, tt.want) {
			t.Errorf("%s: Follows = %v, want %v", name, err, tt.want)
		}
	}
}

// An audit reads millions of entries.
func TestParseIntoAllocatesNothing(t *testing.T) {
	var e Entry
	for _, tt := range golden {
		if n := testing.AllocsPerRun(100, func() { _ = ParseInto(&e, tt.text) }); n != 0 || e != tt.entry {
			t.Errorf("%s: %v allocations, read %+v", tt.entry.Kind, n, e)
		}
	}
}

func BenchmarkParseInto(b *testing.B) {
	var e Entry
	b.ReportAllocs()
	for b.Loop() {
		if err := ParseInto(&e, golden[0].text); err != nil {
			b.Fatal(err)
		}
	}
}

// The reader that says what is wrong, for comparison.
func BenchmarkParseLines(b *testing.B) {
	text := []byte(golden[0].text)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseLines(text); err != nil {
			b.Fatal(err)
		}
	}
}
