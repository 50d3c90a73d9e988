package backfill

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestManifest(t *testing.T) {
	d := digestOf("a").String()
	good := d + " 7 1234567890 " + author + "A-1.tar.gz\n"
	for name, tt := range map[string]struct {
		text  string
		fault string // "": it is one
	}{
		"empty":                         {"", ""},
		"one file":                      {good, ""},
		"two files":                     {good + d + " 0 0 " + author + "B 1\xff.tar.gz\n", ""},
		"the longest numbers":           {d + " 999999999999999 253402300799 " + author + "A\n", ""},
		"the same path twice":           {good + good, "line 2: .* does not come after"},
		"not sorted":                    {strings.Replace(good, "A-1", "B-1", 1) + good, "line 2: .* does not come after"},
		"sorted as a locale has it":     {d + " 0 0 " + author + "a\n" + d + " 0 0 " + author + "B\n", "line 2"},
		"cut short":                     {good[:len(good)-1], "newline"},
		"an empty line":                 {good + "\n", "line 2: expected sha256"},
		"capital digits":                {strings.ToUpper(d) + good[64:], "hex"},
		"as sha256sum escapes":          {"\\" + good, "hex"},
		"two spaces":                    {strings.Replace(good, " ", "  ", 1), "number"},
		"a sign":                        {strings.Replace(good, " 7", " +7", 1), "number"},
		"a leading zero":                {strings.Replace(good, " 7", " 07", 1), "number"},
		"a fraction of a second":        {strings.Replace(good, "890", "890.5", 1), "the time"},
		"too large":                     {strings.Replace(good, " 7", " 1000000000000000", 1), "the size"},
		"too late":                      {strings.Replace(good, "1234567890", "253402300800", 1), "the time"},
		"a path that leaves":            {strings.Replace(good, "A-1", "../A-1", 1), "segment"},
		"an empty segment":              {strings.Replace(good, "A-1", "/A-1", 1), "segment"},
		"a path below another folder":   {strings.Replace(good, "authors/id", "modules/id", 1), "begin with"},
		"a path from the file's system": {strings.Replace(good, "authors/id", "/srv/cpan/authors/id", 1), "begin with"},
		"a NUL":                         {strings.Replace(good, "A-1", "A\x001", 1), "NUL"},
		"CRLF":                          {strings.Replace(good, "\n", "\r\n", 1), ""}, // a name may end in CR; it cannot be logged
		"a line without an end":         {strings.Repeat("x", maxLine+1), "over"},
	} {
		file := filepath.Join(t.TempDir(), "manifest")
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := checkManifest(file)
		switch {
		case tt.fault == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.fault != "" && (!errors.Is(err, ErrManifest) || !matches(tt.fault, err.Error())):
			t.Errorf("%s: %v, want %q", name, err, tt.fault)
		}
	}
	if _, err := checkManifest(filepath.Join(t.TempDir(), "none")); !errors.Is(err, ErrManifest) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func matches(pattern, s string) bool {
	first, second, _ := strings.Cut(pattern, ".*")
	_, rest, ok := strings.Cut(s, first)
	return ok && strings.Contains(rest, second)
}

// A manifest that is wrong anywhere is not begun with.
func TestManifestIsReadBeforeAnythingIsLogged(t *testing.T) {
	w := newWorld(t, 1)
	w.file(0, author+"A-1.tar.gz", "a")
	c := w.config()
	c.Manifest = filepath.Join(t.TempDir(), "manifest")
	w.must(os.WriteFile(c.Manifest, []byte(digestOf("a").String()+" 1 1 "+author+"A-1.tar.gz\nx\n"), 0o600))
	if s, err := Run(t.Context(), c); !errors.Is(err, ErrManifest) || s != nil || len(w.log.entries) != 0 {
		t.Errorf("%v, %v, %d entries", s, err, len(w.log.entries))
	}
}

func FuzzParseRecord(f *testing.F) {
	d := digestOf("a").String()
	for _, s := range []string{"", d, d + " 1 2 authors/id/A", d + " 1 2 authors/id/A b/c", d + " 01 2 authors/id/A", d + " 1 -2 authors/id/..", "\x00 1 2 3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, err := parseRecord(line)
		if err != nil {
			return
		}
		if again := fmt.Sprintf("%s %d %d %s", r.SHA256, r.Size, r.time, r.path); again != line {
			t.Errorf("%q was read as %q", line, again)
		}
		if strings.Contains(r.path+"/", "/../") || !strings.HasPrefix(r.path, archives+"/") {
			t.Errorf("the path %q is not below %s", r.path, archives)
		}
	})
}
