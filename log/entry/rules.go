package entry

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// A Last is what the log knows of a path: its last entry that is not a conflict.
// A nil *Last means that the path was never logged.
type Last struct {
	Entry *Entry
	Index uint64 // of Entry
	// Upload is the index of the path's newest upload entry; it has a meaning only
	// while Entry is an upload or a delete.
	Upload uint64
}

// A Verdict is what becomes of a submission.
type Verdict int

const (
	Refused    Verdict = iota // nothing is appended
	Appended                  // it becomes a new entry
	Repeated                  // it repeats the last entry and gets that one
	Conflicted                // it is refused, and a conflict entry says so, once per pair of digests
)

// What a submission is refused for. The words are part of the interface.
var (
	ErrConflict  = errors.New("conflict")   // the path is logged with another digest
	ErrNotLogged = errors.New("not-logged") // nothing to delete or void
	ErrOutOfTime = errors.New("time")       // too old, too far ahead, or not after the last
	ErrNotUpload = errors.New("not-upload") // a name that is not logged, by its form
	ErrInvalid   = errors.New("invalid")    // not an entry that can be submitted
)

// How far a submission's time may be from the log's clock, unless it was
// followed or backfilled: a hook's spool may wait out a week without the log.
const (
	MaxAhead  = 10 * time.Minute
	MaxBehind = 7 * 24 * time.Hour
)

// CheckSubmission checks what a submission must satisfy whatever the log holds. The
// operator's void passes; a conflict is only ever written by the log itself.
// Its errors wrap ErrInvalid or ErrNotUpload.
func (e *Entry) CheckSubmission() error {
	if err := e.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return e.checkKind()
}

// checkKind is CheckSubmission for what is known to be valid.
func (e *Entry) checkKind() error {
	switch e.Kind {
	case Conflict:
		return fmt.Errorf("%w: conflict entries are written by the log itself", ErrInvalid)
	case Index:
		if !slices.Contains(IndexPaths, e.Path) {
			return fmt.Errorf("%w: %s is not one of the logged index files", ErrInvalid, e.Path)
		}
	case Upload:
		if ok, why := isUploadName(e.Path); !ok {
			return fmt.Errorf("%w: %s: %s", ErrNotUpload, e.Path, why)
		}
	}
	return nil
}

// MarshalSubmission returns the entry's bytes if it passes CheckSubmission.
func (e *Entry) MarshalSubmission() ([]byte, error) {
	if err := e.CheckSubmission(); err != nil {
		return nil, err
	}
	return e.append(make([]byte, 0, 256+len(e.Path))), nil
}

// checkTime compares a new submission's time with the log's clock. What was not seen by
// PAUSE's hook may carry any time: an mtime is a claim.
func (e *Entry) checkTime(seen Seen, now time.Time) error {
	if e.Kind == Void || seen == SeenFollow || seen == SeenBackfill {
		return nil
	}
	switch at := e.Time.Time(); {
	case at.After(now.Add(MaxAhead)):
		return fmt.Errorf("%w: %s is more than %v ahead of the log's clock (%s)", ErrOutOfTime, e.Time, MaxAhead, TimeOf(now))
	case at.Before(now.Add(-MaxBehind)):
		return fmt.Errorf("%w: %s is more than 7 days before the log's clock (%s); submit it as seen by follow or backfill", ErrOutOfTime, e.Time, TimeOf(now))
	}
	return nil
}

// Decide says what becomes of a valid submission for a path whose last entry is l,
// at the time now of the log's clock. seen is how it was noticed: of an upload or a delete what
// its entry says, of an index something that is not logged. Unless the verdict is Appended or Repeated, the
// error says why and wraps one of the errors above.
//
// A repetition is recognised before anything else is judged, so that a submitter may
// repeat what was logged at any later time.
func (l *Last) Decide(e *Entry, seen Seen, now time.Time) (Verdict, error) {
	if l.repeatedBy(e) {
		return Repeated, nil
	}
	if err := l.follows(e); err != nil {
		if errors.Is(err, ErrConflict) {
			return Conflicted, err
		}
		return Refused, err
	}
	if err := e.checkTime(seen, now); err != nil {
		return Refused, err
	}
	return Appended, nil
}

// Follows checks that e may stand in a log after l: what an auditor asks of every
// entry. A conflict must name the digest that its path was logged with; that it is there
// once per pair is for the caller to remember.
func (l *Last) Follows(e *Entry) error {
	if e.Kind != Conflict {
		if err := e.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return l.FollowsParsed(e)
}

// FollowsParsed is Follows for an entry that Parse has accepted and that nobody has changed since: it does not ask again
// whether the entry is one.
func (l *Last) FollowsParsed(e *Entry) error {
	if e.Kind == Conflict {
		if l == nil || (l.Entry.Kind != Upload && l.Entry.Kind != Delete) || l.Entry.SHA256 != e.SHA256 {
			return fmt.Errorf("%w: a conflict entry for %s, which is not logged with %s", ErrInvalid, e.Path, e.SHA256)
		}
		return nil
	}
	if err := e.checkKind(); err != nil {
		return err
	}
	if l.repeatedBy(e) {
		return fmt.Errorf("%w: the entry repeats entry %d", ErrInvalid, l.Index)
	}
	return l.follows(e)
}

func (l *Last) repeatedBy(e *Entry) bool {
	if l == nil || l.Entry.Kind != e.Kind || l.Entry.SHA256 != e.SHA256 {
		return false
	}
	switch e.Kind {
	case Index:
		return l.Entry.Time == e.Time
	case Void:
		return l.Entry.Index == e.Index
	}
	return true
}

func (l *Last) follows(e *Entry) error {
	if l == nil || l.Entry.Kind == Void {
		if e.Kind == Delete || e.Kind == Void {
			return fmt.Errorf("%w: there is no upload of %s to %s", ErrNotLogged, e.Path, e.Kind)
		}
		return nil
	}
	switch e.Kind {
	case Index:
		if e.Time <= l.Entry.Time {
			return fmt.Errorf("%w: %s is not after %s, the time of entry %d for %s", ErrOutOfTime, e.Time, l.Entry.Time, l.Index, e.Path)
		}
		return nil
	case Void:
		if e.Index != l.Upload || e.SHA256 != l.Entry.SHA256 {
			return fmt.Errorf("%w: the newest upload of %s is entry %d with sha256 %s", ErrNotLogged, e.Path, l.Upload, l.Entry.SHA256)
		}
		return nil
	}
	if e.SHA256 != l.Entry.SHA256 {
		return fmt.Errorf("%w: %s is logged as entry %d with sha256 %s, and was now submitted with sha256 %s",
			ErrConflict, e.Path, l.Index, l.Entry.SHA256, e.SHA256)
	}
	return nil
}

// Next returns what is last for e's path once e stands at index: l itself after a conflict.
func (l *Last) Next(e *Entry, index uint64) *Last {
	switch e.Kind {
	case Conflict:
		return l
	case Delete:
		return &Last{Entry: e, Index: index, Upload: l.Upload}
	}
	return &Last{Entry: e, Index: index, Upload: index}
}
