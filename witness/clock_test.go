package witness

import (
	"strings"
	"testing"
	"time"
)

// The time of a cosignature is the clock's, and never before the last one.
func TestTimeNeverGoesBack(t *testing.T) {
	w := newWorld(t)
	other := newLog(t, "log.example/other", honest)
	w.add(other)
	w.cosign(w.log.request(0, 8))
	last := w.clock.unix()

	// A correction: also for a log that was never cosigned, the last time of the witness is signed.
	for _, back := range []time.Duration{time.Second, 4*time.Minute + 59*time.Second} {
		w.clock.set(-back)
	}
	if at := verifyAnswer(t, w.signers, other.checkpoint(3), w.cosign(other.request(0, 3))); at != last {
		t.Errorf("five minutes back it signs %d, want %d", at, last)
	}
	if err := w.ClockProblem(); err != nil {
		t.Errorf("five minutes back: %v", err)
	}

	w.clock.set(-time.Second)
	for range 2 {
		before := w.stored()
		answer, err := w.post(w.log.request(8, 9))
		if answer != nil || status(err) != 503 || !strings.Contains(err.Error(), "went back") || w.ClockProblem() == nil {
			t.Fatalf("more than five minutes back: %q, %v", answer, err)
		}
		if w.stored().Sequence != before.Sequence {
			t.Error("it wrote")
		}
		w.restart() // a restart changes nothing
	}
	// What is refused anyway is refused as ever.
	if _, err := w.post(w.log.request(3, 9)); status(err) != 409 {
		t.Errorf("a wrong old size: %v", err)
	}
	// The clock catches up.
	w.clock.pass(time.Second)
	if at := verifyAnswer(t, w.signers, w.log.checkpoint(9), w.cosign(w.log.request(8, 9))); at != last {
		t.Errorf("after that it signs %d, want %d", at, last)
	}
}

// The clock was years ahead when something was signed. It is set right, and an operator says so.
func TestAcceptedClock(t *testing.T) {
	w := newWorld(t)
	right := w.clock.unix()
	w.clock.set(10 * 365 * 24 * time.Hour)
	w.restart() // so that it is not seen to jump
	w.cosign(w.log.request(0, 8))
	w.clock.set(-10 * 365 * 24 * time.Hour)
	if _, err := w.post(w.log.request(8, 9)); status(err) != 503 {
		t.Fatalf("%v", err)
	}
	if err := w.AcceptClock(); err != nil || w.ClockProblem() != nil {
		t.Fatalf("%v, %v", err, w.ClockProblem())
	}
	w.restart()
	if at := verifyAnswer(t, w.signers, w.log.checkpoint(9), w.cosign(w.log.request(8, 9))); at != right {
		t.Errorf("it signs %d, want %d", at, right)
	}
	// From the acceptance on, as ever.
	w.clock.set(-10 * time.Minute)
	w.restart()
	if _, err := w.post(w.log.request(9, 10)); status(err) != 503 {
		t.Errorf("%v", err)
	}
	// The accepted time counts too when nothing was signed since.
	w.clock.set(20 * time.Minute)
	if err := w.AcceptClock(); err != nil {
		t.Fatal(err)
	}
	w.clock.set(-10 * time.Minute)
	w.restart()
	if w.ClockProblem() == nil {
		t.Error("ten minutes before the accepted time")
	}
}

func TestClockThatJumpsForward(t *testing.T) {
	w := newWorld(t)
	w.cosign(w.log.request(0, 8))
	w.clock.pass(100 * 24 * time.Hour) // no jump: so much passed
	w.cosign(w.log.request(8, 9))
	w.clock.set(24 * time.Hour)
	w.cosign(w.log.request(9, 10))
	w.clock.set(time.Second)
	for range 2 {
		if _, err := w.post(w.log.request(10, 11)); status(err) != 503 || !strings.Contains(err.Error(), "went forward") {
			t.Fatalf("a day and a second: %v", err)
		}
		w.clock.pass(time.Hour)
	}
	w.clock.set(-time.Second) // it was corrected
	w.cosign(w.log.request(10, 11))
	w.clock.set(48 * time.Hour)
	if w.ClockProblem() == nil {
		t.Error("two more days are no problem")
	}
	if err := w.AcceptClock(); err != nil || w.ClockProblem() != nil {
		t.Errorf("accepted: %v, %v", err, w.ClockProblem())
	}
	if at := verifyAnswer(t, w.signers, w.log.checkpoint(12), w.cosign(w.log.request(11, 12))); at != w.clock.unix() {
		t.Errorf("it signs %d", at)
	}
}

func TestClockBefore1970(t *testing.T) {
	w := newWorld(t)
	w.clock.set(-w.clock.Now().Sub(time.Unix(0, 0)))
	if _, err := w.post(w.log.request(0, 8)); status(err) != 503 {
		t.Errorf("%v", err)
	}
	if err := w.AcceptClock(); err == nil {
		t.Error("it can be accepted")
	}
}
