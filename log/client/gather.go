package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/verify"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// Evidence about a file, as verify.Request takes it.
type Evidence struct {
	Bundle     []byte
	Revocation []byte // of the void, if the path's upload was voided
	Deletion   []byte // of the delete, if the file was deleted since
	Absence    verify.Absence
	Detail     string
}

// Gather asks the log for all that says something about a file: by its path, or, if that
// is not known and "", by its digest. trusted says that the connection is to the policy's
// log itself, by TLS or on this machine, so that its word that there is no entry counts. An
// error is a Misbehaviour, or local, or that of an ended context; that a server is unreachable
// or answers nonsense is an Absence.
func (l *Log) Gather(ctx context.Context, path string, digest entry.Digest, trusted bool) (*Evidence, error) {
	kind, kindErr := entry.KindOf(path)
	switch {
	case path == "":
		return l.gatherDigest(ctx, digest, trusted)
	case kindErr == nil && kind == entry.Index:
		// An index changes by nature. A mirror that lags has an older one, and that is logged
		// too; only if these bytes are not is the newest what to compare them with.
		p, err := l.BySHA256(ctx, digest)
		if err == nil && p.path() != path {
			p, err = l.sameBytes(ctx, path, digest)
		}
		switch {
		case stops(err):
			return nil, err
		case err == nil && p != nil:
			return &Evidence{Bundle: p.Text}, nil
		}
	}
	return l.gatherPath(ctx, path, trusted)
}

const (
	sameBytesPage  = 1000 // the most that a log gives at once
	sameBytesPages = 16
)

// sameBytes proves the newest entry that an index file has of a digest, where the newest one of the digest is another path's; it
// returns nil if there is none. The same bytes may well be logged twice: whoever can upload to PAUSE can make an archive of an
// index that was published. Without this, each mirror that lags would then seem to have an index that was never logged.
//
// The log lists such entries from the oldest on. So an index that was there first is found at once, however many copies were made
// of it since; the bound is for a server that lists without end.
func (l *Log) sameBytes(ctx context.Context, path string, digest entry.Digest) (*Proven, error) {
	r := &pb.LookupRequest{By: &pb.LookupRequest_Sha256{Sha256: digest.String()}, PageSize: sameBytesPage}
	index, found := uint64(0), false
	for range sameBytesPages {
		page, err := l.api.Lookup(ctx, r)
		if err != nil {
			return nil, err
		}
		for _, x := range page.Entries {
			if e, err := entry.Parse([]byte(x.Entry)); err == nil && e.Kind == entry.Index && e.Path == path && e.SHA256 == digest {
				index, found = x.Index, true
			}
		}
		if r.PageToken = page.NextPageToken; r.PageToken == "" {
			break
		}
	}
	if !found {
		return nil, nil
	}
	p, err := l.ByIndex(ctx, index)
	if err != nil || p.path() != path {
		return nil, err // a list proves nothing
	}
	return p, nil
}

func (l *Log) gatherPath(ctx context.Context, path string, trusted bool) (*Evidence, error) {
	p, err := l.ByPath(ctx, path)
	reason, metadata := Reason(err)
	if reason == "voided" {
		return l.gatherVoided(ctx, metadata)
	}
	if err != nil {
		return absent(err, trusted)
	}
	e := &Evidence{Bundle: p.Text}
	last, err := l.lastDelete(ctx, path, p.Bundle.Index)
	switch {
	case stops(err):
		return nil, err
	case err == nil && last != nil:
		e.Deletion = last.Text
	}
	return e, nil
}

// gatherDigest finds the entry by the digest, and then what else is said of its path.
func (l *Log) gatherDigest(ctx context.Context, digest entry.Digest, trusted bool) (*Evidence, error) {
	p, err := l.BySHA256(ctx, digest)
	if err != nil {
		return absent(err, trusted)
	}
	e := &Evidence{Bundle: p.Text}
	if path := p.path(); entry.Author(path) != "" {
		more, err := l.gatherPath(ctx, path, trusted)
		if err != nil {
			return nil, err
		}
		e.Revocation, e.Deletion = more.Revocation, more.Deletion
	}
	return e, nil
}

// path returns the entry's path, or "" if the entry cannot be read.
func (p *Proven) path() string {
	e, err := entry.Parse(p.Bundle.Entry)
	if err != nil {
		return ""
	}
	return e.Path
}

// gatherVoided fetches the void and what it voids: both are needed to tell the user.
func (l *Log) gatherVoided(ctx context.Context, metadata map[string]string) (*Evidence, error) {
	var e Evidence
	for key, to := range map[string]*[]byte{"upload_index": &e.Bundle, "void_index": &e.Revocation} {
		index, err := strconv.ParseUint(metadata[key], 10, 63)
		if err != nil {
			return absent(fmt.Errorf("%w: %s: %w", ErrAnswer, key, err), false)
		}
		p, err := l.ByIndex(ctx, index)
		if err != nil {
			return absent(err, false)
		}
		*to = p.Text
	}
	return &e, nil
}

// lastDelete returns the proof of a delete entry of the path after an index, if a lookup
// finds one. It decides nothing, so that it may fail.
func (l *Log) lastDelete(ctx context.Context, path string, after uint64) (*Proven, error) {
	r, err := l.api.Lookup(ctx, &pb.LookupRequest{By: &pb.LookupRequest_Path{Path: path}, PageToken: strconv.FormatUint(after, 10), PageSize: 16})
	if err != nil {
		return nil, err
	}
	for _, x := range r.Entries {
		if e, err := entry.Parse([]byte(x.Entry)); err == nil && e.Kind == entry.Delete && x.Index > after {
			return l.ByIndex(ctx, x.Index)
		}
	}
	return nil, nil
}

// stops reports whether an error must not be passed over, whatever was asked for.
func stops(err error) bool {
	var m *Misbehaviour
	return err != nil && (errors.As(err, &m) || isLocal(err))
}

// absent turns an error into the reason why there is no proof, unless it is one to stop for.
func absent(err error, trusted bool) (*Evidence, error) {
	if stops(err) {
		return nil, err
	}
	e := &Evidence{Absence: verify.Unreachable, Detail: message(err)}
	switch reason, _ := Reason(err); {
	case reason != "not-logged" && reason != "pending":
	case !trusted:
		e.Detail = "the server's word, \"" + e.Detail + "\", which counts only from the policy's log itself, over TLS or on this machine"
	case reason == "pending":
		e.Absence = verify.SaidPending
	default:
		e.Absence = verify.SaidNotLogged
	}
	return e, nil
}
