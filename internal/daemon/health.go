package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/pauselog/pauselog/internal/frontend"
	"github.com/pauselog/pauselog/internal/version"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// Two questions are asked about a log. Whether what it serves is right: then readers may be sent to it, and nothing is gained
// by starting it again. And whether it takes submissions. A log that is held, or whose scrub has found damage, answers the
// first with yes and the second with no; deploy/OPERATING.md has the table.
//
// Both are answered in three ways: at /healthz and /readyz, by the gRPC health service, and as a gauge each.

// submitHealth is the name in the gRPC health service for whether submissions are taken: the method's full name. The
// names "" and that of the service stand for reading.
var submitHealth = pb.Log_ServiceDesc.ServiceName + ".Submit"

// probeInterval is how long the gRPC health service may be behind.
const probeInterval = 5 * time.Second

// vitals tell how a log is.
type vitals struct {
	service *frontend.Service
	running context.Context // ends when the log begins to drain
}

// reads says why what is served is not right.
func (v vitals) reads() error { return v.service.Probe() }

// submissions says why none are taken. It begins with a word that a program can look for.
func (v vitals) submissions() error {
	halted := v.service.Sequencer.Err()
	switch {
	case v.running.Err() != nil:
		return errors.New("draining")
	case halted != nil:
		return fmt.Errorf("halted: %w", halted)
	case v.service.Sequencer.Held():
		return errors.New("held: asking the witnesses whether they have seen something newer: no submissions yet")
	}
	if err := v.reads(); err != nil {
		return fmt.Errorf("unhealthy: %w", err)
	}
	return nil
}

// watch registers what is not read from the log itself.
func (v vitals) watch(reg prometheus.Registerer) {
	i := version.Of("pauselogd")
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "pauselog_build_info", Help: "1; the labels are what pauselogd --version says.",
		ConstLabels: prometheus.Labels{"version": i.Version, "commit": i.Commit, "go": i.Go}})
	build.Set(1)
	reg.MustRegister(build, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "pauselog_ready", Help: "1 if submissions are taken, else 0; /readyz says why."}, func() float64 {
		if v.submissions() != nil {
			return 0
		}
		return 1
	}))
}

// A prober keeps the gRPC health service true, and says in the journal when something changes.
type prober struct {
	vitals
	checks *health.Server
	log    *slog.Logger

	wrong, closed error // what reads and submissions said last
}

func (p *prober) probe() {
	wrong, closed := p.reads(), p.submissions()
	for _, name := range []string{"", pb.Log_ServiceDesc.ServiceName} {
		p.checks.SetServingStatus(name, serving(wrong))
	}
	p.checks.SetServingStatus(submitHealth, serving(closed))
	switch {
	case wrong != nil && p.wrong == nil:
		p.log.Error("what is served is not right", "error", wrong)
	case wrong == nil && p.wrong != nil:
		p.log.Info("what is served is right again")
	}
	switch {
	case closed != nil && p.closed == nil:
		p.log.Warn("no submissions are taken", "why", closed)
	case closed == nil && p.closed != nil:
		p.log.Info("submissions are taken")
	}
	p.wrong, p.closed = wrong, closed
}

func serving(err error) grpc_health_v1.HealthCheckResponse_ServingStatus {
	if err != nil {
		return grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	return grpc_health_v1.HealthCheckResponse_SERVING
}

// run probes until the context ends.
func (p *prober) run(ctx context.Context) {
	t := time.NewTicker(probeInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			p.probe()
		case <-ctx.Done():
			return
		}
	}
}
