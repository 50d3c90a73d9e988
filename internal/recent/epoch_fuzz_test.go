package recent

import (
	"math/big"
	"testing"
)

// An epoch is an exact number: it reads again as itself, and the order is that of the numbers.
func FuzzParseEpoch(f *testing.F) {
	for _, s := range []string{"", "0", "1", "1223270911.76639", "1223270911.766390", "1.", ".5", "01", "1e9", "-1", "999999999999.9999999999999999999999999999999999999999", "9.0", "٣"} {
		f.Add(s, "1223270911.7664")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, err := ParseEpoch(a)
		if err != nil {
			return
		}
		if again, err := ParseEpoch(x.String()); err != nil || again != x {
			t.Errorf("%q is written as %q, which reads as %q (%v)", a, x, again, err)
		}
		var text Epoch
		if b, err := x.MarshalText(); err != nil || text.UnmarshalText(b) != nil || text != x {
			t.Errorf("%q does not survive its text %q (%v)", a, b, err)
		}
		if len(x.String()) > maxSeconds+1+maxFraction {
			t.Errorf("%q is %d characters", a, len(x.String()))
		}
		y, err := ParseEpoch(b)
		if err != nil {
			return
		}
		m, ok1 := new(big.Rat).SetString(a)
		n, ok2 := new(big.Rat).SetString(b)
		if !ok1 || !ok2 {
			t.Fatalf("%q or %q is no number", a, b)
		}
		if got, want := x.Compare(y), m.Cmp(n); got != want || (want == 0) != (x == y) {
			t.Errorf("%q and %q compare as %d, expected %d", a, b, got, want)
		}
	})
}
