package lockfile

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const two = `# carton snapshot format: version 1.0
DISTRIBUTIONS
  Path-Tiny-0.150
    pathname: D/DA/DAGOLDEN/Path-Tiny-0.150.tar.gz
    provides:
      Path::Tiny 0.150
      Path::Tiny::Error 0.150
    requirements:
      Carp 0
      Digest 1.03
      perl >= 5.008001, != 5.9
  Try-Tiny-0.31
    pathname: E/ET/ETHER/Try-Tiny-0.31.tar.gz
    provides:
      Try::Tiny undef
    requirements:
`

const head = "# carton snapshot format: version 1.0\nDISTRIBUTIONS\n"

func TestParse(t *testing.T) {
	both := []Distribution{{"Path-Tiny-0.150", "D/DA/DAGOLDEN/Path-Tiny-0.150.tar.gz", 3}, {"Try-Tiny-0.31", "E/ET/ETHER/Try-Tiny-0.31.tar.gz", 12}}
	for _, tt := range []struct {
		name, text string
		want       []Distribution
	}{
		{"what Carton writes", two, both},
		{"with CRLF", strings.ReplaceAll(two, "\n", "\r\n"), both},
		{"a project without dependencies", head, nil},
		{"from a repository", head + "  Foo-1\n    pathname: git://host.example/foo.git@v1\n", []Distribution{{"Foo-1", "git://host.example/foo.git@v1", 3}}},
		{"without a place", head + "  Foo-1\n    pathname: \n    provides:\n    requirements:\n", []Distribution{{"Foo-1", "", 3}}},
		{"a path that climbs", head + "  Foo-1\n    pathname: ../../x\n", []Distribution{{"Foo-1", "../../x", 3}}},
		{"the same twice", head + "  Foo-1\n    pathname: a\n  Foo-1\n    pathname: a\n", []Distribution{{"Foo-1", "a", 3}, {"Foo-1", "a", 5}}},
		{"a module that is called pathname:", head + "  Foo-1\n    pathname: a\n    provides:\n      pathname: 1\n", []Distribution{{"Foo-1", "a", 3}}},
	} {
		got, err := Parse([]byte(tt.text))
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string
	}{
		{"nothing", "", "line 1"},
		{"a cpanfile", "requires 'Try::Tiny';\n", "line 1"},
		{"a blank line first", "\n" + two, "line 1"},
		{"a byte order mark", "\ufeff" + two, "line 1"},
		{"only the header", "# carton snapshot format: version 1.0\n", "line 2"},
		{"no DISTRIBUTIONS", strings.Replace(two, "DISTRIBUTIONS\n", "", 1), "line 2"},
		{"DISTRIBUTIONS twice", head + "DISTRIBUTIONS\n", "line 3"},
		{"cut short", two[:len(two)-1], "line 16: it does not end in a newline"},
		{"cut before a pathname", head + "  Foo-1\n", "line 4"},
		{"no pathname", head + "  Foo-1\n    provides:\n  Bar-1\n    pathname: a\n", "line 5: Foo-1 has no pathname"},
		{"two pathnames", head + "  Foo-1\n    pathname: a\n    pathname: b\n", "line 5: Foo-1 has \"pathname\" twice"},
		{"a pathname without a space", head + "  Foo-1\n    pathname:a\n", "line 4"},
		{"an unknown property", head + "  Foo-1\n    pathname: a\n    sha256: b\n", "line 5"},
		{"a property of nothing", head + "    pathname: a\n", "line 3"},
		{"a module of nothing", head + "  Foo-1\n    pathname: a\n      Foo 1\n", "line 5"},
		{"a module without a version", head + "  Foo-1\n    pathname: a\n    provides:\n      Foo\n", "line 6"},
		{"a name with a space", head + "  Foo 1\n    pathname: a\n", "line 3"},
		{"a name that is indented by three", head + "   Foo-1\n    pathname: a\n", "line 3"},
		{"a name that is not indented", head + "Foo-1\n    pathname: a\n", "line 3"},
		{"a blank line between", head + "  Foo-1\n    pathname: a\n\n  Bar-1\n    pathname: b\n", "line 5"},
		{"a tab", head + "\tFoo-1\n", "line 3"},
		{"a NUL", head + "  Foo\x00-1\n", "line 3"},
		{"letters of another script", head + "  Föö-1\n", "line 3"},
		{"CR inside a line", head + "  Foo-1\r    pathname: a\n", "line 3"},
		{"over 16 MiB", head + strings.Repeat("  Foo-1\n    pathname: a\n", MaxSize/20), "over"},
		{"too many", head + strings.Repeat("  a\n    pathname: \n", MaxDistributions+1), fmt.Sprintf("line %d: over 100000 distributions", 3+2*MaxDistributions)},
	} {
		got, err := Parse([]byte(tt.text))
		if !errors.Is(err, ErrMalformed) || got != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %d distributions, %v, want ErrMalformed with %q", tt.name, len(got), err, tt.want)
		}
	}
	for _, v := range []string{"1.1", "2.0", ""} {
		if _, err := Parse([]byte("# carton snapshot format: version " + v + "\n")); !errors.Is(err, ErrVersion) {
			t.Errorf("version %q: %v, want ErrVersion", v, err)
		}
	}
}

// What is read is what lines of the form that Carton knows say, and none of them is passed over.
func FuzzLockfile(f *testing.F) {
	f.Add([]byte(two))
	f.Add([]byte(strings.ReplaceAll(two, "\n", "\r\n")))
	f.Add([]byte(head + "  Foo-1\n    pathname: git://host.example/foo.git@v1\n"))
	f.Add([]byte(head + "  Foo-1\n    pathname: a\n    provides:\n      pathname: 1\n"))
	f.Add([]byte(head + "DISTRIBUTIONS\n   x\n"))
	// These are of Carton::Snapshot::Parser.
	name, pathname := regexp.MustCompile(`(?m)^  (\S+)\r?$`), regexp.MustCompile(`(?m)^    pathname: (.*?)\r?$`)
	f.Fuzz(func(t *testing.T, text []byte) {
		found, err := Parse(text)
		if err != nil {
			if found != nil || !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrVersion) {
				t.Errorf("%v with %v", found, err)
			}
			return
		}
		names, pathnames := name.FindAllSubmatch(text, -1), pathname.FindAllSubmatch(text, -1)
		if len(names) != len(found) || len(pathnames) != len(found) {
			t.Fatalf("%q has %d names and %d pathnames, and was read as %+v", text, len(names), len(pathnames), found)
		}
		lines := bytes.Split(text, []byte("\n"))
		for i, d := range found {
			if string(names[i][1]) != d.Name || string(pathnames[i][1]) != d.Pathname || !bytes.Contains(lines[d.Line-1], []byte(d.Name)) {
				t.Errorf("distribution %d of %q is %+v", i, text, d)
			}
		}
	})
}
