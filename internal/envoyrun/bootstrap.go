// Package envoyrun finds, installs and runs a real Envoy for the demo, the tests and the benchmark, with the bootstraps of the folder envoy.
package envoyrun

import (
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"scopeward"
)

// The names of the parts that every bootstrap here has, besides its admin interface.
const (
	publicListener  = "public"    // for clients
	upstreamCluster = "upstream"  // the protected service; also the virtual host that leads to it
	authzCluster    = "scopeward" // Scopeward
)

// Bootstrap says what differs from one of the bootstraps of the folder envoy. Addresses are host:port, those of clusters also unix:///path. Port 0
// lets the system choose (ask [Process.Address]).
type Bootstrap struct {
	File     string // a file of that folder; minimal.yaml if empty
	Listen   string // the listener for clients
	Admin    string // Envoy's admin interface
	Upstream string // the protected service
	Authz    string // Scopeward's gRPC listener
	// Clusters are the addresses of further clusters, by name.
	Clusters map[string]string
	Policy   string // optional: the policy named in the virtual host's context_extensions
	// ContextExtensions are further context_extensions of the virtual host.
	ContextExtensions map[string]string
}

// Local is a Bootstrap with an Envoy on loopback ports that the system chooses.
func Local(upstream, authz string) Bootstrap {
	return Bootstrap{Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", Upstream: upstream, Authz: authz}
}

// YAML renders the file with these addresses. The error names an address that is none, or a part that the file does not have.
func (b Bootstrap) YAML() ([]byte, error) {
	if b.File == "" {
		b.File = "minimal.yaml"
	}
	text, err := scopeward.Bootstraps.ReadFile(path.Join("envoy", b.File))
	if err != nil {
		return nil, fmt.Errorf("no bootstrap is named %s: %w", b.File, err)
	}
	doc := &document{}
	if err := yaml.Unmarshal(text, doc); err != nil {
		return nil, fmt.Errorf("envoy/%s: %w", b.File, err)
	}
	if err := b.place(doc); err != nil {
		return nil, fmt.Errorf("envoy/%s: %w", b.File, err)
	}
	return yaml.Marshal(doc)
}

// place puts the addresses where the document has them.
func (b Bootstrap) place(doc *document) error {
	admin, err := address("admin", b.Admin)
	if err != nil {
		return err
	}
	doc.Admin["address"] = admin
	public, err := named(doc.Resources.Listeners, publicListener)
	if err != nil {
		return fmt.Errorf("listener %w", err)
	}
	if public["address"], err = address("listen", b.Listen); err != nil {
		return err
	}
	clusters := map[string]string{upstreamCluster: b.Upstream, authzCluster: b.Authz}
	for name, address := range b.Clusters {
		clusters[name] = address
	}
	for name, address := range clusters {
		if err := placeCluster(doc, name, address); err != nil {
			return err
		}
	}
	return b.setContextExtensions(public)
}

func placeCluster(doc *document, name, to string) error {
	cluster, err := named(doc.Resources.Clusters, name)
	if err != nil {
		return fmt.Errorf("cluster %w", err)
	}
	at, err := address(name, to)
	if err != nil {
		return err
	}
	cluster["load_assignment"] = object{"cluster_name": name, "endpoints": []any{object{
		"lb_endpoints": []any{object{"endpoint": object{"address": at}}},
	}}}
	if strings.HasPrefix(to, "unix:") {
		cluster["type"] = "STATIC" // a socket has no name to resolve
	} else {
		cluster["type"] = "STRICT_DNS"
	}
	return nil
}

func (b Bootstrap) setContextExtensions(listener object) error {
	extensions := object{}
	for k, v := range b.ContextExtensions {
		extensions[k] = v
	}
	if b.Policy != "" {
		extensions["policy"] = b.Policy
	}
	if len(extensions) == 0 {
		return nil
	}
	for _, host := range virtualHosts(listener) {
		if host["name"] == upstreamCluster {
			host["typed_per_filter_config"] = object{"envoy.filters.http.ext_authz": object{
				"@type":          "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
				"check_settings": object{"context_extensions": extensions},
			}}
			return nil
		}
	}
	return fmt.Errorf("virtual host %q is missing", upstreamCluster)
}

// object is a message of Envoy's configuration.
type object = map[string]any

// document is a bootstrap, with the parts that are changed.
type document struct {
	Admin     object `yaml:"admin"`
	Resources struct {
		Listeners []object `yaml:"listeners"`
		Clusters  []object `yaml:"clusters"`
		Others    object   `yaml:",inline"`
	} `yaml:"static_resources"`
	Others object `yaml:",inline"`
}

func named(objects []object, name string) (object, error) {
	for _, o := range objects {
		if o["name"] == name {
			return o, nil
		}
	}
	return nil, fmt.Errorf("%q is missing", name)
}

// virtualHosts are all of a listener's.
func virtualHosts(node any) (hosts []object) {
	switch n := node.(type) {
	case object:
		for key, value := range n {
			list, ok := value.([]any)
			if key != "virtual_hosts" || !ok {
				hosts = append(hosts, virtualHosts(value)...)
				continue
			}
			for _, host := range list {
				hosts = append(hosts, host.(object))
			}
		}
	case []any:
		for _, item := range n {
			hosts = append(hosts, virtualHosts(item)...)
		}
	}
	return hosts
}

// address is an Envoy config.core.v3.Address. The error calls it by its name.
func address(name, s string) (object, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return object{"pipe": object{"path": strings.TrimPrefix(path, "//")}}, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return nil, fmt.Errorf("%s address %q: want host:port or unix:///path: %w", name, s, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" {
		return nil, fmt.Errorf("%s address %q: want a host and a port from 0 to 65535", name, s)
	}
	return object{"socket_address": object{"address": host, "port_value": int(n)}}, nil
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
