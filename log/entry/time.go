package entry

import (
	"fmt"
	"time"
)

// A Time is a moment in whole seconds since 1970 in UTC, at most the end of 9999.
type Time int64

const (
	timeLayout = "2006-01-02T15:04:05Z"
	maxTime    = Time(253402300799) // 9999-12-31T23:59:59Z
)

// TimeOf returns t cut to the second.
func TimeOf(t time.Time) Time { return Time(t.Unix()) }

// Time returns t as a time.Time in UTC.
func (t Time) Time() time.Time { return time.Unix(int64(t), 0).UTC() }

// String returns the 20 characters that an entry has.
func (t Time) String() string { return t.Time().Format(timeLayout) }

// ParseTime reads the 20 characters of an entry's time.
func ParseTime(s string) (Time, error) {
	t, ok := timeOf(s)
	if !ok {
		return 0, fmt.Errorf("time %q is not a date from 1970 on, like 2026-11-22T10:00:00Z", clip(s))
	}
	return t, nil
}

// timeOf reads a time. It counts the days itself, since whoever reads a whole log does little else for each entry.
func timeOf(s string) (Time, bool) {
	if len(s) != len(timeLayout) || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' || s[19] != 'Z' {
		return 0, false
	}
	century, year, month, day := twoDigits(s, 0), twoDigits(s, 2), twoDigits(s, 5), twoDigits(s, 8)
	hour, minute, second := twoDigits(s, 11), twoDigits(s, 14), twoDigits(s, 17)
	if century > 99 || year > 99 || month < 1 || month > 12 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	if year += 100 * century; year < 1970 {
		return 0, false
	}
	leap := year%4 == 0 && (year%100 != 0 || year%400 == 0)
	days, length := daysBefore[month-1], daysBefore[month]-daysBefore[month-1]
	if leap && month == 2 {
		length++
	} else if leap && month > 2 {
		days++
	}
	if day < 1 || day > length {
		return 0, false
	}
	before := year - 1 // the last year that is over; 477 leap days were before 1970
	days += 365*(year-1970) + before/4 - before/100 + before/400 - 477 + day - 1
	return Time(days*24*60*60 + hour*60*60 + minute*60 + second), true
}

// daysBefore are the days of a common year before the end of so many months.
var daysBefore = [...]int{0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365}

// twoDigits returns the number that the two bytes at i write, or more than 99 if they are not digits.
func twoDigits(s string, i int) int {
	high, low := s[i]-'0', s[i+1]-'0'
	if high > 9 || low > 9 {
		return 100
	}
	return int(high)*10 + int(low)
}
