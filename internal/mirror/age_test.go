package mirror

import (
	"strings"
	"testing"
	"time"
)

func TestParseStamp(t *testing.T) {
	want := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, text := range []string{"1795341600 Sun Nov 22 10:00:00 2026 GMT\n", "1795341600 whatever\n", "1795341600\n", "1795341600"} {
		if got, err := ParseStamp([]byte(text)); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "\n", " 1795341600", "-1795341600 x", "+1795341600", "01795341600", "0", "1e9", "99999999999999999999", "179534160000",
		"<html>", "1795341600\tx", "1795341600 " + strings.Repeat("x", maxStamp)} {
		if got, err := ParseStamp([]byte(text)); err == nil {
			t.Errorf("%.40q is taken for %v", text, got)
		}
	}
}

func FuzzParseStamp(f *testing.F) {
	f.Add([]byte("1795341600 Sun Nov 22 10:00:00 2026 GMT\n"))
	f.Add([]byte("0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if at, err := ParseStamp(b); err == nil && (at.Unix() <= 0 || at.Year() > 5138) {
			t.Errorf("%q is taken for %v", b, at)
		}
	})
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0 seconds", 0: "0 seconds", time.Second: "1 second", 119 * time.Second: "119 seconds", 2 * time.Minute: "2 minutes", 90 * time.Minute: "90 minutes",
		2 * time.Hour: "2 hours", 26*time.Hour + 59*time.Minute: "26 hours", 48 * time.Hour: "2 days", 80 * time.Hour: "3 days",
	} {
		if got := Age(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// A mirror's own age counts as the cause of an index's age if it is most of it.
func TestExplainAge(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	const days, lags, held = 24 * time.Hour, "it lags", "holds the index back"
	for _, tt := range []struct {
		own, age time.Duration
		want     string
	}{
		{3 * days, 3 * days, lags},
		{40 * time.Hour, 3 * days, lags},
		{27 * time.Hour, 3 * days, held},
		{time.Minute, 3 * days, held},
		{0, 3 * days, held},
		{-5 * time.Minute, 3 * days, held},
		{-time.Hour, 3 * days, ""},
	} {
		got, isLag := ExplainAge("M", now.Add(-tt.own), now, tt.age)
		if isLag != (tt.want == lags) || tt.want == "" && got != "" || !strings.HasSuffix(got, tt.want) {
			t.Errorf("a mirror of %v ago, an index of %v ago: %q, want %q", tt.own, tt.age, got, tt.want)
		}
		if got != "" && !strings.HasPrefix(got, "M says that it was last updated "+Age(max(tt.own, 0))+" ago") {
			t.Errorf("%q does not say when", got)
		}
	}
}
