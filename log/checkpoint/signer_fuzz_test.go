package checkpoint

import (
	"errors"
	"strings"
	"testing"
)

// A private key that is taken is what would be written for it, and neither an error nor a log line tells any of it.
func FuzzParseSignerKey(f *testing.F) {
	for _, alg := range []Algorithm{Ed25519, MLDSA44} {
		k, err := GenerateSigner(alg, "log.example/pause", strings.NewReader(strings.Repeat("seed", 100)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(k.Secret())
		f.Add(k.Secret() + "\n")
		f.Add(strings.Replace(k.Secret(), "+", "-", 1))
		f.Add(k.Verifier().String())
	}
	f.Add("PRIVATE+KEY+a+00000000+AQ==")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseSignerKey(s)
		if err != nil {
			if !errors.Is(err, ErrKey) || len(s) > 40 && strings.Contains(err.Error(), s[len(s)-30:]) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if k.Secret() != s {
			t.Errorf("%q is written as %q", s, k.Secret())
		}
		if v, err := ParseVerifierKey(k.Verifier().String()); err != nil || v.String() != k.Verifier().String() {
			t.Errorf("%v: its public key does not read again: %v", k, err)
		}
	})
}
