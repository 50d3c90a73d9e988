package model

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/publisher"
	"github.com/pauselog/pauselog/witness/state"
)

// Backups, and what it must come to when they are put back though newer things were signed since.

func (w *world) backUp() error {
	if l := w.log.life.Load(); l != nil && l.failure() == nil {
		b, err := w.log.backup(w.random, len(w.backups))
		if err != nil {
			return err
		}
		w.backups = append(w.backups, b)
	}
	n := w.witnesses[0]
	if w.rolledBack {
		return nil
	}
	b, err := n.backup(len(w.witnessBackups))
	w.witnessBackups = append(w.witnessBackups, b)
	return err
}

// restoreLog starts the log from an older copy: of its store, of the store and the head, or of all that it
// keeps. It must refuse each; then the newest is put back.
func (w *world) restoreLog() error {
	l := w.log.life.Load()
	if l == nil || l.failure() != nil || len(w.backups) == 0 || w.second != nil || w.log.full.Load() {
		return nil
	}
	b := w.backups[w.random.IntN(len(w.backups))]
	size, published := l.seq.Signed().Size, l.pub.Published().Size
	// Of what was never published nobody else knows, and a witness that has forgotten may be the one that knew.
	all := w.random.IntN(2) == 0 && b.size < published && !w.rolledBack
	if b.size >= published {
		return nil
	}
	if err := w.log.end(w.random, 0, false); err != nil {
		return err
	}
	w.log.ended.Wait()
	newest, folder := w.log.memory, w.log.folder
	w.report.Faults++
	copied := b.memory.CrashClone(vfs.CrashCloneCfg{})
	w.trace.add("the log is at size %d, %d is published; a copy of size %d is put in place, with what was published: %v", size, published, b.size, all)
	s := starting{memory: copied, folder: folder}
	if all {
		s.folder, s.override = b.folder, w.sabotage.olderFolder
	}
	w.older.Store(math.MaxInt64)
	err := w.log.start(s)
	if err == nil {
		err = w.heldUntilRefused(b)
	}
	w.older.Store(time.Now().Add(answerTime).UnixNano())
	switch {
	case err == nil:
		return nil // a violation, which was said
	case isRefusal(err) || errors.Is(err, publisher.ErrAccused):
		w.report.Refused++
		w.trace.add("it was refused: %.150s", err)
	case errors.Is(err, errUnheard):
		w.trace.add("it was held, as no witness answered")
	default:
		return fmt.Errorf("a copy of size %d, with %d published: expected a refusal: %w", b.size, published, err)
	}
	w.log.memory, w.log.folder = newest, folder
	return nil
}

var errUnheard = errors.New("no witness answered")

// heldUntilRefused waits for the witnesses' word on a log that is older than they know, and ends it.
func (w *world) heldUntilRefused(b *backup) error {
	l := w.log.life.Load()
	for range 100 {
		time.Sleep(100 * time.Millisecond)
		w.settle()
		if !l.seq.Held() {
			if w.sabotage.olderFolder {
				return nil // it goes on from there
			}
			w.check.violate("a log that was put back to size %d takes submissions", b.size)
			return nil
		}
		if err := l.failure(); err != nil {
			return errors.Join(err, w.log.end(w.random, 0, false))
		}
	}
	return errors.Join(errUnheard, w.log.end(w.random, 0, false))
}

// restoreWitness starts a witness from an older copy of its folder, which it must refuse; or, once in a run, of its head
// file as well. Then it knows less than it signed, and the log must not count it any more.
func (w *world) restoreWitness() error {
	n := w.witnesses[0]
	if len(w.witnessBackups) == 0 || w.second != nil || w.rolledBack {
		return nil
	}
	b := w.witnessBackups[w.random.IntN(len(w.witnessBackups))]
	if b.size >= w.check.newestOf(n.name) {
		return nil
	}
	if err := n.end(); err != nil {
		return err
	}
	w.report.Faults++
	newest, err := n.backup(1000 + n.lives)
	if err != nil {
		return err
	}
	both := w.random.IntN(3) == 0
	w.trace.add("%s is put back from size %d to %d, its head too: %v", n.name, newest.size, b.size, both)
	if err := n.putBack(b, both); err != nil {
		return err
	}
	if both {
		w.rolledBack = true
		n.rolled.Store(true)
		return n.start()
	}
	if err := n.start(); !errors.Is(err, state.ErrRefused) {
		if w.sabotage.forgetful {
			return nil
		}
		return fmt.Errorf("%s starts from a copy of size %d, having cosigned %d: %w", n.name, b.size, newest.size, err)
	}
	w.report.Refused++
	return n.putBack(newest, false)
}
