package mirror

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/verify"
)

// Private says what is not of CPAN and is in no log: distributions of one's own, under an author's folder that PAUSE
// does not know. Both have to be named, what it is and where it comes from: a private upstream by itself could put
// other bytes in the place of everything that is logged, and a path that also public upstreams are asked for
// is one that a stranger may upload to.
//
// What is private is fetched from the private upstreams, and from nowhere else; it is passed on unverified, and
// nobody is asked about it, neither by its path nor by the shard of its path. All else is never fetched from
// a private upstream.
type Private struct {
	// Paths are folders, as authors/id/M/MY/MYCORP/ with the slash, and names of entry.IndexPaths, where
	// the name with or without .gz stands for both.
	Paths     []string
	Upstreams []Upstream // tried in this order
}

// Check checks that both are named, and every path is one that can be private.
func (p Private) Check() error {
	for _, path := range p.Paths {
		if err := checkPrivate(path); err != nil {
			return err
		}
	}
	switch {
	case len(p.Paths) > 0 && len(p.Upstreams) == 0:
		return fmt.Errorf("%s is private, and no private mirror is named to fetch it from: those of CPAN are not asked for it", p.Paths[0])
	case len(p.Paths) == 0 && len(p.Upstreams) > 0:
		return fmt.Errorf("%s is a private mirror, and no path is named that is private: nothing else is taken from it unverified", p.Upstreams[0])
	}
	return nil
}

func checkPrivate(path string) error {
	if slices.Contains(entry.IndexPaths, path) {
		return nil
	}
	if folder, ok := strings.CutSuffix(path, "/"); ok && entry.CheckArchivePath(folder+"/x") == nil {
		return nil
	}
	return fmt.Errorf("expected an author's folder, as authors/id/M/MY/MYCORP/, or an index, as modules/02packages.details.txt.gz; found %.200q", path)
}

// OpenPrivate returns the mirror at an https:// URL, at an http:// one on this machine, or in a folder: nothing else
// than TLS protects what it sends.
func OpenPrivate(where, userAgent string) (Upstream, error) {
	u, err := OpenUpstream(where, userAgent)
	if err != nil {
		return nil, err
	}
	if s, ok := u.(*site); ok {
		if !secure(s.base) {
			return nil, fmt.Errorf("%s: nothing verifies what is private, so expected https:// or a folder", s)
		}
		s.client.CheckRedirect = stayingSecure
	}
	return u, nil
}

// covers reports whether a path is private.
func (p Private) covers(path string) bool {
	for _, rule := range p.Paths {
		if strings.HasSuffix(rule, "/") && strings.HasPrefix(path, rule) || strings.TrimSuffix(rule, ".gz") == strings.TrimSuffix(path, ".gz") {
			return true
		}
	}
	return false
}

// decidePrivate gets a private file.
func (m *Mirror) decidePrivate(ctx context.Context, path string, c class) *object {
	limit := uint64(maxArchive)
	switch c {
	case checksums, document:
		o := m.decideSideFile(ctx, path, c, m.Private.Upstreams)
		if o.state == Passed {
			o.state = PassedPrivate
		}
		return o
	case index:
		limit = maxIndex
	default:
		if refused := m.refusePrivate(ctx, path); refused != nil {
			return refused
		}
	}
	var t tries
	for _, u := range m.Private.Upstreams {
		f, err := m.fetch(ctx, u, path, limit)
		if err == nil {
			err = f.doubtful()
		}
		if err != nil {
			t.failed(u, err)
			continue
		}
		o := &object{state: PassedPrivate, digest: f.digest(), size: f.size}
		if err := f.keep(); err != nil {
			return local(err)
		}
		return o
	}
	return t.conclude(&verify.Result{Outcome: verify.Unverifiable, Path: path})
}

// refusePrivate returns a refusal if an index was refused, or if PAUSE's index lists the path: somebody registered
// the id that was taken for private.
func (m *Mirror) refusePrivate(ctx context.Context, path string) *object {
	text, o := m.packagesText(ctx)
	if refused := m.refusedIndex(); refused != "" {
		return m.afterRefused(refused)
	}
	if o == nil {
		return local(errClosing)
	}
	if o.state == Refused {
		return o
	}
	if m.Private.covers(packagesPath) || !strings.Contains(text, " "+strings.TrimPrefix(path, "authors/id/")+"\n") {
		return nil
	}
	return &object{state: Refused, reason: "private, and in the index of CPAN",
		detail: path + " is private by --private, and the index of CPAN lists it: the name is somebody else's there. Rename yours, or take it out of --private"}
}
