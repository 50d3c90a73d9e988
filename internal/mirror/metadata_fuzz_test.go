package mirror

import (
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/entry"
)

// What is found of a module in an index is a line of that module, and names an archive that the log could have.
func FuzzListedIn(f *testing.F) {
	const good = "File: 02packages.details.txt\n\nTry::Tiny  0.31  E/ET/ETHER/Try-Tiny-0.31.tar.gz\nTry::Tiny::More undef E/ET/ETHER/Try-Tiny-0.31.tar.gz\n"
	f.Add(good, "Try::Tiny")
	f.Add(good, "Try")
	f.Add(good, "File:")
	f.Add("\nA 1 ../../../etc/passwd\n", "A")
	f.Add("\nA 1 E/ET/ETHER/../A-1.tar.gz\n\nA 1", "A")
	f.Add("\nA\t1\tE/ET/ETHER/A-1.tar.gz\r\n", "A")
	f.Add("\nAA\nA", "A")
	f.Fuzz(func(t *testing.T, text, module string) {
		if !moduleName.MatchString(module) {
			return // nobody asks for it
		}
		r, ok := listedIn(text, module)
		if !ok {
			return
		}
		if upload, _ := entry.IsUpload(r.Path); !upload {
			t.Errorf("%q is offered", r.Path)
		}
		if _, ok := parseVersion(r.Version); !ok {
			t.Errorf("version %q is offered", r.Version)
		}
		listed := false
		for line := range strings.Lines(text) {
			words := strings.Fields(line)
			listed = listed || len(words) >= 3 && words[0] == module && words[1] == r.Version && "authors/id/"+words[2] == r.Path
		}
		if !listed {
			t.Errorf("no line has %s with %+v", module, r)
		}
	})
}

// A version that is read from an archive's name is a part of it.
func FuzzDistributionVersion(f *testing.F) {
	for _, p := range []string{"authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz", "authors/id/E/ET/ETHER/Try-Tiny-0.31-TRIAL.tgz", "authors/id/E/ET/ETHER/A-1_2.zip", "", ".tar.gz", "-1.tar.gz", "/", "a-.tar.bz2", "authors/id/E/ET/ETHER/v.1-2-3.tbz"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		version, dev := distributionVersion(p)
		if !strings.Contains(p, version) || version == "" && dev && !strings.Contains(p, "-TRIAL") {
			t.Errorf("%q has version %q, dev %v", p, version, dev)
		}
		// What the log says of a path is offered only if all of it is valid.
		if r := releaseOf(p); validRelease(r) {
			if upload, _ := entry.IsUpload(r.Path); !upload || r.Path != p {
				t.Errorf("%q is offered as %+v", p, r)
			}
		}
	})
}
