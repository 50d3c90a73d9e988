package rig

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
	"github.com/pauselog/pauselog/internal/faults/disk/oracle"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/sequencer"
	"github.com/pauselog/pauselog/log/store"
	"github.com/pauselog/pauselog/log/tree"
)

// ErrStart says that a log did not start.
var ErrStart = errors.New("the log does not start")

// Verifiers are the Ed25519 verifier keys of all phases.
func Verifiers(phases []Phase) (keys []string) {
	for _, p := range phases {
		for _, s := range p.Keys.Signers {
			if k := s.Verifier().String(); !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
	}
	return keys
}

// Check starts the log that a crash left on mem, compares all that it shows with what was told, has it go on with
// the steps that the crash cut off and with new entries, ends it, and reads the files without it. What the log tells from
// then on is added to told.
func Check(mem *vfs.MemFS, k Keys, verifiers []string, told *Told, again ...Step) error {
	acks, trees := told.Until(told.Mark())
	l, err := Open(mem, k, told, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStart, err)
	}
	if err := errors.Join(l.shows(acks, trees), l.goesOn(acks, again)); err != nil {
		return errors.Join(err, l.Close())
	}
	if err := l.Close(); err != nil {
		return fmt.Errorf("%w: the end of a log without faults: %w", oracle.ErrFalse, err)
	}
	return Verify(mem, verifiers, told)
}

// Verify reads the files of a log that ended well.
func Verify(mem *vfs.MemFS, verifiers []string, told *Told) error {
	disk, err := oracle.Read(mem, StoreDir+"/log", verifiers)
	if err != nil {
		return err
	}
	acks, trees := told.Until(told.Mark())
	if err := disk.Keeps(acks, trees, verifiers); err != nil {
		return err
	}
	b, err := faultfs.ReadFile(mem, HeadFile)
	if err != nil {
		return err
	}
	return disk.Head(b, true)
}

// shows compares what a reader gets with what was told.
func (l *Log) shows(acks []oracle.Ack, trees []oracle.Tree) error {
	size, root := l.Seq.Signed().Size, tlog.Hash(l.Seq.Signed().Root)
	for i, a := range acks {
		if a.Index >= size {
			return fmt.Errorf("%w: entry %d was acknowledged, the log shows %d entries", oracle.ErrLost, a.Index, size)
		}
		b, err := l.Store.Entry(a.Index, size)
		if err != nil {
			return fmt.Errorf("%w: entry %d: %w", oracle.ErrLost, a.Index, err)
		}
		if a.Entry != nil && string(b) != string(a.Entry) {
			return fmt.Errorf("%w: entry %d was acknowledged as %q, the log shows %q", oracle.ErrLost, a.Index, a.Entry, b)
		}
		if i%17 != 0 && i < len(acks)-4 {
			continue
		}
		hashes, err := l.Store.Inclusion(a.Index, size)
		if err != nil {
			return fmt.Errorf("%w: no proof of entry %d in %d: %w", oracle.ErrFalse, a.Index, size, err)
		}
		if err := tlog.CheckRecord(proof(hashes), int64(size), root, int64(a.Index), tlog.RecordHash(b)); err != nil {
			return fmt.Errorf("%w: the proof of entry %d in %d: %w", oracle.ErrFalse, a.Index, size, err)
		}
	}
	for _, t := range trees {
		if t.Size > size {
			return fmt.Errorf("%w: size %d was published, the log shows %d", oracle.ErrFork, t.Size, size)
		}
		if t.Size == 0 {
			continue
		}
		hashes, err := l.Store.Consistency(t.Size, size)
		if err != nil {
			return fmt.Errorf("%w: no proof from size %d to %d: %w", oracle.ErrFalse, t.Size, size, err)
		}
		if err := tlog.CheckTree(tlog.TreeProof(proof(hashes)), int64(size), root, int64(t.Size), tlog.Hash(t.Root)); err != nil {
			return fmt.Errorf("%w: the proof from size %d to %d: %w", oracle.ErrFork, t.Size, size, err)
		}
	}
	return l.finds(size)
}

func proof(hashes []tree.Hash) (p tlog.RecordProof) {
	for _, h := range hashes {
		p = append(p, tlog.Hash(h))
	}
	return p
}

// finds compares a lookup with the entries.
func (l *Log) finds(size uint64) error {
	ctx, cancel := context.WithTimeout(l.Dead, patience)
	defer cancel()
	l.Store.WaitIndexed(ctx, size)
	if ctx.Err() != nil {
		return fmt.Errorf("%w: lookups are at %d of %d", ErrHangs, l.Store.Indexed(), size)
	}
	found, err := l.Store.Find(store.ByAuthor, "ETHER", 0, size, int(size)+1, false)
	if err != nil {
		return fmt.Errorf("%w: looking up an author: %w", oracle.ErrFalse, err)
	}
	at := 0
	for i := range size {
		b, err := l.Store.Entry(i, size)
		if err != nil {
			return fmt.Errorf("%w: entry %d: %w", oracle.ErrLost, i, err)
		}
		if !strings.Contains(string(b), "\npath authors/id/E/ET/ETHER/") {
			continue
		}
		if at == len(found) || found[at].Index != i {
			return fmt.Errorf("%w: entry %d is not found by its author", oracle.ErrFalse, i)
		}
		at++
	}
	if at < len(found) {
		return fmt.Errorf("%w: entry %d is found by an author who is not its", oracle.ErrFalse, found[at].Index)
	}
	return nil
}

// fresh is the number of an upload that no script has.
const fresh = 1_000_000_000

// goesOn submits what was cut off, what is there already, and what is new.
func (l *Log) goesOn(acks []oracle.Ack, again []Step) error {
	for _, s := range again {
		if err := l.Do(s); err != nil {
			return fmt.Errorf("%w: what was cut off, submitted again: %w", oracle.ErrFalse, err)
		}
	}
	for i := len(acks) - 1; i >= max(0, len(acks)-5); i-- {
		if err := l.repeats(acks[i]); err != nil {
			return err
		}
	}
	size := l.Seq.Signed().Size
	e := Upload(fresh + int(size))
	if err := l.Do(Step{Groups: [][]*entry.Entry{{e}}}); err != nil {
		return fmt.Errorf("%w: a new upload: %w", oracle.ErrFalse, err)
	}
	if now := l.Seq.Signed().Size; now != size+1 {
		return fmt.Errorf("%w: after one upload more the log has %d entries instead of %d", oracle.ErrFalse, now, size+1)
	}
	return nil
}

// repeats submits an entry that is the last of its path again: it must be known.
func (l *Log) repeats(a oracle.Ack) error {
	e, err := entry.Parse(a.Entry)
	if err != nil || e.Kind == entry.Void {
		return nil // a conflict
	}
	last, err := l.Store.Last(e.Path, l.Store.Head().Size)
	if err != nil || last == nil {
		return fmt.Errorf("%w: the path of entry %d is not known: %w", oracle.ErrLost, a.Index, err)
	}
	if last.Index != a.Index {
		return nil
	}
	ctx, cancel := context.WithTimeout(l.Dead, patience)
	defer cancel()
	r, err := l.Seq.Submit(ctx, e)
	if err != nil {
		return l.why(ctx, err)
	}
	if r[0].Err != nil || !r[0].Repeated || r[0].Index != a.Index {
		return fmt.Errorf("%w: entry %d, submitted again, became %s", oracle.ErrFalse, a.Index, describe(r[0]))
	}
	return nil
}

func describe(r sequencer.Result) string {
	if r.Err != nil {
		return "a refusal: " + r.Err.Error()
	}
	return fmt.Sprintf("entry %d (repeated: %v)", r.Index, r.Repeated)
}
