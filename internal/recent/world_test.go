package recent

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand"
	"slices"
	"strings"
)

// A tick is 10 microseconds, the precision of the epochs of a Perl writer.
type tick int64

const second tick = 100_000

func (t tick) String() string { return fmt.Sprintf("%d.%05d", t/second, t%second) }

func (t tick) epoch() Epoch { return epoch(t.String()) }

func epoch(s string) Epoch {
	e, err := ParseEpoch(s)
	if err != nil {
		panic(err)
	}
	return e
}

func span(i Interval) tick {
	s, ok := i.Seconds()
	if !ok {
		panic(i)
	}
	return tick(s) * second
}

// A change is an event in the model.
type change struct {
	at   tick
	path string
	t    Type
}

// A slice is one RECENT file of the model.
type slice struct {
	interval     Interval
	mark, merged tick
	written      tick
	events       []change // newest first
}

// A writer keeps a series as File::Rsync::Mirror::Recentfile does: events come into the shortest file, and
// are merged into a longer one when that one is due.
type writer struct {
	dir, format string
	now         tick
	slices      []*slice // shortest first
}

func newWriter(dir, format string, now tick, intervals ...Interval) *writer {
	w := &writer{dir: dir, format: format, now: now}
	for _, i := range intervals {
		w.slices = append(w.slices, &slice{interval: i})
	}
	w.slices[0].mark = now
	return w
}

func without(events []change, path string) []change {
	return slices.DeleteFunc(slices.Clone(events), func(c change) bool { return c.path == path })
}

// update registers a change now.
func (w *writer) update(path string, t Type) change {
	p := w.slices[0]
	at := w.now
	if len(p.events) > 0 {
		at = max(at, p.events[0].at+1)
	}
	c := change{at, path, t}
	p.events = append([]change{c}, without(p.events, path)...)
	w.truncate(p)
	return c
}

func (w *writer) truncate(p *slice) {
	if p.merged > 0 && len(p.events) > 0 {
		oldest := min(max(w.now, p.events[0].at)-span(p.interval), p.merged)
		for p.events[len(p.events)-1].at < oldest {
			p.events = p.events[:len(p.events)-1]
		}
	}
	p.written = w.now
}

// insert registers a change at an earlier time, and changes the dirtymark.
func (w *writer) insert(path string, t Type, at tick) change {
	p := w.slices[0]
	for slices.ContainsFunc(p.events, func(c change) bool { return c.at == at }) {
		at++
	}
	c := change{at, path, t}
	p.events = append(without(p.events, path), c)
	slices.SortFunc(p.events, func(a, b change) int { return int(min(max(b.at-a.at, -1), 1)) })
	p.mark = w.now
	if at < p.merged {
		p.merged = 0
	}
	w.aggregate(true)
	w.aggregate(true)
	return c
}

// aggregate is what cron does each minute.
func (w *writer) aggregate(force bool) {
	w.truncate(w.slices[0])
	for i := range len(w.slices) - 1 {
		this, next := w.slices[i], w.slices[i+1]
		if !force && i > 0 && next.written > 0 && w.now-next.written <= span(w.slices[i-1].interval) {
			return
		}
		w.merge(this, next)
	}
}

func (w *writer) merge(from, to *slice) {
	if len(from.events) == 0 {
		return
	}
	changed := len(to.events) == 0 || from.mark != to.mark
	oldest := tick(0)
	if from.mark == to.mark && to.merged > 0 && to.interval != "Z" {
		oldest = min(from.events[0].at-span(to.interval), to.merged, from.events[len(from.events)-1].at)
	}
	for len(to.events) > 0 && to.events[len(to.events)-1].at < oldest {
		to.events = to.events[:len(to.events)-1]
		changed = true
	}
	seen := map[string]bool{}
	var all []change
	for _, c := range from.events {
		if c.at < oldest || seen[c.path] {
			continue
		}
		seen[c.path] = true
		if to.interval == "Z" && c.t == TypeDelete {
			continue
		}
		changed = changed || len(to.events) == 0 || c.at > to.events[0].at
		all = append(all, c)
	}
	if !changed {
		return
	}
	for _, c := range to.events {
		if !seen[c.path] {
			seen[c.path] = true
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b change) int { return int(min(max(b.at-a.at, -1), 1)) })
	for i := len(all) - 2; i >= 0; i-- {
		if all[i].at <= all[i+1].at {
			panic("two events of one epoch")
		}
	}
	to.events, to.mark, to.written = all, from.mark, w.now
	if len(all) > 0 {
		from.merged = all[0].at
	}
}

// files returns the series as it is on disk now.
func (w *writer) files() map[string]string {
	files := map[string]string{}
	for _, s := range w.slices {
		if len(s.events) > 0 {
			files[fileName(w.dir, s.interval, w.format)] = w.text(s)
		}
	}
	return files
}

func (w *writer) text(s *slice) string {
	var b strings.Builder
	newest, oldest := s.events[0].at, s.events[len(s.events)-1].at
	if w.format == "json" {
		var longer []string
		for _, l := range w.slices[1:] {
			longer = append(longer, fmt.Sprintf("%q", l.interval))
		}
		fmt.Fprintf(&b, `{"recent":[`)
		for i, c := range s.events {
			fmt.Fprintf(&b, `%s{"epoch":%s,"path":%q,"type":%q}`, strings.Repeat(",", min(i, 1)), c.at, c.path, c.t)
		}
		fmt.Fprintf(&b, `],"meta":{"protocol":1,"interval":%q,"filenameroot":"RECENT","serializer_suffix":".json","dirtymark":"%s",`+
			`"aggregator":[%s],"Producers":{"$0":"rrr","time":1.5e9},"merged":{"epoch":%s},"minmax":{"max":%s,"min":%s}}}`,
			s.interval, s.mark, strings.Join(longer, ","), s.merged, newest, oldest)
		return b.String()
	}
	fmt.Fprintf(&b, "--- \nmeta: \n  Producers: \n    $0: /usr/bin/rrr-aggregate\n    File::Rsync::Mirror::Recentfile: v0.0.8\n    time: 1.5\n  aggregator: \n")
	for _, l := range w.slices[1:] {
		fmt.Fprintf(&b, "    - %s\n", l.interval)
	}
	fmt.Fprintf(&b, "  canonize: naive_path_normalize\n  comment: These files are part of the CPAN mirroring concept, described in File::Rsync::Mirror::Recent\n"+
		"  dirtymark: '%s'\n  filenameroot: RECENT\n  interval: %s\n", s.mark, s.interval)
	if s.merged > 0 {
		fmt.Fprintf(&b, "  merged: \n    epoch: %s\n    into_interval: Z\n", s.merged)
	}
	fmt.Fprintf(&b, "  minmax: \n    max: %s\n    min: %s\n    mtime: 5\n  protocol: 1\n  serializer_suffix: .yaml\nrecent: \n", newest, oldest)
	for _, c := range s.events {
		fmt.Fprintf(&b, "  - \n    epoch: %s\n    path: %s\n    type: %s\n", c.at, c.path, c.t)
	}
	return b.String()
}

// A shelf is a Source in memory that counts what is read, and that may have a fault for each file.
type shelf struct {
	files map[string]string
	reads map[string]int
	fault func(name, text string) (string, error)
}

func newShelf(files map[string]string) *shelf { return &shelf{files: files, reads: map[string]int{}} }

func (s *shelf) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.reads[name]++
	text, ok := s.files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if s.fault != nil {
		var err error
		if text, err = s.fault(name, text); err != nil {
			return nil, err
		}
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

func randomPath(r *rand.Rand, dir string, many int) string {
	switch n := r.Intn(many); {
	case n == 0 && dir == Authors:
		return "02STAMP"
	case dir == Authors:
		return fmt.Sprintf("id/E/ET/ETHER/Dist-%d.tar.gz", n)
	case dir == Modules:
		return fmt.Sprintf("0%d.txt.gz", n)
	default:
		return fmt.Sprintf("authors/id/E/ET/ETHER/Dist-%d.tar.gz", n)
	}
}
