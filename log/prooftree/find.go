package prooftree

import (
	"context"
	"errors"
	"fmt"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
)

// An Entry is one that was found by its path, and that is in the checkpoint's tree.
type Entry struct {
	Index uint64
	Leaf  tree.Hash
	Text  []byte
	// Entry is nil if its format is newer than this program. Whether it is of the path is then
	// not known.
	Entry *entry.Entry
}

// Find returns what the path index lists of a path, in the order of the log. That there is no
// more is the source's word alone; none is no error. An entry that is of another path, or that no honest
// shard lists, wraps ErrInvalid.
func (t *Tree) Find(ctx context.Context, path string) ([]Entry, error) {
	lines, err := t.lines(ctx, path)
	if err != nil {
		return nil, err
	}
	var found []Entry
	for _, l := range lines {
		e, err := t.listed(ctx, l)
		if err != nil {
			return nil, err
		}
		found = append(found, e)
	}
	return found, nil
}

// lines returns what the path's shard lists of it. What it lists beyond the tree is newer than the checkpoint.
func (t *Tree) lines(ctx context.Context, path string) ([]Line, error) {
	if _, err := entry.KindOf(path); err != nil {
		return nil, err
	}
	s, err := t.shard(ctx, ShardOf(path))
	if err != nil {
		return nil, err
	}
	lines, err := s.ofPath(path)
	if err != nil {
		return nil, err
	}
	t.cache.put(ShardName(s.number), s, len(s.text)) // one that is damaged is fetched again
	for len(lines) > 0 && lines[len(lines)-1].Index >= t.Size {
		lines = lines[:len(lines)-1]
	}
	return lines, nil
}

func (t *Tree) shard(ctx context.Context, number byte) (*shard, error) {
	name := ShardName(number)
	if v, ok := t.cache.get(name); ok {
		return v.(*shard), nil
	}
	text, err := t.source.Get(ctx, name, MaxShard)
	if err != nil {
		return nil, missing(name, err)
	}
	return &shard{number, text}, nil
}

// listed returns the entry that a line points to, if it may do so.
func (t *Tree) listed(ctx context.Context, l Line) (Entry, error) {
	text, err := t.Entry(ctx, l.Index)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Index: l.Index, Leaf: tree.LeafHash(text), Text: text}
	e.Entry, err = entry.Parse(text)
	switch {
	case errors.Is(err, entry.ErrUpgrade):
		return e, nil
	case err != nil:
		return Entry{}, fmt.Errorf("%w: entry %d: %w", ErrInvalid, l.Index, err)
	case e.Entry.Path != l.Path:
		return Entry{}, fmt.Errorf("%w: %s lists entry %d as one of %s, and it is of %s", ErrInvalid, ShardName(ShardOf(l.Path)), l.Index, l.Path, e.Entry.Path)
	case !Listed(e.Entry):
		return Entry{}, fmt.Errorf("%w: %s lists entry %d, a %s", ErrInvalid, ShardName(ShardOf(l.Path)), l.Index, e.Entry.Kind)
	}
	return e, nil
}

// A Proof is what a file verifies by, as package verify takes it.
type Proof struct {
	Bundle   *proof.Bundle
	Void     *proof.Bundle // of the entry that voids the upload; nil if none is listed
	Deletion *proof.Bundle // of a later delete entry, which is routine; nil if none is listed
}

// Voided reports whether the file must not be trusted.
func (p *Proof) Voided() bool { return p.Void != nil }

// BundleFor returns what verifies a file at a path with a digest. Of an archive that is the newest
// upload, whatever its digest, and what was logged of it since. Of an index file it is the newest entry of the
// digest, or else the newest. An entry of a newer format that is listed after these is returned in their
// place: whoever reads it must be told to upgrade.
//
// If the path is not listed, the error wraps ErrUnlisted.
func (t *Tree) BundleFor(ctx context.Context, path string, sha256 entry.Digest) (*Proof, error) {
	lines, err := t.lines(ctx, path)
	if err != nil {
		return nil, err
	}
	if isIndex(path) {
		return t.snapshot(ctx, lines, path, sha256)
	}
	var later []Entry // the newest first
	for i := len(lines) - 1; i >= 0; i-- {
		e, err := t.listed(ctx, lines[i])
		if err != nil {
			return nil, err
		}
		if e.Entry == nil {
			return t.proofOf(ctx, e)
		}
		if e.Entry.Kind == entry.Upload {
			return t.proofOf(ctx, e, later...)
		}
		later = append(later, e)
	}
	if len(lines) > 0 {
		return nil, fmt.Errorf("%w: %s lists no upload of %s", ErrInvalid, ShardName(ShardOf(path)), path)
	}
	return nil, t.unlisted(path)
}

// snapshot is BundleFor of an index file.
func (t *Tree) snapshot(ctx context.Context, lines []Line, path string, sha256 entry.Digest) (*Proof, error) {
	var newest *Entry
	for i := len(lines) - 1; i >= 0; i-- {
		e, err := t.listed(ctx, lines[i])
		if err != nil {
			return nil, err
		}
		if newest == nil {
			newest = &e
		}
		if e.Entry == nil || e.Entry.SHA256 == sha256 {
			return t.proofOf(ctx, e)
		}
	}
	if newest == nil {
		return nil, t.unlisted(path)
	}
	return t.proofOf(ctx, *newest)
}

func (t *Tree) unlisted(path string) error {
	return fmt.Errorf("%w: %s has no %s among the first %d entries", ErrUnlisted, ShardName(ShardOf(path)), path, t.Size)
}

// proofOf proves an entry, and what came after it.
func (t *Tree) proofOf(ctx context.Context, e Entry, later ...Entry) (*Proof, error) {
	p := new(Proof)
	var err error
	if p.Bundle, err = t.Bundle(ctx, e.Index); err != nil {
		return nil, err
	}
	for _, l := range later {
		switch {
		case l.Entry.Kind == entry.Void && l.Entry.Index == e.Index && p.Void == nil:
			p.Void, err = t.Bundle(ctx, l.Index)
		case l.Entry.Kind == entry.Delete && p.Deletion == nil:
			p.Deletion, err = t.Bundle(ctx, l.Index)
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}
