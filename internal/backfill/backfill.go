// Package backfill brings into a log what lies on CPAN and BackPAN already: it walks over trees, hashes
// the archives in them, and submits them. The same walk, slowly and again and again, finds
// what nobody told the log about, and files that are no longer what was logged.
//
// # Order
//
// All trees are walked at once, folder by folder, so that a path comes up once with all its copies; a manifest is one more tree.
// Paths come in the order of their bytes, everything is submitted and settled in this order, and so one path says how far a
// walk has come. Memory does not grow with the trees: it holds the names in the folders from authors/id down to where the
// walk is, the 1,024 files that are read ahead of the log, and at most seven groups of 256 submissions that the log has not
// answered, and what the log says was deleted.
//
// # What is logged
//
// A path is logged if its bytes are the same in all trees that have it. If they are not, nothing says which are right: the path is
// reported and not submitted. Paths that only BackPAN has are logged as uploads like all others, because copies of
// what PAUSE once published must go on verifying; no deletions are made up for them. What the log itself says was
// deleted is not logged anew because BackPAN still has it, and what its operator voided is not logged anew at all: both would
// turn an old copy into news.
//
// Symbolic links are never followed, and what is no regular file is never opened. The trees are taken as they are listed:
// whoever can replace their folders during the walk decides what is logged, as whoever can replace the files does.
//
// # Crashes
//
// A group is settled when the log has said that its entries are durable, and the journal is written after that. So what
// the journal holds is never ahead of the log, and whatever stops a walk, the next one goes on behind the last path
// that the journal names. What was settled in the second before is submitted again, and the log answers with the entry
// that is there.
package backfill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/pauselog/pauselog/log/entry"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

var (
	// ErrRoot is for a root that is no copy of CPAN.
	ErrRoot = errors.New("not a copy of CPAN")

	// ErrGaveUp says that the log could not be reached for longer than Config.GiveUp. What it wraps is the last failure.
	ErrGaveUp = errors.New("gave up waiting for the log")
)

// A Config is what a walk works with.
type Config struct {
	// Roots are folders with authors/id in them. The first is CPAN itself, the others hold what CPAN had: only
	// of the first is it believed that a file which was logged as deleted came back.
	Roots []string

	// Manifest is a file that lists archives which are not on this machine; "": none. See ReadManifest.
	Manifest string

	Log   pb.LogClient // takes submissions; not used in a dry run
	LogID string       // names the log in the journal: its origin and key
	Seen  entry.Seen   // how the archives were noticed; "": entry.SeenBackfill

	// MinAge leaves alone what was changed less than so long ago: whoever is told about uploads knows more of them, and
	// what the log has first, it keeps. 0: nothing is too young.
	MinAge time.Duration

	Jobs    int           // files that are read at once; 0: GOMAXPROCS
	Limiter *rate.Limiter // of the bytes that are read; nil: none. Each file costs 4 KiB besides its size

	State  string        // the folder of the journal, which is made; "": there is no journal
	DryRun bool          // submit nothing, and ask the log nothing
	GiveUp time.Duration // how long the log may be out of reach; 0: for ever

	// Each is called with what became of each path, in order, before the journal counts it as done. Its error
	// ends the walk. It may be nil, as may those that follow.
	Each func(Outcome) error

	Progress func(Progress)                      // called after each group
	Retry    func(why error, next time.Duration) // the log failed, and is asked again then
}

// A Word says what became of a path.
type Word string

// The words.
const (
	Logged      Word = "logged"      // it is a new entry
	Known       Word = "known"       // it was logged before
	Loggable    Word = "loggable"    // in a dry run: it would be submitted
	Deleted     Word = "deleted"     // it was logged, also that it was deleted, and CPAN does not have it
	Voided      Word = "voided"      // the log's operator voided it
	Conflict    Word = "conflict"    // the log has other bytes for the path
	Refused     Word = "refused"     // the log does not take it
	Disagreeing Word = "disagreeing" // the trees have different bytes for the path
	Unloggable  Word = "unloggable"  // an entry cannot hold its name or its time
	Never       Word = "never"       // documents and side files
	Special     Word = "special"     // a symbolic link, a FIFO, a device
	Unreadable  Word = "unreadable"  // the file, or the folder: its path then ends in a slash
	Young       Word = "young"       // changed less than Config.MinAge ago
	Gone        Word = "gone"        // removed while the trees were walked
)

// An Outcome is what became of a path.
type Outcome struct {
	Word Word
	Path string // any bytes but NUL

	Err error // why it is not logged; nil with Logged, Known, Loggable, Deleted and Young

	// What was read, if all copies have the same bytes.
	SHA256 entry.Digest
	Size   uint64
	Time   entry.Time

	Index  uint64 // of the entry; Logged, Known
	Reason string // the log's word for a refusal; Conflict, Refused
	Logged string // the digest in the log, as the log says; Conflict
	Copies []Copy // Disagreeing

	read    uint64 // bytes
	special error  // a tree has something here that is no file, besides those that have one
}

// A Copy is what one tree has for a path.
type Copy struct {
	Tree   string // the root, or the manifest
	SHA256 entry.Digest
	Size   uint64
	time   entry.Time
}

// Progress is how far a walk has come, from where it began or went on.
type Progress struct {
	Paths uint64
	Total uint64 // 0: not known yet
	Bytes uint64 // read
}

// A Summary is what became of all paths of this walk; of one that went on, since then.
type Summary struct {
	Counts map[Word]uint64
	Bytes  uint64 // read
	After  string // the path behind which the walk went on; "": it began
	Last   string // the last path that is done

	Elapsed time.Duration
}

// Run walks once over all trees. The summary is there with an error too, unless nothing was begun. Errors wrap ErrRoot, ErrManifest,
// ErrGaveUp, what the log refused to talk about at all, or the cause of the context's end.
func Run(ctx context.Context, c Config) (*Summary, error) {
	if c.Seen == "" {
		c.Seen = entry.SeenBackfill
	}
	if c.Jobs <= 0 {
		c.Jobs = runtime.GOMAXPROCS(0)
	}
	if c.Limiter != nil && (c.Limiter.Limit() <= 0 || c.Limiter.Burst() <= 0) {
		return nil, fmt.Errorf("a limit of %v bytes a second and a burst of %d let nothing be read", c.Limiter.Limit(), c.Limiter.Burst())
	}
	trees, err := open(c)
	if err != nil {
		return nil, err
	}
	j := &journal{}
	if c.State != "" && !c.DryRun {
		if j, err = openJournal(c.State, trees.key(c)); err != nil {
			return nil, err
		}
	}
	start := time.Now()
	r := &run{Config: c, trees: trees, journal: j, summary: Summary{Counts: map[Word]uint64{}, After: j.after, Last: j.after}}
	err = r.walk(ctx)
	r.summary.Elapsed = time.Since(start)
	return &r.summary, err
}

// open looks at the roots and reads the manifest once.
func open(c Config) (*trees, error) {
	if len(c.Roots) == 0 && c.Manifest == "" {
		return nil, fmt.Errorf("%w: there is neither a root nor a manifest", ErrRoot)
	}
	t := &trees{manifest: c.Manifest}
	for _, root := range c.Roots {
		for _, dir := range []string{"authors", "authors/id"} {
			info, err := os.Lstat(filepath.Join(root, dir))
			if err == nil && !info.IsDir() {
				err = errors.New("it is no folder")
			}
			if err != nil {
				return nil, fmt.Errorf("%w: expected a folder %s: %w", ErrRoot, filepath.Join(root, dir), err)
			}
		}
		abs, err := filepath.Abs(root)
		if err != nil {
			return nil, err
		}
		t.roots = append(t.roots, abs)
	}
	if c.Manifest != "" {
		var err error
		if t.digest, err = checkManifest(c.Manifest); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// walk is Run once all is prepared.
func (r *run) walk(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !r.DryRun {
		if r.withdrawn, err = r.readWithdrawn(ctx); err != nil {
			return err
		}
	}
	if r.Progress != nil {
		counted := make(chan struct{})
		go func() {
			defer close(counted)
			r.count(ctx)
		}()
		defer func() { cancel(); <-counted }()
	}
	var stop func()
	r.feed, stop = r.read(ctx)
	defer stop()
	if r.DryRun {
		return r.pretend(ctx)
	}
	if err := r.submit(ctx); err != nil {
		// What was settled since the journal was written need not be submitted again.
		if failed := r.journal.write(); failed != nil {
			return errors.Join(err, failed)
		}
		return err
	}
	return r.journal.remove()
}

// count walks over the names alone, which is quick.
func (r *run) count(ctx context.Context) {
	n := uint64(0)
	err := r.trees.walk(ctx, r.journal.after, func(*found) error { n++; return nil })
	if err == nil {
		r.total.Store(n)
	}
}

// A run is one walk on its way. Its fields belong to Run's goroutine unless something else is said.
type run struct {
	Config
	trees     *trees
	journal   *journal
	summary   Summary
	withdrawn map[string]withdrawal // not changed while files are read
	total     atomic.Uint64
	paths     uint64

	feed *feed // belongs to the goroutine that produces; there is one at a time
	sent sent
	wait patience
}
