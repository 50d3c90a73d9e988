package witness

import (
	"testing"

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
