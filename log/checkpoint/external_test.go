package checkpoint

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"

	"github.com/pauselog/pauselog/log/tree"
)

// A raw signature of the message becomes the line that SignerKey.Sign makes.
func TestCosignatureV1ByAnExternalSigner(t *testing.T) {
	k, err := GenerateSigner(CosignatureV1, "witness.example/w1", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Checkpoint{
		{Origin: "log.example/pause", Root: tree.EmptyRoot},
		{Origin: "log.example/pause", Size: 7, Root: tree.LeafHash([]byte("x"))},
		{Origin: "log.example/pause", Size: tree.MaxSize, Root: tree.LeafHash([]byte("x"))},
	} {
		for _, time := range []uint64{1, 1795341600, tree.MaxSize} {
			m, err := CosignatureV1Message(c, time)
			if want := fmt.Sprintf("cosignature/v1\ntime %d\n%s", time, c.Text()); err != nil || string(m) != want {
				t.Fatalf("the message is %q, %v; want %q", m, err, want)
			}
			sig, err := NewCosignatureV1(k.Verifier(), c, time, ed25519.Sign(k.secret().ed25519, m))
			if err != nil {
				t.Fatal(err)
			}
			want, err := k.Sign(c, time)
			if err != nil || sig.Line() != want.Line() {
				t.Errorf("size %d, time %d: %q, want %q (%v)", c.Size, time, sig.Line(), want.Line(), err)
			}
			if got, err := k.Verifier().Verify(c.Text(), sig); err != nil || got != time {
				t.Errorf("size %d, time %d: verified with time %d, %v", c.Size, time, got, err)
			}
		}
	}
}

func TestCosignatureV1MessageRefusesWhatSignRefuses(t *testing.T) {
	k, err := GenerateSigner(CosignatureV1, "witness.example/w1", nil)
	if err != nil {
		t.Fatal(err)
	}
	good := Checkpoint{Origin: "log.example/pause", Size: 7, Root: tree.LeafHash([]byte("x"))}
	for name, x := range map[string]struct {
		c    Checkpoint
		time uint64
	}{
		"no origin":                  {Checkpoint{Size: 7, Root: good.Root}, 1},
		"an origin of two lines":     {Checkpoint{Origin: "a\nb", Size: 7, Root: good.Root}, 1},
		"a size over 2^63-1":         {Checkpoint{Origin: good.Origin, Size: tree.MaxSize + 1, Root: good.Root}, 1},
		"an empty tree's other root": {Checkpoint{Origin: good.Origin, Root: good.Root}, 1},
		"no time":                    {good, 0},
		"a time over 2^63-1":         {good, tree.MaxSize + 1},
	} {
		_, wantErr := k.Sign(x.c, x.time)
		m, err := CosignatureV1Message(x.c, x.time)
		if err == nil || wantErr == nil || err.Error() != wantErr.Error() {
			t.Errorf("%s: %q, %v; Sign says %v", name, m, err, wantErr)
		}
		if s, err := NewCosignatureV1(k.Verifier(), x.c, x.time, make([]byte, 64)); err == nil || errors.Is(err, ErrBadSignature) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

func TestNewCosignatureV1Refuses(t *testing.T) {
	key := func(a Algorithm) *SignerKey {
		k, err := GenerateSigner(a, "witness.example/w1", nil)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k, other := key(CosignatureV1), key(CosignatureV1)
	c := Checkpoint{Origin: "log.example/pause", Size: 7, Root: tree.LeafHash([]byte("x"))}
	m, err := CosignatureV1Message(c, 100)
	if err != nil {
		t.Fatal(err)
	}
	raw := ed25519.Sign(k.secret().ed25519, m)
	for name, x := range map[string]struct {
		key  *SignerKey
		c    Checkpoint
		time uint64
		raw  []byte
		want error
	}{
		"another key":         {other, c, 100, raw, ErrBadSignature},
		"another time":        {k, c, 101, raw, ErrBadSignature},
		"another size":        {k, Checkpoint{c.Origin, 8, c.Root}, 100, raw, ErrBadSignature},
		"a byte less":         {k, c, 100, raw[:63], ErrBadSignature},
		"a byte more":         {k, c, 100, append(raw[:64:64], 0), ErrBadSignature},
		"no signature":        {k, c, 100, nil, ErrBadSignature},
		"over the text alone": {k, c, 100, ed25519.Sign(k.secret().ed25519, []byte(c.Text())), ErrBadSignature},
		"a log's key":         {key(Ed25519), c, 100, raw, ErrKey},
		"an ML-DSA key":       {key(MLDSA44), c, 100, raw, ErrKey},
	} {
		if s, err := NewCosignatureV1(x.key.Verifier(), x.c, x.time, x.raw); !errors.Is(err, x.want) {
			t.Errorf("%s: %+v, %v; want %v", name, s, err, x.want)
		}
	}
}
