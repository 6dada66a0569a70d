package authz

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the service's own metrics. Labels are bounded: codes, cache
// states, configured providers and outcomes; never a path, user or token.
type Metrics struct {
	decisions   [codeUnavailable + 1]prometheus.Counter
	duration    prometheus.Histogram
	cache       *prometheus.CounterVec
	limited     prometheus.Counter
	conditions  prometheus.Counter
	validations *prometheus.HistogramVec
}

// latencyBuckets reach from a cache hit (some µs) to a provider that hangs (s).
var latencyBuckets = []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer, audit *AuditWriter) *Metrics {
	decisions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scopeward_decisions_total",
		Help: "Decisions, by the code of the answer.",
	}, []string{"code"})
	m := &Metrics{
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "scopeward_check_duration_seconds", Help: "Time to answer a CheckRequest.", Buckets: latencyBuckets,
		}),
		cache: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scopeward_cache_lookups_total", Help: "Look-ups of a token in the identity cache, by result (hit, miss).",
		}, []string{"result"}),
		limited: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "scopeward_rate_limited_total", Help: "Requests refused because their client had too many tokens validated.",
		}),
		conditions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "scopeward_condition_errors_total", Help: "Requests denied because a rule's condition (when) could not be evaluated.",
		}),
		validations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "scopeward_validation_duration_seconds", Help: "Time to validate a token that was not cached, by provider and outcome (valid, invalid, unavailable, error).", Buckets: latencyBuckets,
		}, []string{"provider", "outcome"}),
	}
	for c := range m.decisions {
		m.decisions[c] = decisions.WithLabelValues(code(c).String())
	}
	m.cache.WithLabelValues("hit")
	m.cache.WithLabelValues("miss")
	dropped := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "scopeward_audit_dropped_total", Help: "Audit events lost because their reader was too slow or failed.",
	}, func() float64 { return float64(audit.Dropped()) })
	reg.MustRegister(decisions, m.duration, m.cache, m.limited, m.conditions, m.validations, dropped)
	return m
}

// ObserveValidation records one piece of work of a verifier; it is the
// token.Validator's observer.
func (m *Metrics) ObserveValidation(provider, outcome string, took time.Duration) {
	m.validations.WithLabelValues(provider, outcome).Observe(took.Seconds())
}

func (m *Metrics) decided(e *Event, took time.Duration) {
	m.decisions[e.verdict.code].Inc()
	m.duration.Observe(took.Seconds())
	switch e.result.Cache {
	case "hit", "miss":
		m.cache.WithLabelValues(e.result.Cache).Inc()
	}
	if e.verdict.code == codeRateLimited {
		m.limited.Inc()
	}
	if e.verdict.code == codeAccessDenied && e.verdict.err != nil {
		m.conditions.Inc()
	}
}
