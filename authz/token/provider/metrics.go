package provider

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count the requests of all clients. Nil, they count nothing.
type Metrics struct {
	requests *prometheus.HistogramVec
	skipped  *prometheus.CounterVec
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "scopeward_provider_request_duration_seconds", Help: "Time of a request to a provider, by provider, endpoint (discovery, jwks, profile, introspection, lookup, token) and outcome (answered, throttled, failed, timeout, left).",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"provider", "endpoint", "outcome"}),
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scopeward_provider_skipped_total", Help: "Requests to a provider that were not sent, since it is sick or too many wait for it, by provider and endpoint.",
		}, []string{"provider", "endpoint"}),
	}
	reg.MustRegister(m.requests, m.skipped)
	return m
}

// Observer records the requests to an endpoint; it is a client's observer.
func (m *Metrics) Observer(provider, endpoint string) func(outcome string, took time.Duration) {
	if m == nil {
		return nil
	}
	skipped := m.skipped.WithLabelValues(provider, endpoint)
	return func(outcome string, took time.Duration) {
		if outcome == Skipped {
			skipped.Inc()
			return
		}
		m.requests.WithLabelValues(provider, endpoint, outcome).Observe(took.Seconds())
	}
}
