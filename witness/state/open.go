package state

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/tree"
)

// suffix is how the names of the record files go on after the origin hash.
const suffix = ".log"

// Init makes the state of a new witness: an empty folder, and its head file outside of it.
// Both must not exist; the folder may be there and empty. The name is the witness's, which its
// keys have.
func Init(dir, headFile, name string) error {
	if err := checkpoint.ValidOrigin(name); err != nil {
		return fmt.Errorf("the witness's name: %w", err)
	}
	dir, err1 := filepath.Abs(dir)
	headFile, err2 := filepath.Abs(headFile)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if rel, err := filepath.Rel(dir, headFile); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return fmt.Errorf("the head file %s must lie outside of the folder %s: a restore of the folder would take it along", headFile, dir)
	}
	if _, err := os.Lstat(headFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	} else if err == nil {
		return fmt.Errorf("%s exists: it may be the head of another witness; name another file, or move it away if you know that its witness is retired", headFile)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if names, err := os.ReadDir(dir); err != nil {
		return err
	} else if len(names) > 0 {
		return fmt.Errorf("%s is not empty: it may be the state of another witness", dir)
	}
	if err := atomicfile.SyncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	// Last, because without it Open refuses.
	return head.Create(headFile, head.Head{Origin: name, Root: digest(nil)})
}

// Open opens a state that Init made, for the witness of this name, and locks it: a second
// Open fails with an error that wraps head.ErrLocked until Close. An error that wraps
// ErrRefused means that the state is not, or may not be, the newest.
//
// fatal, which may be nil, is called once with an error that wraps ErrBroken when a write has
// failed: the process must then end.
func Open(dir, headFile, name string, fatal func(error)) (*State, error) {
	k, err := head.Open(headFile)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, head.ErrNoHead):
		return nil, fmt.Errorf("%w: the head file: %w. It says how far this witness had signed, and without it the witness could sign a fork; %s. "+
			"Put back the newest copy of the head file. %s", ErrRefused, err, folderHolds(dir), gone)
	case errors.Is(err, head.ErrLocked):
		return nil, fmt.Errorf("%w: is the witness %s running already?", err, name)
	case err != nil:
		return nil, err
	}
	return onOS(dir).start(k, name, fatal)
}

// OpenOn is Open on a Disk, with a head whose lock, if there is a need for one, the caller holds. The State takes the
// head over, also when OpenOn fails.
func OpenOn(d Disk, dir string, k *head.Keeper, name string, fatal func(error)) (*State, error) {
	return folder{d, dir}.start(k, name, fatal)
}

func (d folder) start(k *head.Keeper, name string, fatal func(error)) (*State, error) {
	s, err := open(d, k, name, fatal)
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	if err := d.removeTemporary(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// gone is what remains to be done when there is no newest copy.
const gone = "If there is none, the state is lost: retire this witness's keys for ever and make a new witness with a new name"

// folderHolds says how far the folder is, for one who looks for the head file to it.
func folderHolds(dir string) string {
	logs, err := Inspect(dir)
	if err != nil {
		return fmt.Sprintf("the folder cannot be read either (%v)", err)
	}
	last := uint64(0)
	for _, l := range logs {
		last = max(last, l.Sequence)
	}
	return fmt.Sprintf("the folder %s is at change %d, with %d logs", dir, last, len(logs))
}

// open opens the state in f that belongs to a head, whose lock is held. On an error the
// caller closes the head.
func open(f files, k *head.Keeper, name string, fatal func(error)) (_ *State, err error) {
	s := &State{name: name, fatal: fatal, files: f, head: k}
	defer func() {
		if err != nil {
			for _, e := range s.order {
				e.record.Close()
			}
		}
	}()
	h := k.Head()
	if h.Origin != name {
		return nil, fmt.Errorf("%w: the head file is of the witness %s, expected %s", ErrRefused, h.Origin, name)
	}
	last, err := s.load()
	if path := (*fs.PathError)(nil); errors.As(err, &path) && !errors.Is(err, fs.ErrNotExist) {
		// The system's trouble, not the state's: other files would not help.
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%w: %w. The head file says change %d. Put back the newest copy of the folder. %s", ErrRefused, err, h.Size, gone)
	}
	a, err := readAcceptance(f)
	if err != nil {
		return nil, fmt.Errorf("%w: %w. Put back the newest copy of this file, or remove it: then the clock must be accepted again", ErrRefused, err)
	}
	s.accepted.Store(a)

	digest := digest(s.order)
	before, known := s.before(last)
	switch {
	case last == h.Size && digest == h.Root:
	case last == h.Size+1 && known && before == h.Root:
		// The crash between the two writes. The head first: it is to be ahead of whatever
		// anybody is told from now on.
		if err := k.Write(head.Head{Origin: name, Size: last, Root: digest}); err != nil {
			return nil, err
		}
	case last < h.Size:
		return nil, fmt.Errorf("%w: the folder is at change %d, with %d logs, and the head file at change %d: the folder, or a record in it, is an older copy, was emptied or is damaged. "+
			"Put back the newest copy of the folder, with change %d. %s", ErrRefused, last, len(s.order), h.Size, h.Size, gone)
	case last > h.Size+1:
		return nil, fmt.Errorf("%w: the folder is at change %d, with %d logs, and the head file only at change %d: the head file is an older copy. "+
			"Put back the newest copy of the head file, with change %d or %d. %s", ErrRefused, last, len(s.order), h.Size, last-1, last, gone)
	default:
		return nil, fmt.Errorf("%w: the folder is at change %d, with %d logs, and the head file at change %d, but with other records: a record was lost, damaged or is of another history. "+
			"Put back the newest copies of the folder and the head file that belong together. %s", ErrRefused, last, len(s.order), h.Size, gone)
	}
	if a.sequence > last {
		return nil, fmt.Errorf("%w: %s is of change %d, the records are at change %d: the folder is a mixture. Put back the newest copy of the folder", ErrRefused, clockFile, a.sequence, last)
	}
	s.sequence = last
	s.publish()
	s.setFloor()
	return s, nil
}

// load reads all records into order and returns the highest sequence.
func (s *State) load() (last uint64, err error) {
	names, err := s.files.list()
	if err != nil {
		return 0, err
	}
	slices.Sort(names)
	seen := make(map[uint64]string)
	for _, name := range names {
		hash, ok := recordName(name)
		if !ok {
			continue
		}
		e := &entry{hash: hash}
		if e.record, err = s.openRecord(hash); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		s.order = append(s.order, e)
		l, err := recordOf(hash, e.record.Content())
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		// Each change is of one record.
		if other, ok := seen[l.Sequence]; ok {
			return 0, fmt.Errorf("%s and %s are both of change %d", other, name, l.Sequence)
		}
		seen[l.Sequence] = name
		e.sum = sha256.Sum256(e.record.Content())
		e.log.Store(l)
		last = max(last, l.Sequence)
	}
	return last, nil
}

// recordName returns the origin hash in the name of a record's file.
func recordName(name string) (hash string, ok bool) {
	hash, ok = strings.CutSuffix(name, suffix)
	b, err := hex.DecodeString(hash)
	return hash, ok && err == nil && len(b) == sha256.Size && hex.EncodeToString(b) == hash
}

// recordOf reads the record in the file of this origin hash.
func recordOf(hash string, content []byte) (*Log, error) {
	l, err := unmarshal(content)
	if err != nil {
		return nil, err
	}
	if l.Hash() != hash {
		return nil, fmt.Errorf("the record is of %s, whose file is %s%s", l.Origin, l.Hash(), suffix)
	}
	return l, nil
}

// before returns the digest of all records as they were before the change of this number, if
// that can be told.
func (s *State) before(sequence uint64) (_ tree.Hash, known bool) {
	i := slices.IndexFunc(s.order, func(e *entry) bool { return e.log.Load().Sequence == sequence })
	if i < 0 {
		return tree.Hash{}, false
	}
	e := s.order[i]
	order := slices.Clone(s.order)
	switch previous, ok := e.record.Previous(); {
	case ok:
		old, err := recordOf(e.hash, previous)
		if err != nil || e.log.Load().follows(*old) != nil {
			return tree.Hash{}, false
		}
		order[i] = &entry{hash: e.hash, sum: sha256.Sum256(previous)}
	case e.record.Counter() == 1:
		// It was just added.
		order = slices.Delete(order, i, i+1)
	default:
		return tree.Hash{}, false
	}
	return digest(order), true
}

// Inspect reads the records in a folder without a lock, also while a witness is using it, in
// the order of their origins. It compares them with no head: what it returns is for an
// operator's eyes.
func Inspect(dir string) ([]Log, error) {
	names, err := onOS(dir).list()
	if err != nil {
		return nil, err
	}
	var logs []Log
	for _, name := range names {
		hash, ok := recordName(name)
		if !ok {
			continue
		}
		b, err := layout.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		l, err := recordOf(hash, b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		logs = append(logs, *l)
	}
	slices.SortFunc(logs, func(a, b Log) int { return strings.Compare(a.Origin, b.Origin) })
	return logs, nil
}
