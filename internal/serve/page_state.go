package serve

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"scopeward/authz/token/provider"
	"scopeward/internal/admin/page"
	"scopeward/internal/providers"
	"scopeward/internal/strictyaml"
	"scopeward/policy"
)

// pageState is the service at a glance.
func (s *service) pageState() page.State {
	st, snapshot, ready, totals := s.state.Load(), s.server.Snapshot(), s.readiness(), s.totals()
	identities, refusals := st.cache.Len()
	shown := page.State{
		Now: time.Now(), Version: s.version, Started: s.started,
		Ready: ready.Ready, Reasons: ready.Reasons,
		Policy: page.Policy{Version: st.Policy.Version(), Loaded: st.loaded, Rules: len(st.Policy.Rules())},
		Reload: s.pageReload(),
		Cache:  page.Cache{Identities: identities, Refusals: refusals, Max: st.Config.Cache.MaxEntries, Lookups: totals["scopeward_cache_lookups_total"]},
		Limit: page.Limit{
			Count: st.Config.RateLimit.Count, Max: st.Config.RateLimit.Max, Window: st.Config.RateLimit.Window.String(),
			Refused: totals["scopeward_rate_limited_total"][""],
		},
		Load: page.Load{
			InFlight: s.server.InFlight(), Shedding: s.server.Shedding(), Shed: sum(totals["scopeward_shed_total"]),
			AuditDropped: totals["scopeward_audit_dropped_total"][""],
		},
		Providers: []page.Provider{}, Redis: []page.Redis{}, History: s.history.shown(),
		Decisions: totals[decisionsTotal],
	}
	if st.Shadow != nil {
		shown.Policy.Shadow = st.Shadow.Version()
	}
	if counted, ok := snapshot.Limit.Limiter.(interface{ Len() int }); ok {
		shown.Limit.Clients = counted.Len()
	}
	for _, p := range st.providers {
		shown.Providers = append(shown.Providers, providerShown(p))
	}
	for _, r := range []struct {
		use string
		*connection
	}{{"cache", st.sharing.identities}, {"rate_limit", st.sharing.limits}} {
		if r.connection != nil {
			up, reason := r.State()
			shown.Redis = append(shown.Redis, page.Redis{Use: r.use, URL: r.URL().String(), Up: up, Reason: reason})
		}
	}
	return shown
}

func (s *service) pageReload() page.Reload {
	good, err := s.reloads.last()
	r := page.Reload{Good: good, Errors: []string{}, Restart: s.reloads.needRestart()}
	var problems strictyaml.Problems
	switch {
	case err == nil:
		return r
	case errors.As(err, &problems):
		for _, p := range problems {
			r.Errors = append(r.Errors, fmt.Sprint(p))
		}
	default:
		r.Errors = append(r.Errors, err.Error())
	}
	r.Failed = s.reloads.failed()
	return r
}

func providerShown(built *providers.Provider) page.Provider {
	shown := page.Provider{Name: built.Name, Issuer: built.Issuer, Validation: built.Validation, Endpoints: []page.Endpoint{}}
	if built.Keys != nil {
		_, reason := built.Keys.Ready()
		shown.Keys = &page.Keys{Held: built.Keys.Held(), AgeSeconds: -1, Reason: reason}
		age, ok := built.Keys.Age()
		if ok {
			shown.Keys.AgeSeconds = age.Seconds()
		}
		shown.Keys.Fault = faultShown(built.Keys.LastFault(), func(at time.Time) bool { return ok && time.Now().Add(-age).After(at) })
	}
	for _, e := range built.Endpoints {
		up, reason := e.State()
		shown.Endpoints = append(shown.Endpoints, page.Endpoint{
			Name: e.Name, Up: up, Fault: faultShown(e.LastFault(), func(time.Time) bool { return reason == "" }),
		})
	}
	return shown
}

func faultShown(f provider.Fault, over func(at time.Time) bool) *page.Fault {
	if f.At.IsZero() {
		return nil
	}
	return &page.Fault{Reason: f.Reason, At: f.At, Over: over(f.At)}
}

// pageRules are the rules with what they met.
func (s *service) pageRules() []page.Rule {
	rules := []page.Rule{}
	for _, h := range s.server.Snapshot().Hits() {
		shown := page.Rule{Access: "deny", Patterns: []string{}, Hits: h.All, Denied: h.Denied, WouldBe: h.WouldBe}
		if r := h.Rule; r != nil {
			shown.Place, shown.Name, shown.Policy = r.Place(), r.Name, r.Policy
			shown.Scopes, shown.AnyScopes, shown.When, shown.Audit = r.Scopes, r.AnyScopes, r.When, r.Audit
			shown.Login = strings.Trim(r.ACRWords()+", "+r.MaxAgeWords(), ", ")
			for _, p := range r.Patterns {
				shown.Patterns = append(shown.Patterns, p.Text)
			}
			switch r.Access {
			case policy.AccessPublic:
				shown.Access = "public"
			case policy.AccessToken:
				shown.Access = "token"
				if r.Optional {
					shown.Access = "optional"
				}
			}
		}
		rules = append(rules, shown)
	}
	return rules
}

// totals are the counters that the page shows, from where Prometheus reads them: by
// family and the value of the only label.
func (s *service) totals() map[string]map[string]float64 {
	wanted := []string{decisionsTotal, "scopeward_cache_lookups_total", "scopeward_rate_limited_total", "scopeward_shed_total", "scopeward_audit_dropped_total"}
	totals := map[string]map[string]float64{}
	for _, f := range s.families(wanted...) {
		values := map[string]float64{}
		for _, m := range f.GetMetric() {
			label := ""
			for _, l := range m.GetLabel() {
				label = l.GetValue()
			}
			values[label] = m.GetCounter().GetValue()
		}
		totals[f.GetName()] = values
	}
	return totals
}

// families are those that could be gathered, of these names.
func (s *service) families(names ...string) (found []*dto.MetricFamily) {
	all, _ := s.registry.Gather()
	for _, f := range all {
		if slices.Contains(names, f.GetName()) {
			found = append(found, f)
		}
	}
	return found
}

func sum(values map[string]float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}
