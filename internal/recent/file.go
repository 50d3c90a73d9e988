package recent

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// ErrInvalid says that a file is no RECENT file, or not a whole one.
var ErrInvalid = errors.New("no valid RECENT file")

const (
	// MaxFile is how many bytes a file may have.
	MaxFile = 64 << 20
	// MaxEvents is how many events a file may have.
	MaxEvents = 1_000_000
	// MaxPath is how many bytes the path of an event may have, from the root of the tree.
	MaxPath = 512

	maxIntervals = 32
)

// A Type says what happened to a file.
type Type string

const (
	TypeNew    Type = "new" // or changed
	TypeDelete Type = "delete"
)

// An Event is one change of the tree.
type Event struct {
	Epoch Epoch
	Path  string // from the root of the CPAN tree, with slashes
	Type  Type
}

// The folders that may have a series of RECENT files. Names inside a file are relative to its
// folder.
const (
	Authors = "authors/"
	Modules = "modules/"
	Root    = ""
)

// foreign are beginnings of paths that a series cannot have, as the tree has no such folders. They
// show that a file of another series was put there.
var foreign = map[string][]string{
	Authors: {"authors/", "modules/"},
	Modules: {"authors/", "modules/", "id/"},
	Root:    {"id/"},
}

// An Interval is a span of time like 6h: a number and one of s, m, h, d, W, M (30 days), Q (90 days) or Y
// (365.25 days); or Z, which is without end.
type Interval string

var unit = map[byte]int64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'W': 604800, 'M': 2592000, 'Q': 7776000, 'Y': 31557600}

// endless is the span of Z: more than any epoch.
const endless = 1 << 50

// Seconds returns the length, and false for what is no interval.
func (i Interval) Seconds() (int64, bool) {
	if i == "Z" {
		return endless, true
	}
	if len(i) < 2 || len(i) > 7 || i[0] == '0' || !digits(string(i[:len(i)-1]), 6) {
		return 0, false
	}
	n, _ := strconv.ParseInt(string(i[:len(i)-1]), 10, 64)
	u, ok := unit[i[len(i)-1]]
	return n * u, ok
}

// A File is one RECENT file.
type File struct {
	Dir      string // Authors, Modules or Root
	Interval Interval
	Format   string // json or yaml

	Protocol         int // 1; 0 is a bare list of events, without any of the following
	FilenameRoot     string
	Aggregator       []Interval // the longer files of the series, in the file's order
	Dirtymark        Epoch      // changes when events were inserted among old ones
	Merged           Epoch      // the newest event of the next longer file when it was last merged into it
	Min, Max         Epoch      // what the meta part says of the epochs
	SerializerSuffix string

	Events         []Event // newest first
	Newest, Oldest Epoch   // of all events, skipped ones too; zero if there are none
	Skipped        int     // events that have no epoch, an unknown type, or a path that cannot be

	// whole says that no events can be missing at the end.
	whole bool
	// unread are the epochs of skipped events, or those of their neighbours.
	unread []Epoch
}

// Parse reads a file. The name is that from the root of the tree, such as authors/RECENT-6h.yaml: the
// format and the meaning of paths follow from it, and the content must agree. All errors wrap ErrInvalid.
//
// A single bad event is skipped and counted, as a tree may have had odd names. Nothing of b is kept.
func Parse(name string, b []byte) (*File, error) {
	return parse(name, string(b))
}

func parse(name, text string) (*File, error) {
	f := &File{}
	var ok bool
	if f.Dir, f.Interval, f.Format, ok = splitName(name); !ok {
		return nil, fmt.Errorf("%w: expected a name like authors/RECENT-1h.yaml, found %.200q", ErrInvalid, name)
	}
	if len(text) > MaxFile {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrInvalid, name, MaxFile)
	}
	b := &builder{File: f}
	read := b.readJSON
	if f.Format == "yaml" {
		read = b.readYAML
	}
	err := read(text)
	if err == nil {
		err = b.finish()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
	}
	return f, nil
}

func fileName(dir string, i Interval, format string) string {
	return dir + "RECENT-" + string(i) + "." + format
}

func splitName(name string) (dir string, i Interval, format string, ok bool) {
	slash := strings.LastIndexByte(name, '/') + 1
	dir = name[:slash]
	rest, ok := strings.CutPrefix(name[slash:], "RECENT-")
	span, format, _ := strings.Cut(rest, ".")
	i = Interval(span)
	_, known := foreign[dir]
	_, spans := i.Seconds()
	return dir, i, format, ok && known && spans && (format == "json" || format == "yaml")
}

// reach returns an epoch from which on the file has all events, up to its newest one. The package
// comment says why.
func (f *File) reach() Epoch {
	if !f.whole {
		return f.Oldest
	}
	r := f.Oldest
	if f.Interval != principal {
		seconds, _ := f.Interval.Seconds()
		r = earlier(r, f.Newest.minus(seconds))
	}
	if !f.Merged.IsZero() {
		r = earlier(r, f.Merged)
	}
	return r
}

// A builder makes a File from what a format's reader finds in it.
type builder struct {
	*File
	listed   bool // there is a list of events
	found    int
	equal    bool // two neighbours have the same epoch
	cloudy   bool // the last event's epoch is not known
	interval string
	meta     bool
}

// field sets a value of the meta part. Names that are not known are not looked at.
func (b *builder) field(name, value string) (err error) {
	value = strings.Clone(value) // lest it keep the file's whole text in memory
	switch name {
	case "interval":
		b.interval = value
	case "filenameroot":
		b.FilenameRoot = value
	case "serializer_suffix":
		b.SerializerSuffix = value
	case "protocol":
		if value != "1" {
			err = fmt.Errorf("expected 1, found %.60q", value)
		}
		b.Protocol = 1
	case "dirtymark":
		b.Dirtymark, err = ParseEpoch(value)
	case "merged.epoch":
		b.Merged, err = ParseEpoch(value)
	case "minmax.min":
		b.Min, err = ParseEpoch(value)
	case "minmax.max":
		b.Max, err = ParseEpoch(value)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// aggregate adds an interval to those of the series.
func (b *builder) aggregate(value string) error {
	i := Interval(strings.Clone(value))
	if _, ok := i.Seconds(); !ok || len(b.Aggregator) == maxIntervals {
		return fmt.Errorf("aggregator: expected at most %d intervals like 6h, found %.60q", maxIntervals, value)
	}
	b.Aggregator = append(b.Aggregator, i)
	return nil
}

// event adds the next event.
func (b *builder) event(epoch, path, kind string) error {
	if b.found++; b.found > MaxEvents {
		return fmt.Errorf("it has more than %d events", MaxEvents)
	}
	e, err := ParseEpoch(epoch)
	b.cloudy = err != nil
	if err != nil {
		b.skip(b.Oldest)
		return nil
	}
	if b.Oldest.IsZero() {
		b.Newest = Epoch{strings.Clone(e.text)}
	} else {
		switch c := e.Compare(b.Oldest); {
		case c > 0:
			return fmt.Errorf("event %d, of epoch %s, comes after one of %s: expected the newest first", b.found, e, b.Oldest)
		case c == 0:
			b.equal = true
		}
	}
	for _, prefix := range foreign[b.Dir] {
		if strings.HasPrefix(path, prefix) {
			return fmt.Errorf("it is of another folder than %q: it has a path %.80q", b.Dir, path)
		}
	}
	t := TypeNew
	if kind == string(TypeDelete) {
		t = TypeDelete
	}
	if !validPath(path, MaxPath-len(b.Dir)) || string(t) != kind {
		b.Oldest = Epoch{strings.Clone(e.text)}
		b.skip(b.Oldest)
		return nil
	}
	// One allocation for both, in which nothing of the file's text is kept.
	n := len(b.Dir) + len(path)
	s := strings.Join([]string{b.Dir, path, e.text}, "")
	b.Oldest = Epoch{s[n:]}
	b.Events = append(b.Events, Event{b.Oldest, s[:n], t})
	return nil
}

func (b *builder) skip(e Epoch) {
	b.Skipped++
	b.unread = append(b.unread, e)
}

// validPath says whether a path inside a series' folder is one that a tree can have.
func validPath(path string, limit int) bool {
	if len(path) > limit || path == "." || !fs.ValidPath(path) {
		return false
	}
	for i := range len(path) {
		if path[i] < ' ' || path[i] > '~' {
			return false
		}
	}
	return true
}

// finish checks the file as a whole.
func (b *builder) finish() error {
	if b.Format == "yaml" {
		b.whole = b.found > 0 && !b.cloudy && !b.Min.IsZero() && b.Oldest.Compare(b.Min) <= 0
	} else {
		b.whole = true
	}
	switch {
	case !b.listed:
		return errors.New("it has no list of events")
	case !b.meta:
		return nil // protocol 0
	case b.Protocol != 1:
		return errors.New("it does not say its protocol")
	case b.interval != string(b.Interval):
		return fmt.Errorf("it says that it has the events of %.60q", b.interval)
	case b.FilenameRoot != "" && b.FilenameRoot != "RECENT":
		return fmt.Errorf("it says that its name begins with %.60q", b.FilenameRoot)
	case b.equal:
		return errors.New("two events have the same epoch")
	// The writer repeats the oldest epoch in front. It may name a newer one than that of events that
	// were inserted later, and never an older one.
	case b.found > 0 && !b.cloudy && b.Oldest.Compare(b.Min) > 0 && !b.Min.IsZero():
		return fmt.Errorf("its oldest event is of %s, expected one of %s: its end is missing", b.Oldest, b.Min)
	}
	return nil
}

// ladder returns the intervals of the longer files of the series, shortest first.
func (f *File) ladder() []Interval {
	longer := f.Aggregator
	if len(longer) == 0 {
		longer = []Interval{"6h", "1d", "1W", "1M", "1Q", "1Y", "Z"}
	}
	own, _ := f.Interval.Seconds()
	longer = slices.DeleteFunc(slices.Clone(longer), func(i Interval) bool {
		seconds, _ := i.Seconds()
		return seconds <= own
	})
	slices.SortFunc(longer, func(a, b Interval) int {
		x, _ := a.Seconds()
		y, _ := b.Seconds()
		return int(min(max(x-y, -1), 1))
	})
	return slices.Compact(longer)
}
