package main

import (
	"errors"
	"fmt"

	"github.com/pauselog/pauselog/internal/artifact"
	"github.com/pauselog/pauselog/internal/submit"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// A submission is a file on its way to the log.
type submission struct {
	file  string
	entry entry.Entry
}

// classify reads a file and says what it is logged as, or why not.
func (s *submitter) classify(file string) submit.Item {
	x := submit.Item{Seen: s.seen, Tag: file}
	x.Err = s.read(file, &x.Entry)
	return x
}

func (s *submitter) read(file string, e *entry.Entry) error {
	*e = entry.Entry{Path: s.path}
	var err error
	if s.root != "" {
		if e.Path, err = artifact.Path(s.root, file); err != nil {
			return notRegular(err)
		}
	}
	if e.Kind, err = submit.Classify(e.Path); err != nil {
		return err
	}
	if e.Kind == entry.Upload {
		e.By, e.Seen = s.by, s.seen
	}
	f, err := artifact.ReadRegular(file)
	if err != nil {
		return notRegular(err)
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
	return e.Validate()
}

func notRegular(err error) error {
	if errors.Is(err, artifact.ErrNotRegular) {
		return fmt.Errorf("%w: %w", submit.ErrNever, err)
	}
	return err
}

// checkBundle checks that a bundle proves the entry. Without a policy nobody vouches for
// its checkpoint; that the log's operator can still say "this is not ours" is why a policy
// should be given.
func (s *submitter) checkBundle(x *submission, r *pb.SubmitResult) (*verify.Result, error) {
	if err := submit.CheckBundle(r); err != nil || s.policy == nil {
		return nil, err
	}
	return verify.Verify(verify.Request{Policy: s.policy, Path: x.entry.Path, SHA256: x.entry.SHA256, Size: x.entry.Size,
		Bundle: []byte(r.Bundle), Known: s.known}), nil
}
