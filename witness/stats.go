package witness

import (
	"errors"
	"maps"
	"net/http"
	"sync"
)

// Stats is what a Witness counted since it was made. Only logs that are known have counters of
// their own, so that strangers cannot make them more.
type Stats struct {
	// Logs are in the order of their origins.
	Logs []LogStats

	// Other counts the answers to requests that were of no known log, by HTTP status.
	Other map[int]uint64

	// SignerFailures counts the signatures that a key was asked for and did not give.
	SignerFailures uint64
}

// LogStats is about one log.
type LogStats struct {
	Origin   string
	Disabled bool

	// Size and Time are of the last cosignature; 0 if there is none. Time is in seconds since
	// 1970.
	Size, Time uint64

	// Answers counts requests by the HTTP status that answers them: 200, those of a Refusal,
	// and 500 for the witness's own trouble.
	Answers map[int]uint64

	// Contradictions counts the checkpoints, signed by the log, that contradict one cosigned
	// before; the same one again included. Any of them is an alarm.
	Contradictions uint64

	// Unproven counts requests with the log's signature whose consistency proof is wrong. It
	// may be anybody's mischief.
	Unproven uint64
}

type stats struct {
	mu             sync.Mutex
	logs           map[string]*LogStats // by origin hash
	other          map[int]uint64
	signerFailures uint64
}

// count counts an answer; an empty hash is that of no known log.
func (s *stats) count(originHash string, err error) {
	status := http.StatusOK
	if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
		status = refusal.Status
	} else if err != nil {
		status = http.StatusInternalServerError
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if originHash == "" {
		if s.other == nil {
			s.other = make(map[int]uint64)
		}
		s.other[status]++
		return
	}
	s.of(originHash).Answers[status]++
}

// of returns a known log's counters. The caller holds mu.
func (s *stats) of(originHash string) *LogStats {
	if s.logs == nil {
		s.logs = make(map[string]*LogStats)
	}
	l, ok := s.logs[originHash]
	if !ok {
		l = &LogStats{Answers: make(map[int]uint64)}
		s.logs[originHash] = l
	}
	return l
}

func (s *stats) contradiction(originHash string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(originHash).Contradictions++
}

func (s *stats) unproven(originHash string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(originHash).Unproven++
}

func (s *stats) signerFailed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signerFailures++
}

// Stats returns the counters.
func (w *Witness) Stats() Stats {
	logs := w.state.Logs()
	w.stats.mu.Lock()
	defer w.stats.mu.Unlock()
	out := Stats{Other: maps.Clone(w.stats.other), SignerFailures: w.stats.signerFailures}
	for _, l := range logs {
		s := *w.stats.of(l.Hash())
		s.Answers = maps.Clone(s.Answers)
		s.Origin, s.Disabled, s.Size, s.Time = l.Origin, l.Disabled, l.Size, l.Time
		out.Logs = append(out.Logs, s)
	}
	return out
}
