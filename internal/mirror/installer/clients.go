package installer

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// What each client reads from its command line. Of what only says how something is built there is as much as is needed to
// tell values from modules.
var (
	cpanmOptions = getopt{bundling: true, abbrev: true, foldCase: true, specs: []string{
		"f|force", "n|notest!", "test-only", "S|sudo!", "v|verbose", "verify!", "q|quiet!", "h|help", "V|version", "perl=s",
		"l|local-lib=s", "L|local-lib-contained=s", "self-contained!", "exclude-vendor!", "mirror=s", "mirror-only!", "mirror-index=s",
		"M|from=s", "cpanmetadb=s", "cascade-search!", "prompt!", "installdeps", "skip-installed!", "skip-satisfied!", "reinstall",
		"interactive!", "i|install", "info", "look", "U|uninstall", "self-upgrade", "uninst-shadows!", "lwp!", "wget!", "curl!",
		"auto-cleanup=s", "man-pages!", "scandeps", "showdeps", "format=s", "save-dists=s", "skip-configure!", "dev!", "metacpan!",
		"report-perl-version!", "configure-timeout=i", "build-timeout=i", "test-timeout=i", "with-develop", "without-develop",
		"with-configure", "without-configure", "with-feature=s", "without-feature=s", "with-all-features", "pp|pureperl!", "cpanfile=s",
		"with-recommends", "without-recommends", "with-suggests", "without-suggests",
		"configure-args=s", "build-args=s", "test-args=s", "install-args=s",
	}}
	cpmOptions = getopt{bundling: true, specs: []string{
		"L|local-lib-contained=s", "color!", "g|global", "mirror=s", "v|verbose", "w|workers=i", "target-perl=s", "test!", "cpanfile=s",
		"cpmfile=s", "metafile=s", "snapshot=s", "r|resolver=s", "default-resolvers!", "mirror-only", "dev", "man-pages", "home=s", "retry!",
		"exclude-vendor!", "configure-timeout=i", "build-timeout=i", "test-timeout=i", "final-install=s", "progress=s", "show-progress!",
		"prebuilt!", "reinstall", "pp|pureperl|pureperl-only", "static-install!", "use-install-command!", "report-perl-version!",
		"top-level-phase=s", "top-level-relationship=s", "with-all", "with-requires", "without-requires", "with-recommends",
		"without-recommends", "with-suggests", "without-suggests", "with-configure", "without-configure", "with-build", "without-build",
		"with-test", "without-test", "with-runtime", "without-runtime", "with-develop", "without-develop", "feature=s",
		"show-build-log-on-failure", "experimental-config=s",
		"cpanmetadb=s", "metacpan", // of older ones
	}}
	cartonOptions   = getopt{specs: []string{"h|help", "v|version", "verbose!", "p|path=s", "cpanfile=s", "without=s", "deployment!", "cached!"}}
	minicpanOptions = getopt{abbrev: true, specs: []string{
		"class|c=s", "help|h", "version|v", "quiet|q+", "qq", "debug", "log_level|log-level=s", "local|l=s", "remote|r=s", "dirmode|d=s",
		"offline", "force|f", "perl", "exact_mirror|x", "timeout|t=i", "config_file|config|C=s", "remote-from=s",
	}}
)

// parseArgs reads a client's arguments as it does.
func parseArgs(client string, args []string) parsed {
	switch client {
	case "cpanm":
		return cpanmOptions.parse(args)
	case "cpm":
		if len(args) == 0 || args[0] != "install" {
			return parsed{end: len(args)} // nothing is installed
		}
		p := cpmOptions.parse(args[1:])
		p.end++
		return p
	case "carton":
		return cartonOptions.parse(args)
	case "minicpan":
		return minicpanOptions.parse(args)
	case "cpan":
		if len(args) > 1 && args[0] == "install" {
			args = args[1:]
		}
		return parseLetters(args, "Mj")
	}
	return parsed{end: len(args)}
}

// The options that name a source, whatever the client makes of them.
var sourceOptions = map[string][]string{
	"cpanm":    {"from", "mirror", "mirror-index", "cpanmetadb", "metacpan", "mirror-only"},
	"carton":   {"cached"},
	"cpan":     {"j", "M", "P"},
	"cpm":      {"mirror", "resolver", "cpanmetadb", "metacpan", "default-resolvers"},
	"minicpan": {"remote"},
}

// Of these, only the given form names one.
var onlyNegated = map[string]bool{"mirror-only": true, "default-resolvers": true}

// namedSources returns what in a client's arguments names another source than the mirror, in words.
func namedSources(client string, p parsed, dir string) (found []string) {
	for _, o := range p.options {
		for _, name := range sourceOptions[client] {
			if o.name == name && o.no == onlyNegated[name] {
				found = append(found, o.given+" names another source")
			}
		}
	}
	return append(found, namedModules(client, p.words, dir)...)
}

var (
	url         = regexp.MustCompile(`(?i)^(https?|ftp|file|git|ssh|git\+[a-z]+)(:[^:]|@)|\.git(@.*)?$`)
	archiveName = regexp.MustCompile(`(?i)\.(tar\.gz|tgz|tar\.bz2|tbz|tar\.xz|zip|tar|gz)$`)
	wanted      = regexp.MustCompile(`~[v\d._,!<>= ]+$`)
)

// namedModules returns what of the modules that a client is given is none. A folder is the user's own source, and
// what it needs comes from the mirror; an archive was downloaded by somebody.
func namedModules(client string, words []string, dir string) (found []string) {
	if client != "cpanm" && client != "cpan" && client != "cpm" {
		return nil
	}
	for _, word := range words {
		name := wanted.ReplaceAllString(word, "")
		if end := len(name) - len(".pm"); client == "cpanm" && end >= 0 && strings.EqualFold(name[end:], ".pm") {
			name = strings.Join(strings.FieldsFunc(name[:end], func(r rune) bool { return r == '/' }), "::")
		}
		if url.MatchString(word) || url.MatchString(name) {
			found = append(found, word+" is fetched directly")
			continue
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() && (client != "cpan" || archiveName.MatchString(name)) {
			found = append(found, word+" is a file on this machine")
		}
	}
	return found
}

// maxStdin bounds a list of modules on standard input.
const maxStdin = 1 << 20

// stdin reads the list of modules that a client would read from its standard input, and returns it for the client. It is nil
// if the client reads none.
func stdin(client string, p parsed, r Request) (list []byte, words []string, err error) {
	fromStdin := client == "cpanm" && len(p.words) == 0 && !r.Terminal || client == "cpm" && len(p.words) > 0 && p.words[0] == "-"
	if !fromStdin || r.Stdin == nil {
		return nil, nil, nil
	}
	list, err = io.ReadAll(io.LimitReader(r.Stdin, maxStdin+1))
	if err != nil {
		return nil, nil, fmt.Errorf("the list of modules on standard input: %w", err)
	}
	if len(list) > maxStdin {
		return nil, nil, fmt.Errorf("the list of modules on standard input has more than %d bytes", maxStdin)
	}
	for line := range bytes.Lines(list) {
		text := strings.TrimSpace(string(line))
		if client == "cpanm" || strings.HasPrefix(text, "#") {
			text, _, _ = strings.Cut(text, "#")
		}
		words = append(words, strings.Fields(text)...)
	}
	return list, words, nil
}

// withFlags returns a client's arguments with ours behind them, where the last one counts.
func withFlags(client string, args []string, p parsed, r Request) []string {
	var flags []string
	switch client {
	case "cpanm":
		flags = cpanmFlags(r)
	case "minicpan":
		flags = []string{"-r", r.Mirror + "/"}
	case "cpm":
		if len(args) > 0 && args[0] == "install" {
			flags = cpmFlags(p, r)
		}
	}
	// What follows "--" are modules.
	return append(append(append([]string{}, args[:p.end]...), flags...), args[p.end:]...)
}

// cpanmFlags are what cpanm needs. --from replaces all mirrors that were named before it, and leaves only an index to search.
// With versions the search for them is allowed again: its hosts are the mirror, by --cpanmetadb and as
// their proxy, which wget and curl could be told to pass by.
func cpanmFlags(r Request) []string {
	flags := []string{"--from", r.Mirror}
	if r.Versions {
		flags = append(flags, "--no-mirror-only", "--cpanmetadb", r.Mirror+"/v1.0/", "--no-wget", "--no-curl")
	}
	return flags
}

// cpmFlags are what cpm needs. With --mirror-only it takes no version from a snapshot; where there is one to take
// them from, the two things to ask are named, and no others.
func cpmFlags(p parsed, r Request) []string {
	snapshot := "cpanfile.snapshot"
	if o, ok := p.last("snapshot"); ok {
		snapshot = o.value
	}
	if !filepath.IsAbs(snapshot) {
		snapshot = filepath.Join(r.Dir, snapshot)
	}
	_, mirrorOnly := p.last("mirror-only")
	info, err := os.Stat(snapshot)
	pinned := err == nil && info.Mode().IsRegular() && len(p.words) == 0 && !mirrorOnly

	flags := []string{"--mirror", r.Mirror, "--home", filepath.Join(r.Private, "cpm")}
	if pinned {
		flags = append(flags, "--no-default-resolvers", "--resolver", "snapshot,"+r.Mirror+"/")
	}
	if r.Versions {
		flags = append(flags, "--resolver", "metadb,"+r.Mirror+"/v1.0/,"+r.Mirror)
	}
	if pinned {
		return append(flags, "--resolver", "02packages,"+r.Mirror+"/")
	}
	return append(flags, "--mirror-only")
}
