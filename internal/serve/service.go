package serve

import (
	"cmp"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"scopeward/authz"
	"scopeward/authz/ratelimit"
	"scopeward/authz/redis"
	"scopeward/authz/token"
	"scopeward/authz/token/provider"
	"scopeward/internal/config"
	"scopeward/internal/filewatch"
	"scopeward/internal/pace"
	"scopeward/internal/providers"
)

// service is everything that serve runs.
type service struct {
	options   config.Options
	log       *slog.Logger
	registry  *prometheus.Registry
	audit     *authz.LineWriter // nil: off
	auditFile *auditFile        // nil: events go to no file
	metrics   *authz.Metrics
	redis     *redis.Metrics
	provider  *provider.Metrics
	server    *authz.Server
	state     atomic.Pointer[state]
	reloads   reloads
	watcher   *filewatch.Watcher
	tls       *transport // nil: plaintext
	procs     *pace.Processors
	serving   atomic.Bool // it has been ready once
	version   string
	draining  atomic.Bool
	started   time.Time
	history   history
	wanted    atomic.Pointer[[]string] // files that the broken configuration on disk names; nil: none
}

// state is what is in force: made of the files when they were last good.
type state struct {
	config.Files
	providers []*providers.Provider
	cache     *token.Cache
	maxBytes  int64 // of the cache and the rate limit's counters
	sharing   sharing
	proofs    proofs
	loaded    time.Time // when this version of the policy came into force
}

// newService wires the parts together; it starts nothing. audit may be nil.
func newService(o config.Options, f config.Files, log *slog.Logger, audit *authz.LineWriter) (*service, error) {
	s := &service{options: o, log: log, registry: prometheus.NewRegistry(), audit: audit, started: time.Now(), procs: pace.NewProcessors(runtime.GOMAXPROCS(0), func(n int) { runtime.GOMAXPROCS(n) })}
	s.watcher = filewatch.New(filewatch.Options{Paths: s.watched, Logger: log})
	s.metrics = authz.NewMetrics(s.registry, audit)
	if f.Certs != nil {
		s.tls = newTransport(f.Certs, newRefusals(s.registry, log))
	}
	s.redis = redis.NewMetrics(s.registry)
	s.provider = provider.NewMetrics(s.registry)
	next, err := s.prepare(f)
	if err != nil {
		return nil, err
	}
	s.state.Store(next)
	s.server = authz.NewServer(s.snapshot(next, nil), audit, s.metrics, log)
	s.reloads.note(nil, time.Now())
	s.warn(f)
	s.registerMetrics()
	return s, nil
}

// prepare makes the providers of a configuration, and takes over those that
// stay the same, with their keys and cached identities.
func (s *service) prepare(f config.Files) (*state, error) {
	old := s.state.Load()
	next := &state{Files: f, loaded: time.Now()}
	if old != nil && old.Policy.Version() == f.Policy.Version() {
		next.loaded = old.loaded
	}
	var running []*providers.Provider
	if old != nil {
		running = old.providers
	}
	next.providers = providers.New(f.Config, s.log, s.provider, running)
	var before sharing
	if old != nil {
		before = old.sharing
	}
	var err error
	if next.sharing, err = s.share(f.Config.Sharing, before); err != nil {
		return nil, err
	}
	limit := pace.MemoryLimit()
	if err := f.Config.CheckMemory(limit); err != nil {
		return nil, err
	}
	next.maxBytes = cmp.Or(f.Config.Cache.MaxBytes, limit/5*2)
	if old != nil && old.Config.Cache.MaxEntries == f.Config.Cache.MaxEntries && old.maxBytes == next.maxBytes {
		next.cache = old.cache
	} else {
		next.cache = token.NewCache(f.Config.Cache.MaxEntries, next.maxBytes-next.limitBytes()-next.proofBytes())
	}
	return next, next.keepProofs(old)
}

// snapshot is what requests are decided by. What a change doesn't touch is taken
// over from the one in force, if there is one: counts of the rate limit are.
func (s *service) snapshot(next *state, inForce *authz.Snapshot) *authz.Snapshot {
	c := next.Config
	list := make([]token.Provider, len(next.providers))
	for i, p := range next.providers {
		list[i] = p.Provider
	}
	snapshot := c.Snapshot(next.Policy)
	snapshot.Shadow = next.Shadow
	snapshot.Binding = next.checker()
	snapshot.Validator = token.NewValidator(token.Options{
		Providers:   list,
		TTL:         c.Cache.TTL,
		NegativeTTL: disabledIfZero(c.Cache.NegativeTTL),
		MaxStale:    c.Cache.MaxStale,
		Revoked:     next.Revoked.List,
		Cache:       next.cache,
		Logger:      s.log,
		Observe:     s.metrics.ObserveValidation,

		Inline:       next.sharing.limits == nil,
		Store:        next.sharing.store,
		ObserveStore: s.metrics.ObserveStore,
	})
	if old := s.state.Load(); inForce != nil && old.Config.RateLimit == c.RateLimit && old.sharing.limits == next.sharing.limits && old.maxBytes == next.maxBytes {
		snapshot.Limit = inForce.Limit
	} else {
		snapshot.Limit = newLimit(c.RateLimit, next.sharing.limits, next.limitBytes())
	}
	return snapshot
}

// disabledIfZero: 0s in the file turns a thing off, as a negative value does in
// token.Options, where 0 is the default.
func disabledIfZero(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func newLimit(r config.RateLimit, shared *connection, bytes int64) authz.Limit {
	opts := ratelimit.Options{Max: r.Max, Window: r.Window, Bytes: bytes}
	limit := authz.Limit{EveryRequest: r.Count == "requests"}
	switch {
	case r.Count == "off":
		return authz.Limit{}
	case shared != nil:
		limit.Limiter, limit.Waits = ratelimit.NewShared(shared.Client, opts), true
	default:
		limit.Limiter = ratelimit.NewMemory(opts)
	}
	return limit
}

// warn says what an operator should not forget.
func (s *service) warn(f config.Files) {
	for _, rule := range f.Policy.Rules() {
		if rule.Audit {
			s.log.Warn("a rule is not enforced: it has mode: audit", slog.String("rule", rule.Pos.String()))
		}
	}
	for _, warning := range slices.Concat(f.Config.Warnings(), f.Config.Doubts) {
		s.log.Warn(warning.Message, slog.String("setting", warning.Pos.String()))
	}
}

// registerMetrics adds the metrics of the parts that authz doesn't know.
func (s *service) registerMetrics() {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	s.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&stateCollector{s},
		gauge("scopeward_policy_rules", "Rules in force.", func() float64 { return float64(len(s.server.Snapshot().Policy.Rules())) }),
		gauge("scopeward_revoked_entries", "Entries of revoked in force.", func() float64 { return float64(s.state.Load().Revoked.List.Len()) }),
		gauge("scopeward_policy_reload_success", "1 if the policy on disk is in force, 0 if it is broken and the last good one serves.", func() float64 {
			if _, err := s.reloads.last(); err != nil {
				return 0
			}
			return 1
		}),
		gauge("scopeward_policy_reload_timestamp_seconds", "When the policy on disk was last read and good, in Unix time.", func() float64 {
			good, _ := s.reloads.last()
			return float64(good.UnixMilli()) / 1000
		}),
	)
	if s.tls == nil {
		return
	}
	s.registry.MustRegister(
		gauge("scopeward_tls_certificate_expiry_timestamp_seconds", "When the certificate of listen.tls in force expires, in Unix time.", func() float64 {
			return float64(expiry(s.tls.current.Load()).Unix())
		}),
		gauge("scopeward_tls_reload_success", "1 if the files of listen.tls on disk are in force, 0 if they are broken and the last good ones serve.", func() float64 {
			if _, err := s.tls.reloads.last(); err != nil {
				return 0
			}
			return 1
		}),
	)
}

// countLogLines adds the metric of the lines of the log.
func (s *service) countLogLines(lines *authz.LineWriter) {
	s.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "scopeward_log_lines_dropped_total", Help: "Lines of the log that were lost because their reader was too slow or failed.",
	}, func() float64 { return float64(lines.Dropped()) }))
}

// stateCollector gives the metrics whose labels change or may be missing.
type stateCollector struct{ *service }

var (
	buildInfo  = prometheus.NewDesc("scopeward_build_info", "1, labelled by the version of the service.", []string{"version"}, nil)
	policyInfo = prometheus.NewDesc("scopeward_policy_info", "1, labelled by the version (hash) of the policy in force.", []string{"version"}, nil)
	redisUp    = prometheus.NewDesc("scopeward_redis_up", "1 if Redis is used, 0 if it is down and each replica goes on by itself, by use (cache, rate_limit).", []string{"use"}, nil)
	providerUp = prometheus.NewDesc("scopeward_provider_up", "1 if requests are sent to the provider, 0 if it is sick and left alone but for probes, by provider and endpoint (discovery, jwks, profile, introspection, lookup, token).", []string{"provider", "endpoint"}, nil)
	jwksKeys   = prometheus.NewDesc("scopeward_jwks_keys", "Usable keys of the provider that are there; 0 if there are none, so that each of its tokens gets 503.", []string{"provider"}, nil)
	jwksAge    = prometheus.NewDesc("scopeward_jwks_age_seconds", "Time since the provider's keys were last fetched; absent until they were.", []string{"provider"}, nil)
)

func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- cacheEntries
	ch <- cacheBytes
	ch <- cacheMaxBytes
	ch <- buildInfo
	ch <- policyInfo
	ch <- jwksAge
	ch <- jwksKeys
	ch <- redisUp
	ch <- providerUp
}

func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(buildInfo, prometheus.GaugeValue, 1, c.version)
	ch <- prometheus.MustNewConstMetric(policyInfo, prometheus.GaugeValue, 1, c.server.Snapshot().Policy.Version())
	c.collectCache(ch)
	sharing := c.state.Load().sharing
	for use, r := range map[string]*connection{"cache": sharing.identities, "rate_limit": sharing.limits} {
		if r != nil {
			ch <- prometheus.MustNewConstMetric(redisUp, prometheus.GaugeValue, oneIf(r.State()), use)
		}
	}
	for _, p := range c.state.Load().providers {
		for _, e := range p.Endpoints {
			ch <- prometheus.MustNewConstMetric(providerUp, prometheus.GaugeValue, oneIf(e.State()), p.Name, e.Name)
		}
		if p.Keys == nil {
			continue
		}
		ch <- prometheus.MustNewConstMetric(jwksKeys, prometheus.GaugeValue, float64(p.UsableKeys()), p.Name)
		if age, ok := p.Keys.Age(); ok {
			ch <- prometheus.MustNewConstMetric(jwksAge, prometheus.GaugeValue, age.Seconds(), p.Name)
		}
	}
}

// oneIf is the gauge of a state that is up or down.
func oneIf(up bool, _ string) float64 {
	if up {
		return 1
	}
	return 0
}
