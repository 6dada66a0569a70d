package authz

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"scopeward/authz/token"
	"scopeward/authz/token/binding"
)

// Metrics are the service's own metrics. Labels are bounded: codes, cache
// states, configured providers and outcomes; never a path, user or token.
type Metrics struct {
	decisions   [numCodes]prometheus.Counter
	duration    prometheus.Histogram
	cache       map[string]prometheus.Counter // by token.Result's Cache
	limited     prometheus.Counter
	conditions  prometheus.Counter
	validations *prometheus.HistogramVec
	shared      *prometheus.CounterVec
	audited     *prometheus.CounterVec
	shadows     *prometheus.CounterVec
	shed        *prometheus.CounterVec
	sampledOut  prometheus.Counter
	revoked     prometheus.Counter
	vouched     *prometheus.CounterVec
	bindings    map[string]prometheus.Counter // by binding.Refusal's Check
}

// latencyBuckets reach from a cache hit (some µs) to a provider that hangs (s).
var latencyBuckets = []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// NewMetrics registers the metrics with reg; audit is the server's.
func NewMetrics(reg prometheus.Registerer, audit *LineWriter) *Metrics {
	decisions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scopeward_decisions_total",
		Help: "Decisions, by the code of the answer.",
	}, []string{"code"})
	m := &Metrics{
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "scopeward_check_duration_seconds", Help: "Time to answer a CheckRequest.", Buckets: latencyBuckets,
		}),
		cache: map[string]prometheus.Counter{},
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
	m.shared = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scopeward_shared_cache_lookups_total", Help: "Look-ups of a token that this replica does not know in the cache that replicas share, by result (hit, miss, stale, rejected, failed).",
	}, []string{"result"})
	m.audited = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scopeward_audit_mode_passed_total", Help: "Requests that a rule with mode: audit would have denied, by the code that it would have answered.",
	}, []string{"code"})
	m.shadows = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scopeward_shadow_disagreements_total", Help: "Decisions in which the shadow policy differs, by the code of the policy in force and that of the shadow.",
	}, []string{"code", "shadow"})
	m.shed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scopeward_shed_total", Help: "Requests that got 503 at once since the service was overloaded, by what is refused (validation: tokens that are not known; all).",
	}, []string{"work"})
	m.shed.WithLabelValues("validation")
	m.shed.WithLabelValues("all")
	for c := range m.decisions {
		m.decisions[c] = decisions.WithLabelValues(code(c).String())
	}
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scopeward_cache_lookups_total", Help: "Look-ups of a token in the identity cache, by result (hit, miss, or stale: believed since its provider could not be asked).",
	}, []string{"result"})
	for _, result := range []string{token.CacheHit, token.CacheMiss, token.CacheStale} {
		m.cache[result] = lookups.WithLabelValues(result)
	}
	dropped := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "scopeward_audit_dropped_total", Help: "Audit events lost because their reader was too slow or failed.",
	}, func() float64 { return float64(audit.Dropped()) })
	m.sampledOut = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "scopeward_audit_sampled_out_total", Help: "Requests that were let through and have no audit event, since audit.sample leaves them out.",
	})
	m.revoked = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "scopeward_revoked_total", Help: "Requests whose token is valid but for an entry of revoked.",
	})
	m.vouched = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scopeward_identity_tokens_total", Help: "Identity tokens for the service behind (identity_token) that had to be signed, by outcome (signed, failed). One serves many requests.",
	}, []string{"outcome"})
	m.vouched.WithLabelValues("signed")
	m.vouched.WithLabelValues("failed")
	refusals := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scopeward_binding_refusals_total", Help: "Requests with a valid token that did not show what it is bound to (DPoP, mutual TLS), by the check that failed.",
	}, []string{"check"})
	m.bindings = map[string]prometheus.Counter{}
	for _, check := range binding.Checks() {
		m.bindings[check] = refusals.WithLabelValues(check)
	}
	reg.MustRegister(refusals, m.vouched, m.revoked, decisions, m.duration, lookups, m.limited, m.conditions, m.validations, m.shared, m.audited, m.shadows, m.shed, m.sampledOut, dropped)
	return m
}

// ObserveValidation records one piece of work of a verifier; it is the
// token.Validator's observer.
func (m *Metrics) ObserveValidation(provider, outcome string, took time.Duration) {
	m.validations.WithLabelValues(provider, outcome).Observe(took.Seconds())
}

// ObserveStore records a look-up in the cache that replicas share; it is the
// token.Validator's observer.
func (m *Metrics) ObserveStore(result string) { m.shared.WithLabelValues(result).Inc() }

func (m *Metrics) decided(e *Event, took time.Duration) {
	m.decisions[e.verdict.code].Inc()
	m.duration.Observe(took.Seconds())
	if lookups := m.cache[e.result.Cache]; lookups != nil {
		lookups.Inc()
	}
	if e.result.Revoked != nil {
		m.revoked.Inc()
	}
	if e.verdict.code == codeRateLimited {
		m.limited.Inc()
	}
	if e.verdict.err != nil && (e.verdict.code == codeAccessDenied || e.verdict.wouldBe == codeAccessDenied) {
		m.conditions.Inc()
	}
	if e.verdict.wouldBe != 0 {
		m.audited.WithLabelValues(e.verdict.wouldBe.String()).Inc()
	}
	if e.shadow != "" {
		m.shadows.WithLabelValues(e.verdict.code.String(), e.shadow).Inc()
	}
}
