package recent

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	maxSeconds  = 12 // digits
	maxFraction = 40
)

// An Epoch is when an event was registered: seconds since 1970 with a fraction of any precision, by
// the clock of whoever wrote the file, as an exact decimal. Writers tell events of one moment apart by
// more digits than a float64 has. The zero Epoch is before all others.
//
// Equal numbers are equal by ==.
type Epoch struct {
	text string // without leading zeros, and without trailing ones after the point
}

// ParseEpoch reads a decimal like 1223270911.76639, of at most 12 digits before the point and 40 after it.
func ParseEpoch(s string) (Epoch, error) {
	whole, fraction, point := strings.Cut(s, ".")
	if !digits(whole, maxSeconds) || point && !digits(fraction, maxFraction) || len(whole) > 1 && whole[0] == '0' {
		return Epoch{}, fmt.Errorf("expected an epoch like 1223270911.76639, found %.60q", s)
	}
	if !point {
		return Epoch{s}, nil
	}
	return Epoch{strings.TrimSuffix(strings.TrimRight(s, "0"), ".")}, nil
}

func digits(s string, limit int) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return 0 < len(s) && len(s) <= limit
}

// Compare returns -1 if e is before other, 0 if they are equal, and 1 if e is after it.
func (e Epoch) Compare(other Epoch) int {
	a, aFraction, _ := strings.Cut(e.text, ".")
	b, bFraction, _ := strings.Cut(other.text, ".")
	switch {
	case len(a) < len(b):
		return -1
	case len(a) > len(b):
		return 1
	case a != b:
		return strings.Compare(a, b)
	}
	return strings.Compare(aFraction, bFraction)
}

// IsZero says whether there is no epoch.
func (e Epoch) IsZero() bool { return e.text == "" }

// String returns the decimal, and "" for the zero Epoch.
func (e Epoch) String() string { return e.text }

// MarshalText implements encoding.TextMarshaler.
func (e Epoch) MarshalText() ([]byte, error) { return []byte(e.text), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (e *Epoch) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*e = Epoch{}
		return nil
	}
	*e, err = ParseEpoch(string(b))
	return err
}

// minus returns the epoch so many seconds earlier, which is the zero Epoch before 1970.
func (e Epoch) minus(seconds int64) Epoch {
	whole, _, _ := strings.Cut(e.text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n < seconds {
		return Epoch{}
	}
	return Epoch{strconv.FormatInt(n-seconds, 10) + e.text[len(whole):]}
}

func earlier(a, b Epoch) Epoch {
	if b.Compare(a) < 0 {
		return b
	}
	return a
}
