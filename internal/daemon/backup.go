package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"syscall"

	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/recovery"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/store"
)

// What an operator does with the store of a log: back it up, scrub it, recover it. Each takes the lock of the head
// file, or asks the log that has it.

// Backup writes a backup of a log. If it runs it goes on meanwhile: it makes a snapshot of its store, which takes
// milliseconds, and the rest is done here. b.Folder and b.To say of what and where to.
func Backup(ctx context.Context, b recovery.Backup) (_ *recovery.BackupReport, err error) {
	f := b.Folder
	unlock, err := lockSnapshot(f)
	if err != nil {
		return nil, err
	}
	defer unlock()
	k, err := head.Open(f.Head)
	switch {
	case errors.Is(err, head.ErrLocked):
		if err := control(ctx, f.Dir, http.MethodPost, "/snapshot", "", new(struct{})); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(f.SnapshotDir())) }()
		b.Store = f.SnapshotDir()
		return b.Write(ctx)
	case err != nil:
		return nil, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if err := reachesHead(f, k.Head()); err != nil {
		return nil, err
	}
	b.Store = f.StoreDir()
	return b.Write(ctx)
}

// reachesHead refuses to call a copy of a store a backup that has lost what was signed.
func reachesHead(f *datafolder.Folder, h head.Head) error {
	c, err := store.OpenCopy(f.StoreDir(), store.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.State()
	if err != nil {
		return err
	}
	if s.Size < h.Size {
		return fmt.Errorf("the data folder holds %d entries, but the head file says that %d were signed: this is no backup to rely on. Run 'pauselogd recover'", s.Size, h.Size)
	}
	return nil
}

// lockSnapshot makes sure that one backup at a time uses the place for snapshots.
func lockSnapshot(f *datafolder.Folder) (unlock func(), err error) {
	d, err := os.Open(f.Dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		d.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w on %s", recovery.ErrBusy, f.Dir)
		}
		return nil, &fs.PathError{Op: "lock", Path: f.Dir, Err: err}
	}
	return func() { d.Close() }, nil
}

// A Scrubbed is what a scrub of a log that does not run found.
type Scrubbed struct {
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`
	Root   string `json:"root"`
	*store.ScrubReport
	// Error says what is wrong with the store as a whole.
	Error string `json:"error,omitempty"`
}

// Sound reports whether nothing is damaged.
func (s *Scrubbed) Sound() bool { return s.Error == "" && len(s.Damage) == 0 }

// Scrub compares the store of a log that does not run with what was signed, and changes nothing. If the log runs,
// the error is head.ErrLocked, and ScrubStatusOf says what it has found itself.
func Scrub(ctx context.Context, f *datafolder.Folder, progress func(done, size uint64)) (_ *Scrubbed, err error) {
	k, err := head.Open(f.Head)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	out := &Scrubbed{Origin: f.Origin, ScrubReport: &store.ScrubReport{}}
	c, err := store.OpenCopy(f.StoreDir(), store.Options{})
	if err != nil {
		out.Error = err.Error()
		return out, nil
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	r, state, err := c.Verify(ctx, store.ScrubOptions{Progress: progress})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	out.ScrubReport, out.Size, out.Root = r, state.Size, state.Root.String()
	h := k.Head()
	if err == nil && state.Size < h.Size {
		err = fmt.Errorf("the data folder holds %d entries, but the head file says that %d were signed", state.Size, h.Size)
	}
	if err == nil {
		if root, rootErr := c.Root(h.Size); rootErr != nil || root != h.Root {
			err = fmt.Errorf("the first %d entries have root %v, the head file says %v", h.Size, root, h.Root)
		}
	}
	if err != nil {
		out.Error = err.Error()
	}
	if out.Damage == nil {
		out.Damage = []store.Damage{}
	}
	return out, nil
}

// ScrubStatusOf asks a log that runs.
func ScrubStatusOf(ctx context.Context, f *datafolder.Folder) (*ScrubStatus, error) {
	s := new(ScrubStatus)
	return s, control(ctx, f.Dir, http.MethodGet, "/scrub", "", s)
}

// Recover recovers a log that does not run; c.Folder and c.Sources say which and from where.
func Recover(ctx context.Context, c recovery.Config) (_ *recovery.Report, err error) {
	f := c.Folder
	k, err := head.Open(f.Head)
	switch {
	case err == nil:
		defer func() { err = errors.Join(err, k.Close()) }()
		h := k.Head()
		c.Head = &h
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, head.ErrNoHead):
		// Nothing else locks the folder: a log that runs may have a head file that somebody removed.
		if _, err := ScrubStatusOf(ctx, f); err == nil {
			return nil, fmt.Errorf("the log %s is running: stop it first", f.Origin)
		}
		b, err := RecordedPolicy(f)
		if err != nil {
			return nil, err
		}
		if b != nil {
			p, err := checkpoint.ParsePolicy(b)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", policyFile(f), err)
			}
			c.Witnessed = witnessed(p)
		}
	default:
		return nil, startError(f, err)
	}
	return recovery.Recover(ctx, c)
}
