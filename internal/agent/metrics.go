package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Register adds the agent's metrics: what Look reports, looked at when they are asked for.
func (a *Agent) Register(r prometheus.Registerer) error { return r.Register(collector{a}) }

type collector struct{ agent *Agent }

var (
	waitingDesc  = prometheus.NewDesc("pauselog_agent_spool_files", "Files that wait in the spool.", nil, nil)
	oldestDesc   = prometheus.NewDesc("pauselog_agent_spool_oldest_seconds", "How long the oldest of them waits; 0 if there is none.", nil, nil)
	asideDesc    = prometheus.NewDesc("pauselog_agent_set_aside", "What was set aside, by the reason.", []string{"word"}, nil)
	loggedDesc   = prometheus.NewDesc("pauselog_agent_logged_total", "Submissions that the log has taken, by whether it had them before.", []string{"repeated"}, nil)
	failingDesc  = prometheus.NewDesc("pauselog_agent_failing_seconds", "For how long a task has been failing.", []string{"task"}, nil)
	proofsDesc   = prometheus.NewDesc("pauselog_agent_proofs_size", "Entries of the proof tree that was written.", nil, nil)
	reconciledAt = prometheus.NewDesc("pauselog_agent_reconciled_timestamp_seconds", "Up to when the RECENT files were dealt with; 0 if never.", nil, nil)
	walkedAt     = prometheus.NewDesc("pauselog_agent_walked_timestamp_seconds", "When the last walk over the tree ended; 0 if never.", nil, nil)
	problemsDesc = prometheus.NewDesc("pauselog_agent_problems", "What somebody should look at, by its kind.", []string{"kind"}, nil)
)

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{waitingDesc, oldestDesc, asideDesc, loggedDesc, failingDesc, proofsDesc, reconciledAt, walkedAt, problemsDesc} {
		ch <- d
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	a := c.agent
	now := a.Now()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	r, err := Look(a.Spool, a.State, now, time.Minute)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(waitingDesc, err)
		return
	}
	gauge(waitingDesc, float64(r.Waiting))
	age := 0.0
	if r.Waiting > 0 {
		age = now.Sub(r.Oldest).Seconds()
	}
	gauge(oldestDesc, age)
	words := map[Word]int{Differs: 0, Conflict: 0, Refused: 0, Malformed: 0, Unread: 0, Unlogged: 0}
	for _, x := range r.Aside {
		words[x.Word]++
	}
	for w, n := range words {
		gauge(asideDesc, float64(n), string(w))
	}
	problems := map[ProblemKind]int{NotRunning: 0, Behind: 0, Evidence: 0, LeftAside: 0, Failing: 0}
	for _, p := range r.Problems {
		problems[p.Kind]++
	}
	for k, n := range problems {
		gauge(problemsDesc, float64(n), string(k))
	}
	a.mu.Lock()
	s := a.status
	failing := map[string]float64{"spool": 0, "proofs": 0, "recent": 0, "walk": 0}
	for name, f := range s.Failures {
		failing[name] = now.Sub(f.Since).Seconds()
	}
	a.mu.Unlock()
	for name, v := range failing {
		gauge(failingDesc, v, name)
	}
	ch <- prometheus.MustNewConstMetric(loggedDesc, prometheus.CounterValue, float64(s.Logged), "false")
	ch <- prometheus.MustNewConstMetric(loggedDesc, prometheus.CounterValue, float64(s.Repeated), "true")
	gauge(proofsDesc, float64(s.Proofs.Size))
	gauge(reconciledAt, unix(s.Reconciled))
	gauge(walkedAt, unix(s.Walked))
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}
