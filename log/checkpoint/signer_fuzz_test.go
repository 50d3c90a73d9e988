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
	f.Add("PRIVATE+KEY+000000000000000000000000000000++000000000000000000000000000000") // the name is like the key
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseSignerKey(s)
		if err != nil {
			// The name and the key id may be told, unless there is no key behind them.
			name, key := s, s
			if parts := strings.SplitN(s, "+", 5); len(parts) == 5 {
				name, key = parts[2]+"+"+parts[3], parts[4]
			}
			const much = 12
			for i := 0; i+much <= len(key); i++ {
				if part := key[i : i+much]; telling(part) && strings.Contains(err.Error(), part) && !strings.Contains(name, part) {
					t.Errorf("%q: %v", s, err)
				}
			}
			if !errors.Is(err, ErrKey) {
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

// telling reports whether part of a text is hardly anywhere else by chance.
func telling(part string) bool {
	different := map[rune]bool{}
	for _, c := range part {
		different[c] = true
	}
	return len(different) >= 9 && !strings.Contains(part, " ") && part != signerPrefix
}
