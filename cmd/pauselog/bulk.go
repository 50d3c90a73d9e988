package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/pauselog/pauselog/internal/artifact"
	cpanmirror "github.com/pauselog/pauselog/internal/mirror"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/verify"
)

// Many files at once: those of a lockfile or of a tree. A lister finds them, workers decide about them, and what
// came out is printed in the order in which they were found. Only as many files as the workers have
// in hand are in memory.

// A job is a file to decide about.
type job struct {
	file string // as it is printed, and opened
	path string // on CPAN

	// result is set if the lister itself has decided; missing says that there is no such file.
	result  *verify.Result
	missing bool
	// unlogged is why a file of this name is never logged; such a file is only looked at for what it is.
	unlogged string
}

// A lister hands over jobs, and ends early if yield returns an error.
type lister func(ctx context.Context, yield func(job) error) error

// bulk verifies many files.
type bulk struct {
	*verifier
	dir     string // what the files' paths are relative to, for the proofs beside them
	follow  bool   // symbolic links at a file's own name
	sources []cpanmirror.Prover
	tally   tally
	said    map[string]bool // notes
}

// A handed is a job on its way from the lister to the printer.
type handed struct {
	job
	done   chan struct{} // closed when the rest is set
	result *verify.Result
	err    error
}

// run decides about all files, and returns the error to end with.
func (b *bulk) run(ctx context.Context, list lister) error {
	outer := ctx
	ctx, cancel := context.WithCancel(ctx)
	workers := runtime.GOMAXPROCS(0)
	queue, work := make(chan *handed, 16*workers), make(chan *handed)
	var listed error
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() {
		defer close(queue)
		defer close(work)
		listed = list(ctx, func(j job) error {
			h := &handed{job: j, done: make(chan struct{})}
			for _, to := range []chan *handed{queue, work} {
				select {
				case to <- h:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	for range workers {
		all.Go(func() {
			for h := range work {
				h.result, h.err = b.decideJob(ctx, h.job)
				close(h.done)
			}
		})
	}
	p := b.app.progressOf("files")
	defer p.clear()
	for h := range queue {
		select {
		case <-h.done:
		case <-ctx.Done():
		}
		switch {
		case outer.Err() != nil:
			return outer.Err()
		case h.err != nil:
			return h.err
		}
		if b.report(p, h); b.tally.misbehaved {
			// Nothing that this log vouches for is worth a look now.
			cancel()
			return b.finish()
		}
		p.showCount(b.tally.looked)
	}
	p.clear()
	if listed != nil {
		return listed
	}
	return b.finish()
}

func (b *bulk) finish() error {
	b.tally.print(b.app, b.mode)
	return finish(b.tally.worst(b.mode))
}

// report prints what came out of a job.
func (b *bulk) report(p *progress, h *handed) {
	b.tally.add(h)
	r := h.result
	if r == nil {
		return
	}
	p.clear()
	b.app.keepEvidence(r)
	if h.missing && b.app.json {
		b.app.printJSON(h.file, r, map[string]any{"missing": true})
		return
	}
	if r.Outcome == verify.Verified && !b.app.json {
		r.Notes = slices.DeleteFunc(r.Notes, func(note string) bool { return !oldIndex(b.request, r) && b.saidBefore(note) })
	}
	b.show(h.file, r)
}

// saidBefore reports whether a note was there before: what is to be said of the policy is the same for every file.
func (b *bulk) saidBefore(note string) bool {
	if b.said[note] {
		return true
	}
	if b.said == nil {
		b.said = map[string]bool{}
	}
	if len(b.said) < 1000 {
		b.said[note] = true
	}
	return false
}

// decideJob decides about a file; no result is for what is never logged and nothing is wrong with. An error ends the run.
func (b *bulk) decideJob(ctx context.Context, j job) (*verify.Result, error) {
	if j.result != nil {
		return j.result, nil
	}
	q := b.request
	q.Path = j.path
	if j.unlogged != "" {
		return disguised(q, j), nil
	}
	read := artifact.ReadRegular
	if b.follow {
		read = artifact.Read
	}
	f, err := read(j.file)
	if err != nil {
		return failed(q, err), nil
	}
	q.SHA256, q.Size = f.SHA256, f.Size
	r, err := b.judge(ctx, q)
	if err != nil || r.Outcome == verify.Verified || r.Outcome == verify.Misbehaviour {
		return r, err
	}
	return b.judgeText(ctx, j, q, r)
}

// judgeText gives an index that a mirror compressed anew a second chance: its text may be what was logged.
func (b *bulk) judgeText(ctx context.Context, j job, q verify.Request, r *verify.Result) (*verify.Result, error) {
	text, isGzip := strings.CutSuffix(j.path, ".gz")
	if !isGzip || !slices.Contains(entry.IndexPaths, text) {
		return r, nil
	}
	f, err := inflated(j.file)
	if err != nil {
		return r, nil
	}
	t := q
	t.Path, t.SHA256, t.Size = text, f.SHA256, f.Size
	of, err := b.judge(ctx, t)
	switch {
	case err != nil:
		return nil, err
	case of.Outcome == verify.Verified || of.Outcome == verify.Stale:
		of.Notes = append(of.Notes, "it was compressed anew; its text is what was logged")
		return of, nil
	case of.Proven && !r.Proven, of.Outcome == verify.Misbehaviour:
		return of, nil // PAUSE's text is logged and its .gz is not: the text is what to compare with
	}
	return r, nil
}

// judge asks the sources in their order, as the mirror does. One that verifies is enough. That one of them knows only of
// an old entry of these bytes does not say that there is no younger one, and is not outweighed by one that knows none.
func (b *bulk) judge(ctx context.Context, q verify.Request) (*verify.Result, error) {
	var worst, stale *verify.Result
	var notes, details []string
	for _, p := range b.sources {
		e, err := p.Prove(ctx, q.Path, q.SHA256)
		if err != nil {
			return nil, err
		}
		r := verify.Verify(with(q, e))
		switch r.Outcome {
		case verify.Verified, verify.Revoked, verify.Upgrade, verify.Misbehaviour, verify.Error, verify.Usage:
			r.Notes = append(r.Notes, notes...)
			return r, nil
		case verify.Stale:
			if r.Entry != nil && r.Entry.Kind == entry.Index {
				if stale == nil || r.Entry.Time > stale.Entry.Time {
					stale = r
				}
				continue
			}
		case verify.InvalidProof:
			// A bad proof is no proof from that source, whoever spoilt it.
			note := plain(fmt.Sprintf("a proof from %s proves nothing and was left aside: %s", p, r.Message))
			notes = append(notes, note)
			e = &client.Evidence{Detail: note}
			r = verify.Verify(with(q, e))
		}
		if r.Outcome == verify.Unverifiable && e.Detail != "" {
			details = append(details, e.Detail)
		}
		if worst == nil || r.Outcome != worst.Outcome && verify.Worst(worst.Outcome, r.Outcome) == r.Outcome {
			worst = r
		}
	}
	// Another snapshot is no contradiction. Anything else that is worse counts.
	if stale != nil && (worst == nil || worst.Outcome == verify.Mismatch || verify.Worst(worst.Outcome, verify.Stale) == verify.Stale) {
		stale.Notes = append(stale.Notes, notes...)
		return stale, nil
	}
	if worst == nil || worst.Outcome == verify.Unverifiable {
		// All that was tried, and not only the first.
		worst = verify.Verify(with(q, &client.Evidence{Detail: strings.Join(details, "; ")}))
	}
	return worst, nil
}

func with(q verify.Request, e *client.Evidence) verify.Request {
	q.Bundle, q.Revocation, q.Deletion, q.Absence, q.AbsenceDetail = e.Bundle, e.Revocation, e.Deletion, e.Absence, e.Detail
	return q
}

// beside has the proofs that lie beside the files of a folder.
type beside struct{ dir string }

func (s beside) String() string { return "the proofs beside the files" }

// Prove implements mirror.Prover.
func (s beside) Prove(_ context.Context, path string, _ entry.Digest) (*client.Evidence, error) {
	name := filepath.Join(s.dir, filepath.FromSlash(path)) + proof.Extension
	text, err := readProof(name)
	if err != nil {
		return &client.Evidence{Detail: "there is no " + name}, nil
	}
	return &client.Evidence{Bundle: text}, nil
}

// lazy is a source that is opened when it is first asked: a run that finds all its proofs at hand opens no connection.
type lazy struct {
	name string
	open func(ctx context.Context) (cpanmirror.Prover, error)

	once   sync.Once
	prover cpanmirror.Prover
	err    error
}

func (l *lazy) String() string { return l.name }

// Prove implements mirror.Prover.
func (l *lazy) Prove(ctx context.Context, path string, digest entry.Digest) (*client.Evidence, error) {
	l.once.Do(func() { l.prover, l.err = l.open(ctx) })
	switch {
	case errors.Is(l.err, errNoServer):
		return &client.Evidence{Detail: l.err.Error()}, nil
	case l.err != nil:
		return nil, l.err
	}
	return l.prover.Prove(ctx, path, digest)
}
