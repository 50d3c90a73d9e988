package mirror

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/verify"
)

// mailrcPath is the index by which nothing is installed.
const mailrcPath = "authors/01mailrc.txt.gz"

// A candidate is an index from one upstream, and what is to be said of it.
type candidate struct {
	upstream Upstream
	file     *fetched
	result   *verify.Result
	text     *held // nil unless only the text in the file is what was logged
}

// yields reports whether another candidate is better.
func (c *candidate) yields(to *candidate) bool {
	switch {
	case c == nil:
		return true
	case !proves(c.result) || !proves(to.result):
		return !proves(c.result) && proves(to.result)
	case c.result.Outcome != to.result.Outcome:
		return to.result.Outcome == verify.Verified
	}
	return younger(to.result, c.result)
}

// decideIndex needs the file first: of an index, many are logged. Of those that the upstreams have, an old one is as good as
// none if another upstream has a younger one.
func (m *Mirror) decideIndex(ctx context.Context, path string) *object {
	o := m.tryIndexes(ctx, path)
	if path == mailrcPath {
		return m.withoutNames(o)
	}
	return o
}

func (m *Mirror) tryIndexes(ctx context.Context, path string) *object {
	var t tries
	var best *candidate
	for _, u := range m.Upstreams {
		f, err := m.fetch(ctx, u, path, maxIndex)
		if err == nil && f.over {
			f.discard()
			err = fmt.Errorf("%w: it is larger than %d bytes", errUnusable, maxIndex)
		}
		if err != nil {
			t.failed(u, err)
			continue
		}
		c := &candidate{upstream: u, file: f}
		c.result, c.text = m.judgeIndex(ctx, path, f)
		final := ends(c.result)
		if !final && !proves(c.result) {
			if err := f.doubtful(); err != nil {
				t.failed(u, err)
				continue
			}
		}
		if !final && !best.yields(c) {
			f.discard()
			continue
		}
		if best != nil {
			best.file.discard()
		}
		best = c
		if final || c.result.Outcome == verify.Verified && !m.old(c.result) {
			break
		}
	}
	if best == nil {
		return t.conclude(&verify.Result{Outcome: verify.Unverifiable, Path: path})
	}
	return m.concludeIndex(ctx, path, best)
}

// ends reports whether nothing that another upstream has can change the outcome.
func ends(r *verify.Result) bool {
	return r.Outcome == verify.Misbehaviour || r.Outcome == verify.Error
}

func (m *Mirror) concludeIndex(ctx context.Context, path string, c *candidate) *object {
	warning := ""
	if path != mailrcPath {
		warning = m.explainAge(ctx, c.upstream, c.result)
	}
	if c.text != nil && !c.result.Outcome.Stops(m.Mode) {
		// Of this file the text is logged and nothing else. What is around it, a header with a name, or what a client
		// may read behind the end, does not go on.
		anew, err := m.compress(c.file, c.text)
		c.file.discard()
		if err != nil {
			return local(err)
		}
		c.file = anew
	}
	o := m.conclude(c.result, c.file)
	o.warning = warning
	return o
}

// judgeIndex verifies an index as it is, and, if a mirror compressed it anew, by its text. The text is nil unless it alone
// is what was logged.
func (m *Mirror) judgeIndex(ctx context.Context, path string, f *fetched) (*verify.Result, *held) {
	r, _ := m.judge(ctx, path, &held{f.digest(), f.size})
	plain, isGzip := strings.CutSuffix(path, ".gz")
	if r.Outcome == verify.Verified && !m.old(r) || ends(r) || !isGzip || !slices.Contains(entry.IndexPaths, plain) {
		return r, nil
	}
	text, err := inflated(f, io.Discard)
	if err != nil {
		return r, nil
	}
	t, _ := m.judge(ctx, plain, text)
	switch {
	case ends(t):
		return t, nil
	case proves(r):
		// The bytes are logged. That their text is logged later, too, makes them younger.
		if proves(t) && younger(t, r) {
			return t, nil
		}
	case proves(t):
		t.Notes = append(t.Notes, "the mirror compressed it anew; its text is what was logged, and is served as this machine compresses it")
		return t, text
	case t.Proven && !r.Proven:
		return t, nil // PAUSE's text is logged and its .gz is not: the text is what to compare with
	}
	return r, nil
}

// inflated hashes the text in a gzip file of one member, with nothing behind it, and writes it.
func inflated(f *fetched, to io.Writer) (*held, error) {
	in := bufio.NewReader(io.NewSectionReader(f.file, 0, int64(f.size)))
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(h, to), io.LimitReader(z, maxIndex+1))
	if err != nil {
		return nil, err
	}
	if n > maxIndex {
		return nil, errors.New("the text is too large")
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return nil, errors.New("there is more behind the text")
	}
	return &held{entry.Digest(h.Sum(nil)), uint64(n)}, nil
}

// compress returns a file of our own of the text in another: one member, without a name or a time, so that it is the same
// for the same text. The text is hashed again on the way, because the other file lies where others may write.
func (m *Mirror) compress(f *fetched, text *held) (*fetched, error) {
	t, err := m.cache.create()
	if err != nil {
		return nil, err
	}
	anew := &fetched{temporary: t, whole: true}
	z := gzip.NewWriter(t)
	got, err := inflated(f, z)
	if err == nil && *got != *text {
		err = errors.New("the index changed in the cache folder while it was compressed")
	}
	if err := errors.Join(err, z.Close()); err != nil {
		anew.discard()
		return nil, err
	}
	return anew, nil
}

// withoutNames is the decision about 01mailrc, the names and mail addresses of authors. Nothing is installed by it, so that
// it stops nothing; but it is shown on terminals, and people write to who is named there. So one that is too old is passed on,
// for it is PAUSE's; and in the place of one that does not verify, an empty one of ours is served. Both are told.
// What is wrong with more than this file stays a refusal.
func (m *Mirror) withoutNames(o *object) *object {
	if o.state != Refused || o.result == nil || ends(o.result) {
		return o
	}
	t, err := m.cache.create()
	if err != nil {
		return local(err)
	}
	if err := gzip.NewWriter(t).Close(); err != nil {
		t.discard()
		return local(err)
	}
	if err := t.keep(); err != nil {
		return local(err)
	}
	o.result.Message = "an empty one is served in its place, and nothing else is stopped: " + o.result.Message
	return &object{state: Passed, result: o.result, digest: t.digest(), size: t.size}
}
