package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/store"
)

// A running is a log that was started: it holds the lock of its head file.
type running struct {
	head      *head.Keeper
	store     *store.Store
	sequencer *sequencer.Sequencer
}

// opening is how a log is started.
type opening struct {
	// witnessed: the log is held until its witnesses have been asked.
	witnessed bool
	log       *slog.Logger
	fatal     func(error)
	observe   func(sequencer.Commit)
}

// open starts a log, or refuses to.
func open(f *datafolder.Folder, o opening) (_ *running, err error) {
	var r running
	defer func() {
		if err != nil {
			err = errors.Join(startError(f, err), r.close())
		}
	}()
	r.head, err = head.Open(f.Head)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, head.ErrNoHead) {
		if r.head, err = replaceHead(f, o, err); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	if r.store, err = store.Open(f.StoreDir(), store.Options{Fatal: o.fatal, Log: o.log}); err != nil {
		return nil, err
	}
	r.sequencer, err = sequencer.Open(sequencer.Config{Origin: f.Origin, Store: r.store, Head: r.head, Signers: f.Signers, Retired: f.Retired,
		Held: o.witnessed, Log: o.log, Fatal: o.fatal, Observe: o.observe})
	if err != nil {
		return nil, err
	}
	// After the sizes, which say more about what is wrong.
	if err := checkStarts(f, r.head.Head(), r.store.Head().Size); err != nil {
		return nil, err
	}
	// The folder's count first: a crash between the two leaves it one ahead of the head's, which
	// checkStarts knows; an older copy can only be behind. It is counted from the head's, so
	// that however many such crashes follow one another leave no more than that.
	if err := atomicfile.Write(startsFile(f), fmt.Appendf(nil, "%d\n", r.head.Head().Starts+1), 0o600); err != nil {
		return nil, err
	}
	if err := r.head.Begin(); err != nil {
		return nil, err
	}
	return &r, nil
}

// replaceHead makes a new head file in place of one that is gone or damaged, if the log has witnesses,
// who know how far it had signed, and an operator's override says how far that is. Otherwise it
// returns the cause, with what the folder holds: which copy to put back is easier to tell by its size.
func replaceHead(f *datafolder.Folder, o opening, cause error) (*head.Keeper, error) {
	if _, err := os.Stat(overrideFile(f)); err != nil || !o.witnessed {
		return nil, fmt.Errorf("%w; %w", cause, folderHolds(f))
	}
	st, err := store.Open(f.StoreDir(), store.Options{Fatal: o.fatal, Log: o.log})
	if err != nil {
		return nil, err
	}
	h := head.Head{Origin: f.Origin, Size: st.Head().Size, Root: st.Head().State.Root}
	if h.Starts, err = startsOf(f); err == nil {
		_, err = takeOverride(f, st.Head())
	}
	if err := errors.Join(err, st.Close()); err != nil {
		return nil, err
	}
	o.log.Warn("by the override the head file is made anew; the witnesses are asked whether it is right", "size", h.Size, "root", h.Root, "cause", cause)
	if err := os.Rename(f.Head, f.Head+".damaged"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := head.Create(f.Head, h); err != nil {
		return nil, err
	}
	return head.Open(f.Head)
}

// folderHolds is an error that says how many entries a data folder holds, if that can be told.
func folderHolds(f *datafolder.Folder) error {
	st, err := store.Open(f.StoreDir(), store.Options{})
	if err != nil {
		return err
	}
	return errors.Join(fmt.Errorf("the data folder holds %d entries, so that a head file with at least size %d is needed", st.Head().Size, st.Head().Previous), st.Close())
}

// close ends what was opened, the sequencer first: what it was given is answered.
func (r *running) close() (err error) {
	if r.sequencer != nil {
		r.sequencer.Close()
	}
	if r.store != nil {
		err = r.store.Close()
	}
	if r.head != nil {
		err = errors.Join(err, r.head.Close())
	}
	return err
}

// startsFile counts the starts of the log in the data folder. It is a plain file: whoever lays
// an older copy over the folder brings back its older count.
func startsFile(f *datafolder.Folder) string { return filepath.Join(f.Dir, "starts") }

// checkStarts compares the folder's count of starts with the head's.
func checkStarts(f *datafolder.Folder, h head.Head, size uint64) error {
	n, err := startsOf(f)
	if errors.Is(err, fs.ErrNotExist) && h.Starts == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w. Put back the newest copy of the data folder", sequencer.ErrRefused, startsFile(f), err)
	}
	if n != h.Starts && n != h.Starts+1 {
		return fmt.Errorf("%w: the data folder holds %d entries and counts %d starts, the head file says size %d and %d starts: "+
			"an older copy was laid over one of them. Put back the newest copy of both", sequencer.ErrRefused, size, n, h.Size, h.Starts)
	}
	return nil
}

// startError adds to an error of the start what an operator can do.
func startError(f *datafolder.Folder, err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, head.ErrLocked):
		return fmt.Errorf("%w: is the log %s running already?", err, f.Origin)
	case errors.Is(err, head.ErrNoHead):
		return fmt.Errorf("%w: %w. Nothing says how far this log had signed; put back the newest copy of the head file", sequencer.ErrRefused, err)
	case errors.Is(err, fs.ErrNotExist) && errors.As(err, &path) && path.Path == f.Head:
		return fmt.Errorf("%w: the head file %s is gone. It says how far this log had signed, and without it the log could sign a fork; put back the newest copy of it (%w)", sequencer.ErrRefused, f.Head, err)
	case errors.Is(err, store.ErrDamaged) && !errors.Is(err, sequencer.ErrRefused):
		return fmt.Errorf("%w: %w. Bring it back with 'pauselogd recover', from backups and mirrors", sequencer.ErrRefused, err)
	case errors.Is(err, sequencer.ErrRefused):
		return fmt.Errorf("%w. (Without such a copy 'pauselogd recover' may bring the store back, from backups and mirrors)", err)
	}
	return err
}
