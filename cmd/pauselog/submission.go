package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pauselog/pauselog/internal/artifact"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// A submission is a file on its way to the log.
type submission struct {
	file  string
	entry entry.Entry
}

// errNever is for files that are never logged, by what they are.
var errNever = errors.New("not logged")

// classify reads a file and says what it is logged as.
func (s *submitter) classify(file string) (*submission, error) {
	path := s.path
	if s.root != "" {
		var err error
		if path, err = artifact.Path(s.root, file); err != nil {
			if errors.Is(err, artifact.ErrNotRegular) {
				err = fmt.Errorf("%w: %w", errNever, err)
			}
			return nil, err
		}
	}
	x := &submission{file: file, entry: entry.Entry{Kind: entry.Upload, Path: path, By: s.by, Seen: s.seen}}
	e := &x.entry
	switch ok, why := entry.IsUpload(path); {
	case slices.Contains(entry.IndexPaths, path):
		e.Kind, e.By, e.Seen = entry.Index, "", ""
	case ok:
	case entry.CheckArchivePath(path) == nil:
		return nil, fmt.Errorf("%w: %s", errNever, why)
	case !strings.HasPrefix(path, archives):
		return nil, fmt.Errorf("%w: of the files outside of authors/id, only these are: %s", errNever, strings.Join(entry.IndexPaths, ", "))
	case neverByName(path):
		return nil, fmt.Errorf("%w: it is in no author's folder, and of a kind that never is logged", errNever)
	default:
		// An archive under a name that an entry cannot hold stays unlogged, and somebody should know.
		return nil, fmt.Errorf("it cannot be logged: %s", why)
	}
	f, err := artifact.ReadRegular(file)
	if errors.Is(err, artifact.ErrNotRegular) {
		return nil, fmt.Errorf("%w: %w", errNever, err)
	}
	if err != nil {
		return nil, err
	}
	e.SHA256, e.Size = f.SHA256, f.Size
	switch {
	case s.at != 0:
		e.Time = s.at
	case e.Kind == entry.Upload && e.Seen == entry.SeenUpload:
		e.Time = now()
	default:
		e.Time = entry.TimeOf(f.ModTime)
	}
	return x, e.Validate()
}

const archives = "authors/id/"

// neverByName reports whether a file would not be logged in any author's folder either, as the
// RECENT files are not.
func neverByName(path string) bool {
	moved := archives + "A/AA/AA/" + path[strings.LastIndexByte(path, '/')+1:]
	ok, _ := entry.IsUpload(moved)
	return !ok && entry.CheckArchivePath(moved) == nil
}

// messageFor returns an entry as it is submitted. seen is how it was noticed; the entry of an index
// does not say, but its time may be old only if it was followed or found.
func messageFor(e *entry.Entry, seen entry.Seen) *pb.Submission {
	return &pb.Submission{Kind: string(e.Kind), Path: e.Path, Sha256: e.SHA256.String(), Size: e.Size,
		Time: e.Time.String(), By: e.By, Seen: string(seen)}
}

// checkLogged checks that an entry is what was submitted. Time, by and seen may be those of the
// first submission.
func checkLogged(want *entry.Entry, r *pb.SubmitResult) error {
	e, err := entry.Parse([]byte(r.Entry))
	if err != nil {
		return fmt.Errorf("%w: the entry: %w", client.ErrAnswer, err)
	}
	if e.Kind != want.Kind || e.Path != want.Path || e.SHA256 != want.SHA256 || e.Size != want.Size {
		return fmt.Errorf("%w: submitted a %s of %s with sha256 %s, and entry %d is a %s of %s with sha256 %s",
			client.ErrAnswer, want.Kind, want.Path, want.SHA256, r.Index, e.Kind, e.Path, e.SHA256)
	}
	if leaf := tree.LeafHash([]byte(r.Entry)); !bytes.Equal(leaf[:], r.LeafHash) {
		return fmt.Errorf("%w: the leaf hash is not that of the entry", client.ErrAnswer)
	}
	return nil
}

// checkBundle checks that a bundle proves the entry. Without a policy nobody vouches for
// its checkpoint; that the log's operator can still say "this is not ours" is why a policy
// should be given.
func (s *submitter) checkBundle(x *submission, r *pb.SubmitResult) (*verify.Result, error) {
	b, err := proof.Parse([]byte(r.Bundle))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", client.ErrAnswer, err)
	}
	if b.Index != r.Index || string(b.Entry) != r.Entry {
		return nil, fmt.Errorf("%w: the proof is of entry %d, and the file is entry %d", client.ErrAnswer, b.Index, r.Index)
	}
	if s.policy != nil {
		return verify.Verify(verify.Request{Policy: s.policy, Path: x.entry.Path, SHA256: x.entry.SHA256, Size: x.entry.Size,
			Bundle: []byte(r.Bundle), Known: s.known}), nil
	}
	note, err := checkpoint.ParseNote(b.Checkpoint)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", client.ErrAnswer, err)
	}
	c, err := checkpoint.ParseText(note.Text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", client.ErrAnswer, err)
	}
	if err := b.Verify(c.Size, c.Root); err != nil {
		return nil, fmt.Errorf("%w: %w", client.ErrAnswer, err)
	}
	return nil, nil
}
