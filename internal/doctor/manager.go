package doctor

import (
	"maps"
	"slices"
	"strings"
)

// The message types that doctor tells apart.
const (
	httpManager    = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
	router         = "envoy.extensions.filters.http.router.v3.Router"
	jwtAuthn       = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
	rbac           = "envoy.extensions.filters.http.rbac.v3.RBAC"
	basicAuth      = "envoy.extensions.filters.http.basic_auth.v3.BasicAuth"
	apiKeyAuth     = "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth"
	gcpAuthn       = "envoy.extensions.filters.http.gcp_authn.v3.GcpAuthnFilterConfig"
	headerMetadata = "envoy.extensions.filters.http.header_to_metadata.v3.Config"
	luaFilter      = "envoy.extensions.filters.http.lua.v3.Lua"

	credentialInjector = "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector"

	protocolOptions  = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	tcpProxy         = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
	directResponse   = "envoy.extensions.filters.network.direct_response.v3.Config"
	echo             = "envoy.extensions.filters.network.echo.v3.Echo"
	networkAuthz     = "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz"
	extAuthz         = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
	extAuthzPerRoute = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
	withMatcher      = "envoy.extensions.common.matching.v3.ExtensionWithMatcher"
	matcherPerRoute  = "envoy.extensions.common.matching.v3.ExtensionWithMatcherPerRoute"
	skipFilter       = "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"
	filterConfig     = "envoy.config.route.v3.FilterConfig"
	routeMessage     = "envoy.config.route.v3.Route"
	routeList        = "envoy.config.route.v3.RouteList"
)

// chain is a filter chain of a listener: what it does with a connection.
type chain struct {
	listener *node
	filters  []filter
	manager  *manager // nil if it is not HTTP
}

// manager is an HTTP connection manager: what a chain does with requests.
type manager struct {
	config  *node
	filters []filter
	authz   []filter // those by which Scopeward may be asked
	leaves  []leaf
	hidden  []leaf  // that no request reaches: earlier routes take them all
	unseen  []*node // what names routes that the configuration does not hold
}

// filter is a filter of a chain, or of a manager.
type filter struct {
	at      *node
	name    string
	message string // the type of its configuration
	config  *node
	partial *node // a matcher by which requests may get past it
	unseen  bool  // its configuration comes by ECDS, and is not there
}

// chains reads all listeners.
func (c *Config) chains() []chain {
	var chains []chain
	for _, listener := range c.listeners {
		for _, at := range append(listener.get("filter_chains").items(), listener.get("default_filter_chain")) {
			if !at.get("filters").exists() {
				continue
			}
			ch := chain{listener: listener, filters: c.filters(at.get("filters"))}
			for _, f := range ch.filters {
				if f.message == httpManager && !f.unseen {
					ch.manager = c.manager(f.config)
				}
			}
			chains = append(chains, ch)
		}
	}
	return chains
}

func (c *Config) manager(config *node) *manager {
	m := &manager{config: config}
	configs, unseen := c.routeConfigs(config)
	for _, r := range configs {
		for _, l := range leaves(r) {
			if l.behind != nil {
				m.hidden = append(m.hidden, l)
			} else {
				m.leaves = append(m.leaves, l)
			}
		}
		if vhds := r.get("vhds"); vhds.exists() && !c.running {
			unseen = append(unseen, vhds)
		}
	}
	m.unseen = unseen
	m.filters = slices.DeleteFunc(c.filters(config.get("http_filters")), m.idle)
	return m
}

// idle reports whether a filter is switched off, and no route switches it on. That of
// ext_authz is left for a check.
func (m *manager) idle(f filter) bool {
	return f.message != extAuthz && f.at.get("disabled").yes() && len(m.unseen) == 0 &&
		!slices.ContainsFunc(m.leaves, func(l leaf) bool { return l.off(f) == nil })
}

// filters reads a list of filters. One that is inside another, such as in a
// composite filter, stands behind it, as one that not all requests meet.
func (c *Config) filters(list *node) []filter {
	var filters []filter
	for _, at := range list.items() {
		f := c.filter(at)
		filters = append(filters, f)
		if f.message == extAuthz || f.message == httpManager || f.old() {
			continue
		}
		whole := at
		if at.get("config_discovery").exists() {
			whole = f.config
		}
		for inner := range whole.all() {
			if message, config := inner.typed(); message == extAuthz {
				filters = append(filters, filter{at: at, name: f.name, message: message, config: config, partial: inner})
			}
		}
	}
	return filters
}

func (c *Config) filter(at *node) filter {
	f := filter{at: at, name: at.get("name").text()}
	typed := at.get("typed_config")
	if discovery := at.get("config_discovery"); discovery.exists() {
		var arrived bool
		if typed, arrived = c.extensions[f.name]; !arrived {
			typed = discovery.get("default_config")
		}
		if !typed.exists() {
			f.unseen = true
			f.config = discovery
			for _, url := range discovery.get("type_urls").items() {
				if f.message = typeName(url.text()); f.message == extAuthz {
					break
				}
			}
			return f
		}
	}
	f.message, f.config = typed.typed()
	if f.message != withMatcher {
		return f
	}
	f.partial = f.config // without a matcher Envoy skips the filter (measured)
	for _, field := range []string{"xds_matcher", "matcher"} {
		if matcher := f.config.get(field); skips(matcher) {
			f.partial = matcher
		} else if matcher.exists() {
			f.partial = nil
		}
	}
	f.message, f.config = f.config.get("extension_config", "typed_config").typed()
	return f
}

// skips reports whether a matcher lets requests get past its filter.
func skips(matcher *node) bool {
	for n := range matcher.all() {
		if message, _ := n.typed(); message == skipFilter {
			return true
		}
	}
	return false
}

// service names what an ext_authz filter, or a route's override, asks: a
// cluster, or the address that Google's gRPC client connects to. "" is none.
func service(config *node) string {
	for _, way := range [][]string{
		{"grpc_service", "envoy_grpc", "cluster_name"},
		{"grpc_service", "google_grpc", "target_uri"},
		{"http_service", "server_uri", "cluster"},
	} {
		if name := config.get(way...).text(); name != "" {
			return name
		}
	}
	return ""
}

// outbound reports whether a listener takes the requests of the service beside a
// sidecar to others. That a listener says OUTBOUND is not enough, since gateways do,
// for their traces: a sidecar is one of Istio's, or has listeners for what comes in.
func (c *Config) outbound(listener *node) bool {
	return direction(listener) == "OUTBOUND" && !strings.HasPrefix(c.bootstrap.get("node", "id").text(), "router~") &&
		slices.ContainsFunc(c.listeners, func(l *node) bool { return direction(l) == "INBOUND" })
}

func direction(listener *node) string {
	return listener.get("traffic_direction").enum("UNSPECIFIED", "INBOUND", "OUTBOUND")
}

// old reports whether a filter is written for version 2 of Envoy's API, or the one
// before, neither of which is read.
func (f filter) old() bool {
	return strings.HasPrefix(f.message, "envoy.config.filter.") || f.message == "" && f.at.get("config").exists()
}

// upstream gives the filters that requests pass on their way to the service, behind
// those of the manager: the router's own, and those of clusters.
func (e *subject) upstream(m *manager) []filter {
	var found []filter
	for _, f := range m.filters {
		if f.message == router {
			found = append(found, e.filters(f.config.get("upstream_http_filters"))...)
		}
	}
	seen := map[string]bool{}
	for _, l := range m.leaves {
		names := []string{l.cluster}
		if l.cluster == "" && !l.answersItself() { // it may be any
			names = slices.Sorted(maps.Keys(e.byName))
		}
		for _, name := range names {
			cluster := e.byName[name]
			if cluster == nil || seen[name] || e.services[name] {
				continue
			}
			seen[name] = true
			found = append(found, e.filters(cluster.get("typed_extension_protocol_options", protocolOptions, "http_filters"))...)
		}
	}
	return found
}
