package daemon

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pauselog/pauselog/internal/publisher"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/sequencer"
)

// publishing is a publisher that runs. The zero value is none.
type publishing struct {
	publisher *publisher.Publisher
	cancel    context.CancelFunc
	failed    chan error // why the log must not go on
	done      chan struct{}
}

// lastRound is how long a log that ends waits for its last checkpoint to be cosigned: with its
// witnesses at hand that is milliseconds, and without them nothing is lost but time.
const lastRound = 3 * time.Second

// startPublishing starts the publisher of a log with witnesses. The override is used up here, when nothing but the
// publisher can still fail.
func startPublishing(c Config, log *running, reg prometheus.Registerer) (*publishing, error) {
	before, err := wasWitnessed(c.Folder)
	if err != nil {
		return nil, err
	}
	override, err := takeOverride(c.Folder, log.store.Head())
	if err != nil {
		return nil, err
	}
	m := newWitnessMetrics(reg)
	keys := append([]*checkpoint.VerifierKey{}, c.Folder.Retired...)
	for _, k := range c.Folder.Signers {
		keys = append(keys, k.Verifier())
	}
	p, err := publisher.Open(publisher.Config{
		Origin: c.Folder.Origin, Policy: c.Policy, Keys: keys, Log: opener{log.sequencer, c.Open}, Tree: log.store,
		File: filepath.Join(c.Folder.Dir, "published"), MustExist: before && !override, Evidence: filepath.Join(c.Folder.Dir, "evidence"),
		Interval: c.Witnesses.Interval, Recosign: c.Witnesses.Recosign, Timeout: c.Witnesses.Timeout,
		Override: override, Logger: c.Log, Observe: m.asked,
	})
	if err != nil {
		return nil, err
	}
	// After its file is there: a start that finds the policy demands the file.
	if err := recordPolicy(c.Folder, c.Policy); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	m.watch(reg, p)
	ctx, cancel := context.WithCancel(context.Background())
	r := &publishing{publisher: p, cancel: cancel, failed: make(chan error, 1), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		if err := p.Run(ctx); err != nil {
			r.failed <- err
		}
	}()
	return r, nil
}

// An opener tells when the log takes submissions.
type opener struct {
	*sequencer.Sequencer
	open func()
}

func (o opener) TakeSubmissions() {
	o.Sequencer.TakeSubmissions()
	if o.open != nil {
		o.open()
	}
}

// finish waits a little for the last checkpoint to be published.
func (r *publishing) finish(ctx context.Context, size uint64) {
	if r.publisher == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastRound)
	defer cancel()
	// Whether it was is seen by those who wait for it.
	_, _ = r.publisher.WaitPublished(ctx, size)
}

// end ends publishing: whoever waits for it is told how far it came.
func (r *publishing) end() {
	if r.publisher != nil {
		r.cancel()
		<-r.done
	}
}

func (r *publishing) stop() error {
	if r.publisher == nil {
		return nil
	}
	r.end()
	return r.publisher.Close()
}

// witnessMetrics are the figures of each witness; deploy/METRICS.md says what each is for. Their labels are
// the policy's.
type witnessMetrics struct {
	outcomes *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newWitnessMetrics(reg prometheus.Registerer) *witnessMetrics {
	m := &witnessMetrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pauselog_witness_answers_total",
			Help: "What witnesses were asked came to."}, []string{"witness", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "pauselog_witness_seconds",
			Help: "Duration until a witness cosigned.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 15)}, []string{"witness"}),
	}
	reg.MustRegister(m.outcomes, m.seconds)
	return m
}

func (m *witnessMetrics) asked(a publisher.Asked) {
	m.outcomes.WithLabelValues(a.Witness, a.Outcome).Inc()
	if a.Outcome == publisher.Cosigned {
		m.seconds.WithLabelValues(a.Witness).Observe(a.Took.Seconds())
	}
}

// watch registers what is read from the publisher's status.
func (m *witnessMetrics) watch(reg prometheus.Registerer, p *publisher.Publisher) {
	for _, w := range p.Status().Witnesses {
		for _, outcome := range publisher.Outcomes {
			m.outcomes.WithLabelValues(w.Name, outcome)
		}
		m.seconds.WithLabelValues(w.Name)
	}
	reg.MustRegister(&statusCollector{p})
}

// statusCollector reads one status for all its figures.
type statusCollector struct{ publisher *publisher.Publisher }

var (
	witnessSize  = prometheus.NewDesc("pauselog_witness_size", "Largest size that a witness is known to have cosigned.", []string{"witness"}, nil)
	witnessTime  = prometheus.NewDesc("pauselog_witness_cosigned_time", "When a witness cosigned last, in seconds since 1970 by its clock; 0: not since the start.", []string{"witness"}, nil)
	witnessAside = prometheus.NewDesc("pauselog_witness_set_aside", "1 if a witness contradicted the log (accuses) or lost its state (lost), and is not asked any more.", []string{"witness", "why"}, nil)
	rounds       = prometheus.NewDesc("pauselog_rounds_total", "Rounds of cosigning whose quorum was met, or that were given up for a newer checkpoint (missed).", []string{"quorum"}, nil)
	held         = prometheus.NewDesc("pauselog_held", "1 while the log takes no submissions because its witnesses have not said yet that they saw nothing newer.", nil, nil)
)

func (c *statusCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{witnessSize, witnessTime, witnessAside, rounds, held} {
		ch <- d
	}
}

func (c *statusCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := c.publisher.Status()
	for _, w := range s.Witnesses {
		gauge(witnessSize, float64(w.Size), w.Name)
		at := 0.0
		if !w.Cosigned.IsZero() {
			at = float64(w.Cosigned.Unix())
		}
		gauge(witnessTime, at, w.Name)
		for _, why := range publisher.Asides {
			v := 0.0
			if w.Aside == why {
				v = 1
			}
			gauge(witnessAside, v, w.Name, why)
		}
	}
	ch <- prometheus.MustNewConstMetric(rounds, prometheus.CounterValue, float64(s.Met), "met")
	ch <- prometheus.MustNewConstMetric(rounds, prometheus.CounterValue, float64(s.Missed), "missed")
	v := 0.0
	if s.Starting {
		v = 1
	}
	gauge(held, v)
}
