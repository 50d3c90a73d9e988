package installer

import (
	"regexp"
	"slices"
	"strings"
)

// A getopt says how a client reads its command line: its options in the notation of Perl's Getopt::Long ("M|from=s"), and
// how that module is configured. A rough reading would not do: "--mirr", "-nMhttp://a.example" and "+from" are options too.
type getopt struct {
	specs    []string
	bundling bool // -nv is -n -v, and long options begin with "--"
	abbrev   bool // long options may be cut short
	foldCase bool // of long options
}

// What was parsed of a command line.
type parsed struct {
	options []option
	words   []string // what is no option
	// end is where an option can be added: at "--", or at the end, but not where it would be taken for the value that the
	// last option lacks.
	end int
}

// An option as it was given.
type option struct {
	spec  int
	name  string // the first long name that it has
	value string
	no    bool   // --no-name
	given string // the argument that it was in
}

func (p parsed) last(name string) (option, bool) {
	for _, o := range slices.Backward(p.options) {
		if o.name == name {
			return o, true
		}
	}
	return option{}, false
}

type optionEntry struct {
	spec  int
	cname string
	kind  byte // 0: has no value, '!': says no, 's', 'i'
}

// table is what Getopt::Long makes of the specs.
func (g getopt) table() map[string]optionEntry {
	t := map[string]optionEntry{}
	for i, spec := range g.specs {
		names, kind := spec, byte(0)
		if before, after, ok := strings.Cut(spec, "="); ok {
			names, kind = before, after[0]
		}
		names, negatable := strings.CutSuffix(names, "!")
		names = strings.TrimSuffix(names, "+")
		all := strings.Split(names, "|")
		for _, name := range all {
			if g.foldCase && !(g.bundling && len(name) == 1) {
				name = strings.ToLower(name)
			}
			t[name] = optionEntry{i, all[0], kind}
			if negatable {
				t["no"+name] = optionEntry{i, all[0], '!'}
				t["no-"+name] = optionEntry{i, all[0], '!'}
			}
		}
	}
	return t
}

// longName is the name by which an option is known here.
func (g getopt) longName(spec int) string {
	names, _, _ := strings.Cut(g.specs[spec], "=")
	all := strings.Split(strings.TrimRight(names, "!+"), "|")
	for _, name := range all {
		if len(name) > 1 {
			return name
		}
	}
	return all[0]
}

var integer = regexp.MustCompile(`^[-+]?_*[0-9][0-9_]*`)

// parse reads arguments as Getopt::Long does when POSIXLY_CORRECT is not set: options may follow what is no option.
func (g getopt) parse(args []string) parsed {
	t := g.table()
	p := parsed{end: len(args)}
	given, i := "", 0
	left, isLeft := "", false // of an argument with several letters
	for isLeft || i < len(args) {
		arg := left
		if !isLeft {
			given, arg = args[i], args[i]
			i++
		}
		isLeft = false
		if arg == "--" {
			p.end = i - 1
			p.words = append(p.words, args[i:]...)
			return p
		}
		starter, opt := startOfOption(arg)
		if starter == "" {
			p.words = append(p.words, arg)
			continue
		}
		value, hasValue, rest := "", false, ""
		if starter == "--" || !g.bundling {
			// A name has one letter at least.
			if first := min(1, len(opt)); strings.Contains(opt[first:], "=") {
				name, after, _ := strings.Cut(opt[first:], "=")
				opt, value, hasValue = opt[:first]+name, after, true
			}
		}
		letters := g.bundling && starter == "-"
		if letters {
			opt, rest = opt[:1], opt[1:]
		} else {
			opt = g.complete(t, opt)
		}
		e, ok := t[opt]
		switch {
		case !ok || hasValue && (e.kind == 0 || e.kind == '!'):
			// The client says that it does not know it, and goes on.
			if letters && !ok && rest != "" {
				left, isLeft = starter+rest, true
			}
			continue
		case e.kind == 0 || e.kind == '!':
			p.options = append(p.options, option{e.spec, g.longName(e.spec), "", e.kind == '!', given})
			if rest != "" {
				left, isLeft = starter+rest, true
			}
			continue
		case hasValue && value == "", !hasValue && rest == "" && i == len(args):
			if !hasValue {
				p.end = len(args) - 1
			}
			continue
		case hasValue:
		case rest != "":
			value = rest
		default:
			value = args[i]
			i++
		}
		if e.kind == 'i' {
			found := integer.FindString(value)
			if rest != "" && found != "" {
				value, left, isLeft = found, starter+rest[len(found):], len(found) < len(rest)
			} else if found != value || found == "" {
				left, isLeft = starter+rest, rest != ""
				continue
			}
		}
		p.options = append(p.options, option{e.spec, g.longName(e.spec), value, false, given})
	}
	return p
}

func startOfOption(arg string) (starter, opt string) {
	switch {
	case arg == "-":
		return "", arg
	case strings.HasPrefix(arg, "--"):
		return "--", arg[2:]
	case strings.HasPrefix(arg, "-"), strings.HasPrefix(arg, "+"):
		return arg[:1], arg[1:]
	}
	return "", arg
}

// complete returns the name that a long option means.
func (g getopt) complete(t map[string]optionEntry, opt string) string {
	if g.foldCase {
		opt = strings.ToLower(opt)
	}
	if _, ok := t[opt]; ok || !g.abbrev || opt == "" {
		return opt
	}
	var hits []string
	meant := map[string]bool{}
	for name, e := range t {
		if !strings.HasPrefix(name, opt) {
			continue
		}
		hits = append(hits, name)
		if e.kind == '!' {
			meant["no"+e.cname] = true
		} else {
			meant[e.cname] = true
		}
	}
	switch {
	case len(hits) == 1:
		return hits[0]
	case len(meant) == 1:
		for name := range meant {
			if g.foldCase && !(g.bundling && len(name) == 1) {
				name = strings.ToLower(name)
			}
			return name
		}
	}
	return opt // nobody's, or of several: both are unknown
}

// parseLetters reads arguments as Getopt::Std does: options are letters, those in withValue have one, and the first argument that is
// none ends them.
func parseLetters(args []string, withValue string) (p parsed) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if len(arg) < 2 || arg[0] != '-' || arg == "--" {
			if arg == "--" {
				p.end, p.words = i, args[i+1:]
			} else {
				p.end, p.words = i, args[i:]
			}
			return p
		}
		for j := 1; j < len(arg); j++ {
			letter := arg[j : j+1]
			if !strings.Contains(withValue, letter) {
				p.options = append(p.options, option{name: letter, given: arg})
				continue
			}
			value := arg[j+1:]
			if value == "" {
				if i++; i == len(args) {
					p.end = i - 1
					return p
				}
				value = args[i]
			}
			p.options = append(p.options, option{name: letter, value: value, given: arg})
			break
		}
	}
	p.end = len(args)
	return p
}
