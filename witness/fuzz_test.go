package witness

import (
	"bytes"
	"errors"
	"testing"

	"github.com/pauselog/pauselog/witness/protocol"
)

// Whatever is posted, a witness signs only what follows what it signed before, and what it stores is what it
// signed. All inputs go to one witness, so that each finds what others left.
func FuzzAddCheckpoint(f *testing.F) {
	w := newWorld(f)
	forked := newLog(f, origin, 3)
	w.cosign(w.log.request(0, 5))
	for _, b := range [][]byte{
		w.log.request(5, 5), w.log.request(5, 9), w.log.request(0, 9), forked.request(5, 9), forked.request(0, 5), newLog(f, "log.example/other", honest).request(0, 3),
		body(5, nil, w.log.note(9)), body(5, w.log.proof(5, 9), w.log.note(9, w.log.mldsa, w.log.ed)), body(1<<63, nil, w.log.note(9)), w.log.signed("x\n"), {}, []byte("old 5\n\n"),
	} {
		f.Add(b)
		f.Add(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")))
		f.Add(bytes.TrimSuffix(b, []byte("\n")))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w.t, w.log.t = t, t // f is for what comes before
		before := w.stored()
		answer, err := w.AddCheckpoint(t.Context(), b)
		after := w.stored()
		if err != nil {
			if len(answer) > 0 {
				t.Errorf("%q with %v", answer, err)
			}
			if r := (*Refusal)(nil); !errors.As(err, &r) || r.Status < 400 || r.Status >= 500 {
				t.Errorf("%v is not the client's fault", err)
			}
			if after.Size != before.Size || after.Root != before.Root {
				t.Errorf("a refusal (%v) moved the log from size %d to %d", err, before.Size, after.Size)
			}
			return
		}
		request, err := protocol.ParseAddCheckpoint(b)
		if err != nil {
			t.Fatalf("signed what does not parse: %v", err)
		}
		if request.Old != before.Size || after.Size < before.Size || after.Size > uint64(w.log.size) {
			t.Fatalf("from %d on, after size %d: size %d", request.Old, before.Size, after.Size)
		}
		// The honest log is the only one whose keys the witness knows.
		c := w.log.checkpoint(after.Size)
		if after.Root != c.Root {
			t.Fatalf("size %d has root %v, expected %v", after.Size, after.Root, c.Root)
		}
		verifyAnswer(t, w.signers, c, answer)
	})
}
