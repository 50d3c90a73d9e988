// Package rig runs a whole log on one file system, as pauselogd wires it: its store, its second head, its count of
// starts and its sequencer, with a script of submissions, and remembers what anybody was told. It needs no
// witnesses: what it signs is published.
package rig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
	"github.com/pauselog/pauselog/internal/faults/disk/oracle"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/head"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/store"
)

// Where things are. The head is outside of the folder.
const (
	Origin    = "log.example/pause"
	Dir       = "/log"
	StoreDir  = "/log/db"
	Starts    = "/log/starts"
	HeadFile  = "/head"
	startsTmp = "/log/.starts.tmp"
)

// Clock is what the log's clock says, always.
var Clock = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// Keys are what a log signs with.
type Keys struct {
	Signers []*checkpoint.SignerKey
	Retired []*checkpoint.VerifierKey
}

// NewKey makes an Ed25519 key of the log.
func NewKey() (*checkpoint.SignerKey, error) {
	return checkpoint.GenerateSigner(checkpoint.Ed25519, Origin, nil)
}

// headFile is a head file on a vfs.FS.
type headFile struct{ vfs.File }

func (f headFile) Sync() error { return f.File.SyncData() }

// Create makes an empty log.
func Create(fs vfs.FS, k Keys) error {
	state, h, err := sequencer.Init(Origin, k.Signers, Clock)
	if err != nil {
		return err
	}
	if err := errors.Join(fs.MkdirAll(Dir, 0o700), syncDir(fs, "/")); err != nil {
		return err
	}
	if err := store.Create(StoreDir, store.Options{FS: fs}, state); err != nil {
		return err
	}
	f, err := fs.Create(HeadFile, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	return errors.Join(head.Format(headFile{f}, h), f.Sync(), f.Close(), syncDir(fs, "/"))
}

func syncDir(fs vfs.FS, name string) error {
	d, err := fs.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// A Log is a log that was started.
type Log struct {
	Store *store.Store
	Seq   *sequencer.Sequencer
	head  *head.Keeper

	// Held, set before Open, has the log take nothing until its witnesses have been asked: somebody calls
	// Seq.TakeSubmissions.
	Held bool

	// Dead ends when the process would: the log stopped because of a fault.
	Dead context.Context
	dead context.CancelCauseFunc
	die  func(error) // dead, and whoever wants to know

	mu      sync.Mutex
	told    *Told
	waiting []*waiting
	opened  bool
	ending  bool

	closing sync.Once
	closed  error
}

// Open starts the log as pauselogd does, and has it write into told what it says. onDeath, which may be nil, is called
// when the log finds that it must end. It may be called with locks held and must not wait for the log.
func Open(fs vfs.FS, k Keys, told *Told, onDeath func(error)) (*Log, error) {
	l := New(told, onDeath)
	return l, l.Open(fs, k)
}

// New is a log that Open starts: it can be observed from then on.
func New(told *Told, onDeath func(error)) *Log {
	l := &Log{told: told}
	ctx, die := context.WithCancelCause(context.Background())
	l.Dead = ctx
	var once sync.Once
	l.dead = die
	l.die = func(err error) {
		once.Do(func() {
			if onDeath != nil {
				onDeath(err)
			}
			die(err)
		})
	}
	return l
}

// Opened reports whether the log has started.
func (l *Log) Opened() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opened
}

// Closing reports whether the log is being closed, or was.
func (l *Log) Closing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ending
}

// Unwinds reports whether an operation is one of Pebble's after whose failure the process ends in a way from which
// nobody can recover: during Open that tears down what its own goroutines still use; and where it exchanges its WAL, as it does
// at the end, it panics with a mutex in the wrong state. Such a process is taken to end at once.
func (l *Log) Unwinds(o faultfs.Op) bool {
	switch {
	case !strings.HasPrefix(o.Name, StoreDir):
		return false
	case !l.Opened():
		return true
	}
	wal := strings.HasSuffix(o.Name, ".log")
	return wal && (l.Closing() || o.Kind == faultfs.Create || o.Kind == faultfs.Reuse) || l.Closing() && o.Kind == faultfs.SyncDir
}

// Die ends the log as a fault would that it cannot go on from. Its process does nothing from then on.
func (l *Log) Die(err error) { l.dead(err) }

// errStartDied says that Pebble gave up during the start.
var errStartDied = errors.New("the process died while it started")

// Open starts a New log.
func (l *Log) Open(fs vfs.FS, k Keys) error {
	// Pebble may end the process while it opens, on this goroutine.
	opened := make(chan error, 1)
	go func() {
		defer func() {
			// Where Pebble cannot know what is on disk, such as after a failed sync of a folder, it panics.
			if v := recover(); v != nil {
				l.die(fmt.Errorf("panic: %v", v))
			}
		}()
		opened <- l.open(fs, k)
	}()
	select {
	case err := <-opened:
		return err
	case <-l.Dead.Done():
		select {
		case err := <-opened:
			return errors.Join(err, context.Cause(l.Dead))
		default:
			return fmt.Errorf("%w: %w", errStartDied, context.Cause(l.Dead))
		}
	}
}

func (l *Log) open(fs vfs.FS, k Keys) (err error) {
	defer func() {
		if err != nil && l.Dead.Err() == nil {
			err = errors.Join(err, l.Close())
		}
	}()
	// Opening would make one.
	if _, err := fs.Stat(HeadFile); err != nil {
		return err
	}
	f, err := fs.OpenReadWrite(HeadFile, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if l.head, err = head.Read(headFile{f}); err != nil {
		return errors.Join(err, f.Close())
	}
	fatal := func(err error) {
		l.die(err)
		select {} // Pebble must not go on; the process has ended
	}
	if l.Store, err = store.Open(StoreDir, store.Options{FS: fs, Fatal: fatal}); err != nil {
		return err
	}
	seq, err := sequencer.Open(sequencer.Config{Origin: Origin, Store: l.Store, Head: l.head, Signers: k.Signers, Retired: k.Retired,
		Held: l.Held, Now: func() time.Time { return Clock }, Fatal: l.die})
	if err != nil {
		return err
	}
	l.Seq = seq
	if err := l.begin(fs); err != nil {
		return err
	}
	l.mu.Lock()
	l.opened = true
	l.mu.Unlock()
	l.Observe()
	return nil
}

// begin counts the start, in the folder and then in the head.
func (l *Log) begin(fs vfs.FS) error {
	h := l.head.Head()
	n, err := starts(fs)
	switch {
	case errors.Is(err, os.ErrNotExist) && h.Starts == 0:
	case err != nil:
		return fmt.Errorf("%w: the count of starts: %w", sequencer.ErrRefused, err)
	case n != h.Starts && n != h.Starts+1:
		return fmt.Errorf("%w: the folder counts %d starts, the head %d", sequencer.ErrRefused, n, h.Starts)
	}
	f, err := fs.Create(startsTmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d\n", h.Starts+1)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(startsTmp, Starts); err != nil {
		return err
	}
	if err := syncDir(fs, Dir); err != nil {
		return err
	}
	return l.head.Begin()
}

func starts(fsys vfs.FS) (uint64, error) {
	if _, err := fsys.Stat(Starts); err != nil {
		return 0, fs.ErrNotExist
	}
	f, err := fsys.Open(Starts)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	b := make([]byte, 32)
	n, err := f.ReadAt(b, 0)
	if n == 0 {
		return 0, fmt.Errorf("it is empty: %w", err)
	}
	line, ok := strings.CutSuffix(string(b[:n]), "\n")
	if !ok {
		return 0, fmt.Errorf("found %q", b[:n])
	}
	return strconv.ParseUint(line, 10, 63)
}

// Close ends the log in order, unless it dies meanwhile or has.
func (l *Log) Close() error {
	l.closing.Do(func() {
		if l.closed = context.Cause(l.Dead); l.closed != nil {
			return
		}
		closed := make(chan error, 1)
		go func() { closed <- l.close() }()
		select {
		case l.closed = <-closed:
		case <-l.Dead.Done():
			l.closed = context.Cause(l.Dead)
		}
	})
	return l.closed
}

func (l *Log) close() (err error) {
	l.mu.Lock()
	l.ending = true
	l.mu.Unlock()
	if l.Seq != nil {
		l.Seq.Close()
		l.Observe()
	}
	if l.Store != nil {
		err = l.Store.Close()
	}
	if l.head != nil {
		err = errors.Join(err, l.head.Close())
	}
	return err
}

// Told is what anybody was told of a log, over all its starts.
type Told struct {
	mu    sync.Mutex
	acks  []oracle.Ack
	trees []oracle.Tree
}

// A Mark is a moment in a Told.
type Mark struct{ acks, trees int }

// Mark is now.
func (t *Told) Mark() Mark {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Mark{len(t.acks), len(t.trees)}
}

// Until returns what was told before a mark.
func (t *Told) Until(m Mark) ([]oracle.Ack, []oracle.Tree) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.acks[:m.acks:m.acks], t.trees[:m.trees:m.trees]
}

// Clone is what was told before a mark, to go on from.
func (t *Told) Clone(m Mark) *Told {
	acks, trees := t.Until(m)
	return &Told{acks: acks, trees: trees}
}

func (t *Told) tree(s *sequencer.Signed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.trees); n == 0 || t.trees[n-1].Size != s.Size || t.trees[n-1].Root != s.Root {
		t.trees = append(t.trees, oracle.Tree{Size: s.Size, Root: s.Root, Note: s.Note})
	}
}

func (t *Told) results(entries []*entry.Entry, results []sequencer.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, r := range results {
		switch {
		case r.Err == nil:
			t.acks = append(t.acks, oracle.Ack{Index: r.Index, Entry: r.Entry})
		case r.Err.Logged != nil && errors.Is(r.Err, entry.ErrConflict):
			t.acks = append(t.acks, oracle.Ack{Index: r.Err.Conflict, Path: entries[i].Path, Other: entries[i].SHA256.String()})
		}
	}
}

// Acks is how many answers there were before the mark.
func (m Mark) Acks() int { return m.acks }
