package mirror

import (
	"bytes"
	"compress/gzip"
	"strconv"
	"strings"
)

// maxSideFile is how large a file may be that no log vouches for, in bytes.
const maxSideFile = 1 << 20

// magics are how archives and compressed files begin, whatever their names.
var magics = []struct{ name, at0 string }{
	{"gzip", "\x1f\x8b"},
	{"compress", "\x1f\x9d"},
	{"pack", "\x1f\x1e"},
	{"lzh", "\x1f\xa0"},
	{"zip", "PK\x03\x04"},
	{"zip", "PK\x05\x06"},
	{"zip", "PK\x07\x08"},
	{"bzip2", "BZh"},
	{"xz", "\xfd7zXZ\x00"},
	{"7z", "7z\xbc\xaf\x27\x1c"},
	{"lzma", "\x5d\x00\x00"},
	{"lzip", "LZIP"},
	{"zstd", "\x28\xb5\x2f\xfd"},
	{"rar", "Rar!\x1a\x07"},
	{"cpio", "070701"},
	{"ar", "!<arch>\n"},
}

// ArchiveFormat returns what kind of archive or compressed file bytes are, or "" if they are none. It looks at how they
// begin, and for the directory of a zip anywhere. Clients hand a file to tar and unzip whatever its
// name is, so that a name says nothing.
func ArchiveFormat(b []byte) string {
	for _, m := range magics {
		if bytes.HasPrefix(b, []byte(m.at0)) {
			return m.name
		}
	}
	if isTar(b) {
		return "tar"
	}
	// unzip looks for the directory at the end, and passes over what is before it.
	if bytes.Contains(b, []byte("PK\x05\x06")) {
		return "zip"
	}
	return ""
}

// isTar reports whether a block is a tar header: by its magic, or, since the oldest format has none, by its checksum.
func isTar(b []byte) bool {
	if len(b) >= 262 && string(b[257:262]) == "ustar" {
		return true
	}
	if len(b) < 512 {
		return false
	}
	want, err := strconv.ParseUint(strings.Trim(string(b[148:156]), " \x00"), 8, 32)
	if err != nil {
		return false
	}
	sum := uint64(8 * ' ')
	for i, c := range b[:512] {
		if i < 148 || i >= 156 {
			sum += uint64(c)
		}
	}
	return sum == want
}

// isPage reports whether bytes are a web page: what a captive portal or a broken mirror
// sends in place of a file.
func isPage(b []byte) bool {
	b = bytes.ToLower(bytes.TrimLeft(b[:min(len(b), 1024)], "\xef\xbb\xbf \t\r\n"))
	return bytes.HasPrefix(b, []byte("<!doctype html")) || bytes.HasPrefix(b, []byte("<html")) || bytes.HasPrefix(b, []byte("<head"))
}

// modlistText is an index of registered modules without any, in the form that CPAN.pm evaluates. PAUSE's
// has been empty since 2013, and code from a mirror is not to be evaluated.
const modlistText = `File:        03modlist.data
Description: empty since 2013
Modcount:    0
Written-By:  pauselog
Date:        Thu, 01 Jan 1970 00:00:00 GMT

package CPAN::Modulelist;
sub data { return {} }
$CPAN::Modulelist::cols = [];
$CPAN::Modulelist::data = [];
1;
`

var modlistFile = func() []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	// Writing to memory does not fail.
	w.Write([]byte(modlistText))
	w.Close()
	return b.Bytes()
}()
