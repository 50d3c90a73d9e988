package mirror

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A perlVersion is a version of a module as Perl's version.pm reads it: 1.002003 and v1.2.3 are the same.
type perlVersion []int

// laxVersion is what version.pm takes without an error, but for signs and spaces: a client that parses all that it
// is sent would end at anything else.
var laxVersion = regexp.MustCompile(`^(?:v[0-9]{1,9}(?:(?:\.[0-9]{1,9})+(?:_[0-9]{1,9})?)?|[0-9]{0,9}(?:\.[0-9]{1,9}){2,}(?:_[0-9]{1,9})?|` +
	`[0-9]{1,9}\.?|[0-9]{0,9}\.[0-9]{1,18}(?:_[0-9]{1,9})?)$`)

// parseVersion reads a version; "undef" is 0, and the underscore of a trial version counts for nothing.
func parseVersion(s string) (v perlVersion, ok bool) {
	if s == "undef" {
		return nil, true
	}
	if len(s) > 64 || !laxVersion.MatchString(s) {
		return nil, false
	}
	dotted := s[0] == 'v' || strings.Count(s, ".") > 1
	s = strings.ReplaceAll(strings.TrimPrefix(s, "v"), "_", "")
	whole, fraction, _ := strings.Cut(s, ".")
	parts := []string{whole}
	switch {
	case dotted && fraction != "":
		parts = append(parts, strings.Split(fraction, ".")...)
	case !dotted:
		// A decimal's digits count by threes: 1.5 is v1.500.
		for ; fraction != ""; fraction = fraction[min(3, len(fraction)):] {
			three := fraction[:min(3, len(fraction))]
			parts = append(parts, three+"000"[len(three):])
		}
	}
	for _, p := range parts {
		n, err := strconv.Atoi("0" + p)
		if err != nil {
			return nil, false
		}
		v = append(v, n)
	}
	for len(v) > 0 && v[len(v)-1] == 0 {
		v = v[:len(v)-1]
	}
	return v, true
}

func (v perlVersion) compare(w perlVersion) int { return slices.Compare(v, w) }

// A versionRange is a requirement as META files have it: ">= 1.2, != 1.5, < 2". A bare version is a least one.
type versionRange []func(perlVersion) bool

func parseRange(s string) (r versionRange, ok bool) {
	if len(s) > 512 {
		return nil, false
	}
	for condition := range strings.SplitSeq(s, ",") {
		condition = strings.TrimSpace(condition)
		bare := strings.TrimLeft(condition, "=!<>")
		want, ok := parseVersion(strings.TrimSpace(bare))
		if !ok {
			return nil, false
		}
		holds, ok := operators[condition[:len(condition)-len(bare)]]
		if !ok {
			return nil, false
		}
		r = append(r, func(v perlVersion) bool { return holds(v.compare(want)) })
	}
	return r, true
}

var operators = map[string]func(int) bool{
	"":   func(c int) bool { return c >= 0 },
	">=": func(c int) bool { return c >= 0 },
	">":  func(c int) bool { return c > 0 },
	"<=": func(c int) bool { return c <= 0 },
	"<":  func(c int) bool { return c < 0 },
	"==": func(c int) bool { return c == 0 },
	"!=": func(c int) bool { return c != 0 },
}

func (r versionRange) accepts(v perlVersion) bool {
	for _, holds := range r {
		if !holds(v) {
			return false
		}
	}
	return true
}
