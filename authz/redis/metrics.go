package redis

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count the calls of all clients.
type Metrics struct {
	calls   *prometheus.HistogramVec
	skipped *prometheus.CounterVec
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "scopeward_redis_call_duration_seconds", Help: "Time of a call to Redis, by operation (limit, read, write) and outcome (answered, refused, failed).",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
		}, []string{"operation", "outcome"}),
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scopeward_redis_skipped_total", Help: "Calls that were not made since Redis was down, by operation (limit, read, write).",
		}, []string{"operation"}),
	}
	reg.MustRegister(m.calls, m.skipped)
	return m
}

// Observe records a call; it is a client's observer.
func (m *Metrics) Observe(op Operation, outcome string, took time.Duration) {
	if outcome == Skipped {
		m.skipped.WithLabelValues(op.String()).Inc()
		return
	}
	m.calls.WithLabelValues(op.String(), outcome).Observe(took.Seconds())
}
