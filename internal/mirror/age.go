package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/entry"
	"github.com/pauselog/pauselog/log/verify"
)

// How old an index is, and whose fault that may be.

// stampPath is where a mirror says when it was last updated: PAUSE writes it anew every minute. Nobody signs it. So it
// decides nothing, and only says which of the innocent causes to look at first.
const stampPath = "authors/02STAMP"

const (
	maxStamp  = 256             // bytes; it is one line of about 40
	stampTime = 5 * time.Second // a hint is not worth more: clients wait 30 seconds for the index
)

// ParseStamp reads the text of authors/02STAMP: seconds since 1970, and behind them the same as a date, which is for
// people and not read.
func ParseStamp(b []byte) (time.Time, error) {
	word, _, _ := strings.Cut(strings.TrimRight(string(b), "\n"), " ")
	n, err := strconv.ParseUint(word, 10, 64)
	if len(b) > maxStamp || err != nil || len(word) > 11 || word[0] < '1' || word[0] > '9' {
		return time.Time{}, fmt.Errorf("expected seconds since 1970 and a date, found %.40q", b)
	}
	return time.Unix(int64(n), 0).UTC(), nil
}

// stampOf asks an upstream when it was last updated.
func stampOf(ctx context.Context, u Upstream) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, stampTime)
	defer cancel()
	in, err := u.open(ctx, stampPath)
	if err != nil {
		return time.Time{}, err
	}
	defer in.body.Close()
	b, err := io.ReadAll(io.LimitReader(in.body, maxStamp+1))
	if err == nil && in.altered != "" {
		err = errors.New(in.altered)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %w", errUnusable, err)
	}
	return ParseStamp(b)
}

// ExplainAge says in words what a mirror's stamp tells of an index that is so old: that the mirror lags, if its own age is
// most of the index's; and otherwise that something else is behind it. It returns "" if the stamp tells nothing, because it is
// ahead of the clock.
func ExplainAge(mirror string, stamp, now time.Time, age time.Duration) (words string, lags bool) {
	own := now.Sub(stamp)
	if own < -checkpoint.FutureTolerance*time.Second {
		return "", false
	}
	words = fmt.Sprintf("%s says that it was last updated %s ago", mirror, Age(own))
	if own > age/2 {
		return words + ": it lags", true
	}
	return words + ", so either PAUSE stands still or somebody holds the index back", false
}

// Age writes a time that has passed as people say it: 45 minutes, 30 hours, 3 days. What has not passed yet is 0 seconds.
func Age(d time.Duration) string {
	d = max(d, 0)
	for _, unit := range []struct {
		name  string
		of    time.Duration
		until time.Duration
	}{{"second", time.Second, 2 * time.Minute}, {"minute", time.Minute, 2 * time.Hour}, {"hour", time.Hour, 48 * time.Hour}} {
		if d < unit.until {
			return count(int64(d/unit.of), unit.name)
		}
	}
	return count(int64(d/(24*time.Hour)), "day")
}

func count(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// ageOf returns how old the entry of an index is; negative: it is dated ahead of this machine's clock.
func (m *Mirror) ageOf(r *verify.Result) time.Duration { return m.Now().Sub(r.Entry.Time.Time()) }

// proves reports whether a result says that these very bytes are logged, be it long ago.
func proves(r *verify.Result) bool {
	return (r.Outcome == verify.Verified || r.Outcome == verify.Stale) && r.Entry != nil
}

// old reports whether an index verified and is so old that it is worth a look elsewhere, and a warning: no limit was set.
func (m *Mirror) old(r *verify.Result) bool {
	return r.Outcome == verify.Verified && r.Entry != nil && r.Entry.Kind == entry.Index && m.MaxIndexAge == 0 && m.ageOf(r) > verify.MaxIndexAgeNoted
}

// younger reports whether an index's entry is younger than another's. An index verifies by each entry of its digest, and
// PAUSE logs it at each rewrite, also if nothing has changed: its age is that of the youngest.
func younger(a, b *verify.Result) bool { return a.Entry.Time > b.Entry.Time }

// explainAge adds to what is said of an old index whose fault that may be, and returns the warning if no limit was set.
func (m *Mirror) explainAge(ctx context.Context, u Upstream, r *verify.Result) (warning string) {
	if !proves(r) || r.Outcome == verify.Verified && !m.old(r) || m.ageOf(r) < 0 {
		return ""
	}
	age, hint := m.ageOf(r), "most likely the mirror lags"
	if stamp, err := stampOf(ctx, u); err == nil {
		switch said, lags := ExplainAge("the mirror "+u.String(), stamp, m.Now(), age); {
		case lags:
			hint = said
		case said != "":
			hint = said + ": compare with another --upstream"
		}
	}
	words := fmt.Sprintf("the index is %s old", Age(age))
	if r.Outcome == verify.Stale {
		r.Message = fmt.Sprintf("%s, and the limit is %s: %s", words, Age(m.MaxIndexAge), hint)
		r.Next = append([]string{"compare with another --upstream"}, r.Next...)
		return ""
	}
	r.Notes = append(r.Notes, hint)
	return fmt.Sprintf("%s, and no --max-index-age is set: %s", words, hint)
}
