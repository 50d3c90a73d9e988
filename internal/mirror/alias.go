package mirror

import (
	"strings"

	"github.com/pauselog/pauselog/log/entry"
)

// Mirrors have the files below authors/id under other names too: links by module, by category and by author. The log knows
// the name below authors/id, so such a request is for that file, wherever the author is in its path:
//
//	modules/by-module/<Top>/<ID>/<file>
//	modules/by-category/<category>/<Top>/<ID>/<file>
//	modules/by-authors/<...>                             all of authors/
//
// A link that names no author (src/5.0/perl-5.36.0.tar.gz, an old by-module/<Top>/<file>) has no such
// name. To look for an entry of the file's digest and name would not do: anyone may upload a file of that
// name to a folder of their own, and it is logged.

// canonical returns the path in authors/ of what an alias names, and every other path as it is.
func canonical(p string) string {
	if rest, ok := strings.CutPrefix(p, "modules/by-authors/"); ok {
		return "authors/" + rest
	}
	folders := 0 // between the tree and the author
	rest, ok := strings.CutPrefix(p, "modules/by-module/")
	if ok {
		folders = 1
	} else if rest, ok = strings.CutPrefix(p, "modules/by-category/"); ok {
		folders = 2
	} else {
		return p
	}
	for range folders {
		if _, rest, ok = strings.Cut(rest, "/"); !ok {
			return p
		}
	}
	id, file, ok := strings.Cut(rest, "/")
	if !ok || file == "" || !entry.IsPAUSEID(id) {
		return p
	}
	return "authors/id/" + id[:1] + "/" + id[:2] + "/" + id + "/" + file
}

// hint says what to ask for in place of an alias without an author.
func hint(p string) string {
	for _, tree := range []string{"src/", "modules/by-module/", "modules/by-category/", "ports/"} {
		if strings.HasPrefix(p, tree) {
			return ": files are logged by their names below authors/id, so ask for authors/id/X/XY/XYZ/FILE, where XYZ is the author"
		}
	}
	return ""
}
