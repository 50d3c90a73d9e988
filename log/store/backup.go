package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/log/tree"
)

// Snapshot makes a copy of the log's data as it is now, in a new folder in the place of a store's. Appends
// go on meanwhile. Files that do not change any more are linked, if the folder is on the same file system, so that
// a snapshot costs milliseconds and is no backup: what damages a file damages it in both. The newest commit in it may be one
// that the head does not have yet; it is whole, and signed.
//
// The lookup index is not in it, because Open makes it anew.
func (s *Store) Snapshot(dir string) error {
	fs := vfs.Default
	if _, err := fs.Stat(dir); err == nil {
		return fmt.Errorf("a snapshot of the store: %s: %w", dir, os.ErrExist)
	}
	if err := s.db.Checkpoint(fs.PathJoin(dir, "log")); err != nil {
		return fmt.Errorf("a snapshot of the store: %w", err)
	}
	return nil
}

// A Copy is a store that is only read, and of which nothing is believed: a backup, or a store that may be
// damaged. Nothing in its folder is changed, not even by replaying a WAL.
type Copy struct {
	db *pebble.DB
	o  Options
}

// OpenCopy opens a store for reading. Nothing locks it: the caller makes sure that nobody writes to it. A folder that is not there
// is an error that wraps os.ErrNotExist.
func OpenCopy(dir string, o Options) (*Copy, error) {
	fs := o.fileSystem()
	dir = fs.PathJoin(dir, "log")
	if _, err := fs.Stat(dir); err != nil {
		return nil, fmt.Errorf("%s: there is no store: %w", dir, os.ErrNotExist)
	}
	po := o.pebble(16 << 20)
	po.FS = unlocked{fs}
	po.ReadOnly = true
	db, err := pebble.Open(dir, po)
	if err != nil {
		return nil, fmt.Errorf("reading store %s: %w", dir, err)
	}
	return &Copy{db: db, o: o}, nil
}

// unlocked is a file system without locks: Pebble makes a file for its lock even where it only reads.
type unlocked struct{ vfs.FS }

func (unlocked) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// Close closes the copy.
func (c *Copy) Close() error { return c.db.Close() }

// State is what the store says of itself: nothing of it was compared with anything.
func (c *Copy) State() (State, error) {
	s := c.bare()
	b, err := s.get([]byte{'c'})
	if err != nil {
		return State{}, fmt.Errorf("%w: its state cannot be read: %w", ErrDamaged, err)
	}
	return unmarshalState(b)
}

// Tile returns the 256 leaf hashes of a full tile, as they are on disk.
func (c *Copy) Tile(n uint64) (*[256]tree.Hash, error) {
	v, err := c.bare().get(numbered(nil, 't', n))
	if err != nil {
		return nil, fmt.Errorf("%w: tile %d: %w", ErrDamaged, n, err)
	}
	return tileOf(v)
}

// Entries returns the entries from start to before end, as they are on disk. If one of them is missing or cannot be
// read, there is an error and nothing is returned.
func (c *Copy) Entries(start, end uint64) ([][]byte, error) {
	out := make([][]byte, 0, end-start)
	err := c.bare().scan('z', start, end, func(_ uint64, v []byte) error {
		out = append(out, append([]byte(nil), v...))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Root is the root of the tree of a size that is at most the state's, of a copy that Verify found to be sound.
func (c *Copy) Root(size uint64) (tree.Hash, error) {
	s, err := c.load()
	if err != nil {
		return tree.Hash{}, err
	}
	return s.Root(size)
}

// Verify does with a copy what Open and Scrub do with a store, and returns the state that all of it has. An error
// that is not the context's wraps ErrDamaged; the report then has what is damaged, if that can be told.
func (c *Copy) Verify(ctx context.Context, o ScrubOptions) (*ScrubReport, State, error) {
	state, err := c.State()
	if err != nil {
		return &ScrubReport{}, state, err
	}
	s, err := c.load()
	if err != nil {
		// The tree is not what was signed. Where it is not is told by what disagrees with what.
		s = c.bare()
		s.head.Store(&Head{State: state})
	}
	r, scrubErr := s.scrub(ctx, o, err == nil)
	if err == nil && scrubErr == nil && len(r.Damage) > 0 {
		err = fmt.Errorf("%w: %v", ErrDamaged, r.Damage[0])
	}
	return r, state, errors.Join(err, scrubErr)
}

// bare is the copy as a store of which nothing is in memory.
func (c *Copy) bare() *Store { return &Store{db: c.db, log: c.o.logger()} }

// load is the copy as an open store without its lookups.
func (c *Copy) load() (*Store, error) {
	s := c.bare()
	s.cache = newReadCache(1<<20, 0)
	return s, s.load()
}
