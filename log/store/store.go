// Package store keeps a log's entries and its tree in Pebble, so that an append costs
// little more than its own bytes and a proof is one point read and memory.
//
// # What is on disk
//
// In the folder "log", a Pebble store with these keys, in this order:
//
//	c              the state that the last commit left: size, root, size before, time and the signed checkpoint
//	f              the store's format
//	k<n>           key tile n: the path hashes of the same 256 entries as tile n (0: not in the path table)
//	n<n>           the 16 nodes of level 4 above tile n: all that is read of a full tile when the store is opened
//	t<n>           level-0 tile n: 256 leaf hashes; full tiles only
//	v<index>       the index of the entry that was last for the same path before this one
//	z<index>       an entry's bytes
//
// with numbers as 8 bytes, big-endian. But for c and f, new keys are always greater than all others of their kind, and each kind
// has tables (Pebble's files) of its own, which therefore never overlap and are hardly ever written again (tablePerKind, merge.go).
// One batch holds the entries, tiles and state of one commit, so that after a crash the store is at one signed
// checkpoint or at the one before. What a store lacks that opens without complaint is found by counting (census.go). All else is
// derived and made anew at open (load.go): the tree from level 4 up and the last tile (memory.go), the
// table of paths (paths.go). The folder "lookup" holds an index for lookups (lookup.go), which follows
// behind, is written without a WAL, and is made again when it is lost.
//
// # Who sees what
//
// Pebble shows a batch to readers before its WAL is synced. Readers therefore never ask
// Pebble for what is newest: they take [Store.Head], which [Store.Advance] moves once the
// caller knows the batch to be durable, and pass its size to each read.
//
// One goroutine stages, one commits and advances (they may be the same); any
// number read.
package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/log/tree"
)

const formatName = "pauselog-store/v2"

var (
	// ErrDamaged says that what is on disk contradicts itself. Nothing must be signed.
	ErrDamaged = errors.New("the store is damaged")

	// ErrNotFound says that there is nothing at an index, below the size that was given.
	ErrNotFound = errors.New("not found")
)

// Options are how a store is opened.
type Options struct {
	FS vfs.FS // nil: the operating system's

	// Fatal is called when Pebble cannot go on: a failed sync of the WAL otherwise
	// passes as success. It must not return. nil: panic.
	Fatal func(error)

	Log *slog.Logger // nil: discard

	// ReadCache is how many bytes of entries and leaf hashes that were checked are kept for further
	// reads. 0: what suits the size at which it is opened.
	ReadCache int64
}

// blockCache is how many bytes Pebble keeps of blocks and, of the same, in memtables: mostly one or two of 16 MiB.
const blockCache = 32 << 20

// A State is what one commit made durable beside the entries.
type State struct {
	Size uint64
	Root tree.Hash
	// Previous is the size that the commit before had. A second head that says less than
	// this is not what a crash left.
	Previous uint64
	Time     uint64 // seconds since 1970: when this became the newest tree; never decreases
	Note     []byte // the signed checkpoint; the caller knows its format
}

// A Head is a durable state, with what a reader needs at its size. It never changes.
type Head struct {
	State
	tail *[256]tree.Hash // the leaf hashes from Size&^255 on
}

// A Store is an open store.
type Store struct {
	db     *pebble.DB
	second *pebble.DB // the lookup index
	log    *slog.Logger

	cache  *readCache
	memory *memory // the staging goroutine appends; readers take what a head covers
	paths  *paths  // the advancing goroutine inserts; readers need no lock

	// keys are the path hashes of the entries since the last full tile; the
	// staging goroutine's.
	keys [256]uint64
	// conflicts are the indexes of the conflict entries that were there when the store was opened.
	conflicts []uint64

	head atomic.Pointer[Head]

	lookup lookup

	closing sync.Once
	stop    chan struct{}
	stopped sync.WaitGroup
}

// Create makes an empty store in a new directory. The state is the one of size 0.
func Create(dir string, o Options, s State) error {
	dir = o.fileSystem().PathJoin(dir, "log")
	db, err := open(dir, o, true)
	if err != nil {
		return err
	}
	b := db.NewBatch()
	defer b.Close()
	err = errors.Join(
		b.Set([]byte{'f'}, []byte(formatName), nil),
		b.Set([]byte{'c'}, s.marshal(), nil),
		b.Commit(pebble.Sync))
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	// The first WAL of a store is written before its format is raised, and its damage
	// would be cut off silently. A second open retires it.
	db, err = open(dir, o, false)
	if err != nil {
		return err
	}
	return db.Close()
}

// Open opens a store and recomputes its tree, from the nodes of level 4 and the entries after the last
// full tile. If the root is not the state's, if of the entries and tiles any is missing or lies beyond its
// size, or the last full tile is not that of its entries, the error wraps ErrDamaged. What is missing
// is said by a *Missing.
func Open(dir string, o Options) (*Store, error) {
	fs := o.fileSystem()
	db, err := open(fs.PathJoin(dir, "log"), o, false)
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, log: o.logger(), stop: make(chan struct{})}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if o.ReadCache == 0 {
		o.ReadCache = defaultCache(s.Head().Size)
	}
	s.cache = newReadCache(o.ReadCache, s.Head().Size)
	if err := s.openLookup(fs.PathJoin(dir, "lookup"), o); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.stopped.Go(s.merge)
	return s, nil
}

func open(dir string, o Options, fresh bool) (*pebble.DB, error) {
	po := o.pebble(blockCache)
	po.Experimental.SpanPolicyFunc = tablePerKind
	po.BlockPropertyCollectors = []func() pebble.BlockPropertyCollector{newTally}
	po.ErrorIfExists = fresh
	po.ErrorIfNotExists = !fresh
	if !fresh {
		if _, err := po.FS.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s: there is no store: %w", dir, os.ErrNotExist)
		}
	}
	db, err := pebble.Open(dir, po)
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, pebble.ErrDBDoesNotExist):
		return nil, fmt.Errorf("%s: there is no store: %w", dir, os.ErrNotExist)
	case pebble.IsCorruptionError(err), errors.Is(err, os.ErrNotExist), strings.Contains(err.Error(), "object size mismatch"):
		// Of a file that is gone or has another size Pebble does not say that it is damage.
		return nil, fmt.Errorf("%w: %s: %v", ErrDamaged, dir, err)
	}
	return nil, fmt.Errorf("opening store %s: %w", dir, err)
}

// tablePerKind makes Pebble begin a new table with each kind of keys. In tables of several kinds each flush would overlap all flushes
// before it, and all of the log be merged with them, twice or more often over the years. Of the tables so made only those of the key c
// overlap. It comes first: a compaction takes along what lies between its tables and the next ones of the level below, which
// would be the newest entries if they were next to it.
func tablePerKind(key []byte) (policy pebble.SpanPolicy, end []byte, err error) {
	return pebble.SpanPolicy{}, []byte{key[0] + 1}, nil
}

// damaged makes an error of Pebble's about wrong bytes one that wraps ErrDamaged.
func damaged(err error) error {
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	return err
}

// pebble returns the options that both of a store's databases have.
func (o Options) pebble(cache int64) *pebble.Options {
	return &pebble.Options{
		FS:                 o.fileSystem(),
		CacheSize:          cache,
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             pebbleLog{o},
		// Few and large memtables and level-0 files keep write amplification low.
		// A flush makes one table of each kind of keys.
		TargetFileSizes:             [7]int64{32 << 20, 8 << 20},
		MemTableSize:                16 << 20,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                768, // a log of ten million entries has about 600 tables
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { o.logger().Error("store: background work failed", "error", err) },
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				o.logger().Error("store: corrupt file", "path", i.Path, "error", i.Details)
			},
			// Pebble panics at this with a lock held, which ends the process without saying why.
			WALCreated: func(i pebble.WALCreateInfo) {
				if i.Err != nil {
					pebbleLog{o}.Fatalf("a new WAL: %v", i.Err)
				}
			},
			DiskSlow: func(i pebble.DiskSlowInfo) { o.logger().Warn("store: slow disk", "info", i.String()) },
		},
	}
}

func (o Options) fileSystem() vfs.FS {
	if o.FS == nil {
		return vfs.Default
	}
	return o.FS
}

func (o Options) logger() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

// pebbleLog hands Pebble's fatal errors on. Its informative lines are of no use to an
// operator.
type pebbleLog struct{ o Options }

func (pebbleLog) Infof(string, ...any) {}
func (l pebbleLog) Errorf(format string, args ...any) {
	l.o.logger().Error("store: " + fmt.Sprintf(format, args...))
}
func (l pebbleLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf("store: "+format, args...)
	if l.o.Fatal != nil {
		l.o.Fatal(err)
	}
	panic(err) // Pebble treats a return as success
}

// Head is the newest durable state.
func (s *Store) Head() *Head { return s.head.Load() }

// Close ends the indexing and closes the store. What was committed is durable
// without it.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		close(s.stop)
		s.stopped.Wait()
		// Of the lookup index, which has no WAL, what is not flushed would be made again at the next start; of the log it
		// would be replayed, and a WAL is what Pebble may lose from without a word.
		err = errors.Join(flush(s.second), flush(s.db), s.second.Close(), s.db.Close())
	})
	return err
}

// flushTime is how long a flush at the end may take: on a full disk it is tried again and again.
const flushTime = 10 * time.Second

func flush(db *pebble.DB) error {
	done, err := db.AsyncFlush()
	if err != nil {
		return err
	}
	late := time.NewTimer(flushTime)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	}
	return nil
}

// An Item is an entry to append, and what the store must know of it.
type Item struct {
	Entry []byte
	Leaf  tree.Hash
	Path  Path

	// Last says that this entry is from now on the last one of its path; so is every
	// entry but a conflict.
	Last bool
	// Previous is the index + 1 of the entry that was last for the path before, or 0.
	Previous uint64
}

// A Batch is a staged commit.
type Batch struct {
	first   uint64
	head    Head
	pebble  *pebble.Batch
	changes []pathChange
}

// A pathChange says that an entry is now the last one of its path.
type pathChange struct {
	hash, index uint64
	previous    uint64 // the index + 1 of the one that was, or 0
}

// Next is the index that the next staged entry gets.
func (s *Store) Next() uint64 { return s.memory.size() }

// Stage assembles a commit of these entries, in this order, from index Next on. It
// must be sealed, committed and advanced, after all batches staged before it; a
// store that staged what was never committed must be closed.
func (s *Store) Stage(items []Item) (*Batch, error) {
	first := s.memory.size()
	if first+uint64(len(items)) > maxIndex {
		return nil, fmt.Errorf("a log has at most %d entries", uint64(maxIndex))
	}
	b := &Batch{first: first, pebble: s.db.NewBatchWithSize(1024 + 512*len(items)), changes: make([]pathChange, 0, len(items))}
	var key [9]byte
	for i, it := range items {
		index := first + uint64(i)
		hash := uint64(0)
		if it.Last {
			hash = it.Path.hash
			b.changes = append(b.changes, pathChange{hash, index, it.Previous})
			if it.Previous != 0 {
				if err := b.pebble.Set(numbered(key[:0], 'v', index), binary.BigEndian.AppendUint64(nil, it.Previous-1), nil); err != nil {
					return nil, err
				}
			}
		}
		if err := b.pebble.Set(numbered(key[:0], 'z', index), it.Entry, nil); err != nil {
			return nil, err
		}
		s.keys[index%256] = hash
		if err := s.memory.append(it.Leaf); err != nil {
			return nil, err
		}
		if (index+1)%256 != 0 {
			continue
		}
		if err := s.stageTiles(b.pebble, index/256); err != nil {
			return nil, err
		}
	}
	root, err := s.memory.root()
	if err != nil {
		return nil, err
	}
	b.head = Head{State: State{Size: s.memory.size(), Root: root, Previous: first}, tail: s.memory.tail}
	return b, nil
}

// stageTiles writes the hash tile and key tile n, which have just become full.
func (s *Store) stageTiles(b *pebble.Batch, n uint64) error {
	var key [9]byte
	hashes := make([]byte, 0, 256*tree.HashSize)
	for i := range s.memory.tail {
		hashes = append(hashes, s.memory.tail[i][:]...)
	}
	keys := make([]byte, 0, 256*8)
	for _, k := range s.keys {
		keys = binary.BigEndian.AppendUint64(keys, k)
	}
	return errors.Join(
		b.Set(numbered(key[:0], 't', n), hashes, nil),
		b.Set(numbered(key[:0], 'k', n), keys, nil),
		s.stageNodes(b, n))
}

// stageNodes writes the nodes of level 4 above tile n.
func (s *Store) stageNodes(b *pebble.Batch, n uint64) error {
	var key [9]byte
	nodes := make([]byte, 0, 16*tree.HashSize)
	for i := range uint64(16) {
		h := s.memory.levels[0].get(n*16 + i)
		nodes = append(nodes, h[:]...)
	}
	return b.Set(numbered(key[:0], 'n', n), nodes, nil)
}

// Size and Root are those of the tree once the batch is committed.
func (b *Batch) Size() uint64    { return b.head.Size }
func (b *Batch) Root() tree.Hash { return b.head.Root }

// Seal gives the batch its signed checkpoint.
func (b *Batch) Seal(time uint64, note []byte) error {
	b.head.Time, b.head.Note = time, note
	return b.pebble.Set([]byte{'c'}, b.head.marshal(), nil)
}

// Commit writes a sealed batch and returns once its WAL is synced. After an error
// it is unknown whether the batch is on disk, and the store must be closed.
func (s *Store) Commit(b *Batch) error {
	defer b.pebble.Close()
	if err := b.pebble.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("committing entries %d to %d: %w", b.first, b.head.Size, err)
	}
	return nil
}

// Advance makes a committed batch the head, for all readers from now on.
func (s *Store) Advance(b *Batch) error {
	// The paths first: a reader that takes the new head must find them, and one
	// that took the old head goes back from an entry beyond it by its v key, which
	// the commit has made readable.
	for _, c := range b.changes {
		if !s.paths.apply(c) {
			return notLast(c)
		}
	}
	s.head.Store(&b.head)
	s.lookup.wake()
	return nil
}

func numbered(b []byte, prefix byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, prefix), n)
}

// numberOf is the number in a key of a kind.
func numberOf(prefix byte, key []byte) (n uint64, ok bool) {
	if len(key) != 9 || key[0] != prefix {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[1:]), true
}

func (s *State) marshal() []byte {
	b := binary.BigEndian.AppendUint64(nil, s.Size)
	b = append(b, s.Root[:]...)
	b = binary.BigEndian.AppendUint64(b, s.Previous)
	b = binary.BigEndian.AppendUint64(b, s.Time)
	return append(b, s.Note...)
}

func unmarshalState(b []byte) (s State, err error) {
	const fixed = 8 + tree.HashSize + 8 + 8
	if len(b) < fixed {
		return s, fmt.Errorf("%w: state of %d bytes", ErrDamaged, len(b))
	}
	s.Size = binary.BigEndian.Uint64(b)
	b = b[8:]
	s.Root = tree.Hash(b[:tree.HashSize])
	b = b[tree.HashSize:]
	s.Previous = binary.BigEndian.Uint64(b)
	s.Time = binary.BigEndian.Uint64(b[8:])
	s.Note = bytes.Clone(b[16:])
	return s, nil
}

// get returns a copy of a value. A key that is not there is ErrNotFound.
func (s *Store) get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return bytes.Clone(v), nil
}

// DiskUsage is how many bytes the store has on disk.
func (s *Store) DiskUsage() uint64 {
	return s.db.Metrics().DiskSpaceUsage() + s.second.Metrics().DiskSpaceUsage()
}

// Metrics are Pebble's own figures about the log's data, without the lookup index.
func (s *Store) Metrics() *pebble.Metrics { return s.db.Metrics() }
