package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// eachCluster gives the names of the clusters that are asked as Scopeward, with
// where they are named.
func (e *subject) eachCluster(do func(name string, at *node)) {
	consider := func(config *node) {
		if at := config.get("grpc_service", "envoy_grpc", "cluster_name"); e.services[at.text()] {
			do(at.text(), at)
		}
	}
	e.eachAuthz(func(m *manager, f filter) {
		consider(f.config)
		if m == nil {
			return
		}
		for _, l := range m.leaves {
			if own := authzSettings(l.perFilter(f.name)); own != nil {
				consider(own.get("check_settings"))
			}
		}
	})
}

func authzCluster(e *subject, report reporter) {
	e.eachAuthz(func(_ *manager, f filter) {
		if at := f.config.get("http_service"); at.exists() {
			report(at, "ext_authz asks over HTTP, and Scopeward answers gRPC only: every request is refused.",
				fmt.Sprintf("grpc_service: {envoy_grpc: {cluster_name: %s}, timeout: 5s}", service(f.config)))
		}
	})
	// Clusters that come from a control plane are not in a bootstrap.
	complete := e.running || !e.bootstrap.get("dynamic_resources", "cds_config").exists()
	e.eachCluster(func(name string, at *node) {
		cluster := e.byName[name]
		switch {
		case cluster == nil && complete:
			report(at, fmt.Sprintf("There is no cluster %q: Scopeward can't be asked, and every request is refused.", name), "add the cluster, or name one that there is")
		case cluster != nil && !speaksHTTP2(cluster):
			report(cluster.get("typed_extension_protocol_options"), "Envoy speaks HTTP/1.1 to this cluster, and gRPC needs HTTP/2: every request is refused.",
				`typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}`)
		}
	})
}

func speaksHTTP2(cluster *node) bool {
	options := cluster.get("typed_extension_protocol_options", protocolOptions)
	return cluster.get("http2_protocol_options").exists() || // before HttpProtocolOptions
		options.get("explicit_http_config", "http2_protocol_options").exists() ||
		options.get("use_downstream_protocol_config", "http2_protocol_options").exists() ||
		options.get("auto_config").exists()
}

func plaintextAuthz(e *subject, report reporter) {
	const why = "The token of every request, and who it is for, goes to Scopeward unencrypted, beyond this host: who listens on the way can take them, and who stands in it can answer for Scopeward."
	e.eachCluster(func(name string, _ *node) {
		cluster := e.byName[name]
		if cluster == nil || encrypted(cluster) {
			return
		}
		addresses, known := e.addresses(cluster)
		if known && !slices.ContainsFunc(addresses, func(a *node) bool { return !isLocal(a) }) {
			return
		}
		because := why
		if !known {
			because += " Its addresses come by EDS, and only /config_dump?include_eds tells them: if they are this host's, all is well."
		}
		report(cluster.get("transport_socket"), because, `transport_socket: {name: tls, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, common_tls_context: {validation_context: {trusted_ca: {filename: ca.crt}}}}}    # and listen.tls in scopeward.yaml; or run it beside Envoy, on a Unix socket`)
	})
	e.eachAuthz(func(_ *manager, f filter) {
		google := f.config.get("grpc_service", "google_grpc")
		target := google.get("target_uri").text()
		if target == "" || google.get("channel_credentials", "ssl_credentials").exists() || google.get("channel_credentials", "google_default").exists() || isLocalTarget(target) {
			return
		}
		report(google.get("channel_credentials"), why, "channel_credentials: {ssl_credentials: {root_certs: {filename: ca.crt}}}")
	})
}

// isLocalTarget reports whether a target of Google's gRPC is on this host.
func isLocalTarget(target string) bool {
	host := target[strings.LastIndexByte(target, '/')+1:]
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	host = strings.Trim(host, "[]")
	return strings.HasPrefix(target, "unix:") || isLocalHost(host)
}

// encrypted reports whether a cluster's connections are TLS, or may be by what the
// endpoints say of themselves, as in a mesh.
func encrypted(cluster *node) bool {
	for _, field := range []string{"transport_socket", "transport_socket_matches"} {
		for n := range cluster.get(field).all() {
			if message, _ := n.typed(); strings.HasSuffix(message, ".UpstreamTlsContext") || strings.HasSuffix(message, ".QuicUpstreamTransport") {
				return true
			}
		}
	}
	return false
}

func adminExposed(e *subject, report reporter) {
	admin := e.bootstrap.get("admin")
	address := admin.get("address")
	if address.exists() && !isLocal(address) && !admin.get("allow_paths").exists() {
		report(address, "Whoever reaches Envoy's admin interface reads all configuration, changes the runtime and stops Envoy; it asks for no password.",
			"address: {socket_address: {address: 127.0.0.1, port_value: 9901}}    # or allow_paths, with /ready and /stats only")
	}
	e.eachExposed(func(m *manager) {
		for _, l := range m.leaves {
			addresses, known := e.addressesOf(l.cluster)
			if !known || harmlessPages(l) || !slices.ContainsFunc(addresses, e.isAdmin) || e.gap(m, l) == nil {
				continue
			}
			report(l.at, "This route leads to all of Envoy's admin interface: whoever reaches the listener reads all configuration, changes the runtime and stops Envoy.",
				"match: {path: /stats/prometheus}    # only what is needed")
		}
	})
}

// harmlessPages reports whether a route leads to statistics and readiness only, by what
// it makes of the path.
func harmlessPages(l leaf) bool {
	m, action := l.route.get("match"), l.route.get("route")
	if anyOf(action, "regex_rewrite", "path_rewrite_policy", "path_rewrite") {
		return false
	}
	to := m.get("prefix").text() + m.get("path").text() + m.get("path_separated_prefix").text()
	if rewritten := action.get("prefix_rewrite").text(); rewritten != "" {
		to = rewritten
	}
	return strings.HasPrefix(to, "/stats") || strings.HasPrefix(to, "/ready")
}
