// Package submit is the side of whoever has files and brings them into the log: which files are
// logged as what, the stream on which many are submitted, and what is checked in the log's answers.
package submit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/client"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/proof"
	"github.com/pauselog/pauselog/log/tree"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

var (
	// ErrNever is for what is never logged, by what it is: a document, a side file, a symbolic link.
	ErrNever = errors.New("not logged")

	// ErrName is for an archive whose path an entry cannot hold: it stays unlogged, and somebody should know.
	ErrName = errors.New("it cannot be logged")
)

const archives = "authors/id/"

// Classify returns what a file is logged as, by its path relative to the CPAN root: entry.Upload or entry.Index. Its
// errors wrap ErrNever and ErrName.
func Classify(path string) (entry.Kind, error) {
	ok, why := entry.IsUpload(path)
	switch {
	case slices.Contains(entry.IndexPaths, path):
		return entry.Index, nil
	case ok:
		return entry.Upload, nil
	case entry.CheckArchivePath(path) == nil:
		return "", fmt.Errorf("%w: %s", ErrNever, why)
	case !strings.HasPrefix(path, archives):
		return "", fmt.Errorf("%w: of the files outside of authors/id, only these are: %s", ErrNever, strings.Join(entry.IndexPaths, ", "))
	case neverByName(path):
		return "", fmt.Errorf("%w: it is in no author's folder, and of a kind that never is logged", ErrNever)
	}
	return "", fmt.Errorf("%w: %s", ErrName, why)
}

// neverByName reports whether a file would not be logged in any author's folder either, as the
// RECENT files are not.
func neverByName(path string) bool {
	moved := archives + "A/AA/AA/" + path[strings.LastIndexByte(path, '/')+1:]
	ok, _ := entry.IsUpload(moved)
	return !ok && entry.CheckArchivePath(moved) == nil
}

// Message returns an entry as it is submitted. seen is how it was noticed; the entry of an index
// does not say, but its time may be old only if it was followed or found.
func Message(e *entry.Entry, seen entry.Seen) *pb.Submission {
	return &pb.Submission{Kind: string(e.Kind), Path: e.Path, Sha256: e.SHA256.String(), Size: e.Size,
		Time: e.Time.String(), By: e.By, Seen: string(seen)}
}

// CheckLogged checks that an entry is what was submitted. Time, by and seen may be those of the
// first submission. Its errors wrap client.ErrAnswer.
func CheckLogged(want *entry.Entry, r *pb.SubmitResult) error {
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

// CheckBundle checks that a result's bundle is of its entry, which CheckLogged has looked at, and that the entry is in
// the tree of the bundle's checkpoint. Nobody vouches for that checkpoint: that is for package verify and a
// policy. Its errors wrap client.ErrAnswer.
func CheckBundle(r *pb.SubmitResult) error {
	b, err := proof.Parse([]byte(r.Bundle))
	if err != nil {
		return fmt.Errorf("%w: %w", client.ErrAnswer, err)
	}
	if b.Index != r.Index || string(b.Entry) != r.Entry {
		return fmt.Errorf("%w: the proof is of entry %d, and the file is entry %d", client.ErrAnswer, b.Index, r.Index)
	}
	note, err := checkpoint.ParseNote(b.Checkpoint)
	if err != nil {
		return fmt.Errorf("%w: %w", client.ErrAnswer, err)
	}
	c, err := checkpoint.ParseText(note.Text)
	if err != nil {
		return fmt.Errorf("%w: %w", client.ErrAnswer, err)
	}
	if err := b.Verify(c.Size, c.Root); err != nil {
		return fmt.Errorf("%w: %w", client.ErrAnswer, err)
	}
	return nil
}
