package mirror

import (
	"net"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/pauselog/pauselog/log/entry"
)

// A class is what a path is, and so how it is verified.
type class int

const (
	unknown class = iota // nothing that a mirror serves
	archive
	index
	checksums
	document
	modlist
)

const modlistPath = "modules/03modlist.data.gz"

// classify decides by the path alone: what a file is must not depend on what an upstream says of it.
func classify(p string) class {
	switch {
	case slices.Contains(entry.IndexPaths, p):
		return index
	case p == modlistPath:
		return modlist
	case entry.CheckArchivePath(p) != nil:
		return unknown
	}
	name := path.Base(p)
	upload, _ := entry.IsUpload(p)
	switch {
	case upload:
		return archive
	case name == "CHECKSUMS":
		return checksums
	case strings.HasPrefix(name, "CHECKSUMS"):
		return unknown // CHECKSUMS.gz is evaluated too, and mirrors do not have it
	}
	return document
}

// cpanHosts are the hosts as which clients know CPAN. Whoever uses this mirror as an HTTP proxy asks for them by name.
var cpanHosts = []string{"www.cpan.org", "cpan.org", "cpan.metacpan.org", "backpan.perl.org", "backpan.cpan.org",
	"fastapi.metacpan.org", "cpanmetadb.plackperl.org"}

// knownHost reports whether a request is for this mirror or for CPAN. A page in a browser that had its
// own name resolve to 127.0.0.1 would come with that name.
func knownHost(r *http.Request) bool {
	if r.URL.IsAbs() && r.URL.Scheme != "http" {
		return false
	}
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host, port = r.Host, ""
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if loopbackHost(host) {
		return true
	}
	return slices.Contains(cpanHosts, host) && (port == "" || port == "80")
}

func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// requested returns the path relative to the CPAN root, or "" if there can be none.
func requested(r *http.Request) string {
	if r.URL.RawQuery != "" {
		return ""
	}
	// Clients join a mirror's URL that ends in a slash with a path that begins with one.
	return strings.TrimLeft(r.URL.Path, "/")
}
