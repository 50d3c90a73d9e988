package mirror

import (
	"os/exec"
	"strings"
	"testing"
)

// The order is Perl's: each version is less than the next, and those in one line are the same.
var versionOrder = []string{
	"undef 0 0.000 v0",
	"0.001 v0.1",
	"0.01 .01 v0.10",
	"0.1 v0.100",
	"1 1.0 1. v1 v1.0.0",
	"1.002 v1.2 1.2.0",
	"1.002003 v1.2.3 1.2.3",
	"1.0203 v1.20.300",
	"1.10 1.1 1.1_0 v1.100",
	"1.11 1.1_1",
	"1.2",
	"5.036 v5.36.0",
	"10 v10",
	"20261122 20261122.0",
}

func TestVersionOrder(t *testing.T) {
	for i, line := range versionOrder {
		for _, s := range strings.Fields(line) {
			v, ok := parseVersion(s)
			if !ok {
				t.Fatalf("%s is no version", s)
			}
			for j, other := range versionOrder {
				w, _ := parseVersion(strings.Fields(other)[0])
				want := 0
				if i < j {
					want = -1
				} else if i > j {
					want = 1
				}
				if got := v.compare(w); got != want {
					t.Errorf("%s against %s: %d, want %d", s, other, got, want)
				}
			}
		}
	}
}

// Perl itself is the reference: what is read here it reads, and orders the same.
func TestVersionsAsPerlReadsThem(t *testing.T) {
	all := strings.Fields(strings.Join(versionOrder, " "))
	var script strings.Builder
	script.WriteString("use version; my @v = qw(" + strings.Join(all, " ") + `); for my $a (@v) { print join(' ', map { version->parse($a) <=> version->parse($_) } @v), "\n" }`)
	out, err := exec.Command("perl", "-e", script.String()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		a, _ := parseVersion(all[i])
		for j, want := range strings.Fields(line) {
			b, _ := parseVersion(all[j])
			if got := []string{"-1", "0", "1"}[a.compare(b)+1]; got != want {
				t.Errorf("%s <=> %s: %s, Perl says %s", all[i], all[j], got, want)
			}
		}
	}
}

func TestNoVersions(t *testing.T) {
	for _, s := range []string{"", "x", "1.0-beta", "1.0 ", " 1", "-1", "1e5", "1..2", "v", "v.1", "1._1", "1_1", "v1_1", "1.2.3-TRIAL", "\u0661", "1\n", strings.Repeat("1", 65), "1.2.3."} {
		if v, ok := parseVersion(s); ok {
			t.Errorf("%q is the version %v", s, v)
		}
	}
}

func TestRanges(t *testing.T) {
	for _, tt := range []struct{ text, in, out string }{
		{"1.2", "1.2 1.3 2", "1.1 0"},
		{">= 1.2, < 2", "1.2 1.999", "1.1 2"},
		{"== 1.0", "1 1.000 v1.0.0", "1.1 undef"},
		{"!= 1.5,>1,<=2", "1.1 2", "1 1.5 2.1"},
	} {
		r, ok := parseRange(tt.text)
		if !ok {
			t.Fatalf("%q is no range", tt.text)
		}
		for want, versions := range map[bool]string{true: tt.in, false: tt.out} {
			for _, s := range strings.Fields(versions) {
				if v, _ := parseVersion(s); r.accepts(v) != want {
					t.Errorf("%s in %q: want %v", s, tt.text, want)
				}
			}
		}
	}
	for _, s := range []string{"", ",", "1,", "=> 1", "~> 1", "== ", "1 2", strings.Repeat("1,", 300) + "1"} {
		if _, ok := parseRange(s); ok {
			t.Errorf("%q is a range", s)
		}
	}
}

func FuzzParseVersion(f *testing.F) {
	for _, s := range append(strings.Fields(strings.Join(versionOrder, " ")), ">= 1.2, < 2", "1.2.3_4") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, ok := parseVersion(s); ok {
			if strings.ContainsAny(s, " \n'\"") || v.compare(v) != 0 {
				t.Fatalf("%q is %v", s, v)
			}
			if r, ok := parseRange("== " + s); !ok || !r.accepts(v) {
				t.Fatalf("%q is not in the range of itself", s)
			}
		}
		parseRange(s)
	})
}
