package soak

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A meter samples the servers while they run.
type meter struct {
	site    *site
	every   time.Duration
	lives   []*lifetime
	sizes   []uint64 // of the log's data folder, bytes
	skipped int      // samples that failed, as a server was being started again
}

// A lifetime is the samples of a server between two starts.
type lifetime struct {
	server  string
	life    int
	samples []sample
}

// A sample is what a process uses at one moment.
type sample struct {
	goroutines float64
	files      float64 // open, without those of the store's tables, of which it keeps as many as it has, up to a bound
	tables     float64
	memory     float64 // resident, bytes
}

func newMeter(s *site, d time.Duration) *meter {
	return &meter{site: s, every: min(max(d/500, 200*time.Millisecond), 5*time.Second)}
}

// run samples until the context ends.
func (m *meter) run(ctx context.Context) {
	t := time.NewTicker(m.every)
	defer t.Stop()
	for n := 0; ; n++ {
		for _, p := range m.site.servers() {
			if err := m.sample(ctx, p); err != nil {
				m.skipped++
			}
		}
		if n%10 == 0 {
			m.sizes = append(m.sizes, folderSize(m.site.data[0]))
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

func (m *meter) sample(ctx context.Context, p *server) error {
	pid, life := p.running()
	if pid == 0 {
		return errors.New("it does not run")
	}
	g, err := goroutines(ctx, p.admin)
	if err != nil {
		return err
	}
	s := sample{goroutines: g}
	if s.files, s.tables, err = openFiles(pid); err != nil {
		return err
	}
	if s.memory, err = resident(pid); err != nil {
		return err
	}
	// What was read must be of one process.
	if now, same := p.running(); now != pid || same != life {
		return errors.New("it was started again meanwhile")
	}
	for _, l := range m.lives {
		if l.server == p.name && l.life == life {
			l.samples = append(l.samples, s)
			return nil
		}
	}
	m.lives = append(m.lives, &lifetime{p.name, life, []sample{s}})
	return nil
}

// adminClient keeps no connection: it would count among the server's files.
var adminClient = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// goroutines reads go_goroutines from a server's metrics.
func goroutines(ctx context.Context, address string) (float64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	a, err := adminClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	lines := bufio.NewScanner(a.Body)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, errors.Join(lines.Err(), errors.New("there is no go_goroutines among the metrics"))
}

func openFiles(pid int) (files, tables float64, err error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	open, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0, err
	}
	for _, f := range open {
		// One that was closed meanwhile counts as a file.
		if name, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && strings.HasSuffix(strings.TrimSuffix(name, " (deleted)"), ".sst") {
			tables++
			continue
		}
		files++
	}
	return files, tables, nil
}

// resident is a process's memory in bytes.
func resident(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm is %q", b)
	}
	pages, err := strconv.ParseFloat(fields[1], 64)
	return pages * float64(os.Getpagesize()), err
}

func folderSize(dir string) (n uint64) {
	// Files come and go meanwhile; what cannot be read is not there.
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += uint64(info.Size())
			}
		}
		return nil
	})
	return n
}

// What a process may use at most, whatever the trend: the log's stores have caches and write buffers of fixed sizes, and some
// bytes for each entry (README.md); a witness limits itself to 64 MiB.
const (
	maxLogMemory     = 512 << 20
	maxEntryMemory   = 400
	maxWitnessMemory = 128 << 20
	maxTables        = 2 * 256 // of two stores
)

// leaks returns an error that names each trend or bound that is broken.
func (m *meter) leaks(entries uint64) (err error) {
	for _, l := range m.lives {
		bound := float64(maxWitnessMemory)
		if l.server == m.site.log.name {
			bound = maxLogMemory + maxEntryMemory*float64(entries)
		}
		who := fmt.Sprintf("%s in its life %d", l.server, l.life)
		if why := trendOf(l.series(func(s sample) float64 { return s.goroutines })).leak(slackGoroutines); why != "" {
			err = errors.Join(err, fmt.Errorf("%s: goroutines: %s", who, why))
		}
		if why := trendOf(l.series(func(s sample) float64 { return s.files })).leak(slackFiles); why != "" {
			err = errors.Join(err, fmt.Errorf("%s: open files: %s", who, why))
		}
		for _, s := range l.samples {
			if s.memory > bound || s.tables > maxTables {
				err = errors.Join(err, fmt.Errorf("%s: %.0f MiB resident, %.0f tables open; at most %.0f MiB and %d are in order", who, s.memory/(1<<20), s.tables, bound/(1<<20), maxTables))
				break
			}
		}
	}
	return err
}

func (l *lifetime) series(of func(sample) float64) []float64 {
	out := make([]float64, len(l.samples))
	for i, s := range l.samples {
		out[i] = of(s)
	}
	return out
}

// notes are the figures of the longest life of each server.
func (m *meter) notes() (notes []string) {
	for _, p := range m.site.servers() {
		var longest *lifetime
		peak := 0.0
		for _, l := range m.lives {
			if l.server != p.name {
				continue
			}
			for _, s := range l.samples {
				peak = max(peak, s.memory)
			}
			if longest == nil || len(l.samples) > len(longest.samples) {
				longest = l
			}
		}
		if longest == nil {
			continue
		}
		notes = append(notes, fmt.Sprintf("%s, longest life of %v: goroutines %v, open files %v, resident MiB %v; peak of all lives %.0f MiB",
			p.name, (time.Duration(len(longest.samples))*m.every).Round(time.Second),
			trendOf(longest.series(func(s sample) float64 { return s.goroutines })), trendOf(longest.series(func(s sample) float64 { return s.files })),
			trendOf(longest.series(func(s sample) float64 { return s.memory / (1 << 20) })), peak/(1<<20)))
	}
	if n := len(m.sizes); n > 0 {
		notes = append(notes, fmt.Sprintf("the log's data folder grew from %.1f to %.1f MiB", float64(m.sizes[0])/(1<<20), float64(m.sizes[n-1])/(1<<20)))
	}
	return notes
}
