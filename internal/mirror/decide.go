package mirror

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/verify"
)

// How large a file may be, in bytes, if the log does not say how large it is.
const (
	maxArchive = 1 << 30
	maxIndex   = 256 << 20
	// maxNamed is how much of a file is read that will be refused, only to name its digest.
	maxNamed = 64 << 20
)

// decide makes a decision about a path, from the network on.
func (m *Mirror) decide(ctx context.Context, path string, c class) *object {
	switch {
	case m.Private.covers(path):
		return m.decidePrivate(ctx, path, c)
	case m.isConvicted() != nil:
		r := *m.isConvicted()
		r.Path = path
		return m.conclude(&r, nil)
	case c == archive:
		return m.decideArchive(ctx, path)
	case c == index:
		return m.decideIndex(ctx, path)
	}
	return m.decideSideFile(ctx, path, c, m.Upstreams)
}

// decideArchive finds the proof first, so that no more is read than was logged.
func (m *Mirror) decideArchive(ctx context.Context, path string) *object {
	if p := m.refusedIndex(); p != "" {
		return m.afterRefused(p)
	}
	r, e := m.judge(ctx, path, nil)
	for end := m.Now().Add(m.Hold); r.Outcome == verify.Pending && m.Now().Before(end) && wait(ctx, time.Second); {
		r, e = m.judge(ctx, path, nil)
	}
	switch r.Outcome {
	case verify.Verified:
		return m.fetchLogged(ctx, path, r, e)
	case verify.Misbehaviour, verify.Error, verify.Revoked:
		return m.conclude(r, nil)
	}
	return m.fetchUnproven(ctx, path, r)
}

// afterRefused is the decision about every archive after an index was refused: no more is known of it than of the index.
func (m *Mirror) afterRefused(index string) *object {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.objects[index]
	return &object{state: Refused, unsure: before != nil && before.unsure, reason: "the index was refused", detail: index + " was refused, so what was looked up in an index may be from an older one"}
}

func (m *Mirror) archiveUpstreams() []Upstream {
	if m.BackPAN == nil {
		return m.Upstreams
	}
	return append(slices.Clip(m.Upstreams), m.BackPAN)
}

// wait reports whether the time passed before the context ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// fetchLogged gets the bytes that are logged, from wherever they are.
func (m *Mirror) fetchLogged(ctx context.Context, path string, logged *verify.Result, e *client.Evidence) *object {
	if f, err := m.cache.open(logged.SHA256, logged.Size); err == nil {
		f.Close()
		return m.conclude(logged, nil)
	}
	var mismatch *verify.Result
	var t tries
	for _, u := range m.archiveUpstreams() {
		f, err := m.fetch(ctx, u, path, logged.Size)
		if err != nil {
			t.failed(u, err)
			continue
		}
		file := &held{f.digest(), f.size}
		if f.over {
			file = &held{entry.Digest{}, logged.Size + 1}
		}
		r := m.verify(path, file, e)
		switch {
		case r.Outcome == verify.Verified && !f.over:
			return m.conclude(r, f)
		case r.Outcome == verify.Misbehaviour, r.Outcome == verify.Error:
			// Not about these bytes: of the log, or of what this machine remembers of it.
			m.keepEvidence(r)
			f.discard()
			return m.conclude(r, nil)
		case f.altered != "":
			t.failed(u, fmt.Errorf("%w: %s", errUnusable, f.altered))
		case !f.whole && !f.over && f.size < logged.Size:
			t.failed(u, fmt.Errorf("%w: the connection ended after %d of %d bytes", errUnusable, f.size, logged.Size))
		case mismatch == nil:
			mismatch = r
			if f.over {
				mismatch.Found = fmt.Sprintf("more than %d bytes", logged.Size)
			}
			mismatch.Found += ", from " + u.String()
		}
		f.discard()
	}
	if mismatch != nil {
		return m.conclude(mismatch, nil)
	}
	return t.conclude(logged)
}

// fetchUnproven gets a file that no proof is there for: in order to say what was found, and to
// pass it on if the mode allows that.
func (m *Mirror) fetchUnproven(ctx context.Context, path string, r *verify.Result) *object {
	var t tries
	limit, stops := uint64(maxArchive), r.Outcome.Stops(m.Mode)
	if stops {
		limit = maxNamed
	}
	for _, u := range m.archiveUpstreams() {
		f, err := m.fetch(ctx, u, path, limit)
		if err == nil && stops && f.over {
			f.discard()
			r.Found += fmt.Sprintf("; the file from %s has more than %d bytes", u, limit)
			return m.conclude(r, nil)
		}
		if err == nil {
			err = f.doubtful()
		}
		if err != nil {
			t.failed(u, err)
			continue
		}
		r.SHA256, r.Size = f.digest(), f.size
		r.Found += fmt.Sprintf("; the file from %s has sha256 %s, %d bytes", u, r.SHA256, r.Size)
		return m.conclude(r, f)
	}
	return t.conclude(r)
}

// doubtful returns an error, and discards the file, if only a proof could tell that it is one.
func (f *fetched) doubtful() error {
	var err error
	switch {
	case f.over:
		err = errors.New("it is too large")
	case f.altered != "":
		err = errors.New(f.altered)
	case !f.whole:
		err = errors.New("the server does not say where it ends")
	default:
		return nil
	}
	f.discard()
	return fmt.Errorf("%w: %w", errUnusable, err)
}

// decideSideFile is for what is never logged.
func (m *Mirror) decideSideFile(ctx context.Context, p string, c class, upstreams []Upstream) *object {
	var t tries
	for _, u := range upstreams {
		f, err := m.fetch(ctx, u, p, maxSideFile)
		if err != nil {
			t.failed(u, err)
			continue
		}
		if f.over {
			f.discard()
			return &object{state: Refused, reason: "too large for a file that is never logged", detail: fmt.Sprintf("files of this name are never logged, and pass only up to %d bytes", maxSideFile)}
		}
		if err := f.doubtful(); err != nil {
			t.failed(u, err)
			continue
		}
		o := m.judgeSideFile(p, c, f)
		if o.state == Refused {
			f.discard()
			return o
		}
		o.digest, o.size = f.digest(), f.size
		if err := f.keep(); err != nil {
			return local(err)
		}
		return o
	}
	return t.conclude(&verify.Result{Outcome: verify.Unverifiable, Path: p})
}

func (m *Mirror) judgeSideFile(p string, c class, f *fetched) *object {
	b, err := f.all()
	if err != nil {
		return local(err)
	}
	if c == checksums {
		if err := m.checkChecksums(path.Dir(p), b); err != nil {
			return &object{state: Refused, reason: "CHECKSUMS are not in order", detail: err.Error()}
		}
	} else if format := ArchiveFormat(b); format != "" {
		return &object{state: Refused, reason: "an archive under a document's name",
			detail: fmt.Sprintf("it is a %s file, and files of this name are never logged", format)}
	}
	return &object{state: Passed}
}

// checkChecksums compares CHECKSUMS with what this mirror knows of the files in the folder.
func (m *Mirror) checkChecksums(dir string, b []byte) error {
	files, err := parseChecksums(b)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, l := range files {
		if want := strings.TrimPrefix(dir, "authors/id/"); l.cpanPath != "" && l.cpanPath != want {
			return fmt.Errorf("they are those of %.100q, expected %q", l.cpanPath, want)
		}
		o := m.objects[dir+"/"+name]
		if !l.hasSHA || o == nil || o.result == nil || o.result.Entry == nil || !o.result.Proven {
			continue
		}
		if logged := o.result.Entry.SHA256; logged != l.sha256 {
			return fmt.Errorf("%s: expected sha256 %s, which is logged, found %s", name, logged, l.sha256)
		}
	}
	return nil
}

// conclude makes the decision from a result. The file, which is nil if its bytes are in the cache or
// must not get there, is kept if it passes.
func (m *Mirror) conclude(r *verify.Result, f *fetched) *object {
	o := &object{result: r, digest: r.SHA256, size: r.Size}
	stops := r.Outcome.Stops(m.Mode) && (r.Outcome != verify.Stale || r.Path != mailrcPath)
	if f != nil {
		o.digest, o.size = f.digest(), f.size // of the file as it is served, where the result is of its text
		if stops {
			f.discard()
		} else if err := f.keep(); err != nil {
			return local(err)
		}
	}
	switch {
	case r.Outcome == verify.Verified:
		o.state = Verified
	case !stops:
		o.state = Passed
	default:
		o.state, o.reason = Refused, m.reasonOf(r)
		o.unsure = r.Outcome == verify.Unverifiable || r.Outcome == verify.Pending || r.Outcome == verify.Error
	}
	return o
}

// local is the decision after a failure of this machine, which says nothing about the file.
func local(err error) *object {
	return &object{state: Refused, unsure: true, reason: "a local failure", result: &verify.Result{Outcome: verify.Error,
		Message: err.Error(), Next: []string{"see that the cache's folder can be written, and its disk has room"}}}
}

// tries are the upstreams that have not got a file.
type tries struct {
	missing int
	unfit   []string
	local   error // what failed on this machine, whatever the upstream sent
}

func (t *tries) failed(u Upstream, err error) {
	switch {
	case errors.Is(err, errMissing):
		t.missing++
		return
	case errors.Is(err, errCache):
		t.local = err
		return
	}
	t.unfit = append(t.unfit, u.String()+": "+err.Error())
}

// conclude is the decision when no upstream had the file: it is not there, or it could not be had.
func (t *tries) conclude(r *verify.Result) *object {
	if t.local != nil {
		return local(t.local)
	}
	if len(t.unfit) == 0 {
		return &object{state: Missing}
	}
	return &object{state: Refused, unsure: true, result: &verify.Result{Outcome: verify.Unverifiable, Path: r.Path,
		Message:  "no mirror sent the whole file, so that there is nothing to verify: " + strings.Join(t.unfit, "; "),
		Expected: "a whole file", Found: "none",
		Causes: []string{"a mirror or the network is out of order", "a proxy or a login page answers in the mirror's place"},
		Next:   []string{"try again, or name another --upstream"}}, reason: "no mirror sent the whole file"}
}

// reasonOf says in a few words why a file is refused: more than the status line, some clients do not show.
func (m *Mirror) reasonOf(r *verify.Result) string {
	switch r.Outcome {
	case verify.Mismatch:
		return "digest differs"
	case verify.NotLogged:
		return "not logged"
	case verify.Pending:
		return "not published yet"
	case verify.Unverifiable:
		return "no proof to be had"
	case verify.PolicyUnmet:
		return "too few witnesses"
	case verify.Misbehaviour:
		return "the log contradicts itself"
	case verify.Stale:
		if m.ageOf(r) < 0 {
			return "index is dated in the future"
		}
		return "index is " + Age(m.ageOf(r)) + " old"
	case verify.Upgrade:
		return "pauselog is too old"
	case verify.Revoked:
		return "revoked"
	}
	return r.Outcome.String()
}

// isConvicted returns the first result of misbehaviour, or nil. From then on nothing passes that the log vouches for:
// one of its two histories is a lie, and nobody here knows which.
func (m *Mirror) isConvicted() *verify.Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.convicted
}
