package installer

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// requirements returns the files in which a client reads what it is to install.
func requirements(client string, p parsed, get func(string) string, dir string) (names []string) {
	in := func(parts ...string) string {
		if last := parts[len(parts)-1]; filepath.IsAbs(last) {
			return last
		}
		return filepath.Join(append([]string{dir}, parts...)...)
	}
	named := ""
	for _, o := range p.options {
		if o.name == "cpanfile" || o.name == "cpmfile" {
			named = o.value
			names = append(names, in(named))
		}
	}
	switch client {
	case "cpanm":
		if _, ok := p.last("installdeps"); !ok {
			return nil
		}
		if named == "" {
			named = "cpanfile"
			names = append(names, in(named))
		}
		for _, word := range p.words {
			if filepath.IsAbs(word) {
				names = append(names, filepath.Join(word, named))
			} else {
				names = append(names, in(word, named))
			}
		}
	case "carton":
		if named != "" {
			break
		}
		if named = get("PERL_CARTON_CPANFILE"); named != "" {
			names = append(names, in(named))
			break
		}
		// The nearest one, also in a folder above.
		for folder, err := filepath.Abs(dir); err == nil; folder = filepath.Dir(folder) {
			name := filepath.Join(folder, "cpanfile")
			if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
				names = append(names, name)
				break
			}
			if folder == filepath.Dir(folder) {
				break
			}
		}
	case "cpm":
		if len(p.words) > 0 {
			return nil
		}
		if named == "" {
			names = append(names, in("cpm.yml"), in("cpanfile"))
		}
	default:
		return nil
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// A cpanfile is Perl, and a cpm.yml is YAML. These find sources as people write them; whoever hides them can as well
// download things in a cpanfile by code. A comment is none.
const uncommented = `(?m)^(?:[^#\n]|[^\s#]#)*?`

var (
	cpanfileOption = regexp.MustCompile(uncommented + `\b(git|url|mirror)\b['"]?\s*(?:=>|,)`)
	yamlOption     = regexp.MustCompile(uncommented + `(?:^|[\s{,?])['"]?(git|url|mirror)['"]?\s*:(?:[^:]|$)`)
	namedURL       = regexp.MustCompile(uncommented + `\b((?:https?|ftp|file|ssh|git(?:\+\w+)?):[^:\s]|git@|\.git\b)`)
	// A mirror for all modules: cpanm and Carton do not read it, and cpm is told another one.
	mirrorStatement = regexp.MustCompile(`(?m)^\s*mirror\s*\(?\s*(?:'[^'\n]*'|"[^"\n]*")\s*\)?\s*;`)
	mirrorsKey      = regexp.MustCompile(`(?m)^mirrors\s*:.*\n(?:[ \t]*-.*\n?)*`)
)

// sourcesIn returns what in such a file names another source than the mirror.
func sourcesIn(name string) (found []string) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil // the client says what is wrong with it
	}
	option := cpanfileOption
	if ext := filepath.Ext(name); ext == ".yml" || ext == ".yaml" {
		option = yamlOption
		b = mirrorsKey.ReplaceAll(b, nil)
	}
	b = mirrorStatement.ReplaceAll(b, nil)
	for _, m := range option.FindAllSubmatch(b, -1) {
		found = append(found, fmt.Sprintf("%s has the option %q", filepath.Base(name), m[1]))
	}
	if m := namedURL.FindSubmatch(b); m != nil && len(found) == 0 {
		found = append(found, fmt.Sprintf("%s names something by %q", filepath.Base(name), m[1]))
	}
	return found
}
