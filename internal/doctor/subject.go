package doctor

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// subject is a configuration as the checks see it.
type subject struct {
	*Config
	Options
	chains   []chain
	services map[string]bool // what is asked by ext_authz and counts as Scopeward
	reached  map[string]bool // internal listeners that requests reach unasked
}

func newSubject(c *Config, o Options) (*subject, error) {
	e := &subject{Config: c, Options: o, chains: c.chains(), reached: map[string]bool{}}
	asked := e.asked()
	e.services = e.scopeward(asked)
	if o.Cluster != "" && len(e.services) == 0 {
		return nil, &UnknownClusterError{o.Cluster, slices.Sorted(maps.Keys(asked))}
	}
	for _, ch := range e.chains {
		if ch.manager != nil {
			ch.manager.authz = e.authz(ch.manager)
		}
	}
	for more := true; more; {
		more = e.reach()
	}
	return e, nil
}

// UnknownClusterError is an Options.Cluster that no ext_authz filter asks.
type UnknownClusterError struct {
	Cluster string
	Asked   []string // what they do ask
}

func (e *UnknownClusterError) Error() string {
	if len(e.Asked) == 0 {
		return fmt.Sprintf("no ext_authz filter asks cluster %q: there is no such filter", e.Cluster)
	}
	return fmt.Sprintf("no ext_authz filter asks cluster %q; they ask %s", e.Cluster, strings.Join(e.Asked, ", "))
}

// asked gives all that ext_authz filters ask.
func (e *subject) asked() map[string]bool {
	asked := map[string]bool{}
	for _, ch := range e.chains {
		for _, f := range ch.filters {
			if f.message == networkAuthz {
				asked[service(f.config)] = true
			}
		}
		if ch.manager == nil {
			continue
		}
		for _, f := range ch.manager.filters {
			if f.message != extAuthz {
				continue
			}
			asked[service(f.config)] = true
			for _, l := range ch.manager.leaves {
				name, _ := l.service(f)
				asked[name] = true
			}
		}
	}
	delete(asked, "")
	return asked
}

// scopeward tells which of them is Scopeward: the one that was named; else those
// with its name in theirs; else all.
func (e *subject) scopeward(asked map[string]bool) map[string]bool {
	chosen := maps.Clone(asked)
	if e.Cluster != "" {
		maps.DeleteFunc(chosen, func(name string, _ bool) bool { return name != e.Cluster })
		return chosen
	}
	maps.DeleteFunc(chosen, func(name string, _ bool) bool { return !strings.Contains(strings.ToLower(name), "scopeward") })
	if len(chosen) == 0 {
		return asked
	}
	return chosen
}

// authz gives the filters of a manager by which Scopeward may be asked.
func (e *subject) authz(m *manager) []filter {
	var found []filter
	for _, f := range m.filters {
		if f.message == extAuthz && (f.unseen || e.asksScopeward(m, f)) {
			found = append(found, f)
		}
	}
	return found
}

func (e *subject) asksScopeward(m *manager, f filter) bool {
	if e.services[service(f.config)] {
		return true
	}
	return slices.ContainsFunc(m.leaves, func(l leaf) bool {
		name, _ := l.service(f)
		return e.services[name]
	})
}

// gap is why Scopeward is not asked about a leaf.
type gap struct {
	at       *node  // what makes it so
	switched bool   // it is a filter's disabled, and the leaf does not enable it
	service  string // what is asked instead
}

// gap says why Scopeward is not asked about a leaf; nil if it is.
func (e *subject) gap(m *manager, l leaf) *gap {
	g := &gap{at: m.config.get("http_filters")}
	for _, f := range m.authz {
		off := l.off(f)
		name, from := l.service(f)
		switch {
		case off != nil:
			g = &gap{at: off, switched: off.up == f.at}
		case !f.unseen && !e.services[name]:
			g = &gap{at: from, service: name}
		default:
			return nil
		}
	}
	return g
}

// harmless reports whether a leaf leads to nothing that needs protection: an
// answer of Envoy's own, nowhere, another listener of this Envoy, which is looked
// at itself, or pages of Envoy's own, which adminExposed looks at.
func (e *subject) harmless(l leaf) bool {
	if l.answersItself() {
		return true
	}
	addresses, known := e.addressesOf(l.cluster)
	return known && !slices.ContainsFunc(addresses, func(a *node) bool {
		return !e.isAdmin(a) && !e.isAgent(a) && internalListener(a) == ""
	})
}

// addressesOf gives the endpoints of a cluster by its name.
func (e *subject) addressesOf(name string) (addresses []*node, known bool) {
	cluster := e.byName[name]
	if cluster == nil {
		return nil, false
	}
	return e.addresses(cluster)
}

// isAdmin reports whether an address is this Envoy's admin interface.
func (e *subject) isAdmin(address *node) bool {
	if pipe := e.bootstrap.get("admin", "address", "pipe", "path").text(); pipe != "" {
		return address.get("pipe", "path").text() == pipe
	}
	own, ok := e.bootstrap.get("admin", "address", "socket_address", "port_value").number()
	port, _ := address.get("socket_address", "port_value").number()
	return ok && own == port && isLocal(address)
}

// isAgent reports whether an address is the health page of the agent beside an
// Envoy of Istio's (https://istio.io/latest/docs/ops/deployment/application-requirements/).
func (e *subject) isAgent(address *node) bool {
	port, _ := address.get("socket_address", "port_value").number()
	return port == 15020 && isLocal(address) && strings.Count(e.bootstrap.get("node", "id").text(), "~") == 3
}

func internalListener(address *node) string {
	return address.get("envoy_internal_address", "server_listener_name").text()
}

// isLocal reports whether an address is on this host.
func isLocal(address *node) bool {
	return address.get("pipe").exists() || internalListener(address) != "" || isLocalHost(address.get("socket_address", "address").text())
}

func isLocalHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || host == "localhost" || host == "host.docker.internal"
}

// reach finds internal listeners that requests reach without being asked about,
// from the listeners that clients reach; it reports whether it found more.
func (e *subject) reach() (more bool) {
	pass := func(name string) {
		addresses, _ := e.addressesOf(name)
		for _, a := range addresses {
			if to := internalListener(a); to != "" && !e.reached[to] {
				e.reached[to], more = true, true
			}
		}
	}
	for _, ch := range e.chains {
		if !e.exposed(ch) {
			continue
		}
		for _, name := range ch.passes() {
			pass(name)
		}
		if ch.manager == nil {
			continue
		}
		for _, l := range ch.manager.leaves {
			if e.gap(ch.manager, l) != nil {
				pass(l.cluster)
			}
		}
	}
	return more
}

// exposed reports whether clients reach a chain unasked.
func (e *subject) exposed(ch chain) bool {
	if e.outbound(ch.listener) {
		return false
	}
	return !ch.listener.get("internal_listener").exists() || e.reached[ch.listener.get("name").text()]
}

// passes names the clusters that a chain passes whole connections to.
func (ch chain) passes() []string {
	var names []string
	for _, f := range ch.filters {
		if f.message != tcpProxy {
			continue
		}
		if name := f.config.get("cluster").text(); name != "" {
			names = append(names, name)
		}
		for _, w := range f.config.get("weighted_clusters", "clusters").items() {
			names = append(names, w.get("name").text())
		}
	}
	return names
}

// report counts what was looked at.
func (e *subject) report() *Report {
	r := &Report{Listeners: len(e.listeners), Services: slices.Sorted(maps.Keys(e.services))}
	for _, ch := range e.chains {
		if ch.manager != nil {
			r.Routes += len(ch.manager.leaves)
			r.Filters += len(ch.manager.authz)
		}
	}
	return r
}
