package witness

import (
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
)

// Whatever a log with two histories asks for, and whatever crashes and clocks do: no size gets
// two roots, no answer has a smaller size or an earlier time than one before, all lines
// verify, and what was answered is one history.
func TestAnyHistory(t *testing.T) {
	signers := []Signer{key(t, checkpoint.CosignatureV1, witnessName, 1)}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		defer func() { w.state.Close() }()
		w.signers = signers
		w.restart()
		logs := []*log{w.log, newLog(t, origin, rapid.Int64Range(0, 20).Draw(rt, "fork"))}
		roots := map[uint64]tree.Hash{}
		var size, last uint64
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			w.clock.pass(time.Duration(rapid.IntRange(0, 2).Draw(rt, "seconds")) * time.Second)
			if rapid.IntRange(0, 9).Draw(rt, "correction") == 0 {
				w.clock.set(-time.Minute)
			}
			l := rapid.SampledFrom(logs).Draw(rt, "log")
			stored := w.stored().Size
			to := min(63, stored+rapid.Uint64Range(0, 5).Draw(rt, "grow"))
			if rapid.IntRange(0, 4).Draw(rt, "any") == 0 {
				to = rapid.Uint64Range(0, 30).Draw(rt, "to")
			}
			old := stored
			if rapid.IntRange(0, 4).Draw(rt, "wrong") == 0 {
				old = rapid.Uint64Range(0, 30).Draw(rt, "old")
			}
			proof := l.proof(old, to)
			if len(proof) > 0 && rapid.IntRange(0, 9).Draw(rt, "spoil") == 0 {
				proof[rapid.IntRange(0, len(proof)-1).Draw(rt, "hash")][0] ^= 1
			}
			head, err := os.ReadFile(w.head)
			if err != nil {
				rt.Fatal(err)
			}
			before := w.stored().Sequence
			answer, err := w.post(body(old, proof, l.note(to)))
			crash := rapid.SampledFrom([]string{"", "", "", "restart", "before the answer", "before the head"}).Draw(rt, "crash")
			// Several corrections may add up to more than is forgiven.
			if status(err) == 500 || status(err) == 503 && w.ClockProblem() == nil {
				rt.Fatalf("%v", err)
			}
			if err == nil && (crash == "" || crash == "restart") {
				at := verifyAnswer(t, signers, l.checkpoint(to), answer)
				was, known := roots[to]
				switch {
				case known && was != l.root(to):
					rt.Fatalf("two roots of size %d", to)
				case to < size:
					rt.Fatalf("size %d after %d", to, size)
				case at < last:
					rt.Fatalf("time %d after %d", at, last)
				}
				roots[to], size, last = l.root(to), to, at
			}
			if crash != "" {
				w.state.Close()
				if crash == "before the head" && w.stored().Sequence == before+1 {
					// What is on disk if it had ended between the two writes.
					if err := os.WriteFile(w.head, head, 0o600); err != nil {
						rt.Fatal(err)
					}
				}
				w.start()
			}
		}
		// All that was answered is of one of the two histories.
		for _, l := range logs {
			all := true
			for size, root := range roots {
				all = all && l.root(size) == root
			}
			if all {
				return
			}
		}
		rt.Fatalf("what was answered is of no one history: %v", roots)
	})
}
