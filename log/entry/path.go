package entry

import (
	"fmt"
	"strings"
)

// archives is the folder below which authors' directories lie.
const archives = "authors/id/"

// IndexPaths are the index files that are logged: the bytes as published, since a
// .gz cannot be derived from its text (its header carries a name and a time).
// More can be added without changing the format.
var IndexPaths = []string{
	"authors/01mailrc.txt.gz",
	"modules/02packages.details.txt",
	"modules/02packages.details.txt.gz",
	"modules/06perms.txt",
	"modules/06perms.txt.gz",
}

// IsPAUSEID reports whether s has the form of a PAUSE id: a capital, then one to
// nine capitals, digits and hyphens. (New ids are three to nine capitals; older ones
// have two characters, digits or hyphens.)
func IsPAUSEID(s string) bool {
	if len(s) < 2 || len(s) > 10 || s[0] < 'A' || s[0] > 'Z' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// checkPath checks what holds for every path.
func checkPath(p string) error {
	if isPath(p) {
		return nil
	}
	if p == "" || len(p) > MaxPath {
		return fmt.Errorf("path of %d bytes, expected 1 to %d", len(p), MaxPath)
	}
	for _, c := range []byte(p) {
		if c < 0x21 || c > 0x7E {
			return fmt.Errorf("path %q has a byte %#02x, expected printable ASCII without spaces", clip(p), c)
		}
	}
	for s := range strings.SplitSeq(p, "/") {
		if isNoSegment(s) {
			return fmt.Errorf("path %q has a segment %q", clip(p), s)
		}
	}
	return nil
}

// isPath is checkPath in one pass.
func isPath(p string) bool {
	segment := 0 // where it begins
	for i := range len(p) {
		switch c := p[i]; {
		case c == '/':
			if isNoSegment(p[segment:i]) {
				return false
			}
			segment = i + 1
		case c < 0x21 || c > 0x7E:
			return false
		}
	}
	return len(p) <= MaxPath && !isNoSegment(p[segment:])
}

func isNoSegment(s string) bool { return s == "" || s == "." || s == ".." }

// CheckArchivePath checks that p has the form authors/id/<c>/<cc>/<ID>/<rest>.
func CheckArchivePath(p string) error {
	if err := checkPath(p); err != nil {
		return err
	}
	if Author(p) == "" {
		return fmt.Errorf("path %q does not have the form authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz", clip(p))
	}
	return nil
}

// CheckIndexPath checks that p has the form modules/<name> or authors/<name>.
func CheckIndexPath(p string) error {
	if err := checkPath(p); err != nil {
		return err
	}
	if !isIndexPath(p) {
		return fmt.Errorf("path %q does not have the form modules/02packages.details.txt.gz", clip(p))
	}
	return nil
}

// isIndexPath reports whether what is known to be a path is an index file's.
func isIndexPath(p string) bool {
	dir, name, _ := strings.Cut(p, "/")
	return (dir == "modules" || dir == "authors") && name != "" && !strings.Contains(name, "/")
}

// Author returns the PAUSE id in whose directory an archive's path lies, or ""
// if p is not an archive's path.
func Author(p string) string {
	const start = len(archives + "E/ET/")
	if len(p) < start || p[:len(archives)] != archives || p[len(archives)+1] != '/' || p[start-1] != '/' {
		return ""
	}
	id, name, _ := strings.Cut(p[start:], "/")
	if name == "" || !IsPAUSEID(id) || p[len(archives)] != id[0] || p[start-3:start-1] != id[:2] {
		return ""
	}
	return id
}

// KindOf returns the kind of entry that makes a file at this path verify: Upload for an
// archive's path, Index for an index's.
func KindOf(p string) (Kind, error) {
	if strings.HasPrefix(p, archives) {
		return Upload, CheckArchivePath(p)
	}
	return Index, CheckIndexPath(p)
}

// IsUpload reports whether a file at this path can be an upload, by its name
// alone; if not, why says what it is instead. The package comment has the rules.
func IsUpload(p string) (ok bool, why string) {
	if err := CheckArchivePath(p); err != nil {
		return false, err.Error()
	}
	return isUploadName(p)
}

// isUploadName is IsUpload for what is known to be an archive's path.
func isUploadName(p string) (ok bool, why string) {
	name := p[strings.LastIndexByte(p, '/')+1:]
	if strings.HasSuffix(name, ".tar.gz") && name[0] != '.' && name[0] != 'C' {
		return true, "" // as nearly all are: none of what follows is about such a name
	}
	switch {
	case strings.HasPrefix(name, "CHECKSUMS"):
		return false, "CHECKSUMS files change and are not logged"
	case strings.HasSuffix(name, ".meta"), strings.HasSuffix(name, ".readme"):
		return false, "files that PAUSE extracts from an archive are not logged"
	case strings.HasSuffix(name, ".tlog-proof"):
		return false, "proofs are not logged"
	case strings.HasPrefix(name, "."):
		return false, "dotfiles are not logged"
	case strings.HasSuffix(name, "~"), strings.HasSuffix(name, ".tmp"), strings.HasSuffix(name, ".part"):
		return false, "temporary files are not logged"
	}
	bare, ok := cutSuffixFold(name, ".gz")
	if !ok {
		bare, _ = cutSuffixFold(name, ".bz2")
	}
	_, readme := cutSuffixFold(bare, "readme")
	document := false
	if dot := strings.LastIndexByte(bare, '.'); dot >= 0 {
		switch strings.ToLower(bare[dot:]) {
		case ".html", ".txt", ".mkdn", ".md", ".xml", ".yml", ".json", ".pdf", ".rdf", ".pod":
			document = true
		}
	}
	if readme || document {
		return false, "documents may be uploaded again under their name and are not logged"
	}
	return true, ""
}

// cutSuffixFold is strings.CutSuffix for a suffix of any case.
func cutSuffixFold(s, suffix string) (string, bool) {
	if n := len(s) - len(suffix); n >= 0 && strings.EqualFold(s[n:], suffix) {
		return s[:n], true
	}
	return s, false
}

// Distribution returns the distribution's name in an archive's path ("Try-Tiny"
// for .../Try-Tiny-0.31.tar.gz), or "" if the name carries no version. It serves
// lookups only; nothing is decided by it.
func Distribution(p string) string {
	name := p[strings.LastIndexByte(p, '/')+1:]
	for _, ext := range [...]string{".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".tar.Z", ".zip", ".pm.gz", ".tar-gz", ".tar_gz", ".7z"} {
		if s, ok := strings.CutSuffix(name, ext); ok {
			name = s
			break
		}
	}
	// The version begins at the last hyphen before a digit or a v and a digit:
	// Games-2048-0.05, libwww-perl-6.67, Foo-v1.2.3-TRIAL.
	for i := len(name) - 2; i > 0; i-- {
		if name[i] != '-' {
			continue
		}
		v := strings.TrimLeft(name[i+1:], "vV")
		if v != "" && len(name)-i-1-len(v) <= 1 && v[0] >= '0' && v[0] <= '9' {
			return strings.TrimSuffix(name[:i], ".pm")
		}
	}
	return ""
}
