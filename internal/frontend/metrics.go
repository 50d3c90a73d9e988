package frontend

import (
	"path"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/pauselog/pauselog/log/sequencer"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// Metrics are the figures of a log; deploy/METRICS.md says what each is for.
type Metrics struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	static  *prometheus.CounterVec
	methods map[string]methodMetrics // by full name

	submissions *prometheus.CounterVec
	batch       prometheus.Histogram
	commit      *prometheus.HistogramVec
}

// methodMetrics are the metrics of one method's calls that succeed, found beforehand: of what a proof
// costs, looking labels up would be a part that one sees.
type methodMetrics struct {
	ok      prometheus.Counter
	seconds prometheus.Observer
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	// From 100 us, what a proof takes, to 6 s, in steps of 2.
	latency := prometheus.ExponentialBuckets(0.0001, 2, 17)
	m := &Metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pauselog_calls_total",
			Help: "Calls of the API by method and gRPC code."}, []string{"method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "pauselog_call_seconds",
			Help: "Duration of calls by method.", Buckets: latency}, []string{"method"}),
		static: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pauselog_static_requests_total",
			Help: "Static reads by what was read and HTTP status."}, []string{"what", "status"}),
		submissions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pauselog_submissions_total",
			Help: "Submissions by what became of them: appended, repeated, refused."}, []string{"outcome"}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pauselog_commit_entries",
			Help: "Entries in one commit.", Buckets: prometheus.ExponentialBuckets(1, 4, 8)}),
		commit: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "pauselog_commit_seconds",
			Help: "Time of one commit: the store's sync, the head's sync, and from the first submission to the answers.", Buckets: latency}, []string{"part"}),
	}
	reg.MustRegister(m.calls, m.seconds, m.static, m.submissions, m.batch, m.commit)
	for _, outcome := range []string{"appended", "repeated", "refused", "conflict"} {
		m.submissions.WithLabelValues(outcome)
	}
	m.methods = map[string]methodMetrics{}
	for i := range pb.Log_ServiceDesc.Methods {
		name := pb.Log_ServiceDesc.Methods[i].MethodName
		m.methods["/"+pb.Log_ServiceDesc.ServiceName+"/"+name] = methodMetrics{
			ok: m.calls.WithLabelValues(name, codes.OK.String()), seconds: m.seconds.WithLabelValues(name)}
	}
	return m
}

// Watch registers the gauges that are read from the log itself.
func (m *Metrics) Watch(reg prometheus.Registerer, s *Service) {
	for name, g := range map[string]struct {
		help string
		get  func() float64
	}{
		"pauselog_size":           {"Entries that are durable and signed.", func() float64 { return float64(s.Store.Head().Size) }},
		"pauselog_published_size": {"Entries that readers see.", func() float64 { return float64(s.published().Size) }},
		"pauselog_published_time": {"When the published checkpoint became the newest, in seconds since 1970.", func() float64 { return float64(s.published().Time) }},
		"pauselog_indexed_size":   {"Entries that can be looked up by author, distribution and digest.", func() float64 { return float64(s.Store.Indexed()) }},
		"pauselog_queued":         {"Submissions that wait.", func() float64 { return float64(s.Sequencer.Queued()) }},
		"pauselog_store_bytes":    {"Bytes of the store on disk.", func() float64 { return float64(s.Store.DiskUsage()) }},
		"pauselog_healthy":        {"1 if the newest entry proves to be in the published tree, else 0.", func() float64 { return oneIf(s.Probe() == nil) }},
	} {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: g.help}, g.get))
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Commit counts one commit; it fits sequencer.Config.Observe.
func (m *Metrics) Commit(c sequencer.Commit) {
	m.submissions.WithLabelValues("appended").Add(float64(c.Entries - c.Conflicts))
	m.submissions.WithLabelValues("repeated").Add(float64(c.Repeated))
	m.submissions.WithLabelValues("refused").Add(float64(c.Refused))
	m.submissions.WithLabelValues("conflict").Add(float64(c.Conflicts))
	if c.Entries == 0 {
		return
	}
	m.batch.Observe(float64(c.Entries))
	m.commit.WithLabelValues("store").Observe(c.StoreTime.Seconds())
	m.commit.WithLabelValues("head").Observe(c.HeadTime.Seconds())
	m.commit.WithLabelValues("all").Observe(c.AllTime.Seconds())
}

func (m *Metrics) call(method string, code codes.Code, took time.Duration) {
	if known, ok := m.methods[method]; ok && code == codes.OK {
		known.ok.Inc()
		known.seconds.Observe(took.Seconds())
		return
	}
	name := path.Base(method)
	m.calls.WithLabelValues(name, code.String()).Inc()
	m.seconds.WithLabelValues(name).Observe(took.Seconds())
}
