package recovery

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/head"
)

// swap puts the new store in the old one's place.
func (w *work) swap(dir string) error {
	to := w.Folder.StoreDir()
	kept := to + w.Now().UTC().Format(stamp)
	for i := 2; ; i++ { // two in a second
		if _, err := os.Lstat(kept); errors.Is(err, fs.ErrNotExist) {
			break
		}
		kept = to + w.Now().UTC().Format(stamp) + fmt.Sprintf("-%d", i)
	}
	if err := w.before("swap"); err != nil {
		return err
	}
	if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
		kept = ""
		if err := os.Rename(dir, to); err != nil {
			return err
		}
	} else {
		if err := os.Rename(dir, kept); err != nil {
			return err
		}
		if err := w.before("exchange"); err != nil {
			return err
		}
		if err := exchange(kept, to); err != nil {
			return err
		}
	}
	if err := atomicfile.SyncDir(w.Folder.Dir); err != nil {
		return err
	}
	w.report.Recovered, w.report.Kept = true, kept
	return w.finish()
}

// exchange exchanges two names. Where the file system cannot do that at once, a crash in between leaves no store, and
// the next run finds both.
func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if err == nil || !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	aside := a + ".old"
	if err := os.Rename(b, aside); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		return err
	}
	return os.Rename(aside, a)
}

// finish writes what belongs to the store and lies outside of it: the count of starts, which is the head's from now
// on, and nothing that scrubs noted about another store.
func (w *work) finish() error {
	if err := w.before("finish"); err != nil {
		return err
	}
	starts := uint64(0)
	if w.Head != nil {
		starts = w.Head.Starts
	} else if _, err := os.Stat(w.Folder.StartsFile()); err == nil {
		return os.RemoveAll(w.Folder.ScrubFile())
	}
	if err := atomicfile.Write(w.Folder.StartsFile(), fmt.Appendf(nil, "%d\n", starts), 0o600); err != nil {
		return err
	}
	return os.RemoveAll(w.Folder.ScrubFile())
}

// checkCounts refuses a head file that counts fewer starts than the folder: it is an older copy. (A crash leaves the
// folder one ahead.)
func checkCounts(f *datafolder.Folder, h head.Head) error {
	b, err := os.ReadFile(f.StartsFile())
	if err != nil {
		return nil // it is written anew
	}
	n, err := entry.ParseNumber(strings.TrimSuffix(string(b), "\n"))
	if err == nil && n > h.Starts+1 {
		return fmt.Errorf("%w: it counts %d starts of the log, the data folder %d. The head file is an older copy: put back the newest one", ErrHead, h.Starts, n)
	}
	return nil
}
