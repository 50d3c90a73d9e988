package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// # Synced data that is gone
//
// Pebble can open without a word though keys are missing that it had synced: it takes the last block
// of the newest WAL, and the rest of its manifest, for the end of what was written when a byte there is
// wrong. The first loses the newest commits, the second as many flushes as the manifest no longer
// names, also from before commits that are there. The log notices all of that at start:
//
//   - the newest commits are gone: the state is older than the second head (package sequencer);
//   - commits before others are gone: keys are counted. Each table (a file of Pebble's) says how many keys of each kind
//     it has, so that this reads no key. A commit is one batch, of which Pebble keeps all or nothing,
//     and has entries; so no commit is lost without an entry that is missed;
//   - besides, all key tiles are read, the last tile's entries are hashed, and nothing may lie beyond
//     the size.
//
// Bytes that have changed in the middle do not get past a checksum, of Pebble's or the tree's, when
// they are read. Start does not read all entries and hash tiles to see that.

// A Missing says what is not there of what must be. It wraps ErrDamaged.
type Missing struct {
	What     string // "entry", "hash tile" or "key tile"
	From, To uint64 // the first run of them: from From to To, that one included
	Count    uint64 // how many are missing in all; 0: not counted
	Of       uint64 // how many there must be
}

func (m *Missing) Error() string {
	text := fmt.Sprintf("%v: %s %d is missing", ErrDamaged, m.What, m.From)
	if m.To > m.From {
		text = fmt.Sprintf("%v: %s %d to %d are missing", ErrDamaged, m.What, m.From, m.To)
	}
	if m.Count > 0 {
		text += fmt.Sprintf(" (of %d there must be, %d are not there)", m.Of, m.Count)
	}
	if m.What != "entry" {
		text += fmt.Sprintf("; of entries %d to %d", m.From*256, m.To*256+255)
	}
	return text + ". What was once synced is gone; 'pauselogd recover' brings it back from a copy of the log"
}

// Unwrap returns ErrDamaged.
func (m *Missing) Unwrap() error { return ErrDamaged }

// counted are the kinds of keys of which there must be one for each number, and what they are called.
var counted = [...]struct {
	prefix byte
	what   string
}{{'z', "entry"}, {'t', "hash tile"}, {'k', "key tile"}}

// checkNumbers checks that all entries and full tiles of a log of this size are there.
func (s *Store) checkNumbers(size uint64) error {
	found, known, err := s.census()
	if err != nil {
		return err
	}
	for i, c := range counted {
		of := size
		if c.prefix != 'z' {
			of = size / 256
		}
		if known && found[i] == of {
			continue
		}
		// A table of an older program, or one that was changed by hand, is searched key by key. So is
		// what must have a gap, to say where.
		if err := s.checkGaps(c.prefix, c.what, of); err != nil {
			return err
		}
	}
	return nil
}

// census adds up what the tables say. Once the store is open all that it holds is in tables: Pebble flushes what
// it replays. It is not known if a table does not say, or has keys that are not simply set once.
func (s *Store) census() (found [len(counted)]uint64, known bool, err error) {
	levels, err := s.db.SSTables(pebble.WithProperties())
	if err != nil {
		return found, false, fmt.Errorf("%w: the tables' properties: %v", ErrDamaged, err)
	}
	known = true
	for _, level := range levels {
		for _, table := range level {
			b := []byte(table.Properties.UserProperties[tallyName])
			// The first byte is Pebble's.
			if len(b) != 1+len(tally{})*8 || table.Virtual {
				known = false
				continue
			}
			for i := range found {
				found[i] += binary.BigEndian.Uint64(b[1+i*8:])
			}
			if binary.BigEndian.Uint64(b[1+len(counted)*8:]) > 0 {
				known = false
			}
		}
	}
	return found, known, nil
}

// checkGaps looks for each key from 0 to of.
func (s *Store) checkGaps(prefix byte, what string, of uint64) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: numbered(nil, prefix, 0), UpperBound: numbered(nil, prefix, of)})
	if err != nil {
		return err
	}
	m := Missing{What: what, Of: of}
	next := uint64(0)
	gap := func(to uint64) {
		if to <= next {
			return
		}
		if m.Count == 0 {
			m.From, m.To = next, to-1
		}
		m.Count += to - next
	}
	for ok := it.First(); ok; ok = it.Next() {
		if k := it.Key(); len(k) == 9 {
			n := binary.BigEndian.Uint64(k[1:])
			gap(n)
			next = n + 1
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return fmt.Errorf("%w: %s after %d: %v", ErrDamaged, what, next, err)
	}
	if gap(of); m.Count > 0 {
		return &m
	}
	return nil
}

// tallyName is the name of the property of a table that has its tally.
const tallyName = "pauselog.tally"

// A tally counts the keys of a table as it is written, by their kind, and last those that are not set but
// deleted or merged, which no log does.
type tally [len(counted) + 1]uint64

var _ pebble.BlockPropertyCollector = (*tally)(nil)

func newTally() pebble.BlockPropertyCollector { return new(tally) }

// Name implements pebble.BlockPropertyCollector.
func (*tally) Name() string { return tallyName }

// AddPointKey implements pebble.BlockPropertyCollector.
func (t *tally) AddPointKey(key pebble.InternalKey, _ []byte) error {
	if key.Kind() != pebble.InternalKeyKindSet && key.Kind() != pebble.InternalKeyKindSetWithDelete {
		t[len(counted)]++
		return nil
	}
	if len(key.UserKey) != 9 {
		return nil
	}
	for i := range counted {
		if key.UserKey[0] == counted[i].prefix {
			t[i]++
		}
	}
	return nil
}

// AddRangeKeys implements pebble.BlockPropertyCollector.
func (t *tally) AddRangeKeys(sstable.Span) error {
	t[len(counted)]++
	return nil
}

// AddCollectedWithSuffixReplacement implements pebble.BlockPropertyCollector.
func (*tally) AddCollectedWithSuffixReplacement([]byte, []byte, []byte) error {
	return errors.New("the store's keys have no suffixes")
}

// SupportsSuffixReplacement implements pebble.BlockPropertyCollector.
func (*tally) SupportsSuffixReplacement() bool { return false }

// FinishDataBlock implements pebble.BlockPropertyCollector.
func (*tally) FinishDataBlock(b []byte) ([]byte, error) { return b, nil }

// AddPrevDataBlockToIndexBlock implements pebble.BlockPropertyCollector.
func (*tally) AddPrevDataBlockToIndexBlock() {}

// FinishIndexBlock implements pebble.BlockPropertyCollector.
func (*tally) FinishIndexBlock(b []byte) ([]byte, error) { return b, nil }

// FinishTable implements pebble.BlockPropertyCollector.
func (t *tally) FinishTable(b []byte) ([]byte, error) {
	for _, n := range t {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b, nil
}
