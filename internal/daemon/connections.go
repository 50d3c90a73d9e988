package daemon

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pauselog/pauselog/internal/fairlisten"
)

// connections are the figures of the public listeners, by what is spoken on them. No address of a client is in them.
type connections map[string]*fairlisten.Listener

var (
	connectionsOpen     = connectionDesc("pauselog_connections", "Connections that are open.")
	connectionsLimit    = connectionDesc("pauselog_connections_limit", "How many may be open; a newcomer then waits until one is silent.")
	connectionsAccepted = connectionDesc("pauselog_connections_accepted_total", "Connections that were served.")
	connectionsRefused  = connectionDesc("pauselog_connections_refused_total", "Connections that were closed at once, since their client had too many.")
	connectionsEvicted  = connectionDesc("pauselog_connections_evicted_total", "Connections that were closed for a newcomer, since all were taken and they were silent.")
)

func connectionDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"listener"}, nil)
}

// Describe and Collect are for Prometheus.
func (connections) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connectionsOpen, connectionsLimit, connectionsAccepted, connectionsRefused, connectionsEvicted} {
		ch <- d
	}
}

func (c connections) Collect(ch chan<- prometheus.Metric) {
	for name, l := range c {
		s := l.Stats()
		for _, x := range []struct {
			desc *prometheus.Desc
			kind prometheus.ValueType
			v    float64
		}{
			{connectionsOpen, prometheus.GaugeValue, float64(s.Open)},
			{connectionsLimit, prometheus.GaugeValue, float64(s.Limit)},
			{connectionsAccepted, prometheus.CounterValue, float64(s.Accepted)},
			{connectionsRefused, prometheus.CounterValue, float64(s.Refused)},
			{connectionsEvicted, prometheus.CounterValue, float64(s.Evicted)},
		} {
			ch <- prometheus.MustNewConstMetric(x.desc, x.kind, x.v, name)
		}
	}
}
