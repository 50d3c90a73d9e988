package recent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

var (
	// ErrOlder says that a source has an older copy than the one that was read last.
	ErrOlder = errors.New("the source went back in time")

	// ErrTorn says that the files of a series do not fit together: they are copies of different
	// times, and events between them would be lost.
	ErrTorn = errors.New("the RECENT files are of different times")

	errNoSeries = errors.New("no such series")
)

const (
	principal Interval = "1h"

	// A series that is not there is looked for again at each 60th call, and so is another format of
	// one that is: a tree may have begun to write that, and have left the former to itself.
	probeEach = 60
)

// Options say what is followed.
type Options struct {
	// Series are the folders to follow, of Authors, Modules and Root; nil for all that the source has.
	Series []string
}

// A Follower finds out what is new in a Source. It is for one goroutine at a time. What it remembers
// saves requests only: after a restart, one with the same State goes on as well.
type Follower struct {
	source Source
	series []string
	absent map[string]int // calls since a series was looked for and not found
	calls  map[string]int // that followed a series
}

// New returns a follower. Nothing is read yet.
func New(source Source, o Options) (*Follower, error) {
	series := []string{Authors, Modules, Root}
	if o.Series != nil {
		series = nil
		for _, dir := range o.Series {
			if _, ok := foreign[dir]; !ok || slices.Contains(series, dir) {
				return nil, fmt.Errorf("expected authors/, modules/ and the root, each once, found %.200q", o.Series)
			}
			series = append(series, dir)
		}
	}
	return &Follower{source, series, map[string]int{}, map[string]int{}}, nil
}

// Start returns the State of now, from the shortest files alone: Next hands out what comes after it. A
// series that is there and cannot be read is an error.
func (f *Follower) Start(ctx context.Context) (State, error) {
	state := State{}.clone()
	for _, dir := range f.series {
		first, err := f.first(ctx, dir, Position{})
		if errors.Is(err, errNoSeries) {
			f.absent[dir] = 0
			continue
		}
		if err != nil {
			return State{}, err
		}
		state.Series[dir] = Position{first.Newest, first.Dirtymark, first.Format}
	}
	if len(state.Series) == 0 {
		clear(f.absent)
		return State{}, fmt.Errorf("a CPAN tree with RECENT files: %w", fs.ErrNotExist)
	}
	return state, nil
}

// Next returns what happened since a State, and the State after it.
//
// Each series stands for itself. If one cannot be read, the error says why, its position stays what it was, and
// the batch has what the others have: it goes with the returned State. A caller who keeps neither of
// them loses nothing either. The passed State is not changed.
func (f *Follower) Next(ctx context.Context, state State) (Batch, State, error) {
	var batch Batch
	if err := state.validate(); err != nil {
		return batch, state, err
	}
	next := state.clone()
	var errs []error
	present, spoke := 0, 0
	for _, dir := range f.series {
		position, known := state.Series[dir]
		if n, ok := f.absent[dir]; ok && !known {
			if f.absent[dir] = n + 1; n+1 < probeEach {
				continue
			}
		}
		delete(f.absent, dir)
		found, err := f.follow(ctx, dir, position)
		if err := ctx.Err(); err != nil {
			return Batch{}, state, err
		}
		switch {
		case errors.Is(err, errNoSeries):
			f.absent[dir] = 0
			continue
		case err != nil:
			errs = append(errs, err)
			continue
		}
		present++
		if len(found.Events) > 0 {
			spoke++
		}
		batch.Events = append(batch.Events, found.Events...)
		batch.Gaps = append(batch.Gaps, found.Gaps...)
		batch.Skipped += found.Skipped
		next.Series[dir] = found.position
	}
	if present == 0 && len(errs) == 0 {
		clear(f.absent) // else the next call would not even look
		errs = append(errs, fmt.Errorf("a CPAN tree with RECENT files: %w", fs.ErrNotExist))
	}
	batch.Events = inOrder(batch.Events, spoke)
	return batch, next, errors.Join(errs...)
}

// inOrder sorts events, the oldest first, and lets one event of a path and a type stand for
// those of several series.
func inOrder(events []Event, series int) []Event {
	slices.SortFunc(events, func(a, b Event) int {
		return cmp.Or(a.Epoch.Compare(b.Epoch), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Type, b.Type))
	})
	if series < 2 {
		return events
	}
	type change struct {
		path string
		t    Type
	}
	seen := make(map[change]bool, len(events))
	to := len(events)
	for i := len(events) - 1; i >= 0; i-- {
		if c := (change{events[i].Path, events[i].Type}); !seen[c] {
			seen[c] = true
			to--
			events[to] = events[i]
		}
	}
	return events[to:]
}

// found is what is new in one series.
type found struct {
	Batch
	position Position
}

// follow reads a series from its shortest file on. The zero Position is that of one that was never read.
func (f *Follower) follow(ctx context.Context, dir string, p Position) (found, error) {
	first, err := f.probe(ctx, dir, p)
	if err != nil {
		return found{}, err
	}
	known := !p.Newest.IsZero()
	marked := known && first.Dirtymark != p.Dirtymark
	if known && first.Newest.Compare(p.Newest) < 0 && first.Dirtymark.Compare(p.Dirtymark) <= 0 {
		return found{}, fmt.Errorf("%w: the newest event of %s is of %s, expected %s or later", ErrOlder,
			fileName(dir, first.Interval, first.Format), first.Newest, p.Newest)
	}
	all := !known || marked
	from := p.Newest
	if all {
		from = Epoch{}
	}
	n := news{from: from, at: map[string]int{}}
	if err := n.add(first); err != nil {
		return found{}, err
	}
	newest := first.Newest
	reach := first.reach()
	odd := false // a file that does not know of the dirtymark

	for _, interval := range first.ladder() {
		if !all && reach.Compare(from) <= 0 {
			break
		}
		file, err := readFile(ctx, f.source, fileName(dir, interval, first.Format))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the next longer one must reach as far
		}
		if err != nil {
			return found{}, err
		}
		if file.Newest.IsZero() {
			continue
		}
		// What was read so far has all from reach to newest. This file must touch that, else one of
		// them is an old copy.
		if file.Newest.Compare(reach) < 0 || file.reach().Compare(newest) > 0 {
			return found{}, fmt.Errorf("%w: %s has what is from %s to %s, the shorter ones what is from %s to %s", ErrTorn,
				fileName(dir, interval, first.Format), file.reach(), file.Newest, reach, newest)
		}
		if err := n.add(file); err != nil {
			return found{}, err
		}
		odd = odd || file.Dirtymark != first.Dirtymark
		if interval == "Z" && reach.Compare(from) > 0 {
			n.gaps = append(n.gaps, Gap{dir, from, reach, true})
		}
		// A longer file may have been written while the others were read. That does not count for Z: deletions
		// as new as that are still to come.
		if interval != "Z" && file.Newest.Compare(newest) > 0 {
			newest = file.Newest
		}
		reach = earlier(reach, file.reach())
	}
	if reach.Compare(from) > 0 {
		n.gaps = append(n.gaps, Gap{dir, from, reach, false})
	}
	if all && odd {
		// What was inserted may have left the files that know of it, and not have come into the others.
		n.gaps = append(n.gaps, Gap{dir, Epoch{}, newest, false})
	}
	return found{Batch{n.events, n.gaps, n.skipped}, Position{newest, first.Dirtymark, first.Format}}, nil
}

// probe is first, but for now and then.
func (f *Follower) probe(ctx context.Context, dir string, p Position) (*File, error) {
	if f.calls[dir]++; f.calls[dir]%probeEach == 0 {
		if file, err := f.first(ctx, dir, Position{}); err == nil {
			return file, nil
		}
	}
	return f.first(ctx, dir, p)
}

// first reads the shortest file of a series. Its format is that of the position; else both are tried,
// and the one with the newer event is taken, as one of them may be left from earlier days. For the
// same reason, one that cannot be read is no reason to take the other one.
func (f *Follower) first(ctx context.Context, dir string, p Position) (*File, error) {
	known := !p.Newest.IsZero()
	if known {
		file, err := readFile(ctx, f.source, fileName(dir, principal, p.Format))
		if !errors.Is(err, fs.ErrNotExist) {
			return nonEmpty(file, err)
		}
	}
	var best *File
	var missing []error
	for _, format := range []string{"json", "yaml"} {
		file, err := nonEmpty(readFile(ctx, f.source, fileName(dir, principal, format)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, err)
		case err != nil:
			return nil, err
		case best == nil || file.Newest.Compare(best.Newest) > 0:
			best = file
		}
	}
	switch {
	case best != nil:
		return best, nil
	case known:
		return nil, errors.Join(missing...)
	}
	return nil, errNoSeries
}

// nonEmpty refuses a shortest file without events: its writer always leaves the newest one in it.
func nonEmpty(file *File, err error) (*File, error) {
	if err == nil && file.Newest.IsZero() {
		return nil, fmt.Errorf("%w: %s has no events", ErrInvalid, fileName(file.Dir, file.Interval, file.Format))
	}
	return file, err
}

// news gathers the newest event of each path.
type news struct {
	from    Epoch
	events  []Event
	at      map[string]int
	gaps    []Gap
	skipped int
}

func (n *news) add(f *File) error {
	for _, e := range f.Events {
		if e.Epoch.Compare(n.from) <= 0 {
			break
		}
		i, ok := n.at[e.Path]
		switch {
		case !ok && len(n.events) == MaxEvents:
			return fmt.Errorf("%w: the files of %q have more than %d paths", ErrInvalid, f.Dir, MaxEvents)
		case !ok:
			n.at[e.Path] = len(n.events)
			n.events = append(n.events, e)
		case e.Epoch.Compare(n.events[i].Epoch) > 0:
			n.events[i] = e
		}
	}
	for _, e := range f.unread {
		if e.Compare(n.from) > 0 || e.IsZero() {
			n.skipped++
		}
	}
	return nil
}
