package state

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/slot"
	"github.com/pauselog/pauselog/log/tree"
)

// MaxLogs is the largest number of logs of a witness. Each takes 128 KiB on disk and an open
// file.
const MaxLogs = 4096

var (
	// ErrRefused says that folder and head do not belong together, or that one of them is
	// gone. Its text says both sequences and what to do.
	ErrRefused = errors.New("refusing to start")

	// ErrConflict says that the stored size or root is not the expected one: another request
	// was faster.
	ErrConflict = errors.New("the stored checkpoint is another")

	// ErrBroken says that an earlier write had an unknown outcome, and that the process must
	// end.
	ErrBroken = errors.New("the witness's state is in doubt after a failed write")

	// ErrUnknownLog says that no log of this origin was added.
	ErrUnknownLog = errors.New("unknown log")

	// ErrDisabled says that the log is disabled.
	ErrDisabled = errors.New("the log is disabled")

	// ErrOtherKeys says that a log exists and does not have a key that it was to be added
	// with. AddKey adds it.
	ErrOtherKeys = errors.New("the log is known with other keys")

	// ErrRetiredKey says that a key was retired, and never counts again.
	ErrRetiredKey = errors.New("the key was retired")

	// ErrClosed says that the State was closed.
	ErrClosed = errors.New("the witness's state is closed")
)

// A State is a witness's state, open in this process alone. Its methods may be called
// concurrently.
type State struct {
	name  string
	fatal func(error)

	// logs is replaced when a log is added; the entries stay.
	logs atomic.Pointer[map[string]*entry] // by origin hash

	err atomic.Pointer[error] // why it is broken

	accepted atomic.Pointer[acceptance]
	floor    atomic.Uint64

	// What is below belongs to whoever holds mu: one change at a time, through both writes.
	mu       sync.Mutex
	files    files
	head     *head.Keeper
	sequence uint64
	order    []*entry // by origin hash
	closed   bool
}

// An entry is a log's place in a State.
type entry struct {
	hash   string
	record *slot.Keeper        // under State.mu
	sum    [sha256.Size]byte   // of the record; under State.mu
	log    atomic.Pointer[Log] // replaced once the head is durable
}

// Name returns the witness's name.
func (s *State) Name() string { return s.name }

// Log returns what is known of a log, by its origin hash. It waits for nobody, and what it
// returns is durable.
func (s *State) Log(originHash string) (Log, bool) {
	e, ok := (*s.logs.Load())[originHash]
	if !ok {
		return Log{}, false
	}
	return *e.log.Load(), true
}

// Logs returns all logs, in the order of their origins.
func (s *State) Logs() []Log {
	m := *s.logs.Load()
	logs := make([]Log, 0, len(m))
	for _, e := range m {
		logs = append(logs, *e.log.Load())
	}
	slices.SortFunc(logs, func(a, b Log) int { return strings.Compare(a.Origin, b.Origin) })
	return logs
}

// Err returns an error that wraps ErrBroken after a failed write, and otherwise nil.
func (s *State) Err() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Close waits for a change that is under way and closes all files. The lock ends.
func (s *State) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.closeFiles()
}

func (s *State) closeFiles() error {
	var errs []error
	for _, e := range s.order {
		errs = append(errs, e.record.Close())
	}
	return errors.Join(append(errs, s.head.Close())...)
}

// Add makes a log known, with nothing cosigned yet. If a log of this origin is known and has
// all these keys, Add changes nothing and returns false, also when it is disabled or was
// announced with another qpd or contact: a downloaded list of logs must not be able to take
// anything away. If it lacks one of the keys, the error wraps ErrOtherKeys.
func (s *State) Add(origin string, keys []*checkpoint.VerifierKey, qpd uint64, contact string) (added bool, err error) {
	err = s.locked(func() error {
		hash := originHash(origin)
		if e, ok := (*s.logs.Load())[hash]; ok {
			for _, k := range keys {
				switch l := e.log.Load(); {
				case slices.Contains(l.Retired, Ref(k)):
					return fmt.Errorf("%w: %s of %s", ErrRetiredKey, Ref(k), origin)
				case !hasKey(l.Keys, k):
					return fmt.Errorf("%w: %s has no key %s", ErrOtherKeys, origin, Ref(k))
				}
			}
			return nil
		}
		if len(s.order) == MaxLogs {
			return fmt.Errorf("expected at most %d logs", MaxLogs)
		}
		l := Log{Sequence: s.sequence + 1, Origin: origin, Keys: slices.Clone(keys), QPD: qpd, Contact: contact,
			Cosigned: Cosigned{Root: tree.EmptyRoot}}
		added = true
		return s.commit(&entry{hash: hash}, l)
	})
	return added && err == nil, err
}

func hasKey(keys []*checkpoint.VerifierKey, k *checkpoint.VerifierKey) bool {
	return slices.ContainsFunc(keys, func(o *checkpoint.VerifierKey) bool { return o.String() == k.String() })
}

// AddKey makes one more key of a log known. A key that is known is no error.
func (s *State) AddKey(origin string, key *checkpoint.VerifierKey) error {
	return s.edit(origin, func(l *Log) (changed bool, err error) {
		if slices.Contains(l.Retired, Ref(key)) {
			return false, fmt.Errorf("%w: %s of %s", ErrRetiredKey, Ref(key), origin)
		}
		if hasKey(l.Keys, key) {
			return false, nil
		}
		l.Keys = append(slices.Clone(l.Keys), key)
		return true, nil
	})
}

// RetireKey makes a key of a log, named as by Ref, count no more, for ever: the log has replaced it, or it
// was stolen. It is an operator's act; a downloaded list must never lead to it. The last key
// cannot be retired: a log that is to be cosigned no more is disabled. A key that is
// retired already is no error.
func (s *State) RetireKey(origin, ref string) error {
	return s.edit(origin, func(l *Log) (changed bool, err error) {
		if slices.Contains(l.Retired, ref) {
			return false, nil
		}
		at := slices.IndexFunc(l.Keys, func(k *checkpoint.VerifierKey) bool { return Ref(k) == ref })
		if at < 0 {
			return false, fmt.Errorf("%s has no key %.300q", origin, ref)
		}
		if len(l.Keys) == 1 {
			return false, fmt.Errorf("%s is the only key of %s: add the new one first, or disable the log", ref, origin)
		}
		l.Keys = slices.Delete(slices.Clone(l.Keys), at, at+1)
		l.Retired = append(slices.Clone(l.Retired), ref)
		return true, nil
	})
}

// Disable makes the witness cosign nothing more for a log. What it cosigned stays known.
func (s *State) Disable(origin string) error { return s.disable(origin, true) }

// Enable takes Disable back.
func (s *State) Enable(origin string) error { return s.disable(origin, false) }

func (s *State) disable(origin string, disabled bool) error {
	return s.edit(origin, func(l *Log) (changed bool, err error) {
		changed = l.Disabled != disabled
		l.Disabled = disabled
		return changed, nil
	})
}

// edit changes a record, if there is something to change.
func (s *State) edit(origin string, change func(*Log) (changed bool, err error)) error {
	return s.locked(func() error {
		e, ok := (*s.logs.Load())[originHash(origin)]
		if !ok {
			return fmt.Errorf("%w: %.100q", ErrUnknownLog, origin)
		}
		l := *e.log.Load()
		if changed, err := change(&l); err != nil || !changed {
			return err
		}
		l.Sequence = s.sequence + 1
		return s.commit(e, l)
	})
}

// Update makes next what the witness cosigned last for a log, durably, if the stored size and
// root are still the expected ones; otherwise its error wraps ErrConflict, and nothing
// changed. No signature over next may leave the witness before Update has returned nil.
//
// It is the last line of defence, and refuses what its caller should have: a size that goes
// back, another root for the stored size, a time that goes back (see AcceptTime), a disabled
// log.
func (s *State) Update(origin string, expectedSize uint64, expectedRoot tree.Hash, next Cosigned) error {
	return s.locked(func() error {
		e, ok := (*s.logs.Load())[originHash(origin)]
		if !ok {
			return fmt.Errorf("%w: %.100q", ErrUnknownLog, origin)
		}
		l := *e.log.Load()
		switch floor := s.accepted.Load().floor(&l); {
		case l.Disabled:
			return fmt.Errorf("%w: %s", ErrDisabled, origin)
		case l.Size != expectedSize || l.Root != expectedRoot:
			return fmt.Errorf("%w: expected size %d and root %v, found %d and %v", ErrConflict, expectedSize, expectedRoot, l.Size, l.Root)
		case next.Time < floor:
			return fmt.Errorf("cosignature of %s: time %d would become %d", origin, floor, next.Time)
		}
		l.Sequence = s.sequence + 1
		l.Cosigned, l.signed = next, l.Sequence
		l.Note = slices.Clone(next.Note)
		return s.commit(e, l)
	})
}

// locked runs a change, one at a time. A State that breaks within tells Fatal, without the lock.
func (s *State) locked(change func() error) error {
	err := func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.Err(); err != nil {
			return err
		}
		if s.closed {
			return ErrClosed
		}
		return change()
	}()
	var b *broken
	if errors.As(err, &b) {
		s.tell(b)
	}
	return err
}

// broken is the error that breaks a State. It is handed to Fatal once.
type broken struct {
	err  error
	once sync.Once
}

func (b *broken) Error() string   { return fmt.Sprintf("%v: %v", ErrBroken, b.err) }
func (b *broken) Unwrap() []error { return []error{ErrBroken, b.err} }

func (s *State) tell(b *broken) {
	b.once.Do(func() {
		if s.fatal != nil {
			s.fatal(b)
		}
	})
}

// fail breaks the State.
func (s *State) fail(err error) error {
	var b error = &broken{err: err}
	s.err.Store(&b)
	return b
}

// commit writes a log's next record, and the head. The package's documentation says what a
// crash leaves at each point. An error before the first write changes nothing.
func (s *State) commit(e *entry, next Log) error {
	if e.record != nil {
		if err := next.follows(*e.log.Load()); err != nil {
			return fmt.Errorf("record of %s: %w", next.Origin, err)
		}
	}
	b, err := next.marshal()
	if err == nil {
		err = fits(b)
	}
	if err != nil {
		return fmt.Errorf("record of %.100q: %w", next.Origin, err)
	}

	// From here on an error leaves it unknown what the disk holds.
	order := s.order
	if e.record == nil {
		if e.record, err = s.create(e.hash, b); err != nil {
			return s.fail(fmt.Errorf("new record of %s: %w", next.Origin, err))
		}
		at, _ := slices.BinarySearchFunc(order, e.hash, func(e *entry, hash string) int { return strings.Compare(e.hash, hash) })
		order = slices.Insert(slices.Clone(order), at, e)
		// Whatever happens to the head's write, the file is to be closed.
		s.order = order
	} else if err := e.record.Put(b); err != nil {
		return s.fail(fmt.Errorf("record of %s: %w", next.Origin, err))
	}
	e.sum = sha256.Sum256(b)
	if err := s.head.Write(head.Head{Origin: s.name, Size: next.Sequence, Root: digest(order)}); err != nil {
		return s.fail(err)
	}

	// Durable in both: now it may be seen.
	s.sequence = next.Sequence
	isNew := e.log.Swap(&next) == nil
	s.setFloor()
	if isNew {
		s.publish()
	}
	return nil
}

// create makes a new record's file and opens it.
func (s *State) create(hash string, content []byte) (*slot.Keeper, error) {
	if err := s.files.create(hash+suffix, content); err != nil {
		return nil, err
	}
	return s.openRecord(hash)
}

func (s *State) openRecord(hash string) (*slot.Keeper, error) {
	f, err := s.files.open(hash + suffix)
	if err != nil {
		return nil, err
	}
	k, err := layout.Read(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return k, nil
}

// publish makes the entries of order the logs that are known.
func (s *State) publish() {
	m := make(map[string]*entry, len(s.order))
	for _, e := range s.order {
		m[e.hash] = e
	}
	s.logs.Store(&m)
}

// digest is what the head says of all records. Without any it is the empty tree's root.
func digest(order []*entry) tree.Hash {
	h := sha256.New()
	var hash [sha256.Size]byte
	for _, e := range order {
		hex.Decode(hash[:], []byte(e.hash))
		h.Write(hash[:])
		h.Write(e.sum[:])
	}
	return tree.Hash(h.Sum(nil))
}
