package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"scopeward/authz"
	"scopeward/authz/ratelimit"
	"scopeward/authz/token"
	"scopeward/authz/token/introspection"
	"scopeward/authz/token/jwks"
	"scopeward/authz/token/profile"
	"scopeward/authz/token/provider"
	"scopeward/policy"
	"scopeward/policy/strictyaml"
)

// service is everything that serve runs.
type service struct {
	config   *Config
	log      *slog.Logger
	registry *prometheus.Registry
	audit    *authz.AuditWriter
	server   *authz.Server
	keySets  map[string]*jwks.KeySet // by provider name
	reloads  reloads
	draining atomic.Bool
}

// load reads the configuration and the policies that it names; the error holds
// the mistakes of both.
func load(o options) (*Config, *policy.Set, error) {
	c, err := loadConfig(o)
	if c == nil {
		return nil, nil, err
	}
	var problems strictyaml.Problems
	if !errors.As(err, &problems) && err != nil {
		return nil, nil, err
	}
	set, err := policy.Load(c.policyPaths()...)
	var inPolicy strictyaml.Problems
	if len(c.Policy) > 0 && err != nil {
		if !errors.As(err, &inPolicy) {
			return nil, nil, err
		}
		problems = append(problems, inPolicy...)
	}
	return c, set, problems.Err()
}

// newService wires the parts together; it starts nothing but the audit writer.
func newService(c *Config, set *policy.Set, log *slog.Logger, auditTo io.Writer) (*service, error) {
	audit := authz.NewAuditWriter(auditTo, log)
	s := &service{config: c, log: log, registry: prometheus.NewRegistry(), audit: audit}
	metrics := authz.NewMetrics(s.registry, audit)

	providers, err := newProviders(c, environment{log: log})
	if err != nil {
		audit.Close(0)
		return nil, err
	}
	s.keySets = providers.keySets
	headers := make([]authz.Header, 0, len(c.Headers))
	for name, field := range c.Headers {
		h, err := authz.NewHeader(name, string(field.Value))
		if err != nil {
			return nil, err // validate has accepted it
		}
		headers = append(headers, h)
	}
	snapshot := &authz.Snapshot{
		Policy: set,
		Validator: token.NewValidator(token.Options{
			Providers:   providers.list,
			TTL:         c.Cache.TTL.Value,
			NegativeTTL: disabledIfZero(c.Cache.NegativeTTL.Value),
			MaxEntries:  c.Cache.MaxEntries.Value,
			Logger:      log,
			Observe:     metrics.ObserveValidation,
		}),
		Limit:            newLimit(c.RateLimit),
		Headers:          headers,
		Realm:            string(c.Realm.Value),
		ResourceMetadata: string(c.ResourceMetadata.Value),
		TrustedHops:      c.RateLimit.TrustedHops.Value,
	}
	s.server = authz.NewServer(snapshot, audit, metrics, log)
	s.reloads.note(nil, time.Now())
	s.registerMetrics()
	return s, nil
}

// disabledIfZero: 0s in the file turns a thing off, as a negative value does in
// token.Options, where 0 is the default.
func disabledIfZero(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func newLimit(r RateLimit) authz.Limit {
	if r.Count.Value == "off" {
		return authz.Limit{}
	}
	return authz.Limit{
		Limiter:      ratelimit.NewMemory(ratelimit.Options{Max: r.Max.Value, Window: r.Window.Value}),
		EveryRequest: r.Count.Value == "requests",
	}
}

// environment is what the providers get from outside the configuration.
type environment struct{ log *slog.Logger }

// providers are the identity providers, ready to be asked.
type providers struct {
	list    []token.Provider
	keySets map[string]*jwks.KeySet
}

// newProviders makes the verifiers of the configuration. It reads secrets, and
// so finds out whether their files are there; it asks no provider.
func newProviders(c *Config, env environment) (providers, error) {
	ps := providers{keySets: map[string]*jwks.KeySet{}}
	var problems strictyaml.Problems
	if env.log == nil {
		env.log = slog.New(slog.DiscardHandler)
	}
	for _, l := range c.Providers {
		p := l.Value
		verifier, err := ps.verifier(p, c.dir(), env)
		if err != nil {
			problems = append(problems, strictyaml.Problem{Pos: p.Introspection.ClientSecret.Pos, Message: err.Error()})
			continue
		}
		ps.list = append(ps.list, token.Provider{
			Name: string(p.Name.Value), Issuer: string(p.Issuer.Value), Opaque: *p.Opaque, Verifier: verifier,
		})
	}
	return ps, problems.Err()
}

func (ps *providers) verifier(p Provider, dir string, env environment) (token.Verifier, error) {
	log := env.log.With(slog.String("provider", string(p.Name.Value)))
	// Each endpoint has a client of its own: one that hangs takes no connection
	// from another.
	client := func() *provider.Client { return provider.New(provider.Options{Timeout: *p.Timeout}) }
	rules := token.Rules{
		Provider:    string(p.Name.Value),
		Issuer:      string(p.Issuer.Value),
		Audiences:   stringsOf(p.Audiences),
		ClockSkew:   *p.ClockSkew,
		ScopeClaims: stringsOf(p.ScopeClaims),
	}
	byKeys := func() token.Verifier {
		keys := jwks.New(jwks.Options{
			URL: string(p.JWKS.URL.Value), File: p.JWKS.file(dir),
			Refresh: p.JWKS.Refresh, MaxStale: p.JWKS.MaxStale, Client: client(), Logger: log,
		})
		ps.keySets[string(p.Name.Value)] = keys
		var algorithms []string
		for _, a := range p.Algorithms {
			algorithms = append(algorithms, string(a.Value))
		}
		return &jwks.Verifier{Keys: keys, Rules: rules, Algorithms: algorithms}
	}
	byProfile := func() token.Verifier {
		return profile.New(profile.Options{URL: string(p.Profile.URL.Value), Rules: rules, Client: client(), Logger: log})
	}
	switch p.Validation.Value {
	case validateJWKS:
		return byKeys(), nil
	case validateProfile:
		return byProfile(), nil
	case validateJWKSProfile:
		return token.Both(byKeys(), byProfile()), nil
	case validateIntrospection:
		secret, err := p.Introspection.ClientSecret.Value.resolve(dir)
		if err != nil {
			return nil, err
		}
		return introspection.New(introspection.Options{
			URL: string(p.Introspection.URL.Value), ClientID: string(p.Introspection.ClientID.Value), ClientSecret: secret,
			Rules: rules, Client: client(), Logger: log,
		}), nil
	default:
		return nil, fmt.Errorf("unknown validation %q", p.Validation.Value)
	}
}

func (j JWKSEndpoint) file(dir string) string {
	if j.File.Value == "" {
		return ""
	}
	return absolute(dir, filepath.Clean(string(j.File.Value)))
}

func stringsOf(ts []text) []string {
	s := make([]string, len(ts))
	for i, t := range ts {
		s[i] = string(t)
	}
	return s
}

// waitReady waits until each key set has been tried.
func (s *service) waitReady(ctx context.Context) error {
	for _, keys := range s.keySets {
		select {
		case <-keys.Tried():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
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
}

// stateCollector gives the metrics whose labels change or may be missing.
type stateCollector struct{ *service }

var (
	buildInfo  = prometheus.NewDesc("scopeward_build_info", "1, labelled by the version of the service.", []string{"version"}, nil)
	policyInfo = prometheus.NewDesc("scopeward_policy_info", "1, labelled by the version (hash) of the policy in force.", []string{"version"}, nil)
	jwksAge    = prometheus.NewDesc("scopeward_jwks_age_seconds", "Time since the provider's keys were last fetched; absent until they were.", []string{"provider"}, nil)
)

func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- buildInfo
	ch <- policyInfo
	ch <- jwksAge
}

func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(buildInfo, prometheus.GaugeValue, 1, version())
	ch <- prometheus.MustNewConstMetric(policyInfo, prometheus.GaugeValue, 1, c.server.Snapshot().Policy.Version())
	for name, keys := range c.keySets {
		if age, ok := keys.Age(); ok {
			ch <- prometheus.MustNewConstMetric(jwksAge, prometheus.GaugeValue, age.Seconds(), name)
		}
	}
}
