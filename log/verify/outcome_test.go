package verify

import (
	"encoding/json"
	"slices"
	"testing"
)

// The table that users, scripts and other languages rely on.
var contract = []struct {
	code    int
	outcome Outcome
	word    string
	require bool // stops
	prefer  bool // stops
}{
	{0, Verified, "verified", false, false},
	{1, Error, "error", true, true},
	{2, Usage, "usage", true, true},
	{10, Mismatch, "mismatch", true, true},
	{11, NotLogged, "not-logged", true, false},
	{12, Pending, "pending", true, false},
	{13, Unverifiable, "unverifiable", true, false},
	{14, PolicyUnmet, "policy", true, true},
	{15, Misbehaviour, "misbehaviour", true, true},
	{16, Stale, "stale", true, false},
	{17, Upgrade, "upgrade", true, true},
	{18, Revoked, "revoked", true, true},
	{19, InvalidProof, "invalid-proof", true, true},
}

func TestContract(t *testing.T) {
	if len(contract) != len(outcomes) {
		t.Errorf("%d rows for %d outcomes", len(contract), len(outcomes))
	}
	for _, row := range contract {
		o := row.outcome
		if o.Code() != row.code || o.String() != row.word || o.Stops(Require) != row.require || o.Stops(Prefer) != row.prefer {
			t.Errorf("%v: code %d, require %v, prefer %v; want %+v", o, o.Code(), o.Stops(Require), o.Stops(Prefer), row)
		}
		b, err := json.Marshal(o)
		if err != nil || string(b) != `"`+row.word+`"` {
			t.Errorf("%v in JSON: %s, %v", o, b, err)
		}
		var back Outcome
		if err := json.Unmarshal(b, &back); err != nil || back != o {
			t.Errorf("%s from JSON: %v, %v", b, back, err)
		}
	}
}

func TestPrecedence(t *testing.T) {
	want := []Outcome{2, 1, 15, 19, 14, 17, 10, 18, 16, 12, 11, 13, 0}
	if !slices.Equal(Precedence(), want) {
		t.Errorf("Precedence = %v, want %v", Precedence(), want)
	}
	for i, a := range want {
		for j, b := range want {
			if got, first := Worst(a, b), want[min(i, j)]; got != first {
				t.Errorf("Worst(%v, %v) = %v, want %v", a, b, got, first)
			}
		}
	}
}

// What is no outcome never passes for one.
func TestUnknownOutcome(t *testing.T) {
	for _, o := range []Outcome{-1, 3, 9, 20} {
		if !o.Stops(Require) || !o.Stops(Prefer) {
			t.Errorf("outcome %d does not stop", int(o))
		}
		for _, known := range Precedence() {
			if Worst(o, known) != o || Worst(known, o) != o {
				t.Errorf("outcome %d is lost behind %v", int(o), known)
			}
		}
		if b, err := json.Marshal(o); err == nil {
			t.Errorf("outcome %d in JSON: %s", int(o), b)
		}
	}
	var o Outcome
	for _, s := range []string{`"safe"`, `""`, `"Verified"`, `0`} {
		if err := json.Unmarshal([]byte(s), &o); err == nil {
			t.Errorf("%s is read as %v", s, o)
		}
	}
}

func TestMode(t *testing.T) {
	for m, word := range map[Mode]string{Require: "require", Prefer: "prefer"} {
		if got, err := ParseMode(word); m.String() != word || err != nil || got != m {
			t.Errorf("%v, %q: %v, %v", m, word, got, err)
		}
	}
	if m, err := ParseMode("Prefer"); err == nil || m != Require {
		t.Errorf("Prefer with a capital: %v, %v", m, err)
	}
	var zero Mode
	if !Unverifiable.Stops(zero) || !Unverifiable.Stops(7) {
		t.Error("a mode that nobody chose is not the strict one")
	}
}
