package checkpoint

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
)

// world is a log with both key types and three witnesses.
type world struct {
	log, logPQ, other *SignerKey
	w                 []*SignerKey
	policy            *Policy // two of three witnesses
}

func newWorld(t testing.TB) *world {
	w := &world{
		log:   signer(t, Ed25519, goldenOrigin, 1),
		logPQ: signer(t, MLDSA44, goldenOrigin, 3),
		other: signer(t, Ed25519, "other.example", 5),
	}
	text := fmt.Sprintf("log %s\nlog %s\nlog %s\n", w.log.Verifier(), w.logPQ.Verifier(), w.other.Verifier())
	for i := range 3 {
		k := signer(t, CosignatureV1, fmt.Sprintf("w.example/%d", i), byte(10+i))
		w.w = append(w.w, k)
		text += fmt.Sprintf("witness w%d %s\n", i, k.Verifier())
	}
	w.policy = mustPolicy(t, text+"group two 2 w0 w1 w2\nquorum two\n")
	return w
}

// goldenNote signs the golden checkpoint with these keys.
func goldenNote(t testing.TB, keys ...*SignerKey) Note {
	n := Note{Text: goldenCheckpoint.Text()}
	for _, k := range keys {
		n = n.With(mustSign(t, k, goldenCheckpoint, goldenTime))
	}
	return n
}

func flipped(s Signature) Signature {
	s.Blob = slices.Clone(s.Blob)
	s.Blob[len(s.Blob)-1] ^= 1
	return s
}

func TestOpen(t *testing.T) {
	w := newWorld(t)
	stranger := signer(t, CosignatureV1, "stranger.example", 99)
	good := goldenNote(t, w.log, w.w[0], w.w[1])
	sig := func(k *SignerKey) Signature { return mustSign(t, k, goldenCheckpoint, goldenTime) }
	// Lines that share only half of what names a key.
	renamed, reID := sig(w.w[2]), sig(w.w[2])
	renamed.Name, reID.KeyID = "w.example/renamed", reID.KeyID+1
	logReID := flipped(sig(w.log))
	logReID.KeyID++
	// The same key pairs under the other Ed25519 type are other keys.
	asCosigner, asLog := signer(t, CosignatureV1, goldenOrigin, 1), signer(t, Ed25519, goldenOrigin, 10)
	otherNote := Checkpoint{Origin: "third.example", Size: 8, Root: goldenCheckpoint.Root}
	unknown := Note{Text: otherNote.Text()}.With(mustSign(t, signer(t, Ed25519, "third.example", 6), otherNote, 0))
	for _, k := range w.w {
		unknown = unknown.With(mustSign(t, k, otherNote, goldenTime))
	}
	extended := good
	extended.Text += "ext\n"
	grown := good
	grown.Text = Checkpoint{goldenOrigin, 9, goldenCheckpoint.Root}.Text()

	for _, v := range []struct {
		name    string
		note    Note
		want    error
		logs    int
		cosigns int
	}{
		{"log and quorum", good, nil, 1, 2},
		{"all keys", goldenNote(t, w.log, w.logPQ, w.w[0], w.w[1], w.w[2]), nil, 2, 3},
		{"any one log key suffices (PO-6)", goldenNote(t, w.logPQ, w.w[0], w.w[1]), nil, 1, 2},
		{"the order of lines means nothing", goldenNote(t, w.w[1], w.w[0], w.log), nil, 1, 2},
		{"line of an unknown key is ignored (SN-5, CP-11)", good.With(flipped(sig(stranger))), nil, 1, 2},
		{"known id, other name: ignored (SN-5)", good.With(renamed), nil, 1, 2},
		{"known name, other id: ignored (SN-5)", good.With(reID), nil, 1, 2},
		{"log's name, other id: ignored (SN-5)", good.With(logReID), nil, 1, 2},
		{"0x04 line by the log's key: another key", good.With(sig(asCosigner)), nil, 1, 2},
		{"0x01 line by a witness's key pair: another key", good.With(sig(asLog)), nil, 1, 2},

		{"one witness short", goldenNote(t, w.log, w.w[0]), ErrQuorum, 1, 1},
		{"no witness", goldenNote(t, w.log), ErrQuorum, 1, 0},
		{"two lines, one by a renamed witness", goldenNote(t, w.log, w.w[0]).With(renamed), ErrQuorum, 1, 1},

		{"no log line", goldenNote(t, w.w[0], w.w[1]), ErrUnknownLog, 0, 0},
		{"log line of an unknown key of the origin", goldenNote(t, w.w[0], w.w[1]).With(logReID), ErrUnknownLog, 0, 0},
		{"origin of no log key", unknown, ErrUnknownLog, 0, 0},
		{"origin of no log key, and a bad line", unknown.With(flipped(unknown.Signatures[1])), ErrUnknownLog, 0, 0},

		// SN-6, PF-5: the whole note, even where the line is not needed.
		{"bad log line", good.With(flipped(sig(w.log))), ErrBadSignature, 0, 0},
		{"bad second log line", good.With(flipped(sig(w.logPQ))), ErrBadSignature, 0, 0},
		{"bad needed witness line", good.With(flipped(sig(w.w[0]))), ErrBadSignature, 0, 0},
		{"bad third witness line", good.With(flipped(sig(w.w[2]))), ErrBadSignature, 0, 0},
		{"bad line, quorum not met anyway", goldenNote(t, w.log).With(flipped(sig(w.w[2]))), ErrBadSignature, 0, 0},
		{"line of another log's key, bad", good.With(Signature{"other.example", w.other.Verifier().KeyID(), make([]byte, 64)}), ErrBadSignature, 0, 0},
		{"0x01 signature under a 0x04 key's id", good.With(Signature{"w.example/2", w.w[2].Verifier().KeyID(), sig(w.log).Blob}), ErrBadSignature, 0, 0},
		{"0x04 signature under a 0x01 key's id", good.With(Signature{goldenOrigin, w.log.Verifier().KeyID(), sig(w.w[2]).Blob}), ErrBadSignature, 0, 0},
		{"signatures of another text", grown, ErrBadSignature, 0, 0},

		{"extension line (CP-4)", extended, ErrExtension, 0, 0},
		{"no checkpoint", Note{Text: "text\n", Signatures: good.Signatures}, ErrMalformed, 0, 0},
		{"no lines", Note{Text: good.Text}, ErrMalformed, 0, 0},
	} {
		o, err := w.policy.Open(v.note.Marshal())
		if !errors.Is(err, v.want) || (v.want == nil) != (err == nil) {
			t.Errorf("%s: Open = %v; want %v", v.name, err, v.want)
			continue
		}
		for _, other := range []error{ErrMalformed, ErrExtension, ErrUnknownLog, ErrBadSignature, ErrQuorum} {
			if err != nil && other != v.want && errors.Is(err, other) {
				t.Errorf("%s: %v is %q too", v.name, err, other)
			}
		}
		// An Opened comes with success and with ErrQuorum, never else.
		if (o != nil) != (v.want == nil || v.want == ErrQuorum) {
			t.Errorf("%s: Opened = %+v next to error %v", v.name, o, err)
			continue
		}
		if o != nil && (o.Checkpoint != goldenCheckpoint || o.QuorumMet != (v.want == nil) || len(o.LogKeys) != v.logs ||
			len(o.LogTimes) != v.logs || len(o.Cosignatures) != v.cosigns || len(o.Note.Signatures) != len(v.note.Signatures)) {
			t.Errorf("%s: Open = %+v", v.name, o)
		}
	}
}

// PO-9: in a policy of two logs, one's key does not vouch for the other's
// origin. Ed25519 keys refuse to sign that here; others may not.
func TestLogKeyOfAnotherOriginDoesNotCount(t *testing.T) {
	otherPQ := signer(t, MLDSA44, "other.example", 5)
	log := signer(t, MLDSA44, goldenOrigin, 3)
	p, err := NewPolicy(PolicyLog{Key: log.Verifier()}, PolicyLog{Key: otherPQ.Verifier()})
	if err != nil {
		t.Fatal(err)
	}
	n := Note{Text: goldenCheckpoint.Text()}.With(mustSign(t, otherPQ, goldenCheckpoint, goldenTime))
	if _, err := p.Open(n.Marshal()); !errors.Is(err, ErrUnknownLog) {
		t.Errorf("Open: %v, want ErrUnknownLog", err)
	}
	// Next to the log's own signature it is valid, and nothing.
	o, err := p.Open(n.With(mustSign(t, log, goldenCheckpoint, goldenTime)).Marshal())
	if err != nil || len(o.LogKeys) != 1 || o.LogKeys[0].Name() != goldenOrigin {
		t.Errorf("Open = %+v, %v", o, err)
	}
}

// PO-5 allows one key as a log's and a witness's; its one line then is both.
func TestOneKeyForLogAndWitness(t *testing.T) {
	k := signer(t, MLDSA44, goldenOrigin, 3)
	p := mustPolicy(t, fmt.Sprintf("log %s\nwitness w %[1]s\nquorum w\n", k.Verifier()))
	n := Note{Text: goldenCheckpoint.Text()}.With(mustSign(t, k, goldenCheckpoint, goldenTime))
	o, err := p.Open(n.Marshal())
	if err != nil || len(o.LogKeys) != 1 || len(o.Cosignatures) != 1 {
		t.Errorf("Open = %+v, %v", o, err)
	}
}

// PO-12: with both keys of an operator in an "any" group it counts once.
func TestTwoKeysOfAWitnessCountOnce(t *testing.T) {
	log := signer(t, Ed25519, goldenOrigin, 1)
	a, aPQ, b := signer(t, CosignatureV1, "a.example", 2), signer(t, MLDSA44, "a.example", 3), signer(t, CosignatureV1, "b.example", 4)
	p := mustPolicy(t, fmt.Sprintf("log %s\nwitness a1 %s\nwitness a2 %s\nwitness b %s\ngroup a any a1 a2\ngroup both 2 a b\nquorum both\n",
		log.Verifier(), a.Verifier(), aPQ.Verifier(), b.Verifier()))
	n := goldenNote(t, log, a, aPQ)
	if _, err := p.Open(n.Marshal()); !errors.Is(err, ErrQuorum) {
		t.Errorf("both keys of one witness: %v, want ErrQuorum", err)
	}
	if _, err := p.Open(goldenNote(t, log, aPQ, b).Marshal()); err != nil {
		t.Errorf("one key of each: %v", err)
	}
}

func TestFresh(t *testing.T) {
	w := newWorld(t)
	const now, hour = goldenTime, 3600
	for _, v := range []struct {
		name  string
		times []uint64 // of the witnesses; 0: did not sign
		now   uint64
		age   uint64
		want  bool
	}{
		{"two of three are young", []uint64{now, now - hour, 0}, now, hour, true},
		{"the third may be old", []uint64{now, now - hour, now - 100*hour}, now, hour, true},
		{"one is a second too old", []uint64{now, now - hour - 1, 0}, now, hour, false},
		{"600 s ahead is tolerated", []uint64{now + 600, now, 0}, now, hour, true},
		{"601 s ahead is not", []uint64{now + 601, now, 0}, now, hour, false},
		{"a time at the end of time", []uint64{math.MaxInt64, now, 0}, now, hour, false},
		{"any age", []uint64{1, 1, 0}, now, math.MaxUint64, true},
		{"no age", []uint64{now, now, 0}, now, 0, true},
		{"clock at zero", []uint64{1, 600, 0}, 0, 0, true},
		{"clock at its end", []uint64{now, now, now}, math.MaxUint64, hour, false},
		{"quorum not met at all", []uint64{now, 0, 0}, now, hour, false},
	} {
		n := goldenNote(t, w.log)
		for i, time := range v.times {
			if time != 0 {
				n = n.With(mustSign(t, w.w[i], goldenCheckpoint, time))
			}
		}
		o, err := w.policy.Open(n.Marshal())
		if err != nil && !errors.Is(err, ErrQuorum) {
			t.Fatal(err)
		}
		if got := o.Fresh(w.policy, v.now, v.age); got != v.want {
			t.Errorf("%s: Fresh = %v, want %v", v.name, got, v.want)
		}
	}
}

// Without a quorum the only time is the log's, and Ed25519 has none.
func TestFreshWithQuorumNone(t *testing.T) {
	w := newWorld(t)
	p, err := NewPolicy(w.policy.Logs()...)
	if err != nil {
		t.Fatal(err)
	}
	const now, hour = goldenTime, 3600
	for _, v := range []struct {
		name string
		note Note
		now  uint64
		want bool
	}{
		{"the log's ML-DSA time, young", goldenNote(t, w.log, w.logPQ), now + hour, true},
		{"the log's ML-DSA time, old", goldenNote(t, w.log, w.logPQ), now + hour + 1, false},
		{"the log's ML-DSA time, ahead", goldenNote(t, w.log, w.logPQ), now - 601, false},
		{"no time: it cannot be known", goldenNote(t, w.log), now, false},
		{"no time, and the clock at zero", goldenNote(t, w.log), 0, false},
		{"a stranger's cosignatures are no time", goldenNote(t, w.log, w.w[0], w.w[1]), now, false},
	} {
		o, err := p.Open(v.note.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		if got := o.Fresh(p, v.now, hour); got != v.want {
			t.Errorf("%s: Fresh = %v, want %v", v.name, got, v.want)
		}
	}
}

// A policy without logs is legal (PO-6) and opens nothing.
func TestPolicyWithoutLogs(t *testing.T) {
	p := mustPolicy(t, "quorum none\n")
	if _, err := p.Open(readVector(t, "checkpoint-small.txt")); !errors.Is(err, ErrUnknownLog) {
		t.Errorf("Open: %v, want ErrUnknownLog", err)
	}
}

// Two keys of one name and key id cannot be told apart by a line. Such keys are
// found in 2^32 tries; here the id of one is set by hand.
func TestKeysOfOneIDAreRefused(t *testing.T) {
	a, b := mustKey(t, goldenLogKey), signer(t, Ed25519, goldenOrigin, 7).Verifier()
	b.id = a.id
	p := policyParser{Policy: Policy{keys: make(map[keyRef]*policyKey)}}
	if _, err := p.register(a); err != nil {
		t.Fatal(err)
	}
	if _, err := p.register(b); err == nil {
		t.Error("registered another key of the same name and id")
	}
}

func BenchmarkOpenQuorumOfThree(b *testing.B) {
	w := newWorld(b)
	note := goldenNote(b, w.log, w.w[0], w.w[1], w.w[2]).Marshal()
	p := mustPolicy(b, w.policy.String()[:len(w.policy.String())-len("group two 2 w0 w1 w2\nquorum two\n")]+"group three all w0 w1 w2\nquorum three\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Open(note); err != nil {
			b.Fatal(err)
		}
	}
}
