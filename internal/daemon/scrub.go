package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/log/store"
)

// A log scrubs its own store: slowly, so that in a period all of it was read and compared with what was signed once
// (store.Scrub). What it finds is damage of the disk, or of memory.
//
// Damage is never served, because each read is compared too; all else still is. But nothing more is signed: a
// checkpoint is only ever of a tree that is on disk, and this one is not any more. Whoever submits is told to come back,
// and loses nothing; whereas an entry that was acknowledged now would be promised on a disk that has just broken such a
// promise, and would be one more that no mirror has yet when the store is recovered. The damage is noted in the data folder,
// so that a restart does not forget it: the log looks again at what was damaged, and signs only if it is sound.
type scrubbing struct {
	c    Config
	log  *running
	now  func() time.Time
	wait func(context.Context, time.Duration) error

	mu   sync.Mutex
	file scrubNotes

	cancel context.CancelFunc
	done   chan struct{}
}

const (
	scrubFormat = "pauselog-scrub/v1"
	// scrubChunk is how many entries are read at a time: some milliseconds.
	scrubChunk = 4096
	// scrubShare is the part of a core that a scrub takes at most.
	scrubShare = 1.0 / 32
	// scrubSave is how often its position is written down.
	scrubSave = 5 * time.Minute
)

// scrubNotes is the content of the file "scrub" in the data folder, and what is told to who asks.
type scrubNotes struct {
	Format string `json:"format"`
	// Position is the entry at which the scrub goes on, which began at Began.
	Position uint64    `json:"position"`
	Began    time.Time `json:"began"`
	// Completed is when all was read the last time; zero: never.
	Completed time.Time `json:"completed"`
	// Damage is what was found, and is not known to be mended.
	Damage []store.Damage `json:"damage"`
}

// A ScrubStatus says how a log's store is, as far as its own scrub knows.
type ScrubStatus struct {
	Running   bool           `json:"running"` // the log runs
	Size      uint64         `json:"size"`
	Position  uint64         `json:"position"`
	Began     string         `json:"began,omitempty"`
	Completed string         `json:"completed,omitempty"`
	Period    string         `json:"period,omitempty"` // "": it does not scrub
	Damage    []store.Damage `json:"damage"`
}

var (
	scrubPosition  = prometheus.NewDesc("pauselog_scrub_position", "Entry at which the scrub of the store goes on.", nil, nil)
	scrubCompleted = prometheus.NewDesc("pauselog_scrub_completed_time", "When the store was last read as a whole and compared with what was signed, in seconds since 1970; 0: never.", nil, nil)
	scrubDamage    = prometheus.NewDesc("pauselog_scrub_damage", "Places in the store that are not what was signed. With any the log signs nothing.", nil, nil)
)

func newScrubbing(c Config, log *running, reg prometheus.Registerer) *scrubbing {
	s := &scrubbing{c: c, log: log, now: time.Now, wait: waitFor, done: make(chan struct{})}
	reg.MustRegister(s)
	return s
}

func waitFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Describe and Collect are for Prometheus.
func (s *scrubbing) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{scrubPosition, scrubCompleted, scrubDamage} {
		ch <- d
	}
}

func (s *scrubbing) Collect(ch chan<- prometheus.Metric) {
	n := s.notes()
	completed := 0.0
	if !n.Completed.IsZero() {
		completed = float64(n.Completed.Unix())
	}
	for d, v := range map[*prometheus.Desc]float64{scrubPosition: float64(n.Position), scrubCompleted: completed, scrubDamage: float64(len(n.Damage))} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
}

func (s *scrubbing) notes() scrubNotes {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file
}

func (s *scrubbing) status() *ScrubStatus {
	n := s.notes()
	st := &ScrubStatus{Running: true, Size: s.log.store.Head().Size, Position: n.Position, Damage: n.Damage}
	if st.Damage == nil {
		st.Damage = []store.Damage{}
	}
	if !n.Began.IsZero() {
		st.Began = n.Began.UTC().Format(time.RFC3339)
	}
	if !n.Completed.IsZero() {
		st.Completed = n.Completed.UTC().Format(time.RFC3339)
	}
	if s.c.ScrubPeriod > 0 {
		st.Period = s.c.ScrubPeriod.String()
	}
	return st
}

// begin takes up what was noted, looks again at what was damaged, and begins to scrub. A snapshot that a backup left
// is removed: it would keep the space of files that the store has given up.
func (s *scrubbing) begin(ctx context.Context) error {
	if err := os.RemoveAll(s.c.Folder.SnapshotDir()); err != nil {
		return err
	}
	if err := s.load(); err != nil {
		return err
	}
	if err := s.again(ctx); err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	go func() {
		defer close(s.done)
		if s.c.ScrubPeriod > 0 {
			s.run(running)
		}
	}()
	return nil
}

// end ends the scrub, and notes how far it came.
func (s *scrubbing) end() {
	s.cancel()
	<-s.done
}

// load reads the notes. Damaged ones, and those of another format, are of no use: what they say is found again.
func (s *scrubbing) load() error {
	b, err := os.ReadFile(s.c.Folder.ScrubFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var n scrubNotes
	if err := json.Unmarshal(b, &n); err != nil || n.Format != scrubFormat {
		s.c.Log.Warn("what was noted about the scrub cannot be read; it begins anew", "file", s.c.Folder.ScrubFile(), "error", err)
		return nil
	}
	n.Position &^= 255
	s.file = n
	return nil
}

func (s *scrubbing) save() {
	n := s.notes()
	n.Format = scrubFormat
	b, err := json.MarshalIndent(n, "", "  ")
	if err == nil {
		err = atomicfile.Write(s.c.Folder.ScrubFile(), append(b, '\n'), 0o600)
	}
	if err != nil {
		s.c.Log.Warn("the position of the scrub cannot be noted", "error", err)
	}
}

// again looks again at what was found to be damaged.
func (s *scrubbing) again(ctx context.Context) error {
	old := s.notes().Damage
	if len(old) == 0 {
		return nil
	}
	s.mu.Lock()
	s.file.Damage = nil
	s.mu.Unlock()
	for _, d := range old {
		r, err := s.log.store.Scrub(ctx, store.ScrubOptions{Start: d.Start, End: max(d.End, d.Start+1)})
		if err != nil {
			return err
		}
		s.found(r.Damage)
	}
	if len(s.notes().Damage) == 0 {
		s.c.Log.Info("what a scrub had found to be damaged is sound now", "was", old)
	}
	s.save()
	return nil
}

// found notes damage. With the first nothing more is signed.
func (s *scrubbing) found(damage []store.Damage) {
	s.mu.Lock()
	var fresh []store.Damage
	for _, d := range damage {
		known := false
		for _, o := range s.file.Damage {
			known = known || o.What == d.What && o.Start == d.Start && o.End == d.End
		}
		if !known && len(s.file.Damage) < maxNoted {
			fresh = append(fresh, d)
			s.file.Damage = append(s.file.Damage[:len(s.file.Damage):len(s.file.Damage)], d)
		}
	}
	s.mu.Unlock()
	for _, d := range fresh {
		s.c.Log.Error("the store is damaged: nothing more is signed. Stop the log and run 'pauselogd recover'", "what", d.What, "start", d.Start, "end", d.End, "detail", d.Detail)
	}
	if len(fresh) > 0 {
		s.log.sequencer.Halt(fmt.Errorf("%w: %v. What is sound is served, and nothing more is signed; stop the log and run 'pauselogd recover'", store.ErrDamaged, fresh[0]))
	}
}

// maxNoted bounds what is kept of damage; a whole disk's is no list.
const maxNoted = 200

// run scrubs until the context ends.
func (s *scrubbing) run(ctx context.Context) {
	defer s.save()
	saved := s.now()
	for {
		pause, err := s.step(ctx)
		if err != nil {
			return
		}
		if now := s.now(); now.Sub(saved) >= scrubSave {
			s.save()
			saved = now
		}
		if s.wait(ctx, pause) != nil {
			return
		}
	}
}

// step reads one chunk, and says how long to rest after it.
func (s *scrubbing) step(ctx context.Context) (time.Duration, error) {
	size := s.log.store.Head().Size
	at := s.notes().Position
	if at >= size {
		at = 0 // it was another store's, or it is at its end
	}
	began := s.now()
	if at == 0 {
		s.note(func(n *scrubNotes) { n.Began = began })
	}
	to := min(at+scrubChunk, size)
	if size > 0 {
		r, err := s.log.store.Scrub(ctx, store.ScrubOptions{Start: at, End: to, Workers: 1})
		if err != nil {
			return 0, err
		}
		if len(r.Damage) > 0 {
			s.found(r.Damage)
			s.save()
		}
	}
	took := s.now().Sub(began)
	if to == size {
		// Complete: all that was there when it began, and what came since.
		s.note(func(n *scrubNotes) { n.Position, n.Completed = 0, s.now() })
		s.save()
	} else {
		s.note(func(n *scrubNotes) { n.Position = to })
	}
	share := float64(to-at) / float64(max(size, 1))
	if size == 0 {
		share = 1
	}
	rest := time.Duration(share*float64(s.c.ScrubPeriod)) - took
	return max(rest, time.Duration(float64(took)*(1/scrubShare-1)), time.Millisecond), nil
}

func (s *scrubbing) note(change func(*scrubNotes)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.file)
}
