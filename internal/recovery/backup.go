package recovery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/log/store"
)

// A backup is a folder with the date as its name, which holds what a data folder holds, without the keys:
//
//	backup.json   what it is, and the SHA-256 of each file
//	checkpoint    the signed checkpoint of its newest entry, to be read by people
//	log.json, tokens.json, policy, published, starts, evidence/
//	db/log/       the store
//
// The head file is never in it: no restore may take that along. Files that the backup before has too are links to
// that one's, so that a backup each hour costs what was logged in that hour (and what the store has compacted since);
// any of the folders can be removed at any time.
const (
	backupFormat = "pauselog-backup/v1"
	manifest     = "backup.json"
	partial      = ".partial-"
	// backupTime is what the names of backups are.
	backupTime = "20060102T150405Z"
)

// ErrBusy says that another backup is at work in a folder.
var ErrBusy = errors.New("another backup is at work")

// A Backup is what to back up, and where to.
type Backup struct {
	Folder *datafolder.Folder
	// Store is a folder with a store that nobody writes to: a snapshot, or that of a log that does not run.
	Store string
	// To is the folder of all backups. It is made if it is not there.
	To string
	// Keys takes the log's secret keys along.
	Keys bool
	// Unverified leaves out to hash all that was copied once more, as a log does at its start and more.
	Unverified bool

	Now      func() time.Time                // nil: time.Now
	Progress func(step string, done, of int) // may be nil
}

// A BackupReport is what was written.
type BackupReport struct {
	Path     string `json:"path"`
	Origin   string `json:"origin"`
	Size     uint64 `json:"size"`
	Root     string `json:"root"`
	Files    int    `json:"files"`
	Bytes    int64  `json:"bytes"`
	Linked   int64  `json:"linked_bytes"` // of Bytes, what the backup before has too
	Verified bool   `json:"verified"`
	Keys     bool   `json:"keys"`
}

type manifestFile struct {
	Format  string       `json:"format"`
	Origin  string       `json:"origin"`
	Created string       `json:"created"`
	Size    uint64       `json:"size"`
	Root    string       `json:"root"`
	Files   []backupFile `json:"files"`
}

type backupFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Write writes a backup. It has its name only once all of it is durable and, unless Unverified, was found to be sound; an error
// leaves nothing.
func (b Backup) Write(ctx context.Context) (_ *BackupReport, err error) {
	if b.Now == nil {
		b.Now = time.Now
	}
	if b.Progress == nil {
		b.Progress = func(string, int, int) {}
	}
	if b.To, err = filepath.Abs(b.To); err != nil {
		return nil, err
	}
	if rel, err := filepath.Rel(b.Folder.Dir, b.To); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return nil, fmt.Errorf("%s is in the data folder: a backup belongs elsewhere, best on another machine's disk", b.To)
	}
	if err := os.MkdirAll(b.To, 0o700); err != nil {
		return nil, err
	}
	unlock, err := lockFolder(b.To)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removePartial(b.To); err != nil {
		return nil, err
	}
	before := newestBackup(b.To, b.Folder.Origin)
	r, err := b.write(ctx, before)
	if err != nil && errors.Is(err, store.ErrDamaged) && len(before) > 0 && ctx.Err() == nil {
		// What is damaged may be the backup before, whose files this one shares.
		r, err = b.write(ctx, nil)
	}
	return r, err
}

func (b Backup) write(ctx context.Context, before map[string]linkable) (_ *BackupReport, err error) {
	now := b.Now().UTC()
	w := &backupWriter{Backup: b, ctx: ctx, before: before, dir: filepath.Join(b.To, partial+now.Format(backupTime)),
		report: &BackupReport{Origin: b.Folder.Origin, Keys: b.Keys}}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(w.dir))
		}
	}()
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		return nil, err
	}
	if err := w.copyAll(); err != nil {
		return nil, err
	}
	if err := w.verify(); err != nil {
		return nil, err
	}
	return w.report, w.name(now)
}

// lockFolder locks a folder until the process ends, or unlock.
func lockFolder(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		d.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w in %s", ErrBusy, dir)
		}
		return nil, &fs.PathError{Op: "lock", Path: dir, Err: err}
	}
	return func() { d.Close() }, nil
}

// removePartial removes what backups left that did not come to their end.
func removePartial(to string) error {
	names, err := filepath.Glob(filepath.Join(to, partial+"*"))
	for _, name := range names {
		err = errors.Join(err, os.RemoveAll(name))
	}
	return err
}

// backupWriter is a backup on its way.
type backupWriter struct {
	Backup
	ctx    context.Context
	dir    string
	before map[string]linkable // files of the backup before, by their name
	files  []backupFile
	report *BackupReport
	state  store.State
}

type linkable struct {
	backupFile
	path string
}

// newestBackup returns the files of the newest backup of the same log.
func newestBackup(to, origin string) map[string]linkable {
	names, err := filepath.Glob(filepath.Join(to, "[0-9]*", manifest))
	if err != nil {
		return nil
	}
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		b, err := os.ReadFile(name)
		var m manifestFile
		if err != nil || json.Unmarshal(b, &m) != nil || m.Format != backupFormat || m.Origin != origin {
			continue
		}
		files := map[string]linkable{}
		for _, f := range m.Files {
			files[f.Name] = linkable{f, filepath.Join(filepath.Dir(name), filepath.FromSlash(f.Name))}
		}
		return files
	}
	return nil
}

// copyAll copies the store first: what belongs to it is then at least as new, and what the log writes outside of it
// is never ahead of its head.
func (w *backupWriter) copyAll() error {
	var names [][2]string // source, name
	entries, err := os.ReadDir(filepath.Join(w.Store, "log"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != "LOCK" && e.Type().IsRegular() {
			names = append(names, [2]string{filepath.Join(w.Store, "log", e.Name()), "db/log/" + e.Name()})
		}
	}
	for _, name := range []string{"log.json", "tokens.json", "policy", "published", "starts"} {
		names = append(names, [2]string{filepath.Join(w.Folder.Dir, name), name})
	}
	folders := []string{"evidence"}
	if w.Keys {
		folders = append(folders, "keys", "keys/retired")
	}
	for _, folder := range folders {
		entries, err := os.ReadDir(filepath.Join(w.Folder.Dir, folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
				names = append(names, [2]string{filepath.Join(w.Folder.Dir, folder, e.Name()), folder + "/" + e.Name()})
			}
		}
	}
	for i, n := range names {
		w.Progress("copying", i, len(names))
		if err := w.ctx.Err(); err != nil {
			return err
		}
		err := w.copy(n[0], n[1])
		if errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(n[1], "db/") && n[1] != "log.json" {
			continue // a log has not all of them
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copy copies one file, or links it to the backup before's if that has the same.
func (w *backupWriter) copy(source, name string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	to := filepath.Join(w.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if old, ok := w.before[name]; ok && old.Size == info.Size() && strings.HasSuffix(name, ".sst") {
		h := sha256.New()
		if _, err := io.Copy(h, in); err != nil {
			return err
		}
		if hex.EncodeToString(h.Sum(nil)) == old.SHA256 && os.Link(old.path, to) == nil {
			w.report.Linked += old.Size
			w.add(old.backupFile)
			return nil
		}
		if _, err := in.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, h), in)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	w.add(backupFile{name, n, hex.EncodeToString(h.Sum(nil))})
	return nil
}

func (w *backupWriter) add(f backupFile) {
	w.files = append(w.files, f)
	w.report.Files++
	w.report.Bytes += f.Size
}

// verify reads what was written as a recovery would, and holds it against the log's own signature.
func (w *backupWriter) verify() error {
	c, err := store.OpenCopy(filepath.Join(w.dir, "db"), store.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	if w.Unverified {
		w.state, err = c.State()
	} else {
		_, w.state, err = c.Verify(w.ctx, store.ScrubOptions{Progress: func(done, size uint64) { w.Progress("verifying", int(done), int(size)) }})
		w.report.Verified = err == nil
	}
	if err == nil {
		check := &work{Config: Config{Folder: w.Folder}}
		if err = check.keys(); err == nil {
			err = check.fits(w.state, nil)
		}
	}
	if err != nil {
		return fmt.Errorf("the copy is not sound, and was removed: %w. Look at the log itself with 'pauselogd scrub'", err)
	}
	return w.beside()
}

// beside compares each file with its digest once more, from the disk as far as the system lets us: only what is
// not the store's, which was read just now.
func (w *backupWriter) beside() error {
	for _, f := range w.files {
		if strings.HasPrefix(f.Name, "db/") || w.Unverified {
			continue
		}
		b, err := os.ReadFile(filepath.Join(w.dir, filepath.FromSlash(f.Name)))
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != f.SHA256 {
			return fmt.Errorf("the copy of %s is not what was written", f.Name)
		}
	}
	return nil
}

// name makes the backup durable and gives it its name.
func (w *backupWriter) name(now time.Time) error {
	w.report.Size, w.report.Root = w.state.Size, w.state.Root.String()
	m := manifestFile{Format: backupFormat, Origin: w.Folder.Origin, Created: now.Format(time.RFC3339), Size: w.state.Size, Root: w.state.Root.String(), Files: w.files}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return err
	}
	if err := errors.Join(
		atomicfile.Write(filepath.Join(w.dir, "checkpoint"), w.state.Note, 0o600),
		atomicfile.Write(filepath.Join(w.dir, manifest), text.Bytes(), 0o600)); err != nil {
		return err
	}
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return atomicfile.SyncDir(path)
	})
	if err != nil {
		return err
	}
	path := filepath.Join(w.To, now.Format(backupTime))
	for i := 2; ; i++ {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			break
		}
		path = filepath.Join(w.To, fmt.Sprintf("%s-%d", now.Format(backupTime), i))
	}
	if err := os.Rename(w.dir, path); err != nil {
		return err
	}
	w.report.Path = path
	return atomicfile.SyncDir(w.To)
}
