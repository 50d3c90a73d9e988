package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pauselog/pauselog/internal/lockfile"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/verify"
)

const archives = "authors/id/"

// caches are where Carton keeps what it installs, beside the snapshot: vendor/cache is what
// 'carton bundle' makes to be carried along, local/cache is what it fetched. Both are laid out as CPAN.
var caches = []string{"vendor/cache", "local/cache"}

// readSnapshot reads a snapshot, and returns what it lists, each pathname once.
func readSnapshot(name string) ([]lockfile.Distribution, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usagef("--snapshot: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, lockfile.MaxSize+1))
	if err != nil {
		return nil, usagef("--snapshot: %w", err)
	}
	all, err := lockfile.Parse(text)
	if errors.Is(err, lockfile.ErrVersion) {
		return nil, outcomeError{verify.Upgrade, fmt.Errorf("--snapshot: %s: %w", name, err)}
	}
	if err != nil {
		return nil, usagef("--snapshot: %s: %w", name, err)
	}
	seen := map[string]bool{}
	var once []lockfile.Distribution
	for _, d := range all {
		if key := d.Pathname; key == "" || !seen[key] {
			seen[key] = true
			once = append(once, d)
		}
	}
	return once, nil
}

// pathOf returns a distribution's path on CPAN, or why there is none.
func pathOf(d lockfile.Distribution) (string, error) {
	p := archives + d.Pathname
	if entry.CheckArchivePath(p) != nil {
		return "", fmt.Errorf("its pathname, %.100q, is no path on CPAN", d.Pathname)
	}
	if ok, why := entry.IsUpload(p); !ok {
		return "", fmt.Errorf("%s: %s", d.Pathname, why)
	}
	return p, nil
}

// notOfCPAN is the result of a distribution that no entry can be of.
func notOfCPAN(snapshot string, d lockfile.Distribution, why error) *verify.Result {
	return &verify.Result{Outcome: verify.Unverifiable,
		Message:  plain(fmt.Sprintf("%s, line %d of the snapshot, cannot be logged: %v", d.Name, d.Line, why)),
		Expected: "a pathname like E/ET/ETHER/Try-Tiny-0.31.tar.gz", Found: plain(fmt.Sprintf("%.200q", d.Pathname)),
		Causes: []string{"it was installed from a repository, a URL or a folder", snapshot + " was changed by hand"},
		Next:   []string{"review it by other means, or depend on a release on CPAN; --mode prefer lets it pass with this warning"}}
}

// openSnapshot reads the snapshot of the command line.
func (b *bulk) openSnapshot() (lister, error) {
	dists, err := readSnapshot(b.snapshot)
	if err != nil {
		return nil, err
	}
	if len(dists) == 0 {
		b.app.warn("%s lists no distributions: there is nothing to verify", b.snapshot)
	}
	b.follow = true // what counts is the bytes: build systems link to what they have
	if b.verifier.dir != "" {
		b.dir = b.verifier.dir
		if info, err := os.Stat(b.dir); err != nil {
			return nil, usagef("--dir: %w", err)
		} else if !info.IsDir() {
			return nil, usagef("--dir %s is no folder", b.dir)
		}
	} else if len(dists) > 0 {
		var names []string
		for _, c := range caches {
			name := filepath.Join(filepath.Dir(b.snapshot), filepath.FromSlash(c))
			names = append(names, name)
			if info, err := os.Stat(filepath.Join(name, "authors", "id")); b.dir == "" && err == nil && info.IsDir() {
				b.dir = name
			}
		}
		if b.dir == "" {
			return nil, usagef("there are no archives in %s: run 'carton bundle', or name their folder with --dir", strings.Join(names, " or "))
		}
	}
	return func(ctx context.Context, yield func(job) error) error { return b.listSnapshot(dists, yield) }, nil
}

// listSnapshot hands over what the snapshot lists, and notes what else there is.
func (b *bulk) listSnapshot(dists []lockfile.Distribution, yield func(job) error) error {
	listed := map[string]bool{}
	for _, d := range dists {
		j := job{file: d.Name}
		p, err := pathOf(d)
		if err != nil {
			j.result = notOfCPAN(b.snapshot, d, err)
		} else {
			j.path, j.file = p, filepath.Join(b.dir, filepath.FromSlash(p))
			listed[p] = true
			if _, err := os.Stat(j.file); errors.Is(err, fs.ErrNotExist) {
				j.missing = true
				j.result = &verify.Result{Outcome: verify.Unverifiable, Path: p,
					Message:  "it is missing: the snapshot lists it, and there is nothing to verify",
					Expected: "an archive at " + plain(j.file), Found: "none",
					Causes: []string{"it was not bundled: 'carton bundle' passes over what is not in local/cache", "the snapshot is newer than the bundle"},
					Next:   []string{"run 'carton install' and 'carton bundle' again; an installer would fetch it from elsewhere, and 'pauselog exec' verifies that"}}
			}
		}
		if err := yield(j); err != nil {
			return err
		}
	}
	return b.noteUnlisted(listed)
}

// noteUnlisted looks for archives that the snapshot does not list.
func (b *bulk) noteUnlisted(listed map[string]bool) error {
	if b.dir == "" {
		return nil
	}
	return filepath.WalkDir(filepath.Join(b.dir, "authors", "id"), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return outcomeError{verify.Error, err}
		}
		rel, err := filepath.Rel(b.dir, name)
		if err != nil {
			return outcomeError{verify.Error, err}
		}
		p := filepath.ToSlash(rel)
		if d.IsDir() || listed[p] || strings.HasSuffix(p, proof.Extension) || path.Base(p) == "CHECKSUMS" {
			return nil
		}
		b.tally.unlist(p)
		return nil
	})
}
