package state

import (
	"errors"
	"strings"
	"testing"

	"github.com/pauselog/pauselog/log/checkpoint"
)

// A key that was stolen or replaced counts no more, for ever, and takes nothing with it.
func TestRetiredKey(t *testing.T) {
	d := newDisk(t)
	s := d.mustStart(t)
	add(t, s, origin)
	grow(t, s, origin, 3, 1000)
	old, fresh := logKeys(t, origin)[0], key(t, checkpoint.Ed25519, origin, 8).Verifier()

	if err := s.RetireKey(origin, Ref(old)); err == nil || !strings.Contains(err.Error(), "only key") {
		t.Errorf("the only key: %v", err)
	}
	if err := s.RetireKey(origin, Ref(fresh)); err == nil || !strings.Contains(err.Error(), "has no key") {
		t.Errorf("a key that it does not have: %v", err)
	}
	if err := s.RetireKey("log.example/unknown", Ref(old)); !errors.Is(err, ErrUnknownLog) {
		t.Errorf("a key of an unknown log: %v", err)
	}
	if err := s.AddKey(origin, fresh); err != nil {
		t.Fatal(err)
	}
	before := get(t, s, origin)
	for range 2 { // the second time it is retired already
		if err := s.RetireKey(origin, Ref(old)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(s *State) {
		t.Helper()
		got := get(t, s, origin)
		if len(got.Keys) != 1 || got.Keys[0].String() != fresh.String() || len(got.Retired) != 1 || got.Retired[0] != Ref(old) {
			t.Errorf("keys %v, retired %v", got.Keys, got.Retired)
		}
		if got.Size != 3 || got.Time != 1000 || string(got.Note) != string(before.Note) || got.Sequence != before.Sequence+1 {
			t.Errorf("it changed to %+v", got)
		}
	}
	check(s)
	if err := s.AddKey(origin, old); !errors.Is(err, ErrRetiredKey) {
		t.Errorf("added again: %v", err)
	}
	if ok, err := s.Add(origin, logKeys(t, origin), 0, ""); ok || !errors.Is(err, ErrRetiredKey) {
		t.Errorf("from a list: %v, %v", ok, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(d.mustStart(t))
}

// No mistake above the state lets a key be forgotten without being retired, or a retired one come back.
func TestKeysAreNeverForgotten(t *testing.T) {
	a, b := key(t, checkpoint.Ed25519, origin, 7).Verifier(), key(t, checkpoint.Ed25519, origin, 8).Verifier()
	old := Log{Sequence: 1, Origin: origin, Keys: []*checkpoint.VerifierKey{a, b}}
	for name, tt := range map[string]struct {
		keys    []*checkpoint.VerifierKey
		retired []string
		ok      bool
	}{
		"the same":            {[]*checkpoint.VerifierKey{a, b}, nil, true},
		"one retired":         {[]*checkpoint.VerifierKey{b}, []string{Ref(a)}, true},
		"one gone":            {[]*checkpoint.VerifierKey{b}, nil, false},
		"another one retired": {[]*checkpoint.VerifierKey{b}, []string{Ref(b)}, false},
	} {
		if err := (Log{Sequence: 2, Origin: origin, Keys: tt.keys, Retired: tt.retired}).follows(old); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	retired := Log{Sequence: 1, Origin: origin, Keys: []*checkpoint.VerifierKey{b}, Retired: []string{Ref(a)}}
	if err := (Log{Sequence: 2, Origin: origin, Keys: []*checkpoint.VerifierKey{b}}).follows(retired); err == nil {
		t.Error("a retired key is forgotten")
	}
	for name, l := range map[string]Log{
		"one that counts":  {Sequence: 1, Origin: origin, Keys: []*checkpoint.VerifierKey{a}, Retired: []string{Ref(a)}},
		"the same twice":   {Sequence: 1, Origin: origin, Keys: []*checkpoint.VerifierKey{a}, Retired: []string{Ref(b), Ref(b)}},
		"with a line feed": {Sequence: 1, Origin: origin, Keys: []*checkpoint.VerifierKey{a}, Retired: []string{"x\n"}},
	} {
		if _, err := l.marshal(); err == nil || strings.Contains(err.Error(), "root") {
			t.Errorf("retired, and %s: %v", name, err)
		}
	}
}
