package witness

import (
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/pauselog/pauselog/witness/state"
)

// After a key was stolen and retired, what it alone signs is not cosigned; the log's other key goes on
// where it was.
func TestRetiredLogKeyIsNotTrusted(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 3))
	if err := w.state.RetireKey(origin, state.Ref(w.log.ed.Verifier())); err != nil {
		t.Fatal(err)
	}
	stolen := body(3, w.log.proof(3, 5), w.log.note(5, w.log.ed))
	if _, err := w.post(stolen); status(err) != 403 {
		t.Errorf("signed by the retired key alone: %v", err)
	}
	w.restart()
	if _, err := w.post(stolen); status(err) != 403 {
		t.Errorf("after a restart: %v", err)
	}
	w.clock.pass(1)
	verifyAnswer(t, w.signers, w.log.checkpoint(5), w.cosign(body(3, w.log.proof(3, 5), w.log.note(5, w.log.ed, w.log.mldsa))))
}

// A request may have been found valid, and wait for another one of its log, when its key is retired.
func TestKeyRetiredWhileARequestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cosign(w.log.request(0, 3))
		inside, goOn := make(chan bool), make(chan bool)
		first := true
		w.hook = func(s step) {
			if s == checked && first {
				first = false
				inside <- true
				<-goOn
			}
		}
		a, b := make(chan error, 1), make(chan error, 1)
		go func() { _, err := w.post(body(3, w.log.proof(3, 4), w.log.note(4, w.log.mldsa))); a <- err }()
		<-inside
		go func() { _, err := w.post(body(4, w.log.proof(4, 5), w.log.note(5, w.log.ed))); b <- err }()
		synctest.Wait() // b waits
		if err := w.state.RetireKey(origin, state.Ref(w.log.ed.Verifier())); err != nil {
			t.Fatal(err)
		}
		goOn <- true
		if err := <-a; err != nil {
			t.Fatal(err)
		}
		if err := <-b; status(err) != 403 || w.stored().Size != 4 {
			t.Errorf("signed by a retired key alone: %v; stored size %d", err, w.stored().Size)
		}
	})
}

// Published checkpoints with wrong proofs, which anybody can send, do not keep a forked one from being kept.
func TestUnprovenNotesAreTheNewest(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 3))
	for size := uint64(4); size < 14; size++ {
		if _, err := w.post(body(3, w.log.proof(2, size), w.log.note(size))); status(err) != 422 {
			t.Fatal(err)
		}
	}
	w.restart()
	fork := newLog(t, origin, 2)
	if _, err := w.post(body(3, fork.proof(3, 20), fork.note(20))); status(err) != 422 {
		t.Fatal(err)
	}
	if files, err := filepath.Glob(filepath.Join(w.evidence, "*-20-*"+suffixUnproven)); len(files) != 1 || err != nil {
		t.Errorf("the forked checkpoint is not kept: %v, %v", files, err)
	}
	if n := len(w.files(suffixUnproven)); n != maxUnproven {
		t.Errorf("%d notes are kept, expected %d", n, maxUnproven)
	}
}
