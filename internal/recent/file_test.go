package recent

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"reflect"
	"strings"
	"testing"
)

const perlYAML = `--- 
meta: 
  Producers: 
    $0: /usr/bin/rrr-aggregate
    File::Rsync::Mirror::Recentfile: v0.0.8
    time: 1223270942.18846
  aggregator: 
    - 6h
    - Z
  canonize: naive_path_normalize
  comment: "These 'RECENT' files: are part of # the CPAN mirroring concept"
  dirtymark: '1325093856.49272'
  filenameroot: RECENT
  interval: 1h
  merged: 
    epoch: 1223270811.41559
    into_interval: 6h
    time: 1223270820.1
  minmax: 
    max: 1223270911.76639
    min: 1223270810
    mtime: 1223270942
  protocol: 1
  serializer_suffix: .yaml
recent: 
  - 
    epoch: 1223270911.76639
    path: id/M/MS/MSIMERSON/Mail-Toaster-5.12_01.tar.gz
    type: new
  - 
    epoch: '1223270911.7663800860001'
    path: 'id/M/MS/MSIMERSON/it''s.tar.gz'
    type: delete
  - 
    epoch: 1223270810
    path: 02STAMP
    type: new
`

// The same in the style of other writers.
const otherYAML = `meta:
    protocol: 1
    interval: "1h"
    serializer_suffix: .yaml
    filenameroot: RECENT
    minmax:
        min: 1223270810
        max: 1223270911.76639
    merged:
        epoch: 1223270811.41559
    dirtymark: 1325093856.49272
    aggregator:
    - 6h
    - Z
    comment: |
        A text with
          lines.

        And more.
recent:
- epoch: 1223270911.76639
  path: id/M/MS/MSIMERSON/Mail-Toaster-5.12_01.tar.gz
  type: new
- type: delete
  epoch: 1223270911.7663800860001
  path: "id/M/MS/MSIMERSON/it's.tar.gz"
- path: 02STAMP
  size: 5
  epoch: 1223270810.0
  type: new
`

const perlJSON = `{"recent":[{"epoch":1223270911.76639,"path":"id/M/MS/MSIMERSON/Mail-Toaster-5.12_01.tar.gz","type":"new"},
{"epoch":"1223270911.7663800860001","type":"delete","path":"id\/M/MS/MSIMERSON/it\u0027s.tar.gz"},
{"epoch":1223270810,"path":"02STAMP","type":"new","size":[5,{"a":null}]}],
"meta":{"aggregator":["6h","Z"],"dirtymark":1325093856.49272,"filenameroot":"RECENT","interval":"1h","merged":{"epoch":1223270811.41559,"time":1.2e9},
"minmax":{"max":1223270911.76639,"min":1223270810,"mtime":5},"protocol":1,"serializer_suffix":".yaml","comment":null,
"Producers":{"$0":"rrr","time":-1.5E+9}}}
`

func TestParseReadsTheSameFromAllFormats(t *testing.T) {
	want := []Event{
		{epoch("1223270911.76639"), "authors/id/M/MS/MSIMERSON/Mail-Toaster-5.12_01.tar.gz", TypeNew},
		{epoch("1223270911.7663800860001"), "authors/id/M/MS/MSIMERSON/it's.tar.gz", TypeDelete},
		{epoch("1223270810"), "authors/02STAMP", TypeNew},
	}
	for _, tt := range []struct{ name, text string }{
		{"authors/RECENT-1h.yaml", perlYAML}, {"authors/RECENT-1h.yaml", otherYAML}, {"authors/RECENT-1h.json", perlJSON},
	} {
		f, err := Parse(tt.name, []byte(tt.text))
		if err != nil {
			t.Error(err)
			continue
		}
		f.unread = nil
		expected := &File{Dir: Authors, Interval: "1h", Format: f.Format, Protocol: 1, FilenameRoot: "RECENT", Aggregator: []Interval{"6h", "Z"},
			Dirtymark: epoch("1325093856.49272"), Merged: epoch("1223270811.41559"), Min: epoch("1223270810"), Max: epoch("1223270911.76639"),
			SerializerSuffix: ".yaml", Events: want, Newest: want[0].Epoch, Oldest: want[2].Epoch, whole: true}
		if !reflect.DeepEqual(f, expected) {
			t.Errorf("%.20q:\n%+v\nexpected\n%+v", tt.text, f, expected)
		}
	}
}

func TestParseGivesPathsFromTheRoot(t *testing.T) {
	for _, tt := range []struct{ dir, inside, want string }{
		{Authors, "id/E/ET/ETHER/A.tar.gz", "authors/id/E/ET/ETHER/A.tar.gz"},
		{Modules, "02packages.details.txt.gz", "modules/02packages.details.txt.gz"},
		{Root, "authors/id/E/ET/ETHER/A.tar.gz", "authors/id/E/ET/ETHER/A.tar.gz"},
		{Root, "modules/02packages.details.txt.gz", "modules/02packages.details.txt.gz"},
	} {
		text := jsonFile("1h", fmt.Sprintf(`{"epoch":5,"path":%q,"type":"new"}`, tt.inside))
		f, err := Parse(tt.dir+"RECENT-1h.json", []byte(text))
		if err != nil || len(f.Events) != 1 || f.Events[0].Path != tt.want {
			t.Errorf("%q in %q: %+v, %v", tt.inside, tt.dir, f, err)
		}
	}
}

func TestParseReadsProtocol0(t *testing.T) {
	text := "--- \n- \n  epoch: 1213546002\n  path: id/R/RY/RYOCHIN/CHECKSUMS\n  type: new\n- \n  epoch: 1213546002\n  path: id/R/RU/RURBAN/CHECKSUMS\n  type: new\n"
	f, err := Parse("authors/RECENT-2d.yaml", []byte(text))
	if err != nil || f.Protocol != 0 || len(f.Events) != 2 || f.whole {
		t.Errorf("%+v, %v", f, err)
	}
	f, err = Parse("authors/RECENT-2d.json", []byte(`[{"epoch":5,"path":"a","type":"new"}]`))
	if err != nil || f.Protocol != 0 || len(f.Events) != 1 {
		t.Errorf("%+v, %v", f, err)
	}
}

func jsonFile(interval, events string) string {
	return `{"meta":{"protocol":1,"interval":"` + interval + `"},"recent":[` + events + `]}`
}

func yamlFile(events string) string {
	return "---\nmeta:\n  protocol: 1\n  interval: 1h\nrecent:\n" + events
}

func TestParseSkipsAndCountsBadEvents(t *testing.T) {
	const good = `{"epoch":5,"path":"a","type":"new"}`
	for _, bad := range []string{
		`{"epoch":4,"path":"","type":"new"}`, `{"epoch":4,"path":"/etc/passwd","type":"new"}`, `{"epoch":4,"path":"../x","type":"new"}`,
		`{"epoch":4,"path":"a//b","type":"new"}`, `{"epoch":4,"path":"a/","type":"new"}`, `{"epoch":4,"path":".","type":"new"}`,
		`{"epoch":4,"path":"a\u0000","type":"new"}`, `{"epoch":4,"path":"a\nb","type":"new"}`, `{"epoch":4,"path":"Ünicode","type":"new"}`,
		`{"epoch":4,"path":"` + strings.Repeat("x", 506) + `","type":"new"}`, `{"epoch":4,"path":"a","type":"NEW"}`, `{"epoch":4,"path":"a"}`,
		`{"epoch":4,"path":["a"],"type":"new"}`, `{"epoch":4,"path":5,"type":"new"}`, `{"epoch":"x","path":"a","type":"new"}`,
		`{"epoch":-4,"path":"a","type":"new"}`, `{"path":"a","type":"new"}`, `{}`, `null`, `"a"`, `[]`,
	} {
		f, err := Parse("modules/RECENT-1h.json", []byte(jsonFile("1h", good+","+bad)))
		if err != nil || f.Skipped != 1 || len(f.Events) != 1 {
			t.Errorf("%s: %+v, %v", bad, f, err)
		}
	}
	for _, bad := range []string{
		"- epoch: 4\n  path: \"a\\xC3\"\n  type: new\n", "- epoch: 4\n  path: ~\n  type: new\n", "- epoch: 4\n  path: |\n    a\n    b\n  type: new\n",
		"- epoch: 4\n  path: 'a'b'\n  type: new\n", "- epoch: 4\n  path: !x a\n  type: new\n", "- epoch: 4\n  path:\n  type: new\n", "- epoch: 4\n  type: new\n",
		"- epoch: 1e9\n  path: a\n  type: new\n", "- epoch: 4\n  path: a\n  type: newer\n",
	} {
		f, err := Parse("modules/RECENT-1h.yaml", []byte(yamlFile("- epoch: 5\n  path: a\n  type: new\n"+bad+"- epoch: 3\n  path: c\n  type: new\n")))
		if err != nil || f.Skipped != 1 || len(f.Events) != 2 {
			t.Errorf("%s: %+v, %v", bad, f, err)
		}
	}
	longest := strings.Repeat("x", MaxPath-len(Modules))
	f, err := Parse("modules/RECENT-1h.json", []byte(jsonFile("1h", `{"epoch":4,"path":"`+longest+`","type":"new"}`)))
	if err != nil || f.Skipped != 0 || len(f.Events[0].Path) != MaxPath {
		t.Errorf("the longest path: %+v, %v", f, err)
	}
}

func TestParseRefuses(t *testing.T) {
	const a, b = `{"epoch":5,"path":"a","type":"new"}`, `{"epoch":4,"path":"b","type":"new"}`
	const yamlA = "  - epoch: 5\n    path: a\n    type: new\n"
	for _, tt := range []struct{ why, name, text string }{
		{"no file", "RECENT-1h.json", ""},
		{"no file", "RECENT-1h.yaml", ""},
		{"a page", "RECENT-1h.json", "<html>"},
		{"a page", "RECENT-1h.yaml", "<html>\n"},
		{"a foreign name", "RECENT-1h.txt", jsonFile("1h", a)},
		{"a foreign folder", "src/RECENT-1h.json", jsonFile("1h", a)},
		{"no interval in the name", "RECENT-.json", jsonFile("", a)},
		{"an interval without unit", "RECENT-6.json", jsonFile("6", a)},
		{"an interval of nothing", "RECENT-0h.json", jsonFile("0h", a)},
		{"the file of another interval", "RECENT-6h.json", jsonFile("1h", a)},
		{"the file of another folder", "authors/RECENT-1h.json", jsonFile("1h", `{"epoch":5,"path":"authors/id/E/ET/ETHER/x","type":"new"}`)},
		{"the file of another folder", "modules/RECENT-1h.json", jsonFile("1h", `{"epoch":5,"path":"id/E/ET/ETHER/x","type":"new"}`)},
		{"the file of another folder", "RECENT-1h.json", jsonFile("1h", `{"epoch":5,"path":"id/E/ET/ETHER/x","type":"new"}`)},
		{"oldest first", "RECENT-1h.json", jsonFile("1h", b+","+a)},
		{"oldest first", "RECENT-1h.yaml", yamlFile("  - epoch: 4\n    path: a\n    type: new\n" + yamlA)},
		{"one epoch twice", "RECENT-1h.json", jsonFile("1h", a+","+a)},
		{"another protocol", "RECENT-1h.json", strings.Replace(jsonFile("1h", a), ":1,", ":2,", 1)},
		{"another root of the name", "RECENT-1h.json", `{"meta":{"protocol":1,"interval":"1h","filenameroot":"OLD"},"recent":[]}`},
		{"a bad dirtymark", "RECENT-1h.json", `{"meta":{"protocol":1,"interval":"1h","dirtymark":"x"},"recent":[]}`},
		{"a bad aggregator", "RECENT-1h.json", `{"meta":{"protocol":1,"interval":"1h","aggregator":["../x"]},"recent":[]}`},
		{"an end that is missing", "RECENT-1h.json", `{"meta":{"protocol":1,"interval":"1h","minmax":{"min":3}},"recent":[` + a + `]}`},
		{"no meta", "RECENT-1h.json", `{"recent":[` + a + `]}`},
		{"no list", "RECENT-1h.json", `{"meta":{"protocol":1,"interval":"1h"}}`},
		{"no list", "RECENT-1h.yaml", "meta:\n  protocol: 1\n  interval: 1h\n"},
		{"two lists", "RECENT-1h.json", `{"recent":[],"meta":{"protocol":1,"interval":"1h"},"recent":[]}`},
		{"two paths", "RECENT-1h.json", jsonFile("1h", `{"epoch":5,"path":"a","path":"b","type":"new"}`)},
		{"two paths", "RECENT-1h.yaml", yamlFile("  - epoch: 5\n    path: a\n    path: b\n    type: new\n")},
		{"more after the end", "RECENT-1h.json", jsonFile("1h", a) + "{"},
		{"a zero byte after the end", "RECENT-1h.json", jsonFile("1h", a) + "\x00"},
		{"a comma too many", "RECENT-1h.json", jsonFile("1h", a+",")},
		{"a leading zero", "RECENT-1h.json", jsonFile("1h", `{"epoch":05,"path":"a","type":"new"}`)},
		{"much nesting", "RECENT-1h.json", `{"x":` + strings.Repeat("[", 1e5)},
		{"a tab", "RECENT-1h.yaml", yamlFile("\t- epoch: 5\n")},
		{"other indentation", "RECENT-1h.yaml", yamlFile("  - epoch: 5\n   path: a\n    type: new\n")},
		{"no list of events", "RECENT-1h.yaml", "---\nmeta:\n  protocol: 1\n  interval: 1h\nrecent: ~\n"},
		{"a second document", "RECENT-1h.yaml", yamlFile(yamlA) + "---\n" + yamlFile(yamlA)},
		{"an anchor", "RECENT-1h.yaml", "---\nmeta:\n  protocol: &a 1\n  interval: 1h\nrecent:\n" + yamlA},
	} {
		if f, err := Parse(tt.name, []byte(tt.text)); !errors.Is(err, ErrInvalid) || f != nil {
			t.Errorf("%s, %s: %+v, %v", tt.why, tt.name, f, err)
		}
	}
}

// A file that was cut anywhere is refused, or it is known that its end may be missing.
func TestParseKnowsCutFiles(t *testing.T) {
	for name, text := range map[string]string{"authors/RECENT-1h.json": strings.TrimSpace(perlJSON), "authors/RECENT-1h.yaml": perlYAML} {
		for i := range len(text) {
			if f, err := Parse(name, []byte(text[:i])); err == nil {
				t.Errorf("%s: %d of %d bytes are taken for the file: %+v", name, i, len(text), f)
			}
		}
	}
	for i := range len(otherYAML) { // without minmax
		text := strings.Replace(otherYAML[:i], "min:", "mim:", 1)
		if f, err := Parse("authors/RECENT-1h.yaml", []byte(text)); err == nil && (f.whole || f.reach() != f.Oldest) {
			t.Errorf("%d of %d bytes are taken for the whole file: %+v", i, len(otherYAML), f)
		}
	}
}

func TestParseIsBounded(t *testing.T) {
	if _, err := Parse("RECENT-1h.json", make([]byte, MaxFile+1)); !errors.Is(err, ErrInvalid) {
		t.Errorf("a file that is too large: %v", err)
	}
	var b strings.Builder
	b.WriteString("---\n")
	for i := range MaxEvents + 1 {
		fmt.Fprintf(&b, "- epoch: %d\n  path: a\n  type: new\n", 2*MaxEvents-i)
	}
	if _, err := Parse("RECENT-1h.yaml", []byte(b.String())); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "1000000") {
		t.Errorf("too many events: %v", err)
	}
}

func TestLadder(t *testing.T) {
	for _, tt := range []struct{ given, want string }{
		{"", "[6h 1d 1W 1M 1Q 1Y Z]"},
		{`"1d","1W","Z"`, "[1d 1W Z]"},
		{`"Z","1W","30m","1h","6h","1W"`, "[6h 1W Z]"},
	} {
		f, err := Parse("RECENT-1h.json", []byte(`{"meta":{"protocol":1,"interval":"1h","aggregator":[`+tt.given+`]},"recent":[]}`))
		if err != nil || fmt.Sprint(f.ladder()) != tt.want {
			t.Errorf("%s: %v, %v, expected %s", tt.given, f.ladder(), err, tt.want)
		}
	}
}

// checkFile asserts what holds for each file that is accepted.
func checkFile(t *testing.T, f *File) {
	last := Epoch{}
	for i, e := range f.Events {
		if i > 0 && e.Epoch.Compare(last) > 0 || e.Epoch.IsZero() {
			t.Fatalf("event %d of %s after %s", i, e.Epoch, last)
		}
		last = e.Epoch
		inside, ok := strings.CutPrefix(e.Path, f.Dir)
		if !ok || len(e.Path) > MaxPath || !validPath(inside, MaxPath) || e.Type != TypeNew && e.Type != TypeDelete {
			t.Fatalf("the event %v", e)
		}
	}
	if n := len(f.Events); n > 0 && (f.Newest.Compare(f.Events[0].Epoch) < 0 || f.Oldest.Compare(last) > 0) || f.Newest.Compare(f.Oldest) < 0 {
		t.Fatalf("from %s to %s, found %v", f.Newest, f.Oldest, f.Events)
	}
	if f.reach().Compare(f.Oldest) > 0 || len(f.unread) != f.Skipped {
		t.Fatalf("it reaches to %s, its oldest event is of %s; %d skipped, %d of them known", f.reach(), f.Oldest, f.Skipped, len(f.unread))
	}
}

// Files with some bytes or lines changed are refused, or read to something that is in order.
func TestParseOfDamagedFiles(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	read := 0
	for n := range 60_000 {
		name, text := "authors/RECENT-1h.yaml", []string{perlYAML, otherYAML, perlJSON}[n%3]
		if n%3 == 2 {
			name = "authors/RECENT-1h.json"
		}
		b := []byte(text)
		for range 1 + r.Intn(3) {
			switch i := r.Intn(len(b)); r.Intn(3) {
			case 0:
				b[i] = " -:'\"\n0a~|{}[],\\"[r.Intn(16)]
			case 1:
				b = append(b[:i], b[i+1:]...)
			case 2:
				lines := strings.SplitAfter(string(b), "\n")
				lines[r.Intn(len(lines))] = ""
				b = []byte(strings.Join(lines, "") + "\n")
			}
		}
		if f, err := Parse(name, b); err == nil {
			checkFile(t, f)
			read++
		} else if !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
	}
	if read < 6000 {
		t.Errorf("only %d of the files were read", read)
	}
}

func FuzzRecentJSON(f *testing.F) {
	for _, seed := range []string{perlJSON, jsonFile("1h", `{"epoch":5,"path":"a","type":"new"}`), jsonFile("1h", ""), "[]", "{}", `{"meta":{"a":[1,"\u00e9",true]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse("authors/RECENT-1h.json", b)
		if err != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("accepted, and is no JSON: %q", b)
		}
		checkFile(t, file)
	})
}

func FuzzRecentYAML(f *testing.F) {
	for _, seed := range []string{perlYAML, otherYAML, yamlFile("- epoch: 5\n  path: a\n  type: new\n"), "---\n- \n  epoch: 5\n  path: a\n  type: new\n", "meta:\nrecent: []\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse("authors/RECENT-1h.yaml", b)
		if err != nil {
			return
		}
		checkFile(t, file)
		if file.Protocol == 0 {
			return
		}
		// What was read, written in the other format, reads the same.
		var events []string
		for _, e := range file.Events {
			events = append(events, fmt.Sprintf(`{"epoch":%q,"path":%q,"type":%q}`, e.Epoch, strings.TrimPrefix(e.Path, Authors), e.Type))
		}
		again, err := Parse("authors/RECENT-1h.json", []byte(jsonFile("1h", strings.Join(events, ","))))
		if err != nil || len(again.Events) != len(file.Events) || len(file.Events) > 0 && !reflect.DeepEqual(again.Events, file.Events) {
			t.Fatalf("%+v became %+v, %v", file, again, err)
		}
	})
}
