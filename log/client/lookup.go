package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

const (
	lookupPage   = 100
	lookupProofs = 8 // fetched at the same time
)

// A Query says which entries to look up: those of one of its fields, which must be the
// only one that is set.
type Query struct {
	Path         string // every entry of the path
	Author       string // a PAUSE id: its own paths, and what it entered for others
	Distribution string // Try-Tiny
	SHA256       string // 64 lowercase hex digits
}

// A Found is an entry that a lookup found, and that is proven to be in the log.
type Found struct {
	Index uint64
	Entry *entry.Entry // nil if its format is newer than this program
	Text  []byte
}

// Coverage says how far a lookup went. That nothing else is there is the word of
// whoever answered: an inclusion proof shows what is in a tree, not what is not.
type Coverage struct {
	Seen    *Seen  // what was found is proven to be in this checkpoint's tree
	Indexed uint64 // entries below this index were searched
}

// Lookup calls found for each entry of a query, in the order of their indexes. Each is
// proven to be in the newest checkpoint's tree, and is what was asked for. Entries that
// were published after that checkpoint are left out.
func (l *Log) Lookup(ctx context.Context, q Query, found func(Found) error) (*Coverage, error) {
	r, err := q.request()
	if err != nil {
		return nil, err
	}
	seen, err := l.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	c := &Coverage{Seen: seen, Indexed: seen.Size}
	next := uint64(0) // no entry before it may come
	for {
		page, err := l.api.Lookup(ctx, r)
		if err != nil {
			return nil, err
		}
		c.Indexed = min(c.Indexed, page.IndexedSize)
		entries := page.Entries
		for i, x := range entries {
			if x.Index < next {
				return nil, fmt.Errorf("%w: a lookup returned entry %d, expected one from %d on", ErrAnswer, x.Index, next)
			}
			if x.Index >= seen.Size {
				entries = entries[:i]
				break
			}
			next = x.Index + 1
		}
		out, err := l.proveAll(ctx, seen, q, entries)
		if err != nil {
			return nil, err
		}
		for _, f := range out {
			if err := found(f); err != nil {
				return nil, err
			}
		}
		if page.NextPageToken == "" || len(entries) < len(page.Entries) {
			return c, nil
		}
		// A server must not be able to lead on for ever.
		if at, err := strconv.ParseUint(page.NextPageToken, 10, 63); err != nil || at < next || len(entries) == 0 {
			return nil, fmt.Errorf("%w: a lookup goes on at %.40q after %d", ErrAnswer, page.NextPageToken, next)
		}
		r.PageToken = page.NextPageToken
	}
}

func (q Query) request() (*pb.LookupRequest, error) {
	r := &pb.LookupRequest{PageSize: lookupPage}
	n := 0
	for _, x := range []struct {
		value string
		set   func()
	}{
		{q.Path, func() { r.By = &pb.LookupRequest_Path{Path: q.Path} }},
		{q.Author, func() { r.By = &pb.LookupRequest_Author{Author: q.Author} }},
		{q.Distribution, func() { r.By = &pb.LookupRequest_Distribution{Distribution: q.Distribution} }},
		{q.SHA256, func() { r.By = &pb.LookupRequest_Sha256{Sha256: q.SHA256} }},
	} {
		if x.value != "" {
			x.set()
			n++
		}
	}
	if n != 1 {
		return nil, errors.New("a lookup is by one of path, author, distribution, sha256")
	}
	return r, nil
}

// matches reports whether an entry is one that the query asks for.
func (q Query) matches(e *entry.Entry) bool {
	switch {
	case q.Path != "":
		return e.Path == q.Path
	case q.Author != "":
		return entry.Author(e.Path) == q.Author || e.By == q.Author
	case q.Distribution != "":
		return entry.Distribution(e.Path) == q.Distribution
	}
	return e.SHA256.String() == q.SHA256 || e.Kind == entry.Conflict && e.Other.String() == q.SHA256
}

// proveAll proves each entry, several at the same time: a page one after the other would
// take a hundred times the way to the log and back.
func (l *Log) proveAll(ctx context.Context, seen *Seen, q Query, entries []*pb.LoggedEntry) ([]Found, error) {
	out, errs := make([]Found, len(entries)), make([]error, len(entries))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	slots := make(chan struct{}, lookupProofs)
	for i, x := range entries {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if out[i], errs[i] = l.proveFound(ctx, seen, q, x); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	// The first that failed by itself, not one that was cancelled because of it.
	var first error
	for _, err := range errs {
		if err != nil && (first == nil || isCanceled(first)) {
			first = err
		}
	}
	return out, first
}

func (l *Log) proveFound(ctx context.Context, seen *Seen, q Query, x *pb.LoggedEntry) (Found, error) {
	a, err := l.api.GetInclusionProof(ctx, &pb.GetInclusionProofRequest{
		Entry: &pb.GetInclusionProofRequest_Index{Index: x.Index}, TreeSize: seen.Size})
	if err != nil {
		return Found{}, err
	}
	hashes, err := hashesOf(a.Hashes)
	if err != nil {
		return Found{}, err
	}
	text := []byte(x.Entry)
	b := &proof.Bundle{Entry: text, Index: x.Index, Hashes: hashes}
	if err := b.Verify(seen.Size, seen.Root); err != nil {
		return Found{}, fmt.Errorf("%w: entry %d: %w", ErrAnswer, x.Index, err)
	}
	f := Found{Index: x.Index, Text: text}
	f.Entry, err = entry.Parse(text)
	switch {
	case errors.Is(err, entry.ErrUpgrade):
		return f, nil
	case err != nil:
		return Found{}, fmt.Errorf("%w: entry %d: %w", ErrAnswer, x.Index, err)
	case !q.matches(f.Entry):
		return Found{}, fmt.Errorf("%w: entry %d, of %s, is not what was asked for", ErrAnswer, x.Index, f.Entry.Path)
	}
	return f, nil
}
