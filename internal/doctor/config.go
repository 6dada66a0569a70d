package doctor

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Config is the configuration of an Envoy.
type Config struct {
	document   *yaml.Node // what it was read from, if that is YAML
	running    bool       // a config dump: with what came by xDS
	bootstrap  *node
	listeners  []*node
	clusters   []*node
	byName     map[string]*node // the clusters
	routes     []*node          // route configurations that came by RDS
	scopes     []*node          // the scoped routes of a config dump
	extensions map[string]*node // filters that came by ECDS
	endpoints  map[string]*node // by EDS; only a dump with ?include_eds has them
}

// Parse reads a bootstrap (YAML or JSON) or what Envoy's admin interface gives as
// /config_dump. The error says what else it is.
func Parse(data []byte) (*Config, error) {
	root, document, err := parse(data)
	if err != nil {
		return nil, err
	}
	if _, ok := root.value.(map[string]any); !ok {
		return nil, errors.New(notEnvoy)
	}
	for _, part := range root.get("configs").items() {
		if strings.HasPrefix(typeName(part.get("@type").text()), "envoy.admin.v3.") {
			return fromDump(root, document)
		}
	}
	for _, key := range []string{"static_resources", "dynamic_resources", "admin", "node"} {
		if root.get(key).exists() {
			return fromBootstrap(root, document), nil
		}
	}
	return nil, errors.New(whatElse(root))
}

const notEnvoy = "it is neither an Envoy bootstrap (with static_resources, dynamic_resources, admin or node) nor a config dump"

// whatElse says what a file is that is nothing of Envoy's.
func whatElse(root *node) string {
	switch kind := root.get("kind").text(); {
	case kind != "" && root.get("apiVersion").exists():
		return fmt.Sprintf("it is a Kubernetes manifest (kind %s); doctor reads what Envoy has made of it: give the address of Envoy's admin interface", kind)
	case root.get("providers").exists():
		return "it looks like Scopeward's own configuration; give Envoy's, and this one with --config"
	case root.get("rules").exists():
		return "it looks like a policy of Scopeward's; give Envoy's bootstrap or the address of its admin interface"
	default:
		return notEnvoy
	}
}

func fromBootstrap(root *node, document *yaml.Node) *Config {
	c := &Config{
		document:  document,
		bootstrap: root,
		listeners: root.get("static_resources", "listeners").items(),
		clusters:  root.get("static_resources", "clusters").items(),
	}
	return c.index()
}

// fromDump reads what was in force when the dump was made
// (https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/config_dump.proto).
func fromDump(root *node, document *yaml.Node) (*Config, error) {
	c := &Config{document: document, running: true, bootstrap: &node{}, extensions: map[string]*node{}, endpoints: map[string]*node{}}
	seen := map[string]bool{}
	for _, part := range root.get("configs").items() {
		message := strings.TrimPrefix(typeName(part.get("@type").text()), "envoy.admin.v3.")
		seen[message] = true
		c.add(message, part)
	}
	for _, needed := range []string{"BootstrapConfigDump", "ListenersConfigDump", "ClustersConfigDump"} {
		if !seen[needed] {
			return nil, fmt.Errorf("it is a part of a config dump, without %s; save all of /config_dump", needed)
		}
	}
	return c.index(), nil
}

func (c *Config) add(message string, part *node) {
	each := func(list string, fields ...string) (found []*node) {
		for _, item := range part.get(list).items() {
			if n := item.get(fields...); n.exists() {
				found = append(found, n)
			}
		}
		return found
	}
	switch message {
	case "BootstrapConfigDump":
		c.bootstrap = part.get("bootstrap")
	case "ListenersConfigDump":
		c.listeners = append(c.listeners, each("static_listeners", "listener")...)
		c.listeners = append(c.listeners, each("dynamic_listeners", "active_state", "listener")...)
	case "ClustersConfigDump":
		c.clusters = append(c.clusters, each("static_clusters", "cluster")...)
		c.clusters = append(c.clusters, each("dynamic_active_clusters", "cluster")...)
	case "RoutesConfigDump":
		c.routes = append(c.routes, each("dynamic_route_configs", "route_config")...)
	case "ScopedRoutesConfigDump":
		c.scopes = append(c.scopes, part.get("inline_scoped_route_configs").items()...)
		c.scopes = append(c.scopes, part.get("dynamic_scoped_route_configs").items()...)
	case "EcdsConfigDump":
		for _, filter := range each("ecds_filters", "ecds_filter") {
			c.extensions[filter.get("name").text()] = filter.get("typed_config")
		}
	case "EndpointsConfigDump":
		for _, list := range []string{"static_endpoint_configs", "dynamic_endpoint_configs"} {
			for _, e := range each(list, "endpoint_config") {
				c.endpoints[e.get("cluster_name").text()] = e
			}
		}
	}
}

// index makes clusters easy to find.
func (c *Config) index() *Config {
	c.byName = map[string]*node{}
	for _, cluster := range c.clusters {
		c.byName[cluster.get("name").text()] = cluster
	}
	return c
}

// addresses are where a cluster's endpoints are; known is false if the
// configuration does not say it. A cluster without any leads nowhere.
func (c *Config) addresses(cluster *node) (found []*node, known bool) {
	assignment := cluster.get("load_assignment")
	if !assignment.exists() {
		name := cluster.get("eds_cluster_config", "service_name").text()
		if name == "" {
			name = cluster.get("name").text()
		}
		if assignment = c.endpoints[name]; assignment == nil {
			static := cluster.get("type").enum("STATIC") // or absent, which is the same
			return nil, static == "STATIC" || !cluster.get("type").exists() && !cluster.get("cluster_type").exists()
		}
	}
	for _, group := range assignment.get("endpoints").items() {
		for _, endpoint := range group.get("lb_endpoints").items() {
			found = append(found, endpoint.get("endpoint", "address"))
		}
	}
	return found, len(found) > 0 || cluster.get("load_assignment").exists() // by EDS, more may come
}
