package entry

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const (
	digestA = "3300d31d8a4075b26d8f46ce864a1d913e0e8467ceeba6655d5d2b2e206c11be"
	digestB = "ca6e8d7ce7471c2be54e1009f64c367d7ee233a2894cacf52ebe6f53b04e81e5"
	tryTiny = "authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz"
)

func mustDigest(s string) Digest {
	d, err := ParseDigest(s)
	if err != nil {
		panic(err)
	}
	return d
}

func mustTime(s string) Time {
	t, err := ParseTime(s)
	if err != nil {
		panic(err)
	}
	return t
}

// One entry of each kind, as bytes and as a value. These bytes are the format:
// they can never change.
var golden = []struct {
	text  string
	entry Entry
}{
	{"pauselog/v1\nkind upload\npath " + tryTiny + "\nsha256 " + digestA + "\nsize 35784\ntime 2026-11-22T10:00:00Z\nby ETHER\nseen upload\n",
		Entry{Kind: Upload, Path: tryTiny, SHA256: mustDigest(digestA), Size: 35784, Time: mustTime("2026-11-22T10:00:00Z"), By: "ETHER", Seen: SeenUpload}},
	{"pauselog/v1\nkind upload\npath authors/id/A/A-/A-B9/Perl6/x\nsha256 " + digestA + "\nsize 0\ntime 1970-01-01T00:00:00Z\nby -\nseen backfill\n",
		Entry{Kind: Upload, Path: "authors/id/A/A-/A-B9/Perl6/x", SHA256: mustDigest(digestA), Time: 0, By: "-", Seen: SeenBackfill}},
	{"pauselog/v1\nkind index\npath modules/02packages.details.txt.gz\nsha256 " + digestB + "\nsize 999999999999999\ntime 9999-12-31T23:59:59Z\n",
		Entry{Kind: Index, Path: "modules/02packages.details.txt.gz", SHA256: mustDigest(digestB), Size: MaxNumber, Time: maxTime}},
	{"pauselog/v1\nkind delete\npath " + tryTiny + "\nsha256 " + digestA + "\ntime 2026-11-25T11:59:00Z\nby -\nseen follow\n",
		Entry{Kind: Delete, Path: tryTiny, SHA256: mustDigest(digestA), Time: mustTime("2026-11-25T11:59:00Z"), By: "-", Seen: SeenFollow}},
	{"pauselog/v1\nkind conflict\npath " + tryTiny + "\nsha256 " + digestA + "\nother " + digestB + "\ntime 2024-02-29T00:00:00Z\n",
		Entry{Kind: Conflict, Path: tryTiny, SHA256: mustDigest(digestA), Other: mustDigest(digestB), Time: mustTime("2024-02-29T00:00:00Z")}},
	{"pauselog/v1\nkind void\npath " + tryTiny + "\nsha256 " + digestA + "\nindex 17\ntime 2026-11-22T10:00:00Z\n",
		Entry{Kind: Void, Path: tryTiny, SHA256: mustDigest(digestA), Index: 17, Time: mustTime("2026-11-22T10:00:00Z")}},
}

func TestGolden(t *testing.T) {
	for _, tt := range golden {
		got, err := Parse([]byte(tt.text))
		if err != nil || *got != tt.entry {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", tt.text, got, err, tt.entry)
		}
		b, err := tt.entry.Marshal()
		if err != nil || string(b) != tt.text {
			t.Errorf("Marshal(%+v) = %q, %v, want %q", tt.entry, b, err, tt.text)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	upload := golden[0].text
	in := func(old, new string) string {
		if !strings.Contains(upload, old) {
			panic(old)
		}
		return strings.Replace(upload, old, new, 1)
	}
	of := func(kind int, old, new string) string { return strings.Replace(golden[kind].text, old, new, 1) }
	for _, tt := range []struct {
		name, text string
		want       error
	}{
		{"empty", "", ErrMalformed},
		{"no line feed", "pauselog/v1", ErrMalformed},
		{"no last line feed", strings.TrimSuffix(upload, "\n"), ErrMalformed},
		{"an empty line at the end", upload + "\n", ErrMalformed},
		{"a line too many", upload + "note hello\n", ErrMalformed},
		{"a line of another kind", of(2, "size", "index"), ErrMalformed},
		{"a line missing", in("by ETHER\n", ""), ErrMalformed},
		{"lines reordered", in("by ETHER\nseen upload\n", "seen upload\nby ETHER\n"), ErrMalformed},
		{"carriage returns", strings.ReplaceAll(upload, "\n", "\r\n"), ErrMalformed},
		{"two spaces", in("kind upload", "kind  upload"), ErrMalformed},
		{"a trailing space", in("seen upload", "seen upload "), ErrMalformed},
		{"a tab", in("size 35784", "size\t35784"), ErrMalformed},
		{"a leading byte order mark", "\ufeff" + upload, ErrMalformed},
		{"a capital in a name", in("kind", "Kind"), ErrMalformed},
		{"another program's first line", in("pauselog/v1", "go.sum database tree"), ErrMalformed},
		{"version 0", in("pauselog/v1", "pauselog/v0"), ErrMalformed},
		{"version 01", in("pauselog/v1", "pauselog/v01"), ErrMalformed},
		{"version +2", in("pauselog/v1", "pauselog/v+2"), ErrMalformed},
		{"a kind that is no word", in("kind upload", "kind Upload"), ErrMalformed},
		{"an empty kind", in("kind upload", "kind "), ErrMalformed},
		{"a newer version", in("pauselog/v1", "pauselog/v2"), ErrUpgrade},
		{"a newer version with anything below", "pauselog/v27\n\x00\xff" + strings.Repeat("x", 16000), ErrUpgrade},
		{"a newer version, too long to be one", "pauselog/v2\n" + strings.Repeat("x", MaxUnknownSize), ErrMalformed},
		{"an unknown kind", in("kind upload", "kind sbom"), ErrUpgrade},
		{"an unknown kind, longer than known ones may be", "pauselog/v1\nkind sbom\n" + strings.Repeat("x", 8000), ErrUpgrade},
		{"an unknown kind without a line end", "pauselog/v1\nkind sbom", ErrMalformed},
		{"a known kind, too long", upload + strings.Repeat("x", MaxSize), ErrMalformed},

		{"an upper-case digest", in(digestA, strings.ToUpper(digestA)), ErrMalformed},
		{"a short digest", in(digestA, digestA[1:]), ErrMalformed},
		{"a long digest", in(digestA, digestA+"0"), ErrMalformed},
		{"a digest that is not hex", in(digestA, "g"+digestA[1:]), ErrMalformed},
		{"size 007", in("35784", "007"), ErrMalformed},
		{"size +7", in("35784", "+7"), ErrMalformed},
		{"size -1", in("35784", "-1"), ErrMalformed},
		{"size empty", in("35784", ""), ErrMalformed},
		{"size of 16 digits", in("35784", "1000000000000000"), ErrMalformed},
		{"size unknown", in("35784", "-"), ErrMalformed},
		{"time with a fraction", in("10:00:00Z", "10:00:00.5Z"), ErrMalformed},
		{"time with an offset", in("10:00:00Z", "10:00:00+00:00"), ErrMalformed},
		{"time in lower case", in("2026-11-22T10:00:00Z", "2026-11-22t10:00:00z"), ErrMalformed},
		{"a leap second", in("10:00:00Z", "23:59:60Z"), ErrMalformed},
		{"30 February", in("2026-11-22", "2026-02-30"), ErrMalformed},
		{"29 February of a common year", in("2026-11-22", "2026-02-29"), ErrMalformed},
		{"hour 24", in("T10", "T24"), ErrMalformed},
		{"before 1970", in("2026-11-22", "1969-12-31"), ErrMalformed},
		{"time unknown", in("2026-11-22T10:00:00Z", "-"), ErrMalformed},
		{"by in lower case", in("by ETHER", "by ether"), ErrMalformed},
		{"by of eleven characters", in("by ETHER", "by ETHERETHERX"), ErrMalformed},
		{"by a mail address", in("by ETHER", "by ETHER@CPAN"), ErrMalformed},
		{"by empty", in("by ETHER", "by "), ErrMalformed},
		{"seen unknown", in("seen upload", "seen mirror"), ErrMalformed},
		{"a conflict of one digest", of(4, digestB, digestA), ErrMalformed},
		{"an index with an archive's path", of(2, "modules/02packages.details.txt.gz", tryTiny), ErrMalformed},
		{"an upload with an index's path", in(tryTiny, "modules/02packages.details.txt.gz"), ErrMalformed},
		{"a void with index 01", of(5, "index 17", "index 017"), ErrMalformed},
	} {
		e, err := Parse([]byte(tt.text))
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: Parse = %+v, %v, want %v", tt.name, e, err, tt.want)
		}
	}
}

func TestArchivePaths(t *testing.T) {
	long := "authors/id/E/ET/ETHER/" + strings.Repeat("x", MaxPath-22)
	for _, tt := range []struct {
		path string
		ok   bool
	}{
		{tryTiny, true},
		{"authors/id/E/ET/ETHER/sub/dir/Try-Tiny-0.31.tar.gz", true},
		{"authors/id/E/ET/ETHER/Perl6/Foo-0.1.tar.gz", true},
		{"authors/id/A/AB/AB/x", true},
		{"authors/id/A/A1/A1B2C3D4E5/x", true},
		{long, true},
		{long + "x", false},
		{"", false},
		{"/" + tryTiny, false},
		{"id/E/ET/ETHER/x", false},
		{"E/ET/ETHER/x", false},
		{"authors/id/E/ET/ETHER", false},
		{"authors/id/E/ET/ETHER/", false},
		{"authors/id/E/ET/ETHER//x", false},
		{"authors/id/E/ET/ETHER/../x", false},
		{"authors/id/E/ET/ETHER/./x", false},
		{"authors/id/E/ET/ETHER/x/", false},
		{"authors/id/e/et/ether/x", false},
		{"authors/id/E/EX/ETHER/x", false},
		{"authors/id/F/ET/ETHER/x", false},
		{"authors/id/E/ET/ETHERETHERX/x", false},
		{"authors/id/E/E/E/x", false},
		{"authors/id/1/1A/1AB/x", false},
		{"authors/id/E/ET/ETHER/a b", false},
		{"authors/id/E/ET/ETHER/a\x7f", false},
		{"authors/id/E/ET/ETHER/a\nb", false},
		{"authors/id/E/ET/ETHER/\u00fc", false},
	} {
		if err := CheckArchivePath(tt.path); (err == nil) != tt.ok {
			t.Errorf("CheckArchivePath(%q) = %v, want ok %v", tt.path, err, tt.ok)
		}
	}
	for _, tt := range []struct {
		path string
		ok   bool
	}{
		{"modules/02packages.details.txt", true},
		{"authors/01mailrc.txt.gz", true},
		{"modules/sub/x", false},
		{"modules/", false},
		{"modules", false},
		{"modules/..", false},
		{"indices/x", false},
	} {
		if err := CheckIndexPath(tt.path); (err == nil) != tt.ok {
			t.Errorf("CheckIndexPath(%q) = %v, want ok %v", tt.path, err, tt.ok)
		}
	}
}

func TestIsUpload(t *testing.T) {
	for name, want := range map[string]bool{
		"Try-Tiny-0.31.tar.gz": true, "x.tgz": true, "x.zip": true, "x.tar.bz2": true, "x.par": true,
		"perl-5.36.0.tar.xz": true, "CGI.pm.gz": true, "CGI.pm": true, "fix.patch": true, "x.tar.gz.asc": true,
		"x.sig": true, "Perl6/Foo-0.1.tar.gz": true, "JSON": true, "txt": true, "README-Maker-1.0.tar.gz": true,
		"x.txt.tar.gz": true, "x.json.gz.gz": true,

		"CHECKSUMS": false, "CHECKSUMS.12345": false, "Try-Tiny-0.31.meta": false, "Try-Tiny-0.31.readme": false,
		"Try-Tiny-0.31.tar.gz.tlog-proof": false, ".x.tar.gz.Ab3dEf": false, "x.tar.gz~": false, "x.tar.gz.tmp": false, "x.tar.gz.part": false,
		"README": false, "readme": false, "My-README.gz": false, "x.html": false, "x.HTML": false, "x.txt.gz": false,
		"x.md.BZ2": false, "x.mkdn": false, "x.xml": false, "x.yml": false, "x.json": false, "x.pdf.gz": false, "x.rdf": false, "x.Pod": false,
		"sub/README": false, "sub/CHECKSUMS": false,
	} {
		if got, why := IsUpload("authors/id/E/ET/ETHER/" + name); got != want || (why == "") != want {
			t.Errorf("IsUpload(%q) = %v %q, want %v", name, got, why, want)
		}
	}
	if ok, why := IsUpload("modules/02packages.details.txt"); ok || why == "" {
		t.Errorf("an index file is an upload: %v %q", ok, why)
	}
}

func TestDistribution(t *testing.T) {
	for name, want := range map[string]string{
		"Try-Tiny-0.31.tar.gz": "Try-Tiny", "libwww-perl-6.67.tar.gz": "libwww-perl", "Games-2048-0.05.tgz": "Games-2048",
		"Foo-v1.2.3-TRIAL.zip": "Foo", "CGI.pm-3.49.tar.gz": "CGI", "perl-5.36.0.tar.xz": "perl",
		"README": "", "foo.patch": "", "-1.0.tar.gz": "", "Foo-vv1.tar.gz": "",
	} {
		if got := Distribution("authors/id/E/ET/ETHER/" + name); got != want {
			t.Errorf("Distribution(%q) = %q, want %q", name, got, want)
		}
	}
}

// The rules of what may follow what, one row each: a history, a submission, and
// what becomes of it.
func TestDecide(t *testing.T) {
	now := mustTime("2026-11-22T10:00:00Z").Time()
	digest := map[byte]Digest{'a': mustDigest(digestA), 'b': mustDigest(digestB)}
	// "upload a", "index a +5" (seconds from now), "void a 0" (the voided index).
	var seen Seen // of the entry that was read last
	read := func(s string) *Entry {
		f := strings.Fields(s)
		seen = SeenUpload
		e := &Entry{Kind: Kind(f[0]), Path: tryTiny, SHA256: digest[f[1][0]], Time: TimeOf(now)}
		var n int64
		if len(f) > 2 {
			fmt.Sscan(f[2], &n)
		}
		switch e.Kind {
		case Index:
			e.Path, e.Time = "modules/06perms.txt", e.Time+Time(n)
			if len(f) > 3 {
				seen = Seen(f[3])
			}
		case Void:
			e.Index = uint64(n)
		case Upload, Delete:
			e.By, e.Seen, e.Time = "-", SeenUpload, e.Time+Time(n)
			if len(f) > 3 {
				e.Seen = Seen(f[3])
			}
			seen = e.Seen
		case Conflict:
			e.Other = digest['a'+'b'-f[1][0]]
		}
		return e
	}
	for _, tt := range []struct {
		history, submitted string
		want               Verdict
		why                error
	}{
		{"", "upload a", Appended, nil},
		{"upload a", "upload a", Repeated, nil},
		{"upload a", "upload a -9999999", Repeated, nil}, // whenever it is repeated
		{"upload a", "upload b", Conflicted, ErrConflict},
		{"upload a, conflict a", "upload a", Repeated, nil}, // a conflict changes nothing
		{"upload a, conflict a", "upload b", Conflicted, ErrConflict},
		{"upload a", "delete a", Appended, nil},
		{"upload a", "delete b", Conflicted, ErrConflict},
		{"", "delete a", Refused, ErrNotLogged},
		{"upload a, delete a", "delete a", Repeated, nil},
		{"upload a, delete a", "upload a", Appended, nil}, // restored from BackPAN
		{"upload a, delete a", "upload b", Conflicted, ErrConflict},
		{"upload a, delete a", "delete b", Conflicted, ErrConflict},
		{"upload a, void a 0", "upload b", Appended, nil}, // after a void the path is free
		{"upload a, void a 0", "upload a", Appended, nil},
		{"upload a, void a 0", "delete a", Refused, ErrNotLogged},
		{"upload a, void a 0", "void a 0", Repeated, nil},
		{"upload a", "void a 0", Appended, nil},
		{"upload a", "void a 1", Refused, ErrNotLogged},
		{"upload a", "void b 0", Refused, ErrNotLogged},
		{"", "void a 0", Refused, ErrNotLogged},
		{"upload a, delete a", "void a 0", Appended, nil},
		{"upload a, delete a", "void a 1", Refused, ErrNotLogged},
		{"upload a, delete a, upload a", "void a 2", Appended, nil},
		{"upload a, delete a, upload a", "void a 0", Refused, ErrNotLogged},
		{"upload a, void a 0, upload b", "upload a", Conflicted, ErrConflict},
		{"", "index a", Appended, nil},
		{"index a", "index a", Repeated, nil},
		{"index a", "index a +1", Appended, nil}, // unchanged but newer: the heartbeat
		{"index a", "index b +1", Appended, nil},
		{"index a", "index b", Refused, ErrOutOfTime},
		{"index a", "index a -1", Refused, ErrOutOfTime},
		{"index a, index b +1", "index a", Refused, ErrOutOfTime},
		{"", "upload a 600", Appended, nil},
		{"", "upload a 601", Refused, ErrOutOfTime},
		{"", "upload a 601 follow", Appended, nil},
		{"", "upload a -604800", Appended, nil},
		{"", "upload a -604801", Refused, ErrOutOfTime},
		{"", "upload a -604801 follow", Appended, nil},
		{"", "upload a -604801 backfill", Appended, nil},
		{"", "index a 601", Refused, ErrOutOfTime},
		{"", "index a -604801", Refused, ErrOutOfTime},
		{"", "index a -604801 follow", Appended, nil},
		{"index a", "index b -604801 backfill", Refused, ErrOutOfTime}, // still not after the last
		{"upload a", "delete a 601", Refused, ErrOutOfTime},
	} {
		var last *Last
		n := uint64(0)
		for _, h := range strings.Split(tt.history, ", ") {
			if h == "" {
				continue
			}
			e := read(h)
			if err := last.Follows(e); err != nil {
				t.Fatalf("history %q is not one: %v", tt.history, err)
			}
			last = last.Next(e, n)
			n++
		}
		e := read(tt.submitted)
		got, err := last.Decide(e, seen, now)
		if got != tt.want || !errors.Is(err, tt.why) {
			t.Errorf("after %q, %q: %v, %v, want %v, %v", tt.history, tt.submitted, got, err, tt.want, tt.why)
		}
		// An auditor judges as the log does, but for the clock.
		if err := last.Follows(e); (err == nil) != (got == Appended) && !errors.Is(tt.why, ErrOutOfTime) {
			t.Errorf("after %q, %q: the log says %v, an auditor %v", tt.history, tt.submitted, got, err)
		}
	}
}

func TestConflictEntriesMustNameTheLoggedDigest(t *testing.T) {
	e := golden[4].entry
	var never *Last
	if err := never.Follows(&e); !errors.Is(err, ErrInvalid) {
		t.Errorf("a conflict for a path that was never logged: %v", err)
	}
	upload := golden[0].entry
	upload.SHA256 = mustDigest(digestB)
	if err := never.Next(&upload, 0).Follows(&e); !errors.Is(err, ErrInvalid) {
		t.Errorf("a conflict that names another digest than the logged one: %v", err)
	}
}

func TestCheckSubmission(t *testing.T) {
	ok := golden[0].entry
	readme := ok
	readme.Path = "authors/id/E/ET/ETHER/README"
	modlist := golden[2].entry
	modlist.Path, modlist.Time = "modules/03modlist.data.gz", 0
	broken := ok
	broken.By = "ether"
	for _, tt := range []struct {
		name  string
		entry Entry
		want  error
	}{
		{"an upload", ok, nil},
		{"a document", readme, ErrNotUpload},
		{"an index file that is not logged", modlist, ErrInvalid},
		{"a conflict", golden[4].entry, ErrInvalid},
		{"not a valid entry", broken, ErrInvalid},
	} {
		if err := tt.entry.CheckSubmission(); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestTimeIsExactOverItsRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := Time(rapid.Int64Range(0, int64(maxTime)).Draw(t, "time"))
		back, err := ParseTime(at.String())
		if err != nil || back != at || len(at.String()) != 20 {
			t.Fatalf("%d -> %q -> %d, %v", at, at, back, err)
		}
	})
	if got := TimeOf(time.Unix(5, 999)); got != 5 {
		t.Errorf("TimeOf does not cut: %d", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range golden {
		f.Add([]byte(tt.text))
	}
	f.Add([]byte("pauselog/v2\nanything"))
	f.Add([]byte("pauselog/v1\nkind sbom\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUpgrade) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if len(b) > MaxSize {
			t.Fatalf("accepted %d bytes", len(b))
		}
		again, err := e.Marshal()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("accepted %q, which is written %q, %v", b, again, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text := []byte(golden[0].text)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = golden[0].entry.Append(buf[:0])
	}
}

func ExampleParse() {
	e, err := Parse([]byte("pauselog/v1\nkind upload\npath " + tryTiny + "\nsha256 " + digestA +
		"\nsize 35784\ntime 2026-11-22T10:00:00Z\nby ETHER\nseen upload\n"))
	if err != nil {
		panic(err)
	}
	fmt.Println(e.Kind, Author(e.Path), Distribution(e.Path), e.Size)
	// Output: upload ETHER Try-Tiny 35784
}

// The readers of digests and times take what those of the standard library take, and of that only what an entry
// writes.
func FuzzParseDigestAndTime(f *testing.F) {
	for _, s := range []string{"2026-11-22T10:00:00Z", "2024-02-29T23:59:59Z", "2023-02-29T00:00:00Z", "1969-12-31T23:59:59Z",
		"9999-12-31T23:59:59Z", "2026-00-10T10:00:00Z", "2026-13-10T10:00:00Z", "2026-11-31T10:00:00Z", "2026-11-22T24:00:00Z",
		"2026-11-22T10:60:00Z", "2026-11-22T10:00:60Z", "2026-11-22t10:00:00z", "2026-11-22T1:00:00.0Z", "2026-11-22T10:00:00,1",
		"2026-11-00T10:00:00Z", "+026-11-22T10:00:00Z", "", strings.Repeat("0a", 32), strings.Repeat("0A", 32), strings.Repeat("g0", 32),
		strings.Repeat("0", 63), strings.Repeat("f", 66)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := time.Parse(timeLayout, s)
		ok := err == nil && len(s) == len(timeLayout) && want.Unix() >= 0
		if got, err := ParseTime(s); (err == nil) != ok || ok && (int64(got) != want.Unix() || got.String() != s) {
			t.Errorf("ParseTime(%q) = %v, %v, want %v, %v", s, got, err, want, ok)
		}
		b, err := hex.DecodeString(s)
		ok = err == nil && len(b) == 32 && strings.ToLower(s) == s
		if got, err := ParseDigest(s); (err == nil) != ok || ok && (!bytes.Equal(got[:], b) || got.String() != s) || !ok && got != (Digest{}) {
			t.Errorf("ParseDigest(%q) = %v, %v, want %v", s, got, err, ok)
		}
	})
}
