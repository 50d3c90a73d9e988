package mirror

import (
	"path"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/entry"
)

func TestCanonical(t *testing.T) {
	for alias, want := range map[string]string{
		"modules/by-module/Try/ETHER/Try-Tiny-0.31.tar.gz":                                        goodPath,
		"modules/by-category/02_Language_Extensions/Try/ETHER/Try-Tiny-0.31.tar.gz":               goodPath,
		"modules/by-authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz":                                   goodPath,
		"modules/by-authors/01mailrc.txt.gz":                                                      mailPath,
		"modules/by-module/Try/ETHER/sub/Try-Tiny-0.31.tar.gz":                                    "authors/id/E/ET/ETHER/sub/Try-Tiny-0.31.tar.gz",
		"modules/by-module/Try/Try-Tiny-0.31.tar.gz":                                              "",
		"modules/by-module/Try/ether/Try-Tiny-0.31.tar.gz":                                        "",
		"modules/by-module/Try/ETHER/":                                                            "",
		"modules/by-module/ETHER/Try-Tiny-0.31.tar.gz":                                            "",
		"modules/by-category/02_Language_Extensions/ETHER/Try-Tiny-0.31.tar.gz":                   "",
		"modules/by-module/Try/ETHER/../../../../authors/id/D/DA/DAGOLDEN/Path-Tiny-0.150.tar.gz": "unknown",
		"modules/by-authors/id/../id/E/ET/ETHER/Try-Tiny-0.31.tar.gz":                             "unknown",
		"src/5.0/perl-5.36.0.tar.gz":                                                              "",
		goodPath:                                                                                  goodPath,
		indexPath:                                                                                 indexPath,
		"":                                                                                        "",
	} {
		got := canonical(alias)
		switch want {
		case "unknown":
			if c := classify(got); c != unknown {
				t.Errorf("%s is %s, of class %d", alias, got, c)
			}
		case "":
			want = alias
			fallthrough
		default:
			if got != want {
				t.Errorf("%s is %s, want %s", alias, got, want)
			}
		}
	}
}

// An alias is verified as the file that it stands for, and counts as that.
func TestAliases(t *testing.T) {
	w := newWorld(t)
	w.wantServed("modules/by-module/Try/ETHER/Try-Tiny-0.31.tar.gz", goodFile)
	w.wantServed("modules/by-authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz", goodFile)
	w.wantServed(goodPath, goodFile)
	if s := w.mirror.Summary(); s.Verified != 1 {
		t.Errorf("one file by three names: %s", s)
	}
	w.wantRefused("modules/by-module/Unlogged/ETHER/Unlogged-1.tar.gz", "503 Cannot Verify: no proof to be had")
	w.write("src/5.0/perl-5.36.0.tar.gz", goodFile)
	for _, alias := range []string{"src/5.0/perl-5.36.0.tar.gz", "modules/by-module/Try/Try-Tiny-0.31.tar.gz"} {
		if a := w.get(alias); a.status != 404 || !strings.Contains(string(a.body), "authors/id/X/XY/XYZ/FILE") {
			t.Errorf("%s: %s\n%s", alias, a.line, a.body)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"modules/by-module/Try/ETHER/Try-Tiny-0.31.tar.gz", "modules/by-category/02_X/Try/ETHER/a/b", "modules/by-authors/id/E", "src/5.0/x", goodPath} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		c := canonical(p)
		if c == p {
			return
		}
		if classify(c) != unknown && path.Base(c) != path.Base(p) {
			t.Fatalf("%q became %q, another file", p, c)
		}
		// The author is one of the alias's own folders.
		if id := entry.Author(c); id != "" && !strings.Contains(p, "/"+id+"/") {
			t.Fatalf("%q became %q, of author %s", p, c, id)
		}
		if canonical(c) != c || !strings.HasPrefix(c, "authors/") {
			t.Fatalf("%q became %q", p, c)
		}
	})
}
