package witnessd

import (
	"errors"
	"fmt"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/witness/state"
)

// A Change is what an operator wants changed, of one log or of the clock. It is made by the process
// that has the state: the witness if it runs, otherwise the command itself.
type Change struct {
	Kind   ChangeKind `json:"kind"`
	Origin string     `json:"origin,omitempty"` // of the log; "" for AcceptClock

	// Keys are vkeys, of AddLog and AddKeys; of RetireKeys names and ids of keys (state.Ref).
	Keys []string `json:"keys,omitempty"`
	// QPD and Contact are of AddLog: what the log announced, or 0 and "".
	QPD     uint64 `json:"qpd,omitempty"`
	Contact string `json:"contact,omitempty"`
}

// A ChangeKind says what is changed.
type ChangeKind string

const (
	AddLog      ChangeKind = "add"      // make a log known
	AddKeys     ChangeKind = "add-keys" // more keys for a log that is known
	RetireKeys  ChangeKind = "retire-keys"
	DisableLog  ChangeKind = "disable" // cosign nothing more for it
	EnableLog   ChangeKind = "enable"
	AcceptClock ChangeKind = "accept-clock"
)

// An Outcome is what came of a Change.
type Outcome string

const (
	Added     Outcome = "added"      // the log is known now
	KeysAdded Outcome = "keys-added" // it has the keys now
	Unchanged Outcome = "unchanged"  // nothing was left to do
	OtherKeys Outcome = "other-keys" // the log is known and lacks one of the keys, or it was retired: nothing was done
	Changed   Outcome = "changed"    // of the other kinds
)

// changes is what changes are made to.
type changes struct {
	state       *state.State
	acceptClock func() error
}

// make makes a change. With the outcome OtherKeys there is an error too, which wraps
// state.ErrOtherKeys or state.ErrRetiredKey.
func (c changes) make(ch Change) (Outcome, error) {
	switch ch.Kind {
	case AddLog:
		return c.addLog(ch)
	case AddKeys:
		return c.addKeys(ch)
	case RetireKeys:
		return c.retireKeys(ch)
	case DisableLog:
		return c.setDisabled(ch.Origin, true)
	case EnableLog:
		return c.setDisabled(ch.Origin, false)
	case AcceptClock:
		return Changed, c.acceptClock()
	}
	return "", fmt.Errorf("unknown change %q", ch.Kind)
}

func (c changes) addLog(ch Change) (Outcome, error) {
	keys, err := parseKeys(ch.Keys)
	if err != nil {
		return "", err
	}
	added, err := c.state.Add(ch.Origin, keys, ch.QPD, ch.Contact)
	switch {
	case errors.Is(err, state.ErrOtherKeys), errors.Is(err, state.ErrRetiredKey):
		return OtherKeys, err
	case err != nil:
		return "", err
	case added:
		return Added, nil
	}
	return Unchanged, nil
}

// addKeys stops at the first key that cannot be added.
func (c changes) addKeys(ch Change) (Outcome, error) {
	keys, err := parseKeys(ch.Keys)
	if err != nil {
		return "", err
	}
	before, err := c.log(ch.Origin)
	if err != nil {
		return "", err
	}
	for _, k := range keys {
		if err := c.state.AddKey(ch.Origin, k); err != nil {
			return "", err
		}
	}
	after, err := c.log(ch.Origin)
	if err == nil && len(after.Keys) == len(before.Keys) {
		return Unchanged, nil
	}
	return KeysAdded, err
}

// retireKeys stops at the first key that cannot be retired.
func (c changes) retireKeys(ch Change) (Outcome, error) {
	before, err := c.log(ch.Origin)
	if err != nil {
		return "", err
	}
	for _, ref := range ch.Keys {
		if err := c.state.RetireKey(ch.Origin, ref); err != nil {
			return "", err
		}
	}
	after, err := c.log(ch.Origin)
	if err == nil && len(after.Retired) == len(before.Retired) {
		return Unchanged, nil
	}
	return Changed, err
}

func (c changes) setDisabled(origin string, disabled bool) (Outcome, error) {
	l, err := c.log(origin)
	if err != nil {
		return "", err
	}
	if l.Disabled == disabled {
		return Unchanged, nil
	}
	if disabled {
		return Changed, c.state.Disable(origin)
	}
	return Changed, c.state.Enable(origin)
}

func (c changes) log(origin string) (state.Log, error) {
	l, ok := c.state.Log(state.Log{Origin: origin}.Hash())
	if !ok {
		return l, fmt.Errorf("%w: %.100q", state.ErrUnknownLog, origin)
	}
	return l, nil
}

func parseKeys(vkeys []string) (keys []*checkpoint.VerifierKey, err error) {
	for _, v := range vkeys {
		k, err := checkpoint.ParseVerifierKey(v)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// NewLog returns the change that makes a log with these keys known. origin may be "" if all keys
// have the same name: that is the origin then.
func NewLog(origin string, vkeys ...string) (Change, error) {
	keys, err := parseKeys(vkeys)
	if err != nil {
		return Change{}, err
	}
	if len(keys) == 0 {
		return Change{}, errors.New("a log needs a vkey")
	}
	for _, k := range keys {
		if a := k.Algorithm(); a != checkpoint.Ed25519 && a != checkpoint.MLDSA44 {
			return Change{}, fmt.Errorf("expected a log's vkey, of type %v or %v, found %s of type %v", checkpoint.Ed25519, checkpoint.MLDSA44, k.Name(), a)
		}
		if origin == "" && k.Name() != keys[0].Name() {
			return Change{}, fmt.Errorf("keys with the names %s and %s: say which origin the log has", keys[0].Name(), k.Name())
		}
	}
	if origin == "" {
		origin = keys[0].Name()
	}
	return Change{Kind: AddLog, Origin: origin, Keys: vkeys}, checkpoint.ValidOrigin(origin)
}

// Change returns the change that makes a listed log known.
func (l ListedLog) Change() (Change, error) {
	if l.Err != nil {
		return Change{}, l.Err
	}
	return Change{Kind: AddLog, Origin: l.Origin, Keys: []string{l.Key.String()}, QPD: l.QPD, Contact: l.Contact}, nil
}
