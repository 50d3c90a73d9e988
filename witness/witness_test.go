package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/tree"
	"github.com/pauselog/pauselog/witness/state"
)

func TestCosigning(t *testing.T) {
	w := newWorld(t)
	for _, sizes := range [][2]uint64{{0, 1}, {1, 1}, {1, 8}, {8, 13}, {13, 64}} {
		w.clock.pass(time.Second)
		c := w.log.checkpoint(sizes[1])
		stranger := sign(t, key(t, checkpoint.CosignatureV1, "other.example/w", 5), c, 77)
		note := added(t, w.log.note(sizes[1], w.log.ed, w.log.mldsa), stranger)
		answer := w.cosign(body(sizes[0], w.log.proof(sizes[0], sizes[1]), note))

		// WS-12, WS-13: both keys, Ed25519 first, and the time.
		if at := verifyAnswer(t, w.signers, c, answer); at != w.clock.unix() {
			t.Errorf("it signs the time %d", at)
		}
		lines, err := checkpoint.ParseSignatures(answer)
		if err != nil || len(lines) != 2 || len(lines[0].Blob) != 72 || len(lines[1].Blob) != 2428 {
			t.Errorf("answer %q, %v", answer, err)
		}
		// WS-15: the log's lines, and those of the answer; strangers' are not kept.
		want := string(w.log.note(sizes[1], w.log.ed)) // both of the log's lines, of which ML-DSA's differ
		served, ok := w.Checkpoint(w.log.hash())
		n, err := checkpoint.ParseNote(served)
		if !ok || err != nil || len(n.Signatures) != 4 || !strings.HasPrefix(string(served), want) || !bytes.HasSuffix(served, answer) {
			t.Errorf("it serves %q, %v", served, err)
		}
		w.restart()
		if again, _ := w.Checkpoint(w.log.hash()); !bytes.Equal(again, served) {
			t.Errorf("after a restart it serves %q", again)
		}
	}
}

func TestLogWithOtherKeyNames(t *testing.T) {
	w := newWorld(t)
	l := newLog(t, "log.example/renamed", honest)
	l.ed = key(t, checkpoint.Ed25519, "key.example/2026", 7)
	w.add(l)
	c := l.checkpoint(5)
	note := checkpoint.Note{Text: c.Text(), Signatures: []checkpoint.Signature{rawSign(t, 7, l.ed.Verifier(), c.Text())}}
	verifyAnswer(t, w.signers, c, w.cosign(body(0, nil, note.Marshal())))

	// Evidence for everybody wants keys of the log's name. The two notes are kept all the same.
	stored, _ := w.Checkpoint(l.hash())
	c.Root = tree.LeafHash(nil)
	note = checkpoint.Note{Text: c.Text(), Signatures: []checkpoint.Signature{rawSign(t, 7, l.ed.Verifier(), c.Text())}}
	if _, err := w.post(body(5, nil, note.Marshal())); status(err) != 422 {
		t.Errorf("%v", err)
	}
	if files := w.files(suffixNotes); len(files) != 1 {
		t.Errorf("%v", files)
	} else if b, err := os.ReadFile(files[0]); err != nil || string(b) != string(stored)+string(note.Marshal()) {
		t.Errorf("%q, %v", b, err)
	}
}

func TestCheckpointIsOfKnownLogsOnly(t *testing.T) {
	w := newWorld(t)
	for _, hash := range []string{"", "x", w.log.hash(), strings.ToUpper(w.log.hash()), origin} {
		if b, ok := w.Checkpoint(hash); ok || b != nil {
			t.Errorf("%s has the checkpoint %q", hash, b)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t)
	ed := key(t, checkpoint.CosignatureV1, witnessName, 1)
	for name, signers := range map[string][]Signer{
		"no key":          nil,
		"a log's key":     {key(t, checkpoint.Ed25519, witnessName, 1)},
		"another name":    {ed, key(t, checkpoint.MLDSA44, "witness.example/w2", 1)},
		"the same twice":  {ed, ed},
		"of another name": {key(t, checkpoint.CosignatureV1, "witness.example/w2", 1)},
	} {
		if w, err := New(Config{State: w.state, Signers: signers}); err == nil {
			t.Errorf("%s: %+v", name, w)
		}
	}
	if err := os.WriteFile(w.evidence+"x", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{State: w.state, Signers: []Signer{ed}, EvidenceDir: w.evidence + "x"}); err == nil {
		t.Error("a file is the folder for evidence")
	}
}

// Two requests at once, with two trees for the old size: one is cosigned, the other gets 409.
// The second waits for the first, whatever it is doing.
func TestSecondOfTwoRequestsIsToldTheNewSize(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 8))
	fork := newLog(t, origin, 8)

	stalled, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.hook = func(s step) {
		if s == checked {
			once.Do(func() { close(stalled); <-proceed })
		}
	}
	type result struct {
		answer []byte
		err    error
	}
	first, second := make(chan result, 1), make(chan result, 1)
	go func() { a, err := w.post(w.log.request(8, 12)); first <- result{a, err} }()
	<-stalled
	go func() { a, err := w.post(fork.request(8, 12)); second <- result{a, err} }()
	close(proceed)
	a, b := <-first, <-second
	verifyAnswer(t, w.signers, w.log.checkpoint(12), a.answer)
	if status(a.err) != 200 || status(b.err) != 409 || b.answer != nil || b.err.(*Refusal).Size != 12 {
		t.Errorf("first %v, second %v, %q", a.err, b.err, b.answer)
	}
	if l := w.stored(); l.Root != w.log.root(12) {
		t.Errorf("%+v", l)
	}
	// The loser had contradicted the winner.
	if s := w.Stats().Logs[0]; s.Contradictions != 1 {
		t.Errorf("%+v", s)
	}
}

// Should ever two witnesses have one state, then the state itself tells them apart.
func TestStateComparesAgain(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 8))
	rival, err := New(Config{State: w.state, Signers: w.signers, Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	fork := newLog(t, origin, 8)
	w.hook = func(s step) {
		if s == checked {
			answer, err := rival.AddCheckpoint(t.Context(), fork.request(8, 10))
			if err != nil {
				t.Errorf("the rival: %v", err)
			}
			verifyAnswer(t, w.signers, fork.checkpoint(10), answer)
		}
	}
	answer, err := w.post(w.log.request(8, 12))
	if answer != nil || status(err) != 409 || err.(*Refusal).Size != 10 {
		t.Errorf("%q, %v", answer, err)
	}
	if l := w.stored(); l.Size != 10 || l.Root != fork.root(10) {
		t.Errorf("%+v", l)
	}
}

func TestLogDisabledWhileItIsCosigned(t *testing.T) {
	w := newWorld(t)
	w.hook = func(s step) {
		if s == checked {
			if err := w.state.Disable(origin); err != nil {
				t.Error(err)
			}
		}
	}
	if answer, err := w.post(w.log.request(0, 8)); answer != nil || status(err) != 404 {
		t.Errorf("%q, %v", answer, err)
	}
}

// WS-10: a witness that goes after it persisted, and before it answered, has the checkpoint.
func TestCrashBetweenPersistAndAnswer(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 8))
	crash := errors.New("crash")
	post := func(body []byte) (err any) {
		defer func() { err = recover() }()
		w.hook = func(s step) {
			if s == persisted {
				panic(crash)
			}
		}
		w.post(body)
		return nil
	}
	if got := post(w.log.request(8, 12)); got != crash {
		t.Fatalf("%v", got)
	}
	w.restart()
	fork := newLog(t, origin, 8)
	if _, err := w.post(fork.request(8, 12)); status(err) != 409 || err.(*Refusal).Size != 12 {
		t.Errorf("a fork of the size that nobody was told: %v", err)
	}
	if _, err := w.post(w.log.request(8, 12)); status(err) != 409 || err.(*Refusal).Size != 12 {
		t.Errorf("the same request: %v", err)
	}
	w.clock.pass(time.Minute)
	c := w.log.checkpoint(12)
	if at := verifyAnswer(t, w.signers, c, w.cosign(w.log.request(12, 12))); at != w.clock.unix() {
		t.Errorf("the same checkpoint with the right old size: time %d", at)
	}
}

// A witness that goes between its two writes goes on with what it had persisted.
func TestCrashBetweenRecordAndHead(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 8))
	head, err := os.ReadFile(w.head)
	if err != nil {
		t.Fatal(err)
	}
	w.cosign(w.log.request(8, 12)) // of which nobody hears
	w.state.Close()
	if err := os.WriteFile(w.head, head, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	if _, err := w.post(newLog(t, origin, 8).request(8, 12)); status(err) != 409 || err.(*Refusal).Size != 12 {
		t.Errorf("%v", err)
	}
	w.cosign(w.log.request(12, 13))
}

func TestBrokenStateAnswersNothing(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 8))
	w.hook = func(s step) {
		if s == checked {
			w.state.Close() // so that its write fails
		}
	}
	answer, err := w.post(w.log.request(8, 12))
	if r := (*Refusal)(nil); answer != nil || err == nil || errors.As(err, &r) || !errors.Is(err, state.ErrClosed) {
		t.Errorf("%q, %v", answer, err)
	}
	if s := w.Stats().Logs[0]; s.Answers[500] != 1 || s.Answers[200] != 1 {
		t.Errorf("%+v", s)
	}
}

// A request that waits for another one ends with its context.
func TestWaitingEndsWithTheContext(t *testing.T) {
	w := newWorld(t)
	stalled, proceed := make(chan struct{}), make(chan struct{})
	w.hook = func(s step) {
		if s == checked {
			close(stalled)
			<-proceed
		}
	}
	first := make(chan error, 1)
	go func() { _, err := w.post(w.log.request(0, 8)); first <- err }()
	<-stalled
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if answer, err := w.AddCheckpoint(ctx, w.log.request(0, 9)); answer != nil || status(err) != 503 || !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", answer, err)
	}
	// Another log does not wait.
	other := newLog(t, "log.example/other", honest)
	w.add(other)
	w.hook = func(step) {}
	verifyAnswer(t, w.signers, other.checkpoint(9), w.cosign(other.request(0, 9)))
	close(proceed)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// Anybody can send a published checkpoint again: within its second that costs nothing.
func TestReplayCostsNothing(t *testing.T) {
	w := newWorld(t)
	counted := &countingSigner{Signer: w.signers[0]}
	w.signers[0] = counted
	w.restart()
	both := body(0, nil, w.log.note(8, w.log.ed, w.log.mldsa))
	answer := w.cosign(both)
	n, _ := checkpoint.ParseNote(w.stored().Note)
	logs := n.Keep(func(s checkpoint.Signature) bool { return s.Name == origin })
	before := w.stored()
	for _, again := range [][]byte{logs.Marshal(), w.log.note(8), flippedName(t, w.log.note(8))} {
		if got := w.cosign(body(8, nil, again)); !bytes.Equal(got, answer) {
			t.Errorf("answer %q", got)
		}
	}
	if after := w.stored(); after.Sequence != before.Sequence || counted.calls != 1 {
		t.Errorf("it wrote, or signed %d times", counted.calls)
	}
	// Another line of the log is something new, and so is another second.
	w.cosign(body(8, nil, w.log.note(8, w.log.mldsa)))
	if after := w.stored(); after.Sequence != before.Sequence+1 || counted.calls != 2 {
		t.Errorf("a new line: sequence %d, %d calls", after.Sequence, counted.calls)
	}
	w.clock.pass(time.Second)
	if got := w.cosign(body(8, nil, w.log.note(8))); verifyAnswer(t, w.signers, w.log.checkpoint(8), got) != w.clock.unix() {
		t.Errorf("the next second: %q", got)
	}
	// Keys that were replaced in the meantime do not answer.
	w.signers = []Signer{key(t, checkpoint.CosignatureV1, witnessName, 77)}
	w.restart()
	verifyAnswer(t, w.signers, w.log.checkpoint(8), w.cosign(body(8, nil, w.log.note(8))))
}

// flippedName adds a stranger's line, which is of no meaning.
func flippedName(t testing.TB, note []byte) []byte {
	return added(t, note, checkpoint.Signature{Name: "stranger.example", KeyID: 5, Blob: []byte("x")})
}

type countingSigner struct {
	Signer
	calls int
}

func (s *countingSigner) Sign(c checkpoint.Checkpoint, time uint64) (checkpoint.Signature, error) {
	s.calls++
	return s.Signer.Sign(c, time)
}

// A brokenSigner does something else than to sign.
type brokenSigner struct {
	Signer
	sign func(c checkpoint.Checkpoint, time uint64) (checkpoint.Signature, error)
}

func (s brokenSigner) Sign(c checkpoint.Checkpoint, time uint64) (checkpoint.Signature, error) {
	return s.sign(c, time)
}

func TestOneSignerOfTwoFails(t *testing.T) {
	for name, sign := range map[string]func(s Signer, c checkpoint.Checkpoint, time uint64) (checkpoint.Signature, error){
		"it is gone": func(Signer, checkpoint.Checkpoint, uint64) (checkpoint.Signature, error) {
			return checkpoint.Signature{}, errors.New("agent is gone")
		},
		"it signs another root": func(s Signer, c checkpoint.Checkpoint, time uint64) (checkpoint.Signature, error) {
			c.Root = tree.LeafHash(nil)
			return s.Sign(c, time)
		},
		"it signs another time": func(s Signer, c checkpoint.Checkpoint, time uint64) (checkpoint.Signature, error) {
			return s.Sign(c, time+1)
		},
		"it signs with another key": func(_ Signer, c checkpoint.Checkpoint, time uint64) (checkpoint.Signature, error) {
			return key(t, checkpoint.MLDSA44, witnessName, 88).Sign(c, time)
		},
		"it signs nothing": func(Signer, checkpoint.Checkpoint, uint64) (checkpoint.Signature, error) {
			return checkpoint.Signature{}, nil
		},
	} {
		w := newWorld(t)
		good := w.signers
		broken := func(s Signer) Signer {
			return brokenSigner{s, func(c checkpoint.Checkpoint, time uint64) (checkpoint.Signature, error) { return sign(s, c, time) }}
		}
		w.signers = []Signer{broken(good[0]), good[1]}
		w.restart()
		answer := w.cosign(w.log.request(0, 8))
		verifyAnswer(t, good, w.log.checkpoint(8), answer)
		if lines, err := checkpoint.ParseSignatures(answer); err != nil || len(lines) != 1 || len(lines[0].Blob) != 72 {
			t.Errorf("%s: %q, %v", name, answer, err)
		}
		if s := w.Stats(); s.SignerFailures != 1 || !strings.Contains(w.journal.String(), "a key does not sign") {
			t.Errorf("%s: %+v, journal %s", name, s, w.journal.String())
		}
		// With none that works nothing is persisted.
		w.signers = []Signer{broken(good[0]), broken(good[1])}
		w.restart()
		before := w.stored()
		if answer, err := w.post(w.log.request(8, 9)); answer != nil || status(err) != 503 || err.(*Refusal).Retry == 0 {
			t.Errorf("%s: %q, %v", name, answer, err)
		}
		if after := w.stored(); after.Sequence != before.Sequence {
			t.Errorf("%s: it wrote %+v", name, after)
		}
		w.signers = good
		w.restart()
		verifyAnswer(t, good, w.log.checkpoint(9), w.cosign(w.log.request(8, 9)))
	}
}

func TestStatsAreOfKnownLogsOnly(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 8))
	w.post(w.log.request(0, 9))
	w.post(body(8, nil, w.log.note(9)))
	for i := range 20 {
		w.post(newLog(t, fmt.Sprintf("log.example/%d", i), honest).request(0, 1))
	}
	w.post([]byte("old x"))
	s := w.Stats()
	if len(s.Logs) != 1 || s.Other[404] != 20 || s.Other[400] != 1 || len(s.Other) != 2 {
		t.Fatalf("%+v", s)
	}
	l := s.Logs[0]
	if l.Origin != origin || l.Size != 8 || l.Time != w.clock.unix() || l.Answers[200] != 1 || l.Answers[409] != 1 || l.Answers[422] != 1 || l.Unproven != 1 || l.Contradictions != 0 {
		t.Errorf("%+v", l)
	}
}

// The default clock is the system's, and its elapsed time does not follow the wall clock.
func TestSystemClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := SystemClock()
		before, elapsed := c.Now(), c.Elapsed()
		time.Sleep(time.Hour)
		if c.Now().Sub(before) != time.Hour || c.Elapsed()-elapsed != time.Hour {
			t.Errorf("%v, %v", c.Now().Sub(before), c.Elapsed()-elapsed)
		}
	})
}
