// Package envoy holds Envoy configurations that plug Scopeward in, and finds and runs a real Envoy for the demo and the tests.
package envoy

import (
	_ "embed"
	"fmt"
	"net"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

//go:embed minimal.yaml
var minimal []byte

// Bootstrap says what differs from minimal.yaml. Addresses are host:port; Authz may also be unix:///path. Port 0 lets the system choose
// (ask [Process.Address]).
type Bootstrap struct {
	Listen   string // the listener for clients
	Admin    string // Envoy's admin interface
	Upstream string // the protected service
	Authz    string // Scopeward's gRPC listener
	Policy   string // optional: the policy named in the virtual host's context_extensions
	// ContextExtensions are further context_extensions of the virtual host.
	ContextExtensions map[string]string
}

// Local is a Bootstrap with an Envoy on loopback ports that the system chooses.
func Local(upstream, authz string) Bootstrap {
	return Bootstrap{Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", Upstream: upstream, Authz: authz}
}

// YAML renders minimal.yaml with these addresses. The error names an address that is none.
func (b Bootstrap) YAML() ([]byte, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(minimal, &doc); err != nil {
		return nil, fmt.Errorf("envoy/minimal.yaml: %w", err)
	}
	for _, a := range []struct{ name, address, path string }{
		{"admin", b.Admin, "admin"},
		{"listen", b.Listen, "static_resources.listeners.0"},
		{"upstream", b.Upstream, "static_resources.clusters.0.load_assignment.endpoints.0.lb_endpoints.0.endpoint"},
		{"authz", b.Authz, "static_resources.clusters.1.load_assignment.endpoints.0.lb_endpoints.0.endpoint"},
	} {
		value, err := address(a.address)
		if err != nil {
			return nil, fmt.Errorf("%s address %q: %w", a.name, a.address, err)
		}
		at(doc, a.path)["address"] = value
	}
	if strings.HasPrefix(b.Authz, "unix:") {
		at(doc, "static_resources.clusters.1")["type"] = "STATIC" // a socket has no name to resolve
	}
	b.setContextExtensions(at(doc, "static_resources.listeners.0.filter_chains.0.filters.0.typed_config.route_config.virtual_hosts.0"))
	return yaml.Marshal(doc)
}

func (b Bootstrap) setContextExtensions(virtualHost map[string]any) {
	extensions := map[string]any{}
	for k, v := range b.ContextExtensions {
		extensions[k] = v
	}
	if b.Policy != "" {
		extensions["policy"] = b.Policy
	}
	if len(extensions) == 0 {
		return
	}
	virtualHost["typed_per_filter_config"] = map[string]any{"envoy.filters.http.ext_authz": map[string]any{
		"@type":          "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
		"check_settings": map[string]any{"context_extensions": extensions},
	}}
}

// address is an Envoy config.core.v3.Address.
func address(s string) (map[string]any, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return map[string]any{"pipe": map[string]any{"path": strings.TrimPrefix(path, "//")}}, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return nil, fmt.Errorf("want host:port or unix:///path: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" {
		return nil, fmt.Errorf("want a host and a port from 0 to 65535")
	}
	return map[string]any{"socket_address": map[string]any{"address": host, "port_value": int(n)}}, nil
}

// at follows a dotted path of keys and list indexes. The document is our own embedded file, so a missing step is a bug and panics.
func at(node any, path string) map[string]any {
	for step := range strings.SplitSeq(path, ".") {
		switch n := node.(type) {
		case map[string]any:
			node = n[step]
		case []any:
			i, _ := strconv.Atoi(step)
			node = n[i]
		}
	}
	return node.(map[string]any)
}

// FreePort returns a TCP port of 127.0.0.1 that was free a moment ago.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
